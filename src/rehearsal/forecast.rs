//! When a run should be done, by many runs with durations by chance (the Monte Carlo method).

use std::sync::Arc;

use serde::Serialize;

use super::Plan;
use super::chance::Chance;
use super::world::{Lived, Setting, live};
use crate::run::{Event, Expected, Fact};
use crate::runbook::graph::longest_way;
use crate::runbook::{Action, Direction, Runbook, Span};

/// What many runs say. Lengths of time are in milliseconds.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Forecast {
    pub runs: usize,
    /// The median and the 95th percentile of how long it takes.
    pub took_ms: (u64, u64),
    /// The same of how long production is down.
    pub down_ms: (u64, u64),
    /// The share of runs that keep each budget; `None` without one.
    pub within_duration: Option<f64>,
    pub within_downtime: Option<f64>,
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
    /// The latest time after the beginning at which 95 of 100 runs still keep the budget for the duration; `None` without one, and
    /// negative if it is too late from the first.
    pub latest_ms: Option<i64>,
}

pub fn forecast(runbook: &Arc<Runbook>, expected: &Expected, plan: &Plan, smooth: &Lived) -> Result<Forecast, String> {
    let mut chance = Chance::new(plan.setting.seed);
    // Thousands of runs need not write thousands of messages.
    let setting = Setting { tells: false, ..plan.setting.clone() };
    let (mut took, mut down) = (Vec::with_capacity(plan.runs), Vec::with_capacity(plan.runs));
    let asked = asked(&smooth.events);
    let mut rest: Vec<Vec<u64>> = vec![Vec::new(); asked.len()];
    for _ in 0..plan.runs {
        let lived = live(runbook, expected, &setting, None, &mut |expected| chance.around(expected))?;
        took.push(lived.state.last.since(lived.state.began).as_millis());
        down.push(lived.state.downtime_until(lived.state.last).as_millis());
        for ((_, answered), rest) in self::asked(&lived.events).iter().zip(&mut rest) {
            rest.push(lived.state.last.since(*answered).as_millis());
        }
    }
    let share = |limit: Option<Span>, lengths: &[u64]| {
        let limit = limit?.as_millis();
        (!lengths.is_empty()).then(|| lengths.iter().filter(|length| **length <= limit).count() as f64 / lengths.len() as f64)
    };
    let limit = runbook.budgets.duration.map(|budget| budget.limit);
    let gates = asked.iter().zip(rest).map(|((step, _), mut rest)| {
        let begun = smooth.events.iter().find(|event| matches!(&event.fact, Fact::StepStarted(started) if *started.step == **step));
        Gate {
            step: step.clone(),
            asked_ms: begun.map_or(0, |event| event.at.since(smooth.state.began).as_millis()),
            latest_ms: limit.filter(|_| !rest.is_empty()).map(|limit| limit.as_millis() as i64 - percentile(&mut rest, 95) as i64),
        }
    });
    let path = longest_way(runbook, |ix| expected.forward(ix)).0;
    Ok(Forecast {
        runs: plan.runs,
        within_duration: share(limit, &took),
        within_downtime: share(runbook.budgets.downtime.map(|budget| budget.limit), &down),
        gates: gates.collect(),
        took_ms: (percentile(&mut took, 50), percentile(&mut took, 95)),
        down_ms: (percentile(&mut down, 50), percentile(&mut down, 95)),
        critical: path.into_iter().filter(|ix| expected.forward(*ix) > Span::ZERO).map(|ix| runbook.step(ix).id.to_string()).collect(),
    })
}

/// The go and no-go decisions, in the order in which they were given, and when.
fn asked(events: &[Event]) -> Vec<(String, crate::run::Moment)> {
    let asks = |step: &str| {
        events.iter().any(|event| {
            matches!(&event.fact, Fact::StepStarted(started) if *started.step == *step && matches!(*started.action, Action::Approve(_)))
        })
    };
    let given = events.iter().filter_map(|event| match &event.fact {
        Fact::StepResolved(resolved) if resolved.direction == Direction::Forward && asks(&resolved.step) => {
            Some((resolved.step.to_string(), event.at))
        }
        _ => None,
    });
    given.collect()
}

/// The nearest-rank percentile; zero of nothing.
fn percentile(lengths: &mut [u64], percent: usize) -> u64 {
    lengths.sort_unstable();
    let rank = (lengths.len() * percent).div_ceil(100).max(1) - 1;
    lengths.get(rank).copied().unwrap_or_default()
}
