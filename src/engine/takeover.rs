//! What an executor that was killed left: its commands outlive it. What has ended has its recorded end, and what still runs is
//! watched until it is over. It does not know how a command is begun.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::session::{GRACE, Input, Running, Session, UNANSWERED, Watch};
use crate::effect::{Attempt, EffectError, Known, Over, Signal};
use crate::journal::{Journal, JournalError};
use crate::run::*;
use crate::runbook::{Action, Direction, StepId, StepIx};

impl Session<'_> {
    /// Commands outlive a killed executor: what has ended has its recorded end, and what still runs is watched as if it had been
    /// begun here. Nothing is decided as long as a keeper may still begin what it was told to.
    pub async fn take_over(&mut self, receive: &mut mpsc::UnboundedReceiver<Input>) -> Result<Option<i32>, JournalError> {
        let mut told = false;
        while self.left.may_begin() {
            if !std::mem::replace(&mut told, true) {
                self.observer.note(
                    "waiting: the process that began the commands of an executor that died has not said what it has begun; `ps -ef --forest` shows them below `exe keep`",
                );
            }
            match tokio::time::timeout(Duration::from_millis(5), receive.recv()).await {
                Ok(Some(Input::Signal(number))) => return Ok(Some(number)),
                Ok(Some(Input::Suspend)) => crate::effect::stop_here(),
                _ => self.left.read_on(),
            }
        }
        let left = still_running(&self.journal, &self.state, &self.left);
        // Read after the look at what lives: what has ended by then is in it.
        self.left.read_on();
        self.adopt_recorded()?;
        for pair in self.state.sets.running.clone() {
            match left.contains(&pair) {
                true => self.watch(pair),
                false => self.forget_unmasked(pair),
            }
        }
        Ok(None)
    }

    /// Takes recorded ends as results, and what provably never began as that.
    fn adopt_recorded(&mut self) -> Result<(), JournalError> {
        for (ix, direction) in self.state.sets.running.clone() {
            let attempt = self.state.attempts(ix, direction);
            match recorded(&self.state, &self.left, ix, direction) {
                Recorded::Ended(over) => {
                    let result = self.recovered(ix, direction, attempt, over);
                    self.save_cursor(ix, direction)?;
                    self.finish(ix, direction, attempt, result)?;
                }
                Recorded::NeverBegan => {
                    self.finish(ix, direction, attempt, Err(EffectError::before("it was not begun: its executor died before that")))?;
                }
                Recorded::Nothing => {}
            }
        }
        Ok(())
    }

    /// Watches a command that an earlier session began. It has no more time than it would have had with its executor.
    fn watch(&mut self, (ix, direction): (StepIx, Direction)) {
        let Track::Running { attempt, stopping, .. } = *self.state.track(ix, direction) else { return };
        let key = self.state.idempotency_key(ix, direction);
        let groups = crate::effect::groups(&key, attempt);
        // It may have been stopped where it was when its executor died.
        groups.iter().for_each(|group| crate::effect::signal(*group, Signal::CONT));
        let timeout = self.state.runbook.step(ix).act(direction).and_then(|act| act.timeout).filter(|_| stopping.is_none());
        let left = timeout.and_then(|timeout| Some(timeout.as_duration().saturating_sub(crate::effect::age(&key, attempt)?)));
        let running = Running {
            stopper: Arc::default(),
            deadline: left.map(|left| Instant::now() + left),
            // A stop that was asked for goes on.
            kill_at: stopping.map(|_| Instant::now() + GRACE),
            attempt,
            killed: None,
            watch: Watch::Earlier,
            groups,
            gone: None,
            cursor: None,
        };
        let pids: Vec<String> = running.groups.iter().map(|group| group.as_raw_nonzero().to_string()).collect();
        let what = if stopping.is_some() { "is being stopped" } else { "still runs" };
        let place = if pids.is_empty() { "its processes cannot be found".to_owned() } else { format!("process {}", pids.join(", ")) };
        let unlimited = if timeout.is_some() && left.is_none() { ", so its timeout cannot be kept" } else { "" };
        self.observer.note(&format!("the command of {} {what}, left by an executor that died ({place}{unlimited})", self.id(ix)));
        self.running.insert((ix, direction), running);
    }

    /// What a command with secrets says of itself is masked by its keeper at its end. Of one that nobody saw end, it goes.
    fn forget_unmasked(&self, (ix, direction): (StepIx, Direction)) {
        if !self.secrets_of(ix, direction).is_empty() {
            let files = self.files(ix, direction, self.state.attempts(ix, direction));
            for ending in ["output", "checkpoint", "progress"] {
                let _ = std::fs::remove_file(files.path(ending));
            }
        }
    }

    /// Whether what a running attempt says of itself may be told: not before its keeper, which alone knows its secrets, masked it.
    pub fn is_told(&self, (ix, direction): (StepIx, Direction)) -> bool {
        let is_here = self.running.get(&(ix, direction)).is_none_or(|running| !matches!(running.watch, Watch::Earlier));
        is_here || self.secrets_of(ix, direction).is_empty()
    }

    /// Looks whether what nobody here watches is over: its end is on record, or it does not live any more. What was told to end is
    /// over only with the last process of its group.
    pub fn see_from_afar(&mut self) -> Result<(), JournalError> {
        let afar = self.running.iter().filter(|(_, running)| !matches!(running.watch, Watch::Here));
        let seen = |(ix, direction): (StepIx, Direction)| {
            let is_watched = self.left.is_watched(&attempt_of(&self.state, ix, direction));
            (lives(&self.journal, &self.state, ix, direction), is_watched)
        };
        let afar: Vec<_> = afar.map(|(pair, _)| (*pair, seen(*pair))).collect();
        if !afar.is_empty() {
            // After the look at what lives, as a keeper records an end before it goes.
            self.left.read_on();
        }
        for ((ix, direction), (lives, is_watched)) in afar {
            let over = match recorded(&self.state, &self.left, ix, direction) {
                Recorded::Ended(over) => Some(over),
                _ => None,
            };
            let Some(running) = self.running.get_mut(&(ix, direction)) else { continue };
            if !lives && running.gone.is_none() {
                running.gone = Some(Instant::now());
            }
            let patience = if running.groups.is_empty() { GRACE } else { UNANSWERED };
            let is_hopeless = running.killed.is_some_and(|at| at.elapsed() > patience);
            let is_told = running.kill_at.is_some() || running.killed.is_some();
            let is_ending = is_told && running.groups.iter().any(|group| crate::effect::group_lives(*group));
            // A keeper that does not record the end of what is gone is itself stopped, and nobody knows when it goes on.
            let may_follow = lives || is_watched && running.gone.is_some_and(|at| at.elapsed() < UNANSWERED);
            if !is_hopeless && (is_ending || over.is_none() && may_follow) {
                continue;
            }
            let Some(running) = self.running.remove(&(ix, direction)) else { continue };
            let is_masked = over.is_some() || matches!(running.watch, Watch::Nobody(_));
            let result = match (over, running.watch) {
                (Some(over), _) => self.recovered(ix, direction, running.attempt, over),
                (None, Watch::Nobody(error)) => Err(error),
                (None, _) => Err(EffectError::lost("it has ended, and nobody who watched it saw how")),
            };
            if is_masked || self.secrets_of(ix, direction).is_empty() {
                self.save_cursor(ix, direction)?;
            } else {
                self.forget_unmasked((ix, direction));
            }
            self.finish(ix, direction, running.attempt, result)?;
        }
        Ok(())
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
    let still = still_running(journal, state, &left);
    left.read_on();
    let ended = state.sets.running.iter().find(|(ix, direction)| matches!(recorded(state, &left, *ix, *direction), Recorded::Ended(_)));
    let id = |ix: StepIx| Arc::clone(&state.runbook.step(ix).id);
    Ok(Legacy {
        still_running: still.into_iter().map(|(ix, direction)| StillRunning { step: id(ix), direction }).collect(),
        ended: ended.map(|(ix, _)| id(*ix)),
        may_begin: left.may_begin(),
    })
}

/// The commands that still run although no executor watches them.
fn still_running(journal: &Journal, state: &RunState, left: &Known) -> Vec<(StepIx, Direction)> {
    let is_command = |(ix, direction): &(StepIx, Direction)| {
        state.runbook.step(*ix).act(*direction).is_some_and(|act| matches!(act.action, Action::Run(_)))
    };
    let may_live = |(ix, direction): &(StepIx, Direction)| {
        left.is_watched(&attempt_of(state, *ix, *direction)) || lives(journal, state, *ix, *direction)
    };
    state.sets.running.iter().copied().filter(is_command).filter(may_live).collect()
}

fn attempt_of(state: &RunState, ix: StepIx, direction: Direction) -> Attempt {
    Attempt { key: state.idempotency_key(ix, direction), number: state.attempts(ix, direction) }
}

/// Whether something of the last attempt lives.
pub fn lives(journal: &Journal, state: &RunState, ix: StepIx, direction: Direction) -> bool {
    let attempt = state.attempts(ix, direction);
    let files = journal.attempt_files(&state.started.run, &state.runbook, ix, direction, attempt);
    crate::effect::is_alive(&files.path_stem(), &state.idempotency_key(ix, direction), attempt)
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
    let is_command = state.runbook.step(ix).act(direction).is_some_and(|act| matches!(act.action, Action::Run(_)));
    match known.end(&attempt) {
        Some(over) => Recorded::Ended(over.clone()),
        None if is_command && !is_inherited && known.never_began(&attempt, state.session) => Recorded::NeverBegan,
        None => Recorded::Nothing,
    }
}

/// What the keepers of a run have recorded so far.
pub fn left(journal: &Journal, state: &RunState) -> Result<Known, JournalError> {
    let folder = journal.run_folder(&state.started.run);
    Known::in_folder(&folder).map_err(JournalError::io(&folder, "read"))
}
