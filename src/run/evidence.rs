//! Whether what an environment demands has been shown before a run begins. Knows nothing of where
//! the runs are kept: it is given what they were, by records that were found whole.

use std::collections::BTreeSet;
use std::fmt;

use super::event::{
    Digest, Event, Fact, FailureKind, Moment, RunStarted, SkipReason, StepFailed, StepResolved,
    Verdict,
};
use super::foresight::Purpose;
use crate::runbook::evidence::Requires;
use crate::runbook::{Direction, StepId};

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
    /// Whether it went well: a run finished, of a dry run nothing would be refused, of a rehearsal
    /// the smooth run finished.
    pub is_good: bool,
    /// What a person said of its steps in place of their success.
    pub by_hand: Vec<ByHand>,
    pub at: Moment,
}

/// What a person said of a step in place of its success.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ByHand {
    Skipped(StepId),
    /// It had failed.
    SaidDone(StepId),
}

impl fmt::Display for ByHand {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ByHand::Skipped(step) => write!(out, "{step} was skipped by hand"),
            ByHand::SaidDone(step) => write!(out, "{step} had failed and was said to be done"),
        }
    }
}

/// What is missing before a run may begin that is `wanted` so, in words.
pub fn missing(requires: &Requires, wanted: &Shown, shown: &[Shown], now: Moment) -> Vec<String> {
    let here = wanted.environment.as_deref().unwrap_or_default();
    let found = Found { wanted, shown, now };
    let mut missing = Vec::new();
    let rehearsals = found.rehearsals();
    if rehearsals < requires.rehearsals {
        missing.push(format!(
            "{} good rehearsals in {here} are required, and there are {rehearsals}",
            requires.rehearsals
        ));
    }
    if let Some(within) = requires.dry_run {
        match found.last_dry_run() {
            Some(at) if now.since(at) <= within => {}
            Some(at) => missing.push(format!(
                "a good dry run in {here} within {within} is required, and the last was {} ago",
                now.since(at)
            )),
            None => missing.push(format!(
                "a good dry run in {here} within {within} is required, and there is none"
            )),
        }
    }
    for place in &requires.succeeded_in {
        if !found.has_finished_in(place) {
            missing.push(format!("a finished run in {place} is required, and there is none"));
        }
    }
    missing
}

/// Evidence that does not count, and why.
pub fn discounted(wanted: &Shown, shown: &[Shown], now: Moment) -> Vec<String> {
    let why = |run: &Shown| {
        if run.at > now {
            return Some(format!("it is dated {}, {} from now", run.at, run.at.since(now)));
        }
        let said: Vec<String> = run.by_hand.iter().map(ToString::to_string).collect();
        (!said.is_empty()).then(|| said.join(", "))
    };
    let all = shown.iter().filter(|run| is_like(run, wanted));
    all.filter_map(|run| Some(format!("the run {} does not count: {}", run.run, why(run)?)))
        .collect()
}

/// Which steps of a run did not succeed, but were passed over by a person, or said to be done after
/// they had failed. Answers to what a person is asked, and what nobody saw the end of, are not
/// among them.
pub fn by_hand(events: &[Event]) -> Vec<ByHand> {
    let (mut failed, mut by_hand) = (BTreeSet::new(), Vec::new());
    for event in events {
        match &event.fact {
            Fact::StepStarted(started) if started.direction == Direction::Forward => {
                failed.remove(&started.step);
            }
            Fact::StepFailed(StepFailed {
                step, direction: Direction::Forward, failure, ..
            }) if failure.kind != FailureKind::Lost => {
                failed.insert(step);
            }
            Fact::StepSkipped { step, because: SkipReason::Operator { .. } } => {
                by_hand.push(ByHand::Skipped(step.clone()));
            }
            Fact::StepResolved(StepResolved {
                step,
                direction: Direction::Forward,
                verdict: Verdict::Done,
                ..
            }) if failed.contains(step) => {
                by_hand.push(ByHand::SaidDone(step.clone()));
            }
            _ => {}
        }
    }
    by_hand
}

fn is_like(run: &Shown, wanted: &Shown) -> bool {
    run.is_good && run.substance == wanted.substance
}

/// The newest run of another substance that would have counted otherwise: what has changed since it
/// is worth telling.
pub fn outdated<'a>(wanted: &Shown, shown: &'a [Shown]) -> Option<&'a Shown> {
    shown
        .iter()
        .filter(|run| run.is_good && run.substance != wanted.substance)
        .max_by_key(|run| run.at)
}

/// Whether a run that began so could show something that `shown` does not yet, which are all newer
/// ones.
pub fn could_show(requires: &Requires, wanted: &Shown, shown: &[Shown], run: &RunStarted) -> bool {
    let found = Found { wanted, shown, now: wanted.at };
    // What is only looked at is never amended: it is what it began as.
    let is_here = || run.environment == wanted.environment && run.parameters == wanted.parameters;
    match run.purpose {
        Purpose::Rehearsal => is_here() && found.rehearsals() < requires.rehearsals,
        Purpose::DryRun => {
            is_here() && requires.dry_run.is_some() && found.last_dry_run().is_none()
        }
        Purpose::Real => {
            let is_place = |place: &&String| run.environment.as_ref() == Some(*place);
            requires
                .succeeded_in
                .iter()
                .find(is_place)
                .is_some_and(|place| !found.has_finished_in(place))
        }
        Purpose::LiveTest => false,
    }
}

/// What runs show for one that is wanted.
struct Found<'a> {
    wanted: &'a Shown,
    shown: &'a [Shown],
    now: Moment,
}

impl<'a> Found<'a> {
    fn good(&self, purpose: Purpose) -> impl Iterator<Item = &'a Shown> {
        let (wanted, now) = (self.wanted, self.now);
        self.shown.iter().filter(move |run| {
            run.purpose == purpose
                && is_like(run, wanted)
                && run.by_hand.is_empty()
                && run.at <= now
        })
    }

    /// In the same environment with other values it was another world.
    fn good_here(&self, purpose: Purpose) -> impl Iterator<Item = &'a Shown> {
        let wanted = self.wanted;
        self.good(purpose).filter(move |run| {
            run.environment == wanted.environment && run.parameters == wanted.parameters
        })
    }

    fn rehearsals(&self) -> u32 {
        self.good_here(Purpose::Rehearsal).count() as u32
    }

    fn last_dry_run(&self) -> Option<Moment> {
        self.good_here(Purpose::DryRun).map(|run| run.at).max()
    }

    fn has_finished_in(&self, place: &str) -> bool {
        self.good(Purpose::Real).any(|run| run.environment.as_deref() == Some(place))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runbook::Span;

    const NOW: Moment = Moment(1_000_000_000);

    fn run(purpose: Purpose, at: Moment) -> Shown {
        let (parameters, substance) = (Digest("p".into()), Digest("s".into()));
        Shown {
            run: "ab12".into(),
            purpose,
            environment: Some("production".into()),
            parameters,
            substance,
            is_good: true,
            by_hand: Vec::new(),
            at,
        }
    }

    #[test]
    fn what_is_dated_after_now_shows_nothing_and_is_named() {
        let requires = Requires {
            rehearsals: 1,
            dry_run: Some(Span::from_secs(3600)),
            succeeded_in: Vec::new(),
        };
        let wanted = run(Purpose::Real, NOW);
        let shown = |at: Moment| [run(Purpose::DryRun, at), run(Purpose::Rehearsal, at)];
        assert_eq!(missing(&requires, &wanted, &shown(NOW), NOW), [""; 0]);
        assert_eq!(discounted(&wanted, &shown(NOW), NOW), [""; 0]);
        let later = Moment(NOW.0 + 10 * 86_400_000);
        assert_eq!(missing(&requires, &wanted, &shown(later), NOW).len(), 2);
        let named = discounted(&wanted, &shown(later)[..1], NOW);
        assert_eq!(
            named,
            ["the run ab12 does not count: it is dated 1970-01-22T13:46:40.000Z, 10d from now"]
        );
    }
}
