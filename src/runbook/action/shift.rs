//! Traffic that is moved from an old to a new side, in steps. Knows nothing of how a weight is set.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::facts::{Behind, ByItself, Commands, DoneBy, Facts, InDryRun, Inverse, Lasts, Named};
use super::walk::Walk;
use crate::runbook::convert::{Converter, span};
use crate::runbook::traffic::{Analysis, RawAnalysis, Traffic, Weighted};
use crate::runbook::{Span, Text};

/// Traffic that is moved from an old to a new side: `to` so many percent at once, or in `steps`.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct RawShift {
    /// The name of what stands under `traffic`.
    pub traffic: String,
    /// How many percent of the traffic the new side is to have.
    #[schemars(range(min = 0, max = 100))]
    pub to: Option<u8>,
    /// The same, one after another: a list, or how they grow.
    pub steps: Option<RawSteps>,
    /// How long each of them is watched before the next. Default 0s.
    #[schemars(extend("format" = "duration"))]
    pub bake: Option<String>,
    /// Readings that are taken while it is watched.
    #[serde(default)]
    pub analysis: Vec<RawAnalysis>,
    /// Where traffic goes when an analysis fails. Default zero.
    #[serde(default)]
    pub back: Back,
}

/// Percentages, or how they grow.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum RawSteps {
    List(#[schemars(inner(range(min = 0, max = 100)))] Vec<u8>),
    Growth(RawGrowth),
}

/// Percentages that grow `by` so many each, or `times` so much. The last of them is `to`.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct RawGrowth {
    /// The first of them. Default: what it grows by.
    #[schemars(range(min = 1, max = 100))]
    pub from: Option<u8>,
    /// How many percent each is above the one before.
    #[schemars(range(min = 1, max = 100))]
    pub by: Option<u8>,
    /// How many times the one before each is.
    #[schemars(range(min = 2, max = 100))]
    pub times: Option<u8>,
    /// The last of them. Default 100.
    #[schemars(range(min = 1, max = 100))]
    pub to: Option<u8>,
}

/// Where traffic goes when an analysis fails.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Back {
    /// None of it stays on the new side.
    #[default]
    Zero,
    /// To the last weight that was good.
    LastGood,
}

/// Traffic that is moved in steps.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Shift<T> {
    /// What it is called.
    pub name: String,
    pub traffic: Traffic<T>,
    /// Percent of the traffic for the new side, one after another.
    pub steps: Vec<u8>,
    /// How long each of them is watched.
    pub bake: Span,
    #[serde(default = "Vec::new", skip_serializing_if = "Vec::is_empty")]
    pub analysis: Vec<Analysis<T>>,
    pub back: Back,
    /// Whether it only brings back the weights that were found first.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub restores: bool,
}

impl Converter<'_> {
    pub fn shift(&mut self, raw: &RawShift, below: &[&str]) -> Option<Shift<Text>> {
        let steps = match (raw.to, &raw.steps) {
            (Some(to), None) => vec![to],
            (None, Some(RawSteps::List(steps))) if !steps.is_empty() => steps.clone(),
            (None, Some(RawSteps::Growth(raw))) => match growth(raw) {
                Ok(steps) => steps,
                Err(why) => {
                    self.report(
                        below,
                        "shift",
                        why.to_string(),
                        Some("as in `steps: { by: 20 }` or `steps: { from: 5, times: 2 }`".into()),
                    );
                    return None;
                }
            },
            _ => {
                self.report(
                    below,
                    "shift",
                    "exactly one of `to` and `steps` belongs here".into(),
                    Some("as in `steps: [10, 50, 100]`".into()),
                );
                return None;
            }
        };
        let analysis: Vec<_> =
            raw.analysis.iter().filter_map(|analysis| self.analysis(analysis, below)).collect();
        Some(Shift {
            name: raw.traffic.clone(),
            traffic: self.traffic(&raw.traffic, below)?,
            steps,
            bake: span(raw.bake.as_deref()).unwrap_or_default(),
            analysis,
            back: raw.back,
            restores: false,
        })
    }
}

impl<T: Clone> Shift<T> {
    /// What brings back the weights that were found first.
    pub fn inverse(&self) -> Shift<T> {
        Shift { analysis: Vec::new(), restores: true, ..self.clone() }
    }
}

/// The names of its result.
pub const RESULT: &[Named] = &[Named("percent", Behind::Value), Named("weights", Behind::Anything)];

impl<T> Shift<T> {
    pub fn facts(&self) -> Facts<'_, T> {
        let has_commands = matches!(self.traffic, Traffic::Nginx(_) | Traffic::Run(_))
            || self.analysis.iter().any(Analysis::runs_commands);
        let bakes = Span::from_millis(self.bake.as_millis() * self.steps.len() as u64);
        Facts {
            only_reads: false,
            can_be_a_reading: false,
            is_idempotent: true,
            done_by: DoneBy::Program,
            inverse: Inverse::BuiltIn,
            takes_back: self.restores,
            results: &[RESULT],
            lasts: Lasts::AtLeast(bakes),
            may_hang: false,
            commands: if has_commands { Commands::OnTheWay } else { Commands::None },
            has_logs: false,
            decides: true,
            dry_run: InDryRun { by_itself: ByItself::Looks, may_do_the_same: false },
        }
    }
}

impl<T> Shift<T> {
    pub fn try_map<'a, W: Walk<'a, T>>(&'a self, walk: &mut W) -> Result<Shift<W::Text>, W::Error> {
        let Shift { name, traffic, steps, bake, analysis, back, restores } = self;
        Ok(Shift {
            name: name.clone(),
            traffic: traffic.try_map(walk)?,
            steps: steps.clone(),
            bake: *bake,
            analysis: analysis
                .iter()
                .map(|analysis| analysis.try_map(walk))
                .collect::<Result<_, _>>()?,
            back: *back,
            restores: *restores,
        })
    }
}

impl Shift<String> {
    /// What it does, in words.
    pub fn in_words(&self) -> String {
        let where_to = match &self.traffic {
            Traffic::Haproxy(haproxy) => {
                format!("from {} to {} of {} in HAProxy", haproxy.from, haproxy.to, haproxy.backend)
            }
            Traffic::Nginx(nginx) => {
                format!("from {} to {} in {}", nginx.from, nginx.to, nginx.file)
            }
            Traffic::Dns(Weighted { zone, name, kind, from, to }) => {
                format!(
                    "from {from} to {to}, the weights of {} of {name} in {}",
                    kind.word(),
                    zone.in_words()
                )
            }
            Traffic::Run(commands) => format!("by {}", commands.set.join(" ")),
        };
        if self.restores {
            return format!("give {} back the weights that were found ({where_to})", self.name);
        }
        let steps: Vec<String> = self.steps.iter().map(u8::to_string).collect();
        let mut words = format!("shift {} % of {} {where_to}", steps.join(", "), self.name);
        if self.bake > Span::default() {
            words.push_str(&format!(", {} each", self.bake));
        }
        if !self.analysis.is_empty() {
            let names: Vec<&str> =
                self.analysis.iter().map(|analysis| analysis.name.as_str()).collect();
            words.push_str(&format!(", watching {}", names.join(", ")));
        }
        words
    }
}

/// Why there are no percentages that grow so.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
enum GrowthError {
    #[error("steps grow `by` so many percent, or so many `times`")]
    NoRule,
    #[error("steps that grow so many `times` need a first one, `from`")]
    NoBeginning,
    #[error("the first step is {first} %, which is beyond the last one, {last} %")]
    BeyondItsEnd { first: u8, last: u8 },
}

/// The percentages that grow by a formula, up to the last one.
///
/// # Errors
/// If it does not say how they grow, or they begin behind their end.
fn growth(raw: &RawGrowth) -> Result<Vec<u8>, GrowthError> {
    let last = raw.to.unwrap_or(100);
    let next: Box<dyn Fn(u8) -> u8> = match (raw.by, raw.times) {
        (Some(by), None) => Box::new(move |now| now.saturating_add(by)),
        (None, Some(times)) => Box::new(move |now| now.saturating_mul(times)),
        _ => return Err(GrowthError::NoRule),
    };
    let first = raw.from.or(raw.by).ok_or(GrowthError::NoBeginning)?;
    if first > last {
        return Err(GrowthError::BeyondItsEnd { first, last });
    }
    let steps =
        std::iter::successors(Some(first), |&now| (now < last).then(|| next(now).min(last)));
    Ok(steps.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_grow_to_their_end() {
        let grown = |from, by, times, to| growth(&RawGrowth { from, by, times, to });
        assert_eq!(grown(None, Some(20), None, None), Ok(vec![20, 40, 60, 80, 100]));
        assert_eq!(grown(Some(5), None, Some(2), None), Ok(vec![5, 10, 20, 40, 80, 100]));
        assert_eq!(grown(Some(10), Some(30), None, Some(50)), Ok(vec![10, 40, 50]));
        assert_eq!(grown(Some(100), None, Some(100), None), Ok(vec![100]));
        assert_eq!(grown(None, Some(100), None, None), Ok(vec![100]));
        for wrong in [
            grown(None, None, Some(2), None),
            grown(Some(5), None, None, None),
            grown(Some(60), Some(1), None, Some(50)),
        ] {
            assert!(wrong.is_err(), "{wrong:?}");
        }
        assert!(grown(Some(5), Some(5), Some(2), None).is_err());
    }
}
