//! Certificates and keys of an encrypted connection.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::walk::Walk;
use crate::runbook::Text;
use crate::runbook::convert::text;

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

impl<T> Tls<T> {
    pub fn try_map<'a, W: Walk<'a, T>>(&'a self, walk: &mut W) -> Result<Tls<W::Text>, W::Error> {
        let Tls { ca, cert, key } = self;
        Ok(Tls { ca: walk.optional(ca)?, cert: walk.optional(cert)?, key: walk.optional(key)? })
    }
}
