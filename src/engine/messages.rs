//! The delivery of messages. One is delivered after its fact is durable, under a name of its own,
//! so that delivering it again after a crash replaces it.

use super::session::Session;
use crate::effect::Reading;
use crate::journal::{JournalError, message_file, sha256};
use crate::message::{self, Message};
use crate::run::*;
use crate::runbook::{Direction, StepIx};

/// How many characters of an id are part of the name of a file.
const MAX_NAME: usize = 60;

/// A message that is a step's action, to be delivered.
pub(super) struct Letter {
    /// The number of the fact with which the attempt began.
    pub of: u64,
    pub ix: StepIx,
    pub direction: Direction,
    pub attempt: u32,
    pub message: Message,
}

impl Session<'_> {
    /// Delivers what is due: messages of steps, and those that the run owes, which an earlier
    /// session may have left. Their facts go into the next commit.
    pub fn deliver_due(&mut self) -> Result<(), JournalError> {
        // What could not be written is tried again by the next session, not by each commit.
        let told = std::mem::replace(&mut self.told_until, self.state.head);
        let owed: Vec<Occasion> =
            self.state.notices.owed.iter().filter(|occasion| occasion.of > told).cloned().collect();
        let mut owed = owed.into_iter().peekable();
        for letter in std::mem::take(&mut self.letters) {
            while let Some(occasion) = owed.next_if(|occasion| occasion.of <= letter.of) {
                self.deliver_occasion(&occasion)?;
            }
            self.deliver_step(letter)?;
        }
        owed.try_for_each(|occasion| self.deliver_occasion(&occasion))
    }

    fn deliver_step(&mut self, letter: Letter) -> Result<(), JournalError> {
        let Letter { ix, direction, attempt, message, .. } = letter;
        let name = format!(
            "{}-{:05}-{}-{}",
            self.head.run,
            ix.0,
            file_name(&self.id(ix)),
            direction.word()
        );
        let result = match self.deliver(
            &name,
            "notify",
            Some(self.state.runbook.step(ix).phase),
            Some(ix),
            None,
            &message,
        ) {
            Ok(sent) => {
                self.record(sent)?;
                Ok(Reading {
                    is_good: true,
                    summary: format!(
                        "sent to {}",
                        if message.to.is_empty() {
                            "the outbox".to_owned()
                        } else {
                            message.to.join(", ")
                        }
                    ),
                    ..Reading::default()
                })
            }
            Err(error) => Err(crate::effect::EffectError::before(format!(
                "the message could not be written: {error}"
            ))),
        };
        self.finish(ix, direction, attempt, result)
    }

    fn deliver_occasion(&mut self, occasion: &Occasion) -> Result<(), JournalError> {
        let runbook = std::sync::Arc::clone(&self.state.runbook);
        let Some(template) = occasion.template(&runbook) else { return Ok(()) };
        let message = message::of_occasion(occasion, template, &self.state, super::now());
        let own = occasion.own_phase(&runbook);
        let asked = occasion
            .step
            .filter(|_| occasion.kind == OccasionKind::Waiting)
            .map(|ix| file_name(&self.id(ix)));
        let place =
            own.map(str::to_owned).or(asked).map(|place| format!("-{place}")).unwrap_or_default();
        let Occasion { kind, of, phase, .. } = occasion;
        let name = kind.word();
        let file = format!(
            "{}-{:05}-{name}{place}",
            self.head.run,
            if kind.is_told_once() { 0 } else { *of }
        );
        match self.deliver(&file, name, phase.filter(|_| own.is_some()), None, Some(*of), &message)
        {
            Ok(sent) => self.record(sent),
            // A message that cannot be written must not stop a migration half-way; that it is
            // missing shows in the audit.
            Err(error) => {
                self.observer.note(&format!(
                    "the message {name} could not be written: {error}; the \
                    next session tries it again"
                ));
                Ok(())
            }
        }
    }

    fn deliver(
        &self,
        name: &str,
        occasion: &str,
        phase: Option<u32>,
        step: Option<StepIx>,
        of: Option<u64>,
        message: &Message,
    ) -> std::io::Result<Fact> {
        let recipients: Vec<String> = message.to.iter().map(|to| message::one_line(to)).collect();
        let to = if recipients.is_empty() {
            String::new()
        } else {
            format!("To: {}\n", recipients.join(", "))
        };
        let purpose = self.state.started.purpose;
        let subject = match purpose {
            Purpose::LiveTest => format!("[live test] {}", message.subject),
            Purpose::Real | Purpose::DryRun | Purpose::Rehearsal => message.subject.clone(),
        };
        // A line break in a value of a header would begin another header, and whoever reads the
        // body may do so on a terminal.
        let (subject, body) = (message::one_line(&subject), message::printable(&message.body));
        let text = format!("Subject: {subject}\n{to}\n{body}");
        let is_dry = purpose == Purpose::DryRun;
        // Whatever takes messages out of the outbox must not find those of a dry run.
        let place =
            if is_dry { format!("runs/{}/messages", self.head.run) } else { "outbox".to_owned() };
        let file =
            message_file(self.journal.folder(), &place, &format!("{name}.txt"), text.as_bytes())?;
        Ok(Fact::MessageSent(MessageSent {
            occasion: occasion.to_owned(),
            phase: phase.map(|phase| self.state.runbook.phases[phase as usize].id.clone()),
            step: step.map(|ix| self.id(ix)),
            of,
            subject,
            to: recipients,
            channel: if is_dry { "nobody, as this is a dry run" } else { "outbox" }.to_owned(),
            file,
            digest: sha256(text.as_bytes()),
        }))
    }
}

/// A name for a file, of which file systems take 255 bytes.
fn file_name(id: &str) -> String {
    let mut name: String =
        id.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' }).collect();
    if name.len() > MAX_NAME {
        name.truncate(MAX_NAME);
        name.push('-');
        name.push_str(&sha256(id.as_bytes()).0[..32]);
    }
    name
}
