//! What comes from outside is taken within limits, so that everything that is taken can be read
//! back; and a run that cannot be read hides no other.

use super::sandbox::Sandbox;

/// A list in a list, so deep, as JSON.
fn nested(depth: usize) -> String {
    format!("{}1{}", "[".repeat(depth), "]".repeat(depth))
}

/// Every verb reads the run, whatever came of it.
fn readable(sandbox: &Sandbox, about: &str) {
    for verb in ["list", "status", "audit --verify", "rollback"] {
        let shown = sandbox.run(verb);
        let is_read = shown.ends_with("exit 0") || shown.ends_with("exit 4");
        assert!(is_read, "{about}: {verb}: {shown}");
    }
}

fn one(keys: &str) -> Sandbox {
    Sandbox::with(&format!(
        "runbook: deep\nphases:\n  p:\n    steps:\n      a: {{ {keys}, undo: {{ run: 'true' }} }}\n"
    ))
}

#[test]
fn an_output_is_taken_as_deep_as_it_can_be_read_back() {
    // The map of the outputs is a level of its own.
    for (depth, code) in [(62, 0), (63, 0), (64, 1), (125, 1), (126, 1), (127, 1), (300_000, 1)] {
        let sandbox = one("run: 'cat deep > \"$SWITCHOVER_OUTPUT\"'");
        sandbox.write("deep", format!("{{\"x\":{}}}", nested(depth)));
        let shown = sandbox.run("run book.yaml");
        assert!(shown.ends_with(&format!("exit {code}")), "{depth}: {shown}");
        assert!(
            code == 0 || shown.contains("it is nested more than 64 levels deep"),
            "{depth}: {shown}"
        );
        readable(&sandbox, &format!("{depth}"));
    }
}

#[test]
fn captures_that_wrap_each_other_are_taken_as_deep_as_they_can_be_read_back() {
    let wrap = |of: &str| format!("{}{of}{}", "[".repeat(28), "]".repeat(28));
    let sandbox = Sandbox::with(&format!(
        "runbook: chain
phases:
  p:
    steps:
      a: {{ run: 'true', capture: {{ x: '{}' }}, undo: {{ run: 'true' }} }}
      b: {{ run: 'true', capture: {{ x: '{}' }}, undo: {{ run: 'true' }} }}
      c: {{ run: 'true', capture: {{ x: '{}' }}, undo: {{ run: 'true' }} }}
",
        wrap("1"),
        wrap("steps.a.x"),
        wrap("steps.b.x"),
    ));
    let shown = sandbox.run("run book.yaml");
    let words = "the output `x` is not taken: it is nested more than 64 levels deep";
    assert!(shown.contains(words) && shown.ends_with("exit 1"), "{shown}");
    readable(&sandbox, "captures");
}

#[test]
fn values_from_the_command_line_are_taken_within_the_limits() {
    let sandbox = Sandbox::with(
        "runbook: values
parameters: { x: { type: list, default: [] } }
phases:
  p:
    steps:
      a: { run: 'true', undo: { run: 'true' } }
",
    );
    for depth in [64, 65, 122, 127, 5000] {
        sandbox.write("values.yaml", format!("x: {}\n", nested(depth)));
        for line in [
            format!("run book.yaml --set x={}", nested(depth)),
            "run book.yaml --values values.yaml".to_owned(),
        ] {
            let shown = sandbox.run(&line);
            if depth > 64 {
                assert!(shown.ends_with("exit 2"), "{depth}: {shown}");
            } else {
                assert!(shown.ends_with("exit 0"), "{depth}: {shown}");
                readable(&sandbox, &format!("{depth}"));
            }
        }
    }
    let reason = "x".repeat(5000);
    let shown = sandbox.run(&format!("rollback --reason {reason}"));
    assert!(
        shown.contains("it has 5000 bytes, and 4096 are the most") && shown.ends_with("exit 2"),
        "{shown}"
    );
    let shown = sandbox.run(&format!("run book.yaml --name {reason}"));
    assert!(
        shown.contains("it has 5000 bytes, and 4096 are the most") && shown.ends_with("exit 2"),
        "{shown}"
    );
    for line in ["run book.yaml", "rollback", "skip a --reason x"] {
        let shown = sandbox.run_with(line, &[("SWITCHOVER_OPERATOR", reason.clone())]);
        assert!(
            shown.contains("the operator's name is too long: it has 5000 bytes")
                && shown.ends_with("exit 6"),
            "{line}: {shown}"
        );
    }
}

#[test]
fn what_a_person_says_is_taken_within_the_limits() {
    let sandbox = Sandbox::with(
        "runbook: said
phases:
  p:
    steps:
      a: { task: { instructions: Look, fields: { x: { type: list } } }, undo: none }
",
    );
    assert_eq!(sandbox.code("run book.yaml"), 3);
    for (depth, code) in [(126, 2), (65, 2), (64, 0)] {
        let line = format!("resolve a --as done --set x={} --reason seen", nested(depth));
        assert_eq!(sandbox.code(&line), code, "{depth}");
        assert_eq!(sandbox.code("status"), 0, "{depth}");
    }
    assert_eq!(sandbox.code("resume"), 0);
}

#[test]
fn many_values_and_large_ones_are_refused() {
    for (what, script) in [
        (
            "more than 100000 values",
            "python3 -c 'print(\"{\\\"x\\\":[\"+\"1,\"*100001+\"1]}\")' > \"$SWITCHOVER_OUTPUT\"",
        ),
        (
            "more than 1048576 bytes",
            "head -c 1048577 /dev/zero | tr '\\0' a > \"$SWITCHOVER_OUTPUT\"",
        ),
    ] {
        let sandbox = one(&format!("run: {}", serde_json::to_string(script).unwrap()));
        let shown = sandbox.run("run book.yaml");
        assert!(shown.contains(what) && shown.ends_with("exit 1"), "{shown}");
        readable(&sandbox, what);
    }
}

#[test]
fn a_run_that_cannot_be_read_hides_no_other() {
    let sandbox = one("run: 'false'");
    assert_eq!(sandbox.code("run book.yaml --name good"), 1);
    assert_eq!(sandbox.code("run book.yaml --name bad"), 1);
    let list = sandbox.json("list --format json");
    let bad = list[0]["run"].as_str().unwrap().to_owned();
    // As an earlier version could write it.
    let db = rusqlite::Connection::open(sandbox.path("journal/switchover.db")).unwrap();
    let number: i64 = db
        .query_row("SELECT max(number) FROM events WHERE run = ?1", [&bad], |row| row.get(0))
        .unwrap();
    let body = format!(
        "{{\"number\":{},\"at\":\"2030-01-01T00:00:00.000Z\",\"event\":\"run_stopped\",\"because\
         \":{{\"x\":{}}}}}",
        number + 1,
        nested(126)
    );
    let insert = "INSERT INTO events (run, number, at, event, step, body, hash) VALUES (?1, ?2, \
        '2030', 'note', NULL, ?3, '')";
    db.execute(insert, rusqlite::params![bad, number + 1, body]).unwrap();
    drop(db);
    let shown = sandbox.run("list");
    assert!(
        shown.contains(&format!("{bad}   20"))
            && shown.contains("unreadable   recursion limit exceeded"),
        "{shown}"
    );
    assert!(shown.contains("(good)") && shown.ends_with("exit 0"), "{shown}");
    assert_eq!(sandbox.json("list --format json")[1]["state"], "unreadable");
    for line in [
        "status good",
        "audit good",
        "skip --run good a --reason x",
        "resume good",
        "rollback good",
    ] {
        let code = sandbox.code(line);
        assert!([0, 4].contains(&code), "{line}: {code}");
    }
    for line in [
        format!("status {bad}"),
        format!("resume {bad}"),
        "resume".to_owned(),
        "rollback".to_owned(),
    ] {
        let shown = sandbox.run(&line);
        assert!(
            shown.contains("is not as it was written") && shown.ends_with("exit 6"),
            "{line}: {shown}"
        );
    }
}

#[test]
fn what_is_no_regular_file_is_never_waited_for() {
    let make = |made: &str| format!("rm -f \"$F\"; {made} \"$F\"");
    let socket = "python3 -c 'import socket,sys,os; os.chdir(os.path.dirname(sys.argv[1])); \
                  socket.socket(socket.AF_UNIX).bind(os.path.basename(sys.argv[1]))'";
    for place in ["OUTPUT", "CHECKPOINT", "PROGRESS"] {
        for made in ["mkfifo", "mkdir", "ln -s /dev/zero", "ln -s \"$W.victim\"", socket] {
            // With a secret, the keeper masks what the command wrote about itself.
            for secret in ["", "env: { TOKEN: { secret: token } }, "] {
                // Longer than it takes to look how far it is.
                let script = format!("F=\"$SWITCHOVER_{place}\"; {}; sleep 1.2", make(made));
                let script = serde_json::to_string(&script).unwrap();
                let sandbox = Sandbox::with(&format!(
                    "runbook: odd
secrets: {{ token: {{ env: DEPLOY_TOKEN }} }}
phases:
  p:
    steps:
      a: {{ run: {script}, {secret}undo: {{ run: 'true' }} }}
"
                ));
                sandbox.write("witness.victim", "correct-horse");
                let mut child = sandbox.start_heard("run book.yaml", &[]);
                let begun = std::time::Instant::now();
                let code = loop {
                    if let Some(status) = child.try_wait().unwrap() {
                        break status.code();
                    }
                    assert!(
                        begun.elapsed().as_secs() < 60,
                        "{made} at {place}: {}",
                        sandbox.read("said")
                    );
                    std::thread::sleep(std::time::Duration::from_millis(10));
                };
                // What should be an output, and is none, is said; what only tells how far it is, is
                // not there.
                let wanted = if place == "OUTPUT" { 1 } else { 0 };
                assert_eq!(
                    code,
                    Some(wanted),
                    "{made} at {place} {secret}: {}",
                    sandbox.read("said")
                );
                assert_eq!(
                    sandbox.read("witness.victim"),
                    "correct-horse",
                    "{made} at {place} {secret}"
                );
                readable(&sandbox, made);
            }
        }
    }
}

#[test]
fn a_fifo_in_a_runs_folder_holds_nobody_up() {
    let sandbox = Sandbox::with(
        r#"runbook: fifo
phases:
  p:
    steps:
      a: { run: 'd=$(dirname "$SWITCHOVER_OUTPUT"); mkfifo "$d/../commands-7" "$d/../../abcd"; test -e go', idempotent: true, undo: none }
"#,
    );
    assert_eq!(sandbox.code("run book.yaml"), 1);
    sandbox.write("book.yaml", sandbox.read("book.yaml").replace("mkfifo", "true"));
    sandbox.write("go", "");
    for (verb, code) in [
        ("status", 0),
        ("list", 0),
        ("audit --verify", 0),
        ("resume", 1),
        ("skip a --reason x", 0),
        ("resume", 0),
    ] {
        let shown = sandbox.run(verb);
        assert!(shown.ends_with(&format!("exit {code}")), "{verb}: {shown}");
    }
}
