//! How long rehearsals take, beside what they may: the largest runbook that is shipped with
//! everything that can go wrong and by chance, and ten thousand steps. `cargo bench --bench
//! rehearsal`; nothing is carried out, and nothing needs to be there.

#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a benchmark prints, and one that cannot go on should say so and stop"
)]

#[expect(dead_code, reason = "no benchmark needs all of it")]
mod figures;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use figures::Wanted::AtMost;
use figures::{Figures, unit_of_work};

const PROGRAM: &str = env!("CARGO_BIN_EXE_switchover");

fn main() {
    let short = std::env::args().any(|argument| argument == "--short");
    let (many, chance) = if short { (1_000, "100") } else { (10_000, "1000") };
    let mut figures = Figures::new(short);
    let unit = unit_of_work();
    let folder = std::env::temp_dir().join(format!("switchover-bench-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder for the benchmark");
    let aurigraph = Path::new(env!("CARGO_MANIFEST_DIR")).join("runbooks/aurigraph/aurigraph.yaml");
    for environment in ["production", "lab"] {
        let rehearse = |options: &[&str]| {
            rehearse(&folder, &aurigraph, &[&["--env", environment], options].concat())
        };
        let every = rehearse(&["--runs", "0"]).0 / unit;
        let what = format!("aurigraph, {environment}: every mishap");
        figures.add(&what, every, AtMost(200.0), "x unit of work", 120.0);
        let by_chance = rehearse(&["--no-mishaps", "--runs", chance]).0 / unit;
        let what = format!("aurigraph, {environment}: {chance} runs by chance");
        figures.add(&what, by_chance, AtMost(100.0), "x unit of work", 8.0);
    }
    let chain = |at: usize| format!("      s{at}: {{ run: 'true', undo: none, estimate: 1s }}\n");
    let alone = |at: usize| {
        format!(
            "      s{at}: {{ run: 'true', undo: {{ run: 'true', estimate: 1s }}, needs: [], \
             estimate: {}s }}\n",
            at % 7 + 1
        )
    };
    let budgets = "budgets: { duration: 3h, rollback: 4h }\n";
    for (name, head, step) in [
        ("one after the other", "", &chain as &dyn Fn(usize) -> String),
        ("one after the other, with budgets", budgets, &chain),
        ("at once, with budgets", budgets, &alone),
    ] {
        let path = write(&folder, head, step, many);
        let (seconds, memory) = rehearse(&folder, &path, &["--runs", "0", "--no-mishaps"]);
        figures.add(
            &format!("{many} steps {name}"),
            seconds / unit,
            AtMost(40.0),
            "x unit of work",
            2.0,
        );
        figures.add(
            &format!("{many} steps {name}, memory"),
            memory / 1024.0,
            AtMost(250.0),
            "MiB",
            30.0,
        );
    }
    let _ = std::fs::remove_dir_all(&folder);
    figures.print();
}

fn write(folder: &Path, head: &str, step: &dyn Fn(usize) -> String, many: usize) -> PathBuf {
    let mut book = format!("runbook: many\n{head}phases:\n  p:\n    steps:\n");
    (0..many).for_each(|at| book.push_str(&step(at)));
    let path = folder.join("many.yaml");
    std::fs::write(&path, book).expect("a runbook");
    path
}

/// Seconds and peak memory in KiB, by GNU time; the fastest of three, as whatever else the machine
/// does only ever adds.
fn rehearse(folder: &Path, runbook: &Path, options: &[&str]) -> (f64, f64) {
    let report = folder.join("time");
    let once = || {
        let mut command = Command::new("/usr/bin/time");
        command
            .args(["-f", "%e %M", "-o"])
            .arg(&report)
            .arg(PROGRAM)
            .arg("--journal")
            .arg(folder.join("journal"));
        command
            .arg("rehearse")
            .arg(runbook)
            .args(options)
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        // `cargo bench` sets a library path, in which the loader would search.
        command.env_remove("LD_LIBRARY_PATH");
        let status = command.status().expect("/usr/bin/time, of the package `time`");
        assert!(status.code().is_some_and(|code| code < 2), "{command:?} ended with {status}");
        let text = std::fs::read_to_string(&report).unwrap_or_default();
        let mut last = text
            .lines()
            .last()
            .unwrap_or_default()
            .split_whitespace()
            .map(|word| word.parse().unwrap_or(0.0));
        (last.next().unwrap_or_default(), last.next().unwrap_or_default())
    };
    (0..3)
        .map(|_| once())
        .fold((f64::INFINITY, 0.0), |best, seen| (best.0.min(seen.0), best.1.max(seen.1)))
}
