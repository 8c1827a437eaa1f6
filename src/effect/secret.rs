//! Reads a secret from where it is kept, at the moment of use, and masks it in what comes back. Its value goes nowhere but to
//! the caller.

use serde_json::Value as Json;

use super::{EffectError, Reading};
use crate::runbook::Secret;

/// The fewest characters of a secret.
const SHORTEST: usize = 6;

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
    match value.chars().count() {
        0 => Err(missing("is empty".to_owned())),
        // So short a text would be found in everything, and masking it would tell more than it hides.
        count if count < SHORTEST => Err(missing(format!("has {count} characters, and {SHORTEST} are the fewest that can be kept secret"))),
        _ => Ok(value),
    }
}

/// Replaces every value by its secret's name, in all that an attempt gave.
pub fn mask(result: Result<Reading, EffectError>, secrets: &[(String, String)]) -> Result<Reading, EffectError> {
    if secrets.is_empty() {
        return result;
    }
    match result {
        Ok(mut reading) => {
            reading.names.values_mut().for_each(|value| mask_json(value, secrets));
            reading.outputs.values_mut().for_each(|value| mask_json(value, secrets));
            reading.summary = mask_text(&reading.summary, secrets);
            Ok(reading)
        }
        Err(error) => Err(EffectError { message: mask_text(&error.message, secrets), ..error }),
    }
}

fn mask_json(value: &mut Json, secrets: &[(String, String)]) {
    match value {
        Json::String(text) => *text = mask_text(text, secrets),
        Json::Array(items) => items.iter_mut().for_each(|item| mask_json(item, secrets)),
        Json::Object(entries) => {
            *entries = std::mem::take(entries)
                .into_iter()
                .map(|(key, mut value)| {
                    mask_json(&mut value, secrets);
                    (mask_text(&key, secrets), value)
                })
                .collect();
        }
        _ => {}
    }
}

fn mask_text(text: &str, secrets: &[(String, String)]) -> String {
    secrets.iter().fold(text.to_owned(), |text, (name, value)| text.replace(value.as_str(), &format!("(the secret {name})")))
}
