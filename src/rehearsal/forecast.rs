//! When a run should be done, by many runs with durations by chance (the Monte Carlo method).

use serde::Serialize;

use super::chance::{Chance, SPREAD};
use super::independent::each;
use super::stage::Stage;
use super::world::{Lived, live};
use super::{Plan, Setting};
use crate::run::{Fact, Outcome};
use crate::runbook::graph::longest_way;
use crate::runbook::watch::Budget;
use crate::runbook::window::Window;
use crate::runbook::{Action, Direction, Span, StepIx};

/// What many runs say. Lengths of time are in milliseconds.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Forecast {
    pub runs: usize,
    /// The share of runs that finish: a budget that is exceeded may stop one or take it back. `None` without runs.
    pub finished: Option<f64>,
    /// The median and the 95th percentile of how long it takes.
    pub took_ms: (u64, u64),
    /// The same of how long production is down.
    pub down_ms: (u64, u64),
    /// More of both: the percentile, how long it takes, and how long production is down.
    pub percentiles: Vec<(usize, u64, u64)>,
    /// The share of runs that keep each budget; `None` without one.
    pub within_duration: Option<f64>,
    pub within_downtime: Option<f64>,
    /// The share of runs that are done before the window closes, if they begin as it opens; `None` without one.
    pub within_window: Option<f64>,
    /// The steps that decide how long it takes, and that take time.
    pub critical: Vec<String>,
    pub gates: Vec<Gate>,
}

/// A go or no-go, and until when it can be said.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Gate {
    pub step: String,
    /// When it is asked, after the beginning, in the smooth run.
    pub asked_ms: u64,
    /// The latest time after the beginning at which 95 of 100 runs still keep the budget for the duration, and are done before a window
    /// closes that opened with it; `None` without either, and negative if it is too late from the first.
    pub latest_ms: Option<i64>,
}

pub fn forecast(stage: &Stage, plan: &Plan, smooth: &Lived) -> Result<Forecast, String> {
    let (runbook, expected) = (&stage.runbook, stage.expected);
    // Thousands of runs need not write thousands of messages.
    let setting = Setting { tells: false, ..plan.setting.clone() };
    let stage = stage.with(&setting);
    let runs = each(plan.runs, plan.threads, |number| {
        let mut chance = Chance::of(plan.setting.seed, number as u64);
        let spread = |ix, direction| plan.spreads.get(&(ix, direction)).copied().unwrap_or(SPREAD);
        live(&stage, None, &mut |ix, direction, expected| chance.around(expected, spread(ix, direction))).map(|lived| Run::of(&lived))
    })?;
    let mut took: Vec<u64> = runs.iter().map(|run| run.took).collect();
    let mut down: Vec<u64> = runs.iter().map(|run| run.down).collect();
    took.sort_unstable();
    down.sort_unstable();
    let share =
        |holds: &dyn Fn(&Run) -> bool| (!runs.is_empty()).then(|| runs.iter().filter(|run| holds(run)).count() as f64 / runs.len() as f64);
    let budgets = runbook.budgets;
    let within = |limit: Option<Span>, length: fn(&Run) -> u64| {
        let limit = limit?.as_millis();
        share(&|run| length(run) <= limit)
    };
    let limit_of = |budget: Option<Budget>| budget.map(|budget| budget.limit);
    let window = runbook.window.as_ref().map(Window::length);
    let gate = |(ix, _): &(StepIx, u64)| {
        let step = runbook.step(*ix);
        let begun = smooth.events.iter().find(|event| matches!(&event.fact, Fact::StepStarted(started) if started.step == step.id));
        let mut rest: Vec<u64> = runs.iter().flat_map(|run| &run.answered).filter(|(gate, _)| gate == ix).map(|(_, rest)| *rest).collect();
        rest.sort_unstable();
        let limit = limit_of(budgets.duration).into_iter().chain(window).min().filter(|_| !rest.is_empty());
        Gate {
            step: step.id.to_string(),
            asked_ms: begun.map_or(0, |event| event.at.since(smooth.state.began).as_millis()),
            latest_ms: limit.map(|limit| limit.as_millis() as i64 - percentile(&rest, 95) as i64),
        }
    };
    let path = longest_way(runbook, |ix| expected.forward(ix)).0;
    Ok(Forecast {
        runs: runs.len(),
        finished: share(&|run| run.is_finished),
        within_duration: within(limit_of(budgets.duration), |run| run.took),
        within_downtime: within(limit_of(budgets.downtime), |run| run.down),
        within_window: within(window, |run| run.took),
        gates: Run::of(smooth).answered.iter().map(gate).collect(),
        took_ms: (percentile(&took, 50), percentile(&took, 95)),
        down_ms: (percentile(&down, 50), percentile(&down, 95)),
        percentiles: [5, 25, 50, 75, 90, 95, 99].map(|percent| (percent, percentile(&took, percent), percentile(&down, percent))).into(),
        critical: path.into_iter().filter(|ix| expected.forward(*ix) > Span::ZERO).map(|ix| runbook.step(ix).id.to_string()).collect(),
    })
}

/// What is kept of one of many runs. Lengths of time are in milliseconds.
struct Run {
    is_finished: bool,
    took: u64,
    down: u64,
    /// Each go or no-go, in the order in which they were given, and how long the run took from there.
    answered: Vec<(StepIx, u64)>,
}

impl Run {
    fn of(lived: &Lived) -> Run {
        let state = &lived.state;
        let answered = lived.events.iter().filter_map(|event| {
            let Fact::StepResolved(resolved) = &event.fact else { return None };
            let ix = state.runbook.find(&resolved.step)?;
            let is_gate = resolved.direction == Direction::Forward && matches!(state.runbook.step(ix).act.action, Action::Approve(_));
            is_gate.then(|| (ix, state.last.since(event.at).as_millis()))
        });
        Run {
            is_finished: state.ended == Some(Outcome::Finished),
            took: state.last.since(state.began).as_millis(),
            down: state.downtime_until(state.last).as_millis(),
            answered: answered.collect(),
        }
    }
}

/// The nearest-rank percentile of sorted lengths; zero of nothing.
fn percentile(lengths: &[u64], percent: usize) -> u64 {
    let rank = (lengths.len() * percent).div_ceil(100).max(1) - 1;
    lengths.get(rank).copied().unwrap_or_default()
}
