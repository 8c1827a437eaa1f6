//! Reads a secret from where it is kept, at the moment of use. Its value goes nowhere but to the caller.

use super::EffectError;
use crate::runbook::Secret;

pub fn read(name: &str, source: &Secret) -> Result<String, EffectError> {
    let missing = |why: String| EffectError::before(format!("the secret `{name}` {why}"));
    let value = match source {
        Secret::Env(variable) => std::env::var(variable)
            .map_err(|_| missing(format!("is to come from the environment variable {variable}, which is not set")))?,
        Secret::File(path) => std::fs::read_to_string(path).map_err(|error| missing(format!("is to come from {path}: {error}")))?,
        Secret::Command(command) => {
            let (program, arguments) = command.split_first().ok_or_else(|| missing("has an empty command".to_owned()))?;
            duct::cmd(program, arguments)
                .stdin_null()
                .stderr_null()
                .read()
                .map_err(|error| missing(format!("is to come from `{program}`: {error}")))?
        }
    };
    let value = value.strip_suffix('\n').unwrap_or(&value).to_owned();
    if value.is_empty() { Err(missing("is empty".to_owned())) } else { Ok(value) }
}
