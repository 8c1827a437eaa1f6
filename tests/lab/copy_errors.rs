//! What a copy is given that cannot go well: the error names the step, the server and the remedy,
//! and nothing is half done without being recorded. And what holds a copy back, or ends it.

use std::os::unix::fs::MetadataExt as _;
use std::process::Command;
use std::time::{Duration, Instant};

use super::sandbox::{Sandbox, signal};
use super::servers::{Lab, lab};

fn environment() -> [(&'static str, String); 2] {
    [("SHOP_PASSWORD", "lab-shop".to_owned()), ("WRONG_PASSWORD", "not-the-one".to_owned())]
}

/// A runbook with a step `rows` of these keys, and another place for its target's server.
fn book(name: &str, to: &str, keys: &str) -> Sandbox {
    lab().sandbox(
        &format!(
            r#"
runbook: errors
secrets: {{ shop: {{ env: SHOP_PASSWORD }}, wrong: {{ env: WRONG_PASSWORD }} }}
databases:
  old: {{ postgres: {{ host: 127.0.0.1, port: PORT(postgres-old), database: NAME, user: shop, password: {{ secret: shop }} }} }}
  new: {to}
phases:
  p:
    steps:
      rows: {{ copy: {{ from: old, to: new, {keys} }} }}
"#
        )
        .replace("NAME", name),
    )
}

const NEW: &str = "{ postgres: { host: 127.0.0.1, port: PORT(postgres-new), database: NAME, user: shop, password: { secret: shop } } \
    }";

fn table(lab: &Lab, name: &str, rows: u32) {
    for (server, rows) in [("postgres-old", rows), ("postgres-new", 0)] {
        lab.fresh(server, name);
        lab.psql(
            server,
            name,
            &format!(
                "SET ROLE shop; CREATE TABLE t (id int PRIMARY KEY, v \
            text); INSERT INTO t SELECT g, repeat(md5(g::text), 10) FROM \
            generate_series(1, {rows}) g"
            ),
        );
    }
}

#[test]
fn a_server_that_cannot_be_had_is_named_with_what_to_do() {
    let lab = lab();
    table(lab, "errors", 10);
    let postgres =
        |keys: &str| format!("{{ postgres: {{ database: errors, user: shop, {keys} }} }}");
    let mysql = |keys: &str| format!("{{ mysql: {{ database: shop, user: shop, {keys} }} }}");
    for (to, words) in [
        (
            postgres("host: 127.0.0.1, port: PORT(postgres-new), password: { secret: wrong }"),
            ["password authentication failed", "remedy: see that `user`"],
        ),
        (
            mysql("host: 127.0.0.1, port: PORT(mariadb-new), password: { secret: wrong }"),
            ["Access denied", "remedy: see that `user`"],
        ),
        (
            postgres("host: 127.0.0.1, port: 1, password: { secret: shop }"),
            ["Connection refused", "remedy: see that the server runs"],
        ),
        (
            mysql("host: 127.0.0.1, port: 1, password: { secret: shop }"),
            ["Connection refused", "remedy: see that the server runs"],
        ),
        (
            postgres("host: nowhere.invalid, port: 5432, tls: none, password: { secret: shop }"),
            ["nowhere.invalid", "remedy: see that the server runs"],
        ),
        (
            postgres(
                "host: localhost, port: PORT(postgres-new), tls: {}, password: { secret: shop }",
            ),
            ["certificate", "remedy: see that the server offers TLS"],
        ),
        (
            mysql("host: localhost, port: PORT(mariadb-new), tls: {}, password: { secret: shop }"),
            ["ertificate", "remedy: see that the server offers TLS"],
        ),
    ] {
        let sandbox = book("errors", &to, "tables: [t]");
        let shown = sandbox.run_with("run book.yaml", &environment());
        let is_named = shown.contains("p/rows")
            && (shown.contains("://shop@127.0.0.1:")
                || shown.contains("://shop@localhost:")
                || shown.contains("://shop@nowhere"));
        assert!(
            is_named
                && words.iter().all(|words| shown.contains(words))
                && shown.ends_with("exit 1"),
            "{to}: {shown}"
        );
        assert!(!shown.contains("not-the-one"), "{shown}");
        assert!(sandbox.run_with("rollback", &environment()).ends_with("exit 4"), "{to}");
    }
}

/// A small disk of its own, as long as this lives.
struct Disk(std::path::PathBuf);

impl Disk {
    fn new(lab: &Lab, size: &str) -> Disk {
        let path = lab.path("small-disk");
        std::fs::create_dir_all(&path).unwrap();
        let owner = std::fs::metadata(lab.path("postgres-new/data")).unwrap().uid();
        let options = format!("size={size},mode=700,uid={owner}");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &options, "none"])
            .arg(&path)
            .status()
            .unwrap();
        assert!(mounted.success(), "a small disk can be mounted by root only");
        Disk(path)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

#[test]
fn a_target_without_room_keeps_what_is_recorded_and_goes_on() {
    let lab = lab();
    table(lab, "no_room", 20_000);
    let disk = Disk::new(lab, "4m");
    lab.psql("postgres-new", "no_room", "DROP TABLE t");
    lab.psql(
        "postgres-new",
        "postgres",
        &format!("CREATE TABLESPACE small LOCATION '{}'", disk.0.display()),
    );
    lab.psql(
        "postgres-new",
        "no_room",
        "CREATE TABLE t (id int PRIMARY KEY, v text) TABLESPACE small; ALTER TABLE t OWNER TO shop",
    );
    let sandbox = book("no_room", NEW, "tables: [t], chunk: 500");
    let shown = sandbox.run_with("run book.yaml", &environment());
    let words = [
        "No space left on device",
        "remedy: make room there",
        "postgres://127.0.0.1:",
        "the rows behind",
    ];
    assert!(
        words.iter().all(|words| shown.contains(words)) && shown.ends_with("exit 1"),
        "{shown}"
    );
    let there: u32 = lab.psql("postgres-new", "no_room", "SELECT count(*) FROM t").parse().unwrap();
    assert!(there > 0 && there.is_multiple_of(500), "only whole ranges are there: {there}");
    lab.psql("postgres-new", "no_room", "ALTER TABLE t SET TABLESPACE pg_default");
    let shown = sandbox.run_with("resume", &environment());
    assert!(
        shown.contains("20000 rows copied, the same at both ends") && shown.ends_with("exit 0"),
        "{shown}"
    );
    assert!(sandbox.run_with("rollback", &environment()).ends_with("exit 4"));
    assert_eq!(lab.psql("postgres-new", "no_room", "SELECT count(*) FROM t"), "0");
    lab.psql("postgres-new", "no_room", "DROP TABLE t");
    lab.psql("postgres-new", "postgres", "DROP TABLESPACE small");

    // A file of SQLite on the same disk.
    let file = disk.0.join("rows.db");
    rusqlite::Connection::open(&file)
        .unwrap()
        .execute_batch("CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)")
        .unwrap();
    let sandbox =
        book("no_room", &format!("{{ sqlite: {} }}", file.display()), "tables: [t], chunk: 500");
    let shown = sandbox.run_with("run book.yaml", &environment());
    let words = ["database or disk is full", "remedy: make room there", "rows.db"];
    assert!(
        words.iter().all(|words| shown.contains(words)) && shown.ends_with("exit 1"),
        "{shown}"
    );
    let count = || {
        rusqlite::Connection::open(&file)
            .unwrap()
            .query_row("SELECT count(*) FROM t", [], |row| row.get::<_, u32>(0))
            .unwrap()
    };
    assert!(count() > 0 && count().is_multiple_of(500), "only whole ranges are there: {}", count());
    assert!(
        Command::new("mount")
            .args(["-o", "remount,size=40m"])
            .arg(&disk.0)
            .status()
            .unwrap()
            .success()
    );
    let shown = sandbox.run_with("resume", &environment());
    assert!(
        shown.contains("20000 rows copied, the same at both ends") && shown.ends_with("exit 0"),
        "{shown}"
    );
    assert_eq!(count(), 20_000);
}

#[test]
fn a_copy_is_held_back_until_a_condition_holds() {
    let lab = lab();
    table(lab, "held", 1000);
    let throttle =
        |probe: &str| format!("tables: [t], chunk: 100, throttle: {{ {probe}, every: 20ms }}");
    let sandbox = book(
        "held",
        NEW,
        &throttle("run: 'echo asked >> \"$W\"; test -e go', until: exit_code == 0"),
    );
    let mut child = sandbox.start_heard("run book.yaml", &environment());
    let there = || lab.psql("postgres-new", "held", "SELECT count(*) FROM t");
    let begun = Instant::now();
    while sandbox.witness().len() < 3 {
        assert!(begun.elapsed() < Duration::from_secs(60), "{}", sandbox.run("status"));
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(there(), "0");
    sandbox.write("go", "");
    assert!(child.wait().unwrap().success());
    assert_eq!(there(), "1000");
    assert!(sandbox.run_with("rollback", &environment()).ends_with("exit 4"));

    // What says nothing holds it back too; a stop is obeyed while it waits.
    for probe in [
        "sql: { database: old, query: SELECT seconds FROM nowhere }, until: 'rows[0][0] < 5'",
        "run: 'exit 1', until: exit_code == 0",
    ] {
        let sandbox = book("held", NEW, &throttle(probe));
        sandbox.write(
            "book.yaml",
            sandbox
                .read("book.yaml")
                .replace("every: 20ms } } }", "every: 20ms } }, timeout: 2s }"),
        );
        let shown = sandbox.run_with("run book.yaml", &environment());
        assert!(
            shown.contains(
                "it took longer than 2s and was stopped (it was stopped while it was \
                held back until "
            ) && shown.ends_with("exit 1"),
            "{shown}"
        );
        assert_eq!(there(), "0");
    }
}

#[test]
fn a_range_that_takes_long_is_interrupted() {
    let lab = lab();
    table(lab, "long", 10);
    lab.psql(
        "postgres-new",
        "long",
        "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS \
        'BEGIN PERFORM pg_sleep(600); RETURN NEW; END'; CREATE TRIGGER slow BEFORE INSERT ON t FOR \
        EACH ROW EXECUTE FUNCTION slow()",
    );
    let sandbox = book("long", NEW, "tables: [t]");
    let mut child = sandbox.start_heard("run book.yaml", &environment());
    let waits =
        "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'COPY%' AND datname = 'long'";
    let begun = Instant::now();
    while lab.psql("postgres-new", "long", waits) == "0" {
        assert!(begun.elapsed() < Duration::from_secs(60), "{}", sandbox.run("status"));
        std::thread::sleep(Duration::from_millis(20));
    }
    for _ in 0..2 {
        signal("INT", child.id());
        std::thread::sleep(Duration::from_millis(300));
    }
    child.wait().unwrap();
    while lab.psql("postgres-new", "long", waits) != "0" {
        assert!(begun.elapsed() < Duration::from_secs(60), "the server still copies");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(lab.psql("postgres-new", "long", "SELECT count(*) FROM t"), "0");
}
