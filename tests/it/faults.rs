//! Every outward call of the executor and of the keeper, in turn, kills it or fails. Afterwards
//! somebody takes the run up, who answers truthfully what is asked, and the world must be as if
//! nothing had happened: shown by what the steps themselves wrote.

use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::sandbox::Sandbox;
use super::shim::{Fault, Shim};

/// The steps, each with what it needs: four, or with `SWITCHOVER_STEPS=12` twelve, for all pairs of
/// kills, which takes some hours.
fn steps() -> Vec<(String, String)> {
    let count =
        std::env::var("SWITCHOVER_STEPS").ok().and_then(|text| text.parse().ok()).unwrap_or(4);
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
            "      {step}: {{ needs: [{needs}], run: 'eval \"$B\"; echo out=1 \
             > \"$SWITCHOVER_OUTPUT\"; eval \"$E\"', undo: {{ run: 'eval \"$B\"; eval \"$E\"' }} }}\
             \n"
        ));
    }
    book
}

const ALL: &str = "write,sync,open,rename,unlink,truncate,mkdir,spawn,socket";
/// What is left out changes nothing that the next process could see.
const CHANGES: &str = "write,rename,unlink,truncate,spawn";

/// How many of each kind must come to pass, forward and on the way back: nine of ten of those that
/// do today, and less of what is tried by chance.
const LEAST: [(&str, &str, [usize; 2]); 16] = [
    ("executor", "kill-after", [103, 74]),
    ("executor", "kill-before", [27, 20]),
    ("keeper", "kill-after", [29, 28]),
    ("keeper", "kill-before", [7, 7]),
    ("any", "kill-after", [40, 32]),
    ("any", "kill-before", [27, 20]),
    ("executor", "fail EIO", [50, 35]),
    ("executor", "fail ENOSPC", [50, 35]),
    ("executor", "fail-on EIO", [50, 35]),
    ("executor", "fail-on ENOSPC", [50, 35]),
    ("executor", "short ENOSPC", [47, 36]),
    ("keeper", "fail EIO", [14, 13]),
    ("keeper", "fail ENOSPC", [14, 13]),
    ("keeper", "fail-on EIO", [14, 13]),
    ("keeper", "fail-on ENOSPC", [14, 13]),
    ("keeper", "short ENOSPC", [12, 12]),
];

#[test]
fn a_kill_at_any_call_loses_nothing_and_does_nothing_twice() {
    let mut fired = 0;
    for role in ["executor", "keeper", "any"] {
        for mode in ["kill-after", "kill-before"] {
            for back in [false, true] {
                fired +=
                    each(Shim::ours(), Fault { role, mode, errno: "EIO", calls: ALL, at: 0 }, back);
            }
        }
    }
    report("kills", fired);
}

#[test]
fn a_call_that_fails_once_or_from_then_on_loses_nothing_and_does_nothing_twice() {
    let mut fired = 0;
    for role in ["executor", "keeper"] {
        for (mode, errno) in [
            ("fail", "EIO"),
            ("fail", "ENOSPC"),
            ("fail-on", "EIO"),
            ("fail-on", "ENOSPC"),
            ("short", "ENOSPC"),
        ] {
            for back in [false, true] {
                fired += each(Shim::ours(), Fault { role, mode, errno, calls: ALL, at: 0 }, back);
            }
        }
    }
    report("failing calls", fired);
}

#[test]
fn a_suite_in_which_nothing_fails_fails() {
    let kill = Fault { role: "executor", mode: "kill-after", errno: "EIO", calls: ALL, at: 0 };
    let tamed = Shim::source().replace("kill(getpid(), SIGKILL);", "return;");
    assert_ne!(tamed, Shim::source());
    for (name, source, why) in
        [("empty", String::new(), "0 of at least"), ("tamed", tamed, "was to kill the executor")]
    {
        let shim = Shim::of(name, &source);
        let failed = std::panic::catch_unwind(|| each(&shim, kill, false)).expect_err(name);
        let said = failed.downcast_ref::<String>().map_or("", String::as_str);
        assert!(said.contains(why), "{name}: {said}");
    }
}

/// The fault at each call of the role, forward or on the way back, and the recovery from it; how
/// many came to pass.
fn each(shim: &Shim, fault: Fault, back: bool) -> usize {
    let line = if back { "rollback" } else { "run book.yaml --parallel 2" };
    let prepare = || {
        let sandbox = Sandbox::with(&book());
        if back {
            assert_eq!(sandbox.code("run book.yaml"), 0);
        }
        Prepared::of(sandbox)
    };
    let fired = count_up(shim, fault, line, prepare, |prepared, fault| {
        let sandbox = prepared.restored();
        let fired = shim.strike(sandbox, line, fault);
        recover(sandbox, back, &format!("{fault:?} in {line}"));
        fired
    });
    let mode = if fault.mode.starts_with("kill") {
        fault.mode.to_owned()
    } else {
        format!("{} {}", fault.mode, fault.errno)
    };
    let least =
        LEAST.iter().find(|(role, name, _)| *role == fault.role && *name == mode).unwrap().2
            [usize::from(back)];
    held(&format!("{} {mode} in {line}", fault.role), fired, least);
    fired
}

#[test]
fn a_kill_at_any_call_leaves_nobody_untold_and_tells_nobody_twice() {
    let mut fired = 0;
    for (line, verb, least) in
        [("run book.yaml", "resume", [59, 15]), ("rollback", "rollback", [45, 12])]
    {
        let prepare = || {
            let sandbox = Sandbox::with(TELLS);
            sandbox.write("templates/m.txt", "Subject: {{runbook.name}}\n\n{{direction}}\n");
            if verb == "rollback" {
                assert_eq!(sandbox.code("run book.yaml"), 0);
            }
            Prepared::of(sandbox)
        };
        // What a run owes that is over, whoever takes it up tells.
        let told = |sandbox: &Sandbox| {
            for _ in 0..3 {
                sandbox.code(if sandbox.code("status") == 0 { verb } else { line });
            }
            sandbox.code("resume");
            letters(sandbox)
        };
        let smooth = prepare();
        smooth.sandbox.code(line);
        let smooth = told(&smooth.sandbox);
        let reports = if verb == "rollback" { 2 } else { 1 };
        assert!(smooth.iter().any(|told| told == "downtime_over"));
        assert_eq!(smooth.iter().filter(|told| *told == "report").count(), reports);
        for (mode, least) in ["kill-after", "kill-before"].into_iter().zip(least) {
            let kill = Fault { role: "executor", mode, errno: "EIO", calls: CHANGES, at: 0 };
            let kills = count_up(Shim::ours(), kill, line, prepare, |prepared, fault| {
                let sandbox = prepared.restored();
                let fired = Shim::ours().strike(sandbox, line, fault);
                assert_eq!(told(sandbox), smooth, "{fault:?} in {line}: {}", sandbox.run("status"));
                fired
            });
            held(
                &format!("executor {mode} between a fact and its message in {line}"),
                kills,
                least,
            );
            fired += kills;
        }
    }
    report("kills between a fact and its message", fired);
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
    let sent = log["log"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| &entry["event"])
        .filter(|event| event["event"] == "message_sent");
    let mut told: Vec<String> =
        sent.map(|event| event["occasion"].as_str().unwrap().to_owned()).collect();
    told.sort();
    let sent = told.len();
    // A step that was killed begins the downtime anew, which is told as well.
    told.dedup_by(|one, other| one == other && one == "downtime_starts");
    let mut files: Vec<String> = std::fs::read_dir(sandbox.path("journal/outbox"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    files.retain(|file| file.ends_with(".txt"));
    assert_eq!(files.len(), sent, "{files:?} {told:?}");
    told
}

#[test]
fn a_second_kill_at_any_call_of_the_recovery_changes_nothing_about_that() {
    let (every, seed) = sample(20);
    for back in [false, true] {
        let (line, again) =
            if back { ("rollback", "rollback") } else { ("run book.yaml --parallel 2", "resume") };
        let prepare = || {
            let sandbox = Sandbox::with(&book());
            if back {
                assert_eq!(sandbox.code("run book.yaml"), 0);
            }
            Prepared::of(sandbox)
        };
        for (role, least) in [("executor", 100), ("keeper", 14)] {
            let fired = AtomicUsize::new(0);
            let first =
                Fault { role: "executor", mode: "kill-after", errno: "EIO", calls: CHANGES, at: 0 };
            count_up(Shim::ours(), first, line, prepare, |prepared, first| {
                for at in (1 + first.at.wrapping_add(seed) % every..).step_by(every) {
                    let sandbox = prepared.restored();
                    if !Shim::ours().strike(sandbox, line, first) {
                        return false;
                    }
                    let again = if sandbox.code("status") == 0 { again } else { "run book.yaml" };
                    let second = Fault { role, at, ..first };
                    let both = Shim::ours().strike(sandbox, again, second);
                    recover(
                        sandbox,
                        back,
                        &format!("{first:?} in {line}, then {second:?} in {again}"),
                    );
                    if !both {
                        break;
                    }
                    fired.fetch_add(1, Ordering::Relaxed);
                }
                true
            });
            let way = if back { "on the way back" } else { "forward" };
            let fired = fired.into_inner();
            held(&format!("second kill of the {role} {way}"), fired, least);
            report(&format!("second kills of the {role} {way}, one in {every} tried,"), fired);
        }
    }
}

/// One of how many is tried of what is not tried each time, and which: few, to be quick, and others
/// each time; all of them with `SWITCHOVER_EVERY=1`.
fn sample(usual: usize) -> (usize, usize) {
    static CHANCE: OnceLock<usize> = OnceLock::new();
    let given = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let usual = if given("SWITCHOVER_STEPS").is_some() { 1 } else { usual };
    let every = given("SWITCHOVER_EVERY").filter(|every| *every > 0).unwrap_or(usual);
    let chance = || given("SWITCHOVER_SEED").unwrap_or(std::process::id() as usize);
    (every, *CHANCE.get_or_init(chance))
}

#[test]
fn a_file_that_may_not_grow_is_like_a_full_disk() {
    let sandbox = Sandbox::with(
        "runbook: limit
phases:
  p:
    steps:
      a: { run: 'echo a >> \"$W\"', undo: none }
      b: { run: 'echo b >> \"$W\"; head -c 300000 /dev/zero', undo: none }
",
    );
    let limited = |blocks: u32, verb: &str| {
        // In blocks of 1024 bytes, for the program and all that it begins.
        let shell = format!("ulimit -f {blocks}; exec {} {verb}", env!("CARGO_BIN_EXE_switchover"));
        let mut command = Command::new("bash");
        command
            .args(["-c", &shell])
            .current_dir(sandbox.path(""))
            .env("W", sandbox.path("witness"));
        command.env("SWITCHOVER_LOCKS", sandbox.path("locks")).output().unwrap().status.code()
    };
    assert_eq!(limited(20, "run book.yaml"), Some(7), "its own files: no signal, an error");
    assert!(sandbox.witness().is_empty());
    let shown = sandbox.run("run book.yaml --until a");
    assert!(shown.ends_with("exit 0"), "{shown}");
    assert_eq!(limited(200, "resume"), Some(1), "a command's: it is told in the usual way");
    assert!(
        sandbox.run("status").contains("File size limit exceeded"),
        "{}",
        sandbox.run("status")
    );
    assert_eq!(sandbox.code("resume"), 0);
    assert_eq!(sandbox.witness(), ["a", "b", "b"]);
}

/// A sandbox, and how it was, to make it so again: cheaper than another one that goes as far.
struct Prepared {
    sandbox: Sandbox,
    copy: tempfile::TempDir,
}

impl Prepared {
    fn of(sandbox: Sandbox) -> Prepared {
        let copy = tempfile::tempdir().unwrap();
        copy_all(&sandbox.path(""), copy.path());
        Prepared { sandbox, copy }
    }

    /// The sandbox as it was.
    fn restored(&self) -> &Sandbox {
        self.sandbox.assert_quiet();
        for entry in
            std::fs::read_dir(self.sandbox.path("")).unwrap().map(|entry| entry.unwrap().path())
        {
            if entry.is_dir() {
                std::fs::remove_dir_all(entry).unwrap()
            } else {
                std::fs::remove_file(entry).unwrap()
            }
        }
        copy_all(self.copy.path(), &self.sandbox.path(""));
        &self.sandbox
    }
}

fn copy_all(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-a").arg(from.join(".")).arg(to).status();
    assert!(copied.unwrap().success(), "{} to {}", from.display(), to.display());
}

/// Tries a fault at the first call, the second, and so on, until none comes to pass; how many did.
/// The numbers are shared by as many threads as there are cores, each with a sandbox of its own. A
/// kill that repeats its neighbours is tried only sometimes: between two changes of the same file
/// by the same call, before a call as well as behind the one before it, and of both processes where
/// only one of them comes so far. A call fails for one of the two reasons, at its neighbour for the
/// other.
fn count_up(
    shim: &Shim,
    fault: Fault,
    line: &str,
    prepare: impl Fn() -> Prepared + Sync,
    instance: impl Fn(&Prepared, Fault) -> bool + Sync,
) -> usize {
    let calls = shim.calls(&prepare().sandbox, line, fault.role, fault.calls);
    let (every, seed) = sample(4);
    let has_turn = |at: usize| {
        !fault.mode.starts_with("fail")
            || every == 1
            || (at + seed).is_multiple_of(2) == (fault.errno == "EIO")
    };
    let of_keeper = if fault.role == "any" {
        shim.calls(&prepare().sandbox, line, "keeper", fault.calls).len()
    } else {
        usize::MAX
    };
    let repeats = |at: usize| {
        let call = |at: usize| calls.get(at.wrapping_sub(1));
        let is_between = call(at).is_some() && call(at - 1) == call(at) && call(at) == call(at + 1);
        is_between || (fault.mode == "kill-before" && at > 1) || at > of_keeper
    };
    let (next, end, fired) =
        (AtomicUsize::new(1), AtomicUsize::new(usize::MAX), AtomicUsize::new(0));
    let work = || {
        let prepared = prepare();
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            if at > end.load(Ordering::Relaxed) {
                break;
            }
            if !has_turn(at) || repeats(at) && at.wrapping_add(seed) % every != 0 {
                continue;
            }
            // A few more after the last: of two processes that write at once, the order may differ.
            match instance(&prepared, Fault { at, ..fault }) {
                true => drop(fired.fetch_add(1, Ordering::Relaxed)),
                false => drop(end.fetch_min(at + 2, Ordering::Relaxed)),
            }
        }
    };
    std::thread::scope(|scope| {
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        let threads: Vec<_> = (0..cores).map(|_| scope.spawn(work)).collect();
        for thread in threads {
            // What one says why it fails is what the test says.
            thread.join().unwrap_or_else(|why| std::panic::resume_unwind(why));
        }
    });
    fired.into_inner()
}

/// Takes the run up until it is over, answering with the truth, and holds the world against what it
/// should be.
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
    assert_eq!(
        sandbox.code("audit --verify"),
        0,
        "{about}: {}\n{said}",
        sandbox.run("audit --verify")
    );
    let mut seen = sandbox.witness();
    let began: Vec<String> =
        sandbox.json("audit --format json")["log"].as_array().map_or_else(Vec::new, |events| {
            let started = events
                .iter()
                .map(|entry| &entry["event"])
                .filter(|event| event["event"] == "step_started");
            started
                .map(|event| {
                    let word = |name: &str| event[name].as_str().unwrap_or_default().to_owned();
                    format!("begin {} {} {}", word("step"), word("direction"), event["attempt"])
                })
                .collect()
        });
    for line in seen.iter().filter(|line| line.starts_with("begin")) {
        assert!(
            began.contains(line),
            "{about}: the journal does not know of `{line}`: {began:?}\n{said}"
        );
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
        let (name, is_back) =
            (step["id"].as_str().unwrap_or_default(), state["direction"] != "forward");
        if step["state"] == "in doubt" {
            let direction = if is_back { "undo" } else { "forward" };
            let is_done = sandbox
                .witness()
                .iter()
                .any(|line| line.starts_with(&format!("end {name} {direction}")));
            let verdict = if is_done { "done" } else { "not-done" };
            sandbox.code(&format!("resolve {name} --as {verdict} --reason looked"));
        }
    }
}

/// As often as it must, something came to pass.
fn held(what: &str, fired: usize, least: usize) {
    #[expect(clippy::print_stdout, reason = "with --show-output, it says what came to pass")]
    {
        println!("  {what}: {fired} of at least {least}");
    }
    assert!(fired >= least, "{what} came to pass {fired} of at least {least} times");
}

fn report(what: &str, fired: usize) {
    #[expect(clippy::print_stdout, reason = "with --show-output, it says what came to pass")]
    {
        println!("faults: {fired} {what} came to pass (SWITCHOVER_SEED={})", sample(1).1);
    }
}
