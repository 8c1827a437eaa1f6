//! What is watched beside the steps: each guard is read on a thread of its own for as long as it is
//! watched, and once a second the budgets are looked at. What a reading means is not known here,
//! only when it is bad for too long.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::session::{Input, Session};
use crate::effect::{Job, Said, Stopper};
use crate::journal::JournalError;
use crate::run::watch::{breaches, consequence, is_stopped_by_retreat, is_watched};
use crate::run::*;
use crate::runbook::traffic::Says;
use crate::runbook::{Action, Direction, Guard, OnBreach};

/// How long the last readings are waited for at the end of a session.
const PATIENCE: Duration = Duration::from_secs(5);

/// A guard that is watched now.
pub(super) struct Watcher {
    halt: Arc<Stopper>,
    /// Held by the thread that reads.
    reader: std::thread::JoinHandle<()>,
    /// The first and the last bad reading without a good one in between.
    pub bad: Option<(Instant, Instant)>,
}

impl Session<'_> {
    /// Begins and ends the watch of guards as the run stands.
    pub fn watch_guards(&mut self) {
        for number in 0..self.state.runbook.guards.len() {
            let guard = &self.state.runbook.guards[number];
            match (is_watched(&self.state, guard), self.watchers.contains_key(&number)) {
                (true, false) => {
                    let watcher = self.watcher(number);
                    self.watchers.insert(number, watcher);
                }
                (false, true) => {
                    if let Some(watcher) = self.watchers.remove(&number) {
                        watcher.halt.stop();
                        self.halted.push(watcher);
                    }
                }
                _ => {}
            }
        }
    }

    fn watcher(&mut self, number: usize) -> Watcher {
        let halt = Arc::new(Stopper::default());
        let runbook = Arc::clone(&self.state.runbook);
        let guard = &runbook.guards[number];
        let names = names::of_scope(&self.state, guard.scope);
        let job = self.guard_job(number, guard, names.clone());
        let analysis = guard.analysis.render(&names).and_then(|analysis| Ok((analysis, job?)));
        let every = guard.analysis.every.as_duration();
        let (send, keeper, stop) = (self.send.clone(), self.keeper.clone(), Arc::clone(&halt));
        let reader = std::thread::spawn(move || {
            loop {
                let said = match &analysis {
                    Ok((analysis, job)) => crate::effect::read(job, analysis, &keeper, &stop),
                    Err(error) => Said {
                        says: Says::Inconclusive,
                        words: error.0.clone(),
                        secrets: Default::default(),
                        is_shut: false,
                    },
                };
                if stop.is_stopped()
                    || send.send(Input::Read { number, said }).is_err()
                    || stop.sleep(every)
                {
                    return;
                }
            }
        });
        Watcher { halt, reader, bad: None }
    }

    fn guard_job(
        &self,
        number: usize,
        guard: &Guard,
        names: serde_json::Value,
    ) -> Result<Job, crate::runbook::TextError> {
        let scope = &self.state.runbook.scopes[guard.scope as usize];
        let env = scope.env.iter().map(|(name, value)| Ok((name.clone(), value.render(&names)?)));
        let context =
            [("SWITCHOVER_RUN", self.head.run.clone()), ("SWITCHOVER_GUARD", guard.name.clone())];
        let mut context = BTreeMap::from(context);
        context.extend(self.path_with_stand_ins());
        Ok(Job {
            action: Action::Join,
            env: env.collect::<Result<_, _>>()?,
            secrets: scope.secrets.clone(),
            context,
            key: format!("{}:guard:{}", self.head.run, guard.name),
            attempt: None,
            timeout: Some(crate::effect::READING),
            stem: self.guard_stem(number),
            names,
            vault: self.vault.clone(),
            seen: None,
            reached: None,
            only_looks: false,
            probe: None,
        })
    }

    /// Where the output of its commands goes; each reading takes the place of the one before. What
    /// an executor that was killed left may still hold its own.
    fn guard_stem(&self, number: usize) -> PathBuf {
        self.journal
            .run_folder(&self.head.run)
            .join(format!("guard-{number}-{}", self.state.session))
    }

    /// Whether a guard that is watched begins commands.
    pub fn guards_begin_commands(&self) -> bool {
        let watched =
            self.state.runbook.guards.iter().filter(|guard| is_watched(&self.state, guard));
        watched.filter(|guard| guard.analysis.runs_commands()).count() > 0
    }

    /// Whether a guard that could hold the run up is watched, and this session has not read it yet.
    /// A reading always ends.
    pub fn is_a_guard_unread(&self) -> bool {
        let is_unread = |guard: &Guard| {
            guard.on_breach != OnBreach::Warn
                && !self.state.watch.says.contains_key(&guard.name)
                && is_watched(&self.state, guard)
        };
        !self.state.started.is_dry() && self.state.runbook.guards.iter().any(is_unread)
    }

    /// A guard was read.
    pub fn guard_read(&mut self, number: usize, said: Said) -> Result<(), JournalError> {
        // What came with the end of its last step is not watched any more.
        let watched =
            self.state.runbook.guards.get(number).filter(|guard| is_watched(&self.state, guard));
        let Some(guard) = watched.map(|guard| guard.name.clone()) else { return Ok(()) };
        let Some(watcher) = self.watchers.get_mut(&number) else { return Ok(()) };
        match said.says {
            Says::Good => watcher.bad = None,
            Says::Bad => {
                watcher.bad.get_or_insert((Instant::now(), Instant::now())).1 = Instant::now()
            }
            // What nobody knows does not mend what was bad.
            Says::Inconclusive => {}
        }
        if self.state.watch.says.get(&guard).is_none_or(|(says, _)| *says != said.says) {
            let reading =
                crate::message::one_line(&self.vault.mask(&said.words)).chars().take(300).collect();
            let foreseen =
                self.state.runbook.guards.get(number).filter(|_| self.state.started.is_dry());
            if let Some(verdict) =
                foreseen.and_then(|guard| self.state.foreseen_of(guard, said.says, !said.is_shut))
            {
                self.record(Fact::GuardForeseen { guard: guard.clone(), verdict })?;
            }
            // In a dry run it is not watched any more from here.
            self.record(Fact::GuardRead { guard, says: said.says, reading })?;
        }
        Ok(())
    }

    /// Journals what is breached now.
    pub fn find_breaches(&mut self) -> Result<(), JournalError> {
        // Who wants to stop will be asked, or decides at the next session, in which everything is
        // read anew.
        if self.draining() || self.state.started.is_dry() {
            return Ok(());
        }
        let runbook = Arc::clone(&self.state.runbook);
        for (number, guard) in runbook.guards.iter().enumerate() {
            let of = Watched::Guard { guard: guard.name.clone() };
            let lasted = self
                .watchers
                .get(&number)
                .and_then(|watcher| watcher.bad)
                .map(|(first, last)| last - first);
            if lasted.is_none_or(|lasted| lasted < guard.lasting.as_duration())
                || self.state.watch.breached.contains(&of)
                || !is_watched(&self.state, guard)
            {
                continue;
            }
            let said = self
                .state
                .watch
                .says
                .get(&guard.name)
                .map(|(_, reading)| reading.clone())
                .unwrap_or_default();
            let (then, why) = consequence(&self.state, guard.on_breach);
            let lasted = if guard.lasting > Default::default() {
                format!(", for {}", guard.lasting)
            } else {
                String::new()
            };
            self.record(Fact::Breached(Breach {
                of,
                reading: format!("{said}{lasted}{why}"),
                then,
            }))?;
        }
        if self.priced.is_none_or(|at| at.elapsed() >= Duration::from_secs(1))
            && !runbook.budgets.is_empty()
        {
            self.priced = Some(Instant::now());
            for breach in breaches(&self.state, &self.expected, self.clock()) {
                self.record(Fact::Breached(breach))?;
            }
        }
        Ok(())
    }

    /// Looks at the budgets however lately they were looked at; whether anything is breached that
    /// was not before.
    pub fn is_breached_now(&mut self) -> Result<bool, JournalError> {
        let before = self.state.head;
        self.priced = None;
        self.find_breaches()?;
        Ok(self.state.head > before)
    }

    /// When the budgets are to be looked at next. A guard is when it was read.
    pub fn next_breach(&self) -> Option<Instant> {
        (!self.state.runbook.budgets.is_empty()).then(|| Instant::now() + Duration::from_secs(1))
    }

    /// Everything is to be undone because of a breach: what knows its way back is not waited for.
    pub fn retreat(&mut self) -> Result<(), JournalError> {
        let running: Vec<_> = self.running.keys().copied().collect();
        let stopped = running.into_iter().filter(|(ix, direction)| {
            *direction == Direction::Forward && is_stopped_by_retreat(&self.state, *ix)
        });
        let stopped: Vec<_> = stopped.collect();
        for &(ix, direction) in &stopped {
            self.request_stop(ix, direction, StopReason::Breach)?;
        }
        self.commit()?;
        stopped.into_iter().for_each(|pair| self.end(pair, false));
        Ok(())
    }

    /// Lets no reading outlive the session.
    pub fn end_watch(&mut self) {
        let all: Vec<Watcher> = self
            .watchers
            .drain()
            .map(|(_, watcher)| watcher)
            .chain(self.halted.drain(..))
            .collect();
        all.iter().for_each(|watcher| watcher.halt.stop());
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until && all.iter().any(|watcher| !watcher.reader.is_finished()) {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}
