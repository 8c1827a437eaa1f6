//! Where the facts are kept: one store for all runs, an anchor and a lock per run, and the files
//! that commands write, all in one folder. Knows how to keep facts, not what they mean beyond
//! their legal order. What a store is stands in `sqlite/`; the rest holds for any.

mod anchor;
mod chain;
mod error;
mod fallback;
mod files;
mod head;
mod heads;
mod history;
mod loaded;
mod lock;
mod open;
mod place;
mod runs;
mod sqlite;
mod store_error;
mod verify;

pub use anchor::Anchor;
pub use error::JournalError;
pub use files::{AttemptFiles, digest_of, random_hex, sha256};
pub use head::Head;
pub use history::Durations;
pub use loaded::{Loaded, Noted};
pub use lock::{Held, Holder};
pub use open::Journal;
pub use place::message_file;
pub use runs::{Runs, Summary, Unreadable};
pub use store_error::{StoreError, StoreErrorKind};
