//! A command.

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::facts::{Behind, ByItself, Commands, DoneBy, Facts, InDryRun, Inverse, Lasts, Named};
use super::value::{RawScalar, RawValue, scalar_text};
use super::walk::Walk;
use crate::runbook::Text;
use crate::runbook::convert::{Converter, text};
use crate::runbook::size::Size;

/// A command.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum RawRun {
    Script(#[schemars(extend("format" = "script"))] String),
    Arguments(Vec<RawScalar>),
    Map(RawRunMap),
}

/// A command with its surroundings: `script` or `command`.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct RawRunMap {
    /// A script for the shell. Never templated: values reach it as environment variables.
    #[schemars(extend("format" = "script"))]
    pub script: Option<String>,
    /// A program and its arguments, without a shell.
    pub command: Option<Vec<RawScalar>>,
    /// The shell and its options; the script is its last argument. Default `[/bin/sh, -euc]`.
    pub shell: Option<Vec<String>>,
    /// The folder to run in.
    #[schemars(extend("format" = "template"))]
    pub cwd: Option<String>,
    /// Environment variables.
    #[serde(default)]
    pub env: IndexMap<String, RawValue>,
    /// What it reads on standard input.
    #[schemars(extend("format" = "template"))]
    pub stdin: Option<String>,
}

/// A command.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Run<T> {
    pub command: Command<T>,
    #[serde(default = "super::none", skip_serializing_if = "Option::is_none")]
    pub cwd: Option<T>,
    #[serde(default = "super::none", skip_serializing_if = "Option::is_none")]
    pub stdin: Option<T>,
    /// How much of what it says is kept for expressions, if the author says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_output: Option<Size>,
}

/// A script for a shell, or a program with its arguments.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Command<T> {
    /// The shell and its options, and the script as the last argument. Never templated.
    Script {
        shell: Vec<String>,
        script: String,
    },
    Arguments(Vec<T>),
}

impl RawRun {
    /// The variables that stand in it.
    pub fn env(&self) -> Option<&IndexMap<String, RawValue>> {
        match self {
            RawRun::Script(_) | RawRun::Arguments(_) => None,
            RawRun::Map(map) => Some(&map.env),
        }
    }
}

impl Converter<'_> {
    pub fn run(&mut self, raw: &RawRun, below: &[&str]) -> Option<Run<Text>> {
        let default_shell = || vec!["/bin/sh".to_owned(), "-euc".to_owned()];
        Some(match raw {
            RawRun::Script(script) => Run {
                command: Command::Script { shell: default_shell(), script: script.clone() },
                cwd: None,
                stdin: None,
                keep_output: None,
            },
            RawRun::Arguments(list) => Run {
                command: self.arguments(list, below)?,
                cwd: None,
                stdin: None,
                keep_output: None,
            },
            RawRun::Map(map) => {
                let command = match (&map.script, &map.command) {
                    (Some(script), None) => Command::Script {
                        shell: map.shell.clone().unwrap_or_else(default_shell),
                        script: script.clone(),
                    },
                    (None, Some(list)) => self.arguments(list, below)?,
                    _ => {
                        self.report(
                            below,
                            "run",
                            "exactly one of script and command belongs here".into(),
                            None,
                        );
                        return None;
                    }
                };
                Run {
                    command,
                    cwd: map.cwd.as_deref().map(text),
                    stdin: map.stdin.as_deref().map(text),
                    keep_output: None,
                }
            }
        })
    }

    fn arguments(&mut self, list: &[RawScalar], below: &[&str]) -> Option<Command<Text>> {
        if list.is_empty() {
            self.report(
                below,
                "run",
                "the list of arguments is empty".into(),
                Some("the first item is the program".into()),
            );
            return None;
        }
        Some(Command::Arguments(list.iter().map(scalar_text).collect()))
    }
}

/// The names of its result.
pub const RESULT: &[Named] = &[
    Named("exit_code", Behind::Value),
    Named("stdout", Behind::Value),
    Named("stderr", Behind::Value),
];

impl<T> Run<T> {
    pub fn facts(&self) -> Facts<'_, T> {
        Facts {
            only_reads: false,
            can_be_a_reading: true,
            is_idempotent: false,
            done_by: DoneBy::Program,
            inverse: Inverse::UpToTheAuthor,
            takes_back: false,
            results: &[RESULT],
            lasts: Lasts::Unsaid,
            may_hang: true,
            commands: Commands::Itself,
            has_logs: true,
            decides: false,
            dry_run: InDryRun { by_itself: ByItself::LooksAndProbes, may_do_the_same: true },
        }
    }
}

impl<T> Run<T> {
    pub fn try_map<'a, W: Walk<'a, T>>(&'a self, walk: &mut W) -> Result<Run<W::Text>, W::Error> {
        let Run { command, cwd, stdin, keep_output } = self;
        Ok(Run {
            command: match command {
                Command::Script { shell, script } => {
                    Command::Script { shell: shell.clone(), script: script.clone() }
                }
                Command::Arguments(list) => Command::Arguments(walk.texts(list)?),
            },
            cwd: walk.optional(cwd)?,
            stdin: walk.optional(stdin)?,
            keep_output: *keep_output,
        })
    }
}

impl Run<String> {
    pub fn in_words(&self) -> String {
        match &self.command {
            Command::Script { script, .. } => script.trim_end().to_owned(),
            Command::Arguments(list) => list.join(" "),
        }
    }
}
