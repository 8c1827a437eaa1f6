//! Holds a copy back between two chunks, until a condition on a reading holds.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use super::super::perform as read;
use super::{EffectError, Interrupts, Job, Keeper, Stopper, Teller};
use crate::runbook::action::Throttle as Limit;

/// One for all tables and chunks of an attempt: who comes while it is read waits for what it says.
pub struct Throttle<'a> {
    limit: Option<&'a Limit<String>>,
    job: &'a Job,
    keeper: &'a Keeper,
    /// Ends a reading that is under way.
    own: Arc<Stopper>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// When it held last.
    held: Option<Instant>,
    /// Why it holds the copy back, if it does.
    back: Option<String>,
    /// The secrets that readings were given, each with a keyed digest.
    secrets: BTreeMap<String, String>,
}

impl<'a> Throttle<'a> {
    pub fn new(
        limit: Option<&'a Limit<String>>,
        job: &'a Job,
        keeper: &'a Keeper,
        interrupts: &Interrupts,
    ) -> Throttle<'a> {
        let own = Arc::new(Stopper::default());
        interrupts.add({
            let own = Arc::clone(&own);
            move || own.stop()
        });
        Throttle { limit, job, keeper, own, state: Mutex::default() }
    }

    /// Returns once the condition holds, or has held so lately that it need not be read again, or
    /// nobody wants to go on.
    ///
    /// # Errors
    /// If it is stopped while it waits.
    pub fn pass(
        &self,
        stopper: &Stopper,
        teller: &Teller,
        is_wanted: &dyn Fn() -> bool,
    ) -> Result<(), EffectError> {
        let Some(limit) = self.limit else { return Ok(()) };
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        while is_wanted()
            && state.held.is_none_or(|held| held.elapsed() >= limit.every.as_duration())
        {
            if stopper.is_stopped() {
                return Err(EffectError::during("it was stopped"));
            }
            match self.reading(limit, &mut state.secrets) {
                None => (state.held, state.back) = (Some(Instant::now()), None),
                Some(why) => {
                    let words = format!("held back until {}: {why}", limit.until.source());
                    teller.progress(words.clone());
                    (state.held, state.back) = (None, Some(words));
                    stopper.sleep(limit.every.as_duration());
                }
            }
        }
        Ok(())
    }

    /// Says how the copy stood when it was stopped.
    pub fn stopped(&self) -> String {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match &state.back {
            Some(words) => format!("it was stopped while it was {words}"),
            None => "it was stopped".to_owned(),
        }
    }

    /// The secrets that readings were given.
    pub fn secrets(&self) -> BTreeMap<String, String> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).secrets.clone()
    }

    /// Why it does not hold, if it does not. A reading that fails says nothing, and nothing goes on
    /// by it.
    fn reading(
        &self,
        limit: &Limit<String>,
        secrets: &mut BTreeMap<String, String>,
    ) -> Option<String> {
        let mut stem = self.job.stem.as_os_str().to_owned();
        stem.push("-throttle");
        let job = Job {
            action: (*limit.probe).clone(),
            attempt: None,
            stem: stem.into(),
            ..self.job.clone()
        };
        let reading = match read(&job, self.keeper, &self.own, &Teller::new(|_| {})) {
            Ok(reading) => reading,
            Err(error) => return Some(error.message),
        };
        secrets.extend(reading.secrets.clone());
        match reading.view(&self.job.names).holds(&limit.until) {
            Ok(true) => None,
            Ok(false) => Some(reading.summary),
            Err(error) => Some(error.0),
        }
    }
}
