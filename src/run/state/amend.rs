//! A run that goes on with another definition: what has started keeps its state and must mean the
//! same, the rest is as the new one says.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::super::event::{RunAmended, SkipReason};
use super::illegal::Refusal;
use super::{Mode, RunState, Sets, Track};
use crate::runbook::action::DoneBy;
use crate::runbook::meaning::{Terms, meaning};
use crate::runbook::{Direction, Runbook, StepId, StepIx, StepMap};

impl RunState {
    /// Why the run cannot go on with `new`: a step that has started and would be gone, or mean
    /// something else.
    pub fn conflicts(&self, new: &Runbook) -> Vec<String> {
        let started = self.runbook.ixs().filter(|ix| self.has_started(*ix));
        let conflict = |ix: StepIx| {
            let id = &self.runbook.step(ix).id;
            match new.find(id) {
                None => Some(format!("{id} has started, and would be gone")),
                Some(other) if meaning(&self.runbook, ix) != meaning(new, other) => {
                    Some(format!("{id} has started, and would mean something else"))
                }
                Some(_) => None,
            }
        };
        started.filter_map(conflict).collect()
    }

    /// Whose answers `new` takes back: approvals and confirmations of points of no return behind
    /// which something that has not begun is new, is gone or means something else, or something
    /// that is not done runs under other terms. What has begun stays as it is, so that only what
    /// comes is asked about again.
    pub fn voided_by(&self, new: &Runbook) -> Vec<StepId> {
        let old = &self.runbook;
        let (terms, new_terms) = (Terms::of(old), Terms::of(new));
        let is_ahead =
            |ix| !matches!(self.track(ix, Direction::Forward), Track::Done | Track::Skipped { .. });
        let differs = |ix: StepIx| {
            new.find(&old.step(ix).id).is_none_or(|other| {
                meaning(old, ix) != meaning(new, other)
                    || is_ahead(ix) && !terms.are_same((old, ix), &new_terms, (new, other))
            })
        };
        let differs: StepMap<bool> = old.ixs().map(differs).collect();
        let is_new: StepMap<bool> = new
            .ixs()
            .map(|ix| old.find(&new.step(ix).id).is_none_or(|other| differs[other]))
            .collect();
        let any = |behind: StepMap<bool>, changed: &[bool]| {
            behind.iter().zip(changed).any(|(behind, changed)| *behind && *changed)
        };
        let is_void = |ix: &StepIx| {
            let Some(at) = new.find(&old.step(*ix).id) else { return false };
            let is_itself = self.has_word(*ix) && differs[*ix];
            is_itself || any(old.descendants(*ix), &differs) || any(new.descendants(at), &is_new)
        };
        let answered = old.ixs().filter(|ix| self.is_go(*ix) || self.has_word(*ix));
        answered.filter(is_void).map(|ix| old.step(ix).id.clone()).collect()
    }

    /// The answers that an amendment took back and that nobody has given anew.
    pub fn void(&self) -> impl Iterator<Item = StepIx> + '_ {
        self.voided.iter().copied()
    }

    /// An answer that was void is given.
    pub(super) fn answered_anew(&mut self, ix: StepIx) {
        if self.voided.remove(&ix) {
            self.bar();
        }
    }

    fn bar(&mut self) {
        let behind: Vec<StepMap<bool>> =
            self.voided.iter().map(|ix| self.runbook.descendants(*ix)).collect();
        let is_barred = |ix: &StepIx| behind.iter().any(|behind| behind[*ix]);
        self.sets.barred = self.runbook.ixs().filter(is_barred).collect();
    }

    /// An approval that was given, or passed over by a person.
    fn is_go(&self, ix: StepIx) -> bool {
        let is_answered = matches!(
            self.track(ix, Direction::Forward),
            Track::Done | Track::Skipped { because: SkipReason::Operator { .. } }
        );
        self.runbook.step(ix).act.action.done_by() == DoneBy::GATE
            && is_answered
            && !self.is_only_looked_at(ix)
    }

    /// A point of no return that has not begun and that somebody lets be passed.
    fn has_word(&self, ix: StepIx) -> bool {
        self.step(ix).confirmed && !self.has_started(ix)
    }

    /// Takes the new definition.
    pub(super) fn amend(&mut self, amended: &RunAmended) -> Result<(), Refusal> {
        let new = Arc::clone(amended.runbook.as_ref().ok_or(Refusal::NoDefinition)?);
        if self.mode != Mode::Forward || !self.sets.running.is_empty() {
            return Err(Refusal::CannotBeAmended);
        }
        if let Some(conflict) = self.conflicts(&new).into_iter().next() {
            return Err(Refusal::Conflict(conflict));
        }
        // An amendment of before there were such took no answer back, and forgot every word about a
        // point of no return.
        if amended.voided.as_ref().is_some_and(|voided| *voided != self.voided_by(&new)) {
            return Err(Refusal::OtherAnswers);
        }
        let void: BTreeSet<StepIx> =
            amended.voided.iter().flatten().filter_map(|id| new.find(id)).collect();
        let fresh = RunState::fresh(Arc::clone(&new), self.started.clone(), self.began);
        let old = std::mem::replace(self, fresh);
        self.carry_steps(&old, &void, amended.voided.is_some());
        self.carry_notices(&old);
        self.carry_rest(old, void);
        Ok(())
    }

    /// Takes over what is known of the steps that have begun; `keeps_words`: and the words about
    /// points of no return.
    fn carry_steps(&mut self, old: &RunState, void: &BTreeSet<StepIx>, keeps_words: bool) {
        let new = Arc::clone(&self.runbook);
        let kept = |ix: StepIx| new.find(&old.runbook.step(ix).id);
        for ix in old.runbook.ixs().filter(|ix| old.has_started(*ix)) {
            let Some(at) = kept(ix) else { continue };
            let known = old.step(ix).clone();
            self.carry(at, if void.contains(&at) { known.unanswered() } else { known });
            if void.contains(&at) {
                self.begin_anew(at);
            }
        }
        if keeps_words {
            let words = old.runbook.ixs().filter(|ix| old.has_word(*ix)).filter_map(kept);
            words.filter(|at| !void.contains(at)).for_each(|at| self.steps[at].confirmed = true);
        }
        // After the steps: how many copies failed is more than their states tell.
        for ix in old.runbook.ixs() {
            if let (Some(at), Some(before)) = (kept(ix), old.runbook.step(ix).group)
                && let Some(group) = new.step(at).group
            {
                self.groups[group as usize] = old.groups[before as usize];
            }
        }
    }

    /// Takes over all else, field by field: a new one must be thought of here.
    fn carry_rest(&mut self, old: RunState, void: BTreeSet<StepIx>) {
        let new = Arc::clone(&self.runbook);
        let RunState {
            runbook: before,
            // Only a run that goes forward is amended: these are as they are in a fresh one.
            mode: _,
            ended: _,
            rollback: _,
            rehearsed: _,
            // Given to the fresh one.
            started: _,
            began: _,
            // Taken over with the steps, or counted anew by them.
            steps: _,
            groups: _,
            unsettled: _,
            phase_left: _,
            points: _,
            notices: _,
            // The next session says anew what it leaves out.
            wanted: _,
            session,
            head,
            last,
            stopped,
            until,
            sets,
            down_since,
            downtime,
            watch,
            voided,
            secrets,
        } = old;
        let kept = |ix: &StepIx| new.find(&before.step(*ix).id);
        let carried = |set: &BTreeSet<StepIx>| set.iter().filter_map(kept).collect();
        let Sets {
            held,
            retake,
            partial,
            // Where the steps stand says it.
            ready: _,
            running: _,
            waiting: _,
            doubt: _,
            retrying: _,
            failed: _,
            // Nothing runs.
            inherited: _,
            // By the answers that are void.
            barred: _,
        } = sets;
        self.sets.held = carried(&held);
        self.sets.retake = carried(&retake);
        self.sets.partial = carried(&partial);
        self.voided = carried(&voided);
        self.voided.extend(void);
        self.bar();
        self.until = until.as_ref().and_then(kept);
        self.session = session;
        self.head = head;
        self.last = last;
        self.stopped = stopped;
        self.down_since = down_since;
        self.downtime = downtime;
        self.watch = watch;
        self.secrets = secrets;
    }

    /// Whether anything of a step is in the log that its definition gives a meaning to.
    fn has_started(&self, ix: StepIx) -> bool {
        let begun = Direction::ALL.into_iter().any(|direction| self.attempts(ix, direction) > 0);
        begun || *self.track(ix, Direction::Forward) != Track::Idle
    }
}
