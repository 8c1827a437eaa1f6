//! Chance that a seed repeats.

use std::hash::{BuildHasher, Hasher, RandomState};

/// xorshift64*, as Vigna describes it in "An experimental exploration of Marsaglia's xorshift
/// generators, scrambled" (2016).
pub struct Chance {
    state: u64,
}

impl Chance {
    pub fn new(seed: u64) -> Chance {
        Chance { state: seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1 }
    }

    /// A seed that nobody chose, short enough to be typed.
    pub fn seed() -> u64 {
        RandomState::new().build_hasher().finish() % 1_000_000_000
    }

    /// A number below this one.
    pub fn below(&mut self, limit: usize) -> usize {
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        (self.state.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % limit
    }

    /// One of these.
    pub fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())]
    }

    /// Whether something happens that happens so often in a hundred times.
    pub fn percent(&mut self, often: usize) -> bool {
        self.below(100) < often
    }
}
