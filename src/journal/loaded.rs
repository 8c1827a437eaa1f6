//! A run that was read back and found whole, and what this machine has noted of it.

use std::path::{Path, PathBuf};

use super::error::JournalError;
use super::heads::Seen;
use crate::run::{Event, Fact, RunState};

/// A run read back: its state, its events and the end of its log.
pub struct Loaded {
    pub state: RunState,
    pub events: Vec<Event>,
    pub hashes: Vec<String>,
    /// The number up to which the anchor vouches.
    pub anchored: u64,
    /// Results that an earlier session could not commit.
    pub kept: Vec<Fact>,
}

/// What this machine has noted of a run.
pub struct Noted {
    place: PathBuf,
    /// Number and hash of the last event.
    last: (u64, String),
}

impl Loaded {
    /// What this machine has noted of the run, for somebody who only looks.
    pub fn noted(&self) -> Option<Noted> {
        Seen::look(&self.state.started.uuid).map(|(place, last)| Noted { place, last })
    }

    /// Whether the journal has what this machine has noted of the run. Of a run that goes on, it is
    /// only sure to have what was noted before it was read.
    ///
    /// # Errors
    /// [`JournalError::Behind`] if it has not.
    pub fn has_noted(&self, noted: &Noted) -> Result<(), JournalError> {
        self.has(&self.state.started.run, noted.last.clone(), &noted.place)
    }

    pub(super) fn is_as_seen(&self, run: &str, seen: &Seen) -> Result<(), JournalError> {
        seen.read()?.map_or(Ok(()), |said| self.has(run, said, seen.path()))
    }

    fn has(
        &self,
        run: &str,
        (number, hash): (u64, String),
        noted: &Path,
    ) -> Result<(), JournalError> {
        let why = match self.hashes.get((number as usize).saturating_sub(1)) {
            Some(found) if *found == hash => return Ok(()),
            Some(_) => format!(
                "its event {number} is another one than the last that this machine has noted: they \
                 went different ways"
            ),
            None => format!(
                "this machine has seen {number} events of it, and the journal has {}",
                self.events.len()
            ),
        };
        Err(JournalError::Behind { run: run.to_owned(), why, seen: noted.to_owned() })
    }
}
