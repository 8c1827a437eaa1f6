//! A folder with a journal, a witness and marks of its own, and the program run in it as an
//! operator runs it.

use std::fs::{DirBuilder, DirEntry, File, OpenOptions};
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use super::doomed;
use crate::cli::audit::altered;
use crate::effect::own_program;
use crate::journal::Journal;
use crate::rehearsal::{Account, Death, MARKS, StandIn, WITNESS, Witness, is_witnessed};
use crate::run::{RunState, Track};
use crate::runbook::{Action, Direction, StepIx};

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
    pub fn create(folder: PathBuf, stand_in: &Arc<StandIn>) -> Result<Scratch, String> {
        private(&folder)
            .and_then(|()| private(&folder.join(MARKS)))
            .map_err(|error| format!("{}: {error}", folder.display()))?;
        Ok(Scratch { folder, stand_in: Arc::clone(stand_in) })
    }

    /// Begins a run of `runbook` that dies with this commit, or goes to its end.
    pub fn begin(&self, runbook: &Path, death: Option<(u64, Death)>) -> Result<Ended, String> {
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
            .map_err(|error| format!("the program could not be begun: {error}"))?;
        let was_killed = output.status.signal() == Some(rustix::process::Signal::KILL.as_raw());
        if !was_killed && output.status.code() != Some(0) {
            return Err(format!("the run ended with {}: {}", output.status, self.last_words()));
        }
        let text = String::from_utf8_lossy(&output.stdout);
        Ok(Ended {
            was_killed,
            commits: text.lines().filter_map(|line| line.parse().ok()).collect(),
        })
    }

    /// Goes on with the verb until it is over; what the program asks is answered as it is.
    pub fn take_up(&self, verb: &str) -> Result<Account, String> {
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
                    return Err(format!("`{verb}` ended with exit {code}: {}", self.last_words()));
                }
            }
        }
    }

    /// The run as the journal and the witness have it.
    pub fn account(&self) -> Result<Account, String> {
        Ok(self.read()?.1)
    }

    /// Besides, the state of which an operator is shown what to answer.
    fn read(&self) -> Result<(RunState, Account), String> {
        let journal = Journal::open_to_read(&self.folder.join("journal"))
            .map_err(|error| error.to_string())?;
        let loaded = journal
            .find(None)
            .and_then(|run| journal.load(&run))
            .map_err(|error| error.to_string())?;
        if let Some(file) = altered(&loaded, journal.folder()).first() {
            return Err(format!("{file} is not as it was written, or is missing"));
        }
        let text = match std::fs::read_to_string(self.folder.join(WITNESS)) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            read => read.map_err(|error| format!("the witness cannot be read: {error}"))?,
        };
        let marks = std::fs::read_dir(self.folder.join(MARKS))
            .map_err(|error| format!("the marks cannot be read: {error}"))?;
        let name = |entry: std::io::Result<DirEntry>| {
            Ok(entry?.file_name().to_string_lossy().into_owned())
        };
        let marks: std::io::Result<_> = marks.map(name).collect();
        let marks = marks.map_err(|error| format!("the marks cannot be read: {error}"))?;
        Ok((loaded.state, Account::of(&self.stand_in, loaded.events, Witness::read(&text)?, marks)))
    }

    /// Answers for the people whom the run waits for, and says truthfully what is in doubt.
    fn answer(&self, state: &RunState, account: &Account) -> Result<(), String> {
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
                if act.is_some_and(|act| matches!(act.action, Action::Approve(_))) {
                    "go"
                } else {
                    "done"
                },
            ));
        }
        for &(ix, direction) in &state.sets.doubt {
            let is_done = match is_witnessed(state.runbook.step(ix), direction) {
                true => account.witness.saw(ix, direction),
                false => self.was_told(state, ix, direction),
            };
            answers.push((ix, if is_done { "done" } else { "not-done" }));
        }
        for (ix, verdict) in answers {
            let step = &state.runbook.step(ix).id;
            let code =
                self.call(&["resolve", step, "--as", verdict, "--reason", "the witness says so"])?;
            if code != 0 {
                return Err(format!(
                    "`resolve {step} --as {verdict}` ended with exit {code}: {}",
                    self.last_words()
                ));
            }
        }
        Ok(())
    }

    /// Whether the message of a step lies in the outbox.
    fn was_told(&self, state: &RunState, ix: StepIx, direction: Direction) -> bool {
        let (begins, ends) =
            (format!("{}-{:05}-", state.started.run, ix.0), format!("-{}.txt", direction.word()));
        let files = std::fs::read_dir(self.folder.join("journal/outbox"))
            .into_iter()
            .flatten()
            .filter_map(Result::ok);
        files
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .any(|name| name.starts_with(&begins) && name.ends_with(&ends))
    }

    fn call(&self, words: &[&str]) -> Result<i32, String> {
        let mut command = self.command(words[0])?;
        let status = command.args(&words[1..]).stdout(Stdio::null()).status();
        let status = status.map_err(|error| format!("the program could not be begun: {error}"))?;
        status.code().ok_or_else(|| format!("`{}` was ended from outside: {status}", words[0]))
    }

    fn command(&self, verb: &str) -> Result<Command, String> {
        let said = || -> std::io::Result<File> {
            OpenOptions::new().append(true).create(true).open(self.folder.join("said"))
        };
        let (program, said) = own_program()
            .and_then(|program| Ok((program, said()?)))
            .map_err(|error| error.to_string())?;
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

    fn last_words(&self) -> String {
        let said = std::fs::read_to_string(self.folder.join("said")).unwrap_or_default();
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

/// A folder for nobody else.
pub fn private(folder: &Path) -> std::io::Result<()> {
    DirBuilder::new().mode(0o700).create(folder)
}
