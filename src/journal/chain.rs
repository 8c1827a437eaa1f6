//! The chain of hashes: each event's binds all before it. Knows no store.

use sha2::{Digest as _, Sha256};

use super::files;

/// The hash of an event whose predecessor has the hash `before`.
pub(super) fn chain(before: &str, run: &str, body: &str) -> String {
    let mut hasher = Sha256::new();
    for part in ["switchover event 1\n", before, "\n", run, "\n", body] {
        hasher.update(part);
    }
    files::hex(&hasher.finalize())
}
