//! The end of a nested runbook: all its steps are done.

use super::facts::{ByItself, Commands, DoneBy, Facts, InDryRun, Inverse, Lasts};

pub const WORDS: &str = "the end of the nested runbook";

pub fn facts<'a, T>() -> Facts<'a, T> {
    Facts {
        only_reads: true,
        can_be_a_reading: false,
        is_idempotent: true,
        done_by: DoneBy::Nobody,
        inverse: Inverse::Nothing,
        takes_back: false,
        results: &[],
        lasts: Lasts::Unsaid,
        may_hang: false,
        commands: Commands::None,
        has_logs: false,
        decides: false,
        dry_run: InDryRun { by_itself: ByItself::CarriesOut, may_do_the_same: true },
    }
}
