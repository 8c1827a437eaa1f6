//! Guards and budgets: what is watched while other things happen, and what follows from a breach.

use super::sandbox::{Sandbox, wait_until};

/// A guard that reads the file `says`; the step `b` goes on until there is a file `enough`.
fn book(on_breach: &str, more: &str) -> String {
    format!(
        "runbook: g
guards:
  errors: {{ from: a, until: b, run: 'cat says', success: 'stdout == \"good\"', failure: 'stdout == \"bad\"', every: 20ms, on_breach: {on_breach}{more} }}
phases:
  p:
    steps:
      a: {{ run: 'echo a >> \"$W\"', undo: {{ run: 'echo undo-a >> \"$W\"' }} }}
      b: {{ run: 'echo b >> \"$W\"; while test -e says -a ! -e enough; do sleep 0.02; done', undo: {{ run: 'echo undo-b >> \"$W\"' }} }}
      c: {{ run: 'echo c >> \"$W\"', undo: none }}
"
    )
}

/// The events of the last run of this kind.
fn events(sandbox: &Sandbox, kind: &str) -> Vec<serde_json::Value> {
    let printed = sandbox.run("audit --format json");
    let all: serde_json::Value =
        serde_json::from_str(printed.rsplit_once('\n').map_or("", |(json, _)| json))
            .unwrap_or_default();
    let events = all["log"].as_array().cloned().unwrap_or_default();
    events
        .into_iter()
        .map(|entry| entry["event"].clone())
        .filter(|event| event["event"] == kind)
        .collect()
}

#[test]
fn a_breach_stops_what_runs_and_takes_everything_back() {
    let sandbox = Sandbox::with(&book("rollback", ""));
    sandbox.write("says", "good");
    let mut run = sandbox.start("run book.yaml");
    wait_until("the step and a good reading", || {
        sandbox.witness().len() == 2 && !events(&sandbox, "guard_read").is_empty()
    });
    sandbox.write("says", "bad");
    assert_eq!(run.wait().expect("its end").code(), Some(4));
    assert_eq!(sandbox.witness(), ["a", "b", "undo-b", "undo-a"]);
    let read: Vec<_> =
        events(&sandbox, "guard_read").iter().map(|event| event["says"].clone()).collect();
    assert_eq!(read, ["good", "bad"], "each reading that changes the verdict, and no other");
    let breach = &events(&sandbox, "breached")[0];
    assert_eq!(
        (breach["of"].as_str(), breach["guard"].as_str(), breach["then"].as_str()),
        (Some("guard"), Some("errors"), Some("rollback"))
    );
    assert_eq!(events(&sandbox, "stop_requested")[0]["because"], "breach");
}

#[test]
fn a_pause_lets_what_runs_finish_and_a_resumed_run_looks_again() {
    let sandbox = Sandbox::with(&book("pause", ""));
    sandbox.write("says", "good");
    let mut run = sandbox.start("run book.yaml");
    sandbox.wait_for("b");
    sandbox.write("says", "bad");
    wait_until("the breach", || !events(&sandbox, "breached").is_empty());
    sandbox.write("enough", "");
    assert_eq!(run.wait().expect("its end").code(), Some(3));
    assert_eq!(sandbox.witness(), ["a", "b"], "what ran was let finish, and nothing began");
    insta::assert_snapshot!(sandbox.run("resume"), @"
    resumed by oncall@test
    begin    p/c
    done     p/c after <time>: exit 0
    finished: run <run>, 3 steps in <time>
      review     switchover audit <run>
      go back    switchover rollback <run>
    exit 0
    ");
    assert_eq!(
        sandbox.witness(),
        ["a", "b", "c"],
        "behind its last step it is not watched any more"
    );
}

#[test]
fn a_warning_is_journaled_and_told_and_the_run_goes_on() {
    let sandbox = Sandbox::with(
        &book("warn", "").replace("phases:", "messages: { breach: breach }\nphases:"),
    );
    sandbox.write("says", "bad");
    let mut run = sandbox.start("run book.yaml");
    wait_until("the breach", || !events(&sandbox, "breached").is_empty());
    sandbox.write("says", "good");
    wait_until("a good reading", || events(&sandbox, "guard_read").len() == 2);
    sandbox.write("says", "bad");
    wait_until("a second breach", || events(&sandbox, "breached").len() == 2);
    sandbox.write("enough", "");
    assert_eq!(run.wait().expect("its end").code(), Some(0));
    let messages = events(&sandbox, "message_sent");
    assert_eq!(messages.len(), 2, "{messages:?}");
    let text = sandbox.read(&format!("journal/{}", messages[0]["file"].as_str().expect("a file")));
    assert!(text.contains("the guard errors is breached: stdout is \"bad\""), "{text}");
}

#[test]
fn what_is_bad_for_a_shorter_time_than_said_or_unknown_is_no_breach() {
    let sandbox = Sandbox::with(&book("rollback", ", for: 1h"));
    sandbox.write("says", "bad");
    let mut run = sandbox.start("run book.yaml");
    wait_until("a bad reading", || events(&sandbox, "guard_read").len() == 1);
    sandbox.write("says", "neither");
    wait_until("an inconclusive one", || events(&sandbox, "guard_read").len() == 2);
    sandbox.write("enough", "");
    assert_eq!(run.wait().expect("its end").code(), Some(0));
    assert_eq!(events(&sandbox, "guard_read")[1]["says"], "inconclusive");
    assert!(events(&sandbox, "breached").is_empty());
}

#[test]
fn behind_a_point_of_no_return_a_breach_pauses_instead() {
    let sandbox = Sandbox::with(
        &book("rollback", "").replace("a: { run", "a: { point_of_no_return: true, run"),
    );
    sandbox.write("says", "bad");
    let mut run = sandbox.start("run book.yaml --yes");
    wait_until("the breach", || !events(&sandbox, "breached").is_empty());
    sandbox.write("enough", "");
    assert_eq!(run.wait().expect("its end").code(), Some(3));
    let breach = &events(&sandbox, "breached")[0];
    assert_eq!(breach["then"], "pause");
    assert!(
        breach["reading"].as_str().is_some_and(|words| words.contains("point of no return")),
        "{breach}"
    );
}

#[test]
fn a_waiting_gate_is_watched_too() {
    let sandbox = Sandbox::with(
        "runbook: g
guards:
  errors: { run: 'cat says', success: 'stdout == \"good\"', every: 20ms, on_breach: rollback }
phases:
  p:
    steps:
      a: { run: 'echo a >> \"$W\"', undo: { run: 'echo undo-a >> \"$W\"' } }
      gate: { approve: 'Go on?' }
      b: { run: 'echo b >> \"$W\"', undo: none }
",
    );
    sandbox.write("says", "good");
    let shown = std::thread::scope(|scope| {
        let terminal = scope.spawn(|| sandbox.in_terminal("run book.yaml", ""));
        wait_until("the gate", || {
            sandbox.witness().len() == 1 && events(&sandbox, "step_started").len() == 2
        });
        sandbox.write("says", "bad");
        terminal.join().expect("what the terminal was sent")
    });
    assert_eq!(sandbox.witness(), ["a", "undo-a"]);
    assert!(shown.contains("the guard errors is breached") && shown.ends_with("exit 4"), "{shown}");
}

#[test]
fn an_executor_that_is_killed_leaves_a_breach_that_its_successor_acts_on() {
    let sandbox = Sandbox::with(&book("rollback", ""));
    sandbox.write("says", "good");
    let mut run = sandbox.start("run book.yaml");
    wait_until("a good reading", || {
        sandbox.witness().len() == 2 && !events(&sandbox, "guard_read").is_empty()
    });
    run.kill().expect("a kill");
    run.wait().expect("its end");
    sandbox.write("says", "bad");
    assert_eq!(sandbox.code("resume"), 4);
    assert_eq!(sandbox.witness(), ["a", "b", "undo-b", "undo-a"]);
}

/// A downtime of at most 2 s, with what each step should take or without, and how long the step in
/// it takes.
fn down(on_breach: &str, undo: &str, estimates: [&str; 3], seconds: f64) -> String {
    let [a, b, c] = estimates.map(|estimate| {
        if estimate.is_empty() { String::new() } else { format!(", estimate: {estimate}") }
    });
    format!(
        "runbook: d
budgets: {{ downtime: {{ limit: 2s, on_breach: {on_breach} }} }}
phases:
  p:
    steps:
      first: {{ run: 'echo first >> \"$W\"', undo: {{ run: 'echo undo-first >> \"$W\"' }} }}
      a: {{ run: 'echo a >> \"$W\"', undo: {{ run: 'echo undo-a >> \"$W\"', estimate: {undo} }}, downtime: begins{a} }}
      b: {{ run: 'echo b >> \"$W\"; sleep {seconds}', undo: {{ run: 'echo undo-b >> \"$W\"' }}{b} }}
      c: {{ run: 'echo c >> \"$W\"', undo: none, downtime: ends{c} }}
"
    )
}

#[test]
fn a_downtime_that_is_exceeded_is_told_and_acted_on() {
    let sandbox = Sandbox::with(&down("warn", "100ms", [""; 3], 3.2));
    assert_eq!(sandbox.code("run book.yaml"), 0);
    let breach = &events(&sandbox, "breached")[0];
    assert_eq!(
        (breach["budget"].as_str(), breach["expected"].as_bool()),
        (Some("downtime"), Some(false))
    );
    let sandbox = Sandbox::with(&down("rollback", "100ms", ["100ms", "500ms", "100ms"], 20.0));
    assert_eq!(sandbox.code("run book.yaml"), 4);
    assert_eq!(sandbox.witness(), ["first", "a", "b", "undo-b", "undo-a", "undo-first"]);
    assert_eq!(events(&sandbox, "breached")[0]["then"], "rollback");
}

#[test]
fn nothing_is_taken_back_if_going_on_is_quicker() {
    let sandbox = Sandbox::with(&down("rollback", "1h", ["50ms", "1900ms", "50ms"], 3.2));
    assert_eq!(sandbox.code("run book.yaml"), 0);
    let breach = &events(&sandbox, "breached")[0];
    assert_eq!(breach["then"], "warn");
    assert!(
        breach["reading"].as_str().is_some_and(|words| words.contains("going on is quicker")),
        "{breach}"
    );
}

#[test]
fn a_downtime_that_will_be_too_long_does_not_begin() {
    let sandbox = Sandbox::with(&down("warn", "100ms", [""; 3], 3.2));
    assert_eq!(sandbox.code("run book.yaml"), 0);
    // From now on it is known how long it takes.
    let known = sandbox.witness().len();
    sandbox.write("book.yaml", down("rollback", "1h", [""; 3], 3.2));
    assert_eq!(sandbox.code("run book.yaml"), 4);
    assert_eq!(sandbox.witness().len(), known, "nothing began: {:?}", sandbox.witness());
    let breach = &events(&sandbox, "breached")[0];
    assert_eq!(
        (breach["expected"].as_bool(), breach["then"].as_str()),
        (Some(true), Some("rollback"))
    );
    assert!(
        breach["reading"].as_str().is_some_and(|words| words.contains("production is still up")),
        "{breach}"
    );
    // A rehearsal says so as well, also if it is the first step that takes production down.
    let first = "      \
        first: { run: 'echo first >> \"$W\"', undo: { run: 'echo undo-first >> \"$W\"' } }\n";
    sandbox.write("at-once.yaml", sandbox.read("book.yaml").replace(first, ""));
    let rehearsed = sandbox.json("rehearse at-once.yaml --no-mishaps --runs 0 --format json");
    let begun = rehearsed["timeline"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|event| event["event"] == "step_started")
        .count();
    assert_eq!(
        (begun, rehearsed["smooth"]["ends"].as_str()),
        (0, Some("rolled_back")),
        "{rehearsed:#}"
    );
    // Who is asked may go on all the same.
    sandbox.write("book.yaml", down("pause", "1h", [""; 3], 0.1));
    assert_eq!(sandbox.code("run book.yaml"), 3);
    assert_eq!(sandbox.witness().len(), known);
    assert_eq!(sandbox.code("resume"), 0);
    assert_eq!(sandbox.witness()[known..], ["first", "a", "b", "c"]);
    // An estimate is the author's word against what was.
    sandbox.write("book.yaml", down("rollback", "1h", ["", "1s", ""], 0.1));
    assert_eq!(sandbox.code("run book.yaml"), 0);
    assert!(events(&sandbox, "breached").is_empty());
}

#[test]
fn the_way_back_has_a_budget_wherever_the_run_is() {
    let sandbox = Sandbox::with(
        "runbook: d
budgets: { rollback: { limit: 1m, on_breach: pause } }
phases:
  p:
    steps:
      a: { run: 'echo a >> \"$W\"', undo: { run: 'echo undo-a >> \"$W\"', estimate: 40s } }
      b: { run: 'echo b >> \"$W\"; sleep 1.5', undo: { run: 'echo undo-b >> \"$W\"', estimate: 10s } }
      c: { run: 'echo c >> \"$W\"', undo: none }
",
    );
    assert_eq!(sandbox.code("run book.yaml"), 0, "50s of 1m");
    sandbox.write("book.yaml", sandbox.read("book.yaml").replace("estimate: 10s", "estimate: 30s"));
    insta::assert_snapshot!(sandbox.run("check book.yaml"), @"
    error book.yaml:2:22
      x the slowest way back takes 1m 10s by the estimates, more than its budget of 1m
       ,-[book.yaml:2:22]
     1 | runbook: d
     2 | budgets: { rollback: { limit: 1m, on_breach: pause } }
       :                      ^^
     3 | phases:
       `----
      help: give it a larger budget, or the steps smaller estimates if they are too large
    one problem in the runbook; nothing was journaled
    exit 2
    ");
}

#[test]
fn what_is_wrong_with_guards_and_budgets_is_said_in_one_go() {
    let sandbox = Sandbox::with(
        "runbook: w
guards:
  one: { from: nowhere, run: 'cat x', success: 'stdoud == \"\"', on_breach: warn }
  two: { from: b, until: a, run: 'cat x', on_breach: never }
  three: { run: 'cat x', prometheus: 'http://x', query: up, success: 'true', on_breach: warn }
  four: { http: { url: 'http://x', method: POST }, failure: 'status > 499', on_breach: pause }
budgets: { downtime: 1m, rollback: soon, naps: 3s }
phases:
  p:
    steps:
      a: { run: 'true', undo: none, estimate: 2h }
      b: { run: 'true', undo: none }
",
    );
    insta::assert_snapshot!(sandbox.run("check book.yaml"), @r#"
    error book.yaml:3:16
      x from: there is no step `nowhere`
       ,-[book.yaml:3:16]
     2 | guards:
     3 |   one: { from: nowhere, run: 'cat x', success: 'stdoud == ""', on_breach: warn }
       :                ^^^^^^^
     4 |   two: { from: b, until: a, run: 'cat x', on_breach: never }
       `----
      help: known here: a, b
    error book.yaml:3:48
      x the name `stdoud` is not defined here
       ,-[book.yaml:3:48]
     2 | guards:
     3 |   one: { from: nowhere, run: 'cat x', success: 'stdoud == ""', on_breach: warn }
       :                                                ^^^^^^^^^^^^^^
     4 |   two: { from: b, until: a, run: 'cat x', on_breach: never }
       `----
      help: did you mean `stdout`?
    error book.yaml:4:54
      x `never` is not one of pause, rollback, warn
       ,-[book.yaml:4:54]
     3 |   one: { from: nowhere, run: 'cat x', success: 'stdoud == ""', on_breach: warn }
     4 |   two: { from: b, until: a, run: 'cat x', on_breach: never }
       :                                                      ^^^^^
     5 |   three: { run: 'cat x', prometheus: 'http://x', query: up, success: 'true', on_breach: warn }
       `----
      help: known here: pause, rollback, warn
    error book.yaml:5:3
      x the guard `three` needs exactly one reading
       ,-[book.yaml:5:3]
     4 |   two: { from: b, until: a, run: 'cat x', on_breach: never }
     5 |   three: { run: 'cat x', prometheus: 'http://x', query: up, success: 'true', on_breach: warn }
       :   ^^^^^
     6 |   four: { http: { url: 'http://x', method: POST }, failure: 'status > 499', on_breach: pause }
       `----
      help: give it prometheus with a query (and perhaps a baseline), http, sql, or run
    error book.yaml:6:3
      x the guard `four` must only read
       ,-[book.yaml:6:3]
     5 |   three: { run: 'cat x', prometheus: 'http://x', query: up, success: 'true', on_breach: warn }
     6 |   four: { http: { url: 'http://x', method: POST }, failure: 'status > 499', on_breach: pause }
       :   ^^^^
     7 | budgets: { downtime: 1m, rollback: soon, naps: 3s }
       `----
      help: use a GET or HEAD request, or a query
    error book.yaml:7:36
      x `soon` is not a duration; write for example 30s, 5m, 1h30m, 250ms or 2d
       ,-[book.yaml:7:36]
     6 |   four: { http: { url: 'http://x', method: POST }, failure: 'status > 499', on_breach: pause }
     7 | budgets: { downtime: 1m, rollback: soon, naps: 3s }
       :                                    ^^^^
     8 | phases:
       `----
    error book.yaml:7:42
      x unknown key `naps`
       ,-[book.yaml:7:42]
     6 |   four: { http: { url: 'http://x', method: POST }, failure: 'status > 499', on_breach: pause }
     7 | budgets: { downtime: 1m, rollback: soon, naps: 3s }
       :                                          ^^^^
     8 | phases:
       `----
      help: known here: downtime, rollback, duration
    7 problems in the runbook; nothing was journaled
    exit 2
    "#);
}

#[test]
fn nothing_begins_before_a_guard_was_read() {
    // Each step is over before a reading is.
    let sandbox = Sandbox::with(
        r#"runbook: g
guards:
  errors: { run: 'sleep 0.3; cat says', success: 'stdout == "good"', on_breach: pause }
phases:
  p:
    steps:
      a: { run: 'echo a >> "$W"', undo: none }
      b: { run: 'echo b >> "$W"', undo: none }
      c: { run: 'echo c >> "$W"; test -e go', idempotent: true, undo: none }
"#,
    );
    sandbox.write("says", "bad");
    assert_eq!(sandbox.code("run book.yaml"), 3);
    for _ in 0..2 {
        assert_eq!(sandbox.code("resume"), 3, "what is still bad pauses it again");
    }
    assert!(sandbox.witness().is_empty(), "{:?}", sandbox.witness());
    sandbox.write("says", "good");
    assert_eq!(sandbox.code("resume"), 1);
    assert_eq!(sandbox.witness(), ["a", "b", "c"]);
    sandbox.write("says", "bad");
    sandbox.write("go", "");
    assert_eq!(sandbox.code("resume"), 3, "of a session before, nothing is known");
    assert_eq!(sandbox.witness(), ["a", "b", "c"]);
}
