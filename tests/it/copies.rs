//! Copies of a journal, restored or gone on with elsewhere, do nothing twice; names and keys belong
//! to one run of one journal.

use std::process::Command;

use super::sandbox::{Sandbox, kill_both, wait_until};

const BOOK: &str = "runbook: paid
phases:
  p:
    steps:
      a: { run: 'echo PAID >> \"$W\"', undo: none }
      b: { run: 'test -e go && echo DONE >> \"$W\"', undo: none }
";

fn copy(sandbox: &Sandbox, from: &str, to: &str) {
    let _ = std::fs::remove_dir_all(sandbox.path(to));
    let copied = Command::new("cp").arg("-a").args([sandbox.path(from), sandbox.path(to)]).status();
    assert!(copied.expect("cp").success());
}

#[test]
fn an_older_copy_of_the_whole_folder_is_refused() {
    let sandbox = Sandbox::with(BOOK);
    assert_eq!(sandbox.code("run book.yaml --until a"), 0);
    copy(&sandbox, "journal", "older");
    assert_eq!(sandbox.code("resume"), 1);
    let paid = sandbox.witness();
    copy(&sandbox, "older", "journal");
    sandbox.write("go", "");
    for verb in ["resume", "rollback --force --reason x", "skip b --reason x"] {
        let shown = sandbox.run(&verb.replace("--reason x", "--reason~x").replace('~', " "));
        assert!(
            shown.contains("this machine has seen") && shown.ends_with("exit 6"),
            "{verb}: {shown}"
        );
    }
    assert_eq!(sandbox.witness(), paid, "nothing is done");
    assert_eq!(sandbox.code("status"), 0, "it can be read");
    let shown = sandbox.run("audit --verify");
    assert!(
        shown.contains("whole:")
            && shown.contains("this machine has seen")
            && shown.ends_with("exit 6"),
        "{shown}"
    );
}

#[test]
fn of_a_copied_folder_only_one_goes_on() {
    let sandbox = Sandbox::with(BOOK);
    assert_eq!(sandbox.code("run book.yaml --until a"), 0);
    copy(&sandbox, "journal", "copy");
    sandbox.write("go", "");
    assert_eq!(sandbox.code("resume"), 0);
    let shown = sandbox.run("resume --journal copy");
    assert!(
        shown.contains("a copy of it went on elsewhere") && shown.ends_with("exit 6"),
        "{shown}"
    );
    assert_eq!(sandbox.witness(), ["PAID", "DONE"]);
}

#[test]
fn of_a_copied_folder_only_one_goes_on_at_a_time() {
    let sandbox = Sandbox::with(
        "runbook: waits
phases:
  p:
    steps:
      a: { run: 'echo A >> \"$W\"', undo: none }
      w: { wait: 1h }
      b: { run: 'echo PAID >> \"$W\"', undo: none }
",
    );
    assert_eq!(sandbox.code("run book.yaml --until a"), 0);
    copy(&sandbox, "journal", "copy");
    let first = sandbox.start("resume");
    // A wait acts on nothing, and so this machine has seen nothing of it yet.
    wait_until("the first copy waits", || sandbox.run("audit").contains("p/w"));
    let shown = sandbox.run("resume --journal copy");
    kill_both(first);
    assert!(
        shown.contains("goes on with a copy of this journal") && shown.ends_with("exit 6"),
        "{shown}"
    );
    let again = sandbox.start("resume --journal copy");
    wait_until("once the first one is gone, the copy may go on", || {
        sandbox.run("audit --journal copy").contains("p/w")
    });
    kill_both(again);
    assert_eq!(sandbox.witness(), ["A"]);
}

#[test]
fn what_lies_where_an_attempt_will_write_is_not_taken_for_its_output() {
    use sha2::Digest;
    let digest =
        sha2::Sha256::digest(b"p/b").iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let next = format!("b-{}.f1", &digest[..32]);
    for planted in [
        "echo stolen=1 > \"$F.output\"",
        "mkfifo \"$F.output\"",
        "ln -s /etc/hostname \"$F.output\"",
        "echo stolen > \"$F.checkpoint\"",
    ] {
        let sandbox = Sandbox::with(&format!(
            "runbook: planted
phases:
  p:
    steps:
      a:
        run: |
          for logs in journal/runs/*/logs; do F=\"$logs/{next}\"; {planted}; done
        undo: none
      b: {{ run: 'echo began >> \"$W\"', undo: none }}
"
        ));
        let shown = sandbox.run("run book.yaml");
        assert!(shown.ends_with("exit 0"), "{planted}: {shown}");
        assert_eq!(sandbox.witness(), ["began"], "{planted}");
        let log = sandbox.json("audit --format json");
        let of_b = |event: &&serde_json::Value| {
            event["event"]["step"] == "p/b" && event["event"]["event"] != "step_started"
        };
        let said: Vec<String> =
            log["log"].as_array().unwrap().iter().filter(of_b).map(ToString::to_string).collect();
        assert!(
            !said.is_empty() && said.iter().all(|event| !event.contains("stolen")),
            "{planted}: {said:?}"
        );
    }
}

#[test]
fn an_attempt_that_a_keeper_has_begun_is_not_begun_by_an_older_database() {
    let sandbox = Sandbox::with(BOOK);
    assert_eq!(sandbox.code("run book.yaml --until a"), 0);
    let older = std::fs::read(sandbox.path("journal/switchover.db")).unwrap();
    let run = sandbox.json("list --format json")[0]["run"].as_str().unwrap().to_owned();
    let anchor = std::fs::read(sandbox.path(&format!("journal/runs/{run}/anchor"))).unwrap();
    assert_eq!(sandbox.code("resume"), 1);
    // All but the keeper's record is as it was, and the machine has forgotten.
    std::fs::write(sandbox.path("journal/switchover.db"), older).unwrap();
    std::fs::write(sandbox.path(&format!("journal/runs/{run}/anchor")), anchor).unwrap();
    for rest in ["journal/switchover.db-wal", "journal/switchover.db-shm"] {
        let _ = std::fs::remove_file(sandbox.path(rest));
    }
    std::fs::remove_dir_all(sandbox.path("locks")).unwrap();
    sandbox.write("go", "");
    let shown = sandbox.run("resume");
    let words = "the record of its commands has attempt 1 of p/b, which the journal does not know";
    assert!(shown.contains(words) && shown.ends_with("exit 6"), "{shown}");
    assert_eq!(sandbox.witness(), ["PAID"]);
}

/// What an operations team may write: where each run's log ended stands in a file that no copy of
/// the journal reaches.
const WITNESS: &str = r#"#!/bin/sh
known="$(dirname "$0")/$SWITCHOVER_RUN_UUID"
log=$(cat)
if [ -e "$known" ] && ! echo "$log" | grep -qxF "$(cat "$known")"; then
  echo "this log lacks event $(cut -d' ' -f1 "$known") as another session wrote it" >&2
  exit 1
fi
echo "$log" | tail -1 > "$known"
"#;

#[test]
fn a_witness_knows_of_a_copy_what_this_machine_does_not() {
    let sandbox =
        Sandbox::with(&BOOK.replace("phases:", "witness: [sh, ./elsewhere/keep]\nphases:"));
    sandbox.write("elsewhere/keep", WITNESS);
    assert_eq!(sandbox.code("run book.yaml --until a"), 0);
    copy(&sandbox, "journal", "older");
    assert_eq!(sandbox.code("resume"), 1, "its own witness lets it go on");
    copy(&sandbox, "older", "journal");
    // As on another machine, or after a reboot.
    std::fs::remove_dir_all(sandbox.path("locks")).unwrap();
    sandbox.write("go", "");
    let shown = sandbox.run("resume");
    assert!(shown.contains("this log lacks event") && shown.ends_with("exit 6"), "{shown}");
    let status = sandbox.run("status");
    assert!(
        status.contains("stopped: the witness does not let it go on; nothing was begun"),
        "{status}"
    );
    assert_eq!(sandbox.code("audit --verify"), 0, "as legal as it was");
    assert_eq!(sandbox.witness(), ["PAID"], "nothing is done");
    std::fs::remove_file(sandbox.path("elsewhere/keep")).unwrap();
    let shown = sandbox.run("resume");
    assert!(
        shown.contains("does not let it go on") && shown.ends_with("exit 6"),
        "one that cannot be asked refuses too: {shown}"
    );
    let shown = sandbox.run("run book.yaml");
    assert!(shown.ends_with("exit 6"), "{shown}");
    assert_eq!(sandbox.witness(), ["PAID"]);
}

#[test]
fn a_witness_knows_of_a_session_that_was_killed() {
    let sandbox = Sandbox::with(
        "runbook: waits
witness: [sh, ./elsewhere/keep]
phases:
  p:
    steps:
      a: { run: 'echo A >> \"$W\"', undo: none }
      w: { wait: 1h }
",
    );
    sandbox.write("elsewhere/keep", WITNESS);
    assert_eq!(sandbox.code("run book.yaml --until a"), 0);
    copy(&sandbox, "journal", "older");
    let first = sandbox.start("resume");
    wait_until("the first one waits", || sandbox.run("audit").contains("p/w"));
    assert!(kill_both(first));
    std::fs::remove_dir_all(sandbox.path("locks")).unwrap();
    let shown = sandbox.run("resume --journal older");
    assert!(shown.contains("this log lacks event") && shown.ends_with("exit 6"), "{shown}");
    let again = sandbox.start("resume");
    wait_until("the journal that went on goes on", || {
        sandbox.run("audit").matches("resumed").count() > 1
    });
    kill_both(again);
}

#[test]
fn keys_of_attempts_belong_to_one_run_of_all_journals() {
    let sandbox = Sandbox::with(
        "runbook: keys
phases:
  p:
    steps:
      a: { run: 'echo \"$SWITCHOVER_IDEMPOTENCY_KEY\" >> \"$W\"', undo: none }
",
    );
    for journal in ["one", "one", "two"] {
        assert_eq!(sandbox.code(&format!("run book.yaml --journal {journal}")), 0);
    }
    let keys = sandbox.witness();
    let uuid = |key: &String| key.split(':').next().unwrap().split_once('-').unwrap().1.to_owned();
    let uuids: std::collections::HashSet<String> = keys.iter().map(uuid).collect();
    assert_eq!(uuids.len(), 3, "{keys:?}");
    assert!(uuids.iter().all(|uuid| uuid.len() == 32), "{uuids:?}");
    let journals = |journal: &str| {
        let log = sandbox.json(&format!("audit --format json --journal {journal}"));
        log["log"][0]["event"]["journal"].as_str().unwrap().to_owned()
    };
    assert_ne!(journals("one"), journals("two"));
}

#[test]
fn steps_whose_names_look_alike_have_files_of_their_own() {
    // The first 60 characters are the same, and 24 bits of the digest of the whole.
    let (one, two) = collision();
    let sandbox = Sandbox::with(&format!(
        "runbook: alike
phases:
  p:
    steps:
      a: {{ for_each: {{ in: ['{one}', '{two}'] }}, needs: [], run: 'test -e \"$SWITCHOVER_OUTPUT\" && echo there >> \"$W\"; echo \"x={{}}\" > \"$SWITCHOVER_OUTPUT\"', undo: none }}
"
    ));
    assert_eq!(sandbox.code("run book.yaml"), 0, "{}", sandbox.run("status"));
    assert!(sandbox.witness().is_empty(), "the second step found the first one's output");
    let run = sandbox.json("list --format json")[0]["run"].as_str().unwrap().to_owned();
    let logs = std::fs::read_dir(sandbox.path(&format!("journal/runs/{run}/logs"))).unwrap();
    assert_eq!(
        logs.filter(|log| log
            .as_ref()
            .unwrap()
            .path()
            .extension()
            .is_some_and(|end| end == "output"))
            .count(),
        2
    );
}

/// Two keys whose steps' ids have digests that begin with the same 24 bits.
fn collision() -> (String, String) {
    use sha2::Digest;
    let mut seen = std::collections::HashMap::new();
    for number in 0..1_000_000 {
        let key = format!("{}{number}", "k".repeat(70));
        let digest = sha2::Sha256::digest(format!("p/a[{key}]"));
        if let Some(other) = seen.insert(digest[..3].to_vec(), key.clone()) {
            return (other, key);
        }
    }
    panic!("no two of a million keys agree in 24 bits");
}
