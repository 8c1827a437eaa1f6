//! What can go wrong, one thing at a time.

use serde::Serialize;

use super::world::{Lived, takes_time};
use crate::run::watch::is_watched;
use crate::run::{Moment, RunState};
use crate::runbook::{Act, Direction, Runbook, Step, StepId, Undo};

/// One thing that goes wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "mishap", rename_all = "snake_case")]
pub enum Mishap {
    /// Every attempt of the step fails.
    Fails { step: StepId },
    /// It takes longer than it may.
    TimesOut { step: StepId },
    /// The executor is killed just before the step begins.
    KilledBefore { step: StepId },
    /// In the middle of it.
    KilledIn { step: StepId },
    /// When it has ended, and before that is journaled.
    KilledAfter { step: StepId },
    /// At the end everything is to be taken back, and this undo fails.
    UndoFails { step: StepId },
    /// The same, and it takes longer than it may.
    UndoTimesOut { step: StepId },
    /// What the step holds cannot be released when it is to be.
    ReleaseFails { step: StepId },
    /// The same, and it takes longer than it may.
    ReleaseTimesOut { step: StepId },
    /// A person says no.
    Refused { step: StepId },
    /// Nobody answers.
    Unanswered { step: StepId },
    /// The guard is breached at this moment of the run, in milliseconds from its beginning.
    Breached { guard: String, at: i64 },
}

/// Everything that can go wrong in this run, as it goes if nothing does.
pub fn all(runbook: &Runbook, smooth: &Lived) -> Vec<Mishap> {
    let mut all = Vec::new();
    for ix in runbook.ixs().filter(|ix| smooth.state.attempts(*ix, Direction::Forward) > 0) {
        let step = runbook.step(ix);
        let step_id = || step.id.clone();
        if step.act.action.is_for_a_person() {
            let killed = Mishap::KilledIn { step: step_id() };
            all.extend([
                Mishap::Refused { step: step_id() },
                Mishap::Unanswered { step: step_id() },
                killed,
            ]);
            continue;
        }
        if !takes_time(step) {
            continue;
        }
        all.push(Mishap::Fails { step: step_id() });
        if step.act.timeout.is_some() {
            all.push(Mishap::TimesOut { step: step_id() });
        }
        all.extend([
            Mishap::KilledBefore { step: step_id() },
            Mishap::KilledIn { step: step_id() },
            Mishap::KilledAfter { step: step_id() },
        ]);
        if let Some(hold) = &step.hold {
            all.push(Mishap::ReleaseFails { step: step_id() });
            if hold.release.timeout.is_some() {
                all.push(Mishap::ReleaseTimesOut { step: step_id() });
            }
        }
        if let Undo::Act(undo) = &step.undo {
            all.push(Mishap::UndoFails { step: step_id() });
            if undo.timeout.is_some() {
                all.push(Mishap::UndoTimesOut { step: step_id() });
            }
        }
    }
    all.extend(breaches(runbook, smooth));
    all
}

/// Each guard is bad from the middle of the time on for which it is watched, or as early as that
/// takes to be a breach.
fn breaches(runbook: &Runbook, smooth: &Lived) -> Vec<Mishap> {
    let Some(first) = smooth.events.first() else { return Vec::new() };
    let Ok(mut state) = RunState::new(smooth.state.runbook.clone(), first) else {
        return Vec::new();
    };
    let mut watched: Vec<Option<(Moment, Moment)>> = vec![None; runbook.guards.len()];
    for event in &smooth.events[1..] {
        for (guard, watched) in runbook.guards.iter().zip(&mut watched) {
            if is_watched(&state, guard) {
                watched.get_or_insert((state.last, event.at)).1 = event.at;
            }
        }
        if state.apply(event).is_err() {
            break;
        }
    }
    let began = smooth.state.began;
    let breach = |(guard, watched): (&crate::runbook::Guard, Option<(Moment, Moment)>)| {
        let (from, to) = watched?;
        let at = ((from.0 + to.0) / 2).min(to.0 - guard.lasting.as_millis() as i64 - 1).max(from.0);
        Some(Mishap::Breached { guard: guard.name.clone(), at: at - began.0 })
    };
    runbook.guards.iter().zip(watched).filter_map(breach).collect()
}

/// Which actions of a step nothing ends if they hang: the words for each.
pub fn endless(step: &Step) -> Vec<String> {
    let is_endless = |direction: &Direction| {
        let hangs = |act: &&Act| act.action.facts().may_hang;
        step.act(*direction).filter(hangs).is_some_and(|act| act.timeout.is_none())
    };
    let words = |direction| match direction {
        Direction::Forward => step.id.to_string(),
        Direction::Undo => format!("the undo of {}", step.id),
        Direction::Release => format!("the release of {}", step.id),
    };
    Direction::ALL.into_iter().filter(is_endless).map(words).collect()
}

impl Mishap {
    /// Whether it is the way back itself that fails, which everything is taken back to see.
    pub fn is_of_an_undo(&self) -> bool {
        matches!(self, Mishap::UndoFails { .. } | Mishap::UndoTimesOut { .. })
    }

    /// Whether it is what frees or takes back that fails: a person has to mend that, whatever else
    /// is well.
    pub fn is_of_the_way_out(&self) -> bool {
        self.is_of_an_undo()
            || matches!(self, Mishap::ReleaseFails { .. } | Mishap::ReleaseTimesOut { .. })
    }

    /// The step it happens to.
    pub fn step(&self) -> Option<&StepId> {
        match self {
            Mishap::Fails { step }
            | Mishap::TimesOut { step }
            | Mishap::KilledBefore { step }
            | Mishap::KilledIn { step }
            | Mishap::KilledAfter { step }
            | Mishap::UndoFails { step }
            | Mishap::UndoTimesOut { step }
            | Mishap::ReleaseFails { step }
            | Mishap::ReleaseTimesOut { step }
            | Mishap::Refused { step }
            | Mishap::Unanswered { step } => Some(step),
            Mishap::Breached { .. } => None,
        }
    }
}

impl std::fmt::Display for Mishap {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Mishap::Fails { step } => write!(out, "{step} fails"),
            Mishap::TimesOut { step } => write!(out, "{step} times out"),
            Mishap::KilledBefore { step } => write!(out, "killed before {step}"),
            Mishap::KilledIn { step } => write!(out, "killed in {step}"),
            Mishap::KilledAfter { step } => write!(out, "killed after {step}"),
            Mishap::UndoFails { step } => write!(out, "the undo of {step} fails"),
            Mishap::UndoTimesOut { step } => write!(out, "the undo of {step} times out"),
            Mishap::ReleaseFails { step } => write!(out, "the release of {step} fails"),
            Mishap::ReleaseTimesOut { step } => write!(out, "the release of {step} times out"),
            Mishap::Refused { step } => write!(out, "{step} is refused"),
            Mishap::Unanswered { step } => write!(out, "{step} is not answered"),
            Mishap::Breached { guard, .. } => write!(out, "{guard} is breached"),
        }
    }
}
