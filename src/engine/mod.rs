//! The only place that waits: ask the planner, journal the intent, act, journal the result. Knows
//! no terminal: it tells an observer what happened and asks a person through a closure.

mod commit;
mod examine;
mod messages;
mod recall;
mod report;
mod running;
mod session;
mod takeover;
mod watch;
mod witness;

use std::sync::Arc;

use crate::journal::{Head, Journal, JournalError, Loaded};
use crate::run::{Event, Fact, Observer, Person, RunState};

pub use crate::drive::{Answer, Exit, Question, QuestionKind};
use session::Facts;
pub use session::now;
pub use takeover::{Legacy, legacy};

/// How a session is to go.
#[derive(Clone)]
pub struct Config {
    pub operator: Person,
    /// How many actions may run at once.
    pub parallel: usize,
    /// Ask before every step.
    pub guided: bool,
    /// Points of no return may be passed without asking.
    pub consents: bool,
    /// Who answers tasks, approvals and the questions of a guided run; `None` if nobody is there.
    pub ask: Option<Ask>,
}

/// Puts a question to a person and waits for the answer. Called on a thread of its own.
pub type Ask = Arc<dyn Fn(&Question) -> Answer + Send + Sync>;

/// Carries out a run that this process holds, with these facts first.
///
/// # Errors
/// If the journal can no longer be written, or somebody else has it.
pub fn carry_out(
    journal: Journal,
    head: Head,
    state: RunState,
    facts: Vec<Fact>,
    config: Config,
    observer: &mut dyn Observer,
) -> Result<(RunState, Exit), JournalError> {
    let facts = Facts { wanted: facts, ..Facts::default() };
    session::carry_out(journal, head, state, facts, config, observer)
}

/// Takes a run up again, with further facts first (a rollback or a cancellation that begins), and
/// carries it out.
pub fn go_on(
    journal: Journal,
    taken: (Head, Loaded),
    facts: Vec<Fact>,
    config: Config,
    observer: &mut dyn Observer,
) -> Result<(RunState, Exit), JournalError> {
    let (head, loaded) = taken;
    let facts = Facts { kept: still_missing(&loaded), wanted: facts };
    session::carry_out(journal, head, loaded.state, facts, config, observer)
}

/// Results that an earlier session kept because it could not commit them, as far as the journal
/// does not have them.
pub fn still_missing(loaded: &Loaded) -> Vec<Fact> {
    let mut tried = loaded.state.clone();
    let mut missing = Vec::new();
    for fact in &loaded.kept {
        let event = Event { number: tried.head + 1, at: now(), fact: fact.clone() };
        if tried.apply(&event).is_ok() {
            missing.push(fact.clone());
        }
    }
    missing
}
