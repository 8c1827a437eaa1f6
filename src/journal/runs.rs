//! The runs of a journal without reading them whole, and which of them a person means.

use rusqlite::params;

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

impl Journal {
    /// The runs.
    ///
    /// # Errors
    /// If the database cannot be read; a run that cannot be is [`Runs::unreadable`].
    pub fn runs(&self) -> Result<Runs, JournalError> {
        let mut statement = self
            .db
            .prepare(
                // From one run's first event to the next run's: what lies between is not read.
                "WITH RECURSIVE ids (run) AS (SELECT min(run) FROM events UNION ALL SELECT (SELECT \
                 min(run) FROM events WHERE run > ids.run) FROM ids WHERE ids.run IS NOT NULL) \
                 SELECT first.run, first.at, first.body, last.body, stands.body FROM ids JOIN \
                 events AS first ON first.run = ids.run AND first.number = 1 JOIN events AS last \
                 ON last.run = ids.run AND last.number = (SELECT max(number) FROM events WHERE run \
                 = ids.run) JOIN events AS stands ON stands.run = ids.run AND stands.number = \
                 (SELECT number FROM events WHERE run = ids.run AND event <> 'message_sent' ORDER \
                 BY number DESC LIMIT 1) ORDER BY first.at DESC, first.run",
            )
            .map_err(JournalError::sql("read"))?;
        let rows = statement
            .query_map([], |row| <(String, String, String, String, String)>::try_from(row))
            .map_err(JournalError::sql("read"))?;
        let mut runs = Runs::default();
        for row in rows {
            let (run, at, first, last, stands) = row.map_err(JournalError::sql("read"))?;
            match self.summary(&run, [&first, &last, &stands]) {
                Ok(summary) => runs.readable.push(summary),
                Err(error) => runs.unreadable.push(Unreadable { run, at, why: error.to_string() }),
            }
        }
        Ok(runs)
    }

    fn summary(&self, run: &str, bodies: [&str; 3]) -> Result<Summary, serde_json::Error> {
        let [first, last, stands] = bodies;
        let first: Event = serde_json::from_str(first)?;
        let Fact::RunStarted(started) = first.fact else {
            return Err(serde::de::Error::custom("it does not begin with run_started"));
        };
        Ok(Summary {
            run: run.to_owned(),
            started,
            began: first.at,
            last: serde_json::from_str(last)?,
            stands: serde_json::from_str(stands)?,
            holder: Held::holder(&self.run_folder(run).join("lock")),
        })
    }

    /// Whether a run of this id is known.
    pub fn has_run(&self, id: &str) -> Result<bool, JournalError> {
        let mut statement = self
            .db
            .prepare("SELECT 1 FROM events WHERE run = ?1 AND number = 1")
            .map_err(JournalError::sql("read"))?;
        statement.exists([id]).map_err(JournalError::sql("read"))
    }

    /// Every run that an anchor knows is in the database; one that is not may be the latest.
    ///
    /// # Errors
    /// [`JournalError::Altered`] with the run that is missing.
    pub fn is_complete(&self) -> Result<(), JournalError> {
        self.anchored_runs(|run, number| {
            let mut statement = self
                .db
                .prepare_cached("SELECT 1 FROM events WHERE run = ?1 AND number = ?2")
                .map_err(JournalError::sql("read"))?;
            statement.exists(params![run, number as i64]).map_err(JournalError::sql("read"))
        })
    }

    /// Asks of each run that was anchored with events whether it is there.
    pub(super) fn anchored_runs(
        &self,
        is_there: impl Fn(&str, u64) -> Result<bool, JournalError>,
    ) -> Result<(), JournalError> {
        let Ok(folders) = std::fs::read_dir(self.folder.join("runs")) else { return Ok(()) };
        for folder in folders.filter_map(Result::ok) {
            let run = folder.file_name().to_string_lossy().into_owned();
            // A disk of its own has a `lost+found`, which is closed to most; what fills one may be
            // a file.
            if !run.bytes().all(|byte| byte.is_ascii_alphanumeric())
                || folder.file_type().is_ok_and(|found| !found.is_dir() && !found.is_symlink())
            {
                continue;
            }
            if let Some((number, ..)) = Anchor::read(&folder.path().join("anchor"))?
                && number > 0
                && !is_there(&run, number)?
            {
                let why = format!(
                    "its anchor knows {number} events, and the database does not have them: \
                     commits were lost, or an older copy was restored"
                );
                return Err(JournalError::Altered { run, why });
            }
        }
        Ok(())
    }

    /// The run that a person means: the latest, or the one whose id or name begins so.
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
