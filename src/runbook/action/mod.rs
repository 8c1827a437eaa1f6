//! What a step can do, as data: a file for each kind of action, with its keys, their conversion and
//! its words. `Action<Text>` is what the author wrote; `Action<String>` is the same with every text
//! rendered, which is what is journaled and carried out. Knows nothing of how an action is carried
//! out.

mod approve;
mod argument;
mod copy;
mod dns;
mod given;
mod http;
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

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::convert::Converter;
use super::raw::RawAct;
use super::size::Size;
use super::{Text, TextError};

pub use approve::{Approve, RawApprove};
pub use argument::{Argument, look_up};
pub use copy::{Copy, RawCopy, Table, Throttle};
pub use dns::{Change, Dns, RawDns, Record};
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

impl Converter<'_> {
    pub fn action(&mut self, raw: &RawAct, below: &[&str]) -> Option<Action<Text>> {
        let named: Vec<&str> = [
            ("run", raw.run.is_some()),
            ("sql", raw.sql.is_some()),
            ("http", raw.http.is_some()),
            ("copy", raw.copy.is_some()),
            ("dns", raw.dns.is_some()),
            ("propagation", raw.propagation.is_some()),
            ("wait", raw.wait.is_some()),
            ("shift", raw.shift.is_some()),
            ("notify", raw.notify.is_some()),
            ("task", raw.task.is_some()),
            ("approve", raw.approve.is_some()),
        ]
        .into_iter()
        .filter_map(|(name, there)| there.then_some(name))
        .collect();
        self.exactly_one(&named, below)?;
        Some(if let Some(run) = &raw.run {
            Action::Run(self.run(run, below)?)
        } else if let Some(sql) = &raw.sql {
            Action::Sql(self.sql(sql, below)?)
        } else if let Some(http) = &raw.http {
            Action::Http(self.http(http, below)?)
        } else if let Some(copy) = &raw.copy {
            Action::Copy(self.copy(copy, below)?)
        } else if let Some(dns) = &raw.dns {
            Action::Dns(self.dns(dns, below)?)
        } else if let Some(propagation) = &raw.propagation {
            Action::Propagation(self.propagation(propagation, below)?)
        } else if let Some(wait) = &raw.wait {
            Action::Wait(self.wait(wait, below)?)
        } else if let Some(shift) = &raw.shift {
            Action::Shift(self.shift(shift, below)?)
        } else if let Some(notify) = &raw.notify {
            Action::Notify(self.notify(notify, below)?)
        } else if let Some(task) = &raw.task {
            Action::Task(task::converted(task))
        } else {
            Action::Approve(approve::converted(raw.approve.as_ref()?))
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

    /// Whether it changes nothing outside, so that there is nothing to undo and repeating it is
    /// harmless.
    pub fn only_reads(&self) -> bool {
        match self {
            Action::Sql(sql) => sql.reads,
            Action::Http(http) => matches!(http.method, Method::Get | Method::Head),
            Action::Copy(copy) => copy.verify_only,
            Action::Wait(_) | Action::Propagation(_) | Action::Approve(_) | Action::Join => true,
            Action::Run(_)
            | Action::Dns(_)
            | Action::Shift(_)
            | Action::Notify(_)
            | Action::Task(_) => false,
        }
    }

    /// Whether it goes on by itself with what an attempt left that nobody saw end.
    pub fn goes_on(&self) -> bool {
        matches!(self, Action::Copy(_) | Action::Dns(_) | Action::Shift(_))
    }

    /// Whether it takes back what its step did: it goes by what the way forward found and reached.
    pub fn takes_back(&self) -> bool {
        match self {
            Action::Copy(copy) => copy.removes,
            Action::Dns(dns) => dns.restores,
            Action::Shift(shift) => shift.restores,
            _ => false,
        }
    }

    /// How much of what it says is to be kept; `None` if it says nothing that could be cut.
    pub fn keep_output(&mut self) -> Option<&mut Option<Size>> {
        match self {
            Action::Run(run) => Some(&mut run.keep_output),
            Action::Sql(sql) => Some(&mut sql.keep_output),
            Action::Http(http) => Some(&mut http.keep_output),
            _ => None,
        }
    }

    /// Whether a person carries it out.
    pub fn is_for_a_person(&self) -> bool {
        matches!(self, Action::Task(_) | Action::Approve(_))
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
            _ => None,
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
            Action::Join => "the end of the nested runbook".to_owned(),
        }
    }
}

pub(in crate::runbook) fn none<T>() -> Option<T> {
    None
}

/// Outputs of a step by name.
pub type Outputs = BTreeMap<String, Json>;
