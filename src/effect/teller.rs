//! What an action tells the engine while it runs: what it found before it changes anything, how far
//! it is, and what readings on the way say.

use std::sync::mpsc::{SyncSender, sync_channel};

use serde_json::Value as Json;

use super::EffectError;
use crate::runbook::traffic::Says;

/// Told by an action's thread.
#[derive(Debug)]
pub enum Told {
    /// What was there before it changes anything; `durable` is answered once that is journaled.
    Saw { what: Json, durable: SyncSender<()> },
    /// From where the next attempt goes on. What was done up to there is durable where it was done.
    Cursor(String),
    /// What an analysis says now of traffic at a weight, in percent.
    Reading { analysis: String, percent: u8, says: Says, words: String },
    /// For people.
    Progress(String),
}

/// The action's way to the engine.
pub struct Teller(Box<dyn Fn(Told) + Send + Sync>);

impl Teller {
    pub fn new(tell: impl Fn(Told) + Send + Sync + 'static) -> Teller {
        Teller(Box::new(tell))
    }

    /// Tells what was found before anything is changed, and waits until it is durable: only then
    /// can it be restored for certain.
    ///
    /// # Errors
    /// If it cannot be journaled; nothing may be changed then.
    pub fn saw(&self, what: Json) -> Result<(), EffectError> {
        let (durable, is_durable) = sync_channel(1);
        (self.0)(Told::Saw { what, durable });
        is_durable.recv().map_err(|_| {
            EffectError::before("what was found could not be journaled, so nothing was changed")
        })
    }

    /// Tells from where the next attempt goes on.
    pub fn cursor(&self, cursor: String) {
        (self.0)(Told::Cursor(cursor));
    }

    /// Tells what an analysis says that said something else before.
    pub fn reading(&self, analysis: &str, percent: u8, says: Says, words: &str) {
        (self.0)(Told::Reading {
            analysis: analysis.to_owned(),
            percent,
            says,
            words: words.to_owned(),
        });
    }

    /// Tells people how far it is.
    pub fn progress(&self, words: String) {
        (self.0)(Told::Progress(words));
    }
}
