//! What a step can do, as data: a file for each kind of action, with its keys, their conversion and
//! its words. `Action<Text>` is what the author wrote; `Action<String>` is the same with every text
//! rendered, which is what is journaled and carried out. Knows nothing of how an action is carried
//! out.

mod approve;
mod argument;
mod copy;
mod dns;
mod facts;
mod given;
mod http;
mod join;
mod notify;
mod propagation;
mod run;
mod shift;
mod sql;
mod task;
mod tls;
mod value;
mod wait;
mod walk;

use std::collections::BTreeMap;

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::convert::Converter;
use super::size::Size;
use super::{Text, TextError};

pub use approve::{Approve, RawApprove};
pub use argument::{Argument, look_up};
pub use copy::{Copy, RawCopy, Table, Throttle};
pub use dns::{Change, Dns, RawDns, Record};
pub use facts::{
    Asked, Behind, ByItself, Commands, DoneBy, Facts, InDryRun, Inverse, Lasts, Named,
    OF_A_COMMAND, OF_A_READING, OF_AN_ANALYSIS, Results, shapes,
};
pub use given::{Given, RawGiven};
pub use http::{Body, Follow, Http, Method, RawHttp};
pub use notify::{Content, Notify, RawNotify};
pub use propagation::{Propagation, RawPropagation};
pub use run::{Command, RawRun, Run};
pub use shift::{Back, RawShift, Shift};
pub use sql::{RawSql, Sql};
pub use task::{RawTask, Task};
pub use tls::{RawTls, Tls, tls as converted_tls};
pub use value::{RawScalar, RawSecretUse, RawValue, SecretForm, Value, scalar_text};
pub use wait::{RawWait, Wait};
pub use walk::{Parts, Rendering, Walk};

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action<T> {
    Run(Run<T>),
    Sql(Sql<T>),
    Http(Http<T>),
    Copy(Copy<T>),
    Dns(Dns<T>),
    Propagation(Propagation<T>),
    Wait(Wait<T>),
    Shift(Shift<T>),
    Notify(Notify<T>),
    Task(Task<T>),
    Approve(Approve<T>),
    /// The end of a nested runbook: all its steps are done.
    Join,
}

/// The words that name an action in a step, and the one that names a nested runbook.
pub const WORDS: [&str; 12] = [
    "run",
    "sql",
    "http",
    "copy",
    "dns",
    "propagation",
    "shift",
    "wait",
    "notify",
    "task",
    "approve",
    "runbook",
];

/// An action as it is written: one of these keys.
#[derive(Debug, Default, Deserialize, JsonSchema)]
pub struct RawAction {
    /// A command: a shell script, a list of arguments, or a map.
    pub run: Option<RawRun>,
    /// A statement or query on a database.
    pub sql: Option<RawSql>,
    /// An HTTP request.
    pub http: Option<RawHttp>,
    /// Rows from one database to another.
    pub copy: Option<RawCopy>,
    /// A record of the DNS, changed or deleted. Its undo is built in.
    pub dns: Option<RawDns>,
    /// Waits until all name servers give the same answer.
    pub propagation: Option<RawPropagation>,
    /// Time that must pass, or a condition that must come true.
    pub wait: Option<RawWait>,
    /// Traffic that is moved from an old to a new side, step by step.
    pub shift: Option<RawShift>,
    /// A message to people.
    pub notify: Option<RawNotify>,
    /// Something that a person does, and says so.
    pub task: Option<RawTask>,
    /// A decision: go or no-go.
    pub approve: Option<RawApprove>,
}

/// What stands under one key of [`RawAction`].
enum Written<'a> {
    Run(&'a RawRun),
    Sql(&'a RawSql),
    Http(&'a RawHttp),
    Copy(&'a RawCopy),
    Dns(&'a RawDns),
    Propagation(&'a RawPropagation),
    Wait(&'a RawWait),
    Shift(&'a RawShift),
    Notify(&'a RawNotify),
    Task(&'a RawTask),
    Approve(&'a RawApprove),
}

impl RawAction {
    /// The variables that the action itself gives to its command.
    pub fn env(&self) -> Option<&IndexMap<String, RawValue>> {
        self.run.as_ref().and_then(RawRun::env)
    }

    /// The longest that the action itself may take, if that can stand in it.
    pub fn timeout(&self) -> Option<&str> {
        let wait = self.wait.as_ref().and_then(RawWait::timeout);
        wait.or(self.propagation.as_ref().and_then(|propagation| propagation.timeout.as_deref()))
    }

    /// Each key that is there, with its word.
    fn written(&self) -> Vec<(&'static str, Written<'_>)> {
        let RawAction {
            run,
            sql,
            http,
            copy,
            dns,
            propagation,
            wait,
            shift,
            notify,
            task,
            approve,
        } = self;
        let all = [
            run.as_ref().map(|raw| ("run", Written::Run(raw))),
            sql.as_ref().map(|raw| ("sql", Written::Sql(raw))),
            http.as_ref().map(|raw| ("http", Written::Http(raw))),
            copy.as_ref().map(|raw| ("copy", Written::Copy(raw))),
            dns.as_ref().map(|raw| ("dns", Written::Dns(raw))),
            propagation.as_ref().map(|raw| ("propagation", Written::Propagation(raw))),
            wait.as_ref().map(|raw| ("wait", Written::Wait(raw))),
            shift.as_ref().map(|raw| ("shift", Written::Shift(raw))),
            notify.as_ref().map(|raw| ("notify", Written::Notify(raw))),
            task.as_ref().map(|raw| ("task", Written::Task(raw))),
            approve.as_ref().map(|raw| ("approve", Written::Approve(raw))),
        ];
        all.into_iter().flatten().collect()
    }
}

impl Converter<'_> {
    pub fn action(&mut self, raw: &RawAction, below: &[&str]) -> Option<Action<Text>> {
        let written = raw.written();
        let words: Vec<&str> = written.iter().map(|(word, _)| *word).collect();
        self.exactly_one(&words, below)?;
        let (_, written) = written.into_iter().next()?;
        Some(match written {
            Written::Run(raw) => Action::Run(self.run(raw, below)?),
            Written::Sql(raw) => Action::Sql(self.sql(raw, below)?),
            Written::Http(raw) => Action::Http(self.http(raw, below)?),
            Written::Copy(raw) => Action::Copy(self.copy(raw, below)?),
            Written::Dns(raw) => Action::Dns(self.dns(raw, below)?),
            Written::Propagation(raw) => Action::Propagation(self.propagation(raw, below)?),
            Written::Wait(raw) => Action::Wait(self.wait(raw, below)?),
            Written::Shift(raw) => Action::Shift(self.shift(raw, below)?),
            Written::Notify(raw) => Action::Notify(self.notify(raw, below)?),
            Written::Task(raw) => Action::Task(task::converted(raw)),
            Written::Approve(raw) => Action::Approve(approve::converted(raw)),
        })
    }
}

impl<T> Action<T> {
    /// The word in the runbook that names this kind of action.
    pub fn kind(&self) -> &'static str {
        match self {
            Action::Run(_) => "run",
            Action::Sql(_) => "sql",
            Action::Http(_) => "http",
            Action::Copy(_) => "copy",
            Action::Dns(_) => "dns",
            Action::Propagation(_) => "propagation",
            Action::Wait(_) => "wait",
            Action::Shift(_) => "shift",
            Action::Notify(_) => "notify",
            Action::Task(_) => "task",
            Action::Approve(_) => "approve",
            Action::Join => "runbook",
        }
    }

    /// What is to be known of it.
    pub fn facts(&self) -> Facts<'_, T> {
        match self {
            Action::Run(run) => run.facts(),
            Action::Sql(sql) => sql.facts(),
            Action::Http(http) => http.facts(),
            Action::Copy(copy) => copy.facts(),
            Action::Dns(dns) => dns.facts(),
            Action::Propagation(propagation) => propagation.facts(),
            Action::Wait(wait) => wait.facts(),
            Action::Shift(shift) => shift.facts(),
            Action::Notify(notify) => notify.facts(),
            Action::Task(task) => task.facts(),
            Action::Approve(approve) => approve.facts(),
            Action::Join => join::facts(),
        }
    }

    /// As in [`Facts::only_reads`].
    pub fn only_reads(&self) -> bool {
        self.facts().only_reads
    }

    /// As in [`Facts::takes_back`].
    pub fn takes_back(&self) -> bool {
        self.facts().takes_back
    }

    /// As in [`Facts::done_by`].
    pub fn done_by(&self) -> DoneBy {
        self.facts().done_by
    }

    /// Whether a person carries it out.
    pub fn is_for_a_person(&self) -> bool {
        self.done_by().is_a_person()
    }

    /// What a person is asked, if one is.
    pub fn question(&self) -> Option<&T> {
        match self {
            Action::Task(task) => Some(&task.instructions),
            Action::Approve(approve) => Some(&approve.question),
            Action::Run(_)
            | Action::Sql(_)
            | Action::Http(_)
            | Action::Copy(_)
            | Action::Dns(_)
            | Action::Propagation(_)
            | Action::Wait(_)
            | Action::Shift(_)
            | Action::Notify(_)
            | Action::Join => None,
        }
    }

    /// Whether it is one command, whose keeper records how it ends.
    pub fn is_a_command(&self) -> bool {
        self.facts().commands == Commands::Itself
    }

    /// Whether a command is begun for it.
    pub fn begins_commands(&self) -> bool {
        self.facts().commands != Commands::None
    }

    /// How much of what it says is to be kept; `None` if it says nothing that could be cut.
    pub fn keep_output(&mut self) -> Option<&mut Option<Size>> {
        match self {
            Action::Run(run) => Some(&mut run.keep_output),
            Action::Sql(sql) => Some(&mut sql.keep_output),
            Action::Http(http) => Some(&mut http.keep_output),
            Action::Copy(_)
            | Action::Dns(_)
            | Action::Propagation(_)
            | Action::Wait(_)
            | Action::Shift(_)
            | Action::Notify(_)
            | Action::Task(_)
            | Action::Approve(_)
            | Action::Join => None,
        }
    }

    /// What stands in it.
    pub fn parts(&self) -> Parts<'_, T> {
        let mut parts = Parts::none();
        let Ok(_) = self.try_map(&mut parts);
        parts
    }

    /// Every text in it.
    pub fn texts(&self) -> Vec<&T> {
        self.parts().texts
    }

    /// The secrets that it uses, by their names.
    pub fn secrets(&self) -> Vec<&str> {
        self.parts().secrets
    }

    /// The same with what `walk` makes of each text.
    ///
    /// # Errors
    /// The first of `walk`.
    pub fn try_map<'a, W: Walk<'a, T>>(
        &'a self,
        walk: &mut W,
    ) -> Result<Action<W::Text>, W::Error> {
        Ok(match self {
            Action::Run(run) => Action::Run(run.try_map(walk)?),
            Action::Sql(sql) => Action::Sql(sql.try_map(walk)?),
            Action::Http(http) => Action::Http(http.try_map(walk)?),
            Action::Copy(copy) => Action::Copy(copy.try_map(walk)?),
            Action::Dns(dns) => Action::Dns(dns.try_map(walk)?),
            Action::Propagation(propagation) => Action::Propagation(propagation.try_map(walk)?),
            Action::Wait(wait) => Action::Wait(wait.try_map(walk)?),
            Action::Shift(shift) => Action::Shift(shift.try_map(walk)?),
            Action::Notify(notify) => Action::Notify(notify.try_map(walk)?),
            Action::Task(task) => Action::Task(task.try_map(walk)?),
            Action::Approve(approve) => Action::Approve(approve.try_map(walk)?),
            Action::Join => Action::Join,
        })
    }
}

impl<T: Clone> Action<T> {
    /// The action that takes this one back, of those that know it themselves.
    pub fn inverse(&self) -> Option<Action<T>> {
        match self {
            Action::Copy(copy) => Some(Action::Copy(copy.inverse())),
            Action::Dns(dns) => Some(Action::Dns(dns.inverse())),
            Action::Shift(shift) => Some(Action::Shift(shift.inverse())),
            Action::Run(_)
            | Action::Sql(_)
            | Action::Http(_)
            | Action::Propagation(_)
            | Action::Wait(_)
            | Action::Notify(_)
            | Action::Task(_)
            | Action::Approve(_)
            | Action::Join => None,
        }
    }
}

impl Action<Text> {
    /// Renders every text with `values`, the names in scope.
    ///
    /// # Errors
    /// The first name that has no value.
    pub fn render(&self, values: &Json) -> Result<Action<String>, TextError> {
        self.try_map(&mut Rendering { values })
    }
}

/// An action in words, with its values where they are known.
pub fn in_words(action: &Action<Text>, values: &Json) -> String {
    match action.render(values) {
        Ok(rendered) => rendered.in_words(),
        Err(_) => match action {
            Action::Run(Run { command: Command::Script { script, .. }, .. }) => {
                script.trim_end().to_owned()
            }
            _ => format!(
                "{} (its values are known only later)",
                action.texts().iter().map(|text| text.source()).collect::<Vec<_>>().join(" ")
            ),
        },
    }
}

impl Action<String> {
    /// What it does, in words.
    pub fn in_words(&self) -> String {
        match self {
            Action::Run(run) => run.in_words(),
            Action::Sql(sql) => sql.in_words(),
            Action::Http(http) => http.in_words(),
            Action::Copy(copy) => copy.in_words(),
            Action::Dns(dns) => dns.in_words(),
            Action::Propagation(propagation) => propagation.in_words(),
            Action::Wait(wait) => wait.in_words(),
            Action::Shift(shift) => shift.in_words(),
            Action::Notify(notify) => notify.in_words(),
            Action::Task(task) => task.in_words(),
            Action::Approve(approve) => approve.in_words(),
            Action::Join => join::WORDS.to_owned(),
        }
    }
}

pub(in crate::runbook) fn none<T>() -> Option<T> {
    None
}

/// Outputs of a step by name.
pub type Outputs = BTreeMap<String, Json>;

#[cfg(test)]
mod tests;
