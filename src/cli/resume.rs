//! `resume`, `rollback` and `cancel`: the three ways on for a run that stands.

use std::path::Path;

use clap::Args;

use super::CliError;
use super::run::{Session, closing};
use crate::engine::Exit;
use crate::operate::{self, Found, GoOn, SessionEnd, ToGoOn};
use crate::report::say;
use crate::run::Outcome;

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
    let Resume { run, until, session } = verb;
    let run = take(run.as_deref(), folder, &session)?;
    for change in run.changes_of_file() {
        say(format_args!(
            "the file has changed: {change}; the run goes on with its own definition (`switchover \
             amend` takes the new one)"
        ));
    }
    let end = carry_out(run.resume(operate::Resume { until })?, &session)?;
    Ok(closing(&end, folder))
}

pub fn rollback(verb: Rollback, folder: &Path) -> Result<i32, CliError> {
    let Rollback { run, to, reason, force, session } = verb;
    let run = take(run.as_deref(), folder, &session)?;
    let end = carry_out(run.roll_back(operate::Rollback { to, reason, force })?, &session)?;
    Ok(closing(&end, folder))
}

pub fn cancel(verb: Cancel, folder: &Path) -> Result<i32, CliError> {
    let Cancel { run, reason, session } = verb;
    let run = take(run.as_deref(), folder, &session)?;
    let end = carry_out(run.cancel(operate::Cancel { reason })?, &session)?;
    closing(&end, folder);
    Ok(if end.exit == Exit::Ended(Outcome::Cancelled) { 0 } else { end.exit.code() })
}

fn take(run: Option<&str>, folder: &Path, session: &Session) -> Result<ToGoOn, CliError> {
    let found = Found::find(folder, run)?;
    Ok(found.take_to_go_on(session.config()?)?)
}

fn carry_out(run: GoOn, session: &Session) -> Result<SessionEnd, CliError> {
    match run {
        GoOn::AlreadyOver { state, outcome } => {
            Ok(SessionEnd { state: *state, exit: Exit::Ended(outcome) })
        }
        GoOn::Ready(ready) => Ok(ready.carry_out(&mut *session.display())?),
    }
}
