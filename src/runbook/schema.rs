//! The JSON Schema of a runbook, made from the raw shapes, and the structural check of a file
//! against it: unknown keys, missing keys, wrong types and malformed texts, all in one walk, each
//! with its place.

use schemars::generate::SchemaSettings;
use schemars::transform::RecursiveTransform;
use serde_json::{Map, Value as Json};
use serde_yaml::Value as Yaml;

use super::problem::{Place, Problem, suggest};
use super::size::Size;
use super::source::Mark;
use super::{Condition, Span, Text, raw};

/// The JSON Schema (draft 2020-12) of a runbook file.
pub fn schema() -> Json {
    let settings = SchemaSettings::draft2020_12().with_transform(RecursiveTransform(without_null));
    let mut schema = settings.into_generator().into_root_schema_for::<raw::RawRunbook>();
    schema.insert("title".to_owned(), "switchover runbook".into());
    schema.to_value()
}

/// An optional key is left out, never null: `undo:` with nothing behind it would otherwise mean "no
/// undo".
fn without_null(schema: &mut schemars::Schema) {
    let is_null = |value: &Json| value.get("type").and_then(Json::as_str) == Some("null");
    if let Some(Json::Array(types)) = schema.get_mut("type") {
        types.retain(|kind| kind != "null");
        if let [only] = types.as_slice() {
            let only = only.clone();
            schema.insert("type".to_owned(), only);
        }
    }
    if let Some(Json::Array(choices)) = schema.get_mut("anyOf") {
        choices.retain(|choice| !is_null(choice));
        if let [Json::Object(only)] = choices.as_slice() {
            let only = only.clone();
            schema.remove("anyOf");
            for (key, value) in only {
                schema.insert(key, value);
            }
        }
    }
    if schema.get("default").is_some_and(Json::is_null) {
        schema.remove("default");
    }
}

/// A template or a condition that stands in a file, for the check of its names.
#[derive(Debug, Clone)]
pub struct Expression {
    /// The keys and indices that lead to it.
    pub path: Vec<String>,
    pub place: Place,
    pub code: Code,
}

#[derive(Debug, Clone)]
pub enum Code {
    Text(Text),
    Condition(Condition),
}

/// What the structural check of a file found.
#[derive(Debug, Default)]
pub struct Checked {
    /// Every structural problem. A file without any fits the raw shapes.
    pub problems: Vec<Problem>,
    /// Every template with a `{{` and every condition.
    pub expressions: Vec<Expression>,
    /// Where the file does not fit the raw shapes.
    pub broken: Vec<Vec<String>>,
}

/// Holds a file against the schema.
pub fn check(schema: &Json, value: &Yaml, root: &Mark) -> Checked {
    let mut walk = Walk {
        schema,
        found: Vec::new(),
        expressions: Vec::new(),
        path: Vec::new(),
        broken: Vec::new(),
    };
    walk.node(schema, value, root.place, Some(root));
    Checked { problems: walk.found, expressions: walk.expressions, broken: walk.broken }
}

struct Walk<'a> {
    schema: &'a Json,
    found: Vec<Problem>,
    expressions: Vec<Expression>,
    path: Vec<String>,
    broken: Vec<Vec<String>>,
}

/// The schema of a free value: whatever the author likes. Texts with `{{` in it are templates.
static FREE: Json = Json::Bool(true);

impl<'a> Walk<'a> {
    fn below(
        &mut self,
        name: String,
        schema: &'a Json,
        value: &Yaml,
        place: Place,
        mark: Option<&Mark>,
    ) {
        self.path.push(name);
        self.node(schema, value, place, mark);
        self.path.pop();
    }

    fn node(&mut self, schema: &'a Json, value: &Yaml, place: Place, mark: Option<&Mark>) {
        let schema = self.follow(schema);
        if let Some(choices) = schema.get("anyOf").and_then(Json::as_array) {
            let fitting =
                choices.iter().map(|choice| self.follow(choice)).find(|choice| fits(choice, value));
            match fitting {
                Some(choice) => self.node(choice, value, place, mark),
                None => {
                    let kinds: Vec<&str> =
                        choices.iter().flat_map(|choice| kinds(self.follow(choice))).collect();
                    self.wrong_type(&kinds, value, place);
                }
            }
            return;
        }
        if let Some(allowed) = words(schema) {
            self.word(&allowed, value, place);
            return;
        }
        if !fits(schema, value) {
            self.wrong_type(&kinds(schema), value, place);
            let format = schema.get("format").and_then(Json::as_str).unwrap_or_default();
            if let (Yaml::Number(number), Some(problem)) = (value, self.found.last_mut()) {
                match format {
                    "duration" | "duration-template" => {
                        problem.help = Some(format!("give it a unit: {number}s, or {number}m"))
                    }
                    "size" => {
                        problem.help = Some(format!("give it a unit: {number}KiB, or {number}MiB"))
                    }
                    _ => {}
                }
            }
            return;
        }
        match value {
            Yaml::String(text) => self.text(schema, text, place),
            Yaml::Number(number) => self.range(schema, number.as_f64().unwrap_or(0.0), place),
            Yaml::Sequence(items) => {
                {
                    let inner = self.follow(schema.get("items").unwrap_or(&FREE));
                    for (index, item) in items.iter().enumerate() {
                        // The commonest list is one of names, a million of them in a dense graph.
                        if inner.get("format").is_none()
                            && matches!(item, Yaml::String(_))
                            && kinds(inner) == ["string"]
                        {
                            continue;
                        }
                        let child = mark.and_then(|mark| mark.items().get(index));
                        self.below(
                            index.to_string(),
                            inner,
                            item,
                            child.map_or(place, |child| child.place),
                            child,
                        );
                    }
                }
            }
            Yaml::Mapping(entries) => self.mapping(schema, entries, place, mark),
            _ => {}
        }
    }

    fn mapping(
        &mut self,
        schema: &'a Json,
        entries: &serde_yaml::Mapping,
        place: Place,
        mark: Option<&Mark>,
    ) {
        let empty = Map::new();
        let known = schema.get("properties").and_then(Json::as_object);
        let others = schema.get("additionalProperties");
        let closed = others == Some(&Json::Bool(false))
            || schema.get("unevaluatedProperties") == Some(&Json::Bool(false));
        for (index, (key, value)) in entries.iter().enumerate() {
            let Some(key) = key.as_str() else { continue };
            let entry = mark.and_then(|mark| mark.entries().get(index));
            let (key_place, child) =
                entry.map_or((place, None), |(_, key_place, child)| (*key_place, Some(child)));
            match (known.and_then(|known| known.get(key)), others) {
                (Some(inner), _) => self.below(
                    key.to_owned(),
                    inner,
                    value,
                    child.map_or(place, |child| child.place),
                    child,
                ),
                (None, _) if closed => {
                    let names = known.unwrap_or(&empty).keys().map(String::as_str);
                    self.found.push(Problem::new(
                        key_place,
                        format!("unknown key `{key}`"),
                        suggest(key, names),
                    ));
                }
                (None, Some(inner)) => self.below(
                    key.to_owned(),
                    inner,
                    value,
                    child.map_or(place, |child| child.place),
                    child,
                ),
                (None, None) => self.below(
                    key.to_owned(),
                    &FREE,
                    value,
                    child.map_or(place, |child| child.place),
                    child,
                ),
            }
        }
        let required = schema
            .get("required")
            .and_then(Json::as_array)
            .into_iter()
            .flatten()
            .filter_map(Json::as_str);
        for key in required.filter(|key| entries.get(*key).is_none()) {
            let help = self.describe(known.and_then(|known| known.get(key)));
            self.broken.push(self.path.clone());
            self.found.push(Problem::new(place, format!("the key `{key}` is missing"), help));
        }
        let count = entries.len() as u64;
        if schema.get("minProperties").and_then(Json::as_u64).is_some_and(|least| count < least)
            || schema.get("maxProperties").and_then(Json::as_u64).is_some_and(|most| count > most)
        {
            let names: Vec<&str> = known.unwrap_or(&empty).keys().map(String::as_str).collect();
            self.broken.push(self.path.clone());
            self.found.push(Problem::new(
                place,
                format!("exactly one of {} belongs here", names.join(", ")),
                None,
            ));
        }
    }

    fn text(&mut self, schema: &Json, text: &str, place: Place) {
        let format = match schema.get("format").and_then(Json::as_str) {
            Some(format) => format,
            // Free text counts as a template where it looks like one; a plain string key does not.
            None if schema.get("type").is_none() => "template",
            None if text.contains("{{") => "plain",
            None => return,
        };
        let error = match format {
            "cel" => match Condition::compile(text) {
                Ok(condition) => {
                    self.keep(place, Code::Condition(condition));
                    None
                }
                Err(error) => Some((error.0, None)),
            },
            "template" | "duration-template" if text.contains("{{") => match Text::compile(text) {
                Ok(text) => {
                    self.keep(place, Code::Text(text));
                    None
                }
                Err(error) => Some((error.0, None)),
            },
            "duration" | "duration-template" => {
                text.parse::<Span>().err().map(|error| (error.to_string(), None))
            }
            "size" => text.parse::<Size>().err().map(|error| (error.to_string(), None)),
            "regex" => pattern(text).err().map(|error| (error, None)),
            "id" => id_error(text).map(|error| (error, None)),
            "script" => text.contains("{{").then(|| {
                let help = "pass the value as an environment variable: put `NAME: \"{{ value }}\"` \
                    under `env` and write \"$NAME\" here";
                ("a template in a script: scripts are never templated, so that no value can become \
                    code".to_owned(), Some(help.to_owned()))
            }),
            "sql" => text.contains("{{").then(|| {
                let help = "bind the value: put `name: \"{{ value }}\"` under `parameters` and \
                    write :name here";
                ("a template in SQL: statements are never templated, so that no value can become \
                    code".to_owned(), Some(help.to_owned()))
            }),
            "plain" => {
                Some(("values are not filled in here: this text is no template".to_owned(), None))
            }
            _ => None,
        };
        if let Some((message, help)) = error {
            self.found.push(Problem::new(place, message, help));
        }
    }

    fn keep(&mut self, place: Place, code: Code) {
        self.expressions.push(Expression { path: self.path.clone(), place, code });
    }

    fn word(&mut self, allowed: &[&str], value: &Yaml, place: Place) {
        match value.as_str() {
            Some(word) if allowed.contains(&word) => {}
            Some(word) => {
                let help = suggest(word, allowed.iter().copied());
                self.broken.push(self.path.clone());
                self.found.push(Problem::new(
                    place,
                    format!("`{word}` is not one of {}", allowed.join(", ")),
                    help,
                ));
            }
            None => self.wrong_type(&[&format!("one of {}", allowed.join(", "))], value, place),
        }
    }

    fn range(&mut self, schema: &Json, number: f64, place: Place) {
        for (key, ok, word) in [
            ("minimum", number >= bound(schema, "minimum", f64::MIN), "least"),
            ("maximum", number <= bound(schema, "maximum", f64::MAX), "most"),
        ] {
            if !ok {
                self.broken.push(self.path.clone());
                self.found.push(Problem::new(
                    place,
                    format!("{number} is out of range: at {word} {}", bound(schema, key, 0.0)),
                    None,
                ));
            }
        }
    }

    fn wrong_type(&mut self, kinds: &[&str], value: &Yaml, place: Place) {
        let mut wanted: Vec<&str> = kinds.iter().map(|kind| name_of(kind)).collect();
        wanted.dedup();
        self.broken.push(self.path.clone());
        let help =
            matches!(value, Yaml::Null).then(|| "give it a value, or remove the key".to_owned());
        self.found.push(Problem::new(
            place,
            format!("{} stands here, but {} is wanted", yaml_name(value), wanted.join(" or ")),
            help,
        ));
    }

    fn describe(&self, schema: Option<&Json>) -> Option<String> {
        schema
            .and_then(|schema| schema.get("description"))
            .and_then(Json::as_str)
            .map(|text| text.lines().next().unwrap_or("").to_owned())
    }

    fn follow(&self, mut schema: &'a Json) -> &'a Json {
        while let Some(name) = schema.get("$ref").and_then(Json::as_str) {
            match self.schema.pointer(name.trim_start_matches('#')) {
                Some(next) => schema = next,
                None => break,
            }
        }
        schema
    }
}

/// A name that people type, and that stands in file names: letters, digits, dashes and underscores.
pub fn id_error(id: &str) -> Option<String> {
    let ok = !id.is_empty()
        && id.len() <= 100
        && id.starts_with(|c: char| c.is_ascii_alphanumeric())
        && id.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
    (!ok).then(|| {
        format!(
            "`{id}` cannot be a name: use letters, digits, `-` and `_`, 100 at most, \
        a letter or digit first"
        )
    })
}

/// Compiles a parameter's pattern, made to match the whole text.
pub fn pattern(source: &str) -> Result<regex::Regex, String> {
    regex::RegexBuilder::new(&format!("^(?:{source})$")).size_limit(1 << 20).build().map_err(
        |error| {
            format!(
                "`{source}` is not a regular expression: {}",
                error.to_string().lines().last().unwrap_or_default()
            )
        },
    )
}

fn bound(schema: &Json, key: &str, default: f64) -> f64 {
    schema.get(key).and_then(Json::as_f64).unwrap_or(default)
}

fn words(schema: &Json) -> Option<Vec<&str>> {
    if let Some(Json::Array(values)) = schema.get("enum") {
        return Some(values.iter().filter_map(Json::as_str).collect());
    }
    let Some(Json::Array(choices)) = schema.get("oneOf") else { return None };
    Some(
        choices
            .iter()
            .flat_map(|choice| {
                let plain = choice
                    .get("enum")
                    .and_then(Json::as_array)
                    .into_iter()
                    .flatten()
                    .filter_map(Json::as_str);
                choice.get("const").and_then(Json::as_str).into_iter().chain(plain)
            })
            .collect(),
    )
}

fn kinds(schema: &Json) -> Vec<&str> {
    match schema.get("type") {
        Some(Json::String(kind)) => vec![kind],
        Some(Json::Array(kinds)) => kinds.iter().filter_map(Json::as_str).collect(),
        _ if words(schema).is_some() => vec!["string"],
        _ if schema.get("properties").is_some() => vec!["object"],
        _ => Vec::new(),
    }
}

fn fits(schema: &Json, value: &Yaml) -> bool {
    let kinds = kinds(schema);
    kinds.is_empty()
        || kinds.iter().any(|kind| match (*kind, value) {
            ("string", Yaml::String(_))
            | ("boolean", Yaml::Bool(_))
            | ("array", Yaml::Sequence(_))
            | ("object", Yaml::Mapping(_))
            | ("number", Yaml::Number(_)) => true,
            ("integer", Yaml::Number(number)) => number.is_i64() || number.is_u64(),
            _ => false,
        })
}

fn name_of(kind: &str) -> &str {
    match kind {
        "string" => "a text",
        "boolean" => "true or false",
        "array" => "a list",
        "object" => "a map",
        "number" => "a number",
        "integer" => "a whole number",
        other => other,
    }
}

fn yaml_name(value: &Yaml) -> &'static str {
    match value {
        Yaml::Null => "nothing",
        Yaml::Bool(_) => "true or false",
        Yaml::Number(_) => "a number",
        Yaml::String(_) => "a text",
        Yaml::Sequence(_) => "a list",
        Yaml::Mapping(_) => "a map",
        Yaml::Tagged(_) => "a tagged value",
    }
}
