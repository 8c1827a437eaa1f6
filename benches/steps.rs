//! What a step costs, as a ratio to a floor measured in the same run: two SQLite commits (WAL,
//! FULL), one fdatasync of 4 KiB and one spawn of `/bin/true` per step. `cargo bench --bench
//! steps`; with `-- --short`, a check that it works.

#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a benchmark prints, and one that cannot go on should say so and stop"
)]

#[expect(dead_code, reason = "no benchmark needs all of it")]
mod figures;

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::FileExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use figures::Wanted::AtMost;
use figures::{Figures, unit_of_work};

const PROGRAM: &str = env!("CARGO_BIN_EXE_switchover");

fn main() {
    let short = std::env::args().any(|argument| argument == "--short");
    let folder = std::env::temp_dir().join(format!("switchover-bench-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("a folder for the benchmark");
    let rounds = if short { 1 } else { 15 };
    let (few, many) = if short { (100, 1000) } else { (1000, 100_000) };
    let chain = runbook(&folder, "chain", (0..few).map(|at| step(&format!("s{at}"), None)));
    let independent =
        runbook(&folder, "independent", (0..few).map(|at| step(&format!("s{at}"), Some(vec![]))));
    let layered = runbook(&folder, "layered", layers(10, few / 10));
    let one = runbook(&folder, "one", [step("s", None)].into_iter());
    let mut figures = Figures::new(short);
    let unit = unit_of_work();

    // In turn, so that a machine whose speed drifts drifts for all of them; the fastest of each, as
    // whatever else the disk does only ever adds.
    let rounds: Vec<[f64; 4]> = (0..rounds)
        .map(|_| {
            let floor = floor(&folder, few);
            let [chain, independent, layered] =
                [(&chain, "1"), (&independent, "2"), (&layered, "2")].map(|(runbook, parallel)| {
                    run(&folder, runbook, &["--parallel", parallel]).0 / few as f64
                });
            [floor, chain, independent, layered]
        })
        .collect();
    let fastest = |of: usize| rounds.iter().map(|round| round[of]).fold(f64::INFINITY, f64::min);
    let ratio = |of: usize, to: usize| fastest(of) / fastest(to);
    for [floor, chain, independent, layered] in &rounds {
        let [floor, chain, independent, layered] =
            [floor, chain, independent, layered].map(|seconds| seconds * 1e3);
        println!(
            "ms per step: floor {floor:.3}, chain {chain:.3}, independent {independent:.3}, \
             layers {layered:.3}"
        );
    }
    figures.add(
        &format!("chain of {few}, per step, supervised"),
        ratio(1, 0),
        AtMost(1.4),
        "x floor",
        1.5,
    );
    figures.add(
        &format!("{few} independent steps, --parallel 2"),
        ratio(2, 0),
        AtMost(0.7),
        "x floor",
        0.85,
    );
    figures.add(
        "10 layers, each needing all of the one before",
        ratio(3, 2),
        AtMost(1.1),
        "x independent",
        1.1,
    );

    let (_, memory) = run(&folder, &chain, &[]);
    figures.add(
        &format!("peak memory, chain of {few}"),
        memory / 1024.0,
        AtMost(32.0),
        "MiB",
        22.0,
    );

    let mut extra: Vec<f64> =
        (0..rounds.len() * 2).map(|_| run(&folder, &one, &[]).0 - command()).collect();
    figures.add(
        "one-step run, more than the command itself",
        median(&mut extra) / fastest(0),
        AtMost(15.0),
        "x floor",
        8.0,
    );

    let dense = runbook(&folder, "dense", layers(if short { 10 } else { 100 }, 100));
    let (seconds, memory) =
        timed(Command::new(PROGRAM).arg("plan").arg(&dense).stdout(Stdio::null()));
    figures.add(
        "plan of dense layers of 100",
        seconds / unit,
        AtMost(60.0),
        "x unit of work",
        11.0,
    );
    figures.add("plan of dense layers of 100, memory", memory / 1024.0, AtMost(400.0), "MiB", 52.0);

    let long = runbook(&folder, "long", (0..many).map(|at| step(&format!("s{at}"), None)));
    // The short ones round the long one, as it takes long enough for the machine's speed to change.
    let chains = || (0..5).map(|_| run(&folder, &chain, &[]).0 / few as f64).collect::<Vec<_>>();
    let mut shorts = chains();
    let long_step = run(&folder, &long, &[]).0 / many as f64;
    shorts.extend(chains());
    figures.add(
        &format!("chain of {many}, per step"),
        long_step / median(&mut shorts),
        AtMost(1.1),
        "x chain of 1,000",
        0.9,
    );
    // Steps that only wait make two events each, and next to nothing else.
    let waits = (0..many / 2 + 10).map(|at| format!("      s{at}: {{ wait: 0s }}\n"));
    let waits = runbook(&folder, "waits", waits);
    run(&folder, &waits, &["--until", &format!("s{}", many / 2)]);
    let (seconds, _) = verb(&folder, &["resume", "--until", &format!("s{}", many / 2 + 1)]);
    figures.add(
        &format!("resume of a run of {many} events"),
        seconds / unit,
        AtMost(20.0),
        "x unit of work",
        2.1,
    );
    let (seconds, _) = verb(&folder, &["audit", "--verify"]);
    figures.add(
        "verify, for a million events",
        seconds * 1e6 / f64::from(many) / unit,
        AtMost(80.0),
        "x unit of work",
        1100.0,
    );

    let (book, bytes) = loud(&folder, if short { 16 << 20 } else { 256 << 20 });
    let seconds = (0..if short { 1 } else { 5 })
        .map(|_| run(&folder, &book, &[]).0)
        .fold(f64::INFINITY, f64::min);
    figures.add(
        "20 secrets masked in the output of a command, for 300 MB",
        seconds * 300e6 / bytes as f64 / unit,
        AtMost(20.0),
        "x unit of work",
        250.0,
    );

    let _ = fs::remove_dir_all(&folder);
    figures.print();
}

/// Runs a runbook in a journal of the benchmark; seconds and peak memory in KiB.
fn run(folder: &Path, runbook: &Path, options: &[&str]) -> (f64, f64) {
    let mut command = Command::new(PROGRAM);
    command
        .arg("--journal")
        .arg(folder.join("journal"))
        .arg("run")
        .arg(runbook)
        .args(options)
        .stderr(Stdio::null())
        .stdin(Stdio::null());
    timed(&mut command)
}

/// A verb about the latest run in the benchmark's journal.
fn verb(folder: &Path, words: &[&str]) -> (f64, f64) {
    let mut command = Command::new(PROGRAM);
    command.arg("--journal").arg(folder.join("journal")).args(words);
    timed(&mut command)
}

/// A step that is given 20 secrets and prints a log of about so many bytes; and how many they are.
fn loud(folder: &Path, bytes: usize) -> (std::path::PathBuf, usize) {
    let mut text = String::with_capacity(bytes + 200);
    for line in 0u64.. {
        if text.len() >= bytes {
            break;
        }
        let (id, order) = (line * 7919 % 1_000_000_007, line * 104_729 % 1_000_003);
        text.push_str(&format!(
            "2026-11-21T08:00:00.123Z INFO request id={id} \
            path=/api/v1/orders/{order} status=200 took=17ms\n"
        ));
    }
    fs::write(folder.join("loud.log"), &text).expect("a log");
    let letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=!";
    let secret = |number: usize| -> String {
        (0..32)
            .map(|at| char::from(letters[(number * 31 + at * at * 7 + at) % letters.len()]))
            .collect()
    };
    let mut book = "runbook: loud\nsecrets:\n".to_owned();
    (0..20).for_each(|number| {
        book.push_str(&format!(
            "  s{number}: {{ command: [printf, '%s', '{}'] }}\n",
            secret(number)
        ))
    });
    let env: Vec<String> =
        (0..20).map(|number| format!("S{number}: {{ secret: s{number} }}")).collect();
    let log = folder.join("loud.log").display().to_string();
    book.push_str(&format!(
        "phases: {{ p: {{ steps: {{ a: {{ run: [cat, {log}], undo: none, \
        env: {{ {} }} }} }} }} }}\n",
        env.join(", ")
    ));
    let path = folder.join("loud.yaml");
    fs::write(&path, book).expect("a runbook");
    (path, text.len())
}

fn timed(command: &mut Command) -> (f64, f64) {
    // GNU time reports the peak memory of exactly this process.
    let report = std::env::temp_dir().join(format!("switchover-bench-{}.time", std::process::id()));
    let mut timed = plain("/usr/bin/time");
    timed
        .args(["-f", "%e %M", "-o"])
        .arg(&report)
        .arg(command.get_program())
        .args(command.get_args())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .stdin(Stdio::null());
    let begun = Instant::now();
    let status = timed.status().expect("/usr/bin/time, of the package `time`");
    let seconds = begun.elapsed().as_secs_f64();
    assert!(status.success(), "{command:?} ended with {status}");
    let text = fs::read_to_string(&report).unwrap_or_default();
    let memory = text.split_whitespace().nth(1).and_then(|word| word.parse().ok()).unwrap_or(0.0);
    let _ = fs::remove_file(&report);
    (seconds, memory)
}

/// A command as a shell would run it: `cargo bench` sets a library path, in which the loader of
/// every command would search.
fn plain(program: &str) -> Command {
    let mut command = Command::new(program);
    command.env_remove("LD_LIBRARY_PATH");
    command
}

fn command() -> f64 {
    let begun = Instant::now();
    let _ = plain("/usr/bin/time").args(["-f", "%e", "-o", "/dev/null", "/bin/true"]).status();
    begun.elapsed().as_secs_f64()
}

/// The floor, in seconds per step.
fn floor(folder: &Path, steps: usize) -> f64 {
    let path = folder.join("floor.db");
    let _ = fs::remove_file(&path);
    let db = rusqlite::Connection::open(&path).expect("a database");
    db.execute_batch(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; CREATE TABLE IF NOT \
        EXISTS t (a INTEGER PRIMARY KEY, b TEXT)",
    )
    .expect("a table");
    let file = File::create(folder.join("floor.anchor")).expect("a file");
    let block = [7u8; 4096];
    let text = "x".repeat(300);
    let begun = Instant::now();
    for _ in 0..steps {
        db.execute("INSERT INTO t (b) VALUES (?1)", [&text]).expect("a commit");
        file.write_all_at(&block, 0).and_then(|()| file.sync_data()).expect("a write");
        let mut child = plain("/bin/true")
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .expect("a spawn");
        child.wait().expect("an end");
        db.execute("INSERT INTO t (b) VALUES (?1)", [&text]).expect("a commit");
    }
    begun.elapsed().as_secs_f64() / steps as f64
}

fn step(id: &str, needs: Option<Vec<String>>) -> String {
    let needs = needs.map(|needs| format!(", needs: [{}]", needs.join(", "))).unwrap_or_default();
    format!("      {id}: {{ run: [/bin/true], undo: none{needs} }}\n")
}

fn layers(layers: usize, width: usize) -> impl Iterator<Item = String> {
    (0..layers).flat_map(move |layer| {
        (0..width).map(move |at| {
            let needs = if layer == 0 {
                Vec::new()
            } else {
                (0..width).map(|below| format!("l{}s{below}", layer - 1)).collect()
            };
            step(&format!("l{layer}s{at}"), Some(needs))
        })
    })
}

fn runbook(folder: &Path, name: &str, steps: impl Iterator<Item = String>) -> std::path::PathBuf {
    let path = folder.join(format!("{name}.yaml"));
    let mut file = std::io::BufWriter::new(File::create(&path).expect("a file"));
    write!(file, "runbook: {name}\nphases:\n  p:\n    steps:\n").expect("a write");
    steps.for_each(|step| file.write_all(step.as_bytes()).expect("a write"));
    path
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
