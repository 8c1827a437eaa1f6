//! The use cases: what may be done with a runbook and with a run. Plain arguments in, outcomes out;
//! it prints nothing and knows no command line.

pub mod gate;
pub mod load;
