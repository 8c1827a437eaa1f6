//! The laws of the pure core: every small graph, every failing step, every crash point and a second
//! crash during recovery, driven over an in-memory journal and a simulated world, and judged from
//! those two alone.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a helper of a test fails as the test does, and the laws say what they tried"
)]

mod account;
mod answers;
mod bite;
mod case;
mod checker;
mod choices;
mod drawn;
mod driver;
mod facts;
mod faults;
mod foresight;
mod graphs;
mod moves;
mod person;
mod play;
mod refusals;
mod told;
mod turns;
mod watch;

use std::cell::Cell;
use std::sync::Mutex;

use account::depends;
use case::{After, Case, Fault, Orphans, Point, Word};
use checker::{check, check_held};
use driver::drive;
use graphs::{all_edges, amended, graph, held, with_point};
use switchover::runbook::OnFailure;

/// How many cases are drawn.
const DRAWN: u64 = 4_000;

thread_local! {
    /// How many histories this test has tried: each runs in a thread of its own.
    static TRIED: Cell<u64> = const { Cell::new(0) };
}

/// What each test has tried that is through.
static SUM: Mutex<Vec<u64>> = Mutex::new(Vec::new());
/// How many tests sum up.
const TESTS: usize = 9;

/// At the end of a test. The last one holds what README says of all against their sum.
fn sum_up(about: &str) {
    let mut sum = SUM.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    sum.push(TRIED.get());
    println!("laws: {} histories {about}", TRIED.get());
    if sum.len() < TESTS {
        return;
    }
    let all: u64 = sum.iter().sum();
    println!("laws: {all} histories in all");
    let readme = readme();
    let before = readme.split(" million histories").next().unwrap();
    let claimed: f64 = before.rsplit(' ').next().unwrap().parse().unwrap();
    let millions = all as f64 / 1e6;
    let is_whole = std::env::var_os("LAWS").is_none();
    assert!(
        !is_whole || (claimed..claimed * 1.2).contains(&millions),
        "README says {claimed} million, and it is {millions}"
    );
}

/// The words of README, on one line.
fn readme() -> String {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Drives one case with these crashes and holds it against the laws; returns how many crash points
/// it passed.
fn try_one(case: &Case, crashes: &[usize]) -> usize {
    TRIED.set(TRIED.get() + 1);
    let history = drive(case, crashes)
        .unwrap_or_else(|error| panic!("{case:?} with crashes at {crashes:?}: {error}"));
    if let Err(law) = check(case, &history) {
        panic!("{law}\n{case:?} with crashes at {crashes:?}\n{history:#?}");
    }
    history.points
}

/// Every crash point, and a second crash at every point after it, `every` second ones apart.
fn try_with_crashes(case: &Case, every: usize) {
    let points = try_one(case, &[]);
    for first in 0..points {
        let more = try_one(case, &[first]);
        for second in ((first + 1)..more).step_by(every) {
            try_one(case, &[first, second]);
        }
    }
}

/// All cases of a graph, or with `LAWS=53` every 53rd, for a first look: how many there are is
/// never a multiple of that.
fn cases(steps: usize, edges: u32) -> Vec<Case> {
    let share = std::env::var("LAWS").ok().and_then(|share| share.parse().ok()).unwrap_or(1);
    let has_turn = |(number, _): &(usize, Case)| (number + edges as usize).is_multiple_of(share);
    all_cases(steps, edges).into_iter().enumerate().filter(has_turn).map(|(_, case)| case).collect()
}

fn all_cases(steps: usize, edges: u32) -> Vec<Case> {
    let mut cases = Vec::new();
    for fails in (0..steps).map(Some).chain([None]) {
        for idempotent in [false, true] {
            let mut policies = vec![
                (OnFailure::Pause, After::Rollback, None),
                (OnFailure::Pause, After::Resume, None),
                (OnFailure::Continue, After::Resume, None),
            ];
            // Each undo fails; of many steps, one after the other in the graphs as they come.
            let turn = edges as usize + fails.unwrap_or(steps) + usize::from(idempotent);
            let undos = if steps < 3 { 0..steps } else { turn % steps..turn % steps + 1 };
            policies.extend(undos.map(|step| (OnFailure::Rollback, After::Rollback, Some(step))));
            for (on_failure, after, undo_fails) in policies {
                for orphans in [Orphans::Die, Orphans::Finish, Orphans::AreRecorded, Orphans::GoOn]
                {
                    let book = graph(steps, edges, idempotent, on_failure);
                    cases.push(Case {
                        book,
                        idempotent,
                        fails,
                        undo_fails,
                        after,
                        orphans,
                        newest_first: edges.is_multiple_of(2),
                        in_part: false,
                        point: None,
                        amended: None,
                        drawn: None,
                        fault: Fault::None,
                    });
                }
            }
        }
    }
    cases
}

#[test]
fn every_graph_of_up_to_three_steps_with_every_pair_of_crashes() {
    for steps in 1..=3 {
        for edges in all_edges(steps) {
            for case in cases(steps, edges) {
                try_with_crashes(&case, 1);
            }
        }
    }
    sum_up("of up to three steps");
}

#[test]
fn every_graph_of_four_steps_with_every_crash_and_a_second_one() {
    for edges in all_edges(4) {
        for (number, case) in cases(4, edges).into_iter().enumerate() {
            // Every single crash for every case; the second crash at each point for some of them,
            // in turn.
            let every = if (number + edges as usize).is_multiple_of(19) { 1 } else { usize::MAX };
            try_with_crashes(&case, every);
        }
    }
    sum_up("of four steps");
}

#[test]
fn what_goes_forward_is_held_and_every_hold_is_released() {
    for steps in 2..=3 {
        for edges in all_edges(steps) {
            for case in cases(steps, edges) {
                let case = Case {
                    book: held(steps, edges, case.idempotent, case.book.steps[0].on_failure),
                    ..case
                };
                if !depends(&case.book, steps - 1, 0) {
                    continue;
                }
                let one = |crashes: &[usize]| {
                    TRIED.set(TRIED.get() + 1);
                    let history = drive(&case, crashes).unwrap_or_else(|error| {
                        panic!("{case:?}, held, with crashes at {crashes:?}: {error}")
                    });
                    if let Err(law) = check_held(&case, &history) {
                        panic!("{law}\n{case:?}, held, with crashes at {crashes:?}\n{history:#?}");
                    }
                    history.points
                };
                for first in 0..one(&[]) {
                    for second in (first + 1)..one(&[first]) {
                        one(&[first, second]);
                    }
                }
            }
        }
    }
    sum_up("with a hold");
}

#[test]
fn an_interrupt_drains_or_stops_and_nothing_is_lost() {
    for edges in all_edges(3) {
        for case in cases(3, edges) {
            let points = try_one(&case, &[]);
            for at in 0..points {
                for kill in [false, true] {
                    TRIED.set(TRIED.get() + 1);
                    let history = driver::drive_interrupted(&case, at, kill)
                        .unwrap_or_else(|error| panic!("{case:?}, interrupted at {at}: {error}"));
                    if let Err(law) = check(&case, &history) {
                        panic!("{law}\n{case:?}, interrupted at {at}, kill {kill}\n{history:#?}");
                    }
                }
            }
        }
    }
    sum_up("with an interrupt");
}

#[test]
fn what_is_done_in_part_is_undone_and_begun_anew() {
    for steps in 1..=3 {
        for edges in all_edges(steps) {
            for case in cases(steps, edges) {
                try_with_crashes(&Case { in_part: true, ..case }, if steps < 3 { 1 } else { 7 });
            }
        }
    }
    sum_up("with parts");
}

/// Each step of a case as a point of no return, with and without somebody's word, and a way back
/// that passes it and one that does not.
fn with_points(case: &Case) -> impl Iterator<Item = Case> {
    let turns = [
        (Word::Beforehand, false),
        (Word::Beforehand, true),
        (Word::WhenAsked, false),
        (Word::Never, true),
    ];
    let points = (0..case.book.steps.len())
        .flat_map(move |step| turns.map(|(word, force)| Point { step, word, force }));
    // Somebody who is asked also calls things done in part: what is begun anew needs another word.
    let with = |point: Point| Case {
        point: Some(point),
        book: with_point(&case.book, point.step),
        in_part: point.word == Word::WhenAsked,
        ..case.clone()
    };
    points.map(with)
}

#[test]
fn points_of_no_return_hold_both_ways() {
    for steps in 1..=3 {
        for edges in all_edges(steps) {
            for (number, case) in cases(steps, edges).iter().flat_map(with_points).enumerate() {
                // Of three steps, every seventh case; every second crash for every 49th.
                let number = number + edges as usize;
                if steps < 3 || number.is_multiple_of(7) {
                    try_with_crashes(
                        &case,
                        if steps < 3 || number.is_multiple_of(49) { 1 } else { usize::MAX },
                    );
                }
            }
        }
    }
    sum_up("with a point of no return");
}

/// A case that goes on with each other definition, unless something runs: other edges, a new step
/// before all, the first or the last step gone.
fn with_amendments(case: &Case) -> impl Iterator<Item = Case> {
    let steps = case.book.steps.len();
    let ways = all_edges(steps)
        .flat_map(move |edges| [None, Some(0), Some(steps - 1)].map(|gone| (edges, gone)));
    ways.map(move |(edges, gone)| {
        let new = amended(steps, edges, gone, case.idempotent, case.book.steps[0].on_failure);
        Case { amended: Some(new), ..case.clone() }
    })
}

#[test]
fn an_amendment_keeps_what_has_begun() {
    for steps in 1..=3 {
        for edges in all_edges(steps) {
            let cases: Vec<Case> = cases(steps, edges)
                .into_iter()
                .filter(|case| case.orphans != Orphans::GoOn)
                .collect();
            for (number, case) in cases.iter().flat_map(with_amendments).enumerate() {
                // To compare two definitions takes long: of the larger ones, some in turn.
                let every = if steps < 3 { 5 } else { usize::MAX };
                if steps < 3 || (number + edges as usize).is_multiple_of(29) {
                    try_with_crashes(&case, every);
                }
            }
        }
    }
    sum_up("with an amendment");
}

/// Where people are told something: each small case, and amended.
fn with_words(case: &Case) -> Case {
    let amended = case.amended.as_ref().map(graphs::telling);
    Case { book: graphs::telling(&case.book), amended, ..case.clone() }
}

#[test]
fn people_are_told_once_what_they_are_owed() {
    for steps in 1..=2 {
        for edges in all_edges(steps) {
            for case in cases(steps, edges) {
                try_with_crashes(&with_words(&case), 1);
                if case.orphans != Orphans::GoOn {
                    with_amendments(&case)
                        .for_each(|case| try_with_crashes(&with_words(&case), usize::MAX));
                }
            }
        }
    }
    sum_up("with messages");
}

/// A case drawn from this seed, with a crash at each point and with two here and there.
fn try_drawn(seed: u64) {
    let case = drawn::case(seed);
    let mut dice = drawn::Dice::new(!seed);
    for first in 0..try_one(&case, &[]) {
        let more = try_one(&case, &[first]);
        if first + 1 < more {
            try_one(&case, &[first, first + 1 + dice.below((more - first - 1) as u64) as usize]);
        }
    }
}

#[test]
fn what_is_repeated_looked_at_skipped_or_bounded_keeps_the_laws() {
    let now = || std::time::UNIX_EPOCH.elapsed().unwrap().as_nanos() as u64 % 1_000_000_000;
    let first = std::env::var("LAWS_SEED").map_or_else(|_| now(), |seed| seed.parse().unwrap());
    println!("laws: {DRAWN} cases are drawn from seed {first} (LAWS_SEED)");
    (first..first + DRAWN).for_each(try_drawn);
    sum_up("of cases that were drawn");
}

proptest::proptest! {
    #![proptest_config(proptest::test_runner::Config { cases: 400, ..Default::default() })]
    #[test]
    fn larger_graphs_keep_the_laws(steps in 5usize..12, seed: u64, fails in 0usize..14, undo_fails in 0usize..20, idempotent: bool,
                                   policy in 0u8..4, orphans in 0u8..3, newest_first: bool, first in 0usize..120, gap in 1usize..60) {
        let (on_failure, after) = [(OnFailure::Pause, After::Rollback), (OnFailure::Pause, After::Resume), (OnFailure::Rollback, After::Rollback), (OnFailure::Continue, After::Resume)][policy as usize];
        let book = graphs::random(steps, seed, idempotent, on_failure);
        let case = Case { book, idempotent, fails: (fails < steps).then_some(fails), undo_fails: (undo_fails < steps).then_some(undo_fails), after, orphans: [Orphans::Die, Orphans::Finish, Orphans::AreRecorded][usize::from(orphans)], newest_first, in_part: false, point: None, amended: None, drawn: None, fault: Fault::None };
        try_one(&case, &[]);
        try_one(&case, &[first]);
        try_one(&case, &[first, first + gap]);
    }
}
