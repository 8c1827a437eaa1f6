//! What is watched beside the steps: what readings of guards lead to, and when budgets are looked
//! at. How a guard is read is not known here.

use std::sync::Arc;

use super::commit::PRICED;
use super::{Drive, Now};
use crate::message::one_line;
use crate::run::watch::{breaches, consequence, is_watched};
use crate::run::{Breach, Fact, IllegalEvent, Watched};
use crate::runbook::traffic::Says;
use crate::runbook::{Guard, OnBreach, Span};

/// How many characters of a reading are kept.
const MAX_READING: usize = 300;

impl Drive {
    /// Whether a guard that could hold the run up is watched, and this session has not read it yet.
    /// A reading always ends.
    pub(super) fn is_a_guard_unread(&self) -> bool {
        let is_unread = |guard: &Guard| {
            guard.on_breach != OnBreach::Warn
                && !self.state.watch.says.contains_key(&guard.name)
                && is_watched(&self.state, guard)
        };
        !self.state.started.is_dry() && self.state.runbook.guards.iter().any(is_unread)
    }

    pub(super) fn guard_read(
        &mut self,
        now: Now,
        number: usize,
        says: Says,
        words: String,
        is_shut: bool,
    ) -> Result<(), IllegalEvent> {
        let runbook = Arc::clone(&self.state.runbook);
        // What came with the end of its last step is not watched any more.
        let watched = runbook.guards.get(number).filter(|guard| is_watched(&self.state, guard));
        let (Some(guard), Some(bad)) = (watched, self.watched.get_mut(&number)) else {
            return Ok(());
        };
        match says {
            Says::Good => *bad = None,
            Says::Bad => bad.get_or_insert((now.clock, now.clock)).1 = now.clock,
            // What nobody knows does not mend what was bad.
            Says::Inconclusive => {}
        }
        let said = self.state.watch.says.get(&guard.name);
        if said.is_some_and(|(said, _)| *said == says) {
            return Ok(());
        }
        let reading = one_line(&words).chars().take(MAX_READING).collect();
        let foreseen = Some(guard).filter(|_| self.state.started.is_dry());
        if let Some(verdict) =
            foreseen.and_then(|guard| self.state.foreseen_of(guard, says, !is_shut))
        {
            self.record(now, Fact::GuardForeseen { guard: guard.name.clone(), verdict })?;
        }
        // In a dry run it is not watched any more from here.
        self.record(now, Fact::GuardRead { guard: guard.name.clone(), says, reading })
    }

    /// Journals what is breached now.
    pub(super) fn find_breaches(&mut self, now: Now) -> Result<(), IllegalEvent> {
        // Who wants to stop will be asked, or decides at the next session, in which everything is
        // read anew.
        if self.draining.is_some() || self.state.started.is_dry() {
            return Ok(());
        }
        let runbook = Arc::clone(&self.state.runbook);
        for (number, guard) in runbook.guards.iter().enumerate() {
            let of = Watched::Guard { guard: guard.name.clone() };
            let bad = self.watched.get(&number).copied().flatten();
            let lasted = bad.map(|(first, last)| last.since(first));
            if lasted.is_none_or(|lasted| lasted < guard.lasting)
                || self.state.watch.breached.contains(&of)
                || !is_watched(&self.state, guard)
            {
                continue;
            }
            let said = self.state.watch.says.get(&guard.name);
            let said = said.map_or("", |(_, reading)| reading);
            let (then, why) = consequence(&self.state, guard.on_breach);
            let lasted = match guard.lasting > Span::ZERO {
                true => format!(", for {}", guard.lasting),
                false => String::new(),
            };
            let reading = format!("{said}{lasted}{why}");
            self.record(now, Fact::Breached(Breach { of, reading, then }))?;
        }
        let is_due = self.priced.is_none_or(|at| now.clock.since(at) >= PRICED);
        if is_due && !runbook.budgets.is_empty() {
            self.priced = Some(now.clock);
            for breach in breaches(&self.state, &self.expected, now.clock) {
                self.record(now, Fact::Breached(breach))?;
            }
        }
        Ok(())
    }

    /// Looks at the budgets however lately they were looked at; whether anything is breached that
    /// was not before.
    pub(super) fn is_breached_now(&mut self, now: Now) -> Result<bool, IllegalEvent> {
        let before = self.state.head;
        self.priced = None;
        self.find_breaches(now)?;
        Ok(self.state.head > before)
    }
}
