//! Where a run stands, as a table that fits 80 columns.

use super::line::{shorten, stop_words};
use super::lines::Lines;
use crate::message::printable;
use crate::run::*;
use crate::runbook::{Direction, Span, StepIx};

/// A run as it stands at `now`. `holder` says who executes it, if anybody does.
pub fn status_text(state: &RunState, now: Moment, holder: Option<&str>) -> Lines {
    let runbook = &state.runbook;
    let mut out = Lines::default();
    let environment =
        state.started.environment.as_deref().map(|name| format!("  {name}")).unwrap_or_default();
    let name = state.started.name.as_deref().map(|name| format!(" ({name})")).unwrap_or_default();
    out.line(format_args!(
        "{}  run {}{name}{environment}  {}",
        runbook.name, state.started.run, state.started.operator
    ));
    let stands = match (state.ended, &state.stopped, holder) {
        (Some(Outcome::Finished), ..) => "finished".to_owned(),
        (Some(Outcome::RolledBack), ..) => "rolled back".to_owned(),
        (Some(Outcome::Cancelled), ..) => "cancelled".to_owned(),
        (_, _, Some(holder)) => format!("executed by {holder}"),
        (_, Some(stop), _) => stop_words(stop),
        (None, None, None) => "its executor died; `switchover resume` goes on".to_owned(),
    };
    out.line(format_args!(
        "  {stands}; began {}, {} ago",
        state.began.to_utc().format("%Y-%m-%d %H:%M:%S UTC"),
        now.since(state.began)
    ));
    for ix in 0..runbook.phases.len() as u32 {
        out.line(format_args!("{}", phase_row(state, ix, now).text));
        for at in runbook.ixs().filter(|at| runbook.step(*at).phase == ix) {
            let step_state = state.step(at);
            let open = matches!(
                step_state.word(),
                "running" | "waiting" | "failed" | "in doubt" | "retrying" | "stuck" | "undoing"
            );
            if open {
                let error =
                    Direction::ALL.iter().find_map(|direction| match state.track(at, *direction) {
                        Track::Failed { failure, .. } | Track::Retrying { failure, .. } => Some(
                            format!(": {}", failure.message.lines().next().unwrap_or_default()),
                        ),
                        Track::Running { since, .. } => Some(format!(" for {}", now.since(*since))),
                        _ => None,
                    });
                let text = format!(
                    "{} {}{}",
                    runbook.step(at).id,
                    step_state.word(),
                    printable(&error.unwrap_or_default())
                );
                out.line(format_args!("      {}", shorten(&text, 74)));
            }
        }
    }
    let is_open =
        |ix: &StepIx| !matches!(state.track(*ix, Direction::Forward), Track::Failed { .. });
    let void: Vec<&str> = state.void().filter(is_open).map(|ix| &*runbook.step(ix).id).collect();
    if !void.is_empty() && state.mode == Mode::Forward {
        out.line(format_args!("  void since an amendment, asked again: {}", void.join(", ")));
    }
    if let Some(untold) = super::closing::untold(state).filter(|_| holder.is_none()) {
        out.line(format_args!("  not told yet: {untold}"));
    }
    if let Some(stand_ins) = &runbook.stand_ins {
        out.line(format_args!("  stand-ins: {}", shorten(&stand_ins.programs.join(", "), 64)));
    }
    for (guard, (says, reading)) in &state.watch.says {
        out.line(format_args!("  guard {guard} is {says}: {}", shorten(&printable(reading), 60)));
    }
    for of in &state.watch.breached {
        if let Watched::Budget { budget, expected } = of {
            let verb = if *expected { "was expected to be" } else { "is" };
            out.line(format_args!("  budget {} {verb} exceeded", budget.word()));
        }
    }
    if let Some(rollback) = &state.rollback {
        out.line(format_args!(
            "  undone {} of {}: {}",
            rollback.total - rollback.left,
            rollback.total,
            rollback.because
        ));
    }
    let downtime = state.downtime_until(now);
    let budget = runbook
        .budgets
        .downtime
        .map(|budget| format!(" of {} budget", budget.limit))
        .unwrap_or_default();
    if downtime > Span::ZERO {
        out.line(format_args!(
            "  downtime {downtime}{budget}{}",
            if state.down_since.is_some() { ", and production is still down" } else { "" }
        ));
    }
    out
}

/// A phase on one line.
pub(super) struct PhaseRow {
    pub text: String,
    pub is_done: bool,
    /// Nothing in it has begun.
    pub is_ahead: bool,
}

/// How a phase stands: its state, how much of it is done, how long it has taken and should take.
pub(super) fn phase_row(state: &RunState, ix: u32, now: Moment) -> PhaseRow {
    let runbook = &state.runbook;
    let tally = state.tally(Some(ix));
    let total: usize = tally.values().sum();
    let undone = tally.get("undone").copied().unwrap_or_default();
    let done = if undone > 0 { undone } else { total - state.phase_left(ix) };
    let word = phase_word(&tally, done, total);
    let times: (Option<Moment>, Option<Moment>) = runbook
        .steps
        .iter()
        .zip(&state.steps)
        .filter(|(step, _)| step.phase == ix)
        .fold((None, None), |(from, to), (_, step)| {
            (step.started.into_iter().chain(from).min(), step.finished.into_iter().chain(to).max())
        });
    let took = times.0.map(|from| {
        if done == total { times.1.unwrap_or(from).since(from) } else { now.since(from) }
    });
    let planned: Span =
        runbook.steps.iter().filter(|step| step.phase == ix).filter_map(|step| step.estimate).sum();
    let took = took.map(|took| took.to_string()).unwrap_or_default();
    let planned =
        if planned == Span::ZERO { String::new() } else { format!("estimates {planned}") };
    let name = shorten(&runbook.phases[ix as usize].id, 16);
    let text = format!("  {name:<16} {word:<11} {done:>4} of {total:<4} {took:>9}  {planned}");
    PhaseRow {
        text: text.trim_end().to_owned(),
        is_done: word == "done",
        is_ahead: word == "pending",
    }
}

fn phase_word(
    tally: &std::collections::BTreeMap<&'static str, usize>,
    done: usize,
    total: usize,
) -> &'static str {
    let has = |word: &str| tally.contains_key(word);
    if has("stuck") {
        "stuck"
    } else if has("failed") {
        "failed"
    } else if has("in doubt") {
        "in doubt"
    } else if has("undoing") || (has("undone") && (has("done") || has("running"))) {
        "going back"
    } else if has("undone") {
        "undone"
    } else if done == total {
        "done"
    } else if has("waiting") {
        "waiting"
    } else if has("running") || done > 0 {
        "running"
    } else {
        "pending"
    }
}
