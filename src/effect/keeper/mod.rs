//! The keeper of a run: a process of its own that begins the commands, waits for them and records
//! how they end. It outlives a killed executor until the last of its commands is over. This is the
//! executor's side of it.

mod kept;
mod launch;
mod masked;
mod order;
mod place;
mod record;
mod serve;

use std::collections::HashMap;
use std::io::{ErrorKind, Write};
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::process::own_program;
use order::{Answer, Order};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;

pub use order::{Attempt, Begin, Exit, Over};
pub use place::{Leader, Place, Site};
pub use record::{Beginning, Known};
use record::{Entry, Record};
pub use serve::serve;

/// The verb under which the program serves as a keeper.
pub const VERB: &str = "keep";

/// How long a keeper may take to read an order, in seconds. It reads whatever else happens, unless
/// it stands still.
const PATIENCE: i64 = 20;

/// Called when a command is over.
type Then = Box<dyn FnOnce(Over) + Send>;

/// A keeper that is there as soon as it is needed, and again if it was killed.
#[derive(Clone)]
pub struct Keeper {
    shared: Arc<Shared>,
}

struct Shared {
    /// The run's folder.
    folder: PathBuf,
    before: u64,
    /// Variables that only the executor is to see.
    hidden: Vec<String>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    keeper: Option<Process>,
    last: u64,
    waiting: HashMap<u64, Waiting>,
}

/// The keeper that is there.
struct Process {
    socket: UnixStream,
    child: Child,
    record: PathBuf,
}

/// A keeper that has just come to be.
pub struct New {
    /// What it says is to be read from here, each line given to [`Keeper::hear`], and its end to
    /// [`Keeper::lose`].
    pub socket: UnixStream,
    /// Where it records what it does.
    pub record: PathBuf,
}

struct Waiting {
    attempt: Option<Attempt>,
    then: Then,
}

impl Keeper {
    /// The keeper of a session before which a run's log ended with the number `before`; it records
    /// in the run's folder.
    pub fn new(folder: PathBuf, before: u64, hidden: Vec<String>) -> Keeper {
        Keeper { shared: Arc::new(Shared { folder, before, hidden, state: Mutex::default() }) }
    }

    /// Sees to it that the process is there, before anything says that it is to begin something;
    /// says so if it is a new one. `head` is the number with which the run's log ends.
    ///
    /// # Errors
    /// If it could not be begun; then no order is taken either.
    pub fn ensure(&self, head: u64) -> std::io::Result<Option<New>> {
        let mut state = self.shared.state();
        if state.keeper.is_some() {
            return Ok(None);
        }
        // One that was lost may still live, and record what it sees: each has a file of its own.
        let (path, record) = Record::create(&self.shared.folder, self.shared.before)?;
        let (here, there) = UnixStream::pair()?;
        let keeper = std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), head);
        record.add(&Entry::Opened { keeper, head })?;
        let mut command = Command::new(own_program()?);
        for variable in &self.shared.hidden {
            command.env_remove(variable);
        }
        command.arg(VERB).arg(keeper.to_string());
        let child = command
            .stdin(OwnedFd::from(there))
            .stdout(record.into_file())
            .stderr(Stdio::null())
            .spawn()?;
        here.set_nonblocking(true)?;
        state.keeper = Some(Process { socket: here.try_clone()?, child, record: path.clone() });
        Ok(Some(New { socket: here, record: path }))
    }

    /// Takes a line that the keeper said.
    pub fn hear(&self, line: &[u8]) {
        let Ok(Answer { id, over }) = serde_json::from_slice(line) else { return };
        let waiting = self.shared.state().waiting.remove(&id);
        if let Some(waiting) = waiting {
            (waiting.then)(over);
        }
    }

    /// The keeper says nothing more. What it has recorded counts; of the rest, whoever reads its
    /// record learns the end as long as it lives.
    pub fn lose(&self) {
        let mut state = self.shared.state();
        let (keeper, lost) = (state.keeper.take(), std::mem::take(&mut state.waiting));
        drop(state);
        let mut known = Known::default();
        if let Some(Process { mut child, record, .. }) = keeper {
            // If it cannot be read, how they ended is unknown.
            let _ = known.add(&record);
            // It may only have ended its connection, and lives until its last command is over.
            std::thread::spawn(move || drop(child.wait()));
        }
        for Waiting { attempt, then } in lost.into_values() {
            let over = attempt.and_then(|attempt| known.end(&attempt).cloned());
            then(over.unwrap_or_else(|| {
                Exit::Unknown(
                    "the process that watched it was killed, or does not answer".to_owned(),
                )
                .into()
            }));
        }
    }

    /// Begins a command; `then` is called when it is over. The number is for [`Keeper::end`].
    pub fn begin(&self, mut begin: Begin, then: impl FnOnce(Over) + Send + 'static) -> u64 {
        let mut state = self.shared.state();
        state.last += 1;
        let id = state.last;
        begin.id = id;
        let waiting = Waiting { attempt: begin.attempt.clone(), then: Box::new(then) };
        state.waiting.insert(id, waiting);
        if let Err(error) = state.send(&Order::Begin(Box::new(begin)))
            && let Some(waiting) = state.waiting.remove(&id)
        {
            drop(state);
            (waiting.then)(
                Exit::NotBegun(format!("the process that begins commands is not there: {error}"))
                    .into(),
            );
        }
        id
    }

    /// Asks a command, with its whole group, to end, or kills it.
    pub fn end(&self, id: u64, force: bool) {
        // One that is over needs no end, and without the keeper there is nobody to tell.
        let _ = self.shared.state().send(&Order::End { id, force });
    }

    /// Kills the keeper itself, which does not do what it is told; what it watched is then lost.
    pub fn kill(&self) {
        if let Some(keeper) = &mut self.shared.state().keeper {
            let _ = keeper.child.kill();
        }
    }

    /// Stops all commands where they are, or lets them go on.
    pub fn pause(&self, pause: bool) {
        let _ = self.shared.state().send(&Order::Pause(pause));
    }
}

impl State {
    /// An order that cannot be sent whole is none: the keeper takes only whole lines, and nothing
    /// more is sent behind the rest of one.
    fn send(&mut self, order: &Order) -> std::io::Result<()> {
        let mut line = serde_json::to_vec(order)?;
        line.push(b'\n');
        let Process { socket, .. } = self.keeper.as_mut().ok_or(ErrorKind::NotConnected)?;
        let sent = send_all(socket, &line);
        if sent.is_err() {
            // Whoever hears it finds the end of the connection, and so it is lost.
            let _ = socket.shutdown(Shutdown::Both);
        }
        sent
    }
}

fn send_all(socket: &mut UnixStream, mut rest: &[u8]) -> std::io::Result<()> {
    while !rest.is_empty() {
        match socket.write(rest) {
            Ok(written) => rest = &rest[written..],
            // A long order fills the socket.
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                let mut room = [PollFd::new(socket, PollFlags::OUT)];
                match rustix::event::poll(
                    &mut room,
                    Some(&Timespec { tv_sec: PATIENCE, tv_nsec: 0 }),
                ) {
                    Ok(0) => return Err(ErrorKind::TimedOut.into()),
                    Ok(_) | Err(Errno::INTR) => {}
                    Err(error) => return Err(error.into()),
                }
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
