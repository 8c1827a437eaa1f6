//! Where the files of a journal and of its runs lie.

use std::path::{Path, PathBuf};

use super::error::JournalError;
use super::files::{self, AttemptFiles};
use super::open::Journal;
use crate::run::{RunStarted, RunState};
use crate::runbook::{Direction, StepIx};

impl Journal {
    pub fn run_folder(&self, run: &str) -> PathBuf {
        self.folder.join("runs").join(run)
    }

    /// Where steps of a run leave secrets for later ones.
    pub fn secrets_folder(&self, run: &str) -> PathBuf {
        self.run_folder(run).join("secrets")
    }

    /// The files of an attempt.
    pub fn attempt_files(
        &self,
        state: &RunState,
        ix: StepIx,
        direction: Direction,
        attempt: u32,
    ) -> AttemptFiles {
        Journal::files_of(&self.folder, state, ix, direction, attempt)
    }

    /// The same, of a journal that need not be open.
    pub fn files_of(
        folder: &Path,
        state: &RunState,
        ix: StepIx,
        direction: Direction,
        attempt: u32,
    ) -> AttemptFiles {
        let (RunStarted { run, uuid, .. }, runbook) = (&state.started, &state.runbook);
        let name: String = runbook
            .step(ix)
            .name()
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' })
            .take(60)
            .collect();
        // Runs of versions before the UUID have shorter names, of which two can be made to be the
        // same.
        let digits = if uuid.is_empty() { 6 } else { 32 };
        // A number would change its meaning with an amendment.
        let id = &files::sha256(runbook.step(ix).id.as_bytes()).0[..digits];
        let letter = &direction.word()[..1];
        AttemptFiles::new(folder, format!("runs/{run}/logs/{name}-{id}.{letter}{attempt}"))
    }

    /// The UUID of this journal, and of its copies; made when it is first asked for.
    ///
    /// # Errors
    /// If it cannot be made or read.
    pub fn uuid(&self) -> Result<String, JournalError> {
        Ok(files::hex(&files::random_once(&self.folder.join("uuid"))?[..16]))
    }

    /// The key of this journal for digests of secrets; made when it is first asked for.
    ///
    /// # Errors
    /// If it cannot be made or read.
    pub fn mac_key(&self) -> Result<[u8; 32], JournalError> {
        files::random_once(&self.folder.join("mac.key"))
    }
}

/// Writes a message into a folder below the journal's, such as the outbox; returns its path below
/// the journal's.
///
/// # Errors
/// If it cannot be made durable.
pub fn message_file(
    folder: &Path,
    place: &str,
    name: &str,
    bytes: &[u8],
) -> std::io::Result<String> {
    let file = format!("{place}/{name}");
    files::folder(&folder.join(place)).map_err(std::io::Error::other)?;
    files::write_whole(&folder.join(&file), bytes)?;
    Ok(file)
}
