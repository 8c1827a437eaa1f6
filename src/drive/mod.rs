//! The executor without I/O: it is told what happened and when, decides, and gives orders. Knows no
//! clock, journal, process, channel or terminal, and so no way to act round its own orders.
//!
//! Approach: whoever drives a run calls [`Drive::handle`] with what has come in, and carries the
//! orders out one after the other. Facts are applied to the state at once and leave in one
//! [`Order::Commit`] per call, in front of everything that follows from them: what stands behind a
//! commit is not carried out if the commit fails. Time is an argument. What looks or acts outside
//! is ordered, and what comes of it is the next input.

mod answer;
mod attempt;
mod commit;
mod decide;
mod end;
mod foresee;
mod input;
mod order;
mod stop;
#[cfg(test)]
mod tests;
mod watch;

use std::collections::{BTreeMap, BTreeSet, HashSet};

use crate::run::{
    Decision, Event, Expected, Fact, IllegalEvent, Limits, Moment, Person, RunState, next,
};
use crate::runbook::action::Value;
use crate::runbook::{Direction, Secret, Span, StepId, StepIx};

pub use answer::{Answer, Question, QuestionKind};
pub use attempt::Env;
pub use foresee::Examined;
pub use input::Input;
pub use order::{Commit, Delivery, Due, Exit, Launch, Order, Work};

/// How long a command may take to end after TERM, before KILL.
pub const GRACE: Span = Span::from_secs(5);

/// One attempt's place: a step, and which way it goes.
pub type Pair = (StepIx, Direction);

/// How a session is to go.
#[derive(Debug, Clone)]
pub struct Settings {
    pub operator: Person,
    /// How many actions may run at once.
    pub parallel: usize,
    /// Ask before every step.
    pub guided: bool,
    /// Points of no return may be passed without asking.
    pub consents: bool,
    /// Somebody is there who answers questions.
    pub attended: bool,
}

/// When something is.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    /// By the clock on the wall: what events say.
    pub wall: Moment,
    /// By a clock that does not jump: what decides whether something is due.
    pub clock: Moment,
}

/// A fact that cannot follow what has happened: the program is wrong, or the log was altered.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{source}")]
pub struct Refused {
    pub event: Box<Event>,
    pub source: IllegalEvent,
}

/// Who decides what is next: [`next`], or what the laws put in its place to see that they bite.
pub type Planner = Box<dyn Fn(&RunState, Moment, Limits) -> Decision + Send>;

/// One session of one run.
pub struct Drive {
    state: RunState,
    settings: Settings,
    planner: Planner,
    /// What steps should take.
    expected: Expected,
    /// Applied, and not yet in a commit.
    pending: Vec<Event>,
    /// What follows once they are durable, in this order.
    after: Vec<Order>,
    /// What people should know while they wait.
    notes: Vec<String>,
    running: BTreeMap<Pair, Running>,
    /// Of the last attempt of these, by its number, nothing lives; how far it came.
    cleared: BTreeMap<Pair, (u32, Option<String>)>,
    /// What is asked whether something of it lives.
    clearing: BTreeSet<Pair>,
    /// What is known beforehand of steps that are only looked at.
    examined: BTreeMap<StepIx, Examined>,
    /// Messages that are steps' actions, to be delivered behind the next commit.
    letters: Vec<Delivery>,
    /// How many deliveries were ordered of which nothing was heard.
    undelivered: usize,
    /// The number of the fact up to which people were told what they are owed, as far as it could
    /// be delivered.
    told_until: u64,
    /// The guards that are watched, by number, with the first and the last bad reading without a
    /// good one in between.
    watched: BTreeMap<usize, Option<(Moment, Moment)>>,
    /// When budgets were looked at last.
    priced: Option<Moment>,
    /// The signal because of which nothing new begins, and how many came.
    draining: Option<i32>,
    signals: u32,
    /// The step that a person is being asked about, and the one that comes next.
    asking: Option<StepIx>,
    to_ask: Option<StepIx>,
    /// Steps of a guided run that got their go.
    released: HashSet<StepIx>,
    /// How it ends, once everybody has been told.
    over: Option<Exit>,
}

/// An attempt that runs.
#[derive(Debug, Clone, Copy)]
struct Running {
    attempt: u32,
    /// When it has taken too long.
    deadline: Option<Moment>,
    /// When it is killed, as it was stopped before and has not ended.
    kill_at: Option<Moment>,
}

impl Drive {
    pub fn new(state: RunState, settings: Settings, expected: Expected) -> Drive {
        Drive {
            state,
            settings,
            planner: Box::new(next),
            expected,
            pending: Vec::new(),
            after: Vec::new(),
            notes: Vec::new(),
            running: BTreeMap::new(),
            cleared: BTreeMap::new(),
            clearing: BTreeSet::new(),
            examined: BTreeMap::new(),
            letters: Vec::new(),
            undelivered: 0,
            told_until: 0,
            watched: BTreeMap::new(),
            priced: None,
            draining: None,
            signals: 0,
            asking: None,
            to_ask: None,
            released: HashSet::new(),
            over: None,
        }
    }

    /// The same, with another planner.
    pub fn with_planner(self, planner: Planner) -> Drive {
        Drive { planner, ..self }
    }

    /// What was applied and stands in no commit yet: all that is lost if [`Drive::handle`] fails.
    pub fn take_pending(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.pending)
    }

    /// The run as it stands, with what is not durable yet.
    pub fn state(&self) -> &RunState {
        &self.state
    }

    pub fn into_state(self) -> RunState {
        self.state
    }

    pub fn expected(&self) -> &Expected {
        &self.expected
    }

    /// The attempts that run, by their places.
    pub fn running(&self) -> impl Iterator<Item = Pair> + '_ {
        self.running.keys().copied()
    }

    pub fn is_running(&self, pair: Pair) -> bool {
        self.running.contains_key(&pair)
    }

    /// Whether a person is being asked something.
    pub fn is_asking(&self) -> bool {
        self.asking.is_some()
    }

    /// Takes in what has happened, decides, and says what is to be done, in this order. Call it
    /// again with what comes of that, or at the moment of [`Order::Wait`].
    ///
    /// # Errors
    /// If something that came in, or was decided, cannot follow what has happened. The run is not
    /// to go on then.
    pub fn handle(
        &mut self,
        now: Now,
        inputs: impl IntoIterator<Item = Input>,
    ) -> Result<Vec<Order>, Refused> {
        self.take_in(now, inputs)?;
        self.stop_late(now)?;
        let next = match &self.over {
            Some(exit) => decide::Next::Over(exit.clone()),
            None => {
                self.find_breaches(now)?;
                self.decide(now)?
            }
        };
        Ok(self.orders(now, next))
    }

    /// Takes in what is journaled before anything is decided, as when a session begins.
    ///
    /// # Errors
    /// As [`Drive::handle`].
    pub fn take_in(
        &mut self,
        now: Now,
        inputs: impl IntoIterator<Item = Input>,
    ) -> Result<(), Refused> {
        inputs.into_iter().try_for_each(|input| self.hear(now, input))
    }

    /// Decides that everything is undone, if what was taken in asks for that. Who records a
    /// person's no without carrying the run out must see to it, as the next session forgets
    /// failures.
    ///
    /// # Errors
    /// As [`Drive::handle`].
    pub fn turn_back(&mut self, now: Now) -> Result<(), Refused> {
        let limits = Limits { parallel: 1, draining: None, attended: false, consents: false };
        while let Decision::RollBack { because } = (self.planner)(&self.state, now.clock, limits) {
            let actor = self.settings.operator.clone();
            self.record(now, Fact::RollbackBegan { to: None, because, actor, force: false })?;
        }
        Ok(())
    }

    /// The orders that make durable what was taken in. Nothing is decided.
    pub fn settle(&mut self, now: Now) -> Vec<Order> {
        self.orders(now, decide::Next::Undecided)
    }

    /// What a person must decide is told at once, also if something else still runs for hours.
    pub fn doubts(&self) -> Option<String> {
        let asks = |(ix, direction): &&Pair| {
            let act = self.state.runbook.step(*ix).act(*direction);
            act.is_some_and(|act| !act.idempotent && act.probe.is_none())
        };
        let doubts: Vec<String> = self
            .state
            .sets
            .doubt
            .iter()
            .filter(asks)
            .map(|(ix, _)| self.id(*ix).to_string())
            .collect();
        let is_hidden = !self.running.is_empty() && self.state.mode == crate::run::Mode::Forward;
        (is_hidden && !doubts.is_empty()).then(|| {
            format!(
                "nobody knows how {} ended; nothing new begins, and once nothing runs any more you \
                 are asked",
                doubts.join(", ")
            )
        })
    }

    /// Applies a fact; it becomes durable with the next commit, before anything acts on it.
    fn record(&mut self, now: Now, fact: Fact) -> Result<(), Refused> {
        let event = Event { number: self.state.head + 1, at: now.wall, fact };
        match self.state.apply(&event) {
            Ok(()) => {
                self.pending.push(event);
                Ok(())
            }
            Err(source) => Err(Refused { event: Box::new(event), source }),
        }
    }

    fn id(&self, ix: StepIx) -> StepId {
        self.state.runbook.step(ix).id.clone()
    }
}

/// The secrets that a step is given, by name.
pub fn secrets_of(state: &RunState, ix: StepIx, direction: Direction) -> Vec<(&str, &Secret)> {
    let runbook = &state.runbook;
    let scope = &runbook.scopes[runbook.step(ix).scope as usize];
    let own = runbook.step(ix).act(direction).into_iter().flat_map(|act| act.secrets());
    let names = scope.env.values().filter_map(Value::secret).chain(own);
    names.filter_map(|name| Some((name, scope.secrets.get(name)?))).collect()
}
