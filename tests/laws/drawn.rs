//! Cases drawn from a seed, with what the small graphs do not have: probes, retries, groups,
//! conditions, timeouts, and a time that passes. Knows not what follows from them.

use std::sync::Arc;

use switchover::run::{Event, FailureKind, Probed};
use switchover::runbook::{
    Condition, Direction, Group, OnFailure, Probe, Read, Retry, Runbook, Source, Span, Step, Undo,
    When,
};

use super::case::{After, Case, Fault, Orphans};
use super::graphs;

/// What becomes of each step's attempts.
#[derive(Debug, Clone)]
pub struct Drawn {
    pub fates: Vec<Fate>,
    /// It tries again as soon as it may, though something else runs.
    pub is_quick: bool,
    /// Whether the probes can tell; if not, they say that they do not know.
    pub probes_tell: bool,
}

/// How many attempts of a step fail, and in which way; and the number that it gives.
#[derive(Debug, Clone, Copy)]
pub struct Fate {
    pub forward: u32,
    pub undo: u32,
    pub kind: FailureKind,
    pub gives: u64,
}

impl Fate {
    /// How an attempt ends that fails.
    pub fn failure(&self, direction: Direction, attempt: u32) -> Option<FailureKind> {
        let fails = if direction == Direction::Forward { self.forward } else { self.undo };
        (attempt <= fails).then_some(self.kind)
    }
}

pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Dice {
        Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 20
    }

    pub fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    fn one_in(&mut self, many: u64) -> bool {
        self.below(many) == 0
    }

    fn of<T: Copy, const N: usize>(&mut self, all: [T; N]) -> T {
        all[self.below(N as u64) as usize]
    }
}

pub fn case(seed: u64) -> Case {
    let mut dice = Dice::new(seed);
    let steps = 1 + dice.below(5) as usize;
    let on_failure = dice.of([OnFailure::Pause, OnFailure::Rollback, OnFailure::Continue]);
    let mut book = Arc::unwrap_or_clone(graphs::random(steps, dice.next(), false, on_failure));
    if dice.one_in(2) {
        let max_parallel = dice.of([None, Some(1), Some(2)]);
        book.groups.push(Group {
            id: "p/s".into(),
            max_parallel,
            max_failures: dice.below(3) as u32,
        });
    }
    let kinds = [FailureKind::Failed, FailureKind::BeforeEffect, FailureKind::TimedOut];
    let fates = (0..steps).map(|step| {
        equip(&mut book, step, &mut dice);
        let fate = Fate {
            forward: dice.of([0, 0, 1, 2]),
            undo: dice.of([0, 0, 0, 1]),
            kind: dice.of(kinds),
            gives: dice.below(3),
        };
        if fate.kind == FailureKind::TimedOut {
            limit(&mut book.steps[step]);
        }
        fate
    });
    let fates = fates.collect();
    let drawn = Drawn { fates, is_quick: dice.one_in(2), probes_tell: !dice.one_in(3) };
    Case {
        book: Arc::new(book.with_index()),
        idempotent: false,
        fails: None,
        undo_fails: None,
        after: dice.of([After::Rollback, After::Resume]),
        orphans: dice.of([Orphans::Die, Orphans::Finish, Orphans::AreRecorded, Orphans::GoOn]),
        newest_first: dice.one_in(2),
        in_part: false,
        point: None,
        amended: None,
        drawn: Some(drawn),
        fault: Fault::None,
    }
}

fn equip(book: &mut Runbook, step: usize, dice: &mut Dice) {
    let has_group = !book.groups.is_empty() && !dice.one_in(3);
    let step = &mut book.steps[step];
    step.group = has_group.then_some(0);
    step.act.idempotent = dice.one_in(2);
    let pause = Span::from_millis(10);
    if dice.one_in(2) {
        step.act.retry = Some(Retry {
            attempts: 2 + dice.below(2) as u32,
            backoff: pause,
            max_backoff: pause,
            jitter: 0.0,
        });
    }
    if dice.one_in(2) {
        let is = |word: &str| Condition::compile(&format!("stdout == \"{word}\"")).unwrap();
        step.act.probe = Some(Probe {
            action: switchover::runbook::Action::Join,
            done: is("there"),
            not_done: is("gone"),
        });
    }
    step.undo = Undo::Act(Box::new(step.act.clone()));
    if let Some(need) = step.needs.first().copied().filter(|_| dice.one_in(2)) {
        let name = format!("s{}", need.0);
        let condition =
            Condition::compile(&format!("has(steps.{name}.n) && steps.{name}.n > 0")).unwrap();
        step.when = vec![When {
            scope: 0,
            item: None,
            reads: vec![Read { name, of: Source::Step(need) }],
            condition,
        }];
    }
}

/// Gives a step a time limit, which nothing reaches that is not to be late.
fn limit(step: &mut Step) {
    let most = Some(Span::from_secs(1));
    step.act.timeout = most;
    if let Undo::Act(undo) = &mut step.undo {
        undo.timeout = most;
    }
}

/// What a probe truly answered, and how many events were durable then.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Looked {
    pub step: usize,
    pub journaled: usize,
    pub says: Probed,
    /// Whether anything is otherwise behind it.
    pub has_changed: bool,
}

/// What an event says of the time.
pub fn at(event: &Event) -> i64 {
    event.at.0
}
