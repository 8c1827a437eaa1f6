//! Why a store could not do what it was asked to, by what follows from it. Knows no store.

/// A failure of a store.
#[derive(Debug, thiserror::Error)]
#[error("{source}")]
pub struct StoreError {
    pub kind: StoreErrorKind,
    pub source: Box<dyn std::error::Error + Send + Sync>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreErrorKind {
    /// Another process holds it.
    Busy,
    /// What is in it is not what was written.
    Corrupt,
    /// There is no room.
    Full,
    /// It would have to be written, and may only be read.
    ReadOnly,
    /// A file that it needs cannot be opened or made.
    CannotOpen,
    Other,
}
