//! Makes facts durable, and shows them. What may be begun because of them is decided elsewhere.

use tokio::io::AsyncBufReadExt;

use super::session::{EmptyLog, Session};
use crate::drive::Commit;
use crate::effect::{Attempt, New};
use crate::journal::JournalError;
use crate::run::{Event, Fact, StepStarted};

impl Session<'_> {
    pub fn commit(&mut self, commit: Commit) -> Result<(), JournalError> {
        let Commit { events, is_anchored, needs_keeper } = commit;
        // Before anything says that a command begins: only then can it be proved later that one did
        // not.
        if needs_keeper {
            let new = self.keeper.ensure(self.state().head);
            if let Err(error) = new.and_then(|new| new.map_or(Ok(()), |new| self.meet(new))) {
                self.observer.note(&format!(
                    "the process that begins commands could not be started: {error}"
                ));
            }
        }
        events.iter().try_for_each(|event| self.is_new(event))?;
        if let Err(error) = self.journal.append(&mut self.head, &events) {
            if self.journal.keep(&self.head, &events) {
                self.observer.note(
                    "the last results could not be journaled; they are kept beside the \
                        journal, and the next session takes them up",
                );
            }
            return Err(error);
        }
        if is_anchored {
            self.journal.anchor(&mut self.head)?;
        }
        for found in self.found.drain(..) {
            // An action that was given up does not listen any more.
            let _ = found.send(());
        }
        if !events.is_empty() {
            self.observer.committed(self.drive.state());
        }
        self.unshown = events;
        Ok(())
    }

    /// Whether no keeper has begun this attempt already: if one has, the journal lost what it had
    /// of it.
    fn is_new(&self, event: &Event) -> Result<(), JournalError> {
        let Fact::StepStarted(StepStarted { step, attempt, key, .. }) = &event.fact else {
            return Ok(());
        };
        if !self.left.has_begun(&Attempt { key: key.clone(), number: *attempt }) {
            return Ok(());
        }
        let why = format!(
            "the record of its commands has attempt {attempt} of {step}, which the journal does \
             not know: commits were lost, or an older copy was restored"
        );
        Err(JournalError::Altered { run: self.head.run.clone(), why })
    }

    /// Tells who watches what was committed, once everything is begun that follows from it.
    pub fn show(&mut self) {
        let events = std::mem::take(&mut self.unshown);
        for event in &events {
            self.observer.event(self.drive.state(), event);
        }
        self.remove_empty_logs(&events);
    }

    /// Most commands write nothing to one of the two. What a failed one left running may still hold
    /// its empty log, by which the next attempt knows of it.
    fn remove_empty_logs(&mut self, events: &[Event]) {
        if events.is_empty() {
            return;
        }
        let has_failed = |session: &Session, log: &EmptyLog| {
            let (ix, direction) = log.pair;
            events.iter().any(|event| match &event.fact {
                Fact::StepFailed(failed) => {
                    (failed.attempt, failed.direction) == (log.attempt, direction)
                        && failed.step == session.id(ix)
                }
                _ => false,
            })
        };
        for log in std::mem::take(&mut self.empty_logs) {
            let is_empty = || log.path.metadata().is_ok_and(|found| found.len() == 0);
            if !has_failed(self, &log) && is_empty() {
                // One that stays harms nothing.
                drop(std::fs::remove_file(&log.path));
            }
        }
    }

    /// Listens to a new keeper, and reads what it records.
    fn meet(&mut self, New { socket, record }: New) -> std::io::Result<()> {
        self.hear_keeper(tokio::net::UnixStream::from_std(socket)?);
        // Without its record nobody could tell what it left: then rather none.
        self.left.add(&record).inspect_err(|_| self.keeper.kill())
    }

    /// Passes on what a keeper says, to its end.
    fn hear_keeper(&self, socket: tokio::net::UnixStream) {
        let keeper = self.keeper.clone();
        tokio::spawn(async move {
            let mut lines = tokio::io::BufReader::new(socket).split(b'\n');
            while let Ok(Some(line)) = lines.next_segment().await {
                keeper.hear(&line);
            }
            keeper.lose();
        });
    }
}
