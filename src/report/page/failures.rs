//! What went wrong and where it ended: every mishap at a glance, a row for each step and a column
//! for each kind; then, in full, those after which a run does not go on by itself. Copies with the
//! same end are one.

use std::collections::BTreeSet;

use indexmap::{IndexMap, IndexSet};
use serde::Serialize;

use super::fold::{base, folded};
use crate::rehearsal::{Case, Ending, Mishap, Rehearsal};
use crate::report::rehearsal::{span, told_beyond};

/// The kinds of mishaps, in the order of the columns.
const KINDS: [&str; 12] = [
    "fails",
    "times out",
    "killed before",
    "killed in it",
    "killed after",
    "undo fails",
    "undo times out",
    "release fails",
    "release times out",
    "refused",
    "no answer",
    "breached",
];

#[derive(Debug, Serialize)]
pub struct Failures {
    columns: Vec<&'static str>,
    rows: Vec<Row>,
    cases: Vec<Entry>,
    /// How many go on by themselves.
    plain: usize,
}

#[derive(Debug, Serialize)]
struct Row {
    step: String,
    cells: Vec<Option<Cell>>,
}

#[derive(Debug, Serialize)]
struct Cell {
    class: &'static str,
    sign: &'static str,
    words: String,
    asks: bool,
    over: bool,
}

#[derive(Debug, Serialize)]
struct Entry {
    step: String,
    kinds: Vec<&'static str>,
    ends: String,
    class: &'static str,
    asks: Few,
    stays: Few,
    back: String,
    back_over: bool,
    down: String,
    down_over: bool,
    took: String,
    tells: Vec<String>,
}

/// Copies as one, and no more than fit into a cell.
#[derive(Debug, Serialize)]
struct Few {
    shown: Vec<String>,
    more: usize,
}

impl Few {
    fn of<'a>(all: impl IntoIterator<Item = &'a str>) -> Few {
        const MOST: usize = 6;
        let mut shown = folded(all);
        let more = shown.len().saturating_sub(MOST);
        shown.truncate(MOST);
        Few { shown, more }
    }
}

pub fn failures(found: &Rehearsal) -> Failures {
    let columns: Vec<usize> = (0..KINDS.len())
        .filter(|kind| found.cases.iter().any(|case| kind_of(case) == *kind))
        .collect();
    let mut rows: IndexMap<String, (Vec<&str>, Vec<Vec<&Case>>)> = IndexMap::new();
    for case in &found.cases {
        let of = subject(case);
        let (ids, cells) =
            rows.entry(base(of)).or_insert_with(|| (Vec::new(), vec![Vec::new(); KINDS.len()]));
        if !ids.contains(&of) {
            ids.push(of);
        }
        cells[kind_of(case)].push(case);
    }
    let row = |(_, (ids, cells)): (String, (Vec<&str>, Vec<Vec<&Case>>))| Row {
        step: folded(ids).join(", "),
        cells: columns.iter().map(|kind| cell(&cells[*kind])).collect(),
    };
    let is_plain = |case: &&Case| {
        case.ends == Ending::Finished && case.asked.is_empty() && case.over.is_empty()
    };
    Failures {
        rows: rows.into_iter().map(row).collect(),
        columns: columns.iter().map(|kind| KINDS[*kind]).collect(),
        cases: entries(found, found.cases.iter().filter(|case| !is_plain(case))),
        plain: found.cases.iter().filter(is_plain).count(),
    }
}

/// What happened to some copies: the worst of it.
fn cell(cases: &[&Case]) -> Option<Cell> {
    let worst = cases
        .iter()
        .max_by_key(|case| (case.ends, !case.asked.is_empty(), case.back_ms, case.took_ms))?;
    let words = match (worst.ends, worst.back_ms) {
        (Ending::RolledBack | Ending::Stuck, Some(back)) if back > 0 => span(back),
        _ => String::new(),
    };
    let (class, sign) = look(worst.ends);
    Some(Cell {
        class,
        sign,
        words,
        asks: !worst.asked.is_empty(),
        over: cases.iter().any(|case| !case.over.is_empty()),
    })
}

fn entries<'a>(found: &Rehearsal, cases: impl Iterator<Item = &'a Case>) -> Vec<Entry> {
    // What ends alike is one entry: all kinds that come to the same, and all copies.
    type Key = (String, Ending, Vec<String>, Vec<String>, bool, Vec<String>);
    let mut alike: IndexMap<Key, Vec<&Case>> = IndexMap::new();
    for case in cases {
        let stays =
            folded(case.stays.iter().map(String::as_str)).iter().map(|id| base(id)).collect();
        let key = (
            base(subject(case)),
            case.ends,
            stays,
            case.over.clone(),
            case.asked.is_empty(),
            told_beyond(case, &found.smooth),
        );
        alike.entry(key).or_default().push(case);
    }
    let entry = |((_, ends, _, over, _, tells), cases): (Key, Vec<&Case>)| {
        let kinds: BTreeSet<usize> = cases.iter().map(|case| kind_of(case)).collect();
        let ids: BTreeSet<&str> = cases.iter().map(|case| subject(case)).collect();
        let asks: IndexSet<&str> =
            cases.iter().flat_map(|case| case.asked.iter().map(String::as_str)).collect();
        let worst = |length: &dyn Fn(&Case) -> u64| {
            cases.iter().map(|case| length(case)).max().unwrap_or_default()
        };
        let longest = cases.iter().max_by_key(|case| case.stays.len());
        Entry {
            step: folded(ids).join(", "),
            kinds: kinds.into_iter().map(|kind| KINDS[kind]).collect(),
            ends: ends.to_string(),
            class: look(ends).0,
            asks: Few::of(asks),
            stays: Few::of(
                longest.into_iter().flat_map(|case| case.stays.iter().map(String::as_str)),
            ),
            back: if cases.iter().any(|case| case.back_ms.is_some()) {
                span(worst(&|case| case.back_ms.unwrap_or_default()))
            } else {
                String::new()
            },
            back_over: over.iter().any(|over| over == "rollback"),
            down: match worst(&|case| case.down_ms) {
                0 => String::new(),
                down => span(down),
            },
            down_over: over.iter().any(|over| over == "downtime"),
            took: span(worst(&|case| case.took_ms)),
            tells,
        }
    };
    let mut entries: Vec<(Ending, Entry)> =
        alike.into_iter().map(|(key, cases)| (key.1, entry((key, cases)))).collect();
    entries.sort_by_key(|(ends, entry)| {
        (std::cmp::Reverse(*ends), !entry.back_over && !entry.down_over)
    });
    entries.into_iter().map(|(_, entry)| entry).collect()
}

fn look(ends: Ending) -> (&'static str, &'static str) {
    match ends {
        Ending::Finished => ("finished", "✓"),
        Ending::RolledBack => ("back", "↩"),
        Ending::Waits => ("waits", "…"),
        Ending::Stuck => ("stuck", "✗"),
    }
}

fn subject(case: &Case) -> &str {
    match &case.mishap {
        Some(Mishap::Breached { guard, .. }) => guard,
        Some(mishap) => mishap.step().map_or("", |step| step),
        None => "",
    }
}

fn kind_of(case: &Case) -> usize {
    match &case.mishap {
        Some(Mishap::Fails { .. }) | None => 0,
        Some(Mishap::TimesOut { .. }) => 1,
        Some(Mishap::KilledBefore { .. }) => 2,
        Some(Mishap::KilledIn { .. }) => 3,
        Some(Mishap::KilledAfter { .. }) => 4,
        Some(Mishap::UndoFails { .. }) => 5,
        Some(Mishap::UndoTimesOut { .. }) => 6,
        Some(Mishap::ReleaseFails { .. }) => 7,
        Some(Mishap::ReleaseTimesOut { .. }) => 8,
        Some(Mishap::Refused { .. }) => 9,
        Some(Mishap::Unanswered { .. }) => 10,
        Some(Mishap::Breached { .. }) => 11,
    }
}
