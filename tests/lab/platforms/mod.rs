//! The five platforms under `runbooks/`, each from its beginning to its end in a lab of its own,
//! begun and answered as its README says. What became of it is read from the servers themselves,
//! and from what the stand-ins were told.

mod addtocloud;
mod arbor_kumori;
mod aurigraph;
mod aurigraph_beside;
mod bitcoin_prediction;
mod lattice;

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use super::sandbox::{Sandbox, repository};
use super::servers::Lab;

/// A platform, its lab, and the sandbox that it is moved from.
struct Platform {
    name: &'static str,
    lab: Lab,
    sandbox: Sandbox,
    secrets: Vec<(String, String)>,
}

impl Platform {
    /// With these servers, on ports from one of these hundreds on: each platform has others, as
    /// they live at the same time.
    fn with(name: &'static str, servers: &[&str], hundreds: std::ops::Range<u16>) -> Platform {
        let lab = Lab::at(servers, hundreds.map(|at| at * 100));
        let sandbox = Sandbox::new();
        // Commands are typed in the folder that holds `runbooks/`.
        std::os::unix::fs::symlink(repository().join("runbooks"), sandbox.path("runbooks"))
            .unwrap();
        Platform { name, lab, sandbox, secrets: Vec::new() }
    }

    /// What a script of the platform's folder prints.
    fn prepare(&self, script: &str) -> String {
        let mut words = script.split_whitespace();
        let mut command = Command::new(self.folder().join(words.next().unwrap()));
        command.args(words);
        let output = self.lab.known_to(&mut command).output().unwrap();
        assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Takes the variables that a file of exports sets, and where the stand-ins keep what they were
    /// told.
    fn take_secrets(&mut self, file: &str) {
        let mut command = Command::new("env");
        command
            .args(["-i", "bash", "-euc", "LAB=$1 LAB_PORT=$2; . \"$3\"; env -0", "-"])
            .arg(self.lab.path(""));
        command.arg(self.lab.first_port.to_string()).arg(self.folder().join(file));
        let output = command.output().unwrap();
        assert!(output.status.success(), "{file}: {}", String::from_utf8_lossy(&output.stderr));
        let variables = String::from_utf8(output.stdout).unwrap();
        let variables = variables.split('\0').filter_map(|one| one.split_once('='));
        let of_the_shell = ["PWD", "SHLVL", "_", "PATH", "STANDIN_STATE"];
        self.give(&variables.filter(|(name, _)| !of_the_shell.contains(name)).collect::<Vec<_>>());
    }

    /// Variables for all that the program does, and the stand-ins' memory.
    fn give(&mut self, variables: &[(&str, &str)]) {
        let told = self.sandbox.path("told").display().to_string();
        let all = variables.iter().copied().chain([("STANDIN_STATE", told.as_str())]);
        self.secrets = all.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    }

    fn folder(&self) -> std::path::PathBuf {
        repository().join("runbooks").join(self.name)
    }

    fn variables(&self) -> Vec<(&str, String)> {
        self.secrets.iter().map(|(name, value)| (name.as_str(), value.clone())).collect()
    }

    fn say(&self, line: &str) -> String {
        self.sandbox.run_with(line, &self.variables())
    }

    /// A dry run of a line finds nothing that would be refused, and tells nobody.
    fn is_dry(&self, run: &str) {
        let sent =
            || std::fs::read_dir(self.sandbox.path("journal/outbox")).map_or(0, Iterator::count);
        let before = sent();
        let shown = self.say(&format!("{run} --dry-run"));
        assert!(shown.contains("nothing would be refused") && shown.ends_with("exit 0"), "{shown}");
        assert_eq!(sent(), before, "{:?}", self.subjects());
    }

    /// Says a line, gives each question its answer, and resumes until nothing is asked any more:
    /// what was asked, and the end.
    fn through(&self, line: &str, answer: fn(&str) -> &str) -> (Vec<String>, String) {
        self.until(line, answer, "")
    }

    /// The same, until this is asked.
    fn until(&self, line: &str, answer: fn(&str) -> &str, last: &str) -> (Vec<String>, String) {
        let question = regex::Regex::new(r"switchover resolve (\S+) --run").unwrap();
        let mut asked = Vec::new();
        let mut shown = self.say(line);
        while shown.ends_with("exit 3") {
            let step = question
                .captures_iter(&shown)
                .last()
                .unwrap_or_else(|| panic!("{line} asks nothing: {shown}"))[1]
                .to_owned();
            if step == last {
                break;
            }
            self.answer(&step, answer(&step));
            asked.push(step);
            shown = self.say("resume --yes --parallel 8");
        }
        (asked, shown)
    }

    fn answer(&self, step: &str, answer: &str) {
        let said = self.say(&format!("resolve {step} {answer} --reason lab"));
        assert!(said.ends_with("exit 0"), "{step}: {said}");
    }

    /// Begins a line, and kills all of it with -9 as soon as this is so.
    fn killed_when(&self, line: &str, is_so: impl Fn() -> bool) {
        let mut child = self.sandbox.start_heard(line, &self.variables());
        let begun = Instant::now();
        while !is_so() {
            let is_over = child.try_wait().unwrap().is_some();
            assert!(
                !is_over && begun.elapsed() < Duration::from_secs(120),
                "{line} was not killed: {}",
                self.sandbox.read("said")
            );
            std::thread::sleep(Duration::from_millis(20));
        }
        super::sandbox::kill_all(child);
    }

    /// Begins a line beside the test.
    fn begin(&self, line: &str) -> Child {
        self.sandbox.start_heard(line, &self.variables())
    }

    /// What a stand-in remembers of what it was told.
    fn told(&self, program: &str) -> serde_json::Value {
        serde_json::from_str(&self.sandbox.read(&format!("told/{program}.state")))
            .unwrap_or_default()
    }

    /// The subjects of the messages that were sent so far, in their order.
    fn subjects(&self) -> Vec<String> {
        let mut files: Vec<_> = std::fs::read_dir(self.sandbox.path("journal/outbox"))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        files.sort_by_key(|file| std::fs::metadata(file).unwrap().modified().unwrap());
        let subject = |file: &std::path::PathBuf| {
            std::fs::read_to_string(file)
                .unwrap()
                .lines()
                .next()
                .unwrap_or_default()
                .replace("Subject: ", "")
        };
        files.iter().map(subject).collect()
    }

    fn has_told(&self, subjects: &[&str]) {
        let sent = self.subjects();
        for subject in subjects {
            assert!(
                sent.iter().any(|one| one == subject),
                "nobody was told {subject:?}, but {sent:#?}"
            );
        }
    }

    /// How many percent of the visitors HAProxy sends to a server.
    fn weight(&self, server: &str) -> u32 {
        let mut socket = UnixStream::connect(self.lab.path("haproxy/socket")).unwrap();
        socket.write_all(format!("get weight web/{server}\n").as_bytes()).unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).unwrap();
        answer
            .split_whitespace()
            .next()
            .and_then(|weight| weight.parse().ok())
            .unwrap_or_else(|| panic!("{server}: {answer}"))
    }

    /// What the zone's first server answers.
    fn dig(&self, name: &str, kind: &str) -> String {
        self.output(
            "dig",
            &["+short", "-p", &self.lab.port("dns-1").to_string(), "@127.0.0.1", name, kind],
        )
    }

    /// What a visitor gets.
    fn visit(&self) -> String {
        self.output("curl", &["-s", &format!("http://127.0.0.1:{}/", self.lab.port("web"))])
    }

    /// How many resources Terraform knows of in a state.
    fn resources(&self, state: &str) -> usize {
        let text =
            std::fs::read_to_string(state).unwrap_or_else(|error| panic!("{state}: {error}"));
        let state: serde_json::Value = serde_json::from_str(&text).unwrap();
        state["resources"]
            .as_array()
            .unwrap()
            .iter()
            .map(|resource| resource["instances"].as_array().unwrap().len())
            .sum()
    }

    fn redis(&self, database: &str, words: &[&str]) -> String {
        self.output(
            "redis-cli",
            &[&["-p", &self.lab.port("redis").to_string(), "-n", database], words].concat(),
        )
    }

    fn output(&self, program: &str, words: &[&str]) -> String {
        let output = Command::new(program).args(words).output().unwrap();
        assert!(
            output.status.success(),
            "{program} {words:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }
}
