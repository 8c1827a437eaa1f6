//! What people are told in a simulated world: the messages of a real run, rendered as it renders
//! them, and sent nowhere.

use std::sync::Arc;

use super::world::World;
use crate::message::{self, About, Message};
use crate::run::*;
use crate::runbook::action::{Content, Notify};
use crate::runbook::{Direction, StepId, StepIx, Text};

impl World<'_> {
    /// The message that a step is.
    pub(super) fn notify(
        &mut self,
        ix: StepIx,
        direction: Direction,
        notify: &Notify<Text>,
    ) -> Result<(), String> {
        if !self.stage.setting.tells {
            return Ok(());
        }
        let runbook = Arc::clone(&self.lived.state.runbook);
        let names = names::of_step(&self.lived.state, ix, direction);
        // What only a real run gives is shown by its name.
        let words = |text: &Text| text.render(&names).unwrap_or_else(|_| text.source().to_owned());
        let to: Vec<String> = notify.to.iter().map(words).collect();
        let message = match &notify.content {
            Content::Words { subject, body } => {
                Message { subject: words(subject), body: words(body), to }
            }
            Content::Template(name) => {
                let Some(template) = runbook.templates.get(name) else { return Ok(()) };
                let about =
                    About { phase: Some(runbook.step(ix).phase), step: Some(ix), reason: "" };
                let as_written = |_| Message {
                    subject: template.subject.source().into(),
                    body: template.body.source().into(),
                    to: to.clone(),
                };
                message::render(template, &self.lived.state, self.now, about, to.clone())
                    .unwrap_or_else(as_written)
            }
        };
        self.send("notify", None, Some(self.id(ix)), None, message)
    }

    /// The messages that the run owes since the last time.
    pub(super) fn tell(&mut self) -> Result<(), String> {
        if !self.stage.setting.tells {
            return Ok(());
        }
        let runbook = Arc::clone(&self.lived.state.runbook);
        let told = std::mem::replace(&mut self.told_until, self.lived.state.head);
        let owed: Vec<Occasion> = self
            .lived
            .state
            .notices
            .owed
            .iter()
            .filter(|occasion| occasion.of > told)
            .cloned()
            .collect();
        for occasion in owed {
            let Some(template) = occasion.template(&runbook) else { continue };
            let message = message::of_occasion(&occasion, template, &self.lived.state, self.now);
            self.send(
                occasion.kind.word(),
                occasion.own_phase(&runbook).map(str::to_owned),
                None,
                Some(occasion.of),
                message,
            )?;
        }
        Ok(())
    }

    fn send(
        &mut self,
        occasion: &str,
        phase: Option<String>,
        step: Option<StepId>,
        of: Option<u64>,
        message: Message,
    ) -> Result<(), String> {
        let (occasion, channel, file) =
            (occasion.to_owned(), "rehearsal".to_owned(), String::new());
        let Message { subject, body, to } = message;
        self.lived.bodies.push(body);
        self.record(Fact::MessageSent(MessageSent {
            occasion,
            phase,
            step,
            of,
            subject,
            to,
            channel,
            file,
            digest: Digest::default(),
        }))
    }
}
