//! The way back: reverse order, only what began, stuck where an undo fails, never past what has no
//! undo.

use super::sandbox::Sandbox;

fn step(name: &str, needs: &str) -> String {
    format!(
        "      {name}: {{ run: 'echo {name} >> \"$W\"', undo: {{ run: 'echo undo-{name} \
         >> \"$W\"' }}, needs: [{needs}] }}\n"
    )
}

#[test]
fn everything_that_began_is_undone_in_reverse() {
    let book = format!(
        "runbook: r
phases:
  p:
    steps:
{}{}{}{}      e: {{ run: [/bin/false], needs: [d], on_failure: rollback, undo: {{ run: 'echo undo-e >> \"$W\"' }} }}
      f: {{ run: [/bin/true], undo: none }}
",
        step("a", ""),
        step("b", "a"),
        step("c", "a"),
        step("d", "b, c")
    );
    let sandbox = Sandbox::with(&book);
    assert_eq!(sandbox.code("run book.yaml --parallel 1"), 4);
    assert_eq!(
        sandbox.witness(),
        ["a", "b", "c", "d", "undo-e", "undo-d", "undo-c", "undo-b", "undo-a"]
    );
    assert_eq!(sandbox.code("resume"), 4, "a run that went back is over");
    assert_eq!(sandbox.witness().len(), 9);
}

#[test]
fn back_to_a_step_and_back_from_a_finished_run() {
    let book = format!(
        "runbook: r\nphases:\n  p:\n    steps:\n{}{}{}",
        step("a", ""),
        step("b", "a"),
        step("c", "b")
    );
    let sandbox = Sandbox::with(&book);
    assert_eq!(sandbox.code("run book.yaml"), 0);
    assert_eq!(sandbox.code("rollback --to a --reason slow"), 4);
    assert_eq!(sandbox.witness(), ["a", "b", "c", "undo-c", "undo-b"]);
    assert_eq!(sandbox.code("rollback"), 4, "and back to the beginning");
    assert_eq!(sandbox.witness(), ["a", "b", "c", "undo-c", "undo-b", "undo-a"]);
    insta::assert_snapshot!(sandbox.run("rollback"), @"
    rolled back: run <run>, 1 steps undone
      review     switchover audit <run>
    exit 4
    ");
    assert_eq!(sandbox.json("list --format json")[0]["state"], "rolled back");
}

#[test]
fn a_failed_undo_is_stuck_until_mended_or_resolved() {
    let sandbox = Sandbox::with(
        "runbook: s
phases:
  p:
    steps:
      a: { run: 'echo a >> \"$W\"', undo: { run: 'echo undo-a >> \"$W\"' } }
      b: { run: 'echo b >> \"$W\"', undo: { run: 'test -e ok' } }
",
    );
    sandbox.code("run book.yaml");
    insta::assert_snapshot!(sandbox.run("rollback"), @"
    rolling back: asked for by the operator (oncall@test)
    begin    undo of p/b
    FAILED   undo of p/b: exit 1
    stuck: p/b could not be undone
      run        <run>, 2 of 2 steps done
      step       p/b (book.yaml:6)
      undo       attempt 1: exit 1
      next       mend it and try again, or undo it by hand and say so:
                 switchover rollback <run>
                 switchover resolve b --run <run> --as done --reason '…'
    exit 5
    ");
    assert_eq!(sandbox.witness(), ["a", "b"], "what it needs is not undone");
    assert_eq!(sandbox.code("rollback"), 5);
    sandbox.write("ok", "");
    assert_eq!(sandbox.code("rollback"), 4);
    assert_eq!(sandbox.witness(), ["a", "b", "undo-a"]);
}

#[test]
fn a_step_without_undo_stops_the_way_back_and_asks() {
    let sandbox = Sandbox::with(
        "runbook: s
phases:
  p:
    steps:
      a: { run: 'echo a >> \"$W\"', undo: { run: 'echo undo-a >> \"$W\"' } }
      b: { run: 'echo b >> \"$W\"' }
",
    );
    insta::assert_snapshot!(sandbox.run("run book.yaml"), @"
    no undo is given for p/b: a rollback <run> stop there and ask
    run <run> of s began, by oncall@test
    begin    p/a
    done     p/a after <time>: exit 0
    begin    p/b
    done     p/b after <time>: exit 0
    finished: run <run>, 2 steps in <time>
      review     switchover audit <run>
      go back    switchover rollback <run>
    exit 0
    ");
    assert_eq!(sandbox.code("rollback"), 5);
    assert_eq!(sandbox.code("resolve b --as done --reason undone-by-hand"), 0);
    assert_eq!(sandbox.code("rollback"), 4);
    assert_eq!(sandbox.witness(), ["a", "b", "undo-a"]);
}

#[test]
fn a_point_of_no_return_holds_unless_forced() {
    let book = format!(
        "runbook: p
phases:
  p:
    steps:
{}      b: {{ run: 'echo b >> \"$W\"', undo: none, point_of_no_return: true, needs: [a] }}
{}",
        step("a", ""),
        step("c", "b")
    );
    let sandbox = Sandbox::with(&book);
    sandbox.code("run book.yaml --yes");
    assert_eq!(sandbox.code("rollback"), 4);
    assert_eq!(sandbox.witness(), ["a", "b", "c", "undo-c"]);
}

#[test]
fn cancelling_releases_and_undoes_nothing() {
    let sandbox = Sandbox::with(
        "runbook: c
phases:
  p:
    steps:
      lock: { run: 'echo lock >> \"$W\"', undo: none, hold: { until: end, release: { run: 'echo free >> \"$W\"' } } }
      gate: { approve: Go? }
      end: { wait: 1ms }
",
    );
    assert_eq!(sandbox.code("run book.yaml"), 3);
    assert_eq!(sandbox.code("cancel --reason later"), 0);
    assert_eq!(sandbox.witness(), ["lock", "free"]);
    assert_eq!(sandbox.code("rollback"), 6);
}
