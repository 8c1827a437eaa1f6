//! What a new run must show before it may begin: its window is open and long enough, and what its
//! environment requires has been shown. Does not know who lets it begin all the same.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::{OperateError, digest};
use crate::engine;
use crate::journal::{Journal, JournalError, Summary};
use crate::rehearsal::{self, Setting};
use crate::run::evidence::{Shown, by_hand, could_show, discounted, missing, outdated};
use crate::run::{Expected, Fact, Outcome, Person, Purpose};
use crate::runbook::evidence::changed;
use crate::runbook::window::Opening;
use crate::runbook::{Runbook, Span};

/// What a run would lack if it began now.
#[derive(Debug, Default)]
pub struct Lacking {
    pub window: Vec<String>,
    pub evidence: Vec<String>,
}

/// What a run of this would lack.
///
/// # Errors
/// If the journal cannot be read, or if the length of the run cannot be told.
pub(super) fn lacking(
    runbook: &Runbook,
    journal: &Journal,
    parallel: usize,
) -> Result<Lacking, OperateError> {
    Ok(Lacking {
        window: closed(runbook, journal, parallel)?,
        evidence: unshown(runbook, journal)?,
    })
}

/// Refuses a run that may not begin; gives the fact that it may all the same, if somebody says why.
///
/// # Errors
/// [`OperateError::MayNotBegin`], and as [`lacking`].
pub(super) fn pass(
    runbook: &Runbook,
    journal: &Journal,
    parallel: usize,
    overriding: Option<String>,
    actor: Person,
) -> Result<Option<Fact>, OperateError> {
    let Lacking { window, evidence } = lacking(runbook, journal, parallel)?;
    let missing = [window, evidence].concat();
    match (missing.is_empty(), overriding) {
        (true, _) => Ok(None),
        (false, Some(reason)) => Ok(Some(Fact::Overridden { missing, actor, reason })),
        (false, None) => Err(OperateError::MayNotBegin { missing }),
    }
}

/// Refuses a definition with which a run may not go on; gives what is missing of it, if somebody
/// takes it all the same.
///
/// # Errors
/// [`OperateError::MayNotGoOn`], and as [`lacking`].
pub(super) fn pass_amended(
    new: &Runbook,
    journal: &Journal,
    is_overridden: bool,
) -> Result<Vec<String>, OperateError> {
    let missing = unshown(new, journal)?;
    if missing.is_empty() || is_overridden {
        return Ok(missing);
    }
    Err(OperateError::MayNotGoOn { missing })
}

/// Why the window does not let it begin.
fn closed(
    runbook: &Runbook,
    journal: &Journal,
    parallel: usize,
) -> Result<Vec<String>, OperateError> {
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
fn takes(runbook: &Runbook, journal: &Journal, parallel: usize) -> Result<Span, OperateError> {
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
        .map_err(|why| OperateError::NoLength { why: why.to_string() })
}

/// What its environment requires and has not been shown.
fn unshown(runbook: &Runbook, journal: &Journal) -> Result<Vec<String>, OperateError> {
    let Some(requires) = &runbook.requires else { return Ok(Vec::new()) };
    let wanted = Shown {
        run: String::new(),
        purpose: Purpose::Real,
        environment: runbook.environment.clone(),
        parameters: digest::of_parameters(runbook)?,
        substance: digest::of_substance(runbook)?,
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
        parameters: digest::of_parameters(&state.runbook)?,
        // An amendment may have made it something else than it was begun as.
        substance: digest::of_substance(&state.runbook)?,
        is_good,
        by_hand: by_hand(&loaded.events),
        at: run.last.at,
    })
}
