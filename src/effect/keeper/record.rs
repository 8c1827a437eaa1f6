//! The record that keepers make of a run's commands: that one begins, before it does, and how it ended. It outlives the executor
//! and the keeper; the next executor reads it. It does not outlive a loss of power for certain: what is missing says nothing.

use std::cell::Cell;
use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::order::{Attempt, Over};

/// One line of the file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Entry {
    /// A keeper came to be, when the run's log ended with this number.
    Opened {
        keeper: u64,
        head: u64,
    },
    /// The attempt begins now.
    Begins {
        keeper: u64,
        attempt: Attempt,
    },
    Ended {
        attempt: Attempt,
        over: Over,
    },
    /// The keeper takes no more orders; so many attempts it has begun.
    Closed {
        keeper: u64,
        begun: u64,
    },
}

/// Where a session records its commands, in the run's folder; `head` is the number with which the run's log ended before it.
pub fn path_of(folder: &Path, head: u64) -> PathBuf {
    folder.join(format!("commands-{head}"))
}

/// The file of one session, to be added to. Its executor and keepers hold a shared lock on it as long as they live.
#[derive(Debug)]
pub struct Record {
    file: File,
    /// The last line may not be whole, as the disk was full: the next one begins anew.
    is_torn: Cell<bool>,
}

impl Record {
    /// Makes the file.
    pub fn create(path: &Path) -> std::io::Result<Record> {
        let file = open(path, true)?;
        file.lock_shared()?;
        Ok(Record { file, is_torn: Cell::new(false) })
    }

    /// Of an open file that was handed over.
    pub fn of(file: File) -> Record {
        Record { file, is_torn: Cell::new(false) }
    }

    /// The same open file, lock and all, for a keeper.
    pub fn share(&self) -> std::io::Result<File> {
        self.file.try_clone()
    }

    /// Adds a line, with one write: it is there whole or does not count.
    pub fn add(&self, entry: &Entry) -> std::io::Result<()> {
        let text = serde_json::to_string(entry)?;
        let before = if self.is_torn.get() { "\n" } else { "" };
        let added = (&self.file).write_all(format!("{before}{} {text}\n", check(&text)).as_bytes());
        self.is_torn.set(added.is_err());
        added
    }
}

/// What the files of some sessions say, as far as they were read.
#[derive(Debug, Default)]
pub struct Known {
    files: Vec<Reading>,
    ends: HashMap<Attempt, Over>,
    keepers: HashMap<u64, Keeper>,
    /// In which file each attempt is said to begin.
    begun: HashMap<Attempt, usize>,
    /// There is something that cannot be read: what is missing proves nothing.
    is_damaged: bool,
}

#[derive(Debug)]
struct Reading {
    file: File,
    /// The beginning of a line that has no end yet.
    rest: Vec<u8>,
}

#[derive(Debug, Default)]
struct Keeper {
    file: usize,
    head: u64,
    begun: u64,
    /// How many it says it has begun.
    closed: Option<u64>,
}

impl Known {
    /// Reads what the sessions so far have recorded in a run's folder.
    ///
    /// # Errors
    /// If a file of it cannot be opened.
    pub fn in_folder(folder: &Path) -> std::io::Result<Known> {
        let mut paths = Vec::new();
        for entry in std::fs::read_dir(folder)? {
            paths.push(entry?.path());
        }
        paths.retain(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("commands-")));
        Known::of(&paths)
    }

    /// Reads these files.
    pub fn of(paths: &[PathBuf]) -> std::io::Result<Known> {
        let file = |path: &PathBuf| Ok(Reading { file: open(path, false)?, rest: Vec::new() });
        let files = paths.iter().map(file).collect::<std::io::Result<_>>()?;
        let mut known = Known { files, ..Known::default() };
        known.read_on();
        Ok(known)
    }

    /// Reads what was added since; of a line that is not whole, only that it is there.
    pub fn read_on(&mut self) {
        let entry = |line: &[u8]| {
            let (checked, text) = std::str::from_utf8(line).ok()?.split_once(' ')?;
            (checked == check(text)).then(|| serde_json::from_str(text).ok())?
        };
        for at in 0..self.files.len() {
            let reading = &mut self.files[at];
            let mut bytes = std::mem::take(&mut reading.rest);
            self.is_damaged |= reading.file.read_to_end(&mut bytes).is_err();
            let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
            reading.rest = bytes.split_off(whole);
            for line in bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
                match entry(line) {
                    Some(entry) => self.learn(at, entry),
                    None => self.is_damaged = true,
                }
            }
        }
    }

    fn learn(&mut self, file: usize, entry: Entry) {
        match entry {
            Entry::Opened { keeper, head } => {
                let keeper = self.keepers.entry(keeper).or_default();
                (keeper.file, keeper.head) = (file, head);
            }
            Entry::Begins { keeper, attempt } => {
                self.keepers.entry(keeper).or_default().begun += 1;
                self.begun.insert(attempt, file);
            }
            Entry::Ended { attempt, over } => drop(self.ends.insert(attempt, over)),
            Entry::Closed { keeper, begun } => self.keepers.entry(keeper).or_default().closed = Some(begun),
        }
    }

    /// How an attempt ended, if that is on record.
    pub fn end(&self, attempt: &Attempt) -> Option<&Over> {
        self.ends.get(attempt)
    }

    /// Whether it is proved that an attempt, which a session since the number `since` of the run's log was to make, never began:
    /// every keeper of that session has said how many it began, and all of those are known.
    pub fn never_began(&self, attempt: &Attempt, since: u64) -> bool {
        let mut keepers = self.keepers.values().filter(|keeper| keeper.head >= since).peekable();
        let is_whole = !self.is_damaged && self.files.iter().all(|reading| reading.rest.is_empty());
        is_whole
            && keepers.peek().is_some()
            && keepers.all(|keeper| keeper.closed == Some(keeper.begun))
            && !self.begun.contains_key(attempt)
    }

    /// Whether a keeper lives that may still begin what it was told to.
    pub fn may_begin(&self) -> bool {
        let open = self.keepers.values().filter(|keeper| keeper.closed.is_none());
        open.into_iter().any(|keeper| self.is_held(keeper.file))
    }

    /// Whether the keeper that began an attempt may still live, and record its end.
    pub fn is_watched(&self, attempt: &Attempt) -> bool {
        self.begun.get(attempt).is_some_and(|file| self.is_held(*file))
    }

    /// Whether any keeper lives.
    pub fn is_any_held(&self) -> bool {
        (0..self.files.len()).any(|file| self.is_held(file))
    }

    fn is_held(&self, file: usize) -> bool {
        let file = &self.files[file].file;
        match file.try_lock() {
            Ok(()) => file.unlock().is_err(),
            Err(_) => true,
        }
    }
}

/// Opened to append, also to read it: some file systems grant an exclusive lock only then.
fn open(path: &Path, create: bool) -> std::io::Result<File> {
    let nofollow = rustix::fs::OFlags::NOFOLLOW.bits() as i32;
    OpenOptions::new().append(true).read(true).create(create).mode(0o600).custom_flags(nofollow).open(path)
}

fn check(text: &str) -> String {
    Sha256::digest(text.as_bytes())[..8].iter().map(|byte| format!("{byte:02x}")).collect()
}
