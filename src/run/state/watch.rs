//! What is read of guards, and breaches of guards and budgets: which of that may be noted now.

use super::super::foresight::Foreseen;
use super::super::watch::{Breach, Watched, is_watched};
use super::illegal::{Refusal, need};
use super::{Mode, RunState};
use crate::runbook::OnBreach;
use crate::runbook::traffic::Says;

impl RunState {
    pub(super) fn read_guard(
        &mut self,
        guard: &str,
        says: Says,
        reading: &str,
    ) -> Result<(), Refusal> {
        self.must_watch(guard)?;
        need(self.stopped.is_none(), Refusal::ExecutorLeft)?;
        self.watch.read(guard, says, reading);
        Ok(())
    }

    pub(super) fn foresee_guard(&mut self, guard: &str, verdict: Foreseen) -> Result<(), Refusal> {
        self.must_watch(guard)?;
        need(self.started.is_dry(), Refusal::NotDry)?;
        self.watch.foreseen.insert(guard.to_owned(), verdict);
        Ok(())
    }

    pub(super) fn breach(&mut self, breach: &Breach) -> Result<(), Refusal> {
        if let Watched::Guard { guard } = &breach.of {
            self.must_watch(guard)?;
        }
        need(self.stopped.is_none(), Refusal::ExecutorLeft)?;
        need(self.watch.is_new(breach), Refusal::BreachedBefore)?;
        let is_followed = breach.then == OnBreach::Warn || self.mode == Mode::Forward;
        need(is_followed, Refusal::NothingToStop)?;
        self.watch.breach(breach);
        Ok(())
    }

    fn must_watch(&self, guard: &str) -> Result<(), Refusal> {
        let found = self.runbook.guards.iter().find(|found| found.name == guard);
        need(is_watched(self, found.ok_or(Refusal::NoSuchGuard)?), Refusal::NotWatched)
    }
}
