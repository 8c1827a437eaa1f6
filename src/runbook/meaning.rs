//! What a step means: everything about it that a run would do differently, and nothing that people
//! only read. Two runbooks are compared by it, step by step.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use serde_json::{Value as Json, json};

use indexmap::IndexMap;

use super::action::{Parts, Value};
use super::projection::{Projection, project};
use super::{
    Condition, Guard, Runbook, Source, Span, Step, StepIx, StepMap, Template, Text, Undo, When,
};

/// How one runbook differs from another, for people: `p/a is new`, `p/b is gone`, `p/c differs in
/// when`, `the locks differ`.
pub fn differences(old: &Runbook, new: &Runbook) -> Vec<String> {
    let (before, after) = (by_id(old), by_id(new));
    let gone =
        before.keys().filter(|id| !after.contains_key(*id)).map(|id| format!("{id} is gone"));
    let come = after.keys().filter(|id| !before.contains_key(*id)).map(|id| format!("{id} is new"));
    let changed = before.iter().filter_map(|(id, meaning)| {
        let other = after.get(id)?;
        (meaning != other)
            .then(|| format!("{id} differs in {}", keys_that_differ(meaning, other).join(", ")))
    });
    let messages = |runbook: &Runbook, other: &Runbook| {
        let stays = |id: &str| other.phases.iter().any(|phase| *phase.id == *id);
        let phases: Vec<_> = runbook
            .phases
            .iter()
            .filter(|phase| stays(&phase.id))
            .map(|phase| (&phase.id, &phase.messages))
            .collect();
        let templates: BTreeMap<_, _> = runbook
            .templates
            .iter()
            .filter(|(name, _)| other.templates.contains_key(*name))
            .collect();
        json!([templates, runbook.occasions, phases])
    };
    let guards = |runbook: &Runbook| {
        runbook.guards.iter().map(|guard| guard_meaning(runbook, guard)).collect::<Vec<_>>()
    };
    let whole = [
        ("the guards", guards(old) != guards(new)),
        ("the budgets", old.budgets != new.budgets),
        ("the estimates", !is_same_estimate(old, new)),
        ("the locks", json!(old.locks) != json!(new.locks)),
        ("the witness", json!(old.witness) != json!(new.witness)),
        ("the messages", messages(old, new) != messages(new, old)),
    ];
    let whole =
        whole.into_iter().filter(|(_, differ)| *differ).map(|(what, _)| format!("{what} differ"));
    gone.chain(come).chain(changed).chain(whole).collect()
}

/// Whether the steps that are in both should take as long.
fn is_same_estimate(old: &Runbook, new: &Runbook) -> bool {
    let (before, after) = (estimates(old), estimates(new));
    old.ixs().all(|ix| new.find(&old.step(ix).id).is_none_or(|at| before[ix] == after[at]))
}

/// A step's meaning, independent of its place among the others.
pub fn meaning(runbook: &Runbook, ix: StepIx) -> Json {
    let step = runbook.step(ix);
    let Projection {
        // The needs say it.
        phase: _,
        scope,
        needs,
        reads,
        when,
        limits,
        item,
        on_failure,
        downtime,
        point_of_no_return,
        act,
        undo,
        hold,
        // They change nothing in a run that is carried out.
        dry_run: _,
        live_test: _,
    } = project(runbook, step);
    let id = |ix: &StepIx| runbook.step(*ix).id.to_string();
    let mut needs: Vec<String> = needs.iter().map(id).collect();
    needs.sort();
    let reads: BTreeMap<&str, Json> =
        reads.iter().map(|read| (read.name.as_str(), source(runbook, &read.of))).collect();
    let hold = hold.map(|(until, release)| json!({ "until": id(&until), "release": release }));
    json!({
        "needs": needs,
        "outputs read": reads,
        "when": when.iter().map(|when| when.condition.source()).collect::<Vec<_>>(),
        "for_each": item,
        "limits": limits,
        "on_failure": on_failure,
        "downtime": downtime,
        "point_of_no_return": point_of_no_return,
        "action": act,
        "undo": undo,
        "hold": hold,
        "values": values(runbook, scope, names(step), when),
    })
}

/// What a step that tells somebody says. What was said is said: of a step that has begun it may
/// differ, and so it is no part of the step's meaning.
fn template<'a>(runbook: &'a Runbook, step: &Step) -> Option<&'a Template> {
    let named = step.act.action.parts().templates;
    named.first().and_then(|name| runbook.templates.get(*name))
}

/// A guard's meaning.
fn guard_meaning(runbook: &Runbook, guard: &Guard) -> Json {
    let id = |ix: &Option<StepIx>| ix.map(|ix| runbook.step(ix).id.to_string());
    let analysis = &guard.analysis;
    let names = names_in(&analysis.parts()).collect();
    json!({
        "name": guard.name,
        "from": id(&guard.from),
        "until": id(&guard.until),
        "analysis": analysis,
        "for": guard.lasting,
        "on_breach": guard.on_breach,
        "values": values(runbook, guard.scope, names, &[]),
    })
}

/// The terms under which each step runs: the guards that may be watched while it does, what is said
/// to people when, and what holds for the whole run.
pub struct Terms {
    whole: Json,
    /// By phase.
    messages: Vec<Json>,
    /// By step.
    guards: StepMap<Vec<Rc<Json>>>,
    estimates: StepMap<[Option<Span>; 3]>,
}

impl Terms {
    pub fn of(runbook: &Runbook) -> Terms {
        let mut guards = StepMap::filled(Vec::new(), runbook.steps.len());
        for guard in &runbook.guards {
            let meaning = Rc::new(guard_meaning(runbook, guard));
            let before = guard.from.map(|from| runbook.ancestors(from));
            let after = guard.until.map(|until| runbook.descendants(until));
            let is_in = |of: &Option<StepMap<bool>>, ix| of.as_ref().is_some_and(|of| of[ix]);
            for ix in runbook.ixs().filter(|ix| !is_in(&before, *ix) && !is_in(&after, *ix)) {
                guards[ix].push(Rc::clone(&meaning));
            }
        }
        let told = |messages: &IndexMap<String, String>| -> Json {
            messages
                .iter()
                .map(|(when, name)| (when.clone(), json!(runbook.templates.get(name))))
                .collect()
        };
        Terms {
            whole: json!([
                runbook.budgets,
                runbook.locks,
                runbook.witness,
                told(&runbook.occasions)
            ]),
            messages: runbook.phases.iter().map(|phase| told(&phase.messages)).collect(),
            guards,
            estimates: estimates(runbook),
        }
    }

    /// Whether they are the same for a step as those of another runbook for one of its steps.
    pub fn are_same(
        &self,
        (runbook, ix): (&Runbook, StepIx),
        other: &Terms,
        (of, at): (&Runbook, StepIx),
    ) -> bool {
        let phase = |runbook: &Runbook, ix| runbook.step(ix).phase as usize;
        self.whole == other.whole
            && self.messages[phase(runbook, ix)] == other.messages[phase(of, at)]
            && self.guards[ix] == other.guards[at]
            && self.estimates[ix] == other.estimates[at]
            && template(runbook, runbook.step(ix)) == template(of, of.step(at))
    }
}

/// How long each step should take, if that decides anything: when a budget is breached.
fn estimates(runbook: &Runbook) -> StepMap<[Option<Span>; 3]> {
    let of = |ix| {
        let step = runbook.step(ix);
        [step.estimate, step.undo_estimate, step.hold.as_ref().and_then(|hold| hold.estimate)]
    };
    let decides = !runbook.budgets.is_empty();
    runbook.ixs().map(|ix| if decides { of(ix) } else { [None; 3] }).collect()
}

/// The first names of all references in what a step does, and its secrets.
fn names(step: &Step) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let undo = if let Undo::Act(act) = &step.undo { Some(&**act) } else { None };
    let acts = [Some(&step.act), undo, step.hold.as_ref().map(|hold| &*hold.release)];
    for act in acts.into_iter().flatten() {
        names.extend(names_in(&act.action.parts()));
        names.extend(act.env.values().filter_map(Value::text).flat_map(first_names));
        names.extend(act.env.values().filter_map(Value::secret).map(str::to_owned));
        names.extend(act.expect.iter().chain(act.capture.values()).flat_map(first_names_of));
        if let Some(probe) = &act.probe {
            names.extend(probe.action.texts().into_iter().flat_map(first_names));
            names.extend([&probe.done, &probe.not_done].into_iter().flat_map(first_names_of));
        }
    }
    names
}

/// The same of what stands in an action or a reading.
fn names_in(parts: &Parts<'_, Text>) -> impl Iterator<Item = String> {
    let Parts { texts, conditions, secrets, templates: _ } = parts;
    texts
        .iter()
        .flat_map(|text| first_names(text))
        .chain(conditions.iter().flat_map(|condition| first_names_of(condition)))
        .chain(secrets.iter().map(|name| (*name).to_owned()))
}

fn first_names(text: &Text) -> Vec<String> {
    text.references().into_iter().filter_map(|reference| reference.into_iter().next()).collect()
}

fn first_names_of(condition: &Condition) -> Vec<String> {
    condition
        .references()
        .into_iter()
        .filter_map(|reference| reference.into_iter().next())
        .collect()
}

fn by_id(runbook: &Runbook) -> BTreeMap<String, Json> {
    runbook.ixs().map(|ix| (runbook.step(ix).id.to_string(), meaning(runbook, ix))).collect()
}

fn source(runbook: &Runbook, source: &Source) -> Json {
    match source {
        Source::Step(ix) => json!(runbook.step(*ix).id),
        Source::Copies(copies) => {
            copies.iter().map(|(key, ix)| (key.clone(), json!(runbook.step(*ix).id))).collect()
        }
    }
}

/// The values of these parameters, and the runbook's variables and secrets, from its own runbook
/// outward.
fn values(runbook: &Runbook, scope: u32, mut names: BTreeSet<String>, when: &[When]) -> Vec<Json> {
    let (mut all, mut scope) = (Vec::new(), Some(scope));
    while let Some(at) = scope {
        let found = &runbook.scopes[at as usize];
        // A condition may come from any of the runbooks around.
        names.extend(when.iter().flat_map(|when| first_names_of(&when.condition)));
        names.extend(found.env.values().filter_map(Value::text).flat_map(first_names));
        names.extend(found.env.values().filter_map(Value::secret).map(str::to_owned));
        let secrets: BTreeMap<&String, _> =
            found.secrets.iter().filter(|(name, _)| names.contains(*name)).collect();
        let values: BTreeMap<&String, _> = found
            .parameters
            .iter()
            .filter(|(name, _)| names.contains(*name))
            .map(|(name, parameter)| (name, &parameter.value))
            .collect();
        let reads: BTreeMap<&str, Json> = found
            .reads
            .iter()
            .map(|read| (read.name.as_str(), source(runbook, &read.of)))
            .collect();
        // What the values of a nested runbook are made of is in the scope around it.
        names = values.values().flat_map(|value| value.texts()).flat_map(first_names).collect();
        all.push(json!({
            "parameters": values,
            "secrets": secrets,
            "env": found.env,
            "reads": reads,
            "item": found.item,
        }));
        scope = found.parent;
    }
    all
}

fn keys_that_differ(one: &Json, other: &Json) -> Vec<String> {
    let keys = one.as_object().into_iter().flatten();
    keys.filter(|(key, value)| other.get(key) != Some(value)).map(|(key, _)| key.clone()).collect()
}
