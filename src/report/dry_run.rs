//! The last words of a dry run: what would be refused, what cannot be said yet, and that nothing was changed.

use std::fmt::Write;

use super::closing::stand_ins;
use super::line::stop_words;
use crate::run::{Foreseen, RunState, Stop};

pub fn dry_run(state: &RunState, stop: Option<&Stop>) -> String {
    let run = &state.started.run;
    let steps = |verdict: Foreseen| -> Vec<&str> {
        let is_one = |ix: &crate::runbook::StepIx| state.step(*ix).foreseen == Some(verdict);
        state.runbook.ixs().filter(is_one).map(|ix| &*state.runbook.step(ix).id).collect()
    };
    let [would, mut not_yet, mut refused] = [Foreseen::Would, Foreseen::NotYet, Foreseen::Refused].map(steps);
    let done = state.runbook.steps.len() - state.unsettled();
    let read = done - would.len() - not_yet.len() - refused.len();
    let guards = |verdict: Foreseen| {
        let all = state.watch.foreseen.iter().filter(move |(_, of)| **of == verdict);
        all.map(|(guard, _)| format!("the guard {guard}"))
    };
    let [not_yet_guards, refused_guards]: [Vec<String>; 2] = [Foreseen::NotYet, Foreseen::Refused].map(|verdict| guards(verdict).collect());
    not_yet.extend(not_yet_guards.iter().map(String::as_str));
    refused.extend(refused_guards.iter().map(String::as_str));
    let mut out = String::new();
    if let Some(stop) = stop {
        let _ = writeln!(out, "{}", stop_words(stop));
    }
    let so_far = if stop.is_some() { "so far " } else { "" };
    let verdict = if refused.is_empty() { "nothing would be refused" } else { "it would be refused" };
    let _ = writeln!(out, "dry run {run}: {so_far}{verdict}; nothing was changed");
    let _ = writeln!(
        out,
        "  steps      {done} of {}: {} would be done, {read} only read or were passed over",
        state.runbook.steps.len(),
        would.len()
    );
    if !refused.is_empty() {
        let _ = writeln!(out, "  refused    {}", refused.join("\n             "));
    }
    if !not_yet.is_empty() {
        let _ = writeln!(out, "  not yet    {}", not_yet.join("\n             "));
        let _ = writeln!(out, "             which may be otherwise once the steps before have changed something");
    }
    for (guard, (says, reading)) in &state.watch.says {
        let _ = writeln!(out, "  guard      {guard} is {says}: {reading}");
    }
    out.push_str(&stand_ins(state));
    let _ = writeln!(out, "  review     switchover audit {run}");
    out
}
