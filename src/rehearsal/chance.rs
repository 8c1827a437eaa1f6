//! Chance that is the same for the same seed: SplitMix64, by Steele, Lea and Flood, "Fast
//! splittable pseudorandom number generators" (OOPSLA 2014).

use crate::runbook::Span;

pub struct Chance(u64);

/// How far durations spread if nobody knows: with this standard deviation of its logarithm, 5 of
/// 100 take more than 1.8 times what is expected.
pub const SPREAD: f64 = 0.35;

impl Chance {
    /// The chance of one run of many: the same whatever the others do.
    pub fn of(seed: u64, run: u64) -> Chance {
        let mut runs = Chance(seed ^ run.wrapping_mul(0x2545_f491_4f6c_dd1d));
        Chance(runs.next())
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// In 0..1, without either end.
    fn share(&mut self) -> f64 {
        ((self.next() >> 11) as f64 + 0.5) / (1u64 << 53) as f64
    }

    /// A duration of which `expected` is the median, log-normally distributed, with this standard
    /// deviation of its logarithm.
    pub fn around(&mut self, expected: Span, spread: f64) -> Span {
        // Box and Muller, "A note on the generation of random normal deviates" (1958).
        let normal =
            (-2.0 * self.share().ln()).sqrt() * (std::f64::consts::TAU * self.share()).cos();
        Span::from_millis((expected.as_millis() as f64 * (spread * normal).exp()) as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_durations_around_what_is_expected() {
        let durations = |seed| {
            let mut chance = Chance::of(seed, 3);
            (0..10_001)
                .map(|_| chance.around(Span::from_secs(100), SPREAD).as_millis())
                .collect::<Vec<_>>()
        };
        let mut first = durations(7);
        assert_eq!(first, durations(7));
        assert_ne!(first, durations(8));
        assert_ne!(
            first[0],
            Chance::of(7, 4).around(Span::from_secs(100), SPREAD).as_millis(),
            "each run has its own"
        );
        first.sort_unstable();
        assert!((95_000..105_000).contains(&first[5_000]), "the median is {}", first[5_000]);
        assert!(
            (170_000..190_000).contains(&first[9_500]),
            "the 95th percentile is {}",
            first[9_500]
        );
    }
}
