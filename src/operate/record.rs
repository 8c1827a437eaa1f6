//! Appends facts to a run that nobody executes, such as a person's decision. Does not know what
//! they are about.

use super::OperateError;
use super::found::ToDecide;
use crate::drive::{Drive, Input, Now, Refused, Settings};
use crate::engine;
use crate::journal::Loaded;
use crate::run::{Expected, Fact, RunState};

/// Appends the facts, and what follows from them at once.
///
/// # Errors
/// If one does not fit the state of the run, or if they cannot be written.
pub(super) fn record(run: ToDecide, facts: Vec<Fact>) -> Result<RunState, OperateError> {
    let facts = [engine::still_missing(&run.loaded), facts].concat();
    let ToDecide { mut journal, mut head, loaded, actor, .. } = run;
    let Loaded { state, kept, .. } = loaded;
    let settings =
        Settings { operator: actor, parallel: 1, guided: false, consents: false, attended: false };
    let mut drive = Drive::new(state, settings, Expected::default());
    let at = engine::now();
    let now = Now { wall: at, clock: at };
    // A decision that does not fit the state is the person's slip, not a broken log.
    let refused = |refused: Refused| OperateError::DecisionDoesNotFit { source: refused.source };
    drive.take_in(now, facts.into_iter().map(Input::Decided)).map_err(refused)?;
    drive.turn_back(now).map_err(refused)?;
    let (events, state) = (drive.take_pending(), drive.into_state());
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
