//! A text or a secret by name: variables of a command, headers of a request, passwords.

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::walk::{Rendering, Walk};
use crate::runbook::convert::{Converter, text};
use crate::runbook::problem::suggest;
use crate::runbook::{Text, TextError};

/// A text, number or boolean, or a secret by name.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum RawValue {
    Text(#[schemars(extend("format" = "template"))] String),
    Bool(bool),
    Number(serde_json::Number),
    Secret(RawSecretUse),
}

/// The use of a secret.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct RawSecretUse {
    /// Its name under `secrets`.
    pub secret: String,
    /// Text put before it, such as `Bearer `.
    #[serde(default)]
    pub prefix: String,
    /// How a command gets it: as the variable's value, or in a file in memory that the variable
    /// names.
    #[serde(default, rename = "as")]
    pub form: SecretForm,
}

/// How a command gets a secret.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SecretForm {
    #[default]
    Value,
    /// The variable holds the path of a file in memory.
    File,
}

/// A text, number or boolean.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum RawScalar {
    Text(#[schemars(extend("format" = "template"))] String),
    Bool(bool),
    Number(serde_json::Number),
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

impl Converter<'_> {
    /// Environment variables or headers.
    pub fn values(
        &mut self,
        raw: &IndexMap<String, RawValue>,
        below: &[&str],
        key: &str,
    ) -> IndexMap<String, Value<Text>> {
        let mut values = IndexMap::new();
        for (name, value) in raw {
            if key == "env" && !is_variable(name) {
                let help =
                    "letters, digits and `_`, not beginning with a digit or with SWITCHOVER_"
                        .to_owned();
                self.report(
                    below,
                    key,
                    format!("`{name}` cannot be an environment variable"),
                    Some(help),
                );
            }
            let value = match value {
                RawValue::Text(source) => Value::Text(text(source)),
                RawValue::Bool(value) => Value::Text(text(&value.to_string())),
                RawValue::Number(value) => Value::Text(text(&value.to_string())),
                RawValue::Secret(used) => {
                    if !self.secrets.contains_key(&used.secret) {
                        let help = suggest(&used.secret, self.secrets.keys().map(String::as_str))
                            .or_else(|| Some("declare it under `secrets`".into()));
                        self.report(
                            below,
                            key,
                            format!("the secret `{}` is not declared", used.secret),
                            help,
                        );
                    }
                    if used.form == SecretForm::File && key != "env" {
                        self.report(
                            below,
                            key,
                            "only a command can be given a secret in a file".to_owned(),
                            None,
                        );
                    }
                    Value::Secret {
                        name: used.secret.clone(),
                        prefix: used.prefix.clone(),
                        form: used.form,
                    }
                }
            };
            values.insert(name.clone(), value);
        }
        values
    }
}

impl<T> Value<T> {
    pub fn try_map<'a, W: Walk<'a, T>>(&'a self, walk: &mut W) -> Result<Value<W::Text>, W::Error> {
        Ok(match self {
            Value::Text(text) => Value::Text(walk.text(text)?),
            Value::Secret { name, prefix, form } => {
                walk.secret(name);
                Value::Secret { name: name.clone(), prefix: prefix.clone(), form: *form }
            }
        })
    }

    pub fn secret(&self) -> Option<&str> {
        match self {
            Value::Secret { name, .. } => Some(name),
            Value::Text(_) => None,
        }
    }
}

impl Value<Text> {
    /// The text with these values.
    ///
    /// # Errors
    /// The first name in it that has no value.
    pub fn render(&self, values: &Json) -> Result<Value<String>, TextError> {
        self.try_map(&mut Rendering { values })
    }

    pub fn text(&self) -> Option<&Text> {
        match self {
            Value::Text(text) => Some(text),
            Value::Secret { .. } => None,
        }
    }
}

pub fn scalar_text(raw: &RawScalar) -> Text {
    match raw {
        RawScalar::Text(source) => text(source),
        RawScalar::Bool(value) => text(&value.to_string()),
        RawScalar::Number(value) => text(&value.to_string()),
    }
}

fn is_variable(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        && !name.starts_with("SWITCHOVER_")
}
