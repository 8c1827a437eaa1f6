//! One run of stand-ins after the other: the executor is killed in it, the run is taken up again,
//! and its end is held against that of the run in which nobody is killed.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::Progress;
use super::scratch::Scratch;
use crate::rehearsal::{
    Account, Certificate, Death, Difference, Killed, StandIn, Way, resumed, rolled_back, smooth,
};
use crate::run::kind;

/// After how many runs that end otherwise no more are tried.
const ENOUGH: usize = 20;

/// One run that is killed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Trial {
    at: u64,
    death: Death,
    way: Way,
}

/// All ways to kill the executor at this event, and to go on then.
pub(super) fn trials_at(at: u64) -> impl Iterator<Item = Trial> {
    let deaths = [Death::BeforeLaunch, Death::Executor, Death::WithKeeper];
    deaths
        .into_iter()
        .flat_map(move |death| [Way::Resume, Way::Rollback].map(|way| Trial { at, death, way }))
}

/// Where runs are tried, and what they are held against.
pub(super) struct Lab<'a> {
    pub root: &'a Path,
    pub book: &'a Path,
    pub stand_in: &'a Arc<StandIn>,
    pub smooth: Account,
    pub keep: bool,
}

impl Lab<'_> {
    /// Tries all of them, several at once, until too many end otherwise.
    pub fn try_all(
        &self,
        trials: &[Trial],
        workers: usize,
        certificate: &mut Certificate,
        tell: &mut dyn FnMut(Progress),
    ) {
        let next = AtomicUsize::new(0);
        let (send, receive) = std::sync::mpsc::channel();
        std::thread::scope(|scope| {
            for _ in 0..workers {
                let (send, next) = (send.clone(), &next);
                scope.spawn(move || {
                    while let Some(trial) = trials.get(next.fetch_add(1, Ordering::Relaxed)) {
                        if send.send(self.try_one(*trial)).is_err() {
                            break;
                        }
                    }
                });
            }
            drop(send);
            for difference in receive {
                certificate.runs += 1;
                tell(Progress::Tried);
                certificate.differences.extend(difference);
                if certificate.differences.len() >= ENOUGH && certificate.runs < trials.len() {
                    next.store(trials.len(), Ordering::Relaxed);
                    certificate.given_up = true;
                }
            }
        });
        certificate
            .differences
            .sort_by_key(|difference| difference.killed.as_ref().map(|killed| killed.event));
    }

    /// Tries one run, in a folder of its own; what does not hold of it.
    fn try_one(&self, trial: Trial) -> Option<Difference> {
        let name = format!("{:05}-{}-{}", trial.at, death_word(trial.death), verb(trial.way));
        let kept = self.root.join(name);
        let mut died = trial.at;
        let end = Scratch::create(kept.clone(), self.stand_in).and_then(|scratch| {
            let ended = scratch.begin(self.book, Some((trial.at, trial.death)))?;
            // Of several steps at once the order may differ, and the last commit of one run be the
            // last but one of another.
            died = if ended.was_killed {
                ended.commits.last().copied().unwrap_or(died)
            } else {
                self.smooth.head()
            };
            Ok((scratch.take_up(verb(trial.way))?, scratch))
        });
        let (what, account, scratch) = match end {
            Err(error) => (vec![error.to_string()], None, None),
            Ok((account, scratch)) => {
                let what = match trial.way {
                    Way::Resume => resumed(&account, &self.smooth),
                    Way::Rollback => rolled_back(&account),
                };
                (what, Some(account), Some(scratch))
            }
        };
        if what.is_empty() {
            scratch.filter(|_| !self.keep).into_iter().for_each(Scratch::remove);
            return None;
        }
        let events = account.as_ref().map_or(&self.smooth.events, |account| &account.events);
        let fact = events.get(died as usize - 1).map(|event| &event.fact);
        let killed = Killed {
            event: died,
            kind: fact.map_or("", kind),
            step: fact.and_then(|fact| fact.step()).map(ToString::to_string),
            death: trial.death,
            way: trial.way,
        };
        Some(Difference { killed: Some(killed), what, kept: kept.display().to_string() })
    }
}

/// The run in which nobody is killed: the last event of each of its commits, and its end.
pub(super) fn smooth_run(
    root: &Path,
    book: &Path,
    stand_in: &Arc<StandIn>,
) -> Result<(Vec<u64>, Account), Difference> {
    let folder = root.join("smooth");
    let end = Scratch::create(folder.clone(), stand_in)
        .and_then(|scratch| Ok((scratch.begin(book, None)?.commits, scratch.account()?)));
    let what = match end {
        Err(error) => vec![error.to_string()],
        Ok((commits, account)) => match smooth(&account) {
            wrong if wrong.is_empty() => return Ok((commits, account)),
            wrong => wrong,
        },
    };
    Err(Difference { killed: None, what, kept: folder.display().to_string() })
}

/// How a run's folder says who was killed.
fn death_word(death: Death) -> &'static str {
    match death {
        Death::BeforeLaunch => "before_launch",
        Death::Executor => "executor",
        Death::WithKeeper => "with_keeper",
    }
}

/// The verb that takes a run up this way.
fn verb(way: Way) -> &'static str {
    match way {
        Way::Resume => "resume",
        Way::Rollback => "rollback",
    }
}
