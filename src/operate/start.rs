//! A new run of a runbook, in three steps that cannot be taken otherwise: it is proposed, the gate
//! admits it, it begins. Does not know how a person is asked in between.

use std::path::Path;
use std::sync::Arc;

use super::begin::{NewRun, begin};
use super::found::step_named;
use super::gate::{self, Lacking};
use super::load::{Source, load_sides};
use super::{OperateError, SessionEnd};
use crate::engine::Config;
use crate::journal::Journal;
use crate::run::{Fact, Observer, Purpose};
use crate::runbook::{Runbook, StepId};

/// A run that somebody wants.
#[derive(Debug, Clone)]
pub struct Start {
    pub source: Source,
    /// A name for the run, besides its id.
    pub name: Option<String>,
    /// Stop once this step is done.
    pub until: Option<String>,
    pub kind: RunKind,
    /// Why it may begin although the window is closed, or what is required has not been shown.
    pub overriding: Option<String>,
}

/// What a run that begins is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunKind {
    Real,
    /// It changes nothing, and asks nobody anything.
    DryRun,
    /// It is carried out with the sides swapped.
    LiveTest,
}

/// A run that could be read, and that nothing has admitted yet.
pub struct Proposed {
    start: Start,
    runbook: Runbook,
    until: Option<StepId>,
    journal: Journal,
}

/// A run that may begin.
pub struct Admitted {
    journal: Journal,
    new: NewRun,
    config: Config,
    lacking: Lacking,
}

/// A run that has begun, and was carried out until it was over or stopped.
pub struct Started {
    pub end: SessionEnd,
    /// Of a dry run, what a real one would lack if it began now.
    pub lacking: Lacking,
}

impl Start {
    /// Reads the runbook, and opens the journal in `folder`, which is made if it is not there.
    ///
    /// # Errors
    /// If something is wrong with the runbook or with the journal.
    pub fn propose(self, folder: &Path) -> Result<Proposed, OperateError> {
        let runbook = load_sides(&self.source, self.kind == RunKind::LiveTest)?;
        let until = match &self.until {
            Some(step) => Some(Arc::clone(&runbook.step(step_named(&runbook, step)?).id)),
            None => None,
        };
        Ok(Proposed { start: self, runbook, until, journal: Journal::open(folder)? })
    }
}

impl Proposed {
    /// Admits the run if its window is open and what its environment requires has been shown, or
    /// if somebody gave a reason why it may begin all the same.
    ///
    /// # Errors
    /// [`OperateError::MayNotBegin`] with what is missing.
    pub fn admit(self, mut config: Config) -> Result<Admitted, OperateError> {
        let Proposed { start, runbook, until, journal } = self;
        let Start { source, name, until: _, kind, overriding } = start;
        let pass = |runbook: &Runbook| -> Result<Option<Fact>, OperateError> {
            gate::pass(runbook, &journal, config.parallel, overriding, config.operator.clone())
        };
        let mut lacking = Lacking::default();
        let overridden = match kind {
            RunKind::Real => pass(&runbook)?,
            // It is a test of the migration as it was rehearsed: with the values as they were
            // given.
            RunKind::LiveTest => pass(&load_sides(&source, false)?)?,
            RunKind::DryRun => {
                lacking = gate::lacking(&runbook, &journal, config.parallel)?;
                config.ask = None;
                None
            }
        };
        let purpose = match kind {
            RunKind::Real => Purpose::Real,
            RunKind::DryRun => Purpose::DryRun,
            RunKind::LiveTest => Purpose::LiveTest,
        };
        let new = NewRun { runbook, name, until, purpose, overridden };
        Ok(Admitted { journal, new, config, lacking })
    }
}

impl Admitted {
    /// The steps at which a rollback would stop and ask. Of a run that changes nothing, none.
    pub fn without_undo(&self) -> Vec<&str> {
        let NewRun { runbook, purpose, .. } = &self.new;
        match purpose {
            Purpose::Real | Purpose::LiveTest => {
                runbook.without_undo().map(|ix| &*runbook.step(ix).id).collect()
            }
            Purpose::DryRun | Purpose::Rehearsal => Vec::new(),
        }
    }

    /// Whether a person is there who can be asked.
    pub fn is_attended(&self) -> bool {
        self.config.ask.is_some()
    }

    /// Begins the run and carries it out.
    ///
    /// # Errors
    /// If the journal cannot be written, or a lock that the runbook names is held.
    pub fn begin(self, observer: &mut dyn Observer) -> Result<Started, OperateError> {
        let Admitted { journal, new, config, lacking } = self;
        Ok(Started { end: begin(journal, new, config, observer)?, lacking })
    }
}
