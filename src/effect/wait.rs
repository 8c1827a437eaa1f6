//! Waiting: for a length of time, or until a condition on a repeated reading holds several times in a row.

use std::sync::Arc;

use super::{EffectError, Job, Keeper, Reading, Stopper, Teller, perform as read};
use crate::runbook::Span;
use crate::runbook::action::Wait;

pub fn perform(job: &Job, wait: &Wait<String>, keeper: &Keeper, stopper: &Arc<Stopper>, teller: &Teller) -> Result<Reading, EffectError> {
    match wait {
        Wait::For(text) => {
            let span: Span = text.parse().map_err(|error| EffectError::before(format!("{error}")))?;
            match stopper.sleep(span.as_duration()) {
                true => Err(EffectError::before("it was stopped")),
                false => Ok(Reading { is_good: true, summary: format!("{span} passed"), ..Reading::default() }),
            }
        }
        Wait::Until { until, probe, every, stable } => {
            let probing = Job { action: (**probe).clone(), attempt: None, ..job.clone() };
            let (mut held, mut readings) = (0, 0u64);
            loop {
                readings += 1;
                // A reading that fails says nothing: it is not "no", and it breaks the row.
                let problem = match read(&probing, keeper, stopper, teller) {
                    Ok(reading) => {
                        let mut names = job.names.clone();
                        if let Some(names) = names.as_object_mut() {
                            names.extend(reading.names.clone());
                        }
                        match until.holds(&names) {
                            Ok(true) => {
                                held += 1;
                                if held >= *stable {
                                    return Ok(Reading { is_good: true, summary: format!("held after {readings} readings"), ..reading });
                                }
                                None
                            }
                            Ok(false) => {
                                held = 0;
                                None
                            }
                            Err(error) => Some(error.0),
                        }
                    }
                    Err(error) => Some(error.message),
                };
                if problem.is_some() {
                    held = 0;
                }
                if stopper.sleep(every.as_duration()) {
                    let last = problem.map(|problem| format!("; the last reading failed: {problem}")).unwrap_or_default();
                    return Err(EffectError::before(format!("`{}` did not hold in {readings} readings{last}", until.source())));
                }
            }
        }
    }
}
