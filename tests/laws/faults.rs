//! What a faulty executor makes of a decision, and of a runbook.

use std::sync::Arc;

use switchover::run::*;
use switchover::runbook::{Act, Condition, Direction, Runbook, StepIx, Undo};

use super::case::{Case, Fault};

pub fn distort(fault: Fault, state: &RunState, decision: Decision) -> Decision {
    let book = Arc::clone(&state.runbook);
    let began = |ix: &StepIx| state.attempts(*ix, Direction::Forward) > 0;
    match (fault, &decision) {
        (Fault::RepeatsWhatIsInDoubt, Decision::Stop(Stop::InDoubt { steps })) => {
            Decision::Begin(book.find(&steps[0]).unwrap(), Direction::Forward)
        }
        (Fault::IgnoresDependentsOnUndo, Decision::Begin(ix, Direction::Undo)) => {
            Decision::Begin(book.ixs().find(began).unwrap_or(*ix), Direction::Undo)
        }
        (Fault::UndoesTwice, Decision::End(Outcome::RolledBack)) if state.ended.is_none() => {
            let undone = book.ixs().find(|ix| *state.track(*ix, Direction::Undo) == Track::Done);
            undone.map_or(decision, |ix| Decision::Begin(ix, Direction::Undo))
        }
        (Fault::GoesForwardAfterRollback, Decision::Begin(_, Direction::Undo)) => book
            .ixs()
            .find(|ix| !began(ix))
            .map_or(decision, |ix| Decision::Begin(ix, Direction::Forward)),
        (Fault::StartsBeforeNeeds, Decision::Begin(_, Direction::Forward)) => {
            let early = book.ixs().find(|ix| {
                !began(ix) && book.step(*ix).needs.iter().any(|need| !state.is_settled(*need))
            });
            early.map_or(decision, |ix| Decision::Begin(ix, Direction::Forward))
        }
        (Fault::PassesOverAFailedStep, Decision::Begin(ix, Direction::Undo))
            if matches!(state.track(*ix, Direction::Forward), Track::Failed { .. }) =>
        {
            Decision::Pass(*ix)
        }
        (Fault::BeginsAnewWithoutUndo, Decision::Begin(ix, Direction::Undo))
            if state.mode == Mode::Forward =>
        {
            Decision::Begin(*ix, Direction::Forward)
        }
        (Fault::PassesAPointUnasked, Decision::Stop(Stop::Waiting { steps })) => {
            Decision::Begin(book.find(&steps[0]).unwrap(), Direction::Forward)
        }
        (Fault::WaitsWhileSomethingCanGo, Decision::Begin(..)) if state.sets.running.is_empty() => {
            let point = state.unconfirmed().next().map(|ix| vec![Arc::clone(&book.step(ix).id)]);
            point.map_or(decision, |steps| Decision::Stop(Stop::Waiting { steps }))
        }
        (Fault::GoesOnUnheld, Decision::Begin(ix, Direction::Forward))
            if state.sets.retake.contains(ix) =>
        {
            let can_go = |other: &StepIx| {
                other != ix && !state.is_settled(*other) && book.step(*other).needs.contains(ix)
            };
            book.ixs()
                .find(can_go)
                .map_or(decision, |other| Decision::Begin(other, Direction::Forward))
        }
        (Fault::NeverReleases, Decision::Begin(_, Direction::Release))
            if book.ixs().all(|ix| state.is_settled(ix)) =>
        {
            Decision::End(Outcome::Finished)
        }
        (Fault::RepeatsTooEarly, Decision::Wait { until: Some(_) }) => state
            .sets
            .retrying
            .first()
            .map_or(decision, |(ix, direction)| Decision::Begin(*ix, *direction)),
        (Fault::OverfillsAGroup, Decision::Wait { .. }) => {
            let waits = |ix: &StepIx| {
                book.step(*ix).group.is_some()
                    && *state.track(*ix, Direction::Forward) == Track::Idle
            };
            let next = state
                .sets
                .ready
                .iter()
                .copied()
                .find(waits)
                .filter(|_| state.mode == Mode::Forward);
            next.map_or(decision, |ix| Decision::Begin(ix, Direction::Forward))
        }
        (Fault::ToleratesTooMany, Decision::Stop(Stop::Failed { steps })) => {
            let ix = book.find(&steps[0]).unwrap();
            if book.step(ix).group.is_some() {
                Decision::Skip(ix, SkipReason::Tolerated)
            } else {
                decision
            }
        }
        _ => decision,
    }
}

/// The runbook as a faulty executor understands it; the checker goes by the true one.
pub fn faulty_book(case: &Case) -> Arc<Runbook> {
    let change: fn(&mut Runbook) = match case.fault {
        Fault::RepeatsTooOften => |book| {
            each_act(book, |act| act.retry.iter_mut().for_each(|retry| retry.attempts = 9));
        },
        Fault::RepeatsWhatMayHaveHappened => |book| each_act(book, |act| act.idempotent = true),
        Fault::IgnoresAConditionThatFails => {
            |book| book.steps.iter_mut().for_each(|step| step.when.clear())
        }
        Fault::SkipsWhatHolds => |book| {
            let all = book.steps.iter_mut().flat_map(|step| &mut step.when);
            all.for_each(|when| when.condition = Condition::compile("false").unwrap());
        },
        _ => return Arc::clone(&case.book),
    };
    let mut book = Runbook::clone(&case.book);
    change(&mut book);
    Arc::new(book.with_index())
}

fn each_act(book: &mut Runbook, change: fn(&mut Act)) {
    for step in &mut book.steps {
        change(&mut step.act);
        if let Undo::Act(undo) = &mut step.undo {
            change(undo);
        }
    }
}
