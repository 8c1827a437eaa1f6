//! Which message is due at which fact, and its delivery. A message is delivered after the fact is durable, under a name of its
//! own, so that delivering it again after a crash replaces it.

use super::session::Session;
use crate::effect::Reading;
use crate::journal::{JournalError, outbox_file, sha256};
use crate::message::{self, About, Message};
use crate::run::*;
use crate::runbook::{Direction, StepIx};

/// A message to be delivered.
pub(super) enum Due {
    /// The action of a step.
    Step { ix: StepIx, direction: Direction, attempt: u32, message: Message },
    /// An occasion of the run or of a phase.
    Occasion { occasion: &'static str, phase: Option<u32>, step: Option<StepIx>, reason: String },
}

impl Session<'_> {
    /// Notes what people are to be told of a fact that was just applied.
    pub fn note_occasions(&mut self, event: &Event, was_down: bool) {
        let mut note =
            |occasion, phase, step, reason: &str| self.due.push(Due::Occasion { occasion, phase, step, reason: reason.to_owned() });
        let state = &self.state;
        let ix = event.fact.step().and_then(|step| state.runbook.find(step));
        let phase = ix.map(|ix| state.runbook.step(ix).phase);
        match &event.fact {
            Fact::StepStarted(started) => {
                if started.direction == Direction::Forward {
                    note("phase_start", phase, ix, "");
                }
                if started.direction == Direction::Forward && ix.is_some_and(|ix| state.runbook.step(ix).point_of_no_return) {
                    note("point_of_no_return", phase, ix, "");
                }
                if !was_down && state.down_since.is_some() {
                    note("downtime_starts", phase, ix, "");
                }
                if ix.is_some_and(|ix| state.sets.waiting.contains(&ix)) {
                    note("waiting", phase, ix, &started.action.in_words());
                }
            }
            Fact::StepSucceeded(_)
            | Fact::StepSkipped { .. }
            | Fact::StepResolved(_)
            | Fact::StepProbed { .. }
            | Fact::UndoPassed { .. } => {
                if was_down && state.down_since.is_none() {
                    note("downtime_over", phase, ix, "");
                }
                if state.mode == Mode::Forward && phase.is_some_and(|phase| state.phase_left(phase) == 0) {
                    note("phase_success", phase, ix, "");
                }
            }
            Fact::RunStopped { because } => match because {
                Stop::Failed { steps } | Stop::Stuck { steps } => {
                    let first = steps.first().and_then(|step| state.runbook.find(step));
                    let phase = first.map(|ix| state.runbook.step(ix).phase);
                    note("phase_failure", phase, first, &steps.join(", "));
                    note("failure", phase, first, &steps.join(", "));
                }
                Stop::InDoubt { steps } => note(
                    "waiting",
                    None,
                    steps.first().and_then(|step| state.runbook.find(step)),
                    &format!("in doubt: {}", steps.join(", ")),
                ),
                Stop::Waiting { steps } => {
                    let points = steps.iter().filter_map(|step| state.runbook.find(step)).filter(|ix| state.needs_confirmation(*ix));
                    points.for_each(|ix| note("waiting", Some(state.runbook.step(ix).phase), Some(ix), "a point of no return"));
                }
                _ => {}
            },
            Fact::Breached(breach) => note("breach", None, None, &breach.to_string()),
            Fact::RollbackBegan { because, .. } => note("rollback_began", None, None, because),
            Fact::RunEnded { outcome } => match outcome {
                Outcome::Finished => {
                    note("success", None, None, "");
                    note("report", None, None, "");
                }
                Outcome::RolledBack => {
                    let reason = state.rollback.as_ref().map_or("", |rollback| rollback.because.as_str());
                    note("rolled_back", None, None, reason);
                    note("report", None, None, reason);
                }
                Outcome::Cancelled => {}
            },
            _ => {}
        }
    }

    /// Messages that are due since an earlier session, which died before them or never saw their cause.
    pub fn catch_up_messages(&mut self) {
        if !self.state.told.contains("start") && self.state.ended.is_none() {
            self.due.push(Due::Occasion { occasion: "start", phase: None, step: None, reason: String::new() });
        }
        // Nor the beginning of a rollback that a refusal asked for.
        if self.state.mode == Mode::RollingBack && self.state.ended.is_none() && !self.state.told.contains("rollback_began") {
            let reason = self.state.rollback.as_ref().map_or(String::new(), |rollback| rollback.because.clone());
            self.due.push(Due::Occasion { occasion: "rollback_began", phase: None, step: None, reason });
        }
        // A phase may have been ended by a person's decision between two sessions, or its message lost by a crash.
        for (ix, phase) in self.state.runbook.phases.iter().enumerate() {
            let is_done = self.state.mode == Mode::Forward && self.state.phase_left(ix as u32) == 0;
            if is_done && !self.state.told.contains(&told_key("phase_success", Some(&phase.id))) {
                self.due.push(Due::Occasion { occasion: "phase_success", phase: Some(ix as u32), step: None, reason: String::new() });
            }
        }
    }

    /// Delivers what is due. Its facts go into the next commit.
    pub fn deliver_due(&mut self) -> Result<(), JournalError> {
        for due in std::mem::take(&mut self.due) {
            match due {
                Due::Step { ix, direction, attempt, message } => self.deliver_step(ix, direction, attempt, message)?,
                Due::Occasion { occasion, phase, step, reason } => self.deliver_occasion(occasion, phase, step, &reason)?,
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

    fn deliver_occasion(
        &mut self,
        occasion: &'static str,
        phase: Option<u32>,
        step: Option<StepIx>,
        reason: &str,
    ) -> Result<(), JournalError> {
        let runbook = std::sync::Arc::clone(&self.state.runbook);
        let is_of_phase = occasion.starts_with("phase_");
        let in_phase = phase.and_then(|phase| runbook.phases.get(phase as usize));
        let name = match (is_of_phase, in_phase) {
            (true, Some(phase)) => phase.messages.get(occasion.trim_start_matches("phase_")),
            (true, None) => None,
            (false, _) => runbook.occasions.get(occasion),
        };
        let Some(template) = name.and_then(|name| runbook.templates.get(name)) else { return Ok(()) };
        // A failure, a decision to wait for, a second outage or end is told each time; the rest once.
        let phase_id = if is_of_phase { in_phase.map(|phase| phase.id.as_str()) } else { None };
        let once = !matches!(
            occasion,
            "failure"
                | "phase_failure"
                | "waiting"
                | "point_of_no_return"
                | "downtime_starts"
                | "downtime_over"
                | "report"
                | "breach"
                | "rollback_began"
                | "rolled_back"
        );
        if once && self.state.told.contains(&told_key(occasion, phase_id)) {
            return Ok(());
        }
        let about = About { phase, step, reason };
        let message = match message::render(template, &self.state, super::now(), about, Vec::new()) {
            Ok(message) => message,
            Err(error) => Message {
                subject: format!("{}: {occasion}", runbook.name),
                body: format!("(the template cannot be rendered: {error})\n{reason}\n"),
                to: Vec::new(),
            },
        };
        let place = phase_id.map(|id| format!("-{id}")).unwrap_or_default();
        let name = format!("{}-{:05}-{occasion}{place}", self.head.run, if once { 0 } else { self.state.head });
        match self.deliver(&name, occasion, if is_of_phase { phase } else { None }, None, &message) {
            Ok(sent) => self.record(sent),
            // A message that cannot be written must not stop a migration half-way; that it is missing shows in the audit.
            Err(error) => {
                self.observer.note(&format!("the message {occasion} could not be written: {error}"));
                Ok(())
            }
        }
    }

    fn deliver(&self, name: &str, occasion: &str, phase: Option<u32>, step: Option<StepIx>, message: &Message) -> std::io::Result<Fact> {
        let to = if message.to.is_empty() { String::new() } else { format!("To: {}\n", message.to.join(", ")) };
        let text = format!("Subject: {}\n{to}\n{}", message.subject, message.body);
        let file = outbox_file(self.journal.folder(), &format!("{name}.txt"), text.as_bytes())?;
        Ok(Fact::MessageSent(MessageSent {
            occasion: occasion.to_owned(),
            phase: phase.map(|phase| self.state.runbook.phases[phase as usize].id.clone()),
            step: step.map(|ix| self.id(ix)),
            subject: message.subject.clone(),
            to: message.to.clone(),
            channel: "outbox".to_owned(),
            file,
            digest: sha256(text.as_bytes()),
        }))
    }
}

fn file_name(id: &str) -> String {
    id.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' }).collect()
}
