//! Rehearsals: what they say, and whether it is true.

use serde_json::Value as Json;

use super::sandbox::{Sandbox, repository};

/// What happened, in order: each event with its step.
fn order(events: &[Json]) -> Vec<String> {
    let words = |event: &Json| format!("{} {}", event["event"].as_str().unwrap_or_default(), event["step"].as_str().unwrap_or_default());
    events.iter().map(words).filter(|words| !words.starts_with("cursor_saved")).collect()
}

fn lived(sandbox: &Sandbox) -> Vec<Json> {
    let log = sandbox.json("audit --format json")["log"].as_array().cloned().unwrap_or_default();
    log.into_iter().map(|entry| entry["event"].clone()).collect()
}

fn quickstart() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.write("quickstart.yaml", std::fs::read(repository().join("runbooks/quickstart.yaml")).expect("the quickstart"));
    sandbox
}

#[test]
fn the_order_of_events_is_the_real_one() {
    let sandbox = quickstart();
    let rehearsed = sandbox.json("rehearse quickstart.yaml --parallel 1 --runs 0 --fail-at space --format json");
    assert_eq!(sandbox.code("run quickstart.yaml --parallel 1"), 0);
    let timeline = rehearsed["timeline"].as_array().expect("a timeline");
    assert_eq!(order(timeline), order(&lived(&sandbox)));
}

/// Each step of this fails when there is a file of its name.
const BOOK: &str = "runbook: r
guards:
  errors: { from: b, until: c, run: 'test ! -e errors && echo good || echo bad', success: 'stdout == \"good\"', every: 10ms, on_breach: rollback }
phases:
  p:
    steps:
      a: { run: 'test ! -e a', undo: { run: 'test ! -e undo-a', estimate: 1s }, estimate: 1s }
      b: { run: 'test ! -e b; sleep 0.3', undo: { run: 'test ! -e undo-b', estimate: 1s }, estimate: 1s, on_failure: rollback }
      c: { run: 'test ! -e c', estimate: 1s }
      gate: { approve: 'Go on?', estimate: 1s }
      d: { run: 'test ! -e d', undo: none, estimate: 1s, on_failure: continue }
";

#[test]
fn every_failure_that_is_made_for_real_ends_as_rehearsed() {
    let rehearsed = Sandbox::with(BOOK).json("rehearse book.yaml --runs 0 --format json");
    let cases = rehearsed["cases"].as_array().expect("cases");
    let (mut tried, mut wrong) = (0, Vec::new());
    for case in cases {
        let (mishap, step) = (case["mishap"]["mishap"].as_str().unwrap_or_default(), case["mishap"]["step"].as_str().unwrap_or_default());
        let name = step.trim_start_matches("p/");
        let sandbox = Sandbox::with(BOOK);
        match mishap {
            "fails" => sandbox.write(name, ""),
            "undo_fails" => sandbox.write(&format!("undo-{name}"), ""),
            "breached" => sandbox.write("errors", ""),
            "refused" | "unanswered" => {}
            _ => continue,
        }
        tried += 1;
        let mut code = sandbox.code("run book.yaml");
        if code == 3 && mishap != "unanswered" {
            let (answer, then) = if mishap == "refused" { ("no-go", "rollback") } else { ("go", "resume") };
            sandbox.code(&format!("resolve gate --as {answer} --reason tested"));
            code = sandbox.code(then);
        }
        // The operator of a rehearsal goes back from whatever has stopped.
        if code == 1 || mishap == "undo_fails" {
            code = sandbox.code("rollback");
        }
        let ends = match code {
            0 => "finished",
            3 => "waits",
            4 => "rolled_back",
            _ => "stuck",
        };
        if case["ends"] != ends {
            wrong.push(format!("{mishap} {step}: rehearsed {}, but it {ends}", case["ends"]));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_eq!(tried, 9);
}

#[test]
fn a_rehearsal_says_first_what_cannot_be_undone_and_what_hangs() {
    let sandbox = Sandbox::with(BOOK);
    insta::assert_snapshot!(sandbox.run("rehearse book.yaml --seed 7"), @"
    r: rehearsed once smoothly and with 21 mishaps, seed 7

    cannot be undone: a rollback stops there and asks
      p/c

    stuck
      p/c fails: stays p/a, p/b, p/c
      p/gate is refused: stays p/a, p/b, p/c

    nothing ends these if they hang: give them a timeout
      p/a
      p/b
      p/c
      p/d

    smooth: finished after 5s, downtime <time>
    by chance: of 1000 runs half are done after 5.1s, 95 of 100 after 6.7s; downtime <time> and 0ms
    critical path: p/a, p/b, p/c, p/gate, p/d
    gate p/gate: asked after <time>
    of 21 mishaps: 13 finished, 3 rolled back, 1 waits, 4 stuck; 3 ask a person

    mishaps after which it does not go on by itself (--all shows the others too)
      p/a fails                                    rolled back   back in <time>  asks
      the undo of p/a fails                        stuck         back in <time>  stays: p/a, p/b, p/c
      p/b fails                                    rolled back   back in <time>
      the undo of p/b fails                        stuck         back in <time>  stays: p/a, p/b, p/c
      p/c fails                                    stuck         back in <time>  stays: p/a, p/b, p/c  asks
      p/gate is refused                            stuck         back in <time>  stays: p/a, p/b, p/c  asks
      p/gate is not answered                       waits         stays: p/a, p/b, p/c
      errors is breached                           rolled back   back in <time>
    exit 0
    ");
    insta::assert_snapshot!(sandbox.run("rehearse book.yaml --runs 0 --fail-at b --slow b=3x"), @"
    r: rehearsed once smoothly and with 1 mishaps, seed 1

    cannot be undone: a rollback stops there and asks
      p/c

    nothing ends these if they hang: give them a timeout
      p/a
      p/b
      p/c
      p/d

    smooth: finished after 7s, downtime <time>
    critical path: p/a, p/b, p/c, p/gate, p/d
    gate p/gate: asked after <time>
    of 1 mishaps: 1 rolled back; 0 ask a person

    mishaps after which it does not go on by itself (--all shows the others too)
      p/b fails                                    rolled back   back in <time>
    exit 0
    ");
    insta::assert_snapshot!(sandbox.run("rehearse book.yaml --slow b=fast"), @"
    error: --slow b=fast is not understood
      next: write --slow STEP=3x
    exit 2
    ");
    assert!(!sandbox.path("journal").exists(), "nothing is journaled");
}
