//! What a tired operator gets wrong: every problem in one go, with its place and a suggestion, and nothing journaled.

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
    insta::assert_snapshot!(sandbox.run("check book.yaml"), @"");
    assert_eq!(sandbox.code("run book.yaml"), 2);
    assert!(!sandbox.path("journal").exists(), "nothing is journaled");
}

#[test]
fn a_cycle_is_shown_as_its_path() {
    let sandbox = Sandbox::with("runbook: c\nphases:\n  p:\n    steps:\n      a: { run: x, needs: [b] }\n      b: { run: x, needs: [c] }\n      c: { run: x, needs: [a] }\n");
    insta::assert_snapshot!(sandbox.run("check book.yaml"), @"");
}

#[test]
fn hostile_files_are_refused_quickly() {
    let sandbox = Sandbox::new();
    sandbox.write("deep.yaml", format!("a: {}", "[".repeat(10_000)));
    sandbox.write("block.yaml", (0..10_000).map(|depth| format!("{}a:\n", " ".repeat(depth))).collect::<String>());
    sandbox.write("utf8.yaml", b"runbook: \xff\n");
    let mut bomb = "a0: &a0 [x,x,x,x,x,x,x,x,x]\n".to_owned();
    for at in 1..12 {
        bomb.push_str(&format!("a{at}: &a{at} [{}]\n", vec![format!("*a{}", at - 1); 9].join(",")));
    }
    sandbox.write("bomb.yaml", bomb);
    sandbox.write("empty.yaml", "");
    sandbox.write("two.yaml", "a: 1\n---\nb: 2\n");
    let begun = std::time::Instant::now();
    let shown: Vec<String> = ["deep", "block", "utf8", "bomb", "empty", "two"].iter().map(|name| sandbox.run(&format!("check {name}.yaml"))).collect();
    assert!(begun.elapsed().as_secs() < 5);
    let words: Vec<&str> = shown.iter().map(|text| text.lines().find(|line| line.contains("  x ") || line.starts_with("  ")).unwrap_or(text).trim()).collect();
    insta::assert_snapshot!(words.join("\n"), @"");
    assert!(shown.iter().all(|text| text.ends_with("exit 2")));
}

#[test]
fn nested_runbooks_stay_in_their_folder_and_do_not_circle() {
    let sandbox = Sandbox::new();
    sandbox.write("outside.yaml", "runbook: o\nphases: { p: { steps: { a: { wait: 1s } } } }\n");
    sandbox.write("in/book.yaml", "runbook: b\nphases:\n  p:\n    steps:\n      o: { runbook: ../outside.yaml }\n      c: { runbook: circle.yaml }\n");
    sandbox.write("in/circle.yaml", "runbook: c\nphases:\n  p:\n    steps:\n      again: { runbook: circle.yaml }\n");
    insta::assert_snapshot!(sandbox.run("check in/book.yaml"), @"");
}

#[test]
fn values_are_checked_before_anything_is_journaled() {
    let sandbox = Sandbox::with(
        "runbook: v\nparameters:\n  port: { type: integer }\n  tier: { enum: [gold, iron], default: gold }\n  host: { pattern: \"[a-z]+\", default: web }\nenvironments:\n  lab: { port: 1 }\nphases: { p: { steps: { a: { run: [echo, \"{{ port }}\"], undo: none } } } }\n",
    );
    insta::assert_snapshot!(sandbox.run("run book.yaml --set port=x --set tier=lead --set host=a1 --set prot=2"), @"");
    insta::assert_snapshot!(sandbox.run("run book.yaml"), @"");
    insta::assert_snapshot!(sandbox.run("run book.yaml --env labb"), @"");
    assert!(!sandbox.path("journal").exists());
    assert_eq!(sandbox.code("run book.yaml --env lab"), 0);
}

#[test]
fn names_in_templates_are_checked_also_inside_if() {
    let sandbox = Sandbox::with("runbook: t\nmessages: { start: mine, success: none-such }\nphases: { p: { steps: { a: { wait: 1ms } } } }\n");
    sandbox.write("templates/mine.txt", "Subject: x\n\n{{#if runbok.title}}x{{/if}}\n");
    insta::assert_snapshot!(sandbox.run("check book.yaml"), @"");
}

#[test]
fn slips_on_the_command_line() {
    let sandbox = Sandbox::with("runbook: s\nphases: { p: { steps: { first-step: { run: [/bin/true], undo: none } } } }\n");
    insta::assert_snapshot!(sandbox.run("status"), @"");
    insta::assert_snapshot!(sandbox.run("run nowhere.yaml"), @"");
    insta::assert_snapshot!(sandbox.run("run book.yaml --until first-stp"), @"");
    sandbox.code("run book.yaml");
    insta::assert_snapshot!(sandbox.run("logs frist-step"), @"");
    insta::assert_snapshot!(sandbox.run("status zzzz"), @"");
    insta::assert_snapshot!(sandbox.run("resolve first-step --as done --reason x"), @"");
}
