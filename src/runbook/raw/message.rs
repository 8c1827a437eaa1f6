//! The occasions of a run and of a phase, each with the name of the template that is sent at it.

use schemars::JsonSchema;
use serde::Deserialize;

/// The occasions of a whole run, each with the name of a template.
#[derive(Debug, Default, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(deny_unknown_fields)]
pub struct RawOccasions {
    /// The run begins.
    pub start: Option<String>,
    /// Production goes down: a step with `downtime: begins` begins.
    pub downtime_starts: Option<String>,
    /// Production is back: a step with `downtime: ends` succeeded, or the one that began it was
    /// undone.
    pub downtime_over: Option<String>,
    /// A point of no return is passed: its step begins.
    pub point_of_no_return: Option<String>,
    /// The run waits for a person: a task, an approval, a step in doubt.
    pub waiting: Option<String>,
    /// A step failed and the run stops.
    pub failure: Option<String>,
    /// A guard or a budget is breached.
    pub breach: Option<String>,
    /// Rolling back begins.
    pub rollback_began: Option<String>,
    /// Everything is undone.
    pub rolled_back: Option<String>,
    /// The run finished.
    pub success: Option<String>,
    /// The closing account, after success or rollback.
    pub report: Option<String>,
}

/// The occasions of a phase, each with the name of a template.
#[derive(Debug, Default, Clone, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct RawPhaseMessages {
    /// Its first step begins.
    pub start: Option<String>,
    /// All its steps are done.
    pub success: Option<String>,
    /// One of its steps failed and the run stops or goes back.
    pub failure: Option<String>,
}
