//! A migration before it happens: the same planner and the same facts over a world that is
//! simulated, on a clock that is only a number. Deterministic for a seed. It carries nothing out,
//! reads nothing and knows no journal.

mod attempt;
mod certificate;
mod chance;
mod forecast;
mod independent;
mod lookout;
mod mishap;
mod stage;
mod stand_in;
mod tell;
mod verdict;
mod witness;
mod world;

use std::collections::HashMap;
use std::sync::Arc;

use serde::Serialize;

use crate::run::{Event, Expected, Fact, kind};
use crate::runbook::action::Lasts;
use crate::runbook::{Budgets, Direction, Runbook, Span, Step, StepIx, Undo};

use independent::each;
use stage::Stage;
use world::live;

pub use certificate::{
    Account, Certificate, Death, Difference, Killed, Way, resumed, rolled_back, smooth,
};
pub use forecast::{Forecast, Gate};
pub use mishap::Mishap;
pub use stand_in::{MARKS, StandIn, WITNESS, is_witnessed, stand_in};
pub use verdict::{Case, Ending, Told};
pub use witness::Witness;
pub use world::{Lived, Setting, takes_time};

/// What is rehearsed, and how often.
#[derive(Debug, Clone)]
pub struct Plan {
    pub setting: Setting,
    pub mishaps: Mishaps,
    /// How many runs with durations by chance.
    pub runs: usize,
    /// How far durations spread, where that is known: the standard deviation of their logarithm.
    pub spreads: HashMap<(StepIx, Direction), f64>,
    /// How many runs are lived at once. What is found does not depend on it.
    pub threads: usize,
}

/// The mishaps that are tried.
#[derive(Debug, Clone)]
pub enum Mishaps {
    /// All that can happen.
    All,
    These(Vec<Mishap>),
}

/// What a rehearsal found.
#[derive(Debug, Clone, Serialize)]
pub struct Rehearsal {
    pub runbook: String,
    pub environment: Option<String>,
    pub seed: u64,
    /// How many actions might run at once.
    pub parallel: usize,
    pub budgets: Budgets,
    /// The run in which nothing goes wrong.
    pub smooth: Case,
    /// One for each mishap.
    pub cases: Vec<Case>,
    /// Steps that change something and cannot be taken back.
    pub without_undo: Vec<String>,
    /// Steps, undos and releases that nothing ends if they hang: they have no timeout.
    pub endless: Vec<String>,
    /// Conditions that depend on what only a real run produces, and were taken to hold.
    pub assumed: Vec<String>,
    /// Steps of which nobody says how long they take.
    pub unknown: Vec<String>,
    /// Steps, or their undos, that are expected to take what they took in earlier runs.
    pub from_history: Vec<String>,
    /// Those of which earlier runs say also how far that spreads.
    pub spread_from_history: Vec<String>,
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
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub message: Option<Letter>,
}

/// A message in full.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Letter {
    pub occasion: String,
    pub to: Vec<String>,
    pub subject: String,
    pub body: String,
}

impl Rehearsal {
    /// The mishap after which the way back takes longest, if every undo works: what is stuck takes
    /// as long as a person takes.
    pub fn longest_way_back(&self) -> Option<(u64, &Case)> {
        let back = self.cases.iter().filter(|case| case.ends == Ending::RolledBack);
        back.filter_map(|case| Some((case.back_ms?, case))).max_by_key(|(back, _)| *back)
    }
}

/// Rehearses a runbook.
///
/// # Errors
/// If the planner and the state do not agree, which is a fault of this program.
pub fn rehearse(
    runbook: &Arc<Runbook>,
    expected: &Expected,
    plan: &Plan,
) -> Result<Rehearsal, String> {
    let stage = Stage::of(runbook, expected, &plan.setting)?;
    let as_expected = || |_: StepIx, _: Direction, expected: Span| expected;
    let lived = live(&stage, None, &mut as_expected())?;
    let smooth = Case::of(None, &lived);
    let mishaps = match &plan.mishaps {
        Mishaps::All => mishap::all(runbook, &lived),
        Mishaps::These(mishaps) => mishaps.clone(),
    };
    let cases = each(mishaps.len(), plan.threads, |number| {
        let mishap = &mishaps[number];
        live(&stage, Some(mishap), &mut as_expected())
            .map(|lived| Case::of(Some(mishap.clone()), &lived))
    })?;
    let ids = |is_one: &dyn Fn(StepIx) -> bool| -> Vec<String> {
        runbook.ixs().filter(|ix| is_one(*ix)).map(|ix| runbook.step(ix).id.to_string()).collect()
    };
    let is_from_history = |ix: StepIx| {
        let step = runbook.step(ix);
        let undo = matches!(step.undo, Undo::Act(_))
            && step.undo_estimate.is_none()
            && expected.undo(ix) > Span::ZERO;
        undo || world::takes_time(step)
            && step.estimate.is_none()
            && expected.forward(ix) > Span::ZERO
    };
    Ok(Rehearsal {
        runbook: runbook.name.clone(),
        environment: runbook.environment.clone(),
        budgets: runbook.budgets,
        seed: plan.setting.seed,
        parallel: plan.setting.parallel,
        without_undo: runbook.without_undo().map(|ix| runbook.step(ix).id.to_string()).collect(),
        endless: runbook.steps.iter().flat_map(mishap::endless).collect(),
        assumed: lived.assumed.iter().cloned().collect(),
        unknown: ids(&|ix| is_unknown(runbook.step(ix), expected.forward(ix))),
        from_history: ids(&is_from_history),
        spread_from_history: ids(&|ix| {
            Direction::ALL.iter().any(|direction| plan.spreads.contains_key(&(ix, *direction)))
        }),
        forecast: forecast::forecast(&stage, plan, &lived)?,
        timeline: timeline(&lived),
        smooth,
        cases,
        lived,
    })
}

/// How long a run takes in which nothing goes wrong.
///
/// # Errors
/// As [`rehearse`].
pub fn length(
    runbook: &Arc<Runbook>,
    expected: &Expected,
    setting: &Setting,
) -> Result<Span, String> {
    let stage = Stage::of(runbook, expected, setting)?;
    let lived = live(&stage, None, &mut |_, _, expected| expected)?;
    Ok(lived.state.last.since(lived.state.began))
}

/// Whether nobody says how long a step takes. A wait and a shift of traffic say it themselves.
fn is_unknown(step: &Step, expected: Span) -> bool {
    let says_itself = match step.act.action.facts().lasts {
        Lasts::Exactly(_) | Lasts::AtLeast(_) => true,
        Lasts::ByRows | Lasts::Unsaid => false,
    };
    world::takes_time(step) && !step.ruled_out && !says_itself && expected == Span::ZERO
}

fn timeline(lived: &Lived) -> Vec<Mark> {
    let mut bodies = lived.bodies.iter();
    let mark = |event: &Event| {
        let message = match &event.fact {
            Fact::MessageSent(message) => Some(Letter {
                occasion: message.occasion.clone(),
                to: message.to.clone(),
                subject: message.subject.clone(),
                body: bodies.next().cloned().unwrap_or_default(),
            }),
            _ => None,
        };
        let step = event.fact.step().map(ToString::to_string);
        Mark {
            at_ms: event.at.since(lived.state.began).as_millis(),
            event: kind(&event.fact),
            step,
            message,
        }
    };
    lived.events.iter().map(mark).collect()
}
