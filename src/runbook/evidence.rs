//! What must have been shown before a runbook may be run in an environment, and what of a runbook
//! it must have been shown of: its steps as they are written, whatever the environment's values.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};

use super::action::DoneBy;
use super::projection::{Projection, project};
use super::raw::OneOrMany;
use super::span::SpanError;
use super::{Runbook, Scope, Source, Span, Step, StepIx};

/// What must have been shown before, by runs of the same steps in the same journal.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct RawRequires {
    /// How many rehearsals in this environment, with every mishap, whose smooth run finished.
    pub rehearsals: Option<u32>,
    /// How old the last good dry run in this environment may be, as `within 24h`.
    #[schemars(regex(pattern = r"^within \d"))]
    pub dry_run: Option<String>,
    /// The environments in which a run of it must have finished.
    pub succeeded_in: Option<OneOrMany>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Requires {
    #[serde(default)]
    pub rehearsals: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dry_run: Option<Span>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub succeeded_in: Vec<String>,
}

/// Why it is not understood what is required.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequiresError {
    #[error("`{0}` is not understood; write `within 24h`")]
    NotWithin(String),
    #[error(transparent)]
    NoSpan(#[from] SpanError),
}

impl RawRequires {
    /// What it says.
    ///
    /// # Errors
    /// If `dry_run` is not `within` a length of time.
    pub fn checked(&self) -> Result<Requires, RequiresError> {
        let within = |text: &String| {
            let span = text
                .strip_prefix("within ")
                .ok_or_else(|| RequiresError::NotWithin(text.clone()))?;
            Ok::<Span, RequiresError>(span.parse()?)
        };
        Ok(Requires {
            rehearsals: self.rehearsals.unwrap_or_default(),
            dry_run: self.dry_run.as_ref().map(within).transpose()?,
            succeeded_in: match &self.succeeded_in {
                None => Vec::new(),
                Some(OneOrMany::One(one)) => vec![one.clone()],
                Some(OneOrMany::Many(many)) => many.clone(),
            },
        })
    }
}

/// Each step as its author wrote it, by its name without the items that it is copied for: the same
/// whatever the values of an environment, and different if what a run does is. What people only
/// read does not count.
pub fn substance(runbook: &Runbook) -> BTreeMap<String, Json> {
    let mut all: BTreeMap<String, Json> = BTreeMap::new();
    let mut needs: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let name = |ix: &StepIx| without_items(&runbook.step(*ix).id);
    for step in &runbook.steps {
        let own = without_items(&step.id);
        // How many copies there are, and which of them wait for each other, is the environment's.
        let is_other = |need: &String| *need != own && !own.starts_with(&format!("{need}/"));
        needs.entry(own.clone()).or_default().extend(step.needs.iter().map(name).filter(is_other));
        all.entry(own).or_insert_with(|| of_step(runbook, step));
    }
    for (step, means) in &mut all {
        means["needs"] = json!(needs.remove(step));
    }
    for guard in &runbook.guards {
        let around = [guard.from.as_ref().map(name), guard.until.as_ref().map(name)];
        let means = json!({
            "reads": guard.analysis,
            "for": guard.lasting,
            "then": guard.on_breach,
            "around": around,
        });
        all.insert(format!("the guard {}", without_items(&guard.name)), means);
    }
    let top = &runbook.scopes[0];
    all.insert(
        "the runbook".to_owned(),
        json!({ "env": top.env, "secrets": top.secrets, "budgets": runbook.budgets }),
    );
    all
}

fn of_step(runbook: &Runbook, step: &Step) -> Json {
    let Projection {
        phase,
        scope,
        // Of all copies of the step together.
        needs: _,
        reads,
        when,
        limits,
        // The environment's.
        item: _,
        on_failure,
        downtime,
        point_of_no_return,
        act,
        undo,
        hold,
        dry_run,
        live_test,
    } = project(runbook, step);
    let name = |ix: &StepIx| without_items(&runbook.step(*ix).id);
    let when: Vec<&str> = when.iter().map(|when| when.condition.source()).collect();
    let reads = reads.iter().map(|read| {
        let of = match &read.of {
            Source::Step(ix) => name(ix),
            Source::Copies(copies) => copies.values().next().map(name).unwrap_or_default(),
        };
        (&read.name, of)
    });
    // The end of a nested runbook stands for what it is called with.
    let scope =
        Some(&runbook.scopes[scope as usize]).filter(|_| act.action.done_by() == DoneBy::Nobody);
    json!({
        "phase": phase,
        "reads": reads.collect::<BTreeMap<_, _>>(),
        "when": when,
        "limits": limits,
        "on_failure": on_failure,
        "downtime": downtime,
        "point_of_no_return": point_of_no_return,
        "action": act,
        "undo": undo,
        "hold": hold.map(|(until, release)| (name(&until), release)),
        "dry_run": dry_run,
        "live_test": live_test,
        "nested": scope.map(nested),
    })
}

/// What a nested runbook is called with.
fn nested(scope: &Scope) -> Json {
    let Scope { arguments, env, secrets, .. } = scope;
    json!({ "arguments": arguments, "env": env, "secrets": secrets })
}

/// The steps that are not the same in both, or only in one.
pub fn changed(one: &Runbook, other: &Runbook) -> Vec<String> {
    let (one, other) = (substance(one), substance(other));
    let names = one.keys().chain(other.keys().filter(|name| !one.contains_key(*name)));
    names.filter(|name| one.get(*name) != other.get(*name)).cloned().collect()
}

fn without_items(id: &str) -> String {
    let mut out = String::with_capacity(id.len());
    let mut depth = 0u32;
    for c in id.chars() {
        match c {
            '[' => depth += 1,
            ']' => depth = depth.saturating_sub(1),
            c if depth == 0 => out.push(c),
            _ => {}
        }
    }
    out
}
