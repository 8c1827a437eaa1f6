//! The executor, over a journal that is a list and a world that is a list, which can lose its memory
//! at any point. Decides nothing but what the world and people do.

use std::sync::Arc;

use switchover::drive::{
    Delivery, Drive, Due, Exit, Input, Now, Order, Pair, Refused, Settings, Work,
};
use switchover::run::*;
use switchover::runbook::reading::{EffectError, Reading};
use switchover::runbook::{Direction, Runbook, StepIx};

use super::case::{Case, Fault, History, Orphans, Seen, Told, Word, number};
use super::drawn::Looked;
use super::faults::{distort, faulty_book};

pub struct Crash;

/// What came of something that was to be written down: nothing, if the executor died.
pub type Answer = Result<Result<(), String>, Crash>;

/// An attempt that runs outside.
#[derive(Debug, Clone, Copy)]
struct Inflight {
    ix: StepIx,
    direction: Direction,
    attempt: u32,
    deadline: Option<i64>,
}

/// What carrying orders out led to.
enum Carried {
    On,
    Waits(Option<Moment>),
    Over(Exit),
}

pub struct Driver<'a> {
    pub case: &'a Case,
    pub history: History,
    /// The definition in force.
    book: Arc<Runbook>,
    crashes: Vec<usize>,
    interrupt: Option<(usize, bool)>,
    inflight: Vec<Inflight>,
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
        for run in std::mem::take(&mut self.inflight) {
            let Inflight { ix, direction, attempt, .. } = run;
            let began = self.history.world.iter().any(|seen| {
                (seen.step, seen.direction, seen.attempt) == (self.number(ix), direction, attempt)
            });
            if began && self.case.orphans == Orphans::GoOn {
                self.inflight.push(run);
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
        self.history.sessions += 1;
        let mut state = match self.rebuild() {
            Ok(state) => state,
            Err(error) => return Ok(Err(error)),
        };
        if self.case.orphans == Orphans::AreRecorded {
            state = match self.adopt(state)? {
                Ok(state) => state,
                Err(error) => return Ok(Err(error)),
            };
        }
        if state.head > 1 {
            if self.goes_further_back(&state) {
                if let Err(error) = self.append(&mut state, self.rollback())? {
                    return Ok(Err(error));
                }
            } else if state.ended.is_some() && state.notices.owed.is_empty() {
                self.history.outcome = state.ended;
                return Ok(Ok(true));
            } else if state.ended.is_some() {
                return self.carry_on(state);
            }
            let still = |attempt: &Inflight| StillRunning {
                step: self.id(attempt.ix),
                direction: attempt.direction,
            };
            let still_running =
                self.inflight.iter().filter(|_| !self.disowns()).map(still).collect();
            let operator = Person("p".into());
            let resumed = Fact::RunResumed { operator, until: None, still_running };
            if let Err(error) = self.append(&mut state, resumed)? {
                return Ok(Err(error));
            }
            if let Err(error) = self.amend(&mut state)? {
                return Ok(Err(error));
            }
            self.book = Arc::clone(&state.runbook);
        }
        self.carry_on(state)
    }

    /// Whether a faulty executor does not know of what lives.
    fn disowns(&self) -> bool {
        matches!(self.case.fault, Fault::BeginsBesideTheLiving | Fault::LooksAtTheLiving)
    }

    fn drive(&self, state: RunState) -> Drive {
        let consents = self.case.point.is_some_and(|point| point.word == Word::Beforehand);
        let settings = Settings {
            operator: Person("p".into()),
            parallel: if self.case.drawn.is_some() { 3 } else { 2 },
            guided: false,
            consents,
            attended: false,
        };
        let drive = Drive::new(state, settings, Expected::default());
        match self.case.fault {
            Fault::None => drive,
            fault => drive.with_planner(Box::new(move |state, now, limits| {
                distort(fault, state, next(state, now, limits))
            })),
        }
    }

    fn moment(&self) -> Now {
        Now { wall: Moment(self.now), clock: Moment(self.now) }
    }

    /// Carries out what an executor orders, until it is over; true if the run is.
    fn carry_on(&mut self, state: RunState) -> Result<Result<bool, String>, Crash> {
        let mut drive = self.drive(state);
        let mut inputs: Vec<Input> = Vec::new();
        if !self.disowns() {
            inputs.extend(self.inflight.iter().map(|attempt| Input::Adopted {
                ix: attempt.ix,
                direction: attempt.direction,
                attempt: attempt.attempt,
                deadline: attempt.deadline.map(Moment),
            }));
        }
        let mut is_interrupted = false;
        for _ in 0..4000 {
            if let Some((_, kill)) = self.interrupt.filter(|(at, _)| {
                !is_interrupted && self.history.points > *at && !self.history.interrupted
            }) {
                is_interrupted = true;
                inputs.push(Input::Signal(2));
                inputs.extend(kill.then_some(Input::Signal(2)));
            }
            let orders = match drive.handle(self.moment(), std::mem::take(&mut inputs)) {
                Ok(orders) => orders,
                Err(refused) => return self.refused(&mut drive, refused),
            };
            match self.carry_out(&drive, orders, &mut inputs)? {
                Ok(Carried::On) => {}
                Ok(Carried::Waits(until)) if inputs.is_empty() => {
                    if let Err(error) = self.pass_time(&drive, until, &mut inputs)? {
                        return Ok(Err(error));
                    }
                }
                Ok(Carried::Waits(_)) => {}
                Ok(Carried::Over(exit)) => return self.over(drive.into_state(), exit),
                Err(error) => return Ok(Err(error)),
            }
        }
        Ok(Err("a session never came to an end".into()))
    }

    /// What a faulty executor did before it was refused stands in the journal too, for the checker
    /// to judge.
    fn refused(
        &mut self,
        drive: &mut Drive,
        refused: Refused,
    ) -> Result<Result<bool, String>, Crash> {
        if self.case.fault == Fault::None {
            return Ok(Err(format!("law 3: {refused}")));
        }
        // What it takes for the end is one, whatever refuses it.
        if let Fact::RunEnded { outcome } = refused.event.fact {
            self.history.outcome = Some(outcome);
        }
        for event in drive.take_pending().into_iter().chain([*refused.event.clone()]) {
            let number = self.history.journal.len() as u64 + 1;
            self.history.journal.push(Event { number, ..event });
        }
        Ok(Err(refused.to_string()))
    }

    fn carry_out(
        &mut self,
        drive: &Drive,
        mut orders: Vec<Order>,
        inputs: &mut Vec<Input>,
    ) -> Result<Result<Carried, String>, Crash> {
        if self.case.fault == Fault::ActsBeforeTheJournal {
            orders.sort_by_key(|order| !matches!(order, Order::Launch(_)));
        }
        let mut carried = Carried::On;
        let mut orders = orders.into_iter();
        while let Some(order) = orders.next() {
            match order {
                Order::Commit(commit) => {
                    for event in commit.events {
                        match self.write(event) {
                            Ok(Ok(())) => {}
                            Ok(Err(error)) => return Ok(Err(error)),
                            Err(crash) => {
                                self.act_all_the_same(orders);
                                return Err(crash);
                            }
                        }
                    }
                }
                Order::Launch(launch) if launch.work == Work::Probe => {
                    inputs.push(self.look(drive.state(), launch.ix, launch.direction)?);
                }
                Order::Launch(launch) => {
                    let (ix, direction, attempt) = (launch.ix, launch.direction, launch.attempt);
                    let deadline =
                        launch.timeout.map(|timeout| self.now + timeout.as_millis() as i64);
                    self.inflight.push(Inflight { ix, direction, attempt, deadline });
                    self.point()?;
                    self.see(ix, direction, attempt, true);
                    self.point()?;
                }
                Order::End { ix, direction, .. } => {
                    let at =
                        |attempt: &Inflight| (attempt.ix, attempt.direction) == (ix, direction);
                    if let Some(at) = self.inflight.iter().position(at) {
                        let track = drive.state().track(ix, direction);
                        let is_late = matches!(
                            track,
                            Track::Running { stopping: Some(StopReason::Timeout), .. }
                        );
                        inputs.push(self.end(at, is_late)?);
                    }
                }
                Order::Clear(ix, direction) => {
                    let lives =
                        self.inflight.iter().any(|run| (run.ix, run.direction) == (ix, direction));
                    if lives && !self.disowns() {
                        return Ok(Err(format!("{} lives, and is to be begun again", self.id(ix))));
                    }
                    inputs.push(Input::Cleared { ix, direction, cursor: None });
                }
                Order::Deliver(delivery) => match self.deliver(delivery)? {
                    Ok(delivered) => inputs.push(delivered),
                    Err(error) => return Ok(Err(error)),
                },
                Order::GoOn | Order::Note(_) => {}
                Order::Wait { until } => carried = Carried::Waits(until),
                Order::Over(exit) => carried = Carried::Over(exit),
                Order::Examine(_) | Order::Watch(_) | Order::Unwatch(_) | Order::Ask(_) => {
                    return Ok(Err("nothing of the kind is in these books".into()));
                }
            }
        }
        Ok(Ok(carried))
    }

    /// A commit failed, and a faulty executor carries out what stands behind it.
    fn act_all_the_same(&mut self, orders: impl Iterator<Item = Order>) {
        if self.case.fault != Fault::ActsAfterAFailedCommit {
            return;
        }
        for order in orders {
            if let Order::Launch(launch) = order
                && launch.work != Work::Probe
            {
                self.see(launch.ix, launch.direction, launch.attempt, true);
            }
        }
    }

    /// People hear a message, and the executor of that.
    fn deliver(&mut self, delivery: Box<Delivery>) -> Result<Result<Input, String>, Crash> {
        let Due::Occasion(Occasion { kind, of, .. }) = &delivery.of else {
            return Ok(Err("no step of these books is a message".into()));
        };
        let (occasion, of) = (kind.word(), *of);
        self.point()?;
        let (journaled, session) = (self.history.journal.len(), self.history.sessions);
        let told = Told { occasion, of, journaled, session };
        let again = (self.case.fault == Fault::TellsTwice).then(|| told.clone());
        self.history.told.extend([told].into_iter().chain(again));
        self.point()?;
        let sent = MessageSent {
            occasion: occasion.into(),
            phase: None,
            step: None,
            of: Some(of),
            subject: String::new(),
            to: Vec::new(),
            channel: "outbox".into(),
            file: String::new(),
            digest: Digest::default(),
        };
        Ok(Ok(Input::Delivered { delivery, result: Ok(Box::new(sent)) }))
    }

    /// Something comes to its end, or the moment comes.
    fn pass_time(
        &mut self,
        drive: &Drive,
        until: Option<Moment>,
        inputs: &mut Vec<Input>,
    ) -> Answer {
        // An end comes before its deadline, unless it is to be late.
        let is_deadline = |due: i64| self.inflight.iter().any(|run| run.deadline == Some(due));
        if let Some(Moment(due)) = until.filter(|due| !is_deadline(due.0))
            && due > self.now
            && (self.inflight.is_empty() || self.is_quick())
        {
            self.now = due;
            self.point()?;
            return Ok(Ok(()));
        }
        if self.inflight.is_empty() {
            return Ok(Err("it waits for nothing".into()));
        }
        let at = if self.case.newest_first { self.inflight.len() - 1 } else { 0 };
        let Inflight { ix, direction, attempt, deadline } = self.inflight[at];
        self.now += i64::from(self.case.drawn.is_some());
        let is_stopping =
            matches!(drive.state().track(ix, direction), Track::Running { stopping: Some(_), .. });
        if let Some(deadline) = deadline
            && self.fate(ix, direction, attempt) == Some(FailureKind::TimedOut)
            && !is_stopping
        {
            self.now = self.now.max(deadline);
            return Ok(Ok(()));
        }
        inputs.push(self.end(at, true)?);
        Ok(Ok(()))
    }

    /// What runs comes to its end, with its effect or without.
    fn end(&mut self, at: usize, has_effect: bool) -> Result<Input, Crash> {
        let Inflight { ix, direction, attempt, .. } = self.inflight[at];
        if has_effect {
            self.affect(ix, direction, attempt);
            self.point()?;
        }
        self.inflight.remove(at);
        self.see(ix, direction, attempt, false);
        self.point()?;
        let result = match has_effect {
            true => self.result(ix, direction, attempt),
            false => Err(EffectError::during("stopped")),
        };
        Ok(ended(ix, direction, attempt, result))
    }

    fn over(&mut self, mut state: RunState, exit: Exit) -> Result<Result<bool, String>, Crash> {
        match exit {
            Exit::Ended(outcome) => {
                self.history.outcome = Some(outcome);
                Ok(Ok(!self.goes_further_back(&state)))
            }
            Exit::Stopped(stop) => Ok(self.person(&mut state, stop)?.map(|()| false)),
        }
    }

    /// A new executor takes recorded ends for results, and what never began for that.
    fn adopt(&mut self, state: RunState) -> Result<Result<RunState, String>, Crash> {
        let running: Vec<Pair> = state.sets.running.iter().copied().collect();
        let end = |(ix, direction): Pair| {
            let attempt = state.attempts(ix, direction);
            let began = self.history.world.iter().any(|seen| {
                (seen.step, seen.direction, seen.attempt) == (self.number(ix), direction, attempt)
            });
            let result = match began {
                true => self.result(ix, direction, attempt),
                false => Err(EffectError::before("no")),
            };
            ended(ix, direction, attempt, result)
        };
        let mut inputs: Vec<Input> = running.into_iter().map(end).collect();
        let mut drive = self.drive(state);
        // People may be owed a message of that.
        while !inputs.is_empty() {
            if let Err(refused) = drive.take_in(self.moment(), std::mem::take(&mut inputs)) {
                return Ok(self.refused(&mut drive, refused)?.map(|_| drive.into_state()));
            }
            let orders = drive.settle(self.moment());
            if let Err(error) = self.carry_out(&drive, orders, &mut inputs)? {
                return Ok(Err(error));
            }
        }
        Ok(Ok(drive.into_state()))
    }

    /// How an attempt ends that is not disturbed.
    fn result(
        &self,
        ix: StepIx,
        direction: Direction,
        attempt: u32,
    ) -> Result<Reading, EffectError> {
        let fails = match direction {
            Direction::Forward => self.case.fails,
            _ => self.case.undo_fails,
        };
        if fails == Some(self.number(ix)) && attempt == 1 {
            return Err(EffectError::during("no"));
        }
        match self.fate(ix, direction, attempt) {
            Some(FailureKind::BeforeEffect) => Err(EffectError::before("no")),
            Some(_) => Err(EffectError::during("no")),
            None => {
                let drawn = self.case.drawn.iter();
                let given = drawn.map(|drawn| drawn.fates[self.number(ix)].gives.into());
                Ok(Reading {
                    is_good: true,
                    summary: "ok".into(),
                    outputs: given.map(|n| ("n".to_owned(), n)).collect(),
                    ..Reading::default()
                })
            }
        }
    }

    /// How an attempt fails, if it does, in a case that was drawn.
    fn fate(&self, ix: StepIx, direction: Direction, attempt: u32) -> Option<FailureKind> {
        self.case.drawn.as_ref()?.fates[self.number(ix)].failure(direction, attempt)
    }

    fn is_quick(&self) -> bool {
        self.case.drawn.as_ref().is_some_and(|drawn| drawn.is_quick)
    }

    /// Looks whether an attempt in doubt had its effect.
    fn look(&mut self, state: &RunState, ix: StepIx, direction: Direction) -> Result<Input, Crash> {
        self.point()?;
        let (step, attempt) = (self.number(ix), state.attempts(ix, direction));
        let is_there = self.history.effects.contains(&step) == (direction == Direction::Forward);
        let says = match self.case.drawn.as_ref().is_some_and(|drawn| drawn.probes_tell) {
            false => Probed::Unknown,
            true if is_there => Probed::Done,
            true => Probed::NotDone,
        };
        let before = self.history.effects.clone();
        if self.case.fault == Fault::LooksAndChanges && !self.history.effects.insert(step) {
            self.history.effects.remove(&step);
        }
        let has_changed = self.history.effects != before;
        let journaled = self.history.journal.len();
        self.history.looked.push(Looked { step, journaled, says, has_changed });
        let heard = match says {
            Probed::Unknown if self.case.fault == Fault::TakesSilenceForNo => Probed::NotDone,
            says => says,
        };
        let words = match heard {
            Probed::Done => "there",
            Probed::NotDone => "gone",
            Probed::Unknown => "",
        };
        let names = [("stdout".to_owned(), words.into())].into_iter().collect();
        let result = Ok(Reading { names, is_good: true, ..Reading::default() });
        Ok(Input::Probed { ix, direction, attempt, result })
    }

    /// Makes a fact of an executor durable. What is one commit may be so in part here, from its
    /// beginning: that is more than a store may lose.
    fn write(&mut self, event: Event) -> Answer {
        self.point()?;
        let number = self.history.journal.len() as u64 + 1;
        let fact = match (self.case.fault, event.fact) {
            (Fault::StopsUnwritten, Fact::StopRequested { .. }) => return Ok(Ok(())),
            (Fault::ForgetsThatItStopped, Fact::StepFailed(failed))
                if failed.failure.kind == FailureKind::TimedOut =>
            {
                let fact = forgotten(failed);
                self.history.journal.push(Event { number, at: event.at, fact });
                return Ok(Err("it forgot that it stopped it".into()));
            }
            (_, fact) => fact,
        };
        self.history.journal.push(Event { number, at: event.at, fact });
        self.point()?;
        Ok(Ok(()))
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
        let state = fold(&faulty_book(self.case), &self.history.journal)?;
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

fn ended(
    ix: StepIx,
    direction: Direction,
    attempt: u32,
    result: Result<Reading, EffectError>,
) -> Input {
    Input::Ended { ix, direction, attempt, result, logs: Vec::new(), chance: 0.0 }
}

fn forgotten(failed: StepFailed) -> Fact {
    let StepFailed { step, direction, attempt, outputs, secrets, logs, failure: _, retry_at: _ } =
        failed;
    let result = "ok".into();
    Fact::StepSucceeded(StepSucceeded { step, direction, attempt, outputs, result, secrets, logs })
}
