//! The one function that changes a state: which event may follow, whatever it is about. What each
//! is about stands beside it, by concern.

use super::super::event::*;
use super::super::foresight::Purpose;
use super::super::watch::{Watched, is_watched};
use super::{Mode, RunState, Track};
use crate::runbook::{Direction, OnBreach, Outputs, StepIx, Undo};

/// An event that cannot follow the ones before it: the log was altered, or the program is wrong.
/// Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "event {number} ({kind}{}) cannot follow: {why}",
    .step.as_deref().map(|step| format!(" of {step}")).unwrap_or_default()
)]
pub struct IllegalEvent {
    pub number: u64,
    pub kind: &'static str,
    pub step: Option<String>,
    pub why: String,
}

impl RunState {
    /// Makes the one change that `event` stands for.
    ///
    /// # Errors
    /// If it is not a legal next event; the state is then unchanged.
    pub fn apply(&mut self, event: &Event) -> Result<(), IllegalEvent> {
        if event.number != self.head + 1 {
            return Err(illegal(
                event,
                format!("the number after {} is {}", self.head, self.head + 1),
            ));
        }
        let was_down = self.down_since.is_some();
        self.change(event).map_err(|why| illegal(event, why))?;
        self.head = event.number;
        self.last = event.at;
        self.note_occasions(event, was_down);
        Ok(())
    }

    fn change(&mut self, event: &Event) -> Result<(), String> {
        let at = event.at;
        let is_rollback = matches!(event.fact, Fact::RollbackBegan { .. });
        if self.ended.is_some()
            && !matches!(event.fact, Fact::MessageSent(_))
            && !(is_rollback && matches!(self.ended, Some(Outcome::Finished | Outcome::RolledBack)))
        {
            return Err("the run is over".into());
        }
        if self.started.purpose == Purpose::Rehearsal && !matches!(event.fact, Fact::Rehearsed(_)) {
            return Err("it is a rehearsal: nothing was begun that could go on or back".into());
        }
        if self.started.is_dry() && !may_be_in_a_dry_run(&event.fact) {
            return Err(
                "it is a dry run, which changes nothing, and is neither resumed nor taken back"
                    .into(),
            );
        }
        if self.stopped.is_some()
            && matches!(
                event.fact,
                Fact::StepStarted(_)
                    | Fact::StepSucceeded(_)
                    | Fact::StepFailed(_)
                    | Fact::StepForeseen(_)
                    | Fact::StepProbed { .. }
            )
        {
            return Err("the executor had left and the run was not resumed".into());
        }
        match &event.fact {
            Fact::RunStarted(_) => return Err("a run begins once".into()),
            Fact::RunResumed { until, still_running, .. } => {
                self.resume(until.as_deref(), still_running)?;
                self.session = event.number;
            }
            Fact::RunStopped { because } => {
                need(self.sets.running.is_empty(), "actions are still running")?;
                self.stopped = Some(because.clone());
            }
            Fact::RunEnded { outcome } => self.end(*outcome)?,
            Fact::RollbackBegan { to, because, force, .. } => {
                // A run that is over is not resumed before it goes back.
                let is_session = self.ended.is_some();
                self.begin_rollback(to.as_deref(), because, *force, at)?;
                if is_session {
                    self.session = event.number;
                }
            }
            Fact::CancelBegan { .. } => {
                need(self.mode == Mode::Forward, "only a run that goes forward can be cancelled")?;
                self.mode = Mode::Cancelling;
            }
            Fact::StepStarted(started) => self.start(started, at)?,
            Fact::StepSucceeded(done) => {
                self.succeed(done, at)?;
                self.secrets.extend(done.secrets.clone());
            }
            Fact::StepFailed(failed) => {
                self.fail(failed, at)?;
                self.secrets.extend(failed.secrets.clone());
            }
            Fact::StepForeseen(foreseen) => self.foresee(foreseen, at)?,
            Fact::StopRequested { step, direction, attempt, because } => {
                let ix = self.ix(step)?;
                match self.track(ix, *direction) {
                    Track::Running { attempt: running, since, stopping: None }
                        if running == attempt =>
                    {
                        let since = *since;
                        self.set(
                            ix,
                            *direction,
                            Track::Running { attempt: *attempt, since, stopping: Some(*because) },
                        );
                    }
                    _ => return Err("that attempt is not running".into()),
                }
            }
            Fact::StepSkipped { step, because } => self.skip(step, because, at)?,
            Fact::UndoPassed { step } => {
                let ix = self.ix(step)?;
                self.may_undo(ix)?;
                let nothing =
                    matches!(self.runbook.step(ix).undo, Undo::Nothing) || !self.step(ix).touched;
                need(nothing, "the step has something to undo")?;
                self.set(ix, Direction::Undo, Track::Passed);
                self.undone(ix, at);
            }
            Fact::StepProbed { step, direction, attempt, verdict, .. } => {
                let ix = self.ix(step)?;
                let in_doubt = matches!(
                    self.track(ix, *direction),
                    Track::InDoubt { attempt: doubted, .. } if doubted == attempt
                );
                need(in_doubt, "that attempt is not in doubt")?;
                match verdict {
                    Probed::Done => self.done(ix, *direction, &Outputs::new(), at),
                    other => self.set(
                        ix,
                        *direction,
                        Track::InDoubt { attempt: *attempt, probed: Some(*other) },
                    ),
                }
            }
            Fact::StepResolved(resolved) => self.resolve(resolved, at)?,
            Fact::PointConfirmed { step, .. } => {
                let ix = self.ix(step)?;
                need(
                    self.needs_confirmation(ix),
                    "it is no point of no return that waits for a word",
                )?;
                self.steps[ix].confirmed = true;
                self.answered_anew(ix);
            }
            Fact::RunAmended(amended) => self.amend(amended)?,
            Fact::StepSaw { step, direction, attempt, seen } => {
                let ix = self.ix(step)?;
                let is_running = matches!(
                    self.track(ix, *direction),
                    Track::Running { attempt: running, .. } if running == attempt
                );
                need(is_running, "that attempt is not running")?;
                // What a later attempt finds may be half of what the first one changed.
                if *direction == Direction::Forward {
                    self.steps[ix].seen.get_or_insert_with(|| seen.clone());
                }
            }
            Fact::CursorSaved { step, direction, cursor, .. } => {
                let ix = self.ix(step)?;
                self.steps[ix].cursors[*direction as usize] = Some(cursor.clone());
            }
            Fact::AnalysisRead { step, attempt, .. } => {
                let track = self.track(self.ix(step)?, Direction::Forward);
                let is_running =
                    matches!(track, Track::Running { attempt: running, .. } if running == attempt);
                need(is_running, "that attempt is not running")?;
            }
            Fact::GuardRead { guard, says, reading } => {
                self.guarded(guard)?;
                need(self.stopped.is_none(), "the executor had left")?;
                self.watch.read(guard, *says, reading);
            }
            Fact::GuardForeseen { guard, verdict } => {
                self.guarded(guard)?;
                need(self.started.is_dry(), "only a dry run foresees what a guard does")?;
                self.watch.foreseen.insert(guard.clone(), *verdict);
            }
            Fact::Breached(breach) => {
                if let Watched::Guard { guard } = &breach.of {
                    self.guarded(guard)?;
                }
                need(self.stopped.is_none(), "the executor had left")?;
                need(self.watch.is_new(breach), "it is breached already")?;
                need(
                    breach.then == OnBreach::Warn || self.mode == Mode::Forward,
                    "nothing goes forward any more that could be stopped or undone",
                )?;
                self.watch.breach(breach);
            }
            Fact::Overridden { .. } => {
                need(self.head == 1, "only what has not begun can be let begin")?
            }
            Fact::Rehearsed(rehearsed) => {
                need(
                    self.started.purpose == Purpose::Rehearsal && self.rehearsed.is_none(),
                    "it is no rehearsal",
                )?;
                self.rehearsed = Some(rehearsed.clone());
            }
            Fact::MessageSent(_) => {}
        }
        Ok(())
    }

    fn guarded(&self, guard: &str) -> Result<(), String> {
        let found = self
            .runbook
            .guards
            .iter()
            .find(|found| found.name == guard)
            .ok_or("the runbook has no such guard")?;
        need(is_watched(self, found), "it is not watched now")
    }

    pub(super) fn ix(&self, step: &str) -> Result<StepIx, String> {
        self.runbook.find(step).ok_or_else(|| "the runbook has no such step".to_owned())
    }
}

/// Nothing that changes the world, goes back, or goes on with what another session began.
fn may_be_in_a_dry_run(fact: &Fact) -> bool {
    matches!(
        fact,
        Fact::StepStarted(_)
            | Fact::StepSucceeded(_)
            | Fact::StepForeseen(_)
            | Fact::StopRequested { .. }
            | Fact::StepSkipped { .. }
            | Fact::GuardRead { .. }
            | Fact::GuardForeseen { .. }
            | Fact::MessageSent(_)
            | Fact::RunStopped { .. }
            | Fact::RunEnded { .. }
    )
}

pub(super) fn need(holds: bool, otherwise: &str) -> Result<(), String> {
    if holds { Ok(()) } else { Err(otherwise.to_owned()) }
}

pub(super) fn illegal(event: &Event, why: impl Into<String>) -> IllegalEvent {
    IllegalEvent {
        number: event.number,
        kind: kind(&event.fact),
        step: event.fact.step().map(ToString::to_string),
        why: why.into(),
    }
}
