//! SQL on PostgreSQL. Texts without values go as they are, so that the server tells statements
//! apart; values go as texts of the types that the server finds for them.

use std::error::Error as _;
use std::sync::Arc;
use std::time::Duration;

use postgres::error::SqlState;
use postgres::fallible_iterator::FallibleIterator;
use postgres::types::private::BytesMut;
use postgres::types::{Format, FromSql, IsNull, ToSql, Type, to_sql_checked};
use postgres::{Client, Config, NoTls, Row, SimpleQueryMessage};
use serde_json::Value as Json;
use tokio_postgres_rustls::MakeRustlsConnect;

use super::statement::{Dialect, Statement, first_word, is_explained, statements};
use super::{Login, Rows, changed, remedy, tls, value_of};
use crate::effect::{EffectError, Reading, Stopper, When, bare};
use crate::runbook::action::Sql;

/// How long a server may take to plan a statement.
const LOOK: Duration = Duration::from_secs(10);
/// How long a server may take to answer at first.
const PATIENCE: Duration = Duration::from_secs(15);

pub fn perform(
    login: &Login,
    sql: &Sql<String>,
    stopper: &Arc<Stopper>,
) -> Result<Reading, EffectError> {
    let mut client = connect(login)?;
    let cancel = canceller(&client, login)?;
    stopper.on_stop(move |_| cancel());
    if let Some(timeout) = login.timeout {
        let set = client.batch_execute(&format!(
            "SET statement_timeout = {}",
            timeout.as_millis().min(i32::MAX as u128)
        ));
        set.map_err(|error| EffectError::before(in_words(&error, "")))?;
    }
    let result = if sql.reads { query(login, &mut client, sql) } else { change(&mut client, sql) };
    stopper.clear();
    result
}

/// Has the server plan each statement, by which it also checks names, types and rights: how many
/// rows it expects, if it can say.
pub fn explain(
    login: &Login,
    sql: &Sql<String>,
    stopper: &Arc<Stopper>,
) -> Result<Option<u64>, EffectError> {
    let mut client = connect(login)?;
    let cancel = canceller(&client, login)?;
    stopper.on_stop(move |_| cancel());
    let result = plan(&mut client, sql);
    stopper.clear();
    result
}

fn plan(client: &mut Client, sql: &Sql<String>) -> Result<Option<u64>, EffectError> {
    // Behind somebody else's lock a plan would wait like what it is of.
    let limits = format!("SET lock_timeout = {0}; SET statement_timeout = {0}", LOOK.as_millis());
    client.batch_execute(&limits).map_err(|error| EffectError::before(in_words(&error, "")))?;
    let all = statements(&sql.text, Dialect::Postgres);
    if !all.iter().all(|one| is_explained(&one.text)) {
        return Ok(None);
    }
    let mut rows = 0;
    for one in &all {
        let text = format!("EXPLAIN (FORMAT JSON) {}", one.text);
        let values = bound(sql, one)?;
        let values: Vec<&(dyn ToSql + Sync)> =
            values.iter().map(|value| value as &(dyn ToSql + Sync)).collect();
        let row = client.query_one(&text, &values).map_err(|error| {
            let words = in_words(&error, &text);
            if is_for_good(&error) { EffectError::shut(words) } else { EffectError::during(words) }
        })?;
        let Json::Array(cells) = cells(&row).map_err(EffectError::during)? else { continue };
        let plan = cells.into_iter().next().map(|cell| match cell {
            Json::String(text) => serde_json::from_str(&text).unwrap_or_default(),
            plan => plan,
        });
        rows += plan.as_ref().and_then(expected_rows).unwrap_or_default();
    }
    Ok(Some(rows))
}

/// Of the node below the one that writes, which itself gives none.
fn expected_rows(plan: &Json) -> Option<u64> {
    let top = plan.get(0)?.get("Plan")?;
    let node = top.get("Plans").and_then(|below| below.get(0)).unwrap_or(top);
    node.get("Plan Rows")?.as_u64()
}

/// Connects.
pub fn connect(login: &Login) -> Result<Client, EffectError> {
    let server = login.server;
    let mut config = Config::new();
    config.host(bare(&server.host)).port(login.port).dbname(&server.database).user(&server.user);
    config
        .application_name(&login.name)
        .connect_timeout(PATIENCE)
        .keepalives_idle(Duration::from_secs(30));
    if let Some(password) = &login.password {
        config.password(password);
    }
    let made = match wanted(login)? {
        Some(tls) => config.ssl_mode(postgres::config::SslMode::Require).connect(tls),
        None => config.ssl_mode(postgres::config::SslMode::Disable).connect(NoTls),
    };
    let Login { server, port, .. } = login;
    let place = format!("postgres://{}@{}:{port}/{}", server.user, server.host, server.database);
    made.map_err(|error| {
        remedy::unconnected(&place, &in_words(&error, ""), remedy::of_postgres(&error))
    })
}

/// What interrupts the statement that a connection is at.
pub fn canceller(
    client: &Client,
    login: &Login,
) -> Result<impl Fn() + Send + 'static, EffectError> {
    let (token, tls) = (client.cancel_token(), wanted(login)?);
    Ok(move || {
        let (token, tls) = (token.clone(), tls.clone());
        // Another connection, which may take its time.
        std::thread::spawn(move || match tls {
            Some(tls) => token.cancel_query(tls),
            None => token.cancel_query(NoTls),
        });
    })
}

fn wanted(login: &Login) -> Result<Option<MakeRustlsConnect>, EffectError> {
    tls::wanted(login)?.map(|tls| tls::config(tls).map(MakeRustlsConnect::new)).transpose()
}

fn query(login: &Login, client: &mut Client, sql: &Sql<String>) -> Result<Reading, EffectError> {
    let stop = canceller(client, login)?;
    let all = statements(&sql.text, Dialect::Postgres);
    let [one] = all.as_slice() else {
        return Err(EffectError::shut("a query is one statement; write several as a `statement`"));
    };
    let failed = |error: postgres::Error| {
        let words = format!("the query failed: {}", in_words(&error, &one.text));
        if is_for_good(&error) { EffectError::shut(words) } else { EffectError::before(words) }
    };
    // The server sees to it that it only reads.
    let mut transaction = client.build_transaction().read_only(true).start().map_err(failed)?;
    let prepared = transaction.prepare(&one.text).map_err(failed)?;
    let columns: Vec<Json> = prepared.columns().iter().map(|column| column.name().into()).collect();
    let (values, mut rows) = (bound(sql, one)?, Rows::of(sql));
    let mut cursor = transaction
        .query_raw(&prepared, values.iter().map(|value| value as &dyn ToSql))
        .map_err(failed)?;
    while let Some(row) = cursor.next().map_err(failed)? {
        // Bytes become two digits each.
        let blobs = row.columns().iter().any(|column| *column.type_() == Type::BYTEA);
        let bytes = row.raw_size_bytes() as u64 * if blobs { 2 } else { 1 };
        if !rows.take(bytes, row.len(), || cells(&row)).map_err(EffectError::before)? {
            // What is left would be read to its end.
            stop();
            break;
        }
    }
    drop(cursor);
    Ok(rows.reading(columns))
}

fn change(client: &mut Client, sql: &Sql<String>) -> Result<Reading, EffectError> {
    let all = statements(&sql.text, Dialect::Postgres);
    let has_values = all.iter().any(|one| !one.names.is_empty());
    let all: Vec<Statement> = match sql.transaction && !has_values {
        true => vec![Statement { text: sql.text.clone(), names: Vec::new() }],
        false => all,
    };
    if sql.transaction {
        let ends = |one: &Statement| {
            matches!(
                &*first_word(&one.text),
                "BEGIN" | "COMMIT" | "ROLLBACK" | "END" | "ABORT" | "START"
            )
        };
        if statements(&sql.text, Dialect::Postgres).iter().any(ends) {
            return Err(EffectError::before(
                "all of it is one transaction, and it begins or ends one itself: leave that out, \
                 or say `transaction: false`"
                    .to_owned(),
            ));
        }
        client.batch_execute("BEGIN").map_err(|error| EffectError::before(in_words(&error, "")))?;
    }
    let mut changes = 0;
    for (number, one) in all.iter().enumerate() {
        let done = execute(client, sql, one);
        changes += done.map_err(|error| {
            // Taken back with the transaction, which ends with the connection at the latest;
            // without one, the first had no effect if the server refused it.
            let is_refused = |error: &postgres::Error| error.as_db_error().is_some();
            match error {
                Failed::Here(error) => error,
                Failed::There(error) => EffectError {
                    when: if sql.transaction || number == 0 && is_refused(&error) {
                        When::Before
                    } else {
                        When::During
                    },
                    message: format!(
                        "{}{}",
                        if all.len() > 1 {
                            format!("statement {}: ", number + 1)
                        } else {
                            String::new()
                        },
                        in_words(&error, &one.text)
                    ),
                },
            }
        })?;
    }
    if sql.transaction {
        client.batch_execute("COMMIT").map_err(|error| match error.as_db_error() {
            Some(_) => EffectError::before(format!(
                "the commit failed, and nothing was changed: {}",
                in_words(&error, "")
            )),
            None => EffectError::lost(format!(
                "the connection was lost during the commit: {}",
                in_words(&error, "")
            )),
        })?;
    }
    Ok(changed(changes))
}

enum Failed {
    Here(EffectError),
    There(postgres::Error),
}

fn execute(client: &mut Client, sql: &Sql<String>, one: &Statement) -> Result<u64, Failed> {
    if one.names.is_empty() {
        let answers = client.simple_query(&one.text).map_err(Failed::There)?;
        return Ok(answers
            .iter()
            .map(
                |answer| {
                    if let SimpleQueryMessage::CommandComplete(count) = answer { *count } else { 0 }
                },
            )
            .sum());
    }
    let values = bound(sql, one).map_err(Failed::Here)?;
    let values: Vec<&(dyn ToSql + Sync)> =
        values.iter().map(|value| value as &(dyn ToSql + Sync)).collect();
    client.execute(&one.text, &values).map_err(Failed::There)
}

fn bound(sql: &Sql<String>, one: &Statement) -> Result<Vec<Bound>, EffectError> {
    let text = |value: Json| match value {
        Json::Null => None,
        Json::String(text) => Some(text),
        other => Some(other.to_string()),
    };
    one.names.iter().map(|name| Ok(Bound(text(value_of(sql, name)?)))).collect()
}

/// A value as the text that the server reads for whatever type it is.
#[derive(Debug)]
struct Bound(Option<String>);

impl ToSql for Bound {
    fn to_sql(
        &self,
        _: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        match &self.0 {
            None => Ok(IsNull::Yes),
            Some(text) => {
                out.extend_from_slice(text.as_bytes());
                Ok(IsNull::No)
            }
        }
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    fn encode_format(&self, _: &Type) -> Format {
        Format::Text
    }

    to_sql_checked!();
}

fn cells(row: &Row) -> Result<Json, String> {
    let cell = |at: usize| {
        let kind = row.columns()[at].type_();
        let read: Result<Option<Cell>, _> = row.try_get(at);
        read.map(|cell| cell.map_or(Json::Null, |cell| cell.0)).map_err(|_| {
            format!(
                "the column `{}` is of the type {kind}, which is not read here: write it as a \
                 text, `…::text`",
                row.columns()[at].name()
            )
        })
    };
    (0..row.len()).map(cell).collect::<Result<_, _>>().map(Json::Array)
}

/// A value that came back, as its type says.
struct Cell(Json);

impl<'a> FromSql<'a> for Cell {
    fn from_sql(
        kind: &Type,
        raw: &'a [u8],
    ) -> Result<Cell, Box<dyn std::error::Error + Sync + Send>> {
        Ok(Cell(match *kind {
            Type::BOOL => bool::from_sql(kind, raw)?.into(),
            Type::INT2 => i16::from_sql(kind, raw)?.into(),
            Type::INT4 => i32::from_sql(kind, raw)?.into(),
            Type::INT8 => i64::from_sql(kind, raw)?.into(),
            Type::OID => u32::from_sql(kind, raw)?.into(),
            Type::FLOAT4 => f32::from_sql(kind, raw)?.into(),
            Type::FLOAT8 => f64::from_sql(kind, raw)?.into(),
            Type::NUMERIC => numeric(raw).ok_or("not a number")?,
            Type::JSON => serde_json::from_slice(raw)?,
            Type::JSONB => serde_json::from_slice(raw.get(1..).unwrap_or_default())?,
            Type::TIMESTAMPTZ => {
                chrono::DateTime::<chrono::Utc>::from_sql(kind, raw)?.to_rfc3339().into()
            }
            Type::TIMESTAMP => chrono::NaiveDateTime::from_sql(kind, raw)?.to_string().into(),
            Type::DATE => chrono::NaiveDate::from_sql(kind, raw)?.to_string().into(),
            Type::TIME => chrono::NaiveTime::from_sql(kind, raw)?.to_string().into(),
            Type::PG_LSN => postgres::types::PgLsn::from_sql(kind, raw)?.to_string().into(),
            Type::BYTEA => data_encoding::HEXLOWER.encode(raw).into(),
            // Texts, names, words of an enum: their bytes are their text.
            _ => String::from_utf8(raw.to_vec())?.into(),
        }))
    }

    fn accepts(kind: &Type) -> bool {
        let is_text = matches!(
            *kind,
            Type::TEXT | Type::VARCHAR | Type::BPCHAR | Type::NAME | Type::CHAR | Type::UNKNOWN
        );
        let is_word = matches!(kind.kind(), postgres::types::Kind::Enum(_));
        let is_known = matches!(
            *kind,
            Type::BOOL
                | Type::INT2
                | Type::INT4
                | Type::INT8
                | Type::OID
                | Type::FLOAT4
                | Type::FLOAT8
                | Type::NUMERIC
                | Type::JSON
                | Type::JSONB
        );
        let is_time =
            matches!(*kind, Type::TIMESTAMPTZ | Type::TIMESTAMP | Type::DATE | Type::TIME);
        is_text || is_word || is_known || is_time || matches!(*kind, Type::PG_LSN | Type::BYTEA)
    }
}

/// A decimal number: as a number if it is a whole one that fits, else as its text. In the server's
/// binary form these are 16-bit words: how many digits of base 10,000, the power of the first, the
/// sign, the places behind the point, and the digits.
fn numeric(raw: &[u8]) -> Option<Json> {
    let words: Vec<i16> =
        raw.chunks_exact(2).map(|pair| i16::from_be_bytes([pair[0], pair[1]])).collect();
    let [count, weight, sign, places, digits @ ..] = words.as_slice() else { return None };
    let sign = match *sign as u16 {
        0x0000 => "",
        0x4000 => "-",
        0xC000 => return Some("NaN".into()),
        0xD000 => return Some("Infinity".into()),
        0xF000 => return Some("-Infinity".into()),
        _ => return None,
    };
    let digit = |power: i32| {
        usize::try_from(i32::from(*weight) - power)
            .ok()
            .and_then(|at| digits.get(at))
            .copied()
            .unwrap_or(0)
    };
    if digits.len() != usize::try_from(*count).ok()? {
        return None;
    }
    let whole: String =
        (0..=i32::from(*weight).max(0)).rev().map(|power| format!("{:04}", digit(power))).collect();
    let whole = whole.trim_start_matches('0');
    let mut text = format!("{sign}{}", if whole.is_empty() { "0" } else { whole });
    let places = usize::try_from(*places).ok()?;
    if places > 0 {
        let fraction: String =
            (1..=places.div_ceil(4) as i32).map(|power| format!("{:04}", digit(-power))).collect();
        text.push('.');
        text.push_str(&fraction[..places]);
    }
    Some(text.parse::<i64>().map_or(Json::String(text), Json::from))
}

/// Whether a statement is refused whatever is in the database: it cannot be parsed, or it changes
/// something where it may only read.
fn is_for_good(error: &postgres::Error) -> bool {
    // The code of a syntax error is also that of values that do not fit a table's columns.
    let is_of_parser = |said: &postgres::error::DbError| {
        *said.code() == SqlState::SYNTAX_ERROR && said.routine() == Some("scanner_yyerror")
    };
    error.as_db_error().is_some_and(|said| {
        is_of_parser(said) || *said.code() == SqlState::READ_ONLY_SQL_TRANSACTION
    })
}

/// What the server says, with the line that it is about, as its own client shows it.
pub fn in_words(error: &postgres::Error, text: &str) -> String {
    let Some(said) = error.as_db_error() else {
        let source = error.source().map(|source| format!(": {source}")).unwrap_or_default();
        return format!("{error}{source}");
    };
    let mut words = format!("{} ({})", said.message(), said.code().code());
    if let Some(postgres::error::ErrorPosition::Original(position)) = said.position()
        && let Some((number, line, column)) = line_at(text, *position as usize)
    {
        let label = format!("LINE {number}: ");
        words.push_str(&format!("\n{label}{line}\n{}^", " ".repeat(label.len() + column)));
    }
    for (label, more) in
        [("DETAIL", said.detail()), ("HINT", said.hint()), ("CONTEXT", said.where_())]
    {
        words.extend(more.map(|more| format!("\n{label}: {more}")));
    }
    words
}

/// The line that a character is in, counted from 1, with its number and the character's column from
/// 0.
fn line_at(text: &str, position: usize) -> Option<(usize, &str, usize)> {
    let mut before = position.checked_sub(1)?;
    for (number, line) in text.split('\n').enumerate() {
        let length = line.chars().count();
        if before <= length {
            return Some((number + 1, line, before));
        }
        before -= length + 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_read_from_their_binary_form() {
        let raw =
            |words: &[u16]| words.iter().flat_map(|word| word.to_be_bytes()).collect::<Vec<u8>>();
        for (words, expected) in [
            (vec![0, 0, 0, 0], Json::from(0)),
            (vec![1, 1, 0, 0, 5], Json::from(50_000)),
            (vec![3, 1, 0x4000, 3, 1, 2345, 6780], Json::from("-12345.678")),
            (vec![1, 0xffff, 0, 4, 12], Json::from("0.0012")),
            (vec![1, 0xfffe, 0, 8, 12], Json::from("0.00000012")),
            (vec![0, 0, 0xC000, 0], Json::from("NaN")),
        ] {
            assert_eq!(numeric(&raw(&words)), Some(expected), "{words:?}");
        }
        assert_eq!(numeric(&raw(&[2, 0, 0, 0, 1])), None);
    }

    #[test]
    fn the_line_of_an_error_is_found() {
        assert_eq!(line_at("SELECT\n  nix", 10), Some((2, "  nix", 2)));
        assert_eq!(line_at("x", 1), Some((1, "x", 0)));
        assert_eq!(line_at("x", 9), None);
    }
}
