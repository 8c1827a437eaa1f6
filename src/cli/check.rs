//! `check`: every problem of a runbook in one go.

use std::path::PathBuf;

use clap::Args;

use super::CliError;
use super::load::{Source, load};

/// Checks runbooks: every problem in one go, with its place and a suggestion.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  switchover check runbooks/*.yaml")]
pub struct Check {
    /// The runbooks.
    #[arg(required = true)]
    files: Vec<PathBuf>,
}

pub fn check(verb: Check) -> Result<i32, CliError> {
    let mut code = 0;
    for file in verb.files {
        let source = Source { file, env: None, set: Vec::new(), values: Vec::new() };
        match load(&source, false) {
            Ok(runbook) => {
                let without: Vec<&str> = runbook.without_undo().map(|ix| &*runbook.step(ix).id).collect();
                eprintln!("{}: no problems in {} steps", source.file.display(), runbook.steps.len());
                if !without.is_empty() {
                    eprintln!(
                        "  a rollback will stop and ask at {}: no undo is given; if there is nothing to undo, say `undo: none`",
                        without.join(", ")
                    );
                }
            }
            Err(error) => code = error.show().max(code),
        }
    }
    Ok(code)
}
