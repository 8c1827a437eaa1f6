//! Propagation: every authoritative server of a zone and the given resolvers are asked until all
//! agree. One that does not answer does not agree.

use std::net::SocketAddr;

use hickory_proto::op::{Message, Query};
use hickory_proto::rr::rdata::NS;
use hickory_proto::rr::{Name, RData};
use serde_json::{Map, Value as Json, json};

use super::record::{Key, normal, parse, plain, same_values};
use super::wire::{addresses, answered, exchange, has_authority, negative_ttl};
use super::{Provider, open};
use crate::effect::{EffectError, Job, Keeper, Reading, Stopper, Teller, Used};
use crate::runbook::Span;
use crate::runbook::action::Propagation;
use crate::runbook::zone::RecordKind;

/// One that is asked.
struct Server {
    shown: String,
    addresses: Vec<SocketAddr>,
    /// Why it has no address.
    unknown: Option<String>,
    is_resolver: bool,
}

/// What one said.
struct Said {
    agrees: bool,
    values: Vec<String>,
    /// For how many more seconds it may say so.
    ttl: Option<u32>,
    error: Option<String>,
}

pub fn perform(
    job: &Job,
    propagation: &Propagation<String>,
    keeper: &Keeper,
    stopper: &Stopper,
    teller: &Teller,
    used: &mut Used,
) -> Result<Reading, EffectError> {
    let zone = propagation.zone.as_ref().map_or(".", |zone| zone.name().as_str());
    let key = match &propagation.zone {
        Some(zone) => Key::new(zone.name(), &propagation.name, propagation.kind),
        None => Key::new(
            zone,
            &format!("{}.", propagation.name.trim_end_matches('.')),
            propagation.kind,
        ),
    }
    .map_err(EffectError::before)?;
    let wanted = normal(propagation.kind, &propagation.values).map_err(EffectError::before)?;
    let port: u16 = propagation
        .port
        .parse()
        .map_err(|_| EffectError::before(format!("`{}` is not a port", propagation.port)))?;
    let mut provider = match &propagation.zone {
        Some(zone) if propagation.servers.is_empty() => Some(open(job, zone, keeper, used)?),
        _ => None,
    };
    let fixed: Vec<Server> = [(&propagation.servers, false), (&propagation.resolvers, true)]
        .into_iter()
        .flat_map(|(list, is_resolver)| list.iter().map(move |text| server(text, is_resolver)))
        .collect();
    let (mut held, mut readings) = (0, 0u64);
    loop {
        readings += 1;
        // The zone may get other name servers meanwhile.
        let (mut named, mut problem) = (Vec::new(), None);
        if let Some(provider) = &mut provider {
            match of_zone(&mut **provider, &key, port) {
                Ok(servers) => named = servers,
                Err(error) => {
                    problem = Some(format!(
                        "the name servers of {} are not known: {}",
                        plain(&key.zone),
                        error.message
                    ))
                }
            }
        }
        let servers: Vec<&Server> = named.iter().chain(&fixed).collect();
        let answers: Vec<Said> = std::thread::scope(|scope| {
            let asked: Vec<_> =
                servers.iter().map(|server| scope.spawn(|| ask(server, &key, &wanted))).collect();
            asked
                .into_iter()
                .map(|asked| {
                    asked.join().unwrap_or_else(|_| failed("it could not be asked".to_owned()))
                })
                .collect()
        });
        let agreeing = answers.iter().filter(|said| said.agrees).count();
        let others: Vec<String> = servers
            .iter()
            .zip(&answers)
            .filter(|(_, said)| !said.agrees)
            .map(|(server, said)| in_words(server, said))
            .chain(problem)
            .collect();
        held = if others.is_empty() { held + 1 } else { 0 };
        let count = servers.len();
        if held >= propagation.stable {
            let mut names = Map::new();
            names.insert(
                "answers".into(),
                servers.iter().zip(&answers).map(|(server, said)| as_json(server, said)).collect(),
            );
            let summary = format!("all {count} agree on {key}, after {readings} readings");
            return Ok(Reading { names, summary, is_good: true, ..Reading::default() });
        }
        let mut words = format!("{agreeing} of {count} agree on {key}");
        if others.is_empty() {
            words.push_str(&format!(", {held} times of {}", propagation.stable));
        } else {
            words.push_str(&format!("; {}", others.join("; ")));
        }
        if job.only_looks {
            let summary = format!("wait until all answer {}; now {words}", wanted.join(", "));
            return Ok(Reading { summary, is_good: true, ..Reading::default() });
        }
        teller.progress(words.clone());
        if stopper.sleep(propagation.every.as_duration()) {
            return Err(EffectError::before(format!("after {readings} readings {words}")));
        }
    }
}

fn server(text: &str, is_resolver: bool) -> Server {
    let (host, port) = match text.rsplit_once(':') {
        // More than one colon is an IPv6 address, in brackets if there is a port.
        Some((host, port)) if host.starts_with('[') || !host.contains(':') => {
            (host, port.parse().map_err(|_| format!("`{port}` is not a port")))
        }
        _ => (text, Ok(53)),
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let found = port.and_then(|port| addresses(host, port));
    let unknown = found.as_ref().err().cloned();
    Server { shown: text.to_owned(), addresses: found.unwrap_or_default(), unknown, is_resolver }
}

/// The servers that the zone names. Their addresses are asked of the zone itself, if they are in
/// it.
fn of_zone(provider: &mut dyn Provider, key: &Key, port: u16) -> Result<Vec<Server>, EffectError> {
    let apex =
        Key { zone: key.zone.clone(), name: key.zone.clone(), kind: RecordKind::Ns, set: None };
    let names = provider.name_servers(&apex)?;
    if names.is_empty() {
        return Err(EffectError::before("there are none"));
    }
    let mut servers = Vec::new();
    for text in names {
        let name: Name = match parse(RecordKind::Ns, &text, None) {
            Ok(RData::NS(NS(name))) => name,
            _ => return Err(EffectError::before(format!("`{text}` is no name"))),
        };
        let mut own = Vec::new();
        if key.zone.zone_of(&name) {
            for kind in [RecordKind::A, RecordKind::Aaaa] {
                let found = provider.read(&Key {
                    zone: key.zone.clone(),
                    name: name.clone(),
                    kind,
                    set: None,
                })?;
                let values = found.into_iter().flat_map(|records| records.values);
                own.extend(
                    values.filter_map(|value| Some(SocketAddr::new(value.parse().ok()?, port))),
                );
            }
        }
        let shown = plain(&name);
        servers.push(if own.is_empty() {
            let found = addresses(&shown, port);
            let unknown = found.as_ref().err().cloned();
            Server { shown, addresses: found.unwrap_or_default(), unknown, is_resolver: false }
        } else {
            Server { shown, addresses: own, unknown: None, is_resolver: false }
        });
    }
    Ok(servers)
}

fn ask(server: &Server, key: &Key, wanted: &[String]) -> Said {
    if let Some(unknown) = &server.unknown {
        return failed(unknown.clone());
    }
    let mut message = Message::query();
    message.metadata.recursion_desired = server.is_resolver;
    message.add_query(Query::query(key.name.clone(), key.record_type()));
    let answer = match exchange(&server.addresses, message, None) {
        Ok(answer) => answer,
        Err(error) => return failed(error.words),
    };
    if !server.is_resolver && !has_authority(&answer, key) {
        return failed("it has no authority for this name".to_owned());
    }
    match answered(&answer, key) {
        Ok(None) => Said {
            agrees: wanted.is_empty(),
            values: Vec::new(),
            ttl: negative_ttl(&answer),
            error: None,
        },
        Ok(Some(records)) => Said {
            agrees: same_values(key.kind, &records.values, wanted),
            ttl: Some(records.ttl),
            values: records.values,
            error: None,
        },
        Err(words) => failed(words),
    }
}

fn failed(error: String) -> Said {
    Said { agrees: false, values: Vec::new(), ttl: None, error: Some(error) }
}

fn in_words(server: &Server, said: &Said) -> String {
    let who = &server.shown;
    if let Some(error) = &said.error {
        return format!("{who} does not say: {error}");
    }
    let what = if said.values.is_empty() {
        "that there is nothing".to_owned()
    } else {
        said.values.join(", ")
    };
    let left = said.ttl.map(|ttl| Span::from_secs(ttl.into()));
    match (server.is_resolver, left) {
        (true, Some(left)) => format!("{who} still answers {what}, for {} at most", left),
        // An authoritative server answers so until it hears of the change; then its answers may be
        // kept for as long.
        (false, Some(left)) => {
            format!("{who} still answers {what}, which may be kept for {} from then on", left)
        }
        (_, None) => format!("{who} still answers {what}"),
    }
}

fn as_json(server: &Server, said: &Said) -> Json {
    json!({
        "server": server.shown,
        "values": said.values,
        "ttl": said.ttl,
        "resolver": server.is_resolver,
    })
}
