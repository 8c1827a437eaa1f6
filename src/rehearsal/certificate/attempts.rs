//! What must hold of single attempts: each is known to the journal before it begins, none overlaps
//! another of its step, and none is made twice that may not be.

use std::collections::{BTreeMap, BTreeSet};

use super::Account;
use crate::rehearsal::witness::What;
use crate::run::Fact;
use crate::runbook::Direction;

pub fn wrong(account: &Account) -> Vec<String> {
    let (runbook, mut wrong) = (&account.runbook, Vec::new());
    let started: BTreeSet<(&str, Direction, u32, &str)> = account
        .events
        .iter()
        .filter_map(
            |event| if let Fact::StepStarted(started) = &event.fact { Some(started) } else { None },
        )
        .map(|started| (&*started.step, started.direction, started.attempt, &*started.key))
        .collect();
    let (mut running, mut keys) = (BTreeSet::new(), BTreeMap::new());
    for line in &account.witness.lines {
        let id = &runbook.step(line.step).id;
        let (direction, attempt) = (line.direction.word(), line.attempt);
        match line.what {
            What::Begin if !running.insert(line.step) => {
                wrong.push(format!("two attempts of {id} overlap"))
            }
            What::End if !running.remove(&line.step) => {
                wrong.push(format!("{id} ended and had not begun"))
            }
            _ => {}
        }
        if line.what == What::Begin
            && !started.contains(&(&**id, line.direction, line.attempt, &*line.key))
        {
            wrong.push(format!(
                "the journal does not know of attempt {attempt} {direction} of {id}"
            ));
        }
        if *keys.entry((line.step, line.direction)).or_insert(&line.key) != &line.key {
            wrong.push(format!(
                "attempt {attempt} {direction} of {id} has another idempotency key \
                than the one before"
            ));
        }
    }
    wrong.extend(running.iter().map(|ix| format!("{} never ended", runbook.step(*ix).id)));
    for (&(ix, direction), key) in &keys {
        let step = runbook.step(ix);
        let began = account.began(ix, direction);
        if began > 1 && step.act(direction).is_some_and(|act| !act.idempotent) {
            wrong.push(format!(
                "{} is not idempotent and began {} {began} times",
                step.id,
                direction.word()
            ));
        }
        if direction != Direction::Forward && keys.get(&(ix, Direction::Forward)) == Some(key) {
            wrong.push(format!(
                "{} has the idempotency key of its way forward also for {}",
                step.id,
                direction.word()
            ));
        }
    }
    wrong
}
