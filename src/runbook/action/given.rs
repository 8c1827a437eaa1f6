//! Values of a statement that are known only at the moment of use: a secret, or what a query on
//! another database says. Knows nothing of how they are had.

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::sql::Sql;
use super::value::{RawSecretUse, RawValue, SecretForm, Value};
use super::walk::Walk;
use crate::runbook::Text;
use crate::runbook::convert::Converter;

/// A secret, or a query on another database. Exactly one of `secret` and `query`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct RawGiven {
    /// The name of a secret under `secrets`.
    pub secret: Option<String>,
    /// Text put before the secret.
    #[serde(default)]
    pub prefix: String,
    /// The name of one of the `databases`.
    #[schemars(extend("format" = "template"))]
    pub database: Option<String>,
    /// One query that has one row; the first column is the value.
    #[schemars(extend("format" = "sql"))]
    pub query: Option<String>,
}

/// Where such a value comes from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Given<T> {
    Secret(Value<T>),
    /// The first cell of the one row of a query.
    Query(Box<Sql<T>>),
}

impl Converter<'_> {
    /// A value of a statement that is known only at the moment of use.
    pub fn given(&mut self, name: &str, raw: &RawGiven, below: &[&str]) -> Option<Given<Text>> {
        match (&raw.secret, &raw.database, &raw.query) {
            (Some(secret), None, None) => {
                let used = RawSecretUse {
                    secret: secret.clone(),
                    prefix: raw.prefix.clone(),
                    form: SecretForm::Value,
                };
                let value = IndexMap::from([(name.to_owned(), RawValue::Secret(used))]);
                self.values(&value, below, "sql").shift_remove(name).map(Given::Secret)
            }
            (None, Some(database), Some(query)) if raw.prefix.is_empty() => {
                Some(Given::Query(Box::new(Sql {
                    database: self.database(database, "sql", below)?,
                    attach: IndexMap::new(),
                    text: query.clone(),
                    reads: true,
                    parameters: IndexMap::new(),
                    given: IndexMap::new(),
                    transaction: false,
                    keep_output: None,
                })))
            }
            _ => {
                let help = "write `{ secret: name }`, perhaps with `prefix`, or \
                    `{ database: name, query: … }`";
                self.report(
                    below,
                    "sql",
                    format!("the value of `:{name}` is neither a secret nor a query"),
                    Some(help.into()),
                );
                None
            }
        }
    }
}

impl<T> Given<T> {
    /// What people are shown in its place.
    pub fn in_words(&self) -> String {
        match self {
            Given::Secret(value) => format!("(the secret {})", value.secret().unwrap_or_default()),
            Given::Query(sql) => format!("({})", sql.text.trim()),
        }
    }
}

impl<T> Given<T> {
    pub fn try_map<'a, W: Walk<'a, T>>(&'a self, walk: &mut W) -> Result<Given<W::Text>, W::Error> {
        Ok(match self {
            Given::Secret(value) => Given::Secret(value.try_map(walk)?),
            Given::Query(sql) => Given::Query(Box::new(sql.try_map(walk)?)),
        })
    }
}
