//! Ctrl-Z, `fg` and Ctrl-C in a real interactive shell, on a terminal of its own.

use std::io::{Read, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::processes::nothing_left;
use super::sandbox::{Sandbox, wait_until};

/// An interactive bash on a terminal, to which keys are pressed.
struct Shell {
    process: Child,
    keys: ChildStdin,
    seen: Arc<Mutex<String>>,
}

impl Shell {
    fn begin(sandbox: &Sandbox) -> Shell {
        let mut command = sandbox.prepare(Command::new("script"), "-q -e -c");
        command
            .args(["exec env 'PS1=ready$ ' bash --norc --noprofile -i", "/dev/null"])
            .env("TERM", "xterm");
        let mut process = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("script, of the package bsdutils");
        let (keys, mut output) = (process.stdin.take().unwrap(), process.stdout.take().unwrap());
        let seen = Arc::new(Mutex::new(String::new()));
        let adds = Arc::clone(&seen);
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(count @ 1..) = output.read(&mut bytes) {
                adds.lock().unwrap().push_str(&String::from_utf8_lossy(&bytes[..count]));
            }
        });
        let shell = Shell { process, keys, seen };
        shell.wait_for("ready$ ");
        shell
    }

    fn press(&mut self, keys: &str) {
        self.seen.lock().unwrap().clear();
        self.keys.write_all(keys.as_bytes()).unwrap();
        self.keys.flush().unwrap();
    }

    fn says(&self, words: &str) -> bool {
        console::strip_ansi_codes(&self.seen.lock().unwrap()).contains(words)
    }

    /// Since keys were pressed last.
    fn wait_for(&self, words: &str) {
        wait_until(&format!("the terminal says {words}: {}", self.seen.lock().unwrap()), || {
            self.says(words)
        });
    }
}

/// The state of each process of the run, as `T` for one that stands still, but for the shell's own
/// and the keeper, which stays awake to see how the commands end.
fn states(sandbox: &Sandbox) -> Vec<(String, String)> {
    let all = sandbox.processes().into_iter().filter(|(_, line)| {
        !line.starts_with("bash") && !line.starts_with("script") && !line.contains(" keep ")
    });
    let state = |pid: u32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.rsplit_once(") ").map_or_else(String::new, |(_, rest)| rest[..1].to_owned())
    };
    all.map(|(pid, line)| (state(pid), line)).collect()
}

#[test]
fn a_run_stops_with_its_commands_and_its_clocks_and_goes_on_with_fg() {
    let sandbox = Sandbox::with(
        r#"runbook: job
phases:
  p:
    steps:
      a: { run: 'echo begin a >> "$W"; while [ -e hold ]; do echo tick >> ticks; sleep 0.02; done; echo end a >> "$W"', undo: none, timeout: 20s }
      b: { run: 'echo b >> "$W"', undo: none }
"#,
    );
    sandbox.write("hold", "");
    let mut shell = Shell::begin(&sandbox);
    let program = env!("CARGO_BIN_EXE_switchover");
    shell.press(&format!("{program} run book.yaml\n"));
    sandbox.wait_for("begin a");
    // Twice, as what was left over of the first could show at the second.
    for round in 0..2 {
        shell.press("\x1a");
        shell.wait_for("Stopped");
        assert!(
            shell.says("stopped here, with what runs; `fg` goes on"),
            "{}",
            shell.seen.lock().unwrap()
        );
        wait_until("all of it stands still", || {
            let states = states(&sandbox);
            states.len() >= 2 && states.iter().all(|(state, _)| state == "T")
        });
        let ticks = sandbox.read("ticks");
        // Longer than the timeout once: this time does not count.
        std::thread::sleep(Duration::from_secs(if round == 0 { 21 } else { 1 }));
        assert_eq!(sandbox.read("ticks"), ticks, "its command goes on: {:?}", states(&sandbox));
        // Meanwhile others can read it, and find it whole and still held.
        assert_eq!(sandbox.code("audit --verify"), 0);
        assert!(sandbox.run("status").contains("running"), "{}", sandbox.run("status"));
        let refused = sandbox.run("resume");
        assert!(!refused.ends_with("exit 0"), "it is not over: {refused}");
        shell.press("fg; echo code=$?.\n");
        shell.wait_for("goes on after");
        wait_until("its command goes on", || sandbox.read("ticks").len() > ticks.len());
    }
    shell.press("\x03");
    shell.wait_for("nothing new begins; waiting for p/a");
    std::fs::remove_file(sandbox.path("hold")).unwrap();
    shell.wait_for("code=130.");
    assert_eq!(sandbox.witness(), ["begin a", "end a"]);
    shell.press(&format!("{program} resume; echo code=$?.\n"));
    shell.wait_for("code=0.");
    assert_eq!(sandbox.witness(), ["begin a", "end a", "b"]);
    assert_eq!(sandbox.code("audit --verify"), 0);
    shell.press("exit\n");
    assert!(shell.process.wait().unwrap().success());
    nothing_left(&sandbox);
}
