//! The use cases: what may be done with a runbook and with a run. Plain arguments in, outcomes out;
//! it prints nothing, asks through closures, and knows neither command line nor exit codes.

mod amend;
mod audit;
mod begin;
mod decide;
mod digest;
mod error;
mod found;
mod gate;
mod go_on;
mod load;
mod record;
mod start;

use crate::engine::Exit;
use crate::run::RunState;

pub use amend::{Amend, Amendment};
pub use audit::{Audited, altered, audit};
pub use begin::{begin_stand_in, keep_rehearsal};
pub use decide::{Now, Resolve, Resolved, Skip, Skipped};
pub use error::{OperateError, OutputsError};
pub use found::{Found, ToDecide, ToGoOn, step_named};
pub use gate::Lacking;
pub use go_on::{Cancel, GoOn, Ready, Resume, Rollback};
pub use load::{LoadError, Source, load};
pub use start::{Admitted, Proposed, RunKind, Start, Started};

/// How a run stands after it was carried out for a while.
pub struct SessionEnd {
    pub state: RunState,
    pub exit: Exit,
}
