//! Commands that set and print a weight.

use super::{Divider, EffectError, Job, Keeper, Weights};
use crate::effect::aside::run;
use crate::runbook::traffic::Commands;

pub struct Weight<'a> {
    pub commands: &'a Commands<String>,
    pub job: &'a Job,
    pub keeper: &'a Keeper,
}

/// The only side that has a weight.
const NAME: &str = "weight";

impl Divider for Weight<'_> {
    fn read(&self) -> Result<Weights, EffectError> {
        let get = &self.commands.get;
        let told = run(self.job, get, "get", None, self.keeper)?;
        let printed = told
            .text("stdout")
            .map_err(|error| EffectError::before(format!("`{}`: {error}", get.join(" "))))?
            .trim();
        let number = printed
            .trim_end_matches('%')
            .trim()
            .parse::<f64>()
            .ok()
            .filter(|number| (0.0..=100.0).contains(number));
        match number {
            Some(number) => Ok(Weights::from([(NAME.to_owned(), number.to_string())])),
            None => {
                let printed: String = printed.chars().take(80).collect();
                let words = get.join(" ");
                Err(EffectError::before(format!(
                    "`{words}` is to print how many percent the new side has, but printed \
                     `{printed}`"
                )))
            }
        }
    }

    fn set(&self, weights: &Weights) -> Result<(), EffectError> {
        let weight = weights.get(NAME).map_or("0", String::as_str);
        run(self.job, &self.commands.set, "set", Some(weight), self.keeper).map(drop)
    }

    fn at(&self, percent: u8, _: &Weights) -> Weights {
        Weights::from([(NAME.to_owned(), percent.to_string())])
    }
}
