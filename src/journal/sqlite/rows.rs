//! Rows in and out: events of runs, and the definitions that they speak of.

use rusqlite::{OptionalExtension, Row, params};

use super::super::chain::StoredEvent;
use super::super::error::JournalError;
use super::super::runs::StoredRun;
use super::Database;
use crate::run::Digest;

impl Database {
    /// Stores a definition under its digest, if it is not there.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn define(&self, digest: &Digest, body: &str) -> Result<(), JournalError> {
        let insert =
            "INSERT INTO definitions (digest, body) VALUES (?1, ?2) ON CONFLICT DO NOTHING";
        let done = self.db.execute(insert, params![digest.0, body]);
        done.map(drop).map_err(JournalError::store("written"))
    }

    /// What is stored under a digest, whether or not it has that.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn definition(&self, digest: &Digest) -> Result<Option<String>, JournalError> {
        self.db
            .query_row("SELECT body FROM definitions WHERE digest = ?1", [&digest.0], |row| {
                row.get(0)
            })
            .optional()
            .map_err(JournalError::store("read"))
    }

    /// Appends events of a run in one commit, durable when this returns.
    ///
    /// # Errors
    /// If they cannot be written; then none of them is there.
    pub fn append(&self, run: &str, events: &[StoredEvent]) -> Result<(), JournalError> {
        self.write(run, events).map_err(JournalError::store("written")).inspect_err(|_| {
            // A transaction that failed to commit may still be open; what it held is not in the
            // journal. That none is open is no failure.
            let _ = self.db.execute_batch("ROLLBACK");
        })
    }

    /// The statements that every step pays for: prepared once.
    fn write(&self, run: &str, events: &[StoredEvent]) -> rusqlite::Result<()> {
        self.db.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
        let mut insert = self.db.prepare_cached(
            "INSERT INTO events (run, number, at, event, step, body, hash) \
                VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        )?;
        for StoredEvent { number, at, kind, step, body, hash } in events {
            insert.execute(params![run, *number as i64, at, kind, step, body, hash])?;
        }
        self.db.prepare_cached("COMMIT")?.execute([])?;
        Ok(())
    }

    /// Hands the events of a run over, in their order, until one is refused.
    ///
    /// # Errors
    /// If they cannot be read, or what `take` says.
    pub fn each_event(
        &self,
        run: &str,
        mut take: impl FnMut(StoredEvent) -> Result<(), JournalError>,
    ) -> Result<(), JournalError> {
        let mut statement = self
            .db
            .prepare(
                "SELECT number, at, event, step, body, hash FROM events WHERE run = ?1 ORDER \
                BY number",
            )
            .map_err(JournalError::store("read"))?;
        let rows = statement.query_map([run], stored).map_err(JournalError::store("read"))?;
        for row in rows {
            take(row.map_err(JournalError::store("read"))?)?;
        }
        Ok(())
    }

    /// Number and hash of each event of a run, in their order.
    ///
    /// # Errors
    /// If they cannot be read.
    pub fn hashes(&self, run: &str) -> Result<Vec<(u64, String)>, JournalError> {
        let mut statement = self
            .db
            .prepare("SELECT number, hash FROM events WHERE run = ?1 ORDER BY number")
            .map_err(JournalError::store("read"))?;
        let pair = |row: &Row| Ok((row.get::<_, i64>(0)? as u64, row.get(1)?));
        statement
            .query_map([run], pair)
            .map_err(JournalError::store("read"))?
            .collect::<Result<_, _>>()
            .map_err(JournalError::store("read"))
    }

    /// The bodies of a run's beginnings and good ends of attempts, in their order.
    ///
    /// # Errors
    /// If they cannot be read.
    pub fn attempts(&self, run: &str) -> Result<Vec<String>, JournalError> {
        let mut statement = self
            .db
            .prepare_cached(
                "SELECT body FROM events WHERE run = ?1 AND event IN ('step_started', \
                'step_succeeded') ORDER BY number",
            )
            .map_err(JournalError::store("read"))?;
        statement
            .query_map([run], |row| row.get(0))
            .map_err(JournalError::store("read"))?
            .collect::<Result<_, _>>()
            .map_err(JournalError::store("read"))
    }

    /// Whether a run has an event of this number.
    ///
    /// # Errors
    /// If that cannot be read.
    pub fn has_event(&self, run: &str, number: u64) -> Result<bool, JournalError> {
        let mut statement = self
            .db
            .prepare_cached("SELECT 1 FROM events WHERE run = ?1 AND number = ?2")
            .map_err(JournalError::store("read"))?;
        statement.exists(params![run, number as i64]).map_err(JournalError::store("read"))
    }

    /// The runs, newest first.
    ///
    /// # Errors
    /// If they cannot be read.
    pub fn runs(&self) -> Result<Vec<StoredRun>, JournalError> {
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
            .map_err(JournalError::store("read"))?;
        let run = |row: &Row| {
            let (run, at, first, last, stands) = <(_, _, _, _, _)>::try_from(row)?;
            Ok(StoredRun { run, at, first, last, stands })
        };
        statement
            .query_map([], run)
            .map_err(JournalError::store("read"))?
            .collect::<Result<_, _>>()
            .map_err(JournalError::store("read"))
    }
}

fn stored(row: &Row) -> rusqlite::Result<StoredEvent> {
    Ok(StoredEvent {
        number: row.get::<_, i64>(0)? as u64,
        at: row.get(1)?,
        kind: row.get(2)?,
        step: row.get(3)?,
        body: row.get(4)?,
        hash: row.get(5)?,
    })
}
