//! Commands that another action begins on its way, with an end to their time. Knows nothing of what
//! they are for.

use std::sync::Arc;
use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};

use super::command::begin;
use super::{EffectError, Job, Keeper, Reading, Stopper};
use crate::runbook::action::{Command, Run};

/// How long a command may take that nobody stops.
const PATIENCE: Duration = Duration::from_secs(20);

/// Runs a command to its end, whoever wants it to stop: half a change is the worst.
pub fn run(
    job: &Job,
    words: &[String],
    what: &str,
    weight: Option<&str>,
    keeper: &Keeper,
) -> Result<Reading, EffectError> {
    let mut job = with_stem(job, what);
    if let Some(weight) = weight {
        job.context.insert("SWITCHOVER_WEIGHT", weight.to_owned());
    }
    let command = Run {
        command: Command::Arguments(words.to_vec()),
        cwd: None,
        stdin: None,
        keep_output: None,
    };
    let reading = within(&job, &command, keeper, &Stopper::default(), PATIENCE)?;
    if reading.is_good {
        return Ok(reading);
    }
    let said = ["stderr", "stdout"]
        .iter()
        .find_map(|name| reading.names.get(*name)?.as_str().filter(|text| !text.trim().is_empty()));
    let lines: Vec<&str> = said.unwrap_or_default().trim().lines().collect();
    let said = lines[lines.len().saturating_sub(3)..].join(" / ");
    Err(EffectError::during(format!(
        "`{}` ended with {}: {said}",
        words.join(" "),
        reading.summary
    )))
}

/// The same attempt, with files of its own.
pub fn with_stem(job: &Job, what: &str) -> Job {
    let mut stem = job.stem.as_os_str().to_owned();
    stem.push(format!("-{what}"));
    Job { stem: stem.into(), attempt: None, ..job.clone() }
}

/// Runs a command, and kills it when its time is over or `halt` is stopped.
pub fn within(
    job: &Job,
    run: &Run<String>,
    keeper: &Keeper,
    halt: &Stopper,
    patience: Duration,
) -> Result<Reading, EffectError> {
    let own = Arc::new(Stopper::default());
    let (send, receive) = std::sync::mpsc::channel();
    begin(job, run, keeper, &own, move |result| drop(send.send(result)));
    let (begun, mut is_killed) = (Instant::now(), false);
    loop {
        match receive.recv_timeout(Duration::from_millis(50)) {
            Ok(Ok(reading)) if is_killed => {
                return Err(EffectError::during(format!(
                    "it was killed after {}s ({})",
                    patience.as_secs(),
                    reading.summary
                )));
            }
            Ok(result) => return result,
            Err(RecvTimeoutError::Disconnected) => {
                return Err(EffectError::during("nobody said how it ended"));
            }
            Err(RecvTimeoutError::Timeout) if is_killed && begun.elapsed() > patience * 2 => {
                return Err(EffectError::during("it could not be killed"));
            }
            Err(RecvTimeoutError::Timeout) => {}
        }
        if halt.is_stopped() {
            own.kill();
            return Err(EffectError::during("it was stopped"));
        }
        if !is_killed && begun.elapsed() > patience {
            own.kill();
            is_killed = true;
        }
    }
}
