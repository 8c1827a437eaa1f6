//! One session of one run: carries out the orders of `drive` against the real journal, effects,
//! channels and clock, and tells it what comes of them. Decides nothing.
//!
//! Approach: orders are carried out one after the other; what comes of them at once, and what
//! processes, people and signals report meanwhile, is what `drive` hears next.

use std::collections::{BTreeSet, HashMap};
use std::hash::{BuildHasher, Hasher};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::running::Running;
use super::takeover::left;
use super::watch::Watcher;
use super::{Config, Exit};
use crate::drive::{Drive, Input, Now, Order, Pair, Refused, Settings};
use crate::effect::{Keeper, Known, Vault};
use crate::journal::{Durations, Head, Journal, JournalError};
use crate::run::{
    Event, Expected, Fact, Moment, Observer, RunState, StillRunning, Stop, not_before,
};
use crate::runbook::{Secret, StepId, StepIx};

pub(super) struct Session<'a> {
    pub journal: Journal,
    pub head: Head,
    pub drive: Drive,
    pub config: Config,
    pub observer: &'a mut dyn Observer,
    /// What is to be heard next.
    pub inputs: Vec<Input>,
    /// Durable, and not yet shown: what is begun because of them comes first.
    pub unshown: Vec<Event>,
    /// To be removed when nothing waits for it.
    pub empty_logs: Vec<EmptyLog>,
    /// Actions that wait until what they found is durable.
    pub found: Vec<std::sync::mpsc::SyncSender<()>>,
    pub keeper: Keeper,
    /// What earlier sessions recorded of their commands, and still record.
    pub left: Known,
    /// The secrets that the run has used so far.
    pub vault: Vault,
    pub running: HashMap<Pair, Running>,
    /// Whose last attempt must not live any more before it is begun again.
    pub to_clear: BTreeSet<Pair>,
    /// What was last said of processes that are waited for.
    pub awaited: Option<String>,
    pub send: mpsc::UnboundedSender<Report>,
    /// The guards that are read, by number.
    pub watchers: HashMap<usize, Watcher>,
    /// Those that are not read any more, and may still do so.
    pub halted: Vec<Watcher>,
    /// When cursors and progress were looked at last.
    pub looked: Instant,
    /// Whether the run's witness lets this session go on.
    pub is_witnessed: bool,
    /// When the session began, by the clock on the wall and by one that does not jump.
    pub begun: (Moment, Instant),
}

pub(super) use super::report::Report;

/// A log into which an attempt, by its number, wrote nothing.
pub(super) struct EmptyLog {
    pub pair: Pair,
    pub attempt: u32,
    pub path: PathBuf,
}

/// What is journaled before anything is decided.
#[derive(Default)]
pub(super) struct Facts {
    /// Results that an earlier session kept.
    pub kept: Vec<Fact>,
    /// What the operator wants.
    pub wanted: Vec<Fact>,
}

/// What carrying orders out leads to.
enum Next {
    GoOn,
    Wait(Option<Moment>),
    Over(Exit),
}

pub(super) fn carry_out(
    journal: Journal,
    head: Head,
    state: RunState,
    facts: Facts,
    config: Config,
    observer: &mut dyn Observer,
) -> Result<(RunState, Exit), JournalError> {
    let hidden = state.runbook.scopes.iter().flat_map(|scope| scope.secrets.values());
    let hidden = hidden.filter_map(|secret| {
        if let Secret::Env(variable) = secret { Some(variable.clone()) } else { None }
    });
    let keeper = Keeper::new(journal.run_folder(&head.run), state.head, hidden.collect());
    let left = left(&journal, &state)?;
    // Only who has a budget needs to know how long steps took that say nothing of it.
    let history = if state.runbook.budgets.is_empty() {
        Durations::default()
    } else {
        journal.history(&state.runbook, &head.run)?
    };
    let expected = Expected::of(&state.runbook, &history);
    let has_secrets = !state.secrets.is_empty()
        || state.runbook.scopes.iter().any(|scope| !scope.secrets.is_empty());
    let vault = if has_secrets {
        Vault::new(journal.mac_key()?, journal.secrets_folder(&head.run))
    } else {
        Vault::default()
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(JournalError::io(journal.folder(), "served"))?;
    let (send, receive) = mpsc::unbounded_channel();
    // By a clock that was put back meanwhile, the next attempt could be years away.
    let began = not_before(&state).map_or_else(now, |earliest| earliest.max(now()));
    let settings = Settings {
        operator: config.operator.clone(),
        parallel: config.parallel,
        guided: config.guided,
        consents: config.consents,
        attended: config.ask.is_some(),
    };
    let mut session = Session {
        journal,
        head,
        drive: Drive::new(state, settings, expected),
        config,
        observer,
        inputs: Vec::new(),
        unshown: Vec::new(),
        empty_logs: Vec::new(),
        found: Vec::new(),
        keeper,
        left,
        vault,
        running: HashMap::new(),
        to_clear: BTreeSet::new(),
        awaited: None,
        send,
        watchers: HashMap::new(),
        halted: Vec::new(),
        looked: Instant::now(),
        is_witnessed: false,
        begun: (began, Instant::now()),
    };
    session.recall();
    let exit = runtime.block_on(session.run(facts, receive));
    session.end_watch();
    // A thread may still wait, for a person or a server; it must not keep the process.
    runtime.shutdown_background();
    session.part_from_witness();
    session.forget_secrets();
    let exit = exit?;
    if session.state().sets.running.is_empty() {
        session.head.release();
    }
    Ok((session.drive.into_state(), exit))
}

impl Session<'_> {
    async fn run(
        &mut self,
        facts: Facts,
        mut receive: mpsc::UnboundedReceiver<Report>,
    ) -> Result<Exit, JournalError> {
        self.listen();
        if let Some(exit) = self.open(facts, &mut receive).await? {
            return Ok(exit);
        }
        loop {
            let inputs = std::mem::take(&mut self.inputs);
            let orders = self.drive.handle(self.now(), inputs).map_err(self.illegal())?;
            match self.carry_out(orders)? {
                Next::Over(exit) => {
                    self.journal.anchor(&mut self.head)?;
                    return Ok(exit);
                }
                // What came of the orders may be decided on at once.
                Next::Wait(until) if self.inputs.is_empty() => {
                    self.wait(until, &mut receive).await?;
                }
                Next::Wait(_) | Next::GoOn => {}
            }
        }
    }

    /// Journals what is known before anything is decided; how the session ended, if it did so
    /// before it began.
    async fn open(
        &mut self,
        facts: Facts,
        receive: &mut mpsc::UnboundedReceiver<Report>,
    ) -> Result<Option<Exit>, JournalError> {
        self.take_in(facts.kept.into_iter().map(Input::Decided))?;
        if let Some(signal) = self.take_over(receive).await? {
            self.settle()?;
            return Ok(Some(Exit::Stopped(Stop::Interrupted { signal })));
        }
        for mut fact in facts.wanted {
            if let Fact::RunResumed { still_running, .. } = &mut fact {
                let step = |(ix, direction)| StillRunning { step: self.id(ix), direction };
                *still_running = self.drive.running().map(step).collect();
            }
            self.take_in([Input::Decided(fact)])?;
            // What this session has written itself stands in no other copy: only now can a witness
            // tell them apart.
            if !self.is_witnessed {
                self.settle()?;
                self.ask_witness()?;
            }
        }
        self.settle()?;
        self.ask_witness()?;
        self.journal.forget_kept(&self.head)?;
        if let Some(doubts) = self.drive.doubts() {
            self.observer.note(&doubts);
        }
        Ok(None)
    }

    /// Tells `drive` what is known before anything is decided, behind what came of the orders
    /// before.
    pub fn take_in(&mut self, inputs: impl IntoIterator<Item = Input>) -> Result<(), JournalError> {
        let heard = std::mem::take(&mut self.inputs);
        self.drive.take_in(self.now(), heard.into_iter().chain(inputs)).map_err(self.illegal())
    }

    /// Makes durable what was taken in.
    pub fn settle(&mut self) -> Result<(), JournalError> {
        let orders = self.drive.settle(self.now());
        self.carry_out(orders).map(drop)
    }

    fn carry_out(&mut self, orders: Vec<Order>) -> Result<Next, JournalError> {
        let mut next = Next::GoOn;
        for order in orders {
            if !matches!(order, Order::Launch(_) | Order::End { .. }) {
                self.show();
            }
            match order {
                Order::Note(note) => self.observer.note(&note),
                Order::Commit(commit) => self.commit(commit)?,
                Order::Launch(launch) => self.launch(*launch),
                Order::Examine(ix) => {
                    let examined = self.examine(ix)?;
                    self.inputs.push(Input::Examined { ix, examined });
                }
                Order::Clear(ix, direction) => {
                    self.to_clear.insert((ix, direction));
                    self.clear();
                }
                Order::End { ix, direction, force } => self.end((ix, direction), force),
                Order::Watch(number) => self.watch_guard(number),
                Order::Unwatch(number) => self.halt_guard(number),
                Order::Deliver(delivery) => {
                    let result = self.deliver(&delivery);
                    self.inputs.push(Input::Delivered { delivery, result });
                }
                Order::Ask(question) => self.ask(question),
                Order::GoOn => next = Next::GoOn,
                Order::Wait { until } => next = Next::Wait(until),
                Order::Over(exit) => next = Next::Over(exit),
            }
        }
        self.show();
        Ok(next)
    }

    /// Puts a question to the person who is there, after everything that happened before was told.
    fn ask(&mut self, question: Box<crate::drive::Question>) {
        let Some(ask) = self.config.ask.clone() else { return };
        let send = self.send.clone();
        self.observer.pause();
        std::thread::spawn(move || {
            let answer = ask(&question);
            drop(send.send(Report::Answered { question, answer }));
        });
    }

    /// An error for a fact that cannot follow.
    pub fn illegal(&self) -> impl Fn(Refused) -> JournalError + use<> {
        let run = self.head.run.clone();
        move |refused| JournalError::Illegal { run: run.clone(), source: refused.source }
    }

    pub fn state(&self) -> &RunState {
        self.drive.state()
    }

    pub fn id(&self, ix: StepIx) -> StepId {
        Arc::clone(&self.state().runbook.step(ix).id)
    }

    /// The clock on the wall, and the one that decides what is due in this session: it goes on
    /// whatever is done to the first.
    pub fn now(&self) -> Now {
        let (moment, instant) = self.begun;
        Now { wall: now(), clock: moment.after(instant.elapsed().into()) }
    }

    /// How long it is until a moment of the clock.
    pub fn until(&self, due: Moment) -> Duration {
        due.since(self.now().clock).as_duration()
    }
}

/// The time now.
pub fn now() -> Moment {
    Moment(chrono::Utc::now().timestamp_millis())
}

/// Some chance: for ids and for spreading retries, not for secrets.
pub fn random() -> u64 {
    std::hash::RandomState::new().build_hasher().finish()
}
