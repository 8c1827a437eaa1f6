//! Rows from one SQLite file to another: whole tables, ranges, and an executor that is killed in
//! between.

use super::sandbox::{Kills, Sandbox, kill};

fn book(columns: &str, keys: &str, rows: u32) -> Sandbox {
    let sandbox = Sandbox::with(&format!(
        "runbook: c
databases: {{ old: {{ sqlite: old.db }}, new: {{ sqlite: new.db }} }}
phases: {{ p: {{ steps: {{ rows: {{ copy: {{ from: old, to: new, tables: [t]{keys} }} }} }} }} }}
"
    ));
    for (name, columns) in
        [("old.db", "id INTEGER PRIMARY KEY, a TEXT, b REAL"), ("new.db", columns)]
    {
        open(&sandbox, name).execute_batch(&format!("CREATE TABLE t ({columns})")).unwrap();
    }
    let fill = "WITH RECURSIVE g(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM g WHERE n < ?1) \
        INSERT INTO t SELECT n * 3, 'row ' || n, n / 7.0 FROM g";
    open(&sandbox, "old.db").execute(fill, [rows]).unwrap();
    sandbox
}

fn open(sandbox: &Sandbox, name: &str) -> rusqlite::Connection {
    let db = rusqlite::Connection::open(sandbox.path(name)).unwrap();
    db.busy_timeout(std::time::Duration::from_secs(10)).unwrap();
    db
}

/// Whether the new file has exactly the rows of the old one.
fn is_same(sandbox: &Sandbox) -> bool {
    let db = open(sandbox, "new.db");
    db.execute("ATTACH ?1 AS old", [sandbox.path("old.db").display().to_string()]).unwrap();
    let differences = "SELECT (SELECT count(*) FROM (SELECT id, a, b FROM old.t EXCEPT SELECT id, \
        a, b FROM t)) + (SELECT count(*) FROM t) - (SELECT count(*) FROM old.t)";
    db.query_row(differences, [], |row| row.get::<_, i64>(0)).unwrap() == 0
}

const SAME: &str = "id INTEGER PRIMARY KEY, a TEXT, b REAL";
const OTHERWISE: &str = "b REAL, id INTEGER PRIMARY KEY, more TEXT DEFAULT 'x', a TEXT";

#[test]
fn a_table_is_copied_whole_or_in_ranges_and_taken_back() {
    for (columns, keys) in [
        (SAME, ""),
        (SAME, ", chunk: 700"),
        (SAME, ", chunk: 700, parallel: 3"),
        (OTHERWISE, ""),
        (OTHERWISE, ", chunk: 900"),
    ] {
        let sandbox = book(columns, keys, 5000);
        let shown = sandbox.run("run book.yaml");
        assert!(
            shown.contains("5000 rows copied, the same at both ends") && shown.ends_with("exit 0"),
            "{keys}: {shown}"
        );
        assert!(is_same(&sandbox), "{columns}{keys}");
        open(&sandbox, "new.db")
            .execute("INSERT INTO t (id, a) VALUES (99999, 'new')", [])
            .unwrap();
        assert_eq!(sandbox.code("rollback"), 4);
        let left: String = open(&sandbox, "new.db")
            .query_row("SELECT group_concat(a) FROM t", [], |row| row.get(0))
            .unwrap();
        assert_eq!(left, "new", "what was written there since is not what was copied");
    }
}

#[test]
fn killed_at_any_moment_it_loses_no_row_and_has_none_twice() {
    let seed = std::process::id();
    let mut state = u64::from(seed);
    for keys in ["", ", chunk: 20000"] {
        let mut kills = Kills::of(10);
        while kills.go_on() {
            let sandbox = book(SAME, keys, 400_000);
            let (mut line, mut lives) = ("run book.yaml", true);
            while lives && kills.go_on() {
                let child = sandbox.start(line);
                state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                std::thread::sleep(std::time::Duration::from_millis((state >> 33) % 300));
                lives = kills.count(kill(child));
                if sandbox.path("journal/switchover.db").exists()
                    && !sandbox.run("list").contains("no run")
                {
                    line = "resume";
                }
            }
            let shown = sandbox.run(line);
            assert!(shown.ends_with("exit 0"), "seed {seed}: {shown}");
            assert!(is_same(&sandbox), "seed {seed}, {keys}");
        }
        #[expect(clippy::print_stdout, reason = "with --show-output, it says how often")]
        {
            println!("copy: killed {} times while it ran, seed {seed}", kills.done());
        }
    }
}
