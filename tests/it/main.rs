//! The program as its users meet it: hermetic, each test in a folder of its own, with exit codes in
//! the snapshots.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a helper of a test fails as the test does"
)]

mod bad_input;
mod certify;
mod clocks;
mod cloudflare;
mod cloudflare_api;
mod copies;
mod copy;
mod corruption;
mod crash;
mod decisions;
mod doubt;
mod dry_run;
mod encoders;
mod evidence;
mod faults;
mod http;
mod ipv6;
mod job_control;
mod language;
mod layering;
mod limits;
mod log_disk;
mod not_text;
mod older;
mod operate;
mod others;
mod overlap;
mod partial;
mod people;
mod platforms;
mod power;
mod processes;
mod races;
mod rehearse;
mod rollback;
mod sandbox;
mod secrets;
mod shim;
mod shipped;
mod shown;
mod signals;
mod takeover;
mod terminal;
mod watch;
