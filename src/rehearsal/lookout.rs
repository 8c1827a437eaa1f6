//! Which budgets are breached, without looking at every step at every moment. Each look says how
//! much every budget has to spare, and until that may be used up nothing new can be found. Finds
//! what [`breaches`] finds, no more and no less.

use crate::run::watch::breaches;
use crate::run::{
    Breach, Budgeted, Event, Expected, Fact, Mode, Moment, Outlook, RunState, Watched,
};
use crate::runbook::watch::Budget;
use crate::runbook::{Direction, Downtime, OnBreach, Runbook, Span, StepIx, StepMap};

#[derive(Debug)]
pub struct Lookout<'a> {
    foresight: &'a Foresight,
    spare: Option<Spare>,
}

/// What may happen after a look before the next; `None` stands for any.
#[derive(Debug)]
struct Spare {
    since: Moment,
    /// So much time may pass.
    time: Option<Span>,
    /// So much more may there be to undo.
    back: Option<Span>,
    /// So much longer may production be expected to be down.
    down: Option<Span>,
}

/// What is known of the downtime before anything happens.
#[derive(Debug, Default)]
pub struct Foresight {
    /// The steps with which production goes down or is up again.
    marked: Vec<StepIx>,
    /// How many of them take it down.
    outages: u64,
    /// The step before all others of them, and for how long production can be expected to be down
    /// before that has begun. Only if what brings production back waits for nothing else that this
    /// step does not wait for.
    first: Option<(StepIx, Span)>,
}

impl Foresight {
    pub fn of(runbook: &Runbook, expected: &Expected) -> Foresight {
        let of = |downtime| move |ix: &StepIx| runbook.step(*ix).downtime == Some(downtime);
        let marked: Vec<StepIx> =
            runbook.ixs().filter(|ix| runbook.step(*ix).downtime.is_some()).collect();
        let outages = marked.iter().copied().filter(of(Downtime::Begins)).count() as u64;
        let first = marked.iter().copied().find(of(Downtime::Begins)).and_then(|first| {
            let (before, after) = (runbook.ancestors(first), runbook.descendants(first));
            let mut ends = StepMap::filled(Span::ZERO, runbook.steps.len());
            let mut longest = Span::ZERO;
            for ix in runbook.ixs().filter(|ix| *ix == first || after[*ix]) {
                let begin =
                    runbook.step(ix).needs.iter().map(|need| ends[*need]).max().unwrap_or_default();
                ends[ix] = begin + expected.forward(ix);
            }
            for &mark in marked.iter().filter(|mark| **mark != first) {
                let waited = runbook.ancestors(mark);
                let waits_aside =
                    runbook.ixs().any(|ix| waited[ix] && ix != first && !after[ix] && !before[ix]);
                if !after[mark] || waits_aside {
                    return None;
                }
                longest = longest.max(ends[mark]);
            }
            Some((first, longest))
        });
        Foresight { marked, outages, first }
    }
}

impl Lookout<'_> {
    pub fn new(foresight: &Foresight) -> Lookout<'_> {
        Lookout { foresight, spare: None }
    }

    /// The budgets that are breached at `now` and were not before.
    pub fn breaches(&mut self, state: &RunState, expected: &Expected, now: Moment) -> Vec<Breach> {
        // While some of what is to come waits and the rest comes nearer, each outage may become as
        // much longer.
        let longer = |spare: &Spare| {
            Span::from_millis(now.since(spare.since).as_millis() * self.foresight.outages.max(1))
        };
        let has_time = |spare: &Spare| {
            spare.time.is_none_or(|time| now.since(spare.since) <= time)
                && spare.down.is_none_or(|down| longer(spare) <= down)
        };
        if state.runbook.budgets.is_empty() || self.spare.as_ref().is_some_and(has_time) {
            debug_assert!(
                breaches(state, expected, now).is_empty(),
                "a budget is breached, and nobody looked"
            );
            return Vec::new();
        }
        let found = breaches(state, expected, now);
        self.spare =
            if found.is_empty() { Spare::of(state, expected, self.foresight, now) } else { None };
        found
    }

    /// Something happened, and `state` is the one after it.
    pub fn saw(&mut self, state: &RunState, expected: &Expected, event: &Event, was_down: bool) {
        let Some(spare) = &mut self.spare else { return };
        match &event.fact {
            // An outage has to spare what it has from its beginning.
            _ if !was_down && state.down_since.is_some() => self.spare = None,
            Fact::StepStarted(started) if started.direction == Direction::Forward => {
                let undo = state
                    .runbook
                    .find(&started.step)
                    .map(|ix| expected.undo(ix))
                    .unwrap_or_default();
                if !spend(&mut spare.back, undo) {
                    self.spare = None;
                }
            }
            // What comes sooner than expected may begin an outage sooner, and not end it.
            Fact::StepSucceeded(done) if done.direction == Direction::Forward => {
                let sooner = state.runbook.find(&done.step).map(|ix| {
                    let took = state
                        .since(ix, Direction::Forward)
                        .map_or(Span::ZERO, |since| event.at.since(since));
                    expected.forward(ix).as_millis().saturating_sub(took.as_millis())
                });
                if !spend(
                    &mut spare.down,
                    Span::from_millis(sooner.unwrap_or_default() * self.foresight.outages.max(1)),
                ) {
                    self.spare = None;
                }
            }
            Fact::StepSkipped { step, .. } => {
                let ix = state.runbook.find(step).filter(|ix| !self.foresight.marked.contains(ix));
                let sooner = ix.map(|ix| {
                    Span::from_millis(
                        expected.forward(ix).as_millis() * self.foresight.outages.max(1),
                    )
                });
                if !sooner.is_some_and(|sooner| spend(&mut spare.down, sooner)) {
                    self.spare = None;
                }
            }
            // These leave as much to do as there was, or less.
            Fact::StepStarted(_) | Fact::StepSucceeded(_) | Fact::UndoPassed { .. } => {}
            Fact::MessageSent(_) | Fact::GuardRead { .. } | Fact::PointConfirmed { .. } => {}
            _ => self.spare = None,
        }
    }
}

impl Spare {
    /// `None`: the next look is due at once.
    fn of(
        state: &RunState,
        expected: &Expected,
        foresight: &Foresight,
        now: Moment,
    ) -> Option<Spare> {
        let budgets = state.runbook.budgets;
        let (outlook, forward) = (Outlook::of(state, expected, now), state.mode == Mode::Forward);
        let mut spare = Spare { since: now, time: None, back: None, down: None };
        if let Some(budget) = budgets.downtime {
            let down = state.downtime_until(now);
            let has_begun =
                |ix: StepIx| state.attempts(ix, Direction::Forward) > 0 || state.is_settled(ix);
            let foreseen = foresight
                .first
                .filter(|(first, _)| forward && !has_begun(*first))
                .map(|(_, longest)| down + longest);
            let in_all = if forward { down + outlook.down_to_come } else { down };
            let left = left(state, Budgeted::Downtime, budget, down, in_all)?;
            let is_over = foresight.marked.iter().all(|ix| state.is_settled(*ix)) || !forward;
            match state.down_since {
                Some(_) if is_over => spare.time = least(spare.time, left),
                None if is_over || foreseen.is_some_and(|all| all <= budget.limit) => {}
                _ => spare.down = left,
            }
        }
        if let Some(budget) = budgets.duration {
            let lasted = now.since(state.began);
            let in_all = if forward { lasted + outlook.left } else { lasted };
            spare.time =
                least(spare.time, left(state, Budgeted::Duration, budget, lasted, in_all)?);
        }
        if let Some(budget) = budgets.rollback {
            match &state.rollback {
                None => {
                    spare.back = left(state, Budgeted::Rollback, budget, Span::ZERO, outlook.back)?
                }
                Some(rollback) => {
                    let spent = now.since(rollback.began);
                    spare.time =
                        least(spare.time, left(state, Budgeted::Rollback, budget, spent, spent)?);
                }
            }
        }
        Some(spare)
    }
}

/// What is left of a budget of which so much is spent, and so much will be in all: nothing to look
/// after is `Some(None)`, and `None` that it must be looked at each time.
fn left(
    state: &RunState,
    of: Budgeted,
    budget: Budget,
    spent: Span,
    in_all: Span,
) -> Option<Option<Span>> {
    let breached =
        |expected| state.watch.breached.contains(&Watched::Budget { budget: of, expected });
    let softened =
        |expected| state.watch.softened.contains(&Watched::Budget { budget: of, expected });
    // What was only told may be acted on at any time, if there is more to do about it than telling.
    let may_act = budget.on_breach != OnBreach::Warn && state.mode == Mode::Forward;
    if may_act && (softened(false) || softened(true)) {
        return None;
    }
    if breached(false) {
        return Some(None);
    }
    let length = if breached(true) { spent } else { spent.max(in_all) };
    budget
        .limit
        .as_millis()
        .checked_sub(length.as_millis())
        .map(|left| Some(Span::from_millis(left)))
}

/// Takes something of what there is to spare; false if there is not as much.
fn spend(spare: &mut Option<Span>, cost: Span) -> bool {
    match spare.map(|left| left.as_millis().checked_sub(cost.as_millis())) {
        None => true,
        Some(left) => {
            *spare = left.map(Span::from_millis);
            left.is_some()
        }
    }
}

fn least(one: Option<Span>, other: Option<Span>) -> Option<Span> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}
