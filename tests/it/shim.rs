//! The library that makes calls of the program fail, or kills it at one: compiled from C, loaded
//! before all others. It says what came to pass by what the library wrote down and by how the
//! processes ended; what the run makes of it, it does not know.

use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use super::sandbox::{Sandbox, repository, wait_until};

/// What goes wrong, and in which process.
#[derive(Debug, Clone, Copy)]
pub struct Fault {
    pub role: &'static str,
    pub mode: &'static str,
    pub errno: &'static str,
    pub calls: &'static str,
    /// The number of the call, from 1.
    pub at: usize,
}

/// A compiled library.
#[derive(Debug)]
pub struct Shim(PathBuf);

impl Shim {
    /// That of the project, compiled once.
    pub fn ours() -> &'static Shim {
        static OURS: OnceLock<Shim> = OnceLock::new();
        OURS.get_or_init(|| Shim::of("fault", &Shim::source()))
    }

    pub fn source() -> String {
        std::fs::read_to_string(repository().join("tests/shim/fault.c"))
            .expect("the source of the shim")
    }

    /// Made of this text.
    pub fn of(name: &str, source: &str) -> Shim {
        let made =
            Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()));
        let text = made.with_extension("c");
        std::fs::write(&text, source).expect("the source of a shim");
        let mut compiler = Command::new("cc");
        compiler
            .args(["-shared", "-fPIC", "-O2", "-Wall", "-Wextra", "-Werror", "-o"])
            .arg(&made)
            .arg(&text)
            .arg("-ldl");
        assert!(compiler.status().expect("cc, of the package gcc").success(), "{name}");
        std::fs::remove_file(text).expect("the source of a shim");
        // Put in its place whole: another run of the tests may be using it.
        let to = made.with_file_name(format!("{name}.so"));
        std::fs::rename(&made, &to).expect("a shim");
        Shim(to)
    }

    pub fn preload(&self) -> (&'static str, String) {
        ("LD_PRELOAD", self.0.display().to_string())
    }

    /// The calls of a role that count when nothing goes wrong, in order: which, and of what.
    pub fn calls(
        &self,
        sandbox: &Sandbox,
        line: &str,
        role: &'static str,
        calls: &'static str,
    ) -> Vec<String> {
        let log = sandbox.path("faults");
        let log = log.display().to_string();
        let env = [
            ("FAULT_ROLE", role),
            ("FAULT_CALLS", calls),
            ("FAULT_LOG", &log),
            ("FAULT_NOSYNC", "1"),
        ];
        let env: Vec<_> = env
            .map(|(name, value)| (name, value.to_owned()))
            .into_iter()
            .chain([self.preload()])
            .collect();
        sandbox.code_with(line, &env);
        let role = if role == "any" { "executor" } else { role };
        let counted = |line: &str| {
            let mut words = line.splitn(4, ' ');
            let is_meant = words.next() == Some(role);
            words.nth(1).filter(|word| is_meant && *word != "ended")?;
            words.next().map(str::to_owned)
        };
        sandbox.read("faults").lines().filter_map(counted).collect()
    }

    /// Runs the program with a fault; whether it came to pass. A process that was to be killed was:
    /// nothing else is taken for it.
    pub fn strike(&self, sandbox: &Sandbox, line: &str, fault: Fault) -> bool {
        let log = sandbox.path("faults");
        sandbox.write("faults", "");
        let status = sandbox.status_with(
            line,
            &[
                self.preload(),
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
        let log = sandbox.read("faults");
        let fired: Vec<(&str, &str)> =
            log.lines().filter(|line| line.ends_with(" FIRED")).filter_map(role_and_pid).collect();
        let kills = fault.mode.starts_with("kill");
        let is_hit = kills && fired.iter().any(|(role, _)| *role == "executor");
        match is_hit {
            true => assert_eq!(
                status.signal(),
                Some(9),
                "{fault:?} in {line} was to kill the executor: {status}"
            ),
            false => {
                let is_usual =
                    status.code().is_some_and(|code| [0, 1, 3, 4, 5, 6, 7].contains(&code));
                assert!(is_usual, "{fault:?} {fired:?}: {line} ended with {status}");
            }
        }
        for (_, pid) in fired.iter().filter(|(role, _)| kills && *role == "keeper") {
            wait_until(
                &format!("the end of the keeper {pid}, which {fault:?} was to kill"),
                || !is_alive(pid),
            );
            let ended = format!("keeper {pid} ended\n");
            assert!(
                !sandbox.read("faults").contains(&ended),
                "{fault:?} in {line} was to kill the keeper, and it came to its own end"
            );
        }
        !fired.is_empty()
    }
}

fn role_and_pid(line: &str) -> Option<(&str, &str)> {
    let mut words = line.split(' ');
    Some((words.next()?, words.next()?))
}

/// Whether a process does anything any more: one that was killed may still wait for somebody to ask
/// how it ended.
fn is_alive(pid: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}
