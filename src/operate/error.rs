//! Why a use case is refused, in words that a person can be shown anywhere. What to do next and
//! the exit code belong to whoever shows it.

use super::load::LoadError;
use crate::journal::JournalError;
use crate::run::IllegalEvent;
use crate::runbook::StepId;

#[derive(Debug, thiserror::Error)]
pub enum OperateError {
    #[error(transparent)]
    Load(#[from] LoadError),
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// A person named a step, and no step or several have that name.
    #[error("{why}")]
    NoStep { why: String },

    // Before a run begins.
    #[error("it may not begin; nothing was changed")]
    MayNotBegin { missing: Vec<String> },
    /// How long the run takes cannot be said.
    #[error("{why}")]
    NoLength { why: String },

    /// There is no stand-in for an action.
    #[error("{why}")]
    NoStandIn { why: String },

    // A run that is to go on, or back.
    #[error(
        "the run {run} is a dry run or a rehearsal: it changed nothing that could go on or be \
         taken back"
    )]
    NotCarriedOut { run: String },
    #[error(
        "the run was begun in {folder}, which cannot be entered: {source}; nothing was changed"
    )]
    NoFolder { folder: String, source: std::io::Error },
    #[error("the run {run} was cancelled: it goes neither forward nor back")]
    Cancelled { run: String },
    #[error("the run was cancelled: it goes neither forward nor back")]
    Cancelling,
    /// The step to which it is to go back comes too late.
    #[error("the run is rolling back already")]
    RollingBackAlready,
    #[error("the run is rolling back; cancelling would leave it half undone")]
    RollingBack,
    #[error("the run {run} is over already")]
    Over { run: String },
    #[error("{}; nothing was changed", source.why)]
    DoesNotFit { source: IllegalEvent },

    // A decision about a run that nobody executes.
    #[error(
        "the process that began the commands of an executor that died has not said what it has \
         begun; nothing was changed"
    )]
    MayStillBegin,
    #[error(
        "how the command of {step} ended is on record: there is nothing to guess; nothing was \
         changed"
    )]
    EndIsOnRecord { step: StepId },
    #[error("the command of {step} still runs, left by an executor that died; nothing was changed")]
    StillRuns { step: StepId },
    #[error("{}: {}", source.step.as_deref().unwrap_or_default(), source.why)]
    DecisionDoesNotFit { source: IllegalEvent },
    #[error("{step} is {is}: there is nothing to resolve")]
    NothingToResolve { step: StepId, is: &'static str },
    #[error("{step} is a point of no return that waits for a go; without one it is not passed")]
    PointNeedsGo { step: StepId },
    #[error(transparent)]
    Outputs(#[from] OutputsError),

    // Another definition.
    #[error("this definition does nothing else than the one that the run has; nothing was changed")]
    SameDefinition,
    #[error("{}; nothing was changed", conflicts.join("; "))]
    Conflicts { conflicts: Vec<String> },
    #[error("the run may not go on with it; nothing was changed")]
    MayNotGoOn { missing: Vec<String> },
}

/// What is wrong with the values that somebody gives for a step.
#[derive(Debug, thiserror::Error)]
pub enum OutputsError {
    #[error("{pair} has no `=`")]
    NoValue { pair: String },
    #[error("{key}: {why}")]
    Unfit { key: String, why: String },
    #[error("the task has no field `{key}`")]
    NoField { key: String },
    #[error("the task asks for {}", missing.join(", "))]
    Missing { missing: Vec<String> },
}
