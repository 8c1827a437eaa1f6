//! Clocks that are years away: within a session, and from one session to the next. They decide
//! neither an order nor how long anything takes, and the journal stays whole.

use std::time::{Duration, Instant};

use super::processes::{a_clock_jumps, faketime, nothing_left};
use super::sandbox::{Sandbox, kill, wait_until};

const NOW: &str = "+0";
/// Ten years on, thirty years back, and the second day of all.
const LATER: &str = "+315360000";
const EARLIER: &str = "-946684800";
const FIRST: &str = "@1970-01-02 00:00:00";

fn by(clock: &str) -> [(&'static str, String); 3] {
    [
        ("LD_PRELOAD", faketime().to_owned()),
        ("FAKETIME", clock.to_owned()),
        ("DONT_FAKE_MONOTONIC", "1".to_owned()),
    ]
}

#[test]
fn a_clock_that_jumps_by_years_does_no_harm() {
    std::thread::scope(|scope| {
        for jump in [LATER, EARLIER, FIRST] {
            scope.spawn(move || a_clock_jumps(jump));
        }
    });
}

#[test]
fn sessions_by_clocks_years_apart_go_on_where_the_last_one_stood() {
    std::thread::scope(|scope| {
        for clocks in [
            [LATER, NOW, EARLIER],
            [NOW, EARLIER, LATER],
            [FIRST, LATER, NOW],
            [LATER, FIRST, FIRST],
        ] {
            scope.spawn(move || sessions(clocks));
        }
    });
}

/// One that is killed while it waits for the next attempt, one that goes on, and one that goes
/// back.
fn sessions([first, second, third]: [&str; 3]) {
    let sandbox = Sandbox::with(
        r#"runbook: years
phases:
  p:
    steps:
      a: { run: 'echo a >> "$W"', undo: { run: 'echo undo a >> "$W"' } }
      b: { run: 'echo try >> "$W"; test -e tried || { touch tried; exit 1; }', retry: { attempts: 2, backoff: 3s }, idempotent: true, undo: { run: 'echo undo b >> "$W"' } }
      c: { run: 'echo c >> "$W"', undo: none }
      d: { wait: 1s }
"#,
    );
    let child = sandbox.start_heard("run book.yaml", &by(first));
    wait_until("it waits for its next attempt", || {
        sandbox.read("said").contains("next attempt in")
    });
    kill(child);
    let begun = Instant::now();
    let mut child = sandbox.start_heard("resume", &by(second));
    while child.try_wait().unwrap().is_none() && begun.elapsed() < Duration::from_secs(60) {
        std::thread::sleep(Duration::from_millis(20));
    }
    // It could wait for years.
    let code = child.try_wait().unwrap().and_then(|status| status.code());
    if code.is_none() {
        kill(child);
    }
    assert_eq!(code, Some(0), "{first}, {second}: {}", sandbox.read("said"));
    assert_eq!(sandbox.code("audit --verify"), 0, "{first}, {second}");
    let shown = sandbox.run_with("rollback", &by(third));
    assert!(shown.ends_with("exit 4"), "{first}, {second}, {third}: {shown}");
    assert_eq!(
        sandbox.witness(),
        ["a", "try", "try", "c", "undo b", "undo a"],
        "{first}, {second}, {third}"
    );
    for (line, clock) in [
        ("audit --verify", NOW),
        ("audit", FIRST),
        ("status", LATER),
        ("list", EARLIER),
        ("logs b", NOW),
    ] {
        let shown = sandbox.run_with(line, &by(clock));
        assert!(shown.ends_with("exit 0") || line == "status", "{line}: {shown}");
        assert!(!shown.contains("panicked") && !shown.contains("altered"), "{line}: {shown}");
    }
    nothing_left(&sandbox);
}

#[test]
fn a_command_of_a_killed_session_is_ended_at_its_timeout_by_any_clock() {
    std::thread::scope(|scope| {
        for (clock, timeout, is_late) in
            [(FIRST, "3s", true), (EARLIER, "3s", true), (LATER, "30m", false)]
        {
            scope.spawn(move || orphan(clock, timeout, is_late));
        }
    });
}

fn orphan(clock: &str, timeout: &str, is_late: bool) {
    let sandbox = Sandbox::with(&format!(
        "runbook: years
phases:
  p:
    steps:
      a: {{ run: 'echo begin >> \"$W\"; while [ -e hold ]; do sleep 0.01; done; echo end >> \"$W\"', undo: none, timeout: {timeout} }}
"
    ));
    sandbox.write("hold", "");
    let child = sandbox.start("run book.yaml");
    sandbox.wait_for("begin");
    kill(child);
    let begun = Instant::now();
    let mut child = sandbox.start_heard("resume", &by(clock));
    wait_until("it says what still runs", || {
        sandbox.read("said").contains("while this still runs: ") || begun.elapsed().as_secs() > 3
    });
    if !is_late {
        std::thread::sleep(Duration::from_millis(500));
        std::fs::remove_file(sandbox.path("hold")).unwrap();
    }
    let code = child.wait().unwrap().code();
    assert!(begun.elapsed() < Duration::from_secs(60), "{clock}: {:?}", begun.elapsed());
    assert_eq!(code, Some(i32::from(is_late)), "{clock}: {}", sandbox.read("said"));
    assert_eq!(sandbox.witness().contains(&"end".to_owned()), !is_late, "{clock}");
    assert_eq!(sandbox.code("audit --verify"), 0);
    nothing_left(&sandbox);
}
