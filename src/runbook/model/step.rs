//! A step of the flat graph: its action, and what stands around it.

use std::sync::Arc;

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::{StepId, StepIx};
use crate::runbook::action::{Action, DoneBy, Value, none};
use crate::runbook::raw::{Downtime, OnFailure};
use crate::runbook::sides::LiveTest;
use crate::runbook::{Condition, Span, Text};

/// One step of the flat graph. `Ix` is how it names other steps.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Step<Ix = StepIx> {
    pub id: StepId,
    /// Line in the file of its runbook, and that file's name.
    pub line: u32,
    pub file: Arc<str>,
    pub phase: u32,
    pub scope: u32,
    pub needs: Vec<Ix>,
    #[serde(default = "Vec::new", skip_serializing_if = "Vec::is_empty")]
    pub reads: Vec<Read<Ix>>,
    /// Its conditions, those of the runbook steps around it first.
    #[serde(default = "Vec::new", skip_serializing_if = "Vec::is_empty")]
    pub when: Vec<When<Ix>>,
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
    #[serde(default = "none", skip_serializing_if = "Option::is_none")]
    pub hold: Option<Hold<Ix>>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub dry_run: DryRun,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub live_test: Option<LiveTest>,
}

/// One item that a copy of a step stands for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Item {
    pub key: String,
    pub value: Json,
}

/// An earlier step whose outputs are read, under the name by which it is read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Read<Ix = StepIx> {
    pub name: String,
    /// The step, or the copies of a `for_each` step by key.
    pub of: Source<Ix>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Source<Ix = StepIx> {
    Step(Ix),
    Copies(IndexMap<String, Ix>),
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
pub struct Hold<Ix = StepIx> {
    pub until: Ix,
    pub release: Box<Act>,
    /// How long releasing it should take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub estimate: Option<Span>,
}

/// A condition with the names it sees.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct When<Ix = StepIx> {
    pub scope: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub item: Option<Item>,
    #[serde(default = "Vec::new", skip_serializing_if = "Vec::is_empty")]
    pub reads: Vec<Read<Ix>>,
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

impl<Ix> Step<Ix> {
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
