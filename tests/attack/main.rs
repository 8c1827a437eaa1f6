//! An attack on the program as it ships: random runbooks whose executor, keeper and commands are
//! killed at random, and commands that leave hostile things behind; as root and as two other users.
//! What happened is judged by what the commands themselves wrote.
//!
//! Everything follows from a seed, which is printed: `SWITCHOVER_ATTACK_SEED=7` tries it again.
//! `SWITCHOVER_ATTACK_SECONDS=600` goes on for longer. Kills come by the clock, so that the same
//! seed meets the same runbook and about the same moments.
#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a helper of a test fails as the test does, and says what was tried"
)]

mod book;
mod chance;
mod hostile;
mod kills;
mod witness;
mod world;

use std::time::{Duration, Instant};

use chance::Chance;

/// Goes through worlds until the time is over, at least so many; each has a seed of its own.
fn for_a_while(what: &str, least: u64, mut one: impl FnMut(u64)) {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seconds = number("SWITCHOVER_ATTACK_SECONDS").unwrap_or(10);
    let first = number("SWITCHOVER_ATTACK_SEED");
    let begun = Instant::now();
    let mut tried = 0;
    while tried < least || begun.elapsed() < Duration::from_secs(seconds) {
        let seed = first.unwrap_or_else(Chance::seed);
        println!("attack: {what}: SWITCHOVER_ATTACK_SEED={seed}");
        one(seed);
        tried += 1;
        if first.is_some() {
            break;
        }
    }
    println!("attack: {tried} worlds of {what} tried");
}

#[test]
fn kills_at_random_do_nothing_twice_and_lose_nothing() {
    let mut sum = kills::Sum::default();
    for_a_while("kills", 6, |seed| sum.add(&kills::attack(seed)));
    println!("attack: {sum}");
    assert!(sum.runs == 1 || sum.kills() > 0, "nothing was killed");
}

#[test]
fn what_commands_leave_behind_harms_nothing() {
    let cases = hostile::CASES.len();
    for_a_while("hostile leavings", 1, |seed| hostile::attack(seed, hostile::case(seed)));
    // By chance some would be left out.
    hostile::CASES.iter().for_each(|case| hostile::attack(Chance::seed(), *case));
    println!("attack: each of {cases} hostile leavings tried");
}
