//! What others ask of a state. Changes nothing.

use std::collections::BTreeMap;

use serde_json::Value as Json;

use super::super::event::{Moment, RunStarted};
use super::{RunState, StepState, Track};
use crate::runbook::{Direction, Span, StepIx};

impl RunState {
    pub fn step(&self, ix: StepIx) -> &StepState {
        &self.steps[ix]
    }

    pub fn track(&self, ix: StepIx, direction: Direction) -> &Track {
        &self.steps[ix].tracks[direction as usize]
    }

    /// Whether a person has said how the last attempt ended.
    pub fn is_vouched(&self, ix: StepIx, direction: Direction) -> bool {
        self.steps[ix].vouched[direction as usize]
    }

    pub fn attempts(&self, ix: StepIx, direction: Direction) -> u32 {
        self.steps[ix].attempts[direction as usize]
    }

    /// Whether an attempt belongs to what was taken back since.
    pub fn is_past(&self, ix: StepIx, direction: Direction, attempt: u32) -> bool {
        attempt <= self.steps[ix].before[direction as usize]
    }

    /// When the last attempt began.
    pub fn since(&self, ix: StepIx, direction: Direction) -> Option<Moment> {
        self.step(ix).since[direction as usize]
    }

    /// What the step found before it changed anything.
    pub fn seen(&self, ix: StepIx) -> Option<&Json> {
        self.step(ix).seen.as_ref()
    }

    pub fn cursor(&self, ix: StepIx, direction: Direction) -> Option<&str> {
        self.steps[ix].cursors[direction as usize].as_deref()
    }

    /// Done or skipped.
    pub fn is_settled(&self, ix: StepIx) -> bool {
        self.steps[ix].settled
    }

    /// Whether all that a step needs is settled, and no answer before it void. Of one that has
    /// begun it may be so no longer.
    pub fn are_needs_met(&self, ix: StepIx) -> bool {
        self.step(ix).unmet == 0 && !self.sets.barred.contains(&ix)
    }

    /// How many steps are neither done nor skipped.
    pub fn unsettled(&self) -> usize {
        self.unsettled
    }

    /// How many steps of a phase are neither done nor skipped.
    pub fn phase_left(&self, phase: u32) -> usize {
        self.phase_left[phase as usize]
    }

    /// How long production has been down in all.
    pub fn downtime_until(&self, now: Moment) -> Span {
        self.downtime + self.down_since.map_or(Span::ZERO, |since| now.since(since))
    }

    /// The same for all attempts of a step in one direction, and for nothing else; a step that was
    /// taken back and is begun anew has another one.
    pub fn idempotency_key(&self, ix: StepIx, direction: Direction) -> String {
        let again = match self.step(ix).generation {
            0 => String::new(),
            generation => format!(":{}", generation + 1),
        };
        let RunStarted { run, uuid, .. } = &self.started;
        // Ids are unique in their journal only, and targets see the keys of all journals.
        let run = if uuid.is_empty() { run.clone() } else { format!("{run}-{uuid}") };
        format!("{run}:{}:{}{again}", self.runbook.step(ix).id, direction.word())
    }

    /// How many steps stand in each state of their forward track, for one phase or all.
    pub fn tally(&self, phase: Option<u32>) -> BTreeMap<&'static str, usize> {
        let mut tally = BTreeMap::new();
        for (step, state) in self.runbook.steps.iter().zip(&self.steps) {
            if phase.is_none_or(|phase| step.phase == phase) {
                *tally.entry(state.word()).or_default() += 1;
            }
        }
        tally
    }
}

impl StepState {
    /// The step's state in one word.
    pub fn word(&self) -> &'static str {
        let [forward, undo, release] = &self.tracks;
        match (forward, undo, release) {
            _ if let Some(foreseen) = self.foreseen => foreseen.word(),
            (_, Track::Done | Track::Passed, _) => "undone",
            (_, Track::Running { .. } | Track::Waiting { .. }, _) => "undoing",
            (_, Track::Failed { .. }, _) | (_, _, Track::Failed { .. }) => "stuck",
            (_, Track::InDoubt { .. }, _) => "in doubt",
            (Track::Idle, _, _) if self.unmet > 0 => "pending",
            (forward, ..) => forward.word(),
        }
    }
}
