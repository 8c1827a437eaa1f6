//! Where data is kept: a file of SQLite, or a server and who asks it. Knows nothing of how it is
//! asked.

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::action::{
    RawScalar, RawSecretUse, RawTls, RawValue, Tls, Value, Walk, converted_tls, scalar_text,
};
use super::convert::{Converter, text};
use super::problem::suggest;
use super::text::Text;

/// A database: exactly one of the three.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
#[schemars(extend("minProperties" = 1, "maxProperties" = 1))]
pub struct RawDatabase {
    /// An SQLite file.
    #[schemars(extend("format" = "template"))]
    pub sqlite: Option<String>,
    /// A database of a PostgreSQL server.
    pub postgres: Option<RawServer>,
    /// A database of a MySQL or MariaDB server.
    pub mysql: Option<RawServer>,
}

/// A database of a server, and who asks it.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct RawServer {
    /// Its name or address.
    #[schemars(extend("format" = "template"))]
    pub host: String,
    /// Its port. Default 5432 for PostgreSQL, 3306 for MySQL.
    pub port: Option<RawScalar>,
    /// The database.
    #[schemars(extend("format" = "template"))]
    pub database: String,
    /// The user.
    #[schemars(extend("format" = "template"))]
    pub user: String,
    /// The user's password, which is a secret: `{ secret: name }`.
    pub password: Option<RawSecretUse>,
    /// The certificates of an encrypted connection, which is then required; the server's name is
    /// verified. `none` for a connection over a network that is not encrypted; on the same machine
    /// nothing need be said.
    pub tls: Option<RawServerTls>,
}

/// Certificates, or `none`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum RawServerTls {
    Word(NoTls),
    Map(RawTls),
}

/// `none`.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum NoTls {
    None,
}

/// A database.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Database<T> {
    Postgres(Server<T>),
    Mysql(Server<T>),
    /// A file.
    #[serde(untagged)]
    Sqlite(T),
}

/// A database of a server.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Server<T> {
    pub host: T,
    pub port: T,
    pub database: T,
    pub user: T,
    #[serde(default = "crate::runbook::action::none", skip_serializing_if = "Option::is_none")]
    pub password: Option<Value<T>>,
    pub encryption: Encryption<T>,
}

/// How a connection is protected.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Encryption<T> {
    /// Nothing was said: none, on the same machine only.
    Local,
    /// None, as the author wants it.
    None,
    Tls(Tls<T>),
}

impl Converter<'_> {
    /// One of the runbook's databases by its name, or a file.
    pub fn database(&mut self, name: &str, key: &str, below: &[&str]) -> Option<Database<Text>> {
        let Some(raw) = self.databases.get(name) else {
            // What looks like a name and is close to one was meant as that.
            let close = suggest(name, self.databases.keys().map(String::as_str));
            if let Some(help) = close.filter(|_| !name.contains(['/', '.', '{'])) {
                self.report(below, key, format!("there is no database `{name}`"), Some(help));
                return None;
            }
            return Some(Database::Sqlite(text(name)));
        };
        Some(match (&raw.sqlite, &raw.postgres, &raw.mysql) {
            (Some(file), ..) => Database::Sqlite(text(file)),
            (_, Some(server), _) => Database::Postgres(self.server(server, "5432", below)),
            (.., Some(server)) => Database::Mysql(self.server(server, "3306", below)),
            _ => return None,
        })
    }

    fn server(&mut self, raw: &RawServer, port: &str, below: &[&str]) -> Server<Text> {
        let password: IndexMap<String, RawValue> = raw
            .password
            .iter()
            .map(|used| ("password".to_owned(), RawValue::Secret(used.clone())))
            .collect();
        Server {
            host: text(&raw.host),
            port: raw.port.as_ref().map_or_else(|| text(port), scalar_text),
            database: text(&raw.database),
            user: text(&raw.user),
            password: self.values(&password, below, "sql").shift_remove("password"),
            encryption: match &raw.tls {
                None => Encryption::Local,
                Some(RawServerTls::Word(NoTls::None)) => Encryption::None,
                Some(RawServerTls::Map(raw)) => Encryption::Tls(converted_tls(raw)),
            },
        }
    }
}

impl<T> Database<T> {
    pub fn server(&self) -> Option<&Server<T>> {
        match self {
            Database::Postgres(server) | Database::Mysql(server) => Some(server),
            Database::Sqlite(_) => None,
        }
    }
}

impl<T> Database<T> {
    pub fn try_map<'a, W: Walk<'a, T>>(
        &'a self,
        walk: &mut W,
    ) -> Result<Database<W::Text>, W::Error> {
        Ok(match self {
            Database::Sqlite(file) => Database::Sqlite(walk.text(file)?),
            Database::Postgres(server) => Database::Postgres(server.try_map(walk)?),
            Database::Mysql(server) => Database::Mysql(server.try_map(walk)?),
        })
    }
}

impl<T> Server<T> {
    pub fn try_map<'a, W: Walk<'a, T>>(
        &'a self,
        walk: &mut W,
    ) -> Result<Server<W::Text>, W::Error> {
        let Server { host, port, database, user, password, encryption } = self;
        Ok(Server {
            host: walk.text(host)?,
            port: walk.text(port)?,
            database: walk.text(database)?,
            user: walk.text(user)?,
            password: password.as_ref().map(|password| password.try_map(walk)).transpose()?,
            encryption: match encryption {
                Encryption::Local => Encryption::Local,
                Encryption::None => Encryption::None,
                Encryption::Tls(tls) => Encryption::Tls(tls.try_map(walk)?),
            },
        })
    }
}

impl Database<String> {
    /// Which one it is, in words.
    pub fn in_words(&self) -> String {
        match self {
            Database::Sqlite(file) => file.clone(),
            Database::Postgres(server) => format!("postgres://{}", server.in_words()),
            Database::Mysql(server) => format!("mysql://{}", server.in_words()),
        }
    }
}

impl Server<String> {
    fn in_words(&self) -> String {
        let Server { user, host, port, database, .. } = self;
        format!("{user}@{host}:{port}/{database}")
    }
}
