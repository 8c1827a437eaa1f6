//! What the operator does when the run has stopped, and before it is taken up again.

use std::sync::Arc;

use switchover::run::*;
use switchover::runbook::{Direction, StepId, StepIx};

use super::case::{After, Fault, Word};
use super::driver::{Answer, Driver};

impl Driver<'_> {
    pub fn person(&mut self, state: &mut RunState, stop: Stop) -> Answer {
        match stop {
            Stop::Interrupted { .. } => self.history.interrupted = true,
            Stop::Failed { steps } => {
                for step in steps {
                    let ix = state.runbook.find(&step).unwrap();
                    if self.is_in_part(state, ix, Direction::Forward)
                        && let Err(error) = self
                            .append(state, resolved(step, Direction::Forward, Verdict::Partial))?
                    {
                        return Ok(Err(error));
                    }
                }
                if self.case.after == After::Rollback {
                    return self.append(state, self.rollback());
                }
            }
            Stop::Waiting { steps } => return self.let_pass(state, steps),
            Stop::InDoubt { steps } => {
                for step in steps {
                    let ix = state.runbook.find(&step).unwrap();
                    let direction = Direction::ALL
                        .into_iter()
                        .find(|direction| {
                            matches!(state.track(ix, *direction), Track::InDoubt { .. })
                        })
                        .unwrap();
                    // The person looks at the world, and says truthfully what is there; unless the
                    // fault is to guess.
                    let there = self.history.effects.contains(&self.number(ix))
                        == (direction == Direction::Forward);
                    let verdict = match there || self.case.fault == Fault::TakesUnknownForDone {
                        _ if self.is_in_part(state, ix, direction) => Verdict::Partial,
                        true => Verdict::Done,
                        false => Verdict::NotDone,
                    };
                    if let Err(error) = self.append(state, resolved(step, direction, verdict))? {
                        return Ok(Err(error));
                    }
                }
            }
            _ => {}
        }
        Ok(Ok(()))
    }

    /// Whether the person calls it done in part: something stands, and nothing is built on it.
    fn is_in_part(&self, state: &RunState, ix: StepIx, direction: Direction) -> bool {
        let stands = self.history.effects.contains(&self.number(ix));
        let is_bare =
            state.runbook.dependents(ix).iter().all(|dependent| !state.step(*dependent).touched);
        self.case.in_part && direction == Direction::Forward && stands && is_bare
    }

    fn let_pass(&mut self, state: &mut RunState, steps: Vec<StepId>) -> Answer {
        let is_asked = |event: &&Event| {
            matches!(event.fact, Fact::RunStopped { because: Stop::Waiting { .. } })
        };
        let asked = self.history.journal.iter().filter(is_asked).count();
        match self.case.point.map(|point| point.word) {
            Some(Word::Never) if asked > 1 => self.append(state, self.rollback()),
            Some(Word::Never) => Ok(Ok(())),
            _ => {
                for step in steps {
                    let confirmed = Fact::PointConfirmed {
                        step,
                        actor: Person("p".into()),
                        reason: "go".into(),
                    };
                    if let Err(error) = self.append(state, confirmed)? {
                        return Ok(Err(error));
                    }
                }
                Ok(Ok(()))
            }
        }
    }

    /// Takes the new definition, once, if what has begun means the same in it.
    pub fn amend(&mut self, state: &mut RunState) -> Answer {
        let is_known = self.history.refused.is_some()
            || self.history.journal.iter().any(|event| matches!(event.fact, Fact::RunAmended(_)));
        let Some(new) =
            self.case.amended.as_ref().filter(|_| !is_known && state.mode == Mode::Forward)
        else {
            return Ok(Ok(()));
        };
        let is_legal = state.conflicts(new).is_empty() && self.case.fault != Fault::RefusesTheSame;
        if !is_legal && self.case.fault != Fault::AmendsWhatHasBegun {
            self.history.refused = Some(self.history.journal.len());
            return Ok(Ok(()));
        }
        let amended = RunAmended {
            definition: Digest::default(),
            parameters: Digest::default(),
            actor: Person("p".into()),
            reason: "better".into(),
            changes: Vec::new(),
            missing: Vec::new(),
            voided: Some(state.voided_by(new)),
            runbook: Some(Arc::clone(new)),
        };
        let done = self.append(state, Fact::RunAmended(amended))?;
        if self.case.fault == Fault::ForgetsAtAnAmendment {
            let forgotten = RunState::new(Arc::clone(new), &self.history.journal[0]);
            let head = state.head;
            *state = forgotten.unwrap();
            state.head = head;
        }
        if self.case.fault == Fault::LosesWhatIsOwedAtAnAmendment {
            state.notices = Notices::default();
        }
        Ok(done)
    }

    /// A run that came to rest before a point of no return goes back past it.
    pub fn goes_further_back(&self, state: &RunState) -> bool {
        state.ended == Some(Outcome::RolledBack)
            && self.case.point.is_some_and(|point| point.force)
            && !self.history.effects.is_empty()
    }

    pub fn rollback(&self) -> Fact {
        let force = self.case.point.is_some_and(|point| point.force)
            || self.case.fault == Fault::GoesBackPastAPoint;
        Fact::RollbackBegan { to: None, because: "no".into(), actor: Person("p".into()), force }
    }
}

fn resolved(step: StepId, direction: Direction, verdict: Verdict) -> Fact {
    let (actor, reason) = (Person("p".into()), "looked".into());
    Fact::StepResolved(StepResolved {
        step,
        direction,
        verdict,
        actor,
        reason,
        outputs: Default::default(),
    })
}
