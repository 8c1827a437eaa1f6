//! Rows between databases of different kinds: each value arrives as it was, and what does not fit
//! is named by its table, column and key.

use super::sandbox::{Kills, Sandbox, kill};
use super::servers::{Lab, lab};

fn book(name: &str, steps: &str) -> Sandbox {
    let databases = r#"
secrets: { shop: { env: SHOP_PASSWORD } }
databases:
  p-old: { postgres: { host: 127.0.0.1, port: PORT(postgres-old), database: NAME, user: shop, password: { secret: shop } } }
  p-new: { postgres: { host: 127.0.0.1, port: PORT(postgres-new), database: NAME, user: shop, password: { secret: shop } } }
  m-old: { mysql: { host: 127.0.0.1, port: PORT(mariadb-old), database: NAME, user: shop, password: { secret: shop } } }
  m-new: { mysql: { host: 127.0.0.1, port: PORT(mariadb-new), database: NAME, user: shop, password: { secret: shop } } }
  file: { sqlite: rows.db }
"#;
    lab().sandbox(
        &format!("runbook: copies{databases}phases:\n  p:\n    steps:\n{steps}")
            .replace("NAME", name),
    )
}

fn environment() -> [(&'static str, String); 1] {
    [("SHOP_PASSWORD", "lab-shop".to_owned())]
}

const POSTGRES: &str = r#"
CREATE TYPE mood AS ENUM ('good', 'bad');
CREATE TABLE things (id bigserial PRIMARY KEY, name text NOT NULL, amount numeric(20,4), ratio float8, single real, raw bytea, ok boolean,
  day date, clock time, at timestamp, seen timestamptz, ref uuid, doc jsonb, small smallint, mood mood);
CREATE TABLE names (name text COLLATE "en-x-icu", n numeric(10,2), v text, PRIMARY KEY (name, n));
CREATE TABLE refs (ref uuid PRIMARY KEY, day date);
"#;

const MARIADB: &str = r#"
CREATE TABLE things (id bigint AUTO_INCREMENT PRIMARY KEY, name longtext NOT NULL, amount decimal(20,4), ratio double, single float, raw longblob,
  ok boolean, day date, clock time(6), at datetime(6), seen timestamp(6) NULL, ref uuid, doc json, small smallint, mood enum('bad', 'good')) CHARSET utf8mb4;
CREATE TABLE names (name varchar(100), n decimal(10,2), v text, PRIMARY KEY (name, n)) CHARSET utf8mb4 COLLATE utf8mb4_general_ci;
CREATE TABLE refs (ref uuid PRIMARY KEY, day date);
"#;

const SQLITE: &str = r#"
CREATE TABLE things (id INTEGER PRIMARY KEY, name TEXT NOT NULL, amount TEXT, ratio REAL, single REAL, raw BLOB, ok BOOLEAN, day DATE,
  clock TIME, at DATETIME, seen TIMESTAMPTZ, ref UUID, doc JSON, small SMALLINT, mood VARCHAR(10));
CREATE TABLE names (name TEXT COLLATE NOCASE, n DECIMAL(10,2), v TEXT, PRIMARY KEY (name, n));
CREATE TABLE refs (ref UUID PRIMARY KEY, day TEXT);
"#;

/// MariaDB takes only UUIDs of a version and variant that there are.
const ROWS: &str = r#"
INSERT INTO things (name, amount, ratio, single, raw, ok, day, clock, at, seen, ref, doc, small, mood)
  SELECT E'it''s \\ "ü" 🙂 \b % ' || g || E'\t\r\n', CASE WHEN g % 5 = 0 THEN NULL ELSE -1234567890123456.7891 + g END, 1.0 / g + 1e-300, 1.0 / g,
    CASE WHEN g % 4 > 0 THEN decode(repeat(md5(g::text), g % 3), 'hex') || '\x00ff5c27' END, g % 2 = 0, date '1970-01-02' + g,
    time '00:00:01' + g * interval '0.123456 second', timestamp '2026-01-01' + g * interval '61.5 seconds', timestamptz '2026-01-01 00:00:00.25+02' + g * interval '1 hour',
    overlay(overlay(md5(g::text) PLACING '4' FROM 13) PLACING 'a' FROM 17)::uuid, jsonb_build_object('n', g, 'b', ARRAY[1.5, NULL, g], 'a', E'x"\\\n'), g, CASE WHEN g % 3 > 0 THEN 'bad'::mood END
  FROM generate_series(1, 6000) g;
DELETE FROM things WHERE id % 7 = 0;
INSERT INTO names SELECT w || g / 10, g / 4.0, nullif(w, 'b') FROM generate_series(1, 800) g, unnest(ARRAY['b', 'A', 'C_', 'd', 'é', '_', 'f''\']) w;
INSERT INTO refs SELECT overlay(overlay(md5(g::text) PLACING '4' FROM 13) PLACING 'a' FROM 17)::uuid, date '2026-01-01' + g FROM generate_series(1, 3000) g;
"#;

fn databases(lab: &Lab, name: &str) {
    for server in ["postgres-old", "postgres-new"] {
        lab.fresh(server, name);
        lab.psql(server, name, &format!("SET ROLE shop; {POSTGRES}"));
    }
    for server in ["mariadb-old", "mariadb-new"] {
        lab.mariadb(
            server,
            "",
            &format!(
                "DROP DATABASE IF EXISTS {name}; CREATE DATABASE {name}; USE {name}; {MARIADB}"
            ),
        );
    }
    lab.psql("postgres-old", name, &format!("SET ROLE shop; SET TimeZone = 'UTC'; {ROWS}"));
}

fn file(sandbox: &Sandbox) -> rusqlite::Connection {
    let db = rusqlite::Connection::open(sandbox.path("rows.db")).unwrap();
    db.execute_batch(SQLITE).unwrap();
    db
}

fn all_rows(lab: &Lab, server: &str, name: &str) -> String {
    let all = [("things", "id"), ("names", "name COLLATE \"C\", n"), ("refs", "ref")].map(
        |(table, order)| {
            lab.psql(
                server,
                name,
                &format!(
                    "SELECT md5(string_agg(t::text, ',' ORDER BY {order})), count(*) FROM {table} t"
                ),
            )
        },
    );
    all.join(" ")
}

#[test]
fn every_value_is_the_same_after_a_way_through_all_kinds() {
    let lab = lab();
    databases(lab, "kinds");
    let way = [("p-old", "m-old"), ("m-old", "m-new"), ("m-new", "file"), ("file", "p-new")];
    let steps: String = way
        .iter()
        .map(|(from, to)| {
            let keys = format!("from: {from}, to: {to}, tables: [things, names, refs]");
            let copy = format!(
                "      {from}-{to}: {{ copy: {{ {keys}, chunk: 900, parallel: 2, \
                sequence_margin: 50 }} }}\n"
            );
            format!(
                "{copy}      {from}-{to}-same: {{ copy: {{ {keys}, verify_only: true, chunk: \
                1300 }} }}\n"
            )
        })
        .collect();
    let sandbox = book("kinds", &steps);
    file(&sandbox);
    let shown = sandbox.run_with("run book.yaml", &environment());
    assert!(
        shown.contains("13743 rows copied, the same at both ends") && shown.ends_with("exit 0"),
        "{shown}"
    );
    assert_eq!(all_rows(lab, "postgres-new", "kinds"), all_rows(lab, "postgres-old", "kinds"));
    let next = "SELECT auto_increment FROM information_schema.tables WHERE table_schema = 'kinds' \
        AND table_name = 'things'";
    assert_eq!(lab.mariadb("mariadb-old", "kinds", next), "6051");
    assert_eq!(lab.psql("postgres-new", "kinds", "SELECT last_value FROM things_id_seq"), "6050");
    // What the new side wrote since is not what was copied.
    lab.mariadb("mariadb-new", "kinds", "INSERT INTO things (name) VALUES ('new')");
    let shown = sandbox.run_with("rollback", &environment());
    assert!(shown.ends_with("exit 4"), "{shown}");
    assert_eq!(
        lab.mariadb(
            "mariadb-new",
            "kinds",
            "SELECT name FROM things UNION ALL SELECT name FROM names"
        ),
        "new"
    );
    assert_eq!(lab.mariadb("mariadb-old", "kinds", "SELECT count(*) FROM things"), "0");
    assert_eq!(lab.mariadb("mariadb-old", "kinds", next), "1");
    assert_eq!(lab.psql("postgres-new", "kinds", "SELECT count(*) FROM refs"), "0");
}

#[test]
fn a_copy_between_kinds_that_is_killed_loses_no_row_and_has_none_twice() {
    let lab = lab();
    databases(lab, "killed_kinds");
    let seed = std::process::id();
    println!("copy: the seed is {seed}");
    let mut state = u64::from(seed);
    let mut random = || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        state >> 33
    };
    let there = "      \
        there: { copy: { from: p-old, to: m-new, tables: [things, names, refs], chunk: 150, parallel: 2 } \
        }\n";
    let back = "      \
        back: { copy: { from: m-new, to: p-new, tables: [things, names, refs], chunk: 150, parallel: 2 } \
        }\n";
    let mut kills = Kills::of(12);
    while kills.go_on() {
        let sandbox = book("killed_kinds", &format!("{there}{back}"));
        let (mut line, mut lives) = ("run book.yaml", true);
        while lives && kills.go_on() {
            let child = sandbox.start_heard(line, &environment());
            std::thread::sleep(std::time::Duration::from_millis(100 + random() % 500));
            lives = kills.count(kill(child));
            if sandbox.path("journal/switchover.db").exists()
                && !sandbox.run("list").contains("no run")
            {
                line = "resume";
            }
        }
        let shown = sandbox.run_with(line, &environment());
        assert!(shown.ends_with("exit 0"), "seed {seed}: {shown}");
        assert_eq!(
            all_rows(lab, "postgres-new", "killed_kinds"),
            all_rows(lab, "postgres-old", "killed_kinds"),
            "seed {seed}"
        );
        let shown = sandbox.run_with("rollback", &environment());
        assert!(shown.ends_with("exit 4"), "seed {seed}: {shown}");
    }
    println!("copy: killed {} times between kinds, while it ran", kills.done());
}

#[test]
fn what_does_not_fit_is_named_by_table_column_and_key() {
    let lab = lab();
    lab.fresh("postgres-old", "unfit");
    lab.fresh("postgres-new", "unfit");
    for server in ["mariadb-old", "mariadb-new"] {
        lab.mariadb(server, "", "DROP DATABASE IF EXISTS unfit; CREATE DATABASE unfit");
    }
    for (from, to, value, words) in [
        (
            "bigint unsigned",
            "bigint",
            "18446744073709551615",
            "does not take the row id = 3: value \"18446744073709551615\" is out of range for type \
             bigint",
        ),
        (
            "date",
            "date",
            "'0000-00-00'",
            "v of the row id = 3 of t does not fit: it is no date that both know",
        ),
        (
            "datetime",
            "timestamp",
            "'2026-00-00'",
            "v of the row id = 3 of t does not fit: it is no point in time that both know",
        ),
        ("text", "text", "'a\\0b'", "does not take the row id = 3: v: it has a NUL"),
        (
            "tinyint",
            "boolean",
            "2",
            "v of the row id = 3 of t does not fit: it is neither true nor false",
        ),
        (
            "decimal(10,4)",
            "numeric(10,2)",
            "0.1234",
            "v of the row id = 3 of t does not fit: it has more than 2 digits behind the point",
        ),
        (
            "varchar(20)",
            "varchar(5)",
            "'too long'",
            "does not take the row id = 3: value too long for type character varying(5)",
        ),
        ("longtext", "jsonb", "'{'", "v of the row id = 3 of t does not fit: it is no JSON"),
    ] {
        lab.mariadb(
            "mariadb-old",
            "unfit",
            &format!(
                "SET sql_mode = ''; DROP TABLE IF EXISTS t; \
            CREATE TABLE t (id int PRIMARY KEY, v {from}); INSERT INTO t VALUES (1, NULL), \
            (3, {value})"
            ),
        );
        lab.psql(
            "postgres-new",
            "unfit",
            &format!(
                "SET ROLE shop; DROP TABLE IF EXISTS t; CREATE TABLE t (id int PRIMARY KEY, v {to})"
            ),
        );
        let shown =
            book("unfit", "      rows: { copy: { from: m-old, to: p-new, tables: [t] } }\n")
                .run_with("run book.yaml", &environment());
        assert!(shown.contains(words) && shown.ends_with("exit 1"), "{from} to {to}: {shown}");
        assert_eq!(lab.psql("postgres-new", "unfit", "SELECT count(*) FROM t"), "0");
    }
    for (from, to, value, words) in [
        (
            "bigint",
            "int",
            "3000000000",
            "does not take the row id = 3: Out of range value for column 'v'",
        ),
        ("float8", "double", "'Infinity'", "does not take the row id = 3: v: it is not finite"),
        (
            "date",
            "date",
            "'infinity'",
            "v of the row id = 3 of t does not fit: it is no date that both know",
        ),
        (
            "timestamp",
            "datetime",
            "'2026-01-01 00:00:00.5'",
            "does not fit: it has more than 0 digits behind the point, which datetime cuts off",
        ),
        (
            "text",
            "varchar(10) CHARACTER SET latin1",
            "'Ж'",
            "does not take the row id = 3: Incorrect string value",
        ),
    ] {
        lab.psql(
            "postgres-old",
            "unfit",
            &format!(
                "SET ROLE shop; DROP TABLE IF EXISTS t; CREATE \
            TABLE t (id int PRIMARY KEY, v {from}); INSERT INTO t VALUES (1, NULL), (3, {value})"
            ),
        );
        lab.mariadb(
            "mariadb-new",
            "unfit",
            &format!("DROP TABLE IF EXISTS t; CREATE TABLE t (id int PRIMARY KEY, v {to})"),
        );
        let shown =
            book("unfit", "      rows: { copy: { from: p-old, to: m-new, tables: [t] } }\n")
                .run_with("run book.yaml", &environment());
        assert!(shown.contains(words) && shown.ends_with("exit 1"), "{from} to {to}: {shown}");
        assert_eq!(lab.mariadb("mariadb-new", "unfit", "SELECT count(*) FROM t"), "0");
    }
    for (from, to, words) in [
        (
            "int PRIMARY KEY, v interval",
            "int PRIMARY KEY, v int",
            "the column v of t is interval in postgres://",
        ),
        ("float8 PRIMARY KEY, v int", "double PRIMARY KEY, v int", "which is part of its key"),
        ("int, v int", "int, v int", "has no primary key"),
        (
            "int PRIMARY KEY, v int",
            "int PRIMARY KEY, v int) ENGINE MyISAM -- ",
            "which has no transactions",
        ),
    ] {
        lab.psql(
            "postgres-old",
            "unfit",
            &format!("SET ROLE shop; DROP TABLE IF EXISTS t; CREATE TABLE t (id {from})"),
        );
        lab.mariadb(
            "mariadb-new",
            "unfit",
            &format!("DROP TABLE IF EXISTS t; CREATE TABLE t (id {to})"),
        );
        let shown =
            book("unfit", "      rows: { copy: { from: p-old, to: m-new, tables: [t] } }\n")
                .run_with("run book.yaml", &environment());
        assert!(shown.contains(words) && shown.ends_with("exit 1"), "{from} to {to}: {shown}");
    }
}
