//! The documented JSON shapes: events as JSON Lines, and the status of a run.

use std::io::Write;

use serde_json::{Value as Json, json};

use crate::message::json_shown;
use crate::run::*;
use crate::runbook::Direction;

/// Prints each event as one line of JSON on standard output, after its commit.
#[derive(Debug)]
pub struct JsonLines;

impl Observer for JsonLines {
    fn event(&mut self, _: &RunState, event: &Event) {
        // A reader that went away must not stop a migration.
        let line = serde_json::to_string(event).unwrap_or_default();
        let _ = writeln!(std::io::stdout().lock(), "{}", json_shown(&line));
    }
}

/// A run as it stands: the shape of `status --format json`.
pub fn status_json(state: &RunState, now: Moment) -> Json {
    let runbook = &state.runbook;
    let steps: Vec<Json> = runbook
        .ixs()
        .map(|ix| {
            let (step, now_at) = (runbook.step(ix), state.step(ix));
            let error =
                Direction::ALL.iter().find_map(|direction| match state.track(ix, *direction) {
                    Track::Failed { failure, .. } | Track::Retrying { failure, .. } => {
                        Some(failure.message.clone())
                    }
                    _ => None,
                });
            json!({
                "id": step.id,
                "phase": runbook.phases[step.phase as usize].id,
                "action": step.act.action.kind(),
                "state": now_at.word(),
                "attempts": state.attempts(ix, Direction::Forward),
                "started": now_at.started,
                "finished": now_at.finished,
                "outputs": outputs_json(&now_at.outputs),
                "error": error,
                "cursor": state.cursor(ix, Direction::Forward),
            })
        })
        .collect();
    let direction = match state.mode {
        Mode::Forward => "forward",
        Mode::RollingBack => "rolling back",
        Mode::Cancelling => "cancelling",
    };
    json!({
        "run": state.started.run,
        "name": state.started.name,
        "runbook": runbook.name,
        "environment": state.started.environment,
        "purpose": state.started.purpose,
        "operator": state.started.operator,
        "began": state.began,
        "last": state.last,
        "events": state.head,
        "direction": direction,
        "ended": state.ended,
        "stopped": state.stopped,
        "steps_done": runbook.steps.len() - state.unsettled(),
        "steps_total": runbook.steps.len(),
        "downtime_ms": state.downtime_until(now).as_millis(),
        "is_down": state.down_since.is_some(),
        "breached": state.watch.breached,
        "guards": state.watch.says.iter()
            .map(|(guard, (says, reading))| (guard, json!({ "says": says, "reading": reading })))
            .collect::<std::collections::BTreeMap<_, _>>(),
        "void": state.void().map(|ix| &runbook.step(ix).id).collect::<Vec<_>>(),
        "steps": steps,
    })
}
