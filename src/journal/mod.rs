//! Where the facts are kept: one SQLite database for all runs, an anchor and a lock per run, and
//! the files that commands write, all in one folder. Knows how to keep facts, not what they mean
//! beyond their legal order.

mod anchor;
mod copy;
mod error;
mod fallback;
mod files;
mod heads;
mod history;
mod lock;
mod store;

pub use anchor::Anchor;
pub use error::JournalError;
pub use files::{AttemptFiles, digest_of, random_hex, sha256};
pub use history::Durations;
pub use lock::{Held, Holder};
pub use store::{Head, Journal, Loaded, Runs, Summary, Unreadable, message_file};
