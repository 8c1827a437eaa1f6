//! Why a certification could not be made, and why one of its runs could not be judged.

use std::path::PathBuf;
use std::process::ExitStatus;

use crate::journal::JournalError;
use crate::operate::OperateError;

/// Nothing was certified.
#[derive(Debug, thiserror::Error)]
pub enum CertifyError {
    #[error("{why}")]
    NoStandIn { why: String },
    #[error("no scratch journal can be made below {}: {source}", folder.display())]
    Scratch { folder: PathBuf, source: std::io::Error },
    /// What the executor that is to die was given to carry out.
    #[error("{} cannot be read: {why}", path.display())]
    Unreadable { path: PathBuf, why: Unreadable },
    #[error(transparent)]
    Operate(#[from] OperateError),
}

/// Why the file of a runbook cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    #[error(transparent)]
    Io(#[from] std::io::Error),
    #[error(transparent)]
    Json(#[from] serde_json::Error),
}

/// A run that went so that nothing can be said of its end.
#[derive(Debug, thiserror::Error)]
pub(super) enum TrialError {
    #[error("{}: {source}", folder.display())]
    Folder { folder: PathBuf, source: std::io::Error },
    #[error(transparent)]
    NoProgram(std::io::Error),
    #[error("the program could not be begun: {source}")]
    NotBegun { source: std::io::Error },
    #[error("the run ended with {status}: {last_words}")]
    Ended { status: ExitStatus, last_words: String },
    #[error("`{verb}` ended with exit {code}: {last_words}")]
    Verb { verb: String, code: i32, last_words: String },
    #[error("`{verb}` was ended from outside: {status}")]
    FromOutside { verb: String, status: ExitStatus },
    #[error(transparent)]
    Journal(#[from] JournalError),
    #[error("{file} is not as it was written, or is missing")]
    Altered { file: String },
    #[error("the witness cannot be read: {source}")]
    Witness { source: std::io::Error },
    /// The witness holds what no stand-in writes.
    #[error("{why}")]
    NoWitness { why: String },
    #[error("the marks cannot be read: {source}")]
    Marks { source: std::io::Error },
    #[error("the outbox cannot be read: {source}")]
    Outbox { source: std::io::Error },
}
