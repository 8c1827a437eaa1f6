//! Reads a run back and holds it against its hashes, its anchor and the legal order of events.
//! Knows neither how a store keeps them nor how it hands them over.

use std::sync::Arc;

use super::anchor::Anchor;
use super::chain::StoredEvent;
use super::error::JournalError;
use super::files;
use super::loaded::Loaded;
use super::open::Journal;
use crate::run::{Digest, Event, Fact, RunState};
use crate::runbook::Runbook;

impl Journal {
    /// Reads a run and holds it against its hashes, its anchor and the legal order.
    ///
    /// # Errors
    /// If it is not there, is not as it was written, or cannot be read.
    pub fn load(&self, run: &str) -> Result<Loaded, JournalError> {
        // Before the events: it is only ever set to what is committed, so what is read after it
        // cannot be behind it.
        let anchor = Anchor::read(&self.run_folder(run).join("anchor"))?;
        let mut found = Verification::of(run);
        self.store.each_event(run, |stored| {
            found.take(&stored, |digest| self.store.definition(digest))
        })?;
        found.end(anchor.map(|(number, hash, _)| (number, hash)))
    }
}

/// A run as far as it was found whole.
struct Verification<'a> {
    run: &'a str,
    state: Option<RunState>,
    events: Vec<Event>,
    hashes: Vec<String>,
}

impl<'a> Verification<'a> {
    fn of(run: &'a str) -> Verification<'a> {
        Verification { run, state: None, events: Vec::new(), hashes: Vec::new() }
    }

    /// Takes the next event; `stored_under` reads a definition.
    fn take(
        &mut self,
        stored: &StoredEvent,
        stored_under: impl Fn(&Digest) -> Result<Option<String>, JournalError>,
    ) -> Result<(), JournalError> {
        let number = stored.number;
        let known = self.events.len() as u64;
        if number != known + 1 {
            return Err(self.altered(format!("after event {known} stands event {number}")));
        }
        let before = self.hashes.last().map_or("", String::as_str);
        if !stored.follows(self.run, before) {
            return Err(self.altered(format!("event {number} does not match its hash")));
        }
        let mut event: Event = serde_json::from_str(&stored.body)
            .map_err(|error| self.altered(format!("event {number} cannot be read: {error}")))?;
        let run = self.run;
        let definition = |digest: &Digest| definition(run, digest, stored_under(digest)?);
        if let Fact::RunAmended(amended) = &mut event.fact {
            amended.runbook = Some(definition(&amended.definition)?);
        }
        if !stored.agrees_with(&event) {
            let why = format!("the columns of event {number} differ from its body");
            return Err(self.altered(why));
        }
        let illegal = |source| JournalError::Illegal { run: run.to_owned(), source };
        match (&mut self.state, &event.fact) {
            (Some(state), _) => state.apply(&event).map_err(illegal)?,
            (first, Fact::RunStarted(started)) => {
                let runbook = definition(&started.definition)?;
                *first = Some(RunState::new(runbook, &event).map_err(illegal)?);
            }
            (None, _) => {
                return Err(self.altered("it does not begin with run_started".to_owned()));
            }
        }
        self.events.push(event);
        self.hashes.push(stored.hash.clone());
        Ok(())
    }

    /// All events are there; the anchor may know that there should be more.
    fn end(self, anchor: Option<(u64, String)>) -> Result<Loaded, JournalError> {
        let Some(state) = self.state else {
            return Err(match anchor {
                Some((number, _)) if number > 0 => {
                    self.altered(format!("its anchor knows {number} events, and the database none"))
                }
                _ => JournalError::NoRun(self.run.to_owned()),
            });
        };
        let (run, events, hashes) = (self.run, self.events, self.hashes);
        let anchored = match anchor {
            None => return Err(altered(run, "its anchor is missing".to_owned())),
            Some((0, _)) => 0,
            Some((number, hash)) => match hashes.get(number as usize - 1) {
                None => {
                    let why = format!(
                        "the anchor knows {number} events, but the database has only {}: commits \
                         were lost, or an older copy was restored",
                        events.len()
                    );
                    return Err(altered(run, why));
                }
                Some(found) if *found != hash => {
                    let why = format!("event {number} is not the one that the anchor knows");
                    return Err(altered(run, why));
                }
                Some(_) => number,
            },
        };
        Ok(Loaded { state, events, hashes, anchored, kept: Vec::new() })
    }

    fn altered(&self, why: String) -> JournalError {
        altered(self.run, why)
    }
}

/// The runbook in what is stored under its digest.
fn definition(
    run: &str,
    digest: &Digest,
    stored: Option<String>,
) -> Result<Arc<Runbook>, JournalError> {
    let body = stored.ok_or_else(|| altered(run, "its definition is missing".to_owned()))?;
    if files::sha256(body.as_bytes()) != *digest {
        return Err(altered(run, "its definition does not match the digest".to_owned()));
    }
    let runbook: Runbook = serde_json::from_str(&body)
        .map_err(|error| altered(run, format!("its definition cannot be read: {error}")))?;
    Ok(Arc::new(runbook.with_index()))
}

fn altered(run: &str, why: String) -> JournalError {
    JournalError::Altered { run: run.to_owned(), why }
}
