//! What is watched beside the steps: whether a guard is, and which budget is exceeded or will be.
//! Knows no clock: the time is an argument, and what steps should take is too.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::event::Moment;
use super::foresight::Foreseen;
use super::outlook::{Expected, Outlook};
use super::state::{Mode, RunState, Track};
use crate::runbook::traffic::Says;
use crate::runbook::watch::Budget;
use crate::runbook::{Direction, Guard, OnBreach, Span};

/// What is said of a downtime that has yet to begin.
const UP: &str = "; production is still up (what its steps are to take is their `estimate` or, \
    without one, what they took before)";

/// A breach: of what, how it was seen, and what follows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Breach {
    #[serde(flatten)]
    pub of: Watched,
    /// For people: the reading, or the lengths of time.
    pub reading: String,
    pub then: OnBreach,
}

/// What is watched.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "of", rename_all = "snake_case")]
pub enum Watched {
    Guard { guard: String },
    Budget { budget: Budgeted, expected: bool },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Budgeted {
    Downtime,
    Rollback,
    Duration,
}

impl Budgeted {
    pub fn word(self) -> &'static str {
        match self {
            Budgeted::Downtime => "downtime",
            Budgeted::Rollback => "rollback",
            Budgeted::Duration => "duration",
        }
    }
}

/// What is known of guards and budgets.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Watch {
    /// What each guard said last in this session.
    pub says: std::collections::BTreeMap<String, (Says, String)>,
    /// What a dry run says of the guards because of which a run would not go on, or that cannot be
    /// read.
    pub foreseen: std::collections::BTreeMap<String, Foreseen>,
    /// The guards that are breached, until they are good again, and the budgets, for good.
    pub breached: BTreeSet<Watched>,
    /// Those of which only was told, as what was to follow would not have helped then.
    pub softened: BTreeSet<Watched>,
    /// Because of what this session is to stop.
    pub pauses: Vec<String>,
    /// Because of what everything is to be undone.
    pub retreats: Option<String>,
}

impl Watch {
    /// A new session begins: what a guard said is as old as the session that read it, and who
    /// resumes lets a pause be over.
    pub(super) fn begin_anew(&mut self) {
        self.says.clear();
        self.pauses.clear();
        self.breached.retain(|of| matches!(of, Watched::Budget { .. }));
    }

    pub(super) fn read(&mut self, guard: &str, says: Says, reading: &str) {
        if says == Says::Good {
            self.breached.remove(&Watched::Guard { guard: guard.to_owned() });
        }
        self.says.insert(guard.to_owned(), (says, reading.to_owned()));
    }

    /// Whether a breach is not one that was known and acted on before.
    pub(super) fn is_new(&self, breach: &Breach) -> bool {
        !self.breached.contains(&breach.of)
            || breach.then != OnBreach::Warn && self.softened.contains(&breach.of)
    }

    pub(super) fn breach(&mut self, breach: &Breach) {
        self.breached.insert(breach.of.clone());
        match (breach.then, &breach.of) {
            (OnBreach::Warn, Watched::Budget { .. }) => {
                self.softened.insert(breach.of.clone());
            }
            _ => drop(self.softened.remove(&breach.of)),
        }
        match breach.then {
            OnBreach::Warn => {}
            OnBreach::Pause => self.pauses.push(breach.to_string()),
            OnBreach::Rollback => drop(self.retreats.get_or_insert_with(|| breach.to_string())),
        }
    }
}

/// Whether a guard is watched as the run stands.
pub fn is_watched(state: &RunState, guard: &Guard) -> bool {
    if state.started.is_dry() {
        // One reading tells whether it can be read.
        return !state.watch.says.contains_key(&guard.name) && state.ended.is_none();
    }
    let has_begun = guard.from.is_none_or(|from| state.attempts(from, Direction::Forward) > 0);
    let is_over = match guard.until {
        Some(until) => state.is_settled(until),
        None => state.unsettled() == 0,
    };
    state.mode == Mode::Forward && state.ended.is_none() && has_begun && !is_over
}

/// What follows from a breach that asks for `wanted`, and why it is something else: nothing is
/// taken back by itself behind a point of no return.
pub fn consequence(state: &RunState, wanted: OnBreach) -> (OnBreach, &'static str) {
    let runbook = &state.runbook;
    let is_passed =
        || runbook.ixs().any(|ix| runbook.step(ix).point_of_no_return && state.step(ix).touched);
    match wanted {
        _ if state.mode != Mode::Forward => (OnBreach::Warn, ""),
        OnBreach::Rollback if is_passed() => {
            (OnBreach::Pause, ", but a point of no return is passed")
        }
        wanted => (wanted, ""),
    }
}

/// The budgets that are breached at `now` and were not before.
pub fn breaches(state: &RunState, expected: &Expected, now: Moment) -> Vec<Breach> {
    let budgets = state.runbook.budgets;
    if budgets.is_empty()
        || state.started.is_dry()
        || state.ended.is_some()
        || state.mode == Mode::Cancelling
    {
        return Vec::new();
    }
    let outlook = Outlook::of(state, expected, now);
    let mut found = Vec::new();
    let forward = state.mode == Mode::Forward;
    let mut hold = |budget: Budgeted,
                    limit: Option<Budget>,
                    spent: Span,
                    in_all: Span,
                    then: &dyn Fn(Budget) -> OnBreach| {
        let Some(limit) = limit else { return };
        for (is_expected, length) in [(false, spent), (true, in_all)] {
            let of = Watched::Budget { budget, expected: is_expected };
            let wanted = then(limit);
            let (then, why) = consequence(state, wanted);
            // What has come to pass need not be foretold; what was only told is acted on once that
            // helps.
            let is_known = |of: &Watched| {
                state.watch.breached.contains(of)
                    && (then == OnBreach::Warn || !state.watch.softened.contains(of))
            };
            if length <= limit.limit
                || is_known(&Watched::Budget { budget, expected: false })
                || is_known(&of)
            {
                continue;
            }
            let up =
                if budget == Budgeted::Downtime && state.down_since.is_none() { UP } else { "" };
            let all = if is_expected {
                format!(", and {in_all} expected in all{up}")
            } else {
                String::new()
            };
            let is_quicker = forward && wanted != limit.on_breach;
            let why = if is_quicker { ", but going on is quicker than going back" } else { why };
            found.push(Breach {
                of,
                reading: format!("{spent} of {}{all}{why}", limit.limit),
                then,
            });
            return;
        }
    };
    let as_said = |budget: Budget| budget.on_breach;
    // Going back brings production back too: only if that is quicker than going on does it help.
    let if_cheaper = |budget: Budget| match budget.on_breach {
        OnBreach::Rollback if outlook.is_sure && outlook.back_up >= outlook.down_to_come => {
            OnBreach::Warn
        }
        wanted => wanted,
    };
    let down = state.downtime_until(now);
    let down_in_all = if forward { down + outlook.down_to_come } else { down };
    hold(Budgeted::Downtime, budgets.downtime, down, down_in_all, &if_cheaper);
    let lasted = now.since(state.began);
    hold(
        Budgeted::Duration,
        budgets.duration,
        lasted,
        if forward { lasted + outlook.left } else { lasted },
        &as_said,
    );
    match &state.rollback {
        None => hold(Budgeted::Rollback, budgets.rollback, Span::ZERO, outlook.back, &as_said),
        Some(rollback) => {
            let spent = now.since(rollback.began);
            hold(Budgeted::Rollback, budgets.rollback, spent, spent, &as_said);
        }
    }
    found
}

/// Whether what runs is stopped when everything is to be undone: only what knows its way back, or
/// changed nothing.
pub fn is_stopped_by_retreat(state: &RunState, ix: crate::runbook::StepIx) -> bool {
    let step = state.runbook.step(ix);
    let is_running =
        matches!(state.track(ix, Direction::Forward), Track::Running { stopping: None, .. });
    is_running && step.undo != crate::runbook::Undo::Unknown && !step.point_of_no_return
}

impl std::fmt::Display for Breach {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.of {
            Watched::Guard { guard } => {
                write!(out, "the guard {guard} is breached: {}", self.reading)
            }
            Watched::Budget { budget, expected } => {
                let verb = if *expected { "is expected to be" } else { "is" };
                write!(out, "the {} budget {verb} exceeded: {}", budget.word(), self.reading)
            }
        }
    }
}
