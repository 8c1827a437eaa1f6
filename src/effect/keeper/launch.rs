//! Prepares a command: its files, its lock, its input, its secrets. It does not know how commands
//! end.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{ErrorKind, PipeWriter, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::kept::{End, Kept};
use super::masked::{Mask, Masked};
use super::order::{Attempt, Begin};
use super::place::Leader;
use crate::effect::process;
use crate::file;

/// How long a lock on an output file may be held by somebody who has no business with it.
const MOMENT: Duration = Duration::from_millis(300);

/// A command of which everything is ready.
pub struct Launch<'a> {
    begin: &'a Begin,
    expression: duct::Expression,
    /// What masks it, if the run has secrets.
    mask: Option<Mask>,
    masked: Vec<Masked>,
    /// Files that it is to find open.
    inherited: Vec<File>,
}

/// Prepares it; `wake` is notified when masked output is at its end. What `mask` learns here is
/// from now on masked in the output of what was begun before, too.
pub fn launch<'a>(begin: &'a Begin, mask: &Mask, wake: &Arc<Notify>) -> Result<Launch<'a>, String> {
    let (out, err) = (create(&begin.out)?, create(&begin.err)?);
    // The command inherits this lock with its standard output and holds it exactly as long as it,
    // or a child of it, lives. Between its fork and its exec, another command holds for a moment
    // whatever this process has open.
    let begun = Instant::now();
    while out.try_lock().is_err() {
        if begun.elapsed() > MOMENT {
            return Err("an earlier attempt still runs".to_owned());
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    // A wait reads again and again into the same files: only the last reading counts.
    for log in [&out, &err] {
        empty(log).map_err(|error| format!("the log could not be emptied: {error}"))?;
    }
    // What somebody else left there is not what this attempt says.
    for path in &begin.said {
        file::remove(path).map_err(|error| {
            format!("{} is in the way and could not be removed: {error}", path.display())
        })?;
    }
    let (program, arguments) = begin.command.split_first().ok_or("the command is empty")?;
    let mut expression = duct::cmd(program, arguments).unchecked();
    let (mut masked, mut inherited) = (Vec::new(), Vec::new());
    let mask = begin.secrets.as_ref().map(|secrets| {
        mask.learn(secrets);
        mask.clone()
    });
    expression = match &mask {
        None => expression.stdout_file(out).stderr_file(err),
        Some(mask) => {
            inherited.push(
                only_locked(&out)
                    .map_err(|error| format!("the log could not be locked: {error}"))?,
            );
            let mut through = |file: File| -> Result<PipeWriter, String> {
                let made = Masked::into(file, mask.clone(), Arc::clone(wake));
                let (writer, thread) =
                    made.map_err(|error| format!("its output could not be masked: {error}"))?;
                masked.push(thread);
                Ok(writer)
            };
            expression.stdout_file(through(out)?).stderr_file(through(err)?)
        }
    };
    if let Some(folder) = &begin.folder {
        if !Path::new(folder).is_dir() {
            return Err(format!("the folder {folder} does not exist"));
        }
        expression = expression.dir(folder);
    }
    expression = match &begin.input {
        // A file, not a pipe that somebody would have to feed.
        Some(path) => expression.stdin_file(
            file::open(path).map_err(|error| format!("its input could not be opened: {error}"))?,
        ),
        None => expression.stdin_null(),
    };
    Ok(Launch { begin, expression, mask, masked, inherited })
}

impl Launch<'_> {
    pub fn start(mut self) -> Result<Kept, String> {
        let begin = self.begin;
        let mut env = begin.env.clone();
        for (variable, content) in &begin.files {
            let file = in_memory(content)
                .map_err(|error| format!("the file for ${variable} could not be made: {error}"))?;
            env.push((variable.clone(), format!("/dev/fd/{}", file.as_raw_fd())));
            self.inherited.push(file);
        }
        for file in &self.inherited {
            rustix::io::fcntl_setfd(file, rustix::io::FdFlags::empty())
                .map_err(|error| error.to_string())?;
        }
        let value = |name: &str| {
            env.iter()
                .rev()
                .find(|(other, _)| other == name)
                .map(|(_, value)| value.clone())
                .unwrap_or_default()
        };
        let number = value("SWITCHOVER_ATTEMPT").parse().unwrap_or_default();
        let marks = Attempt { key: value("SWITCHOVER_IDEMPOTENCY_KEY"), number };
        // posix_spawn takes the process group; a pre_exec hook would force a fork.
        let expression = self.expression.before_spawn(move |command| {
            command.process_group(0).envs(env.iter().map(|(name, value)| (name, value)));
            Ok(())
        });
        let program = begin.command.first().map(String::as_str).unwrap_or_default();
        let handle = expression.start().map_err(|error| match error.kind() {
            ErrorKind::NotFound => format!("the program `{program}` was not found"),
            ErrorKind::PermissionDenied => format!("the program `{program}` may not be executed"),
            _ => format!("`{program}` could not be started: {error}"),
        })?;
        let first = handle.pids().first().map(|pid| *pid as i32);
        Ok(Kept {
            handle,
            // It is this process's child, so its number is its own until it is waited for.
            leader: first
                .map(|pid| Leader { pid, begun: process::look(pid).map(|first| first.begun) }),
            attempt: begin.attempt.clone(),
            marks,
            out: begin.out.clone(),
            masked: self.masked,
            said: self.mask.map(|mask| (mask, begin.said.clone())),
            end: End::default(),
        })
    }
}

/// A further descriptor of a log that shares its lock and writes nothing: what it is there for is
/// to be held. The log's own descriptor has had the lock alone until now.
fn only_locked(log: &File) -> std::io::Result<File> {
    log.lock_shared()?;
    let lock = File::open(format!("/proc/self/fd/{}", log.as_raw_fd()))?;
    lock.lock_shared()?;
    Ok(lock)
}

/// A file that no disk sees.
fn in_memory(content: &str) -> std::io::Result<File> {
    let mut file =
        File::from(rustix::fs::memfd_create("switchover", rustix::fs::MemfdFlags::CLOEXEC)?);
    file.set_permissions(Permissions::from_mode(0o400))?;
    file.write_all(content.as_bytes())?;
    Ok(file)
}

fn create(path: &Path) -> Result<File, String> {
    // Appending, so that several writers, and an attempt looked at twice, do not overwrite each
    // other.
    file::open_as(OpenOptions::new().append(true).create(true), path)
        .map_err(|error| format!("the log {} could not be made: {error}", path.display()))
}

fn empty(file: &File) -> std::io::Result<()> {
    if file.metadata()?.len() == 0 { Ok(()) } else { file.set_len(0) }
}
