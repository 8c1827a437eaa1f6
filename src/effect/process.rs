//! Processes that are nobody's children here, as `/proc` tells of them. It does not know what they are for.

use std::collections::HashSet;
use std::path::PathBuf;
use std::time::Duration;

use rustix::param::clock_ticks_per_second;
use rustix::process::{Pid, Signal, getpid, kill_process, kill_process_group, test_kill_process_group};

/// A group of processes with this attempt in their environment, led by the first of them or, if that is gone, what is left of it.
/// What has begun a session of its own is a daemon, and none of it. Where there is no `/proc`, there are none.
pub fn groups(key: &str, attempt: u32) -> HashSet<Pid> {
    members(key, attempt).filter_map(|(_, stat)| Pid::from_raw(stat.group)).collect()
}

/// Whether the process that leads such a group is there.
pub fn has_leader(key: &str, attempt: u32) -> bool {
    members(key, attempt).any(|(pid, stat)| stat.group == pid.as_raw_nonzero().get())
}

/// How long the oldest such process has lived.
pub fn age(key: &str, attempt: u32) -> Option<Duration> {
    let uptime: f64 = std::fs::read_to_string("/proc/uptime").ok()?.split_whitespace().next()?.parse().ok()?;
    let begun = members(key, attempt).map(|(_, stat)| stat.begun).min()? as f64 / clock_ticks_per_second() as f64;
    Duration::try_from_secs_f64((uptime - begun).max(0.0)).ok()
}

fn members(key: &str, attempt: u32) -> impl Iterator<Item = (Pid, Stat)> {
    let wanted = [format!("SWITCHOVER_IDEMPOTENCY_KEY={key}"), format!("SWITCHOVER_ATTEMPT={attempt}")];
    pids().filter_map(move |pid| {
        let environment = std::fs::read(file(pid, "environ")).unwrap_or_default();
        let has = |wanted: &String| environment.split(|byte| *byte == 0).any(|variable| variable == wanted.as_bytes());
        wanted.iter().all(has).then(|| stat(pid))?.filter(|stat| stat.group != stat.session).map(|stat| (pid, stat))
    })
}

/// Whether a process of the group still runs. One that has ended may stay in the table for ever where nobody collects it, as in
/// a container whose first process is no init.
pub fn group_lives(group: Pid) -> bool {
    let number = group.as_raw_nonzero().get();
    let has_members = || pids().filter_map(stat).any(|stat| stat.group == number && stat.runs);
    test_kill_process_group(group).is_ok() && (!PathBuf::from("/proc/self/stat").exists() || has_members())
}

struct Stat {
    runs: bool,
    group: i32,
    /// 0 if its leader is outside of the container.
    session: i32,
    /// In ticks since the machine began.
    begun: u64,
}

/// See proc_pid_stat(5): after the name in brackets come the state, the parent, the group, the session, and as field 22 the start.
fn stat(pid: Pid) -> Option<Stat> {
    let text = std::fs::read_to_string(file(pid, "stat")).ok()?;
    let mut fields = text.rsplit(')').next()?.split_whitespace();
    let runs = !matches!(fields.next()?, "Z" | "X");
    let mut numbers = fields.skip(1);
    let (group, session) = (numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?);
    Some(Stat { runs, group, session, begun: numbers.nth(15)?.parse().ok()? })
}

fn pids() -> impl Iterator<Item = Pid> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().filter_map(Result::ok);
    entries.filter_map(|entry| Pid::from_raw(entry.file_name().to_str()?.parse().ok()?))
}

fn file(pid: Pid, name: &str) -> PathBuf {
    format!("/proc/{}/{name}", pid.as_raw_nonzero()).into()
}

/// Whether this process was begun to ignore a signal, as by `nohup`.
pub fn ignores(signal: i32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| u64::from_str_radix(line.strip_prefix("SigIgn:")?.trim(), 16).ok());
    mask.is_some_and(|mask| mask >> (signal - 1) & 1 == 1)
}

/// Signals a group, if it is there.
pub fn signal(group: Pid, signal: Signal) {
    let _ = kill_process_group(group, signal);
}

/// The processes that this one's first thread began and that are still there.
pub fn children() -> Vec<Pid> {
    let number = getpid().as_raw_nonzero();
    let list = std::fs::read_to_string(format!("/proc/{number}/task/{number}/children")).unwrap_or_default();
    list.split_whitespace().filter_map(|pid| Pid::from_raw(pid.parse().ok()?)).collect()
}

/// This program as it was begun, also if it was replaced since.
pub fn own_program() -> std::io::Result<PathBuf> {
    let own = PathBuf::from("/proc/self/exe");
    if own.exists() { Ok(own) } else { std::env::current_exe() }
}

/// Lets nobody but the superuser look into this process: no core dump holds its secrets, and no command of the same user reads them
/// from its memory or its environment. What it executes is as usual.
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
