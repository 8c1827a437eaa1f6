//! What an executor that was killed left: its commands outlive it. What has ended has its recorded
//! end, and what still runs is watched until it is over. It does not know how a command is begun.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::running::{Running, UNANSWERED, Watch};
use super::session::{Report, Session};
use crate::drive::{GRACE, Input, Pair, secrets_of};
use crate::effect::{Attempt, EffectError, Known, Life, Over, Process, Reading, Signal};
use crate::journal::{Journal, JournalError};
use crate::run::*;
use crate::runbook::{Action, Direction, StepId, StepIx};

/// What a person can do about it.
const UNSEEN: &str = "; if you know that nothing of it runs any more, end this with Ctrl-C and say \
    so with `switchover resolve`";

impl Session<'_> {
    /// Commands outlive a killed executor: what has ended has its recorded end, and what still runs
    /// is watched as if it had been begun here. Nothing is decided as long as a keeper may still
    /// begin what it was told to.
    pub async fn take_over(
        &mut self,
        receive: &mut mpsc::UnboundedReceiver<Report>,
    ) -> Result<Option<i32>, JournalError> {
        let mut told = false;
        while self.left.may_begin() {
            if !std::mem::replace(&mut told, true) {
                self.observer.note(
                    "waiting: the process that began the commands of an executor that died has not \
                     said what it has begun; `ps -ef --forest` shows them below `exe keep`",
                );
            }
            match tokio::time::timeout(Duration::from_millis(5), receive.recv()).await {
                Ok(Some(Report::Signal(number))) => return Ok(Some(number)),
                Ok(Some(Report::Suspend)) => crate::effect::stop_here(),
                _ => self.left.read_on(),
            }
        }
        let left = still_running(&self.journal, self.state(), &self.left);
        // Read after the look at what lives: what has ended by then is in it.
        self.left.read_on();
        self.adopt_recorded()?;
        for pair in self.state().sets.running.clone() {
            match left.iter().any(|(left, _)| *left == pair) {
                true => self.watch(pair)?,
                false => self.forget_unmasked(pair),
            }
        }
        Ok(None)
    }

    /// Takes recorded ends as results, and what provably never began as that.
    fn adopt_recorded(&mut self) -> Result<(), JournalError> {
        for (ix, direction) in self.state().sets.running.clone() {
            // What a look of an earlier session found is judged by what is to be seen here.
            if direction == Direction::Forward && self.state().is_only_looked_at(ix) {
                let examined = self.examine(ix)?;
                self.inputs.push(Input::Examined { ix, examined });
            }
            let attempt = self.state().attempts(ix, direction);
            match recorded(self.state(), &self.left, ix, direction) {
                Recorded::Ended(over) => {
                    let result = self.recovered(ix, direction, attempt, over);
                    self.read_cursor((ix, direction));
                    self.pass_on_end(ix, direction, attempt, result);
                }
                Recorded::NeverBegan => {
                    let error =
                        EffectError::before("it was not begun: its executor died before that");
                    self.pass_on_end(ix, direction, attempt, Err(error));
                }
                Recorded::Nothing => {}
            }
        }
        self.take_in([])
    }

    /// Watches a command that an earlier session began. It has no more time than it would have had
    /// with its executor.
    fn watch(&mut self, (ix, direction): Pair) -> Result<(), JournalError> {
        let Track::Running { attempt, stopping, .. } = *self.state().track(ix, direction) else {
            return Ok(());
        };
        let life = self.life((ix, direction), &crate::effect::processes());
        // It may have been stopped where it was when its executor died.
        crate::effect::signal_all(life.processes(), Signal::CONT);
        let timeout = self
            .state()
            .runbook
            .step(ix)
            .act(direction)
            .and_then(|act| act.timeout)
            .filter(|_| stopping.is_none());
        let recorded = self
            .left
            .beginning(&attempt_of(self.state(), ix, direction))
            .and_then(|beginning| beginning.leader?.begun);
        let begun = match &life {
            // On another machine, moments are counted from another one.
            Life::Unseen(_) => None,
            Life::Gone | Life::Lives(_) => {
                recorded.or_else(|| life.processes().iter().map(|process| process.begun).min())
            }
        };
        let age = begun.and_then(crate::effect::age);
        let left = timeout.and_then(|timeout| Some(timeout.as_duration().saturating_sub(age?)));
        let running = Running {
            stopper: Arc::default(),
            attempt,
            is_ending: stopping.is_some(),
            killed: None,
            watch: Watch::Earlier,
            gone: None,
            cursor: None,
        };
        let clock = self.now().clock;
        let deadline = left.map(|left| clock.after(left.into()));
        let what = match (&life, stopping) {
            (Life::Unseen(_), _) => "may still run",
            (_, Some(_)) => "is being stopped",
            (_, None) => "still runs",
        };
        let unlimited = if timeout.is_some() && left.is_none() {
            ", so its timeout cannot be kept"
        } else {
            ""
        };
        let way_out = if matches!(life, Life::Unseen(_)) { UNSEEN } else { "" };
        self.observer.note(&format!(
            "the command of {} {what}, left by an executor that died ({}{unlimited}){way_out}",
            self.id(ix),
            life.words()
        ));
        self.running.insert((ix, direction), running);
        self.take_in([Input::Adopted { ix, direction, attempt, deadline }])
    }

    /// What a command says of itself is masked by its keeper at its end. Of one that nobody saw end
    /// it is masked now, or goes if it was given secrets: they may have other values now.
    fn forget_unmasked(&self, (ix, direction): (StepIx, Direction)) {
        let files = self.files(ix, direction, self.state().attempts(ix, direction));
        let is_given_some = !secrets_of(self.state(), ix, direction).is_empty();
        for ending in ["output", "checkpoint", "progress"] {
            match is_given_some {
                true => drop(std::fs::remove_file(files.path(ending))),
                // What it may have of others is known again.
                false => self.vault.mask_file(&files.path(ending)),
            }
        }
    }

    /// What an attempt gave whose end was recorded while no executor was there.
    fn recovered(
        &self,
        ix: StepIx,
        direction: Direction,
        attempt: u32,
        over: Over,
    ) -> Result<Reading, EffectError> {
        let keep = match self.state().runbook.step(ix).act(direction).map(|act| &act.action) {
            Some(Action::Run(run)) => run.keep_output,
            _ => None,
        };
        let stem = self.files(ix, direction, attempt).path_stem();
        let reading = crate::effect::recovered(&stem, over, keep, &self.vault)?;
        Ok(Reading { summary: format!("{}, as was recorded", reading.summary), ..reading })
    }

    /// Whether something of the last attempt lives.
    pub fn life(&self, pair: (StepIx, Direction), all: &std::io::Result<Vec<Process>>) -> Life {
        life(&self.journal, self.state(), &self.left, pair, all)
    }

    /// Says of whose last attempt nothing lives any more.
    pub fn clear(&mut self) {
        for (ix, direction) in self.to_clear.clone() {
            if self.is_in_the_way((ix, direction)) {
                continue;
            }
            self.to_clear.remove(&(ix, direction));
            let cursor = self.left_cursor((ix, direction));
            self.inputs.push(Input::Cleared { ix, direction, cursor });
        }
    }

    /// Whether something of the last attempt lives, or may and nobody has said since how it ended.
    fn is_in_the_way(&mut self, (ix, direction): Pair) -> bool {
        self.left.read_on();
        let life = self.life((ix, direction), &crate::effect::processes());
        let (runs, way_out) = match &life {
            Life::Gone => return false,
            Life::Unseen(_) if self.state().is_vouched(ix, direction) => return false,
            Life::Lives(_) => ("still runs", ""),
            Life::Unseen(_) => ("may still run", UNSEEN),
        };
        let note = format!(
            "waiting: what the last attempt of {} left {runs} ({}){way_out}",
            self.id(ix),
            life.words()
        );
        if self.awaited.as_ref() != Some(&note) {
            self.observer.note(&note);
            self.awaited = Some(note);
        }
        true
    }

    /// How far the last attempt says it came, which an earlier session may have begun: with
    /// secrets, only if a keeper masked it at its end.
    fn left_cursor(&self, (ix, direction): Pair) -> Option<String> {
        let is_masked = secrets_of(self.state(), ix, direction).is_empty()
            || self.left.end(&attempt_of(self.state(), ix, direction)).is_some();
        let cursor = is_masked.then(|| self.last_line((ix, direction), "checkpoint"))??;
        Some(self.vault.mask(&cursor))
    }

    /// Whether what a running attempt says of itself may be told: not before its keeper, which
    /// alone knows its secrets, masked it.
    pub fn is_told(&self, (ix, direction): (StepIx, Direction)) -> bool {
        let is_here = self
            .running
            .get(&(ix, direction))
            .is_none_or(|running| !matches!(running.watch, Watch::Earlier));
        is_here || secrets_of(self.state(), ix, direction).is_empty()
    }

    /// Looks whether what nobody here watches is over: its end is on record, or it does not live
    /// any more. What was told to end is over only with the last process of its group.
    pub fn see_from_afar(&mut self) {
        let afar = self.afar();
        if afar.is_empty() {
            return;
        }
        let all = crate::effect::processes();
        let seen = |pair: (StepIx, Direction)| {
            let is_watched = self.left.is_watched(&attempt_of(self.state(), pair.0, pair.1));
            (self.life(pair, &all), is_watched)
        };
        let afar: Vec<_> = afar.into_iter().map(|pair| (pair, seen(pair))).collect();
        // After the look at what lives, as a keeper records an end before it goes.
        self.left.read_on();
        for ((ix, direction), (life, is_watched)) in afar {
            let lives = life != Life::Gone;
            let over = match recorded(self.state(), &self.left, ix, direction) {
                Recorded::Ended(over) => Some(over),
                _ => None,
            };
            let Some(running) = self.running.get_mut(&(ix, direction)) else { continue };
            if !lives && running.gone.is_none() {
                running.gone = Some(Instant::now());
            }
            let patience =
                if life.processes().is_empty() { GRACE.as_duration() } else { UNANSWERED };
            let is_hopeless = running.killed.is_some_and(|at| at.elapsed() > patience);
            let is_ending = running.is_ending && lives;
            if running.killed.is_some() {
                // Also what it began since it was killed.
                crate::effect::signal_all(life.processes(), Signal::KILL);
            }
            // A keeper that does not record the end of what is gone is itself stopped, and nobody
            // knows when it goes on.
            let may_follow =
                lives || is_watched && running.gone.is_some_and(|at| at.elapsed() < UNANSWERED);
            if !is_hopeless && (is_ending || over.is_none() && may_follow) {
                continue;
            }
            let Some(running) = self.running.remove(&(ix, direction)) else { continue };
            let is_masked = over.is_some() || matches!(running.watch, Watch::Nobody(_));
            let result = match (over, running.watch) {
                (Some(over), _) => self.recovered(ix, direction, running.attempt, over),
                (None, Watch::Nobody(error)) => Err(error),
                (None, _) => {
                    Err(EffectError::lost("it has ended, and nobody who watched it saw how"))
                }
            };
            if !is_masked {
                self.forget_unmasked((ix, direction));
            }
            self.read_cursor((ix, direction));
            self.pass_on_end(ix, direction, running.attempt, result);
        }
    }
}

/// What an executor that died left, for those who decide about a run without taking it up.
pub struct Legacy {
    pub still_running: Vec<StillRunning>,
    /// Its end is on record: the next session takes it up, and a person need not decide.
    pub ended: Option<StepId>,
    /// A keeper may still begin what it was told to.
    pub may_begin: bool,
}

/// Looks at what an executor left.
///
/// # Errors
/// If what its keepers recorded cannot be read.
pub fn legacy(journal: &Journal, state: &RunState) -> Result<Legacy, JournalError> {
    let mut left = left(journal, state)?;
    // One that has nothing to watch needs a moment to say so.
    for _ in 0..200 {
        if !left.may_begin() {
            break;
        }
        std::thread::sleep(Duration::from_millis(5));
        left.read_on();
    }
    let mut still = still_running(journal, state, &left);
    // Of what cannot be seen a person may say how it is.
    still.retain(|(_, life)| !matches!(life, Life::Unseen(_)));
    left.read_on();
    let ended = state.sets.running.iter().find(|(ix, direction)| {
        matches!(recorded(state, &left, *ix, *direction), Recorded::Ended(_))
    });
    let id = |ix: StepIx| Arc::clone(&state.runbook.step(ix).id);
    Ok(Legacy {
        still_running: still
            .into_iter()
            .map(|((ix, direction), _)| StillRunning { step: id(ix), direction })
            .collect(),
        ended: ended.map(|(ix, _)| id(*ix)),
        may_begin: left.may_begin(),
    })
}

/// The commands that still run, or may, although no executor watches them.
fn still_running(
    journal: &Journal,
    state: &RunState,
    left: &Known,
) -> Vec<((StepIx, Direction), Life)> {
    let is_command = |(ix, direction): &(StepIx, Direction)| {
        state.runbook.step(*ix).act(*direction).is_some_and(|act| act.action.is_a_command())
    };
    let running: Vec<_> = state.sets.running.iter().copied().filter(is_command).collect();
    if running.is_empty() {
        return Vec::new();
    }
    let all = crate::effect::processes();
    let life = |pair: (StepIx, Direction)| {
        let is_watched = left.is_watched(&attempt_of(state, pair.0, pair.1));
        match life(journal, state, left, pair, &all) {
            // Its keeper records its end, or is about to.
            Life::Gone if is_watched => Life::Lives(Vec::new()),
            life => life,
        }
    };
    running
        .into_iter()
        .map(|pair| (pair, life(pair)))
        .filter(|(_, life)| *life != Life::Gone)
        .collect()
}

fn attempt_of(state: &RunState, ix: StepIx, direction: Direction) -> Attempt {
    Attempt { key: state.idempotency_key(ix, direction), number: state.attempts(ix, direction) }
}

/// Whether something of the last attempt lives.
pub fn life(
    journal: &Journal,
    state: &RunState,
    known: &Known,
    (ix, direction): (StepIx, Direction),
    all: &std::io::Result<Vec<Process>>,
) -> Life {
    let attempt = attempt_of(state, ix, direction);
    let files = journal.attempt_files(state, ix, direction, attempt.number);
    crate::effect::life(&files.path_stem(), &attempt, known, all)
}

/// What keepers have recorded of an attempt that a killed executor left.
pub enum Recorded {
    Ended(Over),
    NeverBegan,
    Nothing,
}

pub fn recorded(state: &RunState, known: &Known, ix: StepIx, direction: Direction) -> Recorded {
    let attempt = attempt_of(state, ix, direction);
    // What was found running did begin, whatever its record lost since.
    let is_inherited = state.sets.inherited.contains(&(ix, direction));
    let is_command =
        state.runbook.step(ix).act(direction).is_some_and(|act| act.action.is_a_command());
    match known.end(&attempt) {
        Some(over) => Recorded::Ended(over.clone()),
        None if is_command && !is_inherited && known.never_began(&attempt, state.session) => {
            Recorded::NeverBegan
        }
        None => Recorded::Nothing,
    }
}

/// What the keepers of a run have recorded so far.
pub fn left(journal: &Journal, state: &RunState) -> Result<Known, JournalError> {
    let folder = journal.run_folder(&state.started.run);
    Known::in_folder(&folder).map_err(JournalError::io(&folder, "read"))
}
