//! Kills, interrupts, altered journals and two executors at once, for real.

use std::process::Command;

use super::sandbox::{Kills, Sandbox, kill, kill_all, kill_both, signal};

const COUNTING: &str = r#"runbook: count
phases:
  p:
    steps:
      a: { run: 'echo a >> "$W"', undo: none }
      b: { run: 'echo begin-b >> "$W"; sleep 0.5; echo end-b >> "$W"', undo: none }
      c: { run: 'echo c >> "$W"', undo: none }
"#;

#[test]
fn a_killed_run_asks_about_what_it_cannot_know() {
    // For as long as two verbs may take on a busy machine.
    let sandbox = Sandbox::with(&COUNTING.replace("sleep 0.5", "sleep 5"));
    let child = sandbox.start("run book.yaml");
    sandbox.wait_for("begin-b");
    kill_both(child);
    insta::assert_snapshot!(sandbox.run("resolve b --as done --reason x"), @"
    error: the command of p/b still runs, left by an executor that died; nothing was changed
      next: `switchover resume` watches it; wait until it has ended, or end it, and try again
    exit 6
    ");
    insta::assert_snapshot!(sandbox.run("resume"), @"
    the command of p/b still runs, left by an executor that died (process <pid>)
    resumed by oncall@test, while this still runs: p/b
    unseen   p/b: it has ended, and nobody who watched it saw how
    stopped: nobody knows how p/b ended
      run        <run>, 1 of 3 steps done
      step       p/b (book.yaml:6)
      forward    attempt 1 is in doubt, begun <time> ago: nobody saw how it ended
      said last  nothing
      next       find out whether it had its effect, then
                 switchover resolve b --run <run> --as done|not-done|partial --reason '…'
      then       switchover resume <run>   or   switchover rollback <run>
      output     switchover logs b --run <run>
    exit 3
    ");
    assert_eq!(
        sandbox.witness(),
        ["a", "begin-b", "end-b"],
        "its command outlived the executor, and nothing began a second time"
    );
    assert_eq!(sandbox.code("resolve b --as done --reason the-file-is-there"), 0);
    assert_eq!(sandbox.code("resume"), 0);
    assert_eq!(sandbox.witness(), ["a", "begin-b", "end-b", "c"]);
}

#[test]
fn a_command_outlives_its_executor_and_its_end_is_the_result() {
    for (ends, code) in [("exit 0", 0), ("exit 3", 1)] {
        for wait in [true, false] {
            let sandbox = Sandbox::with(&format!(
                "runbook: outlive
phases:
  p:
    steps:
      b: {{ run: 'echo begin >> \"$W\"; sleep 1.5; echo words; echo out=7 > \"$SWITCHOVER_OUTPUT\"; echo end >> \"$W\"; {ends}', undo: none }}
      c: {{ run: [echo, \"{{{{ steps.b.out }}}}\"], expect: stdout == \"7\", undo: none }}
"
            ));
            let child = sandbox.start("run book.yaml");
            sandbox.wait_for("begin");
            kill(child);
            if wait {
                sandbox.wait_for("end");
                std::thread::sleep(std::time::Duration::from_millis(100));
            }
            let shown = sandbox.run("resume");
            assert_eq!(shown.contains("while this still runs: p/b"), !wait, "{shown}");
            assert!(shown.contains(&format!("{ends}, as was recorded")), "{shown}");
            // A failure that nobody has seen is shown, not tried again.
            assert!(shown.ends_with(&format!("exit {code}")), "{shown}");
            assert_eq!(sandbox.witness(), ["begin", "end"]);
            assert!(sandbox.run("logs b").contains("words"));
            assert_eq!(sandbox.code("audit --verify"), 0);
        }
    }
}

#[test]
fn a_recorded_end_leaves_nothing_to_decide() {
    let sandbox = Sandbox::with(COUNTING);
    let child = sandbox.start("run book.yaml");
    sandbox.wait_for("begin-b");
    kill(child);
    sandbox.wait_for("end-b");
    std::thread::sleep(std::time::Duration::from_millis(100));
    insta::assert_snapshot!(sandbox.run("resolve b --as not-done --reason x"), @"
    error: how the command of p/b ended is on record: there is nothing to guess; nothing was changed
      next: `switchover resume` takes it up
    exit 6
    ");
    assert_eq!(sandbox.code("resume"), 0);
    assert_eq!(sandbox.witness(), ["a", "begin-b", "end-b", "c"]);
}

#[test]
fn without_its_keeper_a_run_waits_and_then_asks() {
    let sandbox = Sandbox::with(COUNTING);
    let mut child = sandbox.start("run book.yaml");
    sandbox.wait_for("begin-b");
    for keeper in super::sandbox::children(child.id()) {
        signal("KILL", keeper);
    }
    assert_eq!(child.wait().unwrap().code(), Some(3), "in doubt");
    assert_eq!(
        sandbox.witness(),
        ["a", "begin-b", "end-b"],
        "the session waited until the command was over"
    );
    assert_eq!(sandbox.code("resolve b --as done --reason the-file-is-there"), 0);
    assert_eq!(sandbox.code("resume"), 0);
    assert_eq!(sandbox.witness(), ["a", "begin-b", "end-b", "c"]);
}

#[test]
fn what_is_suspended_stops_with_its_commands_and_its_clocks() {
    let sandbox = Sandbox::with(
        "runbook: z
phases:
  p:
    steps:
      a: { run: 'echo begin >> \"$W\"; for i in 1 2 3 4 5 6; do sleep 0.2; echo $i >> \"$W\"; done', timeout: 3s, undo: none }
",
    );
    for dies in [false, true] {
        let _ = std::fs::remove_file(sandbox.path("witness"));
        let mut child = sandbox.start("run book.yaml");
        sandbox.wait_for("1");
        signal("TSTP", child.id());
        let is_stopped = || {
            std::fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap().contains(") T ")
        };
        let begun = std::time::Instant::now();
        while !is_stopped() {
            assert!(begun.elapsed().as_secs() < 10, "it does not stop");
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        std::thread::sleep(std::time::Duration::from_millis(300));
        let seen = sandbox.witness();
        std::thread::sleep(std::time::Duration::from_secs(4));
        assert_eq!(sandbox.witness(), seen, "its command stands still too");
        if dies {
            kill(child);
            assert_eq!(
                sandbox.code("resume"),
                1,
                "it stood for longer than it may take, and nobody was there to say why"
            );
        } else {
            signal("CONT", child.id());
            assert_eq!(
                child.wait().unwrap().code(),
                Some(0),
                "the pause does not count against its timeout"
            );
            assert_eq!(sandbox.witness().last().unwrap(), "6");
        }
    }
}

#[test]
fn a_probe_decides_what_happened() {
    for (effect, expected) in
        [("touch done.txt", vec!["try", "after"]), ("true", vec!["try", "try", "after"])]
    {
        let sandbox = Sandbox::with(&format!(
            "runbook: probe
phases:
  p:
    steps:
      b:
        run: '{effect}; echo try >> \"$W\"; if [ ! -e quick ]; then sleep 0.5; fi; touch done.txt'
        probe: {{ run: 'test -e done.txt && test -e quick && echo yes || {{ [ \"$(wc -l < \"$W\")\" = 1 ] && echo no; }}', done: stdout == \"yes\", not_done: stdout == \"no\" }}
        undo: none
      after: {{ run: 'echo after >> \"$W\"', undo: none }}
"
        ));
        let child = sandbox.start("run book.yaml");
        sandbox.wait_for("try");
        kill_both(child);
        // What the probe sees is the world at the time of resuming.
        super::processes::nothing_left(&sandbox);
        sandbox.write("quick", "");
        if expected.len() == 3 {
            std::fs::remove_file(sandbox.path("done.txt")).unwrap();
        }
        assert_eq!(sandbox.code("resume"), 0, "{}", sandbox.run("status"));
        assert_eq!(sandbox.witness(), expected);
    }
}

#[test]
fn kills_at_random_moments_never_do_a_step_twice() {
    let steps: String = (0..12)
        .map(|at| {
            format!("      s{at}: {{ run: 'echo {at} >> \"$W\"; sleep 0.02', undo: none }}\n")
        })
        .collect();
    let mut kills = Kills::of(12);
    while kills.go_on() {
        killed_at_random(&format!("runbook: many\nphases:\n  p:\n    steps:\n{steps}"), &mut kills);
    }
}

/// One run, killed until it is over or that is enough.
fn killed_at_random(book: &str, kills: &mut Kills) {
    let sandbox = Sandbox::with(book);
    let mut child = sandbox.start("run book.yaml");
    while kills.go_on() {
        let round = kills.done() as u64;
        std::thread::sleep(std::time::Duration::from_millis(20 + round * 37 % 90));
        let lived = match round % 3 {
            0 => kill(child),
            1 => kill_both(child),
            _ => kill_all(child),
        };
        let is_over = !kills.count(lived);
        if sandbox.path("journal/switchover.db").exists() && sandbox.code("status") == 0 {
            // A person looks at the world and says truthfully what happened.
            for _ in 0..3 {
                if sandbox.code("resume --until s0") != 3 {
                    break;
                }
                let state = sandbox.json("status --format json");
                for step in state["steps"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .filter(|step| step["state"] == "in doubt")
                {
                    let name = step["id"].as_str().unwrap().trim_start_matches("p/s").to_owned();
                    let verdict =
                        if sandbox.witness().contains(&name) { "done" } else { "not-done" };
                    assert_eq!(
                        sandbox.code(&format!("resolve s{name} --as {verdict} --reason looked")),
                        0
                    );
                }
            }
        }
        child = sandbox.start(if sandbox.code("status") == 0 { "resume" } else { "run book.yaml" });
        if is_over {
            break;
        }
    }
    let _ = child.wait();
    assert_eq!(sandbox.code("resume"), 0, "{}", sandbox.run("status"));
    let mut expected: Vec<String> = (0..12).map(|at| at.to_string()).collect();
    let mut seen = sandbox.witness();
    seen.sort();
    expected.sort();
    assert_eq!(seen, expected);
    assert!(sandbox.run("audit --verify").contains("whole:"));
}

#[test]
fn the_first_interrupt_drains_and_the_second_stops() {
    let sandbox = Sandbox::with(COUNTING);
    let mut child = sandbox.start("run book.yaml");
    sandbox.wait_for("begin-b");
    signal("INT", child.id());
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert_eq!(sandbox.witness(), ["a", "begin-b", "end-b"]);
    assert_eq!(sandbox.code("resume"), 0);

    let sandbox = Sandbox::with(&COUNTING.replace("sleep 0.5", "sleep 30"));
    let mut child = sandbox.start("run book.yaml");
    sandbox.wait_for("begin-b");
    signal("TERM", child.id());
    std::thread::sleep(std::time::Duration::from_millis(200));
    signal("TERM", child.id());
    assert_eq!(child.wait().unwrap().code(), Some(143));
    assert_eq!(sandbox.witness(), ["a", "begin-b"]);
    assert_eq!(sandbox.code("resume"), 3, "what was killed half-way is in doubt");
}

#[test]
fn of_two_executors_one_is_refused() {
    let sandbox = Sandbox::with(COUNTING);
    let mut child = sandbox.start("run book.yaml");
    sandbox.wait_for("begin-b");
    insta::assert_snapshot!(sandbox.run("resume"), @"
    error: the run <run> is held by oncall@test with the run <run> (process <pid> on <host>) since <moment>
      next: nothing was changed. Wait until it is done, or end it there
    exit 6
    ");
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn an_altered_journal_is_refused_and_says_why() {
    let alterations: [(&str, &str); 4] = [
        (
            "DROP TRIGGER events_are_never_updated; UPDATE events SET body = replace(body, \
             'oncall', 'nobody') WHERE number = 1",
            "does not match its hash",
        ),
        (
            "DROP TRIGGER events_are_never_deleted; DELETE FROM events WHERE number = 3",
            "stands event",
        ),
        (
            "DROP TRIGGER events_are_never_deleted; DELETE FROM events WHERE number > 4",
            "anchor knows",
        ),
        (
            "DROP TRIGGER definitions_are_never_updated; UPDATE definitions SET body = \
             replace(body, 'echo c', 'echo d')",
            "does not match the digest",
        ),
    ];
    for (alteration, why) in alterations {
        let sandbox = Sandbox::with(COUNTING);
        assert_eq!(sandbox.code("run book.yaml"), 0);
        let db = rusqlite::Connection::open(sandbox.path("journal/switchover.db")).unwrap();
        // Somebody careful, who puts the guards back.
        let guards =
            std::fs::read_to_string(super::sandbox::repository().join("journal/schema.sql"))
                .unwrap();
        let dropped = |line: &&str| {
            alteration.contains(&format!("DROP TRIGGER {};", line.split(' ').nth(2).unwrap_or("-")))
        };
        let guards: Vec<&str> = guards
            .lines()
            .filter(|line| line.starts_with("CREATE TRIGGER"))
            .filter(dropped)
            .collect();
        db.execute_batch(&format!("{alteration}; {}", guards.concat())).unwrap();
        drop(db);
        for verb in ["resume", "rollback", "audit", "status"] {
            let shown = sandbox.run(verb);
            assert!(
                shown.contains(why) && shown.ends_with("exit 6"),
                "{verb} after {alteration}: {shown}"
            );
        }
        assert_eq!(sandbox.witness().len(), 4);
    }
}

#[test]
fn events_cannot_be_changed_and_files_are_private() {
    use std::os::unix::fs::PermissionsExt;
    let sandbox = Sandbox::with(COUNTING);
    sandbox.code("run book.yaml");
    let db = rusqlite::Connection::open(sandbox.path("journal/switchover.db")).unwrap();
    assert!(db.execute("UPDATE events SET body = ''", []).is_err());
    assert!(db.execute("DELETE FROM events", []).is_err());
    let mode =
        |name: &str| std::fs::metadata(sandbox.path(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!(
        (
            mode("journal"),
            mode("journal/runs"),
            mode("journal/switchover.db"),
            mode("journal/switchover.db-wal")
        ),
        (0o700, 0o700, 0o600, 0o600)
    );
}

#[test]
fn a_symbolic_link_in_the_journals_place_is_refused() {
    let sandbox = Sandbox::with(COUNTING);
    std::fs::create_dir(sandbox.path("elsewhere")).unwrap();
    std::os::unix::fs::symlink("elsewhere", sandbox.path("journal")).unwrap();
    insta::assert_snapshot!(sandbox.run("run book.yaml"), @"
    error: <folder>/journal is a symbolic link, and the journal follows none
      next: name the real folder with --journal
    exit 6
    ");
}

#[test]
fn a_run_goes_on_in_the_folder_it_was_begun_in() {
    let mut sandbox = Sandbox::with(
        r#"runbook: here
phases:
  p:
    steps:
      a: { run: 'test -e mended', undo: { run: 'echo undone > trace' } }
      b: { run: 'echo done > trace', undo: none }
"#,
    );
    assert_eq!(sandbox.code("run book.yaml"), 1);
    sandbox.write("mended", "");
    sandbox.write("elsewhere/x", "");
    assert_eq!(sandbox.in_folder("elsewhere").code("--journal ../journal resume"), 0);
    assert_eq!(sandbox.read("trace"), "done\n");
    assert_eq!(sandbox.in_folder("elsewhere").code("--journal ../journal rollback"), 4);
    assert_eq!(sandbox.read("trace"), "undone\n");
    assert_eq!(sandbox.read("elsewhere/trace"), "");
}

#[test]
fn what_cannot_be_written_can_still_be_read() {
    let sandbox = Sandbox::with(COUNTING);
    assert_eq!(sandbox.code("run book.yaml"), 0);
    sandbox.write("witness", "");
    let killed = sandbox.start("run book.yaml");
    sandbox.wait_for("begin-b");
    kill(killed);
    // The first run is in the database, the second in its WAL.
    let mounted = |verb: &str| {
        let line = format!(
            "mount --bind journal journal && mount -o remount,ro,bind journal && exec {} {verb}",
            env!("CARGO_BIN_EXE_switchover")
        );
        let output = Command::new("unshare")
            .args(["-rm", "sh", "-c", &line])
            .current_dir(sandbox.path(""))
            .output()
            .expect("unshare");
        let text = format!(
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        (output.status.code(), text)
    };
    let (code, list) = mounted("list");
    assert_eq!((code, list.lines().count()), (Some(0), 2), "{list}");
    let (code, audit) = mounted("audit --verify");
    assert!(code == Some(0) && audit.starts_with("whole: "), "{audit}");
    let (code, status) = mounted("status");
    assert!(code == Some(0) && status.contains("its executor died"), "{status}");
    let (code, refused) = mounted("resume");
    assert!(code == Some(7) && refused.contains("switchover resume"), "{refused}");
}

#[test]
fn a_result_that_finds_the_disk_full_is_kept_and_taken_up() {
    let sandbox = Sandbox::with(
        r#"runbook: full
phases:
  p:
    steps:
      fill: { run: 'echo fill >> "$W"; cat /dev/zero > journal/fill 2>/dev/null || true', undo: none }
      after: { run: 'echo after >> "$W"', undo: none }
"#,
    );
    // The whole story happens inside one namespace, as the small disk goes with it.
    let program = env!("CARGO_BIN_EXE_switchover");
    let story = format!(
        "mount -t tmpfs -o size=1m none journal && {{ {program} run book.yaml; echo exit $?; rm \
         journal/fill; {program} resume; echo exit $?; {program} audit --verify; echo exit $?; }}"
    );
    std::fs::create_dir(sandbox.path("journal")).unwrap();
    let mut command = Command::new("unshare");
    command
        .args(["-rm", "sh", "-c", &story])
        .current_dir(sandbox.path(""))
        .env("W", sandbox.path("witness"));
    let output = command.output().expect("unshare");
    let told = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    let codes: Vec<&str> = told.lines().filter(|line| line.starts_with("exit ")).collect();
    assert_eq!(codes, ["exit 7", "exit 0", "exit 0"], "{told}");
    assert!(told.contains("they are kept beside the journal"), "{told}");
    assert_eq!(
        sandbox.witness(),
        ["fill", "after"],
        "nothing began while its beginning could not be journaled, and nothing twice"
    );
}
