//! `certify`: a runbook of stand-ins, its executor really killed at each commit, and each time
//! resumed and rolled back for real.

mod doomed;
mod scratch;

use std::io::{ErrorKind, IsTerminal};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};

use crate::cli::{CliError, Format, print, print_json};
use crate::operate::load::{Source, load};
use crate::rehearsal::{
    Account, Certificate, Death, Difference, Killed, StandIn, Way, resumed, rolled_back, smooth,
    stand_in,
};
use crate::report::{certificate_text, say};
use crate::run::kind;
use crate::runbook::Span;

pub use doomed::{Doomed, VERB as DOOMED, doomed};
use scratch::Scratch;

/// After how many runs that end otherwise no more are tried.
const ENOUGH: usize = 20;

/// Kills the executor at every boundary of the journal, for real, and shows that resume and
/// rollback reach the same end.
#[derive(Debug, Args)]
#[command(
    after_help = "Nothing of the runbook is carried out: a stand-in command takes the place of \
        every action, people are answered for, and each run has a journal of its own in a \
        temporary folder (TMPDIR). The executor, its keeper, the journal and the verbs are the \
        real ones.\n\nExamples:\n  switchover certify runbooks/quickstart.yaml\
        \n  switchover certify move.yaml --env production --every 10"
)]
pub struct Certify {
    #[command(flatten)]
    source: Source,
    /// Try only every K-th boundary.
    #[arg(
        long,
        value_name = "K",
        default_value_t = 1,
        value_parser = clap::value_parser!(u32).range(1..)
    )]
    every: u32,
    /// The first boundary that is tried: with `--every 10`, 0 to 9 try different ones.
    #[arg(long, value_name = "N", default_value_t = 0)]
    offset: u32,
    /// How many runs are tried at once; by default as many as there are cores.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    parallel: Option<u16>,
    /// Keep the journals of all runs, not only of those that end otherwise.
    #[arg(long)]
    keep: bool,
    /// How it is shown.
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

pub fn certify(verb: Certify) -> Result<i32, CliError> {
    let real = load(&verb.source, true)?;
    let begun = Instant::now();
    let stand_in = Arc::new(stand_in(&real).map_err(|error| CliError::refused(error, None))?);
    let unwritable = |error: std::io::Error| {
        CliError::refused(
            format!(
                "no scratch journal can be made below {}: {error}",
                std::env::temp_dir().display()
            ),
            Some("name another place with TMPDIR"),
        )
    };
    let root = scratch_root().map_err(unwritable)?;
    let book = root.join("runbook.json");
    serde_json::to_vec(&real)
        .map_err(Into::into)
        .and_then(|text| std::fs::write(&book, text))
        .map_err(unwritable)?;
    let mut certificate = Certificate {
        runbook: real.name.clone(),
        environment: real.environment.clone(),
        steps: real.steps.len(),
        events: 0,
        boundaries: 0,
        tried: 0,
        runs: 0,
        took_ms: 0,
        assumed: stand_in.assumed.clone(),
        differences: Vec::new(),
        given_up: false,
    };
    match smooth_run(&root, &book, &stand_in) {
        Err(difference) => certificate.differences.push(difference),
        Ok((commits, account)) => {
            let lab = Lab {
                root: &root,
                book: &book,
                stand_in: &stand_in,
                smooth: account,
                keep: verb.keep,
            };
            let tried: Vec<u64> = commits
                .iter()
                .copied()
                .skip(verb.offset as usize)
                .step_by(verb.every as usize)
                .collect();
            certificate.events = lab.smooth.head();
            (certificate.boundaries, certificate.tried) = (commits.len(), tried.len());
            let workers = verb.parallel.map_or_else(
                || std::thread::available_parallelism().map_or(2, usize::from),
                usize::from,
            );
            let trials: Vec<Trial> = tried.into_iter().flat_map(trials_at).collect();
            let estimate = Span::from_millis(
                (begun.elapsed().as_millis() as u64).saturating_mul(trials.len() as u64)
                    / workers as u64,
            );
            say(format_args!(
                "{} boundaries in {} events: {} runs, which should be done in {estimate}",
                commits.len(),
                certificate.events,
                trials.len()
            ));
            lab.try_all(&trials, workers, &mut certificate);
        }
    }
    certificate.took_ms = begun.elapsed().as_millis() as u64;
    if certificate.differences.is_empty() && !verb.keep {
        let _ = std::fs::remove_dir_all(&root);
    } else if verb.keep {
        say(format_args!("kept in {}", root.display()));
    }
    match verb.format {
        Format::Text => print(&certificate_text(&certificate))?,
        Format::Json => print_json(&serde_json::to_value(&certificate).unwrap_or_default())?,
    };
    Ok(i32::from(!certificate.differences.is_empty()))
}

/// One run that is killed.
#[derive(Debug, Clone, Copy)]
struct Trial {
    at: u64,
    death: Death,
    way: Way,
}

fn trials_at(at: u64) -> impl Iterator<Item = Trial> {
    let deaths = [Death::BeforeLaunch, Death::Executor, Death::WithKeeper];
    deaths
        .into_iter()
        .flat_map(move |death| [Way::Resume, Way::Rollback].map(|way| Trial { at, death, way }))
}

/// Where runs are tried, and what they are held against.
struct Lab<'a> {
    root: &'a Path,
    book: &'a Path,
    stand_in: &'a Arc<StandIn>,
    smooth: Account,
    keep: bool,
}

impl Lab<'_> {
    fn try_all(&self, trials: &[Trial], workers: usize, certificate: &mut Certificate) {
        let next = AtomicUsize::new(0);
        let (send, receive) = std::sync::mpsc::channel();
        let bar = progress(trials.len());
        std::thread::scope(|scope| {
            for _ in 0..workers {
                let (send, next) = (send.clone(), &next);
                scope.spawn(move || {
                    while let Some(trial) = trials.get(next.fetch_add(1, Ordering::Relaxed)) {
                        if send.send(self.try_one(*trial)).is_err() {
                            break;
                        }
                    }
                });
            }
            drop(send);
            for difference in receive {
                certificate.runs += 1;
                bar.inc(1);
                certificate.differences.extend(difference);
                if certificate.differences.len() >= ENOUGH && certificate.runs < trials.len() {
                    next.store(trials.len(), Ordering::Relaxed);
                    certificate.given_up = true;
                }
            }
        });
        bar.finish_and_clear();
        certificate
            .differences
            .sort_by_key(|difference| difference.killed.as_ref().map(|killed| killed.event));
    }

    /// Tries one run, in a folder of its own; what does not hold of it.
    fn try_one(&self, trial: Trial) -> Option<Difference> {
        let name = format!("{:05}-{}-{}", trial.at, word(&trial.death), word(&trial.way));
        let kept = self.root.join(name);
        let mut died = trial.at;
        let end = Scratch::create(kept.clone(), self.stand_in).and_then(|scratch| {
            let ended = scratch.begin(self.book, Some((trial.at, trial.death)))?;
            // Of several steps at once the order may differ, and the last commit of one run be the
            // last but one of another.
            died = if ended.was_killed {
                ended.commits.last().copied().unwrap_or(died)
            } else {
                self.smooth.head()
            };
            Ok((scratch.take_up(&word(&trial.way))?, scratch))
        });
        let (what, account, scratch) = match end {
            Err(error) => (vec![error], None, None),
            Ok((account, scratch)) => {
                let what = match trial.way {
                    Way::Resume => resumed(&account, &self.smooth),
                    Way::Rollback => rolled_back(&account),
                };
                (what, Some(account), Some(scratch))
            }
        };
        if what.is_empty() {
            scratch.filter(|_| !self.keep).into_iter().for_each(Scratch::remove);
            return None;
        }
        let events = account.as_ref().map_or(&self.smooth.events, |account| &account.events);
        let fact = events.get(died as usize - 1).map(|event| &event.fact);
        let killed = Killed {
            event: died,
            kind: fact.map_or("", kind),
            step: fact.and_then(|fact| fact.step()).map(ToString::to_string),
            death: trial.death,
            way: trial.way,
        };
        Some(Difference { killed: Some(killed), what, kept: kept.display().to_string() })
    }
}

/// The run in which nobody is killed: the last event of each of its commits, and its end.
fn smooth_run(
    root: &Path,
    book: &Path,
    stand_in: &Arc<StandIn>,
) -> Result<(Vec<u64>, Account), Difference> {
    let folder = root.join("smooth");
    let end = Scratch::create(folder.clone(), stand_in)
        .and_then(|scratch| Ok((scratch.begin(book, None)?.commits, scratch.account()?)));
    let what = match end {
        Err(error) => vec![error],
        Ok((commits, account)) => match smooth(&account) {
            wrong if wrong.is_empty() => return Ok((commits, account)),
            wrong => wrong,
        },
    };
    Err(Difference { killed: None, what, kept: folder.display().to_string() })
}

/// A new folder for nobody else.
fn scratch_root() -> std::io::Result<PathBuf> {
    let mut number = 0;
    loop {
        let folder = std::env::temp_dir()
            .join(format!("switchover-certify-{}-{number}", std::process::id()));
        match scratch::private(&folder) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => number += 1,
            made => return made.map(|()| folder),
        }
    }
}

fn progress(runs: usize) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{wide_bar} {pos} of {len} runs, about {eta} left")
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(runs as u64).with_style(style)
}

/// The word by which programs know it.
fn word(value: &impl serde::Serialize) -> String {
    serde_json::to_value(value)
        .ok()
        .and_then(|value| value.as_str().map(str::to_owned))
        .unwrap_or_default()
}
