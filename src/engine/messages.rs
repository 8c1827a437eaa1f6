//! The delivery of messages. One is delivered after its fact is durable, under a name of its own,
//! so that delivering it again after a crash replaces it.

use super::session::Session;
use crate::drive::{Delivery, Due};
use crate::journal::{message_file, sha256};
use crate::message::{self, Message};
use crate::run::{MessageSent, Occasion, OccasionKind, Purpose};
use crate::runbook::StepIx;

/// How many characters of an id are part of the name of a file.
const MAX_NAME: usize = 60;

impl Session<'_> {
    /// Delivers one message.
    ///
    /// # Errors
    /// Why it could not be written.
    pub fn deliver(&self, delivery: &Delivery) -> Result<Box<MessageSent>, String> {
        let (runbook, run) = (&self.state().runbook, &self.head.run);
        match &delivery.of {
            Due::Step { ix, direction, .. } => {
                let id = file_name(&self.id(*ix));
                let file = format!("{run}-{:05}-{id}-{}", ix.0, direction.word());
                let phase = Some(runbook.step(*ix).phase);
                self.write(&file, "notify", phase, Some(*ix), None, &delivery.message)
            }
            Due::Occasion(occasion) => {
                let own = occasion.own_phase(runbook);
                let asked = occasion.step.filter(|_| occasion.kind == OccasionKind::Waiting);
                let asked = asked.map(|ix| file_name(&self.id(ix)));
                let place = own.map(str::to_owned).or(asked);
                let place = place.map(|place| format!("-{place}")).unwrap_or_default();
                let Occasion { kind, of, phase, step: _, reason: _ } = occasion;
                let name = kind.word();
                let number = if kind.is_told_once() { 0 } else { *of };
                let file = format!("{run}-{number:05}-{name}{place}");
                let phase = phase.filter(|_| own.is_some());
                self.write(&file, name, phase, None, Some(*of), &delivery.message)
            }
        }
        .map_err(|error| error.to_string())
    }

    fn write(
        &self,
        name: &str,
        occasion: &str,
        phase: Option<u32>,
        step: Option<StepIx>,
        of: Option<u64>,
        message: &Message,
    ) -> std::io::Result<Box<MessageSent>> {
        let recipients: Vec<String> = message.to.iter().map(|to| message::one_line(to)).collect();
        let to = if recipients.is_empty() {
            String::new()
        } else {
            format!("To: {}\n", recipients.join(", "))
        };
        let purpose = self.state().started.purpose;
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
        Ok(Box::new(MessageSent {
            occasion: occasion.to_owned(),
            phase: phase.map(|phase| self.state().runbook.phases[phase as usize].id.clone()),
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
