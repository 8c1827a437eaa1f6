//! How a session takes a run up, where it is to leave, and how the run ends.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::super::event::*;
use super::illegal::{Refusal, need};
use super::{Mode, RunState, Track};
use crate::runbook::{Direction, StepIx};

impl RunState {
    pub(super) fn resume(
        &mut self,
        until: Option<&str>,
        still_running: &[StillRunning],
    ) -> Result<(), Refusal> {
        let goes_on = |still: &StillRunning| Ok((self.ix(&still.step)?, still.direction));
        let go_on: BTreeSet<_> =
            still_running.iter().map(goes_on).collect::<Result<_, Refusal>>()?;
        need(go_on.is_subset(&self.sets.running), Refusal::WasNotRunning)?;
        // Who resumes has seen the failures of a session that stopped because of them, and takes
        // them up again; a failure that nobody was told of stands. What had no effect may be begun
        // in any case.
        let is_told = self.stopped.take().is_some();
        self.watch.begin_anew();
        self.set_until(until);
        for (ix, direction) in self.sets.running.difference(&go_on).copied().collect::<Vec<_>>() {
            if let Track::Running { attempt, .. } = *self.track(ix, direction) {
                self.leave_group(ix, direction);
                // Of what was only looked at nothing is in doubt.
                let is_look = direction == Direction::Forward && self.is_only_looked_at(ix);
                self.set(
                    ix,
                    direction,
                    if is_look { Track::Idle } else { Track::InDoubt { attempt, probed: None } },
                );
            }
        }
        self.sets.inherited = go_on;
        // A look at an attempt in doubt is as old as the session that took it.
        for (ix, direction) in self.sets.doubt.clone() {
            if let Track::InDoubt { attempt, .. } = *self.track(ix, direction) {
                self.set(ix, direction, Track::InDoubt { attempt, probed: None });
            }
        }
        for (ix, direction) in self.sets.failed.clone() {
            let had_no_effect = matches!(
                self.track(ix, direction),
                Track::Failed { failure, .. } if failure.kind == FailureKind::BeforeEffect
            );
            if (is_told || had_no_effect)
                && (direction != Direction::Forward || self.mode == Mode::Forward)
            {
                self.set(ix, direction, Track::Idle);
            }
        }
        if self.mode == Mode::Forward {
            let runbook = Arc::clone(&self.runbook);
            for ix in runbook.ixs().filter(|ix| runbook.step(*ix).hold.is_some()) {
                self.retake(ix);
            }
        }
        Ok(())
    }

    pub(super) fn end(&mut self, outcome: Outcome) -> Result<(), Refusal> {
        need(self.sets.running.is_empty(), Refusal::StillRunning)?;
        let done = match outcome {
            Outcome::Finished => {
                self.mode == Mode::Forward && self.unsettled == 0 && self.sets.held.is_empty()
            }
            Outcome::RolledBack => {
                self.rollback.as_ref().is_some_and(|rollback| rollback.left == 0)
                    && self.sets.held.is_empty()
            }
            Outcome::Cancelled => self.mode == Mode::Cancelling && self.sets.held.is_empty(),
        };
        need(done, Refusal::NotDone)?;
        self.ended = Some(outcome);
        Ok(())
    }

    pub(super) fn set_until(&mut self, until: Option<&str>) {
        self.until = until.and_then(|until| self.runbook.find(until));
        self.wanted = self.until.map(|until| {
            let mut wanted = self.runbook.ancestors(until);
            wanted[until] = true;
            wanted
        });
    }

    /// Whether `--until` lets this step go.
    pub fn is_wanted(&self, ix: StepIx) -> bool {
        self.wanted.as_ref().is_none_or(|wanted| wanted[ix])
    }
}
