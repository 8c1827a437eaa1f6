//! The checked runbook: a flat graph of steps with nested runbooks and `for_each` expanded, every
//! reference resolved. This is what is stored with a run and executed. Knows nothing of what has
//! happened.

mod index;
mod step;

use std::path::PathBuf;
use std::sync::Arc;

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

pub use index::Index;
pub use step::{Act, Direction, DryRun, Hold, Item, Probe, Read, Retry, Source, Step, Undo, When};

use super::action::{Argument, Value};
use super::evidence::Requires;
use super::parameter::Kind;
use super::window::Window;
use super::{Budgets, Guard, Text};

/// A runbook that passed every check, with its parameters' values.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Runbook {
    pub name: String,
    pub title: Option<Text>,
    pub description: Option<String>,
    pub owner: Option<String>,
    /// The file it was read from, as it was named.
    pub file: String,
    /// The environment chosen, if any.
    pub environment: Option<String>,
    pub locks: Vec<String>,
    /// The command that keeps the run's last hash; empty if there is none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub witness: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stand_ins: Option<StandIns>,
    /// The top runbook first, then each nested one at each place where it stands.
    pub scopes: Vec<Scope>,
    /// The template for each occasion of the run.
    pub occasions: IndexMap<String, String>,
    /// Every template that can be used, by name.
    pub templates: IndexMap<String, Template>,
    pub phases: Vec<Phase>,
    pub groups: Vec<Group>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub guards: Vec<Guard>,
    #[serde(default, skip_serializing_if = "Budgets::is_empty")]
    pub budgets: Budgets,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<Window>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requires: Option<Requires>,
    /// In an order in which each step stands after all that it needs.
    pub steps: Vec<Step>,
    #[serde(skip)]
    pub index: Index,
}

/// A step's place in [`Runbook::steps`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct StepIx(pub u32);

/// A step's full name: `cutover/point-name`, `migrate/copy[7]`, `migrate/move-db/prepare/freeze`.
pub type StepId = Arc<str>;

/// Programs that stand in for real ones.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StandIns {
    /// Where they are; whoever loads the runbook makes it absolute and lists them.
    pub folder: PathBuf,
    pub programs: Vec<String>,
}

/// The names that the steps of one runbook file see.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Scope<Ix = StepIx> {
    /// The scope of the runbook around it, in which the arguments are rendered. `None` for the top
    /// one.
    pub parent: Option<u32>,
    pub parameters: IndexMap<String, Parameter>,
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub secrets: IndexMap<String, Secret>,
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub env: IndexMap<String, Value<Text>>,
    /// The outputs of the calling runbook's steps that the arguments use.
    #[serde(default = "Vec::new", skip_serializing_if = "Vec::is_empty")]
    pub reads: Vec<Read<Ix>>,
    /// The item of the calling step's `for_each`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub item: Option<Item>,
    /// What a nested runbook is called with, as its author wrote it.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub arguments: IndexMap<String, Json>,
}

impl<Ix> Default for Scope<Ix> {
    fn default() -> Scope<Ix> {
        Scope {
            parent: None,
            parameters: IndexMap::new(),
            secrets: IndexMap::new(),
            env: IndexMap::new(),
            reads: Vec::new(),
            item: None,
            arguments: IndexMap::new(),
        }
    }
}

/// A parameter with its value: plain at the top, possibly a text over the calling scope in a nested
/// runbook.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Parameter {
    #[serde(flatten)]
    pub kind: Kind,
    pub value: Argument<Text>,
}

/// Where a secret is read from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Secret {
    Env(String),
    File(String),
    Command(Vec<String>),
    /// A step of the run leaves it in a file, named here below the folder of the run's secrets.
    Step {
        step: StepId,
        file: String,
    },
}

/// A message template: a subject line and a body.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Template {
    pub subject: Text,
    pub body: Text,
}

/// A top-level phase.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Phase {
    pub id: String,
    pub title: Option<Text>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub needs: Vec<u32>,
    /// `start`, `success` and `failure`: the template for each.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub messages: IndexMap<String, String>,
}

/// The copies of one `for_each` step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Group {
    pub id: StepId,
    pub max_parallel: Option<u32>,
    pub max_failures: u32,
}

impl Runbook {
    pub fn step(&self, ix: StepIx) -> &Step {
        &self.steps[ix.0 as usize]
    }

    pub fn ixs(&self) -> impl DoubleEndedIterator<Item = StepIx> + use<> {
        (0..self.steps.len() as u32).map(StepIx)
    }

    /// The steps that change something and say nothing about their undo.
    pub fn without_undo(&self) -> impl Iterator<Item = StepIx> + '_ {
        self.ixs().filter(|ix| self.step(*ix).undo == Undo::Unknown)
    }
}
