//! What people decide about a step: that it is passed over, how it ended, yes or no.

use std::sync::Arc;

use super::super::event::*;
use super::super::foresight::Purpose;
use super::illegal::{Refusal, need};
use super::{Mode, RunState, Track};
use crate::runbook::action::DoneBy;
use crate::runbook::{Direction, Downtime, StepIx, Undo};

impl RunState {
    pub(super) fn skip(
        &mut self,
        ix: StepIx,
        because: &SkipReason,
        at: Moment,
    ) -> Result<(), Refusal> {
        need(self.mode == Mode::Forward, Refusal::NotForward)?;
        let track = self.track(ix, Direction::Forward);
        let legal = match because {
            SkipReason::LiveTest => {
                *track == Track::Idle
                    && self.step(ix).unmet == 0
                    && self.started.purpose == Purpose::LiveTest
            }
            SkipReason::Condition { .. } => *track == Track::Idle && self.step(ix).unmet == 0,
            SkipReason::Tolerated => matches!(track, Track::Failed { .. }),
            SkipReason::Operator { .. } => {
                matches!(
                    track,
                    Track::Idle
                        | Track::Failed { .. }
                        | Track::InDoubt { .. }
                        | Track::Waiting { .. }
                        | Track::Retrying { .. }
                )
            }
        };
        need(legal, Refusal::Stands(track.word()))?;
        if matches!(track, Track::Waiting { .. }) {
            self.leave_group(ix, Direction::Forward);
        }
        self.set(ix, Direction::Forward, Track::Skipped { because: because.clone() });
        self.settle(ix, at);
        // Somebody moved it by hand, or it is not for this run: no step is left that would say that
        // production is back.
        let runbook = Arc::clone(&self.runbook);
        let ends = |ix: &StepIx| runbook.step(*ix).downtime == Some(Downtime::Ends);
        if ends(&ix) && runbook.ixs().filter(ends).all(|ix| self.is_settled(ix)) {
            self.production_is_back(at);
        }
        Ok(())
    }

    pub(super) fn resolve(&mut self, resolved: &StepResolved, at: Moment) -> Result<(), Refusal> {
        let (ix, direction) = (self.ix(&resolved.step)?, resolved.direction);
        let good = matches!(resolved.verdict, Verdict::Done | Verdict::Go);
        let is_gate = self
            .runbook
            .step(ix)
            .act(direction)
            .is_some_and(|act| act.action.done_by() == DoneBy::GATE);
        let fits = is_gate == matches!(resolved.verdict, Verdict::Go | Verdict::NoGo);
        need(fits, if is_gate { Refusal::ApprovalOnly } else { Refusal::NoApproval })?;
        match (self.track(ix, direction).clone(), good) {
            (Track::Waiting { .. }, true) => {
                self.leave_group(ix, direction);
                self.done(ix, direction, &resolved.outputs, at);
            }
            (Track::Waiting { attempt, .. }, false) => {
                self.leave_group(ix, direction);
                let failure = Failure {
                    kind: FailureKind::Refused,
                    message: format!("{}: {}", resolved.actor, resolved.reason),
                };
                self.set(ix, direction, Track::Failed { attempt, failure });
            }
            (Track::InDoubt { .. } | Track::Failed { .. }, _)
                if resolved.verdict == Verdict::Partial =>
            {
                need(direction == Direction::Forward, Refusal::PartOfUndo)?;
                need(matches!(self.runbook.step(ix).undo, Undo::Act(_)), Refusal::PartWithoutUndo)?;
                let stands = self
                    .runbook
                    .dependents(ix)
                    .iter()
                    .any(|dependent| self.step(*dependent).touched);
                need(!stands, Refusal::PartUnderOthers)?;
                self.set(ix, direction, Track::Idle);
                if self.mode == Mode::Forward {
                    self.sets.partial.insert(ix);
                }
            }
            (Track::InDoubt { .. } | Track::Failed { .. }, true) => {
                self.done(ix, direction, &resolved.outputs, at)
            }
            (Track::InDoubt { .. } | Track::Failed { .. }, false) => {
                self.set(ix, direction, Track::Idle)
            }
            (Track::Idle, true) if direction == Direction::Undo => {
                if !self.is_partial(ix) {
                    self.may_undo(ix)?;
                }
                self.done(ix, direction, &resolved.outputs, at);
            }
            (other, _) => {
                return Err(Refusal::NothingToResolve(other.word()));
            }
        }
        self.steps[ix].vouched[direction as usize] = true;
        Ok(())
    }

    /// Somebody lets a point of no return be passed.
    pub(super) fn confirm(&mut self, ix: StepIx) -> Result<(), Refusal> {
        need(self.needs_confirmation(ix), Refusal::NoPoint)?;
        self.steps[ix].confirmed = true;
        self.answered_anew(ix);
        Ok(())
    }

    /// Whether the step is a point of no return that has not begun and that nobody has let be
    /// passed.
    pub fn needs_confirmation(&self, ix: StepIx) -> bool {
        let step = self.step(ix);
        let has_begun =
            !self.is_past(ix, Direction::Forward, self.attempts(ix, Direction::Forward));
        self.runbook.step(ix).point_of_no_return
            && !step.confirmed
            && !has_begun
            && !self.is_only_looked_at(ix)
    }

    /// The points of no return whose turn has come, and that wait for a word.
    pub fn unconfirmed(&self) -> impl Iterator<Item = StepIx> + '_ {
        let has_turn = |ix: &StepIx| self.sets.ready.contains(ix) && !self.sets.barred.contains(ix);
        let waits =
            move |ix: &StepIx| has_turn(ix) && self.needs_confirmation(*ix) && self.is_wanted(*ix);
        self.points.iter().copied().filter(waits)
    }

    /// The steps that somebody is asked about now; on the way back, what was asked going forward is
    /// no longer open.
    pub fn asked(&self) -> impl Iterator<Item = StepIx> + '_ {
        let waits =
            |ix: StepIx, direction| matches!(self.track(ix, direction), Track::Waiting { .. });
        let is_open = move |ix: &StepIx| {
            self.mode == Mode::Forward
                || waits(*ix, Direction::Undo)
                || waits(*ix, Direction::Release)
        };
        self.sets.waiting.iter().copied().filter(is_open)
    }
}
