//! The command line: arguments to exit code. One file per verb, its arguments beside it.

mod amend;
mod audit;
mod certify;
mod check;
mod decide;
mod doomed;
mod error;
mod list;
mod logs;
mod person;
mod plan;
mod rehearse;
mod resume;
mod run;
mod source;
mod status;

use std::path::PathBuf;
use std::sync::Arc;

use clap::error::{ContextKind, ContextValue};
use clap::{CommandFactory, Parser, Subcommand};

pub use error::CliError;

use crate::message::json_shown;
use crate::report::{Lines, shown};
use crate::runbook::limit::MAX_WORDS;

/// Executes migration runbooks: journaled before it acts, resumable after any crash, and back if it
/// must.
#[derive(Debug, Parser)]
#[command(
    version,
    after_help = "Exit codes: 0 finished, 1 failed and stopped, 2 invalid command line or runbook, \
        3 waiting for a person, 4 rolled back, 5 stuck: an undo failed, 6 refused, 7 the journal \
        could not be written, 129/130/143 interrupted and resumable.\n\nExamples:\
        \n  switchover check runbooks/quickstart.yaml\n  switchover run runbooks/quickstart.yaml\
        \n  switchover resume\n  switchover rollback\n  switchover audit"
)]
struct Arguments {
    /// The folder of the journal.
    #[arg(
        long,
        global = true,
        env = "SWITCHOVER_JOURNAL",
        default_value = "journal",
        value_name = "DIR"
    )]
    journal: PathBuf,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Check(check::Check),
    Plan(plan::Plan),
    Rehearse(rehearse::Rehearse),
    Certify(certify::Certify),
    Run(run::Run),
    Resume(resume::Resume),
    Rollback(resume::Rollback),
    Cancel(resume::Cancel),
    Skip(decide::Skip),
    Resolve(decide::Resolve),
    Amend(amend::Amend),
    List(list::List),
    Status(status::Status),
    Logs(logs::Logs),
    Audit(audit::Audit),
    /// Prints the JSON Schema of a runbook, for editors.
    Schema,
    /// Prints completions for a shell: switchover completions bash >
    /// /etc/bash_completion.d/switchover
    Completions {
        shell: clap_complete::Shell,
    },
    /// Begins and watches the commands of a run. For the program itself, which calls it; not for
    /// people.
    #[command(hide = true, name = crate::effect::KEEP)]
    Keep {
        keeper: u64,
    },
    /// Carries out a run that is to die on the way. For the program itself, which certifies with
    /// it; not for people.
    #[command(hide = true, name = crate::certify::DOOMED)]
    Doomed(doomed::Doomed),
}

/// How a reading verb prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    Text,
    Json,
}

/// Carries out the command line; returns the exit code.
pub fn main() -> i32 {
    // Printing into a closed pipe ends the program quietly, as people expect of `switchover audit |
    // head`.
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            let error = made_safe(error);
            let _ = error.print();
            return error.exit_code();
        }
    };
    // A file that may not grow any more is an error like a full disk, and no reason to die.
    let _ = signal_hook::flag::register(signal_hook::consts::SIGXFSZ, Arc::default());
    if let Err(error) = crate::effect::close_to_others() {
        let message = format!(
            "this process cannot be kept from being looked into: {error}; nothing was begun"
        );
        return CliError::refused(
            message,
            Some("its memory may hold secrets; allow it `prctl(PR_SET_DUMPABLE)`"),
        )
        .show();
    }
    let journal = arguments.journal;
    let done = match arguments.verb {
        Verb::Check(verb) => check::check(verb),
        Verb::Plan(verb) => plan::plan(verb),
        Verb::Rehearse(verb) => rehearse::rehearse(verb, &journal),
        Verb::Certify(verb) => certify::certify(verb),
        Verb::Run(verb) => run::run(verb, &journal),
        Verb::Resume(verb) => resume::resume(verb, &journal),
        Verb::Rollback(verb) => resume::rollback(verb, &journal),
        Verb::Cancel(verb) => resume::cancel(verb, &journal),
        Verb::Skip(verb) => decide::skip(verb, &journal),
        Verb::Resolve(verb) => decide::resolve(verb, &journal),
        Verb::Amend(verb) => amend::amend(verb, &journal),
        Verb::List(verb) => list::list(verb, &journal),
        Verb::Status(verb) => status::status(verb, &journal),
        Verb::Logs(verb) => logs::logs(verb, &journal),
        Verb::Audit(verb) => audit::audit(verb, &journal),
        Verb::Schema => print_json(&crate::runbook::schema()),
        Verb::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Arguments::command(), "switchover", &mut script);
            print_data(&String::from_utf8_lossy(&script))
        }
        Verb::Doomed(verb) => doomed::doomed(verb, &journal),
        Verb::Keep { keeper } => crate::effect::serve(keeper).map(|()| 0).map_err(|error| {
            CliError::refused(format!("this is no verb for people: {error}"), None)
        }),
    };
    match done {
        Ok(code) => code,
        Err(error) => error.show(),
    }
}

/// How much of a value that is refused is repeated, in characters.
const MOST_REPEATED: usize = 300;

/// What is wrong with a command line is told in words of others: those of whoever wrote it, which
/// may be a program.
fn made_safe(mut error: clap::Error) -> clap::Error {
    let safe = |value: &ContextValue| match value {
        // A long one would hide what is wrong with it, and may be a secret that was pasted.
        ContextValue::String(text) => {
            Some(ContextValue::String(crate::report::shorten(&shown(text), MOST_REPEATED)))
        }
        ContextValue::Strings(texts) => {
            Some(ContextValue::Strings(texts.iter().map(|text| shown(text)).collect()))
        }
        _ => None,
    };
    let changes = error
        .context()
        .filter_map(|(kind, value)| Some((kind, safe(value).filter(|safe| safe != value)?)));
    let changes: Vec<_> = changes.collect();
    if !changes.is_empty() {
        // It repeats the same words, in colours.
        error.remove(ContextKind::Suggested);
    }
    for (kind, value) in changes {
        error.insert(kind, value);
    }
    error
}

/// A reason goes into the record: it must say something.
fn reason(text: &str) -> Result<String, String> {
    if text.trim().is_empty() {
        return Err("a reason is needed: it goes into the journal".to_owned());
    }
    words(text).map_err(|error| format!("{error}: name a file or a ticket that says more"))
}

/// A person's words, which go into the record, within the limit.
fn words(text: &str) -> Result<String, String> {
    match text.len() {
        0..=MAX_WORDS => Ok(text.to_owned()),
        length => Err(format!("it has {length} bytes, and {MAX_WORDS} are the most")),
    }
}

/// Prints lines for people on standard output.
fn print(lines: &Lines) -> Result<i32, CliError> {
    print_data(lines.as_str())
}

/// Prints data on standard output. A reader that went away is no error.
fn print_data(text: &str) -> Result<i32, CliError> {
    use std::io::Write;
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(CliError::refused(format!("standard output cannot be written: {error}"), None))
        }
        _ => Ok(0),
    }
}

/// As data for programs.
fn as_json(value: &impl serde::Serialize) -> Result<serde_json::Value, CliError> {
    serde_json::to_value(value)
        .map_err(|error| CliError::refused(format!("it cannot be shown as JSON: {error}"), None))
}

fn print_json(value: &serde_json::Value) -> Result<i32, CliError> {
    print_data(&json_shown(&format!("{value:#}\n")))
}
