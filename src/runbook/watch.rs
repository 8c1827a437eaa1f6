//! What is watched beside the steps: guards, which are readings from one step to another, and
//! budgets, which are lengths of time. Knows nothing of how anything is read, nor of what time it
//! is.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::action::none;
use super::traffic::{Analysis, RawMeasure};
use super::{Span, StepIx, Text};

/// A reading that is taken again and again while other things happen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Guard<Ix = StepIx> {
    /// Its name; of a nested runbook, with the path of the step that it stands in.
    pub name: String,
    /// Whose names its texts and conditions see.
    pub scope: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<Text>,
    /// It is watched from the beginning of this step; from the beginning of the run if there is
    /// none.
    #[serde(default = "none", skip_serializing_if = "Option::is_none")]
    pub from: Option<Ix>,
    /// To the end of this step, or of the run.
    #[serde(default = "none", skip_serializing_if = "Option::is_none")]
    pub until: Option<Ix>,
    pub analysis: Analysis<Text>,
    /// How long it may be bad before that is a breach.
    pub lasting: Span,
    pub on_breach: OnBreach,
}

/// The lengths of time that are not to be exceeded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Budgets {
    /// How long production may be down in all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub downtime: Option<Budget>,
    /// How long the way back may take, from wherever the run is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollback: Option<Budget>,
    /// How long the run may take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration: Option<Budget>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Budget {
    pub limit: Span,
    pub on_breach: OnBreach,
}

/// What follows from a breach. It is journaled and told in any case.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnBreach {
    /// Nothing new begins; what runs may finish; then the run stops and a person decides.
    Pause,
    /// What runs and knows its way back is stopped, and everything is undone.
    Rollback,
    /// Nothing else.
    #[default]
    Warn,
}

/// A guard: a reading, and what follows if it is bad.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct RawGuard {
    /// One line that people read.
    #[schemars(extend("format" = "template"))]
    pub title: Option<String>,
    /// The step from whose beginning it is watched. Default: from the beginning of the run; the
    /// guard of a nested runbook must say it.
    pub from: Option<String>,
    /// The step to whose end it is watched. Default: to the end of the runbook.
    pub until: Option<String>,
    /// How long it may be bad, without a good reading in between, before that is a breach. Default
    /// 0s.
    #[serde(rename = "for")]
    #[schemars(extend("format" = "duration"))]
    pub lasting: Option<String>,
    /// What follows from a breach: `pause`, `rollback` or `warn`.
    pub on_breach: OnBreach,
    #[serde(flatten)]
    pub measure: RawMeasure,
}

/// Lengths of time that are not to be exceeded.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct RawBudgets {
    /// How long production may be down, between the steps marked `downtime: begins` and `downtime:
    /// ends`.
    pub downtime: Option<RawBudget>,
    /// How long the way back may take, from wherever the run is, by what the steps' undos are
    /// expected to take.
    pub rollback: Option<RawBudget>,
    /// How long the run may take from its beginning.
    pub duration: Option<RawBudget>,
}

/// A length of time, or a map.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum RawBudget {
    Limit(#[schemars(extend("format" = "duration"))] String),
    Map(RawBudgetMap),
}

/// A length of time, and what follows when it is exceeded or is expected to be.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct RawBudgetMap {
    /// The length of time.
    #[schemars(extend("format" = "duration"))]
    pub limit: String,
    /// What follows from a breach: `pause`, `rollback` or `warn`. Default warn.
    #[serde(default)]
    pub on_breach: OnBreach,
}

impl RawBudgets {
    /// What it says, once its lengths of time are known to be such.
    pub fn checked(&self) -> Budgets {
        let budget = |raw: &RawBudget| {
            let (limit, on_breach) = match raw {
                RawBudget::Limit(limit) => (limit, OnBreach::default()),
                RawBudget::Map(map) => (&map.limit, map.on_breach),
            };
            Some(Budget { limit: limit.parse().ok()?, on_breach })
        };
        let of = |raw: &Option<RawBudget>| raw.as_ref().and_then(budget);
        Budgets {
            downtime: of(&self.downtime),
            rollback: of(&self.rollback),
            duration: of(&self.duration),
        }
    }
}

impl Budgets {
    pub fn is_empty(&self) -> bool {
        *self == Budgets::default()
    }
}

impl std::fmt::Display for OnBreach {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(match self {
            OnBreach::Pause => "pause",
            OnBreach::Rollback => "rollback",
            OnBreach::Warn => "warn",
        })
    }
}
