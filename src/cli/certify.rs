//! `certify`: a runbook of stand-ins, its executor really killed at each commit, and each time
//! resumed and rolled back for real.

use std::io::IsTerminal;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};

use super::source::Source;
use super::{CliError, Format, as_json, print, print_json};
use crate::certify::{self, Certified, Progress, Wanted};
use crate::operate::load;
use crate::report::{certificate_text, say};

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
    let Certify { source, every, offset, parallel, keep, format } = verb;
    let real = load(&source.into(), true)?;
    let wanted = Wanted {
        every: every as usize,
        offset: offset as usize,
        parallel: parallel.map(usize::from),
        keep,
    };
    let mut bar = ProgressBar::hidden();
    let mut tell = |progress| match progress {
        Progress::Planned { boundaries, events, runs, estimate } => {
            say(format_args!(
                "{boundaries} boundaries in {events} events: {runs} runs, which should be done in \
                 {estimate}"
            ));
            bar = bar_of(runs);
        }
        Progress::Tried => bar.inc(1),
    };
    let certified = certify::certify(&real, &wanted, &mut tell);
    bar.finish_and_clear();
    let Certified { certificate, kept } = certified?;
    if let Some(folder) = kept {
        say(format_args!("kept in {}", folder.display()));
    }
    match format {
        Format::Text => print(&certificate_text(&certificate))?,
        Format::Json => print_json(&as_json(&certificate)?)?,
    };
    Ok(i32::from(!certificate.differences.is_empty()))
}

fn bar_of(runs: usize) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{wide_bar} {pos} of {len} runs, about {eta} left")
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(runs as u64).with_style(style)
}
