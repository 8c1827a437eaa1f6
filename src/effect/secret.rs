//! Reads a secret from where it is kept, at the moment of use, and masks it in what comes back. Its value goes nowhere but to
//! the caller.

use std::time::{Duration, Instant};

use hmac::{KeyInit, Mac};
use serde_json::Value as Json;

use super::redactor::Redactor;
use super::{EffectError, Reading};
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

/// The key of the journal's digests of secrets.
pub type MacKey = [u8; 32];

/// Replaces every value by its secret's name, in all that an attempt gave, and adds which secrets it was given.
pub fn mask(result: Result<Reading, EffectError>, secrets: &[(String, String)], key: MacKey) -> Result<Reading, EffectError> {
    if secrets.is_empty() {
        return result;
    }
    let redactor = Redactor::new(secrets);
    match result {
        Ok(mut reading) => {
            reading.names.values_mut().for_each(|value| mask_json(value, &redactor));
            reading.outputs.values_mut().for_each(|value| mask_json(value, &redactor));
            reading.summary = redactor.mask(&reading.summary);
            reading.secrets.extend(secrets.iter().map(|(name, value)| (name.clone(), mac(key, value))));
            Ok(reading)
        }
        Err(error) => Err(EffectError { message: redactor.mask(&error.message), ..error }),
    }
}

fn mask_json(value: &mut Json, redactor: &Redactor) {
    match value {
        Json::String(text) => *text = redactor.mask(text),
        Json::Array(items) => items.iter_mut().for_each(|item| mask_json(item, redactor)),
        Json::Object(entries) => {
            *entries = std::mem::take(entries)
                .into_iter()
                .map(|(key, mut value)| {
                    mask_json(&mut value, redactor);
                    (redactor.mask(&key), value)
                })
                .collect();
        }
        _ => {}
    }
}

/// HMAC-SHA-256 (RFC 2104): whoever has not the key cannot try values against it, as one could with a plain hash.
fn mac(key: MacKey, value: &str) -> String {
    // The key's block has 64 bytes; a shorter key is filled up with zeros.
    let mut block = [0; 64];
    block[..key.len()].copy_from_slice(&key);
    let mut mac = hmac::Hmac::<sha2::Sha256>::new(&block.into());
    mac.update(value.as_bytes());
    mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
}
