//! Two ends of any kinds: rows come as texts from the one, and go to the other in batches, in one
//! transaction for each range. Each value has one text at both ends, of which the digest is made
//! here.

mod batch;
mod kind;
mod mysql;
mod plan;
mod postgres;
mod sqlite;

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hasher as _};
use std::path::PathBuf;

use serde_json::{Value as Json, json};

use self::batch::Batch;
use self::kind::{Class, Kind};
use self::plan::{Found, Plan};
use super::postgres::Leader;
use super::{End, Interrupts, Key, Pair, Range, Sum};
use crate::effect::EffectError;
use crate::effect::sql::Login;

/// A table at both ends.
type Table = super::Table<Plan>;
/// The values of a row, as texts or as they are.
type Row<'a> = [Option<&'a [u8]>];

/// Where an end is.
pub enum Place<'a> {
    Postgres(Login<'a>),
    Mysql(Login<'a>),
    Sqlite(PathBuf),
}

pub struct Ends<'a> {
    from: Place<'a>,
    to: Place<'a>,
    /// The snapshot of a PostgreSQL source.
    leader: Option<Leader>,
    interrupts: Interrupts,
}

pub struct Lane {
    source: Box<dyn Side>,
    target: Box<dyn Side>,
}

/// A connection to one end.
trait Side: Send {
    /// For people.
    fn place(&self) -> String;
    fn describe(&mut self, table: &str) -> Result<Found, EffectError>;
    /// About how many rows it has, by its plain name.
    fn estimate(&mut self, table: &str) -> Option<u64>;
    /// The expression that gives a column's value as a text, or as it is if it is bytes.
    fn text(&self, column: &Column) -> String;
    /// The expression by which a column is ordered and compared.
    fn ordered(&self, column: &Column) -> String;
    /// A value to compare that with.
    fn literal(&self, column: &Column, value: &str) -> String;
    /// Whether it finds ranges of several columns by an index: `(a, b) > (1, 2)`.
    fn compares_rows(&self) -> bool {
        true
    }
    fn rows(
        &mut self,
        sql: &str,
        each: &mut dyn FnMut(&Row) -> Result<(), EffectError>,
    ) -> Result<(), EffectError>;
    /// Carries out a statement; gives how many rows it changed.
    fn change(&mut self, sql: &str) -> Result<u64, EffectError>;
    fn insert(&mut self, shape: &Shape, batch: &Batch) -> Result<u64, Refused>;
    fn sequences(&mut self, table: &str) -> Result<Vec<Sequence>, EffectError>;
    fn set(&mut self, sequence: &str, last: i64, called: bool) -> Result<(), EffectError>;
}

/// A table at one end.
#[derive(Debug, Clone)]
pub struct Shape {
    /// Quoted.
    pub table: String,
    columns: Vec<Column>,
    /// Which of them are its key.
    key: Vec<usize>,
}

#[derive(Debug, Clone)]
pub struct Column {
    name: String,
    quoted: String,
    class: Class,
    /// Its type, as its database calls it.
    declared: String,
    /// How many digits it keeps behind a point, if that is known.
    places: Option<usize>,
    /// What its texts are ordered by, if not by their bytes.
    collation: Option<String>,
    /// Whether its values must be compared by their bytes instead.
    is_bytewise: bool,
    kind: Kind,
}

/// What goes on from the last number that was given.
struct Sequence {
    /// The plain name of its column.
    column: String,
    name: String,
    last: i64,
    /// Whether the last number was given, or is the next.
    called: bool,
}

/// A batch that was not taken.
struct Refused {
    /// Which of its rows, if that is known.
    row: Option<usize>,
    why: String,
}

impl<'a> Ends<'a> {
    pub fn open(
        from: Place<'a>,
        to: Place<'a>,
        interrupts: Interrupts,
    ) -> Result<Ends<'a>, EffectError> {
        let leader =
            if let Place::Postgres(login) = &from { Some(Leader::open(login)?) } else { None };
        Ok(Ends { from, to, leader, interrupts })
    }

    fn side(&self, place: &Place<'a>, end: End) -> Result<Box<dyn Side>, EffectError> {
        Ok(match place {
            Place::Postgres(login) => {
                let leader = self.leader.as_ref().filter(|_| end == End::Source);
                Box::new(postgres::Server::open(login, leader, &self.interrupts)?)
            }
            Place::Mysql(login) => Box::new(mysql::Server::open(login, end, &self.interrupts)?),
            Place::Sqlite(path) => Box::new(sqlite::File::open(path, end, &self.interrupts)?),
        })
    }
}

impl Pair for Ends<'_> {
    type Lane = Lane;
    type Shape = Plan;

    fn lane(&self) -> Result<Lane, EffectError> {
        Ok(Lane {
            source: self.side(&self.from, End::Source)?,
            target: self.side(&self.to, End::Target)?,
        })
    }

    fn table(&self, lane: &mut Lane, name: &str, into: &str) -> Result<Table, EffectError> {
        let (source, target) = (lane.source.describe(name)?, lane.target.describe(into)?);
        let are_both_mysql = matches!((&self.from, &self.to), (Place::Mysql(_), Place::Mysql(_)));
        let plan = plan::plan(
            (name, source, &lane.source.place()),
            (into, target, &lane.target.place()),
            are_both_mysql,
        )?;
        Ok(Table {
            name: name.to_owned(),
            source: plan.source.table.clone(),
            target: plan.target.table.clone(),
            shape: plan,
        })
    }

    fn is_empty(&self, lane: &mut Lane, table: &Table) -> Result<bool, EffectError> {
        let mut is_empty = true;
        lane.target.rows(&format!("SELECT 1 FROM {} LIMIT 1", table.target), &mut |_| {
            is_empty = false;
            Ok(())
        })?;
        Ok(is_empty)
    }

    fn estimate(&self, lane: &mut Lane, table: &Table) -> Option<u64> {
        lane.source.estimate(&table.name).filter(|rows| *rows > 0)
    }

    fn bound(
        &self,
        lane: &mut Lane,
        table: &Table,
        after: Option<&Key>,
        rows: u32,
    ) -> Result<Option<Key>, EffectError> {
        let (side, shape) = (&mut *lane.source, &table.shape.source);
        let range = Range { after: after.cloned(), upto: None };
        let texts = texts(side, shape.key());
        let (from, order) = (
            format!("{}{}", shape.table, condition(side, shape, &range)),
            order_of(side, shape, ""),
        );
        let last = order_of(side, shape, " DESC");
        for tail in [format!("{order} LIMIT 1 OFFSET {}", rows - 1), format!("{last} LIMIT 1")] {
            let mut found = None;
            side.rows(&format!("SELECT {texts} FROM {from}{tail}"), &mut |row| {
                found = Some(key(table, row.iter().copied())?);
                Ok(())
            })?;
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    fn copy(
        &self,
        lane: &mut Lane,
        table: &Table,
        range: &Range,
        _: bool,
    ) -> Result<Sum, EffectError> {
        lane.target.change("BEGIN")?;
        let filled = fill(lane, table, range);
        match filled {
            Ok(sum) => {
                let failed = |error: EffectError| {
                    EffectError::during(format!(
                        "the rows {} of {}: {error}",
                        range.in_words(),
                        table.name
                    ))
                };
                lane.target.change("COMMIT").map_err(failed)?;
                Ok(sum)
            }
            Err(error) => {
                // If that is not heard, the end of the connection is.
                let _ = lane.target.change("ROLLBACK");
                Err(error)
            }
        }
    }

    fn is_checked_aside(&self) -> bool {
        !matches!(self.to, Place::Sqlite(_))
    }

    fn sum(
        &self,
        lane: &mut Lane,
        table: &Table,
        end: End,
        range: &Range,
    ) -> Result<Sum, EffectError> {
        let (side, shape) = match end {
            End::Source => (&mut *lane.source, &table.shape.source),
            End::Target => (&mut *lane.target, &table.shape.target),
        };
        let (mut sum, sql) = (Sum::default(), rows_of(side, shape, range));
        side.rows(&sql, &mut |row| digest(table, row, &mut sum, |_, _, _| Ok(())))?;
        Ok(sum)
    }

    fn remove(&self, lane: &mut Lane, table: &Table, range: &Range) -> Result<u64, EffectError> {
        let sql = format!(
            "DELETE FROM {}{}",
            table.target,
            condition(&*lane.target, &table.shape.target, range)
        );
        lane.target.change(&sql)
    }

    fn sequences(
        &self,
        lane: &mut Lane,
        table: &Table,
    ) -> Result<BTreeMap<String, Json>, EffectError> {
        let all = lane.target.sequences(&table.target)?;
        Ok(all
            .into_iter()
            .map(|sequence| {
                (sequence.name, json!({ "last": sequence.last, "called": sequence.called }))
            })
            .collect())
    }

    fn advance(&self, lane: &mut Lane, table: &Table, margin: u32) -> Result<(), EffectError> {
        let there: BTreeMap<String, String> = lane
            .target
            .sequences(&table.target)?
            .into_iter()
            .map(|sequence| (sequence.column, sequence.name))
            .collect();
        for sequence in lane.source.sequences(&table.source)? {
            let Some(name) = there.get(&sequence.column) else { continue };
            lane.target.set(name, sequence.last.saturating_add(margin.into()), true)?;
        }
        Ok(())
    }

    fn restore(&self, lane: &mut Lane, sequence: &str, stood: &Json) -> Result<(), EffectError> {
        lane.target.set(
            sequence,
            stood["last"].as_i64().unwrap_or(1),
            stood["called"].as_bool().unwrap_or(false),
        )
    }
}

/// Writes a range in the transaction that has begun.
fn fill(lane: &mut Lane, table: &Table, range: &Range) -> Result<Sum, EffectError> {
    let Lane { source, target } = lane;
    let (mut sum, mut batch) = (Sum::default(), Batch::new(table.shape.source.columns.len()));
    let sql = rows_of(&**source, &table.shape.source, range)
        + &order_of(&**source, &table.shape.source, "");
    source.rows(&sql, &mut |row| {
        digest(table, row, &mut sum, |at, raw, canonical| {
            let column = &table.shape.target.columns[at];
            if let (Some(most), Some(value)) = (column.places, canonical)
                && !matches!(column.kind, Kind::Text | Kind::Json | Kind::Real | Kind::Bytes)
                && kind::places(value) > most
            {
                return Err(format!(
                    "it has more than {most} digits behind the point, which {} cuts off",
                    column.declared
                ));
            }
            if column.class == Class::Single
                && canonical.is_some_and(|value| !kind::is_single(value))
            {
                return Err(format!("it is more exact than {} is", column.declared));
            }
            // The one text of JSON is for comparing only.
            batch.push(if column.kind == Kind::Json { raw } else { canonical });
            Ok(())
        })?;
        if batch.is_full() { write(&mut **target, table, &mut batch) } else { Ok(()) }
    })?;
    write(&mut **target, table, &mut batch)?;
    Ok(sum)
}

fn write(target: &mut dyn Side, table: &Table, batch: &mut Batch) -> Result<(), EffectError> {
    if batch.is_empty() {
        return Ok(());
    }
    let shape = &table.shape.target;
    match target.insert(shape, batch) {
        Ok(rows) if rows == batch.len() as u64 => {
            batch.clear();
            Ok(())
        }
        Ok(rows) => Err(EffectError::during(format!(
            "{} took {rows} rows of {} for {}",
            target.place(),
            batch.len(),
            shape.table
        ))),
        Err(refused) => {
            let which = match refused.row {
                Some(row) => named(table, shape.key.iter().map(|at| batch.value(row, *at))),
                None => {
                    let first = named(table, shape.key.iter().map(|at| batch.value(0, *at)));
                    format!("one of {} from {first}", batch.len())
                }
            };
            Err(EffectError::during(format!(
                "{}: {} does not take the row {which}: {}",
                target.place(),
                shape.table,
                refused.why
            )))
        }
    }
}

/// Adds a row to a sum, and hands each value on: which one, as it came, and its one text.
fn digest(
    table: &Table,
    row: &Row,
    sum: &mut Sum,
    mut each: impl FnMut(usize, Option<&[u8]>, Option<&[u8]>) -> Result<(), String>,
) -> Result<(), EffectError> {
    let mut hasher = DefaultHasher::new();
    for (at, (column, raw)) in table.shape.source.columns.iter().zip(row).enumerate() {
        let canonical =
            raw.map(|raw| column.kind.canonical(raw)).transpose().map_err(str::to_owned);
        let done = canonical.and_then(|canonical| {
            hasher.write_u64(canonical.as_ref().map_or(u64::MAX, |value| value.len() as u64));
            hasher.write(canonical.as_deref().unwrap_or_default());
            each(at, *raw, canonical.as_deref())
        });
        done.map_err(|why| {
            let which = named(
                table,
                table.shape.source.key.iter().map(|at| row.get(*at).copied().flatten()),
            );
            EffectError::during(format!(
                "{} of the row {which} of {} does not fit: {why}",
                column.name, table.name
            ))
        })?;
    }
    sum.take(&hasher);
    Ok(())
}

/// A row by its key, for people.
fn named<'a>(table: &Table, values: impl Iterator<Item = Option<&'a [u8]>>) -> String {
    let columns = table.shape.source.key();
    let pairs = columns.zip(values).map(|(column, value)| {
        let value = value.unwrap_or(b"NULL");
        let value = if column.kind == Kind::Bytes {
            hex(value)
        } else {
            String::from_utf8_lossy(value).into_owned()
        };
        format!("{} = {value}", column.name)
    });
    pairs.collect::<Vec<_>>().join(", ")
}

fn key<'a>(
    table: &Table,
    values: impl Iterator<Item = Option<&'a [u8]>>,
) -> Result<Key, EffectError> {
    let texts = table.shape.source.key().zip(values).map(|(column, raw)| {
        let failed = |why: &str| {
            EffectError::during(format!(
                "a key of {}, in {}, does not fit: {why}",
                table.name, column.name
            ))
        };
        let value =
            column.kind.canonical(raw.ok_or_else(|| failed("it is NULL"))?).map_err(failed)?;
        Ok(if column.kind == Kind::Bytes {
            hex(&value)
        } else {
            String::from_utf8_lossy(&value).into_owned()
        })
    });
    texts.collect()
}

fn rows_of(side: &dyn Side, shape: &Shape, range: &Range) -> String {
    format!(
        "SELECT {} FROM {}{}",
        texts(side, shape.columns.iter()),
        shape.table,
        condition(side, shape, range)
    )
}

/// What is selected, under names of its own: ordered by are the values, not their texts.
fn texts<'a>(side: &dyn Side, columns: impl Iterator<Item = &'a Column>) -> String {
    columns
        .enumerate()
        .map(|(at, column)| format!("{} AS text_of_{at}", side.text(column)))
        .collect::<Vec<_>>()
        .join(", ")
}

/// ` ORDER BY …`
fn order_of(side: &dyn Side, shape: &Shape, behind: &str) -> String {
    let all: Vec<String> =
        shape.key().map(|column| format!("{}{behind}", side.ordered(column))).collect();
    format!(" ORDER BY {}", all.join(", "))
}

/// ` WHERE …`, or nothing for all rows.
fn condition(side: &dyn Side, shape: &Shape, range: &Range) -> String {
    let beyond = |key: &Key, strict: &str, last: &str| {
        let names: Vec<String> = shape.key().map(|column| side.ordered(column)).collect();
        let values: Vec<String> =
            shape.key().zip(key).map(|(column, value)| side.literal(column, value)).collect();
        if let ([name], [value]) = (names.as_slice(), values.as_slice()) {
            return format!("{name} {last} {value}");
        }
        if side.compares_rows() {
            return format!("({}) {last} ({})", names.join(", "), values.join(", "));
        }
        // The first comparison is for the index, the rest for the truth.
        let mut rest = format!("{} {last} {}", names[names.len() - 1], values[values.len() - 1]);
        for (name, value) in names.iter().zip(&values).rev().skip(1) {
            rest = format!("({name} {strict} {value} OR {name} = {value} AND {rest})");
        }
        format!("{} {strict}= {} AND {rest}", names[0], values[0])
    };
    let sides = [
        range.after.as_ref().map(|key| beyond(key, ">", ">")),
        range.upto.as_ref().map(|key| beyond(key, "<", "<=")),
    ];
    let sides: Vec<String> = sides.into_iter().flatten().collect();
    if sides.is_empty() { String::new() } else { format!(" WHERE {}", sides.join(" AND ")) }
}

impl Shape {
    fn key(&self) -> impl Iterator<Item = &Column> {
        self.key.iter().map(|at| &self.columns[*at])
    }
}

fn hex(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(bytes)
}
