//! When things happened in the run in which nothing goes wrong, told from its events: attempts,
//! releases, outages. Draws nothing.

use std::collections::HashMap;

use crate::rehearsal::Rehearsal;
use crate::run::{Fact, Moment, RunState};
use crate::runbook::{Direction, StepId};

/// From when to when, in milliseconds since the beginning.
pub type Interval = (u64, u64);

/// When the attempts of each step ran, forward or back, and when what it held was released.
pub fn attempts(found: &Rehearsal) -> (HashMap<StepId, Vec<Interval>>, HashMap<StepId, u64>) {
    let began = found.lived.state.began;
    let at = |moment: Moment| moment.since(began).as_millis();
    let mut all: HashMap<StepId, Vec<Interval>> = HashMap::new();
    let mut releases = HashMap::new();
    let mut open: HashMap<(StepId, Direction), u64> = HashMap::new();
    for event in &found.lived.events {
        let (step, direction) = match &event.fact {
            Fact::StepStarted(started) => {
                open.insert((started.step.clone(), started.direction), at(event.at));
                continue;
            }
            Fact::StepSucceeded(done) => (done.step.clone(), done.direction),
            Fact::StepFailed(failed) => (failed.step.clone(), failed.direction),
            Fact::StepResolved(resolved) => (resolved.step.clone(), resolved.direction),
            _ => continue,
        };
        match open.remove(&(step.clone(), direction)) {
            Some(_) if direction == Direction::Release => drop(releases.insert(step, at(event.at))),
            Some(from) => all.entry(step).or_default().push((from, at(event.at))),
            None => {}
        }
    }
    (all, releases)
}

/// When production was down.
pub fn outages(found: &Rehearsal) -> Vec<Interval> {
    let events = &found.lived.events;
    let Some(Ok(mut state)) =
        events.first().map(|first| RunState::new(found.lived.state.runbook.clone(), first))
    else {
        return Vec::new();
    };
    let (began, mut all, mut since) = (state.began, Vec::new(), None);
    for event in &events[1..] {
        if state.apply(event).is_err() {
            break;
        }
        let at = event.at.since(began).as_millis();
        match (since, state.down_since) {
            (None, Some(_)) => since = Some(at),
            (Some(from), None) => {
                all.push((from, at));
                since = None;
            }
            _ => {}
        }
    }
    all.extend(since.map(|from| (from, found.smooth.took_ms)));
    all
}

/// Intervals that touch or overlap as one.
pub fn union(mut times: Vec<Interval>) -> Vec<Interval> {
    times.sort_unstable();
    let mut all: Vec<Interval> = Vec::new();
    for (from, to) in times {
        match all.last_mut() {
            Some(last) if from <= last.1 => last.1 = last.1.max(to),
            _ => all.push((from, to)),
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_overlaps_is_one_bar() {
        assert_eq!(union(vec![(5, 7), (0, 2), (1, 3), (3, 4)]), [(0, 4), (5, 7)]);
    }
}
