//! The way back: what a rollback takes back, in which order, and how far it is.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::super::event::{Moment, Outcome};
use super::illegal::{Refusal, need};
use super::{Mode, RunState, StepState, Track};
use crate::runbook::{Direction, Downtime, StepIx, StepMap, Undo};

/// How far a rollback is.
#[derive(Debug, Clone, PartialEq)]
pub struct Rollback {
    pub to: Option<StepIx>,
    pub because: String,
    pub began: Moment,
    targets: StepMap<bool>,
    waits: StepMap<u32>,
    /// Steps whose dependents are all undone.
    pub ready: BTreeSet<StepIx>,
    pub left: usize,
    /// How many steps are to be undone in all.
    pub total: usize,
}

impl RunState {
    pub(super) fn begin_rollback(
        &mut self,
        to: Option<&str>,
        because: &str,
        force: bool,
        at: Moment,
    ) -> Result<(), Refusal> {
        let again = self.ended == Some(Outcome::RolledBack);
        need(self.mode == Mode::Forward || again, Refusal::GoesBack)?;
        let runbook = Arc::clone(&self.runbook);
        let to = to.map(|to| self.ix(to)).transpose()?;
        // A run that went back in part may go back further.
        let is_back = |step: &StepState| {
            matches!(step.tracks[Direction::Undo as usize], Track::Done | Track::Passed)
        };
        let began = |step: &StepState| step.attempts[Direction::Forward as usize] > 0;
        let mut targets = self.begun_and_not_back();
        // What was being undone to be begun anew is undone to its end, whatever else stays.
        let is_half_back = |step: &StepState| {
            step.tracks[Direction::Undo as usize] != Track::Idle && !is_back(step)
        };
        let half_back: StepMap<bool> = self.steps.iter().map(is_half_back).collect();
        if let Some(to) = to {
            need(self.step(to).attempts[Direction::Forward as usize] > 0, Refusal::ToHasNotBegun)?;
            let after = runbook.descendants(to);
            targets.iter_mut().zip(after).for_each(|(target, after)| *target &= after);
        }
        if !force {
            self.spare_points(&mut targets);
        }
        targets.iter_mut().zip(half_back).for_each(|(target, half_back)| *target |= half_back);
        let total = targets.iter().filter(|target| **target).count();
        let is_held_back = runbook.ixs().any(|ix| began(self.step(ix)) && !is_back(self.step(ix)));
        let nothing = Refusal::NothingToUndo { held_back: is_held_back };
        need(total > 0 || !again, nothing)?;
        let waits = runbook.ixs().map(|ix| runbook.dependents(ix).len() as u32).collect();
        self.rollback = Some(Rollback {
            to,
            because: because.to_owned(),
            began: at,
            targets,
            waits,
            ready: BTreeSet::new(),
            left: total,
            total,
        });
        // What was done in part is undone with the rest.
        self.sets.partial.clear();
        self.watch.retreats = None;
        self.mode = Mode::RollingBack;
        self.ended = None;
        self.stopped = None;
        let leaves: Vec<StepIx> =
            runbook.ixs().filter(|ix| runbook.dependents(*ix).is_empty()).collect();
        leaves.into_iter().for_each(|ix| self.clear_for_undo(ix));
        Ok(())
    }

    /// Which steps a rollback takes back: the one that is under way or, if there is none, one that
    /// began now.
    pub fn targets(&self) -> StepMap<bool> {
        if let Some(rollback) = &self.rollback {
            return rollback.targets.clone();
        }
        let mut targets = self.begun_and_not_back();
        self.spare_points(&mut targets);
        targets
    }

    /// Whether a rollback takes this step back.
    pub fn is_target(&self, ix: StepIx) -> bool {
        self.rollback.as_ref().is_some_and(|rollback| rollback.targets[ix])
    }

    fn begun_and_not_back(&self) -> StepMap<bool> {
        let is_back = |step: &StepState| {
            matches!(step.tracks[Direction::Undo as usize], Track::Done | Track::Passed)
        };
        self.steps
            .iter()
            .map(|step| step.attempts[Direction::Forward as usize] > 0 && !is_back(step))
            .collect()
    }

    /// What lies before a point of no return that was passed stays.
    fn spare_points(&self, targets: &mut StepMap<bool>) {
        for &ix in self.points.iter().filter(|ix| self.step(**ix).touched) {
            targets[ix] = false;
            targets
                .iter_mut()
                .zip(self.runbook.ancestors(ix))
                .for_each(|(target, before)| *target &= !before);
        }
    }

    /// All dependents of `ix` are out of the way: it can be undone, or, if it is not to be, what it
    /// needs can.
    fn clear_for_undo(&mut self, ix: StepIx) {
        let Some(rollback) = &mut self.rollback else { return };
        let mut clear = vec![ix];
        while let Some(at) = clear.pop() {
            if rollback.targets[at]
                && !matches!(
                    self.steps[at].tracks[Direction::Undo as usize],
                    Track::Done | Track::Passed
                )
            {
                rollback.ready.insert(at);
                continue;
            }
            for need in &self.runbook.step(at).needs {
                let waits = &mut rollback.waits[*need];
                *waits -= 1;
                if *waits == 0 {
                    clear.push(*need);
                }
            }
        }
    }

    pub(super) fn may_undo(&self, ix: StepIx) -> Result<(), Refusal> {
        let rollback = self.rollback.as_ref().ok_or(Refusal::NotRollingBack)?;
        need(rollback.ready.contains(&ix), Refusal::DependentNotUndone)?;
        let running = matches!(self.track(ix, Direction::Forward), Track::Running { .. });
        need(!running, Refusal::RunsStill)?;
        need(!self.sets.held.contains(&ix), Refusal::NotReleased)
    }

    /// There is nothing to undo.
    pub(super) fn pass_undo(&mut self, ix: StepIx, at: Moment) -> Result<(), Refusal> {
        self.may_undo(ix)?;
        let nothing = matches!(self.runbook.step(ix).undo, Undo::Nothing) || !self.step(ix).touched;
        need(nothing, Refusal::HasUndo)?;
        self.set(ix, Direction::Undo, Track::Passed);
        self.undone(ix, at);
        Ok(())
    }

    pub(super) fn undone(&mut self, ix: StepIx, at: Moment) {
        match self.runbook.step(ix).downtime {
            Some(Downtime::Begins) => self.production_is_back(at),
            // A step that had nothing to undo, or was undone by hand, goes over to the old side as
            // one whose undo began.
            Some(Downtime::Ends) if self.goes_back_over_a_downtime() => {
                self.down_since.get_or_insert(at);
            }
            _ => {}
        }
        let Some(rollback) = &mut self.rollback else { return };
        // An undo that began before the rollback, of a step that is no target of it, frees nobody.
        if rollback.ready.remove(&ix) {
            rollback.left -= 1;
            self.clear_for_undo(ix);
        }
    }

    /// Whether the way back leads to before production went down.
    fn goes_back_over_a_downtime(&self) -> bool {
        let is_back = |ix| matches!(self.track(ix, Direction::Undo), Track::Done | Track::Passed);
        let begins = |ix| self.runbook.step(ix).downtime == Some(Downtime::Begins);
        self.runbook
            .ixs()
            .any(|ix| begins(ix) && self.is_target(ix) && self.step(ix).touched && !is_back(ix))
    }

    pub(super) fn is_partial(&self, ix: StepIx) -> bool {
        self.mode == Mode::Forward && self.sets.partial.contains(&ix)
    }
}
