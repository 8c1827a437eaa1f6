//! Events as stores keep them: bodies that can be read back, each bound by its hash to all before
//! it. Knows no store.

use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest as _, Sha256};

use super::files;
use crate::run::{Event, event};

/// An event as it is stored. All but the hash stands in the body, too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredEvent {
    pub number: u64,
    pub at: String,
    pub kind: String,
    pub step: Option<String>,
    pub body: String,
    pub hash: String,
}

impl StoredEvent {
    /// An event of a run, behind one that has the hash `before`; before the first stands the empty
    /// text.
    ///
    /// # Errors
    /// If it could not be read back as it is.
    pub fn of(event: &Event, run: &str, before: &str) -> Result<StoredEvent, serde_json::Error> {
        let body = written(event)?;
        let hash = chain(before, run, &body);
        Ok(StoredEvent::with(event, body, hash))
    }

    fn with(event: &Event, body: String, hash: String) -> StoredEvent {
        StoredEvent {
            number: event.number,
            at: event.at.to_string(),
            kind: event::kind(&event.fact).to_owned(),
            step: event.fact.step().map(ToString::to_string),
            body,
            hash,
        }
    }

    /// Whether the hash binds the body to an event of the run that has the hash `before`.
    pub fn follows(&self, run: &str, before: &str) -> bool {
        chain(before, run, &self.body) == self.hash
    }

    /// Whether what stands beside the body says the same as `event`, which was read from it.
    pub fn agrees_with(&self, event: &Event) -> bool {
        let StoredEvent { number, at, kind, step, body: _, hash: _ } = self;
        event.number == *number
            && event.at.to_string() == *at
            && event::kind(&event.fact) == kind
            && event.fact.step().map(|step| &**step) == step.as_deref()
    }
}

/// What is to be stored, if it can be read back as it is: what cannot would make the run
/// unreadable.
///
/// # Errors
/// If it cannot be written, or would be read back as something else.
pub fn written<T: Serialize + DeserializeOwned>(value: &T) -> Result<String, serde_json::Error> {
    let text = serde_json::to_string(value)?;
    let back: T = serde_json::from_str(&text)?;
    if serde_json::to_string(&back)? == text {
        Ok(text)
    } else {
        Err(serde::de::Error::custom("it is read back as something else"))
    }
}

/// The hash of an event whose predecessor has the hash `before`.
fn chain(before: &str, run: &str, body: &str) -> String {
    let mut hasher = Sha256::new();
    for part in ["switchover event 1\n", before, "\n", run, "\n", body] {
        hasher.update(part);
    }
    files::hex(&hasher.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::{Fact, Moment, Person};

    fn event(number: u64) -> Event {
        let (because, actor) = ("no".to_owned(), Person("p".to_owned()));
        Event { number, at: Moment(number as i64), fact: Fact::CancelBegan { because, actor } }
    }

    #[test]
    fn a_hash_binds_run_order_and_body() {
        let first = StoredEvent::of(&event(1), "r", "").unwrap();
        let second = StoredEvent::of(&event(2), "r", &first.hash).unwrap();
        assert!(first.follows("r", "") && second.follows("r", &first.hash));
        assert!(!first.follows("s", "") && !second.follows("r", ""));
        let other = StoredEvent { body: second.body.replace("no", "yes"), ..second };
        assert!(!other.follows("r", &first.hash));
    }

    #[test]
    fn what_stands_beside_the_body_is_held_against_it() {
        let fact = Fact::UndoPassed { step: "a/b".into() };
        let event = Event { fact, ..event(7) };
        let stored = StoredEvent::of(&event, "r", "").unwrap();
        assert!(stored.agrees_with(&event));
        let others = [
            StoredEvent { number: 8, ..stored.clone() },
            StoredEvent { at: Moment(8).to_string(), ..stored.clone() },
            StoredEvent { kind: "step_saw".to_owned(), ..stored.clone() },
            StoredEvent { step: None, ..stored.clone() },
        ];
        assert!(others.iter().all(|other| !other.agrees_with(&event)));
    }
}
