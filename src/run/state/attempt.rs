//! How attempts begin and end, and what follows for the step. Knows no answers of people.

use serde_json::Value as Json;

use super::super::event::*;
use super::illegal::{Refusal, need};
use super::{Mode, RunState, Track};
use crate::runbook::{Direction, Downtime, Outputs, StepIx};

impl RunState {
    pub(super) fn start(&mut self, started: &StepStarted, at: Moment) -> Result<(), Refusal> {
        let (ix, direction) = (self.ix(&started.step)?, started.direction);
        let step = self.runbook.step(ix);
        let act = step.act(direction).ok_or(Refusal::NoSuchAction)?;
        need(started.attempt == self.attempts(ix, direction) + 1, Refusal::AttemptNumber)?;
        match self.track(ix, direction) {
            Track::Idle | Track::Retrying { .. } => {}
            Track::InDoubt { probed, .. } if act.idempotent || *probed == Some(Probed::NotDone) => {
            }
            other => return Err(Refusal::Stands(other.word())),
        }
        match direction {
            Direction::Forward => {
                need(self.mode == Mode::Forward, Refusal::NotForward)?;
                need(self.step(ix).unmet == 0, Refusal::Needs)?;
                need(!self.sets.barred.contains(&ix), Refusal::Barred)?;
                need(!self.needs_confirmation(ix), Refusal::Unconfirmed)?;
                need(!self.sets.partial.contains(&ix), Refusal::Partial)?;
            }
            Direction::Undo if self.is_partial(ix) => {}
            Direction::Undo => self.may_undo(ix)?,
            Direction::Release => need(self.sets.held.contains(&ix), Refusal::HoldsNothing)?,
        }
        let (group, downtime, holds) = (step.group, step.downtime, step.hold.is_some());
        let is_dry = self.is_only_looked_at(ix);
        let track = match act.action.is_for_a_person() && !is_dry {
            true => Track::Waiting { attempt: started.attempt, since: at },
            false => Track::Running { attempt: started.attempt, since: at, stopping: None },
        };
        self.set(ix, direction, track);
        self.sets.inherited.remove(&(ix, direction));
        if direction == Direction::Forward && *self.track(ix, Direction::Release) == Track::Done {
            // Taken again, it is to be released again.
            self.set(ix, Direction::Release, Track::Idle);
        }
        let state = &mut self.steps[ix];
        state.attempts[direction as usize] += 1;
        state.vouched[direction as usize] = false;
        state.since[direction as usize] = Some(at);
        if direction == Direction::Forward {
            // A hold that is taken again begins anew; a retry goes on with what its first attempt
            // began.
            if state.started.is_none() || self.sets.retake.contains(&ix) {
                state.started = Some(at);
            }
            state.was_touched = std::mem::replace(&mut state.touched, !is_dry);
            if holds && !is_dry {
                self.sets.held.insert(ix);
            }
            if let Some(group) = group {
                self.groups[group as usize].running += 1;
            }
        }
        match (direction, downtime) {
            _ if is_dry => {}
            (Direction::Forward, Some(Downtime::Begins))
            | (Direction::Undo, Some(Downtime::Ends)) => {
                self.down_since.get_or_insert(at);
            }
            _ => {}
        }
        Ok(())
    }

    pub(super) fn succeed(&mut self, done: &StepSucceeded, at: Moment) -> Result<(), Refusal> {
        let ix = self.ix(&done.step)?;
        match self.track(ix, done.direction) {
            Track::Running { attempt, stopping: None, .. } if *attempt == done.attempt => {}
            Track::Running { stopping: Some(_), .. } => {
                return Err(Refusal::BeingStopped);
            }
            other => return Err(Refusal::Stands(other.word())),
        }
        self.leave_group(ix, done.direction);
        self.done(ix, done.direction, &done.outputs, at);
        self.secrets.extend(done.secrets.clone());
        Ok(())
    }

    pub(super) fn fail(&mut self, failed: &StepFailed, at: Moment) -> Result<(), Refusal> {
        let (ix, direction, attempt) = (self.ix(&failed.step)?, failed.direction, failed.attempt);
        let (running, stopping) = match self.track(ix, direction) {
            Track::Running { attempt, stopping, .. } => (*attempt, *stopping),
            // Rendering can fail before anything has begun.
            Track::Idle | Track::Retrying { .. } | Track::InDoubt { .. }
                if failed.failure.kind == FailureKind::BeforeEffect =>
            {
                (attempt, None)
            }
            other => return Err(Refusal::Stands(other.word())),
        };
        need(running == attempt, Refusal::OtherAttempt)?;
        if self.attempts(ix, direction) == attempt {
            self.leave_group(ix, direction);
        } else {
            self.steps[ix].attempts[direction as usize] = attempt;
        }
        if failed.failure.kind == FailureKind::BeforeEffect && direction == Direction::Forward {
            self.steps[ix].touched = self.step(ix).was_touched;
            if !self.step(ix).touched
                && self.runbook.step(ix).downtime == Some(Downtime::Begins)
                && self.down_since == self.step(ix).started
            {
                self.down_since = None;
            }
        }
        let failure = failed.failure.clone();
        if direction == Direction::Forward {
            self.steps[ix].outputs.extend(failed.outputs.clone());
        }
        let track = match (stopping, failed.retry_at) {
            // Killed half-way by the operator: what it did is not known.
            (Some(StopReason::Interrupt), _) => Track::InDoubt { attempt, probed: None },
            _ if failure.kind == FailureKind::Lost => Track::InDoubt { attempt, probed: None },
            (_, Some(due)) => Track::Retrying { attempt, at: due, failure },
            (_, None) => Track::Failed { attempt, failure },
        };
        if direction == Direction::Forward && matches!(track, Track::Failed { .. }) {
            self.steps[ix].finished = Some(at);
        }
        self.set(ix, direction, track);
        self.secrets.extend(failed.secrets.clone());
        Ok(())
    }

    pub(super) fn request_stop(
        &mut self,
        ix: StepIx,
        direction: Direction,
        attempt: u32,
        because: StopReason,
    ) -> Result<(), Refusal> {
        match *self.track(ix, direction) {
            Track::Running { attempt: running, since, stopping: None } if running == attempt => {
                let stopping = Some(because);
                self.set(ix, direction, Track::Running { attempt, since, stopping });
                Ok(())
            }
            _ => Err(Refusal::NotRunning),
        }
    }

    /// A look at an attempt in doubt came to its end.
    pub(super) fn probed(
        &mut self,
        ix: StepIx,
        direction: Direction,
        attempt: u32,
        verdict: Probed,
        at: Moment,
    ) -> Result<(), Refusal> {
        let in_doubt = matches!(
            self.track(ix, direction),
            Track::InDoubt { attempt: doubted, .. } if *doubted == attempt
        );
        need(in_doubt, Refusal::NotInDoubt)?;
        match verdict {
            Probed::Done => self.done(ix, direction, &Outputs::new(), at),
            Probed::NotDone | Probed::Unknown => {
                self.set(ix, direction, Track::InDoubt { attempt, probed: Some(verdict) });
            }
        }
        Ok(())
    }

    /// An attempt found something before it changes anything.
    pub(super) fn saw(
        &mut self,
        ix: StepIx,
        direction: Direction,
        attempt: u32,
        seen: &Json,
    ) -> Result<(), Refusal> {
        need(self.runs(ix, direction, attempt), Refusal::NotRunning)?;
        // What a later attempt finds may be half of what the first one changed.
        if direction == Direction::Forward {
            self.steps[ix].seen.get_or_insert_with(|| seen.clone());
        }
        Ok(())
    }

    /// The last attempt said how far it is. It may be noted late: before another one goes on with
    /// it.
    pub(super) fn reach(
        &mut self,
        ix: StepIx,
        direction: Direction,
        attempt: u32,
        cursor: &str,
    ) -> Result<(), Refusal> {
        let is_last = attempt > 0 && attempt == self.attempts(ix, direction);
        let is_open = match self.track(ix, direction) {
            Track::Running { .. }
            | Track::Idle
            | Track::Retrying { .. }
            | Track::InDoubt { .. }
            | Track::Failed { .. } => true,
            Track::Waiting { .. } | Track::Done | Track::Skipped { .. } | Track::Passed => false,
        };
        let is_past = self.is_past(ix, direction, attempt);
        need(is_last && is_open && !is_past, Refusal::NotTheLastAttempt)?;
        self.steps[ix].cursors[direction as usize] = Some(cursor.to_owned());
        Ok(())
    }

    /// Whether that very attempt runs.
    pub(super) fn runs(&self, ix: StepIx, direction: Direction, attempt: u32) -> bool {
        let track = self.track(ix, direction);
        matches!(track, Track::Running { attempt: running, .. } if *running == attempt)
    }

    pub(super) fn done(&mut self, ix: StepIx, direction: Direction, outputs: &Outputs, at: Moment) {
        self.set(ix, direction, Track::Done);
        match direction {
            Direction::Forward => {
                self.steps[ix].outputs.extend(outputs.clone());
                self.steps[ix].finished = Some(at);
                self.sets.retake.remove(&ix);
                if self.runbook.step(ix).downtime == Some(Downtime::Ends) {
                    self.production_is_back(at);
                }
                self.settle(ix, at);
            }
            Direction::Undo if self.sets.partial.remove(&ix) => {
                if self.runbook.step(ix).downtime == Some(Downtime::Begins) {
                    self.production_is_back(at);
                }
                self.set(ix, Direction::Undo, Track::Idle);
                self.steps[ix].touched = false;
                self.steps[ix].outputs.clear();
                self.begin_anew(ix);
            }
            Direction::Undo => self.undone(ix, at),
            Direction::Release => {
                self.sets.held.remove(&ix);
                // A release that a failure began, and a later session ended: what goes on now needs
                // the hold again.
                let goes_on = self.mode == Mode::Forward
                    && !self
                        .sets
                        .failed
                        .iter()
                        .any(|(_, direction)| *direction == Direction::Forward);
                if goes_on {
                    self.retake(ix);
                }
            }
        }
    }

    /// What was only looked at stands in nobody's way; what it would give stays unknown.
    pub(in crate::run) fn settle_foreseen(&mut self, ix: StepIx, at: Moment) {
        if matches!(self.track(ix, Direction::Forward), Track::Running { .. }) {
            self.leave_group(ix, Direction::Forward);
        }
        self.done(ix, Direction::Forward, &Outputs::new(), at);
    }

    /// What comes is no longer what was: it has keys of its own, and goes on from nowhere.
    pub(super) fn begin_anew(&mut self, ix: StepIx) {
        let state = &mut self.steps[ix];
        state.generation += 1;
        state.before = state.attempts;
        state.confirmed = false;
        state.seen = None;
        state.cursors = Default::default();
    }

    /// A hold that was released before its point is to be taken again before anything else.
    pub(super) fn retake(&mut self, ix: StepIx) {
        let until = self.runbook.step(ix).hold.as_ref().map_or(ix, |hold| hold.until);
        let released = *self.track(ix, Direction::Release) == Track::Done;
        if released
            && *self.track(ix, Direction::Forward) == Track::Done
            && !self.step(until).settled
        {
            self.set(ix, Direction::Forward, Track::Idle);
            self.set(ix, Direction::Release, Track::Idle);
            self.begin_anew(ix);
            self.sets.retake.insert(ix);
        }
    }
}
