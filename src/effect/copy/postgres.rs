//! Both ends are PostgreSQL: rows go from one server to the other as they are, in the binary form
//! of COPY. All of an attempt sees one snapshot of the source.

use std::collections::BTreeMap;
use std::io::{BufRead as _, Write as _};

use postgres::Client;
use serde_json::{Value as Json, json};

use super::tuples::{Torn, Tuples};
use super::{Column, End, Interrupts, Key, Pair, Range, Shape, Sum};
use crate::effect::EffectError;
use crate::effect::sql::{Login, canceller, connect, postgres_error, remedy};

/// A table at both ends.
type Table = super::Table<Shape>;

/// What makes the texts of values the same at both ends.
pub const SETTINGS: &str = "SET TimeZone = 'UTC'; SET DateStyle = 'ISO'; SET IntervalStyle = \
    'postgres'; SET extra_float_digits = 1; SET bytea_output = 'hex'; SET \
    standard_conforming_strings = on; SET synchronous_commit = on; SET \
    idle_in_transaction_session_timeout = 0; SET statement_timeout = 0";

/// The columns of a table, without those that are computed.
const COLUMNS: &str = "SELECT quote_ident(attname), format_type(atttypid, atttypmod) FROM \
    pg_attribute WHERE attrelid = $1::text::regclass AND attnum > 0 AND NOT attisdropped AND \
    attgenerated = '' ORDER BY attnum";

/// The columns of the primary key, and whether they are texts of a language.
pub const KEY: &str = "SELECT quote_ident(a.attname), format_type(a.atttypid, a.atttypmod), \
    a.attcollation <> 0 FROM pg_index i, unnest(i.indkey) WITH ORDINALITY k(number, place) JOIN \
    pg_attribute a ON a.attnum = k.number WHERE i.indrelid = $1::text::regclass AND a.attrelid = \
    i.indrelid AND i.indisprimary ORDER BY k.place";

pub const SEQUENCES: &str = "SELECT quote_ident(attname), pg_get_serial_sequence($1::text, \
    attname), attname::text FROM pg_attribute WHERE attrelid = $1::text::regclass AND attnum > 0 \
    AND NOT attisdropped AND pg_get_serial_sequence($1::text, attname) IS NOT NULL";

pub struct Servers<'a> {
    from: Login<'a>,
    to: Login<'a>,
    leader: Leader,
    interrupts: Interrupts,
}

pub struct Lane {
    source: Client,
    target: Client,
}

/// A snapshot, which lives as long as this does.
pub struct Leader {
    snapshot: String,
    _client: std::sync::Mutex<Client>,
}

impl Leader {
    pub fn open(login: &Login) -> Result<Leader, EffectError> {
        let mut client = connect(login)?;
        let failed = |error: postgres::Error| before(&error, "");
        client.batch_execute(SETTINGS).map_err(failed)?;
        client.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").map_err(failed)?;
        let snapshot = client.query_one("SELECT pg_export_snapshot()", &[]).map_err(failed)?.get(0);
        Ok(Leader { snapshot, _client: std::sync::Mutex::new(client) })
    }

    /// Lets another connection see the same.
    pub fn follow(&self, client: &mut Client) -> Result<(), EffectError> {
        let snapshot = quoted(&self.snapshot);
        let begin = format!(
            "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET TRANSACTION SNAPSHOT {snapshot}"
        );
        client.batch_execute(&begin).map_err(|error| before(&error, ""))
    }
}

impl<'a> Servers<'a> {
    pub fn open(
        from: Login<'a>,
        to: Login<'a>,
        interrupts: Interrupts,
    ) -> Result<Servers<'a>, EffectError> {
        Ok(Servers { leader: Leader::open(&from)?, from, to, interrupts })
    }
}

impl Pair for Servers<'_> {
    type Lane = Lane;
    type Shape = Shape;

    fn lane(&self) -> Result<Lane, EffectError> {
        let failed = |error: postgres::Error| EffectError::before(postgres_error(&error, ""));
        let (mut source, mut target) = (connect(&self.from)?, connect(&self.to)?);
        source.batch_execute(SETTINGS).map_err(failed)?;
        self.leader.follow(&mut source)?;
        target.batch_execute(SETTINGS).map_err(failed)?;
        self.interrupts.add(canceller(&source, &self.from)?);
        self.interrupts.add(canceller(&target, &self.to)?);
        Ok(Lane { source, target })
    }

    fn table(&self, lane: &mut Lane, name: &str, into: &str) -> Result<Table, EffectError> {
        let source = found(&mut lane.source, name, &place(&self.from))?;
        let target = found(&mut lane.target, into, &place(&self.to))?;
        let columns = columns(&mut lane.source, &source)?;
        let there = columns_by_name(&mut lane.target, &target)?;
        for (column, kind) in &columns {
            match there.get(column) {
                None => {
                    return Err(EffectError::before(format!(
                        "the table {target} of {} has no column {column}",
                        place(&self.to)
                    )));
                }
                Some(other) if other != kind => {
                    let words = format!(
                        "the column {column} of {target} is {other} in {}, and {kind} in {}",
                        place(&self.to),
                        place(&self.from)
                    );
                    return Err(EffectError::before(words));
                }
                Some(_) => {}
            }
        }
        let rows = lane.source.query(KEY, &[&source]).map_err(|error| before(&error, KEY))?;
        if rows.is_empty() {
            let words = "it is copied in ranges of one: give it one, or copy it with a command in \
                a `run` step";
            return Err(EffectError::before(format!(
                "the table {source} of {} has no primary key: {words}",
                place(&self.from)
            )));
        }
        let in_order = "SELECT datcollate || ' ' || datctype FROM pg_database WHERE datname = \
            current_database()";
        if rows.iter().any(|row| row.get::<_, bool>(2)) {
            let order = |client: &mut Client| {
                client
                    .query_one(in_order, &[])
                    .map(|row| row.get::<_, String>(0))
                    .map_err(|error| before(&error, in_order))
            };
            let (here, there) = (order(&mut lane.source)?, order(&mut lane.target)?);
            if here != there {
                let words = format!(
                    "the key of {source} is a text, which is ordered as `{here}` in the one \
                     database and `{there}` in the other"
                );
                return Err(EffectError::before(format!(
                    "{words}: its ranges would not be the same"
                )));
            }
        }
        let key = rows.iter().map(|row| Column { name: row.get(0), kind: row.get(1) }).collect();
        let columns = columns.into_iter().map(|(name, _)| name).collect();
        Ok(Table { name: name.to_owned(), source, target, shape: Shape { columns, key } })
    }

    fn is_empty(&self, lane: &mut Lane, table: &Table) -> Result<bool, EffectError> {
        let sql = format!("SELECT NOT EXISTS (SELECT 1 FROM {})", table.target);
        lane.target.query_one(&sql, &[]).map(|row| row.get(0)).map_err(|error| before(&error, &sql))
    }

    fn estimate(&self, lane: &mut Lane, table: &Table) -> Option<u64> {
        let sql =
            "SELECT greatest(reltuples, 0)::bigint FROM pg_class WHERE oid = $1::text::regclass";
        let rows: i64 = lane.source.query_one(sql, &[&table.source]).ok()?.get(0);
        u64::try_from(rows).ok().filter(|rows| *rows > 0)
    }

    fn bytes(&self, lane: &mut Lane, table: &Table) -> Option<u64> {
        let size: i64 = lane
            .source
            .query_one("SELECT pg_table_size($1::text::regclass)", &[&table.source])
            .ok()?
            .get(0);
        u64::try_from(size).ok()
    }

    fn bound(
        &self,
        lane: &mut Lane,
        table: &Table,
        after: Option<&Key>,
        rows: u32,
    ) -> Result<Option<Key>, EffectError> {
        // Under names of their own: ordered by are the values, not their texts.
        let texts: Vec<String> = table
            .shape
            .key
            .iter()
            .enumerate()
            .map(|(at, column)| format!("{}::text AS key_{at}_text", column.name))
            .collect();
        let range = Range { after: after.cloned(), upto: None };
        let (texts, from) =
            (texts.join(", "), format!("{}{}", table.source, condition(table, &range)));
        let (up, down) = (names(table, ""), names(table, " DESC"));
        let far = format!("SELECT {texts} FROM {from} ORDER BY {up} OFFSET {} LIMIT 1", rows - 1);
        let last = format!("SELECT {texts} FROM {from} ORDER BY {down} LIMIT 1");
        for sql in [far, last] {
            if let Some(row) =
                lane.source.query_opt(&sql, &[]).map_err(|error| before(&error, &sql))?
            {
                return Ok(Some((0..row.len()).map(|at| row.get(at)).collect()));
            }
        }
        Ok(None)
    }

    fn copy(
        &self,
        lane: &mut Lane,
        table: &Table,
        range: &Range,
        is_summed: bool,
    ) -> Result<Sum, EffectError> {
        let columns = table.shape.columns.join(", ");
        let out = format!(
            "COPY ({} ORDER BY {}) TO STDOUT (FORMAT binary)",
            rows_of(&table.source, table, range),
            names(table, "")
        );
        let into = format!("COPY {} ({columns}) FROM STDIN (FORMAT binary)", table.target);
        let failed = |server: &Login, error: &Failed| {
            EffectError::during(format!(
                "{}: the rows {} of {}: {error}",
                place(server),
                range.in_words(),
                table.name
            ))
        };
        let mut writer =
            lane.target.copy_in(&into).map_err(|error| failed(&self.to, &error.into()))?;
        let (mut tuples, mut sum, mut torn) = (Tuples::default(), Sum::default(), Ok(()));
        let streamed = stream(&mut lane.source, &out, |piece| {
            if is_summed && torn.is_ok() {
                torn = tuples.feed(piece, |row| {
                    sum.add(row);
                    Ok::<(), Torn>(())
                });
            }
            writer.write_all(piece)
        });
        match streamed {
            Ok(()) => {}
            Err(Streamed::Read(error)) => return Err(failed(&self.from, &error)),
            Err(Streamed::Given(error)) => return Err(failed(&self.to, &error)),
        }
        torn.map_err(|error| failed(&self.from, &Failed(error.to_string())))?;
        // Committed, and so durable, with this.
        let rows = writer.finish().map_err(|error| failed(&self.to, &error.into()))?;
        if is_summed && rows != sum.rows {
            return Err(failed(
                &self.to,
                &Failed(format!("{rows} rows were taken of {}", sum.rows)),
            ));
        }
        Ok(Sum { rows, ..sum })
    }

    /// The rows come back as they were sent: that is cheaper than to have two servers make texts of
    /// them and sum those up.
    fn check(&self, lane: &mut Lane, table: &Table, range: &Range) -> Result<Sum, EffectError> {
        let out =
            format!("COPY ({}) TO STDOUT (FORMAT binary)", rows_of(&table.target, table, range));
        let (mut tuples, mut sum) = (Tuples::default(), Sum::default());
        let streamed = stream(&mut lane.target, &out, |piece| {
            let add = |row: &[u8]| {
                sum.add(row);
                Ok::<(), Torn>(())
            };
            tuples.feed(piece, add).map_err(std::io::Error::other)
        });
        streamed.map_err(|error| {
            let (Streamed::Read(error) | Streamed::Given(error)) = error;
            EffectError::during(format!(
                "{}: comparing the rows {} of {}: {error}",
                place(&self.to),
                range.in_words(),
                table.name
            ))
        })?;
        match tuples.is_over() {
            true => Ok(sum),
            false => Err(EffectError::during(format!(
                "{}: the rows {} of {} came without their end",
                place(&self.to),
                range.in_words(),
                table.name
            ))),
        }
    }

    fn sum(
        &self,
        lane: &mut Lane,
        table: &Table,
        end: End,
        range: &Range,
    ) -> Result<Sum, EffectError> {
        match end {
            End::Source => sum(&mut lane.source, &table.source, table, range),
            End::Target => sum(&mut lane.target, &table.target, table, range),
        }
    }

    /// Two servers count at the same time.
    fn sums(
        &self,
        lane: &mut Lane,
        table: &Table,
        range: &Range,
    ) -> Result<(Sum, Sum), EffectError> {
        let Lane { source, target } = lane;
        std::thread::scope(|scope| {
            let there = scope.spawn(|| sum(source, &table.source, table, range));
            let here = sum(target, &table.target, table, range)?;
            let there = there.join().map_err(|_| {
                EffectError::during("the digest of the source could not be taken")
            })??;
            Ok((there, here))
        })
    }

    fn remove(&self, lane: &mut Lane, table: &Table, range: &Range) -> Result<u64, EffectError> {
        let sql = format!("DELETE FROM {}{}", table.target, condition(table, range));
        lane.target
            .execute(&sql, &[])
            .map_err(|error| EffectError::during(postgres_error(&error, &sql)))
    }

    fn sequences(
        &self,
        lane: &mut Lane,
        table: &Table,
    ) -> Result<BTreeMap<String, Json>, EffectError> {
        let mut all = BTreeMap::new();
        for row in lane
            .target
            .query(SEQUENCES, &[&table.target])
            .map_err(|error| before(&error, SEQUENCES))?
        {
            let sequence: String = row.get(1);
            let (last, called) = stands(&mut lane.target, &sequence)?;
            all.insert(sequence, json!({ "last": last, "called": called }));
        }
        Ok(all)
    }

    fn advance(&self, lane: &mut Lane, table: &Table, margin: u32) -> Result<(), EffectError> {
        let there = lane
            .target
            .query(SEQUENCES, &[&table.target])
            .map_err(|error| before(&error, SEQUENCES))?;
        let there: BTreeMap<String, String> =
            there.iter().map(|row| (row.get(0), row.get(1))).collect();
        for row in lane
            .source
            .query(SEQUENCES, &[&table.source])
            .map_err(|error| before(&error, SEQUENCES))?
        {
            let Some(sequence) = there.get(row.get::<_, &str>(0)) else { continue };
            // Sequences are in no snapshot: this is where it stands now.
            let (last, _) = stands(&mut lane.source, row.get(1))?;
            set(&mut lane.target, sequence, last.saturating_add(margin.into()), true)?;
        }
        Ok(())
    }

    fn restore(&self, lane: &mut Lane, sequence: &str, stood: &Json) -> Result<(), EffectError> {
        set(
            &mut lane.target,
            sequence,
            stood["last"].as_i64().unwrap_or(1),
            stood["called"].as_bool().unwrap_or(false),
        )
    }
}

/// What a server said, in words.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Failed(String);

impl From<postgres::Error> for Failed {
    fn from(error: postgres::Error) -> Failed {
        Failed(in_words(&error))
    }
}

impl From<std::io::Error> for Failed {
    fn from(error: std::io::Error) -> Failed {
        let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<postgres::Error>());
        Failed(inner.map_or_else(|| error.to_string(), in_words))
    }
}

fn in_words(error: &postgres::Error) -> String {
    postgres_error(error, "") + remedy::of_postgres(error)
}

/// Which end it was.
pub enum Streamed {
    Read(Failed),
    Given(Failed),
}

/// Reads what a server sends, piece by piece.
pub fn stream(
    client: &mut Client,
    out: &str,
    mut give: impl FnMut(&[u8]) -> std::io::Result<()>,
) -> Result<(), Streamed> {
    let mut reader = client.copy_out(out).map_err(|error| Streamed::Read(error.into()))?;
    loop {
        let piece = reader.fill_buf().map_err(|error| Streamed::Read(error.into()))?;
        let length = piece.len();
        if length == 0 {
            return Ok(());
        }
        give(piece).map_err(|error| Streamed::Given(error.into()))?;
        reader.consume(length);
    }
}

/// The query of a range.
fn rows_of(name: &str, table: &Table, range: &Range) -> String {
    format!("SELECT {} FROM {name}{}", table.shape.columns.join(", "), condition(table, range))
}

fn sum(client: &mut Client, name: &str, table: &Table, range: &Range) -> Result<Sum, EffectError> {
    let sql = format!(
        "SELECT count(*), coalesce(sum(hashtextextended(ROW({})::text COLLATE \"C\", 0)), 0)::text \
         FROM {name}{}",
        table.shape.columns.join(", "),
        condition(table, range)
    );
    let row = client.query_one(&sql, &[]).map_err(|error| before(&error, &sql))?;
    let mut sum = Sum::default();
    sum.add(row.get::<_, &str>(1).as_bytes());
    Ok(Sum { rows: row.get::<_, i64>(0) as u64, ..sum })
}

/// The quoted name of a table that is there.
pub fn found(client: &mut Client, name: &str, place: &str) -> Result<String, EffectError> {
    let sql = "SELECT to_regclass($1::text)::text";
    let found: Option<String> =
        client.query_one(sql, &[&name]).map_err(|error| before(&error, sql))?.get(0);
    found.ok_or_else(|| EffectError::before(format!("there is no table {name} in {place}")))
}

pub fn columns(client: &mut Client, table: &str) -> Result<Vec<(String, String)>, EffectError> {
    let rows = client.query(COLUMNS, &[&table]).map_err(|error| before(&error, COLUMNS))?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}

fn columns_by_name(
    client: &mut Client,
    table: &str,
) -> Result<BTreeMap<String, String>, EffectError> {
    columns(client, table).map(|columns| columns.into_iter().collect())
}

pub fn stands(client: &mut Client, sequence: &str) -> Result<(i64, bool), EffectError> {
    let sql = format!("SELECT last_value, is_called FROM {sequence}");
    client
        .query_one(&sql, &[])
        .map(|row| (row.get(0), row.get(1)))
        .map_err(|error| before(&error, &sql))
}

pub fn set(
    client: &mut Client,
    sequence: &str,
    last: i64,
    called: bool,
) -> Result<(), EffectError> {
    let sql = "SELECT setval($1::text::regclass, $2, $3)";
    client
        .query_one(sql, &[&sequence, &last, &called])
        .map(drop)
        .map_err(|error| EffectError::during(postgres_error(&error, sql)))
}

/// ` WHERE …`, or nothing for all rows.
fn condition(table: &Table, range: &Range) -> String {
    let side = |key: &Key, operator: &str| {
        let values = table
            .shape
            .key
            .iter()
            .zip(key)
            .map(|(column, value)| format!("{}::{}", quoted(value), column.kind));
        format!("({}) {operator} ({})", names(table, ""), values.collect::<Vec<_>>().join(", "))
    };
    let sides = [
        range.after.as_ref().map(|key| side(key, ">")),
        range.upto.as_ref().map(|key| side(key, "<=")),
    ];
    let sides: Vec<String> = sides.into_iter().flatten().collect();
    if sides.is_empty() { String::new() } else { format!(" WHERE {}", sides.join(" AND ")) }
}

fn names(table: &Table, behind: &str) -> String {
    table
        .shape
        .key
        .iter()
        .map(|column| format!("{}{behind}", column.name))
        .collect::<Vec<_>>()
        .join(", ")
}

/// A value of a key, which may be any text. `standard_conforming_strings` is on.
pub fn quoted(value: &str) -> String {
    format!("'{}'", value.replace('\'', "''"))
}

pub fn place(login: &Login) -> String {
    let server = login.server;
    format!("postgres://{}:{}/{}", server.host, server.port, server.database)
}

fn before(error: &postgres::Error, text: &str) -> EffectError {
    EffectError::before(postgres_error(error, text))
}
