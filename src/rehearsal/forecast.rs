//! When a run should be done, by many runs with durations by chance (the Monte Carlo method).

use serde::Serialize;

use super::chance::{Chance, SPREAD};
use super::independent::each;
use super::stage::Stage;
use super::world::{Lived, live};
use super::{Plan, Setting};
use crate::run::{Fact, Outcome, StepResolved, StepStarted, StepSucceeded};
use crate::runbook::action::DoneBy;
use crate::runbook::watch::Budget;
use crate::runbook::window::Window;
use crate::runbook::{Direction, Span, StepIx, StepMap};

/// What many runs say. Lengths of time are in milliseconds.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Forecast {
    pub runs: usize,
    /// The share of runs that finish: a budget that is exceeded or a step that takes too long may
    /// stop one or take it back. `None` without runs.
    pub finished: Option<f64>,
    /// Of those that finish, the median and the 95th percentile of how long it takes.
    pub took_ms: (u64, u64),
    /// The same of how long production is down.
    pub down_ms: (u64, u64),
    /// More of both: the percentile, how long it takes, and how long production is down.
    pub percentiles: Vec<(usize, u64, u64)>,
    /// The share of all runs that finish within the budget for the duration; `None` without one.
    pub within_duration: Option<f64>,
    /// The share of all runs in which production is not down for longer than its budget, whether
    /// they finish or go back; `None` without one.
    pub within_downtime: Option<f64>,
    /// The share of all runs that are done before the window closes, if they begin as it opens;
    /// `None` without one.
    pub within_window: Option<f64>,
    /// The steps that decide how long the smooth run takes.
    pub critical: Vec<String>,
    pub gates: Vec<Gate>,
}

/// A go or no-go, and until when it can be said.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Gate {
    pub step: String,
    /// When it is asked, after the beginning, in the smooth run.
    pub asked_ms: u64,
    /// The latest time after the beginning at which 95 of 100 runs still keep the budget for the
    /// duration, and are done before a window closes that opened with it; `None` without either,
    /// and negative if it is too late from the first.
    pub latest_ms: Option<i64>,
}

pub fn forecast(stage: &Stage, plan: &Plan, smooth: &Lived) -> Result<Forecast, String> {
    let runbook = &stage.runbook;
    // Thousands of runs need not write thousands of messages.
    let setting = Setting { tells: false, ..plan.setting.clone() };
    let stage = stage.with(&setting);
    let runs = each(plan.runs, plan.threads, |number| {
        let mut chance = Chance::of(plan.setting.seed, number as u64);
        let spread = |ix, direction| plan.spreads.get(&(ix, direction)).copied().unwrap_or(SPREAD);
        live(&stage, None, &mut |ix, direction, expected| {
            chance.around(expected, spread(ix, direction))
        })
        .map(|lived| Run::of(&lived))
    })?;
    let finished = || runs.iter().filter(|run| run.is_finished);
    let mut took: Vec<u64> = finished().map(|run| run.took).collect();
    let mut down: Vec<u64> = finished().map(|run| run.down).collect();
    took.sort_unstable();
    down.sort_unstable();
    let share = |holds: &dyn Fn(&Run) -> bool| {
        (!runs.is_empty())
            .then(|| runs.iter().filter(|run| holds(run)).count() as f64 / runs.len() as f64)
    };
    let budgets = runbook.budgets;
    let done_within = |limit: Option<Span>| {
        share(&|run| run.is_finished && run.took <= limit.unwrap_or_default().as_millis())
            .filter(|_| limit.is_some())
    };
    let up_within = |limit: Span| share(&|run| !run.ends_down && run.down <= limit.as_millis());
    let limit_of = |budget: Option<Budget>| budget.map(|budget| budget.limit);
    let window = runbook.window.as_ref().map(Window::length);
    let gate = |(ix, _): &(StepIx, u64)| {
        let step = runbook.step(*ix);
        let begun = smooth.events.iter().find(
            |event| matches!(&event.fact, Fact::StepStarted(started) if started.step == step.id),
        );
        let mut rest: Vec<u64> = finished()
            .flat_map(|run| &run.answered)
            .filter(|(gate, _)| gate == ix)
            .map(|(_, rest)| *rest)
            .collect();
        rest.sort_unstable();
        let limit =
            limit_of(budgets.duration).into_iter().chain(window).min().filter(|_| !rest.is_empty());
        Gate {
            step: step.id.to_string(),
            asked_ms: begun.map_or(0, |event| event.at.since(smooth.state.began).as_millis()),
            latest_ms: limit.map(|limit| limit.as_millis() as i64 - percentile(&rest, 95) as i64),
        }
    };
    Ok(Forecast {
        runs: runs.len(),
        finished: share(&|run| run.is_finished),
        within_duration: done_within(limit_of(budgets.duration)),
        within_downtime: limit_of(budgets.downtime).and_then(up_within),
        within_window: done_within(window),
        gates: Run::of(smooth).answered.iter().map(gate).collect(),
        took_ms: (percentile(&took, 50), percentile(&took, 95)),
        down_ms: (percentile(&down, 50), percentile(&down, 95)),
        percentiles: [5, 25, 50, 75, 90, 95, 99]
            .map(|percent| (percent, percentile(&took, percent), percentile(&down, percent)))
            .into(),
        critical: critical(smooth).into_iter().map(|ix| runbook.step(ix).id.to_string()).collect(),
    })
}

/// The steps that take time and of which each begins when the one before it is done, back from the
/// last: what each needs or, where it had to wait for a place among those that may run at once,
/// what made room for it.
fn critical(smooth: &Lived) -> Vec<StepIx> {
    let runbook = &smooth.state.runbook;
    let mut times = StepMap::filled(None, runbook.steps.len());
    for event in &smooth.events {
        let is_forward = match &event.fact {
            Fact::StepStarted(StepStarted { direction, .. })
            | Fact::StepSucceeded(StepSucceeded { direction, .. })
            | Fact::StepResolved(StepResolved { direction, .. }) => {
                *direction == Direction::Forward
            }
            // Passed over at once, when what it needs is done.
            Fact::StepSkipped { .. } => true,
            _ => false,
        };
        if let Some(ix) =
            event.fact.step().filter(|_| is_forward).and_then(|step| runbook.find(step))
        {
            times[ix].get_or_insert((event.at, event.at)).1 = event.at;
        }
    }
    let of = |ix: &StepIx| times[*ix];
    let end = |ix: &StepIx| of(ix).map(|(_, end)| end);
    let mut path = Vec::new();
    let mut next = runbook.ixs().filter(|ix| of(ix).is_some()).max_by_key(end);
    while let Some((ix, (begin, done))) = next.and_then(|ix| Some((ix, of(&ix)?))) {
        if done > begin {
            path.push(ix);
        }
        let need = runbook.step(ix).needs.iter().copied().max_by_key(end);
        let made_room = || {
            runbook
                .ixs()
                .filter(|other| of(other).is_some_and(|(from, to)| from < begin && to == begin))
                .max_by_key(|other| of(other).map(|(from, _)| from))
        };
        next = need.filter(|need| end(need) == Some(begin)).or_else(made_room).or(need);
    }
    path.reverse();
    path
}

/// What is kept of one of many runs. Lengths of time are in milliseconds.
struct Run {
    is_finished: bool,
    took: u64,
    down: u64,
    /// Production is down when it ends.
    ends_down: bool,
    /// Each go or no-go, in the order in which they were given, and how long the run took from
    /// there.
    answered: Vec<(StepIx, u64)>,
}

impl Run {
    fn of(lived: &Lived) -> Run {
        let state = &lived.state;
        let answered = lived.events.iter().filter_map(|event| {
            let Fact::StepResolved(resolved) = &event.fact else { return None };
            let ix = state.runbook.find(&resolved.step)?;
            let is_gate = resolved.direction == Direction::Forward
                && state.runbook.step(ix).act.action.done_by() == DoneBy::GATE;
            is_gate.then(|| (ix, state.last.since(event.at).as_millis()))
        });
        Run {
            is_finished: state.ended == Some(Outcome::Finished),
            took: state.last.since(state.began).as_millis(),
            down: state.downtime_until(state.last).as_millis(),
            ends_down: state.down_since.is_some(),
            answered: answered.collect(),
        }
    }
}

/// The nearest-rank percentile of sorted lengths; zero of nothing.
fn percentile(lengths: &[u64], percent: usize) -> u64 {
    let rank = (lengths.len() * percent).div_ceil(100).max(1) - 1;
    lengths.get(rank).copied().unwrap_or_default()
}
