//! The facts of a run. What is not an event has not happened; every other account of a run is
//! derived from these.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value as Json;

use super::foresight::{Foreseen, Purpose, Rehearsed, StepForeseen};
use super::watch::Breach;
use crate::runbook::traffic::Says;
use crate::runbook::{Action, Direction, Outputs, Runbook, StepId};

/// A moment, in whole milliseconds of UTC. For people: it never decides what comes next in a log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(pub i64);

/// One numbered fact of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// From 1, without gaps.
    pub number: u64,
    pub at: Moment,
    #[serde(flatten)]
    pub fact: Fact,
}

/// A person: who, and on which machine.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Person(pub String);

/// An attempt that outlived its executor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StillRunning {
    pub step: StepId,
    pub direction: Direction,
}

/// Everything that can happen in a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Fact {
    /// Always the first: binds the run to its definition, parameters and program.
    RunStarted(RunStarted),
    /// An executor takes the run up again. What was running is in doubt from here, unless it is
    /// known to run still; what had failed may begin anew.
    RunResumed {
        operator: Person,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        until: Option<StepId>,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        still_running: Vec<StillRunning>,
    },
    /// The executor leaves; the run can be resumed.
    RunStopped { because: Stop },
    /// The run is over.
    RunEnded { outcome: Outcome },
    /// From here everything is taken back; nothing goes forward any more.
    RollbackBegan {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        to: Option<StepId>,
        because: String,
        actor: Person,
        #[serde(default, skip_serializing_if = "is_false")]
        force: bool,
    },
    /// The run is given up where it is; only what is held is released.
    CancelBegan { because: String, actor: Person },
    /// An attempt begins. Durable before anything happens outside.
    StepStarted(StepStarted),
    /// An attempt ended well.
    StepSucceeded(StepSucceeded),
    /// An attempt ended badly.
    StepFailed(StepFailed),
    /// In a dry run, instead of the two: the step was looked at, and not carried out.
    StepForeseen(StepForeseen),
    /// An attempt is to be stopped: the reason stands here before the signal is sent, and a later
    /// success does not undo it.
    StopRequested { step: StepId, direction: Direction, attempt: u32, because: StopReason },
    /// The step is passed over.
    StepSkipped { step: StepId, because: SkipReason },
    /// There was nothing to undo or release.
    UndoPassed { step: StepId },
    /// A read-only look at whether an attempt in doubt had its effect.
    StepProbed {
        step: StepId,
        direction: Direction,
        attempt: u32,
        verdict: Probed,
        reading: String,
    },
    /// A person decided what a step's state is, or answered a task or an approval.
    StepResolved(StepResolved),
    /// A person lets a point of no return be passed.
    PointConfirmed { step: StepId, actor: Person, reason: String },
    /// The run goes on with another definition; nothing that has started means anything else in it.
    RunAmended(RunAmended),
    /// What an attempt found before it changes anything; durable before it does. Its undo brings
    /// that back.
    StepSaw { step: StepId, direction: Direction, attempt: u32, seen: Json },
    /// A long action said how far it is.
    CursorSaved { step: StepId, direction: Direction, attempt: u32, cursor: String },
    /// What an analysis says of traffic at a weight, in percent, is not what it said before.
    AnalysisRead {
        step: StepId,
        attempt: u32,
        analysis: String,
        percent: u8,
        says: Says,
        reading: String,
    },
    /// What a guard says is not what it said before.
    GuardRead { guard: String, says: Says, reading: String },
    /// In a dry run: because of what a guard says now a run would not go on, or the guard cannot be
    /// read at all.
    GuardForeseen { guard: String, verdict: Foreseen },
    /// A guard or a budget is breached.
    Breached(Breach),
    /// People were told something.
    MessageSent(MessageSent),
    /// A person lets it begin although something that it should have is missing.
    Overridden { missing: Vec<String>, actor: Person, reason: String },
    /// What a rehearsal found; it is all that such a run consists of.
    Rehearsed(Rehearsed),
}

/// How a run begins.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunStarted {
    pub run: String,
    /// What the operator calls it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    pub runbook: String,
    /// SHA-256 of the whole expanded runbook, which the journal holds under this digest.
    pub definition: Digest,
    /// SHA-256 of the parameters' values.
    pub parameters: Digest,
    /// The version of this program.
    pub version: String,
    pub operator: Person,
    /// The working directory (empty: not known): relative paths of the runbook stay the same
    /// wherever it is taken up again.
    #[serde(default)]
    pub folder: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<StepId>,
    #[serde(default, skip_serializing_if = "Purpose::is_real")]
    pub purpose: Purpose,
    /// 128 random bits in hexadecimal, which no other run of any journal has. Empty: of a version
    /// before it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub uuid: String,
    /// The same of the journal in which it began. A copy of the journal has the same.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub journal: String,
}

impl RunStarted {
    /// A real run that has no name, no end before its end, and no place in a journal.
    pub fn of(runbook: &Runbook, run: &str, operator: Person) -> RunStarted {
        RunStarted {
            run: run.to_owned(),
            name: None,
            runbook: runbook.name.clone(),
            definition: Digest::default(),
            parameters: Digest::default(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            operator,
            folder: String::new(),
            environment: runbook.environment.clone(),
            until: None,
            purpose: Purpose::Real,
            uuid: String::new(),
            journal: String::new(),
        }
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RunAmended {
    /// SHA-256 of the new expanded runbook, which the journal holds under this digest.
    pub definition: Digest,
    pub parameters: Digest,
    pub actor: Person,
    pub reason: String,
    /// For people: which steps are new, gone or different.
    pub changes: Vec<String>,
    /// What had not been shown of it, although the environment requires it; the person took it all
    /// the same.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<String>,
    /// The answers that it takes back, as something behind them means something else now: these
    /// steps are asked about again. Absent in journals of before there were such.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub voided: Option<Vec<StepId>>,
    /// The runbook itself; whoever reads an event puts it here.
    #[serde(skip)]
    pub runbook: Option<Arc<Runbook>>,
}

/// The same event, whether or not the runbook is at hand.
impl PartialEq for RunAmended {
    fn eq(&self, other: &RunAmended) -> bool {
        let words = |of: &RunAmended| {
            (
                of.actor.clone(),
                of.reason.clone(),
                of.changes.clone(),
                of.missing.clone(),
                of.voided.clone(),
            )
        };
        (&self.definition, &self.parameters) == (&other.definition, &other.parameters)
            && words(self) == words(other)
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepStarted {
    pub step: StepId,
    pub direction: Direction,
    pub attempt: u32,
    /// The same for all attempts of a step in one direction.
    pub key: String,
    /// What is done, every text rendered; secrets by name.
    pub action: Box<Action<String>>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepSucceeded {
    pub step: StepId,
    pub direction: Direction,
    pub attempt: u32,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub outputs: Outputs,
    /// The result in a few words: `exit 0`, `200`, `3 rows`.
    pub result: String,
    /// The secrets that it was given, by name, each with an HMAC-SHA-256 of its value.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub secrets: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub logs: Vec<Log>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepFailed {
    pub step: StepId,
    pub direction: Direction,
    pub attempt: u32,
    pub failure: Failure,
    /// What it gave all the same; its undo may need it.
    #[serde(default, skip_serializing_if = "Outputs::is_empty")]
    pub outputs: Outputs,
    /// When the next attempt is due, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_at: Option<Moment>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub secrets: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub logs: Vec<Log>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepResolved {
    pub step: StepId,
    pub direction: Direction,
    pub verdict: Verdict,
    pub actor: Person,
    pub reason: String,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub outputs: Outputs,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MessageSent {
    /// `start`, `phase_start`, `notify`, …
    pub occasion: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<StepId>,
    /// The number of the fact that people were told of, if it is not the step's own message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of: Option<u64>,
    pub subject: String,
    pub to: Vec<String>,
    pub channel: String,
    /// The file in the outbox.
    pub file: String,
    pub digest: Digest,
}

/// A file that an attempt wrote, relative to the journal's folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Log {
    pub file: String,
    pub bytes: u64,
    pub sha256: Digest,
}

/// A SHA-256 digest in hexadecimal.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Digest(pub String);

/// Why an attempt failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    pub kind: FailureKind,
    /// For people: what happened, with the server's or program's own words.
    pub message: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureKind {
    /// It provably had no effect: the program is not there, the server refused the connection.
    BeforeEffect,
    /// It ran and said no.
    Failed,
    /// It took longer than it may.
    TimedOut,
    /// An expectation about its result does not hold.
    Unexpected,
    /// A person said no.
    Refused,
    /// Nobody saw how it ended: it is in doubt.
    Lost,
}

/// Why an attempt is to be stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StopReason {
    Timeout,
    Interrupt,
    /// A breach, because of which everything is undone.
    Breach,
}

/// Why the executor leaves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "stop", rename_all = "snake_case")]
pub enum Stop {
    Failed {
        steps: Vec<StepId>,
    },
    /// Tasks and approvals that nobody has answered.
    Waiting {
        steps: Vec<StepId>,
    },
    /// Attempts whose outcome nobody knows.
    InDoubt {
        steps: Vec<StepId>,
    },
    /// An undo or a release failed.
    Stuck {
        steps: Vec<StepId>,
    },
    /// A guard or a budget is breached, and a person is to decide.
    Breached {
        because: Vec<String>,
    },
    /// The step named with `--until` is done.
    Until {
        step: StepId,
    },
    /// The operator stopped it.
    Interrupted {
        signal: i32,
    },
    /// The run's witness refused the session, or could not be asked. Nothing was begun.
    Unwitnessed {
        why: String,
    },
}

/// How a run is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    Finished,
    RolledBack,
    Cancelled,
}

/// Why a step is passed over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "why", rename_all = "snake_case")]
pub enum SkipReason {
    Condition {
        condition: String,
    },
    /// It failed and its `on_failure` is `continue`, or its `for_each` tolerates this many
    /// failures.
    Tolerated,
    /// It is not for a live test.
    LiveTest,
    Operator {
        actor: Person,
        reason: String,
    },
}

/// What a probe found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Probed {
    Done,
    NotDone,
    Unknown,
}

/// What a person decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    Done,
    NotDone,
    /// Done in part: it is to be undone, and then begun anew.
    Partial,
    Go,
    NoGo,
}

impl Moment {
    pub fn to_utc(self) -> DateTime<Utc> {
        DateTime::from_timestamp_millis(self.0).unwrap_or_default()
    }

    /// Milliseconds since `earlier`, never negative: a clock that was set back shows no time
    /// passed.
    pub fn since(self, earlier: Moment) -> crate::runbook::Span {
        crate::runbook::Span::from_millis(u64::try_from(self.0 - earlier.0).unwrap_or(0))
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.to_utc().to_rfc3339_opts(SecondsFormat::Millis, true))
    }
}

impl Serialize for Moment {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Moment, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(from)?;
        DateTime::parse_from_rfc3339(&text)
            .map(|time| Moment(time.timestamp_millis()))
            .map_err(serde::de::Error::custom)
    }
}

impl fmt::Display for Person {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl fmt::Display for SkipReason {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SkipReason::Condition { condition } => {
                write!(out, "its condition does not hold: {condition}")
            }
            SkipReason::LiveTest => out.write_str("it is not for a live test"),
            SkipReason::Tolerated => out.write_str("it failed, and the runbook goes on without it"),
            SkipReason::Operator { actor, reason } => write!(out, "skipped by {actor}: {reason}"),
        }
    }
}

impl Stop {
    /// The exit code that tells a script why the executor left.
    pub fn exit_code(&self) -> i32 {
        match self {
            Stop::Failed { .. } => 1,
            Stop::Waiting { .. } | Stop::InDoubt { .. } | Stop::Breached { .. } => 3,
            Stop::Stuck { .. } => 5,
            Stop::Until { .. } => 0,
            Stop::Interrupted { signal } => 128 + signal,
            Stop::Unwitnessed { .. } => 6,
        }
    }
}

impl Outcome {
    pub fn exit_code(self) -> i32 {
        match self {
            Outcome::Finished => 0,
            Outcome::RolledBack => 4,
            Outcome::Cancelled => 1,
        }
    }
}

fn is_false(value: &bool) -> bool {
    !value
}

/// The name of an event's kind, as it stands in the journal.
pub fn kind(fact: &Fact) -> &'static str {
    match fact {
        Fact::RunStarted(_) => "run_started",
        Fact::RunResumed { .. } => "run_resumed",
        Fact::RunStopped { .. } => "run_stopped",
        Fact::RunEnded { .. } => "run_ended",
        Fact::RollbackBegan { .. } => "rollback_began",
        Fact::CancelBegan { .. } => "cancel_began",
        Fact::StepStarted(_) => "step_started",
        Fact::StepSucceeded(_) => "step_succeeded",
        Fact::StepFailed(_) => "step_failed",
        Fact::StepForeseen(_) => "step_foreseen",
        Fact::StopRequested { .. } => "stop_requested",
        Fact::StepSkipped { .. } => "step_skipped",
        Fact::UndoPassed { .. } => "undo_passed",
        Fact::StepProbed { .. } => "step_probed",
        Fact::StepResolved(_) => "step_resolved",
        Fact::PointConfirmed { .. } => "point_confirmed",
        Fact::RunAmended(_) => "run_amended",
        Fact::StepSaw { .. } => "step_saw",
        Fact::CursorSaved { .. } => "cursor_saved",
        Fact::AnalysisRead { .. } => "analysis_read",
        Fact::GuardRead { .. } => "guard_read",
        Fact::GuardForeseen { .. } => "guard_foreseen",
        Fact::Breached(_) => "breached",
        Fact::MessageSent(_) => "message_sent",
        Fact::Overridden { .. } => "overridden",
        Fact::Rehearsed(_) => "rehearsed",
    }
}

impl Fact {
    /// The step it is about, if it is about one.
    pub fn step(&self) -> Option<&StepId> {
        match self {
            Fact::StepStarted(StepStarted { step, .. })
            | Fact::StepSucceeded(StepSucceeded { step, .. })
            | Fact::StepFailed(StepFailed { step, .. })
            | Fact::StepForeseen(StepForeseen { step, .. })
            | Fact::StepResolved(StepResolved { step, .. })
            | Fact::StopRequested { step, .. }
            | Fact::StepSkipped { step, .. }
            | Fact::UndoPassed { step }
            | Fact::StepProbed { step, .. }
            | Fact::PointConfirmed { step, .. }
            | Fact::StepSaw { step, .. }
            | Fact::CursorSaved { step, .. }
            | Fact::AnalysisRead { step, .. } => Some(step),
            Fact::MessageSent(message) => message.step.as_ref(),
            _ => None,
        }
    }
}

/// Outputs as one JSON object.
pub fn outputs_json(outputs: &Outputs) -> Json {
    Json::Object(outputs.iter().map(|(name, value)| (name.clone(), value.clone())).collect())
}
