//! What the author wrote: YAML in, a checked [`Runbook`] out. Pure: it reads no file and no clock,
//! and knows nothing of what has happened or how an action is carried out.

pub mod action;
mod compiled;
mod condition;
mod convert;
pub mod copy;
pub mod database;
pub mod evidence;
mod expand;
pub mod given;
pub mod graph;
pub mod limit;
mod load;
pub mod meaning;
mod model;
pub mod names;
pub mod parameter;
pub mod problem;
pub mod raw;
pub mod reading;
mod salvage;
mod schema;
mod sides;
pub mod size;
mod source;
mod span;
mod step_map;
mod text;
pub mod traffic;
pub mod watch;
pub mod window;
pub mod zone;

pub use action::{Action, Outputs};
pub use condition::{Condition, ConditionError};
pub use expand::run_shape;
pub use load::{Given, Input, coerce, load};
pub use model::*;
pub use names::{Reference, Shape};
pub use raw::{Downtime, OnFailure};
pub use schema::schema;
pub use sides::LiveTest;
pub use span::Span;
pub use step_map::StepMap;
pub use text::{Text, TextError, percent_encoded};
pub use watch::{Budgets, Guard, OnBreach};
