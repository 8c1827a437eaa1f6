//! `resume`, `rollback` and `cancel`: the three ways on for a run that stands.

use std::path::Path;
use std::sync::Arc;

use clap::Args;

use super::run::{Session, closing};
use super::{CliError, amend};
use crate::engine::{self, Exit};
use crate::journal::{Head, Journal, Loaded};
use crate::report::say;
use crate::run::{Fact, Mode, Outcome, RunState};

/// Goes on with a run: after a failure, a kill, an answer.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  switchover resume\n  switchover resume 7k2 --until validate")]
pub struct Resume {
    /// The run; by default the latest.
    run: Option<String>,
    /// Stop once this step is done.
    #[arg(long, value_name = "STEP")]
    until: Option<String>,
    #[command(flatten)]
    session: Session,
}

/// Undoes everything that a run has begun, in reverse order.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  switchover rollback\
        \n  switchover rollback 7k2 --to deploy/release --reason 'error rate too high'")]
pub struct Rollback {
    /// The run; by default the latest.
    run: Option<String>,
    /// Undo only what came after this step.
    #[arg(long, value_name = "STEP")]
    to: Option<String>,
    /// Why, for the record.
    #[arg(
        long,
        default_value = "asked for by the operator",
        value_parser = super::reason,
        required_if_eq("force", "true")
    )]
    reason: String,
    /// Go back also past a point of no return; needs a reason.
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    session: Session,
}

/// Gives a run up where it is: nothing is undone, what it holds is released.
#[derive(Debug, Args)]
pub struct Cancel {
    /// The run; by default the latest.
    run: Option<String>,
    /// Why, for the record.
    #[arg(long, value_parser = super::reason)]
    reason: String,
    #[command(flatten)]
    session: Session,
}

pub fn resume(verb: Resume, folder: &Path) -> Result<i32, CliError> {
    let (journal, taken, config) = take(verb.run.as_deref(), folder, &verb.session)?;
    let state = &taken.1.state;
    if let Some(outcome) = state.ended
        && state.notices.owed.is_empty()
    {
        return Ok(closing(state, &Exit::Ended(outcome), folder));
    }
    // Of a run that is over, people may not have been told yet.
    let is_over = state.ended.is_some();
    for change in amend::changed_since(state).into_iter().filter(|_| !is_over) {
        say(format_args!(
            "the file has changed: {change}; the run goes on with its own definition (`switchover \
             amend` takes the new one)"
        ));
    }
    let until = verb.until.map(|step| find(state, &step)).transpose()?;
    let resumed =
        Fact::RunResumed { operator: config.operator.clone(), until, still_running: Vec::new() };
    let facts: Vec<Fact> = (!is_over).then_some(resumed).into_iter().collect();
    refuse_illegal(&taken.1, &facts)?;
    let mut display = verb.session.display();
    let (state, exit) = engine::go_on(journal, taken, facts, config, &mut *display)?;
    drop(display);
    Ok(closing(&state, &exit, folder))
}

pub fn rollback(verb: Rollback, folder: &Path) -> Result<i32, CliError> {
    let (journal, taken, config) = take(verb.run.as_deref(), folder, &verb.session)?;
    let state = &taken.1.state;
    if state.ended == Some(Outcome::Cancelled) {
        return Err(CliError::refused(
            format!(
                "the run {} was cancelled: it goes neither forward nor back",
                state.started.run
            ),
            None,
        ));
    }
    if state.ended == Some(Outcome::RolledBack)
        && verb.to.is_none()
        && !verb.force
        && is_all_back(state)
    {
        return Ok(closing(state, &Exit::Ended(Outcome::RolledBack), folder));
    }
    let mut facts = Vec::new();
    if state.ended.is_none() {
        facts.push(Fact::RunResumed {
            operator: config.operator.clone(),
            until: None,
            still_running: Vec::new(),
        });
    }
    match state.mode {
        // A run that went back in part can go back further.
        Mode::Forward | Mode::RollingBack
            if state.mode == Mode::Forward || state.ended.is_some() =>
        {
            let to = verb.to.map(|step| find(state, &step)).transpose()?;
            facts.push(Fact::RollbackBegan {
                to,
                because: verb.reason,
                actor: config.operator.clone(),
                force: verb.force,
            });
        }
        Mode::RollingBack if verb.to.is_some() => {
            return Err(CliError::invalid(
                "the run is rolling back already",
                Some("leave --to out to go on with it"),
            ));
        }
        Mode::Forward | Mode::RollingBack => {}
        Mode::Cancelling => {
            return Err(CliError::refused(
                "the run was cancelled: it goes neither forward nor back",
                None,
            ));
        }
    }
    refuse_illegal(&taken.1, &facts)?;
    let mut display = verb.session.display();
    let (state, exit) = engine::go_on(journal, taken, facts, config, &mut *display)?;
    drop(display);
    Ok(closing(&state, &exit, folder))
}

pub fn cancel(verb: Cancel, folder: &Path) -> Result<i32, CliError> {
    let (journal, taken, config) = take(verb.run.as_deref(), folder, &verb.session)?;
    let state = &taken.1.state;
    if state.ended.is_some() {
        return Err(CliError::refused(
            format!("the run {} is over already", state.started.run),
            None,
        ));
    }
    let mut facts = vec![Fact::RunResumed {
        operator: config.operator.clone(),
        until: None,
        still_running: Vec::new(),
    }];
    if state.mode == Mode::RollingBack {
        return Err(CliError::refused(
            "the run is rolling back; cancelling would leave it half undone",
            Some("`switchover rollback` goes on with it"),
        ));
    }
    if state.mode == Mode::Forward {
        facts.push(Fact::CancelBegan { because: verb.reason, actor: config.operator.clone() });
    }
    refuse_illegal(&taken.1, &facts)?;
    let mut display = verb.session.display();
    let (state, exit) = engine::go_on(journal, taken, facts, config, &mut *display)?;
    drop(display);
    closing(&state, &exit, folder);
    Ok(if exit == Exit::Ended(Outcome::Cancelled) { 0 } else { exit.code() })
}

/// Whether there is nothing left that could be undone.
fn is_all_back(state: &RunState) -> bool {
    let fact = Fact::RollbackBegan {
        to: None,
        because: String::new(),
        actor: super::run::operator(),
        force: false,
    };
    let event = crate::run::Event { number: state.head + 1, at: engine::now(), fact };
    state.clone().apply(&event).is_err()
}

/// What does not fit the state is the person's slip, told before anything is journaled.
fn refuse_illegal(loaded: &Loaded, facts: &[Fact]) -> Result<(), CliError> {
    let mut tried = loaded.state.clone();
    for fact in engine::still_missing(loaded).iter().chain(facts) {
        let event =
            crate::run::Event { number: tried.head + 1, at: engine::now(), fact: fact.clone() };
        tried.apply(&event).map_err(|refused| {
            CliError::refused(
                format!("{}; nothing was changed", refused.why),
                Some("`switchover status` shows where each step stands"),
            )
        })?;
    }
    Ok(())
}

type Taken = (Journal, (Head, Loaded), engine::Config);

fn take(run: Option<&str>, folder: &Path, session: &Session) -> Result<Taken, CliError> {
    drop(Journal::open_to_read(folder)?);
    let journal = Journal::open(folder)?;
    let run = journal.find(run)?;
    let config = session.config()?;
    let taken = journal.take(&run, &engine::holder(&run, &config.operator))?;
    if !taken.1.state.started.is_carried_out() {
        let message = format!(
            "the run {run} is a dry run or a rehearsal: it changed nothing that could go on or be \
             taken back"
        );
        return Err(CliError::refused(
            message,
            Some("begin another with `switchover run`; `switchover list` has those that there are"),
        ));
    }
    enter(&taken.1.state)?;
    Ok((journal, taken, config))
}

/// Goes to the folder in which a run was begun.
pub fn enter(state: &RunState) -> Result<(), CliError> {
    let begun_in = &state.started.folder;
    let enter = if begun_in.is_empty() { Ok(()) } else { std::env::set_current_dir(begun_in) };
    enter.map_err(|error| {
        CliError::refused(
            format!(
                "the run was begun in {begun_in}, which cannot be entered: {error}; nothing \
                was changed"
            ),
            Some(
                "its relative paths would mean other files; bring the folder back, or begin a new \
                run",
            ),
        )
    })
}

/// The full id of the step that a person named.
pub fn find(state: &RunState, step: &str) -> Result<crate::runbook::StepId, CliError> {
    let ix = state.runbook.find_by_suffix(step).map_err(|error| CliError::invalid(error, None))?;
    Ok(Arc::clone(&state.runbook.step(ix).id))
}
