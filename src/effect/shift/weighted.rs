//! Two weighted sets of records of the DNS, whose weights are changed in one go. Knows nothing of
//! who keeps the zone.

use std::cell::RefCell;

use super::{Divider, EffectError, Weights};
use crate::effect::dns::{Edit, Key, Provider, Records, Unwritten};
use crate::effect::{Stopper, Teller};
use crate::runbook::traffic::Weighted;

pub struct Sets<'a> {
    pub weighted: &'a Weighted<String>,
    pub provider: RefCell<Box<dyn Provider + 'a>>,
    pub stopper: &'a Stopper,
    pub teller: &'a Teller,
}

impl Divider for Sets<'_> {
    fn read(&self) -> Result<Weights, EffectError> {
        let Weighted { from, to, .. } = self.weighted;
        if from == to {
            return Err(EffectError::before(format!(
                "from and to are both {from}: traffic is moved between two sets"
            )));
        }
        [from, to]
            .into_iter()
            .map(|set| Ok((set.clone(), weight(&self.records(set)?.1).to_string())))
            .collect()
    }

    fn set(&self, weights: &Weights) -> Result<(), EffectError> {
        let mut edits = Vec::new();
        for (set, weight) in weights {
            let (key, was) = self.records(set)?;
            let wrong = || {
                EffectError::before(format!(
                    "{key}: `{weight}` is not a weight from 0 to 255; nothing was changed"
                ))
            };
            let becomes =
                Some(Records { weight: Some(weight.parse().map_err(|_| wrong())?), ..was.clone() });
            if becomes.as_ref() != Some(&was) {
                edits.push(Edit { key, was: Some(was), becomes });
            }
        }
        if edits.is_empty() {
            return Ok(());
        }
        let mut provider = self.provider.borrow_mut();
        provider.write(&edits).map_err(|unwritten| match unwritten {
            Unwritten::Failed(error) => error,
            Unwritten::Changed(changed) => EffectError::before(format!(
                "{} was {} a moment ago, and is {} now: somebody else changes it; nothing was \
                 changed",
                changed.key,
                Records::in_words(changed.was.as_ref()),
                Records::in_words(changed.found.as_ref())
            )),
        })?;
        // Traffic that goes back because it was stopped is on its way as soon as that is taken.
        match self.stopper.is_stopped() {
            true => Ok(()),
            false => provider.settle(None, self.stopper, self.teller),
        }
    }

    fn at(&self, percent: u8, _: &Weights) -> Weights {
        let Weighted { from, to, .. } = self.weighted;
        let percent = percent.min(100);
        Weights::from([
            (from.clone(), (100 - percent).to_string()),
            (to.clone(), percent.to_string()),
        ])
    }
}

impl Sets<'_> {
    fn records(&self, set: &str) -> Result<(Key, Records), EffectError> {
        let Weighted { zone, name, kind, .. } = self.weighted;
        let key = Key::new(zone.name(), name, *kind).map_err(EffectError::before)?;
        let key = Key { set: Some(set.to_owned()), ..key };
        let found = self.provider.borrow_mut().read(&key)?;
        let missing = || {
            let place = zone.in_words();
            EffectError::before(format!(
                "{key} is not in {place}; make both sets first, as with `dns`; nothing was changed"
            ))
        };
        found.map(|records| (key.clone(), records)).ok_or_else(missing)
    }
}

/// A set without a weight is as good as one with none.
fn weight(records: &Records) -> u8 {
    records.weight.unwrap_or_default()
}
