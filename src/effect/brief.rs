//! Runs a command that has an answer within moments: one that gives a secret, or a run's witness.
//! It is no attempt of anything. What it began itself is not known here, and may outlive it.

use std::process::Output;
use std::time::{Duration, Instant};

/// How long it may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// What it printed, and how it ended; `env` is added to this process's environment, `input` is what
/// it reads.
///
/// # Errors
/// Why it could not be begun, or that it took too long: then it was killed.
pub fn output_of(
    command: &[String],
    env: &[(&str, String)],
    input: String,
) -> Result<Output, String> {
    let (program, arguments) = command.split_first().ok_or("the command is empty")?;
    let mut expression = duct::cmd(program, arguments)
        .stdin_bytes(input)
        .stdout_capture()
        .stderr_capture()
        .unchecked();
    for (name, value) in env {
        expression = expression.env(name, value);
    }
    let failed = |why: &dyn std::fmt::Display| format!("`{program}`: {why}");
    let handle = expression.start().map_err(|error| failed(&error))?;
    let begun = Instant::now();
    while let Ok(None) = handle.try_wait() {
        if begun.elapsed() > PATIENCE {
            let _ = handle.kill();
            return Err(failed(&format!("it took longer than {}s", PATIENCE.as_secs())));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    handle.into_output().map_err(|error| failed(&error))
}
