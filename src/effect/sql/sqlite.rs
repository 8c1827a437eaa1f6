//! SQL on SQLite files.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use indexmap::IndexMap;
use rusqlite::fallible_iterator::FallibleIterator;
use rusqlite::types::{ToSqlOutput, Value as Cell, ValueRef};
use rusqlite::{Batch, Connection, OpenFlags};
use serde_json::Value as Json;

use super::statement::{Dialect, is_explained, statements};
use super::{Rows, changed};
use crate::effect::{Cut, EffectError, Reading, Stopper, When};
use crate::runbook::action::Sql;

pub fn perform(
    file: &str,
    sql: &Sql<String>,
    stopper: &Arc<Stopper>,
) -> Result<Reading, EffectError> {
    let db = open(file, sql)?;
    let interrupt = db.get_interrupt_handle();
    stopper.on_stop(move |_| interrupt.interrupt());
    let parameters: IndexMap<String, Cell> = sql
        .parameters
        .iter()
        .map(|(name, value)| Ok((name.clone(), cell(value.clone().into_json(), name)?)))
        .collect::<Result<_, EffectError>>()?;
    let result =
        if sql.reads { query(&db, sql, &parameters) } else { change(&db, sql, &parameters) };
    stopper.clear();
    result
}

/// Has each statement compiled, by which names are checked. SQLite does not say how many rows it
/// expects.
pub fn explain(file: &str, sql: &Sql<String>) -> Result<Option<u64>, EffectError> {
    if !Path::new(file).is_file() {
        // It would be made.
        return Ok(None);
    }
    let db = open(file, &Sql { reads: true, ..sql.clone() })
        .map_err(|error| EffectError::during(error.message))?;
    let all = statements(&sql.text, Dialect::Postgres);
    if all.iter().all(|one| is_explained(&one.text)) {
        let mut batch = Batch::new(&db, &sql.text);
        let failed = |error: rusqlite::Error| {
            let words = error.to_string();
            if is_for_good(&error) { EffectError::shut(words) } else { EffectError::during(words) }
        };
        while batch.next().map_err(failed)?.is_some() {}
    }
    Ok(None)
}

fn open(file: &str, sql: &Sql<String>) -> Result<Connection, EffectError> {
    let path = Path::new(file);
    let failed = |what: &str, error: &dyn std::fmt::Display| {
        EffectError::before(format!("the database {what}: {error}"))
    };
    if sql.reads && !path.is_file() {
        return Err(EffectError::before(format!("the database {file} does not exist")));
    }
    let flags = if sql.reads {
        OpenFlags::SQLITE_OPEN_READ_ONLY
    } else {
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE
    };
    let db = Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)
        .map_err(|error| failed(&format!("{file} could not be opened"), &error))?;
    db.busy_timeout(Duration::from_secs(10)).map_err(|error| failed(file, &error))?;
    for (name, file) in &sql.attach {
        if !Path::new(file).is_file() {
            return Err(EffectError::before(format!(
                "the database {file}, to be attached as {name}, does not exist"
            )));
        }
        let quoted = name.replace('"', "\"\"");
        db.execute(&format!("ATTACH DATABASE ?1 AS \"{quoted}\""), [file])
            .map_err(|error| failed(&format!("{file} could not be attached"), &error))?;
    }
    Ok(db)
}

fn query(
    db: &Connection,
    sql: &Sql<String>,
    parameters: &IndexMap<String, Cell>,
) -> Result<Reading, EffectError> {
    let failed = |error: rusqlite::Error| {
        let words = format!("the query failed: {error}");
        if is_for_good(&error) { EffectError::shut(words) } else { EffectError::before(words) }
    };
    let mut statement = db.prepare(&sql.text).map_err(failed)?;
    if !statement.readonly() {
        return Err(EffectError::shut("a query must only read; write it as a `statement`"));
    }
    bind(&mut statement, parameters).map_err(EffectError::before)?;
    let columns: Vec<Json> = statement.column_names().map(Json::from).collect();
    let (mut rows, mut cursor, mut are_texts) = (Rows::of(sql), statement.raw_query(), true);
    while let Some(row) = cursor.next().map_err(failed)? {
        let cells = (0..columns.len())
            .map(|at| row.get_ref(at))
            .collect::<Result<Vec<_>, _>>()
            .map_err(failed)?;
        let bytes = cells.iter().map(|cell| length(*cell)).sum();
        are_texts &= cells.iter().all(
            |cell| !matches!(cell, ValueRef::Text(bytes) if std::str::from_utf8(bytes).is_err()),
        );
        if !rows.take(bytes, cells.len(), || {
            Ok::<_, EffectError>(cells.into_iter().map(json).collect())
        })? {
            break;
        }
    }
    if !are_texts {
        rows.cut.get_or_insert(Cut::NotText);
    }
    Ok(rows.reading(columns))
}

/// Whether a statement is refused whatever is in the database: it cannot be parsed.
fn is_for_good(error: &rusqlite::Error) -> bool {
    // SQLite has one code for all that is wrong with a statement.
    let words = error.to_string();
    words.contains(": syntax error") || words.contains("incomplete input")
}

fn change(
    db: &Connection,
    sql: &Sql<String>,
    parameters: &IndexMap<String, Cell>,
) -> Result<Reading, EffectError> {
    // Inside our transaction, everything up to the commit is taken back with it; without one, or
    // after a COMMIT among the statements, what they did stays.
    let ours = std::cell::Cell::new(sql.transaction);
    let is_taken_back = |db: &Connection| ours.get() && !db.is_autocommit();
    let undone = |number: usize, error: String| EffectError {
        when: if is_taken_back(db) { When::Before } else { When::During },
        message: format!("statement {number}: {error}"),
    };
    if sql.transaction {
        db.execute_batch("BEGIN IMMEDIATE").map_err(|error| {
            EffectError::before(format!("the transaction could not begin: {error}"))
        })?;
    }
    let (mut batch, mut number) = (Batch::new(db, &sql.text), 0);
    let before = db.total_changes();
    loop {
        number += 1;
        match batch.next() {
            Ok(None) => break,
            Ok(Some(mut statement)) => {
                bind(&mut statement, parameters).map_err(|error| undone(number, error))?;
                let mut rows = statement.raw_query();
                while rows.next().map_err(|error| undone(number, error.to_string()))?.is_some() {}
                ours.set(ours.get() && !db.is_autocommit());
            }
            Err(error) => return Err(undone(number, error.to_string())),
        }
    }
    if sql.transaction && !db.is_autocommit() {
        db.execute_batch("COMMIT")
            .map_err(|error| EffectError::during(format!("the commit failed: {error}")))?;
    }
    Ok(changed(db.total_changes() - before))
}

/// Binds the parameters that a statement names. One that it names and nobody gave is an error, not
/// NULL.
fn bind(
    statement: &mut rusqlite::Statement,
    parameters: &IndexMap<String, Cell>,
) -> Result<(), String> {
    for at in 1..=statement.parameter_count() {
        let name = statement
            .parameter_name(at)
            .map(|name| name.trim_start_matches([':', '@', '$']).to_owned())
            .unwrap_or_default();
        let value = parameters
            .get(&name)
            .ok_or_else(|| format!("no value is given for `:{name}`"))?
            .clone();
        statement
            .raw_bind_parameter(at, ToSqlOutput::Owned(value))
            .map_err(|error| error.to_string())?;
    }
    Ok(())
}

fn cell(value: Json, name: &str) -> Result<Cell, EffectError> {
    Ok(match value {
        Json::Null => Cell::Null,
        Json::Bool(value) => Cell::Integer(value.into()),
        Json::Number(number) => match number.as_i64() {
            Some(integer) => Cell::Integer(integer),
            None => Cell::Real(number.as_f64().ok_or_else(|| {
                EffectError::before(format!("`{name}` is not a number that SQLite knows"))
            })?),
        },
        Json::String(text) => Cell::Text(text),
        list @ (Json::Array(_) | Json::Object(_)) => Cell::Text(list.to_string()),
    })
}

/// How many bytes it has as JSON, about.
fn length(cell: ValueRef) -> u64 {
    match cell {
        ValueRef::Text(bytes) => bytes.len() as u64,
        ValueRef::Blob(bytes) => 2 * bytes.len() as u64,
        ValueRef::Null | ValueRef::Integer(_) | ValueRef::Real(_) => 0,
    }
}

fn json(cell: ValueRef) -> Json {
    match cell {
        ValueRef::Null => Json::Null,
        ValueRef::Integer(value) => value.into(),
        ValueRef::Real(value) => value.into(),
        ValueRef::Text(bytes) => String::from_utf8_lossy(bytes).into(),
        ValueRef::Blob(bytes) => data_encoding::HEXLOWER.encode(bytes).into(),
    }
}
