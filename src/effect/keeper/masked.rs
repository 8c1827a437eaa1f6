//! What a command of a run that has secrets writes: its output goes through a pipe, is masked here,
//! and only then written; the files that it wrote about itself are masked at its end.

use std::fs::File;
use std::io::{ErrorKind, PipeReader, PipeWriter, Read, Result, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::effect::redactor::Redactor;

/// How much is read at once, in bytes.
const CHUNK: usize = 64 << 10;

/// All secrets that the executor told of. What runs already is masked by what is told later too: it
/// may read what another wrote.
#[derive(Clone, Default)]
pub struct Mask(Arc<Mutex<Told>>);

#[derive(Default)]
struct Told {
    secrets: Vec<(String, String)>,
    redactor: Redactor,
}

impl Mask {
    /// Masks these from now on, besides those that it masks already.
    pub fn learn(&self, secrets: &[(String, String)]) {
        let mut told = self.told();
        let new: Vec<_> =
            secrets.iter().filter(|secret| !told.secrets.contains(secret)).cloned().collect();
        if !new.is_empty() {
            told.secrets.extend(new);
            told.redactor = Redactor::new(&told.secrets);
        }
    }

    /// Takes the secrets out of a file; says why if it could not.
    pub fn file(&self, path: &Path) -> Option<String> {
        self.redactor().mask_file(path)
    }

    fn redactor(&self) -> Redactor {
        self.told().redactor.clone()
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A thread that masks one stream.
pub struct Masked {
    end: Receiver<Option<String>>,
    /// Once it has ended: why not all could be written.
    ended: Option<Option<String>>,
    /// Whether it waits for more: then all that came is written.
    waits: Arc<AtomicBool>,
}

impl Masked {
    /// Where the command is to write, and the thread that reads it; `wake` is notified when the
    /// stream is at its end.
    pub fn into(to: File, mask: Mask, wake: Arc<Notify>) -> Result<(PipeWriter, Masked)> {
        let (reader, writer) = std::io::pipe()?;
        let (send, end) = channel();
        let waits = Arc::new(AtomicBool::new(true));
        let says = Arc::clone(&waits);
        std::thread::Builder::new().spawn(move || {
            let _ = send.send(copy(reader, &to, &mask, &says).err().map(|error| error.to_string()));
            wake.notify_one();
        })?;
        Ok((writer, Masked { end, ended: None, waits }))
    }

    /// Whether the stream is at its end.
    pub fn is_over(&mut self) -> bool {
        self.ended = self.ended.take().or_else(|| self.end.try_recv().ok());
        self.ended.is_some()
    }

    /// Whether nothing of what came is unwritten, though more may come from what holds the stream
    /// open.
    pub fn is_idle(&self) -> bool {
        self.ended.is_some() || self.waits.load(Ordering::Acquire)
    }

    /// Why not all was written.
    pub fn unwritten(self) -> Option<String> {
        let is_idle = self.is_idle();
        self.ended.unwrap_or_else(|| (!is_idle).then(|| "it takes too long".to_owned()))
    }
}

/// Reads to the end in any case, so that the command does not come to harm.
fn copy(mut reader: PipeReader, mut to: &File, mask: &Mask, waits: &AtomicBool) -> Result<()> {
    let (mut chunk, mut masked, mut result) = (vec![0; CHUNK], Vec::new(), Ok(()));
    let mut redactor = mask.redactor();
    loop {
        masked.clear();
        waits.store(true, Ordering::Release);
        let read = match reader.read(&mut chunk) {
            Ok(read) => read,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        waits.store(false, Ordering::Release);
        redactor.take_over(&mask.told().redactor);
        match read {
            0 => redactor.finish(&mut masked),
            read => redactor.push(&chunk[..read], &mut masked),
        }
        if result.is_ok() {
            result = to.write_all(&masked);
        }
        if read == 0 {
            return result;
        }
    }
}
