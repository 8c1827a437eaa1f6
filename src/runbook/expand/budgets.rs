//! Budgets against the estimates: what cannot be kept by the author's own figures is said before
//! anything begins.

use super::super::graph::longest_way;
use super::super::watch::Budget;
use super::*;
use crate::runbook::problem::Problem;
use crate::runbook::{Downtime, Span, StepMap};

/// Reports each budget that the estimates exceed.
pub(super) fn check_budgets(runbook: &Runbook, file: &File, problems: &mut Vec<Problem>) {
    let mut hold = |key: &str, budget: Option<Budget>, what: &str, sum: Span| {
        let Some(budget) = budget.filter(|budget| sum > budget.limit) else { return };
        let message =
            format!("{what} {sum} by the estimates, more than its budget of {}", budget.limit);
        let help = "give it a larger budget, or the steps smaller estimates if they are too large"
            .to_owned();
        problems.push(Problem::new(file.mark.place_at(&["budgets", key]), message, Some(help)));
    };
    let estimate = |ix: StepIx| runbook.step(ix).estimated();
    let budgets = runbook.budgets;
    hold(
        "duration",
        budgets.duration,
        "the slowest way through the steps takes",
        runbook.estimate(),
    );
    let undo = |ix: StepIx| {
        runbook.step(ix).undo_estimate.filter(|_| !runbook.step(ix).ruled_out).unwrap_or_default()
    };
    // A rollback goes back to a point of no return that was passed, and before it from there to the
    // beginning.
    let mut before = StepMap::filled(false, runbook.steps.len());
    for point in runbook.ixs().filter(|ix| runbook.step(*ix).point_of_no_return) {
        before
            .iter_mut()
            .zip(runbook.ancestors(point))
            .for_each(|(here, reached)| *here |= reached);
        before[point] = true;
    }
    for side in [true, false] {
        let way =
            longest_way(runbook, |ix| if before[ix] == side { undo(ix) } else { Span::ZERO }).1;
        hold("rollback", budgets.rollback, "the slowest way back takes", way);
    }
    if budgets.downtime.is_some() {
        let marked = |mark: Downtime| {
            runbook.ixs().filter(move |ix| runbook.step(*ix).downtime == Some(mark))
        };
        let around = |of: Vec<StepIx>, reach: &dyn Fn(StepIx) -> StepMap<bool>| {
            let mut all = StepMap::filled(false, runbook.steps.len());
            for ix in of {
                all.iter_mut().zip(reach(ix)).for_each(|(here, reached)| *here |= reached);
                all[ix] = true;
            }
            all
        };
        let after = around(marked(Downtime::Begins).collect(), &|ix| runbook.descendants(ix));
        let before = around(marked(Downtime::Ends).collect(), &|ix| runbook.ancestors(ix));
        let down = |ix: StepIx| {
            if after[ix] && before[ix] { estimate(ix) } else { Span::ZERO }
        };
        hold("downtime", budgets.downtime, "production is down for", longest_way(runbook, down).1);
        if marked(Downtime::Begins).next().is_none() {
            let help =
                "mark the step with which production goes down with `downtime: begins`".to_owned();
            let place = file.mark.place_at(&["budgets", "downtime"]);
            problems.push(Problem::new(
                place,
                "there is a budget for downtime, but no downtime",
                Some(help),
            ));
        }
    }
}
