//! What a step can do, as data. `Action<Text>` is what the author wrote; `Action<String>` is the
//! same with every text rendered, which is what is journaled and carried out. Knows nothing of how
//! an action is carried out.

use std::collections::BTreeMap;

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::copy::Copy;
use super::database::Database;
use super::given::Given;
use super::parameter::Kind;
pub use super::raw::SecretForm;
use super::raw::{Follow, Method};
use super::size::Size;
use super::text::{Text, TextError};
use super::traffic::Shift;
use super::zone::{Dns, Propagation};
use super::{Condition, Reference, Span};

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

/// A command.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Run<T> {
    pub command: Command<T>,
    #[serde(default = "none", skip_serializing_if = "Option::is_none")]
    pub cwd: Option<T>,
    #[serde(default = "none", skip_serializing_if = "Option::is_none")]
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

/// Statements or a query.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sql<T> {
    pub database: Database<T>,
    #[serde(default = "IndexMap::new", skip_serializing_if = "IndexMap::is_empty")]
    pub attach: IndexMap<String, T>,
    pub text: String,
    /// Whether it is one query that only reads.
    pub reads: bool,
    #[serde(default = "IndexMap::new", skip_serializing_if = "IndexMap::is_empty")]
    pub parameters: IndexMap<String, Argument<T>>,
    /// Values that are known only at the moment of use.
    #[serde(default = "IndexMap::new", skip_serializing_if = "IndexMap::is_empty")]
    pub given: IndexMap<String, Given<T>>,
    pub transaction: bool,
    /// How much of what it says is kept for expressions, if the author says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_output: Option<Size>,
}

/// An HTTP request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Http<T> {
    pub method: Method,
    pub url: T,
    #[serde(default = "IndexMap::new", skip_serializing_if = "IndexMap::is_empty")]
    pub headers: IndexMap<String, Value<T>>,
    #[serde(default = "none", skip_serializing_if = "Option::is_none")]
    pub body: Option<Body<T>>,
    #[serde(default = "none", skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls<T>>,
    #[serde(default, skip_serializing_if = "Follow::is_default")]
    pub follow: Follow,
    /// How much of what it says is kept for expressions, if the author says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_output: Option<Size>,
}

/// A request body.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Body<T> {
    Text(T),
    Json(Argument<T>),
}

/// Files with certificates and keys, in PEM.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Tls<T> {
    #[serde(default = "none", skip_serializing_if = "Option::is_none")]
    pub ca: Option<T>,
    #[serde(default = "none", skip_serializing_if = "Option::is_none")]
    pub cert: Option<T>,
    #[serde(default = "none", skip_serializing_if = "Option::is_none")]
    pub key: Option<T>,
}

/// A length of time, or a condition on a repeated reading.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wait<T> {
    /// A duration, as text because it may come from a parameter.
    For(T),
    Until {
        until: Condition,
        probe: Box<Action<T>>,
        every: Span,
        stable: u32,
    },
}

/// A message to people.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Notify<T> {
    pub content: Content<T>,
    #[serde(default = "Vec::new", skip_serializing_if = "Vec::is_empty")]
    pub to: Vec<T>,
}

/// A template by name, or the words themselves.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Content<T> {
    Template(String),
    Words { subject: T, body: T },
}

/// Something that a person does, and what they tell about it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Task<T> {
    pub instructions: T,
    #[serde(default = "IndexMap::new", skip_serializing_if = "IndexMap::is_empty")]
    pub fields: IndexMap<String, Kind>,
}

/// A decision: go or no-go.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Approve<T> {
    pub question: T,
}

/// A text, or a secret by name, which is read only at the moment of use and never stored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Value<T> {
    Text(T),
    Secret {
        name: String,
        prefix: String,
        #[serde(default, rename = "as")]
        form: SecretForm,
    },
}

/// A value with its type: a text that is one whole reference stands for the value itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Argument<T> {
    Plain(Json),
    Text(T),
    List(Vec<Argument<T>>),
    Map(IndexMap<String, Argument<T>>),
}

pub(super) fn none<T>() -> Option<T> {
    None
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

impl<T> Value<T> {
    pub fn secret(&self) -> Option<&str> {
        match self {
            Value::Secret { name, .. } => Some(name),
            Value::Text(_) => None,
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

impl Tls<Text> {
    pub fn render(&self, values: &Json) -> Result<Tls<String>, TextError> {
        Ok(Tls {
            ca: optional(&self.ca, values)?,
            cert: optional(&self.cert, values)?,
            key: optional(&self.key, values)?,
        })
    }

    pub fn texts(&self) -> Vec<&Text> {
        self.ca.iter().chain(&self.cert).chain(&self.key).collect()
    }
}

impl Value<Text> {
    pub fn render(&self, values: &Json) -> Result<Value<String>, TextError> {
        Ok(match self {
            Value::Text(text) => Value::Text(text.render(values)?),
            Value::Secret { name, prefix, form } => {
                Value::Secret { name: name.clone(), prefix: prefix.clone(), form: *form }
            }
        })
    }

    pub fn text(&self) -> Option<&Text> {
        match self {
            Value::Text(text) => Some(text),
            Value::Secret { .. } => None,
        }
    }
}

impl Argument<Text> {
    pub fn from_json(json: &Json) -> Result<Argument<Text>, TextError> {
        Ok(match json {
            Json::String(text) => {
                let text = Text::compile(text)?;
                if text.is_dynamic() { Argument::Text(text) } else { Argument::Plain(json.clone()) }
            }
            Json::Array(items) => {
                Argument::List(items.iter().map(Argument::from_json).collect::<Result<_, _>>()?)
            }
            Json::Object(fields) => {
                let fields = fields
                    .iter()
                    .map(|(name, value)| Ok((name.clone(), Argument::from_json(value)?)));
                Argument::Map(fields.collect::<Result<_, TextError>>()?)
            }
            plain => Argument::Plain(plain.clone()),
        })
    }

    /// The value itself with `values` in scope.
    pub fn value(&self, values: &Json) -> Result<Json, TextError> {
        Ok(match self {
            Argument::Plain(json) => json.clone(),
            Argument::Text(text) => match text.single_reference() {
                Some(path) => look_up(values, &path)
                    .ok_or_else(|| {
                        TextError(format!("`{}` has no value at this point", path.join(".")))
                    })?
                    .clone(),
                None => Json::String(text.render(values)?),
            },
            Argument::List(items) => {
                Json::Array(items.iter().map(|item| item.value(values)).collect::<Result<_, _>>()?)
            }
            Argument::Map(fields) => {
                let fields =
                    fields.iter().map(|(name, value)| Ok((name.clone(), value.value(values)?)));
                Json::Object(fields.collect::<Result<_, TextError>>()?)
            }
        })
    }

    pub(super) fn render(&self, values: &Json) -> Result<Argument<String>, TextError> {
        self.value(values).map(Argument::Plain)
    }

    pub fn texts(&self) -> Vec<&Text> {
        match self {
            Argument::Plain(_) => Vec::new(),
            Argument::Text(text) => vec![text],
            Argument::List(items) => items.iter().flat_map(Argument::texts).collect(),
            Argument::Map(fields) => fields.values().flat_map(Argument::texts).collect(),
        }
    }
}

/// The value that `path` leads to in `values`.
pub fn look_up<'a>(values: &'a Json, path: &Reference) -> Option<&'a Json> {
    path.iter().try_fold(values, |value, name| match value {
        Json::Object(fields) => fields.get(name),
        Json::Array(items) => items.get(name.parse::<usize>().ok()?),
        _ => None,
    })
}

impl Argument<String> {
    /// The rendered value.
    pub fn into_json(self) -> Json {
        match self {
            Argument::Plain(json) => json,
            Argument::Text(text) => Json::String(text),
            Argument::List(items) => {
                Json::Array(items.into_iter().map(Argument::into_json).collect())
            }
            Argument::Map(fields) => Json::Object(
                fields.into_iter().map(|(name, value)| (name, value.into_json())).collect(),
            ),
        }
    }
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

/// Outputs of a step by name.
pub type Outputs = BTreeMap<String, Json>;
