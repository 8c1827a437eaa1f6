//! Whether what an environment demands has been shown before a run begins. Knows nothing of where the runs are kept: it is given what
//! they were, by records that were found whole.

use super::event::{Digest, Moment};
use super::foresight::Purpose;
use crate::runbook::evidence::Requires;

/// A run that was, as far as it is evidence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    pub run: String,
    pub purpose: Purpose,
    pub environment: Option<String>,
    /// What was run, whatever the environment: SHA-256 of [`crate::runbook::evidence::substance`].
    pub substance: Digest,
    /// Whether it went well: a run finished, of a dry run nothing would be refused, of a rehearsal the smooth run finished.
    pub is_good: bool,
    pub at: Moment,
}

/// What is missing before `substance` may be run in `environment`, in words.
pub fn missing(requires: &Requires, environment: Option<&str>, substance: &Digest, shown: &[Shown], now: Moment) -> Vec<String> {
    let here = environment.unwrap_or_default();
    let good = |purpose: Purpose| shown.iter().filter(move |run| run.purpose == purpose && run.is_good && run.substance == *substance);
    let in_this = |run: &&Shown| run.environment.as_deref() == environment;
    let mut missing = Vec::new();
    let rehearsals = good(Purpose::Rehearsal).filter(in_this).count() as u32;
    if rehearsals < requires.rehearsals {
        missing.push(format!("{} good rehearsals in {here} are required, and there are {rehearsals}", requires.rehearsals));
    }
    if let Some(within) = requires.dry_run {
        let last = good(Purpose::DryRun).filter(in_this).map(|run| run.at).max();
        match last {
            Some(at) if now.since(at) <= within => {}
            Some(at) => {
                missing.push(format!("a good dry run in {here} within {within} is required, and the last was {} ago", now.since(at)))
            }
            None => missing.push(format!("a good dry run in {here} within {within} is required, and there is none")),
        }
    }
    for wanted in &requires.succeeded_in {
        if !good(Purpose::Real).any(|run| run.environment.as_deref() == Some(wanted)) {
            missing.push(format!("a finished run in {wanted} is required, and there is none"));
        }
    }
    missing
}

/// The newest run of another substance that would have counted otherwise: what has changed since it is worth telling.
pub fn outdated<'a>(requires: &Requires, environment: Option<&str>, substance: &Digest, shown: &'a [Shown]) -> Option<&'a Shown> {
    let counts = |run: &&Shown| match run.purpose {
        Purpose::Rehearsal => requires.rehearsals > 0 && run.environment.as_deref() == environment,
        Purpose::DryRun => requires.dry_run.is_some() && run.environment.as_deref() == environment,
        Purpose::Real => run.environment.as_ref().is_some_and(|of| requires.succeeded_in.contains(of)),
        Purpose::LiveTest => false,
    };
    shown.iter().filter(|run| run.is_good && run.substance != *substance).filter(counts).max_by_key(|run| run.at)
}
