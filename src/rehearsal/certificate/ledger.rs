//! What the journal's events say, read one after the other. Knows neither the state nor the
//! planner: what they conclude is what is to be judged.

use std::collections::{BTreeMap, BTreeSet};

use crate::run::{Event, Fact, FailureKind, Outcome, Probed, Stop, Verdict};
use crate::runbook::{Direction, StepId};

/// The last that was said of a step in one direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Word {
    NeverBegun,
    Begun,
    Failed,
    Done,
    Skipped,
    NothingToUndo,
}

/// How a run ended, as far as it did.
#[derive(Debug, Clone, PartialEq)]
pub enum End {
    Nobody,
    Stopped(Stop),
    Over(Outcome),
}

#[derive(Debug)]
pub struct Ledger {
    words: BTreeMap<(StepId, Direction), Word>,
    /// Attempts forward of which nothing proves that they had no effect.
    effects: BTreeSet<(StepId, u32)>,
    /// The number of the event with which a step going forward was first done or skipped.
    settled: BTreeMap<StepId, u64>,
    pub end: End,
}

impl Ledger {
    pub fn of(events: &[Event]) -> Ledger {
        let mut ledger = Ledger {
            words: BTreeMap::new(),
            effects: BTreeSet::new(),
            settled: BTreeMap::new(),
            end: End::Nobody,
        };
        events.iter().for_each(|event| ledger.read(event));
        ledger
    }

    fn read(&mut self, event: &Event) {
        match &event.fact {
            Fact::StepStarted(started) => {
                if started.direction == Direction::Forward {
                    self.effects.insert((started.step.clone(), started.attempt));
                }
                self.end = End::Nobody;
                self.say(event.number, &started.step, started.direction, Word::Begun);
            }
            Fact::StepSucceeded(done) => {
                self.say(event.number, &done.step, done.direction, Word::Done)
            }
            Fact::StepFailed(failed) => {
                if failed.direction == Direction::Forward
                    && failed.failure.kind == FailureKind::BeforeEffect
                {
                    self.effects.remove(&(failed.step.clone(), failed.attempt));
                }
                self.say(event.number, &failed.step, failed.direction, Word::Failed);
            }
            Fact::StepResolved(resolved) => {
                let word = match resolved.verdict {
                    Verdict::Done | Verdict::Go => Word::Done,
                    Verdict::NotDone | Verdict::Partial | Verdict::NoGo => Word::Failed,
                };
                self.say(event.number, &resolved.step, resolved.direction, word);
            }
            Fact::StepProbed { step, direction, verdict: Probed::Done, .. } => {
                self.say(event.number, step, *direction, Word::Done);
            }
            Fact::StepSkipped { step, .. } => {
                self.say(event.number, step, Direction::Forward, Word::Skipped)
            }
            Fact::UndoPassed { step } => {
                self.say(event.number, step, Direction::Undo, Word::NothingToUndo)
            }
            Fact::RunStopped { because } => self.end = End::Stopped(because.clone()),
            Fact::RunEnded { outcome } => self.end = End::Over(*outcome),
            Fact::RunResumed { .. } | Fact::RollbackBegan { .. } | Fact::CancelBegan { .. } => {
                self.end = End::Nobody
            }
            _ => {}
        }
    }

    fn say(&mut self, number: u64, step: &StepId, direction: Direction, word: Word) {
        if direction == Direction::Forward && matches!(word, Word::Done | Word::Skipped) {
            self.settled.entry(step.clone()).or_insert(number);
        }
        self.words.insert((step.clone(), direction), word);
    }

    pub fn word(&self, step: &StepId, direction: Direction) -> Word {
        self.words.get(&(step.clone(), direction)).copied().unwrap_or(Word::NeverBegun)
    }

    /// Whether an attempt forward is on record of which nothing proves that it had no effect.
    pub fn may_have_effect(&self, step: &StepId) -> bool {
        self.effects.range((step.clone(), 0)..).next().is_some_and(|(other, _)| other == step)
    }

    /// The number of the event with which a step was done or skipped, going forward.
    pub fn settled(&self, step: &StepId) -> Option<u64> {
        self.settled.get(step).copied()
    }
}

impl Word {
    pub fn words(self) -> &'static str {
        match self {
            Word::NeverBegun => "never begun",
            Word::Begun => "begun",
            Word::Failed => "failed",
            Word::Done => "done",
            Word::Skipped => "skipped",
            Word::NothingToUndo => "nothing to undo",
        }
    }
}
