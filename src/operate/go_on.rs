//! The three ways on for a run that stands: forward, back, or given up where it is. Says what is
//! journaled first; the engine carries it out.

use std::sync::Arc;

use super::found::{ToGoOn, step_named};
use super::{OperateError, SessionEnd, amend};
use crate::engine::{self, Config};
use crate::journal::{Head, Journal, Loaded};
use crate::run::{Event, Fact, Mode, Observer, Outcome, RunState};
use crate::runbook::StepId;

/// Goes on with the run: after a failure, a kill, an answer.
#[derive(Debug, Clone)]
pub struct Resume {
    /// Stop once this step is done.
    pub until: Option<String>,
}

/// Undoes what the run has begun, in reverse order.
#[derive(Debug, Clone)]
pub struct Rollback {
    /// Undo only what came after this step.
    pub to: Option<String>,
    pub reason: String,
    /// Go back also past a point of no return.
    pub force: bool,
}

/// Gives the run up where it is: nothing is undone, what it holds is released.
#[derive(Debug, Clone)]
pub struct Cancel {
    pub reason: String,
}

/// How a run can go on.
pub enum GoOn {
    /// It is over as it was asked for: there is nothing to do.
    AlreadyOver {
        state: Box<RunState>,
        outcome: Outcome,
    },
    Ready(Box<Ready>),
}

/// A run that may go on as it was asked for.
pub struct Ready {
    journal: Journal,
    head: Head,
    loaded: Loaded,
    facts: Vec<Fact>,
    config: Config,
}

impl ToGoOn {
    /// What the run's file says now that the run's own definition does not. The run goes on with
    /// its own.
    pub fn changes_of_file(&self) -> Vec<String> {
        if self.state().ended.is_some() { Vec::new() } else { amend::changed_since(self.state()) }
    }

    /// # Errors
    /// If there is no such step, or if the run cannot go on.
    pub fn resume(self, wanted: Resume) -> Result<GoOn, OperateError> {
        let state = self.state();
        if let Some(outcome) = state.ended
            && state.notices.owed.is_empty()
        {
            return Ok(self.over(outcome));
        }
        let until = wanted.until.map(|step| self.step(&step)).transpose()?;
        // Of a run that is over, people may not have been told yet.
        let facts = match self.state().ended {
            Some(_) => Vec::new(),
            None => vec![self.resumed(until)],
        };
        self.ready(facts)
    }

    /// # Errors
    /// If there is no such step, or if the run may not go back.
    pub fn roll_back(self, wanted: Rollback) -> Result<GoOn, OperateError> {
        let Rollback { to, reason, force } = wanted;
        let state = self.state();
        if state.ended == Some(Outcome::Cancelled) {
            return Err(OperateError::Cancelled { run: state.started.run.clone() });
        }
        if state.ended == Some(Outcome::RolledBack) && to.is_none() && !force && self.is_all_back()
        {
            return Ok(self.over(Outcome::RolledBack));
        }
        let mut facts = Vec::new();
        if state.ended.is_none() {
            facts.push(self.resumed(None));
        }
        match (state.mode, state.ended) {
            // A run that went back in part can go back further.
            (Mode::Forward, _) | (Mode::RollingBack, Some(_)) => {
                let to = to.map(|step| self.step(&step)).transpose()?;
                facts.push(self.rollback(to, reason, force));
            }
            (Mode::RollingBack, None) if to.is_some() => {
                return Err(OperateError::RollingBackAlready);
            }
            (Mode::RollingBack, None) => {}
            (Mode::Cancelling, _) => return Err(OperateError::Cancelling),
        }
        self.ready(facts)
    }

    /// # Errors
    /// If the run is over, or on its way back.
    pub fn cancel(self, wanted: Cancel) -> Result<GoOn, OperateError> {
        let state = self.state();
        if state.ended.is_some() {
            return Err(OperateError::Over { run: state.started.run.clone() });
        }
        let mut facts = vec![self.resumed(None)];
        match state.mode {
            Mode::Forward => facts.push(Fact::CancelBegan {
                because: wanted.reason,
                actor: self.config.operator.clone(),
            }),
            Mode::RollingBack => return Err(OperateError::RollingBack),
            Mode::Cancelling => {}
        }
        self.ready(facts)
    }

    fn step(&self, name: &str) -> Result<StepId, OperateError> {
        let runbook = &self.state().runbook;
        Ok(Arc::clone(&runbook.step(step_named(runbook, name)?).id))
    }

    fn resumed(&self, until: Option<StepId>) -> Fact {
        let operator = self.config.operator.clone();
        Fact::RunResumed { operator, until, still_running: Vec::new() }
    }

    fn rollback(&self, to: Option<StepId>, because: String, force: bool) -> Fact {
        Fact::RollbackBegan { to, because, actor: self.config.operator.clone(), force }
    }

    /// Whether there is nothing left that could be undone.
    fn is_all_back(&self) -> bool {
        let fact = self.rollback(None, String::new(), false);
        let state = self.state();
        let event = Event { number: state.head + 1, at: engine::now(), fact };
        state.clone().apply(&event).is_err()
    }

    fn over(self, outcome: Outcome) -> GoOn {
        GoOn::AlreadyOver { state: Box::new(self.loaded.state), outcome }
    }

    /// What does not fit the state is the person's slip, told before anything is journaled.
    fn ready(self, facts: Vec<Fact>) -> Result<GoOn, OperateError> {
        let mut tried = self.state().clone();
        for fact in engine::still_missing(&self.loaded).iter().chain(&facts) {
            let event = Event { number: tried.head + 1, at: engine::now(), fact: fact.clone() };
            tried.apply(&event).map_err(|source| OperateError::DoesNotFit { source })?;
        }
        let ToGoOn { journal, head, loaded, config } = self;
        Ok(GoOn::Ready(Box::new(Ready { journal, head, loaded, facts, config })))
    }
}

impl Ready {
    /// Carries the run out until it is over or stops.
    ///
    /// # Errors
    /// If the journal can no longer be written, or somebody else has it.
    pub fn carry_out(self, observer: &mut dyn Observer) -> Result<SessionEnd, OperateError> {
        let Ready { journal, head, loaded, facts, config } = self;
        let (state, exit) = engine::go_on(journal, (head, loaded), facts, config, observer)?;
        Ok(SessionEnd { state, exit })
    }
}
