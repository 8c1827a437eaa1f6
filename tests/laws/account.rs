//! What a history says, read without the state machine.

use std::sync::Arc;

use switchover::run::*;
use switchover::runbook::{Direction, Runbook, Step};

use super::case::{Case, History, needs, number};

pub fn index(step: &str) -> usize {
    step.trim_start_matches("p/s").parse().unwrap_or(usize::MAX)
}

/// Every event about a step: number from 0, step, direction, kind.
pub fn about(history: &History) -> impl Iterator<Item = (usize, usize, Direction, &Fact)> {
    history.journal.iter().enumerate().filter_map(|(number, event)| {
        let direction = match &event.fact {
            Fact::StepStarted(fact) => fact.direction,
            Fact::StepSucceeded(fact) => fact.direction,
            Fact::StepFailed(fact) => fact.direction,
            Fact::StepResolved(fact) => fact.direction,
            Fact::StepProbed { direction, .. } => *direction,
            Fact::StepSkipped { .. } => Direction::Forward,
            Fact::UndoPassed { .. } => Direction::Undo,
            _ => return None,
        };
        Some((number, index(event.fact.step()?), direction, &event.fact))
    })
}

pub fn is_done(fact: &Fact) -> bool {
    match fact {
        Fact::StepSucceeded(_) | Fact::StepSkipped { .. } | Fact::UndoPassed { .. } => true,
        Fact::StepResolved(resolved) => matches!(resolved.verdict, Verdict::Done | Verdict::Go),
        Fact::StepProbed { verdict, .. } => *verdict == Probed::Done,
        _ => false,
    }
}

/// Whether an attempt forward may have left something at that event: begun, and neither proved
/// without effect nor undone since.
pub fn stands(history: &History, step: usize, number: usize) -> bool {
    let mut standing = 0;
    for (_, _, direction, fact) in
        about(history).filter(|(at, other, ..)| *at < number && *other == step)
    {
        match (direction, fact) {
            (Direction::Forward, Fact::StepStarted(_)) => standing += 1,
            (Direction::Forward, Fact::StepFailed(failed))
                if failed.failure.kind == FailureKind::BeforeEffect =>
            {
                standing -= 1
            }
            (Direction::Undo, fact) if is_done(fact) => standing = 0,
            _ => {}
        }
    }
    standing > 0
}

/// The definition in force at that event.
pub fn book<'a>(case: &'a Case, history: &'a History, number: usize) -> &'a Arc<Runbook> {
    let amended = |event: &'a Event| {
        if let Fact::RunAmended(amended) = &event.fact { amended.runbook.as_ref() } else { None }
    };
    let last = case
        .amended
        .as_ref()
        .and_then(|_| history.journal[..number].iter().rev().find_map(amended));
    last.unwrap_or(&case.book)
}

/// The step of this number, if the definition has it.
pub fn find(book: &Runbook, step: usize) -> Option<&Step> {
    book.steps.iter().find(|found| number(found) == step)
}

/// Whether `step` needs `need`, directly or not.
pub fn depends(book: &Runbook, step: usize, need: usize) -> bool {
    find(book, step).is_some_and(|found| {
        needs(book, found).into_iter().any(|direct| direct == need || depends(book, direct, need))
    })
}
