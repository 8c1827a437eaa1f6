//! libFuzzer on one of the targets, which `SWITCHOVER_FUZZ_TARGET` names. Its good inputs are left
//! in `SWITCHOVER_FUZZ_SEEDS`, which is one of the folders that the search begins with.

#![no_main]
#![expect(clippy::unwrap_used, clippy::panic, reason = "a target fails as a test does")]

#[path = "../targets.rs"]
mod targets;

use std::path::PathBuf;
use std::sync::LazyLock;

use targets::{ALL, Target};

static TARGET: LazyLock<Target> = LazyLock::new(|| {
    let name = std::env::var("SWITCHOVER_FUZZ_TARGET").unwrap_or_default();
    let known = ALL.map(|target| target.name).join(", ");
    ALL.into_iter().find(|target| target.name == name).unwrap_or_else(|| panic!("SWITCHOVER_FUZZ_TARGET \
        is one of {known}"))
});

fn leave_seeds() {
    let folder = PathBuf::from(std::env::var_os("SWITCHOVER_FUZZ_SEEDS").unwrap());
    for (number, seed) in (TARGET.seeds)().into_iter().enumerate() {
        std::fs::write(folder.join(format!("seed-{number}")), seed).unwrap();
    }
}

libfuzzer_sys::fuzz_target!(
    init: leave_seeds(),
    |bytes: &[u8]| {
        (TARGET.accepts)(bytes);
    }
);
