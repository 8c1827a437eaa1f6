//! What must be so before a run begins: its window is open and long enough, and what its
//! environment requires has been shown.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use clap::Args;

use crate::cli::CliError;
use crate::engine;
use crate::journal::{Journal, JournalError, Summary};
use crate::rehearsal::{self, Setting};
use crate::run::evidence::{Shown, by_hand, could_show, discounted, missing, outdated};
use crate::run::{Expected, Fact, Outcome, Person, Purpose};
use crate::runbook::evidence::changed;
use crate::runbook::window::Opening;
use crate::runbook::{Runbook, Span};

/// Whether a person lets a run begin although something is missing.
#[derive(Debug, Args)]
pub struct Override {
    /// Begin although the window is closed, or what the environment requires has not been shown.
    /// Needs a reason, which is journaled.
    #[arg(long = "override", requires = "reason")]
    pub wanted: bool,
    /// Why that is right this time.
    #[arg(long, requires = "wanted", value_parser = crate::cli::reason)]
    pub reason: Option<String>,
}

/// What a run would lack if it began now.
#[derive(Debug, Default)]
pub struct Lacking {
    pub window: Vec<String>,
    pub evidence: Vec<String>,
}

pub fn lacking(runbook: &Runbook, journal: &Journal, parallel: usize) -> Result<Lacking, CliError> {
    Ok(Lacking {
        window: closed(runbook, journal, parallel)?,
        evidence: unshown(runbook, journal)?,
    })
}

/// Refuses a run that may not begin; gives the fact that it may all the same, if somebody says so.
pub fn pass(
    runbook: &Runbook,
    journal: &Journal,
    parallel: usize,
    leave: Override,
    actor: Person,
) -> Result<Option<Fact>, CliError> {
    let Lacking { window, evidence } = lacking(runbook, journal, parallel)?;
    let found = [window, evidence].concat();
    match (found.is_empty(), leave.reason) {
        (true, _) => Ok(None),
        (false, Some(reason)) => Ok(Some(Fact::Overridden { missing: found, actor, reason })),
        (false, None) => Err(CliError::refused_for(
            "it may not begin; nothing was changed",
            found,
            Some("show what is missing, or let it begin all the same with --override --reason '…'"),
        )),
    }
}

/// Refuses a definition with which a run may not go on; gives what is missing of it, if somebody
/// takes it all the same.
pub fn pass_amended(
    new: &Runbook,
    journal: &Journal,
    is_overridden: bool,
) -> Result<Vec<String>, CliError> {
    let missing = unshown(new, journal)?;
    if missing.is_empty() || is_overridden {
        return Ok(missing);
    }
    Err(CliError::refused_for(
        "the run may not go on with it; nothing was changed",
        missing,
        Some("show what is missing, or take it all the same with --override"),
    ))
}

/// Why the window does not let it begin.
fn closed(runbook: &Runbook, journal: &Journal, parallel: usize) -> Result<Vec<String>, CliError> {
    let Some(window) = &runbook.window else { return Ok(Vec::new()) };
    let now = engine::now().to_utc();
    let length = |time: chrono::TimeDelta| Span::from_secs(time.num_seconds().unsigned_abs());
    Ok(match window.at(now) {
        Opening::Closed { opens } => {
            vec![format!(
                "the window ({window}) is closed; it opens on {}, in {}",
                opens.format("%a %Y-%m-%d %H:%M %Z"),
                length(opens.to_utc() - now)
            )]
        }
        Opening::Open { closes } => {
            let (left, takes) = (length(closes.to_utc() - now), takes(runbook, journal, parallel)?);
            let words = format!(
                "the window ({window}) closes in {left}, and the run takes {takes}, as it is \
                 rehearsed"
            );
            if left < takes { vec![words] } else { Vec::new() }
        }
    })
}

/// How long the run takes if nothing goes wrong, with what waits for what and with what may run at
/// once.
fn takes(runbook: &Runbook, journal: &Journal, parallel: usize) -> Result<Span, CliError> {
    let expected = Expected::of(runbook, &journal.history(runbook, "")?);
    let setting = Setting {
        parallel,
        seed: 0,
        began: engine::now(),
        reaction: Span::ZERO,
        slow: HashMap::new(),
        tells: false,
    };
    rehearsal::length(&Arc::new(runbook.clone()), &expected, &setting)
        .map_err(|error| CliError::refused(error, None))
}

/// What its environment requires and has not been shown.
fn unshown(runbook: &Runbook, journal: &Journal) -> Result<Vec<String>, CliError> {
    let Some(requires) = &runbook.requires else { return Ok(Vec::new()) };
    let wanted = Shown {
        run: String::new(),
        purpose: Purpose::Real,
        environment: runbook.environment.clone(),
        parameters: engine::digest_of_parameters(runbook)?,
        substance: engine::digest_of_substance(runbook)?,
        is_good: true,
        by_hand: Vec::new(),
        at: engine::now(),
    };
    let (mut all, mut unsound, mut others) = (Vec::new(), Vec::new(), HashSet::new());
    // Newest first, and no more of them than it takes.
    for run in journal.runs()?.readable.iter().filter(|run| run.started.runbook == runbook.name) {
        let started = &run.started;
        if !could_show(requires, &wanted, &all, started) || others.contains(&started.definition) {
            continue;
        }
        match shown(journal, run) {
            Ok(shown) => {
                // A further one that was begun as something else shows no more than this one.
                if shown.is_good && shown.substance != wanted.substance && !started.is_carried_out()
                {
                    others.insert(started.definition.clone());
                }
                all.push(shown);
            }
            // What was altered shows nothing.
            Err(error) => unsound.push(format!("the run {} shows nothing: {error}", run.run)),
        }
    }
    let mut found = missing(requires, &wanted, &all, wanted.at);
    if found.is_empty() {
        return Ok(found);
    }
    if let Some(old) = outdated(&wanted, &all) {
        let steps = changed(&journal.load(&old.run)?.state.runbook, runbook);
        let steps = if steps.len() > 8 {
            format!("{} and {} more", steps[..8].join(", "), steps.len() - 8)
        } else {
            steps.join(", ")
        };
        found.push(format!(
            "changed since {} of {}: {steps}",
            old.run,
            old.at.to_utc().format("%Y-%m-%d %H:%M")
        ));
    }
    found.extend(discounted(&wanted, &all, wanted.at));
    found.extend(unsound);
    Ok(found)
}

/// A run as evidence, by its record, which is held against its hashes and its anchor.
fn shown(journal: &Journal, run: &Summary) -> Result<Shown, JournalError> {
    let loaded = journal.load(&run.run)?;
    let state = loaded.state;
    let is_good = match run.started.purpose {
        Purpose::Real => state.ended == Some(Outcome::Finished),
        Purpose::DryRun => state.ended == Some(Outcome::Finished) && !state.is_refused(),
        Purpose::Rehearsal => {
            state.rehearsed.as_ref().is_some_and(|found| found.finished && found.all)
        }
        Purpose::LiveTest => false,
    };
    Ok(Shown {
        run: run.run.clone(),
        purpose: run.started.purpose,
        environment: run.started.environment.clone(),
        parameters: engine::digest_of_parameters(&state.runbook)?,
        // An amendment may have made it something else than it was begun as.
        substance: engine::digest_of_substance(&state.runbook)?,
        is_good,
        by_hand: by_hand(&loaded.events),
        at: run.last.at,
    })
}
