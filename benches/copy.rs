//! How fast rows are copied, as ratios to what a person would use otherwise, in the same run: `psql
//! COPY TO | psql COPY FROM`, `pg_dump | pg_restore`, and `INSERT … SELECT` over ATTACH. `cargo
//! bench --bench copy [-- ROWS] [files]`; it begins a lab of its own, but for `files`.

#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a benchmark prints, and one that cannot go on should say so and stop"
)]

#[expect(dead_code, reason = "no benchmark needs all of it")]
mod figures;

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use figures::Figures;
use figures::Wanted::{AtLeast, AtMost};

const PROGRAM: &str = env!("CARGO_BIN_EXE_switchover");
const PORT: u16 = 18400;

fn main() {
    let short = std::env::args().any(|argument| argument == "--short");
    let usual = if short { 100_000 } else { 5_000_000 };
    let rows = std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(usual);
    let mut figures = Figures::new(short);
    let folder = std::env::temp_dir().join(format!("switchover-bench-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder for the benchmark");
    if !std::env::args().any(|argument| argument == "files") {
        between_servers(rows, &folder, &mut figures);
    }
    between_files(rows, &folder, &mut figures);
    let _ = std::fs::remove_dir_all(&folder);
    figures.print();
}

fn between_servers(rows: u64, folder: &Path, figures: &mut Figures) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("runbooks/lab/lab");
    let mut lab = Command::new(script);
    lab.args(["hold", "postgres-old", "postgres-new"])
        .env("LAB", folder.join("lab"))
        .env("LAB_PORT", PORT.to_string());
    let mut lab = lab.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the lab");
    let mut said = String::new();
    BufReader::new(lab.stdout.take().expect("its output"))
        .read_line(&mut said)
        .expect("that it is ready");

    let table = "CREATE TABLE orders (id bigserial PRIMARY KEY, customer text, amount \
        numeric(10,2), at timestamptz, note text)";
    let fill = format!(
        "INSERT INTO orders (customer, amount, at, note) SELECT 'customer ' || g, g / 7.0, now(), \
         md5(g::text) FROM generate_series(1, {rows}) g"
    );
    psql(
        1,
        &format!("{table}; ALTER TABLE orders OWNER TO shop; {fill}; ANALYZE orders; CHECKPOINT"),
    );
    psql(2, &format!("{table}; ALTER TABLE orders OWNER TO shop"));
    let empty = || psql(2, "TRUNCATE orders; CHECKPOINT");

    let pipe = |way: &str| {
        empty();
        seconds(Command::new("sh").args(["-c", way]))
    };
    let at = |server: u16| format!("-h 127.0.0.1 -U postgres -p {}", PORT + server);
    let [old, new] = [1, 2].map(|server| format!("-X -q {} shop", at(server)));
    let by_psql = || {
        pipe(&format!(
            "psql {old} -c 'COPY orders TO STDOUT' | psql {new} -c 'COPY orders FROM STDIN'"
        ))
    };
    let dump = folder.join("dump");
    let by_dump = || {
        let _ = std::fs::remove_dir_all(&dump);
        let dump = dump.display();
        pipe(&format!(
            "pg_dump {} -a -Fd -j2 -f {dump} -t orders shop && pg_restore {} -a -j2 -d shop {dump}",
            at(1),
            at(2)
        ))
    };
    let ours = |keys: &str| {
        empty();
        copy(folder, &servers(), keys)
    };
    // In turn, and the fastest of each, as whatever else the machine does only ever adds.
    let by_pgcopydb = || by_pgcopydb(folder, &empty);
    let mut best = [f64::INFINITY; 6];
    let mut memory: u64 = 0;
    for _ in 0..3 {
        let (plain, peak) = ours("verify: false");
        memory = memory.max(peak);
        for (best, found) in best.iter_mut().zip([
            by_psql(),
            plain,
            ours("verify: true").0,
            by_dump(),
            ours("verify: false, parallel: 4").0,
            by_pgcopydb(),
        ]) {
            *best = best.min(found);
        }
    }
    let [psql, plain, verified, dump, parallel, pgcopydb] = best;
    println!(
        "seconds for {rows} rows: psql | psql {psql:.1}, copy {plain:.1}, verified {verified:.1}, \
         dump and restore {dump:.1}, four chunks at once {parallel:.1}, pgcopydb with four \
         jobs {pgcopydb:.1} (inf: not installed)"
    );
    let by_psql = "x psql | psql";
    figures.add("PostgreSQL to PostgreSQL, rate", psql / plain, AtLeast(0.9), by_psql, 0.8);
    figures.add("the same, verified", psql / verified, AtLeast(0.7), by_psql, 0.75);
    let by_dump = "x pg_dump, pg_restore";
    figures.add("the same, four chunks at once", dump / parallel, AtLeast(1.0), by_dump, 2.0);
    figures.add("memory of the executor", memory as f64 / 1024.0, AtMost(64.0), "MiB", 23.0);
    drop(lab.stdin.take());
    let _ = lab.wait();
}

/// Seconds; for ever if it is not installed. Its jobs are for tables: of one, the others have
/// nothing to do.
fn by_pgcopydb(folder: &Path, empty: &dyn Fn()) -> f64 {
    if Command::new("pgcopydb").arg("version").output().is_err() {
        return f64::INFINITY;
    }
    empty();
    let [old, new] =
        [1, 2].map(|server| format!("postgres://postgres@127.0.0.1:{}/shop", PORT + server));
    let mut command = Command::new("pgcopydb");
    command.args(["copy", "table-data", "--source", &old, "--target", &new, "--table-jobs", "4"]);
    seconds(command.args(["--restart", "--not-consistent", "--dir"]).arg(folder.join("pgcopydb")))
}

fn between_files(rows: u64, folder: &Path, figures: &mut Figures) {
    let [old, new] = ["old.db", "new.db"].map(|name| folder.join(name));
    sqlite(
        &old,
        &format!(
            "CREATE TABLE t (id INTEGER PRIMARY KEY, customer TEXT, amount REAL, note TEXT); WITH \
             RECURSIVE g(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM g WHERE n < {rows}) INSERT \
             INTO t SELECT n, 'customer ' || n, n / 7.0, hex(n * 7919) FROM g"
        ),
    );
    let fresh = || {
        for name in ["new.db", "new.db-wal", "new.db-shm"] {
            let _ = std::fs::remove_file(folder.join(name));
        }
        sqlite(
            &new,
            "CREATE TABLE t (id INTEGER PRIMARY KEY, customer TEXT, amount REAL, note TEXT)",
        );
    };
    let mut best = [f64::INFINITY; 2];
    for _ in 0..3 {
        fresh();
        let begun = Instant::now();
        sqlite(
            &new,
            &format!(
                "PRAGMA synchronous = FULL; ATTACH '{}' AS old; INSERT INTO t SELECT * FROM old.t",
                old.display()
            ),
        );
        best[0] = best[0].min(begun.elapsed().as_secs_f64());
        fresh();
        let databases = format!(
            "  old: {{ sqlite: {} }}\n  new: {{ sqlite: {} }}\n",
            old.display(),
            new.display()
        );
        best[1] = best[1].min(copy(folder, &databases, "verify: false").0);
    }
    println!("seconds for {rows} rows: INSERT … SELECT {:.1}, copy {:.1}", best[0], best[1]);
    let rate = best[0] / best[1];
    figures.add("SQLite to SQLite, rate", rate, AtLeast(0.8), "x INSERT … SELECT", 0.55);
}

fn servers() -> String {
    let server = |name: &str, port: u16| {
        format!(
            "  {name}: {{ postgres: {{ host: 127.0.0.1, port: {port}, database: shop, user: shop, \
             password: {{ secret: shop }} }} }}\n"
        )
    };
    format!("{}{}", server("old", PORT + 1), server("new", PORT + 2))
}

/// How long a step with these keys takes, from its beginning to its end, and the most memory of the
/// executor, in KiB.
fn copy(folder: &Path, databases: &str, keys: &str) -> (f64, u64) {
    let table = if databases.contains("sqlite") { "t" } else { "orders" };
    let book = folder.join("copy.yaml");
    let text = format!(
        "runbook: bench\nsecrets: {{ shop: {{ env: SHOP_PASSWORD }} }}\ndatabases:\
         \n{databases}phases:\n  p:\n    steps:\
         \n      rows: {{ copy: {{ from: old, to: new, tables: [{table}], {keys} }} }}\n"
    );
    std::fs::write(&book, text).expect("the runbook");
    let journal: PathBuf = folder.join("journal");
    let mut command = Command::new("/usr/bin/time");
    command
        .args(["-f", "%M", "-o"])
        .arg(folder.join("memory"))
        .arg(PROGRAM)
        .arg("run")
        .arg(&book)
        .arg("--journal")
        .arg(&journal);
    let taken = seconds(command.env("SHOP_PASSWORD", "lab-shop"));
    let memory = std::fs::read_to_string(folder.join("memory"))
        .ok()
        .and_then(|text| text.trim().parse().ok())
        .unwrap_or(0);
    (taken, memory)
}

fn seconds(command: &mut Command) -> f64 {
    let begun = Instant::now();
    let output = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .output()
        .expect("a command to time");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    begun.elapsed().as_secs_f64()
}

fn psql(server: u16, text: &str) {
    let port = (PORT + server).to_string();
    let mut command = Command::new("psql");
    command.args([
        "-X",
        "-q",
        "-h",
        "127.0.0.1",
        "-U",
        "postgres",
        "-p",
        &port,
        "-v",
        "ON_ERROR_STOP=1",
    ]);
    for one in text.split("; ") {
        command.args(["-c", one]);
    }
    seconds(command.arg("shop"));
}

fn sqlite(path: &Path, text: &str) {
    let db = rusqlite::Connection::open(path).expect("a database");
    db.execute_batch(text).expect("statements");
}
