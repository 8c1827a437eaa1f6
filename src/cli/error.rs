//! What goes wrong on the command line: a kind, a cause, and what to do next.

use std::io::IsTerminal;

use console::Style;
use miette::{Diagnostic, GraphicalReportHandler, GraphicalTheme, LabeledSpan, NamedSource};

use crate::journal::JournalError;
use crate::message::in_place;
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

impl From<Problems> for CliError {
    fn from(problems: Problems) -> CliError {
        CliError::Problems(problems)
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
