//! A run that goes on with another definition: what has started keeps its state and must mean the same, the rest is as the new
//! one says.

use std::sync::Arc;

use super::event::RunAmended;
use super::state::{Mode, RunState, Track};
use crate::runbook::meaning::meaning;
use crate::runbook::{Direction, Runbook, StepIx};

impl RunState {
    /// Why the run cannot go on with `new`: a step that has started and would be gone, or mean something else.
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

    /// Takes the new definition.
    pub(super) fn amend(&mut self, amended: &RunAmended) -> Result<(), String> {
        let new = Arc::clone(amended.runbook.as_ref().ok_or("the new definition is not at hand")?);
        if self.mode != Mode::Forward || !self.sets.running.is_empty() {
            return Err("only a run that goes forward, and in which nothing runs, can be amended".to_owned());
        }
        if let Some(conflict) = self.conflicts(&new).into_iter().next() {
            return Err(conflict);
        }
        let old = std::mem::replace(self, RunState::fresh(Arc::clone(&new), self.started.clone(), self.began));
        let kept = |ix: &StepIx| new.find(&old.runbook.step(*ix).id);
        for ix in old.runbook.ixs().filter(|ix| old.has_started(*ix)) {
            let Some(at) = kept(&ix) else { continue };
            self.carry(at, old.step(ix).clone());
        }
        // After the steps: how many copies failed is more than their states tell.
        for ix in old.runbook.ixs() {
            if let (Some(at), Some(before)) = (kept(&ix), old.runbook.step(ix).group)
                && let Some(group) = new.step(at).group
            {
                self.groups[group as usize] = old.groups[before as usize];
            }
        }
        let carried = |set: &std::collections::BTreeSet<StepIx>| set.iter().filter_map(kept).collect();
        self.sets.held = carried(&old.sets.held);
        self.sets.retake = carried(&old.sets.retake);
        self.sets.partial = carried(&old.sets.partial);
        self.until = old.until.as_ref().and_then(kept);
        self.carry_notices(&old);
        self.session = old.session;
        self.head = old.head;
        self.last = old.last;
        self.stopped = old.stopped;
        self.down_since = old.down_since;
        self.downtime = old.downtime;
        self.watch = old.watch;
        self.secrets = old.secrets;
        Ok(())
    }

    /// Whether anything of a step is in the log that its definition gives a meaning to.
    fn has_started(&self, ix: StepIx) -> bool {
        let begun = Direction::ALL.into_iter().any(|direction| self.attempts(ix, direction) > 0);
        begun || *self.track(ix, Direction::Forward) != Track::Idle
    }
}
