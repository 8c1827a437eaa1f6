//! What an executor that was killed left: its commands outlive it. What has ended has its recorded end, and what still runs is
//! watched until it is over. It does not know how a command is begun.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::session::{Input, Running, Session, Watch};
use crate::effect::{Attempt, EffectError, Known, Over, Signal, Stopper};
use crate::journal::{Journal, JournalError};
use crate::run::*;
use crate::runbook::{Action, Direction, StepIx};

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
        let left = self.state.sets.running.iter().copied().filter(|pair| self.may_live(*pair)).collect::<Vec<_>>();
        // Read after the look at what lives: what has ended by then is in it.
        self.left.read_on();
        self.adopt_recorded()?;
        for pair in left {
            if self.state.sets.running.contains(&pair) {
                self.watch(pair)?;
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
                    self.save_cursor(ix, direction, &|cursor| cursor)?;
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
    fn watch(&mut self, (ix, direction): (StepIx, Direction)) -> Result<(), JournalError> {
        let (key, attempt) = (self.state.idempotency_key(ix, direction), self.state.attempts(ix, direction));
        let stopper = Stopper::default();
        let secrets = self.secrets_of(ix, direction);
        if !secrets.is_empty() {
            stopper.mask_with(crate::effect::redactor_of(&secrets).map_err(|error| self.untaken(ix, error))?);
        }
        // One that is not to be found cannot be ended, and may have ended well by now.
        let timeout = self.state.runbook.step(ix).act(direction).and_then(|act| act.timeout);
        let left = timeout.and_then(|timeout| Some(timeout.as_duration().saturating_sub(crate::effect::age_of_orphan(&key, attempt)?)));
        // It may have been stopped where it was when its executor died.
        crate::effect::signal_orphan(&key, attempt, Signal::CONT);
        let running = Running {
            stopper: Arc::new(stopper),
            deadline: left.map(|left| Instant::now() + left),
            kill_at: None,
            attempt,
            killed: None,
            watch: Watch::Earlier,
        };
        self.running.insert((ix, direction), running);
        let step = self.id(ix);
        self.observer.note(&format!(
            "the command of {step} still runs, left by an executor that died; `ps e | grep SWITCHOVER_STEP={step}` names its processes"
        ));
        Ok(())
    }

    /// Whether an attempt still runs, or is watched by an earlier keeper, which then records its end.
    fn may_live(&self, (ix, direction): (StepIx, Direction)) -> bool {
        let attempt = Attempt { key: self.state.idempotency_key(ix, direction), number: self.state.attempts(ix, direction) };
        self.left.is_watched(&attempt) || lives(&self.journal, &self.state, ix, direction)
    }

    /// Looks whether what nobody here watches is over: its end is on record, or it does not live any more.
    pub fn see_from_afar(&mut self) -> Result<(), JournalError> {
        let afar = self.running.iter().filter(|(_, running)| !matches!(running.watch, Watch::Here));
        let afar: Vec<_> = afar.map(|(pair, running)| (*pair, running.attempt, self.may_live(*pair))).collect();
        if !afar.is_empty() {
            // After the look at what lives, as a keeper records an end before it goes.
            self.left.read_on();
        }
        for ((ix, direction), attempt, may_live) in afar {
            let over = match recorded(&self.state, &self.left, ix, direction) {
                Recorded::Ended(over) => Some(over),
                _ if may_live => continue,
                _ => None,
            };
            let Some(running) = self.running.remove(&(ix, direction)) else { continue };
            self.save_cursor(ix, direction, &|cursor| running.stopper.masked(cursor))?;
            let result = match (over, running.watch) {
                (Some(over), _) => self.recovered(ix, direction, attempt, over),
                (None, Watch::Nobody(error)) => Err(error),
                (None, _) => Err(EffectError::lost("it has ended, and the process that watched it was killed before")),
            };
            self.finish(ix, direction, attempt, result)?;
        }
        Ok(())
    }
}

/// A step whose command still runs although no executor watches it.
pub fn orphan(journal: &Journal, state: &RunState) -> Option<(StepIx, Direction)> {
    state.sets.running.iter().copied().find(|(ix, direction)| lives(journal, state, *ix, *direction))
}

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
    let attempt = Attempt { key: state.idempotency_key(ix, direction), number: state.attempts(ix, direction) };
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
