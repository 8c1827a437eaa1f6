//! Dry runs: what only reads is done, what would change something is said, and nothing else
//! happens.

use super::sandbox::Sandbox;

const BOOK: &str = r#"
runbook: shop
title: Move the shop
owner: platform team
parameters:
  domain: { default: shop.example.test }
databases:
  old: { sqlite: old.db }
phases:
  prepare:
    messages: { start: phase-started }
    steps:
      count:
        sql: { database: old, query: "SELECT count(*) FROM orders" }
        capture: { orders: "rows[0][0]" }
      check: { run: "test -f old.db && echo checked=yes >> $SWITCHOVER_OUTPUT", dry_run: same, undo: none }
      backup:
        run: 'echo backup >> "$W"; echo file=/backups/7 >> "$SWITCHOVER_OUTPUT"'
        undo: none
      plan-it:
        run: 'echo apply >> "$W"'
        undo: none
        dry_run: { run: 'echo "$SWITCHOVER_DRY_RUN of it: 3 to add, 0 to destroy"' }
  move:
    steps:
      freeze:
        sql: { database: old, statement: "UPDATE orders SET frozen = :yes", parameters: { yes: 1 } }
        undo: none
        downtime: begins
      mark:
        run: 'echo mark >> "$W"'
        undo: none
        probe: { run: "test -e marked", done: exit_code == 0, not_done: exit_code == 1 }
      lower: { sql: { database: old, statement: "UPDATE orders SET frozen = 2" }, undo: none, probe: { run: "echo yes", done: stdout == "yes", not_done: stdout == "no" } }
      use: { run: [publish, "{{ steps.backup.file }}", "{{ steps.count.orders }} orders"], undo: none, downtime: ends }
      maybe: { run: 'echo maybe >> "$W"', when: "steps.backup.file != ''", undo: none }
      never: { run: 'echo never >> "$W"', when: "domain == 'other'", undo: none }
      moved:
        sql: { database: old, query: "SELECT frozen FROM orders" }
        expect: "rows.all(row, row[0] == 1)"
      settle: { wait: 30m }
      look: { task: "Look at {{ domain }}", role: DBA }
      go: { approve: "Is {{ domain }} up?", role: coordinator }
      tell: { notify: { to: ["ops@example.test"], subject: "{{ domain }} has moved", body: "All {{ steps.count.orders }} orders." } }
"#;

fn shop() -> Sandbox {
    let sandbox = Sandbox::with(BOOK);
    let database = rusqlite::Connection::open(sandbox.path("old.db")).unwrap();
    database
        .execute_batch(
            "CREATE TABLE orders (id INTEGER PRIMARY KEY, frozen INT); INSERT INTO \
            orders (frozen) VALUES (0), (0)",
        )
        .unwrap();
    sandbox
}

#[test]
fn every_step_says_what_it_would_do_and_only_what_reads_is_done() {
    let sandbox = shop();
    insta::assert_snapshot!(sandbox.run("run book.yaml --dry-run --parallel 1"), @r#"
    dry run <run> of shop began, by oncall@test
    message  Move the shop: prepare begins
    done     prepare/count after <time>: 1 row
    done     prepare/check after <time>: exit 0
    would    prepare/backup: echo backup >> "$W"; echo file=/backups/7 >> "$SWITCHOVER_OUTPUT"
    would    prepare/plan-it: 1 of it: 3 to add, 0 to destroy
    would    move/freeze: on old.db:
               | UPDATE orders SET frozen = :yes
               |   :yes = 1
    would    move/mark: echo mark >> "$W"
               | (probed: exit 1)
               | it is not done yet
    would    move/lower: on old.db:
               | UPDATE orders SET frozen = 2
               | (probed: exit 0)
               | it is done already
    would    move/use: publish (known after prepare/backup) 2 orders
    would    move/maybe: if steps.backup.file != '' (known after prepare/backup): echo maybe >> "$W"
    skipped  move/never: its condition does not hold: domain == 'other'
    not yet  move/moved: `rows.all(row, row[0] == 1)` does not hold (rows is [[0],[0]])
    would    move/settle: wait for 30m
    would    move/look: ask DBA to do: Look at shop.example.test
    would    move/go: ask coordinator for a go: Is shop.example.test up?
    would    move/tell: send to ops@example.test: shop.example.test has moved
               | All 2 orders.
    dry run <run>: nothing would be refused; nothing was changed
      steps      15 of 15: 11 would be done, 3 only read or were passed over
      not yet    move/moved
                 which may be otherwise once the steps before have changed something
      review     switchover audit <run>
    exit 0
    "#);
    assert_eq!(sandbox.witness(), [""; 0], "nothing that changes something was begun");
    let list = sandbox.json("list --format json");
    assert_eq!(
        (list[0]["purpose"].as_str(), list[0]["state"].as_str()),
        (Some("dry_run"), Some("dry run"))
    );
}

#[test]
fn a_dry_run_is_neither_resumed_nor_taken_back() {
    let sandbox = shop();
    sandbox.run("run book.yaml --dry-run");
    for line in ["resume", "rollback", "cancel --reason x", "skip mark --reason x"] {
        assert_eq!(sandbox.code(line), 6, "{line}");
    }
    insta::assert_snapshot!(sandbox.run("rollback"), @"
    error: the run <run> is a dry run or a rehearsal: it changed nothing that could go on or be taken back
      next: begin another with `switchover run`; `switchover list` has those that there are
    exit 6
    ");
    // Killed, it is not taken up either.
    let sandbox = Sandbox::with(
        "runbook: \
         r\nphases: {p: {steps: {a: {run: 'echo > there; sleep 60', dry_run: same, undo: none}}}}",
    );
    let run = sandbox.start("run book.yaml --dry-run");
    sandbox.wait_for_file("there");
    super::sandbox::kill_all(run);
    insta::assert_snapshot!(sandbox.run("resume"), @"
    error: the run <run> is a dry run or a rehearsal: it changed nothing that could go on or be taken back
      next: begin another with `switchover run`; `switchover list` has those that there are
    exit 6
    ");
}

#[test]
fn a_dry_run_does_not_stand_in_the_way_of_the_real_one() {
    let sandbox = Sandbox::with(
        "runbook: \
         r\
         \nphases: {p: {steps: {a: {run: 'echo a >> \"$W\"', undo: {run: 'echo back >> \"$W\"'}}}}}",
    );
    sandbox.run("run book.yaml");
    sandbox.run("run book.yaml --dry-run");
    assert_eq!(sandbox.code("rollback"), 4, "the last real run is meant");
    assert_eq!(sandbox.witness(), ["a", "back"]);
}

#[test]
fn what_would_be_refused_is_found_and_is_not_zero() {
    let sandbox = Sandbox::with(
        r#"
runbook: r
databases:
  gone: { postgres: { host: 127.0.0.1, port: 1, database: d, user: u, tls: none } }
secrets: { token: { env: NO_SUCH_TOKEN } }
phases:
  p:
    steps:
      missing: { run: [no-such-program, now], undo: none }
      unread: { run: 'if then', undo: none }
      secret: { run: 'true', env: { TOKEN: { secret: token } }, undo: none }
      unreachable: { sql: { database: gone, statement: UPDATE t SET a = 1 }, undo: none }
      expected: { run: 'echo 3', dry_run: same, expect: stdout == "4", undo: none, needs: [] }
      after: { run: 'exit 7', dry_run: same, undo: none, needs: [missing] }
"#,
    );
    insta::assert_snapshot!(sandbox.run("run book.yaml --dry-run --parallel 1"), @r#"
    dry run <run> of r began, by oncall@test
    REFUSED  p/missing: there is no program `no-such-program` on this machine
    not yet  p/unread: the script cannot be read: /bin/sh: 1: Syntax error: "then" unexpected
    REFUSED  p/secret: the secret `token` is to come from the environment variable NO_SUCH_TOKEN, which is not set
    not yet  p/unreachable: postgres://u@127.0.0.1:1/d: error connecting to server: Connection refused (os error 111)
               | remedy: see that the server runs, and that `host` and `port` are where this machine reaches it
    REFUSED  p/expected: `stdout == "4"` does not hold (stdout is "3")
    not yet  p/after: exit 7
    dry run <run>: it would be refused; nothing was changed
      steps      6 of 6: 0 would be done, 0 only read or were passed over
      refused    p/missing
                 p/secret
                 p/expected
      not yet    p/unread
                 p/unreachable
                 p/after
                 which may be otherwise once the steps before have changed something
      review     switchover audit <run>
    exit 1
    "#);
}

#[test]
fn what_the_way_back_needs_is_looked_for_too() {
    let sandbox = Sandbox::with(
        r#"
runbook: r
phases:
  p:
    steps:
      undone: { run: 'true', undo: { run: [no-such-undo, now], probe: { run: [no-such-look], done: stdout == "1", not_done: stdout == "0" } }, needs: [] }
      held: { run: 'true', undo: { run: 'if then' }, hold: { until: end, release: { run: [no-such-release, "{{ outputs.id }}"] } }, needs: [] }
      probed: { run: 'true', undo: none, probe: { run: [no-such-probe], done: stdout == "1", not_done: stdout == "0" }, needs: [] }
      reads: { run: 'true', undo: { run: [no-such-undo] }, dry_run: same, needs: [] }
      there: { run: 'true', undo: { run: [there, "{{ outputs.id }}"], env: { PATH: "{{ here }}" } }, needs: [] }
      unknown: { run: 'true', undo: { run: ["{{ outputs.program }}"] }, needs: [] }
      later: { run: 'true', undo: { run: [no-such-undo] }, needs: [there] }
      end: { wait: 1s, needs: [held] }
"#,
    );
    sandbox.write("bin/there", "");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(sandbox.path("bin/there"), mode).unwrap();
    let book = sandbox.read("book.yaml").replace(
        "phases:",
        &format!(
            "parameters: {{ here: {{ default: {} }} }}\nphases:",
            sandbox.path("bin").display()
        ),
    );
    sandbox.write("book.yaml", book);
    insta::assert_snapshot!(sandbox.run("run book.yaml --dry-run --parallel 1"), @r#"
    dry run <run> of r began, by oncall@test
    REFUSED  p/undone: true
               | its undo: there is no program `no-such-undo` on this machine
               | the probe of its undo: there is no program `no-such-look` on this machine
    REFUSED  p/held: true
               | its undo: the script cannot be read: /bin/sh: 1: Syntax error: "then" unexpected
               | its release: there is no program `no-such-release` on this machine
    REFUSED  p/probed: true
               | (probed: )
               | whether it is done cannot be told
               | its probe: there is no program `no-such-probe` on this machine
    REFUSED  p/reads: exit 0
               | its undo: there is no program `no-such-undo` on this machine
    would    p/there: true
    would    p/unknown: true
    not yet  p/later: true
               | its undo: there is no program `no-such-undo` on this machine
    would    p/end: wait for 1s
    dry run <run>: it would be refused; nothing was changed
      steps      8 of 8: 3 would be done, 0 only read or were passed over
      refused    p/undone
                 p/held
                 p/probed
                 p/reads
      not yet    p/later
                 which may be otherwise once the steps before have changed something
      review     switchover audit <run>
    exit 1
    "#);
}

#[test]
fn guards_because_of_which_a_run_would_not_go_on_are_refused() {
    let sandbox = Sandbox::with(
        r#"
runbook: r
databases: { d: { sqlite: t.db } }
guards:
  good: { run: "echo 1", success: "int(stdout) < 5", every: 1s, on_breach: rollback }
  bad: { run: "echo 99", success: "int(stdout) < 5", every: 1s, on_breach: rollback }
  told: { run: "echo 99", success: "int(stdout) < 5", every: 1s, on_breach: warn }
  first: { from: a, run: "echo 99", success: "int(stdout) < 5", every: 1s, on_breach: pause }
  later: { from: z, run: "echo 99", success: "int(stdout) < 5", every: 1s, on_breach: pause }
  missing: { from: z, run: [no-such-program], success: "int(stdout) < 5", every: 1s, on_breach: pause }
  typo: { sql: { database: d, query: "SELEC 1" }, success: "rows.size() == 1", every: 1s, on_breach: warn }
  empty: { sql: { database: d, query: "SELECT * FROM nothing_yet" }, success: "rows.size() == 1", every: 1s, on_breach: pause }
phases:
  p:
    steps:
      a: { run: 'true', undo: none }
      z: { wait: 2s }
"#,
    );
    rusqlite::Connection::open(sandbox.path("t.db"))
        .unwrap()
        .execute_batch("CREATE TABLE t (id INTEGER PRIMARY KEY)")
        .unwrap();
    let told = sandbox.run("run book.yaml --dry-run");
    let closing = &told
        [told.find("dry run <run>: it would be refused").unwrap_or_else(|| panic!("{told}"))..];
    insta::assert_snapshot!(closing, @r#"
    dry run <run>: it would be refused; nothing was changed
      steps      2 of 2: 2 would be done, 0 only read or were passed over
      refused    the guard bad
                 the guard first
                 the guard missing
                 the guard typo
      not yet    the guard later
                 which may be otherwise once the steps before have changed something
      guard      bad is bad: stdout is "99"
      guard      empty is inconclusive: the query failed: no such table: nothing_yet
      guard      first is bad: stdout is "99"
      guard      good is good: stdout is "1"
      guard      later is bad: stdout is "99"
      guard      missing is inconclusive: the program `no-such-program` was not found
      guard      told is bad: stdout is "99"
      guard      typo is inconclusive: the query failed: near "SELEC": syntax error in SELEC 1 at offset 0
      review     switchover audit <run>
    exit 1
    "#);
    assert!(
        told.contains("REFUSED  the guard bad\n") && told.contains("not yet  the guard later\n"),
        "{told}"
    );
}

#[test]
fn a_statement_that_can_never_be_is_refused_wherever_it_stands() {
    let sandbox = Sandbox::with(
        r#"
runbook: r
databases: { d: { sqlite: t.db } }
phases:
  p:
    steps:
      changes: { run: 'true', undo: none }
      deletes: { sql: { database: d, query: "DELETE FROM t RETURNING id" } }
      typo: { sql: { database: d, query: "SELEC 1" } }
      half: { sql: { database: d, query: "SELECT (1" } }
      states: { sql: { database: d, statement: "UPDATE t SETT id = 2" }, undo: none }
      later: { sql: { database: d, query: "SELECT * FROM made_by_then" } }
"#,
    );
    rusqlite::Connection::open(sandbox.path("t.db"))
        .unwrap()
        .execute_batch("CREATE TABLE t (id INTEGER PRIMARY KEY)")
        .unwrap();
    let told = sandbox.run("run book.yaml --dry-run");
    for refused in [
        "REFUSED  p/deletes: a query must only read",
        "REFUSED  p/typo: the query failed: near \"SELEC\": syntax error",
        "REFUSED  p/half: ",
        "REFUSED  p/states: near \"SETT\": syntax error",
        "not yet  p/later: ",
    ] {
        assert!(told.contains(refused) && told.ends_with("exit 1"), "{refused}: {told}");
    }
}

#[test]
fn what_a_nested_runbook_gives_and_what_conditions_use_is_known_only_then() {
    let sandbox = Sandbox::with(
        r#"
runbook: r
phases:
  p:
    steps:
      inside: { runbook: inner.yaml, capture: { made: steps.make.id, there: steps.look.there } }
      read: { run: 'echo yes', dry_run: same, undo: none, capture: { yes: stdout } }
      known: { runbook: { file: reads.yaml }, capture: { there: steps.look.there } }
      use: { run: [echo, "{{ steps.inside.made }}", "{{ steps.known.there }}"], undo: none }
      expects: { run: 'echo 7', dry_run: same, undo: none, expect: stdout == steps.inside.made }
      maybe: { run: 'echo 8', dry_run: same, undo: none, when: steps.inside.made == "7", capture: { eight: stdout } }
      then: { run: 'echo 9', undo: none, when: steps.maybe.eight == "8" }
"#,
    );
    let look = "look: { run: 'echo there; echo 5 >> $SWITCHOVER_CHECKPOINT', dry_run: same, undo: none, capture: { there: stdout } \
        }";
    sandbox.write(
        "inner.yaml",
        format!(
            "runbook: inner\nphases: {{ p: {{ steps: {{ make: {{ run: \
        'echo id=7 >> $SWITCHOVER_OUTPUT', undo: none, capture: {{ id: \
        outputs.id }} }}, {look} }} }} }}\n"
        ),
    );
    sandbox.write(
        "reads.yaml",
        format!("runbook: reads\nphases: {{ p: {{ steps: {{ {look} }} }} }}\n"),
    );
    insta::assert_snapshot!(sandbox.run("run book.yaml --dry-run --parallel 1"), @r#"
    dry run <run> of r began, by oncall@test
    would    p/inside/p/make: echo id=7 >> $SWITCHOVER_OUTPUT
    done     p/inside/p/look after <time>: exit 0
    would    p/inside: end the nested runbook, whose outputs are known then
    done     p/read after <time>: exit 0
    done     p/known/p/look after <time>: exit 0
    done     p/known after <time>: done
    would    p/use: echo (known after p/inside) there
    would    p/expects: echo 7
    would    p/maybe: if steps.inside.made == "7" (known after p/inside): exit 0
    would    p/then: if steps.maybe.eight == "8" (known after p/maybe): echo 9
    dry run <run>: nothing would be refused; nothing was changed
      steps      10 of 10: 6 would be done, 4 only read or were passed over
      review     switchover audit <run>
    exit 0
    "#);
}

#[test]
fn messages_of_a_dry_run_do_not_reach_the_outbox() {
    let sandbox = shop();
    sandbox.run("run book.yaml --dry-run");
    let outbox = std::fs::read_dir(sandbox.path("journal/outbox")).unwrap().count();
    assert_eq!(outbox, 0, "nothing is there to be sent");
    let audit = sandbox.run("audit");
    assert!(
        audit.contains("has moved") && audit.contains("message  Move the shop: prepare begins"),
        "{audit}"
    );
}

#[test]
fn the_words_of_a_dry_run_are_checked_with_the_file() {
    let sandbox = Sandbox::with(
        r#"
runbook: r
phases:
  p:
    steps:
      a: { task: "Look", dry_run: same }
      b: { run: 'true', undo: none, dry_run: { notify: { to: [], subject: s, body: b } } }
      c: { run: 'true', undo: none, dry_run: later }
"#,
    );
    insta::assert_snapshot!(sandbox.run("check book.yaml"), @r#"
    error book.yaml:6:26
      x a task changes something or asks somebody, so a dry run cannot do the same
       ,-[book.yaml:6:26]
     5 |     steps:
     6 |       a: { task: "Look", dry_run: same }
       :                          ^^^^^^^
     7 |       b: { run: 'true', undo: none, dry_run: { notify: { to: [], subject: s, body: b } } }
       `----
      help: leave it out: a dry run looks by itself
    error book.yaml:7:48
      x what is done in a dry run may only read, and this is a notify
       ,-[book.yaml:7:48]
     6 |       a: { task: "Look", dry_run: same }
     7 |       b: { run: 'true', undo: none, dry_run: { notify: { to: [], subject: s, body: b } } }
       :                                                ^^^^^^
     8 |       c: { run: 'true', undo: none, dry_run: later }
       `----
      help: give it a query, a GET, or a command that changes nothing
    error book.yaml:8:46
      x `later` is not one of same, none
       ,-[book.yaml:8:46]
     7 |       b: { run: 'true', undo: none, dry_run: { notify: { to: [], subject: s, body: b } } }
     8 |       c: { run: 'true', undo: none, dry_run: later }
       :                                              ^^^^^
       `----
      help: known here: same, none
    3 problems in the runbook; nothing was journaled
    exit 2
    "#);
}
