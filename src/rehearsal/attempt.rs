//! Attempts in a simulated world: how each begins, how long it takes and how it ends.

use std::sync::Arc;

use super::mishap::Mishap;
use super::world::{Due, World};
use crate::run::*;
use crate::runbook::action::{DoneBy, Lasts};
use crate::runbook::{Act, Action, Direction, Outputs, Span, StepIx};

impl World<'_> {
    /// A step's turn has come; true if an action begins.
    pub(super) fn begin(&mut self, ix: StepIx, direction: Direction) -> Result<bool, String> {
        let runbook = Arc::clone(&self.lived.state.runbook);
        let step = runbook.step(ix);
        if direction == Direction::Forward && !self.lived.state.step(ix).touched {
            let premise = self.stage.premise(ix);
            self.lived.assumed.extend(premise.assumed.iter().cloned());
            if let Some(condition) = premise.fails.clone() {
                return self
                    .record(Fact::StepSkipped {
                        step: self.id(ix),
                        because: SkipReason::Condition { condition },
                    })
                    .map(|()| false);
            }
        }
        let Some(act) = step.act(direction) else { return Ok(false) };
        let attempt = self.lived.state.attempts(ix, direction) + 1;
        let key = self.lived.state.idempotency_key(ix, direction);
        let action = if act.action.is_for_a_person() {
            self.stage.asked(ix, direction)
        } else {
            Action::Join
        };
        let (step_id, env) = (self.id(ix), Default::default());
        self.record(Fact::StepStarted(StepStarted {
            step: step_id,
            direction,
            attempt,
            key,
            action: Box::new(action),
            env,
        }))?;
        let takes = self.takes(ix, direction, act);
        let is_it = direction == Direction::Forward && attempt == 1;
        match self.mishap {
            Some(Mishap::KilledIn { step: id }) if *id == step.id && is_it && !self.is_killed => {
                self.schedule(self.now.after(Span::from_millis(takes.as_millis() / 2)), Due::Kill);
            }
            Some(Mishap::KilledAfter { step: id })
                if *id == step.id && is_it && !self.is_killed =>
            {
                // Scheduled first, so that it comes before its end is seen; the change is there by
                // then.
                self.schedule(self.now.after(takes), Due::Kill);
            }
            _ => {}
        }
        if act.action.is_for_a_person() {
            if !matches!(
                self.mishap,
                Some(Mishap::Unanswered { step }) if *step == runbook.step(ix).id
            ) || direction != Direction::Forward
            {
                self.schedule(self.now.after(takes), Due::Answer(ix, direction));
            } else {
                self.lived.came = true;
            }
            return Ok(false);
        }
        let hangs = match self.mishap {
            Some(Mishap::TimesOut { step: id }) => {
                direction == Direction::Forward && *id == step.id
            }
            Some(Mishap::UndoTimesOut { step: id }) => {
                direction == Direction::Undo && *id == step.id
            }
            Some(Mishap::ReleaseTimesOut { step: id }) => {
                direction == Direction::Release && *id == step.id
            }
            _ => false,
        };
        self.lived.came |= hangs;
        // An estimate may be of all attempts together.
        if hangs || act.most().is_some_and(|most| takes > most) {
            let limit = act.timeout.unwrap_or_default();
            self.schedule(self.now.after(limit), Due::Timeout(ix, direction, attempt));
            return Ok(true);
        }
        self.schedule(self.now.after(takes), Due::End(ix, direction, attempt));
        Ok(!act.action.done_by().takes_no_time())
    }

    /// How long an action takes.
    fn takes(&mut self, ix: StepIx, direction: Direction, act: &Act) -> Span {
        let facts = act.action.facts();
        if facts.done_by.takes_no_time() {
            return Span::ZERO;
        }
        let expected = match direction {
            Direction::Forward => self.stage.expected.forward(ix),
            Direction::Undo => self.stage.expected.undo(ix),
            Direction::Release => self.stage.expected.release(ix),
        };
        // A plain wait takes as long as it says, but for whom wants to see it slower.
        let takes = if matches!(facts.lasts, Lasts::Exactly(_)) {
            expected
        } else {
            (self.varies)(ix, direction, expected)
        };
        let slower = self.stage.setting.slow.get(&ix).copied().unwrap_or(1.0);
        Span::from_millis((takes.as_millis() as f64 * slower) as u64)
    }

    pub(super) fn end(
        &mut self,
        ix: StepIx,
        direction: Direction,
        attempt: u32,
    ) -> Result<(), String> {
        if !self.runs(ix, direction, attempt) {
            return Ok(());
        }
        let step = self.id(ix);
        let fails = match self.mishap {
            Some(Mishap::Fails { step: id }) => direction == Direction::Forward && *id == step,
            Some(Mishap::UndoFails { step: id }) => direction == Direction::Undo && *id == step,
            Some(Mishap::ReleaseFails { step: id }) => {
                direction == Direction::Release && *id == step
            }
            _ => false,
        };
        if fails {
            self.lived.came = true;
            return self.fail(
                ix,
                direction,
                attempt,
                Failure { kind: FailureKind::Failed, message: "as rehearsed".into() },
            );
        }
        self.done[ix] = direction == Direction::Forward;
        let runbook = Arc::clone(&self.lived.state.runbook);
        if let Some(Action::Notify(notify)) = runbook.step(ix).act(direction).map(|act| &act.action)
        {
            self.notify(ix, direction, notify)?;
        }
        let (outputs, secrets, logs) = Default::default();
        self.record(Fact::StepSucceeded(StepSucceeded {
            step,
            direction,
            attempt,
            outputs,
            result: "rehearsed".into(),
            secrets,
            logs,
        }))
    }

    fn fail(
        &mut self,
        ix: StepIx,
        direction: Direction,
        attempt: u32,
        failure: Failure,
    ) -> Result<(), String> {
        let runbook = Arc::clone(&self.lived.state.runbook);
        let act = runbook.step(ix).act(direction).ok_or("there is no such action")?;
        let stopped = matches!(
            self.lived.state.track(ix, direction),
            Track::Running { stopping: Some(StopReason::Breach), .. }
        );
        let pause = if stopped { None } else { retry::pause(act, attempt, &failure, 0.5) };
        let retry_at = pause.map(|pause| self.now.after(pause));
        let (step, outputs, secrets, logs) =
            (self.id(ix), Outputs::new(), Default::default(), Vec::new());
        // Half of what it does may be there, which its undo takes back.
        self.record(Fact::StepFailed(StepFailed {
            step,
            direction,
            attempt,
            failure,
            outputs,
            retry_at,
            secrets,
            logs,
        }))
    }

    pub(super) fn stop(
        &mut self,
        ix: StepIx,
        direction: Direction,
        attempt: u32,
        because: StopReason,
    ) -> Result<(), String> {
        if !self.runs(ix, direction, attempt) {
            return Ok(());
        }
        self.record(Fact::StopRequested { step: self.id(ix), direction, attempt, because })?;
        let kind = if because == StopReason::Timeout {
            FailureKind::TimedOut
        } else {
            FailureKind::Failed
        };
        self.fail(ix, direction, attempt, Failure { kind, message: "stopped, as rehearsed".into() })
    }

    pub(super) fn answer(&mut self, ix: StepIx, direction: Direction) -> Result<(), String> {
        if !matches!(self.lived.state.track(ix, direction), Track::Waiting { .. }) {
            return Ok(());
        }
        let runbook = Arc::clone(&self.lived.state.runbook);
        let act = runbook.step(ix).act(direction);
        let is_gate = act.is_some_and(|act| act.action.done_by() == DoneBy::GATE);
        let refuses =
            matches!(self.mishap, Some(Mishap::Refused { step }) if *step == runbook.step(ix).id);
        self.lived.came |= refuses;
        let verdict = match (is_gate, refuses) {
            (true, false) => Verdict::Go,
            (true, true) => Verdict::NoGo,
            (false, false) => Verdict::Done,
            (false, true) => Verdict::NotDone,
        };
        let (step, actor, reason, outputs) =
            (self.id(ix), super::stage::operator(), "rehearsed".into(), Outputs::new());
        self.record(Fact::StepResolved(StepResolved {
            step,
            direction,
            verdict,
            actor,
            reason,
            outputs,
        }))
    }
}
