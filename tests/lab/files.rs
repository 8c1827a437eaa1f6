//! The packs for files and objects: killed, gone on with, compared, and taken back, with rsync and
//! rclone as they are.

use super::sandbox::{Sandbox, kill_all, repository};

/// Files with names that shells and lists stumble over, links and empty folders.
fn files(sandbox: &Sandbox, tool: &str) {
    for number in 0..400 {
        sandbox.write(
            &format!("old/{}/file {number} *'\"é.txt", number % 13),
            format!("{number}").repeat(number),
        );
    }
    sandbox.write("old/-rf", "a file");
    sandbox.write("old/#comment", "a file");
    sandbox.write("old/{a,b}/[x]?.txt", "a file");
    if tool == "rsync" {
        sandbox.write("old/line\nbreak", "a file");
        std::fs::create_dir_all(sandbox.path("old/empty/folder")).unwrap();
        std::os::unix::fs::symlink("-rf", sandbox.path("old/link")).unwrap();
    }
}

fn book(tool: &str, keys: &str) -> Sandbox {
    let pack =
        std::fs::read(repository().join(format!("runbooks/packs/files/{tool}.yaml"))).unwrap();
    let sandbox = Sandbox::with(&format!(
        "runbook: files
phases:
  p:
    steps:
      move:
        runbook: {{ file: {tool}.yaml, parameters: {{ source: old, target: new, work: work{keys} }} }}
"
    ));
    sandbox.write(&format!("{tool}.yaml"), pack);
    files(&sandbox, tool);
    sandbox
}

/// Every path below a folder, with what is in it.
fn all(sandbox: &Sandbox, folder: &str) -> Vec<String> {
    let list = "find . -mindepth 1 -printf '%P %y %l ' \\( -type f -exec md5sum {} \\; -o -printf \
        '\\n' \\) | LC_ALL=C sort";
    let output = std::process::Command::new("sh")
        .args(["-c", list])
        .current_dir(sandbox.path(folder))
        .output()
        .unwrap();
    String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
}

#[test]
fn files_are_copied_over_a_crash_compared_and_removed_again() {
    for tool in ["rsync", "rclone"] {
        // So slow that it can be killed in between.
        let sandbox = book(tool, ", batch: 5");
        let child = sandbox.start("run book.yaml");
        let begun = std::time::Instant::now();
        while all_files(&sandbox) < 30 {
            assert!(begun.elapsed().as_secs() < 60, "{}", sandbox.run("status"));
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        kill_all(child);
        let before = all_files(&sandbox);
        assert!(before < 400, "{tool}: it was not killed in between");
        let shown = sandbox.run("resume");
        assert!(shown.ends_with("exit 0"), "{tool}: {shown}");
        assert_eq!(all(&sandbox, "new"), all(&sandbox, "old"), "{tool}");
        // What the new side wrote since is not what was copied.
        sandbox.write("new/3/own", "new");
        let shown = sandbox.run("rollback");
        assert!(shown.ends_with("exit 4"), "{tool}: {shown}");
        let left: Vec<String> = all(&sandbox, "new")
            .into_iter()
            .map(|line| line.split(' ').next().unwrap_or_default().to_owned())
            .collect();
        assert_eq!(left, ["3", "3/own"], "{tool}");
        assert!(!sandbox.path("work/list").exists());
    }
}

fn all_files(sandbox: &Sandbox) -> usize {
    match sandbox.path("new").exists() {
        true => all(sandbox, "new").iter().filter(|line| line.contains(" f ")).count(),
        false => 0,
    }
}

#[test]
fn a_difference_and_a_target_with_files_are_named() {
    for tool in ["rsync", "rclone"] {
        let sandbox = book(tool, "");
        sandbox.write("new/there before", "x");
        let shown = sandbox.run("run book.yaml");
        assert!(
            shown.contains("there before is there") && shown.ends_with("exit 1"),
            "{tool}: {shown}"
        );
        assert!(sandbox.run("rollback").ends_with("exit 4"));
        assert_eq!(all(&sandbox, "new").len(), 1, "{tool}");

        let sandbox = book(tool, "");
        // Between the copy and the comparison, somebody changes a file.
        let pack = sandbox.read(&format!("{tool}.yaml")).replace(
            "  verify:\n    title: Compare\n    steps:\n",
            "  verify:
    title: Compare
    steps:
      change: { run: 'printf 9 > \"$TARGET/-rf\"', undo: none }
",
        );
        sandbox.write(&format!("{tool}.yaml"), pack);
        let shown = sandbox.run("run book.yaml");
        assert!(shown.contains("-rf") && shown.ends_with("exit 1"), "{tool}: {shown}");
        assert!(sandbox.run("rollback").ends_with("exit 4"));
        assert_eq!(all(&sandbox, "new"), Vec::<String>::new(), "{tool}");
    }
}
