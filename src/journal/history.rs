//! How long steps took in earlier runs of a runbook, by this journal. Knows nothing of what is
//! expected of them.

use std::collections::HashMap;

use super::{Journal, JournalError};
use crate::run::{Event, Fact, History, Moment, RunStarted};
use crate::runbook::{Direction, Runbook, Span};

/// How many earlier runs are looked at.
const RUNS: usize = 20;

/// How often a step must have been done for its spread to say something.
const ENOUGH: usize = 5;

/// What steps took.
#[derive(Debug, Clone, Default)]
pub struct Durations(HashMap<(String, Direction), Took>);

#[derive(Debug, Clone, Copy)]
struct Took {
    median: Span,
    spread: Option<f64>,
}

impl Journal {
    /// How long the steps of `runbook` took in its last runs in the same environment, without
    /// `run`.
    ///
    /// # Errors
    /// If the journal cannot be read.
    pub fn history(&self, runbook: &Runbook, run: &str) -> Result<Durations, JournalError> {
        let mut runs = self.runs()?.readable;
        let is_alike = |other: &RunStarted| {
            other.runbook == runbook.name
                && other.environment == runbook.environment
                && other.purpose.is_real()
        };
        runs.retain(|other| is_alike(&other.started) && other.run != run);
        runs.sort_by_key(|other| std::cmp::Reverse(other.began));
        let mut all: HashMap<(String, Direction), Vec<Span>> = HashMap::new();
        for other in runs.iter().take(RUNS) {
            let mut begun: HashMap<(String, Direction), Moment> = HashMap::new();
            for event in self.attempts_of(&other.run)? {
                match event.fact {
                    Fact::StepStarted(started) => {
                        begun.insert((started.step.to_string(), started.direction), event.at);
                    }
                    Fact::StepSucceeded(done) => {
                        let key = (done.step.to_string(), done.direction);
                        if let Some(since) = begun.remove(&key) {
                            all.entry(key).or_default().push(event.at.since(since));
                        }
                    }
                    _ => {}
                }
            }
        }
        Ok(Durations(all.into_iter().map(|(key, spans)| (key, Took::of(spans))).collect()))
    }

    /// How many rows a second a step copied when it last did, in any environment.
    ///
    /// # Errors
    /// If the journal cannot be read.
    pub fn rows_per_second(
        &self,
        runbook: &Runbook,
        step: &str,
    ) -> Result<Option<f64>, JournalError> {
        let mut runs = self.runs()?.readable;
        runs.retain(|other| {
            other.started.runbook == runbook.name && other.started.is_carried_out()
        });
        for other in runs.iter().take(RUNS) {
            let mut begun = None;
            for event in self.attempts_of(&other.run)? {
                match event.fact {
                    Fact::StepStarted(started)
                        if *started.step == *step && started.direction == Direction::Forward =>
                    {
                        begun = begun.or(Some(event.at))
                    }
                    Fact::StepSucceeded(done)
                        if *done.step == *step && done.direction == Direction::Forward =>
                    {
                        let rows = done
                            .outputs
                            .get("rows")
                            .and_then(serde_json::Value::as_f64)
                            .filter(|rows| *rows > 0.0);
                        if let (Some(rows), Some(begun)) = (rows, begun) {
                            return Ok(Some(
                                rows / event.at.since(begun).as_duration().as_secs_f64().max(0.001),
                            ));
                        }
                    }
                    _ => {}
                }
            }
        }
        Ok(None)
    }

    /// The beginnings and good ends of a run's attempts, as they stand: whether they are whole is
    /// not checked here. A run of which one cannot be read says nothing of how long steps take.
    fn attempts_of(&self, run: &str) -> Result<Vec<Event>, JournalError> {
        let bodies = self.store.attempts(run)?;
        let events: Result<Vec<Event>, _> =
            bodies.iter().map(|body| serde_json::from_str(body)).collect();
        // Then nothing is known of how long its steps took. Loading that run says what is wrong.
        Ok(events.unwrap_or_default())
    }
}

impl Durations {
    /// How far a step's durations spread: the standard deviation of their logarithm. `None` if it
    /// was not done often enough.
    pub fn spread(&self, step: &str, direction: Direction) -> Option<f64> {
        self.0.get(&(step.to_owned(), direction))?.spread
    }
}

impl History for Durations {
    fn took(&self, step: &str, direction: Direction) -> Option<Span> {
        self.0.get(&(step.to_owned(), direction)).map(|took| took.median)
    }
}

impl Took {
    fn of(mut spans: Vec<Span>) -> Took {
        spans.sort_unstable();
        // There is at least one: what was never done has no entry.
        let median = spans[spans.len() / 2];
        let late = spans[(spans.len() * 95).div_ceil(100) - 1];
        // Of a log-normal distribution the 95th percentile lies 1.645 standard deviations of the
        // logarithm above the median.
        let spread = || (late.as_millis() as f64 / median.as_millis() as f64).ln() / 1.645;
        let is_enough = spans.len() >= ENOUGH && median > Span::ZERO;
        Took { median, spread: is_enough.then(spread) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_runs_say_how_far_durations_spread() {
        let took =
            |seconds: &[u64]| Took::of(seconds.iter().copied().map(Span::from_secs).collect());
        assert_eq!(took(&[3, 1, 2]).median, Span::from_secs(2));
        assert_eq!(took(&[1, 2, 3, 4]).spread, None);
        let spread = took(&[8, 9, 10, 11, 20]).spread.unwrap();
        assert!((spread - 0.4214).abs() < 1e-3, "{spread}");
        assert_eq!(took(&[5; 20]).spread, Some(0.0));
        // Of twenty runs one may be as late as it likes.
        let mut twenty = [10; 20];
        twenty[19] = 1000;
        assert_eq!(took(&twenty).spread, Some(0.0));
        assert_eq!(took(&[0; 9]).spread, None, "what takes no time does not spread");
    }
}
