//! Both ends are SQLite: the source is attached to the target, read only.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hasher as _};
use std::path::PathBuf;
use std::time::Duration;

use rusqlite::functions::{Aggregate, Context, FunctionFlags};
use rusqlite::types::{Value as Cell, ValueRef};
use rusqlite::{Connection, OpenFlags, OptionalExtension, TransactionBehavior, params_from_iter};
use serde_json::Value as Json;

use super::{Column, End, Interrupts, Key, Pair, Range, Shape, Sum};
use crate::effect::EffectError;
use crate::effect::sql::remedy;

/// A table at both ends.
type Table = super::Table<Shape>;

pub struct Files {
    pub from: PathBuf,
    pub to: PathBuf,
    /// Whether a table that is not too large may be one range.
    pub whole: bool,
    pub interrupts: Interrupts,
}

/// Up to how many rows a table is copied as one range, in a few seconds: SQLite then takes its
/// records as they are, without reading their values, which is a quarter faster than any part of
/// them.
const WHOLE: i64 = 8_000_000;

impl Pair for Files {
    type Lane = Connection;
    type Shape = Shape;

    fn lane(&self) -> Result<Connection, EffectError> {
        let failed =
            |error: rusqlite::Error| EffectError::before(format!("{}: {error}", self.to.display()));
        for path in [&self.from, &self.to] {
            if !path.is_file() {
                return Err(EffectError::before(format!(
                    "the database {} does not exist",
                    path.display()
                )));
            }
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_NO_MUTEX
            | OpenFlags::SQLITE_OPEN_URI;
        let db = Connection::open_with_flags(&self.to, flags).map_err(failed)?;
        db.busy_timeout(Duration::from_secs(60)).map_err(failed)?;
        let source = std::path::absolute(&self.from)
            .map_err(|error| EffectError::before(format!("{}: {error}", self.from.display())))?;
        let uri = format!("file:{}?mode=ro", escaped(&source.display().to_string()));
        db.execute("ATTACH DATABASE ?1 AS source", [uri]).map_err(failed)?;
        db.execute_batch("PRAGMA synchronous = FULL").map_err(failed)?;
        let flags = FunctionFlags::SQLITE_UTF8
            | FunctionFlags::SQLITE_DETERMINISTIC
            | FunctionFlags::SQLITE_DIRECTONLY;
        db.create_aggregate_function("digest_of_rows", -1, flags, Rows).map_err(failed)?;
        let handle = db.get_interrupt_handle();
        self.interrupts.add(move || handle.interrupt());
        Ok(db)
    }

    /// A reader beside the writer would only wait for it, and it for the reader.
    fn is_checked_aside(&self) -> bool {
        false
    }

    fn table(&self, db: &mut Connection, name: &str, into: &str) -> Result<Table, EffectError> {
        let source = columns(db, "source", name)?;
        let target = columns(db, "main", into)?;
        for (end, columns, table) in [(&self.from, &source, name), (&self.to, &target, into)] {
            if columns.is_empty() {
                return Err(EffectError::before(format!(
                    "there is no table {table} in {}",
                    end.display()
                )));
            }
        }
        if let Some(missing) =
            source.iter().find(|column| !target.iter().any(|there| there.name == column.name))
        {
            return Err(EffectError::before(format!(
                "the table {into} of {} has no column {}",
                self.to.display(),
                missing.name
            )));
        }
        let mut key: Vec<&Found> = source.iter().filter(|column| column.place > 0).collect();
        key.sort_by_key(|column| column.place);
        if key.is_empty() {
            let words = "it is copied in ranges of one: give it one, or copy it with a command in \
                a `run` step";
            return Err(EffectError::before(format!(
                "the table {name} of {} has no primary key: {words}",
                self.from.display()
            )));
        }
        Ok(Table {
            name: name.to_owned(),
            source: format!("source.{}", quoted(name)),
            target: format!("main.{}", quoted(into)),
            shape: Shape {
                columns: source.iter().map(|column| quoted(&column.name)).collect(),
                key: key
                    .iter()
                    .map(|column| Column { name: quoted(&column.name), kind: String::new() })
                    .collect(),
            },
        })
    }

    fn is_empty(&self, db: &mut Connection, table: &Table) -> Result<bool, EffectError> {
        let sql = format!("SELECT NOT EXISTS (SELECT 1 FROM {})", table.target);
        db.query_row(&sql, [], |row| row.get(0)).map_err(before)
    }

    /// There are no more than rowids.
    fn estimate(&self, db: &mut Connection, table: &Table) -> Option<u64> {
        rowids(db, table).map(|span| span.unsigned_abs() + 1)
    }

    fn bound(
        &self,
        db: &mut Connection,
        table: &Table,
        after: Option<&Key>,
        rows: u32,
    ) -> Result<Option<Key>, EffectError> {
        let range = Range { after: after.cloned(), upto: None };
        let (condition, values) = condition(table, &range);
        let texts: Vec<String> = table
            .shape
            .key
            .iter()
            .enumerate()
            .map(|(at, column)| format!("json_quote({}) AS key_{at}_text", column.name))
            .collect();
        let (texts, up, down) = (texts.join(", "), names(table, ""), names(table, " DESC"));
        let part = format!(
            "SELECT {texts} FROM {}{condition} ORDER BY {up} LIMIT 1 OFFSET {}",
            table.source,
            rows - 1
        );
        let rest =
            format!("SELECT {texts} FROM {}{condition} ORDER BY {down} LIMIT 1", table.source);
        let is_whole = self.whole && after.is_none() && is_small(db, table);
        for sql in [Some(part).filter(|_| !is_whole), Some(rest)].into_iter().flatten() {
            let read = |row: &rusqlite::Row| {
                (0..table.shape.key.len()).map(|at| row.get(at)).collect::<Result<Key, _>>()
            };
            let mut statement = db.prepare_cached(&sql).map_err(before)?;
            if let Some(key) = statement
                .query_row(params_from_iter(values.iter()), read)
                .optional()
                .map_err(before)?
            {
                return Ok(Some(key));
            }
        }
        Ok(None)
    }

    fn copy(
        &self,
        db: &mut Connection,
        table: &Table,
        range: &Range,
        is_summed: bool,
    ) -> Result<Sum, EffectError> {
        let (condition, values) = condition(table, range);
        let columns = table.shape.columns.join(", ");
        let sql = format!(
            "INSERT INTO {} ({columns}) SELECT {columns} FROM {}{condition} ORDER BY {}",
            table.target,
            table.source,
            names(table, "")
        );
        let failed = |error: rusqlite::Error| {
            let to = self.to.display();
            EffectError::during(format!(
                "{to}: the rows {} of {}: {error}{}",
                range.in_words(),
                table.name,
                remedy::of_sqlite(&error)
            ))
        };
        let whole = if self.whole && range.after.is_none() {
            copy_whole(db, table, range).map_err(failed)?
        } else {
            None
        };
        let rows = match whole {
            Some(rows) => rows,
            None => {
                let mut statement = db.prepare_cached(&sql).map_err(failed)?;
                // One statement is one transaction, durable when it ends.
                statement.execute(params_from_iter(values.iter())).map_err(failed)? as u64
            }
        };
        if is_summed {
            self.sum(db, table, End::Source, range)
        } else {
            Ok(Sum { rows, ..Sum::default() })
        }
    }

    fn sum(
        &self,
        db: &mut Connection,
        table: &Table,
        end: End,
        range: &Range,
    ) -> Result<Sum, EffectError> {
        let (condition, values) = condition(table, range);
        let name = if end == End::Source { &table.source } else { &table.target };
        let sql = format!(
            "SELECT count(*), digest_of_rows({}) FROM {name}{condition}",
            table.shape.columns.join(", ")
        );
        let mut statement = db.prepare_cached(&sql).map_err(before)?;
        let read = |row: &rusqlite::Row| {
            Ok(Sum { rows: row.get::<_, i64>(0)? as u64, digest: row.get::<_, i64>(1)? as u64 })
        };
        statement.query_row(params_from_iter(values.iter()), read).map_err(before)
    }

    fn remove(
        &self,
        db: &mut Connection,
        table: &Table,
        range: &Range,
    ) -> Result<u64, EffectError> {
        let (condition, values) = condition(table, range);
        let sql = format!("DELETE FROM {}{condition}", table.target);
        let removed = db.execute(&sql, params_from_iter(values.iter()));
        removed.map(|rows| rows as u64).map_err(|error| EffectError::during(error.to_string()))
    }

    // Where AUTOINCREMENT goes on is the largest key that was ever there, which the rows bring
    // along.
    fn sequences(
        &self,
        _: &mut Connection,
        _: &Table,
    ) -> Result<BTreeMap<String, Json>, EffectError> {
        Ok(BTreeMap::new())
    }

    fn advance(&self, _: &mut Connection, _: &Table, _: u32) -> Result<(), EffectError> {
        Ok(())
    }

    fn restore(&self, _: &mut Connection, _: &str, _: &Json) -> Result<(), EffectError> {
        Ok(())
    }
}

/// Whether a table has so few rows that it may be one range. Told by the largest rowid, which is
/// there at once; a table without one is not small.
fn is_small(db: &Connection, table: &Table) -> bool {
    rowids(db, table).is_some_and(|span| span < WHOLE)
}

/// From the first to the last, if the table has rows and rowids.
fn rowids(db: &Connection, table: &Table) -> Option<i64> {
    // One of them alone is found at once; both in one query read the whole table.
    let sql =
        format!("SELECT (SELECT max(rowid) FROM {0}) - (SELECT min(rowid) FROM {0})", table.source);
    db.query_row(&sql, [], |row| row.get::<_, Option<i64>>(0)).ok().flatten()
}

/// Copies a range that is the whole table, if it is, and if both ends have the same columns in the
/// same order.
fn copy_whole(db: &mut Connection, table: &Table, range: &Range) -> rusqlite::Result<Option<u64>> {
    let all = |end: &str| format!("SELECT * FROM {end} LIMIT 0");
    let columns = |db: &Connection, end: &str| -> rusqlite::Result<Vec<String>> {
        Ok(db.prepare_cached(&all(end))?.column_names().map(quoted).collect())
    };
    if columns(db, &table.source)? != table.shape.columns
        || columns(db, &table.target)? != table.shape.columns
    {
        return Ok(None);
    }
    let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    // Nothing may come between this look and what is copied: both are of one snapshot.
    let (condition, values) = condition(table, &Range { after: range.upto.clone(), upto: None });
    let sql = format!("SELECT EXISTS (SELECT 1 FROM {}{condition})", table.source);
    if transaction.query_row(&sql, params_from_iter(values.iter()), |row| row.get::<_, bool>(0))? {
        return Ok(None);
    }
    let rows = transaction
        .execute(&format!("INSERT INTO {} SELECT * FROM {}", table.target, table.source), [])?;
    transaction.commit()?;
    Ok(Some(rows as u64))
}

struct Found {
    name: String,
    /// Its place in the primary key, from 1.
    place: i64,
}

fn columns(db: &Connection, schema: &str, table: &str) -> Result<Vec<Found>, EffectError> {
    let mut statement = db
        .prepare("SELECT name, pk FROM pragma_table_xinfo(?1, ?2) WHERE hidden = 0")
        .map_err(before)?;
    let found = statement
        .query_map([table, schema], |row| Ok(Found { name: row.get(0)?, place: row.get(1)? }))
        .map_err(before)?;
    found.collect::<Result<_, _>>().map_err(before)
}

/// ` WHERE …` with its values, or nothing for all rows. A key's texts are JSON, so that a number
/// stays one.
fn condition(table: &Table, range: &Range) -> (String, Vec<Cell>) {
    let mut values = Vec::new();
    let mut side = |key: &Key, operator: &str| {
        values.extend(key.iter().map(|text| cell(text)));
        let places = vec!["?"; key.len()].join(", ");
        format!("({}) {operator} ({places})", names(table, ""))
    };
    let sides = [
        range.after.as_ref().map(|key| side(key, ">")),
        range.upto.as_ref().map(|key| side(key, "<=")),
    ];
    let sides: Vec<String> = sides.into_iter().flatten().collect();
    (
        if sides.is_empty() { String::new() } else { format!(" WHERE {}", sides.join(" AND ")) },
        values,
    )
}

fn cell(text: &str) -> Cell {
    match serde_json::from_str(text) {
        Ok(Json::Number(number)) => number
            .as_i64()
            .map_or_else(|| Cell::Real(number.as_f64().unwrap_or_default()), Cell::Integer),
        Ok(Json::String(text)) => Cell::Text(text),
        _ => Cell::Null,
    }
}

fn names(table: &Table, behind: &str) -> String {
    table
        .shape
        .key
        .iter()
        .map(|column| format!("{}{behind}", column.name))
        .collect::<Vec<_>>()
        .join(", ")
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A path in a URI.
fn escaped(path: &str) -> String {
    path.replace('%', "%25").replace('?', "%3f").replace('#', "%23")
}

fn before(error: rusqlite::Error) -> EffectError {
    EffectError::before(error.to_string())
}

/// The sum of the digests of rows, each of all its values with their types.
struct Rows;

impl Aggregate<Sum, i64> for Rows {
    fn init(&self, _: &mut Context<'_>) -> rusqlite::Result<Sum> {
        Ok(Sum::default())
    }

    fn step(&self, context: &mut Context<'_>, sum: &mut Sum) -> rusqlite::Result<()> {
        let mut hasher = DefaultHasher::new();
        for at in 0..context.len() {
            let (kind, bytes): (u8, &[u8]) = match context.get_raw(at) {
                ValueRef::Null => (0, &[]),
                ValueRef::Integer(value) => (1, &value.to_le_bytes()),
                ValueRef::Real(value) => (2, &value.to_bits().to_le_bytes()),
                ValueRef::Text(bytes) => (3, bytes),
                ValueRef::Blob(bytes) => (4, bytes),
            };
            hasher.write_u8(kind);
            hasher.write_usize(bytes.len());
            hasher.write(bytes);
        }
        sum.take(&hasher);
        Ok(())
    }

    fn finalize(&self, _: &mut Context<'_>, sum: Option<Sum>) -> rusqlite::Result<i64> {
        Ok(sum.unwrap_or_default().digest as i64)
    }
}
