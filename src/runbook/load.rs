//! From files to a checked [`Runbook`]: reads the top file and every runbook nested in it, gives
//! the parameters their values, and reports everything that is wrong in one go. Files and templates
//! come through closures: no I/O here.

use std::path::{Component, Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

use indexmap::IndexMap;
use serde_json::Value as Json;

use super::action::Argument;
use super::expand;
use super::model::{Parameter, Runbook, Template};
use super::names::Shape;
use super::parameter::Kind;
use super::problem::{Place, Problem, Problems, suggest};
use super::raw::RawRunbook;
use super::salvage::salvage;
use super::schema::{self, Expression};
use super::sides;
use super::source::{Mark, Source};
use super::text::Text;

/// A value given on the command line, in a values file or by an environment.
#[derive(Debug, Clone)]
pub enum Given {
    /// From `--set key=value`: read as the parameter's type asks.
    Text(String),
    /// From a file: it has a type already.
    Json(Json),
}

/// What is to be loaded and with which values.
pub struct Input<'a> {
    /// The top file, as the operator named it.
    pub path: &'a Path,
    pub environment: Option<&'a str>,
    /// Values for parameters, later ones winning; with each, where it came from, for messages.
    pub given: Vec<(String, Given, String)>,
    /// Whether the sides are swapped, for a live test.
    pub swapped: bool,
    /// Whether required parameters must have a value. `check` goes without.
    pub complete: bool,
    /// Reads a file; the error is for the person.
    pub read: &'a mut dyn FnMut(&Path) -> Result<Vec<u8>, String>,
    /// The source of a message template by name.
    pub template: &'a mut dyn FnMut(&str) -> Option<String>,
    /// What a message may use.
    pub message_scope: &'a Shape,
}

/// A file that was read and fits the raw shapes.
pub struct File {
    pub name: Arc<str>,
    pub path: PathBuf,
    pub raw: RawRunbook,
    pub mark: Mark,
    pub expressions: Vec<Expression>,
}

/// Everything that is collected while loading.
pub struct Loading<'a, 'b> {
    pub input: &'a mut Input<'b>,
    pub schema: Json,
    names: Vec<(String, String)>,
    pub problems: Vec<Problem>,
    files: IndexMap<PathBuf, Option<Rc<File>>>,
    pub templates: IndexMap<String, Template>,
}

/// Loads a runbook.
///
/// # Errors
/// Every problem in it and in what it includes, each with its place.
pub fn load(mut input: Input) -> Result<Runbook, Problems> {
    let path = input.path.to_owned();
    let mut loading = Loading {
        input: &mut input,
        schema: schema::schema(),
        names: Vec::new(),
        problems: Vec::new(),
        files: IndexMap::new(),
        templates: IndexMap::new(),
    };
    let runbook = match loading.file(&path, None) {
        Some(file) => {
            let parameters = loading.top_parameters(&file);
            expand::expand(&mut loading, &file, parameters)
        }
        None => None,
    };
    let Loading { names, mut problems, .. } = loading;
    match runbook {
        Some(runbook) if problems.is_empty() => Ok(runbook.with_index()),
        _ => {
            problems.sort_by_key(|problem| problem.place);
            // That a key stands twice is the cause of whatever else is wrong at its place.
            problems.dedup_by(|later, first| {
                later.place == first.place && (later.message == first.message || first.is_duplicate)
            });
            Err(Problems { names, list: problems })
        }
    }
}

impl Loading<'_, '_> {
    pub fn report(&mut self, place: Place, message: impl Into<String>, help: Option<String>) {
        self.problems.push(Problem::new(place, message, help));
    }

    /// Reads a file once. `from` is the place that asked for it.
    pub fn file(&mut self, path: &Path, from: Option<Place>) -> Option<Rc<File>> {
        if let Some(file) = self.files.get(path) {
            return file.clone();
        }
        let file = self.read_file(path, from).map(Rc::new);
        self.files.insert(path.to_owned(), file.clone());
        file
    }

    fn read_file(&mut self, path: &Path, from: Option<Place>) -> Option<File> {
        let name = path.display().to_string();
        let number = self.names.len();
        let bytes = match (self.input.read)(path) {
            Ok(bytes) => bytes,
            Err(error) => {
                let place = from.unwrap_or_else(|| {
                    self.names.push((name, String::new()));
                    Place { file: number as u32, line: 1, column: 1, length: 0 }
                });
                self.report(place, error, None);
                return None;
            }
        };
        let (source, mut value) = match Source::read(number, &name, bytes) {
            Ok(read) => read,
            Err(problems) => {
                self.names.extend(problems.names);
                self.problems.extend(problems.list);
                return None;
            }
        };
        let Source { name, text, root, duplicates: twice } = source;
        self.names.push((name, text));
        let checked = schema::check(&self.schema, &value, &root);
        let sound = twice.is_empty() && checked.problems.is_empty();
        self.problems.extend(twice);
        self.problems.extend(checked.problems);
        salvage(&mut value, &checked.broken);
        match serde_yaml::from_value::<RawRunbook>(value) {
            Ok(raw) => Some(File {
                name: path.display().to_string().into(),
                path: path.to_owned(),
                raw,
                mark: root,
                expressions: checked.expressions,
            }),
            // What is wrong was told already, with its place, and not even the rest could be read.
            Err(_) if !sound => None,
            Err(error) => {
                self.report(root.place, format!("this does not fit a runbook: {error}"), None);
                None
            }
        }
    }

    /// The path of a file that is named in another one.
    pub fn relative(&self, file: &File, name: &str) -> PathBuf {
        let mut path = PathBuf::new();
        for part in file.path.parent().unwrap_or(Path::new("")).join(name).components() {
            match part {
                Component::ParentDir
                    if matches!(path.components().next_back(), Some(Component::Normal(_))) =>
                {
                    path.pop();
                }
                Component::CurDir => {}
                other => path.push(other),
            }
        }
        path
    }

    /// The parameters of the top runbook: defaults, then the environment, then what was given.
    fn top_parameters(&mut self, file: &File) -> IndexMap<String, Parameter> {
        let whole = file.mark.key("parameters").unwrap_or(file.mark.place);
        // A value from an environment is the author's and may be a template; one from the operator
        // is data, whatever stands in it.
        let mut authored: IndexMap<String, Json> = IndexMap::new();
        let mut given: IndexMap<String, (Given, String)> = IndexMap::new();
        if let Some(name) = self.input.environment {
            match file.raw.environments.get(name) {
                Some(values) => {
                    authored.extend(values.values.clone());
                }
                None => {
                    let help = suggest(name, file.raw.environments.keys().map(String::as_str));
                    self.report(
                        file.mark.key("environments").unwrap_or(whole),
                        format!("there is no environment `{name}`"),
                        help,
                    );
                }
            }
        }
        for (environment, values) in &file.raw.environments {
            for key in values.values.keys().filter(|key| !file.raw.parameters.contains_key(*key)) {
                let place = file
                    .mark
                    .get("environments")
                    .and_then(|mark| mark.get(environment))
                    .and_then(|mark| mark.key(key));
                let help = suggest(key, file.raw.parameters.keys().map(String::as_str));
                self.report(place.unwrap_or(whole), format!("there is no parameter `{key}`"), help);
            }
        }
        for (key, value, origin) in self.input.given.clone() {
            if !file.raw.parameters.contains_key(&key) {
                let help = suggest(&key, file.raw.parameters.keys().map(String::as_str));
                self.report(whole, format!("{origin}: there is no parameter `{key}`"), help);
            }
            given.insert(key, (value, origin));
        }
        sides::check(file, &mut self.problems);
        let swapped = file.raw.sides.clone().filter(|_| self.input.swapped).unwrap_or_default();
        if self.input.swapped && file.raw.sides.is_none() {
            let help = "a live test swaps them: say which parameters are the old side and which \
                the new one"
                .to_owned();
            self.report(file.mark.place, "there are no `sides` in this runbook", Some(help));
        }
        let own = |kind: &Kind, name: &str, known: &Json| match given.get(name) {
            Some((Given::Text(text), origin)) => {
                Some(kind.parse(text).map_err(|error| format!("{origin}: {error}")))
            }
            Some((Given::Json(json), origin)) => {
                Some(kind.check(json).map_err(|error| format!("{origin}: {error}")))
            }
            None => authored.get(name).map(|value| {
                static_value(kind, value, known).map_err(|error| format!("environment: {error}"))
            }),
        };
        let values = self.parameters(file, own);
        if swapped.is_empty() {
            return values;
        }
        // What is made of a side's values is made of the other's then.
        self.parameters(file, |kind, name, known| {
            match swapped.other(name).and_then(|other| values.get(other)) {
                Some(Parameter { value: Argument::Plain(value), .. }) => Some(Ok(value.clone())),
                _ => own(kind, name, known),
            }
        })
    }

    /// Gives each parameter its value; `given` answers with a value, an error, or nothing.
    fn parameters(
        &mut self,
        file: &File,
        given: impl Fn(&Kind, &str, &Json) -> Option<Result<Json, String>>,
    ) -> IndexMap<String, Parameter> {
        let marks = file.mark.get("parameters");
        let mut values = IndexMap::new();
        let mut known = Json::Object(serde_json::Map::new());
        for (name, raw) in &file.raw.parameters {
            let place = marks.and_then(|marks| marks.key(name)).unwrap_or(file.mark.place);
            self.check_parameter_name(name, place);
            let kind = Kind::from(raw);
            let value = match (given(&kind, name, &known), &raw.default) {
                (Some(value), _) => value,
                (None, Some(default)) => static_value(&kind, default, &known)
                    .map_err(|error| format!("default: {error}")),
                (None, None) if kind.required && self.input.complete => {
                    let help = format!(
                        "give it with `--set {name}=…`, in a values file or an environment"
                    );
                    self.report(place, format!("the parameter `{name}` has no value"), Some(help));
                    Ok(kind.placeholder())
                }
                (None, None) => Ok(kind.placeholder()),
            };
            let value = value.unwrap_or_else(|error| {
                self.report(
                    place,
                    format!("the parameter `{name}`: {error}"),
                    kind.description.clone(),
                );
                kind.placeholder()
            });
            known[name] = value.clone();
            values.insert(name.clone(), Parameter { kind, value: Argument::Plain(value) });
        }
        values
    }

    /// The parameters of a nested runbook: its arguments, rendered now if they are known now.
    pub fn arguments(
        &mut self,
        file: &File,
        place: Place,
        arguments: &IndexMap<String, Json>,
        known_outside: &Json,
    ) -> IndexMap<String, Parameter> {
        for key in arguments.keys().filter(|key| !file.raw.parameters.contains_key(*key)) {
            let help = suggest(key, file.raw.parameters.keys().map(String::as_str));
            self.report(place, format!("`{}` has no parameter `{key}`", file.raw.runbook), help);
        }
        let mut late = Vec::new();
        let mut values = self.parameters(file, |kind, name, _| {
            let argument = Argument::from_json(arguments.get(name)?).ok()?;
            match argument.value(known_outside) {
                Ok(value) => Some(coerce(kind, value)),
                Err(_) => Some(Ok(kind.placeholder())),
            }
        });
        for (name, json) in arguments {
            if let Ok(argument) = Argument::from_json(json)
                && argument.value(known_outside).is_err()
            {
                late.push((name.clone(), argument));
            }
        }
        for (name, argument) in late {
            if let Some(parameter) = values.get_mut(&name) {
                parameter.value = argument;
            }
        }
        values
    }

    fn check_parameter_name(&mut self, name: &str, place: Place) {
        let identifier = name.starts_with(|c: char| c.is_ascii_lowercase())
            && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
        if !identifier {
            let help = Some(format!(
                "write `{}`",
                name.to_lowercase().replace(|c: char| !c.is_ascii_alphanumeric(), "_")
            ));
            self.report(
                place,
                format!(
                    "`{name}` cannot be a parameter's name: use lower-case letters, digits and `_`"
                ),
                help,
            );
        } else if expand::RESERVED.contains(&name) {
            self.report(
                place,
                format!("`{name}` has a meaning of its own and cannot be a parameter's name"),
                None,
            );
        }
    }

    /// Reads a message template, and checks the names in it against the view that messages have.
    pub fn template(&mut self, name: &str, place: Place) {
        if self.templates.contains_key(name) {
            return;
        }
        let Some(source) = (self.input.template)(name) else {
            self.report(
                place,
                format!("there is no template `{name}`"),
                Some(format!(
                    "write templates/{name}.txt beside the runbook, its first line `Subject: …`"
                )),
            );
            return;
        };
        let Some((subject, body)) =
            source.strip_prefix("Subject:").and_then(|rest| rest.split_once('\n'))
        else {
            self.report(
                place,
                format!("the template `{name}` does not begin with a line `Subject: …`"),
                None,
            );
            return;
        };
        let mut compiled = Vec::new();
        for part in [subject.trim(), body.trim_start_matches('\n')] {
            match Text::compile(part) {
                Ok(text) => {
                    for unknown in text.check(self.input.message_scope) {
                        self.report(
                            place,
                            format!("in the template `{name}`: {}", unknown.message),
                            unknown.help,
                        );
                    }
                    compiled.push(text);
                }
                Err(error) => {
                    self.report(place, format!("in the template `{name}`: {error}"), None)
                }
            }
        }
        if let [subject, body] = compiled.as_slice() {
            self.templates
                .insert(name.to_owned(), Template { subject: subject.clone(), body: body.clone() });
        }
    }
}

/// A value whose texts may be templates over what is known already.
fn static_value(kind: &Kind, json: &Json, known: &Json) -> Result<Json, String> {
    let value = Argument::from_json(json)
        .and_then(|argument| argument.value(known))
        .map_err(|error| error.0)?;
    kind.check(&value)
}

/// A rendered text for a parameter of another kind is read as that kind.
pub fn coerce(kind: &Kind, value: Json) -> Result<Json, String> {
    match (&value, kind.kind) {
        (
            Json::String(text),
            super::raw::ParameterKind::String | super::raw::ParameterKind::Duration,
        ) => kind.check(&Json::String(text.clone())),
        (Json::String(text), _) => kind.parse(text),
        _ => kind.check(&value),
    }
}
