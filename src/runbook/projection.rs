//! One projection of a step for all who compare steps: every field of it is either in it or left
//! out for a reason, so that a new field does not compile until somebody decides.

use super::{
    Act, Downtime, DryRun, Group, Hold, Item, LiveTest, OnFailure, Read, Runbook, Step, StepIx,
    Undo, When,
};

/// What of a step changes what a run does.
pub(super) struct Projection<'a> {
    pub phase: &'a str,
    pub scope: u32,
    pub needs: &'a [StepIx],
    pub reads: &'a [Read],
    pub when: &'a [When],
    /// How many copies of it may run at once, and how many may fail.
    pub limits: Option<(Option<u32>, u32)>,
    pub item: Option<&'a Item>,
    pub on_failure: OnFailure,
    pub downtime: Option<Downtime>,
    pub point_of_no_return: bool,
    pub act: &'a Act,
    pub undo: &'a Undo,
    pub hold: Option<(StepIx, &'a Act)>,
    pub dry_run: &'a DryRun,
    pub live_test: Option<LiveTest>,
}

pub(super) fn project<'a>(runbook: &'a Runbook, step: &'a Step) -> Projection<'a> {
    let Step {
        // Its name: steps are compared under it.
        id: _,
        // Where it stands in its file.
        line: _,
        file: _,
        phase,
        scope,
        needs,
        reads,
        when,
        group,
        item,
        // What people read.
        title: _,
        description: _,
        role: _,
        hints: _,
        // They decide something only where there are budgets, and are terms of the whole run.
        estimate: _,
        undo_estimate: _,
        // It follows from the conditions and the parameters.
        ruled_out: _,
        on_failure,
        downtime,
        point_of_no_return,
        act,
        undo,
        hold,
        dry_run,
        live_test,
    } = step;
    let limits = group.map(|group| {
        let Group { id: _, max_parallel, max_failures } = &runbook.groups[group as usize];
        (*max_parallel, *max_failures)
    });
    let hold = hold.as_ref().map(|hold| {
        let Hold { until, release, estimate: _ } = hold;
        (*until, &**release)
    });
    Projection {
        phase: &runbook.phases[*phase as usize].id,
        scope: *scope,
        needs,
        reads,
        when,
        limits,
        item: item.as_ref(),
        on_failure: *on_failure,
        downtime: *downtime,
        point_of_no_return: *point_of_no_return,
        act,
        undo,
        hold,
        dry_run,
        live_test: *live_test,
    }
}
