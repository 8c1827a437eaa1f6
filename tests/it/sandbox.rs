//! A folder with runbooks and a journal, and the program run in it. Ids, times and paths that
//! differ from run to run are replaced, so that snapshots can show the rest to the letter.

use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

pub struct Sandbox {
    folder: tempfile::TempDir,
    working: PathBuf,
}

/// No test may leave a process: what is left is ended, and the test fails.
impl Drop for Sandbox {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.assert_quiet();
        }
    }
}

impl Sandbox {
    /// Waits until no process of it is left; one that stays is ended, and the test fails, as it
    /// does if attempts overlapped.
    pub fn assert_quiet(&self) {
        let begun = Instant::now();
        let mut left = self.processes();
        while !left.is_empty() && begun.elapsed() < Duration::from_secs(20) {
            std::thread::sleep(Duration::from_millis(20));
            left = self.processes();
        }
        left.iter().for_each(|(process, _)| kill_process(*process));
        assert!(left.is_empty(), "the test left these processes: {left:?}");
        self.assert_attempts_never_overlapped();
    }

    pub fn new() -> Sandbox {
        Sandbox {
            folder: tempfile::tempdir().expect("a folder for the test"),
            working: PathBuf::new(),
        }
    }

    /// A sandbox with one runbook, `book.yaml`.
    pub fn with(runbook: &str) -> Sandbox {
        let sandbox = Sandbox::new();
        sandbox.write("book.yaml", with_attempts(runbook));
        sandbox
    }

    /// The same, with commands begun in this folder of it.
    pub fn in_folder(&mut self, name: &str) -> &Sandbox {
        self.working = name.into();
        self
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        std::fs::write(path, bytes).expect("a file");
    }

    pub fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    fn command(&self, line: &str) -> Command {
        self.prepare(Command::new(env!("CARGO_BIN_EXE_switchover")), line)
    }

    /// Any command, to be run as the program is.
    pub fn prepare(&self, mut command: Command, line: &str) -> Command {
        command
            .args(line.split_whitespace())
            .current_dir(self.path("").join(&self.working))
            .stdin(Stdio::null());
        command
            .env_remove("SWITCHOVER_JOURNAL")
            .env("SWITCHOVER_OPERATOR", "oncall@test")
            .env("SWITCHOVER_LOCKS", self.path("locks"))
            .env("NO_COLOR", "1")
            .env("DEPLOY_TOKEN", "correct-horse")
            .env("W", self.path("witness"));
        command
    }

    /// Runs the program with these words as arguments (`~` stands for a space inside a word); what
    /// it printed, and its exit code.
    pub fn run(&self, line: &str) -> String {
        let output = self
            .command("")
            .args(line.split_whitespace().map(|word| word.replace('~', " ")))
            .output()
            .expect("the program");
        let text = format!(
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        let code =
            output.status.code().map_or_else(|| "killed".to_owned(), |code| code.to_string());
        format!("{}exit {code}", self.without_accidents(&text))
    }

    /// The same, with more in its environment.
    pub fn run_with(&self, line: &str, env: &[(&str, String)]) -> String {
        let mut command = self.command(line);
        let output = command
            .envs(env.iter().map(|(name, value)| (name, value)))
            .output()
            .expect("the program");
        let text = format!(
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        format!("{}exit {}", self.without_accidents(&text), output.status.code().unwrap_or(-1))
    }

    /// All that the program prints, to the letter, and its exit code. Each argument is one,
    /// whatever stands in it.
    pub fn prints(&self, arguments: &[&str], env: &[(&str, &str)]) -> (String, i32) {
        let mut command = self.command("");
        let output =
            command.args(arguments).envs(env.iter().copied()).output().expect("the program");
        let text = format!(
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        (text, output.status.code().unwrap_or(-1))
    }

    /// Invariant 12, by the witness: nothing of an attempt was seen once a later one of the same
    /// step had begun.
    fn assert_attempts_never_overlapped(&self) {
        let mut last = std::collections::HashMap::new();
        let witness = self.read("witness.attempts");
        for line in witness.lines() {
            let (what, number) = line
                .rsplit_once(' ')
                .unwrap_or_else(|| panic!("{line:?} in the witness: {witness}"));
            let (word, step) = what
                .split_once(' ')
                .unwrap_or_else(|| panic!("{line:?} in the witness: {witness}"));
            let number: u32 =
                number.parse().unwrap_or_else(|_| panic!("{line:?} in the witness: {witness}"));
            let latest = last.entry(step.to_owned()).or_insert(0);
            assert!(
                number >= *latest,
                "attempt {number} still ran beside attempt {latest} ({word} {step}): {witness}"
            );
            *latest = number;
        }
    }

    /// Only the exit code.
    pub fn code(&self, line: &str) -> i32 {
        let output = self
            .command("")
            .args(line.split_whitespace().map(|word| word.replace('~', " ")))
            .output()
            .expect("the program");
        output.status.code().unwrap_or(-1)
    }

    /// The same, with more in its environment.
    pub fn code_with(&self, line: &str, env: &[(&str, String)]) -> i32 {
        self.status_with(line, env).code().unwrap_or(-1)
    }

    /// The same, with the signal that ended it, if one did.
    pub fn status_with(&self, line: &str, env: &[(&str, String)]) -> ExitStatus {
        let mut command = self.command(line);
        command.envs(env.iter().map(|(name, value)| (name, value)));
        command.output().expect("the program").status
    }

    /// Standard output as JSON.
    pub fn json(&self, line: &str) -> serde_json::Value {
        let output = self.command(line).output().expect("the program");
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
            panic!("{line}: {error}: {}", String::from_utf8_lossy(&output.stderr))
        })
    }

    pub fn start(&self, line: &str) -> Child {
        self.command(line).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the program")
    }

    /// The same, with more in its environment; what it says is written to the file `said`.
    pub fn start_heard(&self, line: &str, env: &[(&str, String)]) -> Child {
        let said = std::fs::File::create(self.path("said")).expect("a file");
        let mut command = self.command(line);
        command.envs(env.iter().map(|(name, value)| (name, value)));
        command.stdout(Stdio::null()).stderr(said).spawn().expect("the program")
    }

    /// The same, with a signal's disposition, as `--default-signal=HUP`, that does not depend on
    /// who began the tests.
    pub fn start_disposed(&self, disposition: &str, line: &str) -> Child {
        let said = std::fs::File::create(self.path("said")).expect("a file");
        let mut command = Command::new("env");
        command.args([disposition, env!("CARGO_BIN_EXE_switchover")]);
        self.prepare(command, line)
            .stdout(Stdio::null())
            .stderr(said)
            .spawn()
            .expect("env, of the package coreutils")
    }

    /// The processes that were begun in this sandbox and still run, each with its command line.
    pub fn processes(&self) -> Vec<(u32, String)> {
        let folder = self.path("witness").display().to_string().into_bytes();
        let pids = std::fs::read_dir("/proc")
            .expect("/proc")
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
        pids.filter_map(|pid| {
            let environment = std::fs::read(format!("/proc/{pid}/environ")).ok()?;
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
            let is_ours = environment.windows(folder.len()).any(|window| window == folder);
            is_ours.then(|| (pid, String::from_utf8_lossy(&line).replace('\0', " ")))
        })
        .collect()
    }

    /// What a terminal of 80 columns was sent, without colours, movements and more than one space,
    /// while the keys were pressed.
    pub fn in_terminal(&self, line: &str, keys: &str) -> String {
        self.in_terminal_slowly(line, &[keys], 0)
    }

    /// The same, with a pause of so many milliseconds before each further piece of the keys.
    pub fn in_terminal_slowly(&self, line: &str, keys: &[&str], pause: u64) -> String {
        let (text, code) = self.sent_to_terminal(line, keys, pause, "oncall@test");
        let words: Vec<String> =
            console::strip_ansi_codes(&text).split_whitespace().map(str::to_owned).collect();
        format!("{} exit {code}", self.without_accidents(&words.join(" ")))
    }

    /// What a terminal is sent, to the letter, and the exit code.
    pub fn sent_to_terminal(
        &self,
        line: &str,
        keys: &[&str],
        pause: u64,
        operator: &str,
    ) -> (String, i32) {
        // The one of util-linux, which gives the program a terminal and passes on its standard
        // input.
        let shell =
            format!("stty cols 80 rows 24; exec {} {line}", env!("CARGO_BIN_EXE_switchover"));
        let mut command = Command::new("script");
        command
            .args(["-q", "-e", "-c", &shell, "/dev/null"])
            .current_dir(self.folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        command
            .env_remove("SWITCHOVER_JOURNAL")
            .env("SWITCHOVER_OPERATOR", operator)
            .env("TERM", "xterm")
            .env("W", self.path("witness"));
        let mut child = command.spawn().expect("script, of the package bsdutils");
        let mut input = child.stdin.take().expect("its input");
        for (number, keys) in keys.iter().enumerate() {
            std::thread::sleep(Duration::from_millis(if number > 0 { pause } else { 0 }));
            input.write_all(keys.as_bytes()).expect("keys to press");
        }
        let output = child.wait_with_output().expect("its end");
        drop(input);
        (String::from_utf8_lossy(&output.stdout).into_owned(), output.status.code().unwrap_or(-1))
    }

    /// What the steps' commands wrote outside the program, line by line.
    pub fn witness(&self) -> Vec<String> {
        self.read("witness").lines().map(str::to_owned).collect()
    }

    /// Waits until the witness has this line.
    pub fn wait_for(&self, line: &str) {
        let begun = Instant::now();
        while !self.witness().iter().any(|seen| seen == line) {
            assert!(
                begun.elapsed() < Duration::from_secs(30),
                "the witness never saw {line}: {:?}",
                self.witness()
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Waits until there is a file.
    pub fn wait_for_file(&self, name: &str) {
        let begun = Instant::now();
        while !self.path(name).exists() {
            assert!(begun.elapsed() < Duration::from_secs(30), "there never was a file {name}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn without_accidents(&self, text: &str) -> String {
        let mut text = text.replace(&self.folder.path().display().to_string(), "<folder>");
        for (pattern, replacement) in [
            (r"\brun( +)[2-9a-z]{4}\b", "run$1<run>"),
            (r"(resume|rollback|audit|--run|status) [2-9a-z]{4}\b", "$1 <run>"),
            (r"(?m)^\d\d:\d\d:\d\d ", ""),
            (r"after \d[\dhms. ]*(:|\n)", "after <time>$1"),
            (r"in \d+(\.\d+)?m?s", "in <time>"),
            (r"begun \d[\dhms. ]* ago", "begun <time> ago"),
            (r"downtime \d+(\.\d+)?m?s", "downtime <time>"),
            (r"process \d+ on [^)]+", "process <pid> on <host>"),
            (r"process \d+", "process <pid>"),
            (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", "<moment>"),
        ] {
            text = regex::Regex::new(pattern)
                .expect("a pattern")
                .replace_all(&text, replacement)
                .into_owned();
        }
        text
    }
}

/// Waits until something holds, which must be soon.
pub fn wait_until(what: &str, holds: impl Fn() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < Duration::from_secs(60), "it never came to pass: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A runbook whose steps, where they write into the witness that they begin or end, write beside it
/// in which attempt.
fn with_attempts(runbook: &str) -> String {
    let says = regex::Regex::new(r#"echo "?(begin|end|works|try)[^\n;&]*?>> (\\?")\$W\\?""#)
        .expect("a pattern");
    let attempt = "$SWITCHOVER_RUN/$SWITCHOVER_STEP/$SWITCHOVER_DIRECTION $SWITCHOVER_ATTEMPT";
    let both = |found: &regex::Captures<'_>| {
        let (whole, word, quote) = (&found[0], &found[1], &found[2]);
        format!("{whole}; echo {quote}{word} {attempt}{quote} >> {quote}$W.attempts{quote}")
    };
    says.replace_all(runbook, both).into_owned()
}

/// Kills an executor as the kernel would: nothing of it runs on. Says whether it lived until then.
pub fn kill(mut child: Child) -> bool {
    child.kill().expect("a process to kill");
    child.wait().expect("its end").signal() == Some(9)
}

/// Kills an executor and its keeper. The command that runs goes on, and nobody will know how it
/// ends.
pub fn kill_both(child: Child) -> bool {
    let keepers = children(child.id());
    let lived = kill(child);
    keepers.into_iter().for_each(kill_process);
    lived
}

/// Kills an executor, its keeper and the commands that run, but not the machine.
pub fn kill_all(child: Child) -> bool {
    let keepers = children(child.id());
    let lived = kill(child);
    for keeper in keepers {
        let commands = children(keeper);
        kill_process(keeper);
        commands.into_iter().for_each(|leader| {
            let _ = Command::new("kill")
                .args(["-KILL", "--", &format!("-{leader}")])
                .stderr(Stdio::null())
                .status();
        });
    }
    lived
}

/// Kills at random moments, of which those count that found something alive.
pub struct Kills {
    wanted: usize,
    done: usize,
    tries: usize,
}

impl Kills {
    pub fn of(wanted: usize) -> Kills {
        Kills { wanted, done: 0, tries: 0 }
    }

    /// Whether it is to be killed once more. There is an end to trying.
    pub fn go_on(&self) -> bool {
        let (wanted, done, tries) = (self.wanted, self.done, self.tries);
        assert!(
            done >= wanted || tries < 20 * wanted,
            "of {tries} kills only {done} of {wanted} found something alive"
        );
        done < wanted
    }

    /// Counts one; whether it found something alive, as [`kill`] says.
    pub fn count(&mut self, lived: bool) -> bool {
        self.tries += 1;
        self.done += usize::from(lived);
        lived
    }

    pub fn done(&self) -> usize {
        self.done
    }
}

fn kill_process(process: u32) {
    let _ =
        Command::new("kill").args(["-KILL", &process.to_string()]).stderr(Stdio::null()).status();
}

/// Sends a signal, as `TERM`, to a process.
pub fn signal(name: &str, process: u32) {
    assert!(
        Command::new("kill")
            .args([format!("-{name}"), process.to_string()])
            .status()
            .expect("kill")
            .success()
    );
}

/// The processes whose parent this is.
pub fn children(parent: u32) -> Vec<u32> {
    let list = std::fs::read_to_string(format!("/proc/{parent}/task/{parent}/children"))
        .unwrap_or_default();
    list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}

pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
