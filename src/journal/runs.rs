//! The runs of a journal without reading them whole, and which of them a person means.

use std::io::ErrorKind;
use std::path::Path;

use super::anchor::Anchor;
use super::error::JournalError;
use super::lock::{Held, Holder};
use super::open::Journal;
use crate::run::{Event, Fact, Moment, RunStarted};

/// The runs of a journal, newest first.
#[derive(Default)]
pub struct Runs {
    pub readable: Vec<Summary>,
    pub unreadable: Vec<Unreadable>,
}

/// A line about a run, without reading it whole.
pub struct Summary {
    pub run: String,
    pub started: RunStarted,
    pub began: Moment,
    pub last: Event,
    /// The last event that is not a message: it says how the run stands.
    pub stands: Event,
    pub holder: Option<Holder>,
}

/// A run of which not even its first and last events can be read. It hides no other.
pub struct Unreadable {
    pub run: String,
    /// When it is said to have begun.
    pub at: String,
    pub why: String,
}

/// Of a run, what a store gives without reading it whole: bodies of events.
pub struct StoredRun {
    pub run: String,
    /// When the first event is said to have happened.
    pub at: String,
    pub first: String,
    pub last: String,
    /// Of the last event that is not a message.
    pub stands: String,
}

impl Journal {
    /// The runs.
    ///
    /// # Errors
    /// If the store cannot be read; a run that cannot be is [`Runs::unreadable`].
    pub fn runs(&self) -> Result<Runs, JournalError> {
        let mut runs = Runs::default();
        for stored in self.store.runs()? {
            match self.summary(&stored) {
                Ok(summary) => runs.readable.push(summary),
                Err(error) => {
                    let StoredRun { run, at, .. } = stored;
                    runs.unreadable.push(Unreadable { run, at, why: error.to_string() });
                }
            }
        }
        Ok(runs)
    }

    fn summary(&self, stored: &StoredRun) -> Result<Summary, serde_json::Error> {
        let StoredRun { run, at: _, first, last, stands } = stored;
        let first: Event = serde_json::from_str(first)?;
        let Fact::RunStarted(started) = first.fact else {
            return Err(serde::de::Error::custom("it does not begin with run_started"));
        };
        Ok(Summary {
            run: run.clone(),
            started,
            began: first.at,
            last: serde_json::from_str(last)?,
            stands: serde_json::from_str(stands)?,
            holder: Held::holder(&self.run_folder(run).join("lock")),
        })
    }

    /// Whether a run of this id is known.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn has_run(&self, id: &str) -> Result<bool, JournalError> {
        self.store.has_event(id, 1)
    }

    /// Every run that an anchor knows is in the store; one that is not may be the latest.
    ///
    /// # Errors
    /// [`JournalError::Altered`] with the run that is missing; or if something cannot be read.
    pub fn is_complete(&self) -> Result<(), JournalError> {
        anchored_runs(&self.folder, |run, number| self.store.has_event(run, number))
    }

    /// The run that a person means: the latest, or the one whose id or name begins so.
    ///
    /// # Errors
    /// If there is none or more than one, if it cannot be read, or if one that may be meant is
    /// missing.
    pub fn find(&self, wanted: Option<&str>) -> Result<String, JournalError> {
        if wanted.is_none() {
            self.is_complete()?;
        }
        let Runs { readable: runs, unreadable } = self.runs()?;
        let altered =
            |bad: &Unreadable| JournalError::Altered { run: bad.run.clone(), why: bad.why.clone() };
        let Some(prefix) = wanted else {
            // Whoever names none means the latest, and not the one before it.
            if let Some(bad) =
                unreadable.iter().find(|bad| runs.iter().all(|run| run.began.to_string() < bad.at))
            {
                return Err(altered(bad));
            }
            // A dry run after the real one must not stand in its way.
            let last =
                runs.iter().find(|summary| summary.started.is_carried_out()).or(runs.first());
            return last.map(|summary| summary.run.clone()).ok_or(JournalError::Empty);
        };
        if let Some(exact) = runs.iter().find(|summary| {
            summary.run == prefix || summary.started.name.as_deref() == Some(prefix)
        }) {
            return Ok(exact.run.clone());
        }
        let begins = |run: &str| run.starts_with(prefix);
        let mut found: Vec<String> =
            runs.into_iter().map(|summary| summary.run).filter(|run| begins(run)).collect();
        if let Some(bad) =
            unreadable.iter().find(|bad| bad.run == prefix || found.is_empty() && begins(&bad.run))
        {
            return Err(altered(bad));
        }
        match found.len() {
            0 => self.is_complete().and(Err(JournalError::NoRun(prefix.to_owned()))),
            1 => Ok(found.remove(0)),
            _ => Err(JournalError::Ambiguous { prefix: prefix.to_owned(), found }),
        }
    }
}

/// Asks of each run that was anchored with events whether it is there.
///
/// # Errors
/// [`JournalError::Altered`] with the run that is not; or if that cannot be found out.
pub(super) fn anchored_runs(
    folder: &Path,
    is_there: impl Fn(&str, u64) -> Result<bool, JournalError>,
) -> Result<(), JournalError> {
    let folder = folder.join("runs");
    let unread = |error| JournalError::io(&folder, "read")(error);
    let runs = match std::fs::read_dir(&folder) {
        Ok(runs) => runs,
        // Nothing was ever begun in it.
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(unread(error)),
    };
    for found in runs {
        let found = found.map_err(unread)?;
        let run = found.file_name().to_string_lossy().into_owned();
        // A disk of its own has a `lost+found`, which is closed to most; what fills one may be a
        // file.
        if !run.bytes().all(|byte| byte.is_ascii_alphanumeric())
            || found.file_type().is_ok_and(|kind| !kind.is_dir() && !kind.is_symlink())
        {
            continue;
        }
        if let Some((number, ..)) = Anchor::read(&found.path().join("anchor"))?
            && number > 0
            && !is_there(&run, number)?
        {
            let why = format!(
                "its anchor knows {number} events, and the database does not have them: commits \
                 were lost, or an older copy was restored"
            );
            return Err(JournalError::Altered { run, why });
        }
    }
    Ok(())
}
