//! The end of a run's log: whoever holds it appends facts in one durable commit, and makes the
//! anchor follow.

use rusqlite::params;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::anchor::Anchor;
use super::chain::chain;
use super::error::JournalError;
use super::fallback::Fallback;
use super::files;
use super::heads::Seen;
use super::loaded::Loaded;
use super::lock::{Held, Holder, machine_folder};
use super::open::Journal;
use crate::run::{Digest, Event, event};
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
        self.checkpoint_at_close(true)?;
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
        self.checkpoint_at_close(true)?;
        let head = Head {
            run: run.to_owned(),
            number: loaded.events.len() as u64,
            hash: loaded.hashes.last().cloned().unwrap_or_default(),
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
    pub fn hashes(&self, head: &Head) -> Result<String, JournalError> {
        let sql = JournalError::sql;
        let mut statement = self
            .db
            .prepare("SELECT number, hash FROM events WHERE run = ?1 ORDER BY number")
            .map_err(sql("read"))?;
        let line = |row: &rusqlite::Row| {
            Ok(format!("{} {}\n", row.get::<_, i64>(0)?, row.get::<_, String>(1)?))
        };
        statement
            .query_map([&head.run], line)
            .map_err(sql("read"))?
            .collect::<Result<_, _>>()
            .map_err(sql("read"))
    }

    /// Stores an expanded runbook; returns its digest.
    pub fn define(&self, runbook: &Runbook) -> Result<Digest, JournalError> {
        let body = written(runbook).map_err(|source| JournalError::Unwritable {
            what: "the definition".to_owned(),
            source,
        })?;
        let digest = files::sha256(body.as_bytes());
        self.db
            .execute(
                "INSERT INTO definitions (digest, body) VALUES (?1, ?2) ON CONFLICT DO NOTHING",
                params![digest.0, body],
            )
            .map_err(JournalError::sql("written"))?;
        Ok(digest)
    }

    /// Appends events in one commit, durable when this returns.
    pub fn append(&mut self, head: &mut Head, events: &[Event]) -> Result<(), JournalError> {
        if events.is_empty() {
            return Ok(());
        }
        let mut bodies = Vec::with_capacity(events.len());
        for event in events {
            let unwritable = |source| JournalError::Unwritable {
                what: format!("event {}", event.number),
                source,
            };
            bodies.push(written(event).map_err(unwritable)?);
        }
        let hash = self
            .write(head, events, bodies)
            .map_err(JournalError::sql("written"))
            .inspect_err(|_| {
                // A transaction that failed to commit may still be open; what it held is not in the
                // journal.
                let _ = self.db.execute_batch("ROLLBACK");
            })?;
        head.hash = hash;
        head.number = events.last().map_or(head.number, |event| event.number);
        Ok(())
    }

    /// The statements that every step pays for: prepared once.
    fn write(
        &self,
        head: &Head,
        events: &[Event],
        bodies: Vec<String>,
    ) -> rusqlite::Result<String> {
        self.db.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
        let mut insert = self.db.prepare_cached(
            "INSERT INTO events (run, number, at, event, step, body, hash) \
                VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        )?;
        let mut hash = head.hash.clone();
        for (event, body) in events.iter().zip(bodies) {
            hash = chain(&hash, &head.run, &body);
            let step = event.fact.step().map(|step| &**step);
            insert.execute(params![
                head.run,
                event.number as i64,
                event.at.to_string(),
                event::kind(&event.fact),
                step,
                body,
                hash
            ])?;
        }
        self.db.prepare_cached("COMMIT")?.execute([])?;
        Ok(hash)
    }

    /// Keeps the results among events that could not be appended, for the next session; says
    /// whether it could.
    pub fn keep(&self, head: &Head, events: &[Event]) -> bool {
        head.fallback.keep(events)
    }

    /// What was kept is in the journal now.
    pub fn forget_kept(&self, head: &Head) -> Result<(), JournalError> {
        head.fallback.clear()
    }

    /// Makes the anchor point at the head; to be done before an action begins, and when the
    /// executor leaves.
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

/// What is to be stored, if it can be read back as it is: what cannot would make the run
/// unreadable.
fn written<T: Serialize + DeserializeOwned>(value: &T) -> Result<String, serde_json::Error> {
    let text = serde_json::to_string(value)?;
    let back: T = serde_json::from_str(&text)?;
    if serde_json::to_string(&back)? == text {
        Ok(text)
    } else {
        Err(serde::de::Error::custom("it is read back as something else"))
    }
}
