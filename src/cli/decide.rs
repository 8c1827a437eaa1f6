//! `skip` and `resolve`: a person's decision about a step, with a reason, for the record.

use std::path::Path;
use std::sync::Arc;

use clap::Args;

use super::CliError;
use super::resume::find;
use super::run::{checked_operator, operator};
use crate::engine;
use crate::journal::{Head, Journal, Loaded};
use crate::report::say;
use crate::run::{Fact, SkipReason, StepResolved, StillRunning, Track, Verdict};
use crate::runbook::{Action, Direction, Outputs};

/// Passes over a step: what needs it goes on as if it were done.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  switchover skip warm-cache --reason 'the cache warms by itself' && \
        switchover resume"
)]
pub struct Skip {
    /// The step; the run may stand before it.
    #[arg(required = true, num_args = 1..=2, value_names = ["RUN", "STEP"])]
    step: Vec<String>,
    /// Why, for the record.
    #[arg(long, value_parser = super::reason)]
    reason: String,
    /// The run; by default the latest.
    #[arg(long, value_name = "RUN")]
    run: Option<String>,
}

/// Says what a step's state is: a task that was done, a decision, an attempt whose outcome only a
/// person can know.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  switchover resolve call-partner --as done --set ticket=OPS-12 \
        --reason 'they confirmed'\n  switchover resolve go-live --as no-go --reason 'replica lags'"
)]
pub struct Resolve {
    /// The step; the run may stand before it.
    #[arg(required = true, num_args = 1..=2, value_names = ["RUN", "STEP"])]
    step: Vec<String>,
    /// What it is.
    #[arg(long = "as", value_enum)]
    verdict: VerdictWord,
    /// Why, or how you know, for the record.
    #[arg(long, value_parser = super::reason)]
    reason: String,
    /// A field of the task, or an output of the step.
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// The run; by default the latest.
    #[arg(long, value_name = "RUN")]
    run: Option<String>,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
pub enum VerdictWord {
    Done,
    NotDone,
    /// Done in part: it is undone first, then begun anew.
    Partial,
    Go,
    NoGo,
}

pub fn skip(verb: Skip, folder: &Path) -> Result<i32, CliError> {
    let (run, step) = run_and_step(&verb.step, verb.run.as_deref());
    let mut taken = take(run, folder)?;
    let step = find(&taken.run.1.state, step)?;
    refuse_running(&taken, Some(&step))?;
    let mut facts = resumption(&taken);
    facts.push(Fact::StepSkipped {
        step: Arc::clone(&step),
        because: SkipReason::Operator { actor: operator(), reason: verb.reason },
    });
    let state =
        engine::record(&mut taken.journal, taken.run, facts, &operator()).map_err(as_refusal)?;
    say(format_args!("{step} is skipped; next: switchover resume {}", state.started.run));
    Ok(0)
}

pub fn resolve(verb: Resolve, folder: &Path) -> Result<i32, CliError> {
    let (run, step) = run_and_step(&verb.step, verb.run.as_deref());
    let mut taken = take(run, folder)?;
    let state = &taken.run.1.state;
    let step = find(state, step)?;
    refuse_running(&taken, Some(&step))?;
    let ix = state.runbook.find(&step).unwrap_or(crate::runbook::StepIx(0));
    if state.unconfirmed().any(|waiting| waiting == ix) {
        return confirm(taken, step, verb);
    }
    let unclear = |direction: &Direction| {
        matches!(
            state.track(ix, *direction),
            Track::InDoubt { .. }
                | Track::Failed { .. }
                | Track::Running { .. }
                | Track::Waiting { .. }
        )
    };
    let asked = |direction: &Direction| {
        *direction == Direction::Undo
            && state.rollback.as_ref().is_some_and(|rollback| rollback.ready.contains(&ix))
    };
    let mode_is_back = state.rollback.is_some();
    let order = if mode_is_back {
        [Direction::Undo, Direction::Release, Direction::Forward]
    } else {
        [Direction::Forward, Direction::Release, Direction::Undo]
    };
    let Some(direction) = order.into_iter().find(unclear).or_else(|| order.into_iter().find(asked))
    else {
        return Err(CliError::refused(
            format!("{step} is {}: there is nothing to resolve", state.step(ix).word()),
            Some("`switchover status` shows what is open"),
        ));
    };
    let outputs = outputs(
        &verb.set,
        &state.runbook.step(ix).act.action,
        matches!(verb.verdict, VerdictWord::Done | VerdictWord::Go),
    )?;
    let verdict = match verb.verdict {
        VerdictWord::Done => Verdict::Done,
        VerdictWord::NotDone => Verdict::NotDone,
        VerdictWord::Partial => Verdict::Partial,
        VerdictWord::Go => Verdict::Go,
        VerdictWord::NoGo => Verdict::NoGo,
    };
    let mut facts = resumption(&taken);
    facts.push(Fact::StepResolved(StepResolved {
        step: Arc::clone(&step),
        direction,
        verdict,
        actor: operator(),
        reason: verb.reason,
        outputs,
    }));
    let state =
        engine::record(&mut taken.journal, taken.run, facts, &operator()).map_err(as_refusal)?;
    say(format_args!(
        "{step} is {}; next: switchover resume {}",
        state.step(ix).word(),
        state.started.run
    ));
    Ok(0)
}

/// What was named: a step of the latest run, or a run and its step.
fn run_and_step<'a>(named: &'a [String], run: Option<&'a str>) -> (Option<&'a str>, &'a str) {
    match named {
        [run, step, ..] => (Some(run), step),
        [step] => (run, step),
        [] => (run, ""),
    }
}

/// A word about a point of no return that is to be passed.
fn confirm(mut taken: Taken, step: crate::runbook::StepId, verb: Resolve) -> Result<i32, CliError> {
    if !matches!(verb.verdict, VerdictWord::Go) {
        return Err(CliError::refused(
            format!(
                "{step} is a point of no return that waits for a go; without one it is not passed"
            ),
            Some("`switchover rollback` or `switchover cancel` goes another way"),
        ));
    }
    let fact =
        Fact::PointConfirmed { step: Arc::clone(&step), actor: operator(), reason: verb.reason };
    let state = engine::record(&mut taken.journal, taken.run, vec![fact], &operator())
        .map_err(as_refusal)?;
    say(format_args!("{step} may be passed; next: switchover resume {}", state.started.run));
    Ok(0)
}

/// Fields of a task by their kinds; other outputs as text.
fn outputs(
    set: &[String],
    action: &Action<crate::runbook::Text>,
    complete: bool,
) -> Result<Outputs, CliError> {
    let mut outputs = Outputs::new();
    let fields = match action {
        Action::Task(task) => Some(&task.fields),
        _ => None,
    };
    for pair in set {
        let (key, value) = pair
            .split_once('=')
            .ok_or_else(|| CliError::invalid(format!("--set {pair} has no `=`"), None))?;
        let value = match fields.and_then(|fields| fields.get(key)) {
            Some(kind) => kind
                .parse(value)
                .map_err(|error| CliError::invalid(format!("--set {key}: {error}"), None))?,
            None if fields.is_some() => {
                return Err(CliError::invalid(format!("the task has no field `{key}`"), None));
            }
            None => value.into(),
        };
        outputs.insert(key.to_owned(), value);
    }
    let missing: Vec<&str> = fields
        .into_iter()
        .flatten()
        .filter(|(name, kind)| kind.required && !outputs.contains_key(*name))
        .map(|(name, _)| name.as_str())
        .collect();
    if complete && !missing.is_empty() {
        return Err(CliError::invalid(
            format!("the task asks for {}", missing.join(", ")),
            Some("give each with --set field=value"),
        ));
    }
    Ok(outputs)
}

/// A run that was killed is taken up first: what was running is then in doubt, and can be decided.
pub fn resumption(taken: &Taken) -> Vec<Fact> {
    let results = engine::still_missing(&taken.run.1).len();
    let killed = taken.run.1.state.sets.running.len() > results;
    let resumed = || Fact::RunResumed {
        operator: operator(),
        until: None,
        still_running: taken.still_running.clone(),
    };
    killed.then(resumed).into_iter().collect()
}

/// A run that nobody executes.
pub struct Taken {
    pub journal: Journal,
    pub run: (Head, Loaded),
    /// What an executor that died left running.
    pub still_running: Vec<StillRunning>,
}

pub fn take(run: Option<&str>, folder: &Path) -> Result<Taken, CliError> {
    drop(Journal::open_to_read(folder)?);
    let journal = Journal::open(folder)?;
    let run = journal.find(run)?;
    let taken = journal.take(&run, &engine::holder(&run, &checked_operator()?))?;
    let legacy = engine::legacy(&journal, &taken.1.state)?;
    if legacy.may_begin {
        return Err(CliError::refused(
            "the process that began the commands of an executor that died has not said what it has \
             begun; nothing was changed",
            Some(
                "`ps -ef --forest` shows them below `exe keep`; let it go on if it is stopped, or \
                 end it, and try again",
            ),
        ));
    }
    if let Some(step) = legacy.ended {
        return Err(CliError::refused(
            format!(
                "how the command of {step} ended is on record: there is nothing to guess; nothing \
                 was changed"
            ),
            Some("`switchover resume` takes it up"),
        ));
    }
    Ok(Taken { journal, run: taken, still_running: legacy.still_running })
}

/// What still runs is not yet to be decided about; `step` stands for all of them if there is none.
pub fn refuse_running(taken: &Taken, step: Option<&str>) -> Result<(), CliError> {
    match taken.still_running.iter().find(|still| step.is_none_or(|step| step == &*still.step)) {
        None => Ok(()),
        Some(still) => Err(CliError::refused(
            format!(
                "the command of {} still runs, left by an executor that died; nothing was changed",
                still.step
            ),
            Some(
                "`switchover resume` watches it; wait until it has ended, or end it, and try again",
            ),
        )),
    }
}

/// A decision that does not fit the state is the person's slip, not a broken log.
pub fn as_refusal(error: crate::journal::JournalError) -> CliError {
    match error {
        crate::journal::JournalError::Illegal { source, .. } => CliError::refused(
            format!("{}: {}", source.step.unwrap_or_default(), source.why),
            Some("`switchover status` shows where each step stands"),
        ),
        other => other.into(),
    }
}
