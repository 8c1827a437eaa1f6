//! Opens files that somebody else may have made: a command, or another user of the machine. What is
//! not a regular file (a FIFO, a device, a link, a socket, a folder) is an error and never waited
//! for, and no more is read than was asked for. It does not know what the files are for.

use std::fs::{File, OpenOptions};
use std::io::{Error, ErrorKind, Read, Result, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::OFlags;

/// Follows no link at the end of a path, and waits for nobody at the other end of a FIFO.
const CAREFUL: i32 = OFlags::NOFOLLOW.union(OFlags::NONBLOCK).bits() as i32;

/// Opens a regular file to read it.
///
/// # Errors
/// If it is not there, is a link or no regular file, or may not be read.
pub fn open(path: &Path) -> Result<File> {
    open_as(OpenOptions::new().read(true), path)
}

/// Opens a regular file as the options say; one that they make is for its owner only.
///
/// # Errors
/// As [`open`].
pub fn open_as(options: &mut OpenOptions, path: &Path) -> Result<File> {
    let file =
        options.mode(0o600).custom_flags(CAREFUL).open(path).map_err(|error| told(error, path))?;
    regular(file)
}

/// The file, if it is a regular one.
///
/// # Errors
/// If it is none.
pub fn regular(file: File) -> Result<File> {
    let kind = file.metadata()?.file_type();
    if kind.is_file() {
        Ok(file)
    } else {
        Err(Error::new(ErrorKind::InvalidInput, "it is no regular file"))
    }
}

/// Why a path was not opened, where the system's own words do not tell.
fn told(error: Error, path: &Path) -> Error {
    match path.symlink_metadata() {
        Ok(found) if found.is_symlink() => {
            Error::new(ErrorKind::InvalidInput, "it is a symbolic link, which is not followed")
        }
        Ok(found) if !found.is_file() => {
            Error::new(ErrorKind::InvalidInput, "it is no regular file")
        }
        _ => error,
    }
}

/// The whole content of a file that has at most so many bytes.
///
/// # Errors
/// As [`open`]; and [`ErrorKind::FileTooLarge`] if it has more.
pub fn read(path: &Path, most: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open(path)?.take(most + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        return Err(Error::new(ErrorKind::FileTooLarge, format!("it has more than {most} bytes")));
    }
    Ok(bytes)
}

/// The last bytes of a file, at most so many, and how many it has in all.
///
/// # Errors
/// As [`open`].
pub fn read_end(path: &Path, most: u64) -> Result<(Vec<u8>, u64)> {
    let mut file = open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(most)))?;
    let mut bytes = Vec::new();
    file.take(most).read_to_end(&mut bytes)?;
    Ok((bytes, length))
}

/// Removes a file, if it is there.
///
/// # Errors
/// If it is there and cannot be removed, or is a folder.
pub fn remove(path: &Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_regular_files_are_opened_and_nothing_is_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        std::fs::write(path("file"), "0123456789").unwrap();
        std::os::unix::fs::symlink(path("file"), path("link")).unwrap();
        std::fs::create_dir(path("folder")).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(path("socket")).unwrap();
        assert!(std::process::Command::new("mkfifo").arg(path("fifo")).status().unwrap().success());
        for name in ["link", "folder", "socket", "fifo"] {
            let read = open(&path(name)).unwrap_err().to_string();
            let mut options = OpenOptions::new();
            let append =
                open_as(options.append(true).create(true), &path(name)).unwrap_err().to_string();
            for error in [read, append] {
                assert!(
                    error.contains("symbolic link") || error.contains("no regular file"),
                    "{name}: {error}"
                );
            }
        }
        assert!(open(Path::new("/dev/zero")).is_err());
        assert_eq!(open(&path("none")).unwrap_err().kind(), ErrorKind::NotFound);
        assert_eq!(read(&path("file"), 10).unwrap(), b"0123456789");
        assert_eq!(read(&path("file"), 9).unwrap_err().kind(), ErrorKind::FileTooLarge);
        assert_eq!(read_end(&path("file"), 3).unwrap(), (b"789".to_vec(), 10));
    }
}
