//! One end is PostgreSQL: rows are read as texts in the binary form of COPY, and written by COPY in
//! its text form, which the server reads as the columns' types.

use std::fmt::Write as _;
use std::io::Write as _;

use postgres::Client;

use super::super::postgres::{
    Failed, KEY, Leader, SEQUENCES, SETTINGS, Streamed, columns, found, place, quoted, set, stands,
    stream,
};
use super::super::tuples::{Torn, Tuples, fields};
use super::plan::Found;
use super::{
    Batch, Class, Column, EffectError, Interrupts, Kind, Login, Refused, Row, Sequence, Shape,
    Side, hex,
};
use crate::effect::sql::{canceller, connect, postgres_error};

/// What is known of a column: its type's name, whether that is an enumeration, how many digits it
/// keeps, and its collation.
const DETAILS: &str = "SELECT a.attname::text, coalesce(b.typname, t.typname)::text, \
    coalesce(b.typtype, t.typtype) = 'e', CASE WHEN a.atttypmod < 0 THEN NULL WHEN t.typname = \
    'numeric' THEN (a.atttypmod - 4) & 2047 WHEN t.typname IN ('time', 'timestamp', 'timestamptz') \
    THEN a.atttypmod END, CASE WHEN coalesce(b.typtype, t.typtype) = 'e' THEN 'its list' WHEN \
    a.attcollation = 0 THEN NULL WHEN c.collname = 'default' THEN (SELECT datcollate FROM \
    pg_database WHERE datname = current_database())::text ELSE c.collname::text END FROM \
    pg_attribute a JOIN pg_type t ON t.oid = a.atttypid LEFT JOIN pg_type b ON b.oid = \
    t.typbasetype AND t.typbasetype <> 0 LEFT JOIN pg_collation c ON c.oid = a.attcollation WHERE \
    a.attrelid = $1::text::regclass AND quote_ident(a.attname) = $2";

pub struct Server {
    client: Client,
    place: String,
}

impl Server {
    pub fn open(
        login: &Login,
        leader: Option<&Leader>,
        interrupts: &Interrupts,
    ) -> Result<Server, EffectError> {
        let mut client = connect(login)?;
        client
            .batch_execute(SETTINGS)
            .map_err(|error| EffectError::before(postgres_error(&error, "")))?;
        if let Some(leader) = leader {
            leader.follow(&mut client)?;
        }
        interrupts.add(canceller(&client, login)?);
        Ok(Server { client, place: place(login) })
    }

    fn failed(&self, error: &postgres::Error, sql: &str) -> EffectError {
        EffectError::during(format!("{}: {}", self.place, postgres_error(error, sql)))
    }
}

impl Side for Server {
    fn place(&self) -> String {
        self.place.clone()
    }

    fn describe(&mut self, table: &str) -> Result<Found, EffectError> {
        let name = found(&mut self.client, table, &self.place)?;
        let mut all = Vec::new();
        for (quoted, declared) in columns(&mut self.client, &name)? {
            let row = self
                .client
                .query_one(DETAILS, &[&name, &quoted])
                .map_err(|error| self.failed(&error, DETAILS))?;
            let (kind, is_enumeration): (String, bool) = (row.get(1), row.get(2));
            let collation: Option<String> = row.get(4);
            all.push(Column {
                name: row.get(0),
                quoted,
                class: if is_enumeration { Class::Text } else { class(&kind) },
                declared,
                places: row
                    .get::<_, Option<i32>>(3)
                    .and_then(|places| usize::try_from(places).ok()),
                collation: collation.filter(|collation| {
                    !matches!(collation.as_str(), "C" | "POSIX" | "C.UTF-8" | "ucs_basic")
                }),
                is_bytewise: false,
                kind: Kind::Text,
            });
        }
        let rows = self.client.query(KEY, &[&name]).map_err(|error| self.failed(&error, KEY))?;
        let names: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
        let key = names
            .iter()
            .filter_map(|name| all.iter().find(|column| column.quoted == *name))
            .map(|column| column.name.clone());
        Ok(Found { table: name, key: key.collect(), columns: all })
    }

    fn estimate(&mut self, table: &str) -> Option<u64> {
        let sql =
            "SELECT greatest(reltuples, 0)::bigint FROM pg_class WHERE oid = $1::text::regclass";
        u64::try_from(self.client.query_one(sql, &[&table]).ok()?.get::<_, i64>(0)).ok()
    }

    fn text(&self, column: &Column) -> String {
        match column.class {
            Class::Bytes => column.quoted.clone(),
            Class::Boolean => format!("{}::integer::text", column.quoted),
            // Exactly, and not as short as a single one can be told from others.
            Class::Single => format!("{}::float8::text", column.quoted),
            _ => format!("{}::text", column.quoted),
        }
    }

    fn ordered(&self, column: &Column) -> String {
        if column.is_bytewise {
            format!("{}::text COLLATE \"C\"", column.quoted)
        } else {
            column.quoted.clone()
        }
    }

    fn literal(&self, column: &Column, value: &str) -> String {
        match column.class {
            Class::Bytes => format!("'\\x{value}'::bytea"),
            _ if column.is_bytewise => format!("{}::text", quoted(value)),
            _ => format!("{}::{}", quoted(value), column.declared),
        }
    }

    fn rows(
        &mut self,
        sql: &str,
        each: &mut dyn FnMut(&Row) -> Result<(), EffectError>,
    ) -> Result<(), EffectError> {
        let out = format!("COPY ({sql}) TO STDOUT (FORMAT binary)");
        let (mut tuples, mut refused) = (Tuples::default(), None);
        let streamed = stream(&mut self.client, &out, |piece| {
            let fed = tuples.feed(piece, |row| {
                let values: Vec<Option<&[u8]>> = fields(row).collect();
                each(&values).map_err(Stop::Refused)
            });
            fed.map_err(|stop| {
                let words = stop.to_string();
                if let Stop::Refused(error) = stop {
                    refused = Some(error);
                }
                std::io::Error::other(words)
            })
        });
        match (streamed, refused) {
            (_, Some(error)) => Err(error),
            (Ok(()), None) if tuples.is_over() => Ok(()),
            (Ok(()), None) => {
                Err(EffectError::during(format!("{}: rows came without their end", self.place)))
            }
            (Err(Streamed::Read(error) | Streamed::Given(error)), None) => {
                Err(EffectError::during(format!("{}: {error}", self.place)))
            }
        }
    }

    fn change(&mut self, sql: &str) -> Result<u64, EffectError> {
        self.client.execute(sql, &[]).map_err(|error| self.failed(&error, ""))
    }

    fn insert(&mut self, shape: &Shape, batch: &Batch) -> Result<u64, Refused> {
        let mut lines: Vec<u8> = Vec::new();
        for (number, row) in batch.rows().enumerate() {
            for (at, (column, value)) in shape.columns.iter().zip(row).enumerate() {
                if at > 0 {
                    lines.push(b'\t');
                }
                match value {
                    None => lines.extend(b"\\N"),
                    Some(bytes) if column.class == Class::Bytes => {
                        lines.extend(b"\\\\x");
                        lines.extend(hex(bytes).bytes());
                    }
                    Some(text) => escape(text, &mut lines).map_err(|why| Refused {
                        row: Some(number),
                        why: format!("{}: {why}", column.name),
                    })?,
                }
            }
            lines.push(b'\n');
        }
        let mut sql = format!("COPY {} (", shape.table);
        for (at, column) in shape.columns.iter().enumerate() {
            let _ = write!(sql, "{}{}", if at > 0 { ", " } else { "" }, column.quoted);
        }
        sql.push_str(") FROM STDIN");
        let written = self.client.copy_in(&sql).map_err(Failed::from).and_then(|mut writer| {
            writer.write_all(&lines)?;
            Ok(writer.finish()?)
        });
        written
            .map_err(|error| Refused { row: line_of(&error.to_string()), why: error.to_string() })
    }

    fn sequences(&mut self, table: &str) -> Result<Vec<Sequence>, EffectError> {
        let rows = self
            .client
            .query(SEQUENCES, &[&table])
            .map_err(|error| self.failed(&error, SEQUENCES))?;
        let one = |row: postgres::Row| {
            let (column, name): (String, String) = (row.get(2), row.get(1));
            let (last, called) = stands(&mut self.client, &name)?;
            Ok(Sequence { column, name, last, called })
        };
        rows.into_iter().map(one).collect()
    }

    fn set(&mut self, sequence: &str, last: i64, called: bool) -> Result<(), EffectError> {
        set(&mut self.client, sequence, last, called)
    }
}

/// Why a stream is read no further.
#[derive(Debug, thiserror::Error)]
enum Stop {
    #[error(transparent)]
    Torn(#[from] Torn),
    #[error("{0}")]
    Refused(EffectError),
}

fn class(kind: &str) -> Class {
    match kind {
        "int2" | "int4" | "int8" => Class::Integer,
        "numeric" => Class::Decimal,
        "float4" => Class::Single,
        "float8" => Class::Double,
        "text" | "varchar" | "bpchar" | "name" | "citext" => Class::Text,
        "bytea" => Class::Bytes,
        "bool" => Class::Boolean,
        "date" => Class::Date,
        "time" => Class::Time,
        "timestamp" => Class::Timestamp,
        "timestamptz" => Class::Instant,
        "uuid" => Class::Uuid,
        "json" | "jsonb" => Class::Json,
        _ => Class::Other,
    }
}

fn escape(text: &[u8], out: &mut Vec<u8>) -> Result<(), &'static str> {
    for byte in text {
        match byte {
            0 => return Err("it has a NUL, which a text of PostgreSQL cannot have"),
            b'\\' => out.extend(b"\\\\"),
            b'\n' => out.extend(b"\\n"),
            b'\r' => out.extend(b"\\r"),
            b'\t' => out.extend(b"\\t"),
            other => out.push(*other),
        }
    }
    Ok(())
}

/// The row that an error of COPY is about: `COPY orders, line 17, column amount: "x"`.
fn line_of(words: &str) -> Option<usize> {
    let (_, behind) = words.split_once("CONTEXT: COPY ")?.1.split_once(", line ")?;
    let digits: String = behind.chars().take_while(char::is_ascii_digit).collect();
    digits.parse::<usize>().ok()?.checked_sub(1)
}
