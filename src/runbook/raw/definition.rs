//! What an author defines beside the phases: parameters, and where secrets are read from.

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value as Json;

/// One parameter.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct RawParameter {
    /// What kind of value it takes.
    #[serde(rename = "type", default)]
    pub kind: ParameterKind,
    /// The value if none is given. Text may use the parameters above it: `{{ folder }}/backup`.
    pub default: Option<Json>,
    /// Whether a value must be given. Without a default it must.
    pub required: Option<bool>,
    /// The values allowed.
    #[serde(rename = "enum")]
    pub allowed: Option<Vec<Json>>,
    /// A regular expression that the whole text must match.
    #[schemars(extend("format" = "regex"))]
    pub pattern: Option<String>,
    /// What it is for.
    pub description: Option<String>,
}

/// The kinds of parameter values.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, serde::Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ParameterKind {
    #[default]
    String,
    Integer,
    Number,
    Boolean,
    Duration,
    List,
    Map,
}

/// Where a secret is read from: exactly one of the three.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
#[schemars(extend("minProperties" = 1, "maxProperties" = 1))]
pub struct RawSecret {
    /// An environment variable of the operator.
    pub env: Option<String>,
    /// A file; one line break at its end is dropped.
    pub file: Option<String>,
    /// A command, as a list of arguments; what it prints, less one line break at the end.
    pub command: Option<Vec<String>>,
    /// A step of this runbook: a command that writes it, while the run goes on, into the file of
    /// its name in `$SWITCHOVER_SECRETS`.
    pub step: Option<String>,
}
