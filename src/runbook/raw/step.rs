//! A step as it is written: the keys that stand around its action. Knows nothing of what the keys
//! mean.

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value as Json;

use crate::runbook::action::{RawAction, RawHttp, RawRun, RawSql, RawValue};
use crate::runbook::sides::LiveTest;

/// A step: exactly one action, and the keys that all actions share.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct RawStep {
    /// One line that people read: what this step does.
    #[schemars(extend("format" = "template"))]
    pub title: Option<String>,
    /// Why, and what to know about it.
    #[schemars(extend("format" = "template"))]
    pub description: Option<String>,
    /// Who does it, or answers for it.
    pub role: Option<String>,
    /// The steps it waits for, instead of the one above it. `[]`: only for the phases before.
    pub needs: Option<Vec<String>>,
    /// A condition; if it does not hold when the step's turn comes, the step is skipped.
    #[schemars(extend("format" = "cel"))]
    pub when: Option<String>,
    /// How to take it back: an action with its own keys, or `none` if there is nothing to take
    /// back.
    pub undo: Option<RawUndo>,
    /// What happens when it fails: pause (the default), rollback, or continue.
    #[serde(default)]
    pub on_failure: OnFailure,
    /// How long it should take.
    #[schemars(extend("format" = "duration"))]
    pub estimate: Option<String>,
    /// Production goes down when this step begins, or is back when it ends.
    pub downtime: Option<Downtime>,
    /// From here on there is no way back: rolling back stops here.
    #[serde(default)]
    pub point_of_no_return: bool,
    /// Runs a copy of the step for each item of a list or map that is known before the run.
    pub for_each: Option<RawForEach>,
    /// It changes something only for a while: up to which step, and how it is released.
    pub hold: Option<RawHold>,
    /// What a dry run does in its place: an action that only reads, `same` if the step itself only
    /// reads, or `none` if nothing can be looked at before. Without it, what can be read of the
    /// action by itself.
    pub dry_run: Option<RawDryRun>,
    /// What a live test, in which the sides are swapped, does with it: `invert`, `skip` or
    /// `suppress`. Of a nested runbook: with all its steps that say nothing.
    pub live_test: Option<LiveTest>,
    /// What to try when it fails, shown with the failure.
    #[serde(default)]
    #[schemars(extend("items" = {"type": "string", "format": "template"}))]
    pub hints: Vec<String>,
    /// Runs another runbook's phases in this place.
    pub runbook: Option<RawNested>,
    #[serde(flatten)]
    pub act: RawAct,
}

/// An action and the keys about how it is carried out.
#[derive(Debug, Default, Deserialize, JsonSchema)]
pub struct RawAct {
    #[serde(flatten)]
    pub action: RawAction,
    /// How much of what it says is kept for expressions: the end of `stdout` and of `stderr`
    /// (default 1MiB of each), the beginning of an answer or of rows (default 8MiB). An expression
    /// that reads what was cut cannot be decided.
    #[schemars(extend("format" = "size"))]
    pub keep_output: Option<String>,
    /// Environment variables of its command.
    #[serde(default)]
    pub env: IndexMap<String, RawValue>,
    /// The longest it may take; then it is stopped and has failed.
    #[schemars(extend("format" = "duration"))]
    pub timeout: Option<String>,
    /// Tries again after a failure. Needs `idempotent: true`, unless the action only reads.
    pub retry: Option<RawRetry>,
    /// Doing it twice does no more than doing it once. Only then it is ever repeated without a
    /// person's word.
    pub idempotent: Option<bool>,
    /// A read-only action that tells whether this one has been done.
    pub probe: Option<Box<RawProbe>>,
    /// Conditions on the result; one that does not hold is a failure.
    #[schemars(extend("format" = "cel"))]
    pub expect: Option<OneOrMany>,
    /// Outputs to keep, by name, each an expression over the result.
    #[serde(default)]
    #[schemars(extend("additionalProperties" = {"type": "string", "format": "cel"}))]
    pub capture: IndexMap<String, String>,
}

/// One text or a list of them.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum OneOrMany {
    One(#[schemars(extend("format" = "cel"))] String),
    Many(#[schemars(extend("items" = {"type": "string", "format": "cel"}))] Vec<String>),
}

/// `same`, `none`, or an action that only reads.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum RawDryRun {
    Word(DryRunWord),
    Act(Box<RawDryRunAct>),
}

/// What a dry run does without an action of its own.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum DryRunWord {
    Same,
    None,
}

/// An action that only reads, in a step's place.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct RawDryRunAct {
    #[serde(flatten)]
    pub act: RawAct,
}

/// `none`, or the action that takes the step back.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum RawUndo {
    None(NoneWord),
    Act(Box<RawUndoAct>),
}

/// The word that says that there is nothing to take back.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum NoneWord {
    None,
}

/// The action that takes the step back.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct RawUndoAct {
    /// How long it should take.
    #[schemars(extend("format" = "duration"))]
    pub estimate: Option<String>,
    #[serde(flatten)]
    pub act: RawAct,
}

/// A read-only action and how to read its result.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct RawProbe {
    /// True of the result if the step has been done.
    #[schemars(extend("format" = "cel"))]
    pub done: String,
    /// True of the result if the step has certainly not been done.
    #[schemars(extend("format" = "cel"))]
    pub not_done: String,
    #[serde(flatten)]
    pub read: RawRead,
}

/// An action that changes nothing.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct RawRead {
    /// A command that only reads.
    pub run: Option<RawRun>,
    /// A query.
    pub sql: Option<RawSql>,
    /// A GET or HEAD request.
    pub http: Option<RawHttp>,
    /// How much of what it says is kept for expressions: the end of `stdout` and of `stderr`
    /// (default 1MiB of each), the beginning of an answer or of rows (default 8MiB). An expression
    /// that reads what was cut cannot be decided.
    #[schemars(extend("format" = "size"))]
    pub keep_output: Option<String>,
}

/// Up to where a held change lasts, and how it is released.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct RawHold {
    /// The step with whose end the hold is released.
    pub until: String,
    /// The action that releases it.
    pub release: RawUndoAct,
}

/// What a step is repeated over.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum RawForEach {
    Items(Vec<Json>),
    Expression(#[schemars(extend("format" = "cel"))] String),
    Limited(RawForEachIn),
}

/// What a step is repeated over, with limits.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct RawForEachIn {
    /// A list, a map, or an expression over parameters that gives one.
    #[serde(rename = "in")]
    pub over: RawItems,
    /// How many copies may run at once.
    #[schemars(range(min = 1))]
    pub max_parallel: Option<u32>,
    /// How many copies may fail before the step has failed.
    #[serde(default)]
    pub max_failures: u32,
}

/// A list, a map, or an expression over parameters.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum RawItems {
    List(Vec<Json>),
    Expression(#[schemars(extend("format" = "cel"))] String),
    Map(IndexMap<String, Json>),
}

/// When and how often to try again.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct RawRetry {
    /// How many attempts in all.
    #[schemars(range(min = 1, max = 100))]
    pub attempts: u32,
    /// The pause before the second attempt; it doubles each time. Default 1s.
    #[schemars(extend("format" = "duration"))]
    pub backoff: Option<String>,
    /// The longest pause. Default 1m.
    #[schemars(extend("format" = "duration"))]
    pub max_backoff: Option<String>,
    /// The share of each pause that is left to chance, 0 to 1. Default 0.1.
    #[schemars(range(min = 0, max = 1))]
    pub jitter: Option<f64>,
}

/// Another runbook in this place.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum RawNested {
    File(String),
    Map(RawNestedMap),
}

/// Another runbook in this place, with its parameters.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct RawNestedMap {
    /// Its file, relative to this one.
    pub file: String,
    /// Values for its parameters; texts are templates in this runbook.
    #[serde(default)]
    pub parameters: IndexMap<String, Json>,
}

/// What happens when a step fails.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, serde::Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnFailure {
    /// Stop and leave the decision to the operator.
    #[default]
    Pause,
    /// Undo everything.
    Rollback,
    /// Go on as if it had been skipped.
    Continue,
}

/// A mark on the time line of production.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, serde::Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Downtime {
    /// Production goes down when the step begins.
    Begins,
    /// Production is back when the step succeeds.
    Ends,
}
