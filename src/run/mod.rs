//! What happened and what is next: events, the state as a fold of them, and the planner that
//! decides. Pure: no clock (time is an argument), no I/O, no async. Knows nothing of journals,
//! processes or screens.

pub mod event;
pub mod evidence;
mod foresight;
pub mod names;
pub mod observer;
mod occasion;
mod outlook;
pub mod planner;
pub mod retry;
mod state;
pub mod watch;

pub use event::*;
pub use foresight::{Foreseen, Purpose, Rehearsed, StepForeseen};
pub use observer::Observer;
pub use occasion::{Notices, Occasion, OccasionKind};
pub use outlook::{Expected, History, Outlook};
pub use planner::{Decision, Limits, next, not_before};
pub use state::{IllegalEvent, Mode, Refusal, RunState, StepState, Track};
pub use watch::{Breach, Budgeted, Watched};
