//! What comes in from outside, as far as it decides anything: secrets are masked by then, and files
//! read.

use serde_json::Value as Json;

use super::{Answer, Delivery, Drive, Examined, Now, Question, Refused, Running};
use crate::run::{Fact, Log, MessageSent, Moment, Probed, Track};
use crate::runbook::reading::{EffectError, Reading};
use crate::runbook::traffic::Says;
use crate::runbook::{Direction, StepIx};

/// Something that happened.
pub enum Input {
    /// A fact that somebody else has decided, or that an earlier session could not journal.
    Decided(Fact),
    /// What an earlier session began still runs, and is watched from now on.
    Adopted {
        ix: StepIx,
        direction: Direction,
        attempt: u32,
        deadline: Option<Moment>,
    },
    /// An action came to its end, or did not.
    Ended {
        ix: StepIx,
        direction: Direction,
        attempt: u32,
        result: Result<Reading, EffectError>,
        logs: Vec<Log>,
        /// Some chance, 0..1: it spreads repetitions.
        chance: f64,
    },
    /// A look at an attempt in doubt came to its end.
    Probed {
        ix: StepIx,
        direction: Direction,
        attempt: u32,
        result: Result<Reading, EffectError>,
    },
    /// What an action found before it changes anything.
    Saw {
        ix: StepIx,
        direction: Direction,
        attempt: u32,
        seen: Json,
    },
    /// From where the next attempt goes on.
    Cursor {
        ix: StepIx,
        direction: Direction,
        attempt: u32,
        cursor: String,
    },
    /// What an analysis says of traffic at a weight, in percent.
    Analysed {
        ix: StepIx,
        attempt: u32,
        analysis: String,
        percent: u8,
        says: Says,
        words: String,
    },
    /// Nothing of the last attempt lives any more; what it says of how far it came.
    Cleared {
        ix: StepIx,
        direction: Direction,
        cursor: Option<String>,
    },
    /// What can be said of a step of a dry run without looking at what it is about.
    Examined {
        ix: StepIx,
        examined: Examined,
    },
    /// A guard, by its number, was read; `is_shut` if it cannot be until somebody does something.
    GuardRead {
        number: usize,
        says: Says,
        words: String,
        is_shut: bool,
    },
    Answered {
        question: Box<Question>,
        answer: Answer,
    },
    Delivered {
        delivery: Box<Delivery>,
        result: Result<Box<MessageSent>, String>,
    },
    Signal(i32),
}

impl Drive {
    pub(super) fn hear(&mut self, now: Now, input: Input) -> Result<(), Refused> {
        match input {
            Input::Decided(fact) => self.record(now, fact),
            Input::Adopted { ix, direction, attempt, deadline } => {
                self.adopt(now, ix, direction, attempt, deadline);
                Ok(())
            }
            Input::Ended { ix, direction, attempt, result, logs, chance } => {
                self.running.remove(&(ix, direction));
                self.finish(now, ix, direction, attempt, result, logs, chance)
            }
            Input::Probed { ix, direction, attempt, result } => {
                self.running.remove(&(ix, direction));
                self.probed(now, ix, direction, attempt, result)
            }
            Input::Saw { ix, direction, attempt, seen } => {
                self.record(now, Fact::StepSaw { step: self.id(ix), direction, attempt, seen })
            }
            Input::Cursor { ix, direction, attempt, cursor } => {
                self.reached(now, ix, direction, attempt, cursor)
            }
            Input::Analysed { ix, attempt, analysis, percent, says, words } => {
                // A last one may come behind the end of a step that was given up.
                let running = self.running.get(&(ix, Direction::Forward));
                if running.is_none_or(|running| running.attempt != attempt) {
                    return Ok(());
                }
                let (step, reading) = (self.id(ix), words);
                self.record(
                    now,
                    Fact::AnalysisRead { step, attempt, analysis, percent, says, reading },
                )
            }
            Input::Cleared { ix, direction, cursor } => {
                self.clearing.remove(&(ix, direction));
                let attempt = self.state.attempts(ix, direction);
                self.cleared.insert((ix, direction), (attempt, cursor));
                Ok(())
            }
            Input::Examined { ix, examined } => {
                self.examined.insert(ix, examined);
                Ok(())
            }
            Input::GuardRead { number, says, words, is_shut } => {
                self.guard_read(now, number, says, words, is_shut)
            }
            Input::Answered { question, answer } => {
                self.asking = None;
                self.answered(now, &question, answer)
            }
            Input::Delivered { delivery, result } => {
                self.undelivered -= 1;
                self.delivered(now, *delivery, result)
            }
            Input::Signal(number) => self.interrupt(now, number),
        }
    }

    fn adopt(
        &mut self,
        now: Now,
        ix: StepIx,
        direction: Direction,
        attempt: u32,
        deadline: Option<Moment>,
    ) {
        let is_stopped =
            matches!(self.state.track(ix, direction), Track::Running { stopping: Some(_), .. });
        // A stop that was asked for goes on.
        let kill_at = is_stopped.then(|| now.clock.after(super::GRACE));
        let deadline = deadline.filter(|_| !is_stopped);
        self.running.insert((ix, direction), Running { attempt, deadline, kill_at });
    }

    /// Journals how far an attempt came, if that is new.
    pub(super) fn reached(
        &mut self,
        now: Now,
        ix: StepIx,
        direction: Direction,
        attempt: u32,
        cursor: String,
    ) -> Result<(), Refused> {
        // A look goes on from nowhere.
        let is_look = direction == Direction::Forward && self.state.is_only_looked_at(ix);
        if is_look
            || self.state.is_past(ix, direction, attempt)
            || self.state.cursor(ix, direction) == Some(&cursor)
        {
            return Ok(());
        }
        self.record(now, Fact::CursorSaved { step: self.id(ix), direction, attempt, cursor })
    }

    fn probed(
        &mut self,
        now: Now,
        ix: StepIx,
        direction: Direction,
        attempt: u32,
        result: Result<Reading, EffectError>,
    ) -> Result<(), Refused> {
        let runbook = std::sync::Arc::clone(&self.state.runbook);
        let Some(probe) = runbook.step(ix).act(direction).and_then(|act| act.probe.as_ref()) else {
            return Ok(());
        };
        let (verdict, reading) = match result {
            Err(error) => (Probed::Unknown, error.message),
            Ok(reading) => super::end::tell_of_probe(&self.state, ix, direction, probe, reading),
        };
        let step = self.id(ix);
        self.record(now, Fact::StepProbed { step, direction, attempt, verdict, reading })
    }
}
