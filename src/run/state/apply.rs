//! The one function that changes a state: which event may follow, whatever it is about. What each
//! changes stands beside it, by concern.

use super::super::event::*;
use super::super::foresight::Purpose;
use super::illegal::{IllegalEvent, Refusal, illegal, need};
use super::{Mode, RunState};
use crate::runbook::{Direction, StepIx};

impl RunState {
    /// Makes the one change that `event` stands for.
    ///
    /// # Errors
    /// If it is not a legal next event; the state is then unchanged.
    pub fn apply(&mut self, event: &Event) -> Result<(), IllegalEvent> {
        if event.number != self.head + 1 {
            return Err(illegal(event, Refusal::Number { after: self.head }));
        }
        let was_down = self.down_since.is_some();
        self.change(event).map_err(|why| illegal(event, why))?;
        self.head = event.number;
        self.last = event.at;
        self.note_occasions(event, was_down);
        Ok(())
    }

    fn change(&mut self, event: &Event) -> Result<(), Refusal> {
        self.may_follow(&event.fact)?;
        let at = event.at;
        match &event.fact {
            Fact::RunStarted(_) => return Err(Refusal::BegunBefore),
            Fact::RunResumed { operator: _, until, still_running } => {
                self.resume(until.as_deref(), still_running)?;
                self.session = event.number;
            }
            Fact::RunStopped { because } => {
                need(self.sets.running.is_empty(), Refusal::StillRunning)?;
                self.stopped = Some(because.clone());
            }
            Fact::RunEnded { outcome } => self.end(*outcome)?,
            Fact::RollbackBegan { to, because, actor: _, force } => {
                // A run that is over is not resumed before it goes back.
                let is_session = self.ended.is_some();
                self.begin_rollback(to.as_deref(), because, *force, at)?;
                if is_session {
                    self.session = event.number;
                }
            }
            Fact::CancelBegan { because: _, actor: _ } => {
                need(self.mode == Mode::Forward, Refusal::CannotBeCancelled)?;
                self.mode = Mode::Cancelling;
            }
            Fact::StepStarted(started) => self.start(started, at)?,
            Fact::StepSucceeded(done) => self.succeed(done, at)?,
            Fact::StepFailed(failed) => self.fail(failed, at)?,
            Fact::StepForeseen(foreseen) => self.foresee(foreseen, at)?,
            Fact::StopRequested { step, direction, attempt, because } => {
                self.request_stop(self.ix(step)?, *direction, *attempt, *because)?;
            }
            Fact::StepSkipped { step, because } => self.skip(self.ix(step)?, because, at)?,
            Fact::UndoPassed { step } => self.pass_undo(self.ix(step)?, at)?,
            Fact::StepProbed { step, direction, attempt, verdict, reading: _ } => {
                self.probed(self.ix(step)?, *direction, *attempt, *verdict, at)?;
            }
            Fact::StepResolved(resolved) => self.resolve(resolved, at)?,
            Fact::PointConfirmed { step, actor: _, reason: _ } => {
                self.confirm(self.ix(step)?)?;
            }
            Fact::RunAmended(amended) => self.amend(amended)?,
            Fact::StepSaw { step, direction, attempt, seen } => {
                self.saw(self.ix(step)?, *direction, *attempt, seen)?;
            }
            Fact::CursorSaved { step, direction, attempt, cursor } => {
                self.reach(self.ix(step)?, *direction, *attempt, cursor)?;
            }
            Fact::AnalysisRead { step, attempt, analysis: _, percent: _, says: _, reading: _ } => {
                let ix = self.ix(step)?;
                need(self.runs(ix, Direction::Forward, *attempt), Refusal::NotRunning)?;
            }
            Fact::GuardRead { guard, says, reading } => self.read_guard(guard, *says, reading)?,
            Fact::GuardForeseen { guard, verdict } => self.foresee_guard(guard, *verdict)?,
            Fact::Breached(breach) => self.breach(breach)?,
            Fact::Overridden { missing: _, actor: _, reason: _ } => {
                need(self.head == 1, Refusal::BegunAlready)?;
            }
            Fact::Rehearsed(rehearsed) => {
                let is_due = self.started.purpose == Purpose::Rehearsal && self.rehearsed.is_none();
                need(is_due, Refusal::NoRehearsal)?;
                self.rehearsed = Some(rehearsed.clone());
            }
            Fact::MessageSent(_) => {}
        }
        Ok(())
    }

    /// Whether anything of this kind may follow as the run as a whole stands.
    fn may_follow(&self, fact: &Fact) -> Result<(), Refusal> {
        let is_taken_back = matches!(fact, Fact::RollbackBegan { .. })
            && matches!(self.ended, Some(Outcome::Finished | Outcome::RolledBack));
        if self.ended.is_some() && !matches!(fact, Fact::MessageSent(_)) && !is_taken_back {
            return Err(Refusal::Over);
        }
        if self.started.purpose == Purpose::Rehearsal && !matches!(fact, Fact::Rehearsed(_)) {
            return Err(Refusal::Rehearsal);
        }
        if self.started.is_dry() && !may_be_in_a_dry_run(fact) {
            return Err(Refusal::DryRun);
        }
        let is_of_a_session = matches!(
            fact,
            Fact::StepStarted(_)
                | Fact::StepSucceeded(_)
                | Fact::StepFailed(_)
                | Fact::StepForeseen(_)
                | Fact::StepProbed { .. }
        );
        need(self.stopped.is_none() || !is_of_a_session, Refusal::NotResumed)
    }

    pub(super) fn ix(&self, step: &str) -> Result<StepIx, Refusal> {
        self.runbook.find(step).ok_or(Refusal::NoSuchStep)
    }
}

/// Nothing that changes the world, goes back, or goes on with what another session began.
fn may_be_in_a_dry_run(fact: &Fact) -> bool {
    match fact {
        Fact::StepStarted(_)
        | Fact::StepSucceeded(_)
        | Fact::StepForeseen(_)
        | Fact::StopRequested { .. }
        | Fact::StepSkipped { .. }
        | Fact::GuardRead { .. }
        | Fact::GuardForeseen { .. }
        | Fact::MessageSent(_)
        | Fact::RunStopped { .. }
        | Fact::RunEnded { .. } => true,
        Fact::RunStarted(_)
        | Fact::RunResumed { .. }
        | Fact::RollbackBegan { .. }
        | Fact::CancelBegan { .. }
        | Fact::StepFailed(_)
        | Fact::UndoPassed { .. }
        | Fact::StepProbed { .. }
        | Fact::StepResolved(_)
        | Fact::PointConfirmed { .. }
        | Fact::RunAmended(_)
        | Fact::StepSaw { .. }
        | Fact::CursorSaved { .. }
        | Fact::AnalysisRead { .. }
        | Fact::Breached(_)
        | Fact::Overridden { .. }
        | Fact::Rehearsed(_) => false,
    }
}
