//! Reads guards: each on a thread of its own for as long as it is watched. What a reading means,
//! and when a guard is watched, is not known here.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::session::{Report, Session};
use crate::effect::{Job, Said, Stopper};
use crate::run::names;
use crate::runbook::traffic::Says;
use crate::runbook::{Action, Guard};

/// How long the last readings are waited for at the end of a session.
const PATIENCE: Duration = Duration::from_secs(5);

/// A guard that is watched now.
pub(super) struct Watcher {
    halt: Arc<Stopper>,
    /// Held by the thread that reads.
    reader: std::thread::JoinHandle<()>,
}

impl Session<'_> {
    /// Reads a guard, by its number, from now on.
    pub fn watch_guard(&mut self, number: usize) {
        let watcher = self.watcher(number);
        self.watchers.insert(number, watcher);
    }

    pub fn halt_guard(&mut self, number: usize) {
        if let Some(watcher) = self.watchers.remove(&number) {
            watcher.halt.stop();
            self.halted.push(watcher);
        }
    }

    fn watcher(&mut self, number: usize) -> Watcher {
        let halt = Arc::new(Stopper::default());
        let runbook = Arc::clone(&self.state().runbook);
        let guard = &runbook.guards[number];
        let names = names::of_scope(self.state(), guard.scope);
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
                    || send.send(Report::Read { number, said }).is_err()
                    || stop.sleep(every)
                {
                    return;
                }
            }
        });
        Watcher { halt, reader }
    }

    fn guard_job(
        &self,
        number: usize,
        guard: &Guard,
        names: serde_json::Value,
    ) -> Result<Job, crate::runbook::TextError> {
        let scope = &self.state().runbook.scopes[guard.scope as usize];
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
            .join(format!("guard-{number}-{}", self.state().session))
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
