//! Something that a person does, and what they tell about it.

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::facts::{ByItself, Commands, DoneBy, Facts, InDryRun, Inverse, Lasts};
use super::walk::Walk;
use crate::runbook::Text;
use crate::runbook::convert::text;
use crate::runbook::parameter::Kind;
use crate::runbook::raw::ParameterKind;

/// Something that a person does.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum RawTask {
    Instructions(#[schemars(extend("format" = "template"))] String),
    Map(RawTaskMap),
}

/// Something that a person does, and what they tell about it.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct RawTaskMap {
    /// What to do.
    #[schemars(extend("format" = "template"))]
    pub instructions: String,
    /// What the person fills in, kept as outputs.
    #[serde(default)]
    pub fields: IndexMap<String, RawField>,
}

/// One thing that a person fills in.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct RawField {
    /// What kind of value it takes.
    #[serde(rename = "type", default)]
    pub kind: ParameterKind,
    /// What it is for.
    pub description: Option<String>,
    /// The values allowed.
    #[serde(rename = "enum")]
    pub allowed: Option<Vec<Json>>,
    /// A regular expression that the whole text must match.
    #[schemars(extend("format" = "regex"))]
    pub pattern: Option<String>,
    /// Whether it must be filled in. Default true.
    pub required: Option<bool>,
}

/// Something that a person does, and what they tell about it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Task<T> {
    pub instructions: T,
    #[serde(default = "IndexMap::new", skip_serializing_if = "IndexMap::is_empty")]
    pub fields: IndexMap<String, Kind>,
}

impl From<&RawField> for Kind {
    fn from(raw: &RawField) -> Kind {
        Kind {
            kind: raw.kind,
            allowed: raw.allowed.clone(),
            pattern: raw.pattern.clone(),
            description: raw.description.clone(),
            required: raw.required.unwrap_or(true),
        }
    }
}

pub fn converted(raw: &RawTask) -> Task<Text> {
    match raw {
        RawTask::Instructions(words) => Task { instructions: text(words), fields: IndexMap::new() },
        RawTask::Map(map) => Task {
            instructions: text(&map.instructions),
            fields: map
                .fields
                .iter()
                .map(|(name, field)| (name.clone(), Kind::from(field)))
                .collect(),
        },
    }
}

impl<T> Task<T> {
    pub fn facts(&self) -> Facts<'_, T> {
        Facts {
            only_reads: false,
            can_be_a_reading: false,
            is_idempotent: false,
            done_by: DoneBy::TASK,
            inverse: Inverse::UpToTheAuthor,
            takes_back: false,
            results: &[],
            lasts: Lasts::Unsaid,
            may_hang: false,
            commands: Commands::None,
            has_logs: false,
            decides: false,
            dry_run: InDryRun { by_itself: ByItself::Looks, may_do_the_same: false },
        }
    }
}

impl<T> Task<T> {
    pub fn try_map<'a, W: Walk<'a, T>>(&'a self, walk: &mut W) -> Result<Task<W::Text>, W::Error> {
        let Task { instructions, fields } = self;
        Ok(Task { instructions: walk.text(instructions)?, fields: fields.clone() })
    }
}

impl Task<String> {
    pub fn in_words(&self) -> String {
        self.instructions.clone()
    }
}
