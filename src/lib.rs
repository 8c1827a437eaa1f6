//! Switchover executes migration runbooks: steps that know their own inverse, journaled before they
//! act.
//!
//! The modules in reading order. Imports go one way only, and a test holds the code to it:
//!
//! | module | what it is | may import |
//! |---|---|---|
//! | [`runbook`] | what the author wrote, checked. Pure | nothing of ours |
//! | [`run`] | what happened and what is next. Pure | runbook |
//! | [`message`] | templates over a typed view. Pure | runbook, run |
//! | [`drive`] | the executor without I/O: inputs in, orders out. Pure | runbook, run, message |
//! | [`journal`] | SQLite, anchors, locks, files | runbook, run, file |
//! | [`effect`] | the outside world, one file per kind of action | runbook, file |
//! | `file` | opens files that somebody else may have made | nothing of ours |
//! | [`engine`] | the only place that waits | runbook, run, message, drive, journal, effect, file |
//! | [`rehearsal`] | a migration before it happens. Pure | runbook, run, message |
//! | [`operate`] | the use cases, without a screen | all but certify, report, cli |
//! | [`certify`] | really kills the program | all but report, cli |
//! | [`report`] | events to terminal and JSON | runbook, run, message, rehearsal |
//! | [`cli`] | arguments to exit code, one file per verb | all |

pub mod certify;
pub mod cli;
pub mod drive;
pub mod effect;
pub mod engine;
mod file;
pub mod journal;
pub mod message;
pub mod operate;
pub mod rehearsal;
pub mod report;
pub mod run;
pub mod runbook;
