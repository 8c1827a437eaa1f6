//! Files and folders of the journal, for nobody else to read, and never through a symbolic link.

use std::fs::{DirBuilder, File, Metadata, OpenOptions, Permissions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use super::error::JournalError;
use crate::run::{Digest, Log};

/// The files of one attempt, beside each other under one stem.
#[derive(Debug, Clone)]
pub struct AttemptFiles {
    folder: PathBuf,
    stem: String,
}

impl AttemptFiles {
    /// `folder` is the journal's, `stem` the path below it without an ending.
    pub fn new(folder: &Path, stem: String) -> AttemptFiles {
        AttemptFiles { folder: folder.to_owned(), stem }
    }

    /// The file with this ending: `out`, `err`, `output`, `checkpoint`, `progress`.
    pub fn path(&self, ending: &str) -> PathBuf {
        self.folder.join(format!("{}.{ending}", self.stem))
    }

    /// The common part of all its files' paths.
    pub fn path_stem(&self) -> PathBuf {
        self.folder.join(&self.stem)
    }

    /// Size and digest of an output file; `None` for one that is empty or not there, and for one
    /// that cannot be read: the end of an attempt is journaled whatever became of its output.
    pub fn log(&self, ending: &str) -> Option<Log> {
        let path = self.path(ending);
        let bytes = std::fs::symlink_metadata(&path)
            .ok()
            .map(|found| found.len())
            .filter(|bytes| *bytes > 0)?;
        let sha256 = digest_of(&path, bytes).ok()?;
        Some(Log { file: format!("{}.{ending}", self.stem), bytes, sha256 })
    }
}

/// The SHA-256 of some bytes.
pub fn sha256(bytes: &[u8]) -> Digest {
    Digest(hex(&Sha256::digest(bytes)))
}

pub fn hex(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(bytes)
}

/// The SHA-256 of a file's first so many bytes: what a process left behind adds later is not what
/// an event speaks of.
///
/// # Errors
/// If it cannot be read.
pub fn digest_of(path: &Path, bytes: u64) -> std::io::Result<Digest> {
    let (mut file, mut hasher, mut buffer) =
        (crate::file::open(path)?.take(bytes), Sha256::new(), vec![0; 64 << 10]);
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(Digest(hex(&hasher.finalize()))),
            count => hasher.update(&buffer[..count]),
        }
    }
}

/// Makes a folder of mode 0700, durably, if it is not there. One that is there must be one's own,
/// and becomes private; a symbolic link in its place is refused. Says whether others could use it
/// before.
///
/// # Errors
/// If it cannot be made, is somebody else's, or is a symbolic link.
pub fn folder(path: &Path) -> Result<bool, JournalError> {
    refuse_symlink(path)?;
    if !path.is_dir() {
        let missing: Vec<&Path> = path.ancestors().take_while(|part| !part.is_dir()).collect();
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .map_err(JournalError::io(path, "created"))?;
        missing.into_iter().try_for_each(sync_place)?;
    }
    keep_private(path)
}

/// Makes durable that a file or folder is there: a loss of power may otherwise take it with all
/// that was synced in it.
///
/// # Errors
/// If the folder above cannot be synced.
pub fn sync_place(path: &Path) -> Result<(), JournalError> {
    // A name without a folder lies in the working one; the root has none above it.
    let above = path.parent().filter(|above| *above != Path::new("")).unwrap_or(Path::new("."));
    match File::open(above).and_then(|folder| folder.sync_all()) {
        // Whoever may not look into a folder cannot sync it either. It is not one of the journal's.
        Err(error) if error.kind() == ErrorKind::PermissionDenied => Ok(()),
        synced => synced.map_err(JournalError::io(above, "made durable")),
    }
}

/// A symbolic link is not followed.
///
/// # Errors
/// [`JournalError::Symlink`] if it is one. What cannot be looked at is refused by whoever opens it.
pub fn refuse_symlink(path: &Path) -> Result<(), JournalError> {
    match std::fs::symlink_metadata(path) {
        Ok(found) if found.is_symlink() => Err(JournalError::Symlink(path.to_owned())),
        _ => Ok(()),
    }
}

/// Opens a file of mode 0600 for reading and writing, made if it is not there.
///
/// # Errors
/// If it cannot be opened, is somebody else's, or is a symbolic link.
pub fn open_private(path: &Path) -> Result<File, JournalError> {
    refuse_symlink(path)?;
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    let file =
        crate::file::open_as(&mut options, path).map_err(JournalError::io(path, "opened"))?;
    keep_private(path)?;
    Ok(file)
}

/// Whether a file or folder belongs to whoever runs the program; what belongs to somebody else may
/// say what they like.
///
/// # Errors
/// [`JournalError::Stranger`] if it does not.
pub fn is_own(found: &Metadata, path: &Path) -> Result<(), JournalError> {
    let own = rustix::process::geteuid().as_raw();
    if found.uid() == own {
        return Ok(());
    }
    Err(JournalError::Stranger { path: path.to_owned(), owner: found.uid(), own })
}

/// Takes away from others what they may do with an own file or folder; whether they could do
/// anything.
///
/// # Errors
/// If it is somebody else's, or a symbolic link.
pub fn keep_private(path: &Path) -> Result<bool, JournalError> {
    refuse_symlink(path)?;
    let found = std::fs::metadata(path).map_err(JournalError::io(path, "read"))?;
    is_own(&found, path)?;
    let was_open = found.mode() & 0o077 != 0;
    if was_open {
        let private = Permissions::from_mode(found.mode() & 0o700);
        std::fs::set_permissions(path, private).map_err(JournalError::io(path, "made private"))?;
    }
    Ok(was_open)
}

/// The same for one that need not be there.
///
/// # Errors
/// As [`keep_private`].
pub fn keep_private_if_there(path: &Path) -> Result<(), JournalError> {
    match keep_private(path) {
        Err(JournalError::Io { source, .. }) if source.kind() == ErrorKind::NotFound => Ok(()),
        kept => kept.map(drop),
    }
}

/// Keeps private all that lies in a folder, however deep. What is no file and no folder is left
/// alone: nothing of the journal is.
///
/// # Errors
/// If anything in it is somebody else's.
pub fn keep_all_private(folder: &Path) -> Result<(), JournalError> {
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).map_err(JournalError::io(&folder, "read"))? {
            let path = entry.map_err(JournalError::io(&folder, "read"))?.path();
            let found =
                std::fs::symlink_metadata(&path).map_err(JournalError::io(&path, "read"))?;
            is_own(&found, &path)?;
            if found.is_dir() || found.is_file() {
                keep_private(&path)?;
            }
            if found.is_dir() {
                folders.push(path);
            }
        }
    }
    Ok(())
}

/// 128 random bits of the kernel, in hexadecimal.
///
/// # Errors
/// If the kernel gives none.
pub fn random_hex() -> Result<String, JournalError> {
    let mut bytes = [0; 16];
    let source = Path::new("/dev/urandom");
    File::open(source)
        .and_then(|mut file| file.read_exact(&mut bytes))
        .map_err(JournalError::io(source, "read"))?;
    Ok(hex(&bytes))
}

/// Writes a whole file of mode 0600 under its name at once, durably: it is there complete or not at
/// all.
///
/// # Errors
/// If it cannot be made durable; what was there before is still there then.
pub fn write_whole(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let temporary = path.with_extension("partial");
    let mut file = crate::file::open_as(
        OpenOptions::new().write(true).create(true).truncate(true),
        &temporary,
    )?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&temporary, path)?;
    sync_place(path).map_err(std::io::Error::other)
}

/// Random bytes that stay the same from their first use on: a file that is made whole or not at
/// all, and is durable when this returns, whoever made it.
///
/// # Errors
/// If they cannot be made or read.
pub fn random_once(path: &Path) -> Result<[u8; 32], JournalError> {
    refuse_symlink(path)?;
    if !path.exists() {
        let mut bytes = [0; 32];
        File::open("/dev/urandom")
            .and_then(|mut source| source.read_exact(&mut bytes))
            .map_err(JournalError::io(path, "made"))?;
        let temporary = path.with_extension(std::process::id().to_string());
        let mut file = open_private(&temporary)?;
        file.write_all(&bytes)
            .and_then(|()| file.sync_all())
            .map_err(JournalError::io(&temporary, "written"))?;
        // Of two that make it at once, the first one's stays.
        let _ = std::fs::hard_link(&temporary, path);
        std::fs::remove_file(&temporary).map_err(JournalError::io(&temporary, "removed"))?;
    }
    sync_place(path)?;
    keep_private(path)?;
    let mut bytes = [0; 32];
    crate::file::open(path)
        .and_then(|mut file| file.read_exact(&mut bytes))
        .map_err(JournalError::io(path, "read"))?;
    Ok(bytes)
}
