//! `rehearse`: the whole migration on a simulated world, with everything that can go wrong.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;

use super::source::Source;
use super::{CliError, Format, as_json, print, print_json};
use crate::journal::{Durations, Journal, sha256};
use crate::operate::{self, OperateError, load};
use crate::rehearsal::{self, Ending, Mishap, Mishaps, Rehearsal, Setting};
use crate::report::{self, Imprint, Lines};
use crate::run::{Expected, Rehearsed};
use crate::runbook::{Direction, Runbook, Span, StepIx};

/// Rehearses a runbook on a simulated world: once smoothly, once for each thing that can go wrong,
/// and many times by chance.
#[derive(Debug, Args)]
#[command(
    after_help = "Nothing is carried out. Durations are the steps' estimates or, where they have \
        none, the median of earlier runs in this journal.\n\nExamples:\
        \n  switchover rehearse move.yaml --env production\
        \n  switchover rehearse move.yaml --fail-at point-name\
        \n  switchover rehearse move.yaml --slow copy=3x --runs 10000\
        \n  switchover rehearse move.yaml --html rehearsal.html"
)]
pub struct Rehearse {
    #[command(flatten)]
    source: Source,
    /// Try only this: the step fails, or is refused if it asks a person.
    #[arg(long, value_name = "STEP")]
    fail_at: Vec<String>,
    /// Try only this: the executor is killed in the step.
    #[arg(long, value_name = "STEP")]
    kill_at: Vec<String>,
    /// Try no mishap: only the smooth run, and the runs by chance.
    #[arg(long, conflicts_with_all = ["fail_at", "kill_at"])]
    no_mishaps: bool,
    /// A step that takes so many times longer.
    #[arg(long, value_name = "STEP=3x")]
    slow: Vec<String>,
    /// The same seed gives the same chances.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many runs with durations by chance.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(0..=100_000))]
    runs: u32,
    /// How many actions may run at once.
    #[arg(
        long,
        value_name = "N",
        default_value_t = super::run::PARALLEL,
        value_parser = clap::value_parser!(u16).range(1..=256)
    )]
    parallel: u16,
    /// How long the operator takes to react to a stop or a dead executor.
    #[arg(long, value_name = "DURATION", default_value = "1m")]
    reaction: Span,
    /// Show also the mishaps after which the run goes on by itself.
    #[arg(long)]
    all: bool,
    /// Write it also as a page for people: one file of HTML that needs nothing else.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// How it is shown.
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

pub fn rehearse(verb: Rehearse, folder: &Path) -> Result<i32, CliError> {
    verb.html.as_deref().map_or(Ok(()), has_place)?;
    let runbook = Arc::new(load(&verb.source.into(), true)?);
    // A journal that is not there has no history; it is not made for that.
    let history = if folder.join("switchover.db").exists() {
        Journal::open_to_read(folder)?.history(&runbook, "")?
    } else {
        Durations::default()
    };
    let find = |name: &str| -> Result<StepIx, OperateError> { operate::step_named(&runbook, name) };
    let slow = verb
        .slow
        .iter()
        .map(|slow| slower(&runbook, slow))
        .collect::<Result<HashMap<_, _>, _>>()?;
    let id = |ix: StepIx| Arc::clone(&runbook.step(ix).id);
    let mut mishaps = Vec::new();
    for name in &verb.fail_at {
        let ix = find(name)?;
        let is_asked = runbook.step(ix).act.action.is_for_a_person();
        mishaps.push(if is_asked {
            Mishap::Refused { step: id(ix) }
        } else {
            Mishap::Fails { step: id(may_go_wrong(&runbook, ix)?) }
        });
    }
    for name in &verb.kill_at {
        mishaps.push(Mishap::KilledIn { step: id(may_go_wrong(&runbook, find(name)?)?) });
    }
    let mishaps =
        if mishaps.is_empty() && !verb.no_mishaps { Mishaps::All } else { Mishaps::These(mishaps) };
    let both = |ix: StepIx| [Direction::Forward, Direction::Undo].map(|direction| (ix, direction));
    let spread =
        |of: (StepIx, Direction)| Some((of, history.spread(&runbook.step(of.0).id, of.1)?));
    let spreads = runbook.ixs().flat_map(both).filter_map(spread).collect();
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let (parallel, reaction, seed) = (verb.parallel.into(), verb.reaction, verb.seed);
    let setting =
        Setting { parallel, seed, began: crate::engine::now(), reaction, slow, tells: true };
    let plan = rehearsal::Plan { setting, mishaps, runs: verb.runs as usize, spreads, threads };
    let found = rehearsal::rehearse(&runbook, &Expected::of(&runbook, &history), &plan)
        .map_err(|error| CliError::refused(error, None))?;
    keep(
        &found,
        &runbook,
        verb.fail_at.is_empty()
            && verb.kill_at.is_empty()
            && verb.slow.is_empty()
            && !verb.no_mishaps,
        folder,
    );
    match verb.format {
        Format::Text => print(&report::rehearsal_text(&found, verb.all))?,
        Format::Json => print_json(&as_json(&found)?)?,
    };
    // What was found is shown also if the page cannot be written.
    if let Some(path) = &verb.html {
        write_page(&found, path)?;
        if matches!(verb.format, Format::Text) {
            let mut out = Lines::default();
            out.space();
            out.line(format_args!("the page is {}", path.display()));
            print(&out)?;
        }
    }
    Ok(if found.smooth.ends == Ending::Finished { 0 } else { 1 })
}

/// A rehearsal is evidence. One that cannot be journaled is still worth reading.
fn keep(found: &Rehearsal, runbook: &Runbook, all: bool, folder: &Path) {
    let stuck = found.cases.iter().filter(|case| case.is_stuck()).count();
    let finished = found.smooth.ends == Ending::Finished;
    let rehearsed =
        Rehearsed { seed: found.seed, finished, mishaps: found.cases.len(), stuck, all };
    let operator = super::run::operator();
    if let Err(error) = operate::keep_rehearsal(folder, runbook, rehearsed, &operator) {
        report::say(format_args!(
            "this rehearsal is not journaled, and is no evidence for a run: {error}"
        ));
    }
}

/// A step that does something outside, or asks somebody.
fn may_go_wrong(runbook: &Runbook, ix: StepIx) -> Result<StepIx, CliError> {
    let step = runbook.step(ix);
    if rehearsal::takes_time(step) || step.act.action.is_for_a_person() {
        return Ok(ix);
    }
    let message = format!(
        "{} does nothing outside in which it could fail or die: it is a {}",
        step.id,
        step.act.action.kind()
    );
    Err(CliError::invalid(
        message,
        Some("name a step that does something; of a nested runbook, one of its own steps"),
    ))
}

/// Looked at before the work, which may take minutes.
fn has_place(path: &Path) -> Result<(), CliError> {
    let folder =
        path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let wrong = if !folder.is_dir() {
        format!("there is no folder {}", folder.display())
    } else if path.is_dir() {
        "it is a folder".to_owned()
    } else {
        return Ok(());
    };
    Err(CliError::refused(
        format!("the page {} cannot be written: {wrong}; nothing was rehearsed", path.display()),
        Some(WHERE_TO),
    ))
}

const WHERE_TO: &str = "name a file in a folder that is there and that you may write to";

fn write_page(found: &Rehearsal, path: &Path) -> Result<(), CliError> {
    let body = serde_json::to_vec(&*found.lived.state.runbook).unwrap_or_default();
    let imprint = Imprint {
        digest: sha256(&body).0,
        made: crate::engine::now(),
        version: env!("CARGO_PKG_VERSION"),
    };
    let page =
        report::rehearsal_page(found, &imprint).map_err(|error| CliError::refused(error, None))?;
    // Whoever opens it meanwhile sees the old page or the new one.
    let beside = path.with_extension(format!("{}.partial", std::process::id()));
    let write = std::fs::write(&beside, page).and_then(|()| std::fs::rename(&beside, path));
    write.map_err(|error| {
        let _ = std::fs::remove_file(&beside);
        let message = format!(
            "the page {} cannot be written: {error}; what was there is as it was",
            path.display()
        );
        CliError::refused(message, Some(WHERE_TO))
    })
}

fn slower(runbook: &Runbook, text: &str) -> Result<(StepIx, f64), CliError> {
    let wrong = || {
        CliError::invalid(format!("--slow {text} is not understood"), Some("write --slow STEP=3x"))
    };
    let (name, times) = text.split_once('=').ok_or_else(wrong)?;
    let times: f64 = times.trim_end_matches('x').parse().map_err(|_| wrong())?;
    let ix = operate::step_named(runbook, name)?;
    (times > 0.0 && times <= 1000.0).then_some((ix, times)).ok_or_else(wrong)
}
