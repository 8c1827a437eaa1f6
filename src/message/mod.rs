//! Messages to people: a template rendered over a documented, typed view of the runbook and the
//! run, which holds no secret. Knows no channel: how a message travels is the world's business.

mod shown;

use std::cell::OnceCell;

use serde::Serialize;
use serde_json::Value as Json;

pub use shown::{in_place, json_shown, one_line, printable};

use crate::run::{FailureKind, Moment, Occasion, RunState, Track};
use crate::runbook::{Direction, Shape, StepIx, Template, TextError};

/// A message ready to be delivered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    pub subject: String,
    pub body: String,
    pub to: Vec<String>,
}

/// What a template sees. Every field is always there; texts are empty where there is nothing to
/// say. Lengths of time are in milliseconds: `{{duration downtime.total}}` shows them.
#[derive(Debug, Serialize)]
pub struct View {
    pub runbook: RunbookView,
    pub run: Json,
    /// The moment of the message, RFC 3339 in UTC.
    pub now: String,
    /// `forward`, `rolling back` or `cancelling`.
    pub direction: &'static str,
    /// Why: the reason of a failure, a rollback or a cancellation.
    pub reason: String,
    /// Milliseconds since the run began.
    pub elapsed: u64,
    pub progress: Progress,
    pub undo: Progress,
    pub downtime: DowntimeView,
    pub phases: Vec<PhaseView>,
    /// The phase the message is about.
    pub phase: PhaseView,
    /// The step the message is about.
    pub step: StepView,
    pub failed: Vec<StepView>,
    /// The tasks and approvals that are open.
    pub waiting: Vec<StepView>,
    /// The top runbook's parameters by name.
    pub parameters: Json,
}

#[derive(Debug, Serialize)]
pub struct RunbookView {
    pub name: String,
    pub title: String,
    pub description: String,
    pub owner: String,
    /// The sum of estimates along the critical path, in milliseconds.
    pub estimate: u64,
}

#[derive(Debug, Default, Serialize)]
pub struct Progress {
    pub done: usize,
    pub total: usize,
}

#[derive(Debug, Serialize)]
pub struct DowntimeView {
    pub is_down: bool,
    /// Milliseconds in all, until now.
    pub total: u64,
}

#[derive(Debug, Default, Clone, Serialize)]
pub struct PhaseView {
    pub id: String,
    pub title: String,
    pub done: usize,
    pub total: usize,
}

#[derive(Debug, Default, Clone, Serialize)]
pub struct StepView {
    pub id: String,
    pub title: String,
    pub role: String,
    /// What went wrong.
    pub error: String,
    /// The instructions of a task, or the question of an approval.
    pub question: String,
}

/// What a message is about.
#[derive(Debug, Clone, Copy, Default)]
pub struct About<'a> {
    pub phase: Option<u32>,
    pub step: Option<StepIx>,
    pub reason: &'a str,
}

/// The names that a template may use: the shape of [`View`].
pub fn shape() -> Shape {
    let leaves = |names: &[&str]| {
        Shape::Object(names.iter().map(|name| ((*name).to_owned(), Shape::Leaf)).collect())
    };
    let phase = leaves(&["id", "title", "done", "total"]);
    let step = leaves(&["id", "title", "role", "error", "question"]);
    Shape::object([
        ("runbook", leaves(&["name", "title", "description", "owner", "estimate"])),
        ("run", crate::runbook::run_shape()),
        ("now", Shape::Leaf),
        ("direction", Shape::Leaf),
        ("reason", Shape::Leaf),
        ("elapsed", Shape::Leaf),
        ("progress", leaves(&["done", "total"])),
        ("undo", leaves(&["done", "total"])),
        ("downtime", leaves(&["is_down", "total"])),
        ("phases", Shape::List(Box::new(phase.clone()))),
        ("phase", phase),
        ("step", step.clone()),
        ("failed", Shape::List(Box::new(step.clone()))),
        ("waiting", Shape::List(Box::new(step))),
        ("parameters", Shape::Any),
    ])
}

/// Renders a template as the run stands at `now`.
pub fn render(
    template: &Template,
    state: &RunState,
    now: Moment,
    about: About,
    to: Vec<String>,
) -> Result<Message, TextError> {
    let view = serde_json::to_value(view(state, now, about))
        .map_err(|error| TextError(error.to_string()))?;
    Ok(Message {
        subject: one_line(&template.subject.render(&view)?),
        body: template.body.render(&view)?,
        to,
    })
}

/// The message of an occasion, from that template; one that cannot be rendered says so, as it must
/// not hold anything up.
pub fn of_occasion(
    occasion: &Occasion,
    template: &Template,
    state: &RunState,
    now: Moment,
) -> Message {
    let Occasion { kind, of: _, phase, step, reason } = occasion;
    let about = About { phase: *phase, step: *step, reason };
    render(template, state, now, about, Vec::new()).unwrap_or_else(|error| Message {
        subject: format!("{}: {kind}", state.runbook.name),
        body: format!("(the template cannot be rendered: {error})\n{reason}\n"),
        to: Vec::new(),
    })
}

fn view(state: &RunState, now: Moment, about: About) -> View {
    let runbook = &state.runbook;
    let names = crate::run::names::run(state);
    let of_run = OnceCell::new();
    let phases: Vec<PhaseView> = runbook
        .phases
        .iter()
        .enumerate()
        .map(|(ix, phase)| {
            let total = runbook.size_of(ix as u32);
            PhaseView {
                id: phase.id.clone(),
                title: phase
                    .title
                    .as_ref()
                    .map_or_else(|| phase.id.clone(), |text| title(text, state, &of_run)),
                done: total - state.phase_left(ix as u32),
                total,
            }
        })
        .collect();
    let total = runbook.steps.len();
    let undo = state
        .rollback
        .as_ref()
        .map(|rollback| Progress { done: rollback.total - rollback.left, total: rollback.total });
    View {
        runbook: RunbookView {
            name: runbook.name.clone(),
            title: runbook
                .title
                .as_ref()
                .map_or_else(|| runbook.name.clone(), |text| title(text, state, &of_run)),
            description: runbook.description.clone().unwrap_or_default(),
            owner: runbook.owner.clone().unwrap_or_default(),
            estimate: runbook.estimate().as_millis(),
        },
        run: names,
        now: now.to_string(),
        direction: match state.mode {
            crate::run::Mode::Forward => "forward",
            crate::run::Mode::RollingBack => "rolling back",
            crate::run::Mode::Cancelling => "cancelling",
        },
        reason: about.reason.to_owned(),
        elapsed: now.since(state.began).as_millis(),
        progress: Progress { done: total - state.unsettled(), total },
        undo: undo.unwrap_or_default(),
        downtime: DowntimeView {
            is_down: state.down_since.is_some(),
            total: state.downtime_until(now).as_millis(),
        },
        phase: about.phase.and_then(|ix| phases.get(ix as usize).cloned()).unwrap_or_default(),
        phases,
        step: about.step.map(|ix| step_view(state, ix)).unwrap_or_default(),
        failed: state.sets.failed.iter().map(|(ix, _)| step_view(state, *ix)).collect(),
        waiting: state.sets.waiting.iter().map(|ix| step_view(state, *ix)).collect(),
        parameters: Json::Object(
            runbook.scopes[0]
                .parameters
                .iter()
                .map(|(name, parameter)| {
                    let value = parameter.value.value(&Json::Null).unwrap_or(Json::Null);
                    (name.clone(), value)
                })
                .collect(),
        ),
    }
}

fn step_view(state: &RunState, ix: StepIx) -> StepView {
    let step = state.runbook.step(ix);
    let names = crate::run::names::of_step(state, ix, Direction::Forward);
    let failure = Direction::ALL.iter().find_map(|direction| match state.track(ix, *direction) {
        Track::Failed { failure, .. } | Track::Retrying { failure, .. } => Some(failure),
        _ => None,
    });
    let question = step.act.action.question();
    let question = question.and_then(|question| question.render(&names).ok()).unwrap_or_default();
    StepView {
        id: step.id.to_string(),
        title: step.title.as_ref().map_or_else(
            || step.id.to_string(),
            |text| text.render(&names).unwrap_or_else(|_| text.source().to_owned()),
        ),
        role: step.role.clone().unwrap_or_default(),
        error: failure.map_or_else(String::new, |failure| match failure.kind {
            FailureKind::TimedOut => format!("timed out: {}", failure.message),
            _ => failure.message.clone(),
        }),
        question,
    }
}

fn title(text: &crate::runbook::Text, state: &RunState, names: &OnceCell<Json>) -> String {
    if !text.is_dynamic() {
        return text.source().to_owned();
    }
    text.render(names.get_or_init(|| names_of_run(state)))
        .unwrap_or_else(|_| text.source().to_owned())
}

fn names_of_run(state: &RunState) -> Json {
    let mut names = serde_json::Map::new();
    for (name, parameter) in &state.runbook.scopes[0].parameters {
        if let Ok(value) = parameter.value.value(&Json::Null) {
            names.insert(name.clone(), value);
        }
    }
    names.insert("run".into(), crate::run::names::run(state));
    Json::Object(names)
}
