//! What was written outside of the journal, with its digests: messages, and the output of attempts.

use serde::{Deserialize, Serialize};

use crate::runbook::StepId;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MessageSent {
    /// `start`, `phase_start`, `notify`, …
    pub occasion: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<StepId>,
    /// The number of the fact that people were told of, if it is not the step's own message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of: Option<u64>,
    pub subject: String,
    pub to: Vec<String>,
    pub channel: String,
    /// The file in the outbox.
    pub file: String,
    pub digest: Digest,
}

/// A file that an attempt wrote, relative to the journal's folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Log {
    pub file: String,
    pub bytes: u64,
    pub sha256: Digest,
}

/// A SHA-256 digest in hexadecimal.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Digest(pub String);
