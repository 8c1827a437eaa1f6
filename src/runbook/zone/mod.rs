//! Zones of the DNS, what is changed in them, and what their servers are to answer. Knows nothing
//! of how they are asked.

mod convert;
pub mod raw;

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::Span;
use super::action::Value;
use super::text::{Text, TextError};
pub use raw::{KeyAlgorithm, RecordKind};

/// Where a zone is kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Zone<T> {
    Rfc2136(Primary<T>),
    File(ZoneFile<T>),
    Cloudflare(Cloudflare<T>),
    Route53(Route53<T>),
}

/// A server that takes signed updates.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Primary<T> {
    pub server: T,
    pub port: T,
    pub zone: T,
    pub key_name: T,
    pub algorithm: KeyAlgorithm,
    pub secret: Value<T>,
}

/// A zone file, and the command after which it counts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ZoneFile<T> {
    pub path: T,
    pub zone: T,
    #[serde(default = "Vec::new", skip_serializing_if = "Vec::is_empty")]
    pub reload: Vec<T>,
}

/// A zone at Cloudflare.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Cloudflare<T> {
    pub zone: T,
    pub token: Value<T>,
    pub endpoint: T,
}

/// A zone at Amazon Route 53.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Route53<T> {
    pub zone: T,
    #[serde(default = "super::action::none", skip_serializing_if = "Option::is_none")]
    pub id: Option<T>,
    pub access_key: Value<T>,
    pub secret_key: Value<T>,
    #[serde(default = "super::action::none", skip_serializing_if = "Option::is_none")]
    pub session_token: Option<Value<T>>,
    #[serde(default = "super::action::none", skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<T>,
}

/// Changes of records that are made at once: all of them or none.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Dns<T> {
    pub zone: Zone<T>,
    pub records: Vec<Record<T>>,
    /// The largest share of the zone's sets of records that may be changed, in percent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_most: Option<u8>,
    /// Whether it puts back what the step found instead.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub restores: bool,
}

/// A change of the records of one type that a name has.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record<T> {
    pub name: T,
    #[serde(rename = "type")]
    pub kind: RecordKind,
    /// Which of several weighted sets is meant.
    #[serde(default = "super::action::none", skip_serializing_if = "Option::is_none")]
    pub set: Option<T>,
    pub change: Change<T>,
    /// What must be there before.
    #[serde(default = "super::action::none", skip_serializing_if = "Option::is_none")]
    pub expect: Option<Vec<T>>,
}

/// What becomes of the records.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change<T> {
    /// Exactly these; without a TTL or weight that of those before.
    Set {
        values: Vec<T>,
        ttl: Option<Span>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        weight: Option<u8>,
    },
    Delete,
    /// The same with this TTL, if it was longer; then as much time passes as they had.
    LowerTtl(Span),
}

/// What name servers are to answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Propagation<T> {
    #[serde(default = "super::action::none", skip_serializing_if = "Option::is_none")]
    pub zone: Option<Zone<T>>,
    pub servers: Vec<T>,
    /// Of the servers that the zone names.
    pub port: T,
    pub resolvers: Vec<T>,
    pub name: T,
    #[serde(rename = "type")]
    pub kind: RecordKind,
    pub values: Vec<T>,
    pub every: Span,
    pub stable: u32,
}

impl<T> Zone<T> {
    /// The zone's name.
    pub fn name(&self) -> &T {
        match self {
            Zone::Rfc2136(primary) => &primary.zone,
            Zone::File(file) => &file.zone,
            Zone::Cloudflare(cloudflare) => &cloudflare.zone,
            Zone::Route53(route53) => &route53.zone,
        }
    }

    /// Whether its records can have weights.
    pub fn has_weights(&self) -> bool {
        matches!(self, Zone::Route53(_))
    }

    fn credentials(&self) -> Vec<&Value<T>> {
        match self {
            Zone::Rfc2136(primary) => vec![&primary.secret],
            Zone::File(_) => Vec::new(),
            Zone::Cloudflare(cloudflare) => vec![&cloudflare.token],
            Zone::Route53(Route53 { access_key, secret_key, session_token, .. }) => {
                [access_key, secret_key].into_iter().chain(session_token).collect()
            }
        }
    }

    /// The secrets that it is changed with.
    pub fn secrets(&self) -> Vec<&str> {
        self.credentials().into_iter().filter_map(Value::secret).collect()
    }
}

impl Zone<Text> {
    pub fn render(&self, values: &Json) -> Result<Zone<String>, TextError> {
        let one = |text: &Text| text.render(values);
        Ok(match self {
            Zone::Rfc2136(primary) => Zone::Rfc2136(Primary {
                server: one(&primary.server)?,
                port: one(&primary.port)?,
                zone: one(&primary.zone)?,
                key_name: one(&primary.key_name)?,
                algorithm: primary.algorithm,
                secret: primary.secret.render(values)?,
            }),
            Zone::File(file) => Zone::File(ZoneFile {
                path: one(&file.path)?,
                zone: one(&file.zone)?,
                reload: all(&file.reload, values)?,
            }),
            Zone::Cloudflare(cloudflare) => Zone::Cloudflare(Cloudflare {
                zone: one(&cloudflare.zone)?,
                token: cloudflare.token.render(values)?,
                endpoint: one(&cloudflare.endpoint)?,
            }),
            Zone::Route53(route53) => Zone::Route53(Route53 {
                zone: one(&route53.zone)?,
                id: route53.id.as_ref().map(one).transpose()?,
                access_key: route53.access_key.render(values)?,
                secret_key: route53.secret_key.render(values)?,
                session_token: route53
                    .session_token
                    .as_ref()
                    .map(|token| token.render(values))
                    .transpose()?,
                endpoint: route53.endpoint.as_ref().map(one).transpose()?,
            }),
        })
    }

    pub fn texts(&self) -> Vec<&Text> {
        let own: Vec<&Text> = match self {
            Zone::Rfc2136(primary) => {
                vec![&primary.server, &primary.port, &primary.zone, &primary.key_name]
            }
            Zone::File(file) => [&file.path, &file.zone].into_iter().chain(&file.reload).collect(),
            Zone::Cloudflare(cloudflare) => vec![&cloudflare.zone, &cloudflare.endpoint],
            Zone::Route53(Route53 { zone, id, endpoint, .. }) => {
                [zone].into_iter().chain(id).chain(endpoint).collect()
            }
        };
        own.into_iter().chain(self.credentials().into_iter().filter_map(Value::text)).collect()
    }
}

impl<T> Dns<T> {
    /// Whether it begins a command.
    pub fn runs_commands(&self) -> bool {
        matches!(&self.zone, Zone::File(file) if !file.reload.is_empty())
    }
}

impl<T: Clone> Dns<T> {
    /// What puts back what the step found.
    pub fn inverse(&self) -> Dns<T> {
        let records =
            self.records.iter().map(|record| Record { expect: None, ..record.clone() }).collect();
        Dns { restores: true, at_most: None, records, ..self.clone() }
    }
}

impl Dns<Text> {
    pub fn render(&self, values: &Json) -> Result<Dns<String>, TextError> {
        Ok(Dns {
            zone: self.zone.render(values)?,
            records: self
                .records
                .iter()
                .map(|record| record.render(values))
                .collect::<Result<_, _>>()?,
            at_most: self.at_most,
            restores: self.restores,
        })
    }

    /// Every text in it, for checking names.
    pub fn texts(&self) -> Vec<&Text> {
        self.zone.texts().into_iter().chain(self.records.iter().flat_map(Record::texts)).collect()
    }
}

impl Record<Text> {
    fn render(&self, values: &Json) -> Result<Record<String>, TextError> {
        Ok(Record {
            name: self.name.render(values)?,
            kind: self.kind,
            set: self.set.as_ref().map(|set| set.render(values)).transpose()?,
            change: match &self.change {
                Change::Set { values: texts, ttl, weight } => {
                    Change::Set { values: all(texts, values)?, ttl: *ttl, weight: *weight }
                }
                Change::Delete => Change::Delete,
                Change::LowerTtl(ttl) => Change::LowerTtl(*ttl),
            },
            expect: self.expect.as_ref().map(|texts| all(texts, values)).transpose()?,
        })
    }

    fn texts(&self) -> Vec<&Text> {
        let to =
            if let Change::Set { values, .. } = &self.change { values.as_slice() } else { &[] };
        [&self.name]
            .into_iter()
            .chain(&self.set)
            .chain(to)
            .chain(self.expect.iter().flatten())
            .collect()
    }
}

impl Propagation<Text> {
    pub fn render(&self, values: &Json) -> Result<Propagation<String>, TextError> {
        Ok(Propagation {
            zone: self.zone.as_ref().map(|zone| zone.render(values)).transpose()?,
            servers: all(&self.servers, values)?,
            port: self.port.render(values)?,
            resolvers: all(&self.resolvers, values)?,
            name: self.name.render(values)?,
            kind: self.kind,
            values: all(&self.values, values)?,
            every: self.every,
            stable: self.stable,
        })
    }

    /// Every text in it, for checking names.
    pub fn texts(&self) -> Vec<&Text> {
        let zone = self.zone.iter().flat_map(Zone::texts);
        zone.chain([&self.name, &self.port])
            .chain(&self.servers)
            .chain(&self.resolvers)
            .chain(&self.values)
            .collect()
    }
}

fn all(texts: &[Text], values: &Json) -> Result<Vec<String>, TextError> {
    texts.iter().map(|text| text.render(values)).collect()
}

impl Zone<String> {
    /// Which one it is, in words.
    pub fn in_words(&self) -> String {
        match self {
            Zone::Rfc2136(primary) => {
                format!("{} on {}:{}", primary.zone, primary.server, primary.port)
            }
            Zone::File(file) => format!("{} in {}", file.zone, file.path),
            Zone::Cloudflare(cloudflare) => {
                format!("{} at {}", cloudflare.zone, cloudflare.endpoint)
            }
            Zone::Route53(route53) => {
                let place = route53
                    .endpoint
                    .as_deref()
                    .map(|endpoint| format!(" ({endpoint})"))
                    .unwrap_or_default();
                format!("{} at Route 53{place}", route53.zone)
            }
        }
    }
}

impl Dns<String> {
    pub fn in_words(&self) -> String {
        let zone = self.zone.in_words();
        let limit = self
            .at_most
            .map(|share| format!(", if that is at most {share} % of the zone"))
            .unwrap_or_default();
        let words = match self.records.as_slice() {
            [record] => record.in_words(&format!(" in {zone}"), self.restores),
            several => {
                let each: Vec<String> =
                    several.iter().map(|record| record.in_words("", self.restores)).collect();
                format!("in {zone}, all at once: {}", each.join("; "))
            }
        };
        format!("{words}{limit}")
    }
}

impl Record<String> {
    fn in_words(&self, place: &str, restores: bool) -> String {
        let Record { name, kind, .. } = self;
        let set = self.set.as_ref().map(|set| format!(" ({set})")).unwrap_or_default();
        let which = format!("{} of {name}{set}{place}", kind.word());
        if restores {
            return format!(
                "put {which} back as it was found, if it still is as the step wrote it"
            );
        }
        match &self.change {
            Change::Set { values, ttl, weight } => {
                let ttl = ttl.map(|ttl| format!(" with a TTL of {ttl}")).unwrap_or_default();
                let weight =
                    weight.map(|weight| format!(" with the weight {weight}")).unwrap_or_default();
                format!("set {which} to {}{ttl}{weight}", list(values))
            }
            Change::Delete => format!("delete {which}"),
            Change::LowerTtl(ttl) => {
                format!("lower the TTL of {which} to {ttl}, and wait as long as it was")
            }
        }
    }
}

impl Propagation<String> {
    pub fn in_words(&self) -> String {
        let Propagation { name, kind, values, servers, resolvers, stable, every, .. } = self;
        let mut asked: Vec<String> = servers.clone();
        if let (Some(zone), true) = (&self.zone, servers.is_empty()) {
            asked.push(format!("all name servers of {}", zone.name()));
        }
        asked.extend_from_slice(resolvers);
        let what = if values.is_empty() {
            "does not exist".to_owned()
        } else {
            format!("is {}", list(values))
        };
        format!(
            "wait until {} of {name} {what} at {} ({stable} in a row, every {every})",
            kind.word(),
            asked.join(", ")
        )
    }
}

fn list(values: &[String]) -> String {
    values.join(", ")
}
