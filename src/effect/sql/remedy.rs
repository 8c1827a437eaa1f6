//! What to do about an error of a server, where that is not the server's own to say.

use std::error::Error as _;
use std::io::ErrorKind;

use mysql_async::{DriverError, Error, IoError};

use crate::effect::EffectError;

/// The error of a connection that was not made. A login that is refused is so until there is
/// another one.
pub fn unconnected(place: &str, words: &str, remedy: &str) -> EffectError {
    let message = format!("{place}: {words}{remedy}");
    if remedy == LOGIN { EffectError::shut(message) } else { EffectError::before(message) }
}

/// What to do next, or nothing.
pub fn of_postgres(error: &postgres::Error) -> &'static str {
    match error.code().map(|code| code.code()) {
        Some("28P01" | "28000") => LOGIN,
        Some("3D000") => DATABASE,
        Some("53100") => DISK,
        Some(_) => "",
        None if error.source().is_some_and(|source| {
            source.downcast_ref::<std::io::Error>().is_some_and(is_unreachable)
        }) =>
        {
            REACH
        }
        None if error.to_string().contains("TLS") => TLS,
        None => "",
    }
}

pub fn of_mysql(error: &Error) -> &'static str {
    match error {
        Error::Server(said) => match said.code {
            1045 => LOGIN,
            1044 | 1049 => DATABASE,
            1021 | 1114 => DISK,
            _ => "",
        },
        Error::Driver(DriverError::NoClientSslFlagFromServer) | Error::Io(IoError::Tls(_)) => TLS,
        Error::Io(IoError::Io(error)) if is_unreachable(error) => REACH,
        // The reason is in its words only.
        other if other.to_string().contains("certificate") => TLS,
        _ => "",
    }
}

pub fn of_sqlite(error: &rusqlite::Error) -> &'static str {
    match error.sqlite_error_code() {
        Some(rusqlite::ErrorCode::DiskFull) => DISK,
        _ => "",
    }
}

const LOGIN: &str = "\nremedy: see that `user` and the secret of `password` are the server's, and \
    that it lets this machine in";
const DATABASE: &str =
    "\nremedy: see that `database` is one of the server's, and that `user` may use it";
const REACH: &str = "\nremedy: see that the server runs, and that `host` and `port` are where this \
    machine reaches it";
const TLS: &str = "\nremedy: see that the server offers TLS with a certificate for `host` by an \
    authority in `ca`; or say `tls: none` if the way there is safe";
const DISK: &str = "\nremedy: make room there, and go on: what is there already is kept";

fn is_unreachable(error: &std::io::Error) -> bool {
    use ErrorKind::*;
    matches!(
        error.kind(),
        ConnectionRefused
            | HostUnreachable
            | NetworkUnreachable
            | TimedOut
            | NotFound
            | AddrNotAvailable
    ) || error.to_string().contains("failed to lookup")
}
