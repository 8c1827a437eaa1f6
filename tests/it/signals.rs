//! Every signal after every other, while a step runs, on the way there and back: what the program
//! does, what it writes down, what it leaves, and how the run goes on afterwards.

use std::process::Child;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value as Json, json};

use super::processes::nothing_left;
use super::sandbox::{Sandbox, signal, wait_until};

const SIGNALS: [(&str, i32); 3] = [("HUP", 1), ("INT", 2), ("TERM", 15)];

/// It and its child say that they were asked to end, and stay; their own children do not even hear
/// it.
const DEAF: &str = r#"sh -c 'trap "" TERM; sleep 300 & trap "echo grandchild >> \"\$W\"" TERM; echo ready grandchild >> "$W"; while :; do wait; done' &
trap '' TERM; sleep 300 & trap 'echo child >> "$W"' TERM; echo ready child >> "$W"; while :; do wait || :; done"#;

/// What is sent while the step runs, and how the step takes it.
#[derive(Debug, Clone)]
struct Case {
    /// While an undo runs, not a step.
    back: bool,
    first: (&'static str, i32),
    /// Stopped and let go on after the first.
    suspended: bool,
    ends: Ends,
}

#[derive(Debug, Clone)]
enum Ends {
    /// There is one signal: the step ends by itself.
    Well,
    /// The second signal ends it.
    By(&'static str),
    /// It and what it began ignore the second, and the third kills them.
    ByForce(&'static str, &'static str),
    /// They ignore the second, and there is no third.
    ByPatience(&'static str),
}

#[test]
fn every_signal_after_every_other_stops_the_run_as_is_documented() {
    let mut cases = Vec::new();
    for back in [false, true] {
        for (number, first) in SIGNALS.into_iter().enumerate() {
            let third = |second: usize| SIGNALS[(number + second) % 3].0;
            let mut add = |suspended, ends| cases.push(Case { back, first, suspended, ends });
            add(false, Ends::ByPatience(third(1)));
            for suspended in [false, true] {
                add(suspended, Ends::Well);
                for (at, (second, _)) in SIGNALS.into_iter().enumerate() {
                    add(suspended, Ends::By(second));
                    add(suspended, Ends::ByForce(second, third(at)));
                }
            }
        }
    }
    // The slowest first.
    cases.sort_by_key(|case| !matches!(case.ends, Ends::ByPatience(_)));
    let next = AtomicUsize::new(0);
    // They mostly wait, for the processes that they begin.
    std::thread::scope(|scope| {
        for _ in 0..12 {
            scope.spawn(|| {
                while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    case.hold();
                }
            });
        }
    });
}

impl Case {
    /// With `hold` there, `a` (or, on the way back, the undo of `a`) takes long.
    fn sandbox(&self) -> Sandbox {
        let quick = |name: &str| format!("echo \"{name}\" >> \"$W\"");
        let slow = match self.ends {
            Ends::Well => "while [ -e hold ]; do sleep 0.02; done",
            Ends::By(_) => {
                "(sh -c 'sleep 300; echo grandchild >> \"$W\"') & wait; echo survived >> \"$W\""
            }
            Ends::ByForce(..) | Ends::ByPatience(_) => DEAF,
        };
        let long = |name: &str| {
            format!(
                "echo \"begin {name}\" >> \"$W\"; if [ -e hold ]; then {slow}; fi; \
                 echo \"end {name}\" >> \"$W\""
            )
        };
        let (there, back) =
            if self.back { (quick("a"), long("undo a")) } else { (long("a"), quick("undo a")) };
        // Going back begins with the undo of the last.
        let steps = if self.back { ["b", "a"] } else { ["a", "b"] };
        let mut book = "runbook: signals\nphases:\n  p:\n    steps:\n".to_owned();
        for step in steps {
            let (there, back) = if step == "a" {
                (there.clone(), back.clone())
            } else {
                (quick("b"), quick("undo b"))
            };
            book.push_str(&format!(
                "      {step}: {{ run: {}, undo: {{ run: {} }} }}\n",
                json!(there),
                json!(back)
            ));
        }
        Sandbox::with(&book)
    }

    fn is_deaf(&self) -> bool {
        matches!(self.ends, Ends::ByForce(..) | Ends::ByPatience(_))
    }

    fn hold(&self) {
        let sandbox = self.sandbox();
        let (name, line) = if self.back { ("undo a", "rollback") } else { ("a", "run book.yaml") };
        if self.back {
            assert_eq!(sandbox.code("run book.yaml"), 0, "{self:?}");
            sandbox.write("witness", "");
        }
        sandbox.write("hold", "");
        let mut child = sandbox.start_disposed("--default-signal=HUP", line);
        sandbox.wait_for(&format!("begin {name}"));
        self.is_deaf().then(|| ready(&sandbox));
        let since = Instant::now();
        self.send(&sandbox, &child);
        let code = child.wait().unwrap().code();
        let said = sandbox.read("said");
        assert_eq!(code, Some(128 + self.first.1), "{self:?}: {said}");
        nothing_left(&sandbox);
        assert_eq!(
            said.contains("killing p/a"),
            matches!(self.ends, Ends::ByForce(..)),
            "{self:?}: {said}"
        );
        if matches!(self.ends, Ends::ByPatience(_)) {
            assert!(
                (5..20).contains(&since.elapsed().as_secs()),
                "{self:?}: after {:?}",
                since.elapsed()
            );
        }
        self.look_at_journal(&sandbox);
        self.go_on(&sandbox, name);
    }

    /// Each signal is sent when what the one before it does has been seen.
    fn send(&self, sandbox: &Sandbox, child: &Child) {
        let says = |words: &str| {
            wait_until(&format!("{self:?}: {words}"), || sandbox.read("said").contains(words))
        };
        signal(self.first.0, child.id());
        says("nothing new begins; waiting for p/a (once more stops it)");
        if self.suspended {
            signal("TSTP", child.id());
            wait_until("it is stopped", || is_stopped(child.id()));
            std::thread::sleep(Duration::from_millis(50));
            signal("CONT", child.id());
            says("goes on after");
        }
        match self.ends {
            Ends::Well => std::fs::remove_file(sandbox.path("hold")).unwrap(),
            Ends::By(second) => signal(second, child.id()),
            Ends::ByForce(second, _) | Ends::ByPatience(second) => {
                signal(second, child.id());
                sandbox.wait_for("child");
                sandbox.wait_for("grandchild");
            }
        }
        if let Ends::ByForce(_, third) = self.ends {
            signal(third, child.id());
        }
    }

    /// What happened since the long step began, and nothing else: no later step began.
    fn look_at_journal(&self, sandbox: &Sandbox) {
        let audit = sandbox.json("audit --format json");
        let events: Vec<&Json> =
            audit["log"].as_array().unwrap().iter().map(|entry| &entry["event"]).collect();
        let direction = if self.back { "undo" } else { "forward" };
        let is_begin = |event: &&Json| {
            event["event"] == "step_started"
                && event["step"] == "p/a"
                && event["direction"] == direction
        };
        let begun = events.iter().position(is_begin).unwrap();
        let facts: Vec<&str> =
            events[begun..].iter().filter_map(|event| event["event"].as_str()).collect();
        let (expected, signal) = match self.ends {
            Ends::Well => (vec!["step_started", "step_succeeded", "run_stopped"], None),
            Ends::By(_) => {
                (vec!["step_started", "stop_requested", "step_failed", "run_stopped"], Some(15))
            }
            _ => (vec!["step_started", "stop_requested", "step_failed", "run_stopped"], Some(9)),
        };
        assert_eq!(facts, expected, "{self:?}: {events:?}");
        if let Some(signal) = signal {
            assert_eq!(events[begun + 1]["because"], "interrupt", "{self:?}");
            let why = format!("it was interrupted (killed by signal {signal})");
            assert_eq!(events[begun + 2]["failure"]["message"], why, "{self:?}: {events:?}");
        }
        let because = json!({ "stop": "interrupted", "signal": self.first.1 });
        assert_eq!(events.last().unwrap()["because"], because, "{self:?}: {events:?}");
    }

    /// What was stopped half-way is asked about, and then everything ends as if there had been no
    /// signal.
    fn go_on(&self, sandbox: &Sandbox, name: &str) {
        let is_asked = !matches!(self.ends, Ends::Well);
        if is_asked {
            std::fs::remove_file(sandbox.path("hold")).unwrap();
            assert_eq!(sandbox.code("resume"), 3, "{self:?}: what it did is not known");
            assert_eq!(sandbox.code("resolve a --as not-done --reason looked"), 0, "{self:?}");
        }
        assert_eq!(
            sandbox.code("resume"),
            if self.back { 4 } else { 0 },
            "{self:?}: {}",
            sandbox.run("status")
        );
        let (begin, end, next) = (
            format!("begin {name}"),
            format!("end {name}"),
            if self.back { "undo b" } else { "b" },
        );
        let mut expected = vec![begin.as_str()];
        if is_asked {
            expected.push(&begin);
        }
        expected.extend([&end, next]);
        let mut seen = sandbox.witness();
        seen.retain(|line| !self.is_deaf() || !line.ends_with("child"));
        assert_eq!(seen, expected, "{self:?}");
        assert_eq!(sandbox.code("audit --verify"), 0, "{self:?}");
        nothing_left(sandbox);
    }
}

#[test]
fn the_grace_of_what_was_asked_to_end_stands_still_while_the_program_does() {
    let case =
        Case { back: false, first: ("INT", 2), suspended: false, ends: Ends::ByPatience("INT") };
    let sandbox = case.sandbox();
    sandbox.write("hold", "");
    let mut child = sandbox.start_heard("run book.yaml", &[]);
    ready(&sandbox);
    signal("INT", child.id());
    std::thread::sleep(Duration::from_millis(200));
    signal("INT", child.id());
    sandbox.wait_for("child");
    signal("TSTP", child.id());
    wait_until("it is stopped", || is_stopped(child.id()));
    // Longer than the keeper waits for what it cannot kill.
    std::thread::sleep(Duration::from_secs(21));
    signal("CONT", child.id());
    let since = Instant::now();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(since.elapsed() > Duration::from_secs(3), "it was killed after {:?}", since.elapsed());
    let said = sandbox.read("said");
    assert!(said.contains("it was interrupted (killed by signal 9)"), "{said}");
    nothing_left(&sandbox);
}

#[test]
fn what_is_sent_while_the_program_is_stopped_is_heard_when_it_goes_on() {
    let case = Case { back: false, first: ("INT", 2), suspended: true, ends: Ends::By("TERM") };
    let sandbox = case.sandbox();
    sandbox.write("hold", "");
    let mut child = sandbox.start_disposed("--default-signal=HUP", "run book.yaml");
    sandbox.wait_for("begin a");
    signal("TSTP", child.id());
    wait_until("it is stopped", || is_stopped(child.id()));
    for (name, _) in SIGNALS {
        signal(name, child.id());
    }
    std::thread::sleep(Duration::from_millis(200));
    assert!(child.try_wait().unwrap().is_none());
    signal("CONT", child.id());
    let code = child.wait().unwrap().code();
    assert!(matches!(code, Some(129 | 130 | 143)), "{code:?}: {}", sandbox.read("said"));
    assert_eq!(sandbox.witness(), ["begin a"]);
    nothing_left(&sandbox);
    assert_eq!(sandbox.code("resume"), 3);
}

#[test]
fn under_nohup_a_hangup_is_nothing_and_an_interrupt_is_one() {
    let case = Case { back: false, first: ("INT", 2), suspended: false, ends: Ends::Well };
    let sandbox = case.sandbox();
    sandbox.write("hold", "");
    let mut child = sandbox.start_disposed("--ignore-signal=HUP", "run book.yaml");
    sandbox.wait_for("begin a");
    signal("HUP", child.id());
    std::thread::sleep(Duration::from_millis(200));
    assert!(!sandbox.read("said").contains("nothing new begins"), "{}", sandbox.read("said"));
    case.send(&sandbox, &child);
    assert_eq!(child.wait().unwrap().code(), Some(130));
    nothing_left(&sandbox);
    assert_eq!(sandbox.code("resume"), 0);
}

#[test]
fn commands_are_begun_with_the_usual_dispositions() {
    // Besides a plain one: one with input, one in another folder, and one whose output is masked
    // are begun in other ways.
    let look = r#"grep -E "Sig(Ign|Blk)" /proc/self/status >> "$W""#;
    let book = r#"runbook: dispositions
secrets: { token: { env: DEPLOY_TOKEN } }
phases:
  p:
    steps:
      plain: { run: 'LOOK', undo: { run: 'LOOK' } }
      fed: { run: { script: 'LOOK', stdin: words }, undo: none }
      elsewhere: { run: { script: 'LOOK', cwd: / }, undo: none }
      masked: { run: 'LOOK', env: { T: { secret: token } }, undo: none }
      file: { run: 'LOOK', env: { T: { secret: token, as: file } }, undo: none }
      piped: { run: { script: 'yes | head -1 > yes; echo "${PIPESTATUS[0]}" >> "$W"', shell: [bash, -c] }, undo: none }
      limited: { run: { script: 'ulimit -f 1; head -c 9999 /dev/zero > large; echo $? >> "$W"', shell: [bash, -c] }, undo: none }
"#;
    let sandbox = Sandbox::with(&book.replace("LOOK", look));
    assert_eq!(sandbox.code("run book.yaml --parallel 1"), 0, "{}", sandbox.run("check book.yaml"));
    assert_eq!(sandbox.code("rollback"), 4);
    let seen = sandbox.witness();
    assert_eq!(seen.len(), 2 * 6 + 2, "{seen:?}");
    assert!(
        seen.contains(&"141".to_owned()) && seen.contains(&"153".to_owned()),
        "killed by SIGPIPE and SIGXFSZ: {seen:?}"
    );
    for line in seen.iter().filter(|line| line.starts_with("Sig")) {
        let (name, mask) = line.split_once(':').unwrap();
        let mask = u64::from_str_radix(mask.trim(), 16).unwrap();
        // What else whoever began the tests ignores, as a shell does INT for what it begins in the
        // background, is passed on.
        let mine = if name == "SigIgn" {
            [13, 25].iter().map(|number| 1 << (number - 1)).sum()
        } else {
            u64::MAX
        };
        assert_eq!(mask & mine, 0, "{seen:?}");
    }
}

fn is_stopped(process: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap().contains(") T ")
}

/// Both of the deaf have said that from now on they are.
fn ready(sandbox: &Sandbox) {
    sandbox.wait_for("ready child");
    sandbox.wait_for("ready grandchild");
}
