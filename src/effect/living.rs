//! Whether a command still lives, and which processes are its: those of its group, and what else of
//! its keeper's session it began. What cannot be seen may live. It decides from the table of
//! processes; what a process shows of itself only adds to that.
//!
//! A process that has begun a session of its own and holds its command's output no longer is a
//! daemon, and not the command's.

use std::collections::HashMap;
use std::fs::{OpenOptions, TryLockError};
use std::path::Path;

use super::keeper::{Attempt, Beginning, Leader, Place, Site};
use super::process::{self, Process};
use crate::file;

/// What is known of the life of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Life {
    Gone,
    /// These processes live; none are named if only the lock on its output tells that something
    /// does.
    Lives(Vec<Process>),
    /// It may live, for this reason.
    Unseen(String),
}

impl Life {
    /// Its processes, as far as they can be seen.
    pub fn processes(&self) -> &[Process] {
        match self {
            Life::Lives(processes) => processes,
            Life::Gone | Life::Unseen(_) => &[],
        }
    }

    /// In words.
    pub fn words(&self) -> String {
        match self {
            Life::Gone => "it is over".to_owned(),
            Life::Lives(processes) if processes.is_empty() => {
                "its processes cannot be found".to_owned()
            }
            Life::Lives(processes) => {
                // Those that the others descend from.
                let is_first =
                    |process: &&Process| processes.iter().all(|other| other.pid != process.parent);
                let mut pids: Vec<i32> =
                    processes.iter().filter(is_first).map(|process| process.pid).collect();
                pids.sort_unstable();
                let pids: Vec<String> = pids.iter().map(i32::to_string).collect();
                format!("process {}", pids.join(", "))
            }
            Life::Unseen(why) => why.clone(),
        }
    }
}

/// The life of an attempt's command, whose output goes to `out`; `beginning` is what its keeper
/// recorded of it.
pub fn life(
    out: &Path,
    attempt: &Attempt,
    beginning: Option<&Beginning>,
    all: &std::io::Result<Vec<Process>>,
) -> Life {
    let all = match all {
        Ok(all) => all,
        Err(error) => {
            return Life::Unseen(format!("the processes of this machine cannot be seen: {error}"));
        }
    };
    let is_held = match is_held(out) {
        Ok(is_held) => is_held,
        Err(error) => return Life::Unseen(format!("{} cannot be opened: {error}", out.display())),
    };
    let mut seen = match beginning.and_then(|beginning| Some((beginning, beginning.place?))) {
        // Recorded by an earlier version, or not the command of an attempt.
        None => Life::from(shown(attempt, all)),
        Some((beginning, place)) => match Site::here() {
            Err(error) => Life::Unseen(format!("this machine cannot be told from others: {error}")),
            Ok(here) if here.machine != place.site.machine => {
                Life::Unseen(format!("it was begun on the machine {}", place.site.machine))
            }
            // It was begun before this machine was.
            Ok(here) if here.boot != place.site.boot => Life::Gone,
            Ok(here) if here.numbers != place.site.numbers => {
                Life::Unseen("it was begun in another container on this machine".to_owned())
            }
            Ok(_) => recorded(attempt, beginning, place, all),
        },
    };
    if is_held {
        let mut processes = match seen {
            Life::Lives(processes) => processes,
            Life::Gone | Life::Unseen(_) => Vec::new(),
        };
        let holders = process::holders(out, all);
        processes.extend(
            holders.into_iter().filter(|holder| !processes.contains(holder)).collect::<Vec<_>>(),
        );
        seen = Life::Lives(processes);
    }
    seen
}

impl From<Vec<Process>> for Life {
    fn from(processes: Vec<Process>) -> Life {
        if processes.is_empty() { Life::Gone } else { Life::Lives(processes) }
    }
}

/// By what its keeper recorded.
fn recorded(attempt: &Attempt, beginning: &Beginning, place: &Place, all: &[Process]) -> Life {
    let family = Family { place, own: beginning.leader, others: &beginning.others };
    let Members { own, unclear } = family.members(all, &|pid| shows(pid, attempt));
    // A group of which nothing is seen to run may be hidden; if nothing is hidden here, it has
    // ended and was not collected.
    let is_hidden = |leader: &Leader| {
        process::has_group(leader.pid)
            && (all.iter().all(|process| process.group != leader.pid)
                || process::are_hidden().unwrap_or(true))
    };
    let hidden = beginning.leader.filter(is_hidden);
    match (own.is_empty(), hidden) {
        (false, _) => Life::Lives(own),
        (true, Some(leader)) => {
            Life::Unseen(format!("the processes of the group {} cannot be seen", leader.pid))
        }
        (true, None) if unclear.is_empty() => Life::Gone,
        (true, None) => {
            let named: Vec<String> = unclear
                .iter()
                .map(|process| format!("{} ({})", process.pid, process::name(process.pid)))
                .collect();
            Life::Unseen(format!("process {} may be its", named.join(", ")))
        }
    }
}

/// By what processes show of themselves.
fn shown(attempt: &Attempt, all: &[Process]) -> Vec<Process> {
    let me = rustix::process::geteuid().as_raw();
    let is_its = |process: &&Process| {
        process.runs
            && process.group != process.session
            && process::owner(process.pid) == Some(me)
            && shows(process.pid, attempt) == Shown::Own
    };
    all.iter().filter(is_its).copied().collect()
}

/// Whose a process shows it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shown {
    Own,
    Another,
    Nothing,
}

pub fn shows(pid: i32, attempt: &Attempt) -> Shown {
    let environment = process::environment(pid).unwrap_or_default();
    let value = |name: &str| {
        environment
            .split(|byte| *byte == 0)
            .find_map(|variable| variable.strip_prefix(name.as_bytes()))
    };
    match (value("SWITCHOVER_IDEMPOTENCY_KEY="), value("SWITCHOVER_ATTEMPT=")) {
        (Some(key), Some(number))
            if key == attempt.key.as_bytes() && number == attempt.number.to_string().as_bytes() =>
        {
            Shown::Own
        }
        (Some(_), _) => Shown::Another,
        (None, _) => Shown::Nothing,
    }
}

/// The commands of one keeper.
#[derive(Debug)]
pub struct Family<'a> {
    pub place: &'a Place,
    /// The first process of the one that is meant, if it is known.
    pub own: Option<Leader>,
    pub others: &'a [Leader],
}

/// What lives in a keeper's session.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Members {
    /// The command's.
    pub own: Vec<Process>,
    /// Of which nobody knows whether it is the command's.
    pub unclear: Vec<Process>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Owner {
    Own,
    Another,
    /// Its keeper began it, and did not say for what.
    Keeper,
    Unknown,
}

impl Family<'_> {
    /// What lives of the command, by the table of processes; `shows` says whose a process says it
    /// is.
    pub fn members(&self, all: &[Process], shows: &dyn Fn(i32) -> Shown) -> Members {
        let table: HashMap<i32, &Process> =
            all.iter().map(|process| (process.pid, process)).collect();
        let mut members = Members::default();
        if table.get(&self.place.session).is_some_and(|keeper| keeper.begun != self.place.since) {
            // The number of the session was given away again, as nothing of it was left.
            return members;
        }
        // What began before the command did is not its.
        let since = self.own.and_then(|own| own.begun).unwrap_or(self.place.since);
        let lives = |process: &&Process| {
            process.runs
                && process.begun >= since
                && process.session == self.place.session
                && process.pid != self.place.session
        };
        for process in all.iter().filter(lives) {
            let owner = match self.owner(process, &table) {
                Owner::Own => Shown::Own,
                Owner::Another => Shown::Another,
                Owner::Keeper if self.own.is_some() && shows(process.pid) == Shown::Nothing => {
                    Shown::Another
                }
                Owner::Keeper | Owner::Unknown => shows(process.pid),
            };
            match owner {
                Shown::Own => members.own.push(*process),
                Shown::Another => {}
                Shown::Nothing => members.unclear.push(*process),
            }
        }
        members
    }

    /// By its group, else by those from whom it descends.
    fn owner(&self, process: &Process, table: &HashMap<i32, &Process>) -> Owner {
        let mut process = process;
        // A table that changed while it was read may go round.
        for _ in 0..table.len() {
            if process.pid == self.place.session {
                return Owner::Keeper;
            }
            if let Some(owner) = self.owner_of_group(process, table) {
                return owner;
            }
            match table.get(&process.parent) {
                Some(parent) => process = parent,
                None => return Owner::Unknown,
            }
        }
        Owner::Unknown
    }

    fn owner_of_group(&self, process: &Process, table: &HashMap<i32, &Process>) -> Option<Owner> {
        if process.session != self.place.session {
            return None;
        }
        let leads = |leader: &&Leader| {
            leader.pid == process.group && leader.begun.is_none_or(|begun| process.begun >= begun)
        };
        // A number is given away again only when nothing of its group is left: the last one counts.
        let last =
            self.own.iter().chain(self.others).filter(leads).max_by_key(|leader| leader.begun)?;
        let is_another = |first: &&Process| last.begun.is_some_and(|begun| begun != first.begun);
        if table.get(&last.pid).is_some_and(is_another) {
            return None;
        }
        Some(if self.own == Some(*last) { Owner::Own } else { Owner::Another })
    }
}

/// Whether something holds the lock on a command's output, which each of its processes inherits.
fn is_held(out: &Path) -> std::io::Result<bool> {
    // To append, as for writing: some file systems grant an exclusive lock only then.
    match file::open_as(OpenOptions::new().append(true), out) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
        Ok(file) => match file.try_lock() {
            Ok(()) => Ok(false),
            Err(TryLockError::WouldBlock) => Ok(true),
            Err(TryLockError::Error(error)) => Err(error),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place() -> Place {
        let text = || String::new();
        Place {
            site: Site { machine: text(), boot: text(), numbers: text() },
            session: 10,
            since: 100,
        }
    }

    fn process(pid: i32, parent: i32, group: i32, session: i32, begun: u64) -> Process {
        Process { pid, parent, group, session, begun, runs: true }
    }

    fn members(
        all: &[Process],
        own: Option<(i32, u64)>,
        others: &[(i32, u64)],
        shown: Shown,
    ) -> (Vec<i32>, Vec<i32>) {
        let leader = |(pid, begun): (i32, u64)| Leader { pid, begun: Some(begun) };
        let others: Vec<Leader> = others.iter().copied().map(leader).collect();
        let place = place();
        let family = Family { place: &place, own: own.map(leader), others: &others };
        let pids = |processes: Vec<Process>| processes.iter().map(|process| process.pid).collect();
        let Members { own, unclear } = family.members(all, &|_| shown);
        (pids(own), pids(unclear))
    }

    #[test]
    fn a_group_lives_without_its_leader() {
        let all = [process(21, 1, 20, 10, 205)];
        assert_eq!(members(&all, Some((20, 200)), &[], Shown::Nothing), (vec![21], vec![]));
    }

    #[test]
    fn what_has_ended_and_was_not_collected_does_not_live() {
        let all = [Process { runs: false, ..process(20, 10, 20, 10, 200) }];
        assert_eq!(members(&all, Some((20, 200)), &[], Shown::Nothing), (vec![], vec![]));
    }

    #[test]
    fn a_number_that_was_given_away_again_is_somebody_else() {
        // The group's, in another session; and the session's own.
        assert_eq!(
            members(&[process(20, 1, 20, 11, 900)], Some((20, 200)), &[], Shown::Nothing),
            (vec![], vec![])
        );
        let all = [process(10, 1, 10, 10, 900), process(20, 10, 20, 10, 901)];
        assert_eq!(members(&all, Some((20, 200)), &[], Shown::Own), (vec![], vec![]));
        // Another command of the same keeper.
        let all = [process(10, 1, 10, 10, 100), process(20, 10, 20, 10, 900)];
        assert_eq!(members(&all, Some((20, 200)), &[(20, 900)], Shown::Nothing), (vec![], vec![]));
        assert_eq!(
            members(&all, Some((20, 900)), &[(20, 200)], Shown::Nothing),
            (vec![20], vec![])
        );
    }

    #[test]
    fn what_left_its_group_is_its_by_descent() {
        let all = [
            process(20, 1, 20, 10, 200),
            process(21, 20, 21, 10, 201),
            process(22, 21, 22, 10, 202),
            process(30, 1, 30, 10, 300),
        ];
        assert_eq!(
            members(&all, Some((20, 200)), &[(30, 300)], Shown::Another),
            (vec![20, 21, 22], vec![])
        );
        assert_eq!(
            members(&all, Some((30, 300)), &[(20, 200)], Shown::Another),
            (vec![30], vec![])
        );
    }

    #[test]
    fn what_shows_nothing_and_descends_from_nobody_may_be_its() {
        let all = [process(25, 1, 25, 10, 205)];
        assert_eq!(members(&all, Some((20, 200)), &[], Shown::Nothing), (vec![], vec![25]));
        assert_eq!(members(&all, Some((20, 200)), &[], Shown::Own), (vec![25], vec![]));
        assert_eq!(members(&all, Some((20, 200)), &[], Shown::Another), (vec![], vec![]));
        // It was there before.
        assert_eq!(members(&all, Some((30, 300)), &[], Shown::Nothing), (vec![], vec![]));
    }

    #[test]
    fn what_its_keeper_began_for_something_else_is_not_its() {
        let all = [process(10, 1, 10, 10, 100), process(40, 10, 40, 10, 400)];
        assert_eq!(members(&all, Some((20, 200)), &[], Shown::Nothing), (vec![], vec![]));
        // But for an attempt of which nobody knows how far its beginning came.
        assert_eq!(members(&all, None, &[], Shown::Nothing), (vec![], vec![40]));
    }

    #[test]
    fn a_session_of_its_own_is_none_of_it() {
        let all = [
            process(20, 1, 20, 10, 200),
            process(26, 20, 26, 26, 206),
            process(27, 26, 27, 10, 207),
        ];
        assert_eq!(members(&all, Some((20, 200)), &[], Shown::Nothing), (vec![20, 27], vec![]));
    }
}
