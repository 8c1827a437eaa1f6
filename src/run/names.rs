//! The values that a step's texts and conditions see: parameters, outputs of earlier steps, the
//! run. Made from the journaled facts alone, so that an undo sees what the step saw.

use serde_json::{Map, Value as Json, json};

use super::event::outputs_json;
use super::state::RunState;
use crate::runbook::{Direction, Item, Read, Source, StepIx, When, coerce};

/// The names for the texts of a step.
pub fn of_step(state: &RunState, ix: StepIx, direction: Direction) -> Json {
    let step = state.runbook.step(ix);
    let mut names = scope(state, step.scope);
    add_reads(state, &step.reads, &mut names);
    add_item(step.item.as_ref(), &mut names);
    names.insert("run".into(), run(state));
    names.insert("outputs".into(), outputs_json(&state.step(ix).outputs));
    names.insert("attempt".into(), (state.attempts(ix, direction) + 1).into());
    Json::Object(names)
}

/// The names for a condition on whether a step is to be done.
pub fn of_when(state: &RunState, when: &When) -> Json {
    let mut names = scope(state, when.scope);
    add_reads(state, &when.reads, &mut names);
    add_item(when.item.as_ref(), &mut names);
    names.insert("run".into(), run(state));
    Json::Object(names)
}

/// The names for what stands beside the steps of a file.
pub fn of_scope(state: &RunState, scope_ix: u32) -> Json {
    let mut names = scope(state, scope_ix);
    names.insert("run".into(), run(state));
    Json::Object(names)
}

/// The run itself.
pub fn run(state: &RunState) -> Json {
    json!({
        "id": state.started.run,
        "name": state.started.name.as_deref().unwrap_or(&state.started.run),
        "operator": state.started.operator.0,
        "environment": state.started.environment.as_deref().unwrap_or(""),
        "started": state.began.to_string(),
    })
}

fn scope(state: &RunState, scope_ix: u32) -> Map<String, Json> {
    let scope_of = &state.runbook.scopes[scope_ix as usize];
    let mut names = Map::new();
    let mut outside: Option<Json> = None;
    for (name, parameter) in &scope_of.parameters {
        let value = match &parameter.value {
            crate::runbook::action::Argument::Plain(value) => Some(value.clone()),
            late => {
                let outer = outside.get_or_insert_with(|| {
                    let mut outer =
                        scope_of.parent.map(|parent| scope(state, parent)).unwrap_or_default();
                    add_reads(state, &scope_of.reads, &mut outer);
                    add_item(scope_of.item.as_ref(), &mut outer);
                    outer.insert("run".into(), run(state));
                    Json::Object(outer)
                });
                // What has no value yet stays undefined: using it is then the error, at the place
                // where it is used.
                late.value(outer).ok().and_then(|value| coerce(&parameter.kind, value).ok())
            }
        };
        if let Some(value) = value {
            names.insert(name.clone(), value);
        }
    }
    names
}

fn add_reads(state: &RunState, reads: &[Read], names: &mut Map<String, Json>) {
    let outputs = |ix: StepIx| outputs_json(&state.step(ix).outputs);
    let steps = reads.iter().map(|read| {
        let value = match &read.of {
            Source::Step(ix) => outputs(*ix),
            Source::Copies(copies) => {
                Json::Object(copies.iter().map(|(key, ix)| (key.clone(), outputs(*ix))).collect())
            }
        };
        (read.name.clone(), value)
    });
    names.insert("steps".into(), Json::Object(steps.collect()));
}

fn add_item(item: Option<&Item>, names: &mut Map<String, Json>) {
    if let Some(item) = item {
        names.insert("item".into(), item.value.clone());
        names.insert("key".into(), item.key.clone().into());
    }
}
