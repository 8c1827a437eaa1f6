//! What ends an attempt before its time: its limit, an interrupt, a breach. Why is journaled before
//! anything is ended.

use super::{Drive, GRACE, Now, Order, Pair, Refused};
use crate::run::watch::is_stopped_by_retreat;
use crate::run::{Fact, StopReason, Track};
use crate::runbook::Direction;

impl Drive {
    /// Stops what has taken too long, and kills what was stopped and has not ended.
    pub(super) fn stop_late(&mut self, now: Now) -> Result<(), Refused> {
        let (mut late, mut stubborn) = (Vec::new(), Vec::new());
        for (pair, running) in &self.running {
            if running.deadline.is_some_and(|due| due <= now.clock) {
                late.push(*pair);
            } else if running.kill_at.is_some_and(|due| due <= now.clock) {
                stubborn.push(*pair);
            }
        }
        for pair in late {
            self.stop(now, pair, StopReason::Timeout, false)?;
        }
        stubborn.into_iter().for_each(|pair| self.end(now, pair, true));
        Ok(())
    }

    /// The first signal lets what runs finish; the second stops it; the third does not ask.
    pub(super) fn interrupt(&mut self, now: Now, number: i32) -> Result<(), Refused> {
        self.signals += 1;
        self.draining.get_or_insert(number);
        let running: Vec<Pair> = self.running().collect();
        let mut names: Vec<&str> =
            running.iter().map(|(ix, _)| &*self.state.runbook.step(*ix).id).collect();
        names.sort_unstable();
        let names = names.join(", ");
        match (running.is_empty(), self.signals) {
            (true, _) => {}
            (_, 1) => self
                .notes
                .push(format!("nothing new begins; waiting for {names} (once more stops it)")),
            (_, 2) => self.notes.push(format!("stopping {names} (once more kills it)")),
            _ => self.notes.push(format!("killing {names}")),
        }
        if self.signals >= 2 {
            for pair in running {
                self.stop(now, pair, StopReason::Interrupt, self.signals >= 3)?;
            }
        }
        Ok(())
    }

    /// Everything is to be undone because of a breach: what knows its way back is not waited for.
    pub(super) fn retreat(&mut self, now: Now) -> Result<(), Refused> {
        let running: Vec<Pair> = self.running().collect();
        for pair in running {
            if pair.1 == Direction::Forward && is_stopped_by_retreat(&self.state, pair.0) {
                self.stop(now, pair, StopReason::Breach, false)?;
            }
        }
        Ok(())
    }

    /// Writes down why something is to end, and then ends it.
    fn stop(
        &mut self,
        now: Now,
        pair: Pair,
        because: StopReason,
        force: bool,
    ) -> Result<(), Refused> {
        let (ix, direction) = pair;
        if let Track::Running { attempt, stopping: None, .. } = *self.state.track(ix, direction) {
            let step = self.id(ix);
            self.record(now, Fact::StopRequested { step, direction, attempt, because })?;
        }
        self.end(now, pair, force);
        Ok(())
    }

    fn end(&mut self, now: Now, pair: Pair, force: bool) {
        let Some(running) = self.running.get_mut(&pair) else { return };
        running.deadline = None;
        running.kill_at = (!force).then(|| now.clock.after(GRACE));
        let (ix, direction) = pair;
        self.after.push(Order::End { ix, direction, force });
    }
}
