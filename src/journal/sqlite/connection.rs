//! Opening the database: for writing only with settings that lose no commit, and for reading also
//! where nothing can be written. Knows no rows.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rusqlite::config::DbConfig;
use rusqlite::types::Value;
use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::super::error::JournalError;
use super::super::files;
use super::super::store_error::StoreErrorKind;
use super::copy::Copy;

/// How long another process may hold the database.
const PATIENCE: Duration = Duration::from_secs(10);
/// Older ones can lose commits.
const WANTED_SQLITE: (i32, &str) = (3_051_003, "3.51.3");

/// An open database.
#[derive(Debug)]
pub struct Database {
    pub(super) db: Connection,
    // After the connection, which is closed first.
    _copy: Option<Copy>,
}

/// Why a database cannot be relied on, whatever is in it.
#[derive(Debug, thiserror::Error)]
enum Unfit {
    #[error(
        "SQLite {found} is linked, but {wanted} or newer is needed: older ones can lose commits"
    )]
    OldSqlite { found: &'static str, wanted: &'static str },
    #[error("the database does not keep the setting {name}: it says {found}")]
    Setting { name: &'static str, found: String },
}

impl Database {
    /// Opens the database in a journal's folder for writing; makes it if it is not there.
    ///
    /// # Errors
    /// If it cannot be opened or made, is somebody else's, does not keep its settings, or is of a
    /// newer version.
    pub fn open(folder: &Path) -> Result<Database, JournalError> {
        let path = path_in(folder)?;
        // The last that has it open takes these away.
        for beside in ["switchover.db-wal", "switchover.db-shm"] {
            files::keep_private_if_there(&folder.join(beside))?;
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
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let db =
            Connection::open_with_flags(&path, flags).map_err(JournalError::store("opened"))?;
        let mut database = Database { db, _copy: None };
        // Closing must not write what a refusal found wrong into the database.
        database.settle_at_close(false)?;
        database.configure()?;
        database.migrate()?;
        database.guards()?;
        Ok(database)
    }

    /// Opens an existing database to read it; `None` if whoever made it was killed before it was
    /// made: there is nothing in it, and there never was.
    ///
    /// # Errors
    /// [`JournalError::Missing`] if there is none; with the kind [`StoreErrorKind::ReadOnly`] if it
    /// has to be opened for writing first; or if it cannot be read.
    pub fn open_to_read(folder: &Path) -> Result<Option<Database>, JournalError> {
        let path = path_in(folder)?;
        if !path.is_file() {
            return Err(JournalError::Missing(folder.to_owned()));
        }
        match Database::read(&path, None) {
            // In WAL mode a reader, too, needs a file that it can write. Where it cannot make one,
            // it reads a copy.
            Err(JournalError::Store { source, .. })
                if source.kind == StoreErrorKind::CannotOpen =>
            {
                let copy = Copy::of(folder)?;
                Database::read(&copy.folder.join("switchover.db"), Some(copy))
            }
            opened => opened,
        }
    }

    fn read(path: &Path, copy: Option<Copy>) -> Result<Option<Database>, JournalError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let db = Connection::open_with_flags(path, flags).map_err(JournalError::store("opened"))?;
        db.busy_timeout(PATIENCE).map_err(JournalError::store("opened"))?;
        let database = Database { db, _copy: copy };
        if database.version()? == 0 {
            return Ok(None);
        }
        database.guards()?;
        Ok(Some(database))
    }

    /// Whether the last one to close the database brings the WAL into it.
    ///
    /// # Errors
    /// If that cannot be set.
    pub fn settle_at_close(&self, wanted: bool) -> Result<(), JournalError> {
        let done = self.db.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, !wanted);
        done.map(drop).map_err(JournalError::store("configured"))
    }

    fn configure(&self) -> Result<(), JournalError> {
        if rusqlite::version_number() < WANTED_SQLITE.0 {
            return Err(unfit(Unfit::OldSqlite {
                found: rusqlite::version(),
                wanted: WANTED_SQLITE.1,
            }));
        }
        self.db.busy_timeout(PATIENCE).map_err(JournalError::store("opened"))?;
        let configure = || {
            self.db.execute_batch(
                "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; \
                 PRAGMA trusted_schema = OFF;",
            )
        };
        // Of several that switch a new database to WAL at once, SQLite lets some fail at once
        // instead of waiting.
        let is_busy =
            |error: &rusqlite::Error| error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy);
        let begun = Instant::now();
        let mut configured = configure();
        while configured.as_ref().is_err_and(is_busy) && begun.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_millis(5));
            configured = configure();
        }
        configured.map_err(JournalError::store("configured"))?;
        for (name, wanted) in [("journal_mode", "wal"), ("synchronous", "2")] {
            let found: Value = self
                .db
                .pragma_query_value(None, name, |row| row.get(0))
                .map_err(JournalError::store("configured"))?;
            let found = match found {
                Value::Text(text) => text,
                Value::Integer(number) => number.to_string(),
                other => format!("{other:?}"),
            };
            if found != wanted {
                return Err(unfit(Unfit::Setting { name, found }));
            }
        }
        Ok(())
    }
}

/// The database's path; none of its files is a symbolic link.
fn path_in(folder: &Path) -> Result<PathBuf, JournalError> {
    for name in ["switchover.db", "switchover.db-wal", "switchover.db-shm"] {
        files::refuse_symlink(&folder.join(name))?;
    }
    Ok(folder.join("switchover.db"))
}

fn unfit(why: Unfit) -> JournalError {
    JournalError::Unfit(Box::new(why))
}
