//! Which message is due at which fact. Knows nothing of how it travels.

use super::{About, Message, render};
use crate::run::*;
use crate::runbook::{Direction, Runbook, StepIx, Template};

/// Something that people are to be told of, if a template is given for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Occasion {
    pub name: &'static str,
    pub phase: Option<u32>,
    pub step: Option<StepIx>,
    pub reason: String,
}

/// What a fact that was just applied is an occasion for.
pub fn occasions(state: &RunState, event: &Event, was_down: bool) -> Vec<Occasion> {
    let mut all = Vec::new();
    let mut note = |name, phase, step, reason: &str| all.push(Occasion { name, phase, step, reason: reason.to_owned() });
    let ix = event.fact.step().and_then(|step| state.runbook.find(step));
    let phase = ix.map(|ix| state.runbook.step(ix).phase);
    match &event.fact {
        // Not each of a dry run's steps begins.
        Fact::StepForeseen(_) if ix.is_some_and(|ix| state.attempts(ix, Direction::Forward) == 0) => {
            note("phase_start", phase, ix, "");
            if phase.is_some_and(|phase| state.phase_left(phase) == 0) {
                note("phase_success", phase, ix, "");
            }
        }
        Fact::StepStarted(started) => {
            if started.direction == Direction::Forward {
                note("phase_start", phase, ix, "");
            }
            let is_point = |ix: StepIx| state.runbook.step(ix).point_of_no_return && !state.is_only_looked_at(ix);
            if started.direction == Direction::Forward && ix.is_some_and(is_point) {
                note("point_of_no_return", phase, ix, "");
            }
            if !was_down && state.down_since.is_some() {
                note("downtime_starts", phase, ix, "");
            }
            if ix.is_some_and(|ix| state.sets.waiting.contains(&ix)) {
                // What is asked stands with the step, among those that wait.
                note("waiting", phase, ix, "");
            }
        }
        Fact::StepSucceeded(_)
        | Fact::StepForeseen(_)
        | Fact::StepSkipped { .. }
        | Fact::StepResolved(_)
        | Fact::StepProbed { .. }
        | Fact::UndoPassed { .. } => {
            if !was_down && state.down_since.is_some() {
                note("downtime_starts", phase, ix, "");
            }
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
            Stop::InDoubt { steps } => {
                note("waiting", None, steps.first().and_then(|step| state.runbook.find(step)), &format!("in doubt: {}", steps.join(", ")))
            }
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
    all
}

impl Occasion {
    /// The phase that it is an occasion of, if it is not one of the whole run.
    pub fn own_phase<'a>(&self, runbook: &'a Runbook) -> Option<&'a str> {
        let phase = self.phase.filter(|_| self.name.starts_with("phase_"))?;
        runbook.phases.get(phase as usize).map(|phase| phase.id.as_str())
    }

    /// What is to be sent, if anything is and it was not sent before.
    pub fn template<'a>(&self, state: &RunState, runbook: &'a Runbook) -> Option<&'a Template> {
        let name = match self.name.strip_prefix("phase_") {
            Some(of_phase) => runbook.phases.get(self.phase? as usize)?.messages.get(of_phase),
            None => runbook.occasions.get(self.name),
        }?;
        let is_told = self.is_told_once() && state.told.contains(&told_key(self.name, self.own_phase(runbook)));
        runbook.templates.get(name).filter(|_| !is_told)
    }

    /// Its message from that template; one that cannot be rendered says so, as it must not hold anything up.
    pub fn message(&self, template: &Template, state: &RunState, now: Moment) -> Message {
        let about = About { phase: self.phase, step: self.step, reason: &self.reason };
        render(template, state, now, about, Vec::new()).unwrap_or_else(|error| Message {
            subject: format!("{}: {}", state.runbook.name, self.name),
            body: format!("(the template cannot be rendered: {error})\n{}\n", self.reason),
            to: Vec::new(),
        })
    }

    /// A failure, a decision to wait for, a second outage or end is told each time; the rest once.
    pub fn is_told_once(&self) -> bool {
        !matches!(
            self.name,
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
        )
    }
}
