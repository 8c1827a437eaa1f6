//! The record that keepers make of a run's commands: that one begins, before it does, and how it
//! ended. It outlives the executor and the keeper; the next executor reads it. It does not outlive
//! a loss of power for certain: what is missing says nothing, and what is there nothing of files
//! that may be lost.

use std::cell::{Cell, OnceCell};
use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::order::{Attempt, Exit, Over};
use super::place::{Leader, Place, Site};

/// One line of the file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Entry {
    /// A keeper came to be, when the run's log ended with this number.
    Opened { keeper: u64, head: u64 },
    /// Where the keeper lives, before it begins anything.
    Serves { keeper: u64, place: Place },
    /// The attempt begins now.
    Begins { keeper: u64, attempt: Attempt },
    /// It has begun, with this process.
    Runs { attempt: Attempt, leader: Leader },
    Ended {
        attempt: Attempt,
        over: Over,
        /// Whether what it wrote was durable before this was added.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        is_durable: bool,
    },
    /// The keeper takes no more orders; so many attempts it has begun.
    Closed { keeper: u64, begun: u64 },
}

/// The file of one keeper, to be added to. A keeper holds a shared lock on it as long as it lives.
#[derive(Debug)]
pub struct Record {
    file: File,
    /// The last line may not be whole, as the disk was full: the next one begins anew.
    is_torn: Cell<bool>,
}

impl Record {
    /// Makes the file of a keeper in the run's folder, under a name that none had; `before` is the
    /// number with which the run's log ended before the session.
    pub fn create(folder: &Path, before: u64) -> std::io::Result<(PathBuf, Record)> {
        for again in 0.. {
            let path = folder.join(name(before, again));
            match options().create_new(true).open(&path) {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                made => {
                    let file = made?;
                    file.lock_shared()?;
                    return Ok((path, Record { file, is_torn: Cell::new(false) }));
                }
            }
        }
        Err(ErrorKind::AlreadyExists.into())
    }

    /// Of an open file that was handed over.
    pub fn of(file: File) -> Record {
        Record { file, is_torn: Cell::new(false) }
    }

    /// The open file, lock and all, for a keeper.
    pub fn into_file(self) -> File {
        self.file
    }

    /// Adds a line, with one write: it is there whole or does not count.
    pub fn add(&self, entry: &Entry) -> std::io::Result<()> {
        let text = serde_json::to_string(entry)?;
        let before = if self.is_torn.get() { "\n" } else { "" };
        let added = (&self.file).write_all(format!("{before}{} {text}\n", check(&text)).as_bytes());
        self.is_torn.set(added.is_err());
        added
    }

    /// Makes durable what was added.
    pub fn sync(&self) -> std::io::Result<()> {
        self.file.sync_data()
    }
}

/// What the files of some sessions say, as far as they were read.
#[derive(Debug, Default)]
pub struct Known {
    files: Vec<Reading>,
    ends: HashMap<Attempt, End>,
    keepers: HashMap<u64, Keeper>,
    begun: HashMap<Attempt, Begun>,
    /// There is something that cannot be read: what is missing proves nothing.
    is_damaged: bool,
    /// Where this process is, once that was asked.
    here: OnceCell<Option<Site>>,
}

/// How an attempt is said to have ended.
#[derive(Debug)]
struct End {
    over: Over,
    is_durable: bool,
    /// The file that says so.
    file: usize,
}

#[derive(Debug)]
struct Reading {
    /// As long as somebody may add to it.
    file: Option<File>,
    /// The beginning of a line that has no end yet.
    rest: Vec<u8>,
    /// Who came last: a keeper comes only when the one before is gone.
    last: Option<u64>,
    /// Where its keeper lives; nothing if an earlier version of this program wrote it.
    place: Option<Place>,
    is_damaged: bool,
}

/// An attempt that is said to begin.
#[derive(Debug)]
struct Begun {
    keeper: u64,
    /// Nothing as long as it is not known how far its beginning came.
    leader: Option<Leader>,
}

/// What is known of the beginning of an attempt's command.
#[derive(Debug)]
pub struct Beginning<'a> {
    /// Nothing if an earlier version of this program began it.
    pub place: Option<&'a Place>,
    pub leader: Option<Leader>,
    /// The first processes of what else its keeper began.
    pub others: Vec<Leader>,
}

#[derive(Debug, Default)]
struct Keeper {
    head: u64,
    place: Option<Place>,
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
        paths.retain(|path| {
            path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("commands-"))
        });
        Known::of(&paths)
    }

    /// Reads these files.
    ///
    /// # Errors
    /// If one cannot be opened.
    pub fn of(paths: &[PathBuf]) -> std::io::Result<Known> {
        let mut known = Known::default();
        for path in paths {
            match known.add(path) {
                // A command may have made it. What it hides proves nothing.
                Err(error) if error.kind() == ErrorKind::InvalidInput => known.is_damaged = true,
                added => added?,
            }
        }
        Ok(known)
    }

    /// Reads this file too.
    ///
    /// # Errors
    /// If it cannot be opened.
    pub fn add(&mut self, path: &Path) -> std::io::Result<()> {
        let (file, at) = (crate::file::open_as(&mut options(), path)?, self.files.len());
        self.files.push(Reading {
            file: Some(file),
            rest: Vec::new(),
            last: None,
            place: None,
            is_damaged: false,
        });
        // A loss of power may take the file of a session's first keeper and leave that of its
        // second.
        self.is_damaged |= earlier(path).is_some_and(|earlier| !earlier.exists());
        let is_held = self.is_held(at);
        self.read_on();
        // A long run has many, and what nobody holds says nothing more.
        if !is_held {
            self.files[at].file = None;
        }
        Ok(())
    }

    /// Reads what was added since; of a line that is not whole, only that it is there.
    pub fn read_on(&mut self) {
        let entry = |line: &[u8]| {
            let (checked, text) = std::str::from_utf8(line).ok()?.split_once(' ')?;
            (checked == check(text)).then(|| serde_json::from_str(text).ok())?
        };
        for at in 0..self.files.len() {
            let reading = &mut self.files[at];
            let Some(file) = &mut reading.file else { continue };
            let mut bytes = std::mem::take(&mut reading.rest);
            self.is_damaged |= file.read_to_end(&mut bytes).is_err();
            let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
            reading.rest = bytes.split_off(whole);
            for line in bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
                match entry(line) {
                    Some(entry) => self.learn(at, entry),
                    None => {
                        self.is_damaged = true;
                        self.files[at].is_damaged = true;
                    }
                }
            }
        }
    }

    fn learn(&mut self, file: usize, entry: Entry) {
        match entry {
            Entry::Opened { keeper, head } => {
                self.keepers.entry(keeper).or_default().head = head;
                self.files[file].last = Some(keeper);
            }
            Entry::Serves { keeper, place } => {
                self.files[file].place = Some(place.clone());
                self.keepers.entry(keeper).or_default().place = Some(place);
            }
            Entry::Begins { keeper, attempt } => {
                self.keepers.entry(keeper).or_default().begun += 1;
                self.begun.insert(attempt, Begun { keeper, leader: None });
            }
            Entry::Runs { attempt, leader } => {
                if let Some(begun) = self.begun.get_mut(&attempt) {
                    begun.leader = Some(leader);
                }
            }
            Entry::Ended { attempt, over, is_durable } => {
                drop(self.ends.insert(attempt, End { over, is_durable, file }))
            }
            Entry::Closed { keeper, begun } => {
                self.keepers.entry(keeper).or_default().closed = Some(begun)
            }
        }
    }

    /// How an attempt ended, if that is on record and what it wrote cannot have been lost since.
    pub fn end(&self, attempt: &Attempt) -> Option<&Over> {
        let end = self.ends.get(attempt)?;
        let is_certain = match &self.files[end.file] {
            _ if end.is_durable => true,
            Reading { place: Some(place), .. } => {
                self.here().is_some_and(|here| here.boot == place.site.boot)
            }
            Reading { place: None, is_damaged, .. } => !is_damaged,
        };
        is_certain.then_some(&end.over)
    }

    fn here(&self) -> Option<&Site> {
        self.here.get_or_init(|| Site::here().ok()).as_ref()
    }

    /// Whether a keeper has begun an attempt, or was about to.
    pub fn has_begun(&self, attempt: &Attempt) -> bool {
        self.begun.contains_key(attempt) || self.ends.contains_key(attempt)
    }

    /// What is known of the beginning of an attempt's command; nothing if none is said to have
    /// begun.
    pub fn beginning(&self, attempt: &Attempt) -> Option<Beginning<'_>> {
        if self.ends.get(attempt).is_some_and(|end| matches!(end.over.exit, Exit::NotBegun(_))) {
            return None;
        }
        let Begun { keeper, leader } = self.begun.get(attempt)?;
        let is_other =
            |(other, begun): &(&Attempt, &Begun)| begun.keeper == *keeper && *other != attempt;
        let others =
            self.begun.iter().filter(is_other).filter_map(|(_, begun)| begun.leader).collect();
        Some(Beginning {
            place: self.keepers.get(keeper).and_then(|keeper| keeper.place.as_ref()),
            leader: *leader,
            others,
        })
    }

    /// Whether it is proved that an attempt, which a session since the number `since` of the run's
    /// log was to make, never began: every keeper of that session has said how many it began, and
    /// all of those are known.
    pub fn never_began(&self, attempt: &Attempt, since: u64) -> bool {
        let mut keepers = self.keepers.values().filter(|keeper| keeper.head >= since).peekable();
        let is_whole = !self.is_damaged
            && self.files.iter().all(|reading| reading.rest.is_empty() && reading.last.is_some());
        is_whole
            && keepers.peek().is_some()
            && keepers.all(|keeper| keeper.closed == Some(keeper.begun))
            && !self.begun.contains_key(attempt)
    }

    /// Whether a keeper lives that may still begin what it was told to.
    pub fn may_begin(&self) -> bool {
        let is_open =
            |keeper: &u64| self.keepers.get(keeper).is_none_or(|keeper| keeper.closed.is_none());
        (0..self.files.len())
            .any(|file| self.files[file].last.as_ref().is_some_and(is_open) && self.is_held(file))
    }

    /// Whether the keeper that began an attempt may still live, and record its end.
    pub fn is_watched(&self, attempt: &Attempt) -> bool {
        let Some(Begun { keeper, .. }) = self.begun.get(attempt) else { return false };
        (0..self.files.len())
            .any(|file| self.files[file].last == Some(*keeper) && self.is_held(file))
    }

    /// Whether any keeper lives.
    pub fn is_any_held(&self) -> bool {
        (0..self.files.len()).any(|file| self.is_held(file))
    }

    fn is_held(&self, file: usize) -> bool {
        let Some(file) = &self.files[file].file else { return false };
        match file.try_lock() {
            Ok(()) => file.unlock().is_err(),
            Err(_) => true,
        }
    }
}

/// The name of the file of a session's first keeper, of its second, and so on.
fn name(before: u64, again: u64) -> String {
    if again == 0 { format!("commands-{before}") } else { format!("commands-{before}-{again}") }
}

/// The file that was made before this one in the same session.
fn earlier(path: &Path) -> Option<PathBuf> {
    let (before, again) = path.file_name()?.to_str()?.strip_prefix("commands-")?.split_once('-')?;
    Some(
        path.with_file_name(name(before.parse().ok()?, again.parse::<u64>().ok()?.checked_sub(1)?)),
    )
}

/// Opened to append, also to read it: some file systems grant an exclusive lock only then.
fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options
        .append(true)
        .read(true)
        .mode(0o600)
        .custom_flags(rustix::fs::OFlags::NOFOLLOW.bits() as i32);
    options
}

fn check(text: &str) -> String {
    data_encoding::HEXLOWER.encode(&Sha256::digest(text.as_bytes())[..8])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_lost_file_may_have_said_is_not_taken_for_never_begun() {
        let folder = tempfile::tempdir().unwrap();
        let attempt = |key: &str| Attempt { key: key.into(), number: 1 };
        let mut paths = Vec::new();
        for (keeper, begun) in [(1, vec![attempt("x")]), (2, vec![])] {
            let (path, record) = Record::create(folder.path(), 4).unwrap();
            record.add(&Entry::Opened { keeper, head: 4 + keeper }).unwrap();
            let closed = Entry::Closed { keeper, begun: begun.len() as u64 };
            begun
                .into_iter()
                .for_each(|attempt| record.add(&Entry::Begins { keeper, attempt }).unwrap());
            record.add(&closed).unwrap();
            paths.push(path);
        }
        let proves =
            |key: &str| Known::in_folder(folder.path()).unwrap().never_began(&attempt(key), 5);
        assert_eq!((proves("x"), proves("y")), (false, true));
        File::create(&paths[0]).unwrap();
        assert_eq!((proves("x"), proves("y")), (false, false), "the first one's entries were lost");
        std::fs::remove_file(&paths[0]).unwrap();
        assert_eq!((proves("x"), proves("y")), (false, false), "the first one's file was lost");
    }
}
