//! Digests by which a run is known as evidence for another. Does not know what they prove.

use crate::journal::{JournalError, sha256};
use crate::run::Digest;
use crate::runbook::Runbook;
use crate::runbook::evidence::substance;

/// The SHA-256 of what a runbook's steps do, whatever the environment.
///
/// # Errors
/// If it cannot be written as JSON: what has no text has no digest.
pub(super) fn of_substance(runbook: &Runbook) -> Result<Digest, JournalError> {
    digest_of("what the steps do", &substance(runbook))
}

/// The SHA-256 of a runbook's parameters with their values.
///
/// # Errors
/// As [`of_substance`].
pub(super) fn of_parameters(runbook: &Runbook) -> Result<Digest, JournalError> {
    let parameters: Vec<_> = runbook.scopes[0]
        .parameters
        .iter()
        .map(|(name, parameter)| (name, &parameter.value))
        .collect();
    digest_of("the parameters", &parameters)
}

fn digest_of(what: &str, value: &impl serde::Serialize) -> Result<Digest, JournalError> {
    let text = serde_json::to_string(value)
        .map_err(|source| JournalError::Unwritable { what: what.to_owned(), source })?;
    Ok(sha256(text.as_bytes()))
}
