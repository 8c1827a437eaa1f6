//! Parameter kinds and their values: from YAML, from `--set key=value`, from a person's answer.
//! Knows no runbook.

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::Span;
use super::limit;
use super::raw::{ParameterKind, RawParameter};
use super::schema::pattern;

/// What a parameter, or a field that a person fills in, accepts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Kind {
    #[serde(rename = "type")]
    pub kind: ParameterKind,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allowed: Option<Vec<Json>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pattern: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    pub required: bool,
}

impl From<&RawParameter> for Kind {
    fn from(raw: &RawParameter) -> Kind {
        Kind {
            kind: raw.kind,
            allowed: raw.allowed.clone(),
            pattern: raw.pattern.clone(),
            description: raw.description.clone(),
            required: raw.required.unwrap_or(raw.default.is_none()),
        }
    }
}

impl Kind {
    /// Checks a value that has a type already.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn check(&self, value: &Json) -> Result<Json, String> {
        let value = match (self.kind, value) {
            (ParameterKind::String, Json::String(_))
            | (ParameterKind::Integer, Json::Number(_))
            | (ParameterKind::Number, Json::Number(_))
            | (ParameterKind::Boolean, Json::Bool(_))
            | (ParameterKind::List, Json::Array(_))
            | (ParameterKind::Map, Json::Object(_)) => value.clone(),
            (ParameterKind::Duration, Json::String(text)) => {
                text.parse::<Span>().map_err(|error| error.to_string())?;
                value.clone()
            }
            _ => return Err(format!("{} is wanted, not {}", self.word(), short(value))),
        };
        limit::check(&value).map_err(|exceeded| exceeded.to_string())?;
        if self.kind == ParameterKind::Integer && value.as_i64().is_none() {
            return Err(format!("a whole number is wanted, not {value}"));
        }
        if let Some(allowed) = &self.allowed
            && !allowed.contains(&value)
        {
            let list: Vec<String> = allowed.iter().map(short).collect();
            return Err(format!("{} is not one of {}", short(&value), list.join(", ")));
        }
        if let (Some(source), Json::String(text)) = (&self.pattern, &value)
            && !pattern(source)?.is_match(text)
        {
            return Err(format!("{} does not match the pattern {source}", short(&value)));
        }
        Ok(value)
    }

    /// Reads a value from text, as a person types it.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn parse(&self, text: &str) -> Result<Json, String> {
        let value = match self.kind {
            ParameterKind::String | ParameterKind::Duration => Json::String(text.to_owned()),
            ParameterKind::Integer => text
                .parse::<i64>()
                .map(Json::from)
                .map_err(|_| format!("a whole number is wanted, not `{text}`"))?,
            ParameterKind::Number => text
                .parse::<f64>()
                .ok()
                .and_then(serde_json::Number::from_f64)
                .map(Json::Number)
                .ok_or_else(|| format!("a number is wanted, not `{text}`"))?,
            ParameterKind::Boolean => match text {
                "true" => Json::Bool(true),
                "false" => Json::Bool(false),
                _ => return Err(format!("true or false is wanted, not `{text}`")),
            },
            ParameterKind::List | ParameterKind::Map => serde_yaml::from_str(text)
                .map_err(|error| format!("{} is wanted, in YAML or JSON: {error}", self.word()))?,
        };
        self.check(&value)
    }

    /// A value to check names and shapes with where the real one is not known yet.
    pub fn placeholder(&self) -> Json {
        match self.kind {
            ParameterKind::String => Json::String(String::new()),
            ParameterKind::Duration => Json::String("0s".into()),
            ParameterKind::Integer | ParameterKind::Number => Json::from(0),
            ParameterKind::Boolean => Json::Bool(false),
            ParameterKind::List => Json::Array(Vec::new()),
            ParameterKind::Map => Json::Object(serde_json::Map::new()),
        }
    }

    pub fn word(&self) -> &'static str {
        match self.kind {
            ParameterKind::String => "a text",
            ParameterKind::Integer => "a whole number",
            ParameterKind::Number => "a number",
            ParameterKind::Boolean => "true or false",
            ParameterKind::Duration => "a duration",
            ParameterKind::List => "a list",
            ParameterKind::Map => "a map",
        }
    }
}

fn short(value: &Json) -> String {
    let text = value.as_str().map_or_else(|| value.to_string(), |text| format!("`{text}`"));
    match text.char_indices().nth(60) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text,
    }
}
