//! Which message is due at which fact, and its delivery. A message is delivered after the fact is durable, under a name of its
//! own, so that delivering it again after a crash replaces it.

use super::session::Session;
use crate::effect::Reading;
use crate::journal::{JournalError, message_file, sha256};
use crate::message::{Message, Occasion, occasions};
use crate::run::*;
use crate::runbook::{Direction, StepIx};

/// A message to be delivered.
pub(super) enum Due {
    /// The action of a step.
    Step { ix: StepIx, direction: Direction, attempt: u32, message: Message },
    /// An occasion of the run or of a phase.
    Occasion(Occasion),
}

impl Session<'_> {
    /// Notes what people are to be told of a fact that was just applied.
    pub fn note_occasions(&mut self, event: &Event, was_down: bool) {
        self.due.extend(occasions(&self.state, event, was_down).into_iter().map(Due::Occasion));
    }

    /// Messages that are due since an earlier session, which died before them or never saw their cause.
    pub fn catch_up_messages(&mut self) {
        if !self.state.told.contains("start") && self.state.ended.is_none() {
            self.due.push(Due::Occasion(Occasion { name: "start", phase: None, step: None, reason: String::new() }));
        }
        // Nor the beginning of a rollback that a refusal asked for.
        if self.state.mode == Mode::RollingBack && self.state.ended.is_none() && !self.state.told.contains("rollback_began") {
            let reason = self.state.rollback.as_ref().map_or(String::new(), |rollback| rollback.because.clone());
            self.due.push(Due::Occasion(Occasion { name: "rollback_began", phase: None, step: None, reason }));
        }
        // A phase may have been ended by a person's decision between two sessions, or its message lost by a crash.
        for (ix, phase) in self.state.runbook.phases.iter().enumerate() {
            let is_done = self.state.mode == Mode::Forward && self.state.phase_left(ix as u32) == 0;
            if is_done && !self.state.told.contains(&told_key("phase_success", Some(&phase.id))) {
                self.due.push(Due::Occasion(Occasion { name: "phase_success", phase: Some(ix as u32), step: None, reason: String::new() }));
            }
        }
    }

    /// Delivers what is due. Its facts go into the next commit.
    pub fn deliver_due(&mut self) -> Result<(), JournalError> {
        for due in std::mem::take(&mut self.due) {
            match due {
                Due::Step { ix, direction, attempt, message } => self.deliver_step(ix, direction, attempt, message)?,
                Due::Occasion(occasion) => self.deliver_occasion(&occasion)?,
            }
        }
        Ok(())
    }

    fn deliver_step(&mut self, ix: StepIx, direction: Direction, attempt: u32, message: Message) -> Result<(), JournalError> {
        let name = format!("{}-{:05}-{}-{}", self.head.run, ix.0, file_name(&self.id(ix)), direction.word());
        let result = match self.deliver(&name, "notify", Some(self.state.runbook.step(ix).phase), Some(ix), &message) {
            Ok(sent) => {
                self.record(sent)?;
                Ok(Reading {
                    is_good: true,
                    summary: format!("sent to {}", if message.to.is_empty() { "the outbox".to_owned() } else { message.to.join(", ") }),
                    ..Reading::default()
                })
            }
            Err(error) => Err(crate::effect::EffectError::before(format!("the message could not be written: {error}"))),
        };
        self.finish(ix, direction, attempt, result)
    }

    fn deliver_occasion(&mut self, occasion: &Occasion) -> Result<(), JournalError> {
        let runbook = std::sync::Arc::clone(&self.state.runbook);
        let Some(template) = occasion.template(&self.state, &runbook) else { return Ok(()) };
        let Occasion { name, phase, .. } = occasion;
        let message = occasion.message(template, &self.state, super::now());
        let own = occasion.own_phase(&runbook);
        let place = own.map(|id| format!("-{id}")).unwrap_or_default();
        let file = format!("{}-{:05}-{name}{place}", self.head.run, if occasion.is_told_once() { 0 } else { self.state.head });
        match self.deliver(&file, name, phase.filter(|_| own.is_some()), None, &message) {
            Ok(sent) => self.record(sent),
            // A message that cannot be written must not stop a migration half-way; that it is missing shows in the audit.
            Err(error) => {
                self.observer.note(&format!("the message {name} could not be written: {error}"));
                Ok(())
            }
        }
    }

    fn deliver(&self, name: &str, occasion: &str, phase: Option<u32>, step: Option<StepIx>, message: &Message) -> std::io::Result<Fact> {
        let to = if message.to.is_empty() { String::new() } else { format!("To: {}\n", message.to.join(", ")) };
        let purpose = self.state.started.purpose;
        let subject = match purpose {
            Purpose::LiveTest => format!("[live test] {}", message.subject),
            Purpose::Real | Purpose::DryRun | Purpose::Rehearsal => message.subject.clone(),
        };
        let text = format!("Subject: {subject}\n{to}\n{}", message.body);
        let is_dry = purpose == Purpose::DryRun;
        // Whatever takes messages out of the outbox must not find those of a dry run.
        let place = if is_dry { format!("runs/{}/messages", self.head.run) } else { "outbox".to_owned() };
        let file = message_file(self.journal.folder(), &place, &format!("{name}.txt"), text.as_bytes())?;
        Ok(Fact::MessageSent(MessageSent {
            occasion: occasion.to_owned(),
            phase: phase.map(|phase| self.state.runbook.phases[phase as usize].id.clone()),
            step: step.map(|ix| self.id(ix)),
            subject,
            to: message.to.clone(),
            channel: if is_dry { "nobody, as this is a dry run" } else { "outbox" }.to_owned(),
            file,
            digest: sha256(text.as_bytes()),
        }))
    }
}

fn file_name(id: &str) -> String {
    id.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' }).collect()
}
