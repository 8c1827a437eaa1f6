//! What is to be done outside, in order.

use serde_json::Value as Json;

use super::{Env, Question};
use crate::message::Message;
use crate::run::{Event, Moment, Occasion, Outcome, Stop};
use crate::runbook::action::{Action, Lasts};
use crate::runbook::{Direction, Span, StepIx};

/// One thing to do.
pub enum Order {
    /// Something that people should know while they wait, and that is no fact.
    Note(String),
    /// Makes facts durable. If that fails, nothing behind it is carried out.
    Commit(Commit),
    /// Begins an attempt, or a look.
    Launch(Box<Launch>),
    /// Finds out what can be said of a step of a dry run without looking at what it is about, and
    /// then says [`super::Input::Examined`].
    Examine(StepIx),
    /// Makes sure that nothing of the last attempt lives, however long that takes, and then says
    /// [`super::Input::Cleared`].
    Clear(StepIx, Direction),
    /// Ends what runs: it is asked to, or killed.
    End {
        ix: StepIx,
        direction: Direction,
        force: bool,
    },
    /// Reads a guard, by its number, from now on.
    Watch(usize),
    Unwatch(usize),
    Deliver(Box<Delivery>),
    Ask(Box<Question>),
    /// Decides on at once, with what came of the orders before.
    GoOn,
    /// Nothing is to be done before something comes in, or this moment of the clock.
    Wait {
        until: Option<Moment>,
    },
    /// The session is over.
    Over(Exit),
}

/// Facts, which become durable together.
pub struct Commit {
    pub events: Vec<Event>,
    /// Whether what follows may change anything outside, so that the anchor must vouch for the
    /// facts first.
    pub is_anchored: bool,
    /// Whether a command follows: who begins it must be there before its beginning is journaled, as
    /// only then can it be proved later that it was not begun.
    pub needs_keeper: bool,
}

/// An action to be begun.
pub struct Launch {
    pub ix: StepIx,
    pub direction: Direction,
    pub attempt: u32,
    pub work: Work,
    pub action: Action<String>,
    pub env: Env,
    /// The names that conditions of the action's own see.
    pub names: Json,
    pub timeout: Option<Span>,
    /// What the first attempt found before it changed anything: this action's own, or the one's
    /// that it takes back.
    pub seen: Option<Json>,
    /// The last cursor of the same.
    pub reached: Option<String>,
}

/// What an action is begun for.
#[derive(Debug, Clone, PartialEq)]
pub enum Work {
    /// To act.
    Act,
    /// To find out whether an attempt in doubt had its effect.
    Probe,
    /// To say what it would do, and then to probe, in a dry run.
    LookAhead { probe: Option<Box<Action<String>>> },
    /// As it only reads, in a dry run.
    Read,
}

impl Launch {
    /// Whether it may change anything.
    pub(super) fn acts_outside(&self) -> bool {
        match self.work {
            Work::Act | Work::LookAhead { .. } | Work::Read => {
                !matches!(self.action.facts().lasts, Lasts::Exactly(_))
            }
            Work::Probe => false,
        }
    }

    /// Whether a command is begun for it.
    pub(super) fn is_command(&self) -> bool {
        let probe = match &self.work {
            Work::LookAhead { probe } => probe.as_deref(),
            Work::Act | Work::Probe | Work::Read => None,
        };
        self.action.begins_commands() || probe.is_some_and(Action::begins_commands)
    }
}

/// A message to be delivered.
#[derive(Debug, Clone)]
pub struct Delivery {
    pub of: Due,
    pub message: Message,
}

/// Of what a message tells.
#[derive(Debug, Clone)]
pub enum Due {
    /// It is a step's action. `of` is the number of the fact with which the attempt began.
    Step { of: u64, ix: StepIx, direction: Direction, attempt: u32 },
    /// The run owes it.
    Occasion(Occasion),
}

/// How a session ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Exit {
    Ended(Outcome),
    Stopped(Stop),
}

impl Exit {
    pub fn code(&self) -> i32 {
        match self {
            Exit::Ended(outcome) => outcome.exit_code(),
            Exit::Stopped(stop) => stop.exit_code(),
        }
    }
}
