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

use std::collections::BTreeMap;

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::convert::Converter;
use super::raw::RawAct;
use super::size::Size;
use super::{Text, TextError};

pub use approve::{Approve, RawApprove};
pub use argument::{Argument, look_up};
pub use copy::{Copy, RawCopy, Table, Throttle};
pub use dns::{Change, Dns, RawDns, Record, all};
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

    /// The secrets that it uses.
    pub fn secrets(&self) -> Vec<&str> {
        match self {
            Action::Http(http) => http.headers.values().filter_map(Value::secret).collect(),
            Action::Sql(sql) => sql.secrets(),
            Action::Copy(copy) => copy.secrets(),
            Action::Dns(dns) => dns.zone.secrets(),
            Action::Propagation(propagation) => {
                propagation.zone.iter().flat_map(|zone| zone.secrets()).collect()
            }
            Action::Wait(Wait::Until { probe, .. }) => probe.secrets(),
            Action::Shift(shift) => shift.secrets(),
            _ => Vec::new(),
        }
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
    pub fn render(&self, values: &Json) -> Result<Action<String>, TextError> {
        let one = |text: &Text| text.render(values);
        Ok(match self {
            Action::Run(run) => Action::Run(Run {
                command: match &run.command {
                    Command::Script { shell, script } => {
                        Command::Script { shell: shell.clone(), script: script.clone() }
                    }
                    Command::Arguments(list) => {
                        Command::Arguments(list.iter().map(one).collect::<Result<_, _>>()?)
                    }
                },
                cwd: optional(&run.cwd, values)?,
                stdin: optional(&run.stdin, values)?,
                keep_output: run.keep_output,
            }),
            Action::Sql(sql) => Action::Sql(sql.render(values)?),
            Action::Http(http) => Action::Http(Http {
                method: http.method,
                url: http.url.render_url(values)?,
                headers: map(&http.headers, |value| value.render(values))?,
                body: match &http.body {
                    Some(Body::Text(text)) => Some(Body::Text(one(text)?)),
                    Some(Body::Json(argument)) => Some(Body::Json(argument.render(values)?)),
                    None => None,
                },
                tls: http.tls.as_ref().map(|tls| tls.render(values)).transpose()?,
                follow: http.follow,
                keep_output: http.keep_output,
            }),
            Action::Copy(copy) => Action::Copy(copy.render(values)?),
            Action::Dns(dns) => Action::Dns(dns.render(values)?),
            Action::Propagation(propagation) => Action::Propagation(propagation.render(values)?),
            Action::Wait(Wait::For(span)) => Action::Wait(Wait::For(one(span)?)),
            Action::Wait(Wait::Until { until, probe, every, stable }) => {
                let probe = Box::new(probe.render(values)?);
                Action::Wait(Wait::Until {
                    until: until.clone(),
                    probe,
                    every: *every,
                    stable: *stable,
                })
            }
            Action::Shift(shift) => Action::Shift(shift.render(values)?),
            Action::Notify(notify) => Action::Notify(Notify {
                content: match &notify.content {
                    Content::Template(name) => Content::Template(name.clone()),
                    Content::Words { subject, body } => {
                        Content::Words { subject: one(subject)?, body: one(body)? }
                    }
                },
                to: notify.to.iter().map(one).collect::<Result<_, _>>()?,
            }),
            Action::Task(task) => Action::Task(Task {
                instructions: one(&task.instructions)?,
                fields: task.fields.clone(),
            }),
            Action::Approve(approve) => {
                Action::Approve(Approve { question: one(&approve.question)? })
            }
            Action::Join => Action::Join,
        })
    }

    /// Every text in it, for checking names.
    pub fn texts(&self) -> Vec<&Text> {
        match self {
            Action::Run(run) => {
                let arguments = match &run.command {
                    Command::Script { .. } => [].as_slice(),
                    Command::Arguments(list) => list.as_slice(),
                };
                arguments.iter().chain(&run.cwd).chain(&run.stdin).collect()
            }
            Action::Sql(sql) => sql.texts(),
            Action::Http(http) => {
                let headers = http.headers.values().filter_map(Value::text);
                let body = http.body.iter().flat_map(|body| match body {
                    Body::Text(text) => vec![text],
                    Body::Json(argument) => argument.texts(),
                });
                let tls = http.tls.iter().flat_map(Tls::texts);
                [&http.url].into_iter().chain(headers).chain(body).chain(tls).collect()
            }
            Action::Copy(copy) => copy.texts(),
            Action::Dns(dns) => dns.texts(),
            Action::Propagation(propagation) => propagation.texts(),
            Action::Wait(Wait::For(span)) => vec![span],
            Action::Wait(Wait::Until { probe, .. }) => probe.texts(),
            Action::Shift(shift) => shift.texts(),
            Action::Notify(notify) => {
                let words = match &notify.content {
                    Content::Template(_) => Vec::new(),
                    Content::Words { subject, body } => vec![subject, body],
                };
                words.into_iter().chain(&notify.to).collect()
            }
            Action::Task(task) => vec![&task.instructions],
            Action::Approve(approve) => vec![&approve.question],
            Action::Join => Vec::new(),
        }
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
            Action::Run(run) => match &run.command {
                Command::Script { script, .. } => script.trim_end().to_owned(),
                Command::Arguments(list) => list.join(" "),
            },
            Action::Sql(sql) => format!("on {}: {}", sql.database.in_words(), sql.text.trim_end()),
            Action::Http(http) => format!("{} {}", http.method.word(), http.url),
            Action::Copy(copy) => copy.in_words(),
            Action::Dns(dns) => dns.in_words(),
            Action::Propagation(propagation) => propagation.in_words(),
            Action::Wait(Wait::For(time)) => format!("wait for {time}"),
            Action::Wait(Wait::Until { until, every, stable, .. }) => {
                format!("wait until {} ({stable} in a row, every {every})", until.source())
            }
            Action::Shift(shift) => shift.in_words(),
            Action::Notify(notify) => match &notify.content {
                Content::Template(name) => format!("send the message {name}"),
                Content::Words { subject, .. } => format!("send a message: {subject}"),
            },
            Action::Task(task) => task.instructions.clone(),
            Action::Approve(approve) => approve.question.clone(),
            Action::Join => "the end of the nested runbook".to_owned(),
        }
    }
}

pub(in crate::runbook) fn none<T>() -> Option<T> {
    None
}

fn optional(text: &Option<Text>, values: &Json) -> Result<Option<String>, TextError> {
    text.as_ref().map(|text| text.render(values)).transpose()
}

fn map<A, B>(
    entries: &IndexMap<String, A>,
    render: impl Fn(&A) -> Result<B, TextError>,
) -> Result<IndexMap<String, B>, TextError> {
    entries.iter().map(|(name, value)| Ok((name.clone(), render(value)?))).collect()
}

/// Outputs of a step by name.
pub type Outputs = BTreeMap<String, Json>;
