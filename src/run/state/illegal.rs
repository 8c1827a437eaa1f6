//! Events that cannot follow the ones before them, and each reason why. Decides nothing.

use super::super::event::{Event, kind};

/// An event that cannot follow the ones before it: the log was altered, or the program is wrong.
/// Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("event {number} ({}) cannot follow: {why}", about(.kind, .step.as_deref()))]
pub struct IllegalEvent {
    pub number: u64,
    pub kind: &'static str,
    pub step: Option<String>,
    pub why: Refusal,
}

/// Why an event cannot follow.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    // Of the log.
    #[error("a run begins with run_started")]
    NoBeginning,
    #[error("the first event has the number 1")]
    FirstNumber,
    #[error("the number after {after} is {}", .after + 1)]
    Number { after: u64 },
    #[error("a run begins once")]
    BegunBefore,
    #[error("the runbook has no such step")]
    NoSuchStep,

    // Of the run as a whole.
    #[error("the run is over")]
    Over,
    #[error("it is a rehearsal: nothing was begun that could go on or back")]
    Rehearsal,
    #[error("it is no rehearsal")]
    NoRehearsal,
    #[error("it is a dry run, which changes nothing, and is neither resumed nor taken back")]
    DryRun,
    #[error("the executor had left and the run was not resumed")]
    NotResumed,
    #[error("the executor had left")]
    ExecutorLeft,
    #[error("actions are still running")]
    StillRunning,
    #[error("there is something left to do")]
    NotDone,
    #[error("what is said to run still was not running")]
    WasNotRunning,
    #[error("only a run that goes forward can be cancelled")]
    CannotBeCancelled,
    #[error("only what has not begun can be let begin")]
    BegunAlready,

    // Of attempts.
    #[error("the step has no such action")]
    NoSuchAction,
    #[error("attempts are counted from 1 without gaps")]
    AttemptNumber,
    #[error("it is {0}")]
    Stands(&'static str),
    #[error("nothing goes forward any more")]
    NotForward,
    #[error("its needs are not met")]
    Needs,
    #[error("an amendment took back an answer before it, and nobody has given it anew")]
    Barred,
    #[error("it is a point of no return, and nobody has let it be passed")]
    Unconfirmed,
    #[error("it was done in part, and is to be undone first")]
    Partial,
    #[error("it holds nothing")]
    HoldsNothing,
    #[error("it was being stopped: a later success does not undo that")]
    BeingStopped,
    #[error("that attempt is not running")]
    NotRunning,
    #[error("another attempt is running")]
    OtherAttempt,
    #[error("that attempt is not in doubt")]
    NotInDoubt,
    #[error("that is not its last attempt, or it has ended well")]
    NotTheLastAttempt,
    #[error("it is to be carried out, and not only foreseen")]
    CarriedOut,

    // Of answers.
    #[error("an approval is a go or a no-go")]
    ApprovalOnly,
    #[error("only an approval is a go or a no-go; say whether it is done")]
    NoApproval,
    #[error("only a step is done in part; say of an undo whether it is done or not")]
    PartOfUndo,
    #[error("it has no undo: take back by hand what was done, and say not-done")]
    PartWithoutUndo,
    #[error(
        "steps that depend on it have begun: take back by hand what was done in part, and say \
         not-done"
    )]
    PartUnderOthers,
    #[error("it is {0}: there is nothing to resolve")]
    NothingToResolve(&'static str),
    #[error("it is no point of no return that waits for a word")]
    NoPoint,

    // Of the way back.
    #[error("it is not going forward")]
    GoesBack,
    #[error("that step has not begun: nothing that came after it could be undone")]
    ToHasNotBegun,
    #[error(
        "there is nothing left to undo{}",
        if *.held_back {
            ": what stays lies before a point of no return (--force passes it)"
        } else {
            ""
        }
    )]
    NothingToUndo { held_back: bool },
    #[error("the run is not rolling back")]
    NotRollingBack,
    #[error("a step that depends on it is not undone")]
    DependentNotUndone,
    #[error("it is still running")]
    RunsStill,
    #[error("what it holds is not released")]
    NotReleased,
    #[error("the step has something to undo")]
    HasUndo,

    // Of amendments.
    #[error("the new definition is not at hand")]
    NoDefinition,
    #[error("only a run that goes forward, and in which nothing runs, can be amended")]
    CannotBeAmended,
    #[error("{0}")]
    Conflict(String),
    #[error("it takes other answers back than those before what it changes")]
    OtherAnswers,

    // Of guards and budgets.
    #[error("the runbook has no such guard")]
    NoSuchGuard,
    #[error("it is not watched now")]
    NotWatched,
    #[error("only a dry run foresees what a guard does")]
    NotDry,
    #[error("it is breached already")]
    BreachedBefore,
    #[error("nothing goes forward any more that could be stopped or undone")]
    NothingToStop,
}

pub(super) fn need(holds: bool, otherwise: Refusal) -> Result<(), Refusal> {
    if holds { Ok(()) } else { Err(otherwise) }
}

pub(super) fn illegal(event: &Event, why: Refusal) -> IllegalEvent {
    IllegalEvent {
        number: event.number,
        kind: kind(&event.fact),
        step: event.fact.step().map(ToString::to_string),
        why,
    }
}

fn about(kind: &str, step: Option<&str>) -> String {
    match step {
        Some(step) => format!("{kind} of {step}"),
        None => kind.to_owned(),
    }
}
