//! SQL: statements in one transaction, or one query that only reads, on a file or a server. Values
//! are bound, never pasted.

mod mysql;
mod mysql_client;
mod postgres;
pub mod remedy;
mod sqlite;
mod statement;
mod tls;

pub use self::mysql::{
    canceller as mysql_canceller, connect as connect_mysql, in_words as mysql_error,
};
pub use self::mysql_client::Client as MysqlClient;
pub use self::postgres::{canceller, connect, in_words as postgres_error};

use std::sync::Arc;

use indexmap::IndexMap;
use serde_json::{Map, Value as Json};

use super::{Cut, EffectError, Job, Reading, Stopper, Used, resolve};
use crate::runbook::action::{Argument, Given, Sql};
use crate::runbook::database::{Database, Server};
use crate::runbook::size::Size;

/// The most rows that are kept: they are for conditions, not for moving data.
const MAX_ROWS: usize = 10_000;
/// How much of them is kept unless the author says otherwise.
const KEPT: Size = Size::from_mib(8);
/// What a cell takes in memory besides its bytes.
const CELL: u64 = 32;

pub fn perform(
    job: &Job,
    sql: &Sql<String>,
    stopper: &Arc<Stopper>,
) -> Result<Reading, EffectError> {
    let mut used = Used::new();
    let result = complete(job, sql, stopper, &mut used).and_then(|(whole, read)| {
        let mut reading = ask(job, &whole, stopper, &mut used)?;
        reading.names.insert("given".into(), Json::Object(read));
        Ok(reading)
    });
    job.vault.mask_result(result, &used)
}

fn ask(
    job: &Job,
    sql: &Sql<String>,
    stopper: &Arc<Stopper>,
    used: &mut Used,
) -> Result<Reading, EffectError> {
    if job.only_looks && !sql.reads {
        return look(job, sql, stopper, used);
    }
    match &sql.database {
        Database::Sqlite(file) => sqlite::perform(file, sql, stopper),
        Database::Postgres(server) => {
            login(job, server, used).and_then(|login| postgres::perform(&login, sql, stopper))
        }
        Database::Mysql(server) => {
            login(job, server, used).and_then(|login| mysql::perform(&login, sql, stopper))
        }
    }
}

/// What would be sent, and what the server makes of it. Only the connection is sure to be the same
/// by then.
fn look(
    job: &Job,
    sql: &Sql<String>,
    stopper: &Arc<Stopper>,
    used: &mut Used,
) -> Result<Reading, EffectError> {
    let expected = match &sql.database {
        Database::Sqlite(file) => sqlite::explain(file, sql),
        Database::Postgres(server) => {
            login(job, server, used).and_then(|login| postgres::explain(&login, sql, stopper))
        }
        Database::Mysql(server) => {
            login(job, server, used).and_then(|login| mysql::explain(&login, sql, stopper))
        }
    }?;
    let values = sql
        .parameters
        .iter()
        .map(|(name, value)| format!("\n  :{name} = {}", value.clone().into_json()));
    let expected = expected
        .map(|rows| format!("\n  about {rows} rows, as the server expects"))
        .unwrap_or_default();
    let words = format!("on {}:\n{}", sql.database.in_words(), sql.text.trim_end());
    Ok(Reading {
        summary: format!("{words}{}{expected}", values.collect::<String>()),
        is_good: true,
        ..Reading::default()
    })
}

/// The same with the values that are known only now; and those of them that are no secrets.
fn complete(
    job: &Job,
    sql: &Sql<String>,
    stopper: &Arc<Stopper>,
    used: &mut Used,
) -> Result<(Sql<String>, Map<String, Json>), EffectError> {
    let (mut whole, mut read) = (Sql { given: IndexMap::new(), ..sql.clone() }, Map::new());
    for (name, given) in &sql.given {
        let value = match given {
            Given::Secret(secret) => Json::String(resolve(job, secret, used)?),
            Given::Query(query) => {
                // It has the values that stand above it.
                let query = Sql { parameters: whole.parameters.clone(), ..(**query).clone() };
                let value = one_value(name, ask(job, &query, stopper, used)?)?;
                read.insert(name.clone(), value.clone());
                value
            }
        };
        whole.parameters.insert(name.clone(), Argument::Plain(value));
    }
    Ok((whole, read))
}

fn one_value(name: &str, mut reading: Reading) -> Result<Json, EffectError> {
    if let Some(cut) = reading.cut.get("rows") {
        return Err(EffectError::before(format!(
            "the query for `:{name}` must have one row, and what it has {cut}"
        )));
    }
    let mut rows = reading
        .names
        .get_mut("rows")
        .and_then(Json::as_array_mut)
        .map(std::mem::take)
        .unwrap_or_default();
    match (rows.pop(), rows.is_empty()) {
        (Some(Json::Array(cells)), true) if !cells.is_empty() => {
            Ok(cells.into_iter().next().unwrap_or_default())
        }
        _ => Err(EffectError::before(format!(
            "the query for `:{name}` must have one row, and has {}",
            reading.summary
        ))),
    }
}

/// What a connection to a server is made with.
pub struct Login<'a> {
    pub server: &'a Server<String>,
    port: u16,
    password: Option<String>,
    /// The longest that a statement may take, which the server is told too: it sees to it when
    /// nobody here does.
    timeout: Option<std::time::Duration>,
    /// Who is at work, for those who look at the server.
    name: String,
}

pub fn login<'a>(
    job: &Job,
    server: &'a Server<String>,
    used: &mut Used,
) -> Result<Login<'a>, EffectError> {
    let port = server
        .port
        .parse()
        .map_err(|_| EffectError::before(format!("`{}` is not a port", server.port)))?;
    let password =
        server.password.as_ref().map(|password| resolve(job, password, used)).transpose()?;
    let name = |key: &str| job.context.get(key).cloned().unwrap_or_default();
    let name = format!("switchover {} {}", name("SWITCHOVER_RUN"), name("SWITCHOVER_STEP"));
    Ok(Login { server, port, password, timeout: job.timeout, name })
}

/// The rows of a query as they come, until there are too many or there is too much in them.
struct Rows {
    kept: Vec<Json>,
    bytes: u64,
    most: Size,
    cut: Option<Cut>,
}

impl Rows {
    fn of(sql: &Sql<String>) -> Rows {
        Rows { kept: Vec::new(), bytes: 0, most: sql.keep_output.unwrap_or(KEPT), cut: None }
    }

    /// Keeps a row with so many bytes in so many cells, if there is room for it. `false`: no more
    /// rows are wanted.
    fn take<E>(
        &mut self,
        bytes: u64,
        cells: usize,
        row: impl FnOnce() -> Result<Json, E>,
    ) -> Result<bool, E> {
        self.bytes = self.bytes.saturating_add(bytes).saturating_add(CELL * cells as u64);
        if self.kept.len() == MAX_ROWS || self.bytes > self.most.as_bytes() {
            let most = if self.kept.len() == MAX_ROWS {
                format!("{MAX_ROWS} rows")
            } else {
                self.most.to_string()
            };
            self.cut = Some(Cut::Rows { kept: self.kept.len(), most });
            return Ok(false);
        }
        self.kept.push(row()?);
        Ok(true)
    }

    /// What a query gave.
    fn reading(self, columns: Vec<Json>) -> Reading {
        let summary = match (&self.cut, self.kept.len()) {
            (Some(Cut::Rows { most, .. }), count) => {
                format!("more rows than are kept ({most}): the first {count}")
            }
            (_, 1) => "1 row".to_owned(),
            (_, count) => format!("{count} rows"),
        };
        let names = names(columns, self.kept, 0);
        let cut = self.cut.map(|cut| ("rows".to_owned(), cut)).into_iter().collect();
        Reading { names, cut, summary, is_good: true, ..Reading::default() }
    }
}

/// What statements gave.
fn changed(changes: u64) -> Reading {
    let names = names(Vec::new(), Vec::new(), changes);
    Reading {
        names,
        summary: format!("{changes} rows changed"),
        is_good: true,
        ..Reading::default()
    }
}

fn names(columns: Vec<Json>, rows: Vec<Json>, changes: u64) -> Map<String, Json> {
    let mut names = Map::new();
    names.insert("rows".into(), Json::Array(rows));
    names.insert("columns".into(), Json::Array(columns));
    names.insert("changes".into(), changes.into());
    names
}

/// The value of a name in a statement; one that nobody gave is an error, not NULL.
fn value_of(sql: &Sql<String>, name: &str) -> Result<Json, EffectError> {
    let value = sql
        .parameters
        .get(name)
        .ok_or_else(|| EffectError::before(format!("no value is given for `:{name}`")))?;
    Ok(value.clone().into_json())
}
