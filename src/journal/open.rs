//! Opening a journal: its folder, and the database in it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, OptionalExtension};

use super::copy::Copy;
use super::error::JournalError;
use super::files;

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
    pub(super) folder: PathBuf,
    // After the connection, which is closed first.
    _copy: Option<Copy>,
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
    pub(super) fn checkpoint_at_close(&self, wanted: bool) -> Result<(), JournalError> {
        let done = self.db.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, !wanted);
        done.map(drop).map_err(JournalError::sql("configured"))
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }
}
