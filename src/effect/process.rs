//! Processes, as the machine tells of them, whoever began them. It does not know what they are for.

use std::collections::HashSet;
use std::io::{ErrorKind, Result};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::io::Errno;
use rustix::param::clock_ticks_per_second;
use rustix::process::{
    Pid, Signal, getpid, kill_process, kill_process_group, test_kill_process_group,
};

/// A process that is in the table, also if it has ended and nobody has collected it yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Process {
    pub pid: i32,
    pub parent: i32,
    pub group: i32,
    /// 0 if its leader is outside of the container.
    pub session: i32,
    /// In ticks since the machine began.
    pub begun: u64,
    /// It has not ended.
    pub runs: bool,
}

/// All processes that can be seen. Where `/proc` hides those of other users, see [`are_hidden`],
/// they are missing.
///
/// # Errors
/// If none can be seen: then nothing is known of any.
pub fn all() -> Result<Vec<Process>> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir("/proc")? {
        let name = entry?.file_name();
        all.extend(name.to_str().and_then(|name| name.parse().ok()).and_then(look));
    }
    Ok(all)
}

/// One process, if it is there and can be seen.
pub fn look(pid: i32) -> Option<Process> {
    parse(pid, &String::from_utf8_lossy(&std::fs::read(format!("/proc/{pid}/stat")).ok()?))
}

/// This process.
///
/// # Errors
/// If it cannot be seen.
pub fn own() -> Result<Process> {
    look(getpid().as_raw_nonzero().get()).ok_or_else(|| ErrorKind::NotFound.into())
}

/// See proc_pid_stat(5): after the name in brackets come the state, the parent, the group, the
/// session, and as field 22 the start.
fn parse(pid: i32, stat: &str) -> Option<Process> {
    let mut fields = stat.rsplit(')').next()?.split_whitespace();
    let runs = !matches!(fields.next()?, "Z" | "X");
    let mut number = || fields.next()?.parse().ok();
    let (parent, group, session) = (number()?, number()?, number()?);
    let begun = fields.nth(15)?.parse().ok()?;
    Some(Process { pid, parent, group, session, begun, runs })
}

/// Whether `/proc` shows only this user's own processes (`hidepid`).
///
/// # Errors
/// If that cannot be seen.
pub fn are_hidden() -> Result<bool> {
    let is_hiding = |line: &str| {
        let hides = |word: &str| {
            word.starts_with("hidepid=") && !matches!(word, "hidepid=0" | "hidepid=off")
        };
        line.split(' ').nth(1) == Some("/proc") && line.split([' ', ',']).any(hides)
    };
    Ok(read("/proc/self/mounts")?.lines().any(is_hiding) && !rustix::process::geteuid().is_root())
}

/// Whether there is a group of this number: also one that cannot be seen, and one of which nothing
/// runs any more.
pub fn has_group(group: i32) -> bool {
    Pid::from_raw(group)
        .is_some_and(|group| !matches!(test_kill_process_group(group), Err(Errno::SRCH)))
}

/// The user whose process it is, if that can be seen.
pub fn owner(pid: i32) -> Option<u32> {
    use std::os::unix::fs::MetadataExt;
    Some(std::fs::metadata(format!("/proc/{pid}")).ok()?.uid())
}

/// The variables with which a program was begun; nothing if they cannot be seen.
pub fn environment(pid: i32) -> Option<Vec<u8>> {
    std::fs::read(format!("/proc/{pid}/environ")).ok()
}

/// What people know it by.
pub fn name(pid: i32) -> String {
    let name = std::fs::read(format!("/proc/{pid}/comm")).unwrap_or_default();
    String::from_utf8_lossy(&name).trim().to_owned()
}

/// For how long a process has lived that began at this moment of the machine's time.
pub fn age(begun: u64) -> Option<Duration> {
    let uptime: f64 = read("/proc/uptime").ok()?.split_whitespace().next()?.parse().ok()?;
    Duration::try_from_secs_f64((uptime - begun as f64 / clock_ticks_per_second() as f64).max(0.0))
        .ok()
}

/// The processes that hold a lock on a file, of those whose descriptors can be seen. This program
/// itself only looks who does.
pub fn holders(path: &Path, all: &[Process]) -> Vec<Process> {
    let (Ok(path), Ok(own)) = (std::fs::canonicalize(path), std::fs::read_link("/proc/self/exe"))
    else {
        return Vec::new();
    };
    let is_other = |process: &&Process| {
        std::fs::read_link(format!("/proc/{}/exe", process.pid)).is_ok_and(|program| program != own)
    };
    let holds = |process: &&Process| {
        let descriptors = std::fs::read_dir(format!("/proc/{}/fd", process.pid))
            .into_iter()
            .flatten()
            .filter_map(Result::ok);
        descriptors.filter(|entry| std::fs::read_link(entry.path()).is_ok_and(|to| to == path)).any(
            |entry| {
                let info = format!("/proc/{}/fdinfo/{}", process.pid, entry.file_name().display());
                read(&info).is_ok_and(|info| info.contains("FLOCK"))
            },
        )
    };
    all.iter().filter(|process| process.runs).filter(is_other).filter(holds).copied().collect()
}

/// Signals processes. Of a group that is theirs alone, also what it has begun since it was seen;
/// what has gone meanwhile needs none.
pub fn signal_all(processes: &[Process], signal: Signal) {
    let groups: HashSet<i32> = processes
        .iter()
        .filter(|process| process.group != process.session)
        .map(|process| process.group)
        .collect();
    for group in groups.into_iter().filter_map(Pid::from_raw) {
        let _ = kill_process_group(group, signal);
    }
    for pid in processes
        .iter()
        .filter(|process| process.group == process.session)
        .filter_map(|process| Pid::from_raw(process.pid))
    {
        let _ = kill_process(pid, signal);
    }
}

fn read(path: &str) -> Result<String> {
    std::fs::read_to_string(path)
}

/// Whether this process was begun to ignore a signal, as by `nohup`.
pub fn ignores(signal: i32) -> bool {
    let status = read("/proc/self/status").unwrap_or_default();
    let mask = status
        .lines()
        .find_map(|line| u64::from_str_radix(line.strip_prefix("SigIgn:")?.trim(), 16).ok());
    mask.is_some_and(|mask| mask >> (signal - 1) & 1 == 1)
}

/// The processes that this one's first thread began and that are still there.
pub fn children() -> Vec<Pid> {
    let number = getpid().as_raw_nonzero();
    let list = read(&format!("/proc/{number}/task/{number}/children")).unwrap_or_default();
    list.split_whitespace().filter_map(|pid| Pid::from_raw(pid.parse().ok()?)).collect()
}

/// This program as it was begun, also if it was replaced since.
pub fn own_program() -> Result<PathBuf> {
    let own = PathBuf::from("/proc/self/exe");
    if own.exists() { Ok(own) } else { std::env::current_exe() }
}

/// Lets nobody but the superuser look into this process: no core dump holds its secrets, and no
/// command of the same user reads them from its memory or its environment. What it executes is as
/// usual.
pub fn close_to_others() -> std::io::Result<()> {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)?;
    Ok(())
}

/// Kills this process and some others at once, as a machine does that runs out of memory.
pub fn die_with(others: &[Pid]) -> ! {
    for pid in others.iter().copied().chain([getpid()]) {
        let _ = kill_process(pid, Signal::KILL);
    }
    std::process::abort()
}

/// Stops this process where it is; returns when somebody lets it go on.
pub fn stop_here() {
    let _ = kill_process(getpid(), Signal::STOP);
}
