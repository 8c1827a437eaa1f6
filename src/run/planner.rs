//! What is next. One pure function of the state and the time; resuming, rolling back and cancelling
//! are only other states.

use super::event::{FailureKind, Moment, Outcome, Probed, SkipReason, Stop};
use super::retry;
use super::state::{Mode, RunState, Track};
use super::watch::is_watched;
use crate::runbook::{Direction, OnFailure, StepId, StepIx, Undo};

/// The one next thing to do. After it is done and its event applied, ask again.
#[derive(Debug, Clone, PartialEq)]
pub enum Decision {
    /// Its turn has come: look at its condition, then begin an attempt.
    Begin(StepIx, Direction),
    Skip(StepIx, SkipReason),
    /// There is nothing to undo.
    Pass(StepIx),
    /// Look whether an attempt in doubt had its effect.
    Probe(StepIx, Direction),
    /// A point of no return may be passed: the operator has said so for all of them.
    Confirm(StepIx),
    /// A failed step or a breach asks for everything to be undone.
    RollBack {
        because: String,
    },
    /// Something runs, or a retry is due at that moment.
    Wait {
        until: Option<Moment>,
    },
    Stop(Stop),
    End(Outcome),
}

/// What this session allows.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// How many actions may run at once.
    pub parallel: usize,
    /// The operator wants to stop: nothing new begins.
    pub draining: Option<i32>,
    /// Somebody is there to answer tasks and approvals.
    pub attended: bool,
    /// Points of no return may be passed.
    pub consents: bool,
}

/// Decides what is next at `now`.
pub fn next(state: &RunState, now: Moment, limits: Limits) -> Decision {
    if let Some(outcome) = state.ended {
        return Decision::End(outcome);
    }
    let idle = state.sets.running.is_empty();
    if let Some(signal) = limits.draining {
        return if idle {
            Decision::Stop(Stop::Interrupted { signal })
        } else {
            Decision::Wait { until: None }
        };
    }
    match state.mode {
        Mode::Forward => forward(state, now, limits, idle),
        Mode::RollingBack => rolling_back(state, now, limits, idle),
        Mode::Cancelling => cancelling(state, now, limits, idle),
    }
}

fn forward(state: &RunState, now: Moment, limits: Limits, idle: bool) -> Decision {
    for &(ix, _) in
        state.sets.failed.iter().filter(|(_, direction)| *direction == Direction::Forward)
    {
        let step = state.runbook.step(ix);
        if is_tolerated(state, ix) {
            return Decision::Skip(ix, SkipReason::Tolerated);
        }
        if step.on_failure == OnFailure::Rollback {
            return Decision::RollBack { because: format!("{} failed", step.id) };
        }
    }
    if let Some(because) = &state.watch.retreats {
        return Decision::RollBack { because: because.clone() };
    }
    match settle_doubt(state, limits) {
        Doubt::Act(decision) => return decision,
        Doubt::Blocked(steps) => {
            return if idle {
                Decision::Stop(Stop::InDoubt { steps })
            } else {
                Decision::Wait { until: None }
            };
        }
        Doubt::None => {}
    }
    if !state.sets.failed.is_empty() {
        return after_failure(state, now, limits, idle);
    }
    if !state.watch.pauses.is_empty() {
        return if idle {
            Decision::Stop(Stop::Breached { because: state.watch.pauses.clone() })
        } else {
            Decision::Wait { until: None }
        };
    }
    // A release that a failure began, before its point: what goes on waits for its end, and then
    // takes the hold again.
    let is_early = |(ix, direction): &&(StepIx, Direction)| {
        *direction == Direction::Release && !is_over(state, *ix)
    };
    if state.sets.running.iter().any(|pair| is_early(&pair)) {
        return Decision::Wait { until: None };
    }
    if let Some(&(ix, direction)) = state.sets.retrying.iter().find(is_early) {
        return match can_release(state, ix, now) {
            true => Decision::Begin(ix, direction),
            false => Decision::Wait { until: next_release(state) },
        };
    }
    if let Some(&ix) =
        state.sets.held.iter().find(|ix| is_over(state, **ix) && can_release(state, **ix, now))
    {
        return Decision::Begin(ix, Direction::Release);
    }
    if let Some(&ix) =
        state.sets.partial.iter().find(|ix| *state.track(**ix, Direction::Undo) == Track::Idle)
    {
        return Decision::Begin(ix, Direction::Undo);
    }
    if let Some(until) = state.until.filter(|until| state.is_settled(*until)) {
        let step = state.runbook.step(until).id.clone();
        return if idle {
            Decision::Stop(Stop::Until { step })
        } else {
            Decision::Wait { until: None }
        };
    }
    if let Some((ix, direction)) = due_retry(state, now, limits) {
        return Decision::Begin(ix, direction);
    }
    if let Some(ix) = state.unconfirmed().next().filter(|_| limits.consents) {
        return Decision::Confirm(ix);
    }
    if let Some(ix) = startable(state, limits) {
        return Decision::Begin(ix, Direction::Forward);
    }
    if !idle {
        return Decision::Wait { until: next_retry(state, now) };
    }
    if let Some(due) = next_retry(state, now) {
        return Decision::Wait { until: Some(due) };
    }
    let asked: Vec<StepIx> = state.asked().chain(state.unconfirmed()).collect();
    if !asked.is_empty() {
        return match limits.attended {
            true => Decision::Wait { until: None },
            false => Decision::Stop(Stop::Waiting { steps: ids(state, asked) }),
        };
    }
    if state.started.is_dry() && state.runbook.guards.iter().any(|guard| is_watched(state, guard)) {
        return Decision::Wait { until: None };
    }
    Decision::End(Outcome::Finished)
}

/// What a failure leaves to do: let the rest finish, release what is held, stop.
fn after_failure(state: &RunState, now: Moment, limits: Limits, idle: bool) -> Decision {
    if !idle {
        return Decision::Wait { until: None };
    }
    if let Some(due) = due_retry(state, now, limits).filter(|due| due.1 == Direction::Release) {
        return Decision::Begin(due.0, due.1);
    }
    if let Some(until) = next_release(state) {
        return Decision::Wait { until: Some(until) };
    }
    let (forward, other): (Vec<(StepIx, Direction)>, Vec<_>) = state
        .sets
        .failed
        .iter()
        .copied()
        .partition(|(_, direction)| *direction == Direction::Forward);
    if !forward.is_empty()
        && let Some(&ix) = state
            .sets
            .held
            .iter()
            .rev()
            .find(|ix| *state.track(**ix, Direction::Release) == Track::Idle)
    {
        return Decision::Begin(ix, Direction::Release);
    }
    Decision::Stop(match forward.is_empty() {
        false => Stop::Failed { steps: ids(state, forward.into_iter().map(|pair| pair.0)) },
        true => Stop::Stuck { steps: ids(state, other.into_iter().map(|pair| pair.0)) },
    })
}

fn rolling_back(state: &RunState, now: Moment, limits: Limits, idle: bool) -> Decision {
    let Some(rollback) = &state.rollback else { return Decision::End(Outcome::RolledBack) };
    // What was going forward is let finish first, so that nothing is undone under its feet.
    if state.sets.running.iter().any(|(_, direction)| *direction == Direction::Forward) {
        return Decision::Wait { until: None };
    }
    let doubt = settle_doubt(state, limits);
    if let Doubt::Act(decision) = doubt {
        return decision;
    }
    if let Some((ix, direction)) = due_retry(state, now, limits) {
        return Decision::Begin(ix, direction);
    }
    let mut stuck = Vec::new();
    for &ix in rollback.ready.iter().rev() {
        let step = state.runbook.step(ix);
        let direction =
            if state.sets.held.contains(&ix) { Direction::Release } else { Direction::Undo };
        match state.track(ix, direction) {
            Track::Idle => {}
            Track::Failed { .. } => {
                stuck.push(ix);
                continue;
            }
            _ => continue,
        }
        match (&step.undo, direction) {
            (_, Direction::Release) => {}
            _ if !state.step(ix).touched => return Decision::Pass(ix),
            (Undo::Nothing, _) => return Decision::Pass(ix),
            (Undo::Unknown, _) => {
                stuck.push(ix);
                continue;
            }
            (Undo::Act(_), _) => {}
        }
        if has_room(state, ix, direction, limits) {
            return Decision::Begin(ix, direction);
        }
    }
    // What is held by a step that stays is released too.
    if rollback.left == 0
        && idle
        && let Some(&ix) = state.sets.held.iter().rev().find(|ix| can_release(state, **ix, now))
    {
        return Decision::Begin(ix, Direction::Release);
    }
    if rollback.left == 0 && idle && state.sets.held.is_empty() {
        return Decision::End(Outcome::RolledBack);
    }
    if rollback.left == 0 {
        stuck.extend(&state.sets.held);
    }
    if !idle || next_retry(state, now).is_some() {
        return Decision::Wait { until: next_retry(state, now) };
    }
    if state.asked().next().is_some() && limits.attended {
        return Decision::Wait { until: None };
    }
    match doubt {
        Doubt::Blocked(steps) => Decision::Stop(Stop::InDoubt { steps }),
        _ if stuck.is_empty() && state.asked().next().is_some() => {
            Decision::Stop(Stop::Waiting { steps: ids(state, state.asked()) })
        }
        _ => Decision::Stop(Stop::Stuck { steps: ids(state, stuck) }),
    }
}

fn cancelling(state: &RunState, now: Moment, limits: Limits, idle: bool) -> Decision {
    if !idle {
        return Decision::Wait { until: None };
    }
    if let Some(&ix) = state.sets.held.iter().rev().find(|ix| can_release(state, **ix, now)) {
        return Decision::Begin(ix, Direction::Release);
    }
    match settle_doubt(state, limits) {
        Doubt::Act(decision) => return decision,
        Doubt::Blocked(steps) => return Decision::Stop(Stop::InDoubt { steps }),
        Doubt::None => {}
    }
    if let Some(until) = next_release(state) {
        return Decision::Wait { until: Some(until) };
    }
    if state.sets.held.is_empty() {
        return Decision::End(Outcome::Cancelled);
    }
    Decision::Stop(Stop::Stuck { steps: ids(state, state.sets.held.iter().copied()) })
}

enum Doubt {
    None,
    Act(Decision),
    Blocked(Vec<StepId>),
}

/// An attempt in doubt is begun again if that is safe, looked at if there is a way to look, or left
/// to a person.
fn settle_doubt(state: &RunState, limits: Limits) -> Doubt {
    let mut blocked = Vec::new();
    for &(ix, direction) in &state.sets.doubt {
        // While rolling back, an attempt forward in doubt is undone like any other; what is
        // cancelled stays as it is.
        let stays = state.mode == Mode::Cancelling && direction == Direction::Undo;
        if stays || direction == Direction::Forward && state.mode != Mode::Forward {
            continue;
        }
        let (Some(act), Track::InDoubt { probed, .. }) =
            (state.runbook.step(ix).act(direction), state.track(ix, direction))
        else {
            continue;
        };
        let may_begin = may_go_on(state, ix, direction);
        if may_begin && (act.idempotent || *probed == Some(Probed::NotDone)) {
            // Somebody may have resumed with less room than there was.
            return Doubt::Act(match has_room(state, ix, direction, limits) {
                true => Decision::Begin(ix, direction),
                false => Decision::Wait { until: None },
            });
        }
        if probed.is_none() && act.probe.is_some() {
            return Doubt::Act(Decision::Probe(ix, direction));
        }
        // What is to be begun again once a question before it is answered anew blocks nothing.
        if may_begin || !(act.idempotent || *probed == Some(Probed::NotDone)) {
            blocked.push(ix);
        }
    }
    if blocked.is_empty() { Doubt::None } else { Doubt::Blocked(ids(state, blocked)) }
}

fn startable(state: &RunState, limits: Limits) -> Option<StepIx> {
    let full = state.sets.running.len() >= limits.parallel;
    let is_to_retake =
        state.sets.retake.iter().any(|ix| state.is_wanted(*ix) && !state.sets.barred.contains(ix));
    let candidates = if is_to_retake { &state.sets.retake } else { &state.sets.ready };
    // When nothing else has room, only people are looked for: thousands of steps may be ready.
    let people = state.runbook.for_people().iter().filter(|ix| full && candidates.contains(ix));
    people.chain(candidates.iter().filter(|_| !full)).copied().find(|ix| {
        let group_has_room = group_has_room(state, *ix, Direction::Forward);
        let is_held_up = state.sets.partial.contains(ix) || state.sets.barred.contains(ix);
        let is_free = !state.needs_confirmation(*ix) && !is_held_up;
        group_has_room
            && is_free
            && state.is_wanted(*ix)
            && *state.track(*ix, Direction::Forward) == Track::Idle
    })
}

/// Whether one more action may run, and one more of its group.
fn has_room(state: &RunState, ix: StepIx, direction: Direction, limits: Limits) -> bool {
    state.sets.running.len() < limits.parallel && group_has_room(state, ix, direction)
}

/// Whether a group that does only so much at once may begin, or undo, one more copy.
fn group_has_room(state: &RunState, ix: StepIx, direction: Direction) -> bool {
    let Some(group) = state.runbook.step(ix).group else { return true };
    let Some(most) = state.runbook.groups[group as usize].max_parallel else { return true };
    if direction == Direction::Forward {
        return state.groups[group as usize].running < most;
    }
    let running = state
        .sets
        .running
        .iter()
        .filter(|(running, _)| state.runbook.step(*running).group == Some(group))
        .count();
    running < most as usize
}

fn is_tolerated(state: &RunState, ix: StepIx) -> bool {
    let step = state.runbook.step(ix);
    // A person's no is not one failure among others that a group may have.
    if matches!(
        state.track(ix, Direction::Forward),
        Track::Failed { failure, .. } if failure.kind == FailureKind::Refused
    ) {
        return step.on_failure == OnFailure::Continue;
    }
    let within = step.group.is_some_and(|group| {
        state.groups[group as usize].failed <= state.runbook.groups[group as usize].max_failures
    });
    step.on_failure == OnFailure::Continue || within
}

fn is_over(state: &RunState, ix: StepIx) -> bool {
    let until = state.runbook.step(ix).hold.as_ref().map(|hold| hold.until);
    until.is_none_or(|until| state.is_settled(until))
        && !matches!(state.track(ix, Direction::Forward), Track::Running { .. })
}

fn can_release(state: &RunState, ix: StepIx, now: Moment) -> bool {
    match state.track(ix, Direction::Release) {
        Track::Idle => true,
        Track::Retrying { at, .. } => *at <= now,
        _ => false,
    }
}

/// Whether what has begun may be begun again: an amendment may have taken back an answer before it.
fn may_go_on(state: &RunState, ix: StepIx, direction: Direction) -> bool {
    direction != Direction::Forward || state.are_needs_met(ix)
}

fn may_retry(state: &RunState, ix: StepIx, direction: Direction) -> bool {
    (direction != Direction::Forward || state.mode == Mode::Forward)
        && may_go_on(state, ix, direction)
}

/// The first attempt that is due again and that there is room for.
fn due_retry(state: &RunState, now: Moment, limits: Limits) -> Option<(StepIx, Direction)> {
    let is_due = |(ix, direction): &(StepIx, Direction)| {
        let due = matches!(state.track(*ix, *direction), Track::Retrying { at, .. } if *at <= now);
        due && may_retry(state, *ix, *direction) && has_room(state, *ix, *direction, limits)
    };
    state.sets.retrying.iter().copied().find(is_due)
}

/// When the next release that failed is due again.
fn next_release(state: &RunState) -> Option<Moment> {
    let due = |(ix, direction): &(StepIx, Direction)| match state.track(*ix, *direction) {
        Track::Retrying { at, .. } if *direction == Direction::Release => Some(*at),
        _ => None,
    };
    state.sets.retrying.iter().filter_map(due).min()
}

/// The earliest that it can be, by the pauses before another attempt that were written down: none
/// of them lasts longer than its retry says. A clock that is behind it has been put back since.
pub fn not_before(state: &RunState) -> Option<Moment> {
    let began = |(ix, direction): &(StepIx, Direction)| match state.track(*ix, *direction) {
        Track::Retrying { attempt, at, .. } => {
            let longest = retry::longest(state.runbook.step(*ix).act(*direction)?, *attempt)?;
            Some(Moment(at.0.saturating_sub_unsigned(longest.as_millis())))
        }
        _ => None,
    };
    state.sets.retrying.iter().filter_map(began).max()
}

/// When the next attempt is due again. One that is due already waits for room, which no time makes.
fn next_retry(state: &RunState, now: Moment) -> Option<Moment> {
    let due = |(ix, direction): &(StepIx, Direction)| match state.track(*ix, *direction) {
        Track::Retrying { at, .. } if may_retry(state, *ix, *direction) && *at > now => Some(*at),
        _ => None,
    };
    state.sets.retrying.iter().filter_map(due).min()
}

fn ids(state: &RunState, steps: impl IntoIterator<Item = StepIx>) -> Vec<StepId> {
    steps.into_iter().map(|ix| state.runbook.step(ix).id.clone()).collect()
}
