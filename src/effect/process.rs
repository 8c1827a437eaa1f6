//! Processes that are nobody's children here, as `/proc` tells of them. It does not know what they are for.

use std::path::PathBuf;
use std::time::Duration;

use rustix::param::clock_ticks_per_second;
use rustix::process::{Pid, Signal, getpid, kill_process, test_kill_process_group};

/// The process that leads its group, but no session, with this attempt in its environment. Where there is no `/proc`, none.
pub fn leader(key: &str, attempt: u32) -> Option<Pid> {
    let wanted = [format!("SWITCHOVER_IDEMPOTENCY_KEY={key}"), format!("SWITCHOVER_ATTEMPT={attempt}")];
    pids().find(|&pid| {
        let environment = std::fs::read(file(pid, "environ")).unwrap_or_default();
        let has = |wanted: &String| environment.split(|byte| *byte == 0).any(|variable| variable == wanted.as_bytes());
        let own = pid.as_raw_nonzero().get();
        wanted.iter().all(has) && stat(pid).is_some_and(|stat| stat.group == own && stat.session != own)
    })
}

/// Whether a process of the group still runs. One that has ended may stay in the table for ever where nobody collects it, as in
/// a container whose first process is no init.
pub fn group_lives(group: Pid) -> bool {
    let number = group.as_raw_nonzero().get();
    let has_members = || pids().filter_map(stat).any(|stat| stat.group == number && stat.runs);
    test_kill_process_group(group).is_ok() && (!PathBuf::from("/proc/self/stat").exists() || has_members())
}

/// How long a process has lived.
pub fn age(pid: Pid) -> Option<Duration> {
    let uptime: f64 = std::fs::read_to_string("/proc/uptime").ok()?.split_whitespace().next()?.parse().ok()?;
    let begun = stat(pid)?.begun as f64 / clock_ticks_per_second() as f64;
    Duration::try_from_secs_f64((uptime - begun).max(0.0)).ok()
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

/// Stops this process where it is; returns when somebody lets it go on.
pub fn stop_here() {
    let _ = kill_process(getpid(), Signal::STOP);
}
