//! A table in chunks, several at a time. The cursor is the last key up to which everything is durable.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::{Copy, Key, Pair, Progress, Range, Reached, Sum, Table, as_text};
use crate::effect::{EffectError, Stopper, Teller};

/// How many rows a chunk has at first and at most, if the author does not say, and how long it may take to be made larger.
const FIRST: u32 = 50_000;
const MOST: u32 = 1_600_000;
const MOMENT: Duration = Duration::from_millis(250);

/// Copies the rest of a table.
pub fn copy<P: Pair>(
    pair: &P,
    copy: &Copy<String>,
    table: &Table,
    known: Progress,
    stopper: &Stopper,
    teller: &Teller,
    reached: &Reached,
) -> Result<Progress, EffectError> {
    let work = |lane: &mut P::Lane, range: &Range| {
        let rows = pair.copy(lane, table, range)?;
        if copy.verify { same(pair, lane, table, range).map(|sum| sum.rows) } else { Ok(rows) }
    };
    let tell = |progress: &Progress| {
        let mut now = reached.clone();
        now.tables.insert(table.name.clone(), progress.clone());
        teller.cursor(as_text(&now));
    };
    in_chunks(pair, copy, table, known, stopper, teller, &work, &tell)
}

/// Compares a table.
pub fn compare<P: Pair>(pair: &P, copy: &Copy<String>, table: &Table, stopper: &Stopper, teller: &Teller) -> Result<Progress, EffectError> {
    let work = |lane: &mut P::Lane, range: &Range| same(pair, lane, table, range).map(|sum| sum.rows);
    in_chunks(pair, copy, table, Progress::default(), stopper, teller, &work, &|_| {})
}

fn same<P: Pair>(pair: &P, lane: &mut P::Lane, table: &Table, range: &Range) -> Result<Sum, EffectError> {
    let (source, target) = pair.sums(lane, table, range)?;
    if source != target {
        let (before, after) = (source.rows, target.rows);
        let words = if before == after { format!("{before} rows, which differ") } else { format!("{before} rows there, {after} here") };
        return Err(EffectError::during(format!("the table {} is not the same at both ends, {}: {words}", table.name, range.in_words())));
    }
    Ok(source)
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
    /// How many are done without a gap.
    whole: u64,
    progress: Progress,
    error: Option<EffectError>,
}

/// What is done with a chunk; gives its rows.
type Work<'a, P> = &'a (dyn Fn(&mut <P as Pair>::Lane, &Range) -> Result<u64, EffectError> + Sync);

fn in_chunks<P: Pair>(
    pair: &P,
    copy: &Copy<String>,
    table: &Table,
    known: Progress,
    stopper: &Stopper,
    teller: &Teller,
    work: Work<P>,
    tell: &(dyn Fn(&Progress) + Sync),
) -> Result<Progress, EffectError> {
    let next = known.last.clone();
    let before = known.rows;
    let chunks = Chunks {
        next,
        number: 0,
        rows: copy.chunk.unwrap_or(FIRST),
        is_over: false,
        done: BTreeMap::new(),
        whole: 0,
        progress: known,
        error: None,
    };
    let (chunks, begun) = (Mutex::new(chunks), Instant::now());
    let estimate = pair.lane().ok().and_then(|mut lane| pair.estimate(&mut lane, table));
    let worker = || {
        let result = pair.lane().and_then(|mut lane| {
            while let Some((number, range)) = take(pair, table, &chunks, &mut lane, stopper)? {
                let taken = Instant::now();
                let rows = work(&mut lane, &range)?;
                if copy.chunk.is_none() && taken.elapsed() < MOMENT {
                    let mut chunks = lock(&chunks);
                    chunks.rows = (chunks.rows * 2).min(MOST);
                }
                let progress = finish(&chunks, number, range, rows);
                tell(&progress);
                teller.progress(in_words(&table.name, &progress, before, estimate, begun));
            }
            Ok(())
        });
        if let Err(error) = result {
            lock(&chunks).error.get_or_insert(error);
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..copy.parallel {
            scope.spawn(worker);
        }
        worker();
    });
    let chunks = chunks.into_inner().unwrap_or_else(PoisonError::into_inner);
    match chunks.error {
        Some(error) => Err(EffectError::during(error.message)),
        None => Ok(chunks.progress),
    }
}

/// The next chunk, if there is one.
fn take<P: Pair>(
    pair: &P,
    table: &Table,
    chunks: &Mutex<Chunks>,
    lane: &mut P::Lane,
    stopper: &Stopper,
) -> Result<Option<(u64, Range)>, EffectError> {
    let mut chunks = lock(chunks);
    if stopper.is_stopped() {
        return Err(EffectError::during("it was stopped"));
    }
    if chunks.is_over || chunks.error.is_some() {
        return Ok(None);
    }
    let Some(upto) = pair.bound(lane, table, chunks.next.as_ref(), chunks.rows)? else {
        chunks.is_over = true;
        return Ok(None);
    };
    let range = Range { after: chunks.next.replace(upto.clone()), upto: Some(upto) };
    chunks.number += 1;
    Ok(Some((chunks.number - 1, range)))
}

fn finish(chunks: &Mutex<Chunks>, number: u64, range: Range, rows: u64) -> Progress {
    let mut chunks = lock(chunks);
    chunks.done.insert(number, (range.upto.unwrap_or_default(), rows));
    loop {
        let whole = chunks.whole;
        let Some((last, rows)) = chunks.done.remove(&whole) else { break };
        chunks.whole += 1;
        chunks.progress.rows += rows;
        chunks.progress.last = Some(last);
    }
    chunks.progress.clone()
}

fn lock(chunks: &Mutex<Chunks>) -> std::sync::MutexGuard<'_, Chunks> {
    chunks.lock().unwrap_or_else(PoisonError::into_inner)
}

fn in_words(table: &str, progress: &Progress, before: u64, estimate: Option<u64>, begun: Instant) -> String {
    let (rows, seconds) = (progress.rows, begun.elapsed().as_secs_f64().max(0.001));
    let rate = (rows - before.min(rows)) as f64 / seconds;
    let mut words = format!("{table}: {rows} rows, {rate:.0} rows/s");
    if let Some(all) = estimate.filter(|all| *all > rows) {
        words.push_str(&format!(", {:.0} % of about {all}", rows as f64 * 100.0 / all as f64));
        if rate > 0.0 {
            words.push_str(&format!(", about {:.0} s left", (all - rows) as f64 / rate));
        }
    }
    words
}
