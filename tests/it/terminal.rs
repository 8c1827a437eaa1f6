//! What a person at a terminal sees.

use super::sandbox::Sandbox;

#[test]
fn the_board_shows_phases_what_runs_and_how_much_is_left() {
    let sandbox = Sandbox::with(
        r#"runbook: shop
phases:
  prepare:
    steps:
      backup: { run: 'echo x >> "$W"', undo: none, estimate: 4s }
  migrate:
    steps:
      copy: { run: 'echo 41 % >> "$SWITCHOVER_PROGRESS"; sleep 2.5', undo: none, estimate: 40s }
      check: { run: 'for i in 1 2 3 4 5; do echo line $i; done; exit 3', undo: none }
  cutover:
    steps:
      point: { run: [/bin/true], undo: none, estimate: 5s }
"#,
    );
    let seen = sandbox.in_terminal("run book.yaml", "");
    for expected in [
        "shop run <run> oncall@test 00:00:0",
        "prepare done 1 of 1 ",
        "migrate running 0 of 2 ",
        "s of about 40s 41 % cutover pending 0 of 1 estimates 5s [#####---------------] 1 of 4 \
         steps about 4",
        "FAILED migrate/check: exit 3: line 3 | line 4 | line 5",
        "switchover resume <run>",
    ] {
        assert!(seen.contains(expected), "{expected} is not in:\n{seen}");
    }
    assert!(seen.ends_with("exit 1"), "{seen}");
}

#[test]
fn a_guided_run_asks_before_every_step() {
    let sandbox = Sandbox::with(
        r#"runbook: guided
phases:
  p:
    steps:
      one: { title: Do one, description: Because., role: dba, run: 'echo one >> "$W"', undo: { run: 'echo undo one >> "$W"' }, estimate: 2s }
      two: { run: 'echo two >> "$W"', undo: none }
      three: { run: 'echo three >> "$W"', undo: none }
"#,
    );
    let seen = sandbox.in_terminal("run --guided book.yaml", "go\ns\nnot needed\nr\nenough\n");
    for expected in ["what Do one why Because. who dba", "takes about 2s", "undo echo undo one"] {
        assert!(seen.contains(expected), "{expected} is not in:\n{seen}");
    }
    let (done, second) = (seen.find("done p/one"), seen.find("step p/two"));
    assert!(
        done.is_some() && done < second,
        "what happened is told before the next question: {seen}"
    );
    assert!(seen.ends_with("exit 4"), "{seen}");
    assert_eq!(sandbox.witness(), ["one", "undo one"]);
}
