//! Random changes of good inputs, against everything that reads what somebody else wrote: nothing
//! panics, overflows its stack or takes for ever, and what is promised of the answer holds.
//! `SWITCHOVER_FUZZ_SECONDS` is how long each target is tried, instead of a number of inputs;
//! `SWITCHOVER_FUZZ_SEED` the seed of the first one. What is in `tests/fuzz/corpus/TARGET/` is
//! tried first and changed too, and an input that fails is kept there. `guided/` searches with the
//! eyes open.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a helper of a test fails as the test does, and says what was tried"
)]

mod mutate;
mod supervise;
mod targets;

use mutate::Mutator;
use supervise::{Kept, fuzz, seed_of};
use targets::{ALL, CONDITION, EVENT, RECORD, REDACTOR, TEMPLATE, Target, YAML};

#[test]
fn yaml() {
    fuzz(YAML);
}

#[test]
fn template() {
    fuzz(TEMPLATE);
}

#[test]
fn condition() {
    fuzz(CONDITION);
}

#[test]
fn event() {
    fuzz(EVENT);
}

#[test]
fn redactor() {
    fuzz(REDACTOR);
}

#[test]
fn record() {
    fuzz(RECORD);
}

#[test]
fn a_good_input_is_accepted() {
    for target in ALL {
        let seeds = (target.seeds)();
        let refused: Vec<_> = seeds.iter().filter(|seed| !(target.accepts)(seed)).collect();
        // Most examples of the page about runbooks are parts of one.
        let may_be_refused = if target.name == YAML.name { seeds.len() - 1 } else { 0 };
        let first = refused.first().map(|seed| String::from_utf8_lossy(seed));
        assert!(
            refused.len() <= may_be_refused,
            "{}: {} of {} are refused, first {first:?}",
            target.name,
            refused.len(),
            seeds.len()
        );
    }
}

/// What a target that is not as it should be does; its only good input is this word.
const FLAW: &str = "SWITCHOVER_FUZZ_FLAW";

fn flawed_seeds() -> Vec<Vec<u8>> {
    vec![std::env::var(FLAW).unwrap_or_default().into_bytes()]
}

fn flawed(bytes: &[u8]) -> bool {
    match bytes {
        b"panics" => panic!("as it was told"),
        b"hangs" => loop {
            std::thread::park();
        },
        b"overflows" => descend(0) > 0,
        b"is refused" => false,
        b"fails when changed" => true,
        other => panic!("{} was changed", String::from_utf8_lossy(other)),
    }
}

/// Deeper than any stack.
fn descend(depth: u64) -> u64 {
    let here = std::hint::black_box([depth; 64]);
    if depth == u64::MAX { 0 } else { descend(depth + 1).wrapping_add(here[depth as usize % 64]) }
}

#[test]
fn what_a_target_does_wrong_is_named_with_its_input_and_seed() {
    let flawed = Target {
        name: "what_a_target_does_wrong_is_named_with_its_input_and_seed",
        tries: 3,
        floor: 1,
        seeds: flawed_seeds,
        accepts: flawed,
    };
    if supervise::is_child() {
        return fuzz(flawed);
    }
    for (flaw, wanted) in [
        ("panics", "as it was told"),
        ("hangs", "without an answer"),
        ("overflows", "overflowed its stack"),
    ] {
        let Kept { input, words } =
            supervise::find(flawed, &[(FLAW, flaw)], std::time::Duration::from_secs(1))
                .unwrap_err();
        assert_eq!(String::from_utf8(input).unwrap(), flaw);
        assert!(words.contains(wanted) && words.contains("a good input"), "{words}");
    }
    let seed = ("SWITCHOVER_FUZZ_SEED", "7");
    let found = supervise::find(flawed, &[(FLAW, "fails when changed"), seed], supervise::PATIENCE)
        .unwrap_err();
    let number = seed_of(&found.words).unwrap();
    assert_eq!(
        found.input,
        Mutator::new(number).change(&[b"fails when changed".to_vec()]),
        "the seed makes the input again"
    );
    let found =
        supervise::find(flawed, &[(FLAW, "is refused"), seed], supervise::PATIENCE).unwrap_err();
    assert!(seed_of(&found.words).is_some(), "{}", found.words);
}
