//! Locks that live exactly as long as the process that holds them: an open descriptor, no row and
//! no expiry. A run's lock lies beside it; the locks that runbooks name lie in one place of the
//! machine, for all journals and all users, and are not free either as long as a command lives that
//! a killed executor left.

use std::fmt;
use std::fs::{DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io::{ErrorKind, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::error::JournalError;
use super::files;
use crate::file;
use crate::run::{Moment, Person};

/// How much of what stands in a lock's file is read, in bytes.
const MOST: u64 = 64 << 10;

/// How much of each text in it is told, in characters.
const MOST_TOLD: usize = 200;

/// Who holds a lock, as written into its file for others to read.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Holder {
    pub operator: Person,
    pub run: String,
    pub process: u32,
    #[serde(default)]
    pub host: String,
    pub since: Moment,
    /// Of a named lock, the run's folder: what its commands hold lies there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub folder: Option<PathBuf>,
}

/// A lock that is held until this is dropped. Its file names the last holder also after that, by
/// which the next one finds commands that a killed one left, unless it was released.
#[derive(Debug)]
pub struct Held {
    file: File,
}

impl Held {
    /// Takes the lock at `path`; `what` names it for people.
    ///
    /// # Errors
    /// [`JournalError::Locked`] with the holder, if somebody else has it.
    pub fn take(path: &Path, what: &str, holder: &Holder) -> Result<Held, JournalError> {
        Held::lock(files::open_private(path)?, path, what, holder)
    }

    /// Takes a lock that other users of the machine may want too.
    ///
    /// # Errors
    /// As [`Held::take`].
    pub fn take_shared(path: &Path, name: &str, holder: &Holder) -> Result<Held, JournalError> {
        files::refuse_symlink(path)?;
        let mut options = OpenOptions::new();
        options.read(true).write(true);
        // One that is there is opened as it is: where everybody may write, nobody may `create`
        // another user's file.
        let file = match file::open_as(&mut options, path) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let made = file::open_as(options.create(true), path);
                made.inspect(|file| drop(file.set_permissions(Permissions::from_mode(0o666))))
            }
            opened => opened,
        };
        Held::lock(
            file.map_err(|source| JournalError::Locks { path: path.to_owned(), source })?,
            path,
            &format!("the lock {name}"),
            holder,
        )
    }

    fn lock(
        mut file: File,
        path: &Path,
        what: &str,
        holder: &Holder,
    ) -> Result<Held, JournalError> {
        match hold(&file) {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let holder = holder_of(&mut file)
                    .map_or_else(|| "another process".to_owned(), |holder| holder.to_string());
                return Err(JournalError::Locked { what: what.to_owned(), holder });
            }
            Err(TryLockError::Error(error)) => return Err(JournalError::io(path, "locked")(error)),
        }
        let left = holder_of(&mut file)
            .filter(|before| before.folder.is_some() && before.folder != holder.folder);
        if let Some((before, folder)) =
            left.and_then(|before| Some((before.to_string(), before.folder?)))
        {
            let why = match has_locked_files(&folder) {
                Ok(false) => None,
                Ok(true) => Some(format!(
                    "which was killed, but commands of it still run; its run lies in {}",
                    folder.display()
                )),
                Err(error) => {
                    let (folder, path) = (folder.display(), path.display());
                    Some(format!(
                        "which was killed; whether commands of it still run cannot be seen \
                         in {folder}: {error}. If none does, empty {path}"
                    ))
                }
            };
            if let Some(why) = why {
                return Err(JournalError::Locked {
                    what: what.to_owned(),
                    holder: format!("{before}, {why}"),
                });
            }
        }
        // What stands in the file is for people only; the lock is the descriptor.
        let text = serde_json::to_vec(holder).map_err(std::io::Error::from);
        let _ = text.and_then(|text| {
            file.set_len(0).and_then(|()| file.rewind()).and_then(|()| file.write_all(&text))
        });
        Ok(Held { file })
    }

    /// Says that nothing of its holder lives any more.
    pub fn release(self) {
        let _ = self.file.set_len(0);
    }

    /// Who holds the lock at `path`, if anybody does now.
    pub fn holder(path: &Path) -> Option<Holder> {
        let mut file = file::open(path).ok()?;
        match file.try_lock_shared() {
            Err(TryLockError::WouldBlock) => holder_of(&mut file),
            _ => None,
        }
    }
}

/// Takes the lock on a file, which lives as long as the file is open.
pub(super) fn hold(file: &File) -> Result<(), TryLockError> {
    let mut taken = file.try_lock();
    // Who only looks who holds it has it for a moment too.
    for _ in 0..20 {
        if !matches!(taken, Err(TryLockError::WouldBlock)) {
            break;
        }
        std::thread::sleep(Duration::from_millis(5));
        taken = file.try_lock();
    }
    taken
}

impl fmt::Display for Holder {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Holder { operator: Person(operator), run, process, host, since, .. } = self;
        // Whoever may write the file may write what it likes, and as much.
        let [operator, run, host] =
            [operator, run, host].map(|text| text.chars().take(MOST_TOLD).collect::<String>());
        write!(out, "{operator} with the run {run} (process {process} on {host}) since {since}")
    }
}

/// Whether a keeper or a command of a run lives: the one holds a lock on the session's record, the
/// other on its output. No other file is touched, whatever folder is named.
fn has_locked_files(folder: &Path) -> std::io::Result<bool> {
    let is_record = |name: &str| name.starts_with("commands-");
    Ok(has_locked(folder, &is_record)?
        || has_locked(&folder.join("logs"), &|name| name.ends_with(".out"))?)
}

fn has_locked(folder: &Path, is_meant: &dyn Fn(&str) -> bool) -> std::io::Result<bool> {
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        if !is_meant(&entry.file_name().to_string_lossy()) || !entry.file_type()?.is_file() {
            continue;
        }
        match file::open_as(OpenOptions::new().append(true), &entry.path()) {
            Ok(file) if matches!(file.try_lock(), Err(TryLockError::WouldBlock)) => {
                return Ok(true);
            }
            // A log that was removed meanwhile belongs to nobody.
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(false)
}

fn holder_of(file: &mut File) -> Option<Holder> {
    let mut text = String::new();
    file.rewind().ok()?;
    // Whatever somebody else made of it.
    file.take(MOST).read_to_string(&mut text).ok()?;
    serde_json::from_str(&text).ok()
}

/// Where the named locks of this machine lie: `$SWITCHOVER_LOCKS`, else `/run/lock/switchover`,
/// else a folder beside temporary files. Everybody may make files there, and nobody may remove
/// another's.
///
/// # Errors
/// If it cannot be made, is a symbolic link, or could lose what lies in it.
pub fn machine_folder() -> Result<PathBuf, JournalError> {
    let (folder, is_given) = place();
    files::refuse_symlink(&folder)?;
    if !folder.is_dir() {
        let made = DirBuilder::new().recursive(true).mode(0o1777).create(&folder);
        // The mask of the process took some of it away.
        let made =
            made.and_then(|()| std::fs::set_permissions(&folder, Permissions::from_mode(0o1777)));
        // Another may have made it at the same moment.
        made.or_else(|source| {
            if folder.is_dir() {
                Ok(())
            } else {
                Err(JournalError::Locks { path: folder.clone(), source })
            }
        })?;
    }
    if !is_given {
        is_trusted(&folder)
            .map_err(|source| JournalError::Locks { path: folder.clone(), source })?;
    }
    Ok(folder)
}

/// The path of that folder, whether or not it is there, and whether the operator named it.
pub fn place() -> (PathBuf, bool) {
    let usual = Path::new("/run/lock");
    match std::env::var_os("SWITCHOVER_LOCKS").filter(|given| !given.is_empty()) {
        Some(given) => (PathBuf::from(given), true),
        None if usual.is_dir() => (usual.join("switchover"), false),
        None => (std::env::temp_dir().join("switchover-locks"), false),
    }
}

/// Whether the usual folder is root's or one's own: somebody else's may lose what lies in it. So
/// may one in which everybody may remove what is another's.
fn is_trusted(folder: &Path) -> std::io::Result<()> {
    let (found, own) = (std::fs::metadata(folder)?, rustix::process::geteuid().as_raw());
    let why = match (found.uid(), found.mode()) {
        (owner, _) if owner != 0 && owner != own => {
            format!("it belongs to the user {owner}, who is neither root nor you")
        }
        (_, mode) if mode & 0o022 != 0 && mode & 0o1000 == 0 => {
            "others may remove what lies in it; `chmod +t` it".to_owned()
        }
        _ => return Ok(()),
    };
    Err(std::io::Error::new(ErrorKind::PermissionDenied, why))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_in_which_others_may_remove_locks_is_not_trusted() {
        let folder = tempfile::tempdir().unwrap();
        for (mode, is_fine) in [(0o1777, true), (0o755, true), (0o777, false), (0o775, false)] {
            std::fs::set_permissions(folder.path(), Permissions::from_mode(mode)).unwrap();
            assert_eq!(is_trusted(folder.path()).is_ok(), is_fine, "{mode:o}");
        }
    }
}
