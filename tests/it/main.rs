//! The program as its users meet it: hermetic, each test in a folder of its own, with exit codes in the snapshots.

mod bad_input;
mod crash;
mod language;
mod layering;
mod people;
mod rollback;
mod sandbox;
mod shipped;
