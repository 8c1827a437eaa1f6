//! The fallback record of a run: results that could not be committed, kept until the next session
//! takes them up. Its room is taken when the run begins, so that a full disk cannot refuse it.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::error::JournalError;
use super::files;
use crate::run::{Event, Fact};

/// How much room is taken, in bytes. Results that need more are left to the probes, and to people.
const ROOM: u64 = 64 << 10;

#[derive(Debug)]
pub struct Fallback {
    file: File,
    path: PathBuf,
}

impl Fallback {
    /// Opens the record of a run; makes it, durably, and takes its room, if it is not there.
    ///
    /// # Errors
    /// If it cannot be made or opened.
    pub fn open(folder: &Path) -> Result<Fallback, JournalError> {
        let path = folder.join("fallback");
        let file = files::open_private(&path)?;
        let length = file.metadata().map_err(JournalError::io(&path, "read"))?.len();
        if length < ROOM {
            // Zeros that are written, not only promised: file systems may need room to keep a
            // promise.
            file.write_all_at(&vec![0; (ROOM - length) as usize], length)
                .and_then(|()| file.sync_all())
                .map_err(JournalError::io(&path, "made"))?;
            files::sync_place(&path)?;
        }
        Ok(Fallback { file, path })
    }

    /// Keeps the results among these events, as one line of JSON; says whether it could.
    pub fn keep(&self, events: &[Event]) -> bool {
        let results: Vec<&Fact> =
            events.iter().map(|event| &event.fact).filter(|fact| is_result(fact)).collect();
        if results.is_empty() {
            return false;
        }
        let Ok(facts) = serde_json::to_string(&results) else { return false };
        // What could not be read back would keep the next session from beginning.
        if !serde_json::from_str::<Vec<Fact>>(&facts)
            .is_ok_and(|back| back.iter().eq(results.iter().copied()))
        {
            return false;
        }
        let line = format!("{} {facts}\n", files::sha256(facts.as_bytes()).0);
        line.len() as u64 <= ROOM
            && self
                .file
                .write_all_at(line.as_bytes(), 0)
                .and_then(|()| self.file.sync_data())
                .is_ok()
    }

    /// What an earlier session kept; a line that is not whole is none.
    ///
    /// # Errors
    /// If it cannot be read, or a whole line is none that this program wrote.
    pub fn kept(&self) -> Result<Vec<Fact>, JournalError> {
        let mut bytes = vec![0; ROOM as usize];
        let read =
            self.file.read_at(&mut bytes, 0).map_err(JournalError::io(&self.path, "read"))?;
        // There is always a first line, though it may be empty.
        let line = bytes[..read].split(|byte| *byte == b'\n').next().unwrap_or_default();
        let whole = std::str::from_utf8(line).ok().and_then(|line| line.split_once(' '));
        let facts = whole
            .filter(|(digest, facts)| files::sha256(facts.as_bytes()).0 == *digest)
            .map_or("[]", |(_, facts)| facts);
        let unreadable = |error| JournalError::io(&self.path, "read")(std::io::Error::other(error));
        let facts: Vec<Fact> = serde_json::from_str(facts).map_err(unreadable)?;
        Ok(facts.into_iter().filter(is_result).collect())
    }

    /// Forgets them: they are in the journal now.
    ///
    /// # Errors
    /// If that cannot be written.
    pub fn clear(&self) -> Result<(), JournalError> {
        let mut first = [0];
        if matches!(self.file.read_at(&mut first, 0), Ok(1)) && first == [0] {
            return Ok(());
        }
        self.file
            .write_all_at(&[0], 0)
            .and_then(|()| self.file.sync_data())
            .map_err(JournalError::io(&self.path, "written"))
    }
}

fn is_result(fact: &Fact) -> bool {
    matches!(fact, Fact::StepSucceeded(_) | Fact::StepFailed(_))
}
