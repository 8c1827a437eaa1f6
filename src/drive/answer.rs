//! What a person is asked while a session goes on, and what follows from the answer.

use indexmap::IndexMap;

use super::{Drive, Now};
use crate::run::{Event, Fact, IllegalEvent, SkipReason, StepResolved, Track, Verdict, names};
use crate::runbook::action::in_words;
use crate::runbook::parameter::Kind;
use crate::runbook::{Action, Direction, Outputs, Span, StepId, StepIx, Text, Undo};

/// What a person is asked.
#[derive(Debug, Clone)]
pub struct Question {
    pub kind: QuestionKind,
    pub step: StepId,
    pub direction: Direction,
    pub title: String,
    pub description: String,
    pub role: String,
    pub estimate: Option<Span>,
    /// What will be done, in words.
    pub action: String,
    /// How it is taken back, in words.
    pub undo: String,
    /// The fields of a task.
    pub fields: IndexMap<String, Kind>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QuestionKind {
    /// In a guided run, before a step.
    Step,
    Task,
    Approve,
    /// Before a point of no return is passed.
    Point,
}

/// What a person answers.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    Go,
    Done { outputs: Outputs },
    No { reason: String },
    Skip { reason: String },
    RollBack { reason: String },
    Stop,
}

impl Drive {
    pub(super) fn answered(
        &mut self,
        now: Now,
        question: &Question,
        answer: Answer,
    ) -> Result<(), IllegalEvent> {
        let Some(ix) = self.state.runbook.find(&question.step) else { return Ok(()) };
        let (step, actor) = (self.id(ix), self.settings.operator.clone());
        let direction = question.direction;
        let resolved = |verdict, reason: String, outputs| {
            Fact::StepResolved(StepResolved {
                step: step.clone(),
                direction,
                verdict,
                actor: actor.clone(),
                reason,
                outputs,
            })
        };
        let fact = match (question.kind, answer) {
            (QuestionKind::Step, Answer::Go) => {
                self.released.insert(ix);
                return Ok(());
            }
            (QuestionKind::Point, Answer::Go) => {
                self.released.insert(ix);
                Fact::PointConfirmed { step, actor, reason: "go".to_owned() }
            }
            (QuestionKind::Approve, Answer::Go) => {
                resolved(Verdict::Go, "go".into(), Outputs::new())
            }
            (QuestionKind::Approve, Answer::No { reason }) => {
                resolved(Verdict::NoGo, reason, Outputs::new())
            }
            (QuestionKind::Task, Answer::Done { outputs }) => {
                resolved(Verdict::Done, "done".into(), outputs)
            }
            (QuestionKind::Task, Answer::No { reason }) => {
                resolved(Verdict::NotDone, reason, Outputs::new())
            }
            (_, Answer::Skip { reason }) => {
                Fact::StepSkipped { step, because: SkipReason::Operator { actor, reason } }
            }
            (_, Answer::RollBack { reason }) => {
                Fact::RollbackBegan { to: None, because: reason, actor, force: false }
            }
            (_, Answer::Stop) => return self.interrupt(now, 2),
            // An answer that does not fit its question is asked for again.
            (QuestionKind::Step | QuestionKind::Point, Answer::Done { .. } | Answer::No { .. })
            | (QuestionKind::Approve, Answer::Done { .. })
            | (QuestionKind::Task, Answer::Go) => return Ok(()),
        };
        // The run may have gone another way while the person thought.
        let number = self.state.head + 1;
        let tried = self.state.clone().apply(&Event { number, at: now.wall, fact: fact.clone() });
        match tried {
            Ok(()) => self.record(now, fact),
            Err(refused) => {
                self.notes.push(format!(
                    "this answer changes nothing: {}: {}",
                    question.step, refused.why
                ));
                Ok(())
            }
        }
    }

    /// What a person is to be asked about a step.
    pub(super) fn question(&self, ix: StepIx) -> Question {
        let step = self.state.runbook.step(ix);
        let waits = |direction: &Direction| {
            matches!(self.state.track(ix, *direction), Track::Waiting { .. })
        };
        // On the way back, what was asked going forward may be open still; it is not what is asked
        // now.
        let asked =
            [Direction::Undo, Direction::Release, Direction::Forward].into_iter().find(waits);
        let direction = asked.unwrap_or(Direction::Forward);
        let names = names::of_step(&self.state, ix, direction);
        // What only a later step gives is shown by its name.
        let render = |text: &Text| text.render(&names).unwrap_or_else(|_| text.source().to_owned());
        let (kind, action, fields) = match &step.act(direction).unwrap_or(&step.act).action {
            Action::Task(task) => {
                (QuestionKind::Task, render(&task.instructions), task.fields.clone())
            }
            Action::Approve(approve) => {
                (QuestionKind::Approve, render(&approve.question), IndexMap::new())
            }
            action => (QuestionKind::Step, in_words(action, &names), IndexMap::new()),
        };
        Question {
            kind: match asked {
                Some(_) => kind,
                None if self.state.needs_confirmation(ix) => QuestionKind::Point,
                None => QuestionKind::Step,
            },
            direction,
            step: step.id.clone(),
            title: step.title.as_ref().map(render).unwrap_or_default(),
            description: step.description.as_ref().map(render).unwrap_or_default(),
            role: step.role.clone().unwrap_or_default(),
            estimate: step.estimate,
            action,
            undo: match &step.undo {
                _ if direction != Direction::Forward => "this is the way back".to_owned(),
                Undo::Nothing => "there is nothing to undo".to_owned(),
                Undo::Unknown => "none: a rollback will stop here and ask".to_owned(),
                Undo::Act(act) => in_words(&act.action, &names),
            },
            fields,
        }
    }
}
