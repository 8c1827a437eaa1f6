//! Which run is meant, and whether it can be taken: to go on with it, or to decide about it while
//! nobody executes it. Knows neither what is to become of it nor who is asked.

use std::path::Path;

use super::OperateError;
use crate::engine::{self, Config};
use crate::journal::{Head, Holder, Journal, Loaded};
use crate::run::{Fact, Person, RunState, StillRunning};
use crate::runbook::{Runbook, StepIx};

/// The run that is meant, in a journal that is open for writing.
pub struct Found {
    journal: Journal,
    run: String,
}

/// A run that this process holds, in the folder in which it was begun, to go on or back.
pub struct ToGoOn {
    pub(super) journal: Journal,
    pub(super) head: Head,
    pub(super) loaded: Loaded,
    pub(super) config: Config,
}

/// A run that this process holds and that nobody executes, to be decided about.
pub struct ToDecide {
    pub(super) journal: Journal,
    pub(super) head: Head,
    pub(super) loaded: Loaded,
    pub(super) actor: Person,
    /// What an executor that died left running.
    still_running: Vec<StillRunning>,
}

impl Found {
    /// Finds the run of this name, or the latest if none is named.
    ///
    /// # Errors
    /// If there is no journal in `folder`, or no such run in it.
    pub fn find(folder: &Path, run: Option<&str>) -> Result<Found, OperateError> {
        // A journal that is not there is not made for this.
        drop(Journal::open_to_read(folder)?);
        let journal = Journal::open(folder)?;
        let run = journal.find(run)?;
        Ok(Found { journal, run })
    }

    /// Takes the run to carry it out, and goes to the folder in which it was begun.
    ///
    /// # Errors
    /// If somebody else holds it, if it is none that is carried out, or if that folder is gone.
    pub fn take_to_go_on(self, config: Config) -> Result<ToGoOn, OperateError> {
        let Found { journal, run } = self;
        let (head, loaded) = journal.take(&run, &holder(&run, &config.operator))?;
        if !loaded.state.started.is_carried_out() {
            return Err(OperateError::NotCarriedOut { run });
        }
        enter(&loaded.state)?;
        Ok(ToGoOn { journal, head, loaded, config })
    }

    /// Takes the run to decide about it.
    ///
    /// # Errors
    /// If somebody else holds it, or if what an executor left is not to be guessed.
    pub fn take_to_decide(self, actor: Person) -> Result<ToDecide, OperateError> {
        let Found { journal, run } = self;
        let (head, loaded) = journal.take(&run, &holder(&run, &actor))?;
        let engine::Legacy { still_running, ended, may_begin } =
            engine::legacy(&journal, &loaded.state)?;
        if may_begin {
            return Err(OperateError::MayStillBegin);
        }
        if let Some(step) = ended {
            return Err(OperateError::EndIsOnRecord { step });
        }
        Ok(ToDecide { journal, head, loaded, actor, still_running })
    }
}

impl ToGoOn {
    pub fn state(&self) -> &RunState {
        &self.loaded.state
    }
}

impl ToDecide {
    pub fn state(&self) -> &RunState {
        &self.loaded.state
    }

    /// What still runs is not yet to be decided about; `step` stands for all of them if there is
    /// none.
    pub(super) fn refuse_running(&self, step: Option<&str>) -> Result<(), OperateError> {
        let is_meant = |still: &&StillRunning| step.is_none_or(|step| step == &*still.step);
        match self.still_running.iter().find(is_meant) {
            None => Ok(()),
            Some(still) => Err(OperateError::StillRuns { step: still.step.clone() }),
        }
    }

    /// A run that was killed is taken up first: what was running is then in doubt, and can be
    /// decided.
    pub(super) fn resumption(&self) -> Option<Fact> {
        let results = engine::still_missing(&self.loaded).len();
        let is_killed = self.loaded.state.sets.running.len() > results;
        is_killed.then(|| Fact::RunResumed {
            operator: self.actor.clone(),
            until: None,
            still_running: self.still_running.clone(),
        })
    }
}

/// The step that a person named by the end of its id.
///
/// # Errors
/// If no step, or more than one, has that name.
pub fn step_named(runbook: &Runbook, name: &str) -> Result<StepIx, OperateError> {
    runbook.find_by_suffix(name).map_err(|why| OperateError::NoStep { why: why.to_string() })
}

/// Who will hold a run's locks.
pub(super) fn holder(run: &str, operator: &Person) -> Holder {
    let host =
        hostname::get().map_or_else(|_| String::new(), |name| name.to_string_lossy().into_owned());
    Holder {
        operator: operator.clone(),
        run: run.to_owned(),
        process: std::process::id(),
        host,
        since: engine::now(),
        folder: None,
    }
}

/// Goes to the folder in which a run was begun: its relative paths count from there.
pub(super) fn enter(state: &RunState) -> Result<(), OperateError> {
    let folder = &state.started.folder;
    if folder.is_empty() {
        return Ok(());
    }
    std::env::set_current_dir(folder)
        .map_err(|source| OperateError::NoFolder { folder: folder.clone(), source })
}
