//! The laws of what an executor does by itself: repeat, look, skip, tolerate, hold back, end what
//! takes too long. Read from the journal and the witness, without the state machine.

use std::collections::{BTreeMap, BTreeSet};

use switchover::run::*;
use switchover::runbook::{Direction, OnFailure};

use super::account::*;
use super::case::{Case, History, needs};
use super::drawn::at;

pub fn check(case: &Case, history: &History) -> Result<(), String> {
    if case.drawn.is_none() {
        return Ok(());
    }
    retries_are_safe_few_and_due(case, history)?;
    probes_look_at_what_is_over_and_are_believed(history)?;
    groups_keep_their_bounds(case, history)?;
    conditions_decide(case, history)?;
    what_took_too_long_has_failed(history)
}

/// Law 19.
fn retries_are_safe_few_and_due(case: &Case, history: &History) -> Result<(), String> {
    let mut due = BTreeMap::new();
    for (number, step, direction, fact) in about(history) {
        let act = find(&case.book, step).and_then(|found| found.act(direction));
        match fact {
            Fact::StepFailed(failed) if let Some(again) = failed.retry_at => {
                let Some(retry) = act.and_then(|act| act.retry.as_ref()) else {
                    return Err(format!(
                        "law 19: step {step} is repeated by itself, and does not say that it may be"
                    ));
                };
                if failed.attempt >= retry.attempts {
                    return Err(format!(
                        "law 19: step {step} is repeated more often than {} attempts",
                        retry.attempts
                    ));
                }
                let is_safe = act.is_some_and(|act| act.idempotent)
                    || failed.failure.kind == FailureKind::BeforeEffect;
                if !is_safe {
                    return Err(format!(
                        "law 19: step {step}, not idempotent, may have had its effect and is \
                         repeated by itself"
                    ));
                }
                due.insert((step, direction), again.0);
            }
            Fact::StepStarted(_) => {
                let now = at(&history.journal[number]);
                if let Some(due) = due.remove(&(step, direction)).filter(|due| *due > now) {
                    return Err(format!(
                        "law 19: step {step} was begun again at {now}, and was due at {due}"
                    ));
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// Whether an attempt of a step lived when so many events were durable.
fn lives(history: &History, step: usize, journaled: usize) -> bool {
    let before = |begins: bool| {
        history
            .world
            .iter()
            .filter(|seen| {
                seen.step == step && seen.begins == begins && seen.journaled <= journaled
            })
            .count()
    };
    before(true) > before(false)
}

/// Laws 15 and 16.
fn probes_look_at_what_is_over_and_are_believed(history: &History) -> Result<(), String> {
    for looked in &history.looked {
        if looked.has_changed {
            return Err(format!("law 44: a look at step {} has changed something", looked.step));
        }
        if lives(history, looked.step, looked.journaled) {
            return Err(format!(
                "law 16: step {} was looked at while an attempt of it lived",
                looked.step
            ));
        }
    }
    for (number, step, _, fact) in about(history) {
        let Fact::StepProbed { verdict, .. } = fact else { continue };
        let truth = history
            .looked
            .iter()
            .rev()
            .find(|looked| looked.step == step && looked.journaled <= number);
        if truth.map(|truth| truth.says) != Some(*verdict) {
            return Err(format!(
                "law 15: of step {step} it is written that the probe said {verdict:?}, and it \
                 said {:?}",
                truth.map(|truth| truth.says)
            ));
        }
    }
    Ok(())
}

fn groups_keep_their_bounds(case: &Case, history: &History) -> Result<(), String> {
    let Some(group) = case.book.groups.first() else { return Ok(()) };
    let is_member = |step: usize| find(&case.book, step).is_some_and(|found| found.group.is_some());
    let mut running = BTreeSet::new();
    for seen in history.world.iter().filter(|seen| is_member(seen.step)) {
        if seen.begins {
            running.insert(seen.step)
        } else {
            running.remove(&seen.step)
        };
        if group.max_parallel.is_some_and(|most| running.len() > most as usize) {
            return Err(format!(
                "groups: {running:?} run at once, which are more than {:?}",
                group.max_parallel
            ));
        }
    }
    // Those that failed or were passed over; of those that failed, which somebody was told of, and
    // which never began.
    let (mut failed, mut passed, mut again) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for (number, event) in history.journal.iter().enumerate() {
        let step = event.fact.step().map_or(usize::MAX, |step| index(step));
        let tolerates =
            find(&case.book, step).is_some_and(|found| found.on_failure == OnFailure::Continue);
        match &event.fact {
            Fact::RunStopped { because: Stop::Failed { steps } } => {
                again.extend(steps.iter().map(|step| index(step)))
            }
            Fact::RunResumed { .. } => {
                failed.retain(|step| passed.contains(step) || !again.contains(step))
            }
            _ if !is_member(step) => {}
            Fact::StepFailed(fact)
                if fact.direction == Direction::Forward && fact.retry_at.is_none() =>
            {
                failed.insert(step);
                if fact.failure.kind == FailureKind::BeforeEffect {
                    again.insert(step)
                } else {
                    again.remove(&step)
                };
            }
            Fact::StepSkipped { because: SkipReason::Tolerated, .. } => {
                if !tolerates && failed.len() > group.max_failures as usize {
                    return Err(format!(
                        "groups: step {step} is passed over, {} have failed, and {} may, at \
                         event {}",
                        failed.len(),
                        group.max_failures,
                        number + 1
                    ));
                }
                passed.insert(step);
            }
            Fact::StepStarted(started) if started.direction == Direction::Forward => {
                failed.remove(&step);
            }
            _ => {}
        }
    }
    Ok(())
}

/// A step is begun if its condition holds, and skipped if it does not: by what its first need gave,
/// which must be more than 0.
fn conditions_decide(case: &Case, history: &History) -> Result<(), String> {
    for (number, step, direction, fact) in
        about(history).filter(|(_, _, direction, _)| *direction == Direction::Forward)
    {
        let Some(found) = find(&case.book, step) else { continue };
        let gave = needs(&case.book, found).first().and_then(|need| {
            let gives = |(at, other, way, fact): (usize, usize, Direction, &Fact)| match fact {
                Fact::StepSucceeded(done) if at < number && other == *need && way == direction => {
                    done.outputs.get("n").and_then(|n| n.as_u64())
                }
                // What fails may have given something first.
                Fact::StepFailed(failed) if at < number && other == *need && way == direction => {
                    failed.outputs.get("n").and_then(|n| n.as_u64())
                }
                _ => None,
            };
            about(history).filter_map(gives).last()
        });
        let holds = found.when.is_empty() || gave.is_some_and(|gave| gave > 0);
        match fact {
            Fact::StepStarted(_) if !holds => {
                return Err(format!(
                    "conditions: step {step} was begun, and its condition does not hold"
                ));
            }
            Fact::StepSkipped { because: SkipReason::Condition { .. }, .. } if holds => {
                return Err(format!(
                    "conditions: step {step} was skipped, and its condition holds"
                ));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Law 34.
fn what_took_too_long_has_failed(history: &History) -> Result<(), String> {
    let mut stopped = BTreeSet::new();
    for event in &history.journal {
        match &event.fact {
            Fact::StopRequested { step, direction, attempt, .. } => {
                stopped.insert((index(step), *direction, *attempt));
            }
            Fact::StepSucceeded(done)
                if stopped.contains(&(index(&done.step), done.direction, done.attempt)) =>
            {
                return Err(format!("law 34: {} was to be stopped, and has succeeded", done.step));
            }
            Fact::StepFailed(failed)
                if failed.failure.kind == FailureKind::TimedOut
                    && !stopped.contains(&(
                        index(&failed.step),
                        failed.direction,
                        failed.attempt,
                    )) =>
            {
                return Err(format!(
                    "law 34: {} took too long, and nothing was written before it was stopped",
                    failed.step
                ));
            }
            _ => {}
        }
    }
    Ok(())
}
