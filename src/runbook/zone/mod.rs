//! Zones of the DNS. Knows nothing of how they are asked or changed.

mod convert;
pub mod raw;

use serde::{Deserialize, Serialize};

use super::action::{Value, Walk};
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
    #[serde(default = "crate::runbook::action::none", skip_serializing_if = "Option::is_none")]
    pub id: Option<T>,
    pub access_key: Value<T>,
    pub secret_key: Value<T>,
    #[serde(default = "crate::runbook::action::none", skip_serializing_if = "Option::is_none")]
    pub session_token: Option<Value<T>>,
    #[serde(default = "crate::runbook::action::none", skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<T>,
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
}

impl<T> Zone<T> {
    pub fn try_map<'a, W: Walk<'a, T>>(&'a self, walk: &mut W) -> Result<Zone<W::Text>, W::Error> {
        Ok(match self {
            Zone::Rfc2136(Primary { server, port, zone, key_name, algorithm, secret }) => {
                Zone::Rfc2136(Primary {
                    server: walk.text(server)?,
                    port: walk.text(port)?,
                    zone: walk.text(zone)?,
                    key_name: walk.text(key_name)?,
                    algorithm: *algorithm,
                    secret: secret.try_map(walk)?,
                })
            }
            Zone::File(ZoneFile { path, zone, reload }) => Zone::File(ZoneFile {
                path: walk.text(path)?,
                zone: walk.text(zone)?,
                reload: walk.texts(reload)?,
            }),
            Zone::Cloudflare(Cloudflare { zone, token, endpoint }) => {
                Zone::Cloudflare(Cloudflare {
                    zone: walk.text(zone)?,
                    endpoint: walk.text(endpoint)?,
                    token: token.try_map(walk)?,
                })
            }
            Zone::Route53(Route53 {
                zone,
                id,
                access_key,
                secret_key,
                session_token,
                endpoint,
            }) => Zone::Route53(Route53 {
                zone: walk.text(zone)?,
                id: walk.optional(id)?,
                endpoint: walk.optional(endpoint)?,
                access_key: access_key.try_map(walk)?,
                secret_key: secret_key.try_map(walk)?,
                session_token: session_token
                    .as_ref()
                    .map(|token| token.try_map(walk))
                    .transpose()?,
            }),
        })
    }
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
