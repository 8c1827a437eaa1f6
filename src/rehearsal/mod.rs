//! A migration before it happens: the same planner and the same facts over a world that is simulated, on a clock that is only a
//! number. Deterministic for a seed. It carries nothing out, reads nothing and knows no journal.

mod certificate;
mod chance;
mod forecast;
mod mishap;
mod stand_in;
mod verdict;
mod witness;
mod world;

use std::sync::Arc;

use serde::Serialize;

use crate::run::{Event, Expected, Fact, Moment, kind};
use crate::runbook::{Runbook, Span};

pub use certificate::{Account, Certificate, Death, Difference, Killed, Way, resumed, rolled_back, smooth};
pub use forecast::{Forecast, Gate};
pub use mishap::Mishap;
pub use stand_in::{MARKS, StandIn, WITNESS, is_witnessed, stand_in};
pub use verdict::{Case, Ending};
pub use witness::Witness;
pub use world::{Lived, Setting, live};

/// What is rehearsed, and how often.
#[derive(Debug, Clone)]
pub struct Plan {
    pub setting: Setting,
    /// The mishaps that are tried; all that can happen, if there are none.
    pub mishaps: Vec<Mishap>,
    /// How many runs with durations by chance.
    pub runs: usize,
}

/// What a rehearsal found.
#[derive(Debug, Clone, Serialize)]
pub struct Rehearsal {
    pub runbook: String,
    pub environment: Option<String>,
    pub seed: u64,
    /// The run in which nothing goes wrong.
    pub smooth: Case,
    /// One for each mishap.
    pub cases: Vec<Case>,
    /// Steps that change something and cannot be taken back.
    pub without_undo: Vec<String>,
    /// Steps that nothing ends if they hang: they have no timeout.
    pub endless: Vec<String>,
    /// Conditions that depend on what only a real run produces, and were taken to hold.
    pub assumed: Vec<String>,
    /// Steps of which nobody says how long they take.
    pub unknown: Vec<String>,
    pub forecast: Forecast,
    /// What happens in the smooth run, in order.
    pub timeline: Vec<Mark>,
    #[serde(skip)]
    pub lived: Lived,
}

/// One fact of a rehearsed run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Mark {
    /// Milliseconds since the beginning.
    pub at_ms: u64,
    /// As in the journal: `step_started`, `message_sent`, …
    pub event: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
    /// The subject of a message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
}

/// Rehearses a runbook.
///
/// # Errors
/// If the planner and the state do not agree, which is a fault of this program.
pub fn rehearse(runbook: &Arc<Runbook>, expected: &Expected, plan: &Plan) -> Result<Rehearsal, String> {
    let lived = live(runbook, expected, &plan.setting, None, &mut |expected| expected)?;
    let smooth = Case::of(None, &lived);
    let mishaps = if plan.mishaps.is_empty() { mishap::all(runbook, &lived) } else { plan.mishaps.clone() };
    let mut cases = Vec::with_capacity(mishaps.len());
    for mishap in mishaps {
        let lived = live(runbook, expected, &plan.setting, Some(&mishap), &mut |expected| expected)?;
        cases.push(Case::of(Some(mishap), &lived));
    }
    let ids = |is_one: &dyn Fn(crate::runbook::StepIx) -> bool| -> Vec<String> {
        runbook.ixs().filter(|ix| is_one(*ix)).map(|ix| runbook.step(ix).id.to_string()).collect()
    };
    Ok(Rehearsal {
        runbook: runbook.name.clone(),
        environment: runbook.environment.clone(),
        seed: plan.setting.seed,
        without_undo: runbook.without_undo().map(|ix| runbook.step(ix).id.to_string()).collect(),
        endless: ids(&|ix| mishap::is_endless(runbook.step(ix))),
        assumed: lived.assumed.iter().cloned().collect(),
        unknown: ids(&|ix| world::takes_time(runbook.step(ix)) && expected.forward(ix) == Span::ZERO),
        forecast: forecast::forecast(runbook, expected, plan, &lived)?,
        timeline: lived.events.iter().map(|event| Mark::of(event, lived.state.began)).collect(),
        smooth,
        cases,
        lived,
    })
}

impl Mark {
    fn of(event: &Event, began: Moment) -> Mark {
        let subject = if let Fact::MessageSent(message) = &event.fact { Some(message.subject.clone()) } else { None };
        let step = event.fact.step().map(ToString::to_string);
        Mark { at_ms: event.at.since(began).as_millis(), event: kind(&event.fact), step, subject }
    }
}

/// A later moment.
fn after(moment: Moment, span: Span) -> Moment {
    Moment(moment.0 + span.as_millis() as i64)
}
