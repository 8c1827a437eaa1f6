//! `check`: every problem of a runbook in one go.

use std::path::PathBuf;

use clap::Args;
use serde_json::{Value as Json, json};

use super::{CliError, Format, print_json};
use crate::operate::{LoadError, Source, load};
use crate::report::say;
use crate::runbook::Runbook;
use crate::runbook::problem::Problems;

/// Checks runbooks: every problem in one go, with its place and a suggestion.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  switchover check runbooks/*.yaml\
        \n  switchover check --format json move.yaml | jq '.[].problems[].message'")]
pub struct Check {
    /// The runbooks.
    #[arg(required = true)]
    files: Vec<PathBuf>,
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

pub fn check(verb: Check) -> Result<i32, CliError> {
    let (mut code, mut list) = (0, Vec::new());
    for file in verb.files {
        let source = Source { file, environment: None, set: Vec::new(), values: Vec::new() };
        let name = source.file.display().to_string();
        match (load(&source, false), verb.format) {
            (Ok(runbook), Format::Text) => sound(&name, &runbook),
            (Ok(runbook), Format::Json) => {
                list.push(json!({
                    "file": name,
                    "steps": runbook.steps.len(),
                    "without_undo": without_undo(&runbook),
                    "problems": [],
                }));
            }
            (Err(LoadError::Problems(problems)), Format::Json) => {
                list.push(json!({
                    "file": name,
                    "steps": null,
                    "without_undo": [],
                    "problems": as_json(&problems),
                }));
                code = 2;
            }
            (Err(error), _) => code = CliError::from(error).show().max(code),
        }
    }
    if verb.format == Format::Json {
        print_json(&json!(list))?;
    }
    Ok(code)
}

fn sound(name: &str, runbook: &Runbook) {
    say(format_args!("{name}: no problems in {} steps", runbook.steps.len()));
    let without = without_undo(runbook);
    if !without.is_empty() {
        say(format_args!(
            "  a rollback will stop and ask at {}: no undo is given; if there is nothing to undo, \
             say `undo: none`",
            without.join(", ")
        ));
    }
}

fn without_undo(runbook: &Runbook) -> Vec<&str> {
    runbook.without_undo().map(|ix| &*runbook.step(ix).id).collect()
}

fn as_json(problems: &Problems) -> Vec<Json> {
    let one = |problem: &crate::runbook::problem::Problem| {
        let (place, file) =
            (problem.place, problems.names.get(problem.place.file as usize).map(|(name, _)| name));
        json!({
            "file": file, "line": place.line, "column": place.column, "length": place.length,
            "message": problem.message, "help": problem.help,
        })
    };
    problems.list.iter().map(one).collect()
}
