//! An executor in a nutshell, over a journal that is a list and a world that is a list, which can lose its memory at any point.

use std::collections::BTreeSet;
use std::sync::Arc;

use switchover::run::*;
use switchover::runbook::{Action, Direction, OnFailure, Runbook, StepIx};

/// What is tried.
#[derive(Clone)]
pub struct Case {
    pub book: Arc<Runbook>,
    pub idempotent: bool,
    /// The step whose first attempt fails, having had its effect.
    pub fails: Option<usize>,
    /// The step whose first undo fails.
    pub undo_fails: Option<usize>,
    pub after: After,
    pub orphans: Orphans,
    /// Which of two running actions ends first.
    pub newest_first: bool,
    pub fault: Fault,
}

impl std::fmt::Debug for Case {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let needs: Vec<_> = self.book.steps.iter().map(|step| step.needs.iter().map(|need| need.0).collect::<Vec<_>>()).collect();
        let (idempotent, fails, undo_fails, after) = (self.idempotent, self.fails, self.undo_fails, self.after);
        let (on_failure, orphans, newest, fault) = (self.book.steps[0].on_failure, self.orphans, self.newest_first, self.fault);
        write!(out, "needs {needs:?}, idempotent {idempotent}, fails {fails:?}, undo fails {undo_fails:?}, then {after:?}, ")?;
        write!(out, "on failure {on_failure:?}, orphans {orphans:?}, newest first {newest}, fault {fault:?}")
    }
}

/// What becomes of commands that outlive a crash of their executor.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Orphans {
    /// They die with it, without an effect.
    Die,
    /// They come to their end, and nobody knows.
    Finish,
    /// Their keeper records how they end, and that a command never began.
    AreRecorded,
}

/// What the operator does after a failure.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum After {
    Rollback,
    Resume,
}

/// A deliberate fault of the executor.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Fault {
    None,
    ActsBeforeTheJournal,
    RepeatsWhatIsInDoubt,
    IgnoresDependentsOnUndo,
    UndoesTwice,
    GoesForwardAfterRollback,
    StartsBeforeNeeds,
    PassesOverAFailedStep,
    TakesUnknownForDone,
}

/// What a witness outside the executor saw.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Seen {
    pub step: usize,
    pub direction: Direction,
    pub attempt: u32,
    pub begins: bool,
    /// How many events were durable at that moment.
    pub journaled: usize,
}

#[derive(Default)]
pub struct History {
    pub journal: Vec<Event>,
    pub world: Vec<Seen>,
    /// The steps whose effect stands at the end.
    pub effects: BTreeSet<usize>,
    pub points: usize,
    pub outcome: Option<Outcome>,
    interrupted: bool,
}

impl std::fmt::Debug for History {
    /// A line for each event, then one for each thing that the witness saw.
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for event in &self.journal {
            writeln!(out, "{:>4}  {}", event.number, serde_json::to_string(&event.fact).unwrap_or_default())?;
        }
        for seen in &self.world {
            writeln!(
                out,
                "      {} s{} {} attempt {}",
                if seen.begins { "begins" } else { "ends  " },
                seen.step,
                seen.direction.word(),
                seen.attempt
            )?;
        }
        writeln!(out, "      effects {:?}, {:?}", self.effects, self.outcome)
    }
}

struct Crash;

struct Driver<'a> {
    case: &'a Case,
    history: History,
    crashes: Vec<usize>,
    interrupt: Option<(usize, bool)>,
    inflight: Vec<(StepIx, Direction, u32)>,
}

/// Drives a case to its end, with a crash at each of these points.
pub fn drive(case: &Case, crashes: &[usize]) -> Result<History, String> {
    let driver = Driver { case, history: History::default(), crashes: crashes.to_vec(), interrupt: None, inflight: Vec::new() };
    driver.into_history()
}

/// Drives a case that is interrupted once at this point, and then resumed.
pub fn drive_interrupted(case: &Case, at: usize, kill: bool) -> Result<History, String> {
    let driver = Driver { case, history: History::default(), crashes: Vec::new(), interrupt: Some((at, kill)), inflight: Vec::new() };
    driver.into_history()
}

impl Driver<'_> {
    fn into_history(mut self) -> Result<History, String> {
        for _ in 0..200 {
            match self.session() {
                Ok(Ok(true)) => return Ok(self.history),
                Ok(Ok(false)) => {}
                // What a faulty executor did before it was refused stands in both lists, for the checker to judge.
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
            let began =
                self.history.world.iter().any(|seen| (seen.step, seen.direction, seen.attempt) == (ix.0 as usize, direction, attempt));
            if began {
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
            if state.ended.is_some() {
                self.history.outcome = state.ended;
                return Ok(Ok(true));
            }
            if let Err(error) =
                self.append(&mut state, Fact::RunResumed { operator: Person("p".into()), until: None, still_running: Vec::new() })?
            {
                return Ok(Err(error));
            }
        }
        for _ in 0..2000 {
            let draining = self.interrupt.filter(|(at, _)| self.history.points > *at && !self.history.interrupted).map(|_| 2);
            if let (Some(_), Some((_, true))) = (draining, self.interrupt) {
                let stopped = self.stop_all(&mut state)?;
                if let Err(error) = stopped {
                    return Ok(Err(error));
                }
            }
            let decision =
                self.distort(&state, next(&state, Moment(0), Limits { parallel: 2, draining, attended: false, consents: false }));
            match self.carry_out(&mut state, decision)? {
                Ok(None) => {}
                Ok(Some(over)) => return Ok(Ok(over)),
                Err(error) => return Ok(Err(error)),
            }
        }
        Ok(Err("a session never came to an end".into()))
    }

    fn stop_all(&mut self, state: &mut RunState) -> Result<Result<(), String>, Crash> {
        for (ix, direction, attempt) in self.inflight.clone() {
            let step = self.id(ix);
            let request = Fact::StopRequested { step: step.clone(), direction, attempt, because: StopReason::Interrupt };
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

    fn carry_out(&mut self, state: &mut RunState, decision: Decision) -> Result<Result<Option<bool>, String>, Crash> {
        let done = match decision {
            Decision::Begin(ix, direction) => return Ok(self.begin(state, ix, direction)?.map(|()| None)),
            Decision::Skip(ix, because) => self.append(state, Fact::StepSkipped { step: self.id(ix), because })?,
            Decision::Pass(ix) => self.append(state, Fact::UndoPassed { step: self.id(ix) })?,
            Decision::RollBack { because } => self.append(state, rollback(&because))?,
            Decision::Probe(..) => Err("no step has a probe".into()),
            Decision::Confirm(..) => Err("no step is a point of no return".into()),
            Decision::Wait { .. } => return Ok(self.finish_one(state)?.map(|()| None)),
            Decision::End(outcome) => {
                if state.ended.is_none()
                    && let Err(error) = self.append(state, Fact::RunEnded { outcome })?
                {
                    return Ok(Err(error));
                }
                self.history.outcome = Some(outcome);
                return Ok(Ok(Some(true)));
            }
            Decision::Stop(stop) => {
                if let Err(error) = self.append(state, Fact::RunStopped { because: stop.clone() })? {
                    return Ok(Err(error));
                }
                return Ok(self.person(state, stop)?.map(|()| Some(false)));
            }
        };
        Ok(done.map(|()| None))
    }

    /// What the operator does when the run has stopped.
    fn person(&mut self, state: &mut RunState, stop: Stop) -> Result<Result<(), String>, Crash> {
        match stop {
            Stop::Interrupted { .. } => self.history.interrupted = true,
            Stop::Failed { .. } if self.case.after == After::Rollback => return self.append(state, rollback("failed")),
            Stop::InDoubt { steps } => {
                for step in steps {
                    let ix = self.case.book.find(&step).unwrap();
                    let direction =
                        Direction::ALL.into_iter().find(|direction| matches!(state.track(ix, *direction), Track::InDoubt { .. })).unwrap();
                    // The person looks at the world, and says truthfully what is there; unless the fault is to guess.
                    let there = self.history.effects.contains(&(ix.0 as usize)) == (direction == Direction::Forward);
                    let verdict = if there || self.case.fault == Fault::TakesUnknownForDone { Verdict::Done } else { Verdict::NotDone };
                    let resolved = StepResolved {
                        step,
                        direction,
                        verdict,
                        actor: Person("p".into()),
                        reason: "looked".into(),
                        outputs: Default::default(),
                    };
                    if let Err(error) = self.append(state, Fact::StepResolved(resolved))? {
                        return Ok(Err(error));
                    }
                }
            }
            _ => {}
        }
        Ok(Ok(()))
    }

    fn begin(&mut self, state: &mut RunState, ix: StepIx, direction: Direction) -> Result<Result<(), String>, Crash> {
        let attempt = state.attempts(ix, direction) + 1;
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

    fn finish_one(&mut self, state: &mut RunState) -> Result<Result<(), String>, Crash> {
        if self.inflight.is_empty() {
            return Ok(Err("it waits for nothing".into()));
        }
        let at = if self.case.newest_first { self.inflight.len() - 1 } else { 0 };
        let (ix, direction, attempt) = self.inflight[at];
        self.affect(ix, direction, attempt);
        self.point()?;
        self.inflight.remove(at);
        self.see(ix, direction, attempt, false);
        self.point()?;
        self.append(state, self.result(ix, direction, attempt))
    }

    /// A new executor takes recorded ends for results, and begins what never began.
    fn adopt(&mut self, state: &mut RunState) -> Result<Result<(), String>, Crash> {
        for (ix, direction) in state.sets.running.clone() {
            let attempt = state.attempts(ix, direction);
            let began =
                self.history.world.iter().any(|seen| (seen.step, seen.direction, seen.attempt) == (ix.0 as usize, direction, attempt));
            let fact =
                if began { self.result(ix, direction, attempt) } else { self.failed(ix, direction, attempt, FailureKind::BeforeEffect) };
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
        if fails == Some(ix.0 as usize) && attempt == 1 {
            return self.failed(ix, direction, attempt, FailureKind::Failed);
        }
        Fact::StepSucceeded(StepSucceeded {
            step: self.id(ix),
            direction,
            attempt,
            outputs: Default::default(),
            result: "ok".into(),
            secrets: Default::default(),
            logs: Vec::new(),
        })
    }

    fn failed(&self, ix: StepIx, direction: Direction, attempt: u32, kind: FailureKind) -> Fact {
        Fact::StepFailed(StepFailed {
            step: self.id(ix),
            direction,
            attempt,
            failure: Failure { kind, message: "no".into() },
            outputs: Default::default(),
            retry_at: None,
            secrets: Default::default(),
            logs: Vec::new(),
        })
    }

    /// Makes a fact durable, and applies it. A faulty executor writes also what the state machine refuses.
    fn append(&mut self, state: &mut RunState, fact: Fact) -> Result<Result<(), String>, Crash> {
        self.point()?;
        let event = Event { number: self.history.journal.len() as u64 + 1, at: Moment(0), fact };
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
            };
            self.history.journal.push(Event { number: 1, at: Moment(0), fact: Fact::RunStarted(started) });
        }
        fold(&self.case.book, &self.history.journal)
    }

    /// What a faulty executor makes of a decision.
    fn distort(&self, state: &RunState, decision: Decision) -> Decision {
        let began = |ix: &StepIx| state.attempts(*ix, Direction::Forward) > 0;
        match (self.case.fault, &decision) {
            (Fault::RepeatsWhatIsInDoubt, Decision::Stop(Stop::InDoubt { steps })) => {
                Decision::Begin(self.case.book.find(&steps[0]).unwrap(), Direction::Forward)
            }
            (Fault::IgnoresDependentsOnUndo, Decision::Begin(ix, Direction::Undo)) => {
                let first = self.case.book.ixs().find(began).unwrap_or(*ix);
                Decision::Begin(first, Direction::Undo)
            }
            (Fault::UndoesTwice, Decision::End(Outcome::RolledBack)) if state.ended.is_none() => self
                .case
                .book
                .ixs()
                .find(|ix| *state.track(*ix, Direction::Undo) == Track::Done)
                .map_or(decision, |ix| Decision::Begin(ix, Direction::Undo)),
            (Fault::GoesForwardAfterRollback, Decision::Begin(_, Direction::Undo)) => {
                self.case.book.ixs().find(|ix| !began(ix)).map_or(decision, |ix| Decision::Begin(ix, Direction::Forward))
            }
            (Fault::StartsBeforeNeeds, Decision::Begin(_, Direction::Forward)) => {
                let early = self
                    .case
                    .book
                    .ixs()
                    .find(|ix| !began(ix) && self.case.book.step(*ix).needs.iter().any(|need| !state.is_settled(*need)));
                early.map_or(decision, |ix| Decision::Begin(ix, Direction::Forward))
            }
            (Fault::PassesOverAFailedStep, Decision::Begin(ix, Direction::Undo))
                if matches!(state.track(*ix, Direction::Forward), Track::Failed { .. }) =>
            {
                Decision::Pass(*ix)
            }
            _ => decision,
        }
    }

    fn affect(&mut self, ix: StepIx, direction: Direction, attempt: u32) {
        match direction {
            Direction::Forward => drop(self.history.effects.insert(ix.0 as usize)),
            // An undo that fails has taken nothing back; that is what its next attempt is for.
            _ if self.case.undo_fails == Some(ix.0 as usize) && attempt == 1 => {}
            _ => drop(self.history.effects.remove(&(ix.0 as usize))),
        }
    }

    fn see(&mut self, ix: StepIx, direction: Direction, attempt: u32, begins: bool) {
        let journaled = self.history.journal.len();
        self.history.world.push(Seen { step: ix.0 as usize, direction, attempt, begins, journaled });
    }

    fn id(&self, ix: StepIx) -> switchover::runbook::StepId {
        Arc::clone(&self.case.book.step(ix).id)
    }
}

pub fn fold(book: &Arc<Runbook>, journal: &[Event]) -> Result<RunState, String> {
    let mut state = RunState::new(Arc::clone(book), &journal[0]).map_err(|error| error.to_string())?;
    for event in &journal[1..] {
        state.apply(event).map_err(|error| error.to_string())?;
    }
    Ok(state)
}

fn rollback(because: &str) -> Fact {
    Fact::RollbackBegan { to: None, because: because.into(), actor: Person("p".into()), force: false }
}

/// Whether a failure of a step lets the others go on.
pub fn goes_on(case: &Case) -> bool {
    case.book.steps[0].on_failure == OnFailure::Continue
}
