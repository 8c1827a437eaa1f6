//! One simulated run: the planner decides, and what it begins ends after the time that is expected
//! of it, well unless a mishap says otherwise. People answer at once after their estimate, and the
//! operator reacts as a runbook's last words advise.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use super::lookout::Lookout;
use super::mishap::Mishap;
use super::stage::{Stage, operator};
use crate::run::watch::{consequence, is_stopped_by_retreat, is_watched};
use crate::run::*;
use crate::runbook::action::DoneBy;
use crate::runbook::traffic::Says;
use crate::runbook::{Direction, Outputs, Runbook, Span, Step, StepId, StepIx, StepMap};

/// How it is lived.
#[derive(Debug, Clone)]
pub struct Setting {
    /// How many actions may run at once.
    pub parallel: usize,
    pub seed: u64,
    pub began: Moment,
    /// How long the operator takes to notice that a run has stopped, or its executor died.
    pub reaction: Span,
    /// Steps that take so many times longer.
    pub slow: HashMap<StepIx, f64>,
    /// Whether people are told.
    pub tells: bool,
}

/// A run as it was lived.
#[derive(Debug, Clone)]
pub struct Lived {
    pub state: RunState,
    pub events: Vec<Event>,
    /// What each message says below its subject, in the order in which they were sent.
    pub bodies: Vec<String>,
    /// What people had to decide.
    pub asked: Vec<String>,
    /// Conditions that were taken to hold.
    pub assumed: BTreeSet<String>,
    /// Whether the mishap came to pass.
    pub came: bool,
}

/// Whether a step does anything outside.
pub fn takes_time(step: &Step) -> bool {
    step.act.action.done_by() == DoneBy::Program
}

/// How long something takes, of which so much is expected.
pub type Varies<'a> = dyn FnMut(StepIx, Direction, Span) -> Span + 'a;

/// Lives a run to its end.
///
/// # Errors
/// If the planner and the state do not agree.
pub fn live(stage: &Stage, mishap: Option<&Mishap>, varies: &mut Varies) -> Result<Lived, String> {
    let state = RunState::new(Arc::clone(&stage.runbook), &stage.first)
        .map_err(|error| error.to_string())?;
    let mut world = World {
        now: stage.setting.began,
        lived: Lived {
            state,
            events: vec![stage.first.clone()],
            bodies: Vec::new(),
            asked: Vec::new(),
            assumed: BTreeSet::new(),
            came: false,
        },
        stage,
        mishap,
        varies,
        lookout: Lookout::new(stage.foresight()),
        agenda: BTreeSet::new(),
        scheduled: 0,
        done: StepMap::filled(false, stage.runbook.steps.len()),
        told_until: 0,
        is_killed: false,
        is_dead: false,
    };
    world.run()?;
    Ok(world.lived)
}

/// How a run begins that is in no journal.
pub(super) fn first(runbook: &Runbook, at: Moment) -> Event {
    let started = RunStarted::of(runbook, "rehearsal", operator());
    Event { number: 1, at, fact: Fact::RunStarted(started) }
}

pub(super) struct World<'a> {
    pub now: Moment,
    pub lived: Lived,
    pub stage: &'a Stage<'a>,
    pub mishap: Option<&'a Mishap>,
    pub varies: &'a mut Varies<'a>,
    lookout: Lookout<'a>,
    /// What is to come, by moment and then by the order in which it was scheduled.
    agenda: BTreeSet<(Moment, u64, Due)>,
    scheduled: u64,
    /// Whether the change of each step is there, whatever is known of it.
    pub done: StepMap<bool>,
    /// The number of the fact up to which people were told what they are owed.
    pub told_until: u64,
    /// The mishap of a kill has come to pass.
    pub is_killed: bool,
    /// No executor is there.
    is_dead: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Due {
    End(StepIx, Direction, u32),
    Timeout(StepIx, Direction, u32),
    Answer(StepIx, Direction),
    Kill,
    Resume,
    /// The readings of a guard, by its number, are bad from now on.
    Bad(usize),
    /// They were for as long as it allows.
    Breach(usize),
}

impl World<'_> {
    fn run(&mut self) -> Result<(), String> {
        if let Some(Mishap::Breached { guard, at }) = self.mishap
            && let Some(number) =
                self.lived.state.runbook.guards.iter().position(|found| found.name == *guard)
        {
            self.schedule(Moment(self.stage.setting.began.0 + at), Due::Bad(number));
        }
        // As in each session, before anything is decided.
        self.tell()?;
        // Each step is begun, ends and is taken back a few times at most.
        let most = 1000 + self.lived.state.runbook.steps.len() * 100;
        for _ in 0..most {
            if !self.is_dead {
                self.find_breaches()?;
                let goes_on = self.decide()?;
                self.tell()?;
                if !goes_on {
                    return Ok(());
                }
                // What was begun may make something too long to be.
                if self.find_breaches()? {
                    continue;
                }
            }
            self.advance()?;
        }
        Err("it never came to an end".to_owned())
    }

    /// Journals what is breached now; whether anything is.
    fn find_breaches(&mut self) -> Result<bool, String> {
        if self.is_dead || self.lived.state.ended.is_some() || self.lived.state.stopped.is_some() {
            return Ok(false);
        }
        let found = self.lookout.breaches(&self.lived.state, self.stage.expected, self.now);
        let is_new = !found.is_empty();
        found.into_iter().try_for_each(|breach| self.record(Fact::Breached(breach)))?;
        Ok(is_new)
    }

    /// Asks the planner until there is nothing to decide now; false if the run is over.
    fn decide(&mut self) -> Result<bool, String> {
        let mut launched = 0;
        loop {
            let attended = !self.waits_in_vain();
            let limits = Limits {
                parallel: self.stage.setting.parallel,
                draining: None,
                attended,
                consents: true,
            };
            match next(&self.lived.state, self.now, limits) {
                Decision::Begin(ix, direction) => {
                    if self.is_to_be_killed_before(ix, direction) {
                        self.kill();
                        return Ok(true);
                    }
                    launched += usize::from(self.begin(ix, direction)?);
                    if launched >= self.stage.setting.parallel {
                        launched = 0;
                        self.tell()?;
                    }
                }
                Decision::Confirm(ix) => {
                    let (step, actor) = (self.id(ix), operator());
                    self.record(Fact::PointConfirmed { step, actor, reason: "rehearsed".into() })?;
                }
                Decision::Skip(ix, because) => {
                    self.record(Fact::StepSkipped { step: self.id(ix), because })?
                }
                Decision::Pass(ix) => self.record(Fact::UndoPassed { step: self.id(ix) })?,
                Decision::Probe(ix, direction) => {
                    let verdict = if self.done[ix] == (direction == Direction::Forward) {
                        Probed::Done
                    } else {
                        Probed::NotDone
                    };
                    let attempt = self.lived.state.attempts(ix, direction);
                    self.record(Fact::StepProbed {
                        step: self.id(ix),
                        direction,
                        attempt,
                        verdict,
                        reading: "rehearsed".into(),
                    })?;
                }
                Decision::RollBack { because } => self.go_back(because)?,
                Decision::Wait { until } => {
                    if let Some(until) = until
                        .filter(|until| self.agenda.first().is_none_or(|(due, ..)| until < due))
                    {
                        self.now = self.now.max(until);
                        continue;
                    }
                    return Ok(true);
                }
                Decision::Stop(stop) => {
                    self.record(Fact::RunStopped { because: stop.clone() })?;
                    // People are told at once; what they do about it takes them longer.
                    self.tell()?;
                    if !self.react(&stop)? {
                        return Ok(false);
                    }
                }
                Decision::End(outcome) => {
                    if self.lived.state.ended.is_none() {
                        self.record(Fact::RunEnded { outcome })?;
                    }
                    // Everything is taken back from the end, to see an undo fail.
                    if outcome == Outcome::Finished
                        && self.mishap.is_some_and(Mishap::is_of_an_undo)
                    {
                        self.go_back("to see whether it can be".into())?;
                        continue;
                    }
                    return Ok(false);
                }
            }
        }
    }

    /// What the operator does when the run has stopped; false if that is the end.
    fn react(&mut self, stop: &Stop) -> Result<bool, String> {
        let reacted = self.now.after(self.stage.setting.reaction);
        match stop {
            Stop::Failed { steps } => {
                self.now = reacted;
                self.lived.asked.push(format!("{} failed: mend it or go back", steps.join(", ")));
                self.go_back(format!("{} failed", steps.join(", ")))?;
                Ok(true)
            }
            Stop::Breached { because } => {
                self.now = reacted;
                self.lived.asked.push(format!("{}: go on or back", because.join(", ")));
                self.go_back(because.join(", "))?;
                Ok(true)
            }
            Stop::InDoubt { steps } => {
                self.now = reacted;
                for step in steps {
                    let Some(ix) = self.lived.state.runbook.find(step) else { continue };
                    let doubted = |direction: &Direction| {
                        matches!(self.lived.state.track(ix, *direction), Track::InDoubt { .. })
                    };
                    let Some(direction) = Direction::ALL.into_iter().find(doubted) else {
                        continue;
                    };
                    self.lived.asked.push(format!("whether {step} had its effect"));
                    let is_done = self.done[ix] == (direction == Direction::Forward);
                    let verdict = if is_done { Verdict::Done } else { Verdict::NotDone };
                    let (step, actor, reason, outputs) =
                        (step.clone(), operator(), "looked".into(), Outputs::new());
                    self.record(Fact::StepResolved(StepResolved {
                        step,
                        direction,
                        verdict,
                        actor,
                        reason,
                        outputs,
                    }))?;
                }
                self.record(Fact::RunResumed {
                    operator: operator(),
                    until: None,
                    still_running: Vec::new(),
                })?;
                Ok(true)
            }
            Stop::Waiting { .. }
            | Stop::Stuck { .. }
            | Stop::Until { .. }
            | Stop::Interrupted { .. }
            | Stop::Unwitnessed { .. } => Ok(false),
        }
    }

    fn go_back(&mut self, because: String) -> Result<(), String> {
        let is_retreat = self.lived.state.watch.retreats.is_some();
        self.record(Fact::RollbackBegan { to: None, because, actor: operator(), force: false })?;
        let state = &self.lived.state;
        let stopped: Vec<StepIx> = state
            .runbook
            .ixs()
            .filter(|ix| is_retreat && is_stopped_by_retreat(state, *ix))
            .collect();
        for ix in stopped {
            let attempt = self.lived.state.attempts(ix, Direction::Forward);
            self.stop(ix, Direction::Forward, attempt, StopReason::Breach)?;
        }
        Ok(())
    }

    /// The next thing comes to pass.
    fn advance(&mut self) -> Result<(), String> {
        let Some((at, _, due)) = self.agenda.pop_first() else {
            return Err(format!(
                "nothing is to come and nothing is decided, after {:?}",
                self.lived.events.last()
            ));
        };
        self.now = self.now.max(at);
        match due {
            Due::Kill => {
                self.kill();
                Ok(())
            }
            Due::Resume => self.resume(),
            Due::Bad(number) => self.read_badly(number),
            Due::Breach(number) => self.breach(number),
            Due::Answer(ix, direction) => self.answer(ix, direction),
            Due::Timeout(ix, direction, attempt) => {
                self.stop(ix, direction, attempt, StopReason::Timeout)
            }
            Due::End(ix, direction, attempt) => self.end(ix, direction, attempt),
        }
    }

    fn read_badly(&mut self, number: usize) -> Result<(), String> {
        let runbook = Arc::clone(&self.lived.state.runbook);
        let guard = &runbook.guards[number];
        if self.is_dead || !is_watched(&self.lived.state, guard) {
            return Ok(());
        }
        self.record(Fact::GuardRead {
            guard: guard.name.clone(),
            says: Says::Bad,
            reading: "rehearsed".to_owned(),
        })?;
        if guard.lasting == Span::ZERO {
            return self.breach(number);
        }
        self.schedule(self.now.after(guard.lasting), Due::Breach(number));
        Ok(())
    }

    /// Nothing is breached that is not watched any more.
    fn breach(&mut self, number: usize) -> Result<(), String> {
        let runbook = Arc::clone(&self.lived.state.runbook);
        let guard = &runbook.guards[number];
        if self.is_dead || !is_watched(&self.lived.state, guard) {
            return Ok(());
        }
        self.lived.came = true;
        let (then, why) = consequence(&self.lived.state, guard.on_breach);
        let of = Watched::Guard { guard: guard.name.clone() };
        self.record(Fact::Breached(Breach { of, reading: format!("rehearsed{why}"), then }))
    }

    /// Nobody answers what is asked now.
    fn waits_in_vain(&self) -> bool {
        let Some(Mishap::Unanswered { step }) = self.mishap else { return false };
        let waits =
            |ix| matches!(self.lived.state.track(ix, Direction::Forward), Track::Waiting { .. });
        self.lived.state.runbook.find(step).is_some_and(waits)
    }

    fn is_to_be_killed_before(&self, ix: StepIx, direction: Direction) -> bool {
        let is_it = matches!(
            self.mishap,
            Some(Mishap::KilledBefore { step }) if *step == self.lived.state.runbook.step(ix).id
        );
        is_it && direction == Direction::Forward && !self.is_killed
    }

    /// The executor dies. Commands outlive it, with a keeper that records how they end; the rest
    /// dies with it.
    fn kill(&mut self) {
        (self.is_killed, self.is_dead, self.lived.came) = (true, true, true);
        let runbook = Arc::clone(&self.lived.state.runbook);
        if let Some(Mishap::KilledAfter { step }) = self.mishap
            && let Some(ix) = runbook.find(step)
        {
            self.done[ix] = true;
        }
        let is_command = |ix: StepIx, direction: Direction| {
            runbook.step(ix).act(direction).is_some_and(|act| act.action.is_a_command())
        };
        self.agenda.retain(|(_, _, due)| match due {
            Due::End(ix, direction, _) => is_command(*ix, *direction),
            Due::Timeout(..) | Due::Kill | Due::Bad(_) | Due::Breach(_) => false,
            Due::Answer(..) | Due::Resume => true,
        });
        self.schedule(self.now.after(self.stage.setting.reaction), Due::Resume);
    }

    /// The operator takes the run up again: recorded ends are results, what still runs is watched,
    /// the rest is in doubt.
    fn resume(&mut self) -> Result<(), String> {
        self.is_dead = false;
        let goes_on = |(ix, direction): &(StepIx, Direction)| {
            self.agenda.iter().any(
                |(_, _, due)| matches!(due, Due::End(at, way, _) if (at, way) == (ix, direction)),
            )
        };
        let running: Vec<_> =
            self.lived.state.sets.running.iter().copied().filter(goes_on).collect();
        let still = |(ix, direction): &(StepIx, Direction)| StillRunning {
            step: self.id(*ix),
            direction: *direction,
        };
        let still_running = running.iter().map(still).collect();
        self.record(Fact::RunResumed { operator: operator(), until: None, still_running })?;
        self.tell()
    }

    pub(super) fn record(&mut self, fact: Fact) -> Result<(), String> {
        let event = Event { number: self.lived.state.head + 1, at: self.now, fact };
        let was_down = self.lived.state.down_since.is_some();
        self.lived.state.apply(&event).map_err(|error| error.to_string())?;
        self.lookout.saw(&self.lived.state, self.stage.expected, &event, was_down);
        self.lived.events.push(event);
        Ok(())
    }

    pub(super) fn runs(&self, ix: StepIx, direction: Direction, attempt: u32) -> bool {
        matches!(
            self.lived.state.track(ix, direction),
            Track::Running { attempt: running, .. } if *running == attempt
        )
    }

    pub(super) fn schedule(&mut self, at: Moment, due: Due) {
        self.scheduled += 1;
        self.agenda.insert((at, self.scheduled, due));
    }

    pub(super) fn id(&self, ix: StepIx) -> StepId {
        Arc::clone(&self.lived.state.runbook.step(ix).id)
    }
}
