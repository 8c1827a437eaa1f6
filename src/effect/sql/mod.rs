//! SQL: statements in one transaction, or one query that only reads, on a file or a server. Values are bound, never pasted.

mod mysql;
mod postgres;
mod sqlite;
mod statement;
mod tls;

pub use self::postgres::{connect, in_words as postgres_error};

use std::sync::Arc;

use serde_json::{Map, Value as Json};

use super::secret::mask;
use super::{EffectError, Job, Reading, Stopper, Used, resolve};
use crate::runbook::action::Sql;
use crate::runbook::database::{Database, Server};

/// The most rows a query may have: they are for conditions, not for moving data.
const MAX_ROWS: usize = 10_000;

pub fn perform(job: &Job, sql: &Sql<String>, stopper: &Arc<Stopper>) -> Result<Reading, EffectError> {
    let mut used = Used::new();
    let result = match &sql.database {
        Database::Sqlite(file) => sqlite::perform(file, sql, stopper),
        Database::Postgres(server) => login(job, server, &mut used).and_then(|login| postgres::perform(&login, sql, stopper)),
        Database::Mysql(server) => login(job, server, &mut used).and_then(|login| mysql::perform(&login, sql, stopper)),
    };
    mask(result, &used, job.mac_key)
}

/// What a connection to a server is made with.
pub struct Login<'a> {
    pub server: &'a Server<String>,
    port: u16,
    password: Option<String>,
    /// The longest that a statement may take, which the server is told too: it sees to it when nobody here does.
    timeout: Option<std::time::Duration>,
    /// Who is at work, for those who look at the server.
    name: String,
}

pub fn login<'a>(job: &Job, server: &'a Server<String>, used: &mut Used) -> Result<Login<'a>, EffectError> {
    let port = server.port.parse().map_err(|_| EffectError::before(format!("`{}` is not a port", server.port)))?;
    let password = server.password.as_ref().map(|password| resolve(job, password, used)).transpose()?;
    let name = |key: &str| job.context.get(key).cloned().unwrap_or_default();
    let name = format!("switchover {} {}", name("SWITCHOVER_RUN"), name("SWITCHOVER_STEP"));
    Ok(Login { server, port, password, timeout: job.timeout, name })
}

/// What a query, or statements, gave.
fn reading(columns: Vec<Json>, rows: Vec<Json>, changes: Option<u64>) -> Reading {
    let summary = match (changes, rows.len()) {
        (Some(changes), _) => format!("{changes} rows changed"),
        (None, 1) => "1 row".to_owned(),
        (None, count) => format!("{count} rows"),
    };
    let mut names = Map::new();
    names.insert("rows".into(), Json::Array(rows));
    names.insert("columns".into(), Json::Array(columns));
    names.insert("changes".into(), changes.unwrap_or_default().into());
    Reading { names, summary, is_good: true, ..Reading::default() }
}

/// The error of too many rows.
fn too_many() -> EffectError {
    EffectError::before(format!("the query has more than {MAX_ROWS} rows; count them in SQL instead"))
}

/// The value of a name in a statement; one that nobody gave is an error, not NULL.
fn value_of(sql: &Sql<String>, name: &str) -> Result<Json, EffectError> {
    let value = sql.parameters.get(name).ok_or_else(|| EffectError::before(format!("no value is given for `:{name}`")))?;
    Ok(value.clone().into_json())
}
