//! What a tired operator gets wrong: every problem in one go, with its place and a suggestion, and
//! nothing journaled.

use super::sandbox::Sandbox;

#[test]
fn every_problem_of_a_file_in_one_go() {
    let sandbox = Sandbox::with(
        r#"runbook: bad
titel: x
parameters:
  span: { type: duration, default: 5x }
phases:
  one:
    steps:
      a: { run: "echo {{ span }}", undo: none }
      b: { needs: [aa], run: [echo, "{{ nope }}"], undo: none }
      c: { run: x, sql: { database: x, query: y } }
      e: { title: nothing }
      f: { run: x, when: "1 +", timeout: 5 minutes }
      g: { run: x, retry: { attempts: 3 }, expect: "exit_cod == 0" }
      h: { runbook: missing.yaml }
  two:
    steps:
      a: { wait: 3s }
      z: { wait: 3s }
      z: { wait: 3s }
"#,
    );
    insta::assert_snapshot!(sandbox.run("check book.yaml"), @r#"
    error book.yaml:2:1
      x unknown key `titel`
       ,-[book.yaml:2:1]
     1 | runbook: bad
     2 | titel: x
       : ^^^^^
     3 | parameters:
       `----
      help: did you mean `title`?
    error book.yaml:4:3
      x the parameter `span`: default: `5x` is not a duration; write for example 30s, 5m, 1h30m, 250ms
      | or 2d
       ,-[book.yaml:4:3]
     3 | parameters:
     4 |   span: { type: duration, default: 5x }
       :   ^^^^
     5 | phases:
       `----
    error book.yaml:8:17
      x a template in a script: scripts are never templated, so that no value can become code
       ,-[book.yaml:8:17]
     7 |     steps:
     8 |       a: { run: "echo {{ span }}", undo: none }
       :                 ^^^^^^^^^^^^^^^^^
     9 |       b: { needs: [aa], run: [echo, "{{ nope }}"], undo: none }
       `----
      help: pass the value as an environment variable: put `NAME: "{{ value }}"` under `env` and write
            "$NAME" here
    error book.yaml:9:20
      x there is no step `aa`
        ,-[book.yaml:9:20]
      8 |       a: { run: "echo {{ span }}", undo: none }
      9 |       b: { needs: [aa], run: [echo, "{{ nope }}"], undo: none }
        :                    ^^
     10 |       c: { run: x, sql: { database: x, query: y } }
        `----
      help: did you mean `a`?
    error book.yaml:9:37
      x the name `nope` is not defined here
        ,-[book.yaml:9:37]
      8 |       a: { run: "echo {{ span }}", undo: none }
      9 |       b: { needs: [aa], run: [echo, "{{ nope }}"], undo: none }
        :                                     ^^^^^^^^^^^^
     10 |       c: { run: x, sql: { database: x, query: y } }
        `----
      help: known here: attempt, run, span, steps
    error book.yaml:10:7
      x there are 2 actions here: run, sql
        ,-[book.yaml:10:7]
      9 |       b: { needs: [aa], run: [echo, "{{ nope }}"], undo: none }
     10 |       c: { run: x, sql: { database: x, query: y } }
        :       ^
     11 |       e: { title: nothing }
        `----
      help: make a step of each
    error book.yaml:11:7
      x there is no action here
        ,-[book.yaml:11:7]
     10 |       c: { run: x, sql: { database: x, query: y } }
     11 |       e: { title: nothing }
        :       ^
     12 |       f: { run: x, when: "1 +", timeout: 5 minutes }
        `----
      help: give it one of run, sql, http, copy, dns, propagation, shift, wait, notify, task, approve
            or runbook
    error book.yaml:12:26
      x bad condition, at column 4: Syntax error: mismatched input '<EOF>' expecting {'[', '{', '(',
      | '.', '-', '!', 'true', 'false', 'null', NUM_FLOAT, NUM_INT, NUM_UINT, STRING, BYTES,
      | IDENTIFIER}
        ,-[book.yaml:12:26]
     11 |       e: { title: nothing }
     12 |       f: { run: x, when: "1 +", timeout: 5 minutes }
        :                          ^^^^^
     13 |       g: { run: x, retry: { attempts: 3 }, expect: "exit_cod == 0" }
        `----
    error book.yaml:12:42
      x `5 minutes` is not a duration; write for example 30s, 5m, 1h30m, 250ms or 2d
        ,-[book.yaml:12:42]
     11 |       e: { title: nothing }
     12 |       f: { run: x, when: "1 +", timeout: 5 minutes }
        :                                          ^^^^^^^^^
     13 |       g: { run: x, retry: { attempts: 3 }, expect: "exit_cod == 0" }
        `----
    error book.yaml:13:20
      x a step that is not idempotent is never repeated by itself
        ,-[book.yaml:13:20]
     12 |       f: { run: x, when: "1 +", timeout: 5 minutes }
     13 |       g: { run: x, retry: { attempts: 3 }, expect: "exit_cod == 0" }
        :                    ^^^^^
     14 |       h: { runbook: missing.yaml }
        `----
      help: say `idempotent: true` if doing it twice does no harm; without it, a failed attempt may
            have had its effect
    error book.yaml:13:52
      x the name `exit_cod` is not defined here
        ,-[book.yaml:13:52]
     12 |       f: { run: x, when: "1 +", timeout: 5 minutes }
     13 |       g: { run: x, retry: { attempts: 3 }, expect: "exit_cod == 0" }
        :                                                    ^^^^^^^^^^^^^^^^
     14 |       h: { runbook: missing.yaml }
        `----
      help: did you mean `exit_code`?
    error book.yaml:14:12
      x the file missing.yaml cannot be read: No such file or directory (os error 2)
        ,-[book.yaml:14:12]
     13 |       g: { run: x, retry: { attempts: 3 }, expect: "exit_cod == 0" }
     14 |       h: { runbook: missing.yaml }
        :            ^^^^^^^
     15 |   two:
        `----
    error book.yaml:17:7
      x the step `a` stands here a second time; the first is on line 8
        ,-[book.yaml:17:7]
     16 |     steps:
     17 |       a: { wait: 3s }
        :       ^
     18 |       z: { wait: 3s }
        `----
      help: ids are unique in a runbook, so that a name always means one step
    error book.yaml:19:7
      x `z` stands here a second time; the first is on line 18
        ,-[book.yaml:19:7]
     18 |       z: { wait: 3s }
     19 |       z: { wait: 3s }
        :       ^
        `----
      help: rename or remove one of the two
    14 problems in the runbook; nothing was journaled
    exit 2
    "#);
    assert_eq!(sandbox.code("run book.yaml"), 2);
    assert!(!sandbox.path("journal").exists(), "nothing is journaled");
}

#[test]
fn a_wrong_type_does_not_hide_what_is_wrong_elsewhere() {
    let sandbox = Sandbox::with(
        r#"runbook: mixed
parameters:
  size: { type: integer, default: 1, description: [a, list] }
phases:
  p:
    steps:
      one: { run: { a: map }, undo: none }
      two: { run: 'echo {{ size }}', timeout: [5], needs: [onne] }
      three: { sql: { database: x.db, query: SELECT 1, rows: 2 }, when: sise > 1, undo: 5 }
      four: { run: [echo, "{{ steps.one.x }} {{ nobody }} {{ size }}"], needs: [five] }
      five: { run: [echo], needs: [four] }
"#,
    );
    insta::assert_snapshot!(sandbox.run("check book.yaml"), @r#"
    error book.yaml:3:51
      x a list stands here, but a text is wanted
       ,-[book.yaml:3:51]
     2 | parameters:
     3 |   size: { type: integer, default: 1, description: [a, list] }
       :                                                   ^
     4 | phases:
       `----
    error book.yaml:7:14
      x exactly one of script and command belongs here
       ,-[book.yaml:7:14]
     6 |     steps:
     7 |       one: { run: { a: map }, undo: none }
       :              ^^^
     8 |       two: { run: 'echo {{ size }}', timeout: [5], needs: [onne] }
       `----
    error book.yaml:7:21
      x unknown key `a`
       ,-[book.yaml:7:21]
     6 |     steps:
     7 |       one: { run: { a: map }, undo: none }
       :                     ^
     8 |       two: { run: 'echo {{ size }}', timeout: [5], needs: [onne] }
       `----
      help: known here: script, command, shell, cwd, env, stdin
    error book.yaml:8:19
      x a template in a script: scripts are never templated, so that no value can become code
       ,-[book.yaml:8:19]
     7 |       one: { run: { a: map }, undo: none }
     8 |       two: { run: 'echo {{ size }}', timeout: [5], needs: [onne] }
       :                   ^^^^^^^^^^^^^^^^^
     9 |       three: { sql: { database: x.db, query: SELECT 1, rows: 2 }, when: sise > 1, undo: 5 }
       `----
      help: pass the value as an environment variable: put `NAME: "{{ value }}"` under `env` and write
            "$NAME" here
    error book.yaml:8:47
      x a list stands here, but a text is wanted
       ,-[book.yaml:8:47]
     7 |       one: { run: { a: map }, undo: none }
     8 |       two: { run: 'echo {{ size }}', timeout: [5], needs: [onne] }
       :                                               ^
     9 |       three: { sql: { database: x.db, query: SELECT 1, rows: 2 }, when: sise > 1, undo: 5 }
       `----
    error book.yaml:8:60
      x there is no step `onne`
       ,-[book.yaml:8:60]
     7 |       one: { run: { a: map }, undo: none }
     8 |       two: { run: 'echo {{ size }}', timeout: [5], needs: [onne] }
       :                                                            ^^^^
     9 |       three: { sql: { database: x.db, query: SELECT 1, rows: 2 }, when: sise > 1, undo: 5 }
       `----
      help: did you mean `one`?
    error book.yaml:9:56
      x unknown key `rows`
        ,-[book.yaml:9:56]
      8 |       two: { run: 'echo {{ size }}', timeout: [5], needs: [onne] }
      9 |       three: { sql: { database: x.db, query: SELECT 1, rows: 2 }, when: sise > 1, undo: 5 }
        :                                                        ^^^^
     10 |       four: { run: [echo, "{{ steps.one.x }} {{ nobody }} {{ size }}"], needs: [five] }
        `----
      help: known here: database, attach, statement, query, parameters, transaction
    error book.yaml:9:73
      x the name `sise` is not defined here
        ,-[book.yaml:9:73]
      8 |       two: { run: 'echo {{ size }}', timeout: [5], needs: [onne] }
      9 |       three: { sql: { database: x.db, query: SELECT 1, rows: 2 }, when: sise > 1, undo: 5 }
        :                                                                         ^^^^^^^^
     10 |       four: { run: [echo, "{{ steps.one.x }} {{ nobody }} {{ size }}"], needs: [five] }
        `----
      help: did you mean `size`?
    error book.yaml:9:89
      x a number stands here, but a text or a map is wanted
        ,-[book.yaml:9:89]
      8 |       two: { run: 'echo {{ size }}', timeout: [5], needs: [onne] }
      9 |       three: { sql: { database: x.db, query: SELECT 1, rows: 2 }, when: sise > 1, undo: 5 }
        :                                                                                         ^
     10 |       four: { run: [echo, "{{ steps.one.x }} {{ nobody }} {{ size }}"], needs: [five] }
        `----
    error book.yaml:10:7
      x these steps wait for each other: p/four → p/five → p/four
        ,-[book.yaml:10:7]
      9 |       three: { sql: { database: x.db, query: SELECT 1, rows: 2 }, when: sise > 1, undo: 5 }
     10 |       four: { run: [echo, "{{ steps.one.x }} {{ nobody }} {{ size }}"], needs: [five] }
        :       ^^^^
     11 |       five: { run: [echo], needs: [four] }
        `----
      help: remove one of the `needs`
    error book.yaml:10:27
      x the name `nobody` is not defined here
        ,-[book.yaml:10:27]
      9 |       three: { sql: { database: x.db, query: SELECT 1, rows: 2 }, when: sise > 1, undo: 5 }
     10 |       four: { run: [echo, "{{ steps.one.x }} {{ nobody }} {{ size }}"], needs: [five] }
        :                           ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
     11 |       five: { run: [echo], needs: [four] }
        `----
      help: known here: attempt, run, size, steps
    11 problems in the runbook; nothing was journaled
    exit 2
    "#);
}

#[test]
fn a_cycle_is_shown_as_its_path() {
    let sandbox = Sandbox::with(
        "runbook: c
phases:
  p:
    steps:
      a: { run: x, needs: [b] }
      b: { run: x, needs: [c] }
      c: { run: x, needs: [a] }
",
    );
    insta::assert_snapshot!(sandbox.run("check book.yaml"), @"
    error book.yaml:5:7
      x these steps wait for each other: p/a → p/b → p/c → p/a
       ,-[book.yaml:5:7]
     4 |     steps:
     5 |       a: { run: x, needs: [b] }
       :       ^
     6 |       b: { run: x, needs: [c] }
       `----
      help: remove one of the `needs`
    one problem in the runbook; nothing was journaled
    exit 2
    ");
}

#[test]
fn hostile_files_are_refused_quickly() {
    let sandbox = Sandbox::new();
    sandbox.write("deep.yaml", format!("a: {}", "[".repeat(10_000)));
    sandbox.write(
        "block.yaml",
        (0..10_000).map(|depth| format!("{}a:\n", " ".repeat(depth))).collect::<String>(),
    );
    sandbox.write("utf8.yaml", b"runbook: \xff\n");
    let mut bomb = "a0: &a0 [x,x,x,x,x,x,x,x,x]\n".to_owned();
    for at in 1..12 {
        bomb.push_str(&format!("a{at}: &a{at} [{}]\n", vec![format!("*a{}", at - 1); 9].join(",")));
    }
    sandbox.write("bomb.yaml", bomb);
    sandbox.write("empty.yaml", "");
    sandbox.write("two.yaml", "a: 1\n---\nb: 2\n");
    let begun = std::time::Instant::now();
    let shown: Vec<String> = ["deep", "block", "utf8", "bomb", "empty", "two"]
        .iter()
        .map(|name| sandbox.run(&format!("check {name}.yaml")))
        .collect();
    // What is expanded would take for ever.
    assert!(begun.elapsed().as_secs() < 60);
    let words: Vec<&str> = shown
        .iter()
        .map(|text| {
            text.lines()
                .find(|line| line.contains("  x ") || line.starts_with("  "))
                .unwrap_or(text)
                .trim()
        })
        .collect();
    insta::assert_snapshot!(words.join("\n"), @"
    x this is not valid YAML: recursion limit exceeded
    x nested deeper than 64 levels
    x byte 9 is not valid UTF-8
    x aliases here repeat more than 100000 nodes
    empty.yaml: the file is empty
    x a second document begins here
    ");
    assert!(shown.iter().all(|text| text.ends_with("exit 2")));
}

#[test]
fn nested_runbooks_stay_in_their_folder_and_do_not_circle() {
    let sandbox = Sandbox::new();
    sandbox.write("outside.yaml", "runbook: o\nphases: { p: { steps: { a: { wait: 1s } } } }\n");
    sandbox.write(
        "in/book.yaml",
        "runbook: b
phases:
  p:
    steps:
      o: { runbook: ../outside.yaml }
      c: { runbook: circle.yaml }
",
    );
    sandbox.write(
        "in/circle.yaml",
        "runbook: c\nphases:\n  p:\n    steps:\n      again: { runbook: circle.yaml }\n",
    );
    insta::assert_snapshot!(sandbox.run("check in/book.yaml"), @"
    error in/book.yaml:5:12
      x outside.yaml lies outside <folder>/in, the folder of this runbook
       ,-[in/book.yaml:5:12]
     4 |     steps:
     5 |       o: { runbook: ../outside.yaml }
       :            ^^^^^^^
     6 |       c: { runbook: circle.yaml }
       `----
    error in/circle.yaml:5:16
      x runbooks nest in a circle: in/book.yaml → in/circle.yaml → in/circle.yaml
       ,-[in/circle.yaml:5:16]
     4 |     steps:
     5 |       again: { runbook: circle.yaml }
       :                ^^^^^^^
       `----
    2 problems in the runbook; nothing was journaled
    exit 2
    ");
}

#[test]
fn values_are_checked_before_anything_is_journaled() {
    let sandbox = Sandbox::with(
        "runbook: v
parameters:
  port: { type: integer }
  tier: { enum: [gold, iron], default: gold }
  host: { pattern: \"[a-z]+\", default: web }
environments:
  lab: { port: 1 }
phases: { p: { steps: { a: { run: [echo, \"{{ port }}\"], undo: none } } } }
",
    );
    insta::assert_snapshot!(sandbox.run("run book.yaml --set port=x --set tier=lead --set host=a1 \
        --set prot=2"), @r#"
    error book.yaml:2:1
      x --set prot=2: there is no parameter `prot`
       ,-[book.yaml:2:1]
     1 | runbook: v
     2 | parameters:
       : ^^^^^^^^^^
     3 |   port: { type: integer }
       `----
      help: did you mean `port`?
    error book.yaml:3:3
      x the parameter `port`: --set port=x: a whole number is wanted, not `x`
       ,-[book.yaml:3:3]
     2 | parameters:
     3 |   port: { type: integer }
       :   ^^^^
     4 |   tier: { enum: [gold, iron], default: gold }
       `----
    error book.yaml:4:3
      x the parameter `tier`: --set tier=lead: `lead` is not one of `gold`, `iron`
       ,-[book.yaml:4:3]
     3 |   port: { type: integer }
     4 |   tier: { enum: [gold, iron], default: gold }
       :   ^^^^
     5 |   host: { pattern: "[a-z]+", default: web }
       `----
    error book.yaml:5:3
      x the parameter `host`: --set host=a1: `a1` does not match the pattern [a-z]+
       ,-[book.yaml:5:3]
     4 |   tier: { enum: [gold, iron], default: gold }
     5 |   host: { pattern: "[a-z]+", default: web }
       :   ^^^^
     6 | environments:
       `----
    4 problems in the runbook; nothing was journaled
    exit 2
    "#);
    insta::assert_snapshot!(sandbox.run("run book.yaml"), @"
    error book.yaml:3:3
      x the parameter `port` has no value
       ,-[book.yaml:3:3]
     2 | parameters:
     3 |   port: { type: integer }
       :   ^^^^
     4 |   tier: { enum: [gold, iron], default: gold }
       `----
      help: give it with `--set port=…`, in a values file or an environment
    one problem in the runbook; nothing was journaled
    exit 2
    ");
    insta::assert_snapshot!(sandbox.run("run book.yaml --env labb"), @r#"
    error book.yaml:3:3
      x the parameter `port` has no value
       ,-[book.yaml:3:3]
     2 | parameters:
     3 |   port: { type: integer }
       :   ^^^^
     4 |   tier: { enum: [gold, iron], default: gold }
       `----
      help: give it with `--set port=…`, in a values file or an environment
    error book.yaml:6:1
      x there is no environment `labb`
       ,-[book.yaml:6:1]
     5 |   host: { pattern: "[a-z]+", default: web }
     6 | environments:
       : ^^^^^^^^^^^^
     7 |   lab: { port: 1 }
       `----
      help: did you mean `lab`?
    2 problems in the runbook; nothing was journaled
    exit 2
    "#);
    assert!(!sandbox.path("journal").exists());
    assert_eq!(sandbox.code("run book.yaml --env lab"), 0);
}

#[test]
fn names_in_templates_are_checked_also_inside_if() {
    let sandbox = Sandbox::with(
        "runbook: t
messages: { start: mine, success: none-such }
phases: { p: { steps: { a: { wait: 1ms } } } }
",
    );
    sandbox.write("templates/mine.txt", "Subject: x\n\n{{#if runbok.title}}x{{/if}}\n");
    insta::assert_snapshot!(sandbox.run("check book.yaml"), @"
    error book.yaml:2:20
      x in the template `mine`: the name `runbok` is not defined here
       ,-[book.yaml:2:20]
     1 | runbook: t
     2 | messages: { start: mine, success: none-such }
       :                    ^^^^
     3 | phases: { p: { steps: { a: { wait: 1ms } } } }
       `----
      help: did you mean `runbook`?
    error book.yaml:2:35
      x there is no template `none-such`
       ,-[book.yaml:2:35]
     1 | runbook: t
     2 | messages: { start: mine, success: none-such }
       :                                   ^^^^^^^^^
     3 | phases: { p: { steps: { a: { wait: 1ms } } } }
       `----
      help: write templates/none-such.txt beside the runbook, its first line `Subject: …`
    2 problems in the runbook; nothing was journaled
    exit 2
    ");
}

#[test]
fn slips_on_the_command_line() {
    let sandbox = Sandbox::with(
        "runbook: s\nphases: { p: { steps: { first-step: { run: [/bin/true], undo: none } } } }\n",
    );
    insta::assert_snapshot!(sandbox.run("status"), @"
    error: there is no journal at <folder>/journal
      next: name the folder with --journal or SWITCHOVER_JOURNAL
    exit 6
    ");
    insta::assert_snapshot!(sandbox.run("run nowhere.yaml"), @"
    error nowhere.yaml:1:1
      nowhere.yaml: the file nowhere.yaml cannot be read: No such file or directory (os error 2)
    one problem in the runbook; nothing was journaled
    exit 2
    ");
    insta::assert_snapshot!(sandbox.run("run book.yaml --until first-stp"), @"
    error: there is no step `first-stp` in this runbook; did you mean `first-step`?
    exit 2
    ");
    sandbox.code("run book.yaml");
    insta::assert_snapshot!(sandbox.run("logs frist-step"), @"
    error: there is no step `frist-step` in this runbook; did you mean `first-step`?
    exit 2
    ");
    insta::assert_snapshot!(sandbox.run("status zzzz"), @"
    error: there is no run <run> in this journal
      next: `switchover list` shows the runs
    exit 6
    ");
    insta::assert_snapshot!(sandbox.run("resolve first-step --as done --reason x"), @"
    error: p/first-step is done: there is nothing to resolve
      next: `switchover status` shows what is open
    exit 6
    ");
}
