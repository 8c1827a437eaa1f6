//! Journals that earlier versions wrote: today's program verifies them, takes their runs up, and
//! rolls them back. The journals lie in `tests/journals`.

use std::path::Path;
use std::process::Command;

use super::sandbox::{Sandbox, repository};

/// A sandbox with a copy of the journal that a version wrote.
fn sandbox(version: &str) -> Sandbox {
    let sandbox = Sandbox::new();
    let from = repository().join("tests/journals").join(version).join("journal");
    copy(&from, &sandbox.path("journal"));
    sandbox
}

/// A checkout may have wider modes than a journal.
fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-r").args([from, to]).status().expect("cp");
    assert!(copied.success());
    let private = Command::new("chmod").args(["-R", "go="]).arg(to).status().expect("chmod");
    assert!(private.success());
}

#[test]
fn every_run_of_an_earlier_version_verifies() {
    let sandbox = sandbox("0.1.0");
    let listed = sandbox.run("list");
    let all = [
        ("finished", "finished"),
        ("waits", "waiting"),
        ("failed", "failed"),
        ("back", "rolled back"),
        ("doubt", "stopped"),
        ("executor-killed", "stopped"),
    ];
    for (name, state) in all {
        let is_line = |line: &&str| line.contains(&format!("({name})")) && line.contains(state);
        assert_eq!(listed.lines().filter(is_line).count(), 1, "{name}: {listed}");
        let verified = sandbox.run(&format!("audit --verify {name}"));
        assert!(verified.contains("whole") && verified.ends_with("exit 0"), "{name}: {verified}");
        let status = sandbox.code(&format!("status {name}"));
        assert_eq!(status, 0, "{name}");
    }
}

#[test]
fn every_run_of_an_earlier_version_goes_on_and_back() {
    let sandbox = sandbox("0.1.0");
    let answer = |name: &str| {
        let line = format!("resolve --run {name} ask --as done --set seen=3 --reason seen");
        assert_eq!(sandbox.code(&line), 0, "{name}");
    };
    let last = |direction: &str, number: u32| format!("end change/last {direction} {number}");

    answer("waits");
    assert_eq!(sandbox.code("resume waits"), 0);
    assert_eq!(sandbox.witness(), ["begin change/last forward 1", &last("forward", 1)]);

    assert_eq!(
        sandbox.code("resume failed"),
        3,
        "the step is repeated, and then a person is asked"
    );
    answer("failed");
    assert_eq!(sandbox.code("resume failed"), 0);
    assert!(sandbox.witness().contains(&"end change/maybe forward 2".to_owned()));

    // The keeper recorded the end: nothing is repeated.
    let before = sandbox.witness().len();
    assert_eq!(sandbox.code("resume executor-killed"), 3);
    answer("executor-killed");
    assert_eq!(sandbox.code("resume executor-killed"), 0);
    assert_eq!(sandbox.witness()[before..], ["begin change/last forward 1", &last("forward", 1)]);

    // Nobody recorded it: a person is asked.
    let before = sandbox.witness().len();
    assert_eq!(sandbox.code("resume doubt"), 3);
    assert_eq!(sandbox.witness().len(), before, "nothing begins");
    assert_eq!(sandbox.code("resolve --run doubt maybe --as done --reason seen"), 0);
    assert_eq!(sandbox.code("resume doubt"), 3);
    answer("doubt");
    assert_eq!(sandbox.code("resume doubt"), 0);

    let before = sandbox.witness().len();
    assert_eq!(sandbox.code("rollback finished"), 4);
    let undone = &sandbox.witness()[before..];
    assert_eq!(undone.first().map(String::as_str), Some("begin change/last undo 1"));
    assert_eq!(undone.last().map(String::as_str), Some("end prepare/first undo 1"));
    assert_eq!(undone.len(), 10, "{undone:?}");

    let before = sandbox.witness().len();
    sandbox.code("resume back");
    assert_eq!(sandbox.witness().len(), before, "a run that is over adds nothing");
}
