//! A runbook whose actions only write down that they happened: each command, request and statement
//! becomes one that says in a witness outside of the journal when it begins and ends. All that
//! decides about going on and going back stays as it is.

use std::collections::BTreeSet;
use std::sync::Arc;

use indexmap::IndexMap;

use super::world::first;
use crate::run::{Moment, RunState, names};
use crate::runbook::action::{Approve, Command, Content, Notify, Run, Task, Value};
use crate::runbook::{
    Act, Action, Budgets, Condition, ConditionError, Direction, DryRun, Hold, Probe, Retry,
    Runbook, Span, Step, StepIx, Text, Undo,
};

/// The file to which stand-ins add a line when they begin and when they end, in the folder of their
/// run.
pub const WITNESS: &str = "witness";
/// The folder in which they leave what they did: `N.done` for the step with the number N, and
/// `N.held` as long as it holds something.
pub const MARKS: &str = "marks";

const PAUSE: Span = Span::from_millis(10);

/// What a stand-in does, and which mark is there or gone once it is done.
struct Effect {
    script: &'static str,
    mark: &'static str,
    leaves_it: bool,
}

const FORWARD: Effect =
    Effect { script: ": > \"marks/$STAND_IN.done\"", mark: "done", leaves_it: true };
const HOLDING: Effect =
    Effect { script: ": > \"marks/$STAND_IN.held\"; : > \"marks/$STAND_IN.done\"", ..FORWARD };
const UNDO: Effect =
    Effect { script: "rm -f \"marks/$STAND_IN.done\"", mark: "done", leaves_it: false };
const RELEASE: Effect =
    Effect { script: "rm -f \"marks/$STAND_IN.held\"", mark: "held", leaves_it: false };

/// A runbook of stand-ins.
#[derive(Debug, Clone)]
pub struct StandIn {
    pub runbook: Arc<Runbook>,
    /// The steps that a condition rules out, whatever happens.
    pub ruled_out: BTreeSet<StepIx>,
    /// Conditions that depend on what only a real run produces, and are taken to hold.
    pub assumed: Vec<String>,
}

/// Replaces every action of `real`. Retries do not wait, nothing has a timeout, guard, budget or
/// secret, people are asked plainly.
///
/// # Errors
/// If the state does not begin, or a condition of a stand-in's probe is none, which is a fault of
/// this program.
pub fn stand_in(real: &Runbook) -> Result<StandIn, String> {
    let begun = first(real, Moment::default());
    let state = RunState::new(Arc::new(real.clone()), &begun).map_err(|error| error.to_string())?;
    let mut runbook = real.clone();
    // Beside the scratch journal there is no such file: a run that is taken up again need not hold
    // its definition against it.
    runbook.file = file_name(&real.file).to_owned();
    runbook.stand_ins = None;
    runbook.guards = Vec::new();
    runbook.budgets = Budgets::default();
    // It may be certified at any time, and before anything else has been shown.
    runbook.window = None;
    runbook.requires = None;
    for scope in &mut runbook.scopes {
        scope.secrets.clear();
        scope.env.clear();
    }
    let (mut assumed, mut ruled_out) = (Vec::new(), BTreeSet::new());
    for (ix, step) in real.ixs().zip(&mut runbook.steps) {
        step.when.retain(|when| {
            let is_known =
                !when.condition.references().iter().any(|reference| reference[0] == "steps");
            let holds = is_known
                .then(|| when.condition.holds(&names::of_when(&state, when)).ok())
                .flatten();
            match holds {
                None => assumed.push(format!("{}: {}", step.id, when.condition.source())),
                Some(false) => drop(ruled_out.insert(ix)),
                Some(true) => {}
            }
            holds.is_some()
        });
        replace(ix, step).map_err(|error| error.to_string())?;
    }
    Ok(StandIn { runbook: Arc::new(runbook.with_index()), ruled_out, assumed })
}

/// Whether a step's action of this direction writes to the witness.
pub fn is_witnessed(step: &Step, direction: Direction) -> bool {
    step.act(direction).is_some_and(|act| act.action.is_a_command())
}

fn replace(ix: StepIx, step: &mut Step) -> Result<(), ConditionError> {
    step.file = file_name(&step.file).into();
    step.dry_run = DryRun::default();
    let forward = if step.hold.is_some() { &HOLDING } else { &FORWARD };
    step.act = act(ix, &step.act, &step.id, forward)?;
    if let Undo::Act(undo) = &step.undo {
        step.undo = Undo::Act(Box::new(act(ix, undo, &step.id, &UNDO)?));
    }
    if let Some(Hold { until, release, estimate }) = &step.hold {
        let release = Box::new(act(ix, release, &step.id, &RELEASE)?);
        step.hold = Some(Hold { until: *until, release, estimate: *estimate });
    }
    Ok(())
}

/// What stands in for `real`.
fn act(ix: StepIx, real: &Act, id: &str, effect: &Effect) -> Result<Act, ConditionError> {
    let action = match &real.action {
        Action::Task(task) => Action::Task(Task {
            instructions: plain(task.instructions.source()),
            fields: IndexMap::new(),
        }),
        Action::Approve(approve) => {
            Action::Approve(Approve { question: plain(approve.question.source()) })
        }
        Action::Notify(_) => {
            let content = Content::Words { subject: plain(id), body: Text::default() };
            Action::Notify(Notify { content, to: Vec::new() })
        }
        Action::Join => Action::Join,
        _ => {
            let line = |word: &str| {
                let values = "\"$STAND_IN\" \"$SWITCHOVER_DIRECTION\" \"$SWITCHOVER_ATTEMPT\" \
                    \"$SWITCHOVER_IDEMPOTENCY_KEY\"";
                format!("printf '{word} %s %s %s %s\\n' {values} >> {WITNESS}")
            };
            script(&format!("{}; sleep 0.005; {}; {}", line("begin"), effect.script, line("end")))
        }
    };
    let probe = real.probe.as_ref().map(|_| {
        let is = |there: bool| {
            Condition::compile(if there { "stdout == \"there\"" } else { "stdout == \"gone\"" })
        };
        let look = format!(
            "if test -e \"{MARKS}/$STAND_IN.{}\"; then echo there; else echo gone; fi",
            effect.mark
        );
        Ok(Probe {
            action: script(&look),
            done: is(effect.leaves_it)?,
            not_done: is(!effect.leaves_it)?,
        })
    });
    Ok(Act {
        action,
        env: IndexMap::from([("STAND_IN".to_owned(), Value::Text(Text::from(&*ix.0.to_string())))]),
        timeout: None,
        retry: real.retry.as_ref().map(|retry| Retry {
            attempts: retry.attempts,
            backoff: PAUSE,
            max_backoff: PAUSE,
            jitter: 0.0,
        }),
        idempotent: real.idempotent,
        probe: probe.transpose()?,
        expect: Vec::new(),
        capture: IndexMap::new(),
    })
}

fn script(script: &str) -> Action<Text> {
    let command = Command::Script {
        shell: vec!["sh".to_owned(), "-euc".to_owned()],
        script: script.to_owned(),
    };
    Action::Run(Run { command, cwd: None, stdin: None, keep_output: None })
}

/// The text without values, which nobody has.
fn plain(source: &str) -> Text {
    Text::from(&*source.replace("{{", "(").replace("}}", ")"))
}

fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}
