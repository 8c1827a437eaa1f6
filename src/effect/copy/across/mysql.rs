//! One end is MySQL or MariaDB: rows are read and written by the text protocol, the latter many
//! with one INSERT.

use mysql_async::{Error, Value};

use super::plan::Found;
use super::{
    Batch, Class, Column, EffectError, End, Interrupts, Kind, Login, Refused, Row, Sequence, Shape,
    Side, hex,
};
use crate::effect::sql::{MysqlClient, connect_mysql, mysql_canceller, mysql_error, remedy};

/// What makes the texts of values the same at both ends, and refuses what does not fit instead of
/// making it fit.
const SETTINGS: &str = "SET SESSION time_zone = '+00:00', sql_mode = \
    'STRICT_ALL_TABLES,NO_AUTO_VALUE_ON_ZERO,NO_ENGINE_SUBSTITUTION', net_write_timeout = 3600, \
    net_read_timeout = 3600, wait_timeout = 86400";

const COLUMNS: &str = "SELECT column_name, data_type, column_type, CAST(COALESCE(numeric_scale, \
    datetime_precision) AS SIGNED), collation_name FROM information_schema.columns WHERE \
    table_schema = DATABASE() AND table_name = ? AND COALESCE(generation_expression, '') = '' \
    ORDER BY ordinal_position";

const KEY: &str = "SELECT column_name FROM information_schema.statistics WHERE table_schema = \
    DATABASE() AND table_name = ? AND index_name = 'PRIMARY' ORDER BY seq_in_index";

pub struct Server {
    client: MysqlClient,
    place: String,
}

impl Server {
    pub fn open(login: &Login, end: End, interrupts: &Interrupts) -> Result<Server, EffectError> {
        let mut client = connect_mysql(login)?;
        let place = format!(
            "mysql://{}:{}/{}",
            login.server.host, login.server.port, login.server.database
        );
        let failed =
            |error: Error| EffectError::before(format!("{place}: {}", mysql_error(&error)));
        client.execute(SETTINGS).map_err(failed)?;
        // MySQL keeps for a day what it once said of a table; MariaDB does not know that.
        let _ = client.execute("SET SESSION information_schema_stats_expiry = 0");
        if end == End::Source {
            client
                .execute("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ")
                .map_err(failed)?;
            client
                .execute("START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY")
                .map_err(failed)?;
        }
        interrupts.add(mysql_canceller(login, &client)?);
        Ok(Server { client, place })
    }

    fn failed(&self, error: &Error) -> EffectError {
        EffectError::during(format!(
            "{}: {}{}",
            self.place,
            mysql_error(error),
            remedy::of_mysql(error)
        ))
    }
}

impl Side for Server {
    fn place(&self) -> String {
        self.place.clone()
    }

    fn describe(&mut self, table: &str) -> Result<Found, EffectError> {
        let sql = "SELECT engine FROM information_schema.tables WHERE table_schema = DATABASE() \
            AND table_name = ? AND table_type = 'BASE TABLE'";
        let found: Vec<Option<String>> =
            self.client.rows(sql, (table,)).map_err(|error| self.failed(&error))?;
        let Some(engine) = found.into_iter().next() else {
            return Err(EffectError::before(format!(
                "there is no table {table} in {}",
                self.place
            )));
        };
        if engine.as_deref().is_none_or(|engine| !engine.eq_ignore_ascii_case("InnoDB")) {
            let words = "which has no transactions: half a range could stay; make it InnoDB first";
            return Err(EffectError::before(format!(
                "the table {table} of {} is {}, {words}",
                self.place,
                engine.unwrap_or_default()
            )));
        }
        type Told = (String, String, String, Option<i64>, Option<String>);
        let rows: Vec<Told> =
            self.client.rows(COLUMNS, (table,)).map_err(|error| self.failed(&error))?;
        let columns = rows.into_iter().map(|(name, kind, declared, places, collation)| {
            let class = class(&kind.to_ascii_lowercase());
            let collation = match kind.to_ascii_lowercase().as_str() {
                "uuid" => Some("its own order".to_owned()),
                "enum" | "set" => Some("its list".to_owned()),
                _ => collation
                    .filter(|name| !name.ends_with("_nopad_bin") && !name.ends_with("_0900_bin")),
            };
            let (quoted, places) =
                (quoted(&name), places.and_then(|places| usize::try_from(places).ok()));
            Column {
                name,
                quoted,
                class,
                declared,
                places,
                collation,
                is_bytewise: false,
                kind: Kind::Text,
            }
        });
        let columns = columns.collect();
        let key = self.client.rows(KEY, (table,)).map_err(|error| self.failed(&error))?;
        Ok(Found { table: quoted(table), columns, key })
    }

    fn estimate(&mut self, table: &str) -> Option<u64> {
        let sql = "SELECT table_rows FROM information_schema.tables WHERE table_schema = \
            DATABASE() AND table_name = ?";
        self.client.rows::<Option<u64>>(sql, (table,)).ok()?.into_iter().next()?
    }

    fn text(&self, column: &Column) -> String {
        match (column.class, column.declared.starts_with("bit")) {
            // As a number, and exactly: a single one is shown with six digits otherwise.
            (Class::Single, _) => format!("{} + 0e0", column.quoted),
            (_, true) => format!("{} + 0", column.quoted),
            _ => column.quoted.clone(),
        }
    }

    fn ordered(&self, column: &Column) -> String {
        match (column.is_bytewise, column.class) {
            (true, Class::Uuid) => format!("CAST(CAST({} AS CHAR(36)) AS BINARY)", column.quoted),
            (true, _) => format!("CAST(CONVERT({} USING utf8mb4) AS BINARY)", column.quoted),
            (false, _) => column.quoted.clone(),
        }
    }

    fn literal(&self, column: &Column, value: &str) -> String {
        match column.class {
            Class::Bytes => format!("x'{value}'"),
            Class::Integer | Class::Decimal => value.to_owned(),
            _ if column.is_bytewise => format!("x'{}'", hex(value.as_bytes())),
            _ => {
                let mut out = String::new();
                quote(value, &mut out);
                out
            }
        }
    }

    fn compares_rows(&self) -> bool {
        false
    }

    fn rows(
        &mut self,
        sql: &str,
        each: &mut dyn FnMut(&Row) -> Result<(), EffectError>,
    ) -> Result<(), EffectError> {
        let place = &self.place;
        let failed =
            |error: Error| EffectError::during(format!("{place}: {}", mysql_error(&error)));
        let mut take = |row: mysql_async::Row| {
            let values = row.unwrap();
            let texts: Vec<Option<&[u8]>> = values
                .iter()
                .map(|value| if let Value::Bytes(bytes) = value { Some(&**bytes) } else { None })
                .collect();
            each(&texts).map(|()| true)
        };
        self.client.each_row(sql, None, &mut |_| {}, &mut take, failed)
    }

    fn change(&mut self, sql: &str) -> Result<u64, EffectError> {
        self.client.execute(sql).map_err(|error| self.failed(&error))?;
        Ok(self.client.affected_rows())
    }

    fn insert(&mut self, shape: &Shape, batch: &Batch) -> Result<u64, Refused> {
        let names: Vec<&str> = shape.columns.iter().map(|column| &*column.quoted).collect();
        let mut sql = format!("INSERT INTO {} ({}) VALUES ", shape.table, names.join(", "));
        for (number, row) in batch.rows().enumerate() {
            let refused = |column: &Column, why: &str| Refused {
                row: Some(number),
                why: format!("{}: {why}", column.name),
            };
            sql.push_str(if number > 0 { ", (" } else { "(" });
            for (at, (column, value)) in shape.columns.iter().zip(row).enumerate() {
                if at > 0 {
                    sql.push_str(", ");
                }
                let Some(value) = value else {
                    sql.push_str("NULL");
                    continue;
                };
                if column.class == Class::Bytes {
                    sql.push_str("x'");
                    sql.push_str(&hex(value));
                    sql.push('\'');
                    continue;
                }
                let text =
                    std::str::from_utf8(value).map_err(|_| refused(column, "it is no UTF-8"))?;
                match column.kind {
                    Kind::Real
                        if text.bytes().any(|byte| byte.is_ascii_alphabetic() && byte != b'e') =>
                    {
                        return Err(refused(column, "it is not finite, which MySQL does not know"));
                    }
                    Kind::Integer | Kind::Decimal | Kind::Real | Kind::Boolean
                        if column.class != Class::Text =>
                    {
                        sql.push_str(text)
                    }
                    _ => quote(text, &mut sql),
                }
            }
            sql.push(')');
        }
        match self.client.execute(&sql) {
            Ok(()) => Ok(self.client.affected_rows()),
            Err(error) => {
                let why = mysql_error(&error);
                Err(Refused { row: row_of(&why), why: why + remedy::of_mysql(&error) })
            }
        }
    }

    fn sequences(&mut self, table: &str) -> Result<Vec<Sequence>, EffectError> {
        let sql = "SELECT c.column_name, t.auto_increment FROM information_schema.columns c JOIN \
            information_schema.tables t ON t.table_schema = c.table_schema AND t.table_name = \
            c.table_name WHERE c.table_schema = DATABASE() AND CONCAT('`', REPLACE(c.table_name, \
            '`', '``'), '`') = ? AND c.extra LIKE '%auto_increment%'";
        let rows: Vec<(String, Option<i64>)> =
            self.client.rows(sql, (table,)).map_err(|error| self.failed(&error))?;
        // What is kept is the next number.
        let one = |(column, next): (String, Option<i64>)| Sequence {
            column,
            name: table.to_owned(),
            last: next.unwrap_or(1) - 1,
            called: true,
        };
        Ok(rows.into_iter().map(one).collect())
    }

    fn set(&mut self, sequence: &str, last: i64, called: bool) -> Result<(), EffectError> {
        let next = if called { last.saturating_add(1) } else { last };
        self.change(&format!("ALTER TABLE {sequence} AUTO_INCREMENT = {}", next.max(1))).map(drop)
    }
}

fn class(kind: &str) -> Class {
    match kind {
        "tinyint" | "smallint" | "mediumint" | "int" | "bigint" | "year" | "bit" => Class::Integer,
        "decimal" => Class::Decimal,
        "float" => Class::Single,
        "double" => Class::Double,
        "char" | "varchar" | "tinytext" | "text" | "mediumtext" | "longtext" | "enum" | "set"
        | "inet4" | "inet6" => Class::Text,
        "date" => Class::Date,
        "time" => Class::Time,
        "datetime" => Class::Timestamp,
        "timestamp" => Class::Instant,
        "uuid" => Class::Uuid,
        "json" => Class::Json,
        // Shapes on the globe too come and go as bytes.
        _ => Class::Bytes,
    }
}

fn quoted(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

/// A text as a literal; the server takes `\` for what it is by default, which the settings leave
/// so.
fn quote(text: &str, out: &mut String) {
    out.push('\'');
    for c in text.chars() {
        match c {
            '\'' => out.push_str("''"),
            '\\' => out.push_str("\\\\"),
            '\0' => out.push_str("\\0"),
            other => out.push(other),
        }
    }
    out.push('\'');
}

/// The row that an error is about: `Out of range value for column 'n' at row 17`.
fn row_of(words: &str) -> Option<usize> {
    let digits: String =
        words.rsplit_once(" at row ")?.1.chars().take_while(char::is_ascii_digit).collect();
    digits.parse::<usize>().ok()?.checked_sub(1)
}
