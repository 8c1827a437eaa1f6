//! Certifications: what they say, that what they try is what they say, and that they can fail.

use std::path::PathBuf;

use serde_json::Value as Json;

use super::sandbox::{Sandbox, repository};

/// All that decides about going on and going back. What the steps would do fails.
const BOOK: &str = r#"runbook: all
parameters: { region: { type: string, default: "eu" } }
secrets: { token: { env: NOT_THERE } }
locks: [certified]
budgets: { downtime: 2h }
guards: { errors: { from: once, run: 'exit 1', success: 'stdout == "good"', every: 1s, on_breach: rollback } }
phases:
  p:
    messages: { start: phase-started, success: phase-finished, failure: phase-failed }
    steps:
      once: { downtime: begins, run: 'exit 1', env: { TOKEN: { secret: token } }, undo: { run: 'exit 1' }, timeout: 1s }
      again: { run: 'exit 1', idempotent: true, retry: { attempts: 3, backoff: 1h }, undo: { run: 'exit 1', idempotent: true } }
      looked-at:
        run: 'exit 1'
        probe: { run: 'exit 1', done: stdout == "yes", not_done: stdout == "no" }
        undo: { run: 'exit 1', probe: { run: 'exit 1', done: stdout == "no", not_done: stdout == "yes" } }
      silence: { run: 'exit 1', undo: none, hold: { until: settle, release: { run: 'exit 1' } } }
      settle: { downtime: ends, wait: 1h }
      never: { when: region == "us", run: 'exit 1', undo: none }
      perhaps: { when: steps.once.size > 3, run: 'exit 1', undo: none }
      tell: { idempotent: false, notify: { subject: "{{ steps.once.size }}", body: "moved\n", to: [everybody@example.test] } }
      call: { task: "Call them: {{ steps.once.number }}", undo: { task: Call them again } }
      go: { approve: "Go on with {{ steps.once.size }}?" }
      point: { run: 'exit 1', undo: none, point_of_no_return: true }
      last: { run: 'exit 1' }
"#;

#[test]
#[expect(clippy::print_stdout, reason = "with --show-output, it says what was tried")]
fn what_is_certified_ends_the_same_wherever_its_executor_dies() {
    let sandbox = Sandbox::with(BOOK);
    let offset = offset(2);
    let told = sandbox.run(&format!("certify book.yaml --every 2 --offset {offset} --parallel 8"));
    println!("certify: all that decides, offset {offset}");
    // How many events stand in one commit depends on how quick things are.
    let told = regex::Regex::new(r"\d+ (of|boundaries|runs)").unwrap().replace_all(&told, "<n> $1");
    insta::assert_snapshot!(told, @"
    certified: <n> of <n> boundaries, each resumed and rolled back, the executor killed before and after its commands begin, and with its keeper: <n> runs, the same end
      all: 12 steps, 31 events, tried in <time>
    taken to hold, as only a real run tells
      p/perhaps: steps.once.size > 3
    <n> boundaries in 31 events: <n> runs, which should be done in <time>
    exit 0
    ");
    assert!(!sandbox.path("journal").exists(), "the operator's own journal is not touched");
}

#[test]
fn copies_of_a_step_are_certified_at_once() {
    let sandbox = Sandbox::with(
        "runbook: many
phases:
  p:
    steps:
      each: { for_each: { in: [1, 2, 3, 4], max_parallel: 2 }, run: 'exit 1', undo: { run: 'exit 1' } }
      after: { run: 'exit 1' }
      last: { run: 'exit 1', undo: { run: 'exit 1' } }
",
    );
    let (found, kept) = kept(&sandbox, "certify book.yaml --keep --parallel 8 --format json", 0);
    assert_eq!(found["differences"].as_array().map(Vec::len), Some(0), "{found:#}");
    assert_eq!(found["boundaries"], found["tried"]);
    assert_eq!(found["runs"].as_u64(), found["tried"].as_u64().map(|tried| tried * 6));
    // Each run was really killed, and some left something that only the witness could tell.
    let (mut killed, mut resolved) = (0, 0);
    for run in std::fs::read_dir(&kept)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.join("journal").exists())
    {
        let db = rusqlite::Connection::open(run.join("journal/switchover.db")).unwrap();
        let count = |event: &str| {
            db.query_row("SELECT count(*) FROM events WHERE event = ?1", [event], |row| {
                row.get::<_, i64>(0)
            })
            .unwrap()
        };
        killed += i64::from(count("run_resumed") + count("rollback_began") > 0);
        resolved += count("step_resolved");
    }
    assert!(killed >= found["runs"].as_i64().unwrap() / 2, "{killed}");
    assert!(resolved > 0, "nobody was asked");
}

#[test]
fn what_people_release_is_certified() {
    for release in [
        "task: Close the valve",
        "approve: Is it closed?",
        "notify: { subject: Closed, body: x, to: [all@example.test] }",
    ] {
        let steps = format!(
            "v: {{ run: 'x', undo: {{ run: 'x' }}, hold: {{ until: z, \
             release: {{ {release} }} }} }}\n      z: {{ run: 'x', undo: none }}"
        );
        let sandbox =
            Sandbox::with(&format!("runbook: held\nphases:\n  p:\n    steps:\n      {steps}\n"));
        let told = sandbox.run("certify book.yaml --every 2 --parallel 8");
        assert!(told.starts_with("certified: ") && told.ends_with("exit 0"), "{release}: {told}");
    }
}

#[test]
#[expect(clippy::print_stdout, reason = "with --show-output, it says what was tried")]
fn the_quickstart_is_certified() {
    let sandbox = Sandbox::new();
    sandbox.write(
        "quickstart.yaml",
        std::fs::read(repository().join("runbooks/quickstart.yaml")).unwrap(),
    );
    let offset = offset(4);
    let found = sandbox.json(&format!(
        "certify quickstart.yaml --every 4 --offset {offset} --parallel 8 --format json"
    ));
    println!(
        "certify: the quickstart, {} of {} boundaries, {} runs, offset {offset}",
        found["tried"], found["boundaries"], found["runs"]
    );
    assert_eq!(
        found["differences"].as_array().map(Vec::len),
        Some(0),
        "offset {offset}: {found:#}"
    );
    let number = |key: &str| found[key].as_u64().unwrap();
    assert!(
        number("events") > 90 && number("tried") >= 10 && number("runs") == number("tried") * 6,
        "{found:#}"
    );
}

/// With which boundary it begins: another one each time, or `SWITCHOVER_CERTIFY_OFFSET`.
fn offset(every: u64) -> u64 {
    let now = || std::time::UNIX_EPOCH.elapsed().unwrap().as_nanos() as u64 / 1000;
    std::env::var("SWITCHOVER_CERTIFY_OFFSET").map_or_else(|_| now(), |text| text.parse().unwrap())
        % every
}

/// A `sleep` that stand-ins find instead of the real one, and that lies about them.
fn lying(sandbox: &Sandbox, lie: &str) -> Vec<(&'static str, String)> {
    use std::os::unix::fs::PermissionsExt;
    sandbox.write(
        "bin/sleep",
        format!("#!/bin/sh\nsecond=$(ls journal/runs/*/commands-* | wc -l)\n{lie}\n"),
    );
    std::fs::set_permissions(sandbox.path("bin/sleep"), std::fs::Permissions::from_mode(0o755))
        .unwrap();
    let temporary = sandbox.path("temporary");
    std::fs::create_dir_all(&temporary).unwrap();
    vec![
        (
            "PATH",
            format!(
                "{}:{}",
                sandbox.path("bin").display(),
                std::env::var("PATH").unwrap_or_default()
            ),
        ),
        ("TMPDIR", temporary.display().to_string()),
    ]
}

const FOUR: &str = "runbook: four
phases:
  p:
    steps:
      a: { run: x, undo: { run: x } }
      b: { run: x, undo: { run: x } }
      c: { run: x, undo: { run: x } }
      d: { run: x, undo: { run: x } }
";

#[test]
fn what_does_not_end_the_same_is_not_certified() {
    let again = |step: &str, lie: &str| {
        format!(
            "if [ $second -gt 1 ] && [ $SWITCHOVER_STEP = {step} ] && [ $SWITCHOVER_DIRECTION = \
             forward ]; then {lie}; fi"
        )
    };
    let twice = again(
        "p/c",
        "begin=$(tail -n 1 witness); echo \"$begin\" | sed s/^begin/end/ >> witness; \
         echo \"$begin\" >> witness",
    );
    let unknown =
        again("p/c", "echo 'begin 0 forward 7 x' >> witness; echo 'end 0 forward 7 x' >> witness");
    let late = again(
        "p/c",
        "sed s/p.c:forward/p%a:forward/ witness | tail -n 1 | tr % / | sed 's/ 2 / 0 /' > line; \
         cat line >> witness; sed s/begin/end/ line >> witness",
    );
    let held = "if [ $SWITCHOVER_DIRECTION = undo ]; then : > marks/9.held; fi".to_owned();
    for (lie, wanted) in [
        (twice, "p/c is not idempotent and began forward 2 times"),
        (unknown, "the journal does not know of attempt 7 forward of p/a"),
        (late, "p/b began before p/a, which it needs, was done"),
        (again("p/c", ": > marks/9.done"), "the world is another one: 9.done"),
        (held, "something is still held: 9.held"),
        (again("p/c", "kill -KILL $PPID"), "`resume` ended with exit 1: "),
        ("false".to_owned(), "the run in which nobody is killed is not as it should be"),
    ] {
        let sandbox = Sandbox::with(FOUR);
        let told =
            sandbox.run_with("certify book.yaml --every 2 --parallel 8", &lying(&sandbox, &lie));
        assert!(
            told.contains(wanted) && told.contains("not certified") && told.ends_with("exit 1"),
            "{lie}: {told}"
        );
        let kept = told
            .lines()
            .find_map(|line| line.trim().strip_prefix("kept in "))
            .and_then(|line| line.split(';').next())
            .unwrap();
        let kept = kept.replace("<folder>", &sandbox.path("").display().to_string());
        assert!(PathBuf::from(&kept).join("witness").exists(), "{kept}");
    }
}

/// The JSON of a certification that keeps its journals, and the folder with them, in this sandbox.
fn kept(sandbox: &Sandbox, line: &str, code: i32) -> (Json, PathBuf) {
    let temporary = sandbox.path("temporary");
    std::fs::create_dir_all(&temporary).unwrap();
    let told = sandbox.run_with(line, &[("TMPDIR", temporary.display().to_string())]);
    assert!(told.ends_with(&format!("exit {code}")), "{told}");
    let json = &told[told.find("{\n").unwrap()..=told.rfind('}').unwrap()];
    let folder = std::fs::read_dir(&temporary).unwrap().next().unwrap().unwrap().path();
    (serde_json::from_str(json).unwrap(), folder)
}
