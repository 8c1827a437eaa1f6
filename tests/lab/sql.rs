//! SQL on PostgreSQL and MariaDB: values are data, errors say where, what cannot be known is not
//! guessed.

use super::sandbox::{kill_both, wait_until};
use super::servers::lab;

const DATABASES: &str = r#"
secrets: { shop: { env: SHOP_PASSWORD } }
databases:
  postgres: { postgres: { host: 127.0.0.1, port: PORT(postgres-old), database: shop, user: shop, password: { secret: shop } } }
  encrypted: { postgres: { host: localhost, port: PORT(postgres-old), database: shop, user: shop, password: { secret: shop }, tls: { ca: LAB/ca.crt } } }
  mariadb: { mysql: { host: 127.0.0.1, port: PORT(mariadb-old), database: shop, user: shop, password: { secret: shop } } }
  encrypted-mariadb: { mysql: { host: localhost, port: PORT(mariadb-old), database: shop, user: shop, password: { secret: shop }, tls: { ca: LAB/ca.crt } } }
"#;

fn steps(steps: &str) -> String {
    format!("runbook: sql{DATABASES}phases:\n  p:\n    steps:\n{steps}")
}

fn environment() -> [(&'static str, String); 1] {
    [("SHOP_PASSWORD", "lab-shop".to_owned())]
}

#[test]
fn values_come_back_as_they_were_given() {
    let hostile = r#"$(touch x); '; DROP TABLE t; -- :name {{ x }} \ `x` "y" é"#;
    for database in ["postgres", "encrypted", "mariadb", "encrypted-mariadb"] {
        let table = format!("values_{}", database.replace('-', "_"));
        let sandbox = lab().sandbox(&steps(&format!(
            r#"
      gone: {{ sql: {{ database: {database}, statement: DROP TABLE IF EXISTS {table} }}, undo: none }}
      make: {{ sql: {{ database: {database}, statement: "CREATE TABLE {table} (id bigint PRIMARY KEY, n numeric(12,2), t text, b boolean)" }}, undo: none }}
      put:
        sql:
          database: {database}
          statement: "INSERT INTO {table} VALUES (:id, :n, :t, :b); INSERT INTO {table} VALUES (2, NULL, ':id', false)"
          parameters: {{ id: 1, n: 12.5, t: "{{{{ text }}}}", b: true }}
        undo: {{ sql: {{ database: {database}, statement: "DELETE FROM {table}" }} }}
      get:
        sql: {{ database: {database}, query: "SELECT id, n, t FROM {table} WHERE id = :id OR t = ':id' ORDER BY id", parameters: {{ id: 1 }} }}
        expect: ['rows[0] == [1, "12.50", text] || rows[0] == [1, 12.5, text]', 'rows[1] == [2, null, ":id"]', 'columns == ["id", "n", "t"]']
      sum: {{ sql: {{ database: {database}, query: "SELECT sum(id), count(*) FROM {table}" }}, expect: "rows[0] == [3, 2]" }}
"#
        )).replace("phases:", "parameters: { text: {} }\nphases:"));
        sandbox.write("values.yaml", serde_json::json!({ "text": hostile }).to_string());
        let shown = sandbox.run_with("run book.yaml --values values.yaml", &environment());
        assert!(shown.ends_with("exit 0"), "{database}: {shown}");
        assert_eq!(sandbox.run_with("rollback", &environment()).lines().last(), Some("exit 4"));
        assert!(
            !shown.contains("lab-shop") && !sandbox.run("audit --format json").contains("lab-shop")
        );
    }
}

#[test]
fn an_error_says_what_the_server_says_and_that_nothing_was_changed() {
    for (step, words) in [
        (
            r#"{ sql: { database: postgres, query: "SELECT 1\nFROM nowhere" } }"#,
            "relation \"nowhere\" does not exist (42P01)\n           | LINE 2: FROM nowhere\
             \n           |              ^",
        ),
        (
            r#"{ sql: { database: postgres, query: "CREATE TABLE by_query (x int)" } }"#,
            "cannot execute CREATE TABLE in a read-only transaction (25006)",
        ),
        (
            r#"{ sql: { database: postgres, statement: "CREATE TABLE half (x int); INSERT INTO half VALUES (:v)", parameters: { v: seven } } }"#,
            "statement 2: invalid input syntax for type integer: \"seven\" (22P02)",
        ),
        (
            r#"{ sql: { database: postgres, statement: "SELECT 1; COMMIT" } }"#,
            "all of it is one transaction, and it begins or ends one itself",
        ),
        (
            r#"{ sql: { database: postgres, query: "SELECT interval '1 hour' AS span" } }"#,
            "the column `span` is of the type interval, which is not read here",
        ),
        (r#"{ sql: { database: postgres, query: "SELECT :x" } }"#, "no value is given for `:x`"),
        (
            r#"{ sql: { database: mariadb, query: "SELECT 1 FROM nowhere" } }"#,
            "Table 'shop.nowhere' doesn't exist (1146, 42S02)",
        ),
        (
            r#"{ sql: { database: mariadb, query: "DELETE FROM mysql.user" } }"#,
            "Cannot execute statement in a READ ONLY transaction (1792, 25006)",
        ),
        (
            r#"{ sql: { database: mariadb, statement: "CREATE TABLE x (y int); INSERT INTO x VALUES (1)" } }"#,
            "CREATE cannot be part of a transaction",
        ),
    ] {
        let sandbox = lab().sandbox(&steps(&format!("      a: {step}\n")));
        let shown = sandbox.run_with("run book.yaml", &environment());
        assert!(shown.contains(words) && shown.ends_with("exit 1"), "{step}: {shown}");
        // Provably without effect, so a rollback has nothing to ask about.
        assert_eq!(
            sandbox.run_with("rollback", &environment()).lines().last(),
            Some("exit 4"),
            "{step}"
        );
    }
    assert_eq!(lab().psql("postgres-old", "shop", "SELECT to_regclass('half') IS NULL"), "t");
}

#[test]
fn a_value_gets_from_one_server_to_another_and_a_secret_into_no_text() {
    let sandbox = lab().sandbox(&steps(
        r#"
      across:
        sql:
          database: mariadb
          query: SELECT concat(:greeting, ' ', :name), length(:password)
          parameters:
            greeting: good day
            name: { database: encrypted, query: "SELECT :greeting::text || ', PostgreSQL'" }
            password: { secret: shop, prefix: "it is " }
        expect: ['rows == [["good day good day, PostgreSQL", 14]]', 'given == {"name": "good day, PostgreSQL"}']
      told: { sql: { database: postgres, query: "SELECT :password::text", parameters: { password: { secret: shop } } }, capture: { password: "rows[0][0]" } }
      wrong: { sql: { database: postgres, query: "SELECT :password::int", parameters: { password: { secret: shop } } } }
"#,
    ));
    let shown = sandbox.run_with("run book.yaml", &environment());
    assert!(
        shown.contains("done     p/told")
            && shown.contains("invalid input syntax")
            && shown.ends_with("exit 1"),
        "{shown}"
    );
    let all =
        format!("{shown}{}{}", sandbox.run("audit --format json"), sandbox.run("plan book.yaml"));
    assert!(all.contains("(the secret shop)") && !all.contains("lab-shop"), "{all}");
    for (query, words) in [
        ("SELECT 1 WHERE false", "the query for `:x` must have one row, and has 0 rows"),
        ("SELECT generate_series(1, 2)", "the query for `:x` must have one row, and has 2 rows"),
        ("DROP TABLE nowhere", "cannot execute DROP TABLE in a read-only transaction"),
    ] {
        let sandbox = lab().sandbox(&steps(&format!(
            "      a: {{ sql: {{ database: mariadb, query: SELECT :x, parameters: {{ x: {{ \
             database: postgres, query: \"{query}\" }} }} }} }}\n"
        )));
        let shown = sandbox.run_with("run book.yaml", &environment());
        assert!(shown.contains(words) && shown.ends_with("exit 1"), "{query}: {shown}");
    }
}

#[test]
fn rows_are_bounded_in_bytes_and_what_was_cut_is_not_judged() {
    // 60 MB in all, of which 8 MiB are kept.
    for (database, query) in [
        ("postgres", "SELECT repeat('x', 1000000) FROM generate_series(1, 60)"),
        ("postgres", "SELECT decode(repeat('00', 1000000), 'hex') FROM generate_series(1, 60)"),
        ("mariadb", "SELECT repeat('x', 1000000) FROM seq_1_to_60"),
        ("mariadb", "SELECT cast(repeat('x', 1000000) AS binary) FROM seq_1_to_60"),
    ] {
        let sandbox = lab().sandbox(&steps(&format!(
            r#"
      read: {{ sql: {{ database: {database}, query: "{query}" }}, expect: size(columns) == 1 }}
      peak: {{ needs: [read], run: 'keeper=$PPID; executor=$(awk "/^PPid/ {{ print \$2 }}" /proc/$keeper/status); awk "/^VmHWM/ {{ print \$2 }}" /proc/$executor/status > peak', undo: none }}
      judge: {{ needs: [peak], sql: {{ database: {database}, query: "{query}" }}, expect: "size(rows) == 60" }}
"#
        )));
        let shown = sandbox.run_with("run book.yaml", &environment());
        assert!(
            shown.contains("rows has more than is kept (8 MiB)") && shown.ends_with("exit 1"),
            "{query}: {shown}"
        );
        let peak: u64 = sandbox.read("peak").trim().parse().unwrap();
        assert!(peak < 100 * 1024, "{query}: {peak} KiB");
    }
}

#[test]
fn a_value_is_not_the_first_of_several_rows() {
    for (database, query) in [
        ("postgres", "SELECT n FROM generate_series(1, 20000) n"),
        ("mariadb", "SELECT seq FROM seq_1_to_20000"),
    ] {
        let sandbox = lab().sandbox(&steps(&format!(
            r#"
      a: {{ sql: {{ database: {database}, query: "SELECT :n", parameters: {{ n: {{ query: "{query}", database: {database} }} }} }} }}
"#
        )));
        let shown = sandbox.run_with("run book.yaml", &environment());
        assert!(
            shown.contains("the query for `:n` must have one row") && shown.ends_with("exit 1"),
            "{query}: {shown}"
        );
    }
}

#[test]
fn a_server_that_cannot_be_used_is_named() {
    let of = |change: &dyn Fn(String) -> String, database: &str, password: &str| {
        let book = change(lab().filled(&steps(&format!(
            "      a: {{ sql: {{ database: {database}, query: SELECT 1 }} }}\n"
        ))));
        super::sandbox::Sandbox::with(&book)
            .run_with("run book.yaml", &[("SHOP_PASSWORD", password.to_owned())])
    };
    let same = |book: String| book;
    for (database, port) in
        [("postgres", lab().port("postgres-old")), ("mariadb", lab().port("mariadb-old"))]
    {
        let shown = of(&same, database, "wrong-password");
        assert!(
            shown.contains(&format!("shop@127.0.0.1:{port}/shop: "))
                && !shown.contains("wrong-password"),
            "{shown}"
        );
        assert!(shown.to_lowercase().contains("password"), "{shown}");
        let shown = of(&|book| book.replace(&port.to_string(), "1"), database, "lab-shop");
        assert!(
            shown.contains("shop@127.0.0.1:1/shop: ") && shown.contains("onnection refused"),
            "{shown}"
        );
        let shown = of(
            &|book| book.replace("host: 127.0.0.1", "host: db.example.test"),
            database,
            "lab-shop",
        );
        assert!(
            shown.contains("db.example.test is another machine, and nothing is said of encryption"),
            "{shown}"
        );
        // A certificate of an authority that is not trusted.
        let untrusted = |book: String| {
            book.replace(
                &format!("ca: {}", lab().path("ca.crt").display()),
                "ca: /etc/ssl/certs/ca-certificates.crt",
            )
        };
        let encrypted = if database == "postgres" { "encrypted" } else { "encrypted-mariadb" };
        let shown = of(&untrusted, encrypted, "lab-shop");
        assert!(
            shown.to_lowercase().contains("certificate") && shown.ends_with("exit 1"),
            "{shown}"
        );
    }
}

#[test]
fn a_statement_is_cancelled_on_the_server_when_its_time_is_over() {
    for (database, statement) in
        [("postgres", "SELECT pg_sleep(60)"), ("mariadb", "SELECT sleep(60)")]
    {
        let sandbox = lab().sandbox(&steps(&format!(
            "      a: {{ sql: {{ database: {database}, \
                statement: {statement} }}, timeout: 1s, undo: none }}\n"
        )));
        let begun = std::time::Instant::now();
        let shown = sandbox.run_with("run book.yaml", &environment());
        assert!(
            shown.contains("it took longer than 1s and was stopped") && shown.ends_with("exit 1"),
            "{shown}"
        );
        assert!(begun.elapsed().as_secs() < 20, "{:?}", begun.elapsed());
    }
    assert_eq!(
        lab().psql(
            "postgres-old",
            "shop",
            "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep(60)%'"
        ),
        "0"
    );
}

#[test]
fn what_a_killed_executor_had_not_committed_is_in_doubt_and_not_there() {
    lab().psql(
        "postgres-old",
        "shop",
        "DROP TABLE IF EXISTS killed; CREATE TABLE killed (x int); \
        ALTER TABLE killed OWNER TO shop",
    );
    let sandbox = lab().sandbox(&steps(
        r#"
      a:
        sql: { database: postgres, statement: "INSERT INTO killed VALUES (1); SELECT pg_sleep(2)" }
        probe: { sql: { database: postgres, query: SELECT count(*) FROM killed }, done: "rows[0][0] == 1", not_done: "rows[0][0] == 0" }
        undo: { sql: { database: postgres, statement: DELETE FROM killed } }
"#,
    ));
    let child = sandbox.start_heard("run book.yaml", &environment());
    let begun = std::time::Instant::now();
    while lab().psql(
        "postgres-old",
        "shop",
        "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'INSERT INTO killed%' AND state = \
         'active'",
    ) == "0"
    {
        assert!(begun.elapsed().as_secs() < 20);
    }
    kill_both(child);
    let active = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'INSERT INTO killed%' AND \
        state = 'active'";
    wait_until("the server is done with it", || lab().psql("postgres-old", "shop", active) == "0");
    let shown = sandbox.run_with("resume", &environment());
    assert!(shown.ends_with("exit 0"), "{shown}");
    assert_eq!(lab().psql("postgres-old", "shop", "SELECT count(*) FROM killed"), "1");
}
