//! `audit`: who did what, when and why, and whether the record is whole.

use std::path::Path;

use clap::Args;
use console::Style;
use serde_json::json;

use super::{CliError, Format, print, print_json};
use crate::journal::{JournalError, Loaded};
use crate::operate::{self, Audited};
use crate::report::{self, Lines, say_in_colours};
use crate::run::{Fact, RunState};
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
    let Audited { run, loaded, altered, behind } = operate::audit(folder, verb.run.as_deref())?;
    let vouched = vouched(&loaded);
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
            "whole": altered.is_empty() && behind.is_none(),
            "altered": altered,
            "behind": behind.as_ref().map(JournalError::to_string),
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
fn code(altered: &[String], behind: Option<JournalError>) -> Result<i32, CliError> {
    for file in altered {
        let text = format!(" {file} is not as it was written, or is missing");
        say_in_colours(&[(Style::new().red().bold(), "altered:"), (Style::new(), &text)]);
    }
    behind.map_or(Ok(()), Err)?;
    Ok(if altered.is_empty() { 0 } else { 6 })
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
