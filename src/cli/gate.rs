//! What must be so before a run begins: its window is open and long enough, and what its environment requires has been shown.

use clap::Args;

use super::CliError;
use crate::engine;
use crate::journal::{Journal, Summary};
use crate::run::evidence::{Shown, missing, outdated};
use crate::run::{Digest, Fact, Foreseen, Outcome, Person, Purpose};
use crate::runbook::evidence::changed;
use crate::runbook::graph::longest_way;
use crate::runbook::window::Opening;
use crate::runbook::{Runbook, Span};

/// How many of the last runs are looked at for evidence.
const RUNS: usize = 100;

/// Whether a person lets a run begin although something is missing.
#[derive(Debug, Args)]
pub struct Override {
    /// Begin although the window is closed, or what the environment requires has not been shown. Needs a reason, which is journaled.
    #[arg(long = "override", requires = "reason")]
    pub wanted: bool,
    /// Why that is right this time.
    #[arg(long, requires = "wanted", value_parser = super::reason)]
    pub reason: Option<String>,
}

/// Refuses a run that may not begin; gives the fact that it may all the same, if somebody says so.
pub fn pass(runbook: &Runbook, journal: &Journal, leave: Override, actor: Person) -> Result<Option<Fact>, CliError> {
    let found: Vec<String> = [closed(runbook), unshown(runbook, journal)?].concat();
    match (found.is_empty(), leave.reason) {
        (true, _) => Ok(None),
        (false, Some(reason)) => Ok(Some(Fact::Overridden { missing: found, actor, reason })),
        (false, None) => Err(CliError::refused(
            format!("it may not begin; nothing was changed\n  {}", found.join("\n  ")),
            Some("show what is missing, or let it begin all the same with --override --reason '…'"),
        )),
    }
}

/// Why the window does not let it begin.
pub fn closed(runbook: &Runbook) -> Vec<String> {
    let Some(window) = &runbook.window else { return Vec::new() };
    let now = engine::now().to_utc();
    let length = |time: chrono::TimeDelta| Span::from_secs(time.num_seconds().unsigned_abs());
    let longest = longest_way(runbook, |ix| runbook.step(ix).estimated()).1;
    match window.at(now) {
        Opening::Closed { opens } => {
            vec![format!(
                "the window ({window}) is closed; it opens on {}, in {}",
                opens.format("%a %Y-%m-%d %H:%M %Z"),
                length(opens.to_utc() - now)
            )]
        }
        Opening::Open { closes } if length(closes.to_utc() - now) < longest => {
            let left = length(closes.to_utc() - now);
            vec![format!("the window ({window}) closes in {left}, and the slowest way through the steps takes {longest} by the estimates")]
        }
        Opening::Open { .. } => Vec::new(),
    }
}

/// What its environment requires and has not been shown.
fn unshown(runbook: &Runbook, journal: &Journal) -> Result<Vec<String>, CliError> {
    let Some(requires) = &runbook.requires else { return Ok(Vec::new()) };
    let (substance, environment) = (engine::digest_of_substance(runbook), runbook.environment.as_deref());
    let mut runs = journal.runs()?;
    runs.retain(|run| run.started.runbook == runbook.name);
    runs.truncate(RUNS);
    let shown = runs.iter().map(|run| shown(journal, run)).collect::<Result<Vec<Shown>, CliError>>()?;
    let mut found = missing(requires, environment, &substance, &shown, engine::now());
    if let (false, Some(old)) = (found.is_empty(), outdated(requires, environment, &substance, &shown)) {
        let steps = changed(&journal.load(&old.run)?.state.runbook, runbook);
        let steps = if steps.len() > 8 { format!("{} and {} more", steps[..8].join(", "), steps.len() - 8) } else { steps.join(", ") };
        found.push(format!("changed since {} of {}: {steps}", old.run, old.at.to_utc().format("%Y-%m-%d %H:%M")));
    }
    Ok(found)
}

/// A run as evidence. Its record is held against its hashes and its anchor: what was altered shows nothing.
fn shown(journal: &Journal, run: &Summary) -> Result<Shown, CliError> {
    let started = &run.started;
    let mut shown = Shown {
        run: run.run.clone(),
        purpose: started.purpose,
        environment: started.environment.clone(),
        substance: started.substance.clone(),
        is_good: false,
        at: run.last.at,
    };
    // What does not say what it was of is as old as that, and shows nothing.
    if shown.substance == Digest::default() {
        return Ok(shown);
    }
    let state = journal.load(&run.run)?.state;
    // An amendment may have made it something else.
    shown.substance = engine::digest_of_substance(&state.runbook);
    shown.is_good = match started.purpose {
        Purpose::Real => state.ended == Some(Outcome::Finished),
        Purpose::DryRun => {
            state.ended == Some(Outcome::Finished) && state.steps.iter().all(|step| step.foreseen != Some(Foreseen::Refused))
        }
        Purpose::Rehearsal => state.rehearsed.is_some_and(|found| found.finished && found.all),
        Purpose::LiveTest => false,
    };
    Ok(shown)
}
