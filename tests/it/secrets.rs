//! Secrets reach those who are to have them, and nothing else: no file, no event, no message.

use super::sandbox::{Sandbox, kill};

/// As `sandbox.rs` gives it to every run.
const SECRET: &str = "correct-horse";

/// Nothing in the sandbox has these bytes.
fn assert_nowhere(sandbox: &Sandbox, needle: &str) {
    let mut folders = vec![sandbox.path("")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let bytes = std::fs::read(&path).unwrap();
                assert!(
                    !bytes.windows(needle.len()).any(|window| window == needle.as_bytes()),
                    "{needle} is in {}",
                    path.display()
                );
            }
        }
    }
}

#[test]
fn output_is_masked_before_it_reaches_the_disk() {
    let sandbox = Sandbox::with(
        r#"runbook: leak
secrets: { token: { env: DEPLOY_TOKEN } }
phases:
  p:
    steps:
      loud:
        run: |
          printf 'in pieces: correct-'; sleep 0.2; echo 'horse.'
          echo "as it is: $T"; echo "to stderr: $T" >&2
          printf %s "user:$T" | base64
          printf '{"a":"%s"}\n' "$T"
          echo "$T" > "$SWITCHOVER_OUTPUT.tmp"; sed 's/^/got=/' "$SWITCHOVER_OUTPUT.tmp" > "$SWITCHOVER_OUTPUT"; rm "$SWITCHOVER_OUTPUT.tmp"
          echo in-the-middle >> "$W"; sleep 0.6
        env: { T: { secret: token } }
        undo: none
"#,
    );
    let mut child = sandbox.start("run book.yaml");
    sandbox.wait_for("in-the-middle");
    let output = sandbox
        .path("journal/runs")
        .read_dir()
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path()
        .join("logs");
    for entry in output.read_dir().unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|ending| ending == "out" || ending == "err") {
            assert!(
                !std::fs::read_to_string(&path).unwrap().contains(SECRET),
                "{}",
                path.display()
            );
        }
    }
    assert_eq!(child.wait().unwrap().code(), Some(0));
    insta::assert_snapshot!(sandbox.run("logs loud"), @r#"
    ── p/loud, forward attempt 1, output
    | in pieces: (the secret token).
    | as it is: (the secret token)
    | dXNlcjp(the secret token)
    | {"a":"(the secret token)"}
    ── p/loud, forward attempt 1, errors
    | to stderr: (the secret token)
    exit 0
    "#);
    assert_nowhere(&sandbox, SECRET);
    assert_nowhere(&sandbox, "dXNlcjpjb3JyZWN0LWhvcnNl");
    let log = sandbox.json("audit --format json")["log"].clone();
    let done = log
        .as_array()
        .unwrap()
        .iter()
        .find(|entry| entry["event"]["event"] == "step_succeeded")
        .unwrap();
    assert_eq!(done["event"]["outputs"]["got"], "(the secret token)");
    assert_eq!(
        done["event"]["secrets"]["token"].as_str().unwrap().len(),
        64,
        "a keyed digest tells one value from another"
    );
}

#[test]
fn a_command_gets_a_secret_as_a_file_that_no_disk_sees() {
    let sandbox = Sandbox::with(
        r#"runbook: file
secrets: { token: { env: DEPLOY_TOKEN } }
phases:
  p:
    steps:
      read:
        run: 'test -z "${DEPLOY_TOKEN-}" && test "$(cat "$T")" = "correct-""horse" && sh -c "cat \"$T\"" | wc -c'
        env: { T: { secret: token, as: file } }
        undo: none
      header: { http: { url: "http://127.0.0.1:1/", headers: { A: { secret: token } } }, on_failure: continue }
"#,
    );
    assert_eq!(sandbox.code("run book.yaml"), 0, "{}", sandbox.run("logs read"));
    assert_eq!(sandbox.run("logs read").lines().nth(1), Some("| 13"));
    assert_nowhere(&sandbox, SECRET);
    sandbox.write("bad.yaml", "runbook: bad
secrets: { t: { env: T } }
phases: { p: { steps: { a: { http: { url: \"http://a/\", headers: { A: { secret: t, as: file } } } } } } }
");
    let shown = sandbox.run("check bad.yaml");
    assert!(
        shown.contains("only a command can be given a secret in a file")
            && shown.ends_with("exit 2"),
        "{shown}"
    );
}

#[test]
fn what_a_command_with_a_secret_said_is_masked_also_if_nobody_was_there() {
    let sandbox = Sandbox::with(
        r#"runbook: alone
secrets: { token: { env: DEPLOY_TOKEN } }
phases:
  p:
    steps:
      a: { run: 'echo begin >> "$W"; sleep 0.4; echo "$T"; echo "got=$T" > "$SWITCHOVER_OUTPUT"', env: { T: { secret: token } }, expect: stdout.contains("secret"), undo: none }
"#,
    );
    let child = sandbox.start("run book.yaml");
    sandbox.wait_for("begin");
    kill(child);
    let shown = sandbox.run("resume");
    assert!(shown.contains("as was recorded") && shown.ends_with("exit 0"), "{shown}");
    assert_nowhere(&sandbox, SECRET);
}

#[test]
fn a_daemon_that_keeps_masked_output_open_holds_nobody_up() {
    let sandbox = Sandbox::with(
        "runbook: daemon
secrets: { token: { env: DEPLOY_TOKEN } }
phases:
  p:
    steps:
      a: { run: 'setsid sh -c \"sleep 4; echo late\" & echo early', env: { T: { secret: token } }, undo: none }
",
    );
    let begun = std::time::Instant::now();
    assert_eq!(sandbox.code("run book.yaml"), 0);
    assert!(begun.elapsed().as_secs() < 4, "{:?}", begun.elapsed());
    assert!(sandbox.run("logs a").contains("early"));
}

#[test]
fn what_a_command_says_of_itself_is_masked_also_without_the_secret_at_hand() {
    let sandbox = Sandbox::with(
        r#"runbook: cursor
secrets: { token: { env: DEPLOY_TOKEN } }
phases:
  p:
    steps:
      a: { run: 'echo "at $T" > "$SWITCHOVER_CHECKPOINT"; echo "out=$T" > "$SWITCHOVER_OUTPUT"; echo begin >> "$W"; sleep 1.3', env: { T: { secret: token } }, undo: none }
"#,
    );
    let child = sandbox.start("run book.yaml");
    sandbox.wait_for("begin");
    std::thread::sleep(std::time::Duration::from_millis(1100));
    kill(child);
    assert_eq!(sandbox.code_with("resume", &[("DEPLOY_TOKEN", "another-secret".to_owned())]), 0);
    let shown = sandbox.run("audit --format json");
    assert!(
        shown.contains("at (the secret token)")
            && shown.contains("\"out\": \"(the secret token)\""),
        "{shown}"
    );
    assert_nowhere(&sandbox, SECRET);
}

#[test]
fn what_one_step_writes_down_is_masked_in_what_every_other_says() {
    // Beside the sandbox, which is searched for it.
    let beside = tempfile::tempdir().unwrap();
    let given = beside.path().join("given").display().to_string();
    let book = r#"runbook: through
secrets: { token: { command: [cat, kept] } }
phases:
  p:
    steps:
      early: { run: 'until test -e ../given; do sleep 0.05; done; cat ../given', undo: none }
      write: { needs: [], run: 'printf %s "$T" > ../given', env: { T: { secret: token } }, undo: none }
      print:
        needs: [write]
        run: |
          cat ../given; cat ../given >&2
          echo "got=$(cat ../given)" > "$SWITCHOVER_OUTPUT"
          cat ../given > "$SWITCHOVER_CHECKPOINT"; echo >> "$SWITCHOVER_CHECKPOINT"
        undo: none
      fail: { needs: [print], run: 'cat ../given >&2; exit 3', on_failure: continue, undo: none }
      after: { needs: [fail], run: 'test -e go-on && cat ../given', undo: none }
"#;
    let sandbox = Sandbox::with(&book.replace("../given", &given));
    sandbox.write("kept", "a-token-that-a-command-gives");
    assert_eq!(sandbox.code("run book.yaml"), 1);
    // The next session gives it to no step, and knows it all the same.
    sandbox.write("go-on", "");
    let shown = sandbox.run("resume");
    std::fs::remove_file(sandbox.path("kept")).unwrap();
    assert!(shown.ends_with("exit 0"), "{shown}");
    assert!(
        sandbox.run("logs after").contains("(the secret token)"),
        "{}",
        sandbox.run("logs after")
    );
    assert!(
        sandbox.run("logs early").contains("(the secret token)"),
        "{}",
        sandbox.run("logs early")
    );
    assert!(sandbox.run("audit --format json").contains("\"got\": \"(the secret token)\""));
    assert_nowhere(&sandbox, "a-token-that-a-command-gives");
}

#[test]
fn a_session_says_which_used_secret_it_cannot_have_again() {
    let sandbox = Sandbox::with(
        r#"runbook: gone
secrets: { token: { command: [cat, kept] } }
phases:
  p:
    steps:
      a: { run: 'test -n "$T"', env: { T: { secret: token } }, undo: none }
      b: { run: 'test -e go-on', undo: none }
"#,
    );
    sandbox.write("kept", "a-token-that-a-command-gives");
    assert_eq!(sandbox.code("run book.yaml"), 1);
    sandbox.write("kept", "another-token-of-a-command");
    let shown = sandbox.run("resume");
    assert!(shown.contains("the secret `token` has another value than when this run"), "{shown}");
    std::fs::remove_file(sandbox.path("kept")).unwrap();
    sandbox.write("go-on", "");
    let shown = sandbox.run("resume");
    assert!(
        shown.contains("`token`") && shown.contains("where its value comes again it is not masked"),
        "{shown}"
    );
    assert!(shown.ends_with("exit 0"), "{shown}");
}

#[test]
fn a_command_of_the_same_user_cannot_look_into_executor_or_keeper_and_neither_leaves_a_core() {
    use std::os::unix::process::ExitStatusExt;
    let sandbox = Sandbox::with(
        r#"runbook: closed
secrets: { token: { env: DEPLOY_TOKEN } }
phases:
  p:
    steps:
      look:
        run: |
          executor=$(awk '/^PPid:/ {print $2}' "/proc/$PPID/status")
          for pid in "$PPID" "$executor"; do
            test -r "/proc/$pid/status" || exit 4
            if cat "/proc/$pid/environ" > /dev/null 2>&1 || cat "/proc/$pid/maps" > /dev/null 2>&1; then exit 5; fi
          done
          # What such a look finds where nothing is closed.
          sleep 9 & cat "/proc/$!/environ" > /dev/null && cat "/proc/$!/maps" > /dev/null || exit 6
          kill $!
        undo: none
      use: { run: 'test "$T" = correct-"horse"; echo used >> "$W"; until test -e go-on; do sleep 0.05; done', env: { T: { secret: token } }, needs: [look], undo: none }
"#,
    );
    // A user who is not the superuser, with a folder and a program of its own.
    let program = sandbox.path("program");
    std::fs::copy(env!("CARGO_BIN_EXE_switchover"), &program).unwrap();
    for path in [sandbox.path(""), sandbox.path("book.yaml"), program.clone()] {
        std::os::unix::fs::chown(path, Some(65534), Some(65534)).unwrap();
    }
    let as_other = |verb: &str| {
        let mut command = std::process::Command::new("setpriv");
        let shell = format!("ulimit -c unlimited; exec ./program {verb}");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "sh", "-c", &shell]);
        sandbox.prepare(command, "")
    };
    let mut executor =
        as_other("run book.yaml").spawn().expect("setpriv, of the package util-linux");
    let begun = std::time::Instant::now();
    while sandbox.witness().is_empty() {
        if let Some(status) = executor.try_wait().unwrap() {
            panic!("{status}: {}", sandbox.run("logs look"));
        }
        assert!(begun.elapsed().as_secs() < 30, "{}", sandbox.run("logs look"));
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    let crash = |pid: u32| {
        assert!(
            std::process::Command::new("kill")
                .args(["-ABRT", &pid.to_string()])
                .status()
                .unwrap()
                .success()
        )
    };
    let keepers = super::sandbox::children(executor.id());
    assert!(!keepers.is_empty());
    crash(executor.id());
    let status = executor.wait().unwrap();
    assert_eq!(status.signal(), Some(6), "{status}");
    assert!(!status.core_dumped(), "{status}");
    keepers.into_iter().for_each(crash);
    sandbox.write("go-on", "");
    super::processes::nothing_left(&sandbox);
    let names =
        std::fs::read_dir(sandbox.path("")).unwrap().map(|entry| entry.unwrap().file_name());
    let cores: Vec<_> = names.filter(|name| name.to_string_lossy().starts_with("core")).collect();
    assert!(cores.is_empty(), "{cores:?}");
    // Such a user's `resume` sees that the command is over, and that nobody saw how.
    assert_eq!(as_other("resume").status().unwrap().code(), Some(3));
    assert_nowhere(&sandbox, SECRET);
}

#[test]
fn a_secret_that_a_step_had_at_run_time_is_given_to_later_ones_and_masked_from_then_on() {
    let sandbox = Sandbox::with(
        r#"runbook: login
secrets: { token: { step: login } }
phases:
  p:
    steps:
      login: { run: 'printf %s%s "ticket-" 48151623 > "$SWITCHOVER_SECRETS/token"', undo: none }
      use: { run: 'echo "$T" > "$W.kept"; echo "was given $T"', env: { T: { secret: token } }, undo: none }
      stop: { run: 'test -e go', undo: none }
      again: { run: 'cat "$W.kept"; test -z "${SWITCHOVER_SECRETS:-}" && echo "{\"x\": \"$(cat "$W.kept")\"}" > "$SWITCHOVER_OUTPUT"', undo: none }
"#,
    );
    let where_it_is = || {
        let found = std::process::Command::new("grep")
            .args(["-rlaF", "ticket-48151623"])
            .arg(sandbox.path("journal"))
            .output()
            .unwrap();
        String::from_utf8_lossy(&found.stdout)
            .lines()
            .map(|line| line.rsplit("runs/").next().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    let shown = sandbox.run("run book.yaml");
    assert!(shown.ends_with("exit 1"), "{shown}");
    let kept = where_it_is();
    assert!(
        kept.len() == 1 && kept[0].contains("/secrets/") && kept[0].ends_with("/token"),
        "it stands in one place, while the run goes on: {kept:?}"
    );
    assert_eq!(std::fs::read_to_string(sandbox.path("witness.kept")).unwrap(), "ticket-48151623\n");
    assert!(sandbox.run("logs use").contains("was given (the secret token)"));
    sandbox.write("go", "");
    let shown = sandbox.run("resume");
    assert!(shown.ends_with("exit 0") && !shown.contains("ticket-"), "{shown}");
    assert!(
        sandbox.run("logs again").contains("(the secret token)"),
        "a later session masks it too"
    );
    assert!(sandbox.run("audit --format json").contains("(the secret token)"));
    assert_eq!(where_it_is(), Vec::<String>::new(), "once the run is over it is gone");
}

#[test]
fn what_an_earlier_attempt_left_is_not_a_later_ones_secret_and_a_dry_run_needs_none() {
    let sandbox = Sandbox::with(
        r#"runbook: login
secrets: { token: { step: login } }
phases:
  p:
    steps:
      login: { run: 'test -e second || { printf ticket-48151623 > "$SWITCHOVER_SECRETS/token"; exit 1; }', undo: none }
      use: { run: 'echo used >> "$W"', env: { T: { secret: token } }, undo: none }
"#,
    );
    let shown = sandbox.run("run book.yaml --dry-run");
    assert!(shown.ends_with("exit 0"), "{shown}");
    assert!(sandbox.run("run book.yaml").ends_with("exit 1"));
    sandbox.write("second", "");
    let shown = sandbox.run("resume");
    assert!(
        shown.contains("it did not write the secret `token`") && shown.ends_with("exit 1"),
        "{shown}"
    );
    assert!(sandbox.witness().is_empty());
}

#[test]
fn a_step_that_leaves_no_secret_fails_and_what_cannot_leave_one_is_refused() {
    let steps = "phases:
  p:
    steps:
      login: { run: 'echo try >> \"$W\"', undo: none }
      use: { run: 'true', env: { T: { secret: token } }, undo: none }
";
    let sandbox =
        Sandbox::with(&format!("runbook: login\nsecrets: {{ token: {{ step: login }} }}\n{steps}"));
    let shown = sandbox.run("run book.yaml");
    assert!(
        shown.contains("it did not write the secret `token` into $SWITCHOVER_SECRETS/token")
            && shown.ends_with("exit 1"),
        "{shown}"
    );
    assert_eq!(sandbox.witness(), ["try"]);
    for (from, with, why) in [
        (
            "step: login",
            "step: logon",
            "there is no step `logon` for the secret `token` to come from",
        ),
        ("step: login", "step: use", "is given the secret `token`, which comes from it"),
        ("login: {", "login: { for_each: { in: [a] },", "can leave no secret"),
        ("use: {", "use: { needs: [],", "does not wait for it"),
        (
            "phases:",
            "env: { T: { secret: token } }\nphases:",
            "gives the secret `token` to every command",
        ),
    ] {
        sandbox.write(
            "book.yaml",
            format!("runbook: login\nsecrets: {{ token: {{ step: login }} }}\n{steps}")
                .replace(from, with),
        );
        let shown = sandbox.run("check book.yaml");
        assert!(shown.contains(why) && shown.ends_with("exit 2"), "{with}: {shown}");
    }
}

#[test]
fn two_runbooks_may_call_different_secrets_the_same() {
    let book = |name: &str, file: &str, steps: &str| {
        format!(
            "runbook: {name}
secrets: {{ token: {{ file: {file} }} }}
phases:
  p:
    steps:
{steps}"
        )
    };
    let uses = "run: 'cat \"$T\"; test -e go-on', env: { T: { secret: token, as: file } }, undo: \
        none, idempotent: true";
    let sandbox = Sandbox::with(&book(
        "outer",
        "one",
        &format!("      in: {{ runbook: in.yaml }}\n      a: {{ {uses} }}\n"),
    ));
    sandbox.write(
        "in.yaml",
        book("inner", "two", &format!("      b: {{ {} }}\n", uses.replace("; test -e go-on", ""))),
    );
    for file in ["one", "two"] {
        sandbox.write(file, format!("the-secret-of-{file}"));
    }
    assert_eq!(sandbox.code("run book.yaml"), 1);
    sandbox.write("go-on", "");
    let shown = sandbox.run("resume");
    assert!(
        !shown.contains("another value") && shown.ends_with("exit 0"),
        "neither was changed: {shown}"
    );
    ["one", "two"].iter().for_each(|file| std::fs::remove_file(sandbox.path(file)).unwrap());
    assert_nowhere(&sandbox, "the-secret-of");
}

#[test]
fn a_run_that_is_over_goes_back_without_the_secrets_that_its_steps_left() {
    let sandbox = Sandbox::with(
        r#"runbook: login
secrets: { token: { step: login } }
phases:
  p:
    steps:
      login: { run: 'printf ticket-48151623 > "$SWITCHOVER_SECRETS/token"', undo: none }
      use: { run: 'echo "${T:?}" | wc -c >> "$W"', env: { T: { secret: token }, K: kept }, undo: { run: 'echo "undo ${T:-without} $K" >> "$W"' } }
"#,
    );
    assert_eq!(sandbox.code("run book.yaml"), 0);
    let shown = sandbox.run("rollback");
    assert!(shown.ends_with("exit 4") && !shown.contains("not masked"), "{shown}");
    assert_eq!(sandbox.witness(), ["16", "undo without kept"]);
}
