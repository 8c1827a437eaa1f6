//! Attempts never overlap (invariant 12), whatever of an attempt was killed and whatever its
//! processes show of themselves. What is told to end is over with all that it began.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use super::processes::nothing_left;
use super::sandbox::{Sandbox, children, kill, signal, wait_until};

/// A step whose work is done by a child of its shell, which writes elsewhere.
fn with_child(keys: &str) -> Sandbox {
    Sandbox::with(&format!(
        r#"runbook: child
phases:
  p:
    steps:
      a:
        run: |
          /bin/sh -c 'echo begin >> "$W"; sleep 2; echo end >> "$W"' > out.log 2>&1
          echo fine
        idempotent: true
        undo: none
        {keys}
"#
    ))
}

#[test]
fn a_child_of_a_killed_shell_is_waited_for_by_the_next_session() {
    let sandbox = with_child("");
    let child = sandbox.start("run book.yaml");
    sandbox.wait_for("begin");
    let keeper = children(child.id())[0];
    let shell = children(keeper)[0];
    kill(child);
    signal("KILL", keeper);
    signal("KILL", shell);
    let shown = sandbox.run("resume");
    assert_eq!(sandbox.witness(), ["begin", "end", "begin", "end"], "{shown}");
    assert!(shown.ends_with("exit 0"), "{shown}");
}

#[test]
fn a_child_of_a_killed_shell_is_waited_for_by_a_retry() {
    let sandbox = with_child("retry: { attempts: 2, backoff: 10ms }");
    let mut child = sandbox.start_heard("run book.yaml", &[]);
    sandbox.wait_for("begin");
    let shell = children(children(child.id())[0])[0];
    let work = children(shell)[0];
    signal("KILL", shell);
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert_eq!(sandbox.witness(), ["begin", "end", "begin", "end"]);
    let said = sandbox.read("said");
    assert!(
        said.contains(&format!(
            "waiting: what the last attempt of p/a left still runs (process {work}"
        )),
        "{said}"
    );
}

#[test]
fn what_left_its_group_is_waited_for() {
    let sandbox = Sandbox::with(
        r#"runbook: jobs
phases:
  p:
    steps:
      a:
        run:
          shell: [/bin/bash, -c]
          script: |
            set -m
            (echo begin >> "$W"; sleep 2; echo end >> "$W") < /dev/null > out.log 2>&1 &
            wait
        idempotent: true
        undo: none
"#,
    );
    let child = sandbox.start("run book.yaml");
    sandbox.wait_for("begin");
    let keeper = children(child.id())[0];
    let shell = children(keeper)[0];
    kill(child);
    signal("KILL", keeper);
    signal("KILL", shell);
    assert_eq!(sandbox.code("resume"), 0);
    assert_eq!(sandbox.witness(), ["begin", "end", "begin", "end"]);
}

/// Scripts that begin something that writes `works` for ever, and then wait.
const LEAVERS: [(&str, &str); 4] = [
    (
        "a job in a group of its own",
        r#"set -m; (while sleep 0.05; do echo works >> "$W"; done) < /dev/null > out.log 2>&1 & wait"#,
    ),
    (
        "jobs of an interactive shell",
        r#"exec bash --norc -ic '(while sleep 0.05; do echo works >> "$W"; done) < /dev/null > out.log 2>&1 & wait'"#,
    ),
    (
        "a job in a group of its own, without the variables of its step",
        r#"set -m; env -i W="$W" SWITCHOVER_RUN= bash -c 'while sleep 0.05; do echo works >> "$W"; done' < /dev/null > out.log 2>&1 & wait"#,
    ),
    (
        "a session of its own that holds on to the output",
        r#"setsid bash -c 'while sleep 0.05; do echo works >> "$W"; done' & wait"#,
    ),
];

fn leaver(script: &str) -> Sandbox {
    let script = serde_json::to_string(script).unwrap();
    // Without a note of attempts, as what has no variables cannot write it.
    let sandbox = Sandbox::new();
    sandbox.write(
        "book.yaml",
        format!(
            "runbook: leaver
phases:
  p:
    steps:
      a: {{ run: {{ shell: [/bin/bash, -c], script: {script} }}, timeout: 1s, on_failure: rollback, undo: {{ run: 'echo undo >> \"$W\"' }} }}
"
        ),
    );
    sandbox
}

#[test]
fn what_left_its_group_is_over_at_the_timeout() {
    for (what, script) in LEAVERS {
        let sandbox = leaver(script);
        let shown = sandbox.run("run book.yaml");
        assert!(
            shown.contains("it took longer than 1s and was stopped") && shown.ends_with("exit 4"),
            "{what}: {shown}"
        );
        let witness = sandbox.witness();
        assert!(witness.len() > 1 && witness.last().unwrap() == "undo", "{what}: {witness:?}");
        nothing_left(&sandbox);
    }
}

#[test]
fn what_left_its_group_is_over_at_the_timeout_also_if_nobody_watches_it() {
    for (what, script) in LEAVERS {
        let sandbox = leaver(script);
        let child = sandbox.start("run book.yaml");
        sandbox.wait_for("works");
        super::sandbox::kill_both(child);
        let shown = sandbox.run("resume");
        assert!(shown.ends_with("exit 4"), "{what}: {shown}");
        assert_eq!(sandbox.witness().last().unwrap(), "undo", "{what}");
        nothing_left(&sandbox);
    }
}

#[test]
fn a_daemon_is_no_part_of_an_attempt_that_timed_out() {
    let sandbox = Sandbox::with(
        r#"runbook: daemon
phases:
  p:
    steps:
      a:
        run: '(setsid sh -c "while [ -e hold ]; do sleep 0.01; done" < /dev/null > /dev/null 2>&1 &); echo begin >> "$W"; test -e second || { touch second; sleep 60; }'
        idempotent: true
        timeout: 1s
        retry: { attempts: 2, backoff: 10ms }
        undo: none
"#,
    );
    sandbox.write("hold", "");
    let shown = sandbox.run("run book.yaml");
    assert_eq!(sandbox.witness(), ["begin", "begin"], "{shown}");
    assert!(shown.ends_with("exit 0"), "{shown}");
    std::fs::remove_file(sandbox.path("hold")).unwrap();
}

/// The sandbox, program and all, for another user; and a shell in it that becomes root, as `sudo`
/// does.
fn of_another_user(sandbox: &Sandbox) -> String {
    assert!(rustix::process::geteuid().is_root(), "only root can make a program that becomes root");
    std::fs::copy(env!("CARGO_BIN_EXE_switchover"), sandbox.path("program")).unwrap();
    std::fs::copy("/bin/dash", sandbox.path("become")).unwrap();
    std::fs::set_permissions(sandbox.path("become"), std::fs::Permissions::from_mode(0o4755))
        .unwrap();
    for name in ["", "book.yaml", "hold"] {
        std::os::unix::fs::chown(sandbox.path(name), Some(NOBODY), Some(NOBODY)).unwrap();
    }
    format!("exec setpriv --reuid {NOBODY} --regid {NOBODY} --clear-groups ./program ")
}

const NOBODY: u32 = 65534;

/// A command that becomes another user, so that nothing of its environment can be seen.
const BECOMES: &str = r#"runbook: becomes
phases:
  p:
    steps:
      a:
        run: [./become, -p, -c, 'exec > /dev/null 2>&1; echo begin >> "$W"; while [ -e hold ]; do sleep 0.01; done; echo end >> "$W"']
        idempotent: true
        undo: none
"#;

#[test]
fn what_became_another_user_is_waited_for() {
    for setup in ["", "mount -t proc -o hidepid=2 proc /proc && "] {
        let sandbox = Sandbox::with(BECOMES);
        sandbox.write("hold", "");
        let program = of_another_user(&sandbox);
        let run = |verb: &str| {
            let said = std::fs::File::create(sandbox.path("said")).unwrap();
            let mut command = Command::new("unshare");
            command
                .args(["-m", "sh", "-c", &format!("{setup}{program}{verb}")])
                .current_dir(sandbox.path(""));
            command
                .env("W", sandbox.path("witness"))
                .env("SWITCHOVER_LOCKS", sandbox.path("locks"))
                .env_remove("SWITCHOVER_JOURNAL");
            command
                .stdin(std::process::Stdio::null())
                .stdout(std::process::Stdio::null())
                .stderr(said)
                .spawn()
                .unwrap()
        };
        let child = run("run book.yaml");
        sandbox.wait_for("begin");
        super::sandbox::kill_both(child);
        let mut resumed = run("resume");
        let says = if setup.is_empty() {
            "the command of p/a still runs"
        } else {
            "the command of p/a may still run"
        };
        wait_until("it says what still runs", || sandbox.read("said").contains(says));
        std::thread::sleep(std::time::Duration::from_millis(500));
        assert_eq!(sandbox.witness(), ["begin"], "{setup}: {}", sandbox.read("said"));
        std::fs::remove_file(sandbox.path("hold")).unwrap();
        assert_eq!(resumed.wait().unwrap().code(), Some(0), "{setup}: {}", sandbox.read("said"));
        assert_eq!(
            sandbox.witness(),
            ["begin", "end", "begin", "end"],
            "{setup}: {}",
            sandbox.read("said")
        );
    }
}

#[test]
fn a_strangers_process_does_not_block_a_retry() {
    let sandbox = Sandbox::with(
        "runbook: retry
phases:
  p:
    steps:
      a: { run: 'echo begin >> \"$W\"; echo $SWITCHOVER_IDEMPOTENCY_KEY > key; test -e second', idempotent: true, undo: none }
",
    );
    assert_eq!(sandbox.code("run book.yaml"), 1);
    let mut stranger = Command::new("setpriv");
    stranger.args(["--reuid", "65534", "--regid", "65534", "--clear-groups", "sleep", "60"]);
    stranger
        .env("SWITCHOVER_IDEMPOTENCY_KEY", sandbox.read("key").trim())
        .env("SWITCHOVER_ATTEMPT", "1");
    let mut stranger = stranger.spawn().unwrap();
    sandbox.write("second", "");
    assert_eq!(sandbox.code("resume"), 0);
    stranger.kill().unwrap();
    stranger.wait().unwrap();
}

/// A run whose executor, keeper and command were killed while the command ran.
fn killed_in_the_midst() -> Sandbox {
    let sandbox = Sandbox::with(
        "runbook: midst
phases:
  p:
    steps:
      a: { run: 'echo begin >> \"$W\"; while [ -e hold ]; do sleep 0.01; done; echo end >> \"$W\"', idempotent: true, undo: none }
",
    );
    sandbox.write("hold", "");
    let child = sandbox.start("run book.yaml");
    sandbox.wait_for("begin");
    super::sandbox::kill_all(child);
    nothing_left(&sandbox);
    sandbox
}

#[test]
fn of_what_cannot_be_seen_a_person_can_say_how_it_is() {
    let sandbox = killed_in_the_midst();
    let elsewhere = |line: &str| {
        // A namespace of host names: another machine, as far as anybody can see.
        let mut command = Command::new("unshare");
        let shell = format!("hostname elsewhere; exec {} {line}", env!("CARGO_BIN_EXE_switchover"));
        command
            .args(["-u", "sh", "-c", &shell])
            .current_dir(sandbox.path(""))
            .stdin(std::process::Stdio::null());
        command
            .env("W", sandbox.path("witness"))
            .env("SWITCHOVER_LOCKS", sandbox.path("locks"))
            .env_remove("SWITCHOVER_JOURNAL");
        let said = std::fs::File::create(sandbox.path("said")).unwrap();
        command.stdout(std::process::Stdio::null()).stderr(said).spawn().unwrap()
    };
    let mut resumed = elsewhere("resume");
    wait_until("it says what may still run", || {
        sandbox.read("said").contains("the command of p/a may still run")
    });
    let said = sandbox.read("said");
    assert!(
        said.contains("it was begun on the machine") && said.contains("switchover resolve"),
        "{said}"
    );
    // Twice, as somebody who does not want to wait: it is told to end, and then given up.
    signal("INT", resumed.id());
    wait_until("it has heard that", || sandbox.read("said").contains("nothing new begins"));
    signal("INT", resumed.id());
    assert_eq!(resumed.wait().unwrap().code(), Some(130), "{}", sandbox.read("said"));
    let mut resolved = elsewhere("resolve a --as not-done --reason looked");
    assert_eq!(resolved.wait().unwrap().code(), Some(0), "{}", sandbox.read("said"));
    std::fs::remove_file(sandbox.path("hold")).unwrap();
    let mut resumed = elsewhere("resume");
    assert_eq!(resumed.wait().unwrap().code(), Some(0), "{}", sandbox.read("said"));
    assert_eq!(sandbox.witness(), ["begin", "begin", "end"]);
}

#[test]
fn before_the_machine_began_nothing_lives() {
    let sandbox = killed_in_the_midst();
    std::fs::remove_file(sandbox.path("hold")).unwrap();
    sandbox.write("boot", "00000000-0000-4000-8000-000000000000\n");
    // Another boot, in which the numbers are given to others: this very test's group and session
    // could be among them.
    let shell = format!(
        "mount --bind boot /proc/sys/kernel/random/boot_id && exec {} resume",
        env!("CARGO_BIN_EXE_switchover")
    );
    let mut command = Command::new("unshare");
    command
        .args(["-m", "sh", "-c", &shell])
        .current_dir(sandbox.path(""))
        .stdin(std::process::Stdio::null());
    command
        .env("W", sandbox.path("witness"))
        .env("SWITCHOVER_LOCKS", sandbox.path("locks"))
        .env_remove("SWITCHOVER_JOURNAL");
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(sandbox.witness(), ["begin", "begin", "end"]);
}

#[test]
fn a_record_that_says_less_is_enough() {
    // As an earlier version wrote it; and as of a keeper that died while it began the command.
    for left_out in [&["serves", "runs"][..], &["runs"]] {
        let sandbox = with_child("");
        let child = sandbox.start("run book.yaml");
        sandbox.wait_for("begin");
        super::sandbox::kill_both(child);
        let runs = std::fs::read_dir(sandbox.path("journal/runs"))
            .unwrap()
            .next()
            .unwrap()
            .unwrap()
            .path();
        let record = std::fs::read_to_string(runs.join("commands-1")).unwrap();
        let is_kept =
            |line: &&str| left_out.iter().all(|entry| !line.contains(&format!("{{\"{entry}\":")));
        let kept: Vec<&str> = record.lines().filter(is_kept).collect();
        assert_eq!(kept.len() + left_out.len(), record.lines().count(), "{record}");
        std::fs::write(runs.join("commands-1"), kept.join("\n") + "\n").unwrap();
        let shown = sandbox.run("resume");
        assert_eq!(sandbox.witness(), ["begin", "end", "begin", "end"], "{left_out:?}: {shown}");
    }
}
