//! Reads a runbook, its nested ones and its templates from disk, and the values that are given for
//! its parameters. Knows no run.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::message;
use crate::runbook::problem::Problems;
use crate::runbook::{self, Given, Input, Runbook, StandIns};

/// A runbook file and the values for its parameters.
#[derive(Debug, Clone)]
pub struct Source {
    pub file: PathBuf,
    /// The environment whose values are used.
    pub environment: Option<String>,
    /// A parameter's value each, as `key=value`.
    pub set: Vec<String>,
    /// YAML files with parameters' values.
    pub values: Vec<PathBuf>,
}

/// Why a runbook could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error(transparent)]
    Problems(Problems),
    #[error("the values file {} cannot be read: {source}", path.display())]
    ValuesUnreadable { path: PathBuf, source: std::io::Error },
    #[error("{}: {source}", path.display())]
    NoValues { path: PathBuf, source: serde_yaml::Error },
    #[error("{pair} has no `=`")]
    NoValue { pair: String },
    #[error("the stand-ins in {} cannot be listed: {source}", folder.display())]
    StandIns { folder: PathBuf, source: std::io::Error },
}

/// Why a file of a runbook cannot be read.
#[derive(Debug, thiserror::Error)]
enum FileError {
    #[error("the file {} cannot be read: {source}", path.display())]
    Unreadable { path: PathBuf, source: std::io::Error },
    #[error("{source}")]
    NoFolder { source: std::io::Error },
    #[error("{} lies outside {}, the folder of this runbook", path.display(), root.display())]
    Outside { path: PathBuf, root: PathBuf },
    #[error("{} is not a file", .0.display())]
    NoFile(PathBuf),
}

/// The templates that come with the program; a file of the same name beside the runbook wins.
const TEMPLATES: &[(&str, &str)] = &[
    ("planned-7d", include_str!("../../templates/planned-7d.txt")),
    ("planned-24h", include_str!("../../templates/planned-24h.txt")),
    ("start", include_str!("../../templates/start.txt")),
    ("phase-started", include_str!("../../templates/phase-started.txt")),
    ("phase-finished", include_str!("../../templates/phase-finished.txt")),
    ("phase-failed", include_str!("../../templates/phase-failed.txt")),
    ("downtime-starts", include_str!("../../templates/downtime-starts.txt")),
    ("downtime-over", include_str!("../../templates/downtime-over.txt")),
    ("breach", include_str!("../../templates/breach.txt")),
    ("waiting", include_str!("../../templates/waiting.txt")),
    ("point-of-no-return", include_str!("../../templates/point-of-no-return.txt")),
    ("failure", include_str!("../../templates/failure.txt")),
    ("rollback-began", include_str!("../../templates/rollback-began.txt")),
    ("rolled-back", include_str!("../../templates/rolled-back.txt")),
    ("success", include_str!("../../templates/success.txt")),
    ("report", include_str!("../../templates/report.txt")),
];

/// Loads and checks a runbook. With `complete`, every required parameter must have a value.
///
/// # Errors
/// Everything that is wrong with it, in one go; or that a file cannot be read.
pub fn load(source: &Source, complete: bool) -> Result<Runbook, LoadError> {
    load_like(source, Vec::new(), complete, false)
}

/// The same for a run, with the sides swapped or not.
///
/// # Errors
/// As [`load`].
pub fn load_sides(source: &Source, swapped: bool) -> Result<Runbook, LoadError> {
    load_like(source, Vec::new(), true, swapped)
}

/// The same, with values that hold unless the source gives others.
///
/// # Errors
/// As [`load`].
pub fn load_like(
    source: &Source,
    mut given: Vec<(String, Given, String)>,
    complete: bool,
    swapped: bool,
) -> Result<Runbook, LoadError> {
    let Source { file: path, environment, set, values } = source;
    for path in values {
        let text = std::fs::read(path)
            .map_err(|source| LoadError::ValuesUnreadable { path: path.clone(), source })?;
        let values: indexmap::IndexMap<String, serde_json::Value> =
            serde_yaml::from_slice(&text)
                .map_err(|source| LoadError::NoValues { path: path.clone(), source })?;
        let from = path.display().to_string();
        given
            .extend(values.into_iter().map(|(key, value)| (key, Given::Json(value), from.clone())));
    }
    for pair in set {
        let Some((key, value)) = pair.split_once('=') else {
            return Err(LoadError::NoValue { pair: pair.clone() });
        };
        given.push((key.to_owned(), Given::Text(value.to_owned()), format!("--set {pair}")));
    }
    let root = root_of(path);
    let mut read =
        |wanted: &Path| read_inside(wanted, path, &root).map_err(|error| error.to_string());
    let beside: Vec<PathBuf> =
        [path.parent().unwrap_or(Path::new("")).join("templates"), root.join("templates")].to_vec();
    let mut template = |name: &str| find_template(name, &beside);
    let scope = message::shape();
    let input = Input {
        path,
        environment: environment.as_deref(),
        given,
        swapped,
        complete,
        read: &mut read,
        template: &mut template,
        message_scope: &scope,
    };
    let mut runbook = runbook::load(input).map_err(LoadError::Problems)?;
    if let Some(stand_ins) = &mut runbook.stand_ins {
        list(stand_ins)
            .map_err(|source| LoadError::StandIns { folder: stand_ins.folder.clone(), source })?;
    }
    Ok(runbook)
}

/// Which programs stand in for real ones.
fn list(stand_ins: &mut StandIns) -> std::io::Result<()> {
    stand_ins.folder = stand_ins.folder.canonicalize()?;
    for entry in std::fs::read_dir(&stand_ins.folder)? {
        let path = entry?.path();
        let found = path.metadata()?;
        if found.is_file() && found.permissions().mode() & 0o111 != 0 {
            stand_ins
                .programs
                .extend(path.file_name().map(|name| name.to_string_lossy().into_owned()));
        }
    }
    stand_ins.programs.sort();
    Ok(())
}

/// Nothing outside this folder is read: the nearest folder above that is called `runbooks`, or else
/// the file's own.
fn root_of(path: &Path) -> PathBuf {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let folder = absolute.parent().unwrap_or(Path::new("/"));
    let named =
        folder.ancestors().find(|folder| folder.file_name().is_some_and(|name| name == "runbooks"));
    named.unwrap_or(folder).to_owned()
}

fn read_inside(wanted: &Path, top: &Path, root: &Path) -> Result<Vec<u8>, FileError> {
    let unreadable = |source| FileError::Unreadable { path: wanted.to_owned(), source };
    if wanted != top {
        let real = wanted.canonicalize().map_err(unreadable)?;
        let root = root.canonicalize().map_err(|source| FileError::NoFolder { source })?;
        if !real.starts_with(&root) {
            return Err(FileError::Outside { path: wanted.to_owned(), root });
        }
    }
    if !std::fs::metadata(wanted).map_err(unreadable)?.is_file() {
        return Err(FileError::NoFile(wanted.to_owned()));
    }
    std::fs::read(wanted).map_err(unreadable)
}

fn find_template(name: &str, folders: &[PathBuf]) -> Option<String> {
    if !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_') {
        return None;
    }
    let file = format!("{name}.txt");
    let own = folders.iter().find_map(|folder| std::fs::read_to_string(folder.join(&file)).ok());
    own.or_else(|| {
        TEMPLATES.iter().find(|(known, _)| *known == name).map(|(_, text)| (*text).to_owned())
    })
}
