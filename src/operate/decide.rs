//! A person's decision about a step, with a reason, for the record: it is passed over, or what its
//! state is. Does not know how the person was asked.

use std::sync::Arc;

use super::found::{ToDecide, step_named};
use super::record::record;
use super::{OperateError, OutputsError};
use crate::run::{Fact, SkipReason, StepResolved, Track, Verdict};
use crate::runbook::{Action, Direction, Outputs, StepId, StepIx, Text};

/// Passes over a step: what needs it goes on as if it were done.
#[derive(Debug, Clone)]
pub struct Skip {
    pub step: String,
    pub reason: String,
}

/// A step that is passed over from now on.
#[derive(Debug)]
pub struct Skipped {
    pub run: String,
    pub step: StepId,
}

/// Says what a step's state is: a task that was done, a decision, an attempt whose outcome only a
/// person can know.
#[derive(Debug, Clone)]
pub struct Resolve {
    pub step: String,
    pub verdict: Verdict,
    pub reason: String,
    /// A field of the task, or an output of the step, each as `key=value`.
    pub set: Vec<String>,
}

/// What came of it.
#[derive(Debug)]
pub struct Resolved {
    pub run: String,
    pub step: StepId,
    pub now: Now,
}

/// How a step stands after a person's word.
#[derive(Debug)]
pub enum Now {
    /// It is a point of no return, and may be passed.
    MayBePassed,
    /// The word for its state.
    Is(&'static str),
}

impl ToDecide {
    /// # Errors
    /// If there is no such step, if its command still runs, or if it cannot be passed over.
    pub fn skip(self, wanted: Skip) -> Result<Skipped, OperateError> {
        let Skip { step, reason } = wanted;
        let (_, step) = self.step(&step)?;
        let skipped = Fact::StepSkipped {
            step: Arc::clone(&step),
            because: SkipReason::Operator { actor: self.actor.clone(), reason },
        };
        let facts = self.resumption().into_iter().chain([skipped]).collect();
        let state = record(self, facts)?;
        Ok(Skipped { run: state.started.run, step })
    }

    /// # Errors
    /// If there is no such step, if its command still runs, if nothing of it is open, or if the
    /// values do not fit.
    pub fn resolve(self, wanted: Resolve) -> Result<Resolved, OperateError> {
        let (ix, step) = self.step(&wanted.step)?;
        if self.state().unconfirmed().any(|waiting| waiting == ix) {
            return self.confirm(step, wanted);
        }
        let Resolve { step: _, verdict, reason, set } = wanted;
        let state = self.state();
        let Some(direction) = self.open(ix) else {
            return Err(OperateError::NothingToResolve { step, is: state.step(ix).word() });
        };
        let is_complete = matches!(verdict, Verdict::Done | Verdict::Go);
        let outputs = outputs(&set, &state.runbook.step(ix).act.action, is_complete)?;
        let resolved = Fact::StepResolved(StepResolved {
            step: Arc::clone(&step),
            direction,
            verdict,
            actor: self.actor.clone(),
            reason,
            outputs,
        });
        let facts = self.resumption().into_iter().chain([resolved]).collect();
        let state = record(self, facts)?;
        Ok(Resolved { now: Now::Is(state.step(ix).word()), run: state.started.run, step })
    }

    /// A word about a point of no return that is to be passed.
    fn confirm(self, step: StepId, wanted: Resolve) -> Result<Resolved, OperateError> {
        match wanted.verdict {
            Verdict::Go => {}
            Verdict::Done | Verdict::NotDone | Verdict::Partial | Verdict::NoGo => {
                return Err(OperateError::PointNeedsGo { step });
            }
        }
        let fact = Fact::PointConfirmed {
            step: Arc::clone(&step),
            actor: self.actor.clone(),
            reason: wanted.reason,
        };
        let state = record(self, vec![fact])?;
        Ok(Resolved { run: state.started.run, step, now: Now::MayBePassed })
    }

    /// The step that is named, of which nothing runs.
    fn step(&self, name: &str) -> Result<(StepIx, StepId), OperateError> {
        let runbook = &self.state().runbook;
        let ix = step_named(runbook, name)?;
        let id = Arc::clone(&runbook.step(ix).id);
        self.refuse_running(Some(&id))?;
        Ok((ix, id))
    }

    /// The direction in which something of a step is open: first what it is about in the way that
    /// the run goes.
    fn open(&self, ix: StepIx) -> Option<Direction> {
        let state = self.state();
        let order = if state.rollback.is_some() {
            [Direction::Undo, Direction::Release, Direction::Forward]
        } else {
            [Direction::Forward, Direction::Release, Direction::Undo]
        };
        let is_unclear = |direction: &Direction| match state.track(ix, *direction) {
            Track::InDoubt { .. }
            | Track::Failed { .. }
            | Track::Running { .. }
            | Track::Waiting { .. } => true,
            Track::Idle
            | Track::Retrying { .. }
            | Track::Done
            | Track::Skipped { .. }
            | Track::Passed => false,
        };
        let is_asked = |direction: &Direction| {
            *direction == Direction::Undo
                && state.rollback.as_ref().is_some_and(|rollback| rollback.ready.contains(&ix))
        };
        order.into_iter().find(is_unclear).or_else(|| order.into_iter().find(is_asked))
    }
}

/// Fields of a task by their kinds; other outputs as text.
fn outputs(
    set: &[String],
    action: &Action<Text>,
    is_complete: bool,
) -> Result<Outputs, OutputsError> {
    let mut outputs = Outputs::new();
    let fields = match action {
        Action::Task(task) => Some(&task.fields),
        _ => None,
    };
    for pair in set {
        let (key, value) =
            pair.split_once('=').ok_or_else(|| OutputsError::NoValue { pair: pair.clone() })?;
        let value = match fields.map(|fields| fields.get(key)) {
            Some(Some(kind)) => kind
                .parse(value)
                .map_err(|why| OutputsError::Unfit { key: key.to_owned(), why: why.to_string() })?,
            Some(None) => return Err(OutputsError::NoField { key: key.to_owned() }),
            None => value.into(),
        };
        outputs.insert(key.to_owned(), value);
    }
    let missing: Vec<String> = fields
        .into_iter()
        .flatten()
        .filter(|(name, kind)| kind.required && !outputs.contains_key(*name))
        .map(|(name, _)| name.clone())
        .collect();
    if is_complete && !missing.is_empty() {
        return Err(OutputsError::Missing { missing });
    }
    Ok(outputs)
}
