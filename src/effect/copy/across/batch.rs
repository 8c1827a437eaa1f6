//! Rows on their way from one end to the other, as many as fit into a moderate piece of memory.

use std::ops::Range;

/// How much of them is written at once. One row may be larger.
const FULL: usize = 512 * 1024;

/// Rows of so many values each.
#[derive(Debug)]
pub struct Batch {
    width: usize,
    bytes: Vec<u8>,
    values: Vec<Option<Range<usize>>>,
}

impl Batch {
    pub fn new(width: usize) -> Batch {
        Batch { width, bytes: Vec::new(), values: Vec::new() }
    }

    /// Adds the next value.
    pub fn push(&mut self, value: Option<&[u8]>) {
        let begin = self.bytes.len();
        self.bytes.extend_from_slice(value.unwrap_or_default());
        self.values.push(value.map(|_| begin..self.bytes.len()));
    }

    pub fn clear(&mut self) {
        self.bytes.clear();
        self.values.clear();
        // A row that was very large is not to cost its memory for ever.
        self.bytes.shrink_to(2 * FULL);
    }

    pub fn is_full(&self) -> bool {
        self.bytes.len() + self.values.len() * 16 >= FULL
    }

    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    pub fn len(&self) -> usize {
        self.values.len() / self.width.max(1)
    }

    pub fn rows(&self) -> impl Iterator<Item = impl Iterator<Item = Option<&[u8]>>> {
        self.values
            .chunks(self.width.max(1))
            .map(|row| row.iter().map(|value| value.clone().map(|range| &self.bytes[range])))
    }

    pub fn value(&self, row: usize, column: usize) -> Option<&[u8]> {
        self.values.get(row * self.width + column)?.clone().map(|range| &self.bytes[range])
    }
}
