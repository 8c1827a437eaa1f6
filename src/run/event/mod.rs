//! The facts of a run. What is not an event has not happened; every other account of a run is
//! derived from these.

mod attempt;
mod moment;
mod person;
mod run;
mod written;

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::foresight::{Foreseen, Rehearsed, StepForeseen};
use super::watch::Breach;
use crate::runbook::traffic::Says;
use crate::runbook::{Direction, StepId};

pub use attempt::*;
pub use moment::*;
pub use person::*;
pub use run::*;
pub use written::*;

/// One numbered fact of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// From 1, without gaps.
    pub number: u64,
    pub at: Moment,
    #[serde(flatten)]
    pub fact: Fact,
}

/// Everything that can happen in a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Fact {
    /// Always the first: binds the run to its definition, parameters and program.
    RunStarted(RunStarted),
    /// An executor takes the run up again. What was running is in doubt from here, unless it is
    /// known to run still; what had failed may begin anew.
    RunResumed {
        operator: Person,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        until: Option<StepId>,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        still_running: Vec<StillRunning>,
    },
    /// The executor leaves; the run can be resumed.
    RunStopped { because: Stop },
    /// The run is over.
    RunEnded { outcome: Outcome },
    /// From here everything is taken back; nothing goes forward any more.
    RollbackBegan {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        to: Option<StepId>,
        because: String,
        actor: Person,
        #[serde(default, skip_serializing_if = "is_false")]
        force: bool,
    },
    /// The run is given up where it is; only what is held is released.
    CancelBegan { because: String, actor: Person },
    /// An attempt begins. Durable before anything happens outside.
    StepStarted(StepStarted),
    /// An attempt ended well.
    StepSucceeded(StepSucceeded),
    /// An attempt ended badly.
    StepFailed(StepFailed),
    /// In a dry run, instead of the two: the step was looked at, and not carried out.
    StepForeseen(StepForeseen),
    /// An attempt is to be stopped: the reason stands here before the signal is sent, and a later
    /// success does not undo it.
    StopRequested { step: StepId, direction: Direction, attempt: u32, because: StopReason },
    /// The step is passed over.
    StepSkipped { step: StepId, because: SkipReason },
    /// There was nothing to undo or release.
    UndoPassed { step: StepId },
    /// A read-only look at whether an attempt in doubt had its effect.
    StepProbed {
        step: StepId,
        direction: Direction,
        attempt: u32,
        verdict: Probed,
        reading: String,
    },
    /// A person decided what a step's state is, or answered a task or an approval.
    StepResolved(StepResolved),
    /// A person lets a point of no return be passed.
    PointConfirmed { step: StepId, actor: Person, reason: String },
    /// The run goes on with another definition; nothing that has started means anything else in it.
    RunAmended(RunAmended),
    /// What an attempt found before it changes anything; durable before it does. Its undo brings
    /// that back.
    StepSaw { step: StepId, direction: Direction, attempt: u32, seen: Json },
    /// A long action said how far it is.
    CursorSaved { step: StepId, direction: Direction, attempt: u32, cursor: String },
    /// What an analysis says of traffic at a weight, in percent, is not what it said before.
    AnalysisRead {
        step: StepId,
        attempt: u32,
        analysis: String,
        percent: u8,
        says: Says,
        reading: String,
    },
    /// What a guard says is not what it said before.
    GuardRead { guard: String, says: Says, reading: String },
    /// In a dry run: because of what a guard says now a run would not go on, or the guard cannot be
    /// read at all.
    GuardForeseen { guard: String, verdict: Foreseen },
    /// A guard or a budget is breached.
    Breached(Breach),
    /// People were told something.
    MessageSent(MessageSent),
    /// A person lets it begin although something that it should have is missing.
    Overridden { missing: Vec<String>, actor: Person, reason: String },
    /// What a rehearsal found; it is all that such a run consists of.
    Rehearsed(Rehearsed),
}

impl Fact {
    /// The step it is about, if it is about one.
    pub fn step(&self) -> Option<&StepId> {
        match self {
            Fact::StepStarted(StepStarted { step, .. })
            | Fact::StepSucceeded(StepSucceeded { step, .. })
            | Fact::StepFailed(StepFailed { step, .. })
            | Fact::StepForeseen(StepForeseen { step, .. })
            | Fact::StepResolved(StepResolved { step, .. })
            | Fact::StopRequested { step, .. }
            | Fact::StepSkipped { step, .. }
            | Fact::UndoPassed { step }
            | Fact::StepProbed { step, .. }
            | Fact::PointConfirmed { step, .. }
            | Fact::StepSaw { step, .. }
            | Fact::CursorSaved { step, .. }
            | Fact::AnalysisRead { step, .. } => Some(step),
            Fact::MessageSent(message) => message.step.as_ref(),
            Fact::RunStarted(_)
            | Fact::RunResumed { .. }
            | Fact::RunStopped { .. }
            | Fact::RunEnded { .. }
            | Fact::RollbackBegan { .. }
            | Fact::CancelBegan { .. }
            | Fact::RunAmended(_)
            | Fact::GuardRead { .. }
            | Fact::GuardForeseen { .. }
            | Fact::Breached(_)
            | Fact::Overridden { .. }
            | Fact::Rehearsed(_) => None,
        }
    }
}

/// The name of an event's kind, as it stands in the journal.
pub fn kind(fact: &Fact) -> &'static str {
    match fact {
        Fact::RunStarted(_) => "run_started",
        Fact::RunResumed { .. } => "run_resumed",
        Fact::RunStopped { .. } => "run_stopped",
        Fact::RunEnded { .. } => "run_ended",
        Fact::RollbackBegan { .. } => "rollback_began",
        Fact::CancelBegan { .. } => "cancel_began",
        Fact::StepStarted(_) => "step_started",
        Fact::StepSucceeded(_) => "step_succeeded",
        Fact::StepFailed(_) => "step_failed",
        Fact::StepForeseen(_) => "step_foreseen",
        Fact::StopRequested { .. } => "stop_requested",
        Fact::StepSkipped { .. } => "step_skipped",
        Fact::UndoPassed { .. } => "undo_passed",
        Fact::StepProbed { .. } => "step_probed",
        Fact::StepResolved(_) => "step_resolved",
        Fact::PointConfirmed { .. } => "point_confirmed",
        Fact::RunAmended(_) => "run_amended",
        Fact::StepSaw { .. } => "step_saw",
        Fact::CursorSaved { .. } => "cursor_saved",
        Fact::AnalysisRead { .. } => "analysis_read",
        Fact::GuardRead { .. } => "guard_read",
        Fact::GuardForeseen { .. } => "guard_foreseen",
        Fact::Breached(_) => "breached",
        Fact::MessageSent(_) => "message_sent",
        Fact::Overridden { .. } => "overridden",
        Fact::Rehearsed(_) => "rehearsed",
    }
}

fn is_false(value: &bool) -> bool {
    !value
}
