//! What a step means: everything about it that a run would do differently, and nothing that people only read. Two runbooks are
//! compared by it, step by step.

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};

use super::{Runbook, Source, StepIx};

/// How one runbook differs from another, for people: `p/a is new`, `p/b is gone`, `p/c does something else`.
pub fn differences(old: &Runbook, new: &Runbook) -> Vec<String> {
    let (before, after) = (by_id(old), by_id(new));
    let gone = before.keys().filter(|id| !after.contains_key(*id)).map(|id| format!("{id} is gone"));
    let come = after.keys().filter(|id| !before.contains_key(*id)).map(|id| format!("{id} is new"));
    let changed = before.iter().filter_map(|(id, meaning)| {
        let other = after.get(id)?;
        (meaning != other).then(|| format!("{id} differs in {}", keys_that_differ(meaning, other).join(", ")))
    });
    gone.chain(come).chain(changed).collect()
}

/// A step's meaning, independent of its place among the others.
pub fn meaning(runbook: &Runbook, ix: StepIx) -> Json {
    let step = runbook.step(ix);
    let id = |ix: &StepIx| runbook.step(*ix).id.to_string();
    let mut needs: Vec<String> = step.needs.iter().map(id).collect();
    needs.sort();
    let reads: BTreeMap<&str, Json> = step.reads.iter().map(|read| (read.name.as_str(), source(runbook, &read.of))).collect();
    let group = step.group.map(|group| &runbook.groups[group as usize]);
    let hold = step.hold.as_ref().map(|hold| json!({ "until": id(&hold.until), "release": hold.release }));
    json!({
        "needs": needs,
        "outputs read": reads,
        "when": step.when.iter().map(|when| when.condition.source()).collect::<Vec<_>>(),
        "for_each": step.item,
        "limits": group.map(|group| (group.max_parallel, group.max_failures)),
        "on_failure": step.on_failure,
        "downtime": step.downtime,
        "point_of_no_return": step.point_of_no_return,
        "action": step.act,
        "undo": step.undo,
        "hold": hold,
        "values": scopes(runbook, Some(step.scope)),
    })
}

fn by_id(runbook: &Runbook) -> BTreeMap<String, Json> {
    runbook.ixs().map(|ix| (runbook.step(ix).id.to_string(), meaning(runbook, ix))).collect()
}

fn source(runbook: &Runbook, source: &Source) -> Json {
    match source {
        Source::Step(ix) => json!(runbook.step(*ix).id),
        Source::Copies(copies) => copies.iter().map(|(key, ix)| (key.clone(), json!(runbook.step(*ix).id))).collect(),
    }
}

/// The parameters, secrets and variables that it sees, from its own runbook outward.
fn scopes(runbook: &Runbook, mut scope: Option<u32>) -> Vec<Json> {
    let mut all = Vec::new();
    while let Some(at) = scope {
        let found = &runbook.scopes[at as usize];
        let values: BTreeMap<&String, _> = found.parameters.iter().map(|(name, parameter)| (name, &parameter.value)).collect();
        let reads: BTreeMap<&str, Json> = found.reads.iter().map(|read| (read.name.as_str(), source(runbook, &read.of))).collect();
        all.push(json!({ "parameters": values, "secrets": found.secrets, "env": found.env, "reads": reads, "item": found.item }));
        scope = found.parent;
    }
    all
}

fn keys_that_differ(one: &Json, other: &Json) -> Vec<String> {
    let keys = one.as_object().into_iter().flatten();
    keys.filter(|(key, value)| other.get(key) != Some(value)).map(|(key, _)| key.clone()).collect()
}
