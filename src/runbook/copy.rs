//! Rows to be moved from one database to another. Knows nothing of how they are moved.

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::action::Action;
use super::database::Database;
use super::text::{Text, TextError};
use super::{Condition, Span};

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
    #[serde(default = "super::action::none", skip_serializing_if = "Option::is_none")]
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

impl Copy<Text> {
    pub fn render(&self, values: &Json) -> Result<Copy<String>, TextError> {
        let Copy { tables, chunk, parallel, verify, verify_only, sequence_margin, removes, .. } =
            self.clone();
        let throttle =
            self.throttle.as_ref().map(|throttle| throttle.render(values)).transpose()?;
        let (from, to) = (self.from.render(values)?, self.to.render(values)?);
        Ok(Copy {
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
        })
    }

    /// Every text in it, for checking names.
    pub fn texts(&self) -> Vec<&Text> {
        let throttle = self.throttle.iter().flat_map(|throttle| throttle.probe.texts());
        self.from.texts().into_iter().chain(self.to.texts()).chain(throttle).collect()
    }
}

impl<T: Clone> Copy<T> {
    /// What takes it back.
    pub fn inverse(&self) -> Copy<T> {
        Copy { removes: true, throttle: None, ..self.clone() }
    }
}

impl<T> Copy<T> {
    /// The secrets that it uses.
    pub fn secrets(&self) -> Vec<&str> {
        let throttle = self.throttle.iter().flat_map(|throttle| throttle.probe.secrets());
        self.from.secret().into_iter().chain(self.to.secret()).chain(throttle).collect()
    }

    /// Whether it begins a command.
    pub fn runs_commands(&self) -> bool {
        self.throttle.as_ref().is_some_and(|throttle| matches!(*throttle.probe, Action::Run(_)))
    }
}

impl Throttle<Text> {
    fn render(&self, values: &Json) -> Result<Throttle<String>, TextError> {
        Ok(Throttle {
            probe: Box::new(self.probe.render(values)?),
            until: self.until.clone(),
            every: self.every,
        })
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
