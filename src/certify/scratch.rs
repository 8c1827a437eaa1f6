//! A folder with a journal, a witness and marks of its own, and the program run in it as an
//! operator runs it. Does not judge what comes of it.

use std::fs::{DirBuilder, DirEntry, File, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use super::doomed;
use super::error::TrialError;
use crate::effect::own_program;
use crate::journal::Journal;
use crate::operate::altered;
use crate::rehearsal::{Account, Death, MARKS, StandIn, WITNESS, Witness, is_witnessed};
use crate::run::{RunState, Track};
use crate::runbook::action::DoneBy;
use crate::runbook::{Direction, StepIx};

pub struct Scratch {
    pub folder: PathBuf,
    /// What is carried out in it.
    stand_in: Arc<StandIn>,
}

/// How the first executor ended.
pub struct Ended {
    pub was_killed: bool,
    /// The last event of each commit, or of the one with which it died.
    pub commits: Vec<u64>,
}

impl Scratch {
    pub fn create(folder: PathBuf, stand_in: &Arc<StandIn>) -> Result<Scratch, TrialError> {
        private(&folder)
            .and_then(|()| private(&folder.join(MARKS)))
            .map_err(|source| TrialError::Folder { folder: folder.clone(), source })?;
        Ok(Scratch { folder, stand_in: Arc::clone(stand_in) })
    }

    /// Begins a run of `runbook` that dies with this commit, or goes to its end.
    pub fn begin(&self, runbook: &Path, death: Option<(u64, Death)>) -> Result<Ended, TrialError> {
        let mut command = self.command(doomed::VERB)?;
        command.arg(runbook);
        if let Some((at, death)) = death {
            command.args(["--at", &at.to_string()]);
            match death {
                Death::BeforeLaunch => command.arg("--before-launch"),
                Death::Executor => &mut command,
                Death::WithKeeper => command.arg("--with-keeper"),
            };
        }
        let output = command
            .stdout(Stdio::piped())
            .output()
            .map_err(|source| TrialError::NotBegun { source })?;
        let was_killed = output.status.signal() == Some(rustix::process::Signal::KILL.as_raw());
        if !was_killed && output.status.code() != Some(0) {
            let last_words = self.last_words();
            return Err(TrialError::Ended { status: output.status, last_words });
        }
        let text = String::from_utf8_lossy(&output.stdout);
        Ok(Ended {
            was_killed,
            commits: text.lines().filter_map(|line| line.parse().ok()).collect(),
        })
    }

    /// Goes on with the verb until it is over; what the program asks is answered as it is.
    pub fn take_up(&self, verb: &str) -> Result<Account, TrialError> {
        let mut head = 0;
        loop {
            let code = self.call(&[verb, "--yes", "--parallel", &doomed::AT_ONCE.to_string()])?;
            let (state, account) = self.read()?;
            match code {
                3 if state.head > head => {
                    head = state.head;
                    self.answer(&state, &account)?;
                }
                0 | 4 | 5 => return Ok(account),
                code => {
                    let last_words = self.last_words();
                    return Err(TrialError::Verb { verb: verb.to_owned(), code, last_words });
                }
            }
        }
    }

    /// The run as the journal and the witness have it.
    pub fn account(&self) -> Result<Account, TrialError> {
        Ok(self.read()?.1)
    }

    /// Besides, the state of which an operator is shown what to answer.
    fn read(&self) -> Result<(RunState, Account), TrialError> {
        let journal = Journal::open_to_read(&self.folder.join("journal"))?;
        let loaded = journal.load(&journal.find(None)?)?;
        if let Some(file) = altered(&loaded, journal.folder()).into_iter().next() {
            return Err(TrialError::Altered { file });
        }
        let text = match std::fs::read_to_string(self.folder.join(WITNESS)) {
            Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
            read => read.map_err(|source| TrialError::Witness { source })?,
        };
        let witness =
            Witness::read(&text).map_err(|why| TrialError::NoWitness { why: why.to_string() })?;
        let marks =
            names_in(&self.folder.join(MARKS)).map_err(|source| TrialError::Marks { source })?;
        let marks = marks.into_iter().collect();
        Ok((loaded.state, Account::of(&self.stand_in, loaded.events, witness, marks)))
    }

    /// Answers for the people whom the run waits for, and says truthfully what is in doubt.
    fn answer(&self, state: &RunState, account: &Account) -> Result<(), TrialError> {
        let mut answers: Vec<(StepIx, &str)> = Vec::new();
        for ix in state.asked() {
            let waits = |direction: &Direction| {
                matches!(state.track(ix, *direction), Track::Waiting { .. })
            };
            let act = [Direction::Undo, Direction::Release, Direction::Forward]
                .into_iter()
                .find(waits)
                .and_then(|direction| state.runbook.step(ix).act(direction));
            answers.push((
                ix,
                if act.is_some_and(|act| act.action.done_by() == DoneBy::GATE) {
                    "go"
                } else {
                    "done"
                },
            ));
        }
        for &(ix, direction) in &state.sets.doubt {
            let is_done = match is_witnessed(state.runbook.step(ix), direction) {
                true => account.witness.saw(ix, direction),
                false => self.was_told(state, ix, direction)?,
            };
            answers.push((ix, if is_done { "done" } else { "not-done" }));
        }
        for (ix, verdict) in answers {
            let step = &state.runbook.step(ix).id;
            let code =
                self.call(&["resolve", step, "--as", verdict, "--reason", "the witness says so"])?;
            if code != 0 {
                let verb = format!("resolve {step} --as {verdict}");
                return Err(TrialError::Verb { verb, code, last_words: self.last_words() });
            }
        }
        Ok(())
    }

    /// Whether the message of a step lies in the outbox.
    fn was_told(
        &self,
        state: &RunState,
        ix: StepIx,
        direction: Direction,
    ) -> Result<bool, TrialError> {
        let (begins, ends) =
            (format!("{}-{:05}-", state.started.run, ix.0), format!("-{}.txt", direction.word()));
        let names = match names_in(&self.folder.join("journal/outbox")) {
            Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
            names => names.map_err(|source| TrialError::Outbox { source })?,
        };
        Ok(names.iter().any(|name| name.starts_with(&begins) && name.ends_with(&ends)))
    }

    fn call(&self, words: &[&str]) -> Result<i32, TrialError> {
        let mut command = self.command(words[0])?;
        let status = command.args(&words[1..]).stdout(Stdio::null()).status();
        let status = status.map_err(|source| TrialError::NotBegun { source })?;
        status.code().ok_or_else(|| TrialError::FromOutside { verb: words[0].to_owned(), status })
    }

    fn command(&self, verb: &str) -> Result<Command, TrialError> {
        let said = || -> std::io::Result<File> {
            OpenOptions::new().append(true).create(true).open(self.folder.join("said"))
        };
        let (program, said) = own_program()
            .and_then(|program| Ok((program, said()?)))
            .map_err(TrialError::NoProgram)?;
        let mut command = Command::new(program);
        command
            .args(["--journal", "journal", verb])
            .current_dir(&self.folder)
            .stdin(Stdio::null())
            .stderr(said);
        // Nobody else's locks are asked for, and nobody is kept from theirs.
        command
            .env("SWITCHOVER_OPERATOR", "certify")
            .env("SWITCHOVER_LOCKS", self.folder.join("locks"));
        Ok(command)
    }

    /// What the program said last, for people.
    fn last_words(&self) -> String {
        let said = match std::fs::read_to_string(self.folder.join("said")) {
            Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
            Err(error) => return format!("what it said cannot be read: {error}"),
            Ok(said) => said,
        };
        said.lines()
            .rfind(|line| line.starts_with("error:"))
            .or(said.lines().last())
            .unwrap_or("it said nothing")
            .to_owned()
    }

    /// Removes it, with all that is in it.
    pub fn remove(self) {
        // Somebody's temporary files are not worth an error.
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// The names of what lies in a folder.
fn names_in(folder: &Path) -> std::io::Result<Vec<String>> {
    let name =
        |entry: std::io::Result<DirEntry>| Ok(entry?.file_name().to_string_lossy().into_owned());
    std::fs::read_dir(folder)?.map(name).collect()
}

/// A folder for nobody else.
pub fn private(folder: &Path) -> std::io::Result<()> {
    DirBuilder::new().mode(0o700).create(folder)
}
