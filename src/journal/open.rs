//! Opening a journal: its folder, which is nobody else's, and the store in it.

use std::path::{Path, PathBuf};

use super::error::JournalError;
use super::files;
use super::runs::anchored_runs;
use super::sqlite::Database;
use super::store_error::StoreErrorKind;

/// An open journal.
#[derive(Debug)]
pub struct Journal {
    pub(super) store: Database,
    pub(super) folder: PathBuf,
}

impl Journal {
    /// Opens the journal in `folder` for writing; makes it if it is not there.
    ///
    /// # Errors
    /// If it is somebody else's, cannot be made or opened, or is of a newer version.
    pub fn open(folder: &Path) -> Result<Journal, JournalError> {
        let folder = &std::path::absolute(folder).map_err(JournalError::io(folder, "found"))?;
        if files::folder(folder)? {
            // Whoever could come to it may have left something in it.
            files::keep_all_private(folder)?;
        }
        for part in ["runs", "outbox"] {
            files::folder(&folder.join(part))?;
        }
        // They are made when they are needed.
        for beside in ["mac.key", "uuid"] {
            files::keep_private_if_there(&folder.join(beside))?;
        }
        Ok(Journal { store: Database::open(folder)?, folder: folder.to_owned() })
    }

    /// Opens an existing journal to read it.
    ///
    /// # Errors
    /// [`JournalError::Missing`] or [`JournalError::Empty`] if there is none; or if it cannot be
    /// read.
    pub fn open_to_read(folder: &Path) -> Result<Journal, JournalError> {
        let opened = match Database::open_to_read(folder) {
            // Killed while it was made: it is to be rolled back, which needs to write.
            Err(JournalError::Store { source, .. }) if source.kind == StoreErrorKind::ReadOnly => {
                drop(Journal::open(folder)?);
                Database::open_to_read(folder)
            }
            opened => opened,
        };
        match opened? {
            Some(store) => Ok(Journal { store, folder: folder.to_owned() }),
            None => {
                anchored_runs(folder, |_, _| Ok(false))?;
                Err(JournalError::Empty)
            }
        }
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }
}
