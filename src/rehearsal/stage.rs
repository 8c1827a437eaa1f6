//! What is the same in every run of a rehearsal, found once: which conditions hold, what people are
//! asked. Simulated steps give no outputs, so that nothing of this depends on what has happened.

use std::collections::HashMap;
use std::sync::Arc;

use super::lookout::Foresight;
use super::{Setting, world};
use crate::run::*;
use crate::runbook::{Act, Action, Direction, Runbook, Step, StepIx, StepMap};

pub struct Stage<'a> {
    pub runbook: Arc<Runbook>,
    pub expected: &'a Expected,
    pub setting: &'a Setting,
    /// The first event of every run.
    pub first: Event,
    given: Arc<Given>,
}

struct Given {
    foresight: Foresight,
    premises: StepMap<Premise>,
    asked: HashMap<(StepIx, Direction), Action<String>>,
}

/// What becomes of a step's conditions.
#[derive(Debug, Clone, Default)]
pub struct Premise {
    /// The condition that does not hold.
    pub fails: Option<String>,
    /// Conditions that depend on what only a real run produces, and are taken to hold.
    pub assumed: Vec<String>,
}

impl Stage<'_> {
    /// # Errors
    /// If such a run cannot begin, which is a fault of this program.
    pub fn of<'a>(
        runbook: &Arc<Runbook>,
        expected: &'a Expected,
        setting: &'a Setting,
    ) -> Result<Stage<'a>, String> {
        let first = world::first(runbook, setting.began);
        let state =
            RunState::new(Arc::clone(runbook), &first).map_err(|error| error.to_string())?;
        let mut asked = HashMap::new();
        for ix in runbook.ixs() {
            for direction in Direction::ALL {
                if let Some(act) =
                    runbook.step(ix).act(direction).filter(|act| act.action.is_for_a_person())
                {
                    asked.insert((ix, direction), question(&state, ix, direction, act));
                }
            }
        }
        let premises = runbook.steps.iter().map(|step| Premise::of(&state, step)).collect();
        Ok(Stage {
            runbook: Arc::clone(runbook),
            expected,
            setting,
            first,
            given: Arc::new(Given { foresight: Foresight::of(runbook, expected), premises, asked }),
        })
    }

    /// The same for runs that are lived in another way.
    pub fn with<'a>(&'a self, setting: &'a Setting) -> Stage<'a> {
        Stage {
            runbook: Arc::clone(&self.runbook),
            first: self.first.clone(),
            given: Arc::clone(&self.given),
            expected: self.expected,
            setting,
        }
    }

    pub fn foresight(&self) -> &Foresight {
        &self.given.foresight
    }

    pub fn premise(&self, ix: StepIx) -> &Premise {
        &self.given.premises[ix]
    }

    /// What a person is asked, as it is journaled.
    pub fn asked(&self, ix: StepIx, direction: Direction) -> Action<String> {
        self.given.asked.get(&(ix, direction)).cloned().unwrap_or(Action::Join)
    }
}

impl Premise {
    fn of(state: &RunState, step: &Step) -> Premise {
        let mut premise = Premise::default();
        for when in &step.when {
            match when.condition.holds(&names::of_when(state, when)) {
                Ok(true) => {}
                Ok(false) => {
                    premise.fails = Some(when.condition.source().to_owned());
                    break;
                }
                Err(_) => premise.assumed.push(format!("{}: {}", step.id, when.condition.source())),
            }
        }
        premise
    }
}

fn question(state: &RunState, ix: StepIx, direction: Direction, act: &Act) -> Action<String> {
    act.action.render(&names::of_step(state, ix, direction)).unwrap_or(Action::Join)
}

/// Who rehearses.
pub fn operator() -> Person {
    Person("rehearsal".into())
}
