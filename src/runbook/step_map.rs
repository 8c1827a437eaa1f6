//! A value for each step of a runbook, by the step's index. It does not know what the values are.

use std::ops::{Deref, DerefMut, Index, IndexMut};

use super::StepIx;

/// As many values as a runbook has steps, in their order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StepMap<T>(Vec<T>);

impl<T> StepMap<T> {
    /// The same value for each of so many steps.
    pub fn filled(value: T, steps: usize) -> StepMap<T>
    where
        T: Clone,
    {
        StepMap(vec![value; steps])
    }

    /// The value of a step; nothing of one that the runbook has not.
    pub fn value(&self, ix: StepIx) -> Option<&T> {
        self.0.get(ix.0 as usize)
    }
}

impl<T> Index<StepIx> for StepMap<T> {
    type Output = T;

    fn index(&self, ix: StepIx) -> &T {
        &self.0[ix.0 as usize]
    }
}

impl<T> IndexMut<StepIx> for StepMap<T> {
    fn index_mut(&mut self, ix: StepIx) -> &mut T {
        &mut self.0[ix.0 as usize]
    }
}

impl<T> Deref for StepMap<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.0
    }
}

impl<T> DerefMut for StepMap<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.0
    }
}

impl<T> FromIterator<T> for StepMap<T> {
    fn from_iter<I: IntoIterator<Item = T>>(values: I) -> StepMap<T> {
        StepMap(values.into_iter().collect())
    }
}

impl<'a, T> IntoIterator for &'a StepMap<T> {
    type Item = &'a T;
    type IntoIter = std::slice::Iter<'a, T>;

    fn into_iter(self) -> std::slice::Iter<'a, T> {
        self.0.iter()
    }
}

impl<T> IntoIterator for StepMap<T> {
    type Item = T;
    type IntoIter = std::vec::IntoIter<T>;

    fn into_iter(self) -> std::vec::IntoIter<T> {
        self.0.into_iter()
    }
}
