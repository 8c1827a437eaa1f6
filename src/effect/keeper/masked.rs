//! Output of a command that was given secrets: it goes through a pipe, is masked here, and only then written.

use std::fs::File;
use std::io::{PipeReader, PipeWriter, Read, Write};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};

use tokio::sync::Notify;

use crate::effect::redactor::Redactor;

/// How much is read at once, in bytes.
const CHUNK: usize = 64 << 10;

/// A thread that masks one stream.
pub struct Masked {
    end: Receiver<Option<String>>,
    /// Once it has ended: why not all could be written.
    ended: Option<Option<String>>,
}

impl Masked {
    /// Where the command is to write, and the thread that reads it; `wake` is notified when the stream is at its end.
    pub fn into(to: File, mut redactor: Redactor, wake: Arc<Notify>) -> std::io::Result<(PipeWriter, Masked)> {
        let (reader, writer) = std::io::pipe()?;
        let (send, end) = channel();
        std::thread::Builder::new().spawn(move || {
            let _ = send.send(copy(reader, &to, &mut redactor).err().map(|error| error.to_string()));
            wake.notify_one();
        })?;
        Ok((writer, Masked { end, ended: None }))
    }

    /// Whether the stream is at its end.
    pub fn is_over(&mut self) -> bool {
        self.ended = self.ended.take().or_else(|| self.end.try_recv().ok());
        self.ended.is_some()
    }

    /// Why not all was written.
    pub fn unwritten(self) -> Option<String> {
        self.ended.flatten()
    }
}

/// Reads to the end in any case, so that the command does not come to harm.
fn copy(mut reader: PipeReader, mut to: &File, redactor: &mut Redactor) -> std::io::Result<()> {
    let (mut chunk, mut masked, mut result) = (vec![0; CHUNK], Vec::new(), Ok(()));
    loop {
        masked.clear();
        let read = match reader.read(&mut chunk) {
            Ok(read) => read,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
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
