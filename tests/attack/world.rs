//! A folder that one user works in, and the program run in it as that user. It does not know what
//! is run, nor what should come of it.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use super::chance::Chance;

/// How long a verb may take that does not wait for a command of ours.
const PATIENCE: Duration = Duration::from_secs(90);

pub struct World {
    folder: tempfile::TempDir,
    /// `None`: whoever runs the tests.
    user: Option<u32>,
}

/// A process of the world, by what it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    Executor,
    Keeper,
    /// The first process of a command, which the keeper began.
    Leader,
    /// One that a command began.
    Child,
}

impl World {
    /// A world of a user by chance: root, or one of two who own nothing else.
    pub fn by_chance(chance: &mut Chance) -> World {
        let user = if is_root() { chance.of(&[None, Some(65_534), Some(54_321)]) } else { None };
        let folder = tempfile::tempdir().expect("a folder for the test");
        if let Some(user) = user {
            std::os::unix::fs::chown(folder.path(), Some(user), Some(user)).expect("its owner");
        }
        World { folder, user }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).expect("a file");
    }

    pub fn witness(&self) -> String {
        std::fs::read_to_string(self.path("witness")).unwrap_or_default()
    }

    /// The program with these words as arguments, each space of which is written as `~`.
    fn command(&self, line: &str) -> Command {
        let mut command = match self.user {
            None => Command::new(program()),
            Some(user) => {
                let mut command = Command::new("setpriv");
                command.args([
                    &format!("--reuid={user}"),
                    &format!("--regid={user}"),
                    "--clear-groups",
                ]);
                command.arg(program());
                command
            }
        };
        command.args(line.split_whitespace().map(|word| word.replace('~', " ")));
        command.current_dir(self.folder.path()).stdin(Stdio::null());
        command.env_remove("SWITCHOVER_JOURNAL").env_remove("SWITCHOVER_OPERATOR");
        command
            .env("SWITCHOVER_LOCKS", self.path("locks"))
            .env("HOME", self.folder.path())
            .env("NO_COLOR", "1")
            .env("TOKEN", "correct-horse-battery")
            .env("W", self.path("witness"));
        command
    }

    pub fn start(&self, line: &str) -> Child {
        let said = std::fs::File::create(self.path("said")).expect("a file");
        let mut command = self.command(line);
        command.stdout(Stdio::null()).stderr(said).spawn().expect("the program")
    }

    /// Waits for an executor; its exit code, or -1 if it was killed.
    pub fn end_of(&self, mut child: Child) -> i32 {
        let begun = Instant::now();
        loop {
            if let Some(status) = child.try_wait().expect("its end") {
                return status.code().unwrap_or(-1);
            }
            if begun.elapsed() > PATIENCE {
                let said = std::fs::read_to_string(self.path("said")).unwrap_or_default();
                let left = self.processes();
                let _ = child.kill();
                panic!("it does not end; processes: {left:?}\n{said}\n{}", self.witness());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Runs a verb to its end.
    pub fn run(&self, line: &str) -> Output {
        let mut command = self.command(line);
        // A verb that needs more memory than this is one that reads something whole.
        let mut limited = Command::new("prlimit");
        limited.args(["--as=2000000000", "--"]).arg(command.get_program()).args(command.get_args());
        let envs: Vec<_> =
            command.get_envs().map(|(k, v)| (k.to_owned(), v.map(ToOwned::to_owned))).collect();
        for (name, value) in envs {
            match value {
                Some(value) => limited.env(name, value),
                None => limited.env_remove(name),
            };
        }
        limited.current_dir(self.folder.path()).stdin(Stdio::null());
        command.stdin(Stdio::null());
        let child = limited
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("prlimit, of util-linux");
        let pid = child.id();
        let (send, receive) = std::sync::mpsc::channel();
        std::thread::spawn(move || drop(send.send(child.wait_with_output())));
        match receive.recv_timeout(PATIENCE) {
            Ok(output) => output.expect("its output"),
            Err(_) => {
                signal("KILL", pid);
                panic!(
                    "`{line}` does not end; processes: {:?}\n{}",
                    self.processes(),
                    self.witness()
                );
            }
        }
    }

    pub fn code(&self, line: &str) -> i32 {
        self.run(line).status.code().unwrap_or(-1)
    }

    pub fn text(&self, line: &str) -> String {
        let output = self.run(line);
        format!(
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        )
    }

    pub fn json(&self, line: &str) -> serde_json::Value {
        let output = self.run(line);
        let said = || String::from_utf8_lossy(&output.stderr).into_owned();
        serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{line}: {error}: {}", said()))
    }

    /// The processes that were begun in this world and run.
    pub fn processes(&self) -> Vec<(u32, Role)> {
        let mark = format!("W={}", self.path("witness").display()).into_bytes();
        let own = program();
        let pids = std::fs::read_dir("/proc").expect("/proc");
        let pids = pids.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
        pids.filter_map(|pid| {
            let environment = std::fs::read(format!("/proc/{pid}/environ")).ok()?;
            environment.split(|byte| *byte == 0).any(|variable| variable == mark).then_some(())?;
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
            let mut fields = stat.rsplit(')').next()?.split_whitespace();
            let (state, group) = (fields.next()?, fields.nth(1)?);
            if state == "Z" {
                return None;
            }
            let is_leader = group == pid.to_string();
            let program = std::fs::read_link(format!("/proc/{pid}/exe")).ok()?;
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
            let is_keeper = line.split(|byte| *byte == 0).nth(1) == Some(b"keep");
            let role = match program == own {
                true if is_keeper => Role::Keeper,
                true => Role::Executor,
                false if is_leader => Role::Leader,
                false => Role::Child,
            };
            Some((pid, role))
        })
        .collect()
    }

    /// Waits until nothing of this world runs any more.
    pub fn settle(&self) {
        let begun = Instant::now();
        while !self.processes().is_empty() {
            assert!(begun.elapsed() < PATIENCE, "still there: {:?}", self.processes());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// The program, where every user may execute it.
fn program() -> &'static Path {
    static PROGRAM: OnceLock<(tempfile::TempDir, PathBuf)> = OnceLock::new();
    let (_, path) = PROGRAM.get_or_init(|| {
        let folder = tempfile::tempdir().expect("a folder for the program");
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(folder.path(), mode).expect("its mode");
        let path = folder.path().join("switchover");
        std::fs::copy(env!("CARGO_BIN_EXE_switchover"), &path).expect("the program");
        (folder, path)
    });
    path
}

pub fn is_root() -> bool {
    let is = Command::new("id").arg("-u").output().expect("id").stdout == b"0\n";
    if !is {
        println!("attack: NOT ROOT: only tried as the user who runs the tests");
    }
    is
}

/// Sends a signal, as `KILL`, to a process that may be gone.
pub fn signal(name: &str, process: u32) -> bool {
    let mut kill = Command::new("kill");
    kill.args([&format!("-{name}"), &process.to_string()]).stderr(Stdio::null());
    kill.status().expect("kill").success()
}
