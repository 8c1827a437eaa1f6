//! The shapes that an author writes for zones and the records in them. Knows nothing of what the
//! keys mean.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::runbook::raw::{RawScalar, RawSecretUse};

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

/// The records of one type that a name has, or with `records` several such, changed at once: all or
/// none.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct RawDns {
    /// The name of one of the `zones`.
    pub zone: String,
    #[serde(flatten)]
    pub one: RawRecord,
    /// Several changes that are made at once: all of them or none.
    pub records: Option<Vec<RawListed>>,
    /// The largest share of the zone's sets of records that may be changed, in percent; beyond it,
    /// nothing is.
    #[schemars(regex(pattern = r"^(100|[1-9]?[0-9])%$"))]
    pub at_most: Option<String>,
}

/// One of several changes.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct RawListed {
    #[serde(flatten)]
    pub record: RawRecord,
}

/// The records of one type that a name has: exactly one of `value`, `values`, `delete` and
/// `lower_ttl`.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct RawRecord {
    /// The name, below the zone's or whole; `@` is the zone's own.
    #[schemars(extend("format" = "template"))]
    pub name: Option<String>,
    /// The type of the records. Records of other types are left alone.
    #[serde(rename = "type")]
    pub kind: Option<RecordKind>,
    /// Which of several weighted sets of records of this name and type is meant, by its identifier
    /// (Route 53).
    #[schemars(extend("format" = "template"))]
    pub set: Option<String>,
    /// What the one record is to say, as in a zone file; names in it are whole.
    #[schemars(extend("format" = "template"))]
    pub value: Option<String>,
    /// The same for several records.
    #[schemars(extend("items" = {"type": "string", "format": "template"}))]
    pub values: Option<Vec<String>>,
    /// How long answers may be kept, in whole seconds. Default: as long as those that are replaced.
    #[schemars(extend("format" = "duration"))]
    pub ttl: Option<String>,
    /// The set's share of the answers, in relation to the other sets. Default: that of those that
    /// are replaced.
    #[schemars(range(min = 0, max = 255))]
    pub weight: Option<u8>,
    /// `true`: there are to be no such records.
    pub delete: Option<bool>,
    /// Keeps the values, lowers their TTL to this, and then waits as long as the TTL was that it
    /// found.
    #[schemars(extend("format" = "duration"))]
    pub lower_ttl: Option<String>,
    /// The values that must be there before; `[]`: there must be none.
    #[schemars(extend("items" = {"type": "string", "format": "template"}))]
    pub expect: Option<Vec<String>>,
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

/// The answer that all name servers are to give.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct RawPropagation {
    /// The name of one of the `zones`: all its name servers are asked.
    pub zone: Option<String>,
    /// The authoritative servers to ask, instead of those that the zone names: `name`, `address` or
    /// `address:port`.
    #[serde(default)]
    #[schemars(extend("items" = {"type": "string", "format": "template"}))]
    pub servers: Vec<String>,
    /// The port of the name servers that the zone names. Default 53.
    pub port: Option<RawScalar>,
    /// Resolvers to ask as well, which may keep old answers.
    #[serde(default)]
    #[schemars(extend("items" = {"type": "string", "format": "template"}))]
    pub resolvers: Vec<String>,
    /// The name, below the zone's or whole; without a `zone` it is whole.
    #[schemars(extend("format" = "template"))]
    pub name: String,
    /// The type of the records.
    #[serde(rename = "type")]
    pub kind: RecordKind,
    /// The values that all are to answer; `[]`: that there are none.
    #[schemars(extend("items" = {"type": "string", "format": "template"}))]
    pub values: Vec<String>,
    /// The pause between two readings. Default 5s.
    #[schemars(extend("format" = "duration"))]
    pub every: Option<String>,
    /// How many readings in a row all must agree. Default 1.
    #[schemars(range(min = 1, max = 1000))]
    pub stable: Option<u32>,
    /// The longest it may take; then the step has failed.
    #[schemars(extend("format" = "duration"))]
    pub timeout: Option<String>,
}
