//! `list`: the runs of a journal.

use std::path::Path;

use clap::Args;
use serde_json::json;

use super::{CliError, Format, print, print_json};
use crate::journal::{Journal, Runs, Summary, Unreadable};
use crate::report::{Lines, say};
use crate::run::{Fact, Outcome, Purpose, Stop};

/// Lists the runs, newest first.
#[derive(Debug, Args)]
pub struct List {
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

pub fn list(verb: List, folder: &Path) -> Result<i32, CliError> {
    let journal = Journal::open_to_read(folder)?;
    let Runs { readable: runs, unreadable } = journal.runs()?;
    if verb.format == Format::Json {
        let mut list: Vec<_> = runs
            .iter()
            .map(|summary| {
                json!({
                    "run": summary.run,
                    "name": summary.started.name,
                    "runbook": summary.started.runbook,
                    "environment": summary.started.environment,
                    "operator": summary.started.operator,
                    "began": summary.began,
                    "last": summary.last.at,
                    "events": summary.last.number,
                    "purpose": summary.started.purpose,
                    "state": state(summary),
                })
            })
            .collect();
        list.extend(unreadable.iter().map(|Unreadable { run, at, why }| {
            json!({
                "run": run,
                "began": at,
                "state": "unreadable",
                "why": why,
            })
        }));
        print_json(&json!(list))?;
        journal.is_complete()?;
        return Ok(0);
    }
    let mut out = Lines::default();
    for summary in &runs {
        let name =
            summary.started.name.as_deref().map(|name| format!(" ({name})")).unwrap_or_default();
        out.line(format_args!(
            "{:<6} {}  {:<12} {}{name}  {}",
            summary.run,
            summary.began.to_utc().format("%Y-%m-%d %H:%M"),
            state(summary),
            summary.started.runbook,
            summary.started.operator
        ));
    }
    for Unreadable { run, at, why } in &unreadable {
        let began: String = at.chars().take(16).map(|c| if c == 'T' { ' ' } else { c }).collect();
        out.line(format_args!("{run:<6} {began:<16}  unreadable   {why}"));
    }
    if runs.is_empty() && unreadable.is_empty() {
        say(format_args!("there are no runs in this journal yet"));
    }
    print(&out)?;
    journal.is_complete()?;
    Ok(0)
}

fn state(summary: &Summary) -> &'static str {
    if summary.holder.is_some() {
        return "running";
    }
    match summary.started.purpose {
        Purpose::DryRun => return "dry run",
        Purpose::Rehearsal => return "rehearsal",
        Purpose::Real | Purpose::LiveTest => {}
    }
    match &summary.stands.fact {
        Fact::RunEnded { outcome: Outcome::Finished } => "finished",
        Fact::RunEnded { outcome: Outcome::RolledBack } => "rolled back",
        Fact::RunEnded { outcome: Outcome::Cancelled } => "cancelled",
        Fact::RunStopped { because: Stop::Waiting { .. } | Stop::InDoubt { .. } } => "waiting",
        Fact::RunStopped { because: Stop::Breached { .. } } => "paused",
        Fact::RunStopped { because: Stop::Stuck { .. } } => "stuck",
        Fact::RunStopped { because: Stop::Failed { .. } } => "failed",
        _ => "stopped",
    }
}
