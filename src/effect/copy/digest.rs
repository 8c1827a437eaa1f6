//! What is compared of a range. Both sums are made by one process, so that the hash need only be
//! quick and the same within it.

use std::hash::{DefaultHasher, Hasher as _};

/// How many rows, and the sum of their digests, which does not depend on their order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sum {
    pub rows: u64,
    pub digest: u64,
}

impl Sum {
    /// A row as it is sent.
    pub fn add(&mut self, row: &[u8]) {
        let mut hasher = DefaultHasher::new();
        hasher.write(row);
        self.take(&hasher);
    }

    /// A row whose values were put into a hasher one after another.
    pub fn take(&mut self, row: &DefaultHasher) {
        self.rows += 1;
        self.digest = self.digest.wrapping_add(row.finish());
    }
}
