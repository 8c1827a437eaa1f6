//! `plan`: what a run would do, in order, with its values.

use clap::Args;

use super::source::Source;
use super::{CliError, print, print_json};
use crate::operate::load;
use crate::report;
use crate::run::{Event, Fact, RunStarted, RunState, names};
use crate::runbook::Direction;

/// Shows what a run would do: the steps in order with their values, estimates, the critical path,
/// what has no undo.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  switchover plan move.yaml --env staging\
        \n  switchover plan move.yaml --format dot | dot -Tsvg > plan.svg")]
pub struct Plan {
    #[command(flatten)]
    source: Source,
    /// How it is shown.
    #[arg(long, value_enum, default_value = "text")]
    format: PlanFormat,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum PlanFormat {
    Text,
    Json,
    Mermaid,
    Dot,
}

pub fn plan(verb: Plan) -> Result<i32, CliError> {
    let runbook = std::sync::Arc::new(load(&verb.source.into(), true)?);
    // The names of a run that has not begun: every value that does not come from a step is there.
    let started = RunStarted::of(&runbook, "plan", super::run::operator());
    let first = Event { number: 1, at: crate::engine::now(), fact: Fact::RunStarted(started) };
    let state = RunState::new(std::sync::Arc::clone(&runbook), &first)
        .map_err(|error| CliError::refused(error.to_string(), None))?;
    let names = |ix| names::of_step(&state, ix, Direction::Forward);
    match verb.format {
        PlanFormat::Text => print(&report::plan_text(&runbook, &names)),
        PlanFormat::Json => print_json(&report::plan_json(&runbook, &names)),
        PlanFormat::Mermaid => print(&report::plan_mermaid(&runbook)),
        PlanFormat::Dot => print(&report::plan_dot(&runbook)),
    }
}
