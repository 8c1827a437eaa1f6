//! Zones at Amazon Route 53, by its official SDK. A batch of changes deletes exactly what was read
//! and creates what is to be there: if the record is another one by then, Route 53 refuses the
//! whole batch.

mod connector;
mod insync;

use std::time::Duration;

use aws_sdk_route53::Client;
use aws_sdk_route53::config::{
    BehaviorVersion, Config, Credentials as Identity, IdentityCache, Region,
    StalledStreamProtectionConfig,
};
use aws_sdk_route53::config::{http::HttpResponse, retry::RetryConfig, timeout::TimeoutConfig};
use aws_sdk_route53::error::{BuildError, ProvideErrorMetadata, SdkError};
use aws_sdk_route53::types::{
    Change, ChangeAction, ChangeBatch, ResourceRecord, ResourceRecordSet, RrType,
};

use self::connector::{Connector, NotSent};
use self::insync::Pending;
use super::record::{Edit, Key, Records, parse, plain, shown, whole};
use super::{Provider, Unwritten, unchanged};
use crate::effect::{EffectError, Stopper, Teller};
use crate::runbook::zone::{RecordKind, Route53};

/// How often a change is tried while Route 53 is busy with others of the zone, and the first pause
/// between.
const TRIES: u32 = 8;
const PAUSE: Duration = Duration::from_millis(100);
/// It signs and routes all requests as if from there.
const REGION: &str = "us-east-1";

pub struct Credentials {
    pub access_key: String,
    pub secret_key: String,
    pub session_token: Option<String>,
}

pub struct Api {
    client: Client,
    runtime: tokio::runtime::Runtime,
    shown: String,
    id: Option<String>,
    /// What was read last, to the letter.
    found: Vec<(Key, ResourceRecordSet)>,
    /// What it has taken last, and passes on still.
    pending: Option<Pending>,
}

pub fn open(route53: &Route53<String>, credentials: Credentials) -> Result<Api, EffectError> {
    let Credentials { access_key, secret_key, session_token } = credentials;
    let mut config = Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new(REGION))
        .credentials_provider(Identity::new(
            access_key,
            secret_key,
            session_token,
            None,
            "the step",
        ))
        .identity_cache(IdentityCache::no_cache())
        .http_client(Connector::new())
        // What is tried again is decided here, where it is known what was done.
        .retry_config(RetryConfig::disabled())
        .timeout_config(TimeoutConfig::disabled())
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled());
    if let Some(endpoint) = &route53.endpoint {
        config = config.endpoint_url(endpoint);
    }
    let shown = match &route53.endpoint {
        Some(endpoint) => format!("Route 53 ({endpoint})"),
        None => "Route 53".to_owned(),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().build().map_err(|error| {
        EffectError::before(format!("{shown} cannot be asked: {error}; nothing was changed"))
    })?;
    Ok(Api {
        client: Client::from_conf(config.build()),
        runtime,
        shown,
        id: route53.id.clone(),
        found: Vec::new(),
        pending: None,
    })
}

/// Why a request did not do what it should.
struct Refusal {
    /// The code of Route 53's own answer.
    code: Option<String>,
    /// Whether nothing can have been changed by it.
    is_certain: bool,
    words: String,
}

impl Refusal {
    /// Whether the same may be taken a little later.
    fn is_busy(&self) -> bool {
        matches!(
            self.code.as_deref(),
            Some("PriorRequestNotComplete" | "Throttling" | "ThrottlingException")
        )
    }

    fn of<E: ProvideErrorMetadata + std::error::Error + 'static>(
        error: &SdkError<E, HttpResponse>,
    ) -> Refusal {
        let refusal = |is_certain: bool, words: String| Refusal { code: None, is_certain, words };
        match error {
            SdkError::ServiceError(said) => {
                let (code, message, status) =
                    (said.err().code(), said.err().message(), said.raw().status());
                let mut words = match (code, message) {
                    (Some(code), Some(message)) => format!("{code}: {message}"),
                    (Some(word), None) | (None, Some(word)) => word.to_owned(),
                    (None, None) => format!("it answered {status}, and not as Route 53 does"),
                };
                if status.as_u16() == 403 {
                    words.push_str(
                        "; look whether the zone's `access_key`, `secret_key` and \
                        `session_token` are good for this",
                    );
                }
                // What it refuses itself is not done; a gateway's error says nothing of what is
                // behind it.
                Refusal {
                    code: code.map(str::to_owned),
                    is_certain: status.is_client_error(),
                    words,
                }
            }
            SdkError::DispatchFailure(failure) => {
                let source = failure.as_connector_error().and_then(std::error::Error::source);
                let words =
                    source.map_or_else(|| "it cannot be asked".to_owned(), ToString::to_string);
                refusal(source.is_some_and(|source| source.is::<NotSent>()), words)
            }
            SdkError::ConstructionFailure(_) => {
                refusal(true, format!("the request cannot be made: {}", root(error)))
            }
            _ => refusal(false, format!("its answer cannot be read: {}", root(error))),
        }
    }
}

/// The innermost reason.
fn root(error: &dyn std::error::Error) -> String {
    let mut at = error;
    while let Some(source) = at.source() {
        at = source;
    }
    at.to_string()
}

impl Api {
    fn unread(&self, what: &dyn std::fmt::Display, why: &str) -> EffectError {
        EffectError::before(format!(
            "{what} could not be read: {}: {why}; nothing was changed",
            self.shown
        ))
    }

    /// The hosted zone's id.
    fn zone(&mut self, key: &Key) -> Result<String, EffectError> {
        if let Some(id) = &self.id {
            return Ok(id.clone());
        }
        let name = plain(&key.zone);
        let answer =
            self.runtime.block_on(self.client.list_hosted_zones_by_name().dns_name(&name).send());
        let answer = answer.map_err(|error| {
            self.unread(&format!("the zone {name}"), &Refusal::of(&error).words)
        })?;
        let own = answer
            .hosted_zones()
            .iter()
            .filter(|zone| whole(zone.name()).is_ok_and(|zone| zone == key.zone));
        let ids: Vec<&str> = own.map(|zone| zone.id().trim_start_matches("/hostedzone/")).collect();
        let id = match ids.as_slice() {
            [id] => (*id).to_owned(),
            [] => {
                return Err(self.unread(
                    &format!("the zone {name}"),
                    "these credentials see no hosted zone of this name",
                ));
            }
            several => {
                let why = format!(
                    "there are several of this name: say which, as its `id`: {}",
                    several.join(", ")
                );
                return Err(self.unread(&format!("the zone {name}"), &why));
            }
        };
        self.id = Some(id.clone());
        Ok(id)
    }

    /// All sets of records of this name and type.
    fn sets(&mut self, key: &Key) -> Result<Vec<ResourceRecordSet>, EffectError> {
        let zone = self.zone(key)?;
        let is_own = |set: &ResourceRecordSet| {
            is_name(set.name(), key) && set.r#type() == &rr_type(key.kind)
        };
        let (mut sets, mut from) = (Vec::new(), None);
        loop {
            // They come in the order of their names, types and identifiers.
            let asked = self
                .client
                .list_resource_record_sets()
                .hosted_zone_id(&zone)
                .start_record_name(key.name.to_ascii());
            let asked =
                asked.start_record_type(rr_type(key.kind)).set_start_record_identifier(from.take());
            let answer = self
                .runtime
                .block_on(asked.send())
                .map_err(|error| self.unread(key, &Refusal::of(&error).words))?;
            let all = answer.resource_record_sets();
            sets.extend(all.iter().filter(|set| is_own(set)).cloned());
            let is_own_name = answer.next_record_name().is_some_and(|name| is_name(name, key));
            let goes_on = answer.is_truncated()
                && is_own_name
                && answer.next_record_type() == Some(&rr_type(key.kind));
            match answer.next_record_identifier() {
                Some(next) if goes_on => from = Some(next.to_owned()),
                _ => return Ok(sets),
            }
        }
    }

    /// What a set says, if all of it can be put back.
    fn records(&self, key: &Key, set: &ResourceRecordSet) -> Result<Records, EffectError> {
        let other = [
            ("an alias", set.alias_target().is_some()),
            ("latency routing", set.region().is_some()),
            ("failover routing", set.failover().is_some()),
            (
                "geolocation routing",
                set.geo_location().is_some() || set.geo_proximity_location().is_some(),
            ),
            ("multivalue answers", set.multi_value_answer().is_some()),
            ("IP-based routing", set.cidr_routing_config().is_some()),
            ("a traffic policy", set.traffic_policy_instance_id().is_some()),
        ];
        if let Some((what, _)) = other.iter().find(|(_, is_there)| *is_there) {
            return Err(self.unread(
                key,
                &format!(
                    "it has {what}, which could not be put back; change it by hand, as a `task`"
                ),
            ));
        }
        let ttl = set
            .ttl()
            .and_then(|ttl| u32::try_from(ttl).ok())
            .ok_or_else(|| self.unread(key, "it has no TTL"))?;
        let value = |record: &ResourceRecord| shown(&parse(key.kind, record.value(), None).ok()?);
        let values: Option<Vec<String>> = set.resource_records().iter().map(value).collect();
        let mut values = values.ok_or_else(|| self.unread(key, "a value cannot be read"))?;
        values.sort();
        let weight = set
            .weight()
            .map(u8::try_from)
            .transpose()
            .map_err(|_| self.unread(key, "its weight is beyond 255"))?;
        Ok(Records {
            ttl,
            values,
            weight,
            health_check: set.health_check_id().map(str::to_owned),
            ..Records::default()
        })
    }

    fn set(key: &Key, records: &Records) -> Result<ResourceRecordSet, BuildError> {
        let values =
            records.values.iter().map(|value| ResourceRecord::builder().value(value).build());
        ResourceRecordSet::builder()
            .name(key.name.to_ascii())
            .r#type(rr_type(key.kind))
            .ttl(i64::from(records.ttl))
            .set_resource_records(Some(values.collect::<Result<_, _>>()?))
            .set_set_identifier(key.set.clone())
            .set_weight(records.weight.map(i64::from))
            .set_health_check_id(records.health_check.clone())
            .build()
    }

    fn batch(&self, edits: &[Edit]) -> Result<ChangeBatch, BuildError> {
        let mut changes = Vec::new();
        let mut add = |action: ChangeAction, set: ResourceRecordSet| {
            changes.push(Change::builder().action(action).resource_record_set(set).build()?);
            Ok::<(), BuildError>(())
        };
        for Edit { key, was, becomes } in edits {
            if let Some(was) = was {
                // To the letter: what is written in another way is another value there.
                let is_it = |set: &ResourceRecordSet| {
                    self.records(key, set).is_ok_and(|found| found == *was)
                };
                let found = self
                    .found
                    .iter()
                    .find(|(of, set)| of == key && is_it(set))
                    .map(|(_, set)| set.clone());
                add(ChangeAction::Delete, found.map_or_else(|| Api::set(key, was), Ok)?)?;
            }
            if let Some(becomes) = becomes {
                add(ChangeAction::Create, Api::set(key, becomes)?)?;
            }
        }
        ChangeBatch::builder().set_changes(Some(changes)).build()
    }
}

impl Provider for Api {
    fn read(&mut self, key: &Key) -> Result<Option<Records>, EffectError> {
        let sets = self.sets(key)?;
        self.found.retain(|(of, _)| of != key);
        let own = sets.iter().find(|set| set.set_identifier() == key.set.as_deref());
        self.found.extend(own.map(|set| (key.clone(), set.clone())));
        let names: Vec<&str> = sets.iter().filter_map(|set| set.set_identifier()).collect();
        match (&key.set, sets.as_slice()) {
            (_, []) => Ok(None),
            (None, [set]) if names.is_empty() => self.records(key, set).map(Some),
            (None, _) => Err(self.unread(
                key,
                &format!("it has the sets {}: say which with `set`", names.join(", ")),
            )),
            (Some(_), _) if names.is_empty() => {
                Err(self.unread(key, "its records are no weighted set, beside which there is none"))
            }
            (Some(_), _) => own.map(|set| self.records(key, set)).transpose(),
        }
    }

    fn write(&mut self, edits: &[Edit]) -> Result<(), Unwritten> {
        let Some(first) = edits.first() else { return Ok(()) };
        let zone = self.zone(&first.key)?;
        let wrong = |error: BuildError| {
            EffectError::before(format!(
                "{} cannot be written: {error}; nothing was changed",
                first.key
            ))
        };
        let batch = self.batch(edits).map_err(wrong)?;
        let mut pause = PAUSE;
        for attempt in 1.. {
            let asked = self
                .client
                .change_resource_record_sets()
                .hosted_zone_id(&zone)
                .change_batch(batch.clone());
            let error = match self.runtime.block_on(asked.send()) {
                Ok(answer) => {
                    self.pending = Pending::of(answer.change_info());
                    break;
                }
                Err(error) => error,
            };
            let refusal = Refusal::of(&error);
            let words = format!("{}: {}", self.shown, refusal.words);
            match refusal.code.as_deref() {
                _ if refusal.is_busy() && attempt < TRIES => {
                    std::thread::sleep(pause);
                    pause *= 2;
                }
                Some("InvalidChangeBatch" | "InvalidInput") => {
                    unchanged(self, edits)?;
                    return Err(EffectError::before(format!("{words}; nothing was changed")).into());
                }
                _ if refusal.is_certain => {
                    return Err(EffectError::before(format!("{words}; nothing was changed")).into());
                }
                _ => {
                    return Err(EffectError::lost(format!(
                        "{words}; whether {} was changed is not known",
                        first.key
                    ))
                    .into());
                }
            }
        }
        Ok(())
    }

    fn pending(&self) -> Option<&str> {
        self.pending.as_ref().map(|pending| pending.id.as_str())
    }

    fn settle(
        &mut self,
        earlier: Option<&str>,
        stopper: &Stopper,
        teller: &Teller,
    ) -> Result<(), EffectError> {
        let earlier = earlier.map(|id| Pending { id: id.to_owned(), is_earlier: true });
        if let Some(pending) = self.pending.clone().or(earlier) {
            insync::wait(self, &pending, stopper, teller)?;
        }
        self.pending = None;
        Ok(())
    }

    fn size(&mut self, key: &Key) -> Result<usize, EffectError> {
        let zone = self.zone(key)?;
        let answer = self.runtime.block_on(self.client.get_hosted_zone().id(&zone).send());
        let answer = answer.map_err(|error| {
            self.unread(&format!("the zone {}", key.zone), &Refusal::of(&error).words)
        })?;
        let count = answer.hosted_zone().and_then(|zone| zone.resource_record_set_count());
        count
            .and_then(|count| usize::try_from(count).ok())
            .ok_or_else(|| self.unread(&key.zone, "its size is not said"))
    }

    fn name_servers(&mut self, key: &Key) -> Result<Vec<String>, EffectError> {
        let zone = self.zone(key)?;
        let answer = self.runtime.block_on(self.client.get_hosted_zone().id(&zone).send());
        let answer = answer.map_err(|error| {
            self.unread(&format!("the zone {}", key.zone), &Refusal::of(&error).words)
        })?;
        Ok(answer.delegation_set().map(|set| set.name_servers().to_vec()).unwrap_or_default())
    }
}

fn is_name(name: &str, key: &Key) -> bool {
    // An asterisk comes as its number in octal.
    whole(&name.replace("\\052", "*")).is_ok_and(|name| name == key.name)
}

fn rr_type(kind: RecordKind) -> RrType {
    RrType::from(kind.word())
}
