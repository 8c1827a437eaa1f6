//! What this machine has last seen of each run: its number and hash, in a file beside the named
//! locks, for all journals of a user. A restored older copy of a journal, or one of which a copy
//! went on, is behind it. Whoever goes on with a run holds a lock on that file: of two copies only
//! one is gone on with at a time. It is not synced: it need only outlive processes. It does not
//! know what a run is.

use std::cell::Cell;
use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use super::error::JournalError;
use super::{files, lock};
use crate::file;

/// Number, hash and check, with spaces between and a line break behind.
const RECORD: usize = 20 + 1 + 64 + 1 + 16 + 1;

/// Two slots, written in turn, so that one that was written in part leaves the other.
const SLOT: usize = 256;

/// The place of one run, locked until this is dropped.
#[derive(Debug)]
pub struct Seen {
    file: File,
    path: PathBuf,
    /// The slot that is written next.
    turn: Cell<usize>,
}

impl Seen {
    /// Opens what was seen of the run with this UUID; nothing for a run of an earlier version,
    /// which has none. What is read of it stays true, as nobody else has it.
    ///
    /// # Errors
    /// If the place is another user's, or cannot be used, or if somebody else has it.
    pub fn of(run: &str, uuid: &str) -> Result<Option<Seen>, JournalError> {
        if !is_uuid(uuid) {
            return Ok(None);
        }
        let path = folder()?.join(uuid);
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let file = file::open_as(&mut options, &path).map_err(unusable(&path))?;
        match lock::hold(&file) {
            Ok(()) => Ok(Some(Seen { file, path, turn: Cell::new(0) })),
            // The lock in the journal's folder is free: who has this one goes on with another
            // folder.
            Err(TryLockError::WouldBlock) => Err(JournalError::Locked {
                what: format!("the run {run}"),
                holder: "another process, which goes on with a copy of this journal".to_owned(),
            }),
            Err(TryLockError::Error(error)) => Err(unusable(&path)(error)),
        }
    }

    /// Where it lies and what it says, for somebody who only looks: nothing is made or locked, and
    /// what cannot be read says nothing.
    pub fn look(uuid: &str) -> Option<(PathBuf, (u64, String))> {
        let path = own(&lock::place().0).join(Some(uuid).filter(|uuid| is_uuid(uuid))?);
        let seen = Seen { file: file::open(&path).ok()?, path, turn: Cell::new(0) };
        let said = seen.read().ok()??;
        Some((seen.path, said))
    }

    /// The number and hash that were seen last, if any were.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn read(&self) -> Result<Option<(u64, String)>, JournalError> {
        let mut bytes = [0; 2 * SLOT];
        self.file.read_at(&mut bytes, 0).map_err(unusable(&self.path))?;
        let slots = [0, 1].map(|slot| &bytes[slot * SLOT..slot * SLOT + RECORD]);
        let newest = (0..2).filter_map(|slot| Some((record(slots[slot])?, slot))).max();
        if let Some((seen, slot)) = newest {
            self.turn.set(1 - slot);
            return Ok(Some(seen));
        }
        // Nothing was written whole yet. A file system may also leave zeros of what a power loss
        // kept from the disk.
        if slots.iter().any(|slot| slot.iter().all(|byte| *byte == 0)) {
            return Ok(None);
        }
        Err(unusable(&self.path)(std::io::Error::new(ErrorKind::InvalidData, "it is damaged")))
    }

    /// Writes down number and hash; the next one that opens it sees them.
    ///
    /// # Errors
    /// If they cannot be written.
    pub fn set(&self, number: u64, hash: &str) -> Result<(), JournalError> {
        let stated = format!("{number:020} {hash}");
        let record = format!("{stated} {}\n", check_of(&stated));
        let slot = self.turn.get();
        self.file
            .write_all_at(record.as_bytes(), (slot * SLOT) as u64)
            .map_err(unusable(&self.path))?;
        self.turn.set(1 - slot);
        Ok(())
    }

    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// What stands in a slot, if that is whole.
fn record(slot: &[u8]) -> Option<(u64, String)> {
    let text = std::str::from_utf8(slot).ok()?.strip_suffix('\n')?;
    let (stated, check) = text.rsplit_once(' ')?;
    let (number, hash) = stated.split_once(' ')?;
    (check == check_of(stated)).then_some((number.parse().ok()?, hash.to_owned()))
}

fn is_uuid(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// The folder of whoever runs the program, in the machine's.
fn own(machine: &Path) -> PathBuf {
    machine.join(format!("heads-{}", rustix::process::geteuid().as_raw()))
}

/// The same, made if it is not there.
fn folder() -> Result<PathBuf, JournalError> {
    let user = rustix::process::geteuid().as_raw();
    let folder = own(&lock::machine_folder()?);
    match DirBuilder::new().mode(0o700).create(&folder) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => {
            return Err(unusable(&folder)(error));
        }
        _ => {}
    }
    // Who may write in the folder above may have made it first.
    let found = std::fs::symlink_metadata(&folder).map_err(unusable(&folder))?;
    if !found.is_dir() || found.uid() != user || found.mode() & 0o022 != 0 {
        let why =
            format!("it is not this user's own folder: it belongs to the user {}", found.uid());
        return Err(unusable(&folder)(std::io::Error::new(ErrorKind::PermissionDenied, why)));
    }
    Ok(folder)
}

fn check_of(stated: &str) -> String {
    files::sha256(stated.as_bytes()).0[..16].to_owned()
}

fn unusable(path: &Path) -> impl FnOnce(std::io::Error) -> JournalError {
    let path = path.to_owned();
    move |source| JournalError::Locks { path, source }
}
