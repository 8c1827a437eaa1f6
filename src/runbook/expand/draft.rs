//! Steps before they are in order: an index of their own, so that it is not taken for their place
//! in the runbook.

use std::ops::{Deref, DerefMut, Index, IndexMut};

use crate::runbook::Guard;
use crate::runbook::model::{Hold, Read, Scope, Source, Step, StepIx, When};

/// A step's number in the order in which the steps are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DraftIx(u32);

/// A value for each step, in the order in which the steps are written.
#[derive(Debug)]
pub struct DraftMap<T>(Vec<T>);

impl<T> DraftMap<T> {
    pub fn new() -> DraftMap<T> {
        DraftMap(Vec::new())
    }

    /// The index that the next value will have.
    pub fn next(&self) -> DraftIx {
        DraftIx(self.0.len() as u32)
    }

    pub fn push(&mut self, value: T) {
        self.0.push(value);
    }

    pub fn with_ixs(&self) -> impl Iterator<Item = (DraftIx, &T)> {
        self.0.iter().enumerate().map(|(at, value)| (DraftIx(at as u32), value))
    }

    pub fn map<U>(self, one: impl FnMut(T) -> U) -> DraftMap<U> {
        DraftMap(self.0.into_iter().map(one).collect())
    }
}

/// The place of each step in the runbook.
pub type Places = DraftMap<StepIx>;

impl Places {
    /// Where the steps of an order stand. Every step is in it once.
    pub fn in_order(order: &[DraftIx]) -> Places {
        let mut places = vec![StepIx(0); order.len()];
        for (place, draft) in order.iter().enumerate() {
            places[draft.0 as usize] = StepIx(place as u32);
        }
        DraftMap(places)
    }

    /// A step with its place for every index in it, and what it needs.
    pub fn step(&self, draft: Step<DraftIx>, needed: &[DraftIx]) -> Step {
        let Step {
            id,
            line,
            file,
            phase,
            scope,
            // They are known from the graph.
            needs: _,
            reads,
            when,
            group,
            item,
            title,
            description,
            role,
            hints,
            estimate,
            ruled_out,
            on_failure,
            downtime,
            point_of_no_return,
            act,
            undo,
            undo_estimate,
            hold,
            dry_run,
            live_test,
        } = draft;
        Step {
            id,
            line,
            file,
            phase,
            scope,
            needs: needed.iter().map(|need| self[*need]).collect(),
            reads: self.reads(reads),
            when: when.into_iter().map(|when| self.when(when)).collect(),
            group,
            item,
            title,
            description,
            role,
            hints,
            estimate,
            ruled_out,
            on_failure,
            downtime,
            point_of_no_return,
            act,
            undo,
            undo_estimate,
            hold: hold.map(|Hold { until, release, estimate }| Hold {
                until: self[until],
                release,
                estimate,
            }),
            dry_run,
            live_test,
        }
    }

    pub fn scope(&self, draft: Scope<DraftIx>) -> Scope {
        let Scope { parent, parameters, secrets, env, reads, item, arguments } = draft;
        Scope { parent, parameters, secrets, env, reads: self.reads(reads), item, arguments }
    }

    pub fn guard(&self, draft: Guard<DraftIx>) -> Guard {
        let Guard { name, scope, title, from, until, analysis, lasting, on_breach } = draft;
        let (from, until) = (from.map(|ix| self[ix]), until.map(|ix| self[ix]));
        Guard { name, scope, title, from, until, analysis, lasting, on_breach }
    }

    fn when(&self, draft: When<DraftIx>) -> When {
        let When { scope, item, reads, condition } = draft;
        When { scope, item, reads: self.reads(reads), condition }
    }

    fn reads(&self, drafts: Vec<Read<DraftIx>>) -> Vec<Read> {
        let one = |Read { name, of }: Read<DraftIx>| {
            let of = match of {
                Source::Step(ix) => Source::Step(self[ix]),
                Source::Copies(copies) => {
                    Source::Copies(copies.into_iter().map(|(key, ix)| (key, self[ix])).collect())
                }
            };
            Read { name, of }
        };
        drafts.into_iter().map(one).collect()
    }
}

impl<T> Index<DraftIx> for DraftMap<T> {
    type Output = T;

    fn index(&self, ix: DraftIx) -> &T {
        &self.0[ix.0 as usize]
    }
}

impl<T> IndexMut<DraftIx> for DraftMap<T> {
    fn index_mut(&mut self, ix: DraftIx) -> &mut T {
        &mut self.0[ix.0 as usize]
    }
}

impl<T> Deref for DraftMap<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.0
    }
}

impl<T> DerefMut for DraftMap<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.0
    }
}
