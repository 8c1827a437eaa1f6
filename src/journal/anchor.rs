//! The anchor: the number and hash of a run's last event that was durable before an action began,
//! in a file of its own. A database that lost commits (a cut or missing WAL passes SQLite's own
//! checks) is behind it, and is refused.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::error::JournalError;
use super::files;

/// Two slots, written in turn, each with a check of its own, so that a torn write leaves the other.
const SLOT: u64 = 4096;
/// Number, hash and check, with spaces between and a line break behind.
const RECORD: usize = 20 + 1 + 64 + 1 + 16 + 1;

#[derive(Debug)]
pub struct Anchor {
    file: File,
    path: std::path::PathBuf,
    turn: u64,
}

impl Anchor {
    /// Makes the anchor of a new run, durable with its folder.
    ///
    /// # Errors
    /// If it cannot be made durable.
    pub fn create(path: &Path) -> Result<Anchor, JournalError> {
        let file = files::open_private(path)?;
        let mut anchor = Anchor { file, path: path.to_owned(), turn: 0 };
        // Both slots are written, not only promised: a full disk is to be met here.
        anchor
            .file
            .write_all_at(&[0; 2 * SLOT as usize], 0)
            .map_err(JournalError::io(path, "written"))?;
        anchor.set(0, &"0".repeat(64))?;
        anchor.file.sync_all().map_err(JournalError::io(path, "made durable"))?;
        files::sync_place(path)?;
        Ok(anchor)
    }

    /// Opens the anchor of a run for writing, and says what it holds.
    ///
    /// # Errors
    /// If it cannot be read, or not be written.
    pub fn open(path: &Path) -> Result<(Anchor, Option<(u64, String)>), JournalError> {
        let held = Anchor::read(path)?;
        let file = files::open_private(path)?;
        let turn = held.as_ref().map_or(0, |(_, _, slot)| slot + 1);
        Ok((
            Anchor { file, path: path.to_owned(), turn },
            held.map(|(number, hash, _)| (number, hash)),
        ))
    }

    /// What the anchor holds: number, hash and slot of the newest whole record.
    ///
    /// # Errors
    /// If it is there and cannot be read, or is a symbolic link.
    pub fn read(path: &Path) -> Result<Option<(u64, String, u64)>, JournalError> {
        files::refuse_symlink(path)?;
        let file = match crate::file::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(JournalError::io(path, "read")(error)),
        };
        let mut bytes = Vec::new();
        file.take(2 * SLOT).read_to_end(&mut bytes).map_err(JournalError::io(path, "read"))?;
        let slot = |slot: u64| {
            let at = (slot * SLOT) as usize;
            let record = bytes.get(at..at + RECORD)?;
            let (stated, found) =
                std::str::from_utf8(record).ok()?.strip_suffix('\n')?.rsplit_once(' ')?;
            let (number, hash) = stated.split_once(' ')?;
            (found == check(stated)).then_some((number.parse::<u64>().ok()?, hash.to_owned(), slot))
        };
        Ok([slot(0), slot(1)].into_iter().flatten().max())
    }

    /// Writes number and hash, durable when this returns.
    ///
    /// # Errors
    /// If that cannot be made durable.
    pub fn set(&mut self, number: u64, hash: &str) -> Result<(), JournalError> {
        let stated = format!("{number:020} {hash}");
        let record = format!("{stated} {}\n", check(&stated));
        self.file
            .write_all_at(record.as_bytes(), self.turn % 2 * SLOT)
            .and_then(|()| self.file.sync_data())
            .map_err(JournalError::io(&self.path, "made durable"))?;
        self.turn += 1;
        Ok(())
    }
}

fn check(stated: &str) -> String {
    files::sha256(stated.as_bytes()).0[..16].to_owned()
}
