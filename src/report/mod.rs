//! Events and state to something a person or a program reads: lines, a live display, JSON, tables.
//! Knows no journal: the same reports show a run live and replayed.

mod board;
mod certificate;
mod closing;
mod dry_run;
mod json;
mod line;
mod lines;
mod live;
mod page;
mod plan;
mod rehearsal;
mod say;
mod table;

pub use certificate::certificate_text;
pub use closing::closing;
use dry_run::dry_run;
pub use json::{JsonLines, status_json};
pub use line::{Plain, line, shorten};
pub use lines::{Lines, shown};
pub use live::Live;
pub use page::{Imprint, rehearsal_page};
pub use plan::{plan_dot, plan_json, plan_mermaid, plan_text};
pub use rehearsal::rehearsal_text;
pub use say::{ask, draw, say, say_in_colours, tell};
pub use table::status_text;
