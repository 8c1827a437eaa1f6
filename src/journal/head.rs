//! The end of a run's log: whoever holds it appends facts in one durable commit, and makes the
//! anchor follow.

use super::anchor::Anchor;
use super::chain::{StoredEvent, written};
use super::error::JournalError;
use super::fallback::Fallback;
use super::files;
use super::heads::Seen;
use super::loaded::Loaded;
use super::lock::{Held, Holder, machine_folder};
use super::open::Journal;
use crate::run::{Digest, Event};
use crate::runbook::Runbook;

/// Where a run's log ends, and its anchor.
#[derive(Debug)]
pub struct Head {
    pub run: String,
    pub number: u64,
    hash: String,
    anchor: Anchor,
    anchored: u64,
    fallback: Fallback,
    /// What this machine has seen of it; nothing of a run that has no UUID.
    seen: Option<Seen>,
    locks: Vec<Held>,
}

impl Head {
    /// Says that nothing of the run lives any more: whoever wants its locks need not look.
    pub fn release(self) {
        self.locks.into_iter().for_each(Held::release);
    }
}

impl Journal {
    /// Prepares a new run: its folder, lock and anchor. Nothing is in the database yet.
    ///
    /// # Errors
    /// If somebody else holds one of its locks, or if something of it cannot be made.
    pub fn create(
        &self,
        run: &str,
        uuid: &str,
        locks: &[String],
        holder: &Holder,
    ) -> Result<Head, JournalError> {
        // The named locks first: a run that does not get them leaves nothing behind.
        let mut held = self.named_locks(locks, holder)?;
        files::folder(&self.run_folder(run))?;
        files::folder(&self.run_folder(run).join("logs"))?;
        held.push(self.own_lock(run, holder)?);
        let seen = Seen::of(run, uuid)?;
        let anchor = Anchor::create(&self.run_folder(run).join("anchor"))?;
        self.store.settle_at_close(true)?;
        let fallback = Fallback::open(&self.run_folder(run))?;
        Ok(Head {
            run: run.to_owned(),
            number: 0,
            hash: String::new(),
            anchor,
            anchored: 0,
            fallback,
            seen,
            locks: held,
        })
    }

    /// Takes a run's locks and reads it back for continuing.
    ///
    /// # Errors
    /// If somebody else holds one of its locks, if it is not as it was written or as this machine
    /// has seen it, or if it cannot be read.
    pub fn take(&self, run: &str, holder: &Holder) -> Result<(Head, Loaded), JournalError> {
        if !self.run_folder(run).is_dir() {
            return Err(JournalError::Altered {
                run: run.to_owned(),
                why: "its folder is missing".to_owned(),
            });
        }
        for folder in [self.run_folder(run), self.run_folder(run).join("logs")] {
            files::folder(&folder)?;
        }
        // The run's own lock first: what is read under it cannot be overtaken.
        let own = self.own_lock(run, holder)?;
        let mut loaded = self.load(run)?;
        let seen = Seen::of(run, &loaded.state.started.uuid)?;
        if let Some(seen) = &seen {
            loaded.is_as_seen(run, seen)?;
        }
        let fallback = Fallback::open(&self.run_folder(run))?;
        loaded.kept = fallback.kept()?;
        let mut held = self.named_locks(&loaded.state.runbook.locks, holder)?;
        held.push(own);
        let (anchor, _) = Anchor::open(&self.run_folder(run).join("anchor"))?;
        self.store.settle_at_close(true)?;
        // One without events is no run, and was not loaded.
        let hash = loaded.hashes.last().cloned();
        let hash = hash.ok_or_else(|| JournalError::NoRun(run.to_owned()))?;
        let head = Head {
            run: run.to_owned(),
            number: loaded.events.len() as u64,
            hash,
            anchor,
            anchored: loaded.anchored,
            fallback,
            seen,
            locks: held,
        };
        Ok((head, loaded))
    }

    fn own_lock(&self, run: &str, holder: &Holder) -> Result<Held, JournalError> {
        Held::take(&self.run_folder(run).join("lock"), &format!("the run {run}"), holder)
    }

    fn named_locks(&self, names: &[String], holder: &Holder) -> Result<Vec<Held>, JournalError> {
        // In one order for everybody, so that two runs cannot each wait for the other's.
        let mut names: Vec<&String> = names.iter().collect();
        names.sort();
        names.dedup();
        // By whatever way it is reached, it is the same journal.
        let journal =
            self.folder.canonicalize().map_err(JournalError::io(&self.folder, "found"))?;
        let folder = journal.join("runs").join(&holder.run);
        let holder = Holder { folder: Some(folder), ..holder.clone() };
        let take = |name: &String| {
            Held::take_shared(
                &machine_folder()?.join(files::sha256(name.as_bytes()).0),
                name,
                &holder,
            )
        };
        names.into_iter().map(take).collect()
    }

    /// Number and hash of each event of a run whose end is `head`, one a line.
    ///
    /// # Errors
    /// If they cannot be read.
    pub fn hashes(&self, head: &Head) -> Result<String, JournalError> {
        let pairs = self.store.hashes(&head.run)?;
        Ok(pairs.iter().map(|(number, hash)| format!("{number} {hash}\n")).collect())
    }

    /// Stores an expanded runbook; returns its digest.
    ///
    /// # Errors
    /// If it could not be read back as it is, or cannot be written.
    pub fn define(&self, runbook: &Runbook) -> Result<Digest, JournalError> {
        let body = written(runbook).map_err(|source| JournalError::Unwritable {
            what: "the definition".to_owned(),
            source,
        })?;
        let digest = files::sha256(body.as_bytes());
        self.store.define(&digest, &body)?;
        Ok(digest)
    }

    /// Appends events in one commit, durable when this returns.
    ///
    /// # Errors
    /// If one could not be read back as it is, or if they cannot be written; then none of them is
    /// in the journal.
    pub fn append(&mut self, head: &mut Head, events: &[Event]) -> Result<(), JournalError> {
        let mut stored: Vec<StoredEvent> = Vec::with_capacity(events.len());
        for event in events {
            let unwritable = |source| JournalError::Unwritable {
                what: format!("event {}", event.number),
                source,
            };
            let before = stored.last().map_or(&head.hash, |before| &before.hash);
            stored.push(StoredEvent::of(event, &head.run, before).map_err(unwritable)?);
        }
        if stored.is_empty() {
            return Ok(());
        }
        self.store.append(&head.run, &stored)?;
        if let Some(last) = stored.pop() {
            (head.number, head.hash) = (last.number, last.hash);
        }
        Ok(())
    }

    /// Keeps the results among events that could not be appended, for the next session; says
    /// whether it could. Why not is no news: they could not be appended either.
    pub fn keep(&self, head: &Head, events: &[Event]) -> bool {
        head.fallback.keep(events)
    }

    /// What was kept is in the journal now.
    ///
    /// # Errors
    /// If that cannot be written.
    pub fn forget_kept(&self, head: &Head) -> Result<(), JournalError> {
        head.fallback.clear()
    }

    /// Makes the anchor point at the head; to be done before an action begins, and when the
    /// executor leaves.
    ///
    /// # Errors
    /// If that cannot be written; then nothing may begin.
    pub fn anchor(&self, head: &mut Head) -> Result<(), JournalError> {
        if head.anchored < head.number {
            head.anchor.set(head.number, &head.hash)?;
            head.anchored = head.number;
            if let Some(seen) = &head.seen {
                seen.set(head.number, &head.hash)?;
            }
        }
        Ok(())
    }
}
