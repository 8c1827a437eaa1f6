//! What a run says of a step that it does not carry out: what would happen, or why it could not,
//! and which values would be known only then. Nothing of it is guessed.

use serde::{Deserialize, Serialize};

use serde_json::Value as Json;

use super::event::{Log, Moment, RunStarted};
use super::names;
use super::state::{Refusal, RunState, Track};
use crate::runbook::traffic::Says;
use crate::runbook::{
    Direction, Guard, LiveTest, OnBreach, Read, Reference, Source, StepId, StepIx, Text,
};

/// What a run is for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    #[default]
    Real,
    /// Reads what a real run would read, and changes nothing.
    DryRun,
    /// Carried out with the sides swapped.
    LiveTest,
    /// Nothing but what a simulation found.
    Rehearsal,
}

/// What a rehearsal found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rehearsed {
    pub seed: u64,
    /// Whether the run in which nothing goes wrong finished.
    pub finished: bool,
    /// How many things that can go wrong were tried, and after how many of them the run would be
    /// stuck.
    pub mishaps: usize,
    pub stuck: usize,
    /// Whether these were all.
    pub all: bool,
}

/// A step was looked at and not carried out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepForeseen {
    pub step: StepId,
    pub attempt: u32,
    pub verdict: Foreseen,
    /// For people: what it would do, or why it could not.
    pub words: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub logs: Vec<Log>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Foreseen {
    /// It would do what is said.
    Would,
    /// It cannot be so before the steps that it waits for have changed something.
    NotYet,
    /// It would be refused, as things are.
    Refused,
}

impl Foreseen {
    pub fn word(self) -> &'static str {
        match self {
            Foreseen::Would => "would",
            Foreseen::NotYet => "not yet",
            Foreseen::Refused => "refused",
        }
    }
}

impl Purpose {
    pub fn is_real(&self) -> bool {
        *self == Purpose::Real
    }
}

impl RunStarted {
    /// Whether it changes something.
    pub fn is_carried_out(&self) -> bool {
        matches!(self.purpose, Purpose::Real | Purpose::LiveTest)
    }

    /// Whether nothing is changed.
    pub fn is_dry(&self) -> bool {
        self.purpose == Purpose::DryRun
    }
}

impl RunState {
    /// A step was looked at.
    pub(super) fn foresee(&mut self, foreseen: &StepForeseen, at: Moment) -> Result<(), Refusal> {
        let ix = self.runbook.find(&foreseen.step).ok_or(Refusal::NoSuchStep)?;
        if !self.is_only_looked_at(ix) {
            return Err(Refusal::CarriedOut);
        }
        match self.track(ix, Direction::Forward) {
            Track::Running { attempt, .. } if *attempt == foreseen.attempt => {}
            // Not everything has to be begun to be foreseen.
            Track::Idle if self.sets.ready.contains(&ix) => {}
            other => return Err(Refusal::Stands(other.word())),
        }
        self.steps[ix].foreseen = Some(foreseen.verdict);
        self.settle_foreseen(ix, at);
        Ok(())
    }

    /// Whether this run does not carry the step out.
    pub fn is_only_looked_at(&self, ix: StepIx) -> bool {
        match self.started.purpose {
            Purpose::DryRun => true,
            Purpose::LiveTest => self.runbook.step(ix).live_test == Some(LiveTest::Suppress),
            Purpose::Real | Purpose::Rehearsal => false,
        }
    }

    /// Whether a step that this one waits for would change something first, so that what is there
    /// now need not be there then.
    pub fn is_after_a_change(&self, ix: StepIx) -> bool {
        let before = self.runbook.ancestors(ix);
        self.runbook.ixs().any(|other| {
            before[other]
                && self.step(other).foreseen.is_some()
                && self.runbook.step(other).changes()
        })
    }

    /// Whether a dry run found what would be refused.
    pub fn is_refused(&self) -> bool {
        let mut all = self
            .steps
            .iter()
            .filter_map(|step| step.foreseen)
            .chain(self.watch.foreseen.values().copied());
        all.any(|verdict| verdict == Foreseen::Refused)
    }

    /// What follows from a reading of a guard in a dry run, if a run would not go on because of it.
    pub fn foreseen_of(&self, guard: &Guard, says: Says, can_be_read: bool) -> Option<Foreseen> {
        let changes_first = |from: StepIx| {
            let before = self.runbook.ancestors(from);
            self.runbook.ixs().any(|ix| before[ix] && self.runbook.step(ix).changes())
        };
        let stops = says == Says::Bad && guard.on_breach != OnBreach::Warn;
        match guard.from {
            _ if !can_be_read => Some(Foreseen::Refused),
            Some(from) if stops && changes_first(from) => Some(Foreseen::NotYet),
            _ => stops.then_some(Foreseen::Refused),
        }
    }

    /// The names for a step's texts, in which each of these that is not known yet says so; and the
    /// first step that one is known after.
    pub fn foreseen_names(&self, ix: StepIx, references: &[Reference]) -> (Json, Option<StepId>) {
        let step = self.runbook.step(ix);
        let (mut names, mut first) = (names::of_step(self, ix, Direction::Forward), None);
        for reference in references {
            if let Some(after) = self.unknown(step.scope, &step.reads, reference) {
                put(&mut names, reference, format!("(known after {after})").into());
                first.get_or_insert(after);
            }
        }
        (names, first)
    }

    /// The same for a condition on whether the step is to be done.
    pub fn undecided(&self, when: &crate::runbook::When) -> Option<StepId> {
        when.condition
            .references()
            .iter()
            .find_map(|reference| self.unknown(when.scope, &when.reads, reference))
    }

    fn unknown(&self, scope: u32, reads: &[Read], reference: &Reference) -> Option<StepId> {
        let is_unknown = |ix: &StepIx| self.step(*ix).foreseen.is_some();
        let id = |ix: StepIx| StepId::clone(&self.runbook.step(ix).id);
        let mut names = reference.iter();
        let first = names.next()?;
        if first == "steps" {
            let wanted = names.next();
            let mut of = reads
                .iter()
                .filter(|read| wanted.is_none_or(|wanted| *wanted == read.name))
                .map(|read| &read.of);
            return of
                .find_map(|of| match of {
                    Source::Step(ix) => Some(*ix).filter(is_unknown),
                    Source::Copies(copies) => {
                        match reference.get(2).and_then(|key| copies.get(key)) {
                            Some(ix) => Some(*ix).filter(is_unknown),
                            None => copies.values().copied().find(is_unknown),
                        }
                    }
                })
                .map(id);
        }
        let scope = &self.runbook.scopes[scope as usize];
        let parameter = scope.parameters.get(first)?;
        let parent = scope.parent?;
        parameter
            .value
            .texts()
            .into_iter()
            .flat_map(Text::references)
            .find_map(|reference| self.unknown(parent, &scope.reads, &reference))
    }
}

/// Puts `value` where `path` leads, whatever is there.
fn put(names: &mut Json, path: &[String], value: Json) {
    let Some((name, below)) = path.split_first() else { return *names = value };
    if !names.is_object() {
        *names = Json::Object(Default::default());
    }
    if let Some(fields) = names.as_object_mut() {
        put(fields.entry(name.as_str()).or_insert(Json::Null), below, value);
    }
}
