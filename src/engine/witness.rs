//! Tells the run's witness, a command of the author's, the hashes of the run's log: before a
//! session does anything, and when it is over. The witness keeps the last one where no copy of the
//! journal reaches, and refuses a session whose log does not have it. It is not known here how the
//! witness does that.

use super::session::Session;
use crate::drive::Input;
use crate::effect::brief;
use crate::journal::JournalError;
use crate::run::{Fact, Stop};

/// What it is told of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum When {
    Begins,
    Ends,
}

impl Session<'_> {
    /// Asks once whether a session may go on, now that it has written something of its own.
    ///
    /// # Errors
    /// If the witness refuses, or cannot be asked.
    pub fn ask_witness(&mut self) -> Result<(), JournalError> {
        if !self.is_witnessed {
            if let Err(why) = self.tell_witness(When::Begins) {
                // Whoever looks at the run later is to know that nobody died. What an earlier
                // session left running still runs.
                if self.state().sets.running.is_empty() {
                    let because = Stop::Unwitnessed { why: why.clone() };
                    self.take_in([Input::Decided(Fact::RunStopped { because })])?;
                    self.settle()?;
                }
                return Err(JournalError::Unwitnessed { run: self.head.run.clone(), why });
            }
            self.is_witnessed = true;
        }
        Ok(())
    }

    /// Says where the log ends now. What it cannot be told it hears when the next session begins.
    pub fn part_from_witness(&mut self) {
        if !self.is_witnessed {
            return;
        }
        if let Err(why) = self.tell_witness(When::Ends) {
            self.observer.note(&format!("the witness does not know how this session ended: {why}"));
        }
    }

    fn tell_witness(&self, when: When) -> Result<(), String> {
        let command = &self.state().runbook.witness;
        if command.is_empty() || !self.state().started.purpose.is_real() {
            return Ok(());
        }
        let hashes = self.journal.hashes(&self.head).map_err(|error| error.to_string())?;
        let env = [
            ("SWITCHOVER_RUN", self.head.run.clone()),
            ("SWITCHOVER_RUN_UUID", self.state().started.uuid.clone()),
            ("SWITCHOVER_SESSION", if when == When::Begins { "begins" } else { "ends" }.to_owned()),
        ];
        let output = brief::output_of(command, &env, hashes)?;
        if output.status.success() {
            return Ok(());
        }
        let said = self.vault.mask(&String::from_utf8_lossy(&output.stderr));
        let last = said.trim().lines().next_back().unwrap_or_default();
        let said = if last.is_empty() { String::new() } else { format!(", and said: {last}") };
        Err(format!("`{}` ended with {}{said}", command.join(" "), output.status))
    }
}
