//! Where each step stands: the only place where a track changes, and all that is counted by it.

use std::sync::Arc;

use super::super::event::Moment;
use super::{RunState, StepState, Track};
use crate::runbook::{Direction, Outputs, StepIx};

impl RunState {
    /// The only place where a track changes; keeps the sets, and how many copies of a group have
    /// failed.
    pub(super) fn set(&mut self, ix: StepIx, direction: Direction, track: Track) {
        if let (Direction::Forward, Some(group)) = (direction, self.runbook.step(ix).group) {
            let failed = &mut self.groups[group as usize].failed;
            match (self.steps[ix].tracks[0].is_failed(), track.is_failed()) {
                (false, true) => *failed += 1,
                // A copy that is passed over has failed all the same.
                (true, false) if !matches!(track, Track::Skipped { .. }) => *failed -= 1,
                _ => {}
            }
        }
        let state = &mut self.steps[ix];
        let (sets, pair) = (&mut self.sets, (ix, direction));
        match &state.tracks[direction as usize] {
            Track::Idle if direction == Direction::Forward => drop(sets.ready.remove(&ix)),
            Track::Running { .. } => drop(sets.running.remove(&pair)),
            Track::Waiting { .. } => drop(sets.waiting.remove(&ix)),
            Track::InDoubt { .. } => drop(sets.doubt.remove(&pair)),
            Track::Retrying { .. } => drop(sets.retrying.remove(&pair)),
            Track::Failed { .. } => drop(sets.failed.remove(&pair)),
            _ => {}
        }
        match &track {
            Track::Idle if direction == Direction::Forward && state.unmet == 0 => {
                sets.ready.insert(ix);
            }
            Track::Running { .. } => drop(sets.running.insert(pair)),
            Track::Waiting { .. } => drop(sets.waiting.insert(ix)),
            Track::InDoubt { .. } => drop(sets.doubt.insert(pair)),
            Track::Retrying { .. } => drop(sets.retrying.insert(pair)),
            Track::Failed { .. } => drop(sets.failed.insert(pair)),
            _ => {}
        }
        state.tracks[direction as usize] = track;
    }

    pub(super) fn settle(&mut self, ix: StepIx, at: Moment) {
        self.sets.retake.remove(&ix);
        let state = &mut self.steps[ix];
        state.finished.get_or_insert(at);
        if std::mem::replace(&mut state.settled, true) {
            return;
        }
        self.answered_anew(ix);
        self.unsettled -= 1;
        self.phase_left[self.runbook.step(ix).phase as usize] -= 1;
        let runbook = Arc::clone(&self.runbook);
        for &dependent in runbook.dependents(ix) {
            let state = &mut self.steps[dependent];
            state.unmet -= 1;
            if state.unmet == 0 && state.tracks[0] == Track::Idle {
                self.sets.ready.insert(dependent);
            }
        }
    }

    /// Puts what is known of a step where it now stands.
    pub(super) fn carry(&mut self, ix: StepIx, known: StepState) {
        let (tracks, is_settled, finished) = (known.tracks.clone(), known.settled, known.finished);
        let unmet = self.step(ix).unmet;
        self.steps[ix] = StepState { unmet, settled: false, tracks: Default::default(), ..known };
        for (direction, track) in Direction::ALL.into_iter().zip(tracks) {
            self.set(ix, direction, track);
        }
        if is_settled {
            // What is settled has finished, and keeps that moment.
            self.settle(ix, finished.unwrap_or_default());
        }
    }

    pub(super) fn leave_group(&mut self, ix: StepIx, direction: Direction) {
        if let (Direction::Forward, Some(group)) = (direction, self.runbook.step(ix).group) {
            self.groups[group as usize].running -= 1;
        }
    }

    pub(super) fn production_is_back(&mut self, at: Moment) {
        if let Some(since) = self.down_since.take() {
            self.downtime = self.downtime + at.since(since);
        }
    }
}

impl StepState {
    /// A question that was answered, to be asked again.
    pub(super) fn unanswered(self) -> StepState {
        StepState {
            tracks: Default::default(),
            finished: None,
            settled: false,
            outputs: Outputs::new(),
            ..self
        }
    }
}
