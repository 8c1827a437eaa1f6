//! Persons, and what they decide about a run or a step.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Digest;
use crate::runbook::{Direction, Outputs, Runbook, StepId};

/// A person: who, and on which machine.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Person(pub String);

impl fmt::Display for Person {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepResolved {
    pub step: StepId,
    pub direction: Direction,
    pub verdict: Verdict,
    pub actor: Person,
    pub reason: String,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub outputs: Outputs,
}

/// What a person decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    Done,
    NotDone,
    /// Done in part: it is to be undone, and then begun anew.
    Partial,
    Go,
    NoGo,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RunAmended {
    /// SHA-256 of the new expanded runbook, which the journal holds under this digest.
    pub definition: Digest,
    pub parameters: Digest,
    pub actor: Person,
    pub reason: String,
    /// For people: which steps are new, gone or different.
    pub changes: Vec<String>,
    /// What had not been shown of it, although the environment requires it; the person took it all
    /// the same.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<String>,
    /// The answers that it takes back, as something behind them means something else now: these
    /// steps are asked about again. Absent in journals of before there were such.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub voided: Option<Vec<StepId>>,
    /// The runbook itself; whoever reads an event puts it here.
    #[serde(skip)]
    pub runbook: Option<Arc<Runbook>>,
}

/// The same event, whether or not the runbook is at hand.
impl PartialEq for RunAmended {
    fn eq(&self, other: &RunAmended) -> bool {
        let RunAmended {
            definition,
            parameters,
            actor,
            reason,
            changes,
            missing,
            voided,
            runbook: _,
        } = self;
        *definition == other.definition
            && *parameters == other.parameters
            && *actor == other.actor
            && *reason == other.reason
            && *changes == other.changes
            && *missing == other.missing
            && *voided == other.voided
    }
}
