//! Random runbooks, killed at random, forward and on the way back, and taken up by somebody who
//! answers truthfully.

use std::fmt;
use std::time::Duration;

use super::book;
use super::chance::Chance;
use super::witness::{ends, judge};
use super::world::{Role, World, signal};

/// How often a run is taken up before it must be over; the last times nothing is killed.
const TURNS: usize = 40;
const CALM: usize = 20;

/// What was tried.
#[derive(Debug, Default)]
pub struct Sum {
    pub runs: usize,
    executors: usize,
    keepers: usize,
    commands: usize,
    doubts: usize,
}

impl Sum {
    pub fn add(&mut self, other: &Sum) {
        let Sum { runs, executors, keepers, commands, doubts } = other;
        self.runs += runs;
        self.executors += executors;
        self.keepers += keepers;
        self.commands += commands;
        self.doubts += doubts;
    }

    pub fn kills(&self) -> usize {
        self.executors + self.keepers + self.commands
    }
}

impl fmt::Display for Sum {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Sum { runs, executors, keepers, commands, doubts } = self;
        write!(
            out,
            "{runs} runs there and back, {executors} executors, {keepers} keepers and {commands} \
             commands killed, {doubts} doubts answered"
        )
    }
}

/// One world: there, and by chance back.
pub fn attack(seed: u64) -> Sum {
    let mut chance = Chance::new(seed);
    let world = World::by_chance(&mut chance);
    let book = book::by_chance(&mut chance);
    world.write("book.yaml", &book);
    let about = format!("SWITCHOVER_ATTACK_SEED={seed}\n{book}");
    let mut sum = Sum { runs: 1, ..Sum::default() };
    let steps = book
        .lines()
        .filter(|line| line.trim_start().starts_with('s') && line.contains("run:"))
        .count();

    drive(&world, &mut chance, &mut sum, "resume", &[0], &about);
    let witness = world.witness();
    assert_eq!(ends(&witness, "forward").len(), steps, "{about}\n{witness}");
    if chance.percent(70) {
        drive(&world, &mut chance, &mut sum, "rollback", &[4], &about);
        let witness = world.witness();
        assert_eq!(ends(&witness, "undo").len(), steps, "{about}\n{witness}");
    }
    world.settle();
    judge(&world.witness(), &world.json("audit --format json"), &about);
    assert_eq!(world.code("audit --verify"), 0, "{about}: {}", world.text("audit --verify"));
    sum
}

/// Takes the run up until it is over, and kills on the way.
fn drive(world: &World, chance: &mut Chance, sum: &mut Sum, verb: &str, over: &[i32], about: &str) {
    for turn in 0..TURNS {
        let is_begun = world.code("status") == 0;
        let line = if is_begun { verb } else { "run book.yaml --parallel 2" };
        let child = world.start(line);
        if turn < TURNS - CALM {
            strike(world, chance, sum);
        }
        let code = world.end_of(child);
        if over.contains(&code) {
            return;
        }
        assert!(
            [-1, 0, 1, 3, 5].contains(&code),
            "{about}: `{line}` ended with {code}: {}",
            world.text("status")
        );
        answer(world, sum);
    }
    panic!("{about}: it is not over\n{}\n{}", world.text("status"), world.witness());
}

/// Kills, or stops for a while, some of what runs, some time after the beginning.
fn strike(world: &World, chance: &mut Chance, sum: &mut Sum) {
    for _ in 0..1 + chance.below(3) {
        std::thread::sleep(Duration::from_millis(chance.below(250) as u64));
        let wanted: &[Role] = chance.of(&[
            &[Role::Executor][..],
            &[Role::Keeper],
            &[Role::Leader],
            &[Role::Child],
            &[Role::Executor, Role::Keeper],
            &[Role::Executor, Role::Keeper, Role::Leader],
            &[Role::Executor, Role::Keeper, Role::Leader, Role::Child],
        ]);
        // Of the children only some, so that the rest of a tree lives on.
        for (pid, role) in world.processes() {
            if !wanted.contains(&role) || role == Role::Child && chance.percent(50) {
                continue;
            }
            if chance.percent(10) {
                if signal("STOP", pid) {
                    std::thread::sleep(Duration::from_millis(30));
                    signal("CONT", pid);
                }
            } else if signal("KILL", pid) {
                match role {
                    Role::Executor => sum.executors += 1,
                    Role::Keeper => sum.keepers += 1,
                    Role::Leader | Role::Child => sum.commands += 1,
                }
            }
        }
    }
}

/// A person looks at what the commands wrote, and says truthfully what happened.
fn answer(world: &World, sum: &mut Sum) {
    if world.code("status") != 0 {
        return;
    }
    let doubts = |state: &serde_json::Value| -> Vec<serde_json::Value> {
        let steps = state["steps"].as_array().expect("steps");
        steps.iter().filter(|step| step["state"] == "in doubt").cloned().collect()
    };
    if doubts(&world.json("status --format json")).is_empty() {
        return;
    }
    // Only what has ended can be judged.
    world.settle();
    for step in doubts(&world.json("status --format json")) {
        let name = step["id"].as_str().expect("its name");
        let direction = if step["direction"] == "forward" { "forward" } else { "undo" };
        let attempt = step["attempt"].as_u64().or(step["attempts"].as_u64());
        let attempt = attempt.unwrap_or_else(|| panic!("its attempt: {step}"));
        let end = format!("end {name} {direction} {attempt}");
        let is_done = world.witness().lines().any(|line| line == end);
        let verdict = if is_done { "done" } else { "not-done" };
        world.code(&format!("resolve {name} --as {verdict} --reason looked"));
        sum.doubts += 1;
    }
}
