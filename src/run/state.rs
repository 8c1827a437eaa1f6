//! The state of a run as a fold of its events. One function, [`RunState::apply`], makes every
//! change and refuses every event that is not a legal next one; the sets beside the steps are
//! indexes that the planner reads, kept by the same function.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::Value as Json;

use super::event::*;
use super::foresight::{Foreseen, Purpose, Rehearsed};
use super::occasion::Notices;
use super::watch::{Watch, Watched, is_watched};
use crate::runbook::action::DoneBy;
use crate::runbook::{
    Direction, Downtime, OnBreach, Outputs, Runbook, Span, StepIx, StepMap, Undo,
};

/// An event that cannot follow the ones before it: the log was altered, or the program is wrong.
/// Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "event {number} ({kind}{}) cannot follow: {why}",
    .step.as_deref().map(|step| format!(" of {step}")).unwrap_or_default()
)]
pub struct IllegalEvent {
    pub number: u64,
    pub kind: &'static str,
    pub step: Option<String>,
    pub why: String,
}

/// Which way the run goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    Forward,
    RollingBack,
    Cancelling,
}

/// Where an action of a step stands, in one direction.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Track {
    #[default]
    Idle,
    Running {
        attempt: u32,
        since: Moment,
        stopping: Option<StopReason>,
    },
    /// A person is asked.
    Waiting {
        attempt: u32,
        since: Moment,
    },
    /// Nobody knows how the attempt ended.
    InDoubt {
        attempt: u32,
        probed: Option<Probed>,
    },
    Retrying {
        attempt: u32,
        at: Moment,
        failure: Failure,
    },
    Failed {
        attempt: u32,
        failure: Failure,
    },
    Done,
    Skipped {
        because: SkipReason,
    },
    /// There was nothing to undo.
    Passed,
}

/// What is known of one step.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct StepState {
    tracks: [Track; 3],
    attempts: [u32; 3],
    /// When the last attempt of each direction began.
    since: [Option<Moment>; 3],
    pub outputs: Outputs,
    pub started: Option<Moment>,
    pub finished: Option<Moment>,
    /// The last cursor of each direction.
    cursors: [Option<String>; 3],
    /// What was there before anything was changed.
    seen: Option<Json>,
    /// Whether any attempt may have had an effect.
    pub touched: bool,
    /// The same, of all attempts but the last.
    was_touched: bool,
    /// What a dry run says of it.
    pub foreseen: Option<Foreseen>,
    /// Of a point of no return: somebody lets it be passed.
    pub(super) confirmed: bool,
    /// In each direction: a person has said how the last attempt ended.
    vouched: [bool; 3],
    /// How often it was taken back to be begun anew: what is done then is not what was done before.
    generation: u32,
    /// The attempts before that, in each direction.
    before: [u32; 3],
    /// Needs that are not settled yet.
    unmet: u32,
    /// Done or skipped at some time: what needs it may go.
    settled: bool,
}

/// Everything that is known of a run.
#[derive(Debug, Clone)]
pub struct RunState {
    pub runbook: Arc<Runbook>,
    pub started: RunStarted,
    pub began: Moment,
    /// The number of the event with which the last session began.
    pub session: u64,
    /// The number and moment of the last event.
    pub head: u64,
    pub last: Moment,
    pub mode: Mode,
    pub ended: Option<Outcome>,
    pub stopped: Option<Stop>,
    /// Where `--until` ends this session.
    pub until: Option<StepIx>,
    /// What `--until` leaves out: nothing, or the steps that it does not need.
    wanted: Option<StepMap<bool>>,
    pub steps: StepMap<StepState>,
    pub sets: Sets,
    pub rollback: Option<Rollback>,
    pub groups: Vec<GroupState>,
    pub down_since: Option<Moment>,
    pub downtime: Span,
    pub notices: Notices,
    pub watch: Watch,
    /// Steps whose answers an amendment took back, and that nobody has given anew.
    pub(super) voided: BTreeSet<StepIx>,
    /// What a rehearsal found.
    pub rehearsed: Option<Rehearsed>,
    /// The secrets that steps were given, by name, each with the digest of its last value.
    pub secrets: BTreeMap<String, String>,
    unsettled: usize,
    phase_left: Vec<usize>,
    /// The points of no return.
    points: Vec<StepIx>,
}

/// Steps by where they stand; derived, for the planner.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Sets {
    /// All needs settled, and not begun.
    pub ready: BTreeSet<StepIx>,
    pub running: BTreeSet<(StepIx, Direction)>,
    pub waiting: BTreeSet<StepIx>,
    pub doubt: BTreeSet<(StepIx, Direction)>,
    pub retrying: BTreeSet<(StepIx, Direction)>,
    pub failed: BTreeSet<(StepIx, Direction)>,
    /// Held changes that are not released.
    pub held: BTreeSet<StepIx>,
    /// Holds that were released by a failure and must be taken again before anything else.
    pub retake: BTreeSet<StepIx>,
    /// Steps done in part, to be undone before they are begun anew.
    pub partial: BTreeSet<StepIx>,
    /// What an earlier session began and this one found running.
    pub inherited: BTreeSet<(StepIx, Direction)>,
    /// All that stands behind an answer that an amendment took back: nothing of it goes forward,
    /// whatever lies between.
    pub barred: BTreeSet<StepIx>,
}

/// How far a rollback is.
#[derive(Debug, Clone, PartialEq)]
pub struct Rollback {
    pub to: Option<StepIx>,
    pub because: String,
    pub began: Moment,
    targets: StepMap<bool>,
    waits: StepMap<u32>,
    /// Steps whose dependents are all undone.
    pub ready: BTreeSet<StepIx>,
    pub left: usize,
    /// How many steps are to be undone in all.
    pub total: usize,
}

#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct GroupState {
    pub running: u32,
    pub failed: u32,
}

impl RunState {
    /// The state after the first event.
    ///
    /// # Errors
    /// If that is not `RunStarted` with the number 1.
    pub fn new(runbook: Arc<Runbook>, first: &Event) -> Result<RunState, IllegalEvent> {
        let Fact::RunStarted(started) = &first.fact else {
            return Err(illegal(first, "a run begins with run_started"));
        };
        if first.number != 1 {
            return Err(illegal(first, "the first event has the number 1"));
        }
        let mut state = RunState::fresh(runbook, started.clone(), first.at);
        state.set_until(started.until.as_deref());
        state.note_occasions(first, false);
        Ok(state)
    }

    /// A run of which nothing has begun.
    pub(super) fn fresh(runbook: Arc<Runbook>, started: RunStarted, began: Moment) -> RunState {
        let steps: StepMap<StepState> = runbook
            .steps
            .iter()
            .map(|step| StepState { unmet: step.needs.len() as u32, ..StepState::default() })
            .collect();
        let ready = runbook.ixs().filter(|ix| runbook.step(*ix).needs.is_empty()).collect();
        let mut phase_left = vec![0; runbook.phases.len()];
        for step in &runbook.steps {
            phase_left[step.phase as usize] += 1;
        }
        RunState {
            started,
            began,
            session: 1,
            head: 1,
            last: began,
            mode: Mode::Forward,
            ended: None,
            stopped: None,
            until: None,
            wanted: None,
            unsettled: steps.len(),
            steps,
            sets: Sets { ready, ..Sets::default() },
            rollback: None,
            groups: vec![GroupState::default(); runbook.groups.len()],
            down_since: None,
            downtime: Span::ZERO,
            notices: Notices::default(),
            watch: Watch::default(),
            voided: BTreeSet::new(),
            rehearsed: None,
            secrets: BTreeMap::new(),
            phase_left,
            points: runbook.ixs().filter(|ix| runbook.step(*ix).point_of_no_return).collect(),
            runbook,
        }
    }

    /// Puts what is known of a step where it now stands.
    pub(super) fn carry(&mut self, ix: StepIx, known: StepState) {
        let (tracks, is_settled, finished) = (known.tracks.clone(), known.settled, known.finished);
        let unmet = self.step(ix).unmet;
        self.steps[ix] = StepState { unmet, settled: false, tracks: Default::default(), ..known };
        for (direction, track) in Direction::ALL.into_iter().zip(tracks) {
            self.set(ix, direction, track);
        }
        if is_settled {
            self.settle(ix, finished.unwrap_or_default());
        }
    }

    /// Makes the one change that `event` stands for.
    ///
    /// # Errors
    /// If it is not a legal next event; the state is then unchanged.
    pub fn apply(&mut self, event: &Event) -> Result<(), IllegalEvent> {
        if event.number != self.head + 1 {
            return Err(illegal(
                event,
                format!("the number after {} is {}", self.head, self.head + 1),
            ));
        }
        let was_down = self.down_since.is_some();
        self.change(event).map_err(|why| illegal(event, why))?;
        self.head = event.number;
        self.last = event.at;
        self.note_occasions(event, was_down);
        Ok(())
    }

    fn change(&mut self, event: &Event) -> Result<(), String> {
        let at = event.at;
        let is_rollback = matches!(event.fact, Fact::RollbackBegan { .. });
        if self.ended.is_some()
            && !matches!(event.fact, Fact::MessageSent(_))
            && !(is_rollback && matches!(self.ended, Some(Outcome::Finished | Outcome::RolledBack)))
        {
            return Err("the run is over".into());
        }
        if self.started.purpose == Purpose::Rehearsal && !matches!(event.fact, Fact::Rehearsed(_)) {
            return Err("it is a rehearsal: nothing was begun that could go on or back".into());
        }
        if self.started.is_dry() && !may_be_in_a_dry_run(&event.fact) {
            return Err(
                "it is a dry run, which changes nothing, and is neither resumed nor taken back"
                    .into(),
            );
        }
        if self.stopped.is_some()
            && matches!(
                event.fact,
                Fact::StepStarted(_)
                    | Fact::StepSucceeded(_)
                    | Fact::StepFailed(_)
                    | Fact::StepForeseen(_)
                    | Fact::StepProbed { .. }
            )
        {
            return Err("the executor had left and the run was not resumed".into());
        }
        match &event.fact {
            Fact::RunStarted(_) => return Err("a run begins once".into()),
            Fact::RunResumed { until, still_running, .. } => {
                self.resume(until.as_deref(), still_running)?;
                self.session = event.number;
            }
            Fact::RunStopped { because } => {
                need(self.sets.running.is_empty(), "actions are still running")?;
                self.stopped = Some(because.clone());
            }
            Fact::RunEnded { outcome } => self.end(*outcome)?,
            Fact::RollbackBegan { to, because, force, .. } => {
                // A run that is over is not resumed before it goes back.
                let is_session = self.ended.is_some();
                self.begin_rollback(to.as_deref(), because, *force, at)?;
                if is_session {
                    self.session = event.number;
                }
            }
            Fact::CancelBegan { .. } => {
                need(self.mode == Mode::Forward, "only a run that goes forward can be cancelled")?;
                self.mode = Mode::Cancelling;
            }
            Fact::StepStarted(started) => self.start(started, at)?,
            Fact::StepSucceeded(done) => {
                self.succeed(done, at)?;
                self.secrets.extend(done.secrets.clone());
            }
            Fact::StepFailed(failed) => {
                self.fail(failed, at)?;
                self.secrets.extend(failed.secrets.clone());
            }
            Fact::StepForeseen(foreseen) => self.foresee(foreseen, at)?,
            Fact::StopRequested { step, direction, attempt, because } => {
                let ix = self.ix(step)?;
                match self.track(ix, *direction) {
                    Track::Running { attempt: running, since, stopping: None }
                        if running == attempt =>
                    {
                        let since = *since;
                        self.set(
                            ix,
                            *direction,
                            Track::Running { attempt: *attempt, since, stopping: Some(*because) },
                        );
                    }
                    _ => return Err("that attempt is not running".into()),
                }
            }
            Fact::StepSkipped { step, because } => self.skip(step, because, at)?,
            Fact::UndoPassed { step } => {
                let ix = self.ix(step)?;
                self.may_undo(ix)?;
                let nothing =
                    matches!(self.runbook.step(ix).undo, Undo::Nothing) || !self.step(ix).touched;
                need(nothing, "the step has something to undo")?;
                self.set(ix, Direction::Undo, Track::Passed);
                self.undone(ix, at);
            }
            Fact::StepProbed { step, direction, attempt, verdict, .. } => {
                let ix = self.ix(step)?;
                let in_doubt = matches!(
                    self.track(ix, *direction),
                    Track::InDoubt { attempt: doubted, .. } if doubted == attempt
                );
                need(in_doubt, "that attempt is not in doubt")?;
                match verdict {
                    Probed::Done => self.done(ix, *direction, &Outputs::new(), at),
                    other => self.set(
                        ix,
                        *direction,
                        Track::InDoubt { attempt: *attempt, probed: Some(*other) },
                    ),
                }
            }
            Fact::StepResolved(resolved) => self.resolve(resolved, at)?,
            Fact::PointConfirmed { step, .. } => {
                let ix = self.ix(step)?;
                need(
                    self.needs_confirmation(ix),
                    "it is no point of no return that waits for a word",
                )?;
                self.steps[ix].confirmed = true;
                self.answered_anew(ix);
            }
            Fact::RunAmended(amended) => self.amend(amended)?,
            Fact::StepSaw { step, direction, attempt, seen } => {
                let ix = self.ix(step)?;
                let is_running = matches!(
                    self.track(ix, *direction),
                    Track::Running { attempt: running, .. } if running == attempt
                );
                need(is_running, "that attempt is not running")?;
                // What a later attempt finds may be half of what the first one changed.
                if *direction == Direction::Forward {
                    self.steps[ix].seen.get_or_insert_with(|| seen.clone());
                }
            }
            Fact::CursorSaved { step, direction, cursor, .. } => {
                let ix = self.ix(step)?;
                self.steps[ix].cursors[*direction as usize] = Some(cursor.clone());
            }
            Fact::AnalysisRead { step, attempt, .. } => {
                let track = self.track(self.ix(step)?, Direction::Forward);
                let is_running =
                    matches!(track, Track::Running { attempt: running, .. } if running == attempt);
                need(is_running, "that attempt is not running")?;
            }
            Fact::GuardRead { guard, says, reading } => {
                self.guarded(guard)?;
                need(self.stopped.is_none(), "the executor had left")?;
                self.watch.read(guard, *says, reading);
            }
            Fact::GuardForeseen { guard, verdict } => {
                self.guarded(guard)?;
                need(self.started.is_dry(), "only a dry run foresees what a guard does")?;
                self.watch.foreseen.insert(guard.clone(), *verdict);
            }
            Fact::Breached(breach) => {
                if let Watched::Guard { guard } = &breach.of {
                    self.guarded(guard)?;
                }
                need(self.stopped.is_none(), "the executor had left")?;
                need(self.watch.is_new(breach), "it is breached already")?;
                need(
                    breach.then == OnBreach::Warn || self.mode == Mode::Forward,
                    "nothing goes forward any more that could be stopped or undone",
                )?;
                self.watch.breach(breach);
            }
            Fact::Overridden { .. } => {
                need(self.head == 1, "only what has not begun can be let begin")?
            }
            Fact::Rehearsed(rehearsed) => {
                need(
                    self.started.purpose == Purpose::Rehearsal && self.rehearsed.is_none(),
                    "it is no rehearsal",
                )?;
                self.rehearsed = Some(rehearsed.clone());
            }
            Fact::MessageSent(_) => {}
        }
        Ok(())
    }

    fn start(&mut self, started: &StepStarted, at: Moment) -> Result<(), String> {
        let (ix, direction) = (self.ix(&started.step)?, started.direction);
        let step = self.runbook.step(ix);
        let act = step.act(direction).ok_or("the step has no such action")?;
        need(
            started.attempt == self.attempts(ix, direction) + 1,
            "attempts are counted from 1 without gaps",
        )?;
        match self.track(ix, direction) {
            Track::Idle | Track::Retrying { .. } => {}
            Track::InDoubt { probed, .. } if act.idempotent || *probed == Some(Probed::NotDone) => {
            }
            other => return Err(format!("it is {}", other.word())),
        }
        match direction {
            Direction::Forward => {
                need(self.mode == Mode::Forward, "nothing goes forward any more")?;
                need(self.step(ix).unmet == 0, "its needs are not met")?;
                need(
                    !self.sets.barred.contains(&ix),
                    "an amendment took back an answer before it, and nobody has given it anew",
                )?;
                need(
                    !self.needs_confirmation(ix),
                    "it is a point of no return, and nobody has let it be passed",
                )?;
                need(
                    !self.sets.partial.contains(&ix),
                    "it was done in part, and is to be undone first",
                )?;
            }
            Direction::Undo if self.is_partial(ix) => {}
            Direction::Undo => self.may_undo(ix)?,
            Direction::Release => need(self.sets.held.contains(&ix), "it holds nothing")?,
        }
        let (group, downtime, holds) = (step.group, step.downtime, step.hold.is_some());
        let is_dry = self.is_only_looked_at(ix);
        let track = match act.action.is_for_a_person() && !is_dry {
            true => Track::Waiting { attempt: started.attempt, since: at },
            false => Track::Running { attempt: started.attempt, since: at, stopping: None },
        };
        self.set(ix, direction, track);
        self.sets.inherited.remove(&(ix, direction));
        if direction == Direction::Forward && *self.track(ix, Direction::Release) == Track::Done {
            // Taken again, it is to be released again.
            self.set(ix, Direction::Release, Track::Idle);
        }
        let state = &mut self.steps[ix];
        state.attempts[direction as usize] += 1;
        state.vouched[direction as usize] = false;
        state.since[direction as usize] = Some(at);
        if direction == Direction::Forward {
            // A hold that is taken again begins anew; a retry goes on with what its first attempt
            // began.
            if state.started.is_none() || self.sets.retake.contains(&ix) {
                state.started = Some(at);
            }
            state.was_touched = std::mem::replace(&mut state.touched, !is_dry);
            if holds && !is_dry {
                self.sets.held.insert(ix);
            }
            if let Some(group) = group {
                self.groups[group as usize].running += 1;
            }
        }
        match (direction, downtime) {
            _ if is_dry => {}
            (Direction::Forward, Some(Downtime::Begins))
            | (Direction::Undo, Some(Downtime::Ends)) => {
                self.down_since.get_or_insert(at);
            }
            _ => {}
        }
        Ok(())
    }

    fn succeed(&mut self, done: &StepSucceeded, at: Moment) -> Result<(), String> {
        let ix = self.ix(&done.step)?;
        match self.track(ix, done.direction) {
            Track::Running { attempt, stopping: None, .. } if *attempt == done.attempt => {}
            Track::Running { stopping: Some(_), .. } => {
                return Err("it was being stopped: a later success does not undo that".into());
            }
            other => return Err(format!("it is {}", other.word())),
        }
        self.leave_group(ix, done.direction);
        self.done(ix, done.direction, &done.outputs, at);
        Ok(())
    }

    fn fail(&mut self, failed: &StepFailed, at: Moment) -> Result<(), String> {
        let (ix, direction, attempt) = (self.ix(&failed.step)?, failed.direction, failed.attempt);
        let (running, stopping) = match self.track(ix, direction) {
            Track::Running { attempt, stopping, .. } => (*attempt, *stopping),
            // Rendering can fail before anything has begun.
            Track::Idle | Track::Retrying { .. } | Track::InDoubt { .. }
                if failed.failure.kind == FailureKind::BeforeEffect =>
            {
                (attempt, None)
            }
            other => return Err(format!("it is {}", other.word())),
        };
        need(running == attempt, "another attempt is running")?;
        if self.attempts(ix, direction) == attempt {
            self.leave_group(ix, direction);
        } else {
            self.steps[ix].attempts[direction as usize] = attempt;
        }
        if failed.failure.kind == FailureKind::BeforeEffect && direction == Direction::Forward {
            self.steps[ix].touched = self.step(ix).was_touched;
            if !self.step(ix).touched
                && self.runbook.step(ix).downtime == Some(Downtime::Begins)
                && self.down_since == self.step(ix).started
            {
                self.down_since = None;
            }
        }
        let failure = failed.failure.clone();
        if direction == Direction::Forward {
            self.steps[ix].outputs.extend(failed.outputs.clone());
        }
        let track = match (stopping, failed.retry_at) {
            // Killed half-way by the operator: what it did is not known.
            (Some(StopReason::Interrupt), _) => Track::InDoubt { attempt, probed: None },
            _ if failure.kind == FailureKind::Lost => Track::InDoubt { attempt, probed: None },
            (_, Some(due)) => Track::Retrying { attempt, at: due, failure },
            (_, None) => Track::Failed { attempt, failure },
        };
        if direction == Direction::Forward && matches!(track, Track::Failed { .. }) {
            self.steps[ix].finished = Some(at);
        }
        self.set(ix, direction, track);
        Ok(())
    }

    fn skip(&mut self, step: &str, because: &SkipReason, at: Moment) -> Result<(), String> {
        let ix = self.ix(step)?;
        need(self.mode == Mode::Forward, "nothing goes forward any more")?;
        let track = self.track(ix, Direction::Forward);
        let legal = match because {
            SkipReason::LiveTest => {
                *track == Track::Idle
                    && self.step(ix).unmet == 0
                    && self.started.purpose == Purpose::LiveTest
            }
            SkipReason::Condition { .. } => *track == Track::Idle && self.step(ix).unmet == 0,
            SkipReason::Tolerated => matches!(track, Track::Failed { .. }),
            SkipReason::Operator { .. } => {
                matches!(
                    track,
                    Track::Idle
                        | Track::Failed { .. }
                        | Track::InDoubt { .. }
                        | Track::Waiting { .. }
                        | Track::Retrying { .. }
                )
            }
        };
        need(legal, &format!("it is {}", track.word()))?;
        if matches!(track, Track::Waiting { .. }) {
            self.leave_group(ix, Direction::Forward);
        }
        self.set(ix, Direction::Forward, Track::Skipped { because: because.clone() });
        self.settle(ix, at);
        // Somebody moved it by hand, or it is not for this run: no step is left that would say that
        // production is back.
        let runbook = Arc::clone(&self.runbook);
        let ends = |ix: &StepIx| runbook.step(*ix).downtime == Some(Downtime::Ends);
        if ends(&ix) && runbook.ixs().filter(ends).all(|ix| self.is_settled(ix)) {
            self.production_is_back(at);
        }
        Ok(())
    }

    fn resolve(&mut self, resolved: &StepResolved, at: Moment) -> Result<(), String> {
        let (ix, direction) = (self.ix(&resolved.step)?, resolved.direction);
        let good = matches!(resolved.verdict, Verdict::Done | Verdict::Go);
        let is_gate = self
            .runbook
            .step(ix)
            .act(direction)
            .is_some_and(|act| act.action.done_by() == DoneBy::GATE);
        let fits = is_gate == matches!(resolved.verdict, Verdict::Go | Verdict::NoGo);
        need(
            fits,
            if is_gate {
                "an approval is a go or a no-go"
            } else {
                "only an approval is a go or a no-go; say whether it is done"
            },
        )?;
        self.steps[ix].vouched[direction as usize] = true;
        match (self.track(ix, direction).clone(), good) {
            (Track::Waiting { .. }, true) => {
                self.leave_group(ix, direction);
                self.done(ix, direction, &resolved.outputs, at);
            }
            (Track::Waiting { attempt, .. }, false) => {
                self.leave_group(ix, direction);
                let failure = Failure {
                    kind: FailureKind::Refused,
                    message: format!("{}: {}", resolved.actor, resolved.reason),
                };
                self.set(ix, direction, Track::Failed { attempt, failure });
            }
            (Track::InDoubt { .. } | Track::Failed { .. }, _)
                if resolved.verdict == Verdict::Partial =>
            {
                need(
                    direction == Direction::Forward,
                    "only a step is done in part; say of an undo whether it is done or not",
                )?;
                need(
                    matches!(self.runbook.step(ix).undo, Undo::Act(_)),
                    "it has no undo: take back by hand what was done, and say not-done",
                )?;
                let stands = self
                    .runbook
                    .dependents(ix)
                    .iter()
                    .any(|dependent| self.step(*dependent).touched);
                need(
                    !stands,
                    "steps that depend on it have begun: take back by hand what was done in part, \
                     and say not-done",
                )?;
                self.set(ix, direction, Track::Idle);
                if self.mode == Mode::Forward {
                    self.sets.partial.insert(ix);
                }
            }
            (Track::InDoubt { .. } | Track::Failed { .. }, true) => {
                self.done(ix, direction, &resolved.outputs, at)
            }
            (Track::InDoubt { .. } | Track::Failed { .. }, false) => {
                self.set(ix, direction, Track::Idle)
            }
            (Track::Idle, true) if direction == Direction::Undo => {
                if !self.is_partial(ix) {
                    self.may_undo(ix)?;
                }
                self.done(ix, direction, &resolved.outputs, at);
            }
            (other, _) => {
                return Err(format!("it is {}: there is nothing to resolve", other.word()));
            }
        }
        Ok(())
    }

    fn resume(
        &mut self,
        until: Option<&str>,
        still_running: &[StillRunning],
    ) -> Result<(), String> {
        let goes_on = |still: &StillRunning| Ok((self.ix(&still.step)?, still.direction));
        let go_on: BTreeSet<_> =
            still_running.iter().map(goes_on).collect::<Result<_, String>>()?;
        need(go_on.is_subset(&self.sets.running), "what is said to run still was not running")?;
        // Who resumes has seen the failures of a session that stopped because of them, and takes
        // them up again; a failure that nobody was told of stands. What had no effect may be begun
        // in any case.
        let is_told = self.stopped.take().is_some();
        self.watch.begin_anew();
        self.set_until(until);
        for (ix, direction) in self.sets.running.difference(&go_on).copied().collect::<Vec<_>>() {
            if let Track::Running { attempt, .. } = *self.track(ix, direction) {
                self.leave_group(ix, direction);
                // Of what was only looked at nothing is in doubt.
                let is_look = direction == Direction::Forward && self.is_only_looked_at(ix);
                self.set(
                    ix,
                    direction,
                    if is_look { Track::Idle } else { Track::InDoubt { attempt, probed: None } },
                );
            }
        }
        self.sets.inherited = go_on;
        // A look at an attempt in doubt is as old as the session that took it.
        for (ix, direction) in self.sets.doubt.clone() {
            if let Track::InDoubt { attempt, .. } = *self.track(ix, direction) {
                self.set(ix, direction, Track::InDoubt { attempt, probed: None });
            }
        }
        for (ix, direction) in self.sets.failed.clone() {
            let had_no_effect = matches!(
                self.track(ix, direction),
                Track::Failed { failure, .. } if failure.kind == FailureKind::BeforeEffect
            );
            if (is_told || had_no_effect)
                && (direction != Direction::Forward || self.mode == Mode::Forward)
            {
                self.set(ix, direction, Track::Idle);
            }
        }
        if self.mode == Mode::Forward {
            let runbook = Arc::clone(&self.runbook);
            for ix in runbook.ixs().filter(|ix| runbook.step(*ix).hold.is_some()) {
                self.retake(ix);
            }
        }
        Ok(())
    }

    fn begin_rollback(
        &mut self,
        to: Option<&str>,
        because: &str,
        force: bool,
        at: Moment,
    ) -> Result<(), String> {
        let again = self.ended == Some(Outcome::RolledBack);
        need(self.mode == Mode::Forward || again, "it is not going forward")?;
        let runbook = Arc::clone(&self.runbook);
        let to = to.map(|to| self.ix(to)).transpose()?;
        // A run that went back in part may go back further.
        let is_back = |step: &StepState| {
            matches!(step.tracks[Direction::Undo as usize], Track::Done | Track::Passed)
        };
        let began = |step: &StepState| step.attempts[Direction::Forward as usize] > 0;
        let mut targets = self.begun_and_not_back();
        // What was being undone to be begun anew is undone to its end, whatever else stays.
        let is_half_back = |step: &StepState| {
            step.tracks[Direction::Undo as usize] != Track::Idle && !is_back(step)
        };
        let half_back: StepMap<bool> = self.steps.iter().map(is_half_back).collect();
        if let Some(to) = to {
            need(
                self.step(to).attempts[Direction::Forward as usize] > 0,
                "that step has not begun: nothing that came after it could be undone",
            )?;
            let after = runbook.descendants(to);
            targets.iter_mut().zip(after).for_each(|(target, after)| *target &= after);
        }
        if !force {
            self.spare_points(&mut targets);
        }
        targets.iter_mut().zip(half_back).for_each(|(target, half_back)| *target |= half_back);
        let total = targets.iter().filter(|target| **target).count();
        let is_held_back = runbook.ixs().any(|ix| began(self.step(ix)) && !is_back(self.step(ix)));
        let why_not = if is_held_back {
            ": what stays lies before a point of no return (--force passes it)"
        } else {
            ""
        };
        need(total > 0 || !again, &format!("there is nothing left to undo{why_not}"))?;
        let waits = runbook.ixs().map(|ix| runbook.dependents(ix).len() as u32).collect();
        self.rollback = Some(Rollback {
            to,
            because: because.to_owned(),
            began: at,
            targets,
            waits,
            ready: BTreeSet::new(),
            left: total,
            total,
        });
        // What was done in part is undone with the rest.
        self.sets.partial.clear();
        self.watch.retreats = None;
        self.mode = Mode::RollingBack;
        self.ended = None;
        self.stopped = None;
        let leaves: Vec<StepIx> =
            runbook.ixs().filter(|ix| runbook.dependents(*ix).is_empty()).collect();
        leaves.into_iter().for_each(|ix| self.clear_for_undo(ix));
        Ok(())
    }

    /// Which steps a rollback takes back: the one that is under way or, if there is none, one that
    /// began now.
    pub fn targets(&self) -> StepMap<bool> {
        if let Some(rollback) = &self.rollback {
            return rollback.targets.clone();
        }
        let mut targets = self.begun_and_not_back();
        self.spare_points(&mut targets);
        targets
    }

    fn begun_and_not_back(&self) -> StepMap<bool> {
        let is_back = |step: &StepState| {
            matches!(step.tracks[Direction::Undo as usize], Track::Done | Track::Passed)
        };
        self.steps
            .iter()
            .map(|step| step.attempts[Direction::Forward as usize] > 0 && !is_back(step))
            .collect()
    }

    /// What lies before a point of no return that was passed stays.
    fn spare_points(&self, targets: &mut StepMap<bool>) {
        for &ix in self.points.iter().filter(|ix| self.step(**ix).touched) {
            targets[ix] = false;
            targets
                .iter_mut()
                .zip(self.runbook.ancestors(ix))
                .for_each(|(target, before)| *target &= !before);
        }
    }

    /// All dependents of `ix` are out of the way: it can be undone, or, if it is not to be, what it
    /// needs can.
    fn clear_for_undo(&mut self, ix: StepIx) {
        let Some(rollback) = &mut self.rollback else { return };
        let mut clear = vec![ix];
        while let Some(at) = clear.pop() {
            if rollback.targets[at]
                && !matches!(
                    self.steps[at].tracks[Direction::Undo as usize],
                    Track::Done | Track::Passed
                )
            {
                rollback.ready.insert(at);
                continue;
            }
            for need in &self.runbook.step(at).needs {
                let waits = &mut rollback.waits[*need];
                *waits -= 1;
                if *waits == 0 {
                    clear.push(*need);
                }
            }
        }
    }

    fn may_undo(&self, ix: StepIx) -> Result<(), String> {
        let rollback = self.rollback.as_ref().ok_or("the run is not rolling back")?;
        need(rollback.ready.contains(&ix), "a step that depends on it is not undone")?;
        let running = matches!(self.track(ix, Direction::Forward), Track::Running { .. });
        need(!running, "it is still running")?;
        need(!self.sets.held.contains(&ix), "what it holds is not released")
    }

    fn undone(&mut self, ix: StepIx, at: Moment) {
        match self.runbook.step(ix).downtime {
            Some(Downtime::Begins) => self.production_is_back(at),
            // A step that had nothing to undo, or was undone by hand, goes over to the old side as
            // one whose undo began.
            Some(Downtime::Ends) if self.goes_back_over_a_downtime() => {
                self.down_since.get_or_insert(at);
            }
            _ => {}
        }
        let Some(rollback) = &mut self.rollback else { return };
        // An undo that began before the rollback, of a step that is no target of it, frees nobody.
        if rollback.ready.remove(&ix) {
            rollback.left -= 1;
            self.clear_for_undo(ix);
        }
    }

    /// Whether the way back leads to before production went down.
    fn goes_back_over_a_downtime(&self) -> bool {
        let is_back = |ix| matches!(self.track(ix, Direction::Undo), Track::Done | Track::Passed);
        let begins = |ix| self.runbook.step(ix).downtime == Some(Downtime::Begins);
        self.runbook
            .ixs()
            .any(|ix| begins(ix) && self.is_target(ix) && self.step(ix).touched && !is_back(ix))
    }

    fn end(&mut self, outcome: Outcome) -> Result<(), String> {
        need(self.sets.running.is_empty(), "actions are still running")?;
        let done = match outcome {
            Outcome::Finished => {
                self.mode == Mode::Forward && self.unsettled == 0 && self.sets.held.is_empty()
            }
            Outcome::RolledBack => {
                self.rollback.as_ref().is_some_and(|rollback| rollback.left == 0)
                    && self.sets.held.is_empty()
            }
            Outcome::Cancelled => self.mode == Mode::Cancelling && self.sets.held.is_empty(),
        };
        need(done, "there is something left to do")?;
        self.ended = Some(outcome);
        Ok(())
    }

    /// What was only looked at stands in nobody's way; what it would give stays unknown.
    pub(super) fn settle_foreseen(&mut self, ix: StepIx, at: Moment) {
        if matches!(self.track(ix, Direction::Forward), Track::Running { .. }) {
            self.leave_group(ix, Direction::Forward);
        }
        self.done(ix, Direction::Forward, &Outputs::new(), at);
    }

    fn done(&mut self, ix: StepIx, direction: Direction, outputs: &Outputs, at: Moment) {
        self.set(ix, direction, Track::Done);
        match direction {
            Direction::Forward => {
                self.steps[ix].outputs.extend(outputs.clone());
                self.steps[ix].finished = Some(at);
                self.sets.retake.remove(&ix);
                if self.runbook.step(ix).downtime == Some(Downtime::Ends) {
                    self.production_is_back(at);
                }
                self.settle(ix, at);
            }
            Direction::Undo if self.sets.partial.remove(&ix) => {
                if self.runbook.step(ix).downtime == Some(Downtime::Begins) {
                    self.production_is_back(at);
                }
                self.set(ix, Direction::Undo, Track::Idle);
                self.steps[ix].touched = false;
                self.steps[ix].outputs.clear();
                self.begin_anew(ix);
            }
            Direction::Undo => self.undone(ix, at),
            Direction::Release => {
                self.sets.held.remove(&ix);
                // A release that a failure began, and a later session ended: what goes on now needs
                // the hold again.
                let goes_on = self.mode == Mode::Forward
                    && !self
                        .sets
                        .failed
                        .iter()
                        .any(|(_, direction)| *direction == Direction::Forward);
                if goes_on {
                    self.retake(ix);
                }
            }
        }
    }

    /// What comes is no longer what was: it has keys of its own, and goes on from nowhere.
    pub(super) fn begin_anew(&mut self, ix: StepIx) {
        let state = &mut self.steps[ix];
        state.generation += 1;
        state.before = state.attempts;
        state.confirmed = false;
        state.seen = None;
        state.cursors = Default::default();
    }

    /// A hold that was released before its point is to be taken again before anything else.
    fn retake(&mut self, ix: StepIx) {
        let until = self.runbook.step(ix).hold.as_ref().map_or(ix, |hold| hold.until);
        let released = *self.track(ix, Direction::Release) == Track::Done;
        if released
            && *self.track(ix, Direction::Forward) == Track::Done
            && !self.step(until).settled
        {
            self.set(ix, Direction::Forward, Track::Idle);
            self.set(ix, Direction::Release, Track::Idle);
            self.begin_anew(ix);
            self.sets.retake.insert(ix);
        }
    }

    fn settle(&mut self, ix: StepIx, at: Moment) {
        self.sets.retake.remove(&ix);
        let state = &mut self.steps[ix];
        state.finished.get_or_insert(at);
        if std::mem::replace(&mut state.settled, true) {
            return;
        }
        self.answered_anew(ix);
        self.unsettled -= 1;
        self.phase_left[self.runbook.step(ix).phase as usize] -= 1;
        let runbook = Arc::clone(&self.runbook);
        for &dependent in runbook.dependents(ix) {
            let state = &mut self.steps[dependent];
            state.unmet -= 1;
            if state.unmet == 0 && state.tracks[0] == Track::Idle {
                self.sets.ready.insert(dependent);
            }
        }
    }

    /// The only place where a track changes; keeps the sets, and how many copies of a group have
    /// failed.
    fn set(&mut self, ix: StepIx, direction: Direction, track: Track) {
        if let (Direction::Forward, Some(group)) = (direction, self.runbook.step(ix).group) {
            let failed = &mut self.groups[group as usize].failed;
            match (self.steps[ix].tracks[0].is_failed(), track.is_failed()) {
                (false, true) => *failed += 1,
                // A copy that is passed over has failed all the same.
                (true, false) if !matches!(track, Track::Skipped { .. }) => *failed -= 1,
                _ => {}
            }
        }
        let state = &mut self.steps[ix];
        let (sets, pair) = (&mut self.sets, (ix, direction));
        match &state.tracks[direction as usize] {
            Track::Idle if direction == Direction::Forward => drop(sets.ready.remove(&ix)),
            Track::Running { .. } => drop(sets.running.remove(&pair)),
            Track::Waiting { .. } => drop(sets.waiting.remove(&ix)),
            Track::InDoubt { .. } => drop(sets.doubt.remove(&pair)),
            Track::Retrying { .. } => drop(sets.retrying.remove(&pair)),
            Track::Failed { .. } => drop(sets.failed.remove(&pair)),
            _ => {}
        }
        match &track {
            Track::Idle if direction == Direction::Forward && state.unmet == 0 => {
                sets.ready.insert(ix);
            }
            Track::Running { .. } => drop(sets.running.insert(pair)),
            Track::Waiting { .. } => drop(sets.waiting.insert(ix)),
            Track::InDoubt { .. } => drop(sets.doubt.insert(pair)),
            Track::Retrying { .. } => drop(sets.retrying.insert(pair)),
            Track::Failed { .. } => drop(sets.failed.insert(pair)),
            _ => {}
        }
        state.tracks[direction as usize] = track;
    }

    fn leave_group(&mut self, ix: StepIx, direction: Direction) {
        if let (Direction::Forward, Some(group)) = (direction, self.runbook.step(ix).group) {
            self.groups[group as usize].running -= 1;
        }
    }

    fn production_is_back(&mut self, at: Moment) {
        if let Some(since) = self.down_since.take() {
            self.downtime = self.downtime + at.since(since);
        }
    }

    fn set_until(&mut self, until: Option<&str>) {
        self.until = until.and_then(|until| self.runbook.find(until));
        self.wanted = self.until.map(|until| {
            let mut wanted = self.runbook.ancestors(until);
            wanted[until] = true;
            wanted
        });
    }

    fn guarded(&self, guard: &str) -> Result<(), String> {
        let found = self
            .runbook
            .guards
            .iter()
            .find(|found| found.name == guard)
            .ok_or("the runbook has no such guard")?;
        need(is_watched(self, found), "it is not watched now")
    }

    fn ix(&self, step: &str) -> Result<StepIx, String> {
        self.runbook.find(step).ok_or_else(|| "the runbook has no such step".to_owned())
    }

    pub fn step(&self, ix: StepIx) -> &StepState {
        &self.steps[ix]
    }

    pub fn track(&self, ix: StepIx, direction: Direction) -> &Track {
        &self.steps[ix].tracks[direction as usize]
    }

    /// Whether a person has said how the last attempt ended.
    pub fn is_vouched(&self, ix: StepIx, direction: Direction) -> bool {
        self.steps[ix].vouched[direction as usize]
    }

    pub fn attempts(&self, ix: StepIx, direction: Direction) -> u32 {
        self.steps[ix].attempts[direction as usize]
    }

    /// Whether an attempt belongs to what was taken back since.
    pub fn is_past(&self, ix: StepIx, direction: Direction, attempt: u32) -> bool {
        attempt <= self.steps[ix].before[direction as usize]
    }

    /// When the last attempt began.
    pub fn since(&self, ix: StepIx, direction: Direction) -> Option<Moment> {
        self.step(ix).since[direction as usize]
    }

    /// What the step found before it changed anything.
    pub fn seen(&self, ix: StepIx) -> Option<&Json> {
        self.step(ix).seen.as_ref()
    }

    pub fn cursor(&self, ix: StepIx, direction: Direction) -> Option<&str> {
        self.steps[ix].cursors[direction as usize].as_deref()
    }

    /// Done or skipped.
    pub fn is_settled(&self, ix: StepIx) -> bool {
        self.steps[ix].settled
    }

    /// Whether all that a step needs is settled, and no answer before it void. Of one that has
    /// begun it may be so no longer.
    pub fn are_needs_met(&self, ix: StepIx) -> bool {
        self.step(ix).unmet == 0 && !self.sets.barred.contains(&ix)
    }

    /// How many steps are neither done nor skipped.
    pub fn unsettled(&self) -> usize {
        self.unsettled
    }

    /// How many steps of a phase are neither done nor skipped.
    pub fn phase_left(&self, phase: u32) -> usize {
        self.phase_left[phase as usize]
    }

    /// Whether `--until` lets this step go.
    pub fn is_wanted(&self, ix: StepIx) -> bool {
        self.wanted.as_ref().is_none_or(|wanted| wanted[ix])
    }

    /// Whether a rollback takes this step back.
    pub fn is_target(&self, ix: StepIx) -> bool {
        self.rollback.as_ref().is_some_and(|rollback| rollback.targets[ix])
    }

    /// How long production has been down in all.
    pub fn downtime_until(&self, now: Moment) -> Span {
        self.downtime + self.down_since.map_or(Span::ZERO, |since| now.since(since))
    }

    /// The same for all attempts of a step in one direction, and for nothing else; a step that was
    /// taken back and is begun anew has another one.
    pub fn idempotency_key(&self, ix: StepIx, direction: Direction) -> String {
        let again = match self.step(ix).generation {
            0 => String::new(),
            generation => format!(":{}", generation + 1),
        };
        let RunStarted { run, uuid, .. } = &self.started;
        // Ids are unique in their journal only, and targets see the keys of all journals.
        let run = if uuid.is_empty() { run.clone() } else { format!("{run}-{uuid}") };
        format!("{run}:{}:{}{again}", self.runbook.step(ix).id, direction.word())
    }

    /// Whether the step is a point of no return that has not begun and that nobody has let be
    /// passed.
    pub fn needs_confirmation(&self, ix: StepIx) -> bool {
        let step = self.step(ix);
        let has_begun =
            !self.is_past(ix, Direction::Forward, self.attempts(ix, Direction::Forward));
        self.runbook.step(ix).point_of_no_return
            && !step.confirmed
            && !has_begun
            && !self.is_only_looked_at(ix)
    }

    /// The points of no return whose turn has come, and that wait for a word.
    pub fn unconfirmed(&self) -> impl Iterator<Item = StepIx> + '_ {
        let has_turn = |ix: &StepIx| self.sets.ready.contains(ix) && !self.sets.barred.contains(ix);
        let waits =
            move |ix: &StepIx| has_turn(ix) && self.needs_confirmation(*ix) && self.is_wanted(*ix);
        self.points.iter().copied().filter(waits)
    }

    /// The steps that somebody is asked about now; on the way back, what was asked going forward is
    /// no longer open.
    pub fn asked(&self) -> impl Iterator<Item = StepIx> + '_ {
        let waits =
            |ix: StepIx, direction| matches!(self.track(ix, direction), Track::Waiting { .. });
        let is_open = move |ix: &StepIx| {
            self.mode == Mode::Forward
                || waits(*ix, Direction::Undo)
                || waits(*ix, Direction::Release)
        };
        self.sets.waiting.iter().copied().filter(is_open)
    }

    fn is_partial(&self, ix: StepIx) -> bool {
        self.mode == Mode::Forward && self.sets.partial.contains(&ix)
    }

    /// How many steps stand in each state of their forward track, for one phase or all.
    pub fn tally(&self, phase: Option<u32>) -> BTreeMap<&'static str, usize> {
        let mut tally = BTreeMap::new();
        for (step, state) in self.runbook.steps.iter().zip(&self.steps) {
            if phase.is_none_or(|phase| step.phase == phase) {
                *tally.entry(state.word()).or_default() += 1;
            }
        }
        tally
    }
}

impl StepState {
    /// A question that was answered, to be asked again.
    pub(super) fn unanswered(self) -> StepState {
        StepState {
            tracks: Default::default(),
            finished: None,
            settled: false,
            outputs: Outputs::new(),
            ..self
        }
    }

    /// The step's state in one word.
    pub fn word(&self) -> &'static str {
        let [forward, undo, release] = &self.tracks;
        match (forward, undo, release) {
            _ if let Some(foreseen) = self.foreseen => foreseen.word(),
            (_, Track::Done | Track::Passed, _) => "undone",
            (_, Track::Running { .. } | Track::Waiting { .. }, _) => "undoing",
            (_, Track::Failed { .. }, _) | (_, _, Track::Failed { .. }) => "stuck",
            (_, Track::InDoubt { .. }, _) => "in doubt",
            (Track::Idle, _, _) if self.unmet > 0 => "pending",
            (forward, ..) => forward.word(),
        }
    }
}

impl Track {
    pub fn is_failed(&self) -> bool {
        matches!(self, Track::Failed { .. })
    }

    pub fn word(&self) -> &'static str {
        match self {
            Track::Idle => "ready",
            Track::Running { .. } => "running",
            Track::Waiting { .. } => "waiting",
            Track::InDoubt { .. } => "in doubt",
            Track::Retrying { .. } => "retrying",
            Track::Failed { .. } => "failed",
            Track::Done => "done",
            Track::Skipped { .. } => "skipped",
            Track::Passed => "nothing to undo",
        }
    }
}

/// Nothing that changes the world, goes back, or goes on with what another session began.
fn may_be_in_a_dry_run(fact: &Fact) -> bool {
    matches!(
        fact,
        Fact::StepStarted(_)
            | Fact::StepSucceeded(_)
            | Fact::StepForeseen(_)
            | Fact::StopRequested { .. }
            | Fact::StepSkipped { .. }
            | Fact::GuardRead { .. }
            | Fact::GuardForeseen { .. }
            | Fact::MessageSent(_)
            | Fact::RunStopped { .. }
            | Fact::RunEnded { .. }
    )
}

fn need(holds: bool, otherwise: &str) -> Result<(), String> {
    if holds { Ok(()) } else { Err(otherwise.to_owned()) }
}

fn illegal(event: &Event, why: impl Into<String>) -> IllegalEvent {
    IllegalEvent {
        number: event.number,
        kind: kind(&event.fact),
        step: event.fact.step().map(ToString::to_string),
        why: why.into(),
    }
}
