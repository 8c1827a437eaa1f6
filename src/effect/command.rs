//! Commands, in a process group of their own, output straight to files: a command never blocks on the executor, nor dies
//! with it.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::{Map, Value as Json};

use super::secret::mask;
use super::{EffectError, Job, Reading, Stopper, Used, process, resolve};
use crate::runbook::action::{Command, Run};

/// How much of an output a condition sees, from its end.
const SEEN: u64 = 64 << 10;
/// How long after the order to stop, and so well after KILL, processes that cannot be killed are no longer waited for.
const PATIENCE: Duration = Duration::from_secs(20);
/// The largest `$SWITCHOVER_OUTPUT` that is read.
const MAX_OUTPUT: u64 = 1 << 20;

pub fn perform(job: &Job, run: &Run<String>, stopper: &Arc<Stopper>) -> Result<Reading, EffectError> {
    let begun = Begun::new(job, run, stopper)?;
    let _ = begun.handle.wait();
    // What was stopped is over when the last of its processes is; the engine sends KILL after a while.
    while !begun.has_ended(stopper) {
        std::thread::sleep(Duration::from_millis(20));
    }
    begun.end(job, stopper)
}

/// A command that was begun.
pub struct Begun {
    handle: duct::Handle,
    group: Option<Pid>,
    used: Used,
    program: String,
}

impl Begun {
    /// Begins a command; does not wait for it.
    pub fn new(job: &Job, run: &Run<String>, stopper: &Arc<Stopper>) -> Result<Begun, EffectError> {
        let (out, err) = (create(job, "out")?, create(job, "err")?);
        // The command inherits this lock with its standard output and holds it exactly as long as it, or a child of it, lives.
        out.try_lock().map_err(|_| EffectError::before("an earlier attempt still runs"))?;
        // A wait reads again and again into the same files: only the last reading counts.
        for log in [&out, &err] {
            empty(log).map_err(|error| EffectError::before(format!("the log could not be emptied: {error}")))?;
        }
        let (program, arguments) = match &run.command {
            Command::Script { shell, script } => {
                let (program, options) = shell.split_first().ok_or_else(|| EffectError::before("the shell is empty"))?;
                (program, options.iter().chain([script]).collect::<Vec<_>>())
            }
            Command::Arguments(list) => {
                let (program, arguments) = list.split_first().ok_or_else(|| EffectError::before("the command is empty"))?;
                (program, arguments.iter().collect())
            }
        };
        let mut expression = duct::cmd(program, arguments).stdout_file(out).stderr_file(err).unchecked();
        if let Some(folder) = &run.cwd {
            if !Path::new(folder).is_dir() {
                return Err(EffectError::before(format!("the folder {folder} does not exist")));
            }
            expression = expression.dir(folder);
        }
        expression = match &run.stdin {
            // A file, not a pipe that the executor would have to feed: the command may outlive it.
            Some(text) => expression.stdin_file(input(job, text)?),
            None => expression.stdin_null(),
        };
        let mut used = Used::new();
        let environment = environment(job, &mut used)?;
        // posix_spawn takes the process group; a pre_exec hook would force a fork, which is slow with a large heap.
        let expression = expression.before_spawn(move |command| {
            command.process_group(0).envs(environment.iter().map(|(name, value)| (name, value)));
            Ok(())
        });
        let handle = expression.start().map_err(|error| {
            let message = match error.kind() {
                ErrorKind::NotFound => format!("the program `{program}` was not found"),
                ErrorKind::PermissionDenied => format!("the program `{program}` may not be executed"),
                _ => format!("`{program}` could not be started: {error}"),
            };
            EffectError::before(message)
        })?;
        let group = handle.pids().first().and_then(|pid| Pid::from_raw(*pid as i32));
        stopper.on_stop(move |force| {
            if let Some(group) = group {
                let _ = kill_process_group(group, if force { Signal::KILL } else { Signal::TERM });
            }
        });
        Ok(Begun { handle, group, used, program: program.clone() })
    }

    /// Whether the command has ended; of one that is being stopped, whether all its processes have. To be asked when a child of
    /// the process ended, and from time to time of what is being stopped.
    pub fn has_ended(&self, stopper: &Stopper) -> bool {
        if matches!(self.handle.try_wait(), Ok(None)) {
            return false;
        }
        let Some(stopped) = stopper.stopped_since() else { return true };
        !self.group.is_some_and(process::group_lives) || stopped.elapsed() > PATIENCE
    }

    /// Waits for the end, and reads what the command left.
    pub fn end(self, job: &Job, stopper: &Stopper) -> Result<Reading, EffectError> {
        mask(self.reading(job, stopper), &self.used)
    }

    fn reading(&self, job: &Job, stopper: &Stopper) -> Result<Reading, EffectError> {
        let waited = self.handle.wait().map(|output| output.status);
        stopper.clear();
        let status = waited.map_err(|error| EffectError::during(format!("`{}` could not be waited for: {error}", self.program)))?;
        let mut names = Map::new();
        names.insert("exit_code".into(), status.code().map_or(Json::Null, Json::from));
        names.insert("stdout".into(), tail(&path(job, "out")).into());
        names.insert("stderr".into(), tail(&path(job, "err")).into());
        let outputs = read_outputs(&path(job, "output"))?;
        let summary = match (status.code(), status.signal()) {
            (Some(code), _) => format!("exit {code}"),
            (None, Some(signal)) => format!("killed by signal {signal}"),
            _ => "ended".to_owned(),
        };
        Ok(Reading { names, outputs, summary, is_good: status.success() })
    }
}

/// What the command finds in its environment besides the executor's own.
fn environment(job: &Job, used: &mut Used) -> Result<Vec<(String, OsString)>, EffectError> {
    let mut all = Vec::with_capacity(job.env.len() + job.context.len() + 3);
    for (name, value) in &job.env {
        all.push((name.clone(), resolve(job, value, used)?.into()));
    }
    all.extend(job.context.iter().map(|(name, value)| ((*name).to_owned(), value.into())));
    for (name, ending) in [("SWITCHOVER_OUTPUT", "output"), ("SWITCHOVER_CHECKPOINT", "checkpoint"), ("SWITCHOVER_PROGRESS", "progress")] {
        let path = path(job, ending);
        all.push((name.to_owned(), std::path::absolute(&path).unwrap_or(path).into()));
    }
    Ok(all)
}

/// The text as a file, at its beginning.
fn input(job: &Job, text: &str) -> Result<File, EffectError> {
    let path = path(job, "in");
    let failed = |error: std::io::Error| EffectError::before(format!("{} could not be made: {error}", path.display()));
    let flags = rustix::fs::OFlags::NOFOLLOW.bits() as i32;
    let mut options = OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).custom_flags(flags).open(&path).map_err(failed)?;
    file.write_all(text.as_bytes()).map_err(failed)?;
    File::open(&path).map_err(failed)
}

/// Whether the command of an attempt with these files still runs, whoever started it: something holds its output open, or its
/// first process, which may write elsewhere, is there. A daemon that it left behind properly is neither.
pub fn is_alive(stem: &Path, key: &str, attempt: u32) -> bool {
    holds_output(stem) || process::leader(key, attempt).is_some()
}

/// Ends a command that outlived its executor, with its whole group; false if its first process is not to be found.
pub fn end_orphan(key: &str, attempt: u32, force: bool) -> bool {
    process::leader(key, attempt).is_some_and(|group| kill_process_group(group, if force { Signal::KILL } else { Signal::TERM }).is_ok())
}

fn holds_output(stem: &Path) -> bool {
    // Opened to append, as for writing: some file systems grant an exclusive lock only then.
    let Ok(file) = OpenOptions::new().append(true).open(with_ending(stem, "out")) else { return false };
    matches!(file.try_lock(), Err(TryLockError::WouldBlock))
}

fn path(job: &Job, ending: &str) -> PathBuf {
    with_ending(&job.stem, ending)
}

fn with_ending(stem: &Path, ending: &str) -> PathBuf {
    let mut path = stem.as_os_str().to_owned();
    path.push(".");
    path.push(ending);
    path.into()
}

fn create(job: &Job, ending: &str) -> Result<File, EffectError> {
    let path = path(job, ending);
    let flags = rustix::fs::OFlags::NOFOLLOW.bits() as i32;
    // Appending, so that several writers, and an attempt looked at twice, do not overwrite each other.
    OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .custom_flags(flags)
        .open(&path)
        .map_err(|error| EffectError::before(format!("the log {} could not be made: {error}", path.display())))
}

fn empty(file: &File) -> std::io::Result<()> {
    if file.metadata()?.len() == 0 { Ok(()) } else { file.set_len(0) }
}

/// The end of a file as text, without the line break at its end.
fn tail(path: &Path) -> String {
    let read = || -> std::io::Result<Vec<u8>> {
        let length = path.metadata()?.len();
        if length == 0 {
            return Ok(Vec::new());
        }
        let mut file = File::open(path)?;
        file.seek(SeekFrom::Start(length.saturating_sub(SEEN)))?;
        let mut bytes = Vec::new();
        file.take(SEEN).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = read().unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    text.strip_suffix('\n').unwrap_or(&text).to_owned()
}

/// `key=value` lines, or one JSON object.
fn read_outputs(path: &Path) -> Result<BTreeMap<String, Json>, EffectError> {
    let Ok(file) = File::open(path) else { return Ok(BTreeMap::new()) };
    let bad = |why: String| EffectError::during(format!("what the command wrote to $SWITCHOVER_OUTPUT {why}"));
    let mut text = String::new();
    file.take(MAX_OUTPUT + 1).read_to_string(&mut text).map_err(|error| bad(format!("cannot be read: {error}")))?;
    if text.len() as u64 > MAX_OUTPUT {
        return Err(bad(format!("is larger than {MAX_OUTPUT} bytes")));
    }
    if text.trim_start().starts_with('{') {
        return serde_json::from_str(&text).map_err(|error| bad(format!("is not a JSON object: {error}")));
    }
    text.lines()
        .filter(|line| !line.trim().is_empty())
        .map(|line| {
            let (key, value) = line.split_once('=').ok_or_else(|| bad(format!("has a line without `=`: {line}")))?;
            Ok((key.trim().to_owned(), Json::String(value.to_owned())))
        })
        .collect()
}
