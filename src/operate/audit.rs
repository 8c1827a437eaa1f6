//! Reads the record of a run, and says whether it is whole. Does not know how that is shown.

use std::path::Path;

use super::OperateError;
use crate::journal::{Journal, JournalError, Loaded, digest_of};
use crate::run::{Digest, Fact, StepFailed, StepSucceeded};

/// The record of a run, held against its hashes and its anchor.
pub struct Audited {
    pub run: String,
    pub loaded: Loaded,
    /// Files that are not as they were written.
    pub altered: Vec<String>,
    /// Why the journal is behind what this machine has noted of the run.
    pub behind: Option<JournalError>,
}

/// Reads the record of the run of this name, or of the latest if none is named.
///
/// # Errors
/// If there is no such run, or if its record is not as it was written.
pub fn audit(folder: &Path, run: Option<&str>) -> Result<Audited, OperateError> {
    let journal = Journal::open_to_read(folder)?;
    let run = journal.find(run)?;
    let mut loaded = journal.load(&run)?;
    let noted = loaded.noted();
    let behind = |loaded: &Loaded| noted.as_ref().and_then(|noted| loaded.has_noted(noted).err());
    if behind(&loaded).is_some() {
        // It may have gone on before that was noted.
        loaded = journal.load(&run)?;
    }
    let (behind, altered) = (behind(&loaded), altered(&loaded, journal.folder()));
    Ok(Audited { run, loaded, altered, behind })
}

/// Logs and messages whose digest is no longer the one in the journal. Of a file that was written
/// more than once, the last counts.
pub fn altered(loaded: &Loaded, folder: &Path) -> Vec<String> {
    let mut digests = indexmap::IndexMap::new();
    for event in &loaded.events {
        match &event.fact {
            Fact::StepSucceeded(StepSucceeded { logs, .. })
            | Fact::StepFailed(StepFailed { logs, .. }) => {
                digests.extend(logs.iter().map(|log| (&log.file, (&log.sha256, log.bytes))));
            }
            Fact::MessageSent(message) => {
                digests.insert(&message.file, (&message.digest, u64::MAX));
            }
            _ => {}
        }
    }
    let differs = |(file, (digest, bytes)): &(&String, (&Digest, u64))| {
        digest_of(&folder.join(file), *bytes).ok().as_ref() != Some(*digest)
    };
    digests.into_iter().filter(differs).map(|(file, _)| file.clone()).collect()
}
