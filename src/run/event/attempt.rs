//! How attempts of steps begin and end, and why a step is passed over.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::{Log, Moment, Person};
use crate::runbook::{Action, Direction, Outputs, StepId};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepStarted {
    pub step: StepId,
    pub direction: Direction,
    pub attempt: u32,
    /// The same for all attempts of a step in one direction.
    pub key: String,
    /// What is done, every text rendered; secrets by name.
    pub action: Box<Action<String>>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepSucceeded {
    pub step: StepId,
    pub direction: Direction,
    pub attempt: u32,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub outputs: Outputs,
    /// The result in a few words: `exit 0`, `200`, `3 rows`.
    pub result: String,
    /// The secrets that it was given, by name, each with an HMAC-SHA-256 of its value.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub secrets: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub logs: Vec<Log>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepFailed {
    pub step: StepId,
    pub direction: Direction,
    pub attempt: u32,
    pub failure: Failure,
    /// What it gave all the same; its undo may need it.
    #[serde(default, skip_serializing_if = "Outputs::is_empty")]
    pub outputs: Outputs,
    /// When the next attempt is due, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_at: Option<Moment>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub secrets: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub logs: Vec<Log>,
}

/// Why an attempt failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    pub kind: FailureKind,
    /// For people: what happened, with the server's or program's own words.
    pub message: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureKind {
    /// It provably had no effect: the program is not there, the server refused the connection.
    BeforeEffect,
    /// It ran and said no.
    Failed,
    /// It took longer than it may.
    TimedOut,
    /// An expectation about its result does not hold.
    Unexpected,
    /// A person said no.
    Refused,
    /// Nobody saw how it ended: it is in doubt.
    Lost,
}

/// Why an attempt is to be stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StopReason {
    Timeout,
    Interrupt,
    /// A breach, because of which everything is undone.
    Breach,
}

/// What a probe found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Probed {
    Done,
    NotDone,
    Unknown,
}

/// Why a step is passed over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "why", rename_all = "snake_case")]
pub enum SkipReason {
    Condition {
        condition: String,
    },
    /// It failed and its `on_failure` is `continue`, or its `for_each` tolerates this many
    /// failures.
    Tolerated,
    /// It is not for a live test.
    LiveTest,
    Operator {
        actor: Person,
        reason: String,
    },
}

impl fmt::Display for SkipReason {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SkipReason::Condition { condition } => {
                write!(out, "its condition does not hold: {condition}")
            }
            SkipReason::LiveTest => out.write_str("it is not for a live test"),
            SkipReason::Tolerated => out.write_str("it failed, and the runbook goes on without it"),
            SkipReason::Operator { actor, reason } => write!(out, "skipped by {actor}: {reason}"),
        }
    }
}

/// Outputs as one JSON object.
pub fn outputs_json(outputs: &Outputs) -> Json {
    Json::Object(outputs.iter().map(|(name, value)| (name.clone(), value.clone())).collect())
}
