//! The figures of a benchmark: what was seen, what is wanted, and how much worse is broken. It does
//! not know what is measured.

use std::hint::black_box;
use std::time::Instant;

/// A short run measures a build that is not optimized and small cases. It fails only on what is
/// broken: a figure this many times worse than such a run usually shows.
const BROKEN: f64 = 6.0;

/// Collects figures, prints them, and says whether one of them is broken.
pub struct Figures {
    is_short: bool,
    rows: Vec<Row>,
}

struct Row {
    what: String,
    seen: f64,
    wanted: Wanted,
    unit: &'static str,
    /// What a short run usually shows.
    usual: f64,
}

/// The bound of a figure.
#[derive(Clone, Copy)]
pub enum Wanted {
    AtMost(f64),
    AtLeast(f64),
}

impl Figures {
    pub fn new(is_short: bool) -> Figures {
        Figures { is_short, rows: Vec::new() }
    }

    /// Adds a figure. `usual` is what a short run usually shows of it.
    pub fn add(&mut self, what: &str, seen: f64, wanted: Wanted, unit: &'static str, usual: f64) {
        self.rows.push(Row { what: what.to_owned(), seen, wanted, unit, usual });
    }

    /// Prints the table.
    ///
    /// # Panics
    /// If a short run found a figure that is broken.
    pub fn print(&self) {
        let mut broken = Vec::new();
        for Row { what, seen, wanted, unit, usual } in &self.rows {
            let (is_kept, bound, is_broken) = match *wanted {
                Wanted::AtMost(most) => {
                    (*seen <= most, format!("at most {most:>7.2}"), *seen > usual * BROKEN)
                }
                Wanted::AtLeast(least) => {
                    (*seen >= least, format!("at least {least:>6.2}"), *seen < usual / BROKEN)
                }
            };
            let verdict = match (self.is_short, is_kept, is_broken) {
                (true, _, true) => "BROKEN",
                (true, _, false) => "works",
                (false, true, _) => "kept",
                (false, false, _) => "MISSED",
            };
            let bound = if self.is_short { format!("usually {usual:>8.2}") } else { bound };
            println!("{what:<58} {seen:>9.2}  {bound} {unit:<20} {verdict}");
            if self.is_short && is_broken {
                broken.push(what);
            }
        }
        assert!(broken.is_empty(), "more than {BROKEN} times worse than usual: {broken:?}");
    }
}

/// Seconds that this machine, at this moment, takes for a fixed amount of arithmetic: the unit of
/// figures that wait for no disk and no process.
pub fn unit_of_work() -> f64 {
    let once = || {
        let begun = Instant::now();
        let mut state = black_box(0x9e37_79b9_7f4a_7c15_u64);
        for _ in 0..black_box(20_000_000) {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
        }
        black_box(state);
        begun.elapsed().as_secs_f64()
    };
    (0..3).map(|_| once()).fold(f64::INFINITY, f64::min)
}
