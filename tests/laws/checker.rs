//! Judges a history from the journal and the witness alone: an account of the rules of its own,
//! which shares no code with the state machine that it judges.

use std::collections::BTreeMap;

use switchover::run::*;
use switchover::runbook::Direction;

use super::account::*;
use super::case::{Case, Fault, History, goes_on, needs, number};
use super::driver::fold;
use super::{choices, told, turns};

/// The first law that the history breaks, with its number in the design.
pub fn check(case: &Case, history: &History) -> Result<(), String> {
    intents_come_first(history)?;
    attempts_do_not_overlap(history)?;
    needs_are_met(case, history)?;
    nothing_is_done_twice(case, history)?;
    the_way_back_is_in_order(case, history)?;
    turns::check(case, history)?;
    choices::check(case, history)?;
    told::check(case, history)?;
    the_end_is_a_legal_one(case, history)?;
    if case.fault == Fault::None {
        a_fold_says_the_same(case, history)?;
    }
    Ok(())
}

/// The laws of a run whose first step holds up to its last: what depends on it goes forward only
/// while it is held, and it is released in the end.
pub fn check_held(case: &Case, history: &History) -> Result<(), String> {
    intents_come_first(history)?;
    attempts_do_not_overlap(history)?;
    needs_are_met(case, history)?;
    let last = case.book.steps.len() - 1;
    let (mut held, mut is_over) = (false, false);
    for (number, step, direction, fact) in about(history) {
        match (step, direction, fact) {
            (0, Direction::Forward, fact) if is_done(fact) => held = true,
            (0, Direction::Release, Fact::StepStarted(_)) => held = false,
            // A release that failed, or that a person knows not to have happened, has left it held.
            (0, Direction::Release, Fact::StepFailed(_)) => held = true,
            (0, Direction::Release, Fact::StepResolved(resolved))
                if resolved.verdict == Verdict::NotDone =>
            {
                held = true
            }
            // Somebody said that it goes on without it.
            (0, Direction::Forward, Fact::StepSkipped { .. }) => return Ok(()),
            (step, Direction::Forward, Fact::StepStarted(_))
                if step > 0 && !held && !is_over && depends(&case.book, step, 0) =>
            {
                return Err(format!(
                    "holds: step {step} went forward without its hold, at event {}",
                    number + 1
                ));
            }
            _ => {}
        }
        is_over |= step == last && direction == Direction::Forward && is_done(fact);
    }
    match history.outcome {
        Some(_) if history.effects.contains(&0) => {
            Err("holds: the run is over, and its hold is not released".into())
        }
        Some(Outcome::Finished | Outcome::RolledBack) => a_fold_says_the_same(case, history),
        other => Err(format!("law 21: it ended as {other:?}")),
    }
}

fn intents_come_first(history: &History) -> Result<(), String> {
    for seen in history.world.iter().filter(|seen| seen.begins) {
        let intended = history.journal[..seen.journaled].iter().any(|event| {
            matches!(
                &event.fact,
                Fact::StepStarted(started)
                    if index(&started.step) == seen.step && started.direction == seen.direction && started.attempt == seen.attempt
            )
        });
        if !intended {
            return Err(format!(
                "law 1: step {} began, attempt {}, before its intent was durable",
                seen.step, seen.attempt
            ));
        }
    }
    Ok(())
}

fn attempts_do_not_overlap(history: &History) -> Result<(), String> {
    let mut open: BTreeMap<usize, u32> = BTreeMap::new();
    for seen in &history.world {
        match (seen.begins, open.remove(&seen.step)) {
            (true, Some(_)) => {
                return Err(format!("law 12: two attempts of step {} overlap", seen.step));
            }
            (true, None) => drop(open.insert(seen.step, seen.attempt)),
            (false, _) => {}
        }
    }
    Ok(())
}

fn needs_are_met(case: &Case, history: &History) -> Result<(), String> {
    for (number, step, direction, fact) in about(history) {
        if direction != Direction::Forward || !matches!(fact, Fact::StepStarted(_)) {
            continue;
        }
        let book = book(case, history, number);
        let Some(found) = find(book, step) else {
            return Err(format!("law 2: step {step} was started, and is not in the runbook"));
        };
        for need in needs(book, found) {
            let met = about(history).any(|(at, other, way, fact)| {
                at < number && other == need && way == Direction::Forward && is_done(fact)
            });
            if !met {
                return Err(format!(
                    "law 2: step {step} was started before its need {need} was done"
                ));
            }
        }
    }
    Ok(())
}

fn nothing_is_done_twice(case: &Case, history: &History) -> Result<(), String> {
    for step in 0..=case.book.steps.len() {
        for direction in [Direction::Forward, Direction::Undo] {
            let act = find(&case.book, step).and_then(|found| found.act(direction));
            let idempotent = act.map_or(case.idempotent, |act| act.idempotent);
            let mut authorised = true;
            let (mut failed, mut done) = (false, false);
            for event in &history.journal {
                let fact = &event.fact;
                if matches!(fact, Fact::RunResumed { .. }) && failed {
                    // The operator saw the failure and says: again.
                    authorised = true;
                }
                let own = fact.step().is_some_and(|id| index(id) == step);
                if !own {
                    continue;
                }
                match fact {
                    Fact::StepStarted(started) if started.direction == direction => {
                        if done {
                            let law = if direction == Direction::Undo { 31 } else { 20 };
                            return Err(format!(
                                "law {law}: step {step} was begun ({}) after it was done",
                                direction.word()
                            ));
                        }
                        if !idempotent && !authorised {
                            return Err(format!(
                                "law 13: step {step}, not idempotent, was begun again ({}) without \
                                 anybody's word",
                                direction.word()
                            ));
                        }
                        (authorised, failed) = (false, false);
                    }
                    // What is begun anew can be undone anew.
                    Fact::StepStarted(started)
                        if started.direction == Direction::Forward && done =>
                    {
                        (authorised, done) = (true, false)
                    }
                    Fact::StepFailed(fact) if fact.direction == direction => {
                        failed = true;
                        // What provably came before the effect may be repeated by itself.
                        authorised |= fact.failure.kind == FailureKind::BeforeEffect
                            && fact.retry_at.is_some();
                    }
                    Fact::StepProbed { direction: way, verdict, .. } if *way == direction => {
                        (authorised, done) = (
                            authorised || *verdict == Probed::NotDone,
                            done || *verdict == Probed::Done,
                        );
                    }
                    Fact::StepResolved(fact) if fact.direction == direction => match fact.verdict {
                        Verdict::NotDone => authorised = true,
                        // To be undone first: another law looks at that.
                        Verdict::Partial => authorised = true,
                        _ => done = true,
                    },
                    Fact::StepSucceeded(fact) if fact.direction == direction => done = true,
                    _ => {}
                }
            }
        }
    }
    Ok(())
}

fn the_way_back_is_in_order(case: &Case, history: &History) -> Result<(), String> {
    let back =
        history.journal.iter().position(|event| matches!(event.fact, Fact::RollbackBegan { .. }));
    for (number, step, direction, fact) in about(history) {
        let seen = history.world.iter().any(|seen| seen.begins && seen.step == step);
        if matches!(fact, Fact::UndoPassed { .. }) && seen && stands(history, step, number) {
            return Err(format!("law 29: step {step} began, has an undo, and was passed over"));
        }
        if !matches!(fact, Fact::StepStarted(_)) {
            continue;
        }
        match direction {
            Direction::Forward if back.is_some_and(|back| number > back) => {
                return Err(format!("law 28: step {step} went forward after the rollback began"));
            }
            Direction::Undo => {
                let book = book(case, history, number);
                let mut others = book
                    .steps
                    .iter()
                    .map(super::case::number)
                    .filter(|other| depends(book, *other, step));
                if let Some(other) = others.find(|other| stands(history, *other, number)) {
                    return Err(format!(
                        "law 27: step {step} was undone before {other}, which depends on it"
                    ));
                }
            }
            _ => {}
        }
    }
    Ok(())
}

fn the_end_is_a_legal_one(case: &Case, history: &History) -> Result<(), String> {
    let end = history.journal.len();
    match history.outcome {
        Some(Outcome::Finished) => {
            let skipped = |step: usize| {
                about(history)
                    .any(|(_, at, _, fact)| at == step && matches!(fact, Fact::StepSkipped { .. }))
            };
            for step in book(case, history, end).steps.iter().map(number) {
                let tolerated = (goes_on(case) || case.drawn.is_some()) && skipped(step);
                if !history.effects.contains(&step) && !tolerated {
                    return Err(format!("law 21: the run finished, but step {step} has no effect"));
                }
            }
        }
        Some(Outcome::RolledBack) => {
            let stays = turns::stays(case, history);
            if let Some(step) = history.effects.iter().find(|step| !stays.contains(step)) {
                return Err(format!(
                    "law 29: everything is rolled back, but the effect of step {step} stands"
                ));
            }
            for step in history
                .world
                .iter()
                .filter(|seen| seen.begins && !stays.contains(&seen.step))
                .map(|seen| seen.step)
            {
                if !about(history).any(|(_, at, direction, fact)| {
                    at == step && direction == Direction::Undo && is_done(fact)
                }) {
                    return Err(format!("law 29: step {step} began and was passed over"));
                }
            }
        }
        other => return Err(format!("law 21: it ended as {other:?}")),
    }
    Ok(())
}

fn a_fold_says_the_same(case: &Case, history: &History) -> Result<(), String> {
    let state = fold(&case.book, &history.journal).map_err(|error| format!("law 3: {error}"))?;
    match next(
        &state,
        Moment(0),
        Limits { parallel: 2, draining: None, attended: false, consents: false },
    ) {
        Decision::End(outcome) if Some(outcome) == history.outcome => Ok(()),
        other => Err(format!("law 20: a run that is over wants {other:?}")),
    }
}
