//! A command that a keeper has begun, from its beginning to the last of its processes that must
//! end.

use std::io::Result;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::masked::{Mask, Masked};
use super::order::{Attempt, Exit, Over};
use super::place::{Leader, Place};
use crate::effect::living::{Family, shows};
use crate::effect::process::{self, Process};

/// How long after the order to end, and so well after KILL, processes that cannot be killed are no
/// longer waited for; and how long a disk may take to write what a command that has ended said.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long after the end of a command its output may still come, if it goes through here: what a
/// daemon holds open has no end.
const LAST_WORDS: Duration = Duration::from_secs(1);

pub struct Kept {
    pub handle: duct::Handle,
    pub leader: Option<Leader>,
    pub attempt: Option<Attempt>,
    /// What its processes show of themselves.
    pub marks: Attempt,
    pub out: PathBuf,
    /// Its output, if the run has secrets.
    pub masked: Vec<Masked>,
    /// The files that it wrote about itself, to be masked.
    pub said: Option<(Mask, Vec<PathBuf>)>,
    pub end: End,
}

/// How far its end has come.
#[derive(Debug, Default)]
pub struct End {
    /// When it was first told to end.
    told: Option<Instant>,
    is_forced: bool,
    /// Something of what was told to end still lives.
    has_rest: bool,
    /// When it was first seen to have ended.
    ended: Option<Instant>,
}

impl Kept {
    /// Whether somebody must look at it without being woken.
    pub fn is_ending(&self) -> bool {
        self.end.told.is_some() || self.end.ended.is_some()
    }

    /// What lives of it; `others` are the first processes of what else was begun here.
    pub fn processes(&self, place: &Place, others: &[Leader]) -> Result<Vec<Process>> {
        let all = process::all()?;
        let family = Family { place, own: self.leader, others };
        let mut processes = family.members(&all, &|pid| shows(pid, &self.marks)).own;
        // What has a session of its own and yet holds on to the output is no daemon.
        let holders = process::holders(&self.out, &all);
        processes.extend(
            holders.into_iter().filter(|holder| !processes.contains(holder)).collect::<Vec<_>>(),
        );
        Ok(processes)
    }

    /// Tells all of it to end: TERM, or KILL.
    pub fn end(&mut self, force: bool, place: &Place, others: &[Leader]) {
        self.end.told.get_or_insert_with(Instant::now);
        self.end.is_forced |= force;
        self.end.has_rest = true;
        let signal = if force { Signal::KILL } else { Signal::TERM };
        match self.processes(place, others) {
            Ok(processes) => process::signal_all(&processes, signal),
            // At least those that need not be looked for.
            Err(_) => {
                let group =
                    self.leader.and_then(|leader| rustix::process::Pid::from_raw(leader.pid));
                let _ = group.map(|group| rustix::process::kill_process_group(group, signal));
            }
        }
    }

    /// Looks whether something lives of what was told to end; what is to be killed, and came to be
    /// since, is killed too.
    pub fn look_at_the_rest(&mut self, is_paused: bool, place: &Place, others: &[Leader]) {
        if self.end.told.is_none() || is_paused {
            return;
        }
        // What cannot be seen may live.
        let Ok(rest) = self.processes(place, others) else { return };
        self.end.has_rest = !rest.is_empty();
        if self.end.is_forced {
            process::signal_all(&rest, Signal::KILL);
        }
    }

    /// It stood still for so long, which does not count.
    pub fn was_away(&mut self, time: Duration) {
        if let Some(told) = &mut self.end.told {
            *told += time;
        }
    }

    /// Whether it has ended; of what was told to end, whether all its processes have.
    pub fn is_over(&mut self, is_paused: bool) -> bool {
        let has_ended = !matches!(self.handle.try_wait(), Ok(None));
        let has_ended = match self.end.told {
            None => has_ended,
            Some(told) => {
                (has_ended && !self.end.has_rest) || (!is_paused && told.elapsed() > PATIENCE)
            }
        };
        if !has_ended {
            return false;
        }
        let ended = *self.end.ended.get_or_insert_with(Instant::now);
        let is_written = self.masked.iter_mut().all(Masked::is_over);
        let is_idle = self.masked.iter().all(Masked::is_idle) && ended.elapsed() > LAST_WORDS;
        is_written || is_idle || ended.elapsed() > PATIENCE
    }

    /// The files that an attempt may leave.
    pub fn files(&self) -> Vec<PathBuf> {
        ["out", "err", "output", "checkpoint", "progress"]
            .map(|ending| self.out.with_extension(ending))
            .to_vec()
    }

    /// What is known of its end; what it wrote about itself is masked.
    pub fn over(self) -> (Option<Attempt>, Over) {
        let exit = match self.handle.try_wait() {
            Ok(Some(output)) => match (output.status.code(), output.status.signal()) {
                (Some(code), _) => Exit::Code(code),
                (None, Some(signal)) => Exit::Signal(signal),
                (None, None) => {
                    Exit::Unknown("it ended neither with a code nor by a signal".to_owned())
                }
            },
            Ok(None) => Exit::Unknown("it cannot be killed".to_owned()),
            Err(error) => Exit::Unknown(format!("it could not be waited for: {error}")),
        };
        let mut unwritten = self.masked.into_iter().find_map(Masked::unwritten);
        if let Some((mask, files)) = &self.said {
            for file in files {
                let unmasked = mask.file(file);
                unwritten = unwritten.or(unmasked);
            }
        }
        (self.attempt, Over { exit, unwritten })
    }
}
