//! Every outward call of the executor and of the keeper, in turn, kills it or fails. Afterwards somebody takes the run up, who
//! answers truthfully what is asked, and the world must be as if nothing had happened: shown by what the steps themselves wrote.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::sandbox::{Sandbox, repository};

/// The steps, each with what it needs: four, or with `SWITCHOVER_STEPS=12` twelve, for all pairs of kills, which takes some hours.
fn steps() -> Vec<(String, String)> {
    let count = std::env::var("SWITCHOVER_STEPS").ok().and_then(|text| text.parse().ok()).unwrap_or(4);
    // Diamonds in a row: two at once, then one that needs both.
    let needs = |at: usize| match at % 3 {
        _ if at == 0 => String::new(),
        0 => format!("s{}, s{}", at - 2, at - 1),
        1 => format!("s{}", at - 1),
        _ => format!("s{}", at - 2),
    };
    (0..count).map(|at| (format!("s{at}"), needs(at))).collect()
}

/// None is idempotent; each writes down when it begins and ends.
fn book() -> String {
    let mut book = r#"runbook: count
env: { B: 'echo "begin $SWITCHOVER_STEP $SWITCHOVER_DIRECTION $SWITCHOVER_ATTEMPT" >> "$W"', E: 'echo "end $SWITCHOVER_STEP $SWITCHOVER_DIRECTION $SWITCHOVER_ATTEMPT" >> "$W"' }
phases:
  p:
    steps:
"#
    .to_owned();
    for (step, needs) in steps() {
        book.push_str(&format!(
            "      {step}: {{ needs: [{needs}], run: 'eval \"$B\"; echo out=1 > \"$SWITCHOVER_OUTPUT\"; eval \"$E\"', undo: {{ run: 'eval \"$B\"; eval \"$E\"' }} }}\n"
        ));
    }
    book
}

/// What goes wrong, and in which process.
#[derive(Debug, Clone, Copy)]
struct Fault {
    role: &'static str,
    mode: &'static str,
    errno: &'static str,
    calls: &'static str,
    at: usize,
}

const ALL: &str = "write,sync,open,rename,unlink,truncate,mkdir,spawn,socket";
/// What is left out changes nothing that the next process could see.
const CHANGES: &str = "write,rename,unlink,truncate,spawn";

#[test]
fn a_kill_at_any_call_loses_nothing_and_does_nothing_twice() {
    let tried = AtomicUsize::new(0);
    for role in ["executor", "keeper", "any"] {
        for mode in ["kill-before", "kill-after"] {
            for back in [false, true] {
                count_up(Fault { role, mode, errno: "EIO", calls: ALL, at: 0 }, &tried, |fault| single(fault, back));
            }
        }
    }
    report("kills", &tried);
}

#[test]
fn a_kill_at_any_call_leaves_nobody_untold_and_tells_nobody_twice() {
    let tried = AtomicUsize::new(0);
    for back in [false, true] {
        let line = if back { "rollback" } else { "run book.yaml" };
        let told = |fault: Option<Fault>| {
            let sandbox = Sandbox::with(TELLS);
            sandbox.write("templates/m.txt", "Subject: {{runbook.name}}\n\n{{direction}}\n");
            if back {
                assert_eq!(sandbox.code("run book.yaml"), 0);
            }
            let fired = fault.is_some_and(|fault| strike(&sandbox, line, fault));
            if fault.is_none() {
                sandbox.code(line);
            }
            for _ in 0..3 {
                let verb = if sandbox.code("status") == 0 { if back { "rollback" } else { "resume" } } else { line };
                sandbox.code(verb);
            }
            // What a run owes that is over, whoever takes it up tells.
            sandbox.code("resume");
            (fired, letters(&sandbox), sandbox.run("status"))
        };
        let (_, smooth, _) = told(None);
        assert!(
            smooth.iter().any(|told| told == "downtime_over")
                && smooth.iter().filter(|told| *told == "report").count() == 1 + usize::from(back)
        );
        for mode in ["kill-before", "kill-after"] {
            count_up(Fault { role: "executor", mode, errno: "EIO", calls: CHANGES, at: 0 }, &tried, |fault| {
                let (fired, letters, shown) = told(Some(fault));
                assert_eq!(letters, smooth, "{fault:?} in {line}: {shown}");
                fired
            });
        }
    }
    report("kills between a fact and its message", &tried);
}

/// Everybody is told of everything; a step that was killed is done again.
const TELLS: &str = "runbook: tells
messages: { start: m, downtime_starts: m, downtime_over: m, success: m, rollback_began: m, rolled_back: m, report: m }
phases:
  p:
    messages: { start: m, success: m }
    steps:
      close: { run: 'true', idempotent: true, downtime: begins, undo: { run: 'true', idempotent: true } }
      open: { run: 'true', idempotent: true, downtime: ends, undo: { run: 'true', idempotent: true } }
";

/// What the journal says that people were told, and what lies in the outbox: the same.
fn letters(sandbox: &Sandbox) -> Vec<String> {
    let log = sandbox.json("audit --format json");
    let sent = log["log"].as_array().unwrap().iter().map(|entry| &entry["event"]).filter(|event| event["event"] == "message_sent");
    let mut told: Vec<String> = sent.map(|event| event["occasion"].as_str().unwrap().to_owned()).collect();
    told.sort();
    let sent = told.len();
    // A step that was killed begins the downtime anew, which is told as well.
    told.dedup_by(|one, other| one == other && one == "downtime_starts");
    let mut files: Vec<String> =
        std::fs::read_dir(sandbox.path("journal/outbox")).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    files.retain(|file| file.ends_with(".txt"));
    assert_eq!(files.len(), sent, "{files:?} {told:?}");
    told
}

#[test]
fn a_call_that_fails_once_or_from_then_on_loses_nothing_and_does_nothing_twice() {
    let tried = AtomicUsize::new(0);
    for role in ["executor", "keeper"] {
        for (mode, errno) in [("fail", "EIO"), ("fail", "ENOSPC"), ("fail-on", "EIO"), ("fail-on", "ENOSPC"), ("short", "ENOSPC")] {
            for back in [false, true] {
                count_up(Fault { role, mode, errno, calls: ALL, at: 0 }, &tried, |fault| single(fault, back));
            }
        }
    }
    report("failing calls", &tried);
}

#[test]
fn a_second_kill_at_any_call_of_the_recovery_changes_nothing_about_that() {
    let (every, seed) = sample();
    for back in [false, true] {
        for role in ["executor", "keeper"] {
            let tried = AtomicUsize::new(0);
            let first = Fault { role: "executor", mode: "kill-after", errno: "EIO", calls: CHANGES, at: 0 };
            count_up(first, &AtomicUsize::new(0), |first| {
                let mut fired = false;
                for at in (1 + (first.at + seed) % every..).step_by(every) {
                    let second = Fault { role, at, ..first };
                    let (first_fired, second_fired) = pair(first, second, back);
                    tried.fetch_add(1, Ordering::Relaxed);
                    fired = first_fired;
                    if !second_fired || !fired {
                        break;
                    }
                }
                fired
            });
            let way = if back { "on the way back" } else { "forward" };
            report(&format!("second kills, of the {role}, {way} (SWITCHOVER_EVERY={every} SWITCHOVER_SEED={seed})"), &tried);
        }
    }
}

/// One of how many pairs of kills is tried, and which: few, to be quick, and others each time; all with `SWITCHOVER_EVERY=1`.
fn sample() -> (usize, usize) {
    let given = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let every = given("SWITCHOVER_EVERY").filter(|every| *every > 0).unwrap_or(if given("SWITCHOVER_STEPS").is_some() { 1 } else { 20 });
    let chance = std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), every) as usize;
    (every, given("SWITCHOVER_SEED").unwrap_or(chance) % every)
}

/// A kill, and one of what takes the run up afterwards, and the recovery from both; says which of them came to pass.
fn pair(first: Fault, second: Fault, back: bool) -> (bool, bool) {
    let sandbox = Sandbox::with(&book());
    let (line, again) = if back { ("rollback", "rollback") } else { ("run book.yaml --parallel 2", "resume") };
    if back {
        assert_eq!(sandbox.code("run book.yaml"), 0);
    }
    let first_fired = strike(&sandbox, line, first);
    let again = if sandbox.code("status") == 0 { again } else { "run book.yaml" };
    let second_fired = strike(&sandbox, again, second);
    recover(&sandbox, back, &format!("{first:?} in {line}, then {second:?} in {again}"));
    (first_fired, second_fired)
}

#[test]
fn a_file_that_may_not_grow_is_like_a_full_disk() {
    let sandbox = Sandbox::with(
        "runbook: limit\nphases:\n  p:\n    steps:\n      a: { run: 'echo a >> \"$W\"', undo: none }\n      b: { run: 'echo b >> \"$W\"; head -c 300000 /dev/zero', undo: none }\n",
    );
    let limited = |blocks: u32, verb: &str| {
        // In blocks of 1024 bytes, for the program and all that it begins.
        let shell = format!("ulimit -f {blocks}; exec {} {verb}", env!("CARGO_BIN_EXE_switchover"));
        let mut command = Command::new("bash");
        command.args(["-c", &shell]).current_dir(sandbox.path("")).env("W", sandbox.path("witness"));
        command.env("SWITCHOVER_LOCKS", sandbox.path("locks")).output().unwrap().status.code()
    };
    assert_eq!(limited(20, "run book.yaml"), Some(7), "its own files: no signal, an error");
    assert!(sandbox.witness().is_empty());
    let shown = sandbox.run("run book.yaml --until a");
    assert!(shown.ends_with("exit 0"), "{shown}");
    assert_eq!(limited(200, "resume"), Some(1), "a command's: it is told in the usual way");
    assert!(sandbox.run("status").contains("File size limit exceeded"), "{}", sandbox.run("status"));
    assert_eq!(sandbox.code("resume"), 0);
    assert_eq!(sandbox.witness(), ["a", "b", "b"]);
}

/// One fault, forward or on the way back, and the recovery from it; says whether it came to pass.
fn single(fault: Fault, back: bool) -> bool {
    let sandbox = Sandbox::with(&book());
    let line = if back {
        assert_eq!(sandbox.code("run book.yaml"), 0);
        "rollback"
    } else {
        "run book.yaml --parallel 2"
    };
    let fired = strike(&sandbox, line, fault);
    recover(&sandbox, back, &format!("{fault:?} in {line}"));
    fired
}

/// Tries a fault at the first call, the second, and so on, until none comes to pass; the numbers shared by as many threads as
/// there are cores.
fn count_up(fault: Fault, tried: &AtomicUsize, instance: impl Fn(Fault) -> bool + Sync) {
    let (next, end) = (AtomicUsize::new(1), AtomicUsize::new(usize::MAX));
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(2, usize::from) {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    if at > end.load(Ordering::Relaxed) {
                        break;
                    }
                    tried.fetch_add(1, Ordering::Relaxed);
                    // A few more after the last: of two processes that write at once, the order may differ.
                    if !instance(Fault { at, ..fault }) {
                        end.fetch_min(at + 2, Ordering::Relaxed);
                    }
                }
            });
        }
    });
}

/// Runs the program with a fault; whether it fired.
fn strike(sandbox: &Sandbox, line: &str, fault: Fault) -> bool {
    let log = sandbox.path("faults");
    let _ = std::fs::remove_file(&log);
    let code = sandbox.code_with(
        line,
        &[
            ("LD_PRELOAD", shim().display().to_string()),
            ("FAULT_ROLE", fault.role.to_owned()),
            ("FAULT_AT", fault.at.to_string()),
            ("FAULT_MODE", fault.mode.to_owned()),
            ("FAULT_ERRNO", fault.errno.to_owned()),
            ("FAULT_CALLS", fault.calls.to_owned()),
            ("FAULT_LOG", log.display().to_string()),
            // Only processes die here, not the machine.
            ("FAULT_NOSYNC", "1".to_owned()),
        ],
    );
    let calls = std::fs::read_to_string(&log).unwrap_or_default();
    let fired = calls.lines().find(|line| line.ends_with("FIRED"));
    let is_killed = fault.mode.starts_with("kill") && code == -1;
    assert!(is_killed || [0, 1, 3, 4, 5, 6, 7].contains(&code), "{fault:?} {fired:?}: {line} ended with {code}");
    fired.is_some()
}

/// Takes the run up until it is over, answering with the truth, and holds the world against what it should be.
fn recover(sandbox: &Sandbox, back: bool, about: &str) {
    let (verb, over) = if back { ("rollback", 4) } else { ("resume", 0) };
    let mut said = Vec::new();
    let mut is_over = false;
    for _ in 0..30 {
        let has_run = sandbox.code("status") == 0;
        let shown = sandbox.run(if has_run { verb } else { "run book.yaml" });
        let code: i32 = shown.rsplit("exit ").next().unwrap().parse().unwrap_or(-1);
        said.push(shown);
        // A rollback that had ended before the fault has nothing left to do.
        is_over = code == over || (back && sandbox.code("resume") == over);
        if is_over {
            break;
        }
        if has_run {
            answer(sandbox);
        }
    }
    let said = said.join("\n---\n");
    assert!(is_over, "{about}: it does not end\n{said}");
    assert_eq!(sandbox.code("audit --verify"), 0, "{about}: {}\n{said}", sandbox.run("audit --verify"));
    let mut seen = sandbox.witness();
    let began: Vec<String> = sandbox.json("audit --format json")["log"].as_array().map_or_else(Vec::new, |events| {
        let started = events.iter().map(|entry| &entry["event"]).filter(|event| event["event"] == "step_started");
        started
            .map(|event| {
                let word = |name: &str| event[name].as_str().unwrap_or_default().to_owned();
                format!("begin {} {} {}", word("step"), word("direction"), event["attempt"])
            })
            .collect()
    });
    for line in seen.iter().filter(|line| line.starts_with("begin")) {
        assert!(began.contains(line), "{about}: the journal does not know of `{line}`: {began:?}\n{said}");
    }
    // The number of the attempt apart, everything happened exactly once.
    seen.iter_mut().for_each(|line| line.truncate(line.rfind(' ').unwrap_or(line.len())));
    let ways: &[&str] = if back { &["forward", "undo"] } else { &["forward"] };
    let mut expected: Vec<String> = Vec::new();
    for way in ways {
        for (step, _) in steps() {
            expected.extend([format!("begin p/{step} {way}"), format!("end p/{step} {way}")]);
        }
    }
    seen.sort();
    expected.sort();
    assert_eq!(seen, expected, "{about}\n{said}");
}

/// A person looks at what the steps wrote, and says truthfully what happened.
fn answer(sandbox: &Sandbox) {
    let state = sandbox.json("status --format json");
    for step in state["steps"].as_array().into_iter().flatten() {
        let (name, is_back) = (step["id"].as_str().unwrap_or_default(), state["direction"] != "forward");
        if step["state"] == "in doubt" {
            let direction = if is_back { "undo" } else { "forward" };
            let is_done = sandbox.witness().iter().any(|line| line.starts_with(&format!("end {name} {direction}")));
            let verdict = if is_done { "done" } else { "not-done" };
            sandbox.code(&format!("resolve {name} --as {verdict} --reason looked"));
        }
    }
}

fn report(what: &str, tried: &AtomicUsize) {
    #[expect(clippy::print_stdout, reason = "with --show-output, it says what was tried")]
    {
        println!("faults: {} {what} tried", tried.load(Ordering::Relaxed));
    }
}

/// The library that does it, compiled once.
fn shim() -> &'static Path {
    static SHIM: OnceLock<PathBuf> = OnceLock::new();
    SHIM.get_or_init(|| {
        let to = Path::new(env!("CARGO_TARGET_TMPDIR")).join("fault.so");
        // Put in its place whole: another run of the tests may be using it.
        let made_as = to.with_extension(std::process::id().to_string());
        let made = Command::new("cc")
            .args(["-shared", "-fPIC", "-O2", "-Wall", "-Wextra", "-Werror", "-o"])
            .arg(&made_as)
            .arg(repository().join("tests/shim/fault.c"))
            .arg("-ldl")
            .status();
        assert!(made.unwrap().success());
        std::fs::rename(&made_as, &to).unwrap();
        to
    })
}
