//! libFuzzer on one of the targets, which `SWITCHOVER_FUZZ_TARGET` names.

#![no_main]
#![expect(clippy::unwrap_used, clippy::panic, reason = "a target fails as a test does")]

#[path = "../targets.rs"]
mod targets;

use std::sync::LazyLock;

use targets::{ALL, Target};

static TARGET: LazyLock<Target> = LazyLock::new(|| {
    let name = std::env::var("SWITCHOVER_FUZZ_TARGET").unwrap_or_default();
    let known = ALL.map(|target| target.name).join(", ");
    ALL.into_iter().find(|target| target.name == name).unwrap_or_else(|| panic!("SWITCHOVER_FUZZ_TARGET is one of {known}"))
});

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    (TARGET.accepts)(bytes);
});
