//! The disk of the command logs and of the keeper's record is full while that of the database is
//! not: nothing begins that could not be recorded, nothing counts as done that is not known to be,
//! and with room again the run goes on.

use std::process::Command;

use super::sandbox::Sandbox;

/// What the stories below are told with. `fill` takes all room; of the page in which the keeper's
/// record ends it leaves some bytes, so that the next line does not fit, or does so in part. Empty
/// lines in the record say nothing. The keeper may be about to record that a command runs when the
/// command does already: that is waited for, as the line would move the end of the record. A small
/// disk may say that it is full while another process is about to give some of it back, so `fill`
/// goes on until nothing fits twice in a row.
const WORDS: &str = r#"
run() { "$PROGRAM" "$@"; echo "exit $?"; }
fill() {
  for record in journal/runs/*/commands-*; do
    [ -e "$record" ] || continue
    until [ "$(grep -c '"begins"' "$record")" = "$(grep -c '"runs"' "$record")" ]; do sleep 0.02; done
    head -c $(( (8192 - $(stat -c %s "$record") % 4096 - LEFT) % 4096 )) /dev/zero | tr '\0' '\n' >> "$record"
  done
  full=0
  while [ $full -lt 2 ]; do
    before=$(stat -c %s journal/runs/filled 2>/dev/null || echo 0)
    cat /dev/zero >> journal/runs/filled 2>/dev/null || true
    if [ "$(stat -c %s journal/runs/filled)" = "$before" ]; then full=$((full + 1)); sleep 0.02; else full=0; fi
  done
}
room() { rm journal/runs/filled; }
closed() { until grep -q '"closed"' journal/runs/*/commands-*; do sleep 0.02; done; }
until_seen() { until grep -qx "$1" "$W"; do sleep 0.02; done; }
"#;

/// Four steps that count, the second of which may be told to fill the disk, the third to wait.
const BOOK: &str = r#"runbook: full
phases:
  p:
    steps:
      a: { run: 'echo a >> "$W"', undo: none }
      b: { run: 'echo b >> "$W"; if [ -e filling ]; then . ./words; fill; fi', undo: none }
      c: { run: 'echo begin c >> "$W"; while [ -e hold ]; do sleep 0.02; done; echo end c >> "$W"', undo: none }
      d: { run: 'echo d >> "$W"', undo: none }
"#;

#[test]
fn a_step_that_cannot_be_recorded_does_not_begin() {
    for left in [0, 1, 50, 200] {
        let sandbox = Sandbox::with(BOOK);
        sandbox.write("filling", "");
        let told = tell(
            &sandbox,
            left,
            "run run book.yaml; run resume; room; rm filling; run resume; run audit --verify",
        );
        assert_eq!(codes(&told), ["exit 1", "exit 1", "exit 0", "exit 0"], "{left}: {told}");
        assert!(told.contains("No space left on device"), "{left}: {told}");
        assert_eq!(sandbox.witness(), ["a", "b", "begin c", "end c", "d"], "{left}: {told}");
    }
}

#[test]
fn an_end_that_could_not_be_recorded_is_asked_about() {
    for left in [0, 1, 50] {
        let sandbox = Sandbox::with(BOOK);
        sandbox.write("hold", "");
        let told = tell(
            &sandbox,
            left,
            "\"$PROGRAM\" run book.yaml & until_seen 'begin c'; kill -KILL $!; closed; fill; rm hold; until_seen 'end c'
             run resume; room; run resume; run resolve c --as done --reason looked; run resume; run audit --verify",
        );
        assert_eq!(
            codes(&told),
            ["exit 3", "exit 3", "exit 0", "exit 0", "exit 0"],
            "{left}: {told}"
        );
        assert!(told.contains("nobody knows how p/c ended"), "{left}: {told}");
        assert_eq!(sandbox.witness(), ["a", "b", "begin c", "end c", "d"], "{left}: {told}");
    }
}

#[test]
fn a_record_with_half_a_line_still_tells_of_what_comes_after_it() {
    for left in [0, 1, 50, 200] {
        let sandbox = Sandbox::with(BOOK);
        sandbox.write("filling", "");
        sandbox.write("hold", "");
        let told = tell(
            &sandbox,
            left,
            "run run book.yaml; room; rm filling; \"$PROGRAM\" resume & until_seen 'begin c'; kill -KILL $!; rm hold; until_seen 'end c'
             run resume; run audit --verify",
        );
        assert_eq!(codes(&told), ["exit 1", "exit 0", "exit 0"], "{left}: {told}");
        assert_eq!(sandbox.witness(), ["a", "b", "begin c", "end c", "d"], "{left}: {told}");
    }
}

#[test]
fn half_a_line_does_not_swallow_the_next() {
    for left in [0, 1, 50] {
        let sandbox = Sandbox::with(
            r#"runbook: torn
phases:
  p:
    steps:
      long: { needs: [], run: 'echo begin >> "$W"; while [ -e hold ]; do sleep 0.02; done; echo end >> "$W"', undo: none }
      b: { needs: [], run: '. ./words; until_seen begin; fill', undo: none }
"#,
        );
        sandbox.write("hold", "");
        // The executor is stopped, so that the end of the long step is the next that the keeper
        // records, and nobody hears of it.
        let told = tell(
            &sandbox,
            left,
            "\"$PROGRAM\" run book.yaml --parallel 2 2> said & until grep -q 'done     p/b' said; do sleep 0.02; done; room; kill -STOP $!
             rm hold; until_seen end; sleep 0.2; kill -KILL $!; run resume; run audit --verify",
        );
        assert_eq!(codes(&told), ["exit 0", "exit 0"], "{left}: {told}");
        assert_eq!(sandbox.witness(), ["begin", "end"], "{left}: {told}");
    }
}

#[test]
fn without_room_a_run_does_not_begin_and_leaves_none() {
    let sandbox = Sandbox::with(BOOK);
    let told = tell(
        &sandbox,
        0,
        "fill; run run book.yaml; run list; room; run run book.yaml; run list; run audit --verify",
    );
    assert_eq!(codes(&told), ["exit 7", "exit 0", "exit 0", "exit 0", "exit 0"], "{told}");
    assert!(told.contains("No space left on device"), "{told}");
    assert_eq!(sandbox.json("list --format json").as_array().unwrap().len(), 1, "{told}");
    assert_eq!(sandbox.witness(), ["a", "b", "begin c", "end c", "d"], "{told}");
}

#[test]
fn output_that_finds_no_room_is_no_success() {
    // Plain, the command meets the error itself; in a run that has secrets, the keeper meets it.
    for (secrets, decision, first, words) in [
        ("", "skip a", "exit 1", "FAILED   p/a: exit 1: …xxx"),
        (
            "secrets: { token: { env: DEPLOY_TOKEN } }\n",
            "resolve a --as done",
            "exit 3",
            "exit 0, but not all of its output could be written: No space left",
        ),
    ] {
        let sandbox = Sandbox::with(&format!(
            "runbook: large
{secrets}phases:
  p:
    steps:
      a: {{ run: 'echo a >> \"$W\"; head -c 3000000 /dev/zero | tr \"\\0\" x', undo: none }}
      b: {{ run: 'echo b >> \"$W\"', undo: none }}
"
        ));
        let told = tell(
            &sandbox,
            0,
            &format!(
                "run run book.yaml; rm journal/runs/*/logs/*.out; run {decision} --reason looked; \
                 run resume"
            ),
        );
        assert_eq!(codes(&told), [first, "exit 0", "exit 0"], "{told}");
        assert!(told.len() < 9000, "nobody reads {} bytes", told.len());
        assert!(told.contains(words), "{told}");
        assert_eq!(sandbox.witness(), ["a", "b"], "{told}");
    }
}

#[test]
fn a_full_disk_in_the_place_of_the_logs_is_noticed() {
    let sandbox = Sandbox::with(BOOK);
    sandbox.write("hold", "");
    let told = tell(
        &sandbox,
        0,
        "run run book.yaml > said & until_seen 'begin c'; mount -t tmpfs -o size=4k,mode=700 none journal/runs; fill; rm hold; wait; cat said
         umount journal/runs; run resume; run resolve c --as done --reason looked; run resume; run audit --verify",
    );
    assert_eq!(codes(&told), ["exit 3", "exit 3", "exit 0", "exit 0", "exit 0"], "{told}");
    assert!(told.contains("exit 0, but its output cannot be read"), "{told}");
    assert_eq!(sandbox.witness(), ["a", "b", "begin c", "end c", "d"], "{told}");
}

/// Tells a story in a namespace of its own, as the small disk goes with it; what was said on the
/// way.
fn tell(sandbox: &Sandbox, left: u32, story: &str) -> String {
    std::fs::create_dir_all(sandbox.path("journal/runs")).unwrap();
    sandbox.write("words", format!("LEFT={left}\n{WORDS}"));
    sandbox.write("witness", "");
    // What is below the small disk is gone with it: the journal is moved off it at the end.
    let story = format!(
        "mount -t tmpfs -o size=1m,mode=700 none journal/runs && . ./words && {{ {story}\
         \n cp -a journal/runs kept; umount journal/runs && cp -a kept/. journal/runs; }}"
    );
    let mut command = Command::new("unshare");
    command.args(["-rm", "timeout", "60", "sh", "-c", &story]).current_dir(sandbox.path(""));
    command
        .env("W", sandbox.path("witness"))
        .env("PROGRAM", env!("CARGO_BIN_EXE_switchover"))
        .env("NO_COLOR", "1");
    command
        .env("SWITCHOVER_LOCKS", sandbox.path("locks"))
        .env("SWITCHOVER_OPERATOR", "oncall@test")
        .env("DEPLOY_TOKEN", "correct-horse");
    let output = command.env_remove("SWITCHOVER_JOURNAL").output().expect("unshare");
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

fn codes(told: &str) -> Vec<&str> {
    told.lines().filter(|line| line.starts_with("exit ")).collect()
}
