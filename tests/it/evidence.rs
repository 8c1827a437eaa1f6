//! What must be so before a run begins: what its environment requires has been shown, its window is
//! open; and live tests.

use super::sandbox::Sandbox;

const REQUIRING: &str = r#"
runbook: shop
parameters: { place: { default: here } }
environments:
  staging: { place: there }
  production:
    place: real
    requires: { rehearsals: 2, dry_run: within 24h, succeeded_in: staging }
phases:
  move:
    steps:
      a: { run: 'echo "$PLACE" >> "$W"', env: { PLACE: "{{ place }}" }, undo: none, estimate: 1s }
      b: { run: 'echo b >> "$W"', undo: none, estimate: 1s }
"#;

#[test]
fn a_run_begins_only_when_what_is_required_has_been_shown() {
    let sandbox = Sandbox::with(REQUIRING);
    insta::assert_snapshot!(sandbox.run("run book.yaml --env production"), @"
    error: it may not begin; nothing was changed
      2 good rehearsals in production are required, and there are 0
      a good dry run in production within 1d is required, and there is none
      a finished run in staging is required, and there is none
      next: show what is missing, or let it begin all the same with --override --reason '…'
    exit 6
    ");
    assert_eq!(sandbox.code("run book.yaml --env staging"), 0);
    assert_eq!(sandbox.code("run book.yaml --env production --dry-run"), 0);
    for _ in 0..2 {
        assert_eq!(sandbox.code("rehearse book.yaml --env production --runs 0"), 0);
    }
    assert_eq!(sandbox.code("run book.yaml --env production"), 0);
    assert_eq!(sandbox.witness(), ["there", "b", "real", "b"]);
}

#[test]
fn a_dry_run_tells_what_is_missing_line_by_line() {
    let told = Sandbox::with(REQUIRING).run("run book.yaml --env production --dry-run");
    let now: Vec<&str> =
        told.lines().filter(|line| line.trim_start().starts_with("now ")).collect();
    assert_eq!(
        now,
        [
            "  now        2 good rehearsals in production are required, and there are 0",
            "  now        a good dry run in production within 1d is required, and there is none",
            "  now        a finished run in staging is required, and there is none",
        ]
    );
}

#[test]
fn what_changed_since_is_named() {
    let sandbox = Sandbox::with(REQUIRING);
    sandbox.run("run book.yaml --env staging");
    sandbox.run("run book.yaml --env production --dry-run");
    for _ in 0..2 {
        sandbox.run("rehearse book.yaml --env production --runs 0");
    }
    sandbox.write("book.yaml", REQUIRING.replace("echo b >>", "echo c >>"));
    let refused = sandbox.run("run book.yaml --env production");
    assert!(refused.contains("move/b") && !refused.contains("move/a"), "{refused}");
    assert!(refused.ends_with("exit 6"), "{refused}");
}

#[test]
fn half_a_rehearsal_and_a_refused_dry_run_show_nothing() {
    let sandbox = Sandbox::with(
        &REQUIRING
            .replace("phases:", "secrets: { s: { env: NO_SUCH } }\nphases:")
            .replace("PLACE: \"", "S: { secret: s }, PLACE: \""),
    );
    assert_eq!(sandbox.code("run book.yaml --env production --dry-run"), 1);
    sandbox.run("rehearse book.yaml --env production --runs 0 --fail-at a");
    let refused = sandbox.run("run book.yaml --env production");
    assert!(
        refused.contains("there are 0")
            && refused.contains("within 1d is required, and there is none"),
        "{refused}"
    );
}

#[test]
fn what_counts_is_what_the_steps_do_and_not_what_they_are_called_or_given() {
    let book = r#"
runbook: shop
parameters: { place: { default: here }, nodes: { type: list, default: [a] } }
environments:
  staging: { place: there, nodes: [x, y, z] }
  production: { place: real, requires: { succeeded_in: [staging] } }
phases:
  move:
    title: To {{ place }}
    steps:
      inside: { title: "In {{ place }}", runbook: { file: inner.yaml, parameters: { mode: rolling, node: "{{ item }}" } }, for_each: { in: nodes, max_parallel: 1 } }
      last: { run: 'true', undo: none }
"#;
    let sandbox = Sandbox::with(book);
    let inner = "runbook: inner
parameters: { mode: {}, node: {} }
phases: { p: { steps: { a: { title: \"{{ node }}\", run: 'echo \"$N\" >> \"$W\"', env: { N: \"{{ node }} {{ mode }}\" }, undo: none } } } }
";
    sandbox.write("inner.yaml", inner);
    assert_eq!(sandbox.code("run book.yaml --env production"), 6);
    assert_eq!(sandbox.code("run book.yaml --env staging"), 0);
    assert_eq!(
        sandbox.code("run book.yaml --env production"),
        0,
        "other titles and fewer nodes are the same steps"
    );
    assert_eq!(sandbox.witness(), ["x rolling", "y rolling", "z rolling", "a rolling"]);
    // What a nested runbook is called with, and what waits for what, is not the same.
    for (was, becomes) in [("mode: rolling", "mode: replace"), ("last: {", "last: { needs: [],")] {
        sandbox.write("book.yaml", book.replace(was, becomes));
        assert_eq!(sandbox.code("run book.yaml --env production"), 6, "{becomes}");
    }
}

#[test]
fn a_rehearsal_with_other_values_is_of_another_world() {
    let sandbox = Sandbox::with(
        &REQUIRING.replace(", succeeded_in: staging", "").replace("rehearsals: 2, ", ""),
    );
    assert_eq!(sandbox.code("run book.yaml --env production --dry-run --set place=harmless"), 0);
    assert_eq!(sandbox.code("run book.yaml --env production"), 6);
    assert_eq!(sandbox.code("run book.yaml --env production --dry-run"), 0);
    assert_eq!(sandbox.code("run book.yaml --env production"), 0);
}

#[test]
fn however_many_runs_came_after_it_evidence_is_found() {
    let sandbox =
        Sandbox::with(&REQUIRING.replace("rehearsals: 2, dry_run: within 24h", "rehearsals: 1"));
    sandbox.run("run book.yaml --env staging");
    sandbox.run("rehearse book.yaml --env production --runs 0");
    for _ in 0..101 {
        assert_eq!(sandbox.code("rehearse book.yaml --env production --runs 0 --no-mishaps"), 0);
    }
    assert_eq!(sandbox.code("run book.yaml --env production"), 0);
}

#[test]
fn what_a_person_said_instead_of_a_step_that_failed_is_no_success() {
    let book = r#"
runbook: shop
environments: { staging: {}, production: { requires: { succeeded_in: staging } } }
phases:
  p:
    steps:
      ask: { task: Look }
      weak: { run: 'exit 1', undo: none, on_failure: continue }
      b: { run: 'test -e b', undo: none }
"#;
    let by_hand = |decision: &str, why: &str| {
        let sandbox = Sandbox::with(book);
        assert_eq!(sandbox.code("run book.yaml --env staging"), 3);
        assert_eq!(sandbox.code("resolve ask --as done --reason seen"), 0);
        assert_eq!(sandbox.code("resume"), 1);
        assert_eq!(sandbox.code(decision), 0);
        assert_eq!(sandbox.code("resume"), 0);
        let refused = sandbox.run("run book.yaml --env production");
        assert!(
            refused.contains("is required, and there is none") && refused.ends_with("exit 6"),
            "{refused}"
        );
        assert!(refused.contains(&format!("does not count: {why}\n")), "{refused}");
        sandbox
    };
    by_hand("skip p/b --reason x", "p/b was skipped by hand");
    let sandbox =
        by_hand("resolve p/b --as done --reason x", "p/b had failed and was said to be done");
    // A failure that was mended and tried again is a success.
    sandbox.write("b", "");
    assert_eq!(sandbox.code("run book.yaml --env staging"), 3);
    assert_eq!(sandbox.code("resolve ask --as done --reason seen"), 0);
    assert_eq!(sandbox.code("resume"), 0);
    assert_eq!(sandbox.code("run book.yaml --env production"), 3);
}

#[test]
fn what_was_settled_after_a_crash_is_a_success() {
    let sandbox = Sandbox::with(
        "runbook: r
environments: { staging: {}, production: { requires: { succeeded_in: staging } } }
phases: { p: { steps: { a: { run: 'echo > there; test -e enough || sleep 60', undo: none } } } }
",
    );
    let run = sandbox.start("run book.yaml --env staging");
    sandbox.wait_for_file("there");
    super::sandbox::kill_all(run);
    assert_eq!(sandbox.code("resume"), 3);
    assert_eq!(sandbox.code("resolve a --as done --reason seen"), 0);
    assert_eq!(sandbox.code("resume"), 0);
    sandbox.write("enough", "");
    assert_eq!(sandbox.code("run book.yaml --env production"), 0);
}

#[test]
fn it_may_begin_all_the_same_with_a_reason_that_stays() {
    let sandbox = Sandbox::with(REQUIRING);
    assert_eq!(sandbox.code("run book.yaml --env production --override"), 2, "a reason is needed");
    assert_eq!(sandbox.code("run book.yaml --env production --override --reason outage"), 0);
    let audit = sandbox.run("audit");
    assert!(
        audit.contains("begun although 2 good rehearsals") && audit.contains("outage"),
        "{audit}"
    );
}

#[test]
fn evidence_that_was_forged_is_refused() {
    let sandbox = Sandbox::with(REQUIRING);
    sandbox.run("run book.yaml --env staging");
    sandbox.run("run book.yaml --env production --dry-run");
    sandbox.run("rehearse book.yaml --env production --runs 0");
    sandbox.run("rehearse book.yaml --env production --runs 0 --fail-at a");
    let database = rusqlite::Connection::open(sandbox.path("journal/switchover.db")).unwrap();
    database
        .execute_batch(
            "DROP TRIGGER events_are_never_updated; UPDATE events SET body = replace(body, \
             '\"all\":false', '\"all\":true') WHERE event = 'rehearsed'",
        )
        .unwrap();
    drop(database);
    insta::assert_snapshot!(sandbox.run("run book.yaml --env production"), @"
    error: the guard events_are_never_updated of the database was removed or changed: what is in it may have been, too
      next: nothing was changed. Keep the whole journal folder as it is, restore it from a backup that is complete, or start a new run after checking by hand what this one did; `sqlite3 -readonly` shows what can be read
    exit 6
    ");
    assert_eq!(sandbox.witness(), ["there", "b"], "nothing was begun in production");
}

#[test]
fn a_closed_window_refuses_and_a_dry_run_tells() {
    // Open for a minute each day, twelve hours from now.
    let hour = (chrono_hour() + 12) % 24;
    let book = format!(
        "runbook: r
environments: {{ production: {{}}, lab: {{}} }}
window: {{ environments: [production], from: \"{hour:02}:00\", to: \"{hour:02}:01\" }}
phases: {{ p: {{ steps: {{ a: {{ run: 'echo a >> \"$W\"', undo: none, estimate: 30s }} }} }} }}
"
    );
    let sandbox = Sandbox::with(&book);
    let refused = sandbox.run("run book.yaml --env production");
    assert!(refused.contains("is closed; it opens on") && refused.ends_with("exit 6"), "{refused}");
    let dry = sandbox.run("run book.yaml --env production --dry-run");
    assert!(
        dry.contains("nothing would be refused")
            && dry.contains("is closed")
            && dry.ends_with("exit 1"),
        "{dry}"
    );
    assert_eq!(sandbox.code("run book.yaml --env lab"), 0);
    assert_eq!(sandbox.code("run book.yaml --env production --override --reason agreed"), 0);
    let wrong = book.replace("30s", "2m");
    sandbox.write("long.yaml", wrong);
    let checked = sandbox.run("plan long.yaml --env production");
    assert!(
        checked.contains("the window is open for 1m") && checked.ends_with("exit 2"),
        "{checked}"
    );
}

#[test]
fn what_is_left_of_a_window_must_do_for_the_run_as_it_is_rehearsed() {
    let at = |minutes: i64| {
        (chrono::Utc::now() + chrono::TimeDelta::minutes(minutes)).format("%H:%M").to_string()
    };
    let book = |most: u32| {
        format!(
            "runbook: w
window: {{ from: '{}', to: '{}' }}
phases: {{ p: {{ steps: {{ a: {{ for_each: {{ in: [1, 2, 3], max_parallel: {most} }}, run: 'true', undo: none, estimate: 5m }} }} }} }}
",
            at(-2),
            at(10)
        )
    };
    let sandbox = Sandbox::with(&book(1));
    let refused = sandbox.run("run book.yaml");
    assert!(
        refused.contains("and the run takes 15m, as it is rehearsed")
            && refused.ends_with("exit 6"),
        "{refused}"
    );
    sandbox.write("book.yaml", book(3));
    assert_eq!(sandbox.code("run book.yaml"), 0, "one after the other it is too long, not at once");
}

#[test]
fn a_window_that_opens_as_it_closes_is_always_open_and_one_without_days_is_refused() {
    let book = |days: &str| {
        format!(
            "runbook: r
window: {{ {days}from: \"00:00\", to: \"00:00\" }}
phases: {{ p: {{ steps: {{ a: {{ run: 'true', undo: none, estimate: 30h }} }} }} }}
"
        )
    };
    let sandbox = Sandbox::with(&book(""));
    assert_eq!(sandbox.code("run book.yaml"), 0);
    sandbox.write("book.yaml", book("days: [], "));
    let checked = sandbox.run("check book.yaml");
    assert!(
        checked.contains("a window that opens on no day never opens")
            && checked.ends_with("exit 2"),
        "{checked}"
    );
    sandbox.write("book.yaml", book("days: [mon, wed], "));
    let checked = sandbox.run("check book.yaml");
    assert!(
        checked.contains("the window is open for 1d, ") && checked.ends_with("exit 2"),
        "{checked}"
    );
}

#[test]
fn an_amendment_needs_what_a_run_needs() {
    let book = |requires: &str, more: &str| {
        format!(
            "runbook: r
parameters: {{ x: {{ default: one }} }}
environments: {{ staging: {{}}, production: {{ {requires} }}, lab: {{}} }}
phases:
  p:
    steps:
      a: {{ run: 'echo a >> \"$W\"', undo: none }}
      b: {{ run: 'echo b >> \"$W\"', undo: none }}
{more}"
        )
    };
    let c = "      c: { run: 'echo c >> \"$W\"', undo: none }\n";
    let requires = "requires: { rehearsals: 1, succeeded_in: staging }";
    let sandbox = Sandbox::with(&book(requires, ""));
    sandbox.run("rehearse book.yaml --env production --runs 0 --set x=two");
    sandbox.run("run book.yaml --env staging");
    assert_eq!(sandbox.code("run book.yaml --env production --set x=two --until a --name now"), 0);
    sandbox.write("book.yaml", book(requires, c));
    let refused = sandbox.run("amend now book.yaml --reason x");
    for wanted in [
        "the run may not go on with it; nothing was changed\
         \n  1 good rehearsals in production are required, and there are 0\n",
        "  a finished run in staging is required, and there is none\n",
        ": p/c\n  next: show what is missing, or take it all the same with --override\nexit 6",
    ] {
        assert!(refused.contains(wanted), "{wanted}: {refused}");
    }
    // What the new definition or another environment does not require, the run's own does.
    sandbox.write("loose.yaml", book("", c));
    for around in ["amend now loose.yaml --reason x", "amend now book.yaml --env lab --reason x"] {
        assert_eq!(sandbox.code(around), 6, "{around}");
    }
    let taken = sandbox.run("amend now book.yaml --override --reason outage");
    assert!(taken.contains("is amended") && taken.ends_with("exit 0"), "{taken}");
    let audit = sandbox.run("audit now");
    assert!(
        audit.contains(
            "amended by oncall@test, although 1 good rehearsals in production are \
        required, and there are 0; "
        ),
        "{audit}"
    );
    assert_eq!(sandbox.code("audit now --verify"), 0);
    // Shown, it is taken without a word, with the values that the run has.
    let d = c.replace("c:", "d:").replace("echo c", "echo d");
    sandbox.write("book.yaml", book(requires, &(c.to_owned() + &d)));
    assert_eq!(sandbox.code("run book.yaml --env staging"), 0);
    assert_eq!(sandbox.code("rehearse book.yaml --env production --runs 0 --set x=two"), 0);
    assert_eq!(sandbox.code("amend now book.yaml --reason shown"), 0);
    assert_eq!(sandbox.code("resume now"), 0);
    assert_eq!(sandbox.witness()[2..], ["a", "a", "b", "c", "d", "b", "c", "d"]);
}

#[test]
fn an_amendment_of_a_live_test_is_held_against_what_is_given() {
    let requires = "environments: { production: { requires: { rehearsals: 1 } } }\nmessages: {";
    let sandbox = Sandbox::with(
        &SIDES
            .replace("messages: {", requires)
            .replace("  url: { default: \"http://{{ old }}\" }\n", ""),
    );
    sandbox.run("rehearse book.yaml --env production --runs 0");
    assert_eq!(
        sandbox.code("run book.yaml --env production --live-test --until move --name now"),
        0
    );
    sandbox.write("book.yaml", sandbox.read("book.yaml") + "      last: { wait: 2ms }\n");
    assert_eq!(sandbox.code("amend now book.yaml --reason x"), 6);
    sandbox.run("rehearse book.yaml --env production --runs 0");
    assert_eq!(sandbox.code("amend now book.yaml --reason x"), 0);
    assert_eq!(sandbox.code("resume now"), 0);
    assert_eq!(sandbox.witness(), ["from beta to alpha"]);
}

/// The hour now, in UTC.
fn chrono_hour() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() / 3600
        % 24
}

const SIDES: &str = r#"
runbook: sides
parameters:
  old: { default: alpha }
  new: { default: beta }
  url: { default: "http://{{ old }}" }
sides: { from: { host: old }, to: { host: new } }
messages: { success: success }
phases:
  p:
    steps:
      freeze: { run: 'echo "freeze $X" >> "$W"', env: { X: "{{ old }}" }, live_test: skip, undo: { run: 'echo thaw >> "$W"' } }
      move: { run: 'echo "from $X to $Y" >> "$W"', env: { X: "{{ old }}", Y: "{{ new }}" }, live_test: invert, undo: { run: 'echo "back to $X" >> "$W"' } }
      tell: { run: 'echo "tell $X" >> "$W"', env: { X: "{{ new }}" }, live_test: suppress, undo: { run: 'echo untell >> "$W"' } }
      look: { wait: 1ms }
"#;

#[test]
fn a_live_test_swaps_the_sides_and_does_what_each_step_says() {
    let sandbox = Sandbox::with(SIDES);
    insta::assert_snapshot!(sandbox.run("run book.yaml --live-test"), @r#"
    run <run> of sides began, by oncall@test: a live test, with the sides swapped
    skipped  p/freeze: it is not for a live test
    begin    p/move
    done     p/move after <time>: exit 0
    would    p/tell: echo "tell $X" >> "$W"
    begin    p/look
    done     p/look after <time>: 1ms passed
    message  [live test] Done: sides
    finished: run <run>, 4 steps in <time>
      review     switchover audit <run>
      go back    switchover rollback <run>
    exit 0
    "#);
    assert_eq!(sandbox.witness(), ["from beta to alpha"]);
    assert_eq!(sandbox.code("rollback"), 4);
    assert_eq!(
        sandbox.witness(),
        ["from beta to alpha", "back to beta"],
        "only what was done is undone"
    );
    let sent = std::fs::read_dir(sandbox.path("journal/outbox"))
        .unwrap()
        .map(|entry| std::fs::read_to_string(entry.unwrap().path()).unwrap());
    assert!(sent.into_iter().all(|text| text.starts_with("Subject: [live test] ")));
}

#[test]
fn what_was_shown_of_the_migration_counts_for_its_live_test() {
    let sandbox = Sandbox::with(&SIDES.replace(
        "messages: {",
        "environments: { staging: {}, production: { requires: { rehearsals: 1, dry_run: within 24h, succeeded_in: staging } } \
         }\nmessages: {",
    ));
    assert_eq!(sandbox.code("run book.yaml --env staging --live-test"), 0);
    let refused = sandbox.run("run book.yaml --env production --live-test");
    assert!(
        refused.contains("a finished run in staging is required, and there is none")
            && refused.ends_with("exit 6"),
        "{refused}"
    );
    sandbox.run("run book.yaml --env staging");
    sandbox.run("rehearse book.yaml --env production --runs 0");
    sandbox.run("run book.yaml --env production --dry-run --set old=gamma");
    assert_eq!(
        sandbox.code("run book.yaml --env production --live-test"),
        6,
        "the dry run was of other values"
    );
    sandbox.run("run book.yaml --env production --dry-run");
    assert_eq!(sandbox.code("run book.yaml --env production --live-test"), 0);
}

#[test]
fn what_is_made_of_a_side_is_made_of_the_other_one() {
    let sandbox = Sandbox::with(
        r#"
runbook: sides
parameters:
  old: { default: alpha }
  old_url: { default: "http://{{ old }}" }
  new: { default: beta }
  new_url: { default: "http://{{ new }}:81" }
  health: { default: "{{ old_url }}/health" }
sides: { from: { host: old, url: old_url }, to: { host: new, url: new_url } }
phases: { p: { steps: { a: { run: 'echo "$A $B" >> "$W"', env: { A: "{{ old }} {{ old_url }} {{ health }}", B: "{{ new }} {{ new_url }}" }, live_test: invert, undo: none } } } }
"#,
    );
    assert_eq!(sandbox.code("run book.yaml --live-test"), 0);
    assert_eq!(sandbox.code("run book.yaml"), 0);
    assert_eq!(
        sandbox.witness(),
        [
            "beta http://beta:81 http://beta:81/health alpha http://alpha",
            "alpha http://alpha http://alpha/health beta http://beta:81"
        ]
    );
}

#[test]
fn a_live_test_that_dies_in_what_it_only_looks_at_goes_on() {
    let sandbox = Sandbox::with(
        r#"
runbook: sides
parameters: { old: { default: alpha }, new: { default: beta } }
sides: { from: { host: old }, to: { host: new } }
environments: { production: { requires: { rehearsals: 1 } } }
phases:
  p:
    steps:
      a: { run: 'echo a >> "$W"', live_test: suppress, undo: none, dry_run: { run: 'echo 1 >> "$SWITCHOVER_CHECKPOINT"; echo > looking; test -e enough || sleep 60' } }
      b: { run: 'echo b >> "$W"', live_test: invert, undo: none }
"#,
    );
    assert_eq!(
        sandbox.code("run book.yaml --env production --live-test"),
        6,
        "it changes something, so it needs what a run needs"
    );
    let run = sandbox.start("run book.yaml --live-test");
    sandbox.wait_for_file("looking");
    super::sandbox::kill_all(run);
    sandbox.write("enough", "");
    assert_eq!(sandbox.code("resume"), 0, "nothing is in doubt of what was only looked at");
    assert_eq!(sandbox.witness(), ["b"]);
}

#[test]
fn sides_that_do_not_fit_and_steps_that_say_nothing_are_reported() {
    let sandbox = Sandbox::with(
        r#"
runbook: sides
parameters: { old: { default: alpha }, port: { type: integer, default: 1 }, new: { default: beta } }
sides: { from: { host: old, port: port }, to: { host: port, name: nwe } }
phases:
  p:
    steps:
      a: { run: 'true', undo: none }
      b: { task: Do it, live_test: later }
"#,
    );
    insta::assert_snapshot!(sandbox.run("check book.yaml"), @"
    error book.yaml:4:24
      x `old` and `port` are of different types, and cannot be swapped
       ,-[book.yaml:4:24]
     3 | parameters: { old: { default: alpha }, port: { type: integer, default: 1 }, new: { default: beta } }
     4 | sides: { from: { host: old, port: port }, to: { host: port, name: nwe } }
       :                        ^^^
     5 | phases:
       `----
    error book.yaml:4:35
      x `port` stands on one side only
       ,-[book.yaml:4:35]
     3 | parameters: { old: { default: alpha }, port: { type: integer, default: 1 }, new: { default: beta } }
     4 | sides: { from: { host: old, port: port }, to: { host: port, name: nwe } }
       :                                   ^^^^
     5 | phases:
       `----
      help: give both sides the same names
    error book.yaml:4:55
      x the parameter `port` stands there twice
       ,-[book.yaml:4:55]
     3 | parameters: { old: { default: alpha }, port: { type: integer, default: 1 }, new: { default: beta } }
     4 | sides: { from: { host: old, port: port }, to: { host: port, name: nwe } }
       :                                                       ^^^^
     5 | phases:
       `----
    error book.yaml:4:67
      x there is no parameter `nwe`
       ,-[book.yaml:4:67]
     3 | parameters: { old: { default: alpha }, port: { type: integer, default: 1 }, new: { default: beta } }
     4 | sides: { from: { host: old, port: port }, to: { host: port, name: nwe } }
       :                                                                   ^^^
     5 | phases:
       `----
      help: did you mean `new`?
    error book.yaml:9:36
      x `later` is not one of invert, skip, suppress
       ,-[book.yaml:9:36]
     8 |       a: { run: 'true', undo: none }
     9 |       b: { task: Do it, live_test: later }
       :                                    ^^^^^
       `----
      help: known here: invert, skip, suppress
    5 problems in the runbook; nothing was journaled
    exit 2
    ");
    sandbox.write(
        "none.yaml",
        "runbook: none\nphases: { p: { steps: { a: { run: 'true', undo: none } } } }\n",
    );
    insta::assert_snapshot!(sandbox.run("run none.yaml --live-test"), @"
    error none.yaml:1:1
      x there are no `sides` in this runbook
       ,-[none.yaml:1:1]
     1 | runbook: none
       : ^
     2 | phases: { p: { steps: { a: { run: 'true', undo: none } } } }
       `----
      help: a live test swaps them: say which parameters are the old side and which the new one
    one problem in the runbook; nothing was journaled
    exit 2
    ");
}
