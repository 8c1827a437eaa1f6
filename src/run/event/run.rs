//! How a run begins, is left and is over.

use serde::{Deserialize, Serialize};

use super::super::foresight::Purpose;
use super::{Digest, Person};
use crate::runbook::{Direction, Runbook, StepId};

/// How a run begins.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunStarted {
    pub run: String,
    /// What the operator calls it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    pub runbook: String,
    /// SHA-256 of the whole expanded runbook, which the journal holds under this digest.
    pub definition: Digest,
    /// SHA-256 of the parameters' values.
    pub parameters: Digest,
    /// The version of this program.
    pub version: String,
    pub operator: Person,
    /// The working directory (empty: not known): relative paths of the runbook stay the same
    /// wherever it is taken up again.
    #[serde(default)]
    pub folder: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<StepId>,
    #[serde(default, skip_serializing_if = "Purpose::is_real")]
    pub purpose: Purpose,
    /// 128 random bits in hexadecimal, which no other run of any journal has. Empty: of a version
    /// before it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub uuid: String,
    /// The same of the journal in which it began. A copy of the journal has the same.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub journal: String,
}

impl RunStarted {
    /// A real run that has no name, no end before its end, and no place in a journal.
    pub fn of(runbook: &Runbook, run: &str, operator: Person) -> RunStarted {
        RunStarted {
            run: run.to_owned(),
            name: None,
            runbook: runbook.name.clone(),
            definition: Digest::default(),
            parameters: Digest::default(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            operator,
            folder: String::new(),
            environment: runbook.environment.clone(),
            until: None,
            purpose: Purpose::Real,
            uuid: String::new(),
            journal: String::new(),
        }
    }
}

/// An attempt that outlived its executor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StillRunning {
    pub step: StepId,
    pub direction: Direction,
}

/// Why the executor leaves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "stop", rename_all = "snake_case")]
pub enum Stop {
    Failed {
        steps: Vec<StepId>,
    },
    /// Tasks and approvals that nobody has answered.
    Waiting {
        steps: Vec<StepId>,
    },
    /// Attempts whose outcome nobody knows.
    InDoubt {
        steps: Vec<StepId>,
    },
    /// An undo or a release failed.
    Stuck {
        steps: Vec<StepId>,
    },
    /// A guard or a budget is breached, and a person is to decide.
    Breached {
        because: Vec<String>,
    },
    /// The step named with `--until` is done.
    Until {
        step: StepId,
    },
    /// The operator stopped it.
    Interrupted {
        signal: i32,
    },
    /// The run's witness refused the session, or could not be asked. Nothing was begun.
    Unwitnessed {
        why: String,
    },
}

impl Stop {
    /// The exit code that tells a script why the executor left.
    pub fn exit_code(&self) -> i32 {
        match self {
            Stop::Failed { .. } => 1,
            Stop::Waiting { .. } | Stop::InDoubt { .. } | Stop::Breached { .. } => 3,
            Stop::Stuck { .. } => 5,
            Stop::Until { .. } => 0,
            Stop::Interrupted { signal } => 128 + signal,
            Stop::Unwitnessed { .. } => 6,
        }
    }
}

/// How a run is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    Finished,
    RolledBack,
    Cancelled,
}

impl Outcome {
    pub fn exit_code(self) -> i32 {
        match self {
            Outcome::Finished => 0,
            Outcome::RolledBack => 4,
            Outcome::Cancelled => 1,
        }
    }
}
