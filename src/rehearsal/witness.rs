//! What stand-ins wrote down of themselves, outside of the journal: who began and who ended, in
//! this order. Knows neither journal nor state.

use std::collections::BTreeMap;

use crate::runbook::{Direction, StepIx};

/// Beginnings and ends in the order in which they happened.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Witness {
    pub lines: Vec<Line>,
    places: BTreeMap<(What, StepIx, Direction), Vec<usize>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    pub what: What,
    pub step: StepIx,
    pub direction: Direction,
    pub attempt: u32,
    /// The idempotency key.
    pub key: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum What {
    Begin,
    End,
}

impl Witness {
    /// Reads the lines that stand-ins write.
    ///
    /// # Errors
    /// If one of them is not such a line.
    pub fn read(text: &str) -> Result<Witness, String> {
        let line = |text: &str| -> Option<Line> {
            let mut words = text.splitn(5, ' ');
            let what = match words.next()? {
                "begin" => What::Begin,
                "end" => What::End,
                _ => return None,
            };
            let step = StepIx(words.next()?.parse().ok()?);
            let word = words.next()?;
            let direction =
                Direction::ALL.into_iter().find(|direction| direction.word() == word)?;
            Some(Line {
                what,
                step,
                direction,
                attempt: words.next()?.parse().ok()?,
                key: words.next()?.to_owned(),
            })
        };
        text.lines()
            .map(|text| {
                line(text).ok_or_else(|| {
                    format!("the witness has a line that no stand-in writes: {text}")
                })
            })
            .collect()
    }

    /// The places of a step's beginnings or ends in one direction.
    pub fn places(&self, what: What, step: StepIx, direction: Direction) -> &[usize] {
        self.places.get(&(what, step, direction)).map_or(&[], Vec::as_slice)
    }

    /// Whether a step came to its end in this direction.
    pub fn saw(&self, step: StepIx, direction: Direction) -> bool {
        !self.places(What::End, step, direction).is_empty()
    }
}

impl FromIterator<Line> for Witness {
    fn from_iter<I: IntoIterator<Item = Line>>(lines: I) -> Witness {
        let lines: Vec<Line> = lines.into_iter().collect();
        let mut places: BTreeMap<_, Vec<usize>> = BTreeMap::new();
        for (at, line) in lines.iter().enumerate() {
            places.entry((line.what, line.step, line.direction)).or_default().push(at);
        }
        Witness { lines, places }
    }
}
