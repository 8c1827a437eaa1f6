//! Many at once on one journal: of those who would change a run, one does; those who only read are
//! in nobody's way. `SWITCHOVER_ROUNDS=200` tries for longer.

use std::process::Child;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::sandbox::{Sandbox, signal};

/// No step is idempotent, and each writes down that it was done. `b` waits as long as there is a
/// file `hold`.
const BOOK: &str = r#"runbook: count
locks: [the-database]
phases:
  p:
    steps:
      a: { run: 'echo a >> "$W"', undo: { run: 'echo undo-a >> "$W"' } }
      b: { run: 'echo b >> "$W"; while [ -e hold ]; do sleep 0.01; done', undo: { run: 'echo undo-b >> "$W"' } }
      c: { run: 'echo c >> "$W"', undo: { run: 'echo undo-c >> "$W"' } }
"#;

#[test]
fn of_eight_that_resume_a_run_one_does() {
    for round in 0..rounds() {
        let sandbox = Sandbox::with(BOOK);
        assert_eq!(sandbox.code("run book.yaml --until a"), 0);
        sandbox.write("hold", "");
        one_of(&sandbox, at_once(&sandbox, &["resume"; 8]));
        assert_eq!(sandbox.witness(), ["a", "b", "c"], "round {round}");
        let audit = sandbox.json("audit --format json");
        assert_eq!(
            (audit["whole"].as_bool(), events(&sandbox, "run_resumed")),
            (Some(true), 1),
            "round {round}"
        );
    }
}

#[test]
fn of_eight_runs_that_need_the_same_lock_one_begins() {
    for round in 0..rounds() {
        let sandbox = Sandbox::with(BOOK);
        sandbox.write("hold", "");
        one_of(&sandbox, at_once(&sandbox, &["run book.yaml"; 8]));
        assert_eq!(sandbox.witness(), ["a", "b", "c"], "round {round}");
        assert_eq!(
            sandbox.json("list --format json").as_array().unwrap().len(),
            1,
            "round {round}"
        );
        assert_eq!(sandbox.code("audit --verify"), 0);
    }
}

#[test]
fn eight_runs_that_need_no_lock_begin_in_a_new_journal() {
    for round in 0..rounds() / 5 {
        let sandbox = Sandbox::with(&BOOK.replace("locks: [the-database]\n", ""));
        let codes: Vec<_> = at_once(&sandbox, &["run book.yaml"; 8])
            .into_iter()
            .map(|mut child| child.wait().unwrap().code())
            .collect();
        assert_eq!(codes, [Some(0); 8], "round {round}");
        let runs = sandbox.json("list --format json");
        assert_eq!((runs.as_array().unwrap().len(), sandbox.witness().len()), (8, 24));
        for run in runs.as_array().unwrap() {
            assert_eq!(
                sandbox.code(&format!("audit --verify {}", run["run"].as_str().unwrap())),
                0
            );
        }
    }
}

#[test]
fn of_different_verbs_at_once_none_does_what_another_undid() {
    for round in 0..rounds() {
        let sandbox = Sandbox::with(BOOK);
        assert_eq!(sandbox.code("run book.yaml --until a"), 0);
        let verbs = [
            "resume",
            "rollback",
            "cancel --reason enough",
            "skip c --reason needless",
            "resume",
            "rollback",
        ];
        let codes: Vec<_> = at_once(&sandbox, &verbs)
            .into_iter()
            .map(|mut child| child.wait().unwrap().code())
            .collect();
        assert!(
            codes.iter().all(|code| matches!(code, Some(0 | 1 | 4 | 6))),
            "round {round}: {codes:?}"
        );
        let (audit, witness) = (sandbox.json("audit --format json"), sandbox.witness());
        assert_eq!(audit["whole"], true, "round {round}");
        let mut once = witness.clone();
        once.sort();
        once.dedup();
        assert_eq!(once.len(), witness.len(), "round {round}: {witness:?}");
        assert_eq!(events(&sandbox, "step_started"), witness.len(), "round {round}: {witness:?}");
        let place = |line: &str| witness.iter().position(|seen| seen == line);
        for step in ["a", "b", "c"] {
            let undone = place(&format!("undo-{step}"));
            assert!(
                undone.is_none() || place(step).is_some_and(|done| Some(done) < undone),
                "round {round}: {witness:?}"
            );
        }
    }
}

#[test]
fn who_is_stopped_by_a_signal_still_holds_the_run() {
    let sandbox = Sandbox::with(BOOK);
    sandbox.write("hold", "");
    let mut owner = sandbox.start("run book.yaml");
    sandbox.wait_for("b");
    signal("STOP", owner.id());
    let events = sandbox.json("status --format json")["events"].clone();
    std::fs::remove_file(sandbox.path("hold")).unwrap();
    for verb in [
        "resume",
        "rollback",
        "cancel --reason no",
        "skip c --reason no",
        "resolve b --as done --reason no",
        "run book.yaml",
    ] {
        let shown = sandbox.run(verb);
        assert!(
            shown.contains("is held by oncall@test") && shown.ends_with("exit 6"),
            "{verb}: {shown}"
        );
    }
    assert_eq!(sandbox.json("status --format json")["events"], events);
    assert_eq!(sandbox.witness(), ["a", "b"]);
    signal("CONT", owner.id());
    assert_eq!(owner.wait().unwrap().code(), Some(0));
    assert_eq!(sandbox.witness(), ["a", "b", "c"]);
    assert_eq!(sandbox.code("audit --verify"), 0);
}

#[test]
fn a_cancellation_beside_the_end_of_a_run_comes_before_or_after_it() {
    for round in 0..rounds() as u64 {
        let sandbox = Sandbox::with(BOOK);
        let mut run = sandbox.start("run book.yaml");
        sandbox.wait_for("a");
        std::thread::sleep(Duration::from_millis(round % 12));
        // Refused as long as the run is held, and when it is over.
        let cancelled = sandbox.code("cancel --reason enough");
        assert_eq!((run.wait().unwrap().code(), cancelled), (Some(0), 6), "round {round}");
        assert_eq!(sandbox.witness(), ["a", "b", "c"]);
        assert_eq!(sandbox.json("status --format json")["ended"], "finished");
    }
}

#[test]
fn of_a_cancellation_and_a_resumption_one_comes_first() {
    for round in 0..rounds() {
        let sandbox = Sandbox::with(BOOK);
        assert_eq!(sandbox.code("run book.yaml --until a"), 0);
        let codes: Vec<_> = at_once(&sandbox, &["cancel --reason enough", "resume"])
            .into_iter()
            .map(|mut child| child.wait().unwrap().code())
            .collect();
        let ended = sandbox.json("status --format json")["ended"].clone();
        match codes[0] {
            Some(0) => assert_eq!(
                (ended.as_str(), sandbox.witness().len()),
                (Some("cancelled"), 1),
                "round {round}: {codes:?}"
            ),
            Some(6) => assert_eq!(
                (ended.as_str(), codes[1], sandbox.witness().len()),
                (Some("finished"), Some(0), 3),
                "round {round}"
            ),
            code => panic!("round {round}: cancel ended with {code:?}"),
        }
        assert_eq!(sandbox.code("audit --verify"), 0);
    }
}

#[test]
fn readers_are_never_refused_and_disturb_nobody() {
    let steps: String = (0..40)
        .map(|at| {
            format!("      s{at}: {{ run: 'echo {at} >> \"$W\"; echo words', undo: none }}\n")
        })
        .collect();
    let sandbox = Sandbox::with(&format!(
        "runbook: many
phases:
  p:
    steps:
{steps}      last: {{ run: 'while [ -e hold ]; do sleep 0.01; done', undo: none }}
"
    ));
    sandbox.write("hold", "");
    let mut run = sandbox.start("run book.yaml");
    sandbox.wait_for("0");
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for verb in ["status", "status --format json", "audit --verify", "audit", "logs s0", "list"]
        {
            let (sandbox, is_over) = (&sandbox, &is_over);
            scope.spawn(move || {
                for read in 0.. {
                    if is_over.load(Ordering::Relaxed) && read >= 3 {
                        break;
                    }
                    let shown = sandbox.run(verb);
                    assert!(shown.ends_with("exit 0"), "{verb}: {shown}");
                }
            });
        }
        sandbox.wait_for("39");
        std::thread::sleep(Duration::from_millis(300));
        std::fs::remove_file(sandbox.path("hold")).unwrap();
        let code = run.wait().unwrap().code();
        is_over.store(true, Ordering::Relaxed);
        assert_eq!(code, Some(0));
    });
    assert_eq!(sandbox.witness(), (0..40).map(|at| at.to_string()).collect::<Vec<_>>());
    assert_eq!(sandbox.code("audit --verify"), 0);
}

fn rounds() -> usize {
    std::env::var("SWITCHOVER_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(200)
}

/// Starts the program once for each line, all at the same time.
fn at_once(sandbox: &Sandbox, lines: &[&str]) -> Vec<Child> {
    let barrier = Barrier::new(lines.len());
    std::thread::scope(|scope| {
        let threads: Vec<_> = lines
            .iter()
            .map(|line| {
                let barrier = &barrier;
                scope.spawn(move || {
                    barrier.wait();
                    sandbox.start(line)
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

/// All but one are refused while that one holds on; it goes on to the end.
fn one_of(sandbox: &Sandbox, mut children: Vec<Child>) {
    let (begun, mut codes) = (Instant::now(), Vec::new());
    while children.len() > 1 {
        assert!(begun.elapsed() < Duration::from_secs(60), "more than one goes on: {codes:?}");
        children.retain_mut(|child| match child.try_wait().unwrap() {
            Some(status) => {
                codes.push(status.code());
                false
            }
            None => true,
        });
        std::thread::sleep(Duration::from_millis(2));
    }
    assert!(codes.iter().all(|code| *code == Some(6)), "{codes:?}");
    std::fs::remove_file(sandbox.path("hold")).unwrap();
    assert_eq!(children[0].wait().unwrap().code(), Some(0));
}

/// How many events of a kind the run has.
fn events(sandbox: &Sandbox, kind: &str) -> usize {
    let audit = sandbox.json("audit --format json");
    audit["log"].as_array().unwrap().iter().filter(|entry| entry["event"]["event"] == kind).count()
}
