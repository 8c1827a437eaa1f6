//! Where data is kept: a file of SQLite, or a server and who asks it. Knows nothing of how it is
//! asked.

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::action::{Tls, Value};
use super::text::{Text, TextError};

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
    #[serde(default = "super::action::none", skip_serializing_if = "Option::is_none")]
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

impl<T> Database<T> {
    pub fn server(&self) -> Option<&Server<T>> {
        match self {
            Database::Postgres(server) | Database::Mysql(server) => Some(server),
            Database::Sqlite(_) => None,
        }
    }

    /// The secret that it is asked with.
    pub fn secret(&self) -> Option<&str> {
        self.server()?.password.as_ref()?.secret()
    }
}

impl Database<Text> {
    pub fn render(&self, values: &Json) -> Result<Database<String>, TextError> {
        Ok(match self {
            Database::Sqlite(file) => Database::Sqlite(file.render(values)?),
            Database::Postgres(server) => Database::Postgres(server.render(values)?),
            Database::Mysql(server) => Database::Mysql(server.render(values)?),
        })
    }

    /// Every text in it, for checking names.
    pub fn texts(&self) -> Vec<&Text> {
        match self {
            Database::Sqlite(file) => vec![file],
            Database::Postgres(server) | Database::Mysql(server) => {
                let password = server.password.iter().filter_map(Value::text);
                let tls = if let Encryption::Tls(tls) = &server.encryption {
                    tls.texts()
                } else {
                    Vec::new()
                };
                [&server.host, &server.port, &server.database, &server.user]
                    .into_iter()
                    .chain(password)
                    .chain(tls)
                    .collect()
            }
        }
    }
}

impl Server<Text> {
    fn render(&self, values: &Json) -> Result<Server<String>, TextError> {
        Ok(Server {
            host: self.host.render(values)?,
            port: self.port.render(values)?,
            database: self.database.render(values)?,
            user: self.user.render(values)?,
            password: self.password.as_ref().map(|password| password.render(values)).transpose()?,
            encryption: match &self.encryption {
                Encryption::Local => Encryption::Local,
                Encryption::None => Encryption::None,
                Encryption::Tls(tls) => Encryption::Tls(tls.render(values)?),
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
