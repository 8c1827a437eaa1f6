//! A part is never taken for the whole: what reads something that was cut, or that is no text, is
//! not decided.

use std::io::{Read, Write};
use std::net::TcpListener;

use super::sandbox::Sandbox;

/// 20,000 lines behind the one that is looked for: more than 64 KiB and less than 1 MiB.
const LEDGER: &str = "echo PAID-17; seq 1000000 1019999";

#[test]
fn a_line_before_many_others_is_found() {
    let sandbox = Sandbox::with(&format!(
        "runbook: r
phases:
  p:
    steps:
      a: {{ run: '{LEDGER}', expect: 'stdout.contains(\"PAID-17\")', undo: none }}
"
    ));
    assert_eq!(sandbox.code("run book.yaml"), 0);
}

#[test]
fn what_reads_an_output_that_was_cut_fails_and_says_why_and_the_rest_is_decided() {
    for (keys, code, words) in [
        (
            "expect: 'stdout.contains(\"PAID-17\")'",
            1,
            "stdout has 156.3 KiB, and only its last 16 KiB was kept: raise `keep_output`",
        ),
        (
            "expect: '!stdout.contains(\"ERROR\")'",
            1,
            "stdout has 156.3 KiB, and only its last 16 KiB was kept",
        ),
        (
            "capture: { all: size(stdout) }",
            1,
            "the output `all` cannot be taken: `size(stdout)` cannot be decided: stdout has",
        ),
        ("expect: exit_code == 0 && stderr == ''", 0, "a"),
        ("capture: { code: exit_code }", 0, "a"),
    ] {
        let sandbox = Sandbox::with(&format!(
            "runbook: r
phases:
  p:
    steps:
      a: {{ run: '{LEDGER}', keep_output: 16KiB, {keys}, undo: none }}
"
        ));
        let shown = sandbox.run("run book.yaml");
        assert!(
            shown.contains(words) && shown.ends_with(&format!("exit {code}")),
            "{keys}: {shown}"
        );
    }
}

#[test]
fn a_probe_that_reads_a_part_says_nothing() {
    // Of an attempt in doubt, a probe that saw only the end would say that nothing had been paid.
    let sandbox = Sandbox::with(&format!(
        r#"runbook: r
phases:
  p:
    steps:
      pay:
        run: 'echo paid >> "$W"; kill -9 $PPID; sleep 3'
        probe: {{ run: '{LEDGER}', keep_output: 16KiB, done: 'stdout.contains("PAID-17")', not_done: '!stdout.contains("PAID-17")' }}
        idempotent: false
        undo: none
"#
    ));
    sandbox.code("run book.yaml");
    for _ in 0..2 {
        let shown = sandbox.run("resume");
        assert!(!shown.ends_with("exit 0"), "{shown}");
    }
    assert!(
        sandbox.run("audit --format json").contains("and only its last 16 KiB was kept"),
        "{}",
        sandbox.run("audit")
    );
    assert_eq!(sandbox.witness(), ["paid"]);
}

#[test]
fn a_wait_does_not_go_on_by_a_part() {
    let sandbox = Sandbox::with(&format!(
        r#"runbook: r
phases:
  p:
    steps:
      a: {{ wait: {{ until: '!stdout.contains("PAID-17")', probe: {{ run: '{LEDGER}', keep_output: 1KiB }}, every: 50ms }}, timeout: 1s }}
"#
    ));
    let shown = sandbox.run("run book.yaml");
    assert!(shown.contains("only its last 1 KiB was kept") && shown.ends_with("exit 1"), "{shown}");
}

#[test]
fn a_guard_that_reads_a_part_is_inconclusive() {
    // By its end alone the ledger is good in the first, and not bad in the second.
    for judged in
        ["success: '!stdout.contains(\"PAID-17\")'", "failure: 'stdout.contains(\"PAID-17\")'"]
    {
        let sandbox = Sandbox::with(&format!(
            r#"runbook: r
guards:
  ledger: {{ from: a, until: a, run: '{LEDGER}', keep_output: 16KiB, {judged}, every: 50ms, on_breach: rollback }}
phases:
  p:
    steps:
      a: {{ run: 'until test -e said; do sleep 0.05; done', undo: none, timeout: 60s }}
"#
        ));
        let child = sandbox.start("run book.yaml");
        super::sandbox::wait_until("the guard to read", || {
            sandbox.run("audit --format json").contains("and only its last 16 KiB was kept")
        });
        sandbox.write("said", "");
        let shown = child.wait_with_output().unwrap();
        assert_eq!(shown.status.code(), Some(0), "{judged}: {}", sandbox.run("audit"));
        let audit = sandbox.run("audit --format json");
        assert!(
            audit.contains("\"inconclusive\"")
                && !audit.contains("\"good\"")
                && !audit.contains("\"bad\""),
            "{audit}"
        );
    }
}

#[test]
fn a_shift_does_not_go_on_by_a_part() {
    let sandbox = Sandbox::with(&format!(
        r#"runbook: r
traffic:
  files: {{ run: {{ set: [sh, -c, 'echo "$SWITCHOVER_WEIGHT" > weight'], get: [sh, -c, 'cat weight || echo 0'] }} }}
phases:
  p:
    steps:
      half:
        shift:
          traffic: files
          steps: [10, 50]
          bake: 300ms
          analysis: [{{ name: ledger, run: '{LEDGER}', keep_output: 16KiB, success: '!stdout.contains("PAID-17")', every: 50ms }}]
"#
    ));
    let shown = sandbox.run("run book.yaml");
    assert!(
        shown.contains("and only its last 16 KiB was kept") && shown.ends_with("exit 1"),
        "{shown}"
    );
    assert_ne!(sandbox.read("weight").trim(), "50", "it did not go on");
}

#[test]
fn a_throttle_holds_back_while_it_reads_a_part() {
    let sandbox = Sandbox::with(&format!(
        r#"runbook: r
databases: {{ old: {{ sqlite: old.db }}, new: {{ sqlite: new.db }} }}
phases:
  p:
    steps:
      rows:
        copy:
          from: old
          to: new
          tables: [t]
          throttle: {{ run: '{LEDGER}', keep_output: 16KiB, until: '!stdout.contains("PAID-17")', every: 50ms }}
        timeout: 1s
"#
    ));
    for (name, rows) in [("old.db", "; INSERT INTO t VALUES (1), (2)"), ("new.db", "")] {
        let db = rusqlite::Connection::open(sandbox.path(name)).unwrap();
        db.execute_batch(&format!("CREATE TABLE t (id INTEGER PRIMARY KEY){rows}")).unwrap();
    }
    let shown = sandbox.run("run book.yaml");
    let words = "it was stopped while it was held back until !stdout.contains(\"PAID-17\"): ";
    assert!(
        shown.contains(words)
            && shown.contains("and only its last 16 KiB was kept")
            && shown.ends_with("exit 1"),
        "{shown}"
    );
    let db = rusqlite::Connection::open(sandbox.path("new.db")).unwrap();
    assert_eq!(db.query_row("SELECT count(*) FROM t", [], |row| row.get::<_, i64>(0)).unwrap(), 0);
}

#[test]
fn a_dry_run_does_not_judge_a_part() {
    let sandbox = Sandbox::with(
        r#"runbook: r
databases: { app: { sqlite: app.db } }
phases:
  p:
    steps:
      a: { sql: { database: app, query: "SELECT id FROM t ORDER BY id DESC" }, keep_output: 1KiB, expect: '!rows.exists(row, row[0] == 1)' }
"#,
    );
    let db = rusqlite::Connection::open(sandbox.path("app.db")).unwrap();
    db.execute_batch(
        "CREATE TABLE t (id INTEGER PRIMARY KEY); INSERT INTO t WITH RECURSIVE n(i) AS (VALUES(1) \
         UNION ALL SELECT i + 1 FROM n WHERE i < 900) SELECT i FROM n",
    )
    .unwrap();
    let shown = sandbox.run("run book.yaml --dry-run");
    assert!(
        shown.contains("rows has more than is kept (1 KiB)") && !shown.ends_with("exit 0"),
        "{shown}"
    );
}

#[test]
fn bytes_that_are_no_text_are_not_judged_as_text() {
    for (keys, code) in [
        ("expect: '!stdout.contains(\"Müller\")'", 1),
        ("expect: exit_code == 0", 0),
        ("capture: { out: stdout }", 1),
    ] {
        let sandbox = Sandbox::with(&format!(
            "runbook: r
phases:
  p:
    steps:
      a: {{ run: 'printf \"M\\374ller\\n\"', {keys}, undo: none }}
"
        ));
        let shown = sandbox.run("run book.yaml");
        assert!(shown.ends_with(&format!("exit {code}")), "{keys}: {shown}");
        assert!(code == 0 || shown.contains("stdout holds bytes that are not UTF-8"), "{shown}");
    }
}

#[test]
fn the_rest_of_a_long_body_is_missed() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = server.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in server.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 4096]);
            let body = format!("{}ERROR", "x".repeat(40_000));
            let length = body.len();
            let _ = write!(
                stream,
                "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
            );
        }
    });
    for (keys, words, code) in [
        (
            "keep_output: 16KiB, expect: '!body.contains(\"ERROR\")'",
            "body has 39.1 KiB, and only its first 16 KiB was kept",
            1,
        ),
        ("keep_output: 16KiB, expect: 'json == null'", "json has 39.1 KiB", 1),
        ("keep_output: 16KiB, expect: status == 200", "", 0),
        ("expect: 'body.contains(\"ERROR\")'", "", 0),
    ] {
        let sandbox = Sandbox::with(&format!(
            "runbook: r
phases:
  p:
    steps:
      a: {{ http: {{ url: 'http://{address}/' }}, {keys} }}
"
        ));
        let shown = sandbox.run("run book.yaml");
        assert!(
            shown.contains(words) && shown.ends_with(&format!("exit {code}")),
            "{keys}: {shown}"
        );
    }
}

/// The most memory that the executor had, as a step of its own run reads it.
fn peak_of_run(sandbox: &Sandbox, query: &str) -> u64 {
    let _ = std::fs::remove_file(sandbox.path("peak"));
    sandbox.write(
        "book.yaml",
        format!(
            r#"runbook: r
databases: {{ app: {{ sqlite: app.db }} }}
phases:
  p:
    steps:
      read: {{ sql: {{ database: app, query: "{query}" }} }}
      peak: {{ needs: [read], run: 'keeper=$PPID; executor=$(awk "/^PPid/ {{ print \$2 }}" /proc/$keeper/status); awk "/^VmHWM/ {{ print \$2 }}" /proc/$executor/status > peak', undo: none }}
"#
        ),
    );
    let shown = sandbox.run("run book.yaml");
    assert!(shown.ends_with("exit 0"), "{shown}");
    sandbox.read("peak").trim().parse().unwrap_or_else(|_| panic!("{shown}"))
}

#[test]
fn rows_are_bounded_in_bytes_while_they_come() {
    let sandbox = Sandbox::new();
    let db = rusqlite::Connection::open(sandbox.path("app.db")).unwrap();
    db.execute_batch(
        "CREATE TABLE t (a); INSERT INTO t WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i + \
         1 FROM n WHERE i < 60) SELECT randomblob(1 << 20) FROM n",
    )
    .unwrap();
    drop(db);
    let baseline = peak_of_run(&sandbox, "SELECT 1");
    let peak = peak_of_run(&sandbox, "SELECT a FROM t");
    assert!(peak < baseline + 40 * 1024, "{peak} KiB, and {baseline} KiB for one row");
    let whole = "SELECT count(*) FROM t";
    for (query, expect, words, code) in [
        (
            "SELECT a FROM t",
            "size(rows) == 60",
            "rows has more than is kept (8 MiB), and stands for the first 3 only",
            1,
        ),
        ("SELECT a FROM t", "size(columns) == 1", "", 0),
        (whole, "rows[0][0] == 60", "", 0),
        (
            "SELECT CAST(x'ff' AS TEXT)",
            "rows[0][0] != 'x'",
            "rows holds bytes that are not UTF-8",
            1,
        ),
        (
            "WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i + 1 FROM n) SELECT i FROM n",
            "size(rows) > 0",
            "(10000 rows)",
            1,
        ),
    ] {
        sandbox.write(
            "book.yaml",
            format!(
                "runbook: r
databases: {{ app: {{ sqlite: app.db }} }}
phases:
  p:
    steps:
      a: {{ sql: {{ database: app, query: \"{query}\" }}, expect: \"{expect}\" }}
"
            ),
        );
        let shown = sandbox.run("run book.yaml");
        assert!(
            shown.contains(words) && shown.ends_with(&format!("exit {code}")),
            "{query}: {shown}"
        );
    }
}

#[test]
fn keep_output_stands_where_something_is_read_and_is_a_size() {
    for (step, words) in [
        ("{ wait: 1s, keep_output: 1MiB }", "a wait says nothing of which a part could be kept"),
        (
            "{ runbook: nested.yaml, keep_output: 1MiB }",
            "a step that runs a runbook has no `keep_output` of its own",
        ),
        ("{ run: x, keep_output: 1MiB2, undo: none }", "is not a size"),
        ("{ run: x, keep_output: 1000, undo: none }", "give it a unit: 1000KiB, or 1000MiB"),
        ("{ run: x, keep_output: 65MiB, undo: none }", "64 MiB at most"),
    ] {
        let sandbox =
            Sandbox::with(&format!("runbook: r\nphases:\n  p:\n    steps:\n      a: {step}\n"));
        sandbox.write(
            "nested.yaml",
            "runbook: n\nphases:\n  p:\n    steps:\n      b: { run: x, undo: none }\n",
        );
        let shown = sandbox.run("check book.yaml");
        assert!(shown.contains(words), "{step}: {shown}");
    }
}
