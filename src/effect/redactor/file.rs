//! Masks a file that a command wrote about itself. It does not know what the file is for.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Read, Result, Seek, SeekFrom, Write};
use std::path::Path;

use super::Redactor;
use crate::file;

/// How much of a file is kept: more than anybody reads of it.
const KEPT: u64 = 4 << 20;

impl Redactor {
    /// Takes the secrets out of a file. Of a long one only the end is kept, from a line on, behind
    /// as many zeros as make it as long as it was. What is no regular file stays as it is: nobody
    /// reads it. What cannot be masked is removed; says why.
    #[must_use]
    pub fn mask_file(&self, path: &Path) -> Option<String> {
        match mask_end(path, self.clone()) {
            Ok(()) => None,
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::InvalidInput) => {
                None
            }
            Err(error) => {
                let removed = match std::fs::remove_file(path) {
                    Ok(()) => "was removed".to_owned(),
                    Err(error) => format!("could not be removed ({error})"),
                };
                Some(format!("{} could not be masked ({error}) and {removed}", path.display()))
            }
        }
    }
}

fn mask_end(path: &Path, mut redactor: Redactor) -> Result<()> {
    let mut file = file::open_as(OpenOptions::new().read(true).write(true), path)?;
    let length = file.metadata()?.len();
    let skipped = length.saturating_sub(KEPT);
    file.seek(SeekFrom::Start(skipped))?;
    let mut bytes = Vec::new();
    (&file).take(KEPT).read_to_end(&mut bytes)?;
    // A secret that was cut could not be recognised.
    let from = if skipped == 0 {
        0
    } else {
        bytes.iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |end| end + 1)
    };
    let mut masked = Vec::new();
    redactor.push(&bytes[from..], &mut masked);
    redactor.finish(&mut masked);
    if skipped == 0 && masked == bytes {
        return Ok(());
    }
    let zeros = if skipped == 0 { 0 } else { length.saturating_sub(masked.len() as u64) };
    file.set_len(0)?;
    file.set_len(zeros)?;
    file.seek(SeekFrom::End(0))?;
    file.write_all(&masked)
}
