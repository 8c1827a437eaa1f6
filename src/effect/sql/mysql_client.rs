//! A connection to MySQL or MariaDB that blocks: the library is asynchronous, everything in
//! `effect` blocks. It does not know what is asked.

use std::io::ErrorKind;
use std::time::Duration;

use mysql_async::prelude::{FromRow, Query, Queryable, WithParams};
use mysql_async::{Conn, Error, IoError, Opts, Params, Row};
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;

/// How long a server may take to answer at first.
const PATIENCE: Duration = Duration::from_secs(15);
/// How long it may take to say good-bye.
const FAREWELL: Duration = Duration::from_millis(500);

/// A connection.
pub struct Client {
    runtime: Runtime,
    /// There until this is dropped.
    conn: Option<Conn>,
}

impl Client {
    /// Connects.
    ///
    /// # Errors
    /// What the library says; a server that does not answer in time is [`ErrorKind::TimedOut`].
    pub fn connect(options: Opts) -> Result<Client, Error> {
        let runtime = Builder::new_current_thread().enable_all().build().map_err(io)?;
        let late = |_| io(ErrorKind::TimedOut.into());
        let conn = runtime.block_on(async { timeout(PATIENCE, Conn::new(options)).await });
        let conn = conn.map_err(late)??;
        Ok(Client { runtime, conn: Some(conn) })
    }

    /// The server's number of this connection.
    pub fn id(&self) -> Option<u32> {
        self.conn.as_ref().map(Conn::id)
    }

    /// How many rows the last statement changed.
    pub fn affected_rows(&self) -> u64 {
        self.conn.as_ref().map_or(0, Conn::affected_rows)
    }

    /// Carries out a statement by the text protocol, which knows all of them.
    ///
    /// # Errors
    /// What the server or the library says.
    pub fn execute(&mut self, sql: &str) -> Result<(), Error> {
        let Client { runtime, conn } = self;
        runtime.block_on(open(conn)?.query_drop(sql))
    }

    /// Carries out a statement with bound values.
    ///
    /// # Errors
    /// What the server or the library says.
    pub fn execute_bound(&mut self, sql: &str, values: Params) -> Result<(), Error> {
        let Client { runtime, conn } = self;
        runtime.block_on(open(conn)?.exec_drop(sql, values))
    }

    /// All rows that a statement with bound values gives.
    ///
    /// # Errors
    /// What the server or the library says.
    pub fn rows<T: FromRow + Send + 'static>(
        &mut self,
        sql: &str,
        values: impl Into<Params> + Send,
    ) -> Result<Vec<T>, Error> {
        let Client { runtime, conn } = self;
        runtime.block_on(open(conn)?.exec(sql, values.into()))
    }

    /// Gives one row after the other to `take`, without holding them all, as long as that wants
    /// more; `begin` is given the names of the columns first. Values make it a statement with bound
    /// values.
    ///
    /// # Errors
    /// What `take` says, or the server or the library, through `failed`.
    pub fn each_row<E>(
        &mut self,
        sql: &str,
        values: Option<Params>,
        begin: &mut dyn FnMut(Vec<String>),
        take: &mut dyn FnMut(Row) -> Result<bool, E>,
        failed: impl Fn(Error) -> E,
    ) -> Result<(), E> {
        let Client { runtime, conn } = self;
        let conn = open(conn).map_err(&failed)?;
        // The protocols' results are of different types, which have the same methods.
        macro_rules! go_through {
            ($asked:expr) => {{
                let mut result = $asked.await.map_err(&failed)?;
                let columns = result.columns_ref().iter();
                begin(columns.map(|column| column.name_str().into_owned()).collect());
                while let Some(row) = result.next().await.map_err(&failed)? {
                    if !take(row)? {
                        break;
                    }
                }
                Ok(())
            }};
        }
        runtime.block_on(async {
            match values {
                None => go_through!(sql.run(conn)),
                Some(values) => go_through!(sql.with(values).run(conn)),
            }
        })
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        if let Some(conn) = self.conn.take() {
            // A server that is gone has nothing to be told.
            let _ = self.runtime.block_on(async { timeout(FAREWELL, conn.disconnect()).await });
        }
    }
}

fn open(conn: &mut Option<Conn>) -> Result<&mut Conn, Error> {
    conn.as_mut().ok_or_else(|| io(ErrorKind::NotConnected.into()))
}

fn io(error: std::io::Error) -> Error {
    Error::Io(IoError::Io(error))
}
