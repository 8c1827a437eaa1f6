//! Statements or a query on a database.

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::argument::{Argument, scalar_argument};
use super::facts::{Behind, Commands, DoneBy, Facts, InDryRun, Lasts, Named, by_reading};
use super::given::{Given, RawGiven};
use super::value::RawScalar;
use super::walk::Walk;
use crate::runbook::Text;
use crate::runbook::convert::{Converter, text};
use crate::runbook::database::Database;
use crate::runbook::size::Size;

/// A statement or a query. The text is never templated: values are bound by `:name`.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct RawSql {
    /// The name of one of the `databases`, or an SQLite file.
    #[schemars(extend("format" = "template"))]
    pub database: String,
    /// More SQLite files, attached under their names.
    #[serde(default)]
    #[schemars(extend("additionalProperties" = {"type": "string", "format": "template"}))]
    pub attach: IndexMap<String, String>,
    /// Statements that change something, one after another.
    #[schemars(extend("format" = "sql"))]
    pub statement: Option<String>,
    /// One query that only reads; its rows are in `rows`.
    #[schemars(extend("format" = "sql"))]
    pub query: Option<String>,
    /// Values for `:name` in the text; also secrets, and what a query on another database says.
    #[serde(default)]
    pub parameters: IndexMap<String, RawParameterOfSql>,
    /// Whether all statements are one transaction. Default true.
    pub transaction: Option<bool>,
}

/// A text, number or boolean, or where the value is had at the moment of use.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum RawParameterOfSql {
    Text(#[schemars(extend("format" = "template"))] String),
    Bool(bool),
    Number(serde_json::Number),
    Given(RawGiven),
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

impl Converter<'_> {
    pub fn sql(&mut self, raw: &RawSql, below: &[&str]) -> Option<Sql<Text>> {
        let (sql, reads) = match (&raw.statement, &raw.query) {
            (Some(statement), None) => (statement, false),
            (None, Some(query)) => (query, true),
            _ => {
                let help = "a query only reads and has rows; a statement changes something";
                self.report(
                    below,
                    "sql",
                    "exactly one of statement and query belongs here".into(),
                    Some(help.into()),
                );
                return None;
            }
        };
        if !raw.attach.is_empty()
            && self.databases.get(&raw.database).is_some_and(|found| found.sqlite.is_none())
        {
            self.report(below, "sql", "only an SQLite file can have others attached".into(), None);
        }
        let (mut parameters, mut given) = (IndexMap::new(), IndexMap::new());
        for (name, value) in &raw.parameters {
            let scalar = match value {
                RawParameterOfSql::Text(source) => RawScalar::Text(source.clone()),
                RawParameterOfSql::Bool(value) => RawScalar::Bool(*value),
                RawParameterOfSql::Number(value) => RawScalar::Number(value.clone()),
                RawParameterOfSql::Given(raw) => {
                    given.insert(name.clone(), self.given(name, raw, below)?);
                    continue;
                }
            };
            parameters.insert(name.clone(), scalar_argument(&scalar));
        }
        Some(Sql {
            database: self.database(&raw.database, "sql", below)?,
            attach: raw.attach.iter().map(|(name, path)| (name.clone(), text(path))).collect(),
            text: sql.clone(),
            reads,
            parameters,
            given,
            transaction: raw.transaction.unwrap_or(!reads),
            keep_output: None,
        })
    }
}

/// The names of its result.
pub const RESULT: &[Named] = &[
    Named("changes", Behind::Value),
    Named("given", Behind::Anything),
    Named("rows", Behind::List),
    Named("columns", Behind::List),
];

impl<T> Sql<T> {
    pub fn facts(&self) -> Facts<'_, T> {
        let only_reads = self.reads;
        let (inverse, by_itself) = by_reading(only_reads);
        Facts {
            only_reads,
            can_be_a_reading: only_reads,
            is_idempotent: only_reads,
            done_by: DoneBy::Program,
            inverse,
            takes_back: false,
            results: &[RESULT],
            lasts: Lasts::Unsaid,
            may_hang: true,
            commands: Commands::None,
            has_logs: false,
            decides: false,
            dry_run: InDryRun { by_itself, may_do_the_same: true },
        }
    }
}

impl<T> Sql<T> {
    pub fn try_map<'a, W: Walk<'a, T>>(&'a self, walk: &mut W) -> Result<Sql<W::Text>, W::Error> {
        let Sql { database, attach, text, reads, parameters, given, transaction, keep_output } =
            self;
        Ok(Sql {
            database: database.try_map(walk)?,
            attach: walk.named(attach, W::text)?,
            text: text.clone(),
            reads: *reads,
            parameters: walk.named(parameters, W::argument)?,
            given: walk.named(given, |walk, given| given.try_map(walk))?,
            transaction: *transaction,
            keep_output: *keep_output,
        })
    }
}

impl Sql<String> {
    pub fn in_words(&self) -> String {
        format!("on {}: {}", self.database.in_words(), self.text.trim_end())
    }
}
