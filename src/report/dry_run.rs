//! The last words of a dry run: what would be refused, what cannot be said yet, and that nothing
//! was changed.

use super::closing::stand_ins;
use super::line::stop_words;
use super::lines::Lines;
use crate::run::{Foreseen, RunState, Stop};

pub fn dry_run(state: &RunState, stop: Option<&Stop>) -> Lines {
    let run = &state.started.run;
    let steps = |verdict: Foreseen| -> Vec<&str> {
        let is_one = |ix: &crate::runbook::StepIx| state.step(*ix).foreseen == Some(verdict);
        state.runbook.ixs().filter(is_one).map(|ix| &*state.runbook.step(ix).id).collect()
    };
    let [would, mut not_yet, mut refused] =
        [Foreseen::Would, Foreseen::NotYet, Foreseen::Refused].map(steps);
    let done = state.runbook.steps.len() - state.unsettled();
    let read = done - would.len() - not_yet.len() - refused.len();
    let guards = |verdict: Foreseen| {
        let all = state.watch.foreseen.iter().filter(move |(_, of)| **of == verdict);
        all.map(|(guard, _)| format!("the guard {guard}"))
    };
    let [not_yet_guards, refused_guards]: [Vec<String>; 2] =
        [Foreseen::NotYet, Foreseen::Refused].map(|verdict| guards(verdict).collect());
    not_yet.extend(not_yet_guards.iter().map(String::as_str));
    refused.extend(refused_guards.iter().map(String::as_str));
    let mut out = Lines::default();
    if let Some(stop) = stop {
        out.line(format_args!("{}", stop_words(stop)));
    }
    let so_far = if stop.is_some() { "so far " } else { "" };
    let verdict =
        if refused.is_empty() { "nothing would be refused" } else { "it would be refused" };
    out.line(format_args!("dry run {run}: {so_far}{verdict}; nothing was changed"));
    out.line(format_args!(
        "  steps      {done} of {}: {} would be done, {read} only read or were passed over",
        state.runbook.steps.len(),
        would.len()
    ));
    list(&mut out, "refused", &refused);
    list(&mut out, "not yet", &not_yet);
    if !not_yet.is_empty() {
        out.line(format_args!(
            "             which may be otherwise once the steps before have changed something"
        ));
    }
    for (guard, (says, reading)) in &state.watch.says {
        out.line(format_args!("  guard      {guard} is {says}: {reading}"));
    }
    stand_ins(&mut out, state);
    out.line(format_args!("  review     switchover audit {run}"));
    out
}

fn list(out: &mut Lines, word: &str, items: &[&str]) {
    for (number, item) in items.iter().enumerate() {
        out.line(format_args!("  {:<10} {item}", if number == 0 { word } else { "" }));
    }
}
