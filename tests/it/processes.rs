//! Commands that do not behave, and processes that are stopped, killed or told another time: the
//! run ends, says what happened, and leaves nothing behind.

use std::path::Path;
use std::time::{Duration, Instant};

use super::sandbox::{Sandbox, children, kill, signal, wait_until};

#[test]
fn a_daemon_that_forked_twice_stays_and_nothing_else() {
    let sandbox = step(
        "( (setsid sh -c 'echo $$ > daemon; exec sleep 300' </dev/null >/dev/null 2>&1) & ) ; \
         until [ -s daemon ]; do sleep 0.01; done",
        "",
    );
    assert_eq!(sandbox.code("run book.yaml"), 0);
    let daemon: u32 = sandbox.read("daemon").trim().parse().unwrap();
    wait_until(
        "only the daemon is left",
        || matches!(&sandbox.processes()[..], [(pid, _)] if *pid == daemon),
    );
    signal("KILL", daemon);
    nothing_left(&sandbox);
}

#[test]
fn a_child_that_keeps_the_log_open_holds_nobody_up() {
    let sandbox = step("while [ -e hold ]; do sleep 0.01; done & echo early", "");
    sandbox.write("hold", "");
    assert_eq!(sandbox.code("run book.yaml"), 0);
    assert!(sandbox.run("logs a").contains("early"));
    std::fs::remove_file(sandbox.path("hold")).unwrap();
    nothing_left(&sandbox);
    assert_eq!(sandbox.code("audit --verify"), 0);
}

#[test]
fn what_ignores_every_signal_but_kill_is_over_after_its_timeout() {
    let sandbox = step("trap '' TERM INT HUP; while :; do sleep 0.05; done", ", timeout: 300ms");
    let shown = sandbox.run("run book.yaml");
    assert!(
        shown.contains("it took longer than 300ms and was stopped") && shown.ends_with("exit 1"),
        "{shown}"
    );
    nothing_left(&sandbox);
}

#[test]
fn a_command_without_descriptors_or_in_another_program_is_waited_for() {
    for command in [
        "exec 0<&- 1>&- 2>&-; sleep 0.2; echo end >> \"$W\"",
        "exec sh -c 'sleep 0.2; echo end >> \"$W\"'",
    ] {
        let sandbox = step(&format!("echo begin >> \"$W\"; {command}"), "");
        assert_eq!(sandbox.code("run book.yaml"), 0);
        assert_eq!(sandbox.witness(), ["begin", "end"]);
        nothing_left(&sandbox);
        // And after a kill of the executor, too.
        sandbox.write("witness", "");
        let child = sandbox.start("run book.yaml");
        sandbox.wait_for("begin");
        kill(child);
        assert_eq!(sandbox.code("resume"), 0);
        assert_eq!(sandbox.witness(), ["begin", "end"]);
        nothing_left(&sandbox);
    }
}

#[test]
fn a_flood_of_output_is_nobodys_memory() {
    let sandbox = Sandbox::with(
        "runbook: flood
phases:
  p:
    steps:
      a: { run: \"head -c 1G /dev/zero | tr '\\\\0' x\", undo: none }
      b: { run: 'echo b >> \"$W\"; while [ -e hold ]; do sleep 0.01; done', undo: none }
",
    );
    sandbox.write("hold", "");
    let mut child = sandbox.start("run book.yaml");
    sandbox.wait_for("b");
    // By now it has looked at what the first step printed.
    let (executor, keeper) = (peak(child.id()), peak(children(child.id())[0]));
    std::fs::remove_file(sandbox.path("hold")).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert!(
        executor < 80 << 10 && keeper < 40 << 10,
        "the executor took {executor} KiB, its keeper {keeper} KiB"
    );
    assert!(sandbox.run("audit --format json").contains(&format!("\"bytes\": {}", 1u64 << 30)));
    nothing_left(&sandbox);
}

#[test]
fn what_a_command_with_secrets_says_of_itself_is_nobodys_memory() {
    let sandbox = Sandbox::with(
        r#"runbook: flood
secrets: { token: { env: DEPLOY_TOKEN } }
phases:
  p:
    steps:
      a:
        run: |
          for file in "$SWITCHOVER_PROGRESS" "$SWITCHOVER_CHECKPOINT"; do { head -c 300M /dev/zero | tr '\0' '\n'; echo "at $T"; } > "$file"; done
        env: { T: { secret: token } }
        undo: none
      b: { run: 'echo b >> "$W"; while [ -e hold ]; do sleep 0.01; done', undo: none }
"#,
    );
    sandbox.write("hold", "");
    let mut child = sandbox.start("run book.yaml");
    sandbox.wait_for("b");
    let (executor, keeper) = (peak(child.id()), peak(children(child.id())[0]));
    std::fs::remove_file(sandbox.path("hold")).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert!(
        executor < 80 << 10 && keeper < 60 << 10,
        "the executor took {executor} KiB, its keeper {keeper} KiB"
    );
    assert!(
        sandbox.run("audit --format json").contains("at (the secret token)"),
        "its last cursor is kept"
    );
    let found = std::process::Command::new("grep")
        .args(["-rlaF", "correct-horse"])
        .arg(sandbox.path("journal"))
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&found.stdout), "");
}

#[test]
fn a_command_with_secrets_has_no_way_round_its_keeper_into_its_log() {
    let sandbox = Sandbox::with(
        r#"runbook: round
secrets: { token: { env: DEPLOY_TOKEN } }
phases:
  p:
    steps:
      a:
        run:
          shell: [/bin/bash, -c]
          script: |
            ls -l /proc/$BASHPID/fd
            # What else it may have inherited, a pipe of the test's caller, is not to end it.
            trap '' PIPE
            for path in /proc/$BASHPID/fd/*; do fd=${path##*/}; [ "$fd" -gt 2 ] && { echo "$T" >&"$fd"; } 2> /dev/null; done
            true
        env: { T: { secret: token } }
        undo: none
"#,
    );
    let shown = sandbox.run("run book.yaml");
    let logs = sandbox.run("logs a");
    assert!(shown.ends_with("exit 0"), "{shown}\n{logs}");
    assert!(
        logs.contains(".out") && !logs.contains("correct-horse"),
        "it holds the lock, and writes nothing there: {logs}"
    );
}

#[test]
fn a_fifo_in_the_place_of_a_log_is_refused_and_not_waited_for() {
    let sandbox = step(
        r#"echo try >> "$W"; for stem in "${SWITCHOVER_OUTPUT%.f1.output}"; do mkfifo "$stem.f2.out"; done; exit 1"#,
        ", idempotent: true, retry: { attempts: 2, backoff: 10ms }",
    );
    let shown = sandbox.run("run book.yaml");
    assert!(shown.contains("could not be made") && shown.ends_with("exit 1"), "{shown}");
    assert_eq!(sandbox.witness(), ["try"]);
}

#[test]
fn what_a_command_prints_does_not_steer_the_terminal() {
    let evil = r"\033[2J\033]0;title\007\r\b\302\2335m\177 evil";
    let sandbox = step(
        &format!(
            "printf '{evil}'; printf '{evil}' >&2; printf 'x={evil}\\n' > \"$SWITCHOVER_OUTPUT\"; \
             printf '{evil}\\n' > \"$SWITCHOVER_CHECKPOINT\"; printf '{evil}\\n' \
             > \"$SWITCHOVER_PROGRESS\"; sleep 1.2; exit 1"
        ),
        ", capture: { y: stdout }",
    );
    let steers = |text: &str| text.chars().any(|c| c.is_control() && c != '\n' && c != '\t');
    for verb in ["run book.yaml", "status", "logs a", "audit", "list", "resume"] {
        let shown = sandbox.run(verb);
        assert!(!steers(&shown), "{verb}: {shown:?}");
    }
    for verb in ["status --format json", "logs a --format json", "audit --format json"] {
        assert!(!sandbox.run(verb).contains(['\u{1b}', '\u{7}', '\r', '\u{8}']), "{verb}");
    }
    let logs = sandbox.run("logs a");
    assert!(logs.contains(r"\u{1b}[2J") && logs.contains(" evil\n"), "{logs:?}");
}

#[test]
fn a_command_that_kills_its_parent_is_in_doubt_and_one_that_asks_it_to_end_is_not() {
    for (name, code) in [("KILL", 3), ("TERM", 0), ("INT", 0), ("HUP", 0)] {
        let sandbox = step(
            &format!("echo begin >> \"$W\"; kill -{name} $PPID; sleep 0.2; echo end >> \"$W\""),
            "",
        );
        assert_eq!(sandbox.code("run book.yaml"), code, "{name}");
        assert_eq!(sandbox.witness(), ["begin", "end"], "{name}");
        nothing_left(&sandbox);
    }
}

#[test]
fn a_command_that_kills_its_own_group_has_failed() {
    for name in ["KILL", "TERM"] {
        let sandbox = step(&format!("sleep 60 & kill -{name} 0; sleep 60"), "");
        let shown = sandbox.run("run book.yaml");
        assert!(shown.contains("killed by signal") && shown.ends_with("exit 1"), "{name}: {shown}");
        nothing_left(&sandbox);
    }
}

#[test]
fn an_executor_that_slept_past_a_deadline_notices_it() {
    let sandbox = step("echo begin >> \"$W\"; sleep 60; echo end >> \"$W\"", ", timeout: 1s");
    let mut child = sandbox.start_heard("run book.yaml", &[]);
    sandbox.wait_for("begin");
    signal("STOP", child.id());
    std::thread::sleep(Duration::from_millis(1500));
    assert_eq!(
        sandbox.processes().iter().filter(|(_, line)| line.starts_with("sleep")).count(),
        1,
        "nobody else looks at the time"
    );
    signal("CONT", child.id());
    let begun = Instant::now();
    assert_eq!(child.wait().unwrap().code(), Some(1));
    assert!(begun.elapsed() < Duration::from_secs(20));
    assert!(
        sandbox.read("said").contains("it took longer than 1s and was stopped"),
        "{}",
        sandbox.read("said")
    );
    assert_eq!(sandbox.witness(), ["begin"]);
    nothing_left(&sandbox);
}

#[test]
fn a_stopped_keeper_of_a_killed_executor_is_waited_for() {
    for ends_before in [false, true] {
        let sandbox = step(
            "echo begin >> \"$W\"; while [ -e hold ]; do sleep 0.01; done; echo end >> \"$W\"",
            "",
        );
        sandbox.write("hold", "");
        let child = sandbox.start("run book.yaml");
        sandbox.wait_for("begin");
        let keeper = children(child.id())[0];
        signal("STOP", keeper);
        kill(child);
        if ends_before {
            std::fs::remove_file(sandbox.path("hold")).unwrap();
            sandbox.wait_for("end");
        }
        let mut resumed = sandbox.start_heard("resume", &[]);
        wait_until("it says that it waits", || sandbox.read("said").contains("waiting: "));
        if !ends_before {
            std::fs::remove_file(sandbox.path("hold")).unwrap();
            sandbox.wait_for("end");
        }
        // As long as it may still begin something, nobody else does.
        std::thread::sleep(Duration::from_millis(300));
        assert!(resumed.try_wait().unwrap().is_none(), "{}", sandbox.read("said"));
        signal("CONT", keeper);
        assert_eq!(resumed.wait().unwrap().code(), Some(0), "{}", sandbox.read("said"));
        assert_eq!(sandbox.witness(), ["begin", "end"]);
        nothing_left(&sandbox);
    }
}

#[test]
fn a_long_run_holds_no_more_descriptors_at_its_end() {
    let look = r#"echo "$(ls /proc/$(cut -d" " -f4 /proc/$PPID/stat)/fd | wc -l) $(ls /proc/$PPID/fd | wc -l)" >> "$W""#;
    let steps: String =
        (0..80).map(|at| format!("      s{at}: {{ run: '{look}', undo: none }}\n")).collect();
    let sandbox = Sandbox::with(&format!("runbook: many\nphases:\n  p:\n    steps:\n{steps}"));
    assert_eq!(sandbox.code("run book.yaml --parallel 1"), 0);
    let seen = sandbox.witness();
    assert_eq!((seen.len(), &seen[5]), (80, &seen[79]), "{seen:?}");
    nothing_left(&sandbox);
}

#[test]
fn a_clock_that_jumps_forward_does_no_harm() {
    a_clock_jumps("+3600");
}

#[test]
fn a_clock_that_jumps_back_does_no_harm() {
    a_clock_jumps("-3600");
}

/// While a step waits for its next attempt, while one waits, and while one runs against its
/// timeout.
pub fn a_clock_jumps(jump: &str) {
    let library = faketime();
    let sandbox = Sandbox::with(
        r#"runbook: clock
phases:
  p:
    steps:
      retried: { run: 'echo try >> "$W"; test -e tried || { touch tried; exit 1; }', retry: { attempts: 2, backoff: 2s }, idempotent: true, undo: none }
      waited: { wait: 2s }
      late: { run: 'echo late >> "$W"; sleep 60; echo end >> "$W"', timeout: 2s, undo: none }
"#,
    );
    let clock = sandbox.path("clock");
    let set = |offset: &str| {
        sandbox.write("clock.new", format!("{offset}\n"));
        std::fs::rename(sandbox.path("clock.new"), &clock).unwrap();
    };
    set("+0");
    let env = [
        ("LD_PRELOAD", library.to_owned()),
        ("FAKETIME_TIMESTAMP_FILE", clock.display().to_string()),
        ("FAKETIME_NO_CACHE", "1".to_owned()),
        ("DONT_FAKE_MONOTONIC", "1".to_owned()),
    ];
    let begun = Instant::now();
    let mut child = sandbox.start_heard("run book.yaml", &env);
    let said = |words: &str| wait_until(words, || sandbox.read("said").contains(words));
    said("next attempt in");
    set(jump);
    said("begin    p/waited");
    set("+0");
    sandbox.wait_for("late");
    set(jump);
    assert_eq!(child.wait().unwrap().code(), Some(1), "{}", sandbox.read("said"));
    assert!(
        begun.elapsed() >= Duration::from_secs(5) && begun.elapsed() < Duration::from_secs(40),
        "{:?}",
        begun.elapsed()
    );
    assert_eq!(sandbox.witness(), ["try", "try", "late"]);
    assert!(
        sandbox.read("said").contains("it took longer than 2s and was stopped"),
        "{}",
        sandbox.read("said")
    );
    assert_eq!(sandbox.code("audit --verify"), 0);
    nothing_left(&sandbox);
}

/// A runbook of one step `a`, with this script and these further keys.
fn step(script: &str, keys: &str) -> Sandbox {
    let script = serde_json::to_string(script).unwrap();
    Sandbox::with(&format!(
        "runbook: one\nphases:\n  p:\n    steps:\n      a: {{ run: {script}, undo: none{keys} }}\n"
    ))
}

pub fn nothing_left(sandbox: &Sandbox) {
    let begun = Instant::now();
    while !sandbox.processes().is_empty() {
        assert!(
            begun.elapsed() < Duration::from_secs(30),
            "still there: {:?}",
            sandbox.processes()
        );
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// The most memory that a process ever had, in KiB.
fn peak(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// The library of Debian's package `libfaketime`.
pub fn faketime() -> &'static str {
    let places = [
        "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1",
        "/usr/lib/aarch64-linux-gnu/faketime/libfaketimeMT.so.1",
    ];
    let found = places.into_iter().find(|place| Path::new(place).exists());
    found.expect("libfaketime, of the package of that name")
}

#[test]
fn a_command_that_stops_its_parent_does_not_escape_its_timeout() {
    let sandbox = step("echo begin >> \"$W\"; kill -STOP $PPID; sleep 300", ", timeout: 500ms");
    let mut child = sandbox.start("run book.yaml");
    sandbox.wait_for("begin");
    let keeper = children(child.id())[0];
    let begun = Instant::now();
    while child.try_wait().unwrap().is_none() && begun.elapsed() < Duration::from_secs(60) {
        std::thread::sleep(Duration::from_millis(50));
    }
    let code = child.try_wait().unwrap().map(|status| status.code());
    if code.is_none() {
        kill(child);
    }
    let left = sandbox.processes();
    for (process, _) in &left {
        signal("KILL", *process);
    }
    assert!(code.is_some(), "after a minute it still waits for its keeper {keeper}: {left:?}");
}

#[test]
fn what_cannot_be_seen_to_live_does_not_run_twice_at_once() {
    let sandbox = step(
        "echo begin >> \"$W\"; exec env -i /bin/sh -c 'sleep 1; echo end >> \"$0\"' \"$W\" \
         >/dev/null 2>&1",
        ", idempotent: true",
    );
    let child = sandbox.start("run book.yaml");
    sandbox.wait_for("begin");
    std::thread::sleep(Duration::from_millis(200));
    kill(child);
    let shown = sandbox.run("resume");
    assert_eq!(sandbox.witness(), ["begin", "end"], "its keeper lives, and knows: {shown}");
    nothing_left(&sandbox);
}

#[test]
fn what_a_child_adds_to_the_log_later_is_no_alteration() {
    let sandbox = step("(while [ -e hold ]; do sleep 0.01; done; echo late) & echo early", "");
    sandbox.write("hold", "");
    assert_eq!(sandbox.code("run book.yaml"), 0);
    std::fs::remove_file(sandbox.path("hold")).unwrap();
    nothing_left(&sandbox);
    assert_eq!(sandbox.code("audit --verify"), 0, "{}", sandbox.run("audit --verify"));
}

#[test]
fn an_orphan_has_its_time_by_a_clock_that_does_not_jump() {
    let library = faketime();
    let sandbox = step(
        "echo begin >> \"$W\"; while [ -e hold ]; do sleep 0.01; done; echo end >> \"$W\"",
        ", timeout: 30m",
    );
    sandbox.write("hold", "");
    let child = sandbox.start("run book.yaml");
    sandbox.wait_for("begin");
    kill(child);
    let env = [
        ("LD_PRELOAD", library.to_owned()),
        ("FAKETIME", "+1h".to_owned()),
        ("DONT_FAKE_MONOTONIC", "1".to_owned()),
    ];
    let mut resumed = sandbox.start_heard("resume", &env);
    wait_until("it says what still runs", || {
        sandbox.read("said").contains("while this still runs: ")
    });
    std::thread::sleep(Duration::from_millis(500));
    std::fs::remove_file(sandbox.path("hold")).unwrap();
    assert_eq!(resumed.wait().unwrap().code(), Some(0), "{}", sandbox.read("said"));
}
