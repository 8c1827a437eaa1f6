//! Who watches a run: told of every fact after it is durable, and of progress, which may be
//! dropped.

use super::{Event, Moment, Outlook, RunState};
use crate::runbook::StepIx;

/// A display of a run. It never decides anything.
pub trait Observer {
    /// A fact, after its commit. `state` is the state after the whole commit.
    fn event(&mut self, state: &RunState, event: &Event);

    /// All up to the head of this state is durable, and nothing of what it begins has begun.
    fn committed(&mut self, _state: &RunState) {}

    /// How far a running step says it is.
    fn progress(&mut self, _state: &RunState, _step: StepIx, _text: &str) {}

    /// Something that is no fact of the run, but that a person should know while they wait.
    fn note(&mut self, _text: &str) {}

    /// Time has passed.
    fn tick(&mut self, _state: &RunState, _now: Moment, _outlook: &Outlook) {}

    /// A question is about to be put to the person at the terminal: the display must get out of the
    /// way.
    fn pause(&mut self) {}

    /// The question is answered.
    fn unpause(&mut self) {}
}
