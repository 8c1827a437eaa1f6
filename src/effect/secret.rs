//! Reads a secret from where it is kept, at the moment of use. Its value goes nowhere but to the
//! caller.

use std::env::VarError;
use std::io::ErrorKind;
use std::path::Path;

use super::{EffectError, brief};
use crate::runbook::Secret;
use crate::runbook::limit::MAX_BYTES;

/// The fewest characters of a secret.
const SHORTEST: usize = 6;

/// The value now; `folder` is where steps leave theirs.
pub fn read(name: &str, source: &Secret, folder: &Path) -> Result<String, EffectError> {
    let missing = |why: String| EffectError::shut(format!("the secret `{name}` {why}"));
    let value = match source {
        Secret::Env(variable) => std::env::var(variable).map_err(|error| {
            let why = if error == VarError::NotPresent { "is not set" } else { "is no UTF-8" };
            missing(format!("is to come from the environment variable {variable}, which {why}"))
        })?,
        Secret::File(path) => std::fs::read_to_string(path)
            .map_err(|error| missing(format!("is to come from {path}: {error}")))?,
        Secret::Step { step, file } => {
            let failed =
                |why: String| missing(format!("is to come from the step {step}, which {why}"));
            let bytes = crate::file::read(&folder.join(file), MAX_BYTES as u64).map_err(
                |error| match error.kind() {
                    ErrorKind::NotFound => failed("has left none by now".to_owned()),
                    _ => failed(format!("left something else: {error}")),
                },
            )?;
            String::from_utf8(bytes).map_err(|_| failed("left no UTF-8".to_owned()))?
        }
        Secret::Command(command) => {
            let failed = |why: String| missing(format!("is to come from {why}"));
            let output = brief::output_of(command, &[], String::new()).map_err(failed)?;
            if !output.status.success() {
                return Err(failed(format!(
                    "`{}`: it ended with {}",
                    command.join(" "),
                    output.status
                )));
            }
            String::from_utf8(output.stdout)
                .map_err(|_| failed(format!("`{}`: it is no UTF-8", command.join(" "))))?
        }
    };
    let value = value.strip_suffix('\n').unwrap_or(&value).to_owned();
    match value.chars().count() {
        0 => Err(missing("is empty".to_owned())),
        // So short a text would be found in everything, and masking it would tell more than it
        // hides.
        count if count < SHORTEST => Err(missing(format!(
            "has {count} characters, and {SHORTEST} are the fewest that can be kept secret"
        ))),
        _ => Ok(value),
    }
}
