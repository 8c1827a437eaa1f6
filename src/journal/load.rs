//! Reads a run back and holds it against its hashes, its anchor and the legal order of events.

use std::sync::Arc;

use rusqlite::OptionalExtension;

use super::anchor::Anchor;
use super::chain::chain;
use super::error::JournalError;
use super::files;
use super::loaded::Loaded;
use super::open::Journal;
use crate::run::{Digest, Event, Fact, RunState, event};
use crate::runbook::Runbook;

impl Journal {
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
