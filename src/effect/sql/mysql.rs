//! SQL on MySQL and MariaDB. Statements without values go by the text protocol, which knows all of
//! them; values are bound.

use std::sync::Arc;

use mysql_async::consts::ColumnType;
use mysql_async::{Error, Opts, OptsBuilder, Params, Row, Value as Cell};
use serde_json::Value as Json;

use super::mysql_client::Client;
use super::statement::{Dialect, Statement, first_word, is_explained, statements};
use super::{Login, Rows, changed, remedy, tls, value_of};
use crate::effect::{EffectError, Reading, Stopper, When, bare};
use crate::runbook::action::Sql;

pub fn perform(
    login: &Login,
    sql: &Sql<String>,
    stopper: &Arc<Stopper>,
) -> Result<Reading, EffectError> {
    let mut client = connect(login)?;
    let cancel = canceller(login, &client)?;
    stopper.on_stop(move |_| cancel());
    if let Some(timeout) = login.timeout {
        // The one is MariaDB's, the other MySQL's and for queries only; neither has both.
        let _ = client.execute(&format!("SET max_statement_time = {}", timeout.as_secs_f64()));
        let _ = client.execute(&format!("SET max_execution_time = {}", timeout.as_millis()));
    }
    let result = if sql.reads { query(login, &mut client, sql) } else { change(&mut client, sql) };
    stopper.clear();
    result
}

fn options(login: &Login) -> Result<Opts, EffectError> {
    let server = login.server;
    let options = OptsBuilder::default()
        .ip_or_hostname(bare(&server.host))
        .tcp_port(login.port)
        .db_name(Some(&server.database))
        .user(Some(&server.user))
        .pass(login.password.as_deref())
        .prefer_socket(false);
    let tls = tls::wanted(login)?.map(tls::options).transpose()?;
    Ok(options.ssl_opts(tls).into())
}

/// Has the server plan each statement, by which it also checks names and rights: how many rows it
/// expects, if it can say.
pub fn explain(
    login: &Login,
    sql: &Sql<String>,
    stopper: &Arc<Stopper>,
) -> Result<Option<u64>, EffectError> {
    let mut client = connect(login)?;
    let cancel = canceller(login, &client)?;
    stopper.on_stop(move |_| cancel());
    // Behind somebody else's lock a plan would wait like what it is of. The second is MariaDB's
    // only.
    for limit in ["SET lock_wait_timeout = 10", "SET max_statement_time = 10"] {
        let _ = client.execute(limit);
    }
    let result = plan(&mut client, sql);
    stopper.clear();
    result
}

fn plan(client: &mut Client, sql: &Sql<String>) -> Result<Option<u64>, EffectError> {
    let all = statements(&sql.text, Dialect::Mysql);
    if !all.iter().all(|one| is_explained(&one.text)) {
        return Ok(None);
    }
    let mut rows = 0;
    for one in &all {
        let text = format!("EXPLAIN {}", one.text);
        let values = bound(sql, one)?;
        let plan: Vec<Row> = client.rows(&text, values).map_err(|error| {
            let words = in_words(&error);
            if is_for_good(&error) { EffectError::shut(words) } else { EffectError::during(words) }
        })?;
        rows += plan
            .iter()
            .filter_map(|row| row.get_opt::<Option<u64>, _>("rows")?.ok()?)
            .max()
            .unwrap_or_default();
    }
    Ok(Some(rows))
}

/// Connects.
pub fn connect(login: &Login) -> Result<Client, EffectError> {
    let Login { server, port, .. } = login;
    let place = format!("mysql://{}@{}:{port}/{}", server.user, server.host, server.database);
    Client::connect(options(login)?)
        .map_err(|error| remedy::unconnected(&place, &in_words(&error), remedy::of_mysql(&error)))
}

/// What interrupts the statement that a connection is at.
pub fn canceller(
    login: &Login,
    client: &Client,
) -> Result<impl Fn() + Send + 'static, EffectError> {
    let (options, thread) = (options(login)?, client.id());
    Ok(move || {
        let (options, Some(thread)) = (options.clone(), thread) else { return };
        // Another connection, which may take its time.
        std::thread::spawn(move || {
            Client::connect(options)
                .and_then(|mut client| client.execute(&format!("KILL QUERY {thread}")))
        });
    })
}

fn query(login: &Login, client: &mut Client, sql: &Sql<String>) -> Result<Reading, EffectError> {
    let all = statements(&sql.text, Dialect::Mysql);
    let [one] = all.as_slice() else {
        return Err(EffectError::shut("a query is one statement; write several as a `statement`"));
    };
    let failed = |error: Error| {
        let words = format!("the query failed: {}", in_words(&error));
        if is_for_good(&error) { EffectError::shut(words) } else { EffectError::before(words) }
    };
    let (values, stop) = (bound(sql, one)?, canceller(login, client)?);
    // The server sees to it that it only reads.
    client.execute("START TRANSACTION READ ONLY").map_err(failed)?;
    let (mut columns, mut rows) = (Vec::new(), Rows::of(sql));
    let mut take = |row: Row| {
        let bytes = (0..row.len()).filter_map(|at| row.as_ref(at)).map(length).sum();
        let goes_on = rows.take(bytes, row.len(), || Ok::<_, EffectError>(cells(row)))?;
        if !goes_on {
            // What is left would be read to its end.
            stop();
        }
        Ok(goes_on)
    };
    let values = (!one.names.is_empty()).then_some(values);
    let mut begin = |names: Vec<String>| columns = names.into_iter().map(Json::from).collect();
    client.each_row(&one.text, values, &mut begin, &mut take, failed)?;
    Ok(rows.reading(columns))
}

fn change(client: &mut Client, sql: &Sql<String>) -> Result<Reading, EffectError> {
    let all = match is_one(&sql.text) {
        true => vec![Statement { text: sql.text.clone(), names: Vec::new() }],
        false => statements(&sql.text, Dialect::Mysql),
    };
    // Whatever else a statement does, the server commits before it.
    let stays = |one: &Statement| {
        !matches!(
            &*first_word(&one.text),
            "INSERT" | "UPDATE" | "DELETE" | "REPLACE" | "SELECT" | "WITH" | "SET"
        )
    };
    if sql.transaction
        && all.len() > 1
        && let Some(one) = all.iter().find(|one| stays(one))
    {
        return Err(EffectError::before(format!(
            "{} cannot be part of a transaction: the server commits before and after it. Make it a \
             step of its own, or say `transaction: false`",
            first_word(&one.text)
        )));
    }
    let is_transaction = sql.transaction && all.len() > 1;
    if is_transaction {
        client
            .execute("START TRANSACTION")
            .map_err(|error| EffectError::before(in_words(&error)))?;
    }
    let mut changes = 0;
    for (number, one) in all.iter().enumerate() {
        let values = bound(sql, one)?;
        let done = if one.names.is_empty() {
            client.execute(&one.text)
        } else {
            client.execute_bound(&one.text, values)
        };
        done.map_err(|error| {
            // What the server refuses to understand, or to the user, has done nothing. Tables
            // without transactions keep the rest.
            let is_refused = matches!(
                &error,
                Error::Server(said) if said.state.starts_with("42") && number == 0
            );
            let counted =
                if all.len() > 1 { format!("statement {}: ", number + 1) } else { String::new() };
            EffectError {
                when: if is_refused { When::Before } else { When::During },
                message: format!("{counted}{}", in_words(&error)),
            }
        })?;
        changes += client.affected_rows();
    }
    if is_transaction {
        client.execute("COMMIT").map_err(|error| match error {
            Error::Server(_) => {
                EffectError::during(format!("the commit failed: {}", in_words(&error)))
            }
            _ => EffectError::lost(format!(
                "the connection was lost during the commit: {}",
                in_words(&error)
            )),
        })?;
    }
    Ok(changed(changes))
}

/// Whether it is the definition of a routine, whose body has semicolons of its own.
fn is_one(text: &str) -> bool {
    let words: Vec<String> = text.split_whitespace().take(8).map(str::to_ascii_uppercase).collect();
    let is_routine =
        |word: &String| matches!(&**word, "PROCEDURE" | "FUNCTION" | "TRIGGER" | "EVENT");
    words.first().is_some_and(|word| word == "CREATE") && words.iter().any(is_routine)
}

fn bound(sql: &Sql<String>, one: &Statement) -> Result<Params, EffectError> {
    let cell = |value: Json| match value {
        Json::Null => Cell::NULL,
        Json::Bool(value) => Cell::from(value),
        Json::Number(number) => match number.as_i64() {
            Some(whole) => Cell::from(whole),
            None => Cell::from(number.to_string()),
        },
        Json::String(text) => Cell::from(text),
        other => Cell::from(other.to_string()),
    };
    let values = one
        .names
        .iter()
        .map(|name| Ok(cell(value_of(sql, name)?)))
        .collect::<Result<Vec<_>, EffectError>>()?;
    Ok(if values.is_empty() { Params::Empty } else { Params::Positional(values) })
}

fn cells(row: Row) -> Json {
    let kinds: Vec<ColumnType> =
        row.columns_ref().iter().map(|column| column.column_type()).collect();
    row.unwrap().into_iter().zip(kinds).map(|(cell, kind)| json(cell, kind)).collect()
}

/// How many bytes it has as JSON, about.
fn length(cell: &Cell) -> u64 {
    match cell {
        Cell::Bytes(bytes) if std::str::from_utf8(bytes).is_err() => 2 * bytes.len() as u64,
        Cell::Bytes(bytes) => bytes.len() as u64,
        _ => 0,
    }
}

fn json(cell: Cell, kind: ColumnType) -> Json {
    match cell {
        Cell::NULL => Json::Null,
        Cell::Int(value) => value.into(),
        Cell::UInt(value) => value.into(),
        Cell::Float(value) => value.into(),
        Cell::Double(value) => value.into(),
        // The text protocol has only texts.
        Cell::Bytes(bytes) => match String::from_utf8(bytes) {
            Ok(text) if kind.is_numeric_type() => number(text),
            Ok(text) => text.into(),
            Err(error) => data_encoding::HEXLOWER.encode(error.as_bytes()).into(),
        },
        date_or_time => date_or_time.as_sql(false).trim_matches('\'').into(),
    }
}

/// A number that fits, or its text: of a decimal, nothing is lost.
fn number(text: String) -> Json {
    match (text.parse::<i64>(), text.parse::<f64>()) {
        (Ok(whole), _) => whole.into(),
        (_, Ok(broken)) if broken.to_string() == text => broken.into(),
        _ => text.into(),
    }
}

/// Whether a statement is refused whatever is in the database: it cannot be parsed, or it changes
/// something where it may only read.
fn is_for_good(error: &Error) -> bool {
    const PARSE_ERROR: u16 = 1064;
    const READ_ONLY_TRANSACTION: u16 = 1792;
    matches!(error, Error::Server(said) if matches!(said.code, PARSE_ERROR | READ_ONLY_TRANSACTION))
}

/// What the server says.
pub fn in_words(error: &Error) -> String {
    match error {
        Error::Server(said) => format!("{} ({}, {})", said.message, said.code, said.state),
        other => other.to_string(),
    }
}
