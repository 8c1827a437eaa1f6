//! Reads a runbook, its nested ones and its templates from disk, and values from the command line.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use clap::Args;

use crate::cli::CliError;
use crate::message;
use crate::runbook::{self, Given, Input, Runbook, StandIns};

/// A runbook file and the values for its parameters.
#[derive(Debug, Args)]
pub struct Source {
    /// The runbook.
    pub file: PathBuf,
    /// The environment whose values are used.
    #[arg(long, value_name = "ENVIRONMENT")]
    pub env: Option<String>,
    /// A parameter's value.
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// A YAML file with parameters' values.
    #[arg(long, value_name = "FILE")]
    pub values: Vec<PathBuf>,
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
pub fn load(source: &Source, complete: bool) -> Result<Runbook, CliError> {
    load_like(source, Vec::new(), complete, false)
}

/// The same for a run, with the sides swapped or not.
pub fn load_sides(source: &Source, swapped: bool) -> Result<Runbook, CliError> {
    load_like(source, Vec::new(), true, swapped)
}

/// The same, with values that hold unless the source gives others.
pub fn load_like(
    source: &Source,
    mut given: Vec<(String, Given, String)>,
    complete: bool,
    swapped: bool,
) -> Result<Runbook, CliError> {
    for path in &source.values {
        let text = std::fs::read(path).map_err(|error| {
            CliError::invalid(
                format!("the values file {} cannot be read: {error}", path.display()),
                None,
            )
        })?;
        let values: indexmap::IndexMap<String, serde_json::Value> = serde_yaml::from_slice(&text)
            .map_err(|error| {
            CliError::invalid(
                format!("{}: {error}", path.display()),
                Some("it holds `parameter: value` lines"),
            )
        })?;
        given.extend(
            values
                .into_iter()
                .map(|(key, value)| (key, Given::Json(value), path.display().to_string())),
        );
    }
    for pair in &source.set {
        let Some((key, value)) = pair.split_once('=') else {
            return Err(CliError::invalid(
                format!("--set {pair} has no `=`"),
                Some("write --set key=value"),
            ));
        };
        given.push((key.to_owned(), Given::Text(value.to_owned()), format!("--set {pair}")));
    }
    let path = &source.file;
    let root = root_of(path);
    let mut read = |wanted: &Path| read_inside(wanted, path, &root);
    let beside: Vec<PathBuf> =
        [path.parent().unwrap_or(Path::new("")).join("templates"), root.join("templates")].to_vec();
    let mut template = |name: &str| find_template(name, &beside);
    let scope = message::shape();
    let input = Input {
        path,
        environment: source.env.as_deref(),
        given,
        swapped,
        complete,
        read: &mut read,
        template: &mut template,
        message_scope: &scope,
    };
    let mut runbook = runbook::load(input)?;
    if let Some(stand_ins) = &mut runbook.stand_ins {
        list(stand_ins).map_err(|error| {
            let message = format!(
                "the stand-ins in {} cannot be listed: {error}",
                stand_ins.folder.display()
            );
            CliError::invalid(
                message,
                Some(
                    "`stand_ins` names a folder beside the runbook; an \
                empty text means that there are none",
                ),
            )
        })?;
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

fn read_inside(wanted: &Path, top: &Path, root: &Path) -> Result<Vec<u8>, String> {
    if wanted != top {
        let real = wanted
            .canonicalize()
            .map_err(|error| format!("the file {} cannot be read: {error}", wanted.display()))?;
        let root = root.canonicalize().map_err(|error| error.to_string())?;
        if !real.starts_with(&root) {
            return Err(format!(
                "{} lies outside {}, the folder of this runbook",
                wanted.display(),
                root.display()
            ));
        }
    }
    let metadata = std::fs::metadata(wanted)
        .map_err(|error| format!("the file {} cannot be read: {error}", wanted.display()))?;
    if !metadata.is_file() {
        return Err(format!("{} is not a file", wanted.display()));
    }
    std::fs::read(wanted)
        .map_err(|error| format!("the file {} cannot be read: {error}", wanted.display()))
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
