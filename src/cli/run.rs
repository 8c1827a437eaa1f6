//! `run`: a new run of a runbook.

use std::io::IsTerminal;
use std::path::Path;

use clap::Args;

use super::source::Source;
use super::{CliError, Format, person};
use crate::effect::last_bytes;
use crate::engine::{self, Config, Exit};
use crate::journal::Journal;
use crate::operate::{RunKind, SessionEnd, Start, Started};
use crate::report::{self, Live, say, tell};
use crate::run::{Observer, Person, RunState, Stop};
use crate::runbook::{Direction, StepIx};

/// How much of an output's end is looked at, in bytes.
const LAST: u64 = 4096;

/// Starts a run and carries it out.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  switchover run runbooks/quickstart.yaml\
        \n  switchover run move.yaml --env production --set domain=shop.example.test --guided\
        \n  switchover run move.yaml --env production --dry-run")]
pub struct Run {
    #[command(flatten)]
    source: Source,
    /// Stop once this step is done; `resume` goes on.
    #[arg(long, value_name = "STEP")]
    until: Option<String>,
    /// Change nothing: read what a real run would read, and say of each step what it would do.
    #[arg(long, conflicts_with = "guided")]
    dry_run: bool,
    /// Swap the sides that the runbook declares, and do with each step what it says for that: as on
    /// the day on which all goes back.
    #[arg(long, conflicts_with = "dry_run")]
    live_test: bool,
    #[command(flatten)]
    leave: Override,
    /// A name for the run, besides its id.
    #[arg(long, value_parser = super::words)]
    name: Option<String>,
    #[command(flatten)]
    session: Session,
}

/// Whether a person lets a run begin although something is missing.
#[derive(Debug, Args)]
pub struct Override {
    /// Begin although the window is closed, or what the environment requires has not been shown.
    /// Needs a reason, which is journaled.
    #[arg(long = "override", requires = "reason")]
    wanted: bool,
    /// Why that is right this time.
    #[arg(long, requires = "wanted", value_parser = super::reason)]
    reason: Option<String>,
}

/// How many actions may run at once, if nobody says otherwise: the same on every machine, so that
/// what is rehearsed is what is run.
pub const PARALLEL: u16 = 4;

/// How a session is to go, for every verb that executes.
#[derive(Debug, Args)]
pub struct Session {
    /// How many actions may run at once.
    #[arg(
        long,
        value_name = "N",
        default_value_t = PARALLEL,
        value_parser = clap::value_parser!(u16).range(1..=256)
    )]
    parallel: u16,
    /// Stop before every step, show what it will do, and ask.
    #[arg(long)]
    guided: bool,
    /// Begin without asking, also if some steps have no undo, and pass points of no return.
    #[arg(long, short)]
    yes: bool,
    /// What is shown: a display for people, or the events as JSON Lines as they are committed.
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

pub fn run(verb: Run, folder: &Path) -> Result<i32, CliError> {
    let Run { source, until, dry_run, live_test, leave, name, session } = verb;
    let kind = match (dry_run, live_test) {
        (true, _) => RunKind::DryRun,
        (_, true) => RunKind::LiveTest,
        _ => RunKind::Real,
    };
    let Override { wanted: _, reason: overriding } = leave;
    let start = Start { source: source.into(), name, until, kind, overriding };
    let proposed = start.propose(folder)?;
    let admitted = proposed.admit(session.config()?)?;
    let without = admitted.without_undo();
    if !without.is_empty() {
        say(format_args!(
            "no undo is given for {}: a rollback will stop there and ask",
            report::shorten(&without.join(", "), 300)
        ));
        if admitted.is_attended() && !session.yes && !person::confirm("begin all the same?") {
            return Err(CliError::invalid(
                "nothing was begun",
                Some("say how these steps are undone, or `undo: none`; or begin with --yes"),
            ));
        }
    }
    let Started { end, lacking } = admitted.begin(&mut *session.display())?;
    let code = closing(&end, folder);
    for why in lacking.window.iter().chain(&lacking.evidence) {
        say(format_args!("  now        {why}"));
    }
    // A run that began now would be refused; what is not shown yet, this dry run may be a part of.
    Ok(if code == 0 && !lacking.window.is_empty() { 1 } else { code })
}

impl Session {
    pub fn config(&self) -> Result<Config, CliError> {
        let ask = person::at_terminal();
        if self.guided && ask.is_none() {
            return Err(CliError::invalid(
                "--guided needs a terminal to ask on",
                Some("leave it out, or run it in a terminal"),
            ));
        }
        Ok(Config {
            operator: checked_operator()?,
            parallel: self.parallel.into(),
            guided: self.guided,
            consents: self.yes,
            ask,
        })
    }

    pub fn display(&self) -> Box<dyn Observer> {
        match self.format {
            Format::Json => Box::new(report::JsonLines),
            Format::Text if std::io::stderr().is_terminal() => Box::new(Live::new()),
            Format::Text => Box::new(report::Plain),
        }
    }
}

/// Who acts: from SWITCHOVER_OPERATOR, or the login name and the machine.
pub fn operator() -> Person {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let host = hostname::get()
        .map_or_else(|_| "unknown".to_owned(), |name| name.to_string_lossy().into_owned());
    let user = || {
        variable("SUDO_USER")
            .or_else(|| variable("USER"))
            .or_else(|| variable("LOGNAME"))
            .unwrap_or_else(|| "unknown".to_owned())
    };
    Person(variable("SWITCHOVER_OPERATOR").unwrap_or_else(|| format!("{}@{host}", user())))
}

/// The same, for a verb that writes it down.
///
/// # Errors
/// If the name is longer than what is written down may be.
pub fn checked_operator() -> Result<Person, CliError> {
    let Person(name) = operator();
    let help = "nothing was changed. Give a shorter name with SWITCHOVER_OPERATOR";
    super::words(&name).map(Person).map_err(|why| {
        CliError::refused(format!("the operator's name is too long: {why}"), Some(help))
    })
}

/// The last words of a session, and its exit code.
pub fn closing(end: &SessionEnd, folder: &Path) -> i32 {
    let SessionEnd { state, exit } = end;
    let stop = match exit {
        Exit::Ended(_) => None,
        Exit::Stopped(stop) => Some(stop),
    };
    let said = |ix, direction| last_lines(state, folder, ix, direction);
    tell(&report::closing(state, engine::now(), stop, &said));
    match exit {
        Exit::Ended(_) | Exit::Stopped(Stop::Until { .. })
            if state.started.is_dry() && state.is_refused() =>
        {
            1
        }
        exit => exit.code(),
    }
}

/// What an attempt said last: of the one that nobody saw the end of, this may tell how far it came.
fn last_lines(state: &RunState, folder: &Path, ix: StepIx, direction: Direction) -> Option<String> {
    let attempt = state.attempts(ix, direction);
    let files = Journal::files_of(folder, state, ix, direction, attempt);
    let end = |ending: &str| {
        let bytes = last_bytes(&files.path(ending), LAST).ok()?;
        let text = String::from_utf8_lossy(&bytes);
        let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
        (!lines.is_empty()).then(|| lines[lines.len().saturating_sub(3)..].join("\n"))
    };
    end("out").or_else(|| end("err"))
}
