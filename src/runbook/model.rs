//! The checked runbook: a flat graph of steps with nested runbooks and `for_each` expanded, every
//! reference resolved. This is what is stored with a run and executed. Knows nothing of what has
//! happened.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::action::{Action, Argument, DoneBy, Value};
use super::evidence::Requires;
use super::parameter::Kind;
use super::raw::{Downtime, OnFailure};
use super::sides::LiveTest;
use super::window::Window;
use super::{Budgets, Condition, Guard, Span, StepMap, Text};

/// A step's place in [`Runbook::steps`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct StepIx(pub u32);

/// A step's full name: `cutover/point-name`, `migrate/copy[7]`, `migrate/move-db/prepare/freeze`.
pub type StepId = Arc<str>;

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

/// Programs that stand in for real ones.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StandIns {
    /// Where they are; whoever loads the runbook makes it absolute and lists them.
    pub folder: PathBuf,
    pub programs: Vec<String>,
}

/// The names that the steps of one runbook file see.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Scope {
    /// The scope of the runbook around it, in which the arguments are rendered. `None` for the top
    /// one.
    pub parent: Option<u32>,
    pub parameters: IndexMap<String, Parameter>,
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub secrets: IndexMap<String, Secret>,
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub env: IndexMap<String, Value<Text>>,
    /// The outputs of the calling runbook's steps that the arguments use.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reads: Vec<Read>,
    /// The item of the calling step's `for_each`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub item: Option<Item>,
    /// What a nested runbook is called with, as its author wrote it.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub arguments: IndexMap<String, Json>,
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

/// One item that a copy of a step stands for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Item {
    pub key: String,
    pub value: Json,
}

/// An earlier step whose outputs are read, under the name by which it is read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Read {
    pub name: String,
    /// The step, or the copies of a `for_each` step by key.
    pub of: Source,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Source {
    Step(StepIx),
    Copies(IndexMap<String, StepIx>),
}

/// One step of the flat graph.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Step {
    pub id: StepId,
    /// Line in the file of its runbook, and that file's name.
    pub line: u32,
    pub file: Arc<str>,
    pub phase: u32,
    pub scope: u32,
    pub needs: Vec<StepIx>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reads: Vec<Read>,
    /// Its conditions, those of the runbook steps around it first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub when: Vec<When>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub item: Option<Item>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<Text>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<Text>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hints: Vec<Text>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub estimate: Option<Span>,
    /// One of its conditions does not hold by the parameters alone: it is passed over for certain.
    #[serde(default, skip_serializing_if = "is_default")]
    pub ruled_out: bool,
    #[serde(default, skip_serializing_if = "is_default")]
    pub on_failure: OnFailure,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub downtime: Option<Downtime>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub point_of_no_return: bool,
    pub act: Act,
    #[serde(default, skip_serializing_if = "is_default")]
    pub undo: Undo,
    /// How long its undo should take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undo_estimate: Option<Span>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<Hold>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub dry_run: DryRun,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub live_test: Option<LiveTest>,
}

/// What a dry run does in a step's place.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DryRun {
    /// It looks as far as the action can by itself.
    #[default]
    Look,
    /// The step only reads: it is carried out.
    Same,
    /// Nothing can be looked at before.
    Nothing,
    Act(Box<Act>),
}

/// An action and how it is carried out: forward, as an undo, or as a release.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Act {
    pub action: Action<Text>,
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub env: IndexMap<String, Value<Text>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Span>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<Retry>,
    /// Declared so, or known so because the action only reads.
    pub idempotent: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probe: Option<Probe>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub expect: Vec<Condition>,
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub capture: IndexMap<String, Condition>,
}

impl Act {
    /// The names of the secrets that it is given.
    pub fn secrets(&self) -> impl Iterator<Item = &str> {
        let probe = self.probe.iter().flat_map(|probe| probe.action.secrets());
        self.env.values().filter_map(Value::secret).chain(self.action.secrets()).chain(probe)
    }

    /// The longest that its attempts together may take; `None` without a timeout.
    pub fn most(&self) -> Option<Span> {
        let attempts = self.retry.as_ref().map_or(1, |retry| retry.attempts);
        self.timeout
            .map(|timeout| Span::from_millis(timeout.as_millis() * u64::from(attempts.max(1))))
    }
}

/// How a step is taken back.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Undo {
    /// The author did not say, and the action does not know its inverse: a rollback stops here and
    /// asks.
    #[default]
    Unknown,
    /// There is nothing to take back: the author says so, or the action only reads.
    Nothing,
    Act(Box<Act>),
}

/// When and how often an attempt is repeated.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Retry {
    pub attempts: u32,
    pub backoff: Span,
    pub max_backoff: Span,
    pub jitter: f64,
}

/// A read-only action and the two conditions on its result.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Probe {
    pub action: Action<Text>,
    pub done: Condition,
    pub not_done: Condition,
}

/// Up to which step a change is held, and how it is released.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Hold {
    pub until: StepIx,
    pub release: Box<Act>,
    /// How long releasing it should take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub estimate: Option<Span>,
}

/// A condition with the names it sees.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct When {
    pub scope: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub item: Option<Item>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reads: Vec<Read>,
    pub condition: Condition,
}

/// Which way an action goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    Forward,
    Undo,
    Release,
}

/// What can be derived from the steps: made once after reading.
#[derive(Debug, Clone, Default)]
pub struct Index {
    by_id: HashMap<StepId, StepIx>,
    /// For each step, the steps that need it: one flat list and where each step's part begins.
    dependents: Vec<StepIx>,
    starts: Vec<u32>,
    /// How many steps each phase has.
    sizes: Vec<usize>,
    /// The sum of estimates along the critical path.
    estimate: Span,
    /// The steps that a person does or decides.
    for_people: Vec<StepIx>,
}

impl PartialEq for Index {
    fn eq(&self, _: &Index) -> bool {
        true // derived from the steps, which are compared
    }
}

impl Runbook {
    /// Derives the index; to be called once after building or deserializing.
    pub fn with_index(mut self) -> Runbook {
        let count = self.steps.len();
        let mut starts = vec![0u32; count + 1];
        for need in self.steps.iter().flat_map(|step| &step.needs) {
            starts[need.0 as usize + 1] += 1;
        }
        for at in 0..count {
            starts[at + 1] += starts[at];
        }
        let mut next = starts.clone();
        let mut dependents = vec![StepIx(0); starts[count] as usize];
        for (ix, step) in self.steps.iter().enumerate() {
            for need in &step.needs {
                let slot = &mut next[need.0 as usize];
                dependents[*slot as usize] = StepIx(ix as u32);
                *slot += 1;
            }
        }
        let by_id = self
            .steps
            .iter()
            .enumerate()
            .map(|(ix, step)| (step.id.clone(), StepIx(ix as u32)))
            .collect();
        let mut sizes = vec![0; self.phases.len()];
        for step in &self.steps {
            sizes[step.phase as usize] += 1;
        }
        let estimate = super::graph::critical_path(&self).1;
        let for_people =
            self.ixs().filter(|ix| self.step(*ix).act.action.is_for_a_person()).collect();
        self.index = Index { by_id, dependents, starts, sizes, estimate, for_people };
        self
    }

    /// The sum of estimates along the critical path.
    pub fn estimate(&self) -> Span {
        self.index.estimate
    }

    /// How many steps a phase has.
    pub fn size_of(&self, phase: u32) -> usize {
        self.index.sizes.get(phase as usize).copied().unwrap_or_default()
    }

    /// The steps that a person does or decides, in order of execution.
    pub fn for_people(&self) -> &[StepIx] {
        &self.index.for_people
    }

    pub fn step(&self, ix: StepIx) -> &Step {
        &self.steps[ix.0 as usize]
    }

    pub fn ixs(&self) -> impl DoubleEndedIterator<Item = StepIx> + use<> {
        (0..self.steps.len() as u32).map(StepIx)
    }

    /// The step with exactly this id.
    pub fn find(&self, id: &str) -> Option<StepIx> {
        self.index.by_id.get(id).copied()
    }

    /// The steps that need `ix` directly.
    pub fn dependents(&self, ix: StepIx) -> &[StepIx] {
        let at = ix.0 as usize;
        &self.index.dependents[self.index.starts[at] as usize..self.index.starts[at + 1] as usize]
    }

    /// Everything that needs `ix`, directly or not, without `ix` itself.
    pub fn descendants(&self, ix: StepIx) -> StepMap<bool> {
        self.reach(ix, |at| self.dependents(at))
    }

    /// Everything that `ix` needs, directly or not, without `ix` itself.
    pub fn ancestors(&self, ix: StepIx) -> StepMap<bool> {
        self.reach(ix, |at| &self.step(at).needs)
    }

    fn reach<'a>(&'a self, from: StepIx, next: impl Fn(StepIx) -> &'a [StepIx]) -> StepMap<bool> {
        let mut reached = StepMap::filled(false, self.steps.len());
        let mut waiting = vec![from];
        while let Some(at) = waiting.pop() {
            for &neighbour in next(at) {
                if !std::mem::replace(&mut reached[neighbour], true) {
                    waiting.push(neighbour);
                }
            }
        }
        reached
    }

    /// The step that a person means: its whole id, or the end of it if that is unique
    /// (`point-name`, `copy[7]`).
    ///
    /// # Errors
    /// The candidates, if several end so; the nearest names, if none does.
    pub fn find_by_suffix(&self, name: &str) -> Result<StepIx, String> {
        if let Some(ix) = self.find(name) {
            return Ok(ix);
        }
        let ends = |id: &str| id.strip_suffix(name).is_some_and(|rest| rest.ends_with('/'));
        let found: Vec<StepIx> = self.ixs().filter(|ix| ends(&self.step(*ix).id)).collect();
        match found.as_slice() {
            [only] => Ok(*only),
            [] => {
                let last =
                    |ix: StepIx| self.step(ix).id.rsplit('/').next().unwrap_or_default().to_owned();
                let names: Vec<String> = self.ixs().map(last).collect();
                let hint = super::problem::nearest(name, names.iter().map(String::as_str))
                    .map(|near| format!("; did you mean `{near}`?"));
                Err(format!(
                    "there is no step `{name}` in this runbook{}",
                    hint.unwrap_or_default()
                ))
            }
            several => {
                let list: Vec<&str> =
                    several.iter().take(5).map(|ix| &*self.step(*ix).id).collect();
                Err(format!(
                    "`{name}` could be any of {} steps, among them {}",
                    several.len(),
                    list.join(", ")
                ))
            }
        }
    }

    /// The steps that change something and say nothing about their undo.
    pub fn without_undo(&self) -> impl Iterator<Item = StepIx> + '_ {
        self.ixs().filter(|ix| self.step(*ix).undo == Undo::Unknown)
    }
}

impl Step {
    /// The action of a direction, if the step has one.
    pub fn act(&self, direction: Direction) -> Option<&Act> {
        match (direction, &self.undo, &self.hold) {
            (Direction::Forward, ..) => Some(&self.act),
            (Direction::Undo, Undo::Act(act), _) => Some(act),
            (Direction::Release, _, Some(hold)) => Some(&hold.release),
            _ => None,
        }
    }

    /// Whether it changes something outside.
    pub fn changes(&self) -> bool {
        !self.act.action.only_reads()
            && self.dry_run != DryRun::Same
            && self.act.action.done_by() != DoneBy::Messenger
    }

    /// What its author says that it takes; nothing, if it is passed over for certain.
    pub fn estimated(&self) -> Span {
        self.estimate.filter(|_| !self.ruled_out).unwrap_or_default()
    }

    /// The last part of its id.
    pub fn name(&self) -> &str {
        let at = self.id.rfind('/').map_or(0, |at| at + 1);
        &self.id[at..]
    }
}

impl Direction {
    pub const ALL: [Direction; 3] = [Direction::Forward, Direction::Undo, Direction::Release];

    pub fn word(self) -> &'static str {
        match self {
            Direction::Forward => "forward",
            Direction::Undo => "undo",
            Direction::Release => "release",
        }
    }
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
