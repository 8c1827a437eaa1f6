//! What goes wrong on the command line: a kind, a cause, and what to do next.

use std::io::IsTerminal;

use console::Style;
use miette::{Diagnostic, GraphicalReportHandler, GraphicalTheme, LabeledSpan, NamedSource};

use crate::certify::CertifyError;
use crate::journal::JournalError;
use crate::message::in_place;
use crate::operate::{LoadError, OperateError, OutputsError};
use crate::report::{draw, say, say_in_colours, shown};
use crate::runbook::problem::{Place, Problem, Problems};

/// An error with its exit code.
#[derive(Debug)]
pub enum CliError {
    /// The runbook, or the command line, is invalid. Exit 2.
    Problems(Problems),
    Invalid {
        message: String,
        help: Option<String>,
    },
    /// Refused, for what is listed, if anything is. Exit 6.
    Refused {
        message: String,
        list: Vec<String>,
        help: Option<String>,
    },
    Journal(JournalError),
}

impl From<JournalError> for CliError {
    fn from(error: JournalError) -> CliError {
        CliError::Journal(error)
    }
}

impl From<LoadError> for CliError {
    fn from(error: LoadError) -> CliError {
        let message = error.to_string();
        match error {
            LoadError::Problems(problems) => CliError::Problems(problems),
            LoadError::ValuesUnreadable { .. } => CliError::invalid(message, None),
            LoadError::NoValues { .. } => {
                CliError::invalid(message, Some("it holds `parameter: value` lines"))
            }
            LoadError::NoValue { .. } => {
                CliError::invalid(format!("--set {message}"), Some("write --set key=value"))
            }
            LoadError::StandIns { .. } => CliError::invalid(
                message,
                Some(
                    "`stand_ins` names a folder beside the runbook; an empty text means that there \
                     are none",
                ),
            ),
        }
    }
}

impl From<OutputsError> for CliError {
    fn from(error: OutputsError) -> CliError {
        match &error {
            OutputsError::NoValue { .. } | OutputsError::Unfit { .. } => {
                CliError::invalid(format!("--set {error}"), None)
            }
            OutputsError::NoField { .. } => CliError::invalid(error.to_string(), None),
            OutputsError::Missing { .. } => {
                CliError::invalid(error.to_string(), Some("give each with --set field=value"))
            }
        }
    }
}

/// What shows where each step stands.
const STATUS: &str = "`switchover status` shows where each step stands";

impl From<OperateError> for CliError {
    fn from(error: OperateError) -> CliError {
        use OperateError as E;
        let message = error.to_string();
        let refused = |help: &str| CliError::refused(&*message, Some(help));
        match error {
            E::Load(error) => error.into(),
            E::Journal(error) => error.into(),
            E::Outputs(error) => error.into(),
            E::NoStep { .. } => CliError::invalid(message, None),
            E::NoLength { .. }
            | E::NoStandIn { .. }
            | E::Cancelled { .. }
            | E::Cancelling
            | E::Over { .. }
            | E::SameDefinition => CliError::refused(message, None),
            E::MayNotBegin { missing } => CliError::refused_for(
                message,
                missing,
                Some(
                    "show what is missing, or let it begin all the same with --override --reason \
                     '…'",
                ),
            ),
            E::MayNotGoOn { missing } => CliError::refused_for(
                message,
                missing,
                Some("show what is missing, or take it all the same with --override"),
            ),
            E::NotCarriedOut { .. } => refused(
                "begin another with `switchover run`; `switchover list` has those that there are",
            ),
            E::NoFolder { .. } => refused(
                "its relative paths would mean other files; bring the folder back, or begin a new \
                 run",
            ),
            E::RollingBackAlready => {
                CliError::invalid(message, Some("leave --to out to go on with it"))
            }
            E::RollingBack => refused("`switchover rollback` goes on with it"),
            E::DoesNotFit { .. } | E::DecisionDoesNotFit { .. } => refused(STATUS),
            E::MayStillBegin => refused(
                "`ps -ef --forest` shows them below `exe keep`; let it go on if it is stopped, or \
                 end it, and try again",
            ),
            E::EndIsOnRecord { .. } => refused("`switchover resume` takes it up"),
            E::StillRuns { .. } => refused(
                "`switchover resume` watches it; wait until it has ended, or end it, and try again",
            ),
            E::NothingToResolve { .. } => refused("`switchover status` shows what is open"),
            E::PointNeedsGo { .. } => {
                refused("`switchover rollback` or `switchover cancel` goes another way")
            }
            E::Conflicts { .. } => refused(
                "leave what has started in the file as it is; if it failed for good, `switchover \
                 skip` it, and add what replaces it under another name",
            ),
        }
    }
}

impl From<CertifyError> for CliError {
    fn from(error: CertifyError) -> CliError {
        match error {
            CertifyError::Operate(error) => error.into(),
            CertifyError::NoStandIn { .. } | CertifyError::Unreadable { .. } => {
                CliError::refused(error.to_string(), None)
            }
            CertifyError::Scratch { .. } => {
                CliError::refused(error.to_string(), Some("name another place with TMPDIR"))
            }
        }
    }
}

impl CliError {
    pub fn invalid(message: impl Into<String>, help: Option<&str>) -> CliError {
        CliError::Invalid { message: message.into(), help: help.map(str::to_owned) }
    }

    pub fn refused(message: impl Into<String>, help: Option<&str>) -> CliError {
        CliError::refused_for(message, Vec::new(), help)
    }

    /// The same, with each reason as a line of its own.
    pub fn refused_for(
        message: impl Into<String>,
        list: Vec<String>,
        help: Option<&str>,
    ) -> CliError {
        CliError::Refused { message: message.into(), list, help: help.map(str::to_owned) }
    }

    /// Shows it on standard error and returns its exit code.
    pub fn show(&self) -> i32 {
        match self {
            CliError::Problems(problems) => {
                show_problems(problems);
                2
            }
            CliError::Invalid { message, help } => plain(message, &[], help.as_deref(), 2),
            CliError::Refused { message, list, help } => plain(message, list, help.as_deref(), 6),
            CliError::Journal(error) => plain(
                &error.to_string(),
                &[],
                error.help().as_deref(),
                if error.is_refusal() { 6 } else { 7 },
            ),
        }
    }
}

fn plain(message: &str, list: &[String], help: Option<&str>, code: i32) -> i32 {
    say_in_colours(&[
        (Style::new().red().bold(), "error:"),
        (Style::new(), &format!(" {message}")),
    ]);
    list.iter().for_each(|item| say(format_args!("  {item}")));
    if let Some(help) = help {
        say(format_args!("  next: {help}"));
    }
    code
}

/// A problem as the drawing library wants it.
#[derive(Debug, thiserror::Error)]
#[error("{}", .problem.message)]
struct Drawn<'a> {
    problem: &'a Problem,
    text: NamedSource<String>,
    span: Option<(usize, usize)>,
}

impl Diagnostic for Drawn<'_> {
    fn help<'a>(&'a self) -> Option<Box<dyn std::fmt::Display + 'a>> {
        self.problem.help.as_ref().map(|help| Box::new(help) as Box<dyn std::fmt::Display>)
    }

    fn source_code(&self) -> Option<&dyn miette::SourceCode> {
        self.span.map(|_| &self.text as &dyn miette::SourceCode)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        self.span.map(|(at, length)| {
            Box::new(std::iter::once(LabeledSpan::underline((at, length))))
                as Box<dyn Iterator<Item = LabeledSpan>>
        })
    }
}

fn show_problems(problems: &Problems) {
    let colours = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let theme = if colours { GraphicalTheme::unicode() } else { GraphicalTheme::none() };
    let handler = GraphicalReportHandler::new_themed(theme).with_width(100).with_context_lines(1);
    for problem in &problems.list {
        let place = problem.place;
        let (name, text) = problems.names.get(place.file as usize).cloned().unwrap_or_default();
        // The drawing puts colours into these texts: they are made safe before. Lines and columns
        // stay as they are.
        let (name, text) = (shown(&name), in_place(&text));
        let problem =
            &Problem::new(place, shown(&problem.message), problem.help.as_deref().map(shown));
        // The drawing repeats neither file nor place where there is no line to show.
        let span = offset(&text, place).map(|at| (at, length(&text, at, place)));
        let shown = Drawn { problem, text: NamedSource::new(name.clone(), text), span };
        let mut drawn = String::new();
        if handler.render_report(&mut drawn, &shown).is_err() || span.is_none() {
            drawn = format!("  {name}: {}\n", problem.message);
            if let Some(help) = &problem.help {
                drawn.push_str(&format!("  help: {help}\n"));
            }
        }
        let at = format!(" {name}:{}:{}", place.line, place.column);
        say_in_colours(&[(Style::new().red().bold(), "error"), (Style::new(), &at)]);
        draw(&drawn);
    }
    say(format_args!("{}; nothing was journaled", problems));
}

/// The byte at which a place begins.
fn offset(text: &str, place: Place) -> Option<usize> {
    let mut at = 0;
    for _ in 1..place.line {
        at += text[at..].find('\n')? + 1;
    }
    let line = text[at..].split('\n').next().unwrap_or_default();
    let column = place.column.saturating_sub(1) as usize;
    Some(at + line.char_indices().nth(column).map_or(line.len(), |(at, _)| at))
        .filter(|_| !text.is_empty())
}

fn length(text: &str, at: usize, place: Place) -> usize {
    let line = text[at..].split('\n').next().unwrap_or_default().trim_end();
    let wanted = place.length.max(1) as usize;
    line.char_indices().nth(wanted).map_or(line.len(), |(at, _)| at)
}
