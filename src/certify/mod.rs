//! Certifies a runbook: its actions are replaced by stand-ins, its executor is really killed at
//! each commit, and each time the run is resumed and rolled back for real. Knows no screen.

mod doomed;
mod error;
mod scratch;
mod trial;

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use crate::rehearsal::{Certificate, stand_in};
use crate::runbook::{Runbook, Span};

pub use doomed::{Doomed, Survived, VERB as DOOMED, doomed};
pub use error::CertifyError;
use trial::{Lab, Trial, smooth_run, trials_at};

/// What is tried.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// One boundary is tried out of so many.
    pub every: usize,
    /// The first boundary that is tried.
    pub offset: usize,
    /// How many runs are tried at once; by default as many as there are cores.
    pub parallel: Option<usize>,
    /// The journals of all runs are kept, not only of those that end otherwise.
    pub keep: bool,
}

/// How far it is, while it goes on.
#[derive(Debug, Clone)]
pub enum Progress {
    /// What will be tried, and how long that should take.
    Planned { boundaries: usize, events: u64, runs: usize, estimate: Span },
    /// One more run was tried.
    Tried,
}

/// What was found.
#[derive(Debug)]
pub struct Certified {
    pub certificate: Certificate,
    /// Where all journals are kept, if that was wanted.
    pub kept: Option<PathBuf>,
}

/// Kills the executor at every boundary of the journal, for real, and shows whether resume and
/// rollback reach the same end.
///
/// # Errors
/// If there are no stand-ins for the runbook, or no folder for their journals can be made.
pub fn certify(
    real: &Runbook,
    wanted: &Wanted,
    tell: &mut dyn FnMut(Progress),
) -> Result<Certified, CertifyError> {
    let begun = Instant::now();
    let stand_in = stand_in(real)
        .map(Arc::new)
        .map_err(|why| CertifyError::NoStandIn { why: why.to_string() })?;
    let (root, book) = scratch_with(real)
        .map_err(|source| CertifyError::Scratch { folder: std::env::temp_dir(), source })?;
    let mut certificate = Certificate {
        runbook: real.name.clone(),
        environment: real.environment.clone(),
        steps: real.steps.len(),
        events: 0,
        boundaries: 0,
        tried: 0,
        runs: 0,
        took_ms: 0,
        assumed: stand_in.assumed.clone(),
        differences: Vec::new(),
        given_up: false,
    };
    match smooth_run(&root, &book, &stand_in) {
        Err(difference) => certificate.differences.push(difference),
        Ok((commits, smooth)) => {
            let tried: Vec<u64> =
                commits.iter().copied().skip(wanted.offset).step_by(wanted.every).collect();
            certificate.events = smooth.head();
            (certificate.boundaries, certificate.tried) = (commits.len(), tried.len());
            let workers = wanted
                .parallel
                .unwrap_or_else(|| std::thread::available_parallelism().map_or(2, usize::from));
            let trials: Vec<Trial> = tried.into_iter().flat_map(trials_at).collect();
            let estimate = Span::from_millis(
                (begun.elapsed().as_millis() as u64).saturating_mul(trials.len() as u64)
                    / workers as u64,
            );
            let (boundaries, events, runs) = (commits.len(), certificate.events, trials.len());
            tell(Progress::Planned { boundaries, events, runs, estimate });
            let (root, book, stand_in, keep) = (&root, &book, &stand_in, wanted.keep);
            let lab = Lab { root, book, stand_in, smooth, keep };
            lab.try_all(&trials, workers, &mut certificate, tell);
        }
    }
    certificate.took_ms = begun.elapsed().as_millis() as u64;
    if certificate.differences.is_empty() && !wanted.keep {
        // Somebody's temporary files are not worth an error.
        let _ = std::fs::remove_dir_all(&root);
    }
    Ok(Certified { certificate, kept: wanted.keep.then_some(root) })
}

/// A folder for all runs, and the file in it with the runbook that they carry out.
fn scratch_with(real: &Runbook) -> std::io::Result<(PathBuf, PathBuf)> {
    let root = scratch_root()?;
    let book = root.join("runbook.json");
    write_json(real, &book)?;
    Ok((root, book))
}

fn write_json(runbook: &Runbook, path: &Path) -> std::io::Result<()> {
    std::fs::write(path, serde_json::to_vec(runbook)?)
}

/// A new folder for nobody else.
fn scratch_root() -> std::io::Result<PathBuf> {
    let mut number = 0;
    loop {
        let folder = std::env::temp_dir()
            .join(format!("switchover-certify-{}-{number}", std::process::id()));
        match scratch::private(&folder) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => number += 1,
            made => return made.map(|()| folder),
        }
    }
}
