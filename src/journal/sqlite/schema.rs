//! The tables, their guards against changes, and the way from an older version of them.

use rusqlite::{OptionalExtension, TransactionBehavior};

use super::super::error::JournalError;
use super::Database;

const SCHEMA: &str = include_str!("../../../journal/schema.sql");
/// Each entry brings the schema from the version of its index to the next.
const MIGRATIONS: &[&str] = &[SCHEMA];

impl Database {
    /// The version of what is there; 0 if nothing is.
    ///
    /// # Errors
    /// [`JournalError::Newer`] if this program does not know it.
    pub(super) fn version(&self) -> Result<i64, JournalError> {
        let found = self
            .db
            .pragma_query_value(None, "user_version", |row| row.get(0))
            .map_err(JournalError::store("read"))?;
        let known = MIGRATIONS.len() as i64;
        if (0..=known).contains(&found) {
            Ok(found)
        } else {
            Err(JournalError::Newer { found, known })
        }
    }

    /// Brings the tables to the newest version.
    ///
    /// # Errors
    /// If they are of a newer one than this program knows, or cannot be written.
    pub(super) fn migrate(&mut self) -> Result<(), JournalError> {
        if self.version()? == MIGRATIONS.len() as i64 {
            return Ok(());
        }
        let transaction = self
            .db
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(JournalError::store("migrated"))?;
        // Another process may have migrated it between the look and the lock.
        let from: i64 = transaction
            .pragma_query_value(None, "user_version", |row| row.get(0))
            .map_err(JournalError::store("migrated"))?;
        for migration in &MIGRATIONS[from as usize..] {
            transaction.execute_batch(migration).map_err(JournalError::store("migrated"))?;
        }
        transaction
            .pragma_update(None, "user_version", MIGRATIONS.len() as i64)
            .map_err(JournalError::store("migrated"))?;
        transaction.commit().map_err(JournalError::store("migrated"))
    }

    /// The guards against changes are where they were put, and say what they said.
    ///
    /// # Errors
    /// [`JournalError::Unguarded`] with the first that is not.
    pub(super) fn guards(&self) -> Result<(), JournalError> {
        for guard in SCHEMA.lines() {
            let Some(rest) = guard.strip_prefix("CREATE TRIGGER ") else { continue };
            let name = rest.split_once(' ').map_or(rest, |(name, _)| name);
            let found: Option<String> = self
                .db
                .query_row(
                    "SELECT sql FROM sqlite_schema WHERE type = 'trigger' AND name = ?1",
                    [name],
                    |row| row.get(0),
                )
                .optional()
                .map_err(JournalError::store("read"))?;
            if found.as_deref() != Some(guard.trim_end_matches(';')) {
                return Err(JournalError::Unguarded(name.to_owned()));
            }
        }
        Ok(())
    }
}
