//! What can be derived from a runbook's steps: made once after reading, asked often.

use std::collections::HashMap;

use super::{Runbook, StepId, StepIx};
use crate::runbook::{Span, StepMap, graph, problem};

/// What can be derived from the steps: made once after reading.
#[derive(Debug, Clone, Default)]
pub struct Index {
    by_id: HashMap<StepId, StepIx>,
    /// For each step, the steps that need it: one flat list and where each step's part begins.
    dependents: Vec<StepIx>,
    starts: Vec<u32>,
    /// How many steps each phase has.
    sizes: Vec<usize>,
    /// The sum of estimates along the critical path.
    estimate: Span,
    /// The steps that a person does or decides.
    for_people: Vec<StepIx>,
}

impl PartialEq for Index {
    fn eq(&self, _: &Index) -> bool {
        true // derived from the steps, which are compared
    }
}

impl Runbook {
    /// Derives the index; to be called once after building or deserializing.
    pub fn with_index(mut self) -> Runbook {
        let count = self.steps.len();
        let mut starts = vec![0u32; count + 1];
        for need in self.steps.iter().flat_map(|step| &step.needs) {
            starts[need.0 as usize + 1] += 1;
        }
        for at in 0..count {
            starts[at + 1] += starts[at];
        }
        let mut next = starts.clone();
        let mut dependents = vec![StepIx(0); starts[count] as usize];
        for (ix, step) in self.steps.iter().enumerate() {
            for need in &step.needs {
                let slot = &mut next[need.0 as usize];
                dependents[*slot as usize] = StepIx(ix as u32);
                *slot += 1;
            }
        }
        let by_id = self
            .steps
            .iter()
            .enumerate()
            .map(|(ix, step)| (step.id.clone(), StepIx(ix as u32)))
            .collect();
        let mut sizes = vec![0; self.phases.len()];
        for step in &self.steps {
            sizes[step.phase as usize] += 1;
        }
        let estimate = graph::critical_path(&self).1;
        let for_people =
            self.ixs().filter(|ix| self.step(*ix).act.action.is_for_a_person()).collect();
        self.index = Index { by_id, dependents, starts, sizes, estimate, for_people };
        self
    }

    /// The sum of estimates along the critical path.
    pub fn estimate(&self) -> Span {
        self.index.estimate
    }

    /// How many steps a phase has.
    pub fn size_of(&self, phase: u32) -> usize {
        self.index.sizes.get(phase as usize).copied().unwrap_or_default()
    }

    /// The steps that a person does or decides, in order of execution.
    pub fn for_people(&self) -> &[StepIx] {
        &self.index.for_people
    }

    /// The step with exactly this id.
    pub fn find(&self, id: &str) -> Option<StepIx> {
        self.index.by_id.get(id).copied()
    }

    /// The step that a person means: its whole id, or the end of it if that is unique
    /// (`point-name`, `copy[7]`).
    ///
    /// # Errors
    /// The candidates, if several end so; the nearest names, if none does.
    pub fn find_by_suffix(&self, name: &str) -> Result<StepIx, String> {
        if let Some(ix) = self.find(name) {
            return Ok(ix);
        }
        let ends = |id: &str| id.strip_suffix(name).is_some_and(|rest| rest.ends_with('/'));
        let found: Vec<StepIx> = self.ixs().filter(|ix| ends(&self.step(*ix).id)).collect();
        match found.as_slice() {
            [only] => Ok(*only),
            [] => {
                let last =
                    |ix: StepIx| self.step(ix).id.rsplit('/').next().unwrap_or_default().to_owned();
                let names: Vec<String> = self.ixs().map(last).collect();
                let hint = problem::nearest(name, names.iter().map(String::as_str))
                    .map(|near| format!("; did you mean `{near}`?"));
                Err(format!(
                    "there is no step `{name}` in this runbook{}",
                    hint.unwrap_or_default()
                ))
            }
            several => {
                let list: Vec<&str> =
                    several.iter().take(5).map(|ix| &*self.step(*ix).id).collect();
                Err(format!(
                    "`{name}` could be any of {} steps, among them {}",
                    several.len(),
                    list.join(", ")
                ))
            }
        }
    }

    /// The steps that need `ix` directly.
    pub fn dependents(&self, ix: StepIx) -> &[StepIx] {
        let at = ix.0 as usize;
        &self.index.dependents[self.index.starts[at] as usize..self.index.starts[at + 1] as usize]
    }

    /// Everything that needs `ix`, directly or not, without `ix` itself.
    pub fn descendants(&self, ix: StepIx) -> StepMap<bool> {
        self.reach(ix, |at| self.dependents(at))
    }

    /// Everything that `ix` needs, directly or not, without `ix` itself.
    pub fn ancestors(&self, ix: StepIx) -> StepMap<bool> {
        self.reach(ix, |at| &self.step(at).needs)
    }

    fn reach<'a>(&'a self, from: StepIx, next: impl Fn(StepIx) -> &'a [StepIx]) -> StepMap<bool> {
        let mut reached = StepMap::filled(false, self.steps.len());
        let mut waiting = vec![from];
        while let Some(at) = waiting.pop() {
            for &neighbour in next(at) {
                if !std::mem::replace(&mut reached[neighbour], true) {
                    waiting.push(neighbour);
                }
            }
        }
        reached
    }
}
