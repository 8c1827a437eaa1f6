//! The laws of the turns that a run can take: what is done in part, points of no return,
//! amendments.

use std::collections::BTreeSet;

use switchover::run::*;
use switchover::runbook::Direction;

use super::account::*;
use super::case::{Case, History, needs};

pub fn check(case: &Case, history: &History) -> Result<(), String> {
    if case.in_part {
        parts_are_undone_first(history)?;
    }
    if case.point.is_some() {
        points_are_passed_with_a_word(case, history)?;
        points_hold_on_the_way_back(case, history)?;
        who_waits_has_nothing_else_to_do(case, history)?;
    }
    if case.amended.is_some() {
        amendments_leave_what_has_begun(case, history)?;
    }
    Ok(())
}

/// What was done in part does not go forward before its undo is done.
fn parts_are_undone_first(history: &History) -> Result<(), String> {
    let mut owed = BTreeSet::new();
    for (number, step, direction, fact) in about(history) {
        match (direction, fact) {
            (Direction::Forward, Fact::StepResolved(resolved))
                if resolved.verdict == Verdict::Partial =>
            {
                owed.insert(step);
            }
            (Direction::Undo, fact) if is_done(fact) => drop(owed.remove(&step)),
            (Direction::Forward, Fact::StepStarted(_)) if owed.contains(&step) => {
                return Err(format!(
                    "parts: step {step} was begun anew before its part was undone, at event {}",
                    number + 1
                ));
            }
            _ => {}
        }
    }
    Ok(())
}

/// The steps for which somebody's word holds at an event: what is undone needs another one.
fn confirmed(history: &History, number: usize) -> BTreeSet<usize> {
    let mut confirmed = BTreeSet::new();
    for event in &history.journal[..number] {
        match &event.fact {
            Fact::PointConfirmed { step, .. } => drop(confirmed.insert(index(step))),
            Fact::StepSucceeded(done) if done.direction == Direction::Undo => {
                confirmed.remove(&index(&done.step));
            }
            Fact::StepResolved(resolved)
                if resolved.direction == Direction::Undo && resolved.verdict == Verdict::Done =>
            {
                confirmed.remove(&index(&resolved.step));
            }
            _ => {}
        }
    }
    confirmed
}

fn points_are_passed_with_a_word(case: &Case, history: &History) -> Result<(), String> {
    for (at, step, direction, fact) in about(history) {
        let is_point = case.book.steps[step].point_of_no_return;
        let begins = direction == Direction::Forward && matches!(fact, Fact::StepStarted(_));
        if is_point && begins && !confirmed(history, at).contains(&step) {
            return Err(format!(
                "points: step {step} was begun without anybody's word, at event {}",
                at + 1
            ));
        }
    }
    Ok(())
}

/// What stays on the way back, as nobody said that the point may be passed: the point, if it has
/// begun, and all before it.
pub fn stays(case: &Case, history: &History) -> BTreeSet<usize> {
    let is_forced = |fact: &Fact| matches!(fact, Fact::RollbackBegan { force: true, .. });
    let forced = case.point.is_some_and(|point| point.force)
        && history.journal.iter().any(|event| is_forced(&event.fact));
    let back =
        history.journal.iter().position(|event| matches!(event.fact, Fact::RollbackBegan { .. }));
    match (case.point, back) {
        (Some(point), Some(back)) if !forced && stands(history, point.step, back) => {
            (0..case.book.steps.len())
                .filter(|step| *step == point.step || depends(&case.book, point.step, *step))
                .collect()
        }
        _ => BTreeSet::new(),
    }
}

fn points_hold_on_the_way_back(case: &Case, history: &History) -> Result<(), String> {
    let stays = stays(case, history);
    let back =
        history.journal.iter().position(|event| matches!(event.fact, Fact::RollbackBegan { .. }));
    let Some(back) = back else { return Ok(()) };
    // What was being undone to be begun anew is undone to its end.
    let half = |step: usize| {
        let undone = |(at, other, way, fact): (usize, usize, Direction, &Fact)| {
            at < back
                && other == step
                && way == Direction::Undo
                && matches!(fact, Fact::StepStarted(_))
        };
        about(history).any(undone)
    };
    for (at, step, direction, fact) in about(history) {
        let undoes = direction == Direction::Undo
            && matches!(fact, Fact::StepStarted(_) | Fact::UndoPassed { .. });
        if at > back && undoes && stays.contains(&step) && !half(step) {
            return Err(format!(
                "points: step {step} was undone, though it lies before a point of no return, at \
                 event {}",
                at + 1
            ));
        }
    }
    Ok(())
}

/// Who stops to wait for a word names the points whose turn has come, and nothing else could go.
fn who_waits_has_nothing_else_to_do(case: &Case, history: &History) -> Result<(), String> {
    for (at, event) in history.journal.iter().enumerate() {
        let Fact::RunStopped { because: Stop::Waiting { steps } } = &event.fact else { continue };
        let named: BTreeSet<usize> = steps.iter().map(|step| index(step)).collect();
        let done = |step: usize| {
            about(history).any(|(when, other, way, fact)| {
                when < at && other == step && way == Direction::Forward && is_done(fact)
            })
        };
        let has_turn = |step: &usize| {
            let needs_done = needs(&case.book, &case.book.steps[*step]).into_iter().all(done);
            !done(*step) && needs_done
        };
        let turns: BTreeSet<usize> = (0..case.book.steps.len()).filter(has_turn).collect();
        let points: BTreeSet<usize> = turns
            .iter()
            .copied()
            .filter(|step| case.book.steps[*step].point_of_no_return)
            .collect();
        if turns != named || points != named {
            return Err(format!(
                "points: it waits for {named:?}, and {turns:?} could go, of which {points:?} need \
                 a word, at event {}",
                at + 1
            ));
        }
    }
    Ok(())
}

/// An amendment is taken if all that has begun means the same in it, and refused if it does not.
fn amendments_leave_what_has_begun(case: &Case, history: &History) -> Result<(), String> {
    let Some(new) = &case.amended else { return Ok(()) };
    let differs = |before: usize| {
        let mut begun = about(history).filter(|(at, ..)| *at < before).map(|(_, step, ..)| step);
        begun.find(|step| {
            let meant = |book| {
                find(book, *step)
                    .map(|found| needs(book, found).into_iter().collect::<BTreeSet<_>>())
            };
            meant(&**new) != meant(&*case.book)
        })
    };
    let taken = history.journal.iter().position(|event| matches!(event.fact, Fact::RunAmended(_)));
    if let Some(step) = taken.and_then(differs) {
        return Err(format!("amendments: step {step} had begun, and means something else"));
    }
    match history.refused {
        Some(before) if differs(before).is_none() => {
            Err("refused: an amendment, though all that had begun means the same".into())
        }
        _ => Ok(()),
    }
}
