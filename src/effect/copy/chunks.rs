//! A table in chunks, several at a time. The cursor is the last key up to which everything is
//! durable; what is durable and not yet compared stands in it too.

use std::collections::BTreeMap;
use std::sync::mpsc::sync_channel;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::throttle::Throttle;
use super::{Copy, Key, Pair, Progress, Range, Reached, Sum, Table, as_text};
use crate::effect::{EffectError, Stopper, Teller};

/// How many rows a chunk has at first and at most, if the author does not say, and how long it may
/// take to be made larger.
const FIRST: u32 = 50_000;
const MOST: u32 = 1_600_000;
const MOMENT: Duration = Duration::from_millis(250);

/// The way of one table.
pub struct Course<'a, P: Pair> {
    pub pair: &'a P,
    pub copy: &'a Copy<String>,
    pub table: &'a Table<P::Shape>,
    pub throttle: &'a Throttle<'a>,
    pub stopper: &'a Stopper,
    pub teller: &'a Teller,
}

/// What is known of the chunks of a table.
struct Chunks {
    /// Where the next one begins, and its number.
    next: Option<Key>,
    number: u64,
    /// How many rows it has.
    rows: u32,
    is_over: bool,
    /// Those that are done while one before is not.
    done: BTreeMap<u64, (Key, u64)>,
    /// Those that are not compared yet, but will be.
    unchecked: BTreeMap<u64, Range>,
    /// How many are done without a gap.
    whole: u64,
    progress: Progress,
    error: Option<EffectError>,
    begun: Instant,
    /// How many rows were there before, and about how many there are.
    before: u64,
    estimate: Option<u64>,
}

/// A chunk that is durable, with what the source had in it.
type Copied = (u64, Range, Sum);

impl<P: Pair> Course<'_, P> {
    /// Copies the rest of the table.
    pub fn copy(&self, mut known: Progress, reached: &Reached) -> Result<Progress, EffectError> {
        if !known.unchecked.is_empty() {
            let mut lane = self.pair.lane()?;
            for range in std::mem::take(&mut known.unchecked) {
                self.compared(&mut lane, &range)?;
            }
        }
        let chunks = Mutex::new(self.chunks(known));
        let tell = |progress: &Progress| -> Result<(), EffectError> {
            let mut now = reached.clone();
            now.tables.insert(self.table.name.clone(), progress.clone());
            self.teller.cursor(as_text(&now)?);
            Ok(())
        };
        self.at_once(&chunks, &|| {
            let (send, receive) = sync_channel::<Copied>(1);
            std::thread::scope(|scope| {
                let is_aside = self.copy.verify && self.pair.is_checked_aside();
                if is_aside {
                    let chunks = &chunks;
                    scope.spawn(move || {
                        let checked = self.pair.lane().and_then(|mut lane| {
                            receive.iter().try_for_each(|(number, range, source)| {
                                self.check(chunks, &mut lane, number, &range, source)
                            })
                        });
                        note(chunks, checked);
                    });
                }
                let copied = self.pair.lane().and_then(|mut lane| {
                    while let Some((number, range)) = self.take(&chunks, &mut lane)? {
                        let begun = Instant::now();
                        let source =
                            self.pair.copy(&mut lane, self.table, &range, self.copy.verify)?;
                        tell(&self.finish(&chunks, number, &range, source.rows, begun))?;
                        if is_aside {
                            // Nobody takes it any more if one was not the same.
                            let Ok(()) = send.send((number, range, source)) else { break };
                        } else if self.copy.verify {
                            self.check(&chunks, &mut lane, number, &range, source)?;
                        }
                    }
                    Ok(())
                });
                drop(send);
                note(&chunks, copied);
            });
        });
        self.ended(chunks)
    }

    /// Compares the table.
    pub fn compare(&self) -> Result<Progress, EffectError> {
        let chunks = Mutex::new(self.chunks(Progress::default()));
        self.at_once(&chunks, &|| {
            let compared = self.pair.lane().and_then(|mut lane| {
                while let Some((number, range)) = self.take(&chunks, &mut lane)? {
                    let begun = Instant::now();
                    let rows = self.compared(&mut lane, &range)?;
                    lock(&chunks).unchecked.remove(&number);
                    self.finish(&chunks, number, &range, rows, begun);
                }
                Ok(())
            });
            note(&chunks, compared);
        });
        self.ended(chunks)
    }

    fn chunks(&self, known: Progress) -> Chunks {
        Chunks {
            next: known.last.clone(),
            number: 0,
            rows: self.copy.chunk.unwrap_or(FIRST),
            is_over: false,
            done: BTreeMap::new(),
            unchecked: BTreeMap::new(),
            whole: 0,
            before: known.rows,
            progress: known,
            error: None,
            begun: Instant::now(),
            estimate: self
                .pair
                .lane()
                .ok()
                .and_then(|mut lane| self.pair.estimate(&mut lane, self.table)),
        }
    }

    fn at_once(&self, chunks: &Mutex<Chunks>, work: &(dyn Fn() + Sync)) {
        lock(chunks).begun = Instant::now();
        std::thread::scope(|scope| {
            for _ in 1..self.copy.parallel {
                scope.spawn(work);
            }
            work();
        });
    }

    fn ended(&self, chunks: Mutex<Chunks>) -> Result<Progress, EffectError> {
        let chunks = chunks.into_inner().unwrap_or_else(PoisonError::into_inner);
        match chunks.error {
            // Whatever a connection says that was interrupted.
            Some(_) if self.stopper.is_stopped() => {
                Err(EffectError::during(self.throttle.stopped()))
            }
            Some(error) => Err(EffectError::during(error.message)),
            None => Ok(chunks.progress),
        }
    }

    /// The next chunk, if there is one.
    fn take(
        &self,
        chunks: &Mutex<Chunks>,
        lane: &mut P::Lane,
    ) -> Result<Option<(u64, Range)>, EffectError> {
        self.throttle.pass(self.stopper, self.teller, &|| lock(chunks).error.is_none())?;
        let mut chunks = lock(chunks);
        if self.stopper.is_stopped() {
            return Err(EffectError::during("it was stopped"));
        }
        if chunks.is_over || chunks.error.is_some() {
            return Ok(None);
        }
        let Some(upto) = self.pair.bound(lane, self.table, chunks.next.as_ref(), chunks.rows)?
        else {
            chunks.is_over = true;
            return Ok(None);
        };
        let range = Range { after: chunks.next.replace(upto.clone()), upto: Some(upto) };
        let number = chunks.number;
        chunks.number += 1;
        if self.copy.verify {
            chunks.unchecked.insert(number, range.clone());
        }
        Ok(Some((number, range)))
    }

    /// A chunk is durable.
    fn finish(
        &self,
        chunks: &Mutex<Chunks>,
        number: u64,
        range: &Range,
        rows: u64,
        begun: Instant,
    ) -> Progress {
        let mut chunks = lock(chunks);
        if self.copy.chunk.is_none() && begun.elapsed() < MOMENT {
            chunks.rows = (chunks.rows * 2).min(MOST);
        }
        chunks.done.insert(number, (range.upto.clone().unwrap_or_default(), rows));
        loop {
            let whole = chunks.whole;
            let Some((last, rows)) = chunks.done.remove(&whole) else { break };
            chunks.whole += 1;
            chunks.progress.rows += rows;
            chunks.progress.last = Some(last);
        }
        // What is behind the cursor is copied again, and compared then.
        let unchecked =
            chunks.unchecked.range(..chunks.whole).map(|(_, range)| range.clone()).collect();
        self.teller.progress(in_words(&self.table.name, &chunks));
        Progress { unchecked, ..chunks.progress.clone() }
    }

    /// Compares what the target has of a chunk with what the source had.
    fn check(
        &self,
        chunks: &Mutex<Chunks>,
        lane: &mut P::Lane,
        number: u64,
        range: &Range,
        source: Sum,
    ) -> Result<(), EffectError> {
        if self.stopper.is_stopped() {
            return Err(EffectError::during("it was stopped"));
        }
        let target = self.pair.check(lane, self.table, range)?;
        self.same(range, source, target)?;
        lock(chunks).unchecked.remove(&number);
        Ok(())
    }

    /// Compares a range as it is at both ends now.
    fn compared(&self, lane: &mut P::Lane, range: &Range) -> Result<u64, EffectError> {
        let (source, target) = self.pair.sums(lane, self.table, range)?;
        self.same(range, source, target)
    }

    fn same(&self, range: &Range, source: Sum, target: Sum) -> Result<u64, EffectError> {
        if source == target {
            return Ok(source.rows);
        }
        let (before, after) = (source.rows, target.rows);
        let words = if before == after {
            format!("{before} rows, which differ")
        } else {
            format!("{before} rows there, {after} here")
        };
        Err(EffectError::during(format!(
            "the table {} is not the same at both ends, {}: {words}",
            self.table.name,
            range.in_words()
        )))
    }
}

fn note(chunks: &Mutex<Chunks>, result: Result<(), EffectError>) {
    if let Err(error) = result {
        lock(chunks).error.get_or_insert(error);
    }
}

fn lock(chunks: &Mutex<Chunks>) -> MutexGuard<'_, Chunks> {
    chunks.lock().unwrap_or_else(PoisonError::into_inner)
}

fn in_words(table: &str, chunks: &Chunks) -> String {
    let (rows, seconds) = (chunks.progress.rows, chunks.begun.elapsed().as_secs_f64().max(0.001));
    let rate = (rows - chunks.before.min(rows)) as f64 / seconds;
    let mut words = format!("{table}: {rows} rows, {rate:.0} rows/s");
    if let Some(all) = chunks.estimate.filter(|all| *all > rows) {
        words.push_str(&format!(", {:.0} % of about {all}", rows as f64 * 100.0 / all as f64));
        if rate > 0.0 {
            words.push_str(&format!(", about {:.0} s left", (all - rows) as f64 / rate));
        }
    }
    words
}
