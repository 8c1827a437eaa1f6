//! What a person decides about a run: a point of no return, a step done in part, another
//! definition, a lock of the machine.

use super::sandbox::{Sandbox, kill_both};

const POINT: &str = r#"runbook: point
messages: { point_of_no_return: point-of-no-return }
phases:
  p:
    steps:
      a: { run: 'echo a >> "$W"', undo: { run: 'echo undo-a >> "$W"' } }
      b: { run: 'echo b >> "$W"', undo: { run: 'echo undo-b >> "$W"' }, point_of_no_return: true, title: Drop the old tables }
      c: { run: 'echo c >> "$W"', undo: { run: 'echo undo-c >> "$W"' } }
"#;

#[test]
fn a_point_of_no_return_is_passed_with_somebodys_word_only() {
    let sandbox = Sandbox::with(POINT);
    insta::assert_snapshot!(sandbox.run("run book.yaml"), @"
    run <run> of point began, by oncall@test
    begin    p/a
    done     p/a after <time>: exit 0
    waiting for a person: p/b
      run        <run>, 1 of 3 steps done
      step       p/b (book.yaml:7)
      asked      may this point of no return be passed? After it, a rollback <run> no further back
      next       switchover resolve b --run <run> --as go --reason '…'
      then       switchover resume <run>
    exit 3
    ");
    assert_eq!(sandbox.witness(), ["a"]);
    assert_eq!(sandbox.code("resume"), 3, "to resume is not to say go");
    insta::assert_snapshot!(sandbox.run("resolve b --as no-go --reason not-yet"), @"
    error: p/b is a point of no return that waits for a go; without one it is not passed
      next: `switchover rollback` or `switchover cancel` goes another way
    exit 6
    ");
    assert_eq!(sandbox.code("resolve b --as go --reason the-board-agreed"), 0);
    assert_eq!(sandbox.code("resolve b --as go --reason twice"), 6);
    assert_eq!(sandbox.code("resume"), 0);
    assert_eq!(sandbox.witness(), ["a", "b", "c"]);
    assert!(
        sandbox
            .run("audit")
            .contains("point of no return p/b may be passed: the-board-agreed (oncall@test)")
    );
    assert!(sandbox.run("audit").contains("point: past the point of no return"), "people are told");
    insta::assert_snapshot!(sandbox.run("rollback --force"), @"
    error: the following required arguments were not provided:
      --reason <REASON>

    Usage: switchover rollback --force --reason <REASON> [RUN]

    For more information, try '--help'.
    exit 2
    ");
    assert_eq!(sandbox.code("rollback"), 4);
    assert_eq!(sandbox.witness()[3..], ["undo-c"]);
    assert_eq!(sandbox.code("rollback --force --reason the-backup-is-good"), 4);
    assert_eq!(sandbox.witness()[4..], ["undo-b", "undo-a"]);
}

#[test]
fn who_says_yes_beforehand_is_not_asked() {
    let sandbox = Sandbox::with(POINT);
    assert_eq!(sandbox.code("run book.yaml --yes"), 0);
    assert!(sandbox.run("audit").contains("may be passed: --yes was given (oncall@test)"));
    let sandbox = Sandbox::with(POINT);
    let seen = sandbox.in_terminal("run book.yaml", "g\n");
    assert!(seen.contains("no further back: [g]o") && seen.ends_with("exit 0"), "{seen}");
}

#[test]
fn what_was_done_in_part_is_undone_and_begun_anew() {
    let sandbox = Sandbox::with(
        r#"runbook: part
phases:
  p:
    steps:
      a:
        run: 'echo "begin $SWITCHOVER_IDEMPOTENCY_KEY" >> "$W"; if [ ! -e quick ]; then sleep 1.5; fi'
        undo: { run: 'echo "undo $SWITCHOVER_IDEMPOTENCY_KEY" >> "$W"; test -e undo-works' }
      b: { run: 'echo b >> "$W"', undo: none }
"#,
    );
    let child = sandbox.start("run book.yaml");
    let begun = std::time::Instant::now();
    while sandbox.witness().is_empty() {
        assert!(begun.elapsed().as_secs() < 30);
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    kill_both(child);
    assert_eq!(sandbox.code("resume"), 3);
    sandbox.write("quick", "");
    assert_eq!(sandbox.code("resolve a --as partial --reason half-of-it-is-there"), 0);
    assert_eq!(sandbox.code("resume"), 5, "its undo fails: it is stuck");
    sandbox.write("undo-works", "");
    assert_eq!(sandbox.code("resume"), 0, "{}", sandbox.run("status"));
    let seen: Vec<String> = sandbox
        .witness()
        .iter()
        .map(|line| line.split(':').skip(1).collect::<Vec<_>>().join(":"))
        .collect();
    assert_eq!(
        seen,
        ["p/a:forward", "p/a:undo", "p/a:undo", "p/a:forward:2", ""],
        "what is begun anew has another key"
    );
    assert_eq!(sandbox.code("rollback"), 4);
    assert!(sandbox.witness().last().unwrap().ends_with("p/a:undo:2"), "{:?}", sandbox.witness());
    assert_eq!(sandbox.code("audit --verify"), 0);
}

#[test]
fn of_a_step_without_undo_no_part_can_be_taken_back() {
    let sandbox = Sandbox::with(
        "runbook: part
phases:
  p:
    steps:
      a: { run: 'echo begin >> \"$W\"; sleep 1', undo: none }
",
    );
    let child = sandbox.start("run book.yaml");
    sandbox.wait_for("begin");
    kill_both(child);
    assert_eq!(sandbox.code("resume"), 3);
    let shown = sandbox.run("resolve a --as partial --reason x");
    assert!(shown.contains("it has no undo") && shown.ends_with("exit 6"), "{shown}");
}

#[test]
fn a_run_goes_on_with_an_amended_runbook_if_what_has_started_means_the_same() {
    let book = |host: &str, a: &str| {
        format!(
            "runbook: amend
parameters: {{ host: {{ default: {host} }} }}
phases:
  p:
    steps:
      a: {{ run: 'echo {a} >> \"$W\"', undo: none }}
      b: {{ run: 'exit 1', undo: none }}
"
        )
    };
    let sandbox = Sandbox::with(&book("one", "a"));
    assert_eq!(sandbox.code("run book.yaml --name now"), 1);
    sandbox.write("book.yaml", book("one", "changed"));
    insta::assert_snapshot!(sandbox.run("amend now book.yaml --reason x"), @"
    error: p/a has started, and would mean something else; nothing was changed
      next: leave what has started in the file as it is; if it failed for good, `switchover skip` it, and add what replaces it under another name
    exit 6
    ");
    insta::assert_snapshot!(sandbox.run("resume"), @"
    the file has changed: p/a differs in action; the run <run> on with its own definition (`switchover amend` takes the new one)
    resumed by oncall@test
    begin    p/b, attempt 2
    FAILED   p/b: exit 1
    stopped: p/b failed
      run        <run>, 1 of 2 steps done
      step       p/b (book.yaml:7)
      forward    attempt 2: exit 1
      next       mend it, then  switchover resume <run>
      or         switchover skip b --run <run> --reason '…'
      or         switchover rollback <run>
      output     switchover logs b --run <run>
    exit 1
    ");
    assert_eq!(sandbox.code("skip b --reason it-never-worked"), 0);
    sandbox.write(
        "book.yaml",
        book("one", "a")
            + "      c: { run: 'echo c >> \"$W\"', undo: { run: 'echo undo-c >> \"$W\"' } }
  q:
    steps:
      d: { run: 'echo d >> \"$W\"', undo: none }
",
    );
    insta::assert_snapshot!(sandbox.run("amend now book.yaml --reason b-is-replaced-by-c"), @"
      p/c is new
      q/d is new
    the run <run> is amended; next: switchover resume <run>
    exit 0
    ");
    assert_eq!(sandbox.code("amend now book.yaml --reason again"), 6, "nothing new");
    assert_eq!(sandbox.code("resume"), 0, "{}", sandbox.run("status"));
    assert_eq!(sandbox.witness(), ["a", "c", "d"]);
    assert!(
        sandbox
            .run("audit")
            .contains("amended by oncall@test: b-is-replaced-by-c (p/c is new; q/d is new)")
    );
    assert_eq!(sandbox.code("audit --verify"), 0);
    assert_eq!(sandbox.code("rollback"), 4);
    assert_eq!(sandbox.witness()[3..], ["undo-c"]);
}

#[test]
fn a_lock_holds_on_the_whole_machine_and_says_who_has_it() {
    let text = "runbook: locked
locks: [shop]
phases:
  p:
    steps:
      a: { run: 'echo begin >> \"$W\"; while [ ! -e go ]; do sleep 0.05; done', undo: none }
";
    let (one, other) = (Sandbox::with(text), Sandbox::with(text));
    let locks = [("SWITCHOVER_LOCKS", one.path("locks").display().to_string())];
    let mut child = one.start("run book.yaml");
    one.wait_for("begin");
    let shown = other.run_with("run book.yaml", &locks);
    assert!(
        shown.contains("is held by oncall@test") && shown.ends_with("exit 6"),
        "another journal, the same machine: {shown}"
    );
    assert!(other.witness().is_empty());
    let shown = one.run("run book.yaml");
    assert!(shown.contains("the lock shop is held by oncall@test with the run"), "{shown}");
    one.write("go", "");
    assert_eq!(child.wait().unwrap().code(), Some(0));
    other.write("go", "");
    assert_eq!(other.code_with("run book.yaml", &locks), 0, "it is gone with its process");
}

#[test]
fn an_amendment_may_change_what_no_started_step_uses() {
    let book = |one: &str, other: &str, more: &str| {
        format!(
            "runbook: amend
parameters: {{ one: {{ default: {one} }}, other: {{ default: {other} }} }}
phases:
  p:
    steps:
      a: {{ run: [echo, \"{{{{ one }}}}\"], undo: none }}
{more}      b: {{ run: 'echo \"$O\" >> \"$W\"; test -e go', env: {{ O: \"{{{{ other }}}}\" }}, idempotent: true, undo: none }}
"
        )
    };
    let sandbox = Sandbox::with(&book("uno", "x", ""));
    assert_eq!(sandbox.code("run book.yaml --until a"), 0);
    let run = sandbox.json("status --format json")["run"].as_str().unwrap().to_owned();
    assert_eq!(
        sandbox.code(&format!("amend {run} book.yaml --set one=due --reason x")),
        6,
        "a has started, and uses it"
    );
    assert_eq!(sandbox.code(&format!("amend {run} book.yaml --set other=y --reason x")), 0);
    sandbox.write(
        "book.yaml",
        book("uno", "x", "      new: { needs: [], run: [/bin/true], undo: none }\n"),
    );
    assert_eq!(
        sandbox.code(&format!("amend {run} book.yaml --reason x")),
        0,
        "other keeps the value that the run has"
    );
    sandbox.write("go", "");
    assert_eq!(sandbox.code("resume"), 0, "{}", sandbox.run("status"));
    assert_eq!(sandbox.witness(), ["y"]);
    assert!(sandbox.run("logs a").contains("uno"), "its log is still found");
    assert_eq!(sandbox.code("audit --verify"), 0);
}

#[test]
fn what_is_begun_anew_goes_on_from_nowhere() {
    let sandbox = Sandbox::with(
        r#"runbook: anew
phases:
  p:
    steps:
      a:
        run: 'echo "from=[$SWITCHOVER_RESUME_FROM]" >> "$W"; echo 500 > "$SWITCHOVER_CHECKPOINT"; echo row=500 > "$SWITCHOVER_OUTPUT"; if [ ! -e quick ]; then sleep 1.5; fi'
        undo: { run: 'echo undo >> "$W"' }
"#,
    );
    let child = sandbox.start("run book.yaml");
    sandbox.wait_for("from=[]");
    kill_both(child);
    assert_eq!(sandbox.code("resume"), 3);
    sandbox.write("quick", "");
    assert_eq!(sandbox.code("resolve a --as go --reason x"), 6, "it is no gate");
    assert_eq!(sandbox.code("resolve a --as partial --reason half"), 0);
    assert_eq!(sandbox.code("resume"), 0);
    assert_eq!(sandbox.witness(), ["from=[]", "undo", "from=[]"]);
}

#[test]
fn what_a_step_that_stays_holds_is_released_at_the_end_of_a_rollback() {
    let sandbox = Sandbox::with(
        r#"runbook: held
phases:
  p:
    steps:
      silence: { run: 'echo silent >> "$W"', undo: none, hold: { until: last, release: { run: 'echo loud >> "$W"; test -e works' } } }
      drop: { run: 'echo drop >> "$W"', undo: none, point_of_no_return: true }
      last: { run: [/bin/false], undo: none }
"#,
    );
    assert_eq!(sandbox.code("run book.yaml --yes --until drop"), 0);
    assert_eq!(sandbox.code("rollback"), 5, "its release fails");
    let shown = sandbox.run("resolve silence --as done --reason by-hand");
    assert!(shown.ends_with("exit 0"), "{shown}");
    let shown = sandbox.run("rollback");
    assert!(shown.contains("stays      2 steps") && shown.ends_with("exit 4"), "{shown}");
    assert_eq!(sandbox.witness(), ["silent", "drop", "loud"]);
}

#[test]
fn of_a_point_of_no_return_that_is_not_for_this_run_nobody_is_asked() {
    let sandbox = Sandbox::with(
        "runbook: when
parameters: { drop: { type: boolean, default: false } }
phases:
  p:
    steps:
      a: { when: drop, run: 'echo a >> \"$W\"', undo: none, point_of_no_return: true }
      b: { run: 'echo b >> \"$W\"', undo: none }
",
    );
    assert_eq!(sandbox.code("run book.yaml"), 0);
    assert_eq!(sandbox.witness(), ["b"]);
    assert_eq!(sandbox.code("run book.yaml --set drop=true"), 3);
}

#[test]
fn what_never_began_neither_bars_the_way_back_nor_is_undone() {
    let sandbox = Sandbox::with(
        r#"runbook: never
phases:
  p:
    steps:
      a: { run: 'echo a >> "$W"', undo: { run: 'echo undo-a >> "$W"' } }
      b: { run: [/no/such/program], undo: { run: 'echo undo-b >> "$W"' }, point_of_no_return: true }
"#,
    );
    assert_eq!(sandbox.code("run book.yaml --yes"), 1);
    assert_eq!(sandbox.code("resume"), 1);
    assert_eq!(sandbox.code("rollback"), 4);
    assert_eq!(sandbox.witness(), ["a", "undo-a"]);
}

#[test]
fn an_undo_of_a_part_that_is_in_doubt_is_not_forgotten_by_a_rollback() {
    for verb in ["rollback", "rollback --to one", "cancel --reason x"] {
        let sandbox = Sandbox::with(
            r#"runbook: doubt
phases:
  p:
    steps:
      one: { run: [/bin/true], undo: none }
      a: { run: 'echo begin >> "$W"; sleep 1.5', undo: { run: 'echo undo >> "$W"; if [ ! -e quick ]; then sleep 1.5; fi' } }
      z: { needs: [], run: 'echo z >> "$W"', undo: { run: 'echo undo-z >> "$W"' } }
"#,
        );
        let child = sandbox.start("run book.yaml --parallel 2");
        sandbox.wait_for("begin");
        kill_both(child);
        assert_eq!(sandbox.code("resume"), 3);
        assert_eq!(sandbox.code("resolve a --as partial --reason half"), 0);
        let child = sandbox.start("resume");
        sandbox.wait_for("undo");
        kill_both(child);
        assert_eq!(sandbox.code("resume"), 3, "the undo is in doubt");
        sandbox.write("quick", "");
        match verb {
            "cancel --reason x" => {
                assert_eq!(sandbox.code(verb), 0, "what is cancelled stays as it is")
            }
            verb => {
                assert_eq!(sandbox.code(verb), 3, "{verb}: still in doubt");
                assert_eq!(sandbox.code("resolve a --as not-done --reason looked"), 0);
                assert_eq!(sandbox.code("rollback"), 4, "{verb}: {}", sandbox.run("status"));
                let undone = sandbox.witness().iter().filter(|line| *line == "undo").count();
                assert_eq!(undone, 2, "{verb}");
                assert_eq!(
                    sandbox.witness().contains(&"undo-z".to_owned()),
                    verb == "rollback",
                    "{verb}"
                );
            }
        }
        assert_eq!(sandbox.code("audit --verify"), 0);
    }
}

#[test]
fn a_retry_waits_for_what_the_failed_attempt_left_running() {
    let sandbox = Sandbox::with(
        "runbook: left
phases:
  p:
    steps:
      a: { run: '(echo begin >> \"$W\"; sleep 2; echo end >> \"$W\") & wait_for() { while [ ! -s \"$W\" ]; do sleep 0.01; done; }; wait_for; exit 1', idempotent: true, retry: { attempts: 2, backoff: 10ms }, undo: none }
",
    );
    let shown = sandbox.run("run book.yaml");
    assert!(
        shown.contains("waiting: what the last attempt of p/a left still runs (process "),
        "{shown}"
    );
    assert_eq!(sandbox.witness()[..3], ["begin", "end", "begin"], "attempts never overlap");
}

#[test]
fn a_place_for_locks_that_cannot_be_used_is_named() {
    let sandbox = Sandbox::with(
        "runbook: locked
locks: [shop]
phases: { p: { steps: { a: { run: [/bin/true], undo: none } } } }
",
    );
    sandbox.write("file", "");
    let shown = sandbox.code_with(
        "run book.yaml",
        &[("SWITCHOVER_LOCKS", sandbox.path("file/below").display().to_string())],
    );
    assert_eq!(shown, 6);
    assert_eq!(sandbox.code("run book.yaml"), 0);
}

#[test]
fn a_changed_message_or_lock_is_a_change_too() {
    let sandbox = Sandbox::with(
        "runbook: told
locks: [one]
messages: { start: begins }
phases: { p: { steps: { a: { run: exit 1, undo: none } } } }
",
    );
    sandbox.write("templates/begins.txt", "Subject: It begins\n\nNow.\n");
    let shown = sandbox.run("run book.yaml");
    assert!(shown.ends_with("exit 1"), "{shown}");
    sandbox.write("templates/begins.txt", "Subject: It begins\n\nSoon.\n");
    sandbox.write("book.yaml", sandbox.read("book.yaml").replace("[one]", "[two]"));
    let shown = sandbox.run("resume");
    assert!(
        shown.contains("the file has changed: the locks differ")
            && shown.contains("the messages differ"),
        "{shown}"
    );
    let run = sandbox.json("list --format json")[0]["run"].as_str().unwrap().to_owned();
    let shown = sandbox.run(&format!("amend {run} book.yaml --reason x"));
    assert!(shown.contains("the messages differ") && shown.ends_with("exit 0"), "{shown}");
    assert!(!sandbox.run("resume").contains("has changed"));
}
