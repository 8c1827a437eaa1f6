//! What can be wrong with a journal, in words that say what is untouched and what to do.

use std::borrow::Cow;
use std::path::PathBuf;

use super::store_error::{StoreError, StoreErrorKind};
use crate::run::IllegalEvent;

#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    #[error("the journal at {} could not be {what}: {source}", path.display())]
    Io { path: PathBuf, what: &'static str, source: std::io::Error },
    #[error("the journal's database could not be {what}: {source}")]
    Store { what: &'static str, source: StoreError },
    #[error("{what} cannot be stored, as it could not be read back: {source}; it was not written")]
    Unwritable { what: String, source: serde_json::Error },
    #[error(
        "there is no journal at {}",
        std::path::absolute(.0).unwrap_or_else(|_| .0.clone()).display()
    )]
    Missing(PathBuf),
    #[error("{} belongs to the user {owner}, and this is the user {own}", path.display())]
    Stranger { path: PathBuf, owner: u32, own: u32 },
    #[error(
        "the name of the folder {} is no UTF-8, so that a run that begins in it could not be taken \
         up there again",
        .0.display()
    )]
    FolderName(PathBuf),
    #[error("{} is a symbolic link, and the journal follows none", .0.display())]
    Symlink(PathBuf),
    /// The store cannot be relied on, whatever is in it.
    #[error(transparent)]
    Unfit(Box<dyn std::error::Error + Send + Sync>),
    #[error(
        "the journal was written by a newer version of switchover (schema {found}; this one \
         knows {known})"
    )]
    Newer { found: i64, known: i64 },
    #[error(
        "the guard {0} of the database was removed or changed: what is in it may have been, too"
    )]
    Unguarded(String),
    #[error("there is no run {0} in this journal")]
    NoRun(String),
    #[error("there are no runs in this journal yet")]
    Empty,
    #[error("{prefix} could be any of {}", found.join(", "))]
    Ambiguous { prefix: String, found: Vec<String> },
    #[error("the run {run} is not as it was written: {why}")]
    Altered { run: String, why: String },
    #[error(
        "the journal is an older copy, or a copy of it went on elsewhere: of the run {run}, {why} \
         (noted in {})",
        seen.display()
    )]
    Behind { run: String, why: String, seen: PathBuf },
    #[error("the witness of the run {run} does not let it go on: {why}")]
    Unwitnessed { run: String, why: String },
    #[error("the run {run} is not a legal one: {source}")]
    Illegal { run: String, source: IllegalEvent },
    #[error("the named locks of this machine at {} cannot be used: {source}", path.display())]
    Locks { path: PathBuf, source: std::io::Error },
    #[error("{what} is held by {holder}")]
    Locked { what: String, holder: String },
}

impl JournalError {
    pub fn io(
        path: impl Into<PathBuf>,
        what: &'static str,
    ) -> impl FnOnce(std::io::Error) -> JournalError {
        let path = path.into();
        move |source| JournalError::Io { path, what, source }
    }

    pub fn store<E: Into<StoreError>>(what: &'static str) -> impl FnOnce(E) -> JournalError {
        move |source| JournalError::Store { what, source: source.into() }
    }

    /// Whether it is a refusal (exit 6) and not a failing disk (exit 7).
    pub fn is_refusal(&self) -> bool {
        match self {
            JournalError::Store { source, .. } => source.kind == StoreErrorKind::Corrupt,
            JournalError::Io { .. } | JournalError::Unwritable { .. } => false,
            JournalError::Missing(_)
            | JournalError::Stranger { .. }
            | JournalError::FolderName(_)
            | JournalError::Symlink(_)
            | JournalError::Unfit(_)
            | JournalError::Newer { .. }
            | JournalError::Unguarded(_)
            | JournalError::NoRun(_)
            | JournalError::Empty
            | JournalError::Ambiguous { .. }
            | JournalError::Altered { .. }
            | JournalError::Behind { .. }
            | JournalError::Unwitnessed { .. }
            | JournalError::Illegal { .. }
            | JournalError::Locks { .. }
            | JournalError::Locked { .. } => true,
        }
    }

    /// What to do next.
    pub fn help(&self) -> Option<Cow<'static, str>> {
        Some(Cow::Borrowed(match self {
            JournalError::Stranger { owner, .. } => {
                return Some(Cow::Owned(format!(
                    "nothing was changed. Run it as its owner, for example with `sudo -u \
                     '#{owner}' switchover …`"
                )));
            }
            JournalError::Store { source, .. } if source.kind == StoreErrorKind::Corrupt => {
                "nothing was changed. Keep the whole journal folder as it is, and restore it from \
                 a backup that is complete"
            }
            JournalError::Altered { .. }
            | JournalError::Illegal { .. }
            | JournalError::Unguarded(_) => {
                "nothing was changed. Keep the whole journal folder as it is, restore it from a \
                 backup that is complete, or start a new run after checking by hand what this one \
                 did; `sqlite3 -readonly` shows what can be read"
            }
            JournalError::Behind { .. } => {
                "nothing was changed. Go on with the copy whose last event this machine has noted. \
                 If that is lost for good, look at what its steps did since, then move that note \
                 away"
            }
            JournalError::Unwitnessed { .. } => {
                "no step was begun. If another copy of this journal went on, go on with that one; \
                 if the witness cannot be reached, see to that first"
            }
            JournalError::Locks { .. } => {
                "nothing was changed. Name a folder that all operators can write with \
                 SWITCHOVER_LOCKS"
            }
            JournalError::Locked { .. } => {
                "nothing was changed. Wait until it is done, or end it there"
            }
            JournalError::Io { source, .. }
                if source.kind() == std::io::ErrorKind::PermissionDenied =>
            {
                "nothing was changed. Run it as the user whose journal it is (`ls -l` shows who), \
                 or name another with --journal"
            }
            JournalError::Io { .. } | JournalError::Store { .. } => {
                "check that the disk has room and can be written, then `switchover resume`"
            }
            JournalError::Unwritable { .. } => {
                "tell the maintainers what the step gave; `switchover resume` looks at it again"
            }
            JournalError::Missing(_) => "name the folder with --journal or SWITCHOVER_JOURNAL",
            JournalError::NoRun(_) | JournalError::Ambiguous { .. } | JournalError::Empty => {
                "`switchover list` shows the runs"
            }
            JournalError::FolderName(_) => {
                "nothing was changed. Begin it in a folder with another name"
            }
            JournalError::Symlink(_) => "name the real folder with --journal",
            JournalError::Unfit(_) | JournalError::Newer { .. } => return None,
        }))
    }
}
