//! Watches while a weight bakes: each analysis is read again and again on a thread of its own, and
//! the first that is bad once too often ends the watch. A reading is good, bad, or inconclusive;
//! what cannot be had is never good and never bad.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use super::{EffectError, Job, Keeper, Stopper, Teller};
use crate::effect::aside::with_stem;
use crate::effect::reading::{self, PATIENCE, Said};
use crate::runbook::Span;
use crate::runbook::action::Shift;
use crate::runbook::traffic::{Analysis, Says};

/// How often everything is looked at.
const TICK: Duration = Duration::from_millis(50);

/// What became of a weight that was watched.
pub struct Baked {
    pub verdict: Verdict,
    /// The secrets that readings were given, each with a keyed digest.
    pub secrets: BTreeMap<String, String>,
}

pub enum Verdict {
    Good(String),
    Bad(String),
    Inconclusive(String),
    Stopped,
}

struct Told {
    of: usize,
    said: Said,
}

/// What is known of one analysis at this weight.
#[derive(Clone, Default)]
struct Known {
    last: Option<(Says, String)>,
    bad: u32,
}

/// Asks each Prometheus once before anything is changed: a query that it does not understand would
/// never say anything.
///
/// # Errors
/// If one cannot be asked, or refuses a query.
pub fn try_queries(job: &Job, shift: &Shift<String>) -> Result<(), EffectError> {
    shift.analysis.iter().try_for_each(|analysis| reading::try_query(job, analysis))
}

/// Watches a weight for as long as it bakes, and until every analysis has said its last word.
pub fn bake(
    job: &Job,
    shift: &Shift<String>,
    percent: u8,
    keeper: &Keeper,
    stopper: &Arc<Stopper>,
    teller: &Teller,
) -> Baked {
    let (halt, is_over) = (Arc::new(Stopper::default()), Arc::new(AtomicBool::new(false)));
    let (send, receive) = channel();
    for (of, analysis) in shift.analysis.iter().enumerate() {
        let reader = Reader {
            of,
            analysis: analysis.clone(),
            job: Job { timeout: Some(PATIENCE), ..with_stem(job, &format!("analysis{of}")) },
            keeper: keeper.clone(),
            halt: Arc::clone(&halt),
            is_over: Arc::clone(&is_over),
            send: send.clone(),
        };
        std::thread::spawn(move || reader.watch());
    }
    drop(send);
    let (bake, mut passed, mut looked) = (shift.bake.as_duration(), Duration::ZERO, Instant::now());
    let mut known = vec![Known::default(); shift.analysis.len()];
    let mut secrets = BTreeMap::new();
    let mut shown: Option<Duration> = None;
    let verdict = loop {
        if stopper.is_stopped() {
            break Verdict::Stopped;
        }
        match receive.recv_timeout(TICK) {
            Ok(told) => {
                let (at, analysis) = (&mut known[told.of], &shift.analysis[told.of]);
                secrets.extend(told.said.secrets);
                if told.said.says == Says::Bad {
                    at.bad += 1;
                }
                if at.last.as_ref().is_none_or(|(says, _)| *says != told.said.says) {
                    teller.reading(&analysis.name, percent, told.said.says, &told.said.words);
                }
                at.last = Some((told.said.says, told.said.words));
                if at.bad > analysis.failure_limit {
                    let words =
                        at.last.as_ref().map(|(_, words)| words.as_str()).unwrap_or_default();
                    let count = if at.bad == 1 {
                        "a bad reading".to_owned()
                    } else {
                        format!("{} bad readings", at.bad)
                    };
                    break Verdict::Bad(format!(
                        "the analysis `{}` failed with {count}: {words}",
                        analysis.name
                    ));
                }
            }
            Err(RecvTimeoutError::Disconnected) if passed >= bake => break verdict(shift, &known),
            Err(RecvTimeoutError::Disconnected) => drop(stopper.sleep(TICK)),
            Err(RecvTimeoutError::Timeout) => {}
        }
        // While everything stood still, nothing was watched.
        passed += looked.elapsed().min(Duration::from_secs(1));
        looked = Instant::now();
        if passed >= bake {
            is_over.store(true, Ordering::Relaxed);
        }
        if shown.is_none_or(|shown| passed - shown >= Duration::from_secs(1)) {
            shown = Some(passed);
            let left = Span::from_secs(bake.saturating_sub(passed).as_secs());
            teller.progress(format!(
                "{percent} % on the new side, {left} left{}",
                summary(shift, &known)
            ));
        }
    };
    halt.stop();
    Baked { verdict, secrets }
}

/// What all of them said last.
fn verdict(shift: &Shift<String>, known: &[Known]) -> Verdict {
    let unclear =
        shift.analysis.iter().zip(known).find_map(|(analysis, known)| match &known.last {
            None => Some(format!("the analysis `{}` was never read", analysis.name)),
            Some((Says::Inconclusive, words)) => {
                Some(format!("the analysis `{}` is inconclusive: {words}", analysis.name))
            }
            Some(_) => None,
        });
    match unclear {
        Some(words) => Verdict::Inconclusive(words),
        None => Verdict::Good(summary(shift, known).trim_start_matches("; ").to_owned()),
    }
}

fn summary(shift: &Shift<String>, known: &[Known]) -> String {
    let each = shift.analysis.iter().zip(known).map(|(analysis, known)| match &known.last {
        None => format!("; {} not read yet", analysis.name),
        Some((says, words)) => {
            format!("; {} {says} ({words})", analysis.name)
        }
    });
    each.collect()
}

/// Reads one analysis again and again.
struct Reader {
    of: usize,
    analysis: Analysis<String>,
    job: Job,
    keeper: Keeper,
    halt: Arc<Stopper>,
    is_over: Arc<AtomicBool>,
    send: Sender<Told>,
}

impl Reader {
    fn watch(self) {
        if self.halt.sleep(self.analysis.initial_delay.as_duration()) {
            return;
        }
        loop {
            // The last reading is one that begins when the time is over.
            let is_last = self.is_over.load(Ordering::Relaxed);
            let told = self.read();
            if self.send.send(told).is_err() || is_last {
                return;
            }
            let begun = Instant::now();
            while begun.elapsed() < self.analysis.every.as_duration()
                && !self.is_over.load(Ordering::Relaxed)
            {
                if self.halt.sleep(TICK.min(self.analysis.every.as_duration())) {
                    return;
                }
            }
        }
    }

    fn read(&self) -> Told {
        let said = reading::read(&self.job, &self.analysis, &self.keeper, &self.halt);
        Told { of: self.of, said }
    }
}
