//! Moves traffic from an old to a new side, step by step, and back as soon as a reading says so.
//! What was found first is journaled before anything is changed; the weights themselves tell the
//! next attempt where to go on.

mod analysis;
mod command;
mod haproxy;
mod nginx;
mod weighted;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, json};

use self::analysis::Verdict;
use super::{EffectError, Job, Keeper, Reading, Stopper, Teller, Used, dns};
use crate::runbook::action::{Back, Shift};
use crate::runbook::traffic::Traffic;

/// How often it is tried to bring traffic back, and the pause between.
const TRIES: u32 = 4;
const PAUSE: Duration = Duration::from_millis(300);

/// What each side has, by its name; opaque to all but the kind of traffic that it belongs to.
type Weights = BTreeMap<String, String>;

/// One kind of what divides traffic.
trait Divider {
    /// What the sides have now.
    ///
    /// # Errors
    /// With words that name the server and say what to do; nothing is changed by a look.
    fn read(&self) -> Result<Weights, EffectError>;

    /// Gives the sides these weights.
    fn set(&self, weights: &Weights) -> Result<(), EffectError>;

    /// Whether the new side can take traffic at all.
    ///
    /// # Errors
    /// If it is known that it cannot.
    fn is_ready(&self) -> Result<(), EffectError> {
        Ok(())
    }

    /// What the sides have with so many percent on the new one, everything else being as in `like`.
    fn at(&self, percent: u8, like: &Weights) -> Weights;
}

pub fn perform(
    job: &Job,
    shift: &Shift<String>,
    keeper: &Keeper,
    stopper: &Arc<Stopper>,
    teller: &Teller,
) -> Result<Reading, EffectError> {
    let mut used = Used::new();
    let result = open(job, shift, keeper, stopper, teller, &mut used).and_then(|divider| {
        let mover = Mover { job, shift, keeper, stopper, teller, divider: &*divider };
        if shift.restores { mover.restore() } else { mover.advance() }
    });
    // Whatever is known of the end of a command: the weights tell how it stands.
    let result = result.map_err(|error| match error.when {
        super::When::Unknown => EffectError::during(error.message),
        _ => error,
    });
    job.vault.mask_result(result, &used)
}

fn open<'a>(
    job: &'a Job,
    shift: &'a Shift<String>,
    keeper: &'a Keeper,
    stopper: &'a Stopper,
    teller: &'a Teller,
    used: &mut Used,
) -> Result<Box<dyn Divider + 'a>, EffectError> {
    Ok(match &shift.traffic {
        Traffic::Haproxy(haproxy) => Box::new(haproxy::Backend(haproxy)),
        Traffic::Nginx(nginx) => Box::new(nginx::Upstream { nginx, job, keeper }),
        Traffic::Dns(weighted) => {
            let provider = RefCell::new(dns::open(job, &weighted.zone, keeper, used)?);
            Box::new(weighted::Sets { weighted, provider, stopper, teller })
        }
        Traffic::Run(commands) => Box::new(command::Weight { commands, job, keeper }),
    })
}

struct Mover<'a> {
    job: &'a Job,
    shift: &'a Shift<String>,
    keeper: &'a Keeper,
    stopper: &'a Arc<Stopper>,
    teller: &'a Teller,
    divider: &'a dyn Divider,
}

impl Mover<'_> {
    /// Brings back what was found first.
    fn restore(&self) -> Result<Reading, EffectError> {
        let Some(seen) = self.seen()? else {
            return Ok(Reading {
                is_good: true,
                summary: "nothing had been changed".to_owned(),
                ..Reading::default()
            });
        };
        let now = self.divider.read()?;
        self.is_ours(&now, &seen)?;
        // Also if they are that already: a server may not have been told yet.
        self.put(&seen)?;
        let mut names = Map::new();
        names.insert("weights".into(), json!(seen));
        Ok(Reading {
            names,
            is_good: true,
            summary: format!("as it was: {}", words(&seen)),
            ..Reading::default()
        })
    }

    fn advance(&self) -> Result<Reading, EffectError> {
        let now = self.divider.read()?;
        let (seen, first) = match self.seen()? {
            Some(seen) => {
                self.is_ours(&now, &seen)?;
                let first = self.first(&now, &seen);
                (seen, first)
            }
            None => {
                self.divider.is_ready()?;
                analysis::try_queries(self.job, self.shift)?;
                if self.job.only_looks {
                    return Ok(self.would(&now));
                }
                self.teller.saw(json!(now))?;
                (now.clone(), 0)
            }
        };
        let at = |percent: u8| self.divider.at(percent, &seen);
        let steps = &self.shift.steps;
        // The last weights that were good, and what they are called.
        let mut good = match first.checked_sub(1).map(|before| steps[before]) {
            Some(percent) => (at(percent), format!("{percent} % on the new side")),
            None => (seen.clone(), format!("what it was, {}", words(&seen))),
        };
        let mut secrets = BTreeMap::new();
        let mut before = now;
        let mut said = String::new();
        for &percent in &steps[first..] {
            let weights = at(percent);
            self.teller.progress(format!("{percent} % on the new side"));
            if let Err(error) = self.put(&weights) {
                // What was refused as a whole has changed nothing.
                return Err(match self.divider.read() {
                    Ok(now) if now == before && now == seen => EffectError::before(error.message),
                    _ => self.back(&good, &error.message),
                });
            }
            let name = &self.shift.name;
            let baked = analysis::bake(
                self.job,
                self.shift,
                percent,
                self.keeper,
                self.stopper,
                self.teller,
            );
            secrets.extend(baked.secrets);
            match baked.verdict {
                Verdict::Good(words) => said = words,
                Verdict::Bad(why) => {
                    return Err(
                        self.back(&good, &format!("{name} at {percent} % on the new side: {why}"))
                    );
                }
                Verdict::Stopped => {
                    return Err(self.back(
                        &good,
                        &format!("it was stopped at {percent} % of {name} on the new side"),
                    ));
                }
                Verdict::Inconclusive(why) => {
                    let why = format!(
                        "paused: {percent} % of {name} on the new side is neither good nor \
                         bad: {why}"
                    );
                    return Err(self.to(&good.0, &good.1, &why));
                }
            }
            good = (weights.clone(), format!("{percent} % on the new side"));
            before = weights;
            self.teller.cursor(percent.to_string());
        }
        let percent = steps.last().copied().unwrap_or_default();
        let mut names = Map::new();
        names.insert("percent".into(), percent.into());
        names.insert("weights".into(), json!(before));
        let summary = if said.is_empty() {
            format!("{percent} % on the new side")
        } else {
            format!("{percent} % on the new side; {said}")
        };
        Ok(Reading { names, is_good: true, summary, secrets, ..Reading::default() })
    }

    /// The weights that would be set, one step after the other.
    fn would(&self, now: &Weights) -> Reading {
        let Shift { name, steps, bake, analysis, .. } = self.shift;
        let steps: Vec<String> = steps
            .iter()
            .map(|percent| format!("  {percent} %: {}", words(&self.divider.at(*percent, now))))
            .collect();
        let watched: Vec<&str> = analysis.iter().map(|analysis| &*analysis.name).collect();
        let watched = if watched.is_empty() {
            String::new()
        } else {
            format!(", watching {}", watched.join(", "))
        };
        let summary = format!(
            "move {name}, {bake} at each step{watched}\n  now: {}\n{}",
            words(now),
            steps.join("\n")
        );
        Reading { summary, is_good: true, ..Reading::default() }
    }

    /// What the first attempt found.
    fn seen(&self) -> Result<Option<Weights>, EffectError> {
        match self.job.seen.clone() {
            None => Ok(None),
            Some(seen) => serde_json::from_value(seen).map(Some).map_err(|error| {
                EffectError::before(format!(
                    "the weights that were found first cannot be read: {error}"
                ))
            }),
        }
    }

    /// Nobody else has set the weights since. A side on its own may have what the other has not
    /// yet: an executor may die between.
    fn is_ours(&self, now: &Weights, seen: &Weights) -> Result<(), EffectError> {
        let ours: Vec<Weights> = self
            .shift
            .steps
            .iter()
            .copied()
            .chain([0])
            .map(|percent| self.divider.at(percent, seen))
            .collect();
        let is_one = |(side, weight): (&String, &String)| {
            ours.iter().chain([seen]).any(|weights| weights.get(side) == Some(weight))
        };
        if now.len() == seen.len() && now.iter().all(is_one) {
            return Ok(());
        }
        Err(EffectError::before(format!(
            "{} has {}, which is neither what was found first ({}) nor any step of this shift: \
             somebody else sets it, so nothing was changed; set it to one of those, or resolve the \
             step by hand",
            self.shift.name,
            words(now),
            words(seen)
        )))
    }

    /// The step to begin with: the one whose weights are there, which is watched anew.
    fn first(&self, now: &Weights, seen: &Weights) -> usize {
        let is_there = |at: usize| {
            self.shift.steps.get(at).is_some_and(|percent| self.divider.at(*percent, seen) == *now)
        };
        if now != seen {
            return (0..self.shift.steps.len()).find(|at| is_there(*at)).unwrap_or_default();
        }
        // What was found first may be a step too; then only the cursor tells.
        let cursor = self.job.reached.as_deref().and_then(|cursor| cursor.parse().ok());
        let done = cursor
            .and_then(|cursor: u8| self.shift.steps.iter().position(|percent| *percent == cursor));
        done.map_or(0, |done| {
            [done + 1, done].into_iter().find(|at| is_there(*at)).unwrap_or_default()
        })
    }

    /// Sets the weights and reads them back.
    fn put(&self, weights: &Weights) -> Result<(), EffectError> {
        self.divider.set(weights)?;
        let now = self.divider.read()?;
        match now == *weights {
            true => Ok(()),
            false => Err(EffectError::during(format!(
                "{} was set to {}, but has {}: something else sets it",
                self.shift.name,
                words(weights),
                words(&now)
            ))),
        }
    }

    /// Brings traffic back as was declared.
    fn back(&self, good: &(Weights, String), why: &str) -> EffectError {
        match self.shift.back {
            Back::LastGood => self.to(&good.0, &good.1, why),
            Back::Zero => self.to(&self.divider.at(0, &good.0), "0 % on the new side", why),
        }
    }

    fn to(&self, weights: &Weights, called: &str, why: &str) -> EffectError {
        let mut tries = 1;
        loop {
            match self.put(weights) {
                Ok(()) => {
                    return EffectError::during(format!("{why}; traffic is back at {called}"));
                }
                Err(error) if tries >= TRIES => {
                    return EffectError::during(format!(
                        "{why}; AND TRAFFIC COULD NOT BE BROUGHT BACK to {called}: {}; set it by \
                         hand",
                        error.message
                    ));
                }
                Err(_) => std::thread::sleep(PAUSE),
            }
            tries += 1;
        }
    }
}

/// `new 25, old 75`
fn words(weights: &Weights) -> String {
    let each: Vec<String> =
        weights.iter().map(|(name, weight)| format!("{name} {weight}")).collect();
    each.join(", ")
}
