//! The shapes that an author writes, key by key. Their doc comments become the JSON Schema's
//! descriptions, and the schema is what files are checked against: a key is described in one place.
//! Knows nothing of what the keys mean.

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::evidence::RawRequires;
use super::sides::{LiveTest, RawSides};
use super::watch::{RawBudgets, RawGuard};
use super::window::RawWindow;
use super::zone::raw::{RawDns, RawPropagation, RawZone, RecordKind};

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

/// One parameter.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct RawParameter {
    /// What kind of value it takes.
    #[serde(rename = "type", default)]
    pub kind: ParameterKind,
    /// The value if none is given. Text may use the parameters above it: `{{ folder }}/backup`.
    pub default: Option<Json>,
    /// Whether a value must be given. Without a default it must.
    pub required: Option<bool>,
    /// The values allowed.
    #[serde(rename = "enum")]
    pub allowed: Option<Vec<Json>>,
    /// A regular expression that the whole text must match.
    #[schemars(extend("format" = "regex"))]
    pub pattern: Option<String>,
    /// What it is for.
    pub description: Option<String>,
}

/// The kinds of parameter values.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, serde::Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ParameterKind {
    #[default]
    String,
    Integer,
    Number,
    Boolean,
    Duration,
    List,
    Map,
}

/// Where a secret is read from: exactly one of the three.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
#[schemars(extend("minProperties" = 1, "maxProperties" = 1))]
pub struct RawSecret {
    /// An environment variable of the operator.
    pub env: Option<String>,
    /// A file; one line break at its end is dropped.
    pub file: Option<String>,
    /// A command, as a list of arguments; what it prints, less one line break at the end.
    pub command: Option<Vec<String>>,
    /// A step of this runbook: a command that writes it, while the run goes on, into the file of
    /// its name in `$SWITCHOVER_SECRETS`.
    pub step: Option<String>,
}

/// A database: exactly one of the three.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
#[schemars(extend("minProperties" = 1, "maxProperties" = 1))]
pub struct RawDatabase {
    /// An SQLite file.
    #[schemars(extend("format" = "template"))]
    pub sqlite: Option<String>,
    /// A database of a PostgreSQL server.
    pub postgres: Option<RawServer>,
    /// A database of a MySQL or MariaDB server.
    pub mysql: Option<RawServer>,
}

/// A database of a server, and who asks it.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct RawServer {
    /// Its name or address.
    #[schemars(extend("format" = "template"))]
    pub host: String,
    /// Its port. Default 5432 for PostgreSQL, 3306 for MySQL.
    pub port: Option<RawScalar>,
    /// The database.
    #[schemars(extend("format" = "template"))]
    pub database: String,
    /// The user.
    #[schemars(extend("format" = "template"))]
    pub user: String,
    /// The user's password, which is a secret: `{ secret: name }`.
    pub password: Option<RawSecretUse>,
    /// The certificates of an encrypted connection, which is then required; the server's name is
    /// verified. `none` for a connection over a network that is not encrypted; on the same machine
    /// nothing need be said.
    pub tls: Option<RawServerTls>,
}

/// Certificates, or `none`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum RawServerTls {
    Word(NoTls),
    Map(RawTls),
}

/// `none`.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum NoTls {
    None,
}

/// What divides traffic between an old and a new side: exactly one of the four.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
#[schemars(extend("minProperties" = 1, "maxProperties" = 1))]
pub struct RawTraffic {
    /// Two servers of an HAProxy backend, by its runtime API.
    pub haproxy: Option<RawHaproxy>,
    /// Two servers in a file that nginx includes in an `upstream`.
    pub nginx: Option<RawNginx>,
    /// Two weighted sets of records of the DNS.
    pub dns: Option<RawWeighted>,
    /// Anything else, by commands.
    pub run: Option<RawWeights>,
}

/// Two weighted sets of records that a name has.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct RawWeighted {
    /// The name of one of the `zones`, at a provider whose records have weights: Route 53.
    pub zone: String,
    /// The name, below the zone's or whole; `@` is the zone's own.
    #[schemars(extend("format" = "template"))]
    pub name: String,
    /// The type of the records.
    #[serde(rename = "type")]
    pub kind: RecordKind,
    /// The old side's set, by its identifier.
    #[schemars(extend("format" = "template"))]
    pub from: String,
    /// The new side's set, by its identifier.
    #[schemars(extend("format" = "template"))]
    pub to: String,
}

/// Two servers of an HAProxy backend.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct RawHaproxy {
    /// The runtime API's socket, of `level admin`: a path, or `host:port`.
    #[schemars(extend("format" = "template"))]
    pub socket: String,
    /// The backend.
    #[schemars(extend("format" = "template"))]
    pub backend: String,
    /// The old side's server.
    #[schemars(extend("format" = "template"))]
    pub from: String,
    /// The new side's server.
    #[schemars(extend("format" = "template"))]
    pub to: String,
}

/// Two servers in a file that nginx includes.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct RawNginx {
    /// The file, with one `server` of each of the two addresses.
    #[schemars(extend("format" = "template"))]
    pub file: String,
    /// The old side's address, as it stands in the file.
    #[schemars(extend("format" = "template"))]
    pub from: String,
    /// The new side's address, as it stands in the file.
    #[schemars(extend("format" = "template"))]
    pub to: String,
    /// A command that tests the configuration; if it fails, the file is put back as it was.
    #[serde(default)]
    pub test: Vec<RawScalar>,
    /// A command that makes nginx read it.
    pub reload: Vec<RawScalar>,
}

/// Commands that move traffic.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct RawWeights {
    /// A command that gives the new side `$SWITCHOVER_WEIGHT` percent of the traffic.
    pub set: Vec<RawScalar>,
    /// A command that prints how many percent the new side has.
    pub get: Vec<RawScalar>,
}

/// The occasions of a whole run, each with the name of a template.
#[derive(Debug, Default, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(deny_unknown_fields)]
pub struct RawOccasions {
    /// The run begins.
    pub start: Option<String>,
    /// Production goes down: a step with `downtime: begins` begins.
    pub downtime_starts: Option<String>,
    /// Production is back: a step with `downtime: ends` succeeded, or the one that began it was
    /// undone.
    pub downtime_over: Option<String>,
    /// A point of no return is passed: its step begins.
    pub point_of_no_return: Option<String>,
    /// The run waits for a person: a task, an approval, a step in doubt.
    pub waiting: Option<String>,
    /// A step failed and the run stops.
    pub failure: Option<String>,
    /// A guard or a budget is breached.
    pub breach: Option<String>,
    /// Rolling back begins.
    pub rollback_began: Option<String>,
    /// Everything is undone.
    pub rolled_back: Option<String>,
    /// The run finished.
    pub success: Option<String>,
    /// The closing account, after success or rollback.
    pub report: Option<String>,
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

/// The occasions of a phase, each with the name of a template.
#[derive(Debug, Default, Clone, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct RawPhaseMessages {
    /// Its first step begins.
    pub start: Option<String>,
    /// All its steps are done.
    pub success: Option<String>,
    /// One of its steps failed and the run stops or goes back.
    pub failure: Option<String>,
}

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
    /// A command: a shell script, a list of arguments, or a map.
    pub run: Option<RawRun>,
    /// A statement or query on a database.
    pub sql: Option<RawSql>,
    /// An HTTP request.
    pub http: Option<RawHttp>,
    /// Rows from one database to another.
    pub copy: Option<RawCopy>,
    /// A record of the DNS, changed or deleted. Its undo is built in.
    pub dns: Option<RawDns>,
    /// Waits until all name servers give the same answer.
    pub propagation: Option<RawPropagation>,
    /// Time that must pass, or a condition that must come true.
    pub wait: Option<RawWait>,
    /// Traffic that is moved from an old to a new side, step by step.
    pub shift: Option<RawShift>,
    /// A message to people.
    pub notify: Option<RawNotify>,
    /// Something that a person does, and says so.
    pub task: Option<RawTask>,
    /// A decision: go or no-go.
    pub approve: Option<RawApprove>,
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

/// A text, number or boolean, or a secret by name.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum RawValue {
    Text(#[schemars(extend("format" = "template"))] String),
    Bool(bool),
    Number(serde_json::Number),
    Secret(RawSecretUse),
}

/// The use of a secret.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct RawSecretUse {
    /// Its name under `secrets`.
    pub secret: String,
    /// Text put before it, such as `Bearer `.
    #[serde(default)]
    pub prefix: String,
    /// How a command gets it: as the variable's value, or in a file in memory that the variable
    /// names.
    #[serde(default, rename = "as")]
    pub form: SecretForm,
}

/// How a command gets a secret.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SecretForm {
    #[default]
    Value,
    /// The variable holds the path of a file in memory.
    File,
}

/// A command.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum RawRun {
    Script(#[schemars(extend("format" = "script"))] String),
    Arguments(Vec<RawScalar>),
    Map(RawRunMap),
}

/// A command with its surroundings: `script` or `command`.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct RawRunMap {
    /// A script for the shell. Never templated: values reach it as environment variables.
    #[schemars(extend("format" = "script"))]
    pub script: Option<String>,
    /// A program and its arguments, without a shell.
    pub command: Option<Vec<RawScalar>>,
    /// The shell and its options; the script is its last argument. Default `[/bin/sh, -euc]`.
    pub shell: Option<Vec<String>>,
    /// The folder to run in.
    #[schemars(extend("format" = "template"))]
    pub cwd: Option<String>,
    /// Environment variables.
    #[serde(default)]
    pub env: IndexMap<String, RawValue>,
    /// What it reads on standard input.
    #[schemars(extend("format" = "template"))]
    pub stdin: Option<String>,
}

/// A text, number or boolean.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum RawScalar {
    Text(#[schemars(extend("format" = "template"))] String),
    Bool(bool),
    Number(serde_json::Number),
}

/// A statement or a query. The text is never templated: values are bound by `:name`.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct RawSql {
    /// The name of one of the `databases`, or an SQLite file.
    #[schemars(extend("format" = "template"))]
    pub database: String,
    /// More SQLite files, attached under their names.
    #[serde(default)]
    #[schemars(extend("additionalProperties" = {"type": "string", "format": "template"}))]
    pub attach: IndexMap<String, String>,
    /// Statements that change something, one after another.
    #[schemars(extend("format" = "sql"))]
    pub statement: Option<String>,
    /// One query that only reads; its rows are in `rows`.
    #[schemars(extend("format" = "sql"))]
    pub query: Option<String>,
    /// Values for `:name` in the text; also secrets, and what a query on another database says.
    #[serde(default)]
    pub parameters: IndexMap<String, RawParameterOfSql>,
    /// Whether all statements are one transaction. Default true.
    pub transaction: Option<bool>,
}

/// A text, number or boolean, or where the value is had at the moment of use.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum RawParameterOfSql {
    Text(#[schemars(extend("format" = "template"))] String),
    Bool(bool),
    Number(serde_json::Number),
    Given(RawGiven),
}

/// A secret, or a query on another database. Exactly one of `secret` and `query`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct RawGiven {
    /// The name of a secret under `secrets`.
    pub secret: Option<String>,
    /// Text put before the secret.
    #[serde(default)]
    pub prefix: String,
    /// The name of one of the `databases`.
    #[schemars(extend("format" = "template"))]
    pub database: Option<String>,
    /// One query that has one row; the first column is the value.
    #[schemars(extend("format" = "sql"))]
    pub query: Option<String>,
}

/// Rows from one database to another, in ranges of their primary keys.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct RawCopy {
    /// The one of the `databases` that has the rows.
    pub from: String,
    /// The one that gets them. Its tables are there, and empty.
    pub to: String,
    /// The tables, in the order in which they are copied; or each with its name in the other
    /// database.
    pub tables: RawTables,
    /// How many rows at once; what a crash can cost. Default 50000, and more as long as that takes
    /// less than a quarter of a second.
    #[schemars(range(min = 1, max = 10000000))]
    pub chunk: Option<u32>,
    /// How many chunks at the same time. Default 1.
    #[schemars(range(min = 1, max = 64))]
    pub parallel: Option<u32>,
    /// Whether the rows of each chunk are counted and compared at both ends. Default true.
    pub verify: Option<bool>,
    /// Only compares what is there. Default false.
    pub verify_only: Option<bool>,
    /// How far the target's sequences are set before the source's. Default 0.
    pub sequence_margin: Option<u32>,
    /// What must hold before the next chunk begins, such as that a replica is not far behind.
    pub throttle: Option<RawThrottle>,
}

/// A read-only action, and the condition on what it reads.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct RawThrottle {
    /// True of a reading by which the copy goes on.
    #[schemars(extend("format" = "cel"))]
    pub until: String,
    /// The pause between two readings; as long as that, one is good for. Default 1s.
    #[schemars(extend("format" = "duration"))]
    pub every: Option<String>,
    #[serde(flatten)]
    pub read: RawRead,
}

/// Names of tables, or each with its name in the other database.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum RawTables {
    Names(Vec<String>),
    Map(IndexMap<String, String>),
}

/// An HTTP request.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct RawHttp {
    /// The method. Default GET.
    #[serde(default)]
    pub method: Method,
    /// The address, http or https.
    #[schemars(extend("format" = "template"))]
    pub url: String,
    /// Request headers.
    #[serde(default)]
    pub headers: IndexMap<String, RawValue>,
    /// The body as text.
    #[schemars(extend("format" = "template"))]
    pub body: Option<String>,
    /// The body as a value, sent as JSON; the texts in it are templates.
    pub json: Option<Json>,
    /// Certificates, for https.
    pub tls: Option<RawTls>,
    /// Which redirects of a request that only reads are followed. Default same-origin.
    pub follow: Option<Follow>,
}

/// Which redirects are followed. None leads from https to http, and none that answers a change is
/// followed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, serde::Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Follow {
    /// Those to the same scheme, host and port.
    #[default]
    SameOrigin,
    /// Those to others too, who are sent nothing of the request: no header, no key, no body, no
    /// certificate.
    Any,
    None,
}

impl Follow {
    pub fn is_default(&self) -> bool {
        *self == Follow::default()
    }
}

/// The request methods.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, serde::Serialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum Method {
    #[default]
    Get,
    Head,
    Post,
    Put,
    Patch,
    Delete,
}

impl Method {
    pub fn word(self) -> &'static str {
        match self {
            Method::Get => "GET",
            Method::Head => "HEAD",
            Method::Post => "POST",
            Method::Put => "PUT",
            Method::Patch => "PATCH",
            Method::Delete => "DELETE",
        }
    }
}

/// Certificates for https.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct RawTls {
    /// A file of certificates to trust, in PEM, instead of the public ones.
    #[schemars(extend("format" = "template"))]
    pub ca: Option<String>,
    /// A file with the client's certificate, in PEM.
    #[schemars(extend("format" = "template"))]
    pub cert: Option<String>,
    /// A file with the client's key, in PEM.
    #[schemars(extend("format" = "template"))]
    pub key: Option<String>,
}

/// A length of time, or a condition on a repeated reading.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum RawWait {
    For(#[schemars(extend("format" = "duration-template"))] String),
    Until(Box<RawWaitUntil>),
}

/// A condition on a repeated reading.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct RawWaitUntil {
    /// The condition over the reading.
    #[schemars(extend("format" = "cel"))]
    pub until: String,
    /// The read-only action that gives a reading.
    pub probe: RawReading,
    /// The pause between two readings. Default 5s.
    #[schemars(extend("format" = "duration"))]
    pub every: Option<String>,
    /// How many readings in a row must meet the condition. Default 1.
    #[schemars(range(min = 1, max = 1000))]
    pub stable: Option<u32>,
    /// The longest it may take; then the step has failed.
    #[schemars(extend("format" = "duration"))]
    pub timeout: Option<String>,
}

/// A read-only action that gives a reading.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct RawReading {
    #[serde(flatten)]
    pub read: RawRead,
}

/// Traffic that is moved from an old to a new side: `to` so many percent at once, or in `steps`.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct RawShift {
    /// The name of what stands under `traffic`.
    pub traffic: String,
    /// How many percent of the traffic the new side is to have.
    #[schemars(range(min = 0, max = 100))]
    pub to: Option<u8>,
    /// The same, one after another: a list, or how they grow.
    pub steps: Option<RawSteps>,
    /// How long each of them is watched before the next. Default 0s.
    #[schemars(extend("format" = "duration"))]
    pub bake: Option<String>,
    /// Readings that are taken while it is watched.
    #[serde(default)]
    pub analysis: Vec<RawAnalysis>,
    /// Where traffic goes when an analysis fails. Default zero.
    #[serde(default)]
    pub back: Back,
}

/// Percentages, or how they grow.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum RawSteps {
    List(#[schemars(inner(range(min = 0, max = 100)))] Vec<u8>),
    Growth(RawGrowth),
}

/// Percentages that grow `by` so many each, or `times` so much. The last of them is `to`.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct RawGrowth {
    /// The first of them. Default: what it grows by.
    #[schemars(range(min = 1, max = 100))]
    pub from: Option<u8>,
    /// How many percent each is above the one before.
    #[schemars(range(min = 1, max = 100))]
    pub by: Option<u8>,
    /// How many times the one before each is.
    #[schemars(range(min = 2, max = 100))]
    pub times: Option<u8>,
    /// The last of them. Default 100.
    #[schemars(range(min = 1, max = 100))]
    pub to: Option<u8>,
}

/// Where traffic goes when an analysis fails.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Back {
    /// None of it stays on the new side.
    #[default]
    Zero,
    /// To the last weight that was good.
    LastGood,
}

/// A repeated reading while a weight is watched.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct RawAnalysis {
    /// What it is called.
    pub name: String,
    #[serde(flatten)]
    pub measure: RawMeasure,
    /// How long after a weight is set it is first read. Default 0s.
    #[schemars(extend("format" = "duration"))]
    pub initial_delay: Option<String>,
    /// How many bad readings of one weight are put up with. Default 0.
    #[serde(default)]
    pub failure_limit: u32,
}

/// A reading from exactly one of `prometheus`, `http`, `sql` and `run`, and what it says:
/// `success`, `failure`, or both. Where neither holds, and where there is no data, it is
/// inconclusive.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct RawMeasure {
    /// The Prometheus that answers the `query`.
    pub prometheus: Option<RawPrometheus>,
    /// PromQL. Its first value is `value`, and `series` has all, each with `labels` and `value`.
    #[schemars(extend("format" = "template"))]
    pub query: Option<String>,
    /// PromQL of what to compare with, such as the old side; its value is `baseline`.
    #[schemars(extend("format" = "template"))]
    pub baseline: Option<String>,
    /// A GET or HEAD request.
    pub http: Option<RawHttp>,
    /// A query.
    pub sql: Option<RawSql>,
    /// A command that only reads.
    pub run: Option<RawRun>,
    /// How much of what it says is kept for expressions: the end of `stdout` and of `stderr`
    /// (default 1MiB of each), the beginning of an answer or of rows (default 8MiB). An expression
    /// that reads what was cut cannot be decided.
    #[schemars(extend("format" = "size"))]
    pub keep_output: Option<String>,
    /// True of a good reading.
    #[schemars(extend("format" = "cel"))]
    pub success: Option<String>,
    /// True of a bad reading.
    #[schemars(extend("format" = "cel"))]
    pub failure: Option<String>,
    /// The pause between two readings. Default 5s.
    #[schemars(extend("format" = "duration"))]
    pub every: Option<String>,
}

/// A Prometheus: its address, or a map.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum RawPrometheus {
    Url(#[schemars(extend("format" = "template"))] String),
    Map(RawPrometheusMap),
}

/// A Prometheus, and what it wants to see.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct RawPrometheusMap {
    /// Its address.
    #[schemars(extend("format" = "template"))]
    pub url: String,
    /// Request headers.
    #[serde(default)]
    pub headers: IndexMap<String, RawValue>,
    /// Certificates, for https.
    pub tls: Option<RawTls>,
}

/// A message: a template by name, or a subject and a body.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct RawNotify {
    /// The name of a template.
    pub template: Option<String>,
    /// The subject line, instead of a template.
    #[schemars(extend("format" = "template"))]
    pub subject: Option<String>,
    /// The text, instead of a template.
    #[schemars(extend("format" = "template"))]
    pub body: Option<String>,
    /// Who is told.
    #[serde(default)]
    #[schemars(extend("items" = {"type": "string", "format": "template"}))]
    pub to: Vec<String>,
}

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

/// A decision: go or no-go.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum RawApprove {
    Question(#[schemars(extend("format" = "template"))] String),
    Map(RawApproveMap),
}

/// A decision with its question.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct RawApproveMap {
    /// What is decided.
    #[schemars(extend("format" = "template"))]
    pub question: String,
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
