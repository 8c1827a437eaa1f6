//! Runbooks of a few steps, by the numbers of their edges.

use std::sync::Arc;

use switchover::runbook::action::{Command, Run};
use switchover::runbook::*;

/// The numbers of all edge sets on so many steps: bit by bit, from each step to each later one.
pub fn all_edges(steps: usize) -> std::ops::Range<u32> {
    0..1 << (steps * (steps - 1) / 2)
}

pub fn graph(steps: usize, edges: u32, idempotent: bool, on_failure: OnFailure) -> Arc<Runbook> {
    Arc::new(build(needs(steps, edges), idempotent, on_failure))
}

fn needs(steps: usize, edges: u32) -> Vec<Vec<usize>> {
    let mut bit = 0;
    let mut needs = vec![Vec::new(); steps];
    for (to, needs) in needs.iter_mut().enumerate() {
        for from in 0..to {
            if edges >> bit & 1 == 1 {
                needs.push(from);
            }
            bit += 1;
        }
    }
    needs
}

/// The same, where a step is a point of no return.
pub fn with_point(book: &Arc<Runbook>, step: usize) -> Arc<Runbook> {
    let mut book = Runbook::clone(book);
    book.steps[step].point_of_no_return = true;
    Arc::new(book)
}

/// The same, where people are told of its beginning, of failures and of its end.
pub fn telling(book: &Arc<Runbook>) -> Arc<Runbook> {
    let mut book = Runbook::clone(book);
    let words = || Template { subject: Text::default(), body: Text::default() };
    for occasion in ["start", "failure", "rolled_back", "success"] {
        book.occasions.insert(occasion.into(), occasion.into());
        book.templates.insert(occasion.into(), words());
    }
    Arc::new(book.with_index())
}

/// Another definition of such a graph: a new step stands before all others, moves their places, and
/// is needed by the last; the step `gone` is not in it.
pub fn amended(
    steps: usize,
    edges: u32,
    gone: Option<usize>,
    idempotent: bool,
    on_failure: OnFailure,
) -> Arc<Runbook> {
    // The new step is the first here, and its number is the next free one.
    let order: Vec<usize> =
        std::iter::once(steps).chain((0..steps).filter(|step| Some(*step) != gone)).collect();
    let mut needs = needs(steps, edges);
    needs[steps - 1].push(steps);
    needs.push(Vec::new());
    let place = |number: &usize| order.iter().position(|at| at == number);
    let places =
        order.iter().map(|number| needs[*number].iter().filter_map(place).collect()).collect();
    let mut book = build(places, idempotent, on_failure);
    for (step, number) in book.steps.iter_mut().zip(order) {
        (step.id, step.line) = (format!("p/s{number}").into(), number as u32);
    }
    Arc::new(book.with_index())
}

/// The same, where the first step holds up to the last.
pub fn held(steps: usize, edges: u32, idempotent: bool, on_failure: OnFailure) -> Arc<Runbook> {
    let mut book = Arc::unwrap_or_clone(graph(steps, edges, idempotent, on_failure));
    let release = Box::new(book.steps[0].act.clone());
    book.steps[0].hold = Some(Hold { until: StepIx(steps as u32 - 1), release, estimate: None });
    Arc::new(book.with_index())
}

/// A graph drawn from a seed, about a third of all edges.
pub fn random(steps: usize, seed: u64, idempotent: bool, on_failure: OnFailure) -> Arc<Runbook> {
    let mut state = seed | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let needs =
        (0..steps).map(|to| (0..to).filter(|_| next().is_multiple_of(3)).collect()).collect();
    Arc::new(build(needs, idempotent, on_failure))
}

fn build(needs: Vec<Vec<usize>>, idempotent: bool, on_failure: OnFailure) -> Runbook {
    let act = || Act {
        action: Action::Run(Run {
            command: Command::Arguments(vec!["x".into()]),
            cwd: None,
            stdin: None,
            keep_output: None,
        }),
        env: Default::default(),
        timeout: None,
        retry: None,
        idempotent,
        probe: None,
        expect: Vec::new(),
        capture: Default::default(),
    };
    let steps = needs.into_iter().enumerate().map(|(number, needs)| Step {
        id: format!("p/s{number}").into(),
        line: number as u32,
        file: "law".into(),
        phase: 0,
        scope: 0,
        needs: needs.into_iter().map(|need| StepIx(need as u32)).collect(),
        reads: Vec::new(),
        when: Vec::new(),
        group: None,
        item: None,
        title: None,
        description: None,
        role: None,
        hints: Vec::new(),
        estimate: None,
        ruled_out: false,
        on_failure,
        downtime: None,
        point_of_no_return: false,
        act: act(),
        undo: Undo::Act(Box::new(act())),
        undo_estimate: None,
        hold: None,
        dry_run: DryRun::Look,
        live_test: None,
    });
    let runbook = Runbook {
        name: "law".into(),
        title: None,
        description: None,
        owner: None,
        file: "law".into(),
        environment: None,
        locks: Vec::new(),
        witness: Vec::new(),
        stand_ins: None,
        scopes: vec![Scope::default()],
        occasions: Default::default(),
        templates: Default::default(),
        phases: vec![Phase {
            id: "p".into(),
            title: None,
            needs: Vec::new(),
            messages: Default::default(),
        }],
        groups: Vec::new(),
        guards: Vec::new(),
        budgets: Default::default(),
        window: None,
        requires: None,
        steps: steps.collect(),
        index: Index::default(),
    };
    runbook.with_index()
}
