//! Tasks and approvals without a terminal: the run waits, a person answers by `resolve`, the run
//! goes on.

use super::sandbox::Sandbox;

const BOOK: &str = r#"runbook: people
phases:
  p:
    steps:
      call: { task: { instructions: Call the partner, fields: { ticket: { pattern: "OPS-[0-9]+" } } }, role: coordinator, undo: none }
      go: { approve: "Go live with {{ steps.call.ticket }}?" }
      live: { run: 'echo "$T" >> "$W"', env: { T: "{{ steps.call.ticket }}" }, undo: none }
"#;

#[test]
fn a_task_and_an_approval_wait_for_an_answer() {
    let sandbox = Sandbox::with(BOOK);
    insta::assert_snapshot!(sandbox.run("run book.yaml"), @"
    run <run> of people began, by oncall@test
    begin    p/call
    waiting for a person: p/call
      run        <run>, 0 of 3 steps done
      step       p/call (book.yaml:5)
      asked      Call the partner
      next       switchover resolve call --run <run> --as done --reason '…'   (or not-done)
      then       switchover resume <run>
    exit 3
    ");
    insta::assert_snapshot!(sandbox.run("resolve call --as done --reason called --set \
        ticket=12"), @"
    error: --set ticket: `12` does not match the pattern OPS-[0-9]+
    exit 2
    ");
    insta::assert_snapshot!(sandbox.run("resolve call --as done --reason called"), @"
    error: the task asks for ticket
      next: give each with --set field=value
    exit 2
    ");
    assert_eq!(sandbox.code("resolve call --as done --reason called --set ticket=OPS-12"), 0);
    assert_eq!(sandbox.code("resume"), 3);
    assert_eq!(sandbox.code("resolve go --as go --reason ready"), 0);
    assert_eq!(sandbox.code("resume"), 0);
    assert_eq!(sandbox.witness(), ["OPS-12"]);
}

#[test]
fn the_message_to_who_is_waited_for_asks_once() {
    let sandbox =
        Sandbox::with(&BOOK.replace("phases:", "messages: { waiting: waiting }\nphases:"));
    sandbox.code("run book.yaml");
    let printed = sandbox.run("audit --format json");
    let all: serde_json::Value =
        serde_json::from_str(printed.rsplit_once('\n').map_or("", |(json, _)| json))
            .unwrap_or_default();
    let sent = all["log"].as_array().and_then(|log| {
        log.iter().find(|entry| entry["event"]["event"] == "message_sent").cloned()
    });
    let file = sent.as_ref().and_then(|sent| sent["event"]["file"].as_str()).expect("a message");
    let text = sandbox.read(&format!("journal/{file}"));
    assert_eq!(text.matches("Call the partner").count(), 1, "{text}");
    assert!(
        text.contains(
            "p/call (coordinator): Call the partner\n\nNothing goes on without an answer"
        ),
        "{text}"
    );
}

#[test]
fn a_no_go_stops_the_run() {
    let sandbox = Sandbox::with(BOOK);
    sandbox.code("run book.yaml");
    sandbox.code("resolve call --as done --reason called --set ticket=OPS-1");
    sandbox.code("resume");
    assert_eq!(sandbox.code("resolve go --as no-go --reason lagging"), 0);
    // Resuming is another attempt to get a go: the gate asks again.
    assert_eq!(sandbox.code("resume"), 3);
    assert!(sandbox.witness().is_empty());
}

#[test]
fn a_task_that_waits_is_taken_back_by_a_task_that_is_asked_too() {
    let sandbox = Sandbox::with(
        "runbook: back
phases:
  p:
    steps:
      a: { run: 'echo a >> \"$W\"', undo: { run: 'echo undo-a >> \"$W\"' } }
      call: { task: Call them, undo: { task: Call them again } }
",
    );
    assert_eq!(sandbox.code("run book.yaml"), 3);
    let shown = sandbox.run("rollback");
    assert!(shown.contains("waiting for a person: p/call") && shown.ends_with("exit 3"), "{shown}");
    assert_eq!(sandbox.code("resolve call --as done --reason called"), 0);
    assert_eq!(sandbox.code("rollback"), 4);
    assert_eq!(sandbox.witness(), ["a", "undo-a"]);
    // At a terminal, the same.
    let sandbox = Sandbox::with(
        "runbook: \
         back\
         \nphases: { p: { steps: { call: { task: Call them, undo: { task: Call them again } } } } }\
         \n",
    );
    assert_eq!(sandbox.code("run book.yaml"), 3);
    let shown = sandbox.in_terminal("rollback", "d\n");
    assert!(shown.contains("Call them again") && shown.ends_with("exit 4"), "{shown}");
}

#[test]
fn skipping_needs_a_reason_and_lets_the_rest_go() {
    let sandbox = Sandbox::with(
        "runbook: \
         s\
         \nphases: { p: { steps: { a: { run: [/bin/false], undo: none }, b: { run: 'echo b >> \"$W\"', undo: none } } } \
         }\n",
    );
    insta::assert_snapshot!(sandbox.run("run book.yaml"), @"
    run <run> of s began, by oncall@test
    begin    p/a
    FAILED   p/a: exit 1
    stopped: p/a failed
      run        <run>, 0 of 2 steps done
      step       p/a (book.yaml:2)
      forward    attempt 1: exit 1
      next       mend it, then  switchover resume <run>
      or         switchover skip a --run <run> --reason '…'
      or         switchover rollback <run>
      output     switchover logs a --run <run>
    exit 1
    ");
    assert_eq!(sandbox.code("skip a"), 2);
    assert_eq!(sandbox.code("skip a --reason known"), 0);
    assert_eq!(sandbox.code("resume"), 0);
    assert_eq!(sandbox.witness(), ["b"]);
}
