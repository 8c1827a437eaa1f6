//! Appends facts to a run that nobody executes, such as a person's decision. Does not know what
//! they are about.

use super::OperateError;
use super::found::ToDecide;
use crate::engine;
use crate::journal::Loaded;
use crate::run::{Decision, Event, Fact, IllegalEvent, Limits, RunState, next};

/// Appends the facts, and what follows from them at once.
///
/// # Errors
/// If one does not fit the state of the run, or if they cannot be written.
pub(super) fn record(run: ToDecide, facts: Vec<Fact>) -> Result<RunState, OperateError> {
    let facts = [engine::still_missing(&run.loaded), facts].concat();
    let ToDecide { mut journal, mut head, loaded, actor, .. } = run;
    let Loaded { mut state, kept, .. } = loaded;
    let mut events = Vec::new();
    for fact in facts {
        events.push(apply(&mut state, fact)?);
    }
    // A refusal may ask for everything to be undone: the next session must find that decided, as it
    // forgets failures.
    let limits = Limits { parallel: 1, draining: None, attended: false, consents: false };
    while let Decision::RollBack { because } = next(&state, engine::now(), limits) {
        let fact = Fact::RollbackBegan { to: None, because, actor: actor.clone(), force: false };
        events.push(apply(&mut state, fact)?);
    }
    journal.append(&mut head, &events)?;
    if !kept.is_empty() {
        journal.forget_kept(&head)?;
    }
    journal.anchor(&mut head)?;
    if state.sets.running.is_empty() {
        head.release();
    }
    Ok(state)
}

/// A decision that does not fit the state is the person's slip, not a broken log.
fn apply(state: &mut RunState, fact: Fact) -> Result<Event, OperateError> {
    let event = Event { number: state.head + 1, at: engine::now(), fact };
    let refused = |source: IllegalEvent| OperateError::DecisionDoesNotFit { source };
    state.apply(&event).map_err(refused)?;
    Ok(event)
}
