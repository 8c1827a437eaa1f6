//! `skip` and `resolve`: a person's decision about a step, with a reason, for the record.

use std::path::Path;

use clap::Args;

use super::CliError;
use super::run::checked_operator;
use crate::operate::{self, Found, Now, Resolved, Skipped};
use crate::report::say;
use crate::run::Verdict;

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
    let Skip { step: named, reason, run } = verb;
    let (run, step) = run_and_step(&named, run.as_deref());
    let run = Found::find(folder, run)?.take_to_decide(checked_operator()?)?;
    let Skipped { run, step } = run.skip(operate::Skip { step: step.to_owned(), reason })?;
    say(format_args!("{step} is skipped; next: switchover resume {run}"));
    Ok(0)
}

pub fn resolve(verb: Resolve, folder: &Path) -> Result<i32, CliError> {
    let Resolve { step: named, verdict, reason, set, run } = verb;
    let (run, step) = run_and_step(&named, run.as_deref());
    let run = Found::find(folder, run)?.take_to_decide(checked_operator()?)?;
    let verdict = match verdict {
        VerdictWord::Done => Verdict::Done,
        VerdictWord::NotDone => Verdict::NotDone,
        VerdictWord::Partial => Verdict::Partial,
        VerdictWord::Go => Verdict::Go,
        VerdictWord::NoGo => Verdict::NoGo,
    };
    let wanted = operate::Resolve { step: step.to_owned(), verdict, reason, set };
    let Resolved { run, step, now } = run.resolve(wanted)?;
    match now {
        Now::MayBePassed => {
            say(format_args!("{step} may be passed; next: switchover resume {run}"));
        }
        Now::Is(word) => say(format_args!("{step} is {word}; next: switchover resume {run}")),
    }
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
