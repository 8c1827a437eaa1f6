//! What may still be alive, and what a failure may hide: attempts never overlap, refusals hold,
//! nothing is passed over.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::time::Instant;

use super::sandbox::{Sandbox, children, kill, kill_both, signal, wait_until};

#[test]
fn a_command_that_sends_its_output_elsewhere_is_still_found_alive() {
    let sandbox = Sandbox::with(
        "runbook: so
phases:
  p:
    steps:
      a: { run: 'exec >/dev/null 2>&1 </dev/null; echo begin >> \"$W\"; sleep 1; echo end >> \"$W\"', idempotent: true, undo: none }
",
    );
    let child = sandbox.start("run book.yaml");
    sandbox.wait_for("begin");
    kill_both(child);
    assert_eq!(sandbox.code("resume"), 0);
    assert_eq!(sandbox.witness(), ["begin", "end", "begin", "end"]);
}

#[test]
fn an_attempt_that_is_stopped_is_over_with_its_last_process() {
    let sandbox = Sandbox::with(
        "runbook: term
phases:
  p:
    steps:
      a: { run: \"(trap '' TERM; echo begin >> \\\"$W\\\"; sleep 2; echo end >> \\\"$W\\\") & wait\", timeout: 300ms, retry: { attempts: 2, backoff: 100ms }, idempotent: true, undo: none }
",
    );
    assert_eq!(sandbox.code("run book.yaml"), 1);
    assert_eq!(
        sandbox.witness(),
        ["begin", "end", "begin", "end"],
        "the second began after the last process of the first"
    );
}

#[test]
fn what_ignores_term_is_killed() {
    let sandbox = Sandbox::with(
        "runbook: term
phases:
  p:
    steps:
      a: { run: \"(trap '' TERM; sleep 60; echo end >> \\\"$W\\\") & wait\", timeout: 300ms, undo: none }
",
    );
    let begun = Instant::now();
    assert_eq!(sandbox.code("run book.yaml"), 1);
    assert!(begun.elapsed().as_secs() < 30);
    assert!(sandbox.witness().is_empty());
}

#[test]
fn a_long_input_does_not_need_the_executor() {
    let sandbox = Sandbox::with(&format!(
        "runbook: input
phases:
  p:
    steps:
      a: {{ run: {{ script: 'echo begin >> \"$W\"; sleep 0.5; wc -c >> \"$W\"', stdin: {} }}, undo: none }}
",
        "x".repeat(300_000)
    ));
    let child = sandbox.start("run book.yaml");
    sandbox.wait_for("begin");
    kill(child);
    sandbox.wait_for("300000");
}

#[test]
fn a_no_in_a_group_stops_the_run_or_takes_it_back() {
    for (on_failure, code) in [("pause", 3), ("rollback", 4)] {
        let sandbox = Sandbox::with(&format!(
            "runbook: nogo
phases:
  p:
    steps:
      before: {{ run: [/bin/true], undo: {{ run: 'echo back >> \"$W\"' }} }}
      gate: {{ for_each: {{ in: [a, b], max_failures: 2 }}, approve: \"go {{{{ item }}}}?\", on_failure: {on_failure} }}
      live: {{ run: 'echo LIVE >> \"$W\"', undo: none }}
"
        ));
        assert_eq!(sandbox.code("run book.yaml"), 3);
        assert_eq!(sandbox.code("resolve gate[a] --as no-go --reason lagging"), 0);
        assert_eq!(sandbox.code("resume"), code, "asked again, or taken back");
        assert_eq!(sandbox.witness(), if code == 4 { vec!["back"] } else { vec![] });
    }
}

#[test]
fn a_no_at_the_terminal_is_not_tolerated_in_a_group() {
    let sandbox = Sandbox::with(
        "runbook: nogo
phases:
  p:
    steps:
      gate: { for_each: [a, b], approve: \"go {{ item }}?\" }
      live: { run: 'echo LIVE >> \"$W\"', undo: none }
",
    );
    let seen = sandbox.in_terminal("run book.yaml --parallel 1", "n\nbad\nn\nbad\n");
    assert!(seen.ends_with("exit 1"), "{seen}");
    assert!(sandbox.witness().is_empty());
}

#[test]
fn an_answer_that_comes_too_late_changes_nothing() {
    let sandbox = Sandbox::with(
        "runbook: late
phases:
  p:
    steps:
      bad: { needs: [], run: sleep 0.3; exit 1, undo: { run: 'sleep 1.5; echo undone >> \"$W\"' }, on_failure: rollback }
      ask: { needs: [], task: { instructions: do it }, undo: none }
",
    );
    // `script` gives the keys at once; the answer waits for its question, whose reason comes after
    // the rollback began.
    let seen = sandbox.in_terminal_slowly("run book.yaml", &["s\n", "because\n"], 1000);
    assert!(seen.contains("this answer changes nothing") && seen.ends_with("exit 4"), "{seen}");
    assert_eq!(sandbox.witness(), ["undone"]);
}

#[test]
fn a_hold_whose_release_was_killed_is_taken_again() {
    let sandbox = Sandbox::with(
        "runbook: hold
phases:
  p:
    steps:
      silence: { run: touch silent, undo: none, idempotent: true, hold: { until: last, release: { run: 'echo releasing >> \"$W\"; sleep 0.7; rm -f silent', idempotent: true } } }
      fails: { run: 'if [ ! -e failed ]; then touch failed; exit 1; fi; ls silent', idempotent: true, undo: none }
      last: { run: 'ls silent', undo: none }
",
    );
    let child = sandbox.start("run book.yaml");
    sandbox.wait_for("releasing");
    kill(child);
    assert_eq!(sandbox.code("resume"), 1, "nobody was told of the failure");
    assert_eq!(sandbox.code("resume"), 0, "{}", sandbox.run("status"));
}

#[test]
fn a_cancellation_that_was_killed_ends() {
    let sandbox = Sandbox::with(
        "runbook: hold
phases:
  p:
    steps:
      silence: { run: touch silent, undo: none, hold: { until: last, release: { run: 'echo releasing >> \"$W\"; sleep 0.7; rm -f silent', idempotent: true } } }
      last: { task: { instructions: do it }, undo: none }
",
    );
    assert_eq!(sandbox.code("run book.yaml"), 3);
    let child = sandbox.start("cancel --reason enough");
    sandbox.wait_for("releasing");
    kill(child);
    sandbox.code("resume");
    assert_eq!(sandbox.json("list --format json")[0]["state"], "cancelled");
    assert!(!sandbox.path("silent").exists());
}

#[test]
fn a_rollback_to_a_step_can_go_on_to_the_beginning() {
    let sandbox = Sandbox::with(
        "runbook: part
phases:
  p:
    steps:
      a: { run: [/bin/true], undo: { run: 'echo a >> \"$W\"' } }
      b: { run: [/bin/true], undo: { run: 'echo b >> \"$W\"' } }
      c: { run: [/bin/true], undo: { run: 'echo c >> \"$W\"' } }
",
    );
    assert_eq!(sandbox.code("run book.yaml"), 0);
    assert_eq!(sandbox.code("rollback --to b"), 4);
    assert_eq!(sandbox.witness(), ["c"]);
    assert_eq!(sandbox.code("rollback"), 4);
    assert_eq!(sandbox.witness(), ["c", "b", "a"]);
    assert_eq!(sandbox.code("rollback"), 4);
    assert_eq!(sandbox.witness(), ["c", "b", "a"], "nothing is left");
}

#[test]
fn a_server_that_never_answers_is_given_up_at_the_timeout() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = server.local_addr().unwrap();
    let held = std::thread::spawn(move || server.accept());
    let sandbox = Sandbox::with(&format!(
        "runbook: slow
phases:
  p:
    steps:
      a: {{ http: {{ url: 'http://{address}/' }}, timeout: 500ms }}
"
    ));
    let begun = Instant::now();
    assert_eq!(sandbox.code("run book.yaml"), 1);
    assert!(begun.elapsed().as_secs() < 10, "{:?}", begun.elapsed());
    drop(held.join());
}

#[test]
fn a_change_that_was_answered_by_a_redirect_is_not_passed_over() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = server.local_addr().unwrap();
    let served = std::thread::spawn(move || {
        let (mut stream, _) = server.accept().unwrap();
        let _ = stream.read(&mut [0; 4096]).unwrap();
        // A port on which nobody listens.
        stream
            .write_all(
                b"HTTP/1.1 303 See Other\r\nLocation: http://127.0.0.1:1/\r\
                \nContent-Length: 0\r\nConnection: close\r\n\r\n",
            )
            .unwrap();
    });
    let sandbox = Sandbox::with(&format!(
        "runbook: post
phases:
  p:
    steps:
      a: {{ http: {{ method: POST, url: 'http://{address}/' }}, undo: {{ run: 'echo undone >> \"$W\"' }} }}
"
    ));
    assert_eq!(sandbox.code("run book.yaml"), 1);
    served.join().unwrap();
    assert_eq!(sandbox.code("rollback"), 4);
    assert_eq!(sandbox.witness(), ["undone"]);
}

#[test]
fn a_statement_that_commits_by_itself_is_not_passed_over() {
    let sandbox = Sandbox::with(
        "runbook: commit
phases:
  p:
    steps:
      a: { sql: { database: c.db, statement: 'CREATE TABLE t (x); COMMIT; BEGIN; INSERT INTO nope VALUES (1)' }, undo: { run: 'echo undone >> \"$W\"' } }
",
    );
    assert_eq!(sandbox.code("run book.yaml"), 1);
    assert_eq!(sandbox.code("rollback"), 4);
    assert_eq!(sandbox.witness(), ["undone"]);
}

#[test]
fn a_phase_that_a_person_completes_is_told_all_the_same() {
    let sandbox = Sandbox::with(
        "runbook: told
messages: {}
phases:
  p:
    messages: { success: phase-finished }
    steps:
      a: { run: [/bin/false], undo: none }
  q:
    steps:
      b: { run: [/bin/true], undo: none }
",
    );
    assert_eq!(sandbox.code("run book.yaml"), 1);
    assert_eq!(sandbox.code("skip a --reason fine"), 0);
    assert_eq!(sandbox.code("resume"), 0);
    let told = std::fs::read_dir(sandbox.path("journal/outbox")).unwrap().filter_map(Result::ok);
    assert!(
        told.into_iter().any(|file| file.file_name().to_string_lossy().contains("phase_success-p"))
    );
}

#[test]
fn a_missing_guard_and_a_broken_database_are_refused() {
    let sandbox = Sandbox::with(
        "runbook: one\nphases:\n  p:\n    steps:\n      s: { run: [/bin/true], undo: none }\n",
    );
    assert_eq!(sandbox.code("run book.yaml"), 0);
    let database = sandbox.path("journal/switchover.db");
    rusqlite::Connection::open(&database)
        .unwrap()
        .execute_batch("DROP TRIGGER events_are_never_updated")
        .unwrap();
    let said = sandbox.run("audit --verify");
    assert!(said.contains("events_are_never_updated") && said.ends_with("exit 6"), "{said}");
    std::fs::write(
        &database,
        "this is no database, and long enough to be looked at as one".repeat(100),
    )
    .unwrap();
    let said = sandbox.run("status");
    assert!(said.ends_with("exit 6"), "{said}");
}

#[test]
fn a_condition_that_cannot_be_decided_lets_no_later_attempt_through() {
    let sandbox = Sandbox::with(
        r#"runbook: when
phases:
  p:
    steps:
      a: { run: 'echo no', capture: { y: stdout }, undo: none }
      danger: { when: 'int(steps.a.y) > 1', run: 'echo DANGER >> "$W"', undo: none }
"#,
    );
    assert_eq!(sandbox.code("run book.yaml"), 1);
    assert_eq!(sandbox.code("resume"), 1);
    assert!(sandbox.witness().is_empty());
}

#[test]
fn a_hold_that_cannot_be_taken_again_can_be_passed_over() {
    let sandbox = Sandbox::with(
        r#"runbook: hold
phases:
  p:
    steps:
      silence: { run: 'test ! -e broken', undo: none, idempotent: true, hold: { until: last, release: { run: 'touch broken' } } }
      fails: { run: 'if [ ! -e failed ]; then touch failed; exit 1; fi', undo: none }
      last: { run: 'echo last >> "$W"', undo: none }
"#,
    );
    assert_eq!(sandbox.code("run book.yaml"), 1);
    assert_eq!(sandbox.code("resume"), 1, "the hold is to be taken again, and cannot");
    assert_eq!(sandbox.code("skip silence --reason noise-is-fine"), 0);
    assert_eq!(sandbox.code("resume"), 0, "{}", sandbox.run("status"));
    assert_eq!(sandbox.witness(), ["last"]);
}

#[test]
fn a_daemon_holds_nobody_up() {
    let sandbox = Sandbox::with(
        r#"runbook: daemon
phases:
  p:
    steps:
      a: { run: 'setsid sleep 30 </dev/null >/dev/null 2>&1 & echo begun >> "$W"; sleep 1', undo: none, idempotent: true, timeout: 20s }
      b: { run: 'setsid sleep 30 </dev/null >/dev/null 2>&1 & sleep 10', undo: none, timeout: 300ms }
"#,
    );
    let begun = Instant::now();
    let child = sandbox.start("run book.yaml");
    sandbox.wait_for("begun");
    kill(child);
    assert_eq!(sandbox.code("resume"), 1, "the second step is over at its timeout");
    assert!(begun.elapsed().as_secs() < 20, "{:?}", begun.elapsed());
    // The keeper goes when it has seen that the executor is gone.
    wait_until("only the daemons are left", || {
        sandbox.processes().iter().all(|(_, line)| !line.contains("keep"))
    });
    let daemons = sandbox.processes();
    assert_eq!(daemons.len(), 2, "{daemons:?}");
    daemons.iter().for_each(|(daemon, _)| signal("KILL", *daemon));
}

#[test]
fn only_what_began_can_be_gone_back_to() {
    let sandbox = Sandbox::with(
        "runbook: to
phases:
  p:
    steps:
      a: { run: [/bin/false], undo: none }
      b: { run: [/bin/true], undo: none }
",
    );
    assert_eq!(sandbox.code("run book.yaml"), 1);
    insta::assert_snapshot!(sandbox.run("rollback --to b"), @"
    error: that step has not begun: nothing that came after it could be undone; nothing was changed
      next: `switchover status` shows where each step stands
    exit 6
    ");
    insta::assert_snapshot!(sandbox.run("rollback --reason ~"), @"
    error: invalid value ' ' for '--reason <REASON>': a reason is needed: it goes into the journal

    For more information, try '--help'.
    exit 2
    ");
}

#[test]
fn a_failed_step_keeps_its_outputs_for_its_undo_and_its_secrets_for_itself() {
    let sandbox = Sandbox::with(
        r#"runbook: outputs
secrets: { token: { file: token } }
phases:
  p:
    steps:
      a:
        run: 'echo id=7 > "$SWITCHOVER_OUTPUT"; echo "no entry with $T" >&2; exit 1'
        env: { T: { secret: token } }
        capture: { id: stdout }
        undo: { run: 'echo "undo $ID" >> "$W"', env: { ID: "{{ outputs.id }}" } }
"#,
    );
    sandbox.write("token", "correct-horse\n");
    let said = sandbox.run("run book.yaml");
    assert!(
        said.contains("no entry with (the secret token)") && !said.contains("correct-horse"),
        "{said}"
    );
    assert_eq!(sandbox.code("rollback"), 4);
    assert_eq!(sandbox.witness(), ["undo 7"]);
    for name in ["switchover.db", "switchover.db-wal"] {
        let bytes = std::fs::read(sandbox.path("journal").join(name)).unwrap_or_default();
        assert!(!bytes.windows(13).any(|window| window == b"correct-horse"), "{name}");
    }
}

#[test]
fn an_altered_log_or_message_is_named() {
    let sandbox = Sandbox::with(
        "runbook: one\nphases:\n  p:\n    steps:\n      s: { run: echo hello, undo: none }\n",
    );
    assert_eq!(sandbox.code("run book.yaml"), 0);
    assert_eq!(sandbox.code("audit --verify"), 0);
    let log = sandbox.json("logs s --format json")[0]["file"].as_str().unwrap().to_owned();
    std::fs::write(sandbox.path(&log), "good-bye\n").unwrap();
    let said = sandbox.run("audit --verify");
    assert!(said.contains(".out is not as it was written") && said.ends_with("exit 6"), "{said}");
}

#[test]
fn a_command_that_outlived_its_executor_does_not_outlive_its_timeout() {
    let sandbox = Sandbox::with(
        "runbook: late
phases:
  p:
    steps:
      a: { run: 'echo begin >> \"$W\"; sleep 30; echo end >> \"$W\"', timeout: 1s, undo: none }
",
    );
    let child = sandbox.start("run book.yaml");
    sandbox.wait_for("begin");
    kill(child);
    let begun = Instant::now();
    let shown = sandbox.run("resume");
    assert!(
        shown.contains("it took longer than 1s and was stopped") && shown.ends_with("exit 1"),
        "{shown}"
    );
    assert!(begun.elapsed().as_secs() < 15, "{:?}", begun.elapsed());
    assert_eq!(sandbox.witness(), ["begin"]);
}

#[test]
fn a_decision_right_after_a_run_waits_for_what_watched_its_commands() {
    let sandbox = Sandbox::with(
        "runbook: late
phases:
  p:
    steps:
      a: { run: 'echo a >> \"$W\"; exit 1', needs: [], undo: none }
      b: { wait: 1s, needs: [] }
",
    );
    let mut child = sandbox.start_heard("run book.yaml", &[]);
    sandbox.wait_for("a");
    wait_until("it says that a failed", || sandbox.read("said").contains("FAILED   p/a"));
    // It has nothing to do any more, but on a busy machine gets its turn to go only later.
    let keeper = children(child.id())[0];
    signal("STOP", keeper);
    assert_eq!(child.wait().unwrap().code(), Some(1));
    let mut skipping = sandbox.start("skip a --reason fine");
    std::thread::sleep(std::time::Duration::from_millis(200));
    signal("CONT", keeper);
    assert_eq!(skipping.wait().unwrap().code(), Some(0));
}
