//! Rows to be moved from one database to another. Knows nothing of how they are moved.

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Action;
use super::facts::{ByItself, Commands, DoneBy, Facts, InDryRun, Inverse, Lasts};
use super::walk::Walk;
use crate::runbook::convert::{Converter, condition, span};
use crate::runbook::database::Database;
use crate::runbook::raw::RawRead;
use crate::runbook::{Condition, Span, Text};

/// Rows from one database to another, in ranges of their primary keys.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct RawCopy {
    /// The one of the `databases` that has the rows.
    pub from: String,
    /// The one that gets them. Its tables are there, and empty.
    pub to: String,
    /// The tables, in the order in which they are copied; or each with its name in the other
    /// database.
    pub tables: RawTables,
    /// How many rows at once; what a crash can cost. Default 50000, and more as long as that takes
    /// less than a quarter of a second.
    #[schemars(range(min = 1, max = 10000000))]
    pub chunk: Option<u32>,
    /// How many chunks at the same time. Default 1.
    #[schemars(range(min = 1, max = 64))]
    pub parallel: Option<u32>,
    /// Whether the rows of each chunk are counted and compared at both ends. Default true.
    pub verify: Option<bool>,
    /// Only compares what is there. Default false.
    pub verify_only: Option<bool>,
    /// How far the target's sequences are set before the source's. Default 0.
    pub sequence_margin: Option<u32>,
    /// What must hold before the next chunk begins, such as that a replica is not far behind.
    pub throttle: Option<RawThrottle>,
}

/// A read-only action, and the condition on what it reads.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct RawThrottle {
    /// True of a reading by which the copy goes on.
    #[schemars(extend("format" = "cel"))]
    pub until: String,
    /// The pause between two readings; as long as that, one is good for. Default 1s.
    #[schemars(extend("format" = "duration"))]
    pub every: Option<String>,
    #[serde(flatten)]
    pub read: RawRead,
}

/// Names of tables, or each with its name in the other database.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum RawTables {
    Names(Vec<String>),
    Map(IndexMap<String, String>),
}

/// Tables whose rows are copied in ranges of their keys.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Copy<T> {
    pub from: Database<T>,
    pub to: Database<T>,
    /// By their names in the one database, in the order in which they are copied.
    pub tables: IndexMap<String, Table>,
    /// How many rows at once; as many as take a moment, if nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chunk: Option<u32>,
    /// How many chunks at the same time.
    pub parallel: u32,
    /// Whether each chunk is compared at both ends.
    pub verify: bool,
    /// Whether it only compares.
    pub verify_only: bool,
    /// How far the target's sequences are set before the source's.
    pub sequence_margin: u32,
    /// What holds it back.
    #[serde(default = "super::none", skip_serializing_if = "Option::is_none")]
    pub throttle: Option<Throttle<T>>,
    /// Whether it takes back what it copied.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub removes: bool,
}

/// A condition that must hold before the next chunk begins.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Throttle<T> {
    pub probe: Box<Action<T>>,
    pub until: Condition,
    /// The pause between two readings.
    pub every: Span,
}

/// A table.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Table {
    /// Its name in the other database, if that is another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub into: Option<String>,
}

impl Converter<'_> {
    pub fn copy(&mut self, raw: &RawCopy, below: &[&str]) -> Option<Copy<Text>> {
        let (from, to) =
            (self.database(&raw.from, "copy", below)?, self.database(&raw.to, "copy", below)?);
        let tables: IndexMap<String, Table> = match &raw.tables {
            RawTables::Names(names) => {
                names.iter().map(|name| (name.clone(), Table::default())).collect()
            }
            RawTables::Map(map) => map
                .iter()
                .map(|(name, into)| (name.clone(), Table { into: Some(into.clone()) }))
                .collect(),
        };
        if tables.is_empty() {
            self.report(below, "copy", "there is no table to copy".into(), None);
        }
        let throttle = match &raw.throttle {
            Some(raw) => {
                let mut way = below.to_vec();
                way.extend(["copy", "throttle"]);
                let every = span(raw.every.as_deref()).unwrap_or(Span::from_secs(1));
                Some(Throttle {
                    probe: Box::new(self.read(&raw.read, &way)?),
                    until: condition(&raw.until),
                    every,
                })
            }
            None => None,
        };
        Some(Copy {
            from,
            to,
            tables,
            chunk: raw.chunk,
            parallel: raw.parallel.unwrap_or(1),
            verify: raw.verify.unwrap_or(true),
            verify_only: raw.verify_only.unwrap_or(false),
            sequence_margin: raw.sequence_margin.unwrap_or(0),
            throttle,
            removes: false,
        })
    }
}

impl<T: Clone> Copy<T> {
    /// What takes it back.
    pub fn inverse(&self) -> Copy<T> {
        Copy { removes: true, throttle: None, ..self.clone() }
    }
}

impl Copy<String> {
    /// What it does, in words.
    pub fn in_words(&self) -> String {
        let tables: Vec<&str> = self.tables.keys().map(String::as_str).collect();
        let (tables, from, to) = (tables.join(", "), self.from.in_words(), self.to.in_words());
        match (self.removes, self.verify_only) {
            (true, _) => format!("remove from {to} what was copied of {tables}"),
            (_, true) => format!("compare {tables} in {from} and {to}"),
            _ => format!("copy {tables} from {from} to {to}"),
        }
    }
}

impl<T> Copy<T> {
    pub fn facts(&self) -> Facts<'_, T> {
        let only_reads = self.verify_only;
        let reads_by_a_command =
            self.throttle.as_ref().is_some_and(|throttle| throttle.probe.begins_commands());
        Facts {
            only_reads,
            can_be_a_reading: only_reads,
            is_idempotent: true,
            done_by: DoneBy::Program,
            inverse: if only_reads { Inverse::Nothing } else { Inverse::BuiltIn },
            takes_back: self.removes,
            results: &[],
            lasts: Lasts::ByRows,
            may_hang: false,
            commands: if reads_by_a_command { Commands::OnTheWay } else { Commands::None },
            has_logs: false,
            decides: self.throttle.is_some(),
            dry_run: InDryRun { by_itself: ByItself::Looks, may_do_the_same: false },
        }
    }
}

impl<T> Copy<T> {
    pub fn try_map<'a, W: Walk<'a, T>>(&'a self, walk: &mut W) -> Result<Copy<W::Text>, W::Error> {
        let Copy {
            from,
            to,
            tables,
            chunk,
            parallel,
            verify,
            verify_only,
            sequence_margin,
            throttle,
            removes,
        } = self;
        Ok(Copy {
            from: from.try_map(walk)?,
            to: to.try_map(walk)?,
            tables: tables.clone(),
            chunk: *chunk,
            parallel: *parallel,
            verify: *verify,
            verify_only: *verify_only,
            sequence_margin: *sequence_margin,
            throttle: throttle.as_ref().map(|throttle| throttle.try_map(walk)).transpose()?,
            removes: *removes,
        })
    }
}

impl<T> Throttle<T> {
    pub fn try_map<'a, W: Walk<'a, T>>(
        &'a self,
        walk: &mut W,
    ) -> Result<Throttle<W::Text>, W::Error> {
        let Throttle { probe, until, every } = self;
        walk.condition(until);
        Ok(Throttle { probe: Box::new(probe.try_map(walk)?), until: until.clone(), every: *every })
    }
}
