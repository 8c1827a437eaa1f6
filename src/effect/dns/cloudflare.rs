//! Zones at Cloudflare. Its API has no condition on a change: what is there is read, compared,
//! changed by the id of each record in one batch, and read back.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value as Json, json};

use super::record::{Edit, Key, Records, parse, plain, shown};
use super::{Provider, Unwritten, unchanged};
use crate::effect::EffectError;
use crate::effect::http::was_sent;
use crate::runbook::zone::{Cloudflare, RecordKind};
use hickory_proto::rr::RData;

/// How long the API may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// The most records of one type that a name may have here.
const MOST: usize = 100;
/// How many zones are asked for at once.
const ZONES: usize = 50;
/// How many records of a zone are asked for at once.
const PAGE: usize = 1000;

pub struct Api {
    endpoint: String,
    token: String,
    agent: ureq::Agent,
    zone: Option<(String, Json)>,
    /// The id of each record of the last reading, with its value.
    found: Vec<(String, String)>,
}

pub fn open(cloudflare: &Cloudflare<String>, token: String) -> Api {
    let config = ureq::Agent::config_builder()
        .timeout_global(Some(PATIENCE))
        .max_redirects(0)
        .http_status_as_error(false)
        .user_agent(concat!("switchover/", env!("CARGO_PKG_VERSION")));
    Api {
        endpoint: cloudflare.endpoint.trim_end_matches('/').to_owned(),
        token,
        agent: config.build().into(),
        zone: None,
        found: Vec::new(),
    }
}

impl Api {
    /// One request. Its answer, if that says that all went well.
    fn call(&self, method: &str, path: &str, body: Option<&Json>) -> Result<Json, EffectError> {
        let is_read = method == "GET";
        let shown = format!("{method} {}{path}", self.endpoint);
        let failed = |why: String| {
            let message = format!("{shown}: {why}");
            if is_read {
                EffectError::before(format!("{message}; nothing was changed"))
            } else {
                EffectError::lost(message)
            }
        };
        let request = ureq::http::Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.endpoint))
            .header("Authorization", format!("Bearer {}", self.token))
            .header("Content-Type", "application/json")
            .body(body.map(Json::to_string).unwrap_or_default())
            .map_err(|error| EffectError::before(format!("{shown}: {error}")))?;
        let mut response = self.agent.run(request).map_err(|error| match was_sent(&error) {
            true => failed(error.to_string()),
            false => EffectError::before(format!("{shown}: {error}; nothing was changed")),
        })?;
        let status = response.status();
        let text =
            response.body_mut().read_to_string().map_err(|error| failed(error.to_string()))?;
        let json: Json = serde_json::from_str(&text).unwrap_or(Json::Null);
        if status.is_success() && json["success"] == true {
            return Ok(json);
        }
        let errors: Vec<String> =
            json["errors"].as_array().into_iter().flatten().map(in_words).collect();
        let why = if errors.is_empty() {
            "it does not answer as the API does".to_owned()
        } else {
            errors.join("; ")
        };
        // A refusal by the API itself changed nothing; a gateway's says nothing of what is behind
        // it.
        if status.is_client_error() {
            Err(EffectError::before(format!("{shown}: {status}: {why}; nothing was changed")))
        } else {
            Err(failed(format!("{status}: {why}")))
        }
    }

    /// All of a list, as many pages as it has: how long they are is for the API to say.
    fn list(&self, path: &str, size: usize) -> Result<Vec<Json>, EffectError> {
        let (mut all, sign) = (Vec::new(), if path.contains('?') { '&' } else { '?' });
        for page in 1u64.. {
            let mut answer =
                self.call("GET", &format!("{path}{sign}per_page={size}&page={page}"), None)?;
            let Json::Array(found) = answer["result"].take() else {
                return Err(EffectError::before(format!(
                    "{}: its answer is no list; nothing was changed",
                    self.endpoint
                )));
            };
            let is_last = match answer["result_info"]["total_pages"].as_u64() {
                Some(pages) => page >= pages,
                None => found.len() < size,
            };
            let is_empty = found.is_empty();
            all.extend(found);
            if is_last || is_empty {
                break;
            }
        }
        Ok(all)
    }

    /// The zone's id.
    fn zone(&mut self, key: &Key) -> Result<String, EffectError> {
        if let Some((id, _)) = &self.zone {
            return Ok(id.clone());
        }
        let name = plain(&key.zone);
        let zones = self.list(&format!("/zones?name={name}"), ZONES)?;
        let zone = zones.iter().find(|zone| zone["name"] == name.as_str());
        let missing = || {
            EffectError::before(format!(
                "{}: there is no zone {name} that this token may see",
                self.endpoint
            ))
        };
        let zone = zone.ok_or_else(missing)?.clone();
        let id = zone["id"].as_str().ok_or_else(missing)?.to_owned();
        self.zone = Some((id.clone(), zone));
        Ok(id)
    }

    fn body(key: &Key, value: &str, records: &Records) -> Result<Json, EffectError> {
        let parsed = parse(key.kind, value, None).map_err(EffectError::before)?;
        let mut body = json!({ "type": key.kind.word(), "name": key.plain(), "ttl": records.ttl });
        match &parsed {
            RData::MX(mx) => {
                body["priority"] = mx.preference.into();
                body["content"] = plain(&mx.exchange).into();
            }
            RData::SRV(srv) => {
                body["data"] = json!({
                    "priority": srv.priority,
                    "weight": srv.weight,
                    "port": srv.port,
                    "target": plain(&srv.target),
                });
            }
            RData::CAA(caa) => {
                body["data"] = json!({
                    "flags": caa.flags(),
                    "tag": caa.tag,
                    "value": String::from_utf8_lossy(&caa.value),
                });
            }
            _ => {
                body["content"] =
                    value.strip_suffix('.').filter(|_| is_name(key.kind)).unwrap_or(value).into()
            }
        }
        if let Some(proxied) = records.proxied {
            body["proxied"] = proxied.into();
        }
        Ok(body)
    }
}

/// An error, and what the API says is behind it: `DNS Validation Error` alone helps nobody.
fn in_words(error: &Json) -> String {
    let own = format!("{} ({})", error["message"].as_str().unwrap_or("an error"), error["code"]);
    let behind = error["error_chain"].as_array().into_iter().flatten().map(in_words);
    std::iter::once(own).chain(behind).collect::<Vec<_>>().join(": ")
}

fn is_name(kind: RecordKind) -> bool {
    matches!(kind, RecordKind::Cname | RecordKind::Ns | RecordKind::Ptr)
}

/// A record's value as it stands in a zone file.
fn value(key: &Key, record: &Json) -> Option<String> {
    let content = record["content"].as_str()?;
    let text = match key.kind {
        RecordKind::Mx => format!("{} {content}", record["priority"]),
        // Its content has no priority, and no spaces of a fixed kind.
        RecordKind::Srv => {
            let data = &record["data"];
            format!(
                "{} {} {} {}",
                data["priority"],
                data["weight"],
                data["port"],
                data["target"].as_str()?
            )
        }
        _ => content.to_owned(),
    };
    shown(&parse(key.kind, &text, None).ok()?)
}

impl Provider for Api {
    fn read(&mut self, key: &Key) -> Result<Option<Records>, EffectError> {
        let zone = self.zone(key)?;
        let path =
            format!("/zones/{zone}/dns_records?type={}&name={}", key.kind.word(), key.plain());
        let all = self.list(&path, MOST)?;
        let unread = |why: &str| {
            EffectError::before(format!("{key} could not be read: {}: {why}", self.endpoint))
        };
        let own: Vec<&Json> =
            all.iter().filter(|record| record["name"] == key.plain().as_str()).collect();
        if all.len() >= MOST || own.len() != all.len() {
            return Err(unread("its answer is not what was asked for"));
        }
        let mut records: Option<Records> = None;
        let mut found = Vec::new();
        for record in own {
            let ttl = record["ttl"]
                .as_u64()
                .and_then(|ttl| u32::try_from(ttl).ok())
                .ok_or_else(|| unread("a record has no TTL"))?;
            let proxied = record["proxied"].as_bool();
            let text = value(key, record).ok_or_else(|| unread("a value cannot be read"))?;
            let id = record["id"].as_str().ok_or_else(|| unread("a record has no id"))?;
            let all = records.get_or_insert_with(|| Records { ttl, proxied, ..Records::default() });
            if (all.ttl, all.proxied) != (ttl, proxied) {
                return Err(unread(
                    "its records differ in TTL or in being proxied, which could not be put back",
                ));
            }
            all.values.push(text.clone());
            found.push((id.to_owned(), text));
        }
        self.found = found;
        if let Some(records) = &mut records {
            records.values.sort();
        }
        Ok(records)
    }

    fn write(&mut self, edits: &[Edit]) -> Result<(), Unwritten> {
        let mut batch = Batch::default();
        for edit in edits {
            // As late as can be.
            unchanged(self, std::slice::from_ref(edit))?;
            batch.add(edit, std::mem::take(&mut self.found))?;
        }
        let zone = match edits.first() {
            Some(edit) => self.zone(&edit.key)?,
            None => return Ok(()),
        };
        let batch =
            json!({ "deletes": batch.deletes, "patches": batch.patches, "posts": batch.posts });
        self.call("POST", &format!("/zones/{zone}/dns_records/batch"), Some(&batch))?;
        Ok(())
    }

    fn size(&mut self, key: &Key) -> Result<usize, EffectError> {
        let zone = self.zone(key)?;
        let all = self.list(&format!("/zones/{zone}/dns_records"), PAGE)?;
        let sets: BTreeSet<_> = all
            .iter()
            .map(|record| (record["name"].to_string(), record["type"].to_string()))
            .collect();
        Ok(sets.len())
    }

    fn name_servers(&mut self, key: &Key) -> Result<Vec<String>, EffectError> {
        self.zone(key)?;
        let zone = self.zone.as_ref().map(|(_, zone)| zone.clone()).unwrap_or_default();
        let names = zone["name_servers"].as_array().cloned().unwrap_or_default();
        Ok(names.iter().filter_map(|name| Some(name.as_str()?.to_owned())).collect())
    }
}

/// Changes that are made in one go, each of a record by its id.
#[derive(Default)]
struct Batch {
    deletes: Vec<Json>,
    patches: Vec<Json>,
    posts: Vec<Json>,
}

impl Batch {
    /// Those that stay as they are; then those that are changed, each by its id; then some come, or
    /// go.
    fn add(
        &mut self,
        Edit { key, was, becomes }: &Edit,
        mut left: Vec<(String, String)>,
    ) -> Result<(), EffectError> {
        let mut values: Vec<&String> =
            becomes.as_ref().map(|records| records.values.iter().collect()).unwrap_or_default();
        let is_same = |becomes: &Records| {
            was.as_ref().is_some_and(|was| was.ttl == becomes.ttl && was.proxied == becomes.proxied)
        };
        if let Some(becomes) = becomes {
            let mut pairs: Vec<(String, &String)> = Vec::new();
            values.retain(|value| match left.iter().position(|(_, text)| text == *value) {
                Some(at) => {
                    let (id, _) = left.remove(at);
                    if !is_same(becomes) {
                        pairs.push((id, value));
                    }
                    false
                }
                None => true,
            });
            let changed = left.len().min(values.len());
            pairs.extend(left.drain(..changed).map(|(id, _)| id).zip(values.drain(..changed)));
            for (id, value) in pairs {
                let mut patch = Api::body(key, value, becomes)?;
                patch["id"] = id.into();
                self.patches.push(patch);
            }
            for value in values {
                self.posts.push(Api::body(key, value, becomes)?);
            }
        }
        self.deletes.extend(left.into_iter().map(|(id, _)| json!({ "id": id })));
        Ok(())
    }
}
