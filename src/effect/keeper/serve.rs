//! The keeper's side: a process in a session of its own, with the executor at its standard input and the run's record as its
//! standard output. It knows commands and files, not runs.

use std::collections::HashMap;
use std::fs::{File, OpenOptions, Permissions};
use std::io::{ErrorKind, PipeWriter, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Notify;

use super::masked::Masked;
use super::order::{Answer, Attempt, Begin, Exit, Order, Over};
use super::record::{Entry, Record};
use crate::effect::process;
use crate::effect::redactor::Redactor;

/// How long after the order to end, and so well after KILL, processes that cannot be killed are no longer waited for.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long after the end of a command its output may still come, if it goes through here: what a daemon holds open has no end.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// How long a lock on an output file may be held by somebody who has no business with it.
const MOMENT: Duration = Duration::from_millis(300);
/// How often the group of what is to end is looked at.
const LOOK: Duration = Duration::from_millis(20);

/// Serves until the executor is gone and the last command is over.
///
/// # Errors
/// If standard input and output are not what an executor gives.
pub fn serve(keeper: u64) -> std::io::Result<()> {
    // Not one of the terminal's processes: what is typed there is for the executor.
    let _ = rustix::process::setsid();
    let socket = UnixStream::from(std::io::stdin().as_fd().try_clone_to_owned()?);
    let record = Record::of(File::from(std::io::stdout().as_fd().try_clone_to_owned()?));
    socket.set_nonblocking(true)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(Serving { keeper, record, begun: 0, kept: HashMap::new(), paused: None, wake: Arc::default() }.until_over(socket))
}

struct Serving {
    keeper: u64,
    record: Record,
    begun: u64,
    kept: HashMap<u64, Kept>,
    /// Since when all commands stand still.
    paused: Option<Instant>,
    /// Notified when masked output is at its end.
    wake: Arc<Notify>,
}

/// A command that was begun.
struct Kept {
    handle: duct::Handle,
    group: Option<Pid>,
    attempt: Option<Attempt>,
    /// When it was first told to end.
    told: Option<Instant>,
    /// Its output, if it was given secrets.
    masked: Vec<Masked>,
    /// What masks the files that it wrote about itself.
    redactor: Option<(Redactor, Vec<PathBuf>)>,
    /// When it was first seen to have ended.
    ended: Option<Instant>,
}

impl Serving {
    async fn until_over(mut self, socket: UnixStream) -> std::io::Result<()> {
        let mut child = signal(SignalKind::child())?;
        // What ends the machine's processes one by one is not to keep the ends of the others from being recorded.
        let _deaf = [SignalKind::terminate(), SignalKind::hangup(), SignalKind::interrupt()].map(signal);
        let (reader, mut writer) = tokio::net::UnixStream::from_std(socket)?.into_split();
        let mut orders = tokio::io::BufReader::new(reader).lines();
        let mut is_open = true;
        while is_open || !self.kept.is_empty() {
            let is_ending = self.kept.values().any(|kept| kept.told.is_some() || kept.ended.is_some());
            let wake = Arc::clone(&self.wake);
            tokio::select! {
                biased;
                _ = child.recv() => {}
                () = wake.notified() => {}
                line = orders.next_line(), if is_open => match line {
                    Ok(Some(line)) => {
                        if let Some(answer) = self.take(&line) {
                            let _ = writer.write_all(&answer).await;
                        }
                        continue;
                    }
                    _ => {
                        is_open = false;
                        self.time_stands_still(false);
                        // The lock on the record stays until the last command is over: whoever comes next waits for that.
                        let _ = self.record.add(&Entry::Closed { keeper: self.keeper, begun: self.begun });
                    }
                },
                () = tokio::time::sleep(LOOK), if is_ending => {}
            }
            for answer in self.over() {
                // An executor that is gone does not listen; the record does.
                let _ = writer.write_all(&answer).await;
            }
        }
        Ok(())
    }

    /// Carries an order out; what is over at once has an answer at once.
    fn take(&mut self, line: &str) -> Option<Vec<u8>> {
        match serde_json::from_str(line) {
            Ok(Order::Begin(begin)) => match self.begin(&begin) {
                Ok(kept) => {
                    self.kept.insert(begin.id, kept);
                    None
                }
                Err(why) => {
                    let over = Exit::NotBegun(why).into();
                    self.note_end(begin.attempt, &over);
                    Some(line_of(begin.id, over))
                }
            },
            Ok(Order::End { id, force }) => {
                if let Some(kept) = self.kept.get_mut(&id) {
                    kept.told.get_or_insert_with(Instant::now);
                    if let Some(group) = kept.group {
                        let _ = kill_process_group(group, if force { Signal::KILL } else { Signal::TERM });
                    }
                }
                None
            }
            Ok(Order::Pause(pause)) => {
                for group in self.kept.values().filter_map(|kept| kept.group) {
                    let _ = kill_process_group(group, if pause { Signal::STOP } else { Signal::CONT });
                }
                self.time_stands_still(pause);
                None
            }
            // The rest of a line of an executor that died while it wrote: no order.
            Err(_) => None,
        }
    }

    /// What cannot end while it stands still is not taken for what cannot be killed.
    fn time_stands_still(&mut self, pause: bool) {
        if pause {
            self.paused.get_or_insert_with(Instant::now);
        } else if let Some(since) = self.paused.take() {
            for told in self.kept.values_mut().filter_map(|kept| kept.told.as_mut()) {
                *told += since.elapsed();
            }
        }
    }

    fn begin(&mut self, begin: &Begin) -> Result<Kept, String> {
        let (out, err) = (create(&begin.out)?, create(&begin.err)?);
        // The command inherits this lock with its standard output and holds it exactly as long as it, or a child of it, lives.
        // Between its fork and its exec, another command holds for a moment whatever this process has open.
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
            match std::fs::remove_file(path) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    return Err(format!("{} is in the way and could not be removed: {error}", path.display()));
                }
                _ => {}
            }
        }
        let (program, arguments) = begin.command.split_first().ok_or("the command is empty")?;
        // Inherited where the output is not: it holds the same lock.
        let lock = out.try_clone().map_err(|error| error.to_string())?;
        let mut masked = Vec::new();
        let mut expression = duct::cmd(program, arguments).unchecked();
        let redactor = (!begin.secrets.is_empty()).then(|| Redactor::new(&begin.secrets));
        expression = match &redactor {
            None => expression.stdout_file(out).stderr_file(err),
            Some(redactor) => {
                let mut through = |file: File| -> Result<PipeWriter, String> {
                    let made = Masked::into(file, redactor.clone(), Arc::clone(&self.wake));
                    let (writer, thread) = made.map_err(|error| format!("its output could not be masked: {error}"))?;
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
            Some(path) => expression.stdin_file(File::open(path).map_err(|error| format!("its input could not be opened: {error}"))?),
            None => expression.stdin_null(),
        };
        if let Some(attempt) = &begin.attempt {
            let entry = Entry::Begins { keeper: self.keeper, attempt: attempt.clone() };
            self.record.add(&entry).map_err(|error| format!("that it begins could not be recorded: {error}"))?;
            self.begun += 1;
        }
        let mut inherited = Vec::new();
        let mut env = begin.env.clone();
        for (variable, content) in &begin.files {
            let file = in_memory(content).map_err(|error| format!("the file for ${variable} could not be made: {error}"))?;
            env.push((variable.clone(), format!("/dev/fd/{}", file.as_raw_fd())));
            inherited.push(file);
        }
        if !begin.secrets.is_empty() {
            inherited.push(lock);
        }
        for file in &inherited {
            rustix::io::fcntl_setfd(file, rustix::io::FdFlags::empty()).map_err(|error| error.to_string())?;
        }
        // posix_spawn takes the process group; a pre_exec hook would force a fork.
        let expression = expression.before_spawn(move |command| {
            command.process_group(0).envs(env.iter().map(|(name, value)| (name, value)));
            Ok(())
        });
        let handle = expression.start().map_err(|error| match error.kind() {
            ErrorKind::NotFound => format!("the program `{program}` was not found"),
            ErrorKind::PermissionDenied => format!("the program `{program}` may not be executed"),
            _ => format!("`{program}` could not be started: {error}"),
        })?;
        let group = handle.pids().first().and_then(|pid| Pid::from_raw(*pid as i32));
        Ok(Kept {
            handle,
            group,
            attempt: begin.attempt.clone(),
            told: None,
            masked,
            redactor: redactor.map(|redactor| (redactor, begin.said.clone())),
            ended: None,
        })
    }

    /// Records and answers for what is over by now.
    fn over(&mut self) -> Vec<Vec<u8>> {
        let is_paused = self.paused.is_some();
        let over: Vec<u64> = self.kept.iter_mut().filter_map(|(id, kept)| kept.is_over(is_paused).then_some(*id)).collect();
        let mut answers = Vec::new();
        for id in over {
            let Some(kept) = self.kept.remove(&id) else { continue };
            let exit = match kept.handle.try_wait() {
                Ok(Some(output)) => match (output.status.code(), output.status.signal()) {
                    (Some(code), _) => Exit::Code(code),
                    (None, Some(signal)) => Exit::Signal(signal),
                    (None, None) => Exit::Unknown("it ended neither with a code nor by a signal".to_owned()),
                },
                Ok(None) => Exit::Unknown("it cannot be killed".to_owned()),
                Err(error) => Exit::Unknown(format!("it could not be waited for: {error}")),
            };
            if let Some((redactor, files)) = &kept.redactor {
                files.iter().for_each(|file| mask_file(file, redactor));
            }
            let over = Over { exit, unwritten: kept.masked.into_iter().find_map(Masked::unwritten) };
            self.note_end(kept.attempt, &over);
            answers.push(line_of(id, over));
        }
        answers
    }

    fn note_end(&self, attempt: Option<Attempt>, over: &Over) {
        if let Some(attempt) = attempt {
            // If this cannot be written the executor still hears it; if that is gone, the next one finds the attempt in doubt.
            let _ = self.record.add(&Entry::Ended { attempt, over: over.clone() });
        }
    }
}

impl Kept {
    /// Whether it has ended; of what was told to end, whether all its processes have.
    fn is_over(&mut self, is_paused: bool) -> bool {
        let has_ended = !matches!(self.handle.try_wait(), Ok(None));
        let has_ended = match self.told {
            None => has_ended,
            Some(told) => (has_ended && !self.group.is_some_and(process::group_lives)) || (!is_paused && told.elapsed() > PATIENCE),
        };
        if !has_ended {
            return false;
        }
        let ended = *self.ended.get_or_insert_with(Instant::now);
        self.masked.iter_mut().all(Masked::is_over) || ended.elapsed() > LAST_WORDS
    }
}

fn line_of(id: u64, over: Over) -> Vec<u8> {
    let mut line = serde_json::to_vec(&Answer { id, over }).unwrap_or_default();
    line.push(b'\n');
    line
}

/// Writes a file anew without the secrets; what cannot be is removed.
fn mask_file(path: &Path, redactor: &Redactor) {
    let Ok(bytes) = std::fs::read(path) else { return };
    let mut masked = Vec::with_capacity(bytes.len());
    let mut redactor = redactor.clone();
    redactor.push(&bytes, &mut masked);
    redactor.finish(&mut masked);
    if masked != bytes && std::fs::write(path, &masked).is_err() {
        let _ = std::fs::remove_file(path);
    }
}

/// A file that no disk sees.
fn in_memory(content: &str) -> std::io::Result<File> {
    let mut file = File::from(rustix::fs::memfd_create("switchover", rustix::fs::MemfdFlags::CLOEXEC)?);
    file.set_permissions(Permissions::from_mode(0o400))?;
    file.write_all(content.as_bytes())?;
    Ok(file)
}

fn create(path: &Path) -> Result<File, String> {
    let flags = rustix::fs::OFlags::NOFOLLOW.bits() as i32;
    // Appending, so that several writers, and an attempt looked at twice, do not overwrite each other.
    OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .custom_flags(flags)
        .open(path)
        .map_err(|error| format!("the log {} could not be made: {error}", path.display()))
}

fn empty(file: &File) -> std::io::Result<()> {
    if file.metadata()?.len() == 0 { Ok(()) } else { file.set_len(0) }
}
