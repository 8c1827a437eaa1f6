//! `logs`: what a step's commands wrote.

use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::path::Path;

use clap::Args;
use serde_json::{Value as Json, json};

use super::{CliError, Format, print_json};
use crate::file;
use crate::journal::Journal;
use crate::message::printable;
use crate::operate::step_named;
use crate::report::{Lines, say};
use crate::runbook::Direction;

/// How much of a long line is shown at once, in bytes.
const PIECE: u64 = 64 << 10;
/// What stands before each line that a command wrote.
const MARK: &[u8] = b"| ";

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
    let ix = step_named(&state.runbook, &verb.step)?;
    let step = &state.runbook.step(ix).id;
    let (mut out, mut list) = (std::io::stdout().lock(), Vec::new());
    for direction in Direction::ALL {
        for attempt in 1..=state.attempts(ix, direction) {
            let files = journal.attempt_files(&state, ix, direction, attempt);
            for (ending, name) in [("out", "output"), ("err", "errors")] {
                let path = files.path(ending);
                let mut file = match file::open(&path) {
                    Err(error) if error.kind() == ErrorKind::NotFound => continue,
                    Err(error) => {
                        say(format_args!(
                            "the {name} in {} cannot be shown: {error}",
                            path.display()
                        ));
                        list.push(json!({
                            "step": step,
                            "direction": direction,
                            "attempt": attempt,
                            "stream": name,
                            "file": path,
                            "error": error.to_string(),
                        }));
                        continue;
                    }
                    Ok(file) => file,
                };
                if file.metadata().is_ok_and(|found| found.len() == 0) {
                    continue;
                }
                if verb.format == Format::Json {
                    let mut bytes = Vec::new();
                    let unreadable = |error| {
                        CliError::refused(
                            format!("{} cannot be read: {error}", path.display()),
                            None,
                        )
                    };
                    file.read_to_end(&mut bytes).map_err(unreadable)?;
                    let text = String::from_utf8_lossy(&bytes);
                    list.push(json!({
                        "step": step,
                        "direction": direction,
                        "attempt": attempt,
                        "stream": name,
                        "file": path,
                        "text": text,
                    }));
                    continue;
                }
                list.push(Json::Null);
                let mut head = Lines::default();
                head.line(format_args!(
                    "── {step}, {} attempt {attempt}, {name}",
                    direction.word()
                ));
                if out
                    .write_all(head.as_str().as_bytes())
                    .and_then(|()| show(file, &mut out))
                    .is_err()
                {
                    return Ok(0); // The reader went away.
                }
            }
        }
    }
    if list.is_empty() {
        say(format_args!("{step} wrote nothing"));
    }
    match verb.format {
        Format::Text => Ok(0),
        Format::Json => print_json(&json!(list)),
    }
}

/// Shows a log piece by piece, as it may be longer than memory. Each of its lines stands behind a
/// mark, as no line of ours does.
fn show(file: File, out: &mut impl Write) -> std::io::Result<()> {
    let (mut reader, mut piece, mut is_ended) = (BufReader::new(file), Vec::new(), true);
    while (&mut reader).take(PIECE).read_until(b'\n', &mut piece)? > 0 {
        // A character that goes on in the next piece is shown with it.
        let next = piece.split_off(piece.len() - begun(&piece));
        out.write_all(if is_ended { MARK } else { b"" })?;
        out.write_all(printable(&String::from_utf8_lossy(&piece)).as_bytes())?;
        is_ended = piece.ends_with(b"\n");
        piece = next;
    }
    out.write_all(printable(&String::from_utf8_lossy(&piece)).as_bytes())?;
    if is_ended { Ok(()) } else { out.write_all(b"\n") }
}

/// How many bytes at the end begin a character that does not end there.
fn begun(piece: &[u8]) -> usize {
    let last = piece.utf8_chunks().last().map_or(&[][..], |chunk| chunk.invalid());
    if std::str::from_utf8(last).is_err_and(|error| error.error_len().is_none()) {
        last.len()
    } else {
        0
    }
}
