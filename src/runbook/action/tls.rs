//! Certificates and keys of an encrypted connection.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::optional;
use crate::runbook::convert::text;
use crate::runbook::{Text, TextError};

/// Certificates for https.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct RawTls {
    /// A file of certificates to trust, in PEM, instead of the public ones.
    #[schemars(extend("format" = "template"))]
    pub ca: Option<String>,
    /// A file with the client's certificate, in PEM.
    #[schemars(extend("format" = "template"))]
    pub cert: Option<String>,
    /// A file with the client's key, in PEM.
    #[schemars(extend("format" = "template"))]
    pub key: Option<String>,
}

/// Files with certificates and keys, in PEM.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Tls<T> {
    #[serde(default = "super::none", skip_serializing_if = "Option::is_none")]
    pub ca: Option<T>,
    #[serde(default = "super::none", skip_serializing_if = "Option::is_none")]
    pub cert: Option<T>,
    #[serde(default = "super::none", skip_serializing_if = "Option::is_none")]
    pub key: Option<T>,
}

pub fn tls(raw: &RawTls) -> Tls<Text> {
    Tls {
        ca: raw.ca.as_deref().map(text),
        cert: raw.cert.as_deref().map(text),
        key: raw.key.as_deref().map(text),
    }
}

impl Tls<Text> {
    pub fn render(&self, values: &Json) -> Result<Tls<String>, TextError> {
        Ok(Tls {
            ca: optional(&self.ca, values)?,
            cert: optional(&self.cert, values)?,
            key: optional(&self.key, values)?,
        })
    }

    pub fn texts(&self) -> Vec<&Text> {
        self.ca.iter().chain(&self.cert).chain(&self.key).collect()
    }
}
