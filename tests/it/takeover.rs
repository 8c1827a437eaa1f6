//! What a killed executor leaves: commands that go on, are watched by the next session, and keep
//! their run's locks.

use super::sandbox::{Sandbox, kill, kill_both, signal, wait_until};

/// `long` runs until the file `hold` is gone; `other` needs nothing of it.
fn beside(keys: &str) -> Sandbox {
    let sandbox = Sandbox::with(&format!(
        r#"runbook: beside
locks: [shop-production]
phases:
  p:
    steps:
      long:
        run: |
          echo begin-long >> "$W"; echo 5 > "$SWITCHOVER_CHECKPOINT"; echo half > "$SWITCHOVER_PROGRESS"
          while [ -e hold ]; do sleep 0.01; done
          echo end-long >> "$W"
        undo: {{ run: 'echo undo-long >> "$W"' }}
        {keys}
      first: {{ run: 'while [ -e hold ] && ! grep -qx begin-long "$W"; do sleep 0.01; done; echo begin-first >> "$W"; while [ -e first-holds ]; do sleep 0.01; done', undo: none, needs: [], idempotent: true }}
      second: {{ run: 'echo second >> "$W"', undo: none }}
      last: {{ run: 'echo last >> "$W"', undo: none, needs: [long, second] }}
"#
    ));
    sandbox.write("hold", "");
    sandbox.write("first-holds", "");
    sandbox
}

fn let_go(sandbox: &Sandbox, file: &str) {
    std::fs::remove_file(sandbox.path(file)).unwrap();
}

/// Begins a run and kills its executor while both first steps run, of which one then ends.
fn killed(sandbox: &Sandbox, how: fn(std::process::Child) -> bool) {
    let child = sandbox.start("run book.yaml --parallel 2");
    sandbox.wait_for("begin-long");
    sandbox.wait_for("begin-first");
    how(child);
    let_go(sandbox, "first-holds");
}

#[test]
fn what_still_runs_is_watched_while_the_rest_goes_on() {
    let sandbox = beside("");
    killed(&sandbox, kill);
    let mut resumed = sandbox.start_heard("resume --parallel 2", &[]);
    sandbox.wait_for("second");
    assert!(resumed.try_wait().unwrap().is_none());
    // Killed once more, and again it is found.
    resumed.kill().unwrap();
    resumed.wait().unwrap();
    let mut resumed = sandbox.start_heard("resume", &[]);
    wait_until("it says what still runs", || {
        sandbox.read("said").contains("while this still runs: p/long")
    });
    let_go(&sandbox, "hold");
    assert_eq!(resumed.wait().unwrap().code(), Some(0), "{}", sandbox.read("said"));
    assert_eq!(sandbox.witness(), ["begin-long", "begin-first", "second", "end-long", "last"]);
    assert_eq!(sandbox.code("audit --verify"), 0);
}

#[test]
fn what_nobody_watches_any_more_is_in_doubt_when_it_is_over() {
    let sandbox = beside("");
    killed(&sandbox, kill_both);
    let mut resumed = sandbox.start_heard("resume", &[]);
    sandbox.wait_for("second");
    let_go(&sandbox, "hold");
    assert_eq!(resumed.wait().unwrap().code(), Some(3), "{}", sandbox.read("said"));
    assert!(
        sandbox.read("said").contains("nobody knows how p/long ended"),
        "{}",
        sandbox.read("said")
    );
    assert_eq!(sandbox.code("resolve long --as done --reason seen"), 0);
    assert_eq!(sandbox.code("resume"), 0);
    assert_eq!(sandbox.witness().last().unwrap(), "last");
}

#[test]
fn what_was_found_running_is_not_said_never_to_have_begun() {
    let sandbox = beside("");
    killed(&sandbox, kill_both);
    let resumed = sandbox.start_heard("resume", &[]);
    sandbox.wait_for("second");
    kill_both(resumed);
    let_go(&sandbox, "hold");
    sandbox.wait_for("end-long");
    let runs =
        std::fs::read_dir(sandbox.path("journal/runs")).unwrap().next().unwrap().unwrap().path();
    std::fs::remove_file(runs.join("commands-1")).unwrap();
    assert_eq!(sandbox.code("resume"), 3);
    assert_eq!(sandbox.witness().iter().filter(|line| *line == "begin-long").count(), 1);
}

#[test]
fn it_has_its_timeout_and_is_stopped_like_any_other() {
    let sandbox = beside("timeout: 1s");
    killed(&sandbox, kill);
    let shown = sandbox.run("resume");
    assert!(
        shown.contains("it took longer than 1s and was stopped") && shown.ends_with("exit 1"),
        "{shown}"
    );

    let sandbox = beside("");
    killed(&sandbox, kill);
    let mut resumed = sandbox.start_heard("resume", &[]);
    sandbox.wait_for("second");
    signal("TERM", resumed.id());
    std::thread::sleep(std::time::Duration::from_millis(200));
    assert!(resumed.try_wait().unwrap().is_none(), "the first lets it finish");
    signal("TERM", resumed.id());
    assert_eq!(resumed.wait().unwrap().code(), Some(143), "{}", sandbox.read("said"));
    super::processes::nothing_left(&sandbox);
}

#[test]
fn a_rollback_lets_it_finish_and_takes_it_back() {
    let sandbox = beside("");
    killed(&sandbox, kill);
    let mut back = sandbox.start_heard("rollback", &[]);
    std::thread::sleep(std::time::Duration::from_millis(300));
    assert!(back.try_wait().unwrap().is_none(), "nothing is undone under its feet");
    let_go(&sandbox, "hold");
    assert_eq!(back.wait().unwrap().code(), Some(4), "{}", sandbox.read("said"));
    assert_eq!(sandbox.witness(), ["begin-long", "begin-first", "end-long", "undo-long"]);
}

#[test]
fn its_locks_are_not_free_before_it_is_over() {
    for how in [kill, kill_both] {
        let sandbox = beside("");
        sandbox.write(
            "other.yaml",
            "runbook: other
locks: [shop-production]
phases: { p: { steps: { a: { run: 'true', undo: none } } } }
",
        );
        killed(&sandbox, how);
        let shown = sandbox.run("run other.yaml --journal other");
        assert!(
            shown.contains("which was killed, but commands of it still run")
                && shown.ends_with("exit 6"),
            "{shown}"
        );
        let_go(&sandbox, "hold");
        sandbox.wait_for("end-long");
        let begun = std::time::Instant::now();
        while sandbox.code("run other.yaml --journal other") != 0 {
            assert!(
                begun.elapsed().as_secs() < 20,
                "{}",
                sandbox.run("run other.yaml --journal other")
            );
        }
    }
}

#[test]
fn what_was_refused_does_not_free_its_locks() {
    let sandbox = beside("");
    sandbox.write(
        "other.yaml",
        "runbook: other
locks: [shop-production]
phases: { p: { steps: { a: { run: 'true', undo: none } } } }
",
    );
    killed(&sandbox, kill);
    let run = sandbox.json("list --format json")[0]["run"].as_str().unwrap().to_owned();
    for refused in [
        "skip long --reason x",
        "resolve long --as done --reason x",
        "amend RUN book.yaml --reason x",
        "rollback --to nowhere",
    ] {
        let shown = sandbox.run(&refused.replace("RUN", &run));
        assert!(shown.ends_with("exit 6") || shown.ends_with("exit 2"), "{refused}: {shown}");
        assert_eq!(sandbox.code("run other.yaml --journal other"), 6, "after {refused}");
    }
    // The same journal by another way.
    std::fs::create_dir(sandbox.path("below")).unwrap();
    let mut resumed = sandbox.start_heard("resume --journal below/../journal", &[]);
    sandbox.wait_for("second");
    let_go(&sandbox, "hold");
    assert_eq!(resumed.wait().unwrap().code(), Some(0), "{}", sandbox.read("said"));
    assert_eq!(sandbox.code("run other.yaml --journal other"), 0);
}

#[test]
fn something_else_can_be_decided_while_it_runs() {
    let sandbox = beside("");
    let child = sandbox.start("run book.yaml --parallel 2");
    sandbox.wait_for("begin-long");
    sandbox.wait_for("begin-first");
    kill(child);
    let shown = sandbox.run("skip second --reason x");
    assert!(shown.ends_with("exit 0"), "{shown}");
    let mut resumed = sandbox.start_heard("resume", &[]);
    std::thread::sleep(std::time::Duration::from_millis(300));
    let_go(&sandbox, "first-holds");
    let_go(&sandbox, "hold");
    assert_eq!(resumed.wait().unwrap().code(), Some(0), "{}", sandbox.read("said"));
    assert_eq!(sandbox.witness(), ["begin-long", "begin-first", "end-long", "last"]);
}

/// A step whose first process leaves a child that ignores TERM, and ends with it.
fn stubborn(after: &str) -> Sandbox {
    Sandbox::with(&format!(
        r#"runbook: stubborn
phases:
  p:
    steps:
      long:
        run: {{ shell: [/bin/bash, -c], script: '(trap "" TERM; while sleep 0.05; do echo works >> "$W"; done) & echo begin >> "$W"; {after}' }}
        undo: {{ run: 'echo undo >> "$W"' }}
        timeout: 2s
        on_failure: rollback
"#
    ))
}

#[test]
fn what_is_ended_is_over_with_its_last_process() {
    for (after, how, code) in [
        ("wait", kill as fn(_) -> bool, 4),
        ("wait", kill_both, 4),
        ("sleep 0.5; exit 0", kill_both, 4),
    ] {
        let sandbox = stubborn(after);
        let child = sandbox.start("run book.yaml");
        sandbox.wait_for("works");
        how(child);
        let shown = sandbox.run("resume");
        assert!(shown.ends_with(&format!("exit {code}")), "{after}: {shown}");
        assert_eq!(
            sandbox.witness().last().unwrap(),
            "undo",
            "{after}: nothing works on when it is undone"
        );
        super::processes::nothing_left(&sandbox);
    }
}

#[test]
fn a_stop_that_was_asked_for_goes_on() {
    let sandbox = stubborn("wait");
    let child = sandbox.start("run book.yaml");
    sandbox.wait_for("works");
    for _ in 0..2 {
        signal("TERM", child.id());
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    kill(child);
    let shown = sandbox.run("resume");
    assert!(
        shown.contains("the command of p/long is being stopped, left by an executor that died"),
        "{shown}"
    );
    super::processes::nothing_left(&sandbox);
}

#[test]
fn a_keeper_that_says_nothing_more_is_not_waited_for_for_ever() {
    let sandbox = beside("");
    let child = sandbox.start("run book.yaml --parallel 2");
    sandbox.wait_for("begin-long");
    let keeper = super::sandbox::children(child.id())[0];
    kill(child);
    // It has said that it takes no more orders, and then stands still.
    let runs =
        std::fs::read_dir(sandbox.path("journal/runs")).unwrap().next().unwrap().unwrap().path();
    let record = || std::fs::read_to_string(runs.join("commands-1")).unwrap();
    wait_until("the keeper takes no more orders", || record().contains("\"closed\""));
    signal("STOP", keeper);
    let_go(&sandbox, "first-holds");
    let_go(&sandbox, "hold");
    let shown = sandbox.run("resume");
    signal("CONT", keeper);
    assert!(shown.ends_with("exit 3"), "{shown}");
    super::processes::nothing_left(&sandbox);
}

#[test]
fn a_session_that_died_before_its_first_commit_shares_no_record_with_the_next() {
    let sandbox = beside("");
    for name in ["hold", "first-holds"] {
        let_go(&sandbox, name);
    }
    assert_eq!(sandbox.code("run book.yaml --until second"), 0);
    let runs =
        std::fs::read_dir(sandbox.path("journal/runs")).unwrap().next().unwrap().unwrap().path();
    for number in 1..40 {
        std::fs::write(runs.join(format!("commands-{number}")), "").unwrap();
    }
    assert_eq!(sandbox.code("resume"), 0, "{}", sandbox.run("status"));
}

#[test]
fn a_secret_that_has_changed_since_is_not_told() {
    for how in [kill as fn(_) -> bool, kill_both] {
        let sandbox = Sandbox::with(
            r#"runbook: rotated
secrets: { token: { env: TOKEN } }
phases:
  p:
    steps:
      a:
        run: |
          echo "cursor-$T" > "$SWITCHOVER_CHECKPOINT"; echo "said=$T" > "$SWITCHOVER_OUTPUT"; echo begin >> "$W"
          while [ -e hold ]; do sleep 0.01; done
        env: { T: { secret: token } }
        undo: none
"#,
        );
        sandbox.write("hold", "");
        let child = sandbox.start_heard("run book.yaml", &[("TOKEN", "first-secret".to_owned())]);
        sandbox.wait_for("begin");
        how(child);
        let mut resumed = sandbox.start_heard("resume", &[("TOKEN", "second-secret".to_owned())]);
        std::thread::sleep(std::time::Duration::from_millis(1500));
        let_go(&sandbox, "hold");
        resumed.wait().unwrap();
        super::processes::nothing_left(&sandbox);
        let found = std::process::Command::new("grep")
            .args(["-rl", "first-secret"])
            .arg(sandbox.path("journal"))
            .output()
            .unwrap();
        assert_eq!(String::from_utf8_lossy(&found.stdout), "");
    }
}
