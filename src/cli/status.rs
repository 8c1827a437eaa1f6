//! `status`: where a run stands.

use std::path::Path;

use clap::Args;

use super::{CliError, Format, print, print_json};
use crate::engine::now;
use crate::journal::{Held, Journal};
use crate::report;

/// Shows where a run stands.
#[derive(Debug, Args)]
pub struct Status {
    /// The run; by default the latest.
    run: Option<String>,
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

pub fn status(verb: Status, folder: &Path) -> Result<i32, CliError> {
    let journal = Journal::open_to_read(folder)?;
    let run = journal.find(verb.run.as_deref())?;
    let loaded = journal.load(&run)?;
    let holder = Held::holder(&journal.run_folder(&run).join("lock"))
        .map(|holder| format!("{} (process {})", holder.operator, holder.process));
    match verb.format {
        Format::Text => print(&report::status_text(&loaded.state, now(), holder.as_deref())),
        Format::Json => print_json(&report::status_json(&loaded.state, now())),
    }
}
