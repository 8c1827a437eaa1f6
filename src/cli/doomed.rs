//! A hidden verb: the executor that is killed, as `certify` calls it.

use std::path::{Path, PathBuf};

use clap::Args;

use super::run::operator;
use super::{CliError, print_data};
use crate::certify::{self, Survived};
use crate::rehearsal::Death;

/// What it carries out, and where it dies.
#[derive(Debug, Args)]
pub struct Doomed {
    /// A file with a checked runbook, whose actions it replaces.
    runbook: PathBuf,
    /// It dies with the first commit that has this event, or comes after it.
    #[arg(long)]
    at: Option<u64>,
    /// It dies before anything begins that the commit begins.
    #[arg(long)]
    before_launch: bool,
    /// It takes its keeper along.
    #[arg(long)]
    with_keeper: bool,
}

/// Carries the run out. Each line that it prints is the number of the last event of a commit; of
/// one that dies, only the last.
pub fn doomed(verb: Doomed, folder: &Path) -> Result<i32, CliError> {
    let Doomed { runbook, at, before_launch, with_keeper } = verb;
    let death = match (before_launch, with_keeper) {
        (true, _) => Death::BeforeLaunch,
        (false, true) => Death::WithKeeper,
        (false, false) => Death::Executor,
    };
    let wanted = certify::Doomed { runbook, death: at.map(|at| (at, death)) };
    let mut tell = |number: u64| drop(print_data(&format!("{number}\n")));
    let Survived { commits, exit } = certify::doomed(&wanted, folder, operator(), &mut tell)?;
    print_data(&commits.iter().map(|number| format!("{number}\n")).collect::<String>())?;
    Ok(exit.code())
}
