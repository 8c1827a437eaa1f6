//! What people are to be told: which fact is an occasion for a message, and which occasions no
//! message answers yet. A fold over the facts as everything else, so that no crash makes a run
//! forget to tell somebody. Knows neither the words of a message nor how it travels.

use std::collections::BTreeSet;
use std::fmt;

use super::event::{Event, Fact, MessageSent, Outcome, Stop};
use super::state::{Mode, RunState};
use crate::runbook::{Direction, Runbook, StepIx, Template};

/// Something that people are to be told of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Occasion {
    pub kind: OccasionKind,
    /// The number of the fact that it is the occasion of.
    pub of: u64,
    pub phase: Option<u32>,
    pub step: Option<StepIx>,
    pub reason: String,
}

/// The kinds of occasions, each with a template of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum OccasionKind {
    Start,
    PhaseStart,
    PhaseSuccess,
    PhaseFailure,
    Waiting,
    PointOfNoReturn,
    DowntimeStarts,
    DowntimeOver,
    Breach,
    Failure,
    RollbackBegan,
    RolledBack,
    Success,
    Report,
}

/// What people were told, and what not yet.
#[derive(Debug, Clone, Default)]
pub struct Notices {
    /// What is told once, and was.
    once: BTreeSet<(OccasionKind, Option<String>)>,
    /// Occasions that there is a template for and that no message answers, in the order of their
    /// facts.
    pub owed: Vec<Occasion>,
}

impl Occasion {
    /// The phase that it is an occasion of, if it is not one of the whole run.
    pub fn own_phase<'a>(&self, runbook: &'a Runbook) -> Option<&'a str> {
        let phase = self.phase.filter(|_| self.kind.of_phase().is_some())?;
        runbook.phases.get(phase as usize).map(|phase| phase.id.as_str())
    }

    /// What is to be sent, if the runbook says anything to it.
    pub fn template<'a>(&self, runbook: &'a Runbook) -> Option<&'a Template> {
        let name = match self.kind.of_phase() {
            Some(of_phase) => runbook.phases.get(self.phase? as usize)?.messages.get(of_phase),
            None => runbook.occasions.get(self.kind.word()),
        }?;
        runbook.templates.get(name)
    }
}

impl OccasionKind {
    const ALL: [OccasionKind; 14] = [
        OccasionKind::Start,
        OccasionKind::PhaseStart,
        OccasionKind::PhaseSuccess,
        OccasionKind::PhaseFailure,
        OccasionKind::Waiting,
        OccasionKind::PointOfNoReturn,
        OccasionKind::DowntimeStarts,
        OccasionKind::DowntimeOver,
        OccasionKind::Breach,
        OccasionKind::Failure,
        OccasionKind::RollbackBegan,
        OccasionKind::RolledBack,
        OccasionKind::Success,
        OccasionKind::Report,
    ];

    /// As it stands in runbooks and journals.
    pub fn word(self) -> &'static str {
        match self {
            OccasionKind::Start => "start",
            OccasionKind::PhaseStart => "phase_start",
            OccasionKind::PhaseSuccess => "phase_success",
            OccasionKind::PhaseFailure => "phase_failure",
            OccasionKind::Waiting => "waiting",
            OccasionKind::PointOfNoReturn => "point_of_no_return",
            OccasionKind::DowntimeStarts => "downtime_starts",
            OccasionKind::DowntimeOver => "downtime_over",
            OccasionKind::Breach => "breach",
            OccasionKind::Failure => "failure",
            OccasionKind::RollbackBegan => "rollback_began",
            OccasionKind::RolledBack => "rolled_back",
            OccasionKind::Success => "success",
            OccasionKind::Report => "report",
        }
    }

    /// The kind with this word; none for a step's own message, nor for one of a later version.
    fn of(word: &str) -> Option<OccasionKind> {
        OccasionKind::ALL.into_iter().find(|kind| kind.word() == word)
    }

    /// Its key among the messages of a phase, if it is not one of the whole run.
    fn of_phase(self) -> Option<&'static str> {
        match self {
            OccasionKind::PhaseStart => Some("start"),
            OccasionKind::PhaseSuccess => Some("success"),
            OccasionKind::PhaseFailure => Some("failure"),
            OccasionKind::Start
            | OccasionKind::Waiting
            | OccasionKind::PointOfNoReturn
            | OccasionKind::DowntimeStarts
            | OccasionKind::DowntimeOver
            | OccasionKind::Breach
            | OccasionKind::Failure
            | OccasionKind::RollbackBegan
            | OccasionKind::RolledBack
            | OccasionKind::Success
            | OccasionKind::Report => None,
        }
    }

    /// A failure, a decision to wait for, a second outage or end is told each time; the rest once.
    pub fn is_told_once(self) -> bool {
        match self {
            OccasionKind::Start
            | OccasionKind::PhaseStart
            | OccasionKind::PhaseSuccess
            | OccasionKind::Success => true,
            OccasionKind::PhaseFailure
            | OccasionKind::Waiting
            | OccasionKind::PointOfNoReturn
            | OccasionKind::DowntimeStarts
            | OccasionKind::DowntimeOver
            | OccasionKind::Breach
            | OccasionKind::Failure
            | OccasionKind::RollbackBegan
            | OccasionKind::RolledBack
            | OccasionKind::Report => false,
        }
    }
}

impl fmt::Display for OccasionKind {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.word())
    }
}

impl RunState {
    /// Notes what a fact that was just applied is an occasion for, and what it answers.
    pub(super) fn note_occasions(&mut self, event: &Event, was_down: bool) {
        match &event.fact {
            Fact::MessageSent(sent) if sent.step.is_none() => self.note_sent(sent),
            // Nobody waits for an answer that was given.
            Fact::StepResolved(_) | Fact::PointConfirmed { .. } => {
                let answered = event.fact.step().and_then(|step| self.runbook.find(step));
                self.notices.owed.retain(|occasion| {
                    occasion.kind != OccasionKind::Waiting || occasion.step != answered
                });
            }
            _ => {}
        }
        for occasion in occasions(self, event, was_down) {
            if occasion.template(&self.runbook).is_some() && !self.knows(&occasion) {
                self.notices.owed.push(occasion);
            }
        }
    }

    /// Whether an occasion that is told once was told, or is about to be.
    fn knows(&self, occasion: &Occasion) -> bool {
        let own = |other: &Occasion| other.own_phase(&self.runbook).map(str::to_owned);
        let is_owed = || {
            self.notices
                .owed
                .iter()
                .any(|owed| owed.kind == occasion.kind && own(owed) == own(occasion))
        };
        occasion.kind.is_told_once()
            && (self.notices.once.contains(&(occasion.kind, own(occasion))) || is_owed())
    }

    fn note_sent(&mut self, sent: &MessageSent) {
        let Some(kind) = OccasionKind::of(&sent.occasion) else { return };
        let answers = |owed: &Occasion| {
            owed.kind == kind
                && owed.own_phase(&self.runbook) == sent.phase.as_deref()
                && sent.of.is_none_or(|of| of == owed.of)
        };
        if let Some(at) = self.notices.owed.iter().position(answers) {
            self.notices.owed.remove(at);
        }
        self.notices.once.insert((kind, sent.phase.clone()));
    }

    /// What was told stays so with another definition; what is owed is about what bears the same
    /// names there.
    pub(super) fn carry_notices(&mut self, old: &RunState) {
        let phase = |ix: u32| {
            let id = &old.runbook.phases.get(ix as usize)?.id;
            self.runbook.phases.iter().position(|phase| phase.id == *id).map(|at| at as u32)
        };
        let moved = |owed: &Occasion| Occasion {
            phase: owed.phase.and_then(phase),
            step: owed.step.and_then(|ix| self.runbook.find(&old.runbook.step(ix).id)),
            ..owed.clone()
        };
        let owed = old
            .notices
            .owed
            .iter()
            .map(moved)
            .filter(|owed| owed.template(&self.runbook).is_some())
            .collect();
        self.notices = Notices { once: old.notices.once.clone(), owed };
    }
}

/// What a fact that was just applied is an occasion for.
fn occasions(state: &RunState, event: &Event, was_down: bool) -> Vec<Occasion> {
    let mut all = Vec::new();
    let mut note = |kind, phase, step, reason: &str| {
        all.push(Occasion { kind, of: event.number, phase, step, reason: reason.to_owned() })
    };
    let ix = event.fact.step().and_then(|step| state.runbook.find(step));
    let phase = ix.map(|ix| state.runbook.step(ix).phase);
    match &event.fact {
        Fact::RunStarted(_) => note(OccasionKind::Start, None, None, ""),
        // What was left of a phase may be gone.
        Fact::RunAmended(_) => {
            let is_done = |phase: &u32| state.phase_left(*phase) == 0;
            (0..state.runbook.phases.len() as u32)
                .filter(is_done)
                .for_each(|phase| note(OccasionKind::PhaseSuccess, Some(phase), None, ""));
        }
        // Not each of a dry run's steps begins.
        Fact::StepForeseen(_)
            if ix.is_some_and(|ix| state.attempts(ix, Direction::Forward) == 0) =>
        {
            note(OccasionKind::PhaseStart, phase, ix, "");
            if phase.is_some_and(|phase| state.phase_left(phase) == 0) {
                note(OccasionKind::PhaseSuccess, phase, ix, "");
            }
        }
        Fact::StepStarted(started) => {
            if started.direction == Direction::Forward {
                note(OccasionKind::PhaseStart, phase, ix, "");
            }
            let is_point = |ix: StepIx| {
                state.runbook.step(ix).point_of_no_return && !state.is_only_looked_at(ix)
            };
            if started.direction == Direction::Forward && ix.is_some_and(is_point) {
                note(OccasionKind::PointOfNoReturn, phase, ix, "");
            }
            if !was_down && state.down_since.is_some() {
                note(OccasionKind::DowntimeStarts, phase, ix, "");
            }
            if ix.is_some_and(|ix| state.sets.waiting.contains(&ix)) {
                // What is asked stands with the step, among those that wait.
                note(OccasionKind::Waiting, phase, ix, "");
            }
        }
        Fact::StepSucceeded(_)
        | Fact::StepForeseen(_)
        | Fact::StepSkipped { .. }
        | Fact::StepResolved(_)
        | Fact::StepProbed { .. }
        | Fact::UndoPassed { .. } => {
            if !was_down && state.down_since.is_some() {
                note(OccasionKind::DowntimeStarts, phase, ix, "");
            }
            if was_down && state.down_since.is_none() {
                note(OccasionKind::DowntimeOver, phase, ix, "");
            }
            if state.mode == Mode::Forward
                && phase.is_some_and(|phase| state.phase_left(phase) == 0)
            {
                note(OccasionKind::PhaseSuccess, phase, ix, "");
            }
        }
        Fact::RunStopped { because } => match because {
            Stop::Failed { steps } | Stop::Stuck { steps } => {
                let first = steps.first().and_then(|step| state.runbook.find(step));
                let phase = first.map(|ix| state.runbook.step(ix).phase);
                note(OccasionKind::PhaseFailure, phase, first, &steps.join(", "));
                note(OccasionKind::Failure, phase, first, &steps.join(", "));
            }
            Stop::InDoubt { steps } => note(
                OccasionKind::Waiting,
                None,
                steps.first().and_then(|step| state.runbook.find(step)),
                &format!("in doubt: {}", steps.join(", ")),
            ),
            Stop::Waiting { steps } => {
                let points = steps
                    .iter()
                    .filter_map(|step| state.runbook.find(step))
                    .filter(|ix| state.needs_confirmation(*ix));
                points.for_each(|ix| {
                    note(
                        OccasionKind::Waiting,
                        Some(state.runbook.step(ix).phase),
                        Some(ix),
                        "a point of no return",
                    )
                });
            }
            Stop::Breached { .. }
            | Stop::Until { .. }
            | Stop::Interrupted { .. }
            | Stop::Unwitnessed { .. } => {}
        },
        Fact::Breached(breach) => note(OccasionKind::Breach, None, None, &breach.to_string()),
        Fact::RollbackBegan { because, .. } => {
            note(OccasionKind::RollbackBegan, None, None, because)
        }
        Fact::RunEnded { outcome } => match outcome {
            Outcome::Finished => {
                note(OccasionKind::Success, None, None, "");
                note(OccasionKind::Report, None, None, "");
            }
            Outcome::RolledBack => {
                let reason =
                    state.rollback.as_ref().map_or("", |rollback| rollback.because.as_str());
                note(OccasionKind::RolledBack, None, None, reason);
                note(OccasionKind::Report, None, None, reason);
            }
            Outcome::Cancelled => {}
        },
        Fact::RunResumed { .. }
        | Fact::CancelBegan { .. }
        | Fact::StepFailed(_)
        | Fact::StopRequested { .. }
        | Fact::PointConfirmed { .. }
        | Fact::StepSaw { .. }
        | Fact::CursorSaved { .. }
        | Fact::AnalysisRead { .. }
        | Fact::GuardRead { .. }
        | Fact::GuardForeseen { .. }
        | Fact::MessageSent(_)
        | Fact::Overridden { .. }
        | Fact::Rehearsed(_) => {}
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_is_found_by_its_word_and_of_a_phase_by_its_prefix() {
        for kind in OccasionKind::ALL {
            assert_eq!(OccasionKind::of(kind.word()), Some(kind));
            assert_eq!(kind.of_phase(), kind.word().strip_prefix("phase_"));
        }
        assert_eq!(OccasionKind::of("notify"), None);
    }
}
