//! A new file in the place of an old one, in one go and durably: whoever reads it finds the one or
//! the other, also after a crash.

use std::fs::{File, OpenOptions};
use std::io::{Result, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, fchown};
use std::path::Path;

/// Writes `text` beside the file, as `.NAME.switchover`, with the old one's owner and permissions,
/// and renames it. `path` is the file itself, not a link to it. Of what fails nothing is left.
pub fn replace(path: &Path, text: &str) -> Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let beside = path.with_file_name(format!(".{name}.switchover"));
    let put = || {
        let old = path.metadata()?;
        // What a killed attempt left goes, whatever it is.
        let _ = std::fs::remove_file(&beside);
        let mut new = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
        new.write_all(text.as_bytes())?;
        // Only an administrator can give a file away; for others it is theirs already, or becomes
        // theirs.
        let _ = fchown(&new, Some(old.uid()), Some(old.gid()));
        new.set_permissions(old.permissions())?;
        new.sync_all()?;
        std::fs::rename(&beside, path)?;
        File::open(path.parent().unwrap_or(Path::new("/")))?.sync_all()
    };
    put().inspect_err(|_| drop(std::fs::remove_file(&beside)))
}
