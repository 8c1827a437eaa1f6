//! `audit`: who did what, when and why, and whether the record is whole.

use std::path::Path;

use clap::Args;
use console::Style;
use serde_json::json;

use super::{CliError, Format, print, print_json};
use crate::journal::{Journal, JournalError, Loaded, digest_of};
use crate::report::{self, Lines, say_in_colours};
use crate::run::{Digest, Fact, RunState, StepFailed, StepSucceeded};
use crate::runbook::{Direction, Span};

/// Shows everything that happened in a run, from the journal alone, after holding it against its
/// hashes and its anchor.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  switchover audit\n  switchover audit 7k2 --verify\
        \n  switchover audit --format json > evidence.json")]
pub struct Audit {
    /// The run; by default the latest.
    run: Option<String>,
    /// Only say whether the record is whole.
    #[arg(long)]
    verify: bool,
    /// The time zone of the times shown, such as Europe/Berlin.
    #[arg(long, default_value = "UTC")]
    zone: chrono_tz::Tz,
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

pub fn audit(verb: Audit, folder: &Path) -> Result<i32, CliError> {
    let journal = Journal::open_to_read(folder)?;
    let run = journal.find(verb.run.as_deref())?;
    let mut loaded = journal.load(&run)?;
    let noted = loaded.noted();
    let is_noted = |loaded: &Loaded| noted.as_ref().map_or(Ok(()), |noted| loaded.has_noted(noted));
    if is_noted(&loaded).is_err() {
        // It may have gone on before that was noted.
        loaded = journal.load(&run)?;
    }
    let behind = is_noted(&loaded);
    let vouched = vouched(&loaded);
    let altered = altered(&loaded, journal.folder());
    if verb.format == Format::Json {
        let events: Vec<_> = if verb.verify {
            Vec::new()
        } else {
            loaded
                .events
                .iter()
                .zip(&loaded.hashes)
                .map(|(event, hash)| json!({"hash": hash, "event": event}))
                .collect()
        };
        print_json(&json!({
            "run": run,
            "whole": altered.is_empty() && behind.is_ok(),
            "altered": altered,
            "behind": behind.as_ref().err().map(JournalError::to_string),
            "events": loaded.events.len(),
            "anchored": loaded.anchored,
            "head": loaded.hashes.last(),
            "definition": loaded.state.started.definition,
            "status": report::status_json(&loaded.state, loaded.state.last),
            "log": events,
        }))?;
        return code(&altered, behind);
    }
    if verb.verify {
        print(&vouched)?;
        return code(&altered, behind);
    }
    let mut out = report::status_text(&loaded.state, loaded.state.last, None);
    out.space();
    for event in &loaded.events {
        let words = report::line(&loaded.state, event).unwrap_or_else(|| match &event.fact {
            Fact::StepSaw { step, seen, .. } => format!("found    {step}: {seen}"),
            Fact::CursorSaved { step, cursor, .. } => format!("cursor   {step} at {cursor}"),
            _ => String::new(),
        });
        out.line(format_args!(
            "{:>6}  {}  {words}",
            event.number,
            event.at.to_utc().with_timezone(&verb.zone).format("%Y-%m-%d %H:%M:%S%.3f %Z")
        ));
    }
    let planned = against_plan(&loaded.state);
    if !planned.is_empty() {
        out.space();
        out.line(format_args!("planned against actual"));
        out.extend(&planned);
    }
    out.space();
    out.extend(&vouched);
    print(&out)?;
    code(&altered, behind)
}

/// Tells which files are not as they were written; the exit code.
fn code(altered: &[String], behind: Result<(), JournalError>) -> Result<i32, CliError> {
    for file in altered {
        let text = format!(" {file} is not as it was written, or is missing");
        say_in_colours(&[(Style::new().red().bold(), "altered:"), (Style::new(), &text)]);
    }
    behind?;
    Ok(if altered.is_empty() { 0 } else { 6 })
}

/// Logs and messages whose digest is no longer the one in the journal. Of a file that was written
/// more than once, the last counts.
pub fn altered(loaded: &Loaded, folder: &Path) -> Vec<String> {
    let mut digests = indexmap::IndexMap::new();
    for event in &loaded.events {
        match &event.fact {
            Fact::StepSucceeded(StepSucceeded { logs, .. })
            | Fact::StepFailed(StepFailed { logs, .. }) => {
                digests.extend(logs.iter().map(|log| (&log.file, (&log.sha256, log.bytes))));
            }
            Fact::MessageSent(message) => {
                digests.insert(&message.file, (&message.digest, u64::MAX));
            }
            _ => {}
        }
    }
    let differs = |(file, (digest, bytes)): &(&String, (&Digest, u64))| {
        digest_of(&folder.join(file), *bytes).ok().as_ref() != Some(*digest)
    };
    digests.into_iter().filter(differs).map(|(file, _)| file.clone()).collect()
}

fn vouched(loaded: &Loaded) -> Lines {
    let (count, anchored) = (loaded.events.len() as u64, loaded.anchored);
    let head = loaded.hashes.last().map_or("", String::as_str);
    let rest = if count > anchored {
        format!("; {} after it rest on the hash chain alone", count - anchored)
    } else {
        String::new()
    };
    let mut out = Lines::default();
    out.line(format_args!(
        "whole: {count} events without a gap, each matching its hash; the anchor vouches for the \
         first {anchored}{rest}"
    ));
    out.line(format_args!("head {head}"));
    out
}

/// Steps that were estimated and are done, with how long they took.
fn against_plan(state: &RunState) -> Lines {
    let mut out = Lines::default();
    for ix in state.runbook.ixs() {
        let (step, now) = (state.runbook.step(ix), state.step(ix));
        if let (Some(estimate), Some(from), Some(to)) = (step.estimate, now.started, now.finished)
            && state.attempts(ix, Direction::Forward) > 0
        {
            let took = to.since(from);
            let over = if took > estimate + Span::from_millis(estimate.as_millis() / 10) {
                "  over"
            } else {
                ""
            };
            out.line(format_args!(
                "  {:<44} {:>9} {:>9}{over}",
                report::shorten(&step.id, 44),
                estimate.to_string(),
                took.to_string()
            ));
        }
    }
    out
}
