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
    /// SHA-256 of its parameters' values.
    pub parameters: Digest,
    /// What was run, whatever the environment: SHA-256 of [`crate::runbook::evidence::substance`].
    pub substance: Digest,
    /// Whether it went well: a run finished, of a dry run nothing would be refused, of a rehearsal the smooth run finished.
    pub is_good: bool,
    pub at: Moment,
}

/// What is missing before a run may begin that is `wanted` so, in words.
pub fn missing(requires: &Requires, wanted: &Shown, shown: &[Shown], now: Moment) -> Vec<String> {
    let here = wanted.environment.as_deref().unwrap_or_default();
    let good = |purpose: Purpose| shown.iter().filter(move |run| run.purpose == purpose && is_like(run, wanted) && run.at <= now);
    // In the same environment with other values it was another world.
    let in_this = |run: &&Shown| run.environment == wanted.environment && run.parameters == wanted.parameters;
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
    for place in &requires.succeeded_in {
        if !good(Purpose::Real).any(|run| run.environment.as_deref() == Some(place)) {
            missing.push(format!("a finished run in {place} is required, and there is none"));
        }
    }
    missing
}

/// Of what would show something otherwise, what does not, and why.
pub fn discounted(wanted: &Shown, shown: &[Shown], now: Moment) -> Vec<String> {
    let late = shown.iter().filter(|run| is_like(run, wanted) && run.at > now);
    late.map(|run| format!("the run {} does not count: it is dated {}, {} from now", run.run, run.at, run.at.since(now))).collect()
}

fn is_like(run: &Shown, wanted: &Shown) -> bool {
    run.is_good && run.substance == wanted.substance
}

/// The newest run of another substance that would have counted otherwise: what has changed since it is worth telling.
pub fn outdated<'a>(wanted: &Shown, shown: &'a [Shown]) -> Option<&'a Shown> {
    shown.iter().filter(|run| run.is_good && run.substance != wanted.substance).max_by_key(|run| run.at)
}

/// Whether a run for this purpose in this environment could count at all.
pub fn counts(requires: &Requires, purpose: Purpose, of: Option<&str>, environment: Option<&str>) -> bool {
    match purpose {
        Purpose::Rehearsal => requires.rehearsals > 0 && of == environment,
        Purpose::DryRun => requires.dry_run.is_some() && of == environment,
        Purpose::Real => of.is_some_and(|of| requires.succeeded_in.iter().any(|wanted| wanted == of)),
        Purpose::LiveTest => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runbook::Span;

    const NOW: Moment = Moment(1_000_000_000);

    fn run(purpose: Purpose, at: Moment) -> Shown {
        let (parameters, substance) = (Digest("p".into()), Digest("s".into()));
        Shown { run: "ab12".into(), purpose, environment: Some("production".into()), parameters, substance, is_good: true, at }
    }

    #[test]
    fn what_is_dated_after_now_shows_nothing_and_is_named() {
        let requires = Requires { rehearsals: 1, dry_run: Some(Span::from_secs(3600)), succeeded_in: Vec::new() };
        let wanted = run(Purpose::Real, NOW);
        let shown = |at: Moment| [run(Purpose::DryRun, at), run(Purpose::Rehearsal, at)];
        assert_eq!(missing(&requires, &wanted, &shown(NOW), NOW), [""; 0]);
        assert_eq!(discounted(&wanted, &shown(NOW), NOW), [""; 0]);
        let later = Moment(NOW.0 + 10 * 86_400_000);
        assert_eq!(missing(&requires, &wanted, &shown(later), NOW).len(), 2);
        let named = discounted(&wanted, &shown(later)[..1], NOW);
        assert_eq!(named, ["the run ab12 does not count: it is dated 1970-01-22T13:46:40.000Z, 10d from now"]);
    }
}
