//! Rows from one database to another, in ranges of their primary keys. A range counts once it is
//! durable at the target; a new attempt first removes what the last one wrote behind its last
//! cursor, so that no row is lost and none comes twice.

mod across;
mod chunks;
mod digest;
mod interrupts;
mod postgres;
mod sqlite;
mod throttle;
mod tuples;

use std::collections::BTreeMap;
use std::sync::Arc;

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};

use super::sql::login;
use super::{EffectError, Job, Keeper, Reading, Stopper, Teller, Used};
use crate::runbook::action::Copy;
use crate::runbook::database::Database;

use self::chunks::Course;
use self::digest::Sum;
use self::interrupts::Interrupts;
use self::throttle::Throttle;

/// The values of a primary key as texts.
type Key = Vec<String>;

/// The rows behind one key up to another, which is part of it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Range {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    after: Option<Key>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    upto: Option<Key>,
}

/// One end of the copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Source,
    Target,
}

/// A table at both ends.
#[derive(Debug, Clone)]
struct Table<S> {
    /// As the runbook calls it.
    name: String,
    /// Its quoted name at each end.
    source: String,
    target: String,
    shape: S,
}

/// What a table has at two ends of one kind.
#[derive(Debug, Clone)]
struct Shape {
    /// Its quoted columns, and the key among them.
    columns: Vec<String>,
    key: Vec<Column>,
}

#[derive(Debug, Clone)]
struct Column {
    /// Quoted.
    name: String,
    kind: String,
}

/// Two databases.
trait Pair: Sync {
    /// A connection to each.
    type Lane: Send;
    type Shape: Send + Sync;
    fn lane(&self) -> Result<Self::Lane, EffectError>;
    /// Looks at a table at both ends.
    fn table(
        &self,
        lane: &mut Self::Lane,
        name: &str,
        into: &str,
    ) -> Result<Table<Self::Shape>, EffectError>;
    fn is_empty(
        &self,
        lane: &mut Self::Lane,
        table: &Table<Self::Shape>,
    ) -> Result<bool, EffectError>;
    /// About how many rows the source has, if that is known at once.
    fn estimate(&self, lane: &mut Self::Lane, table: &Table<Self::Shape>) -> Option<u64>;
    /// About how many bytes the source has, if that is known at once.
    fn bytes(&self, _lane: &mut Self::Lane, _table: &Table<Self::Shape>) -> Option<u64> {
        None
    }
    /// The key of the row so many behind another, or of the last row.
    fn bound(
        &self,
        lane: &mut Self::Lane,
        table: &Table<Self::Shape>,
        after: Option<&Key>,
        rows: u32,
    ) -> Result<Option<Key>, EffectError>;
    /// Copies a range; it is durable when this returns. Gives what the source had in it, with a
    /// digest only if that is asked for.
    fn copy(
        &self,
        lane: &mut Self::Lane,
        table: &Table<Self::Shape>,
        range: &Range,
        is_summed: bool,
    ) -> Result<Sum, EffectError>;
    /// Whether the target can be read while the next range is written to it.
    fn is_checked_aside(&self) -> bool {
        true
    }
    /// What the target has in a range that was copied.
    fn check(
        &self,
        lane: &mut Self::Lane,
        table: &Table<Self::Shape>,
        range: &Range,
    ) -> Result<Sum, EffectError> {
        self.sum(lane, table, End::Target, range)
    }
    fn sum(
        &self,
        lane: &mut Self::Lane,
        table: &Table<Self::Shape>,
        end: End,
        range: &Range,
    ) -> Result<Sum, EffectError>;
    /// Of the source and the target.
    fn sums(
        &self,
        lane: &mut Self::Lane,
        table: &Table<Self::Shape>,
        range: &Range,
    ) -> Result<(Sum, Sum), EffectError> {
        Ok((self.sum(lane, table, End::Source, range)?, self.sum(lane, table, End::Target, range)?))
    }
    /// Removes a range from the target.
    fn remove(
        &self,
        lane: &mut Self::Lane,
        table: &Table<Self::Shape>,
        range: &Range,
    ) -> Result<u64, EffectError>;
    /// Where the target's sequences of the table stand.
    fn sequences(
        &self,
        lane: &mut Self::Lane,
        table: &Table<Self::Shape>,
    ) -> Result<BTreeMap<String, Json>, EffectError>;
    /// Sets them before the source's.
    fn advance(
        &self,
        lane: &mut Self::Lane,
        table: &Table<Self::Shape>,
        margin: u32,
    ) -> Result<(), EffectError>;
    /// Puts one back to where it stood.
    fn restore(
        &self,
        lane: &mut Self::Lane,
        sequence: &str,
        stood: &Json,
    ) -> Result<(), EffectError>;
}

/// How far a copy is: the cursor of the step.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Reached {
    tables: IndexMap<String, Progress>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Progress {
    /// The last key that is durable, with all before it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    last: Option<Key>,
    rows: u64,
    /// What is durable and to be compared, but is not yet.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    unchecked: Vec<Range>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    done: bool,
}

pub fn perform(
    job: &Job,
    copy: &Copy<String>,
    keeper: &Keeper,
    stopper: &Arc<Stopper>,
    teller: &Teller,
) -> Result<Reading, EffectError> {
    let (mut used, interrupts) = (Used::new(), Interrupts::default());
    stopper.on_stop({
        let interrupts = interrupts.clone();
        move |_| interrupts.call()
    });
    let throttle = Throttle::new(copy.throttle.as_ref(), job, keeper, &interrupts);
    let way = Way { job, copy, throttle: &throttle, stopper, teller };
    let result = match (&copy.from, &copy.to) {
        (Database::Postgres(from), Database::Postgres(to)) => login(job, from, &mut used)
            .and_then(|from| Ok((from, login(job, to, &mut used)?)))
            .and_then(|(from, to)| way.carry_out(&postgres::Servers::open(from, to, interrupts)?)),
        (Database::Sqlite(from), Database::Sqlite(to)) => {
            // Who says how large a range is, wants several, or holds them back, wants ranges.
            let whole = copy.chunk.is_none() && copy.throttle.is_none() && copy.parallel == 1;
            way.carry_out(&sqlite::Files { from: from.into(), to: to.into(), whole, interrupts })
        }
        (from, to) => place(job, from, &mut used)
            .and_then(|from| Ok((from, place(job, to, &mut used)?)))
            .and_then(|(from, to)| way.carry_out(&across::Ends::open(from, to, interrupts)?)),
    };
    stopper.clear();
    let mut result = job.vault.mask_result(result, &used);
    if let Ok(reading) = &mut result {
        reading.secrets.extend(throttle.secrets());
    }
    result
}

fn place<'a>(
    job: &Job,
    database: &'a Database<String>,
    used: &mut Used,
) -> Result<across::Place<'a>, EffectError> {
    Ok(match database {
        Database::Postgres(server) => across::Place::Postgres(login(job, server, used)?),
        Database::Mysql(server) => across::Place::Mysql(login(job, server, used)?),
        Database::Sqlite(path) => across::Place::Sqlite(path.into()),
    })
}

/// All that an attempt is made of.
struct Way<'a> {
    job: &'a Job,
    copy: &'a Copy<String>,
    throttle: &'a Throttle<'a>,
    stopper: &'a Stopper,
    teller: &'a Teller,
}

impl Way<'_> {
    fn carry_out<P: Pair>(&self, pair: &P) -> Result<Reading, EffectError> {
        let Way { job, copy, teller, .. } = self;
        let mut lane = pair.lane()?;
        // Whoever only looks may be earlier than the step that makes the tables.
        let later = |error: EffectError| {
            if job.only_looks { EffectError::during(error.message) } else { error }
        };
        let tables = copy.tables.iter().map(|(name, table)| {
            pair.table(&mut lane, name, table.into.as_deref().unwrap_or(name))
        });
        let tables = tables.collect::<Result<Vec<Table<P::Shape>>, _>>().map_err(later)?;
        if job.only_looks {
            return self.would(pair, &mut lane, &tables);
        }
        let mut reached = match job.reached.as_deref() {
            Some(cursor) => serde_json::from_str(cursor).map_err(|error| {
                EffectError::before(format!(
                    "how far it came, as journaled, cannot be read: {error}"
                ))
            })?,
            None => Reached::default(),
        };
        if copy.removes {
            return remove(pair, &mut lane, job, &tables, &reached);
        }
        if copy.verify_only {
            return self.compare(pair, &tables);
        }
        if job.seen.is_none() {
            let mut sequences = BTreeMap::new();
            for table in &tables {
                if !pair.is_empty(&mut lane, table)? {
                    let words = "it is copied only into an empty table, so that what was there \
                        cannot be taken for what was copied; nothing was changed";
                    return Err(EffectError::before(format!(
                        "the table {} of {} has rows already: {words}",
                        table.target,
                        copy.to.in_words()
                    )));
                }
                sequences.extend(pair.sequences(&mut lane, table)?);
            }
            teller.saw(json!({
                "empty": tables.iter().map(|table| &table.target).collect::<Vec<_>>(),
                "sequences": sequences,
            }))?;
        }
        for table in &tables {
            let known = reached.tables.get(&table.name).cloned().unwrap_or_default();
            if known.done {
                continue;
            }
            // Written by an attempt that died before its cursor was journaled.
            pair.remove(&mut lane, table, &Range { after: known.last.clone(), upto: None })?;
            let progress = self.course(pair, table).copy(known, &reached)?;
            pair.advance(&mut lane, table, copy.sequence_margin)?;
            reached.tables.insert(table.name.clone(), Progress { done: true, ..progress });
            teller.cursor(as_text(&reached)?);
        }
        let rows: u64 = reached.tables.values().map(|progress| progress.rows).sum();
        let counts: BTreeMap<String, Json> = reached
            .tables
            .iter()
            .map(|(name, progress)| (name.clone(), progress.rows.into()))
            .collect();
        let outputs = BTreeMap::from([
            ("rows".to_owned(), Json::from(rows)),
            ("tables".to_owned(), json!(counts)),
        ]);
        let compared = if copy.verify { ", the same at both ends" } else { "" };
        Ok(Reading {
            summary: format!("{rows} rows copied{compared}"),
            outputs,
            is_good: true,
            ..Reading::default()
        })
    }

    /// What would be copied, and whether it could be.
    fn would<P: Pair>(
        &self,
        pair: &P,
        lane: &mut P::Lane,
        tables: &[Table<P::Shape>],
    ) -> Result<Reading, EffectError> {
        let Way { copy, .. } = self;
        let (mut lines, mut all) = (Vec::new(), Some(0));
        for table in tables {
            let rows = pair.estimate(lane, table);
            all = all.zip(rows).map(|(all, rows)| all + rows);
            let rows = rows.map_or("how many rows is not known".to_owned(), |rows| {
                format!("about {rows} rows")
            });
            let bytes = pair
                .bytes(lane, table)
                .map(|bytes| format!(", {} MiB", bytes.div_ceil(1 << 20)))
                .unwrap_or_default();
            lines.push(format!("  {} to {}: {rows}{bytes}", table.source, table.target));
            if !copy.verify_only && !pair.is_empty(lane, table)? {
                let words = "has rows already, and is copied only into an empty table";
                return Err(EffectError::during(format!(
                    "the table {} of {} {words}",
                    table.target,
                    copy.to.in_words()
                )));
            }
        }
        let names = [("rows".to_owned(), Json::from(all))].into_iter().collect();
        Ok(Reading {
            names,
            summary: format!("{}\n{}", copy.in_words(), lines.join("\n")),
            is_good: true,
            ..Reading::default()
        })
    }

    /// Compares all ranges, and that there is nothing behind the last one.
    fn compare<P: Pair>(
        &self,
        pair: &P,
        tables: &[Table<P::Shape>],
    ) -> Result<Reading, EffectError> {
        let (mut rows, mut lane) = (0, pair.lane()?);
        for table in tables {
            let progress = self.course(pair, table).compare()?;
            let behind = pair.sum(
                &mut lane,
                table,
                End::Target,
                &Range { after: progress.last, upto: None },
            )?;
            if behind.rows > 0 {
                return Err(EffectError::during(format!(
                    "{} has {} rows that {} has not",
                    table.target, behind.rows, table.source
                )));
            }
            rows += progress.rows;
        }
        let outputs = BTreeMap::from([("rows".to_owned(), Json::from(rows))]);
        Ok(Reading {
            summary: format!("{rows} rows are the same at both ends"),
            outputs,
            is_good: true,
            ..Reading::default()
        })
    }

    fn course<'a, P: Pair>(&'a self, pair: &'a P, table: &'a Table<P::Shape>) -> Course<'a, P> {
        let Way { copy, throttle, stopper, teller, .. } = self;
        Course { pair, copy, table, throttle, stopper, teller }
    }
}

/// Only what was copied is removed: of a table that was copied whole, up to its last key; of
/// another, all, as it was empty.
fn remove<P: Pair>(
    pair: &P,
    lane: &mut P::Lane,
    job: &Job,
    tables: &[Table<P::Shape>],
    reached: &Reached,
) -> Result<Reading, EffectError> {
    let good = |summary: String| Reading { summary, is_good: true, ..Reading::default() };
    let Some(seen) = &job.seen else { return Ok(good("nothing was copied".to_owned())) };
    let mut rows = 0;
    for table in tables.iter().rev() {
        let progress = reached.tables.get(&table.name);
        match progress.filter(|progress| progress.done) {
            // It was empty, and nothing was copied.
            Some(Progress { last: None, .. }) => {}
            Some(Progress { last, .. }) => {
                rows += pair.remove(lane, table, &Range { after: None, upto: last.clone() })?
            }
            None => rows += pair.remove(lane, table, &Range::default())?,
        }
    }
    for (sequence, stood) in seen["sequences"].as_object().into_iter().flatten() {
        pair.restore(lane, sequence, stood)?;
    }
    Ok(good(format!("{rows} rows removed")))
}

fn as_text(reached: &Reached) -> Result<String, EffectError> {
    serde_json::to_string(reached).map_err(|error| {
        EffectError::during(format!("how far it came cannot be written down: {error}"))
    })
}

impl Range {
    /// For people.
    fn in_words(&self) -> String {
        let key = |key: &Option<Key>| key.as_ref().map(|key| key.join(", "));
        match (key(&self.after), key(&self.upto)) {
            (Some(after), Some(upto)) => format!("behind {after} up to {upto}"),
            (None, Some(upto)) => format!("up to {upto}"),
            (Some(after), None) => format!("behind {after}"),
            (None, None) => "all".to_owned(),
        }
    }
}
