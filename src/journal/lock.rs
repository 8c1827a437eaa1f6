//! Locks that live exactly as long as the process that holds them: an open descriptor, no row and no expiry.

use std::fs::{File, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::error::JournalError;
use super::files;
use crate::run::{Moment, Person};

/// Who holds a lock, as written into its file for others to read.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Holder {
    pub operator: Person,
    pub run: String,
    pub process: u32,
    pub since: Moment,
}

/// A lock that is held until this is dropped.
#[derive(Debug)]
pub struct Held {
    _file: File,
}

impl Held {
    /// Takes the lock at `path`; `what` names it for people.
    ///
    /// # Errors
    /// [`JournalError::Locked`] with the holder, if somebody else has it.
    pub fn take(path: &Path, what: &str, holder: &Holder) -> Result<Held, JournalError> {
        let mut file = files::open_private(path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let holder = holder_of(&mut file).map_or_else(
                    || "another process".to_owned(),
                    |holder| format!("{} with the run {} (process {}) since {}", holder.operator, holder.run, holder.process, holder.since),
                );
                return Err(JournalError::Locked { what: what.to_owned(), holder });
            }
            Err(TryLockError::Error(error)) => return Err(JournalError::io(path, "locked")(error)),
        }
        let text = serde_json::to_vec(holder).unwrap_or_default();
        // What stands in the file is for people only; the lock is the descriptor.
        let _ = file.set_len(0).and_then(|()| file.rewind()).and_then(|()| file.write_all(&text));
        Ok(Held { _file: file })
    }

    /// Who holds the lock at `path`, if anybody does now.
    pub fn holder(path: &Path) -> Option<Holder> {
        let mut file = File::open(path).ok()?;
        match file.try_lock_shared() {
            Err(TryLockError::WouldBlock) => holder_of(&mut file),
            _ => None,
        }
    }
}

fn holder_of(file: &mut File) -> Option<Holder> {
    let mut text = String::new();
    file.rewind().ok()?;
    file.read_to_string(&mut text).ok()?;
    serde_json::from_str(&text).ok()
}
