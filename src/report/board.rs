//! What stays at the bottom of a terminal while a run goes on: the phases, what runs now against
//! its estimate, and how much is left. A text of the state; how it is drawn is the business of
//! `live`.

use std::collections::HashMap;
use std::fmt::Write;

use super::line::shorten;
use super::table::phase_row;
use crate::message::one_line;
use crate::run::*;
use crate::runbook::graph::longest_way;
use crate::runbook::traffic::Says;
use crate::runbook::watch::Budget;
use crate::runbook::{Direction, Span, StepIx};

/// What is seen of a run besides its facts.
pub struct Seen<'a> {
    /// What running steps say of themselves.
    pub progress: &'a HashMap<StepIx, String>,
    pub outlook: Option<Outlook>,
}

/// The board at `now`, at most `rows` lines of `columns` characters.
pub fn board(state: &RunState, now: Moment, seen: &Seen, rows: usize, columns: usize) -> String {
    let mut lines = vec![head(state, now)];
    let phases: Vec<_> =
        (0..state.runbook.phases.len() as u32).map(|ix| (ix, phase_row(state, ix, now))).collect();
    let running = state.sets.running.len().min(rows.saturating_sub(3));
    let room = rows.saturating_sub(running + 2);
    // What is behind gives way first, then what is far ahead.
    let surplus = phases.len().saturating_sub(room);
    let done = phases.iter().take_while(|(_, row)| row.is_done).count();
    let behind = if surplus > 0 { (surplus + 1).min(done) } else { 0 };
    let left = phases.len() - behind;
    let room = room.saturating_sub(usize::from(behind > 0));
    let ahead = if left > room { left - room.saturating_sub(1) } else { 0 };
    if behind > 0 {
        lines.push(format!("  {behind} phases are done"));
    }
    for (ix, row) in &phases[behind..phases.len() - ahead.min(left)] {
        lines.push(row.text.clone());
        if !row.is_done && !row.is_ahead {
            lines.extend(running_lines(state, *ix, now, seen.progress));
        }
    }
    if ahead > 0 {
        lines.push(format!("  {ahead} more phases"));
    }
    lines.truncate(rows.saturating_sub(2));
    lines.push(foot(state, now));
    lines.extend(watch_line(state, now, seen.outlook));
    lines.iter().map(|line| shorten(&one_line(line), columns)).collect::<Vec<_>>().join("\n")
}

fn head(state: &RunState, now: Moment) -> String {
    let started = &state.started;
    let environment =
        started.environment.as_deref().map(|name| format!("  {name}")).unwrap_or_default();
    let time = now.since(state.began).as_millis() / 1000;
    let clock = format!("{:02}:{:02}:{:02}", time / 3600, time / 60 % 60, time % 60);
    format!("{}  run {}{environment}  {}  {clock}", started.runbook, started.run, started.operator)
}

fn running_lines(
    state: &RunState,
    phase: u32,
    now: Moment,
    progress: &HashMap<StepIx, String>,
) -> Vec<String> {
    let of_phase =
        state.sets.running.iter().filter(|(ix, _)| state.runbook.step(*ix).phase == phase);
    of_phase
        .map(|(ix, direction)| {
            let step = state.runbook.step(*ix);
            let Track::Running { since, .. } = state.track(*ix, *direction) else {
                return String::new();
            };
            let (way, estimate) = match direction {
                Direction::Forward => {
                    ("", step.estimate.map(|span| format!(" of about {span}")).unwrap_or_default())
                }
                Direction::Undo => ("undo ", String::new()),
                Direction::Release => ("release ", String::new()),
            };
            let said =
                progress.get(ix).map(|text| one_line(text)).unwrap_or_else(|| title(state, *ix));
            format!("      {way}{}  {}{estimate}  {said}", step.name(), seconds(now.since(*since)))
        })
        .collect()
}

fn title(state: &RunState, ix: StepIx) -> String {
    let Some(title) = &state.runbook.step(ix).title else { return String::new() };
    one_line(&title.render(&names::of_step(state, ix, Direction::Forward)).unwrap_or_default())
}

fn foot(state: &RunState, now: Moment) -> String {
    let total = state.runbook.steps.len();
    let done = total - state.unsettled();
    let mut foot = match &state.rollback {
        Some(rollback) => format!(
            "going back: {} of {} steps undone",
            rollback.total - rollback.left,
            rollback.total
        ),
        None => {
            let full = (done * 20).checked_div(total).unwrap_or(20);
            format!("[{}{}] {done} of {total} steps", "#".repeat(full), "-".repeat(20 - full))
        }
    };
    if state.rollback.is_none() {
        // What the slowest way through the rest should take, if every step on it kept to its
        // estimate.
        let rest = |ix: StepIx| {
            let estimate =
                if state.is_settled(ix) { Span::ZERO } else { state.runbook.step(ix).estimated() };
            match state.track(ix, Direction::Forward) {
                Track::Running { since, .. } => Span::from_millis(
                    estimate.as_millis().saturating_sub(now.since(*since).as_millis()),
                ),
                _ => estimate,
            }
        };
        let (_, left) = longest_way(&state.runbook, rest);
        if left > Span::ZERO {
            let _ = write!(foot, "  about {} left", seconds(left));
        }
    }
    foot
}

/// Budgets against what is spent of them, and guards that are not good.
fn watch_line(state: &RunState, now: Moment, outlook: Option<Outlook>) -> Option<String> {
    let budgets = state.runbook.budgets;
    let of = |budget: Option<Budget>| {
        budget.map(|budget| format!(" of {} budget", budget.limit)).unwrap_or_default()
    };
    let mut parts = Vec::new();
    let downtime = state.downtime_until(now);
    if downtime > Span::ZERO || budgets.downtime.is_some() {
        parts.push(format!("downtime {}{}", seconds(downtime), of(budgets.downtime)));
    }
    if let Some(back) = outlook
        .map(|outlook| outlook.back)
        .filter(|back| *back > Span::ZERO || budgets.rollback.is_some())
    {
        parts.push(format!("undo from here about {}{}", seconds(back), of(budgets.rollback)));
    }
    for (guard, (says, reading)) in
        state.watch.says.iter().filter(|(_, (says, _))| *says != Says::Good)
    {
        parts.push(format!("{guard} is {says} ({})", one_line(reading)));
    }
    (!parts.is_empty()).then(|| parts.join("     "))
}

/// Whole seconds: a number that changes faster cannot be read.
fn seconds(span: Span) -> String {
    match span.as_millis() / 1000 {
        0 => "0s".to_owned(),
        seconds => Span::from_secs(seconds).to_string(),
    }
}
