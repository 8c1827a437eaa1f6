//! Where a run and the actions of its steps can stand. Knows no transitions.

use super::super::event::{Failure, Moment, Probed, SkipReason, StopReason};

/// Which way the run goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    Forward,
    RollingBack,
    Cancelling,
}

/// Where an action of a step stands, in one direction.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Track {
    #[default]
    Idle,
    Running {
        attempt: u32,
        since: Moment,
        stopping: Option<StopReason>,
    },
    /// A person is asked.
    Waiting {
        attempt: u32,
        since: Moment,
    },
    /// Nobody knows how the attempt ended.
    InDoubt {
        attempt: u32,
        probed: Option<Probed>,
    },
    Retrying {
        attempt: u32,
        at: Moment,
        failure: Failure,
    },
    Failed {
        attempt: u32,
        failure: Failure,
    },
    Done,
    Skipped {
        because: SkipReason,
    },
    /// There was nothing to undo.
    Passed,
}

impl Track {
    pub fn is_failed(&self) -> bool {
        matches!(self, Track::Failed { .. })
    }

    pub fn word(&self) -> &'static str {
        match self {
            Track::Idle => "ready",
            Track::Running { .. } => "running",
            Track::Waiting { .. } => "waiting",
            Track::InDoubt { .. } => "in doubt",
            Track::Retrying { .. } => "retrying",
            Track::Failed { .. } => "failed",
            Track::Done => "done",
            Track::Skipped { .. } => "skipped",
            Track::Passed => "nothing to undo",
        }
    }
}
