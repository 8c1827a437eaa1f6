//! A run moved by hand, one fact after the other, for what no history of the laws has.

use std::sync::Arc;

use switchover::run::*;
use switchover::runbook::{Action, Direction, OnFailure, Runbook, StepId, StepIx};

use super::graphs::graph;

pub struct Play {
    pub state: RunState,
    pub limits: Limits,
    pub now: Moment,
}

pub const FORWARD: Direction = Direction::Forward;
pub const UNDO: Direction = Direction::Undo;
pub const RELEASE: Direction = Direction::Release;

/// Steps without needs, or with those of the edges, changed by hand.
pub fn book(steps: usize, edges: u32, change: impl FnOnce(&mut Runbook)) -> Runbook {
    let mut book = Arc::unwrap_or_clone(graph(steps, edges, false, OnFailure::Pause));
    change(&mut book);
    book.with_index()
}

pub fn play(book: Runbook, until: Option<usize>) -> Play {
    begun(Purpose::Real, book, until)
}

/// The same, of a run for another purpose.
pub fn play_for(purpose: Purpose, book: Runbook) -> Play {
    begun(purpose, book, None)
}

fn begun(purpose: Purpose, book: Runbook, until: Option<usize>) -> Play {
    let started = RunStarted {
        run: "r".into(),
        name: None,
        runbook: "law".into(),
        definition: Digest::default(),
        parameters: Digest::default(),
        version: "0".into(),
        operator: person(),
        folder: String::new(),
        environment: None,
        until: until.map(id),
        purpose,
        uuid: String::new(),
        journal: String::new(),
    };
    let first = Event { number: 1, at: Moment(0), fact: Fact::RunStarted(started) };
    let state = RunState::new(Arc::new(book), &first).unwrap();
    let limits = Limits { parallel: 4, draining: None, attended: false, consents: false };
    Play { state, limits, now: Moment(0) }
}

pub fn person() -> Person {
    Person("p".into())
}

pub fn id(step: usize) -> StepId {
    format!("p/s{step}").into()
}

pub fn ids(steps: &[usize]) -> Vec<StepId> {
    steps.iter().map(|step| id(*step)).collect()
}

pub fn begin(step: u32, direction: Direction) -> Decision {
    Decision::Begin(StepIx(step), direction)
}

pub fn wait(until: impl Into<Option<i64>>) -> Decision {
    Decision::Wait { until: until.into().map(Moment) }
}

impl Play {
    pub fn next(&self) -> Decision {
        next(&self.state, self.now, self.limits)
    }

    /// Applies a fact, or says why not.
    pub fn attempt(&mut self, fact: Fact) -> Result<(), String> {
        let event = Event { number: self.state.head + 1, at: self.now, fact };
        let done = self.state.apply(&event).map_err(|error| error.why.to_string());
        self.sets_say_what_the_tracks_say();
        done
    }

    pub fn fact(&mut self, fact: Fact) -> &mut Play {
        self.attempt(fact).unwrap();
        self
    }

    /// Facts that cannot follow: none of them changes anything.
    pub fn refuses(&mut self, facts: impl IntoIterator<Item = Fact>) -> &mut Play {
        for fact in facts {
            let before = format!("{:?}", self.state);
            assert!(self.attempt(fact.clone()).is_err(), "{fact:?} was taken");
            assert_eq!(
                format!("{:?}", self.state),
                before,
                "{fact:?} was refused, and changed something"
            );
        }
        self
    }

    pub fn at(&mut self, now: i64) -> &mut Play {
        self.now = Moment(now);
        self
    }

    pub fn start(&mut self, step: usize, direction: Direction) -> &mut Play {
        let (ix, action) = (StepIx(step as u32), Box::new(Action::Join));
        let (attempt, key) =
            (self.state.attempts(ix, direction) + 1, self.state.idempotency_key(ix, direction));
        self.fact(Fact::StepStarted(StepStarted {
            step: id(step),
            direction,
            attempt,
            key,
            action,
            env: Default::default(),
        }))
    }

    pub fn ok(&mut self, step: usize, direction: Direction) -> &mut Play {
        let attempt = self.state.attempts(StepIx(step as u32), direction);
        let (outputs, secrets, logs) = Default::default();
        self.fact(Fact::StepSucceeded(StepSucceeded {
            step: id(step),
            direction,
            attempt,
            outputs,
            result: "ok".into(),
            secrets,
            logs,
        }))
    }

    pub fn fail(
        &mut self,
        step: usize,
        direction: Direction,
        kind: FailureKind,
        retry_at: impl Into<Option<i64>>,
    ) -> &mut Play {
        let attempt = self.state.attempts(StepIx(step as u32), direction);
        let (outputs, secrets, logs) = Default::default();
        let (failure, retry_at) =
            (Failure { kind, message: "no".into() }, retry_at.into().map(Moment));
        self.fact(Fact::StepFailed(StepFailed {
            step: id(step),
            direction,
            attempt,
            failure,
            outputs,
            retry_at,
            secrets,
            logs,
        }))
    }

    pub fn resolve(
        &mut self,
        step: usize,
        direction: Direction,
        verdict: Verdict,
    ) -> Result<(), String> {
        let (actor, reason, outputs) = (person(), "looked".into(), Default::default());
        self.attempt(Fact::StepResolved(StepResolved {
            step: id(step),
            direction,
            verdict,
            actor,
            reason,
            outputs,
        }))
    }

    pub fn rollback(&mut self) -> &mut Play {
        self.fact(Fact::RollbackBegan {
            to: None,
            because: "no".into(),
            actor: person(),
            force: false,
        })
    }

    pub fn cancel(&mut self) -> &mut Play {
        self.fact(Fact::CancelBegan { because: "no".into(), actor: person() })
    }

    pub fn stop(&mut self, because: Stop) -> &mut Play {
        self.fact(Fact::RunStopped { because })
    }

    pub fn resume(&mut self) -> &mut Play {
        self.fact(Fact::RunResumed { operator: person(), until: None, still_running: Vec::new() })
    }

    fn sets_say_what_the_tracks_say(&self) {
        let (state, sets) = (&self.state, &self.state.sets);
        for ix in state.runbook.ixs() {
            let may_go = state.runbook.step(ix).needs.iter().all(|need| state.is_settled(*need));
            assert_eq!(
                sets.ready.contains(&ix),
                may_go && *state.track(ix, FORWARD) == Track::Idle,
                "ready {ix:?}"
            );
            for direction in Direction::ALL {
                let (track, pair) = (state.track(ix, direction), (ix, direction));
                assert_eq!(
                    sets.running.contains(&pair),
                    matches!(track, Track::Running { .. }),
                    "running {pair:?}"
                );
                assert_eq!(
                    sets.doubt.contains(&pair),
                    matches!(track, Track::InDoubt { .. }),
                    "in doubt {pair:?}"
                );
                assert_eq!(
                    sets.retrying.contains(&pair),
                    matches!(track, Track::Retrying { .. }),
                    "retrying {pair:?}"
                );
                assert_eq!(
                    sets.failed.contains(&pair),
                    matches!(track, Track::Failed { .. }),
                    "failed {pair:?}"
                );
            }
            let asks = Direction::ALL
                .iter()
                .any(|direction| matches!(state.track(ix, *direction), Track::Waiting { .. }));
            assert_eq!(sets.waiting.contains(&ix), asks, "waiting {ix:?}");
        }
    }
}
