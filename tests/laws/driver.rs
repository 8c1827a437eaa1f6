//! An executor in a nutshell, over a journal that is a list and a world that is a list, which can
//! lose its memory at any point.

use std::sync::Arc;

use switchover::run::*;
use switchover::runbook::{Action, Direction, Runbook, Span, StepIx};

use super::case::{Case, Fault, History, Orphans, Seen, Word, number};
use super::drawn::{self, Looked};
use super::faults::distort;

pub struct Crash;

/// What came of something that was to be written down: nothing, if the executor died.
pub type Answer = Result<Result<(), String>, Crash>;

pub struct Driver<'a> {
    pub case: &'a Case,
    pub history: History,
    /// The definition in force.
    book: Arc<Runbook>,
    crashes: Vec<usize>,
    interrupt: Option<(usize, bool)>,
    inflight: Vec<(StepIx, Direction, u32)>,
    now: i64,
}

/// Drives a case to its end, with a crash at each of these points.
pub fn drive(case: &Case, crashes: &[usize]) -> Result<History, String> {
    Driver::new(case, crashes.to_vec(), None).into_history()
}

/// Drives a case that is interrupted once at this point, and then resumed.
pub fn drive_interrupted(case: &Case, at: usize, kill: bool) -> Result<History, String> {
    Driver::new(case, Vec::new(), Some((at, kill))).into_history()
}

impl Driver<'_> {
    fn new(case: &Case, crashes: Vec<usize>, interrupt: Option<(usize, bool)>) -> Driver<'_> {
        Driver {
            case,
            history: History::default(),
            book: Arc::clone(&case.book),
            crashes,
            interrupt,
            inflight: Vec::new(),
            now: 0,
        }
    }

    fn into_history(mut self) -> Result<History, String> {
        for _ in 0..200 {
            match self.session() {
                Ok(Ok(true)) => return Ok(self.history),
                Ok(Ok(false)) => {}
                // What a faulty executor did before it was refused stands in both lists, for the
                // checker to judge.
                Ok(Err(_)) if self.case.fault != Fault::None => return Ok(self.history),
                Ok(Err(error)) => return Err(format!("{error}\n{:#?}", self.history)),
                Err(Crash) => self.orphan(),
            }
        }
        Err("it never came to an end".into())
    }

    /// A point at which the executor may die.
    fn point(&mut self) -> Result<(), Crash> {
        let now = self.history.points;
        self.history.points += 1;
        if self.crashes.first() == Some(&now) {
            self.crashes.remove(0);
            return Err(Crash);
        }
        Ok(())
    }

    /// What the world does with commands whose executor died.
    fn orphan(&mut self) {
        for (ix, direction, attempt) in std::mem::take(&mut self.inflight) {
            let began = self.history.world.iter().any(|seen| {
                (seen.step, seen.direction, seen.attempt) == (self.number(ix), direction, attempt)
            });
            if began && self.case.orphans == Orphans::GoOn {
                self.inflight.push((ix, direction, attempt));
            } else if began {
                if self.case.orphans != Orphans::Die {
                    self.affect(ix, direction, attempt);
                }
                self.see(ix, direction, attempt, false);
            }
        }
    }

    /// One executor from its start to its end; true if the run is over.
    fn session(&mut self) -> Result<Result<bool, String>, Crash> {
        let mut state = match self.rebuild() {
            Ok(state) => state,
            Err(error) => return Ok(Err(error)),
        };
        if self.case.orphans == Orphans::AreRecorded
            && let Err(error) = self.adopt(&mut state)?
        {
            return Ok(Err(error));
        }
        if state.head > 1 {
            if self.goes_further_back(&state) {
                if let Err(error) = self.append(&mut state, self.rollback())? {
                    return Ok(Err(error));
                }
            } else if state.ended.is_some() {
                self.history.outcome = state.ended;
                return Ok(Ok(true));
            }
            let still = |(ix, direction, _): &(StepIx, Direction, u32)| StillRunning {
                step: self.id(*ix),
                direction: *direction,
            };
            let is_disowned =
                matches!(self.case.fault, Fault::BeginsBesideTheLiving | Fault::LooksAtTheLiving);
            let still_running = self.inflight.iter().filter(|_| !is_disowned).map(still).collect();
            if let Err(error) = self.append(
                &mut state,
                Fact::RunResumed { operator: Person("p".into()), until: None, still_running },
            )? {
                return Ok(Err(error));
            }
            if let Err(error) = self.amend(&mut state)? {
                return Ok(Err(error));
            }
            self.book = Arc::clone(&state.runbook);
        }
        for _ in 0..2000 {
            let draining = self
                .interrupt
                .filter(|(at, _)| self.history.points > *at && !self.history.interrupted)
                .map(|_| 2);
            if let (Some(_), Some((_, true))) = (draining, self.interrupt) {
                let stopped = self.stop_all(&mut state)?;
                if let Err(error) = stopped {
                    return Ok(Err(error));
                }
            }
            let consents = self.case.point.is_some_and(|point| point.word == Word::Beforehand);
            let limits = Limits {
                parallel: if self.case.drawn.is_some() { 3 } else { 2 },
                draining,
                attended: false,
                consents,
            };
            let decision = distort(self.case, &state, next(&state, Moment(self.now), limits));
            match self.carry_out(&mut state, decision)? {
                Ok(None) => {}
                Ok(Some(over)) => return Ok(Ok(over)),
                Err(error) => return Ok(Err(error)),
            }
        }
        Ok(Err("a session never came to an end".into()))
    }

    fn stop_all(&mut self, state: &mut RunState) -> Answer {
        for (ix, direction, attempt) in self.inflight.clone() {
            let step = self.id(ix);
            let request = Fact::StopRequested {
                step: step.clone(),
                direction,
                attempt,
                because: StopReason::Interrupt,
            };
            if let Err(error) = self.append(state, request)? {
                return Ok(Err(error));
            }
            self.inflight.retain(|running| *running != (ix, direction, attempt));
            self.see(ix, direction, attempt, false);
            let failed = self.failed(ix, direction, attempt, FailureKind::Failed);
            if let Err(error) = self.append(state, failed)? {
                return Ok(Err(error));
            }
        }
        Ok(Ok(()))
    }

    fn carry_out(
        &mut self,
        state: &mut RunState,
        decision: Decision,
    ) -> Result<Result<Option<bool>, String>, Crash> {
        let done = match decision {
            Decision::Begin(ix, direction) => {
                return Ok(self.begin(state, ix, direction)?.map(|()| None));
            }
            Decision::Skip(ix, because) => {
                self.append(state, Fact::StepSkipped { step: self.id(ix), because })?
            }
            Decision::Pass(ix) => self.append(state, Fact::UndoPassed { step: self.id(ix) })?,
            Decision::RollBack { because } => self.append(
                state,
                Fact::RollbackBegan { to: None, because, actor: Person("p".into()), force: false },
            )?,
            Decision::Probe(ix, direction) => {
                return Ok(self.look(state, ix, direction)?.map(|()| None));
            }
            Decision::Confirm(ix) => self.append(
                state,
                Fact::PointConfirmed {
                    step: self.id(ix),
                    actor: Person("p".into()),
                    reason: "--yes".into(),
                },
            )?,
            Decision::Wait { until: Some(Moment(due)) }
                if due > self.now && (self.inflight.is_empty() || self.is_quick()) =>
            {
                self.now = due;
                self.point()?;
                Ok(())
            }
            Decision::Wait { .. } => return Ok(self.finish_one(state)?.map(|()| None)),
            Decision::End(outcome) => {
                // What a faulty executor takes for the end is one, whatever refuses it.
                if self.case.fault != Fault::None {
                    self.history.outcome = Some(outcome);
                }
                if state.ended.is_none()
                    && let Err(error) = self.append(state, Fact::RunEnded { outcome })?
                {
                    return Ok(Err(error));
                }
                self.history.outcome = Some(outcome);
                return Ok(Ok(Some(!self.goes_further_back(state))));
            }
            Decision::Stop(stop) => {
                if let Err(error) =
                    self.append(state, Fact::RunStopped { because: stop.clone() })?
                {
                    return Ok(Err(error));
                }
                return Ok(self.person(state, stop)?.map(|()| Some(false)));
            }
        };
        Ok(done.map(|()| None))
    }

    fn begin(&mut self, state: &mut RunState, ix: StepIx, direction: Direction) -> Answer {
        let attempt = state.attempts(ix, direction) + 1;
        if direction == Direction::Forward && attempt == 1 {
            let fails = drawn::ruled_out(state, ix)
                .filter(|_| self.case.fault != Fault::IgnoresAConditionThatFails);
            let lie = || {
                (self.case.fault == Fault::SkipsWhatHolds
                    && !state.runbook.step(ix).when.is_empty())
                .then(|| "false".to_owned())
            };
            if let Some(condition) = fails.or_else(lie) {
                let because = SkipReason::Condition { condition };
                return self.append(state, Fact::StepSkipped { step: self.id(ix), because });
            }
        }
        let action = Box::new(Action::Join);
        let started = Fact::StepStarted(StepStarted {
            step: self.id(ix),
            direction,
            attempt,
            key: state.idempotency_key(ix, direction),
            action,
            env: Default::default(),
        });
        if self.case.fault == Fault::ActsBeforeTheJournal {
            self.inflight.push((ix, direction, attempt));
            self.see(ix, direction, attempt, true);
            self.point()?;
            return self.append(state, started);
        }
        if let Err(error) = self.append(state, started)? {
            return Ok(Err(error));
        }
        self.inflight.push((ix, direction, attempt));
        self.point()?;
        self.see(ix, direction, attempt, true);
        self.point()?;
        Ok(Ok(()))
    }

    fn finish_one(&mut self, state: &mut RunState) -> Answer {
        if self.inflight.is_empty() {
            return Ok(Err("it waits for nothing".into()));
        }
        let at = if self.case.newest_first { self.inflight.len() - 1 } else { 0 };
        let (ix, direction, attempt) = self.inflight[at];
        self.now += i64::from(self.case.drawn.is_some());
        let is_late = self.fate(ix, direction, attempt) == Some(FailureKind::TimedOut)
            && self.case.fault != Fault::StopsUnwritten;
        // Whoever takes it up again finds that it was to be stopped.
        if is_late
            && !matches!(state.track(ix, direction), Track::Running { stopping: Some(_), .. })
        {
            let request = Fact::StopRequested {
                step: self.id(ix),
                direction,
                attempt,
                because: StopReason::Timeout,
            };
            if let Err(error) = self.append(state, request)? {
                return Ok(Err(error));
            }
        }
        self.affect(ix, direction, attempt);
        self.point()?;
        self.inflight.remove(at);
        self.see(ix, direction, attempt, false);
        self.point()?;
        self.append(state, self.result(ix, direction, attempt))
    }

    /// A new executor takes recorded ends for results, and begins what never began.
    fn adopt(&mut self, state: &mut RunState) -> Answer {
        for (ix, direction) in state.sets.running.clone() {
            let attempt = state.attempts(ix, direction);
            let began = self.history.world.iter().any(|seen| {
                (seen.step, seen.direction, seen.attempt) == (self.number(ix), direction, attempt)
            });
            let fact = match began {
                // Nobody was there to stop it: it ended by itself.
                true if !matches!(
                    state.track(ix, direction),
                    Track::Running { stopping: Some(_), .. }
                ) && self.fate(ix, direction, attempt) == Some(FailureKind::TimedOut) =>
                {
                    self.failed(ix, direction, attempt, FailureKind::Failed)
                }
                true => self.result(ix, direction, attempt),
                false => self.failed(ix, direction, attempt, FailureKind::BeforeEffect),
            };
            if let Err(error) = self.append(state, fact)? {
                return Ok(Err(error));
            }
        }
        Ok(Ok(()))
    }

    /// How an attempt ends that is not disturbed.
    fn result(&self, ix: StepIx, direction: Direction, attempt: u32) -> Fact {
        let fails = match direction {
            Direction::Forward => self.case.fails,
            _ => self.case.undo_fails,
        };
        if fails == Some(self.number(ix)) && attempt == 1 {
            return self.failed(ix, direction, attempt, FailureKind::Failed);
        }
        let forgets = self.case.fault == Fault::ForgetsThatItStopped;
        if let Some(kind) = self
            .fate(ix, direction, attempt)
            .filter(|kind| !forgets || *kind != FailureKind::TimedOut)
        {
            return self.failed(ix, direction, attempt, kind);
        }
        Fact::StepSucceeded(StepSucceeded {
            step: self.id(ix),
            direction,
            attempt,
            outputs: self
                .case
                .drawn
                .iter()
                .map(|drawn| ("n".to_owned(), drawn.fates[self.number(ix)].gives.into()))
                .collect(),
            result: "ok".into(),
            secrets: Default::default(),
            logs: Vec::new(),
        })
    }

    /// How an attempt fails, if it does, in a case that was drawn.
    fn fate(&self, ix: StepIx, direction: Direction, attempt: u32) -> Option<FailureKind> {
        self.case.drawn.as_ref()?.fates[self.number(ix)].failure(direction, attempt)
    }

    fn is_quick(&self) -> bool {
        self.case.drawn.as_ref().is_some_and(|drawn| drawn.is_quick)
    }

    /// Looks whether an attempt in doubt had its effect, and writes down what the probe says.
    fn look(&mut self, state: &mut RunState, ix: StepIx, direction: Direction) -> Answer {
        self.point()?;
        let (step, attempt) = (self.number(ix), state.attempts(ix, direction));
        let is_there = self.history.effects.contains(&step) == (direction == Direction::Forward);
        let says = match self.case.drawn.as_ref().is_some_and(|drawn| drawn.probes_tell) {
            false => Probed::Unknown,
            true if is_there => Probed::Done,
            true => Probed::NotDone,
        };
        self.history.looked.push(Looked { step, journaled: self.history.journal.len(), says });
        let verdict = if says == Probed::Unknown && self.case.fault == Fault::TakesSilenceForNo {
            Probed::NotDone
        } else {
            says
        };
        self.append(
            state,
            Fact::StepProbed {
                step: self.id(ix),
                direction,
                attempt,
                verdict,
                reading: "looked".into(),
            },
        )
    }

    /// When a failed attempt is repeated by itself.
    fn retry_at(
        &self,
        ix: StepIx,
        direction: Direction,
        attempt: u32,
        kind: FailureKind,
    ) -> Option<Moment> {
        let pause = drawn::pause(&self.book, ix, direction, attempt, kind);
        let is_wrong = match self.case.fault {
            Fault::RepeatsTooOften => self
                .book
                .step(ix)
                .act(direction)
                .is_some_and(|act| act.retry.is_some() && act.idempotent),
            Fault::RepeatsWhatMayHaveHappened => self
                .book
                .step(ix)
                .act(direction)
                .is_some_and(|act| act.retry.is_some() && attempt == 1),
            _ => false,
        };
        let pause = pause.or(is_wrong.then_some(Span::from_millis(1)));
        pause.map(|pause| Moment(self.now + pause.as_millis() as i64))
    }

    fn failed(&self, ix: StepIx, direction: Direction, attempt: u32, kind: FailureKind) -> Fact {
        Fact::StepFailed(StepFailed {
            step: self.id(ix),
            direction,
            attempt,
            failure: Failure { kind, message: "no".into() },
            outputs: Default::default(),
            retry_at: self.retry_at(ix, direction, attempt, kind),
            secrets: Default::default(),
            logs: Vec::new(),
        })
    }

    /// Makes a fact durable, and applies it. A faulty executor writes also what the state machine
    /// refuses.
    pub fn append(&mut self, state: &mut RunState, fact: Fact) -> Answer {
        self.point()?;
        let event =
            Event { number: self.history.journal.len() as u64 + 1, at: Moment(self.now), fact };
        let before = state.head;
        match state.apply(&event) {
            Ok(()) => {}
            Err(error) => {
                assert_eq!(state.head, before, "law 3: a refused event changes nothing");
                if self.case.fault == Fault::None {
                    return Ok(Err(format!("law 3: {error}")));
                }
                self.history.journal.push(event);
                return Ok(Err(error.to_string()));
            }
        }
        self.history.journal.push(event);
        self.point()?;
        Ok(Ok(()))
    }

    /// The state from the journal alone: law 6.
    fn rebuild(&mut self) -> Result<RunState, String> {
        if self.history.journal.is_empty() {
            let operator = Person("p".into());
            let digest = Digest::default();
            let started = RunStarted {
                run: "r".into(),
                name: None,
                runbook: "law".into(),
                definition: digest.clone(),
                parameters: digest,
                version: "0".into(),
                operator,
                folder: String::new(),
                environment: None,
                until: None,
                purpose: Purpose::Real,
                uuid: String::new(),
                journal: String::new(),
            };
            self.history.journal.push(Event {
                number: 1,
                at: Moment(0),
                fact: Fact::RunStarted(started),
            });
        }
        let state = fold(&self.case.book, &self.history.journal)?;
        self.book = Arc::clone(&state.runbook);
        Ok(state)
    }

    fn affect(&mut self, ix: StepIx, direction: Direction, attempt: u32) {
        let step = self.number(ix);
        let fails = self.fate(ix, direction, attempt);
        match direction {
            _ if fails == Some(FailureKind::BeforeEffect) => {}
            // An undo that fails has taken nothing back.
            Direction::Undo if fails.is_some() => {}
            Direction::Forward => drop(self.history.effects.insert(step)),
            // An undo that fails has taken nothing back; that is what its next attempt is for.
            _ if self.case.undo_fails == Some(step) && attempt == 1 => {}
            _ => drop(self.history.effects.remove(&step)),
        }
    }

    fn see(&mut self, ix: StepIx, direction: Direction, attempt: u32, begins: bool) {
        let (step, journaled) = (self.number(ix), self.history.journal.len());
        self.history.world.push(Seen { step, direction, attempt, begins, journaled });
    }

    pub fn number(&self, ix: StepIx) -> usize {
        number(self.book.step(ix))
    }

    fn id(&self, ix: StepIx) -> switchover::runbook::StepId {
        Arc::clone(&self.book.step(ix).id)
    }
}

pub fn fold(book: &Arc<Runbook>, journal: &[Event]) -> Result<RunState, String> {
    let mut state =
        RunState::new(Arc::clone(book), &journal[0]).map_err(|error| error.to_string())?;
    for event in &journal[1..] {
        state.apply(event).map_err(|error| error.to_string())?;
    }
    Ok(state)
}
