//! The last words of a session: how it ended, what stands, what to do next. Read by somebody tired.

use super::line::{shorten, stop_words};
use super::lines::Lines;
use crate::run::*;
use crate::runbook::action::DoneBy;
use crate::runbook::{Direction, Span, StepIx};

/// What an attempt in doubt said last, if anything.
pub type Said<'a> = &'a dyn Fn(StepIx, Direction) -> Option<String>;

/// How a session ended at `now`; `stop` says why it stopped, if the run is not over.
pub fn closing(state: &RunState, now: Moment, stop: Option<&Stop>, said: Said) -> Lines {
    let run = &state.started.run;
    let mut out = Lines::default();
    let total = state.runbook.steps.len();
    let elapsed = state.last.since(state.began);
    let downtime = state.downtime_until(now);
    let down = if downtime > Span::ZERO { format!(", downtime {downtime}") } else { String::new() };
    match (stop, state.ended) {
        _ if state.started.is_dry() => out.extend(&super::dry_run(state, stop)),
        (None, Some(Outcome::Finished)) => {
            out.line(format_args!("finished: run {run}, {total} steps in {elapsed}{down}"));
            stand_ins(&mut out, state);
            out.line(format_args!("  review     switchover audit {run}"));
            out.line(format_args!("  go back    switchover rollback {run}"));
        }
        (None, Some(Outcome::RolledBack)) => {
            let undone = state.rollback.as_ref().map_or(0, |rollback| rollback.total);
            out.line(format_args!("rolled back: run {run}, {undone} steps undone{down}"));
            let stay =
                state.steps.iter().filter(|step| step.touched && step.word() != "undone").count();
            if stay > 0 {
                out.line(format_args!(
                    "  stays      {stay} steps, which lie before that; \
                    `switchover status {run}` names them"
                ));
                out.line(format_args!(
                    "  further    switchover rollback {run} --force --reason '…'"
                ));
            }
            out.line(format_args!("  review     switchover audit {run}"));
        }
        (None, _) => {
            out.line(format_args!(
                "cancelled: run {run}; what was done stays, what was held is released"
            ));
        }
        (Some(stop), _) => {
            out.line(format_args!("{}", stop_words(stop)));
            let done = total - state.unsettled();
            out.line(format_args!("  run        {run}, {done} of {total} steps done{down}"));
            let steps: Vec<StepIx> =
                steps_of(stop).iter().filter_map(|step| state.runbook.find(step)).collect();
            for ix in &steps {
                step_block(&mut out, state, *ix, now, said);
            }
            next_block(&mut out, state, stop, steps.first().copied());
        }
    }
    if let Some(untold) = untold(state) {
        out.line(format_args!("  not told   {untold}"));
    }
    out
}

/// What people were not told yet, as its executor died before or the outbox could not be written.
pub(super) fn untold(state: &RunState) -> Option<String> {
    if state.notices.owed.is_empty() || state.started.is_dry() {
        return None;
    }
    let name = |occasion: &Occasion| match occasion.own_phase(&state.runbook) {
        Some(phase) => format!("{} of {phase}", occasion.kind),
        None => occasion.kind.to_string(),
    };
    let names: Vec<String> = state.notices.owed.iter().map(name).collect();
    Some(format!("{}: switchover resume {} tells it", names.join(", "), state.started.run))
}

/// What was not real in it.
pub(super) fn stand_ins(out: &mut Lines, state: &RunState) {
    if let Some(stand_ins) = &state.runbook.stand_ins {
        out.line(format_args!("  stand-ins  {}", stand_ins.programs.join(", ")));
    }
}

fn steps_of(stop: &Stop) -> &[crate::runbook::StepId] {
    match stop {
        Stop::Failed { steps }
        | Stop::Waiting { steps }
        | Stop::InDoubt { steps }
        | Stop::Stuck { steps } => steps,
        Stop::Until { .. }
        | Stop::Interrupted { .. }
        | Stop::Breached { .. }
        | Stop::Unwitnessed { .. } => &[],
    }
}

fn step_block(out: &mut Lines, state: &RunState, ix: StepIx, now: Moment, said: Said) {
    let step = state.runbook.step(ix);
    out.line(format_args!("  step       {} ({}:{})", step.id, step.file, step.line));
    let names = names::of_step(state, ix, Direction::Forward);
    for direction in Direction::ALL {
        match state.track(ix, direction) {
            Track::Failed { attempt, failure } => {
                out.line(format_args!(
                    "  {:<10} attempt {attempt}: {}",
                    direction.word(),
                    beginning(&failure.message)
                ));
            }
            Track::InDoubt { attempt, .. } => {
                let began = state
                    .since(ix, direction)
                    .map(|at| format!(", begun {} ago", now.since(at)))
                    .unwrap_or_default();
                out.line(format_args!(
                    "  {:<10} attempt {attempt} is in doubt{began}: nobody saw how it ended",
                    direction.word()
                ));
                if let Some(cursor) = state.cursor(ix, direction) {
                    out.line(format_args!("  cursor     {cursor}"));
                }
                let said = said(ix, direction).unwrap_or_else(|| "nothing".to_owned());
                out.line(format_args!("  said last  {}", beginning(&said)));
            }
            Track::Waiting { .. } => {
                let Some(question) = step.act.action.question() else { continue };
                let text = question.render(&names);
                out.line(format_args!("  asked      {}", beginning(&text.unwrap_or_default())));
            }
            Track::Idle if direction == Direction::Forward && state.needs_confirmation(ix) => {
                out.line(format_args!(
                    "  asked      may this point of no return be passed? After \
                    it, a rollback goes no further back"
                ));
            }
            _ => {}
        }
    }
    for hint in &step.hints {
        out.line(format_args!(
            "  hint       {}",
            beginning(&hint.render(&names).unwrap_or_else(|_| hint.source().to_owned()))
        ));
    }
}

fn next_block(out: &mut Lines, state: &RunState, stop: &Stop, first: Option<StepIx>) {
    let run = &state.started.run;
    let name = first.map_or("", |ix| {
        let step = state.runbook.step(ix);
        // The short name, unless it could be another step's.
        if state.runbook.find_by_suffix(step.name()).is_ok() { step.name() } else { &step.id }
    });
    let is_task =
        first.is_some_and(|ix| state.runbook.step(ix).act.action.done_by() == DoneBy::TASK);
    let lines: Vec<(&str, String)> = match stop {
        Stop::Failed { .. } => vec![
            ("next", format!("mend it, then  switchover resume {run}")),
            ("or", format!("switchover skip {name} --run {run} --reason '…'")),
            ("or", format!("switchover rollback {run}")),
            ("output", format!("switchover logs {name} --run {run}")),
        ],
        Stop::Waiting { .. } => {
            let (yes, no) = if is_task { ("done", "not-done") } else { ("go", "no-go") };
            let is_point = first.is_some_and(|ix| state.needs_confirmation(ix));
            let or = if is_point { String::new() } else { format!("   (or {no})") };
            vec![
                (
                    "next",
                    format!("switchover resolve {name} --run {run} --as {yes} --reason '…'{or}"),
                ),
                ("then", format!("switchover resume {run}")),
            ]
        }
        Stop::InDoubt { .. } => vec![
            ("next", "find out whether it had its effect, then".to_owned()),
            (
                "",
                format!(
                    "switchover resolve {name} --run {run} --as done|not-done|partial --reason '…'"
                ),
            ),
            ("then", format!("switchover resume {run}   or   switchover rollback {run}")),
            ("output", format!("switchover logs {name} --run {run}")),
        ],
        Stop::Stuck { .. }
            if first.is_some_and(|ix| {
                matches!(state.runbook.step(ix).undo, crate::runbook::Undo::Unknown)
            }) =>
        {
            vec![
                ("why", "no undo is written for it".to_owned()),
                ("next", "undo it by hand and say so, then go on:".to_owned()),
                ("", format!("switchover resolve {name} --run {run} --as done --reason '…'")),
                ("", format!("switchover rollback {run}")),
            ]
        }
        Stop::Stuck { .. } if state.mode == Mode::Cancelling => vec![
            ("next", "mend it and try again, or release it by hand and say so:".to_owned()),
            ("", format!("switchover resume {run}")),
            ("", format!("switchover resolve {name} --run {run} --as done --reason '…'")),
        ],
        Stop::Stuck { .. } => vec![
            ("next", "mend it and try again, or undo it by hand and say so:".to_owned()),
            (
                "",
                format!(
                    "switchover {} {run}",
                    if state.mode == Mode::Forward { "resume" } else { "rollback" }
                ),
            ),
            ("", format!("switchover resolve {name} --run {run} --as done --reason '…'")),
        ],
        Stop::Breached { .. } => vec![
            (
                "next",
                format!(
                    "find out why, then  switchover resume {run}   (what is still bad pauses it \
                     again)"
                ),
            ),
            ("or", format!("switchover rollback {run}")),
            ("readings", format!("switchover audit {run}")),
        ],
        Stop::Until { .. } | Stop::Interrupted { .. } => {
            vec![("next", format!("switchover resume {run}   or   switchover rollback {run}"))]
        }
        Stop::Unwitnessed { .. } => {
            vec![(
                "next",
                "go on with the copy of this journal that went on; if there is none, see \
                to the witness first"
                    .to_owned(),
            )]
        }
    };
    for (word, text) in lines {
        out.line(format_args!("  {word:<10} {text}"));
    }
}

/// Of a text that may be long, its beginning.
fn beginning(text: &str) -> String {
    shorten(text, 2000).trim_end().to_owned()
}
