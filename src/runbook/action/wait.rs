//! A length of time, or a condition on a repeated reading.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Action;
use super::facts::{ByItself, Commands, DoneBy, Facts, InDryRun, Inverse, Lasts};
use super::walk::Walk;
use super::{http, run, sql};
use crate::runbook::convert::{Converter, condition, span, text};
use crate::runbook::raw::RawRead;
use crate::runbook::{Condition, Span, Text};

/// A length of time, or a condition on a repeated reading.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum RawWait {
    For(#[schemars(extend("format" = "duration-template"))] String),
    Until(Box<RawWaitUntil>),
}

/// A condition on a repeated reading.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct RawWaitUntil {
    /// The condition over the reading.
    #[schemars(extend("format" = "cel"))]
    pub until: String,
    /// The read-only action that gives a reading.
    pub probe: RawReading,
    /// The pause between two readings. Default 5s.
    #[schemars(extend("format" = "duration"))]
    pub every: Option<String>,
    /// How many readings in a row must meet the condition. Default 1.
    #[schemars(range(min = 1, max = 1000))]
    pub stable: Option<u32>,
    /// The longest it may take; then the step has failed.
    #[schemars(extend("format" = "duration"))]
    pub timeout: Option<String>,
}

/// A read-only action that gives a reading.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct RawReading {
    #[serde(flatten)]
    pub read: RawRead,
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

impl RawWait {
    /// The longest that it may take.
    pub fn timeout(&self) -> Option<&str> {
        match self {
            RawWait::For(_) => None,
            RawWait::Until(until) => until.timeout.as_deref(),
        }
    }
}

impl Converter<'_> {
    pub fn wait(&mut self, raw: &RawWait, below: &[&str]) -> Option<Wait<Text>> {
        Some(match raw {
            RawWait::For(time) => Wait::For(text(time)),
            RawWait::Until(until) => {
                let mut way = below.to_vec();
                way.extend(["wait", "probe"]);
                Wait::Until {
                    until: condition(&until.until),
                    probe: Box::new(self.read(&until.probe.read, &way)?),
                    every: span(until.every.as_deref()).unwrap_or(Span::from_secs(5)),
                    stable: until.stable.unwrap_or(1),
                }
            }
        })
    }
}

impl<T> Wait<T> {
    pub fn facts(&self) -> Facts<'_, T> {
        let (lasts, probe) = match self {
            Wait::For(time) => (Lasts::Exactly(time), None),
            Wait::Until { probe, .. } => (Lasts::Unsaid, Some(probe)),
        };
        let reads_by_a_command = probe.is_some_and(|probe| probe.begins_commands());
        Facts {
            only_reads: true,
            can_be_a_reading: true,
            is_idempotent: true,
            done_by: DoneBy::Program,
            inverse: Inverse::Nothing,
            takes_back: false,
            results: &[run::RESULT, sql::RESULT, http::RESULT],
            lasts,
            may_hang: probe.is_some(),
            commands: if reads_by_a_command { Commands::OnTheWay } else { Commands::None },
            has_logs: probe.is_some(),
            decides: probe.is_some(),
            dry_run: InDryRun { by_itself: ByItself::Looks, may_do_the_same: true },
        }
    }
}

impl<T> Wait<T> {
    pub fn try_map<'a, W: Walk<'a, T>>(&'a self, walk: &mut W) -> Result<Wait<W::Text>, W::Error> {
        Ok(match self {
            Wait::For(time) => Wait::For(walk.text(time)?),
            Wait::Until { until, probe, every, stable } => {
                walk.condition(until);
                Wait::Until {
                    until: until.clone(),
                    probe: Box::new(probe.try_map(walk)?),
                    every: *every,
                    stable: *stable,
                }
            }
        })
    }
}

impl Wait<String> {
    pub fn in_words(&self) -> String {
        match self {
            Wait::For(time) => format!("wait for {time}"),
            Wait::Until { until, every, stable, .. } => {
                format!("wait until {} ({stable} in a row, every {every})", until.source())
            }
        }
    }
}
