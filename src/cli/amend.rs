//! `amend`: a run that stands goes on with another definition.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use clap::Args;
use serde_json::Value as Json;

use super::decide::{as_refusal, refuse_running, resumption, take};
use super::run::operator;
use super::{CliError, resume};
use crate::engine;
use crate::operate::gate;
use crate::operate::load::{Source, load_like};
use crate::report::say;
use crate::run::{Fact, Purpose, RunAmended, RunState};
use crate::runbook::meaning::differences;
use crate::runbook::{Given, Runbook};

/// Lets a run go on with a changed runbook, if nothing that has started means anything else in it.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  switchover amend 7k2 move.yaml --reason 'the new cluster has another \
        address' && switchover resume 7k2"
)]
pub struct Amend {
    /// The run.
    run: String,
    #[command(flatten)]
    source: Source,
    /// Why, for the record.
    #[arg(long, value_parser = super::reason)]
    reason: String,
    /// Take it although what the environment requires has not been shown of it; what is missing is
    /// journaled with the reason.
    #[arg(long = "override")]
    is_overridden: bool,
}

pub fn amend(verb: Amend, folder: &Path) -> Result<i32, CliError> {
    let mut taken = take(Some(&verb.run), folder)?;
    refuse_running(&taken, None)?;
    let state = &taken.run.1.state;
    resume::enter(state)?;
    let new = like(&verb.source, state, false)?;
    let changes = differences(&state.runbook, &new);
    if changes.is_empty() {
        return Err(CliError::refused(
            "this definition does nothing else than the one that the run has; nothing was changed",
            None,
        ));
    }
    let conflicts = state.conflicts(&new);
    if !conflicts.is_empty() {
        return Err(CliError::refused(
            format!("{}; nothing was changed", conflicts.join("; ")),
            Some(
                "leave what has started in the file as it is; if it failed for good, `switchover \
                 skip` it, and add what replaces it under another name",
            ),
        ));
    }
    let missing = gate::pass_amended(
        &to_be_shown(&new, &verb.source, state)?,
        &taken.journal,
        verb.is_overridden,
    )?;
    for change in &changes {
        say(format_args!("  {change}"));
    }
    let voided = state.voided_by(&new);
    match voided.len() {
        0 => {}
        1 => say(format_args!("1 answer is void and will be asked again: {}", voided[0])),
        count => say(format_args!(
            "{count} answers are void and will be asked again: {}",
            voided.join(", ")
        )),
    }
    let run = state.started.run.clone();
    let amended = RunAmended {
        definition: taken.journal.define(&new)?,
        parameters: engine::digest_of_parameters(&new)?,
        actor: operator(),
        reason: verb.reason,
        changes,
        missing,
        voided: Some(voided),
        runbook: Some(Arc::new(new)),
    };
    let facts = [resumption(&taken), vec![Fact::RunAmended(amended)]].concat();
    engine::record(&mut taken.journal, taken.run, facts, &operator()).map_err(as_refusal)?;
    say(format_args!("the run {run} is amended; next: switchover resume {run}"));
    Ok(0)
}

/// The new definition as it must have been shown: no less is required of it than of the run's own,
/// and what a live test has swapped was shown as it is given.
fn to_be_shown(new: &Runbook, source: &Source, state: &RunState) -> Result<Runbook, CliError> {
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
pub fn changed_since(state: &RunState) -> Vec<String> {
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
        env: None,
        set: Vec::new(),
        values: Vec::new(),
    };
    like(&source, state, false).map(|now| differences(&state.runbook, &now)).unwrap_or_default()
}

/// The runbook with the run's environment and values, as far as it still asks for them and no
/// others are given; or with the sides of these values swapped.
fn like(source: &Source, state: &RunState, swapped: bool) -> Result<Runbook, CliError> {
    let environment = source.env.clone().or_else(|| state.runbook.environment.clone());
    let source = Source {
        env: environment,
        set: source.set.clone(),
        values: source.values.clone(),
        file: source.file.clone(),
    };
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
