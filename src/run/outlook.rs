//! How long what is left should take, and how long the way back: the longest way through steps that
//! each take what is expected of them. Knows nothing of limits: what may run at once is not
//! counted.

use super::event::Moment;
use super::state::{RunState, Track};
use crate::runbook::{Direction, Downtime, Runbook, Span, Step, StepIx, StepMap, Undo};

/// What each step should take: by its author's estimate or, where there is none, as it took before.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Expected {
    forward: StepMap<Span>,
    undo: StepMap<Span>,
    release: StepMap<Span>,
}

/// How long steps took in earlier runs, in the middle.
pub trait History {
    /// The median of a step's successful attempts in this direction; `None` if there were none.
    fn took(&self, step: &str, direction: Direction) -> Option<Span>;
}

/// The outlook of a run. Each is zero where nothing is left to do, and where nothing is known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Outlook {
    /// Until everything is done.
    pub left: Span,
    /// For how long production is still to be down, now or later, if the run goes on: each time to
    /// the end of the last step with `downtime: ends` before it goes down again.
    pub down_to_come: Span,
    /// Whether that can be relied on: of each step before the last of these something is known, and
    /// none takes twice as long already.
    pub is_sure: bool,
    /// Until everything is undone, if the run went back now.
    pub back: Span,
    /// Until production is up again on the old side, if the run went back now.
    pub back_up: Span,
}

impl Expected {
    pub fn of(runbook: &Runbook, history: &dyn History) -> Expected {
        let forward = |ix: StepIx| {
            let step = runbook.step(ix);
            if step.ruled_out {
                return Span::ZERO;
            }
            step.estimate.or_else(|| history.took(&step.id, Direction::Forward)).unwrap_or_default()
        };
        let undo = |ix: StepIx| match &runbook.step(ix).undo {
            Undo::Act(_) => runbook
                .step(ix)
                .undo_estimate
                .or_else(|| history.took(&runbook.step(ix).id, Direction::Undo))
                .unwrap_or_default(),
            Undo::Nothing | Undo::Unknown => Span::ZERO,
        };
        let release = |ix: StepIx| {
            let step = runbook.step(ix);
            let released = |estimate: Option<Span>| {
                estimate.or_else(|| history.took(&step.id, Direction::Release))
            };
            step.hold.as_ref().and_then(|hold| released(hold.estimate)).unwrap_or_default()
        };
        Expected {
            forward: runbook.ixs().map(forward).collect(),
            undo: runbook.ixs().map(undo).collect(),
            release: runbook.ixs().map(release).collect(),
        }
    }

    pub fn forward(&self, ix: StepIx) -> Span {
        self.forward.value(ix).copied().unwrap_or_default()
    }

    pub fn undo(&self, ix: StepIx) -> Span {
        self.undo.value(ix).copied().unwrap_or_default()
    }

    /// How long it takes to release what the step holds.
    pub fn release(&self, ix: StepIx) -> Span {
        self.release.value(ix).copied().unwrap_or_default()
    }
}

impl Outlook {
    pub fn of(state: &RunState, expected: &Expected, now: Moment) -> Outlook {
        let runbook = &state.runbook;
        let mut outlook = Outlook { is_sure: true, ..Outlook::default() };
        let mut done = StepMap::filled((Span::ZERO, true), runbook.steps.len());
        let mut marks = Vec::new();
        for ix in runbook.ixs().filter(|ix| !state.is_settled(*ix)) {
            let step = runbook.step(ix);
            let rest = rest(state.track(ix, Direction::Forward), expected.forward(ix), now);
            let before = step.needs.iter().map(|need| done[*need]);
            let (begin, is_sure) = before.fold((Span::ZERO, true), |(latest, all), (end, sure)| {
                (latest.max(end), all & sure)
            });
            let is_sure = is_sure
                && is_sure_of(step, state.track(ix, Direction::Forward), expected.forward(ix), now);
            done[ix] = (begin + rest, is_sure);
            outlook.left = outlook.left.max(begin + rest);
            let has_begun = matches!(
                state.track(ix, Direction::Forward),
                Track::Running { .. } | Track::Waiting { .. }
            );
            match step.downtime {
                Some(Downtime::Begins) if !step.ruled_out && !has_begun => {
                    marks.push((begin, ix, Downtime::Begins))
                }
                Some(Downtime::Ends) => {
                    marks.push((begin + rest, ix, Downtime::Ends));
                    outlook.is_sure &= is_sure;
                }
                _ => {}
            }
        }
        outlook.down_to_come = down_to_come(state.down_since.is_some(), marks);
        let targets = state.targets();
        let mut undone = StepMap::filled(Span::ZERO, runbook.steps.len());
        for ix in runbook.ixs().rev() {
            let before = runbook
                .dependents(ix)
                .iter()
                .map(|dependent| undone[*dependent])
                .max()
                .unwrap_or_default();
            let track = state.track(ix, Direction::Undo);
            let is_to_undo = targets[ix]
                && state.step(ix).touched
                && !matches!(track, Track::Done | Track::Passed);
            let end =
                before + if is_to_undo { rest(track, expected.undo(ix), now) } else { Span::ZERO };
            undone[ix] = end;
            outlook.back = outlook.back.max(end);
            if is_to_undo && runbook.step(ix).downtime == Some(Downtime::Begins) {
                outlook.back_up = outlook.back_up.max(end);
            }
        }
        outlook
    }
}

/// For how long production is down, by the moments from now on at which steps begin and end that.
fn down_to_come(is_down: bool, mut marks: Vec<(Span, StepIx, Downtime)>) -> Span {
    // At the same moment, what stands before is before.
    marks.sort_by_key(|(at, ix, _)| (*at, *ix));
    let mut all = Span::ZERO;
    let mut since = is_down.then_some(Span::ZERO);
    let mut end = None;
    for (at, _, mark) in marks {
        match (mark, since, end) {
            (Downtime::Begins, Some(_), None) | (Downtime::Ends, None, _) => {}
            (Downtime::Begins, was, ended) => {
                all = all + was.zip(ended).map_or(Span::ZERO, |(was, ended)| between(was, ended));
                (since, end) = (Some(at), None);
            }
            (Downtime::Ends, Some(_), _) => end = Some(at),
        }
    }
    all + since.zip(end).map_or(Span::ZERO, |(since, end)| between(since, end))
}

fn between(from: Span, to: Span) -> Span {
    Span::from_millis(to.as_millis().saturating_sub(from.as_millis()))
}

/// Whether what is expected of a step can still be: it is not when nothing is known, nor of what
/// takes twice as long already.
fn is_sure_of(step: &Step, track: &Track, expected: Span, now: Moment) -> bool {
    match track {
        _ if step.ruled_out || step.act.action.done_by().takes_no_time() => true,
        Track::Running { since, .. } | Track::Waiting { since, .. } => {
            expected > Span::ZERO && now.since(*since) <= expected + expected
        }
        _ => expected > Span::ZERO,
    }
}

/// What an attempt that runs has left of what it should take.
fn rest(track: &Track, expected: Span, now: Moment) -> Span {
    match track {
        Track::Running { since, .. } | Track::Waiting { since, .. } => {
            Span::from_millis(expected.as_millis().saturating_sub(now.since(*since).as_millis()))
        }
        _ => expected,
    }
}
