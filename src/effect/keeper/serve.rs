//! The keeper's side: a process in a session of its own, with the executor at its standard input
//! and the run's record as its standard output. It knows commands and files, not runs.

use std::collections::HashMap;
use std::fs::File;
use std::io::{Error, ErrorKind, Result};
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tokio::net::UnixStream;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Notify;

use super::kept::Kept;
use super::launch::launch;
use super::masked::Mask;
use super::order::{Answer, Attempt, Begin, Exit, Order, Over};
use super::place::{Leader, Place};
use super::record::{Entry, Record};
use crate::effect::process;
use crate::file;

/// How often the processes of what is to end are looked at.
const LOOK: Duration = Duration::from_millis(20);
/// How often what runs is looked at without a signal that something has ended: one that is lost
/// delays its end, no more.
const LOST: Duration = Duration::from_secs(1);
/// How much of the socket is read at once, in bytes.
const CHUNK: usize = 16 << 10;

/// Serves until the executor is gone and the last command is over.
///
/// # Errors
/// If standard input and output are not what an executor gives.
pub fn serve(keeper: u64) -> Result<()> {
    // Not one of the terminal's processes: what is typed there is for the executor.
    let _ = rustix::process::setsid();
    let socket =
        std::os::unix::net::UnixStream::from(std::io::stdin().as_fd().try_clone_to_owned()?);
    let record = Record::of(File::from(std::io::stdout().as_fd().try_clone_to_owned()?));
    socket.set_nonblocking(true)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let serving = Serving {
        keeper,
        record,
        place: Place::own()?,
        is_placed: false,
        begun: 0,
        kept: HashMap::new(),
        mask: Mask::default(),
        is_alone: false,
        paused: None,
        wake: Arc::default(),
        answers: Vec::new(),
    };
    runtime.block_on(serving.until_over(socket))
}

struct Serving {
    keeper: u64,
    record: Record,
    place: Place,
    /// Whether the place is on record.
    is_placed: bool,
    begun: u64,
    kept: HashMap<u64, Kept>,
    /// All secrets that the executor told of.
    mask: Mask,
    /// The executor is gone: nobody else makes anything durable.
    is_alone: bool,
    /// Since when all commands stand still.
    paused: Option<Instant>,
    /// Notified when masked output is at its end.
    wake: Arc<Notify>,
    /// What the executor has not taken yet. An executor that stands still holds nothing up.
    answers: Vec<u8>,
}

impl Serving {
    async fn until_over(mut self, socket: std::os::unix::net::UnixStream) -> Result<()> {
        let mut child = signal(SignalKind::child())?;
        // What ends the machine's processes one by one is not to keep the ends of the others from
        // being recorded.
        let _deaf =
            [SignalKind::terminate(), SignalKind::hangup(), SignalKind::interrupt()].map(signal);
        // Standard input is the same socket: closing one would not end the connection.
        let connection = socket.try_clone()?;
        let mut socket = Some(UnixStream::from_std(socket)?);
        let mut orders = Vec::new();
        while socket.is_some() || !self.kept.is_empty() {
            let pause = if self.kept.values().any(Kept::is_ending) { LOOK } else { LOST };
            let has_commands = !self.kept.is_empty();
            let has_answers = !self.answers.is_empty();
            let wake = Arc::clone(&self.wake);
            let ready = tokio::select! {
                biased;
                _ = child.recv() => Ok(()),
                () = wake.notified() => Ok(()),
                ready = readable(socket.as_ref()) => ready,
                ready = writable(socket.as_ref()), if has_answers => ready,
                () = tokio::time::sleep(pause), if has_commands => Ok(()),
            };
            if let Some(open) = &socket {
                let heard = ready.and_then(|()| read_on(open, &mut orders));
                self.take_all(&mut orders);
                self.see_what_is_over();
                // An executor that cannot be told anything finds the ends in the record, as soon as
                // it hears that it must.
                let told = heard.and_then(|()| self.tell(open));
                if told.is_err() {
                    socket = None;
                    self.is_alone = true;
                    let _ = connection.shutdown(Shutdown::Both);
                    self.time_stands_still(false);
                    // The lock on the record stays until the last command is over: whoever comes
                    // next waits for that.
                    let _ =
                        self.record.add(&Entry::Closed { keeper: self.keeper, begun: self.begun });
                }
            } else {
                self.see_what_is_over();
            }
        }
        Ok(())
    }

    /// Takes the orders that are there whole. The rest of a line of an executor that died while it
    /// wrote is none.
    fn take_all(&mut self, orders: &mut Vec<u8>) {
        let whole = orders.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        let rest = orders.split_off(whole);
        for line in std::mem::replace(orders, rest)
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
        {
            if let Ok(order) = serde_json::from_slice(line) {
                self.take(order);
            }
        }
    }

    fn take(&mut self, order: Order) {
        match order {
            Order::Begin(begin) => match self.begin(&begin) {
                Ok(kept) => drop(self.kept.insert(begin.id, kept)),
                Err(why) => self.note_end(begin.id, begin.attempt, Exit::NotBegun(why).into(), &[]),
            },
            Order::End { id, force } => {
                let others = self.leaders_but(id);
                if let Some(kept) = self.kept.get_mut(&id) {
                    kept.end(force, &self.place, &others);
                }
            }
            Order::Pause(pause) => {
                let signal = if pause { Signal::STOP } else { Signal::CONT };
                for (id, kept) in &self.kept {
                    process::signal_all(
                        &kept.processes(&self.place, &self.leaders_but(*id)).unwrap_or_default(),
                        signal,
                    );
                }
                self.time_stands_still(pause);
            }
        }
    }

    /// What cannot end while it stands still is not taken for what cannot be killed.
    fn time_stands_still(&mut self, pause: bool) {
        if pause {
            self.paused.get_or_insert_with(Instant::now);
        } else if let Some(since) = self.paused.take() {
            self.kept.values_mut().for_each(|kept| kept.was_away(since.elapsed()));
        }
    }

    fn begin(&mut self, begin: &Begin) -> std::result::Result<Kept, String> {
        let launch = launch(begin, &self.mask, &self.wake)?;
        if let Some(attempt) = &begin.attempt {
            let unrecorded =
                |error: Error| format!("that it begins could not be recorded: {error}");
            if !self.is_placed {
                let entry = Entry::Serves { keeper: self.keeper, place: self.place.clone() };
                self.record.add(&entry).map_err(unrecorded)?;
                self.is_placed = true;
            }
            self.record
                .add(&Entry::Begins { keeper: self.keeper, attempt: attempt.clone() })
                .map_err(unrecorded)?;
            self.begun += 1;
        }
        let kept = launch.start()?;
        if let (Some(attempt), Some(leader)) = (&begin.attempt, kept.leader) {
            // Without it everything in this session may be its.
            let _ = self.record.add(&Entry::Runs { attempt: attempt.clone(), leader });
        }
        Ok(kept)
    }

    /// The first processes of all commands but one.
    fn leaders_but(&self, id: u64) -> Vec<Leader> {
        self.kept
            .iter()
            .filter(|(other, _)| **other != id)
            .filter_map(|(_, kept)| kept.leader)
            .collect()
    }

    /// Records and answers for what is over by now.
    fn see_what_is_over(&mut self) {
        let is_paused = self.paused.is_some();
        let ending: Vec<u64> =
            self.kept.iter().filter(|(_, kept)| kept.is_ending()).map(|(id, _)| *id).collect();
        for id in ending {
            let others = self.leaders_but(id);
            if let Some(kept) = self.kept.get_mut(&id) {
                kept.look_at_the_rest(is_paused, &self.place, &others);
            }
        }
        let over: Vec<u64> = self
            .kept
            .iter_mut()
            .filter_map(|(id, kept)| kept.is_over(is_paused).then_some(*id))
            .collect();
        for id in over {
            let Some(kept) = self.kept.remove(&id) else { continue };
            let files = kept.files();
            let (attempt, over) = kept.over();
            self.note_end(id, attempt, over, &files);
        }
    }

    fn note_end(&mut self, id: u64, attempt: Option<Attempt>, over: Over, files: &[PathBuf]) {
        if let Some(attempt) = attempt {
            // An executor that hears it makes the result durable itself. Else it may be long until
            // somebody takes it up.
            let is_durable = self.is_alone && make_durable(files).is_ok();
            // If this cannot be written the executor still hears it; if that is gone, the next one
            // finds the attempt in doubt.
            let _ = self.record.add(&Entry::Ended { attempt, over: over.clone(), is_durable });
            if is_durable {
                let _ = self.record.sync();
            }
        }
        if let Ok(line) = serde_json::to_vec(&Answer { id, over }) {
            self.answers.extend(line);
            self.answers.push(b'\n');
        }
    }

    /// Says as much as the executor takes now.
    fn tell(&mut self, socket: &UnixStream) -> Result<()> {
        while !self.answers.is_empty() {
            match socket.try_write(&self.answers) {
                Ok(written) => drop(self.answers.drain(..written)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Makes durable which of these files there are, which lie in one folder, and what is in them.
fn make_durable(files: &[PathBuf]) -> Result<()> {
    for path in files {
        match file::open(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            opened => opened?.sync_all()?,
        }
    }
    files
        .first()
        .and_then(|path| path.parent())
        .map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}

/// Reads what is there.
fn read_on(socket: &UnixStream, orders: &mut Vec<u8>) -> Result<()> {
    let mut chunk = [0; CHUNK];
    loop {
        match socket.try_read(&mut chunk) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(read) => orders.extend_from_slice(&chunk[..read]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

async fn readable(socket: Option<&UnixStream>) -> Result<()> {
    match socket {
        Some(socket) => socket.readable().await,
        None => std::future::pending().await,
    }
}

async fn writable(socket: Option<&UnixStream>) -> Result<()> {
    match socket {
        Some(socket) => socket.writable().await,
        None => std::future::pending().await,
    }
}
