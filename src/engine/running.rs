//! The attempts that run: how each is begun, who sees it end, and how it is ended before its time.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::report::{Report, ended};
use super::session::Session;
use crate::drive::{Launch, Pair, Work};
use crate::effect::{EffectError, Job, Life, Signal, Stopper, Teller};
use crate::journal::AttemptFiles;
use crate::runbook::{Direction, Span, StepIx};

/// After how long a command that was killed, and of whose end nothing is heard, is no longer waited
/// for. A keeper gives up sooner.
pub(super) const UNANSWERED: Duration = Duration::from_secs(25);

/// An attempt that runs.
pub(super) struct Running {
    pub stopper: Arc<Stopper>,
    pub attempt: u32,
    /// Whether it was told to end.
    pub is_ending: bool,
    /// When it was to be killed at last.
    pub killed: Option<Instant>,
    pub watch: Watch,
    /// When it was first seen not to live any more, although its end was not recorded.
    pub gone: Option<Instant>,
    /// The last cursor that was told and is not journaled yet.
    pub cursor: Option<String>,
}

/// Who sees a running attempt end.
pub(super) enum Watch {
    /// This session, or its keeper.
    Here,
    /// The keeper of an earlier session, if it lives.
    Earlier,
    /// Nobody any more, for this reason, although it may still run.
    Nobody(EffectError),
}

impl Session<'_> {
    pub fn launch(&mut self, launch: Launch) {
        let (ix, direction, attempt) = (launch.ix, launch.direction, launch.attempt);
        let is_probe = launch.work == Work::Probe;
        let stopper = Arc::new(Stopper::default());
        let running = Running {
            stopper: Arc::clone(&stopper),
            attempt,
            is_ending: false,
            killed: None,
            watch: Watch::Here,
            gone: None,
            cursor: None,
        };
        self.running.insert((ix, direction), running);
        let job = self.job(launch);
        let send = self.send.clone();
        // If nobody listens any more, the session is over; the journal knows that this attempt
        // began.
        let then = move |result| drop(send.send(ended(ix, direction, attempt, is_probe, result)));
        if !crate::effect::begin(&job, &self.keeper, &stopper, then.clone()) {
            let (keeper, send) = (self.keeper.clone(), self.send.clone());
            let teller = Teller::new(move |told| {
                drop(send.send(Report::Told { ix, direction, attempt, told }))
            });
            tokio::task::spawn_blocking(move || {
                then(crate::effect::perform(&job, &keeper, &stopper, &teller))
            });
        }
    }

    fn job(&self, launch: Launch) -> Job {
        let Launch { ix, direction, attempt, work, action, env, names, timeout, seen, reached } =
            launch;
        let state = self.state();
        let key = state.idempotency_key(ix, direction);
        let scope = &state.runbook.scopes[state.runbook.step(ix).scope as usize];
        let mut context = self.context(ix, direction, attempt, &key);
        if matches!(work, Work::LookAhead { .. } | Work::Read) {
            context.insert("SWITCHOVER_DRY_RUN", "1".to_owned());
        }
        let stem = self.files(ix, direction, attempt).path_stem();
        let (number, stem) = match work {
            Work::Probe => {
                let own = format!("{}{attempt}-probe{}", direction.word(), state.head);
                (None, stem.with_extension(own))
            }
            Work::Act | Work::LookAhead { .. } | Work::Read => (Some(attempt), stem),
        };
        Job {
            action,
            env,
            secrets: scope.secrets.clone(),
            context,
            key,
            attempt: number,
            timeout: timeout.map(Span::as_duration),
            stem,
            names,
            vault: self.vault.clone(),
            seen,
            reached,
            only_looks: matches!(work, Work::LookAhead { .. }),
            probe: if let Work::LookAhead { probe } = work {
                probe.map(|probe| *probe)
            } else {
                None
            },
        }
    }

    fn context(
        &self,
        ix: StepIx,
        direction: Direction,
        attempt: u32,
        key: &str,
    ) -> BTreeMap<&'static str, String> {
        let mut context = BTreeMap::from([
            ("SWITCHOVER_RUN", self.head.run.clone()),
            ("SWITCHOVER_STEP", self.id(ix).to_string()),
            ("SWITCHOVER_ATTEMPT", attempt.to_string()),
            ("SWITCHOVER_DIRECTION", direction.word().to_owned()),
            ("SWITCHOVER_IDEMPOTENCY_KEY", key.to_owned()),
        ]);
        context.extend(self.path_with_stand_ins());
        // Empty if nothing says how far an earlier attempt came.
        let cursor = self.state().cursor(ix, direction).unwrap_or_default();
        context.insert("SWITCHOVER_RESUME_FROM", cursor.to_owned());
        context
    }

    /// Where commands find programs, if some stand in for real ones.
    pub fn path_with_stand_ins(&self) -> Option<(&'static str, String)> {
        let stand_ins = self.state().runbook.stand_ins.as_ref()?;
        let path = std::env::var("PATH").unwrap_or_default();
        Some(("PATH", format!("{}:{path}", stand_ins.folder.display())))
    }

    pub fn files(&self, ix: StepIx, direction: Direction, attempt: u32) -> AttemptFiles {
        self.journal.attempt_files(self.state(), ix, direction, attempt)
    }

    /// Asks an attempt to end, or kills it.
    pub fn end(&mut self, pair: Pair, force: bool) {
        let is_afar =
            self.running.get(&pair).is_some_and(|running| !matches!(running.watch, Watch::Here));
        let life = if is_afar { self.life(pair, &crate::effect::processes()) } else { Life::Gone };
        let Some(running) = self.running.get_mut(&pair) else { return };
        if is_afar {
            let signal = if force { Signal::KILL } else { Signal::TERM };
            crate::effect::signal_all(life.processes(), signal);
        } else if force {
            running.stopper.kill()
        } else {
            running.stopper.stop()
        }
        running.is_ending = true;
        if force {
            running.killed.get_or_insert_with(Instant::now);
        }
    }

    /// Stops here with all commands, until somebody lets this go on; the time in between does not
    /// count.
    pub fn suspend(&mut self) {
        let since = Instant::now();
        self.observer.note("stopped here, with what runs; `fg` goes on");
        self.pause(true);
        crate::effect::stop_here();
        self.pause(false);
        let away = since.elapsed();
        self.begun.1 += away;
        for running in self.running.values_mut() {
            running.stopper.was_away(away);
            for since in [&mut running.killed, &mut running.gone].into_iter().flatten() {
                *since += away;
            }
        }
        self.observer.note(&format!("goes on after {}s", away.as_secs()));
    }

    fn pause(&self, pause: bool) {
        self.keeper.pause(pause);
        let signal = if pause { Signal::STOP } else { Signal::CONT };
        let afar = self.afar();
        if !afar.is_empty() {
            let all = crate::effect::processes();
            afar.into_iter().for_each(|pair| {
                crate::effect::signal_all(self.life(pair, &all).processes(), signal)
            });
        }
    }

    /// What runs and is not watched by this session.
    pub fn afar(&self) -> Vec<Pair> {
        let afar = self.running.iter().filter(|(_, running)| !matches!(running.watch, Watch::Here));
        afar.map(|(pair, _)| *pair).collect()
    }
}
