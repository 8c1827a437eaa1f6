//! Reads a secret from where it is kept, at the moment of use. Its value goes nowhere but to the caller.

use std::time::{Duration, Instant};

use super::EffectError;
use crate::runbook::Secret;

/// How long a command may take to give a secret.
const PATIENCE: Duration = Duration::from_secs(30);
/// The fewest characters of a secret.
const SHORTEST: usize = 6;

pub fn read(name: &str, source: &Secret) -> Result<String, EffectError> {
    let missing = |why: String| EffectError::shut(format!("the secret `{name}` {why}"));
    let value = match source {
        Secret::Env(variable) => std::env::var(variable)
            .map_err(|_| missing(format!("is to come from the environment variable {variable}, which is not set")))?,
        Secret::File(path) => std::fs::read_to_string(path).map_err(|error| missing(format!("is to come from {path}: {error}")))?,
        Secret::Command(command) => {
            let (program, arguments) = command.split_first().ok_or_else(|| missing("has an empty command".to_owned()))?;
            let failed = |why: &dyn std::fmt::Display| missing(format!("is to come from `{program}`: {why}"));
            let handle = duct::cmd(program, arguments).stdin_null().stderr_null().stdout_capture().start();
            let handle = handle.map_err(|error| failed(&error))?;
            let begun = Instant::now();
            while let Ok(None) = handle.try_wait() {
                if begun.elapsed() > PATIENCE {
                    let _ = handle.kill();
                    return Err(failed(&format!("it took longer than {}s", PATIENCE.as_secs())));
                }
                std::thread::sleep(Duration::from_millis(5));
            }
            let output = handle.into_output().map_err(|error| failed(&error))?;
            String::from_utf8(output.stdout).map_err(|_| failed(&"it is no UTF-8"))?
        }
    };
    let value = value.strip_suffix('\n').unwrap_or(&value).to_owned();
    match value.chars().count() {
        0 => Err(missing("is empty".to_owned())),
        // So short a text would be found in everything, and masking it would tell more than it hides.
        count if count < SHORTEST => Err(missing(format!("has {count} characters, and {SHORTEST} are the fewest that can be kept secret"))),
        _ => Ok(value),
    }
}
