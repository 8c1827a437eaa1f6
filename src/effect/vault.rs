//! All secrets that a run has used so far, for everything that masks: whoever reads one puts it
//! here, and from then on it is masked in whatever any step says. It does not know where secrets
//! come from, nor who may have them.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hmac::{KeyInit, Mac};
use serde_json::Value as Json;

use super::redactor::Redactor;
use super::{EffectError, Reading, Used, secret};
use crate::runbook::Secret;

/// The key of the journal's digests of secrets.
pub type MacKey = [u8; 32];

/// Shared by a session, its actions and its readings. A clone is the same vault.
#[derive(Clone, Default)]
pub struct Vault {
    /// Whether the run declares secrets: only then may a command's output ever need masking.
    expects: bool,
    key: MacKey,
    /// Where steps leave secrets.
    folder: PathBuf,
    known: Arc<Mutex<Known>>,
}

#[derive(Default)]
struct Known {
    /// By name. Two runbooks of a run may call different values the same.
    secrets: Vec<(String, String)>,
    /// Made when it is needed, for all of them.
    redactor: Option<Redactor>,
}

// Values must not get into a log by way of `{:?}`.
impl std::fmt::Debug for Vault {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Vault")
    }
}

impl Vault {
    /// The vault of a run that declares secrets; of one that declares none it is the default. In
    /// `folder` steps leave secrets.
    pub fn new(key: MacKey, folder: PathBuf) -> Vault {
        Vault { expects: true, key, folder, known: Arc::default() }
    }

    /// Where a step leaves a secret.
    pub fn path_of(&self, file: &str) -> PathBuf {
        self.folder.join(file)
    }

    /// Makes durable what a step left, with the folders that lead to it from the run's own.
    ///
    /// # Errors
    /// If it is not there, is no regular file, or cannot be made durable.
    pub fn settle(&self, file: &str) -> std::io::Result<()> {
        let path = self.path_of(file);
        crate::file::open(&path)?.sync_all()?;
        let above = self.folder.parent().unwrap_or(&self.folder);
        path.ancestors()
            .skip(1)
            .take_while(|folder| folder.starts_with(above))
            .try_for_each(|folder| File::open(folder)?.sync_all())
    }

    /// Whether the run declares secrets.
    pub fn expects(&self) -> bool {
        self.expects
    }

    /// The value of a secret, now; from now on it is masked.
    ///
    /// # Errors
    /// If it cannot be had.
    pub fn read(&self, name: &str, source: &Secret) -> Result<String, EffectError> {
        let value = secret::read(name, source, &self.folder)?;
        self.learn(name, &value);
        Ok(value)
    }

    fn learn(&self, name: &str, value: &str) {
        let mut known = self.known();
        let is_known = known.secrets.iter().any(|(_, known)| known == value);
        if !is_known {
            known.secrets.push((name.to_owned(), value.to_owned()));
            known.redactor = None;
        }
    }

    /// All that is to be masked, by name.
    pub fn secrets(&self) -> Vec<(String, String)> {
        self.known().secrets.clone()
    }

    /// The text with the secrets' names in their place.
    pub fn mask(&self, text: &str) -> String {
        self.redactor().map_or_else(|| text.to_owned(), |redactor| redactor.mask(text))
    }

    /// The same, of a file that a command wrote about itself. What cannot be masked is removed.
    pub fn mask_file(&self, path: &Path) {
        if let Some(redactor) = self.redactor() {
            let _ = redactor.mask_file(path);
        }
    }

    /// The same, of every text in a value.
    pub fn mask_json(&self, value: &mut Json) {
        if let Some(redactor) = self.redactor() {
            mask_json(value, &redactor);
        }
    }

    /// The same, of all that an attempt gave; adds which secrets it was itself given.
    pub fn mask_result(
        &self,
        result: Result<Reading, EffectError>,
        used: &Used,
    ) -> Result<Reading, EffectError> {
        let Some(redactor) = self.redactor() else { return result };
        match result {
            Ok(mut reading) => {
                reading.names.values_mut().for_each(|value| mask_json(value, &redactor));
                // A name of an output may be made of a secret too.
                reading.outputs = std::mem::take(&mut reading.outputs)
                    .into_iter()
                    .map(|(name, mut value)| {
                        mask_json(&mut value, &redactor);
                        (redactor.mask(&name), value)
                    })
                    .collect();
                reading.summary = redactor.mask(&reading.summary);
                reading
                    .secrets
                    .extend(used.iter().map(|(name, value)| (name.clone(), self.digest(value))));
                Ok(reading)
            }
            Err(error) => Err(EffectError { message: redactor.mask(&error.message), ..error }),
        }
    }

    fn redactor(&self) -> Option<Redactor> {
        if !self.expects {
            return None;
        }
        let mut known = self.known();
        if known.redactor.is_none() && !known.secrets.is_empty() {
            known.redactor = Some(Redactor::new(&known.secrets));
        }
        known.redactor.clone()
    }

    /// HMAC-SHA-256 (RFC 2104): whoever has not the key cannot try values against it, as one could
    /// with a plain hash.
    pub fn digest(&self, value: &str) -> String {
        // The key's block has 64 bytes; a shorter key is filled up with zeros.
        let mut block = [0; 64];
        block[..self.key.len()].copy_from_slice(&self.key);
        let mut mac = hmac::Hmac::<sha2::Sha256>::new(&block.into());
        mac.update(value.as_bytes());
        data_encoding::HEXLOWER.encode(&mac.finalize().into_bytes())
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
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
        // A secret of digits alone may come back as a number.
        Json::Number(number) => {
            let text = number.to_string();
            let masked = redactor.mask(&text);
            if masked != text {
                *value = Json::String(masked);
            }
        }
        Json::Bool(_) | Json::Null => {}
    }
}
