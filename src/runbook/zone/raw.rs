//! The shapes that an author writes for zones. Knows nothing of what the keys mean.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::runbook::action::{RawScalar, RawSecretUse};

/// A zone of the DNS: exactly one of the four.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
#[schemars(extend("minProperties" = 1, "maxProperties" = 1))]
pub struct RawZone {
    /// On a server that takes dynamic updates (RFC 2136), signed with a shared key (TSIG).
    pub rfc2136: Option<RawPrimary>,
    /// In a zone file (RFC 1035).
    pub file: Option<RawZoneFile>,
    /// At Cloudflare, over its API.
    pub cloudflare: Option<RawCloudflare>,
    /// At Amazon Route 53.
    pub route53: Option<RawRoute53>,
}

/// A zone's primary server, which takes dynamic updates.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct RawPrimary {
    /// Its name or address.
    #[schemars(extend("format" = "template"))]
    pub server: String,
    /// Its port. Default 53.
    pub port: Option<RawScalar>,
    /// The zone's name.
    #[schemars(extend("format" = "template"))]
    pub zone: String,
    /// The key that questions and updates are signed with.
    pub key: RawKey,
}

/// A shared key (TSIG).
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct RawKey {
    /// Its name, as the server knows it.
    #[schemars(extend("format" = "template"))]
    pub name: String,
    /// What is signed with it. Default hmac-sha256.
    #[serde(default)]
    pub algorithm: KeyAlgorithm,
    /// The key itself in base64, which is a secret: `{ secret: name }`.
    pub secret: RawSecretUse,
}

/// How messages are signed with a shared key.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum KeyAlgorithm {
    #[default]
    HmacSha256,
    HmacSha384,
    HmacSha512,
}

/// A zone file.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct RawZoneFile {
    /// The file.
    #[schemars(extend("format" = "template"))]
    pub path: String,
    /// The zone's name.
    #[schemars(extend("format" = "template"))]
    pub zone: String,
    /// A command, as a list of arguments, that has the server read the file anew.
    #[serde(default)]
    #[schemars(extend("items" = {"type": "string", "format": "template"}))]
    pub reload: Vec<String>,
}

/// A zone at Cloudflare.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct RawCloudflare {
    /// The zone's name.
    #[schemars(extend("format" = "template"))]
    pub zone: String,
    /// An API token that may edit the zone, which is a secret: `{ secret: name }`.
    pub token: RawSecretUse,
    /// Where the API is. Default `https://api.cloudflare.com/client/v4`.
    #[schemars(extend("format" = "template"))]
    pub endpoint: Option<String>,
}

/// A zone at Amazon Route 53.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct RawRoute53 {
    /// The zone's name.
    #[schemars(extend("format" = "template"))]
    pub zone: String,
    /// The hosted zone's id, if there are several of this name.
    #[schemars(extend("format" = "template"))]
    pub id: Option<String>,
    /// The access key's id, which is a secret: `{ secret: name }`.
    pub access_key: RawSecretUse,
    /// The access key itself, which is a secret.
    pub secret_key: RawSecretUse,
    /// The token of temporary credentials, which is a secret.
    pub session_token: Option<RawSecretUse>,
    /// Where the API is. Default: where Amazon has it.
    #[schemars(extend("format" = "template"))]
    pub endpoint: Option<String>,
}

/// The types of records that are read and written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum RecordKind {
    A,
    Aaaa,
    Cname,
    Txt,
    Mx,
    Ns,
    Srv,
    Caa,
    Ptr,
}

impl RecordKind {
    pub fn word(self) -> &'static str {
        match self {
            RecordKind::A => "A",
            RecordKind::Aaaa => "AAAA",
            RecordKind::Cname => "CNAME",
            RecordKind::Txt => "TXT",
            RecordKind::Mx => "MX",
            RecordKind::Ns => "NS",
            RecordKind::Srv => "SRV",
            RecordKind::Caa => "CAA",
            RecordKind::Ptr => "PTR",
        }
    }
}
