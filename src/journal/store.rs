//! The database: append facts in one durable commit, read a run back and hold it against its
//! hashes, its anchor and the legal order of events.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, OptionalExtension, params};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest as _, Sha256};

use super::anchor::Anchor;
use super::copy::Copy;
use super::error::JournalError;
use super::fallback::Fallback;
use super::files::{self, AttemptFiles};
use super::heads::Seen;
use super::lock::{Held, Holder, machine_folder};
use crate::run::{Digest, Event, Fact, Moment, RunStarted, RunState, event};
use crate::runbook::{Direction, Runbook, StepIx};

const SCHEMA: &str = include_str!("../../journal/schema.sql");
/// Each entry brings the schema from the version of its index to the next.
const MIGRATIONS: &[&str] = &[SCHEMA];
/// How long another process may hold the database.
const PATIENCE: Duration = Duration::from_secs(10);
const WANTED_SQLITE: (i32, &str) = (3_051_003, "3.51.3");

/// An open journal.
#[derive(Debug)]
pub struct Journal {
    pub(super) db: Connection,
    folder: PathBuf,
    // After the connection, which is closed first.
    _copy: Option<Copy>,
}

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

/// A run read back: its state, its events and the end of its log.
pub struct Loaded {
    pub state: RunState,
    pub events: Vec<Event>,
    pub hashes: Vec<String>,
    /// The number up to which the anchor vouches.
    pub anchored: u64,
    /// Results that an earlier session could not commit.
    pub kept: Vec<Fact>,
}

/// What this machine has noted of a run.
pub struct Noted {
    place: PathBuf,
    /// Number and hash of the last event.
    last: (u64, String),
}

impl Loaded {
    /// What this machine has noted of the run, for somebody who only looks.
    pub fn noted(&self) -> Option<Noted> {
        Seen::look(&self.state.started.uuid).map(|(place, last)| Noted { place, last })
    }

    /// Whether the journal has what this machine has noted of the run. Of a run that goes on, it is
    /// only sure to have what was noted before it was read.
    ///
    /// # Errors
    /// [`JournalError::Behind`] if it has not.
    pub fn has_noted(&self, noted: &Noted) -> Result<(), JournalError> {
        self.has(&self.state.started.run, noted.last.clone(), &noted.place)
    }

    fn is_as_seen(&self, run: &str, seen: &Seen) -> Result<(), JournalError> {
        seen.read()?.map_or(Ok(()), |said| self.has(run, said, seen.path()))
    }

    fn has(
        &self,
        run: &str,
        (number, hash): (u64, String),
        noted: &Path,
    ) -> Result<(), JournalError> {
        let why = match self.hashes.get((number as usize).saturating_sub(1)) {
            Some(found) if *found == hash => return Ok(()),
            Some(_) => format!(
                "its event {number} is another one than the last that this machine has noted: they \
                 went different ways"
            ),
            None => format!(
                "this machine has seen {number} events of it, and the journal has {}",
                self.events.len()
            ),
        };
        Err(JournalError::Behind { run: run.to_owned(), why, seen: noted.to_owned() })
    }
}

/// A line about a run, without reading it whole.
pub struct Summary {
    pub run: String,
    pub started: RunStarted,
    pub began: Moment,
    pub last: Event,
    /// The last event that is not a message: it says how the run stands.
    pub stands: Event,
    pub holder: Option<Holder>,
}

/// The runs of a journal, newest first.
#[derive(Default)]
pub struct Runs {
    pub readable: Vec<Summary>,
    pub unreadable: Vec<Unreadable>,
}

/// A run of which not even its first and last events can be read. It hides no other.
pub struct Unreadable {
    pub run: String,
    /// When it is said to have begun.
    pub at: String,
    pub why: String,
}

impl Journal {
    /// Opens the journal in `folder` for writing; makes it if it is not there.
    pub fn open(folder: &Path) -> Result<Journal, JournalError> {
        let folder = &std::path::absolute(folder).map_err(JournalError::io(folder, "found"))?;
        if files::folder(folder)? {
            // Whoever could come to it may have left something in it.
            files::keep_all_private(folder)?;
        }
        for part in ["runs", "outbox"] {
            files::folder(&folder.join(part))?;
        }
        let path = Journal::database(folder)?;
        for beside in ["switchover.db-wal", "switchover.db-shm", "mac.key", "uuid"]
            .map(|name| folder.join(name))
        {
            match files::keep_private(&beside) {
                // It is made when it is needed, and the database's are taken away with the last
                // that has it open.
                Err(JournalError::Io { source, .. })
                    if source.kind() == std::io::ErrorKind::NotFound => {}
                kept => drop(kept?),
            }
        }
        // Made before SQLite opens it: closing a descriptor of an open database would drop SQLite's
        // locks.
        let found =
            files::open_private(&path)?.metadata().map_err(JournalError::io(&path, "read"))?;
        if found.len() == 0 {
            // Also what one that was killed has made: all that will be synced in it rests on this.
            files::sync_place(folder)?;
            files::sync_place(&path)?;
        }
        let db = Connection::open_with_flags(
            &path,
            OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
        )
        .map_err(JournalError::sql("opened"))?;
        let mut journal = Journal { db, folder: folder.to_owned(), _copy: None };
        // Closing must not write what a refusal found wrong into the database.
        journal.checkpoint_at_close(false)?;
        journal.configure()?;
        journal.migrate()?;
        journal.guards()?;
        Ok(journal)
    }

    /// Opens an existing journal to read it.
    pub fn open_to_read(folder: &Path) -> Result<Journal, JournalError> {
        let path = Journal::database(folder)?;
        if !path.is_file() {
            return Err(JournalError::Missing(folder.to_owned()));
        }
        let open = |path: &Path, copy: Option<Copy>| -> Result<Journal, JournalError> {
            let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
            let db =
                Connection::open_with_flags(path, flags).map_err(JournalError::sql("opened"))?;
            db.busy_timeout(PATIENCE).map_err(JournalError::sql("opened"))?;
            let journal = Journal { db, folder: folder.to_owned(), _copy: copy };
            if journal.version()? == 0 {
                // Killed before it was made: there is nothing in it, and there never was.
                journal.anchored_runs(|_, _| Ok(false))?;
                return Err(JournalError::Empty);
            }
            journal.guards()?;
            Ok(journal)
        };
        match open(&path, None) {
            // In WAL mode a reader, too, needs a file that it can write. Where it cannot make one,
            // it reads a copy.
            Err(JournalError::Sql { source, .. })
                if source.sqlite_error_code() == Some(rusqlite::ErrorCode::CannotOpen) =>
            {
                let copy = Copy::of(folder)?;
                open(&copy.folder.join("switchover.db"), Some(copy))
            }
            // Killed while it was made: it is to be rolled back, which needs to write.
            Err(JournalError::Sql { source, .. })
                if source.sqlite_error_code() == Some(rusqlite::ErrorCode::ReadOnly) =>
            {
                drop(Journal::open(folder)?);
                open(&path, None)
            }
            opened => opened,
        }
    }

    fn database(folder: &Path) -> Result<PathBuf, JournalError> {
        for name in ["switchover.db", "switchover.db-wal", "switchover.db-shm"] {
            files::refuse_symlink(&folder.join(name))?;
        }
        Ok(folder.join("switchover.db"))
    }

    fn configure(&self) -> Result<(), JournalError> {
        if rusqlite::version_number() < WANTED_SQLITE.0 {
            return Err(JournalError::OldSqlite {
                found: rusqlite::version().to_owned(),
                wanted: WANTED_SQLITE.1,
            });
        }
        self.db.busy_timeout(PATIENCE).map_err(JournalError::sql("opened"))?;
        let configure = || {
            self.db.execute_batch(
                "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; \
                 PRAGMA trusted_schema = OFF;",
            )
        };
        // Of several that switch a new database to WAL at once, SQLite lets some fail at once
        // instead of waiting.
        let is_busy = |error: &rusqlite::Error| {
            error.sqlite_error_code() == Some(rusqlite::ErrorCode::DatabaseBusy)
        };
        let begun = std::time::Instant::now();
        let mut configured = configure();
        while configured.as_ref().is_err_and(is_busy) && begun.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_millis(5));
            configured = configure();
        }
        configured.map_err(JournalError::sql("configured"))?;
        for (name, wanted) in [("journal_mode", "wal"), ("synchronous", "2")] {
            let found: rusqlite::types::Value = self
                .db
                .pragma_query_value(None, name, |row| row.get(0))
                .map_err(JournalError::sql("configured"))?;
            let found = match found {
                rusqlite::types::Value::Text(text) => text,
                rusqlite::types::Value::Integer(number) => number.to_string(),
                other => format!("{other:?}"),
            };
            if found != wanted {
                return Err(JournalError::Setting { name, found });
            }
        }
        Ok(())
    }

    fn version(&self) -> Result<i64, JournalError> {
        let found = self
            .db
            .pragma_query_value(None, "user_version", |row| row.get(0))
            .map_err(JournalError::sql("read"))?;
        let known = MIGRATIONS.len() as i64;
        if (0..=known).contains(&found) {
            Ok(found)
        } else {
            Err(JournalError::Newer { found, known })
        }
    }

    /// The guards against changes are where they were put, and say what they said.
    fn guards(&self) -> Result<(), JournalError> {
        for line in SCHEMA.lines().filter(|line| line.starts_with("CREATE TRIGGER ")) {
            let name = line.split_whitespace().nth(2).unwrap_or_default();
            let found: Option<String> = self
                .db
                .query_row(
                    "SELECT sql FROM sqlite_schema WHERE type = 'trigger' AND name = ?1",
                    [name],
                    |row| row.get(0),
                )
                .optional()
                .map_err(JournalError::sql("read"))?;
            if found.as_deref() != Some(line.trim_end_matches(';')) {
                return Err(JournalError::Unguarded(name.to_owned()));
            }
        }
        Ok(())
    }

    fn migrate(&mut self) -> Result<(), JournalError> {
        if self.version()? == MIGRATIONS.len() as i64 {
            return Ok(());
        }
        let transaction = self
            .db
            .transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)
            .map_err(JournalError::sql("migrated"))?;
        // Another process may have migrated it between the look and the lock.
        let from: i64 = transaction
            .pragma_query_value(None, "user_version", |row| row.get(0))
            .map_err(JournalError::sql("migrated"))?;
        for migration in &MIGRATIONS[from as usize..] {
            transaction.execute_batch(migration).map_err(JournalError::sql("migrated"))?;
        }
        transaction
            .pragma_update(None, "user_version", MIGRATIONS.len() as i64)
            .map_err(JournalError::sql("migrated"))?;
        transaction.commit().map_err(JournalError::sql("migrated"))
    }

    /// Whether the last one to close the database brings the WAL into it.
    fn checkpoint_at_close(&self, wanted: bool) -> Result<(), JournalError> {
        let done = self.db.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, !wanted);
        done.map(drop).map_err(JournalError::sql("configured"))
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

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

    /// The UUID of this journal, and of its copies; made when it is first asked for.
    pub fn uuid(&self) -> Result<String, JournalError> {
        Ok(files::hex(&files::random_once(&self.folder.join("uuid"))?[..16]))
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

    /// The key of this journal for digests of secrets; made when it is first asked for.
    pub fn mac_key(&self) -> Result<[u8; 32], JournalError> {
        files::random_once(&self.folder.join("mac.key"))
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

    /// Reads a run and holds it against its hashes, its anchor and the legal order.
    pub fn load(&self, run: &str) -> Result<Loaded, JournalError> {
        let altered = |why: String| JournalError::Altered { run: run.to_owned(), why };
        // Before the events: it is only ever set to what is committed, so what is read after it
        // cannot be behind it.
        let anchor = Anchor::read(&self.run_folder(run).join("anchor"))?;
        let mut rows = self
            .db
            .prepare(
                "SELECT number, at, event, step, body, hash FROM events WHERE run = ?1 ORDER \
                BY number",
            )
            .map_err(JournalError::sql("read"))?;
        let mut rows = rows.query([run]).map_err(JournalError::sql("read"))?;
        let (mut events, mut hashes) = (Vec::<Event>::new(), Vec::<String>::new());
        let mut state: Option<RunState> = None;
        while let Some(row) = rows.next().map_err(JournalError::sql("read"))? {
            let (number, at, kind, step, body, hash) =
                read_row(row).map_err(JournalError::sql("read"))?;
            let expected = events.len() as u64 + 1;
            if number != expected {
                return Err(altered(format!("after event {} stands event {number}", events.len())));
            }
            let before = hashes.last().map_or("", String::as_str);
            if chain(before, run, &body) != hash {
                return Err(altered(format!("event {number} does not match its hash")));
            }
            let mut event: Event = serde_json::from_str(&body)
                .map_err(|error| altered(format!("event {number} cannot be read: {error}")))?;
            if let Fact::RunAmended(amended) = &mut event.fact {
                amended.runbook = Some(self.definition(run, &amended.definition)?);
            }
            let agrees = event.number == number
                && event.at.to_string() == at
                && event::kind(&event.fact) == kind
                && event.fact.step().map(|step| &**step) == step.as_deref();
            if !agrees {
                return Err(altered(format!("the columns of event {number} differ from its body")));
            }
            match &mut state {
                None => {
                    state =
                        Some(RunState::new(self.first_definition(run, &event)?, &event).map_err(
                            |source| JournalError::Illegal { run: run.to_owned(), source },
                        )?)
                }
                Some(state) => state
                    .apply(&event)
                    .map_err(|source| JournalError::Illegal { run: run.to_owned(), source })?,
            }
            events.push(event);
            hashes.push(hash);
        }
        let Some(state) = state else {
            return Err(match anchor {
                Some((number, ..)) if number > 0 => {
                    altered(format!("its anchor knows {number} events, and the database none"))
                }
                _ => JournalError::NoRun(run.to_owned()),
            });
        };
        let anchored = match anchor {
            None => return Err(altered("its anchor is missing".to_owned())),
            Some((0, ..)) => 0,
            Some((number, hash, _)) => match hashes.get(number as usize - 1) {
                None => {
                    return Err(altered(format!(
                        "the anchor knows {number} events, but the database has only {}: commits \
                         were lost, or an older copy was restored",
                        events.len()
                    )));
                }
                Some(found) if *found != hash => {
                    return Err(altered(format!(
                        "event {number} is not the one that the anchor knows"
                    )));
                }
                Some(_) => number,
            },
        };
        Ok(Loaded { state, events, hashes, anchored, kept: Vec::new() })
    }

    fn first_definition(&self, run: &str, first: &Event) -> Result<Arc<Runbook>, JournalError> {
        match &first.fact {
            Fact::RunStarted(started) => self.definition(run, &started.definition),
            _ => Err(JournalError::Altered {
                run: run.to_owned(),
                why: "it does not begin with run_started".to_owned(),
            }),
        }
    }

    fn definition(&self, run: &str, digest: &Digest) -> Result<Arc<Runbook>, JournalError> {
        let altered = |why: String| JournalError::Altered { run: run.to_owned(), why };
        let body: Option<String> = self
            .db
            .query_row("SELECT body FROM definitions WHERE digest = ?1", [&digest.0], |row| {
                row.get(0)
            })
            .optional()
            .map_err(JournalError::sql("read"))?;
        let body = body.ok_or_else(|| altered("its definition is missing".to_owned()))?;
        if files::sha256(body.as_bytes()) != *digest {
            return Err(altered("its definition does not match the digest".to_owned()));
        }
        let runbook: Runbook = serde_json::from_str(&body)
            .map_err(|error| altered(format!("its definition cannot be read: {error}")))?;
        Ok(Arc::new(runbook.with_index()))
    }

    /// The runs.
    ///
    /// # Errors
    /// If the database cannot be read; a run that cannot be is [`Runs::unreadable`].
    pub fn runs(&self) -> Result<Runs, JournalError> {
        let mut statement = self
            .db
            .prepare(
                // From one run's first event to the next run's: what lies between is not read.
                "WITH RECURSIVE ids (run) AS (SELECT min(run) FROM events UNION ALL SELECT (SELECT \
                 min(run) FROM events WHERE run > ids.run) FROM ids WHERE ids.run IS NOT NULL) \
                 SELECT first.run, first.at, first.body, last.body, stands.body FROM ids JOIN \
                 events AS first ON first.run = ids.run AND first.number = 1 JOIN events AS last \
                 ON last.run = ids.run AND last.number = (SELECT max(number) FROM events WHERE run \
                 = ids.run) JOIN events AS stands ON stands.run = ids.run AND stands.number = \
                 (SELECT number FROM events WHERE run = ids.run AND event <> 'message_sent' ORDER \
                 BY number DESC LIMIT 1) ORDER BY first.at DESC, first.run",
            )
            .map_err(JournalError::sql("read"))?;
        let rows = statement
            .query_map([], |row| <(String, String, String, String, String)>::try_from(row))
            .map_err(JournalError::sql("read"))?;
        let mut runs = Runs::default();
        for row in rows {
            let (run, at, first, last, stands) = row.map_err(JournalError::sql("read"))?;
            match self.summary(&run, [&first, &last, &stands]) {
                Ok(summary) => runs.readable.push(summary),
                Err(error) => runs.unreadable.push(Unreadable { run, at, why: error.to_string() }),
            }
        }
        Ok(runs)
    }

    fn summary(&self, run: &str, bodies: [&str; 3]) -> Result<Summary, serde_json::Error> {
        let [first, last, stands] = bodies;
        let first: Event = serde_json::from_str(first)?;
        let Fact::RunStarted(started) = first.fact else {
            return Err(serde::de::Error::custom("it does not begin with run_started"));
        };
        Ok(Summary {
            run: run.to_owned(),
            started,
            began: first.at,
            last: serde_json::from_str(last)?,
            stands: serde_json::from_str(stands)?,
            holder: Held::holder(&self.run_folder(run).join("lock")),
        })
    }

    /// Whether a run of this id is known.
    pub fn has_run(&self, id: &str) -> Result<bool, JournalError> {
        let mut statement = self
            .db
            .prepare("SELECT 1 FROM events WHERE run = ?1 AND number = 1")
            .map_err(JournalError::sql("read"))?;
        statement.exists([id]).map_err(JournalError::sql("read"))
    }

    /// Every run that an anchor knows is in the database; one that is not may be the latest.
    ///
    /// # Errors
    /// [`JournalError::Altered`] with the run that is missing.
    pub fn is_complete(&self) -> Result<(), JournalError> {
        self.anchored_runs(|run, number| {
            let mut statement = self
                .db
                .prepare_cached("SELECT 1 FROM events WHERE run = ?1 AND number = ?2")
                .map_err(JournalError::sql("read"))?;
            statement.exists(params![run, number as i64]).map_err(JournalError::sql("read"))
        })
    }

    /// Asks of each run that was anchored with events whether it is there.
    fn anchored_runs(
        &self,
        is_there: impl Fn(&str, u64) -> Result<bool, JournalError>,
    ) -> Result<(), JournalError> {
        let Ok(folders) = std::fs::read_dir(self.folder.join("runs")) else { return Ok(()) };
        for folder in folders.filter_map(Result::ok) {
            let run = folder.file_name().to_string_lossy().into_owned();
            // A disk of its own has a `lost+found`, which is closed to most; what fills one may be
            // a file.
            if !run.bytes().all(|byte| byte.is_ascii_alphanumeric())
                || folder.file_type().is_ok_and(|found| !found.is_dir() && !found.is_symlink())
            {
                continue;
            }
            if let Some((number, ..)) = Anchor::read(&folder.path().join("anchor"))?
                && number > 0
                && !is_there(&run, number)?
            {
                let why = format!(
                    "its anchor knows {number} events, and the database does not have them: \
                     commits were lost, or an older copy was restored"
                );
                return Err(JournalError::Altered { run, why });
            }
        }
        Ok(())
    }

    /// The run that a person means: the latest, or the one whose id or name begins so.
    pub fn find(&self, wanted: Option<&str>) -> Result<String, JournalError> {
        if wanted.is_none() {
            self.is_complete()?;
        }
        let Runs { readable: runs, unreadable } = self.runs()?;
        let altered =
            |bad: &Unreadable| JournalError::Altered { run: bad.run.clone(), why: bad.why.clone() };
        let Some(prefix) = wanted else {
            // Whoever names none means the latest, and not the one before it.
            if let Some(bad) =
                unreadable.iter().find(|bad| runs.iter().all(|run| run.began.to_string() < bad.at))
            {
                return Err(altered(bad));
            }
            // A dry run after the real one must not stand in its way.
            let last =
                runs.iter().find(|summary| summary.started.is_carried_out()).or(runs.first());
            return last.map(|summary| summary.run.clone()).ok_or(JournalError::Empty);
        };
        if let Some(exact) = runs.iter().find(|summary| {
            summary.run == prefix || summary.started.name.as_deref() == Some(prefix)
        }) {
            return Ok(exact.run.clone());
        }
        let begins = |run: &str| run.starts_with(prefix);
        let mut found: Vec<String> =
            runs.into_iter().map(|summary| summary.run).filter(|run| begins(run)).collect();
        if let Some(bad) =
            unreadable.iter().find(|bad| bad.run == prefix || found.is_empty() && begins(&bad.run))
        {
            return Err(altered(bad));
        }
        match found.len() {
            0 => self.is_complete().and(Err(JournalError::NoRun(prefix.to_owned()))),
            1 => Ok(found.remove(0)),
            _ => Err(JournalError::Ambiguous { prefix: prefix.to_owned(), found }),
        }
    }

    /// The files of an attempt.
    pub fn attempt_files(
        &self,
        state: &RunState,
        ix: StepIx,
        direction: Direction,
        attempt: u32,
    ) -> AttemptFiles {
        Journal::files_of(&self.folder, state, ix, direction, attempt)
    }

    /// The same, of a journal that need not be open.
    pub fn files_of(
        folder: &Path,
        state: &RunState,
        ix: StepIx,
        direction: Direction,
        attempt: u32,
    ) -> AttemptFiles {
        let (RunStarted { run, uuid, .. }, runbook) = (&state.started, &state.runbook);
        let name: String = runbook
            .step(ix)
            .name()
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' })
            .take(60)
            .collect();
        // Runs of versions before the UUID have shorter names, of which two can be made to be the
        // same.
        let digits = if uuid.is_empty() { 6 } else { 32 };
        // A number would change its meaning with an amendment.
        let id = &files::sha256(runbook.step(ix).id.as_bytes()).0[..digits];
        let letter = &direction.word()[..1];
        AttemptFiles::new(folder, format!("runs/{run}/logs/{name}-{id}.{letter}{attempt}"))
    }

    /// Where steps of a run leave secrets for later ones.
    pub fn secrets_folder(&self, run: &str) -> PathBuf {
        self.run_folder(run).join("secrets")
    }

    pub fn run_folder(&self, run: &str) -> PathBuf {
        self.folder.join("runs").join(run)
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

type Row = (u64, String, String, Option<String>, String, String);

fn read_row(row: &rusqlite::Row) -> rusqlite::Result<Row> {
    Ok((
        row.get::<_, i64>(0)? as u64,
        row.get(1)?,
        row.get(2)?,
        row.get(3)?,
        row.get(4)?,
        row.get(5)?,
    ))
}

/// The hash of an event whose predecessor has the hash `before`.
fn chain(before: &str, run: &str, body: &str) -> String {
    let mut hasher = Sha256::new();
    for part in ["switchover event 1\n", before, "\n", run, "\n", body] {
        hasher.update(part);
    }
    files::hex(&hasher.finalize())
}

/// Writes a message into a folder below the journal's, such as the outbox; returns its path below
/// the journal's.
pub fn message_file(
    folder: &Path,
    place: &str,
    name: &str,
    bytes: &[u8],
) -> std::io::Result<String> {
    let file = format!("{place}/{name}");
    files::folder(&folder.join(place)).map_err(std::io::Error::other)?;
    files::write_whole(&folder.join(&file), bytes)?;
    Ok(file)
}
