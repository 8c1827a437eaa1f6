//! `logs`: what a step's commands wrote.

use std::path::Path;

use clap::Args;
use serde_json::json;

use super::resume::find;
use super::{CliError, Format, print, print_json};
use crate::journal::Journal;
use crate::message::printable;
use crate::report::say;
use crate::runbook::Direction;

/// Shows what a step's commands wrote, attempt by attempt.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  switchover logs copy[3]")]
pub struct Logs {
    /// The step.
    step: String,
    /// The run; by default the latest.
    #[arg(long, value_name = "RUN")]
    run: Option<String>,
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

pub fn logs(verb: Logs, folder: &Path) -> Result<i32, CliError> {
    let journal = Journal::open_to_read(folder)?;
    let run = journal.find(verb.run.as_deref())?;
    let state = journal.load(&run)?.state;
    let step = find(&state, &verb.step)?;
    let Some(ix) = state.runbook.find(&step) else { return Ok(0) };
    let (mut out, mut list) = (String::new(), Vec::new());
    for direction in Direction::ALL {
        for attempt in 1..=state.attempts(ix, direction) {
            let files = journal.attempt_files(&run, &state.runbook, ix, direction, attempt);
            for (ending, name) in [("out", "output"), ("err", "errors")] {
                let path = files.path(ending);
                let Ok(bytes) = std::fs::read(&path) else { continue };
                if bytes.is_empty() {
                    continue;
                }
                let text = String::from_utf8_lossy(&bytes);
                list.push(json!({"step": step, "direction": direction, "attempt": attempt, "stream": name, "file": path, "text": text}));
                out.push_str(&format!("── {step}, {} attempt {attempt}, {name}\n{}", direction.word(), printable(&text)));
                if !out.ends_with('\n') {
                    out.push('\n');
                }
            }
        }
    }
    if list.is_empty() {
        say(format_args!("{step} wrote nothing"));
    }
    match verb.format {
        Format::Text => print(&out),
        Format::Json => print_json(&json!(list)),
    }
}
