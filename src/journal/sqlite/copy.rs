//! A copy of a journal's database, for reading it where nothing can be written beside it.

use std::fs::{DirBuilder, copy, remove_dir_all};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use super::super::error::JournalError;
use super::super::files;

/// A private folder with the database in it; removed when this is dropped.
#[derive(Debug)]
pub struct Copy {
    pub folder: PathBuf,
}

impl Copy {
    /// Copies the database and its WAL. Nobody writes to them: the file system would not let them.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn of(journal: &Path) -> Result<Copy, JournalError> {
        let folder = std::env::temp_dir().join(format!("switchover-read-{}", files::random_hex()?));
        DirBuilder::new()
            .mode(0o700)
            .create(&folder)
            .map_err(JournalError::io(&folder, "copied"))?;
        let made = Copy { folder };
        for name in ["switchover.db", "switchover.db-wal"] {
            let from = journal.join(name);
            if from.exists() {
                copy(&from, made.folder.join(name)).map_err(JournalError::io(&from, "copied"))?;
            }
        }
        Ok(made)
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        let _ = remove_dir_all(&self.folder);
    }
}
