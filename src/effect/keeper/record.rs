//! The record that keepers make of a run's commands: that one begins, before it does, and how it ended. It outlives the executor
//! and the keeper; the next executor reads it. It does not outlive a loss of power for certain: what is missing says nothing.

use std::collections::{HashMap, HashSet};
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

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

/// The file, to be added to. Executors and keepers hold a shared lock on it as long as they live.
#[derive(Debug)]
pub struct Record {
    file: File,
}

impl Record {
    /// Opens the file of a run and waits for no keeper: `None` if one of an earlier session lives.
    pub fn take_over(path: &Path) -> std::io::Result<Option<Record>> {
        let nofollow = rustix::fs::OFlags::NOFOLLOW.bits() as i32;
        let file = OpenOptions::new().append(true).read(true).create(true).mode(0o600).custom_flags(nofollow).open(path)?;
        match file.try_lock() {
            Ok(()) => {
                file.unlock()?;
                file.lock_shared()?;
                Ok(Some(Record { file }))
            }
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    /// Of an open file that was handed over.
    pub fn of(file: File) -> Record {
        Record { file }
    }

    /// The same open file, lock and all, for a keeper.
    pub fn share(&self) -> std::io::Result<File> {
        self.file.try_clone()
    }

    /// Adds a line, with one write: it is there whole or does not count.
    pub fn add(&self, entry: &Entry) -> std::io::Result<()> {
        let text = serde_json::to_string(entry)?;
        (&self.file).write_all(format!("{} {text}\n", check(&text)).as_bytes())
    }
}

/// What the file of a run says.
#[derive(Debug, Default)]
pub struct Known {
    ends: HashMap<Attempt, Over>,
    keepers: HashMap<u64, Keeper>,
    begun: HashSet<Attempt>,
    /// There is something that cannot be read: what is missing proves nothing.
    is_damaged: bool,
}

#[derive(Debug, Default)]
struct Keeper {
    head: u64,
    begun: u64,
    /// How many it says it has begun.
    closed: Option<u64>,
}

impl Known {
    /// Reads it; of a line that is not whole, only that it is there.
    pub fn read(path: &Path) -> Known {
        let mut bytes = Vec::new();
        let _ = File::open(path).and_then(|mut file| file.read_to_end(&mut bytes));
        let mut known = Known::default();
        let entry = |line: &[u8]| {
            let (checked, text) = std::str::from_utf8(line).ok()?.split_once(' ')?;
            (checked == check(text)).then(|| serde_json::from_str(text).ok())?
        };
        for line in bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            match entry(line) {
                Some(entry) => known.learn(entry),
                None => known.is_damaged = true,
            }
        }
        known
    }

    fn learn(&mut self, entry: Entry) {
        match entry {
            Entry::Opened { keeper, head } => self.keepers.entry(keeper).or_default().head = head,
            Entry::Begins { keeper, attempt } => {
                self.keepers.entry(keeper).or_default().begun += 1;
                self.begun.insert(attempt);
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
        !self.is_damaged
            && keepers.peek().is_some()
            && keepers.all(|keeper| keeper.closed == Some(keeper.begun))
            && !self.begun.contains(attempt)
    }
}

fn check(text: &str) -> String {
    Sha256::digest(text.as_bytes())[..8].iter().map(|byte| format!("{byte:02x}")).collect()
}
