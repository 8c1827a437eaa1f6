//! Zones of the DNS, what is changed in them, and what their servers are to answer. Knows nothing of how they are asked.

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::Span;
use super::action::Value;
pub use super::raw::{KeyAlgorithm, RecordKind};
use super::text::{Text, TextError};

/// Where a zone is kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Zone<T> {
    Rfc2136(Primary<T>),
    File(ZoneFile<T>),
    Cloudflare(Cloudflare<T>),
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

/// A change of the records of one type that a name has.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Dns<T> {
    pub zone: Zone<T>,
    pub name: T,
    #[serde(rename = "type")]
    pub kind: RecordKind,
    pub change: Change<T>,
    /// What must be there before.
    #[serde(default = "super::action::none", skip_serializing_if = "Option::is_none")]
    pub expect: Option<Vec<T>>,
    /// Whether it puts back what the step found instead.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub restores: bool,
}

/// What becomes of the records.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change<T> {
    /// Exactly these; without a TTL that of those before.
    Set {
        values: Vec<T>,
        ttl: Option<Span>,
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
        }
    }

    fn credential(&self) -> Option<&Value<T>> {
        match self {
            Zone::Rfc2136(primary) => Some(&primary.secret),
            Zone::File(_) => None,
            Zone::Cloudflare(cloudflare) => Some(&cloudflare.token),
        }
    }

    /// The secret that it is changed with.
    pub fn secret(&self) -> Option<&str> {
        self.credential()?.secret()
    }
}

impl Zone<Text> {
    fn render(&self, values: &Json) -> Result<Zone<String>, TextError> {
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
            Zone::File(file) => Zone::File(ZoneFile { path: one(&file.path)?, zone: one(&file.zone)?, reload: all(&file.reload, values)? }),
            Zone::Cloudflare(cloudflare) => Zone::Cloudflare(Cloudflare {
                zone: one(&cloudflare.zone)?,
                token: cloudflare.token.render(values)?,
                endpoint: one(&cloudflare.endpoint)?,
            }),
        })
    }

    fn texts(&self) -> Vec<&Text> {
        let own: Vec<&Text> = match self {
            Zone::Rfc2136(primary) => vec![&primary.server, &primary.port, &primary.zone, &primary.key_name],
            Zone::File(file) => [&file.path, &file.zone].into_iter().chain(&file.reload).collect(),
            Zone::Cloudflare(cloudflare) => vec![&cloudflare.zone, &cloudflare.endpoint],
        };
        own.into_iter().chain(self.credential().and_then(Value::text)).collect()
    }
}

impl<T: Clone> Dns<T> {
    /// What puts back what the step found.
    pub fn inverse(&self) -> Dns<T> {
        Dns { restores: true, expect: None, ..self.clone() }
    }
}

impl Dns<Text> {
    pub fn render(&self, values: &Json) -> Result<Dns<String>, TextError> {
        Ok(Dns {
            zone: self.zone.render(values)?,
            name: self.name.render(values)?,
            kind: self.kind,
            change: match &self.change {
                Change::Set { values: texts, ttl } => Change::Set { values: all(texts, values)?, ttl: *ttl },
                Change::Delete => Change::Delete,
                Change::LowerTtl(ttl) => Change::LowerTtl(*ttl),
            },
            expect: self.expect.as_ref().map(|texts| all(texts, values)).transpose()?,
            restores: self.restores,
        })
    }

    /// Every text in it, for checking names.
    pub fn texts(&self) -> Vec<&Text> {
        let to = if let Change::Set { values, .. } = &self.change { values.as_slice() } else { &[] };
        let own = [&self.name].into_iter().chain(to).chain(self.expect.iter().flatten());
        self.zone.texts().into_iter().chain(own).collect()
    }
}

impl Propagation<Text> {
    pub fn render(&self, values: &Json) -> Result<Propagation<String>, TextError> {
        Ok(Propagation {
            zone: self.zone.as_ref().map(|zone| zone.render(values)).transpose()?,
            servers: all(&self.servers, values)?,
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
        zone.chain([&self.name]).chain(&self.servers).chain(&self.resolvers).chain(&self.values).collect()
    }
}

fn all(texts: &[Text], values: &Json) -> Result<Vec<String>, TextError> {
    texts.iter().map(|text| text.render(values)).collect()
}

impl Zone<String> {
    /// Which one it is, in words.
    pub fn in_words(&self) -> String {
        match self {
            Zone::Rfc2136(primary) => format!("{} on {}:{}", primary.zone, primary.server, primary.port),
            Zone::File(file) => format!("{} in {}", file.zone, file.path),
            Zone::Cloudflare(cloudflare) => format!("{} at {}", cloudflare.zone, cloudflare.endpoint),
        }
    }
}

impl Dns<String> {
    pub fn in_words(&self) -> String {
        let Dns { zone, name, kind, .. } = self;
        let (zone, kind) = (zone.in_words(), kind.word());
        if self.restores {
            return format!("put {kind} of {name} in {zone} back as it was found, if it still is as the step wrote it");
        }
        match &self.change {
            Change::Set { values, ttl } => {
                let ttl = ttl.map(|ttl| format!(" with a TTL of {ttl}")).unwrap_or_default();
                format!("set {kind} of {name} in {zone} to {}{ttl}", list(values))
            }
            Change::Delete => format!("delete {kind} of {name} in {zone}"),
            Change::LowerTtl(ttl) => format!("lower the TTL of {kind} of {name} in {zone} to {ttl}, and wait as long as it was"),
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
        let what = if values.is_empty() { "does not exist".to_owned() } else { format!("is {}", list(values)) };
        format!("wait until {} of {name} {what} at {} ({stable} in a row, every {every})", kind.word(), asked.join(", "))
    }
}

fn list(values: &[String]) -> String {
    values.join(", ")
}
