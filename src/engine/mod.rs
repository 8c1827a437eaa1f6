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

use crate::journal::{Head, Holder, Journal, JournalError, Loaded, random_hex};
use crate::run::{
    Decision, Digest, Event, Fact, Limits, Observer, Person, Purpose, Rehearsed, RunStarted,
    RunState, next,
};
use crate::runbook::{Runbook, StepId};

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

/// What is to be known of a new run.
pub struct NewRun {
    pub runbook: Runbook,
    pub name: Option<String>,
    pub until: Option<StepId>,
    pub purpose: Purpose,
    /// That it may begin although something is missing.
    pub overridden: Option<Fact>,
}

/// Starts a run and carries it out.
pub fn start(
    mut journal: Journal,
    new: NewRun,
    config: Config,
    observer: &mut dyn Observer,
) -> Result<(RunState, Exit), JournalError> {
    let run = fresh_id(&journal)?;
    let (uuid, folder) = (random_hex()?, working_folder()?);
    let mut head =
        journal.create(&run, &uuid, &new.runbook.locks, &holder(&run, &config.operator))?;
    let started = RunStarted {
        name: new.name,
        folder,
        until: new.until,
        purpose: new.purpose,
        uuid,
        ..begun(&journal, &new.runbook, &run, &config.operator)?
    };
    let first = Event { number: 1, at: now(), fact: Fact::RunStarted(started) };
    let state = RunState::new(Arc::new(new.runbook), &first)
        .map_err(|source| JournalError::Illegal { run, source })?;
    journal.append(&mut head, std::slice::from_ref(&first))?;
    observer.event(&state, &first);
    let facts = Facts { wanted: new.overridden.into_iter().collect(), ..Facts::default() };
    session::carry_out(journal, head, state, facts, config, observer)
}

/// Journals what a rehearsal found, as a run that consists of that alone.
pub fn keep_rehearsal(
    journal: &mut Journal,
    runbook: &Runbook,
    found: Rehearsed,
    operator: &Person,
) -> Result<(), JournalError> {
    let run = fresh_id(journal)?;
    let uuid = random_hex()?;
    let mut head = journal.create(&run, &uuid, &[], &holder(&run, operator))?;
    let started = RunStarted {
        purpose: Purpose::Rehearsal,
        uuid,
        ..begun(journal, runbook, &run, operator)?
    };
    let facts = [Fact::RunStarted(started), Fact::Rehearsed(found)];
    let events: Vec<Event> = facts
        .into_iter()
        .zip(1..)
        .map(|(fact, number)| Event { number, at: now(), fact })
        .collect();
    journal.append(&mut head, &events)?;
    journal.anchor(&mut head)?;
    head.release();
    Ok(())
}

/// How a run of this journal begins: bound to its definition and its parameters.
fn begun(
    journal: &Journal,
    runbook: &Runbook,
    run: &str,
    operator: &Person,
) -> Result<RunStarted, JournalError> {
    let (definition, parameters) = (journal.define(runbook)?, digest_of_parameters(runbook)?);
    Ok(RunStarted {
        definition,
        parameters,
        journal: journal.uuid()?,
        ..RunStarted::of(runbook, run, operator.clone())
    })
}

/// The SHA-256 of what a runbook's steps do, whatever the environment.
///
/// # Errors
/// If it cannot be written as JSON: what has no text has no digest.
pub fn digest_of_substance(runbook: &Runbook) -> Result<Digest, JournalError> {
    digest_of("what the steps do", &crate::runbook::evidence::substance(runbook))
}

/// The SHA-256 of a runbook's parameters with their values.
///
/// # Errors
/// As [`digest_of_substance`].
pub fn digest_of_parameters(runbook: &Runbook) -> Result<Digest, JournalError> {
    let parameters: Vec<_> = runbook.scopes[0]
        .parameters
        .iter()
        .map(|(name, parameter)| (name, &parameter.value))
        .collect();
    digest_of("the parameters", &parameters)
}

fn digest_of(what: &str, value: &impl serde::Serialize) -> Result<Digest, JournalError> {
    let text = serde_json::to_string(value)
        .map_err(|source| JournalError::Unwritable { what: what.to_owned(), source })?;
    Ok(crate::journal::sha256(text.as_bytes()))
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

/// Appends facts to a run that nobody executes, such as a person's decision, and what follows from
/// them at once.
pub fn record(
    journal: &mut Journal,
    taken: (Head, Loaded),
    facts: Vec<Fact>,
    actor: &Person,
) -> Result<RunState, JournalError> {
    let facts = [still_missing(&taken.1), facts].concat();
    let (mut head, Loaded { mut state, kept, .. }) = taken;
    let mut events = Vec::new();
    for fact in facts {
        let event = Event { number: state.head + 1, at: now(), fact };
        state
            .apply(&event)
            .map_err(|source| JournalError::Illegal { run: head.run.clone(), source })?;
        events.push(event);
    }
    // A refusal may ask for everything to be undone: the next session must find that decided, as it
    // forgets failures.
    let limits = Limits { parallel: 1, draining: None, attended: false, consents: false };
    while let Decision::RollBack { because } = next(&state, now(), limits) {
        let event = Event {
            number: state.head + 1,
            at: now(),
            fact: Fact::RollbackBegan { to: None, because, actor: actor.clone(), force: false },
        };
        state
            .apply(&event)
            .map_err(|source| JournalError::Illegal { run: head.run.clone(), source })?;
        events.push(event);
    }
    journal.append(&mut head, &events)?;
    if !kept.is_empty() {
        journal.forget_kept(&head)?;
    }
    journal.anchor(&mut head)?;
    if state.sets.running.is_empty() {
        head.release();
    }
    Ok(state)
}

/// Who will hold a run's locks.
pub fn holder(run: &str, operator: &Person) -> Holder {
    let host =
        hostname::get().map_or_else(|_| String::new(), |name| name.to_string_lossy().into_owned());
    Holder {
        operator: operator.clone(),
        run: run.to_owned(),
        process: std::process::id(),
        host,
        since: now(),
        folder: None,
    }
}

/// Where a run begins, and is to be taken up. Empty if that is not known.
fn working_folder() -> Result<String, JournalError> {
    let Ok(folder) = std::env::current_dir() else { return Ok(String::new()) };
    folder.into_os_string().into_string().map_err(|name| JournalError::FolderName(name.into()))
}

/// A short id that no run of this journal has: easy to read out, without letters that look alike.
fn fresh_id(journal: &Journal) -> Result<String, JournalError> {
    const LETTERS: &[u8] = b"23456789abcdefghjkmnpqrstvwxyz";
    for length in 4.. {
        for _ in 0..100 {
            let mut random = session::random();
            let id: String = (0..length)
                .map(|_| {
                    let letter = LETTERS[(random % LETTERS.len() as u64) as usize] as char;
                    random /= LETTERS.len() as u64;
                    letter
                })
                .collect();
            if !journal.has_run(&id)? && !journal.run_folder(&id).exists() {
                return Ok(id);
            }
        }
    }
    Ok(Digest::default().0)
}
