//! Values of a statement that are known only at the moment of use: a secret, or what a query on
//! another database says. Knows nothing of how they are had.

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::action::{Sql, Value};
use super::text::{Text, TextError};

/// Where such a value comes from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Given<T> {
    Secret(Value<T>),
    /// The first cell of the one row of a query.
    Query(Box<Sql<T>>),
}

impl<T> Given<T> {
    /// The secrets that it needs.
    pub fn secrets(&self) -> Vec<&str> {
        match self {
            Given::Secret(value) => value.secret().into_iter().collect(),
            Given::Query(sql) => sql.secrets(),
        }
    }

    /// What people are shown in its place.
    pub fn in_words(&self) -> String {
        match self {
            Given::Secret(value) => format!("(the secret {})", value.secret().unwrap_or_default()),
            Given::Query(sql) => format!("({})", sql.text.trim()),
        }
    }
}

impl Given<Text> {
    pub fn render(&self, values: &Json) -> Result<Given<String>, TextError> {
        Ok(match self {
            Given::Secret(value) => Given::Secret(value.render(values)?),
            Given::Query(sql) => Given::Query(Box::new(sql.render(values)?)),
        })
    }

    /// Every text in it, for checking names.
    pub fn texts(&self) -> Vec<&Text> {
        match self {
            Given::Secret(value) => value.text().into_iter().collect(),
            Given::Query(sql) => sql.texts(),
        }
    }
}

impl<T> Sql<T> {
    /// The secrets that it uses.
    pub fn secrets(&self) -> Vec<&str> {
        self.database
            .secret()
            .into_iter()
            .chain(self.given.values().flat_map(Given::secrets))
            .collect()
    }
}

impl Sql<Text> {
    pub fn render(&self, values: &Json) -> Result<Sql<String>, TextError> {
        let attach =
            self.attach.iter().map(|(name, path)| Ok((name.clone(), path.render(values)?)));
        let parameters = self
            .parameters
            .iter()
            .map(|(name, argument)| Ok((name.clone(), argument.render(values)?)));
        let given =
            self.given.iter().map(|(name, given)| Ok((name.clone(), given.render(values)?)));
        Ok(Sql {
            database: self.database.render(values)?,
            attach: attach.collect::<Result<_, TextError>>()?,
            text: self.text.clone(),
            reads: self.reads,
            parameters: parameters.collect::<Result<_, TextError>>()?,
            given: given.collect::<Result<_, TextError>>()?,
            transaction: self.transaction,
            keep_output: self.keep_output,
        })
    }

    /// Every text in it, for checking names.
    pub fn texts(&self) -> Vec<&Text> {
        let parameters = self.parameters.values().flat_map(super::action::Argument::texts);
        let given = self.given.values().flat_map(Given::texts);
        self.database
            .texts()
            .into_iter()
            .chain(self.attach.values())
            .chain(parameters)
            .chain(given)
            .collect()
    }
}
