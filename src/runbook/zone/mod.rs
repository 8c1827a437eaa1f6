//! Zones of the DNS. Knows nothing of how they are asked or changed.

mod convert;
pub mod raw;

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::action::{Value, all};
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
