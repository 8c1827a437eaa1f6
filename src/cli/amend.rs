//! `amend`: a run that stands goes on with another definition.

use std::path::Path;

use clap::Args;

use super::CliError;
use super::run::checked_operator;
use super::source::Source;
use crate::operate::{self, Found};
use crate::report::say;

/// Lets a run go on with a changed runbook, if nothing that has started means anything else in it.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  switchover amend 7k2 move.yaml --reason 'the new cluster has another \
        address' && switchover resume 7k2"
)]
pub struct Amend {
    /// The run.
    run: String,
    #[command(flatten)]
    source: Source,
    /// Why, for the record.
    #[arg(long, value_parser = super::reason)]
    reason: String,
    /// Take it although what the environment requires has not been shown of it; what is missing is
    /// journaled with the reason.
    #[arg(long = "override")]
    is_overridden: bool,
}

pub fn amend(verb: Amend, folder: &Path) -> Result<i32, CliError> {
    let Amend { run, source, reason, is_overridden } = verb;
    let run = Found::find(folder, Some(&run))?.take_to_decide(checked_operator()?)?;
    let wanted = operate::Amend { source: source.into(), reason, is_overridden };
    let amendment = run.propose_amendment(wanted)?;
    for change in &amendment.changes {
        say(format_args!("  {change}"));
    }
    let voided = &amendment.voided;
    match voided.len() {
        0 => {}
        1 => say(format_args!("1 answer is void and will be asked again: {}", voided[0])),
        count => say(format_args!(
            "{count} answers are void and will be asked again: {}",
            voided.join(", ")
        )),
    }
    let run = amendment.record()?;
    say(format_args!("the run {run} is amended; next: switchover resume {run}"));
    Ok(0)
}
