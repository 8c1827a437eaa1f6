//! A run that stands goes on with another definition, if nothing that has started means anything
//! else in it. Does not know how the changes are shown.

use std::collections::BTreeSet;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde_json::Value as Json;

use super::found::{ToDecide, enter};
use super::load::{LoadError, Source, load_like};
use super::record::record;
use super::{OperateError, digest, gate};
use crate::run::{Fact, Purpose, RunAmended, RunState};
use crate::runbook::meaning::differences;
use crate::runbook::{Given, Runbook, StepId};

/// Another definition for a run.
#[derive(Debug, Clone)]
pub struct Amend {
    pub source: Source,
    pub reason: String,
    /// Take it although what the environment requires has not been shown of it.
    pub is_overridden: bool,
}

/// A definition with which a run may go on, and what it would change.
pub struct Amendment {
    /// What the new definition changes, in words.
    pub changes: Vec<String>,
    /// The steps whose answers it takes back, and that are asked about again.
    pub voided: Vec<StepId>,
    run: ToDecide,
    new: Runbook,
    reason: String,
    missing: Vec<String>,
}

impl ToDecide {
    /// Reads the new definition, in the folder in which the run was begun, and holds it against
    /// the run.
    ///
    /// # Errors
    /// If something of the run still runs, if something is wrong with the definition, or if the
    /// run cannot go on with it.
    pub fn propose_amendment(self, wanted: Amend) -> Result<Amendment, OperateError> {
        self.refuse_running(None)?;
        let Amend { source, reason, is_overridden } = wanted;
        let state = self.state();
        enter(state)?;
        let new = like(&source, state, false)?;
        let changes = differences(&state.runbook, &new);
        if changes.is_empty() {
            return Err(OperateError::SameDefinition);
        }
        let conflicts = state.conflicts(&new);
        if !conflicts.is_empty() {
            return Err(OperateError::Conflicts { conflicts });
        }
        let shown = to_be_shown(&new, &source, state)?;
        let missing = gate::pass_amended(&shown, &self.journal, is_overridden)?;
        let voided = state.voided_by(&new);
        Ok(Amendment { changes, voided, run: self, new, reason, missing })
    }
}

impl Amendment {
    /// Journals that the run goes on with it; gives the id of the run.
    ///
    /// # Errors
    /// If it does not fit the state of the run, or if the journal cannot be written.
    pub fn record(self) -> Result<String, OperateError> {
        let Amendment { changes, voided, run, new, reason, missing } = self;
        let amended = Fact::RunAmended(RunAmended {
            definition: run.journal.define(&new)?,
            parameters: digest::of_parameters(&new)?,
            actor: run.actor.clone(),
            reason,
            changes,
            missing,
            voided: Some(voided),
            runbook: Some(Arc::new(new)),
        });
        let facts = run.resumption().into_iter().chain([amended]).collect();
        Ok(record(run, facts)?.started.run)
    }
}

/// The new definition as it must have been shown: no less is required of it than of the run's own,
/// and what a live test has swapped was shown as it is given.
fn to_be_shown(new: &Runbook, source: &Source, state: &RunState) -> Result<Runbook, LoadError> {
    let own = &state.runbook;
    let mut shown = if state.started.purpose == Purpose::LiveTest {
        like(source, state, true)?
    } else {
        new.clone()
    };
    if own.requires.is_some() && (new.requires.is_none() || new.environment != own.environment) {
        (shown.requires, shown.environment) = (own.requires.clone(), own.environment.clone());
    }
    Ok(shown)
}

/// How long a file may be to be read in any case, in bytes.
const QUICK: u64 = 256 << 10;

/// What the file of a run says now that the run's own definition does not; nothing if it cannot be
/// read as it was.
pub(super) fn changed_since(state: &RunState) -> Vec<String> {
    // Reading a large runbook takes longer than all else; a large file that was not written since
    // the run began says what it said.
    let files: BTreeSet<&str> = state
        .runbook
        .steps
        .iter()
        .map(|step| &*step.file)
        .chain([state.runbook.file.as_str()])
        .collect();
    let may_differ = |file: &&str| {
        let found = std::fs::metadata(file);
        found.is_ok_and(|found| {
            let written = found.modified().map(DateTime::<Utc>::from);
            found.len() <= QUICK || written.is_ok_and(|written| written > state.began.to_utc())
        })
    };
    if !files.iter().any(may_differ) {
        return Vec::new();
    }
    let source = Source {
        file: state.runbook.file.clone().into(),
        environment: None,
        set: Vec::new(),
        values: Vec::new(),
    };
    match like(&source, state, false) {
        Ok(now) => differences(&state.runbook, &now),
        // The run does not need it: its definition lies in the journal.
        Err(_) => Vec::new(),
    }
}

/// The runbook with the run's environment and values, as far as it still asks for them and no
/// others are given; or with the sides of these values swapped.
fn like(source: &Source, state: &RunState, swapped: bool) -> Result<Runbook, LoadError> {
    let environment = source.environment.clone().or_else(|| state.runbook.environment.clone());
    let source = Source { environment, ..source.clone() };
    let own = |is_asked: &dyn Fn(&str) -> bool| {
        let own = state.runbook.scopes[0].parameters.iter().filter(|(name, _)| is_asked(name));
        let own = own.filter_map(|(name, parameter)| {
            let value = parameter.value.value(&Json::Null).ok()?;
            Some((name.clone(), Given::Json(value), "the value that the run has".to_owned()))
        });
        own.collect()
    };
    // Usually it asks for all that it asked for, and once is enough.
    load_like(&source, own(&|_| true), true, swapped).or_else(|_| {
        let asked = load_like(&source, Vec::new(), false, swapped)?;
        load_like(
            &source,
            own(&|name| asked.scopes[0].parameters.contains_key(name)),
            true,
            swapped,
        )
    })
}
