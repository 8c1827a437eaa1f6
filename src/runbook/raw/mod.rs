//! The shapes that an author writes around actions, key by key. Their doc comments become the JSON
//! Schema's descriptions, and the schema is what files are checked against: a key is described in
//! one place. Knows nothing of what the keys mean.

mod definition;
mod message;
mod step;

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value as Json;

pub use definition::{ParameterKind, RawParameter, RawSecret};
pub use message::{RawOccasions, RawPhaseMessages};
pub use step::{Downtime, OnFailure};
pub use step::{
    DryRunWord, OneOrMany, RawAct, RawDryRun, RawForEach, RawItems, RawNested, RawProbe, RawRead,
    RawStep, RawUndo,
};

use super::action::RawValue;
use super::database::RawDatabase;
use super::evidence::RawRequires;
use super::sides::RawSides;
use super::traffic::RawTraffic;
use super::watch::{RawBudgets, RawGuard};
use super::window::RawWindow;
use super::zone::raw::RawZone;

/// A migration runbook: phases of steps, executed in the order of what they need.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct RawRunbook {
    /// The runbook's name: letters, digits and dashes.
    #[schemars(extend("format" = "id"))]
    pub runbook: String,
    /// One line that people read.
    #[schemars(extend("format" = "template"))]
    pub title: Option<String>,
    /// What this migration does and why.
    pub description: Option<String>,
    /// The team that answers for it.
    pub owner: Option<String>,
    /// What may differ from run to run, by name.
    #[serde(default)]
    pub parameters: IndexMap<String, RawParameter>,
    /// Secrets by name, and where each is read from. Their values are never stored.
    #[serde(default)]
    pub secrets: IndexMap<String, RawSecret>,
    /// Databases by the names that steps use for them.
    #[serde(default)]
    pub databases: IndexMap<String, RawDatabase>,
    /// What divides traffic between an old and a new side, by the names that steps use for it.
    #[serde(default)]
    pub traffic: IndexMap<String, RawTraffic>,
    /// Zones of the DNS by the names that steps use for them.
    #[serde(default)]
    pub zones: IndexMap<String, RawZone>,
    /// Named sets of parameter values, chosen with `--env`.
    #[serde(default)]
    pub environments: IndexMap<String, RawEnvironment>,
    /// When it may be begun, and within which time it must fit.
    pub window: Option<RawWindow>,
    /// The parameters of the old and of the new side, which a live test swaps. With it, each step
    /// that changes something says what a live test does with it.
    pub sides: Option<RawSides>,
    /// What no two runs of one journal may hold at once.
    #[serde(default)]
    pub locks: Vec<String>,
    /// A command, word by word, that reads the number and hash of each event of the run when a
    /// session begins and when it ends, and refuses a session whose log does not have the last one
    /// it knows. Of nested runbooks only the top one's counts.
    #[serde(default)]
    pub witness: Vec<String>,
    /// A folder, beside this file, with programs that stand in for real ones, as in a lab: every
    /// command of the run finds them first. Empty: none. Of nested runbooks only the top one's
    /// counts.
    #[schemars(extend("format" = "template"))]
    pub stand_ins: Option<String>,
    /// Environment variables for every command of the runbook.
    #[serde(default)]
    pub env: IndexMap<String, RawValue>,
    /// The template to send at each occasion of the whole run.
    #[serde(default)]
    pub messages: RawOccasions,
    /// What is watched from one step to another, by name, and what follows if it goes wrong.
    #[serde(default)]
    pub guards: IndexMap<String, RawGuard>,
    /// How long the migration may take: production down, the way back, all of it.
    #[serde(default)]
    pub budgets: RawBudgets,
    /// The phases by id, in order. A phase waits for the one above it, unless it says `needs`.
    pub phases: IndexMap<String, RawPhase>,
}

/// Values of parameters, and what must have been shown before a run with them.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct RawEnvironment {
    /// What runs of the same steps must have shown before.
    pub requires: Option<RawRequires>,
    #[serde(flatten)]
    pub values: IndexMap<String, Json>,
}

/// A phase of the migration.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct RawPhase {
    /// One line that people read.
    #[schemars(extend("format" = "template"))]
    pub title: Option<String>,
    /// The phases it waits for, instead of the one above it.
    pub needs: Option<Vec<String>>,
    /// Templates to send when the phase starts, succeeds or fails.
    #[serde(default)]
    pub messages: RawPhaseMessages,
    /// The steps by id, in order. A step waits for the one above it, unless it says `needs`.
    pub steps: IndexMap<String, RawStep>,
}
