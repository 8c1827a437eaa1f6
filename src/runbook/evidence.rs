//! What must have been shown before a runbook may be run in an environment, and what of a runbook it must have been shown of: its
//! steps as they are written, whatever the environment's values.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};

use super::raw::OneOrMany;
use super::{Runbook, Span};

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

impl RawRequires {
    /// What it says.
    ///
    /// # Errors
    /// If `dry_run` is not `within` a length of time.
    pub fn checked(&self) -> Result<Requires, String> {
        let within = |text: &String| {
            let span = text.strip_prefix("within ").ok_or_else(|| format!("`{text}` is not understood; write `within 24h`"))?;
            span.parse::<Span>().map_err(|error| error.to_string())
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

/// Each step as its author wrote it, by its name without the items that it is copied for: the same in every environment, and
/// different if what a run does is.
pub fn substance(runbook: &Runbook) -> BTreeMap<String, Json> {
    let mut all = BTreeMap::new();
    for step in &runbook.steps {
        let when: Vec<&str> = step.when.iter().map(|when| when.condition.source()).collect();
        let means = json!({
            "action": step.act, "undo": step.undo, "hold": step.hold.as_ref().map(|hold| &hold.release), "when": when, "dry_run": step.dry_run,
            "on_failure": step.on_failure, "downtime": step.downtime, "point_of_no_return": step.point_of_no_return,
            "title": step.title, "role": step.role,
        });
        all.entry(without_items(&step.id)).or_insert(means);
    }
    for guard in &runbook.guards {
        all.insert(format!("the guard {}", guard.name), json!({ "reads": guard.analysis, "for": guard.lasting, "then": guard.on_breach }));
    }
    all
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
