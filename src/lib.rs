//! Switchover executes migration runbooks: steps that know their own inverse, journaled before they act.
//!
//! The modules in reading order; arrows of imports only go up (a test holds the code to it):
//! - [`runbook`]: what the author wrote, checked. Pure.
//! - `run`: what happened and what is next. Pure.

pub mod effect;
pub mod engine;
pub mod journal;
pub mod message;
pub mod run;
pub mod runbook;
