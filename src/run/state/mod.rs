//! The state of a run as a fold of its events: what is known, and where that begins. One function,
//! [`RunState::apply`], makes every change and refuses every event that is not a legal next one;
//! the sets beside the steps are indexes that the planner reads, kept by the same function.

mod amend;
mod answer;
mod apply;
mod attempt;
mod back;
mod illegal;
mod place;
mod read;
mod session;
#[cfg(test)]
mod tests;
mod track;
mod watch;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::Value as Json;

use super::event::*;
use super::foresight::{Foreseen, Rehearsed};
use super::occasion::Notices;
use super::watch::Watch;
use crate::runbook::{Direction, Outputs, Runbook, Span, StepIx, StepMap};
pub use back::Rollback;
use illegal::illegal;
pub use illegal::{IllegalEvent, Refusal};
pub use track::{Mode, Track};

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
    voided: BTreeSet<StepIx>,
    /// What a rehearsal found.
    pub rehearsed: Option<Rehearsed>,
    /// The secrets that steps were given, by name, each with the digest of its last value.
    pub secrets: BTreeMap<String, String>,
    unsettled: usize,
    phase_left: Vec<usize>,
    /// The points of no return.
    points: Vec<StepIx>,
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
    confirmed: bool,
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
            return Err(illegal(first, Refusal::NoBeginning));
        };
        if first.number != 1 {
            return Err(illegal(first, Refusal::FirstNumber));
        }
        let mut state = RunState::fresh(runbook, started.clone(), first.at);
        state.set_until(started.until.as_deref());
        state.note_occasions(first, false);
        Ok(state)
    }

    /// A run of which nothing has begun.
    fn fresh(runbook: Arc<Runbook>, started: RunStarted, began: Moment) -> RunState {
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
}
