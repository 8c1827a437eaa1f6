//! One end is a file of SQLite, whose columns hold anything: what a column declares is what its
//! values must be.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::types::{ToSqlOutput, Value, ValueRef};
use rusqlite::{Connection, OpenFlags};

use super::plan::Found;
use super::{
    Batch, Class, Column, EffectError, End, Interrupts, Kind, Refused, Row, Sequence, Shape, Side,
};
use crate::effect::sql::remedy;

/// How many digits a decimal number can have that is kept as a number.
const DIGITS: usize = 15;

pub struct File {
    db: Connection,
    path: PathBuf,
}

impl File {
    pub fn open(path: &Path, end: End, interrupts: &Interrupts) -> Result<File, EffectError> {
        let failed =
            |error: rusqlite::Error| EffectError::before(format!("{}: {error}", path.display()));
        if !path.is_file() {
            return Err(EffectError::before(format!(
                "the database {} does not exist",
                path.display()
            )));
        }
        let access = if end == End::Source {
            OpenFlags::SQLITE_OPEN_READ_ONLY
        } else {
            OpenFlags::SQLITE_OPEN_READ_WRITE
        };
        let db = Connection::open_with_flags(path, access | OpenFlags::SQLITE_OPEN_NO_MUTEX)
            .map_err(failed)?;
        db.busy_timeout(Duration::from_secs(60)).map_err(failed)?;
        db.execute_batch("PRAGMA synchronous = FULL").map_err(failed)?;
        let handle = db.get_interrupt_handle();
        interrupts.add(move || handle.interrupt());
        Ok(File { db, path: path.to_owned() })
    }

    fn failed(&self, error: &rusqlite::Error) -> EffectError {
        EffectError::during(format!("{}: {error}{}", self.path.display(), remedy::of_sqlite(error)))
    }

    fn columns(&self, table: &str) -> rusqlite::Result<Vec<(String, String, i64)>> {
        let mut statement = self
            .db
            .prepare("SELECT name, type, pk FROM pragma_table_xinfo(?1) WHERE hidden = 0")?;
        statement.query_map([table], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?.collect()
    }
}

impl Side for File {
    fn place(&self) -> String {
        self.path.display().to_string()
    }

    fn describe(&mut self, table: &str) -> Result<Found, EffectError> {
        let all = self.columns(table).map_err(|error| self.failed(&error))?;
        if all.is_empty() {
            return Err(EffectError::before(format!(
                "there is no table {table} in {}",
                self.path.display()
            )));
        }
        let mut key: Vec<(i64, String)> = all
            .iter()
            .filter(|(.., place)| *place > 0)
            .map(|(name, _, place)| (*place, name.clone()))
            .collect();
        key.sort();
        let columns = all.into_iter().map(|(name, declared, _)| Column {
            quoted: quoted(&name),
            name,
            class: class(&declared.to_ascii_uppercase()),
            declared: if declared.is_empty() { "without a type".to_owned() } else { declared },
            places: None,
            // Which one it is, is not to be had; by their bytes they can be ordered always.
            collation: Some(String::new()),
            is_bytewise: false,
            kind: Kind::Text,
        });
        Ok(Found {
            table: quoted(table),
            columns: columns.collect(),
            key: key.into_iter().map(|(_, name)| name).collect(),
        })
    }

    fn estimate(&mut self, _: &str) -> Option<u64> {
        None
    }

    fn text(&self, column: &Column) -> String {
        column.quoted.clone()
    }

    fn ordered(&self, column: &Column) -> String {
        if column.is_bytewise {
            format!("{} COLLATE BINARY", column.quoted)
        } else {
            column.quoted.clone()
        }
    }

    fn literal(&self, column: &Column, value: &str) -> String {
        match column.class {
            Class::Bytes => format!("x'{value}'"),
            Class::Integer | Class::Decimal | Class::Boolean => value.to_owned(),
            _ => format!("'{}'", value.replace('\'', "''")),
        }
    }

    fn rows(
        &mut self,
        sql: &str,
        each: &mut dyn FnMut(&Row) -> Result<(), EffectError>,
    ) -> Result<(), EffectError> {
        let failed = |error: rusqlite::Error| {
            EffectError::during(format!("{}: {error}", self.path.display()))
        };
        let mut statement = self.db.prepare_cached(sql).map_err(failed)?;
        let width = statement.column_count();
        let mut rows = statement.query([]).map_err(failed)?;
        while let Some(row) = rows.next().map_err(failed)? {
            let mut numbers: Vec<Option<String>> = Vec::with_capacity(width);
            for at in 0..width {
                numbers.push(match row.get_ref(at).map_err(failed)? {
                    ValueRef::Integer(value) => Some(value.to_string()),
                    ValueRef::Real(value) => Some(value.to_string()),
                    _ => None,
                });
            }
            let mut texts: Vec<Option<&[u8]>> = Vec::with_capacity(width);
            for (at, number) in numbers.iter().enumerate() {
                texts.push(match (number, row.get_ref(at).map_err(failed)?) {
                    (Some(number), _) => Some(number.as_bytes()),
                    (None, ValueRef::Text(bytes) | ValueRef::Blob(bytes)) => Some(bytes),
                    (None, _) => None,
                });
            }
            each(&texts)?;
        }
        Ok(())
    }

    fn change(&mut self, sql: &str) -> Result<u64, EffectError> {
        self.db.execute(sql, []).map(|rows| rows as u64).map_err(|error| self.failed(&error))
    }

    fn insert(&mut self, shape: &Shape, batch: &Batch) -> Result<u64, Refused> {
        let names: Vec<&str> = shape.columns.iter().map(|column| &*column.quoted).collect();
        let sql = format!(
            "INSERT INTO {} ({}) VALUES ({})",
            shape.table,
            names.join(", "),
            vec!["?"; names.len()].join(", ")
        );
        let refused = |row: Option<usize>, why: String| Refused { row, why };
        let mut statement =
            self.db.prepare_cached(&sql).map_err(|error| refused(None, error.to_string()))?;
        let mut count = 0;
        for (number, row) in batch.rows().enumerate() {
            for (at, (column, value)) in shape.columns.iter().zip(row).enumerate() {
                let value = cell(column, value)
                    .map_err(|why| refused(Some(number), format!("{}: {why}", column.name)))?;
                statement
                    .raw_bind_parameter(at + 1, value)
                    .map_err(|error| refused(Some(number), error.to_string()))?;
            }
            count += statement.raw_execute().map_err(|error| {
                refused(Some(number), format!("{error}{}", remedy::of_sqlite(&error)))
            })? as u64;
        }
        Ok(count)
    }

    // As a target it goes on from the largest key that was ever there, which the rows bring along.
    fn sequences(&mut self, table: &str) -> Result<Vec<Sequence>, EffectError> {
        let plain = table.trim_matches('"').replace("\"\"", "\"");
        let columns = self.columns(&plain).map_err(|error| self.failed(&error))?;
        let key: Vec<_> = columns.iter().filter(|(.., place)| *place > 0).collect();
        let [(name, declared, _)] = key.as_slice() else { return Ok(Vec::new()) };
        if !declared.eq_ignore_ascii_case("INTEGER") {
            return Ok(Vec::new());
        }
        let sql = format!("SELECT coalesce(max({}), 0) FROM {table}", quoted(name));
        let last =
            self.db.query_row(&sql, [], |row| row.get(0)).map_err(|error| self.failed(&error))?;
        Ok(vec![Sequence { column: name.clone(), name: table.to_owned(), last, called: true }])
    }

    fn set(&mut self, _: &str, _: i64, _: bool) -> Result<(), EffectError> {
        Ok(())
    }
}

fn class(declared: &str) -> Class {
    let plain = declared.split('(').next().unwrap_or_default().trim();
    match plain {
        "DATE" => Class::Date,
        "TIME" => Class::Time,
        "DATETIME" | "TIMESTAMP" => Class::Timestamp,
        "TIMESTAMPTZ" | "TIMESTAMP WITH TIME ZONE" => Class::Instant,
        "UUID" => Class::Uuid,
        "JSON" | "JSONB" => Class::Json,
        "DECIMAL" | "NUMERIC" => Class::Decimal,
        _ if plain.contains("BOOL") => Class::Boolean,
        _ if plain.contains("INT") => Class::Integer,
        _ if ["CHAR", "CLOB", "TEXT"].iter().any(|word| plain.contains(word)) => Class::Text,
        _ if ["REAL", "FLOA", "DOUB"].iter().any(|word| plain.contains(word)) => Class::Double,
        _ if ["BLOB", "BINARY", "BYTEA"].iter().any(|word| plain.contains(word)) => Class::Bytes,
        _ => Class::Other,
    }
}

fn cell<'a>(column: &Column, value: Option<&'a [u8]>) -> Result<ToSqlOutput<'a>, &'static str> {
    let Some(bytes) = value else { return Ok(ToSqlOutput::Owned(Value::Null)) };
    if column.class == Class::Bytes {
        return Ok(ToSqlOutput::Borrowed(ValueRef::Blob(bytes)));
    }
    let text = std::str::from_utf8(bytes).map_err(|_| "it is no UTF-8")?;
    Ok(match column.class {
        Class::Integer | Class::Boolean => ToSqlOutput::Owned(Value::Integer(
            text.parse().map_err(|_| "it is larger than an integer of SQLite can be")?,
        )),
        Class::Double | Class::Single => match text.parse::<f64>() {
            Ok(value) if !value.is_nan() => ToSqlOutput::Owned(Value::Real(value)),
            _ => return Err("it is no number, which SQLite makes NULL"),
        },
        Class::Decimal
            if text.bytes().filter(u8::is_ascii_digit).count() > DIGITS
                && text.parse::<i64>().is_err() =>
        {
            return Err("it has more digits than a number of SQLite keeps: make the column TEXT");
        }
        _ => ToSqlOutput::Borrowed(ValueRef::Text(bytes)),
    })
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
