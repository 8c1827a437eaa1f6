//! Rows between two PostgreSQL servers: none lost, none twice, whatever dies in between; and errors
//! that say where.

use super::sandbox::{Kills, Sandbox, kill};
use super::servers::{Lab, lab};

const DATABASES: &str = r#"
secrets: { shop: { env: SHOP_PASSWORD } }
databases:
  old: { postgres: { host: 127.0.0.1, port: PORT(postgres-old), database: NAME, user: shop, password: { secret: shop } } }
  new: { postgres: { host: 127.0.0.1, port: PORT(postgres-new), database: NAME, user: shop, password: { secret: shop } } }
"#;

fn book(name: &str, steps: &str) -> Sandbox {
    lab().sandbox(
        &format!("runbook: copies{DATABASES}phases:\n  p:\n    steps:\n{steps}")
            .replace("NAME", name),
    )
}

fn environment() -> [(&'static str, String); 1] {
    [("SHOP_PASSWORD", "lab-shop".to_owned())]
}

const TABLES: &str = r#"
CREATE TYPE mood AS ENUM ('good', 'bad');
CREATE TABLE customers (id bigserial PRIMARY KEY, name text NOT NULL, mood mood, at timestamptz, extra jsonb, raw bytea, tags text[], double float8);
CREATE TABLE lines ("order" int, "Line No" uuid, amount numeric(12,2), gone text, twice numeric GENERATED ALWAYS AS (amount * 2) STORED, PRIMARY KEY ("order", "Line No"));
CREATE TABLE nothing (id int PRIMARY KEY);
"#;

const ROWS: &str = r#"
INSERT INTO customers (name, mood, at, extra, raw, tags, double)
  SELECT E'it''s \\ ' || g || E'\t\n"', CASE WHEN g % 3 = 0 THEN NULL ELSE 'bad'::mood END, timestamptz '2026-01-01' + g * interval '1 minute',
    jsonb_build_object('n', g), decode(md5(g::text), 'hex'), ARRAY[g::text, NULL], 1.0 / g FROM generate_series(1, 20000) g;
DELETE FROM customers WHERE id % 7 = 0;
INSERT INTO lines ("order", "Line No", amount) SELECT g / 3, md5(g::text)::uuid, g / 100.0 FROM generate_series(1, 15000) g;
"#;

/// Two databases of this name, the new one with empty tables. The order of the new one's columns is
/// another.
fn databases(lab: &Lab, name: &str) {
    for (server, tables) in [
        ("postgres-old", format!("{TABLES}{ROWS}")),
        (
            "postgres-new",
            TABLES.replace("name text NOT NULL, mood mood", "mood mood, name text NOT NULL"),
        ),
    ] {
        lab.fresh(server, name);
        lab.psql(server, name, &format!("SET ROLE shop; {tables}"));
    }
}

fn all_rows(lab: &Lab, server: &str, name: &str) -> String {
    let customers = "SELECT md5(string_agg(ROW(id, name, mood, at, extra, raw, tags, \
        double)::text, ',' ORDER BY id)), count(*) FROM customers";
    let lines = "SELECT md5(string_agg(l::text, ',' ORDER BY \"order\", \"Line No\")), count(*) \
        FROM lines l";
    format!("{} {}", lab.psql(server, name, customers), lab.psql(server, name, lines))
}

const COPY: &str = "      \
    rows: { copy: { from: old, to: new, tables: [customers, lines, nothing], chunk: 700, parallel: 3, sequence_margin: 50 } \
    }\n";

#[test]
fn every_row_arrives_once_and_goes_again() {
    let lab = lab();
    databases(lab, "once");
    let sandbox = book(
        "once",
        &format!(
            "{COPY}      same: {{ copy: {{ from: old, to: new, tables: [customers, lines], \
             verify_only: true, chunk: 1000 }} }}\n"
        ),
    );
    let shown = sandbox.run_with("run book.yaml", &environment());
    assert!(
        shown.contains("32143 rows copied, the same at both ends") && shown.ends_with("exit 0"),
        "{shown}"
    );
    assert_eq!(all_rows(lab, "postgres-old", "once"), all_rows(lab, "postgres-new", "once"));
    assert_eq!(
        lab.psql("postgres-new", "once", "SELECT last_value FROM customers_id_seq"),
        "20050"
    );
    // What the new side wrote since is not what was copied.
    lab.psql("postgres-new", "once", "INSERT INTO customers (name) VALUES ('new')");
    assert!(sandbox.run_with("rollback", &environment()).ends_with("exit 4"));
    assert_eq!(
        lab.psql("postgres-new", "once", "SELECT string_agg(name, '') FROM customers"),
        "new"
    );
    assert_eq!(lab.psql("postgres-new", "once", "SELECT count(*) FROM lines"), "0");
}

#[test]
fn a_copy_that_is_killed_loses_no_row_and_has_none_twice() {
    let lab = lab();
    databases(lab, "killed");
    let expected = all_rows(lab, "postgres-old", "killed");
    let seed = std::process::id();
    println!("copy: the seed is {seed}");
    let mut state = u64::from(seed);
    let mut random = || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        state >> 33
    };
    let mut kills = Kills::of(50);
    while kills.go_on() {
        let round = kills.done();
        let sandbox = book("killed", COPY);
        let (mut line, mut lives) = ("run book.yaml", true);
        while lives && kills.go_on() {
            let child = sandbox.start_heard(line, &environment());
            std::thread::sleep(std::time::Duration::from_millis(30 + random() % 400));
            lives = kills.count(kill(child));
            if sandbox.path("journal/switchover.db").exists()
                && !sandbox.run("list").contains("no run")
            {
                line = "resume";
            }
        }
        let shown = sandbox.run_with(line, &environment());
        assert!(shown.ends_with("exit 0"), "after {round} kills, seed {seed}: {shown}");
        assert_eq!(
            all_rows(lab, "postgres-new", "killed"),
            expected,
            "after {round} kills, seed {seed}"
        );
        assert!(sandbox.run_with("rollback", &environment()).ends_with("exit 4"));
        assert_eq!(
            lab.psql(
                "postgres-new",
                "killed",
                "SELECT (SELECT count(*) FROM customers) + (SELECT count(*) FROM lines)"
            ),
            "0"
        );
    }
    println!("copy: killed {} times while it ran, the same rows each time", kills.done());
}

#[test]
fn a_chunk_that_differs_is_named_by_its_keys() {
    let lab = lab();
    databases(lab, "differs");
    assert!(book("differs", COPY).run_with("run book.yaml", &environment()).ends_with("exit 0"));
    let compare = || {
        book("differs", "      \
            same: { copy: { from: old, to: new, tables: [customers], verify_only: true, chunk: 1000 } \
            }\n")
            .run_with("run book.yaml", &environment())
    };
    for (change, words) in [
        (
            "UPDATE customers SET extra = '{}' WHERE id = 5000",
            "is not the same at both ends, behind 4666 up to 5833: 1000 rows, which differ",
        ),
        (
            "DELETE FROM customers WHERE id = 5001",
            "behind 4666 up to 5833: 1000 rows there, 999 here",
        ),
    ] {
        lab.psql("postgres-new", "differs", change);
        let shown = compare();
        assert!(shown.contains(words) && shown.ends_with("exit 1"), "{shown}");
    }
    databases(lab, "differs");
    assert!(book("differs", COPY).run_with("run book.yaml", &environment()).ends_with("exit 0"));
    lab.psql("postgres-new", "differs", "INSERT INTO customers (id, name) VALUES (900000, 'more')");
    assert!(compare().contains("has 1 rows that customers has not"), "{}", compare());
}

#[test]
fn what_cannot_be_copied_is_refused_before_anything_is_changed() {
    let lab = lab();
    databases(lab, "refused");
    lab.psql(
        "postgres-old",
        "refused",
        "CREATE TABLE keyless (x int); CREATE TABLE only_old (id \
        int PRIMARY KEY); CREATE TABLE types (id int PRIMARY KEY, x int); ALTER TABLE keyless \
        OWNER TO shop; ALTER TABLE types OWNER TO shop; ALTER TABLE only_old OWNER TO shop",
    );
    lab.psql(
        "postgres-new",
        "refused",
        "CREATE TABLE keyless (x int); CREATE TABLE types (id int \
        PRIMARY KEY, x text); ALTER TABLE keyless OWNER TO shop; ALTER TABLE types OWNER TO shop; \
        INSERT INTO nothing VALUES (1)",
    );
    for (tables, words) in [
        ("[keyless]", "the table keyless of postgres://127.0.0.1:"),
        ("[only_old]", "there is no table only_old in postgres://127.0.0.1:"),
        ("[types]", "the column x of types is text in postgres://127.0.0.1:"),
        ("[customers, nothing]", "has rows already: it is copied only into an empty table"),
        ("{ customers: lines }", "has no column id"),
    ] {
        let sandbox = book(
            "refused",
            &format!("      rows: {{ copy: {{ from: old, to: new, tables: {tables} }} }}\n"),
        );
        let shown = sandbox.run_with("run book.yaml", &environment());
        assert!(shown.contains(words) && shown.ends_with("exit 1"), "{tables}: {shown}");
        assert!(sandbox.run_with("rollback", &environment()).ends_with("exit 4"));
        assert_eq!(lab.psql("postgres-new", "refused", "SELECT count(*) FROM nothing"), "1");
    }
}
