//! What kind of failure an error of SQLite is. Knows no words for people.

use rusqlite::{Error, ErrorCode};

use super::super::store_error::{StoreError, StoreErrorKind};

impl From<Error> for StoreError {
    fn from(error: Error) -> StoreError {
        StoreError { kind: kind(&error), source: Box::new(error) }
    }
}

fn kind(error: &Error) -> StoreErrorKind {
    // Our own statements are right, so what does not fit them is not what was written.
    let is_unfit = matches!(
        error,
        Error::InvalidColumnType(..)
            | Error::FromSqlConversionFailure(..)
            | Error::IntegralValueOutOfRange(..)
            | Error::Utf8Error(..)
            | Error::SqlInputError { .. }
    );
    if is_unfit {
        return StoreErrorKind::Corrupt;
    }
    let Some(said) = error.sqlite_error() else { return StoreErrorKind::Other };
    match said.code {
        ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase | ErrorCode::Unknown => {
            StoreErrorKind::Corrupt
        }
        ErrorCode::SystemIoFailure
            if said.extended_code == rusqlite::ffi::SQLITE_IOERR_SHORT_READ =>
        {
            StoreErrorKind::Corrupt
        }
        ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => StoreErrorKind::Busy,
        ErrorCode::DiskFull => StoreErrorKind::Full,
        ErrorCode::ReadOnly => StoreErrorKind::ReadOnly,
        ErrorCode::CannotOpen => StoreErrorKind::CannotOpen,
        _ => StoreErrorKind::Other,
    }
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;
    use rusqlite::ffi::{self, Error as Code};

    use super::*;

    #[test]
    fn the_kind_of_a_failure_is_told_by_its_code() {
        for (code, expected) in [
            (ffi::SQLITE_BUSY, StoreErrorKind::Busy),
            (ffi::SQLITE_LOCKED, StoreErrorKind::Busy),
            (ffi::SQLITE_CORRUPT, StoreErrorKind::Corrupt),
            (ffi::SQLITE_NOTADB, StoreErrorKind::Corrupt),
            (ffi::SQLITE_IOERR_SHORT_READ, StoreErrorKind::Corrupt),
            (ffi::SQLITE_IOERR_FSYNC, StoreErrorKind::Other),
            (ffi::SQLITE_FULL, StoreErrorKind::Full),
            (ffi::SQLITE_READONLY, StoreErrorKind::ReadOnly),
            (ffi::SQLITE_CANTOPEN, StoreErrorKind::CannotOpen),
            (ffi::SQLITE_CONSTRAINT, StoreErrorKind::Other),
        ] {
            assert_eq!(kind(&Error::SqliteFailure(Code::new(code), None)), expected, "{code}");
        }
    }

    #[test]
    fn what_does_not_fit_our_statements_is_damage() {
        let db = Connection::open_in_memory().unwrap();
        let read = |sql: &str| db.query_row(sql, [], |row| row.get::<_, String>(0));
        for sql in ["SELECT 7", "SELECT body FROM events", "SELECT CAST(x'ff' AS TEXT)"] {
            assert_eq!(kind(&read(sql).unwrap_err()), StoreErrorKind::Corrupt, "{sql}");
        }
    }
}
