//! Commands: the order for the keeper, and what the command left when it is over. Their output goes
//! straight to files, so that a command never blocks on the executor, nor dies with it.

use std::collections::BTreeMap;
use std::fs::{DirBuilder, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Map, Value as Json};

use super::keeper::{Attempt, Begin, Exit, Keeper, Known, Over};
use super::living::{self, Life};
use super::process::Process;
use super::{Cut, EffectError, Job, Reading, Stopper, Used, Vault, resolve};
use crate::file;
use crate::runbook::Secret;
use crate::runbook::action::{Command, Run, SecretForm, Value};
use crate::runbook::limit;
use crate::runbook::reading::text_of;
use crate::runbook::size::Size;

/// How much of each of its outputs is kept for expressions, from its end, unless the author says
/// otherwise.
const KEPT: Size = Size::from_mib(1);
/// The largest `$SWITCHOVER_OUTPUT` that is read.
const MAX_OUTPUT: u64 = limit::MAX_BYTES as u64;

/// Has the keeper begin a command; `then` is called with what it gave.
pub fn begin(
    job: &Job,
    run: &Run<String>,
    keeper: &Keeper,
    stopper: &Arc<Stopper>,
    then: impl FnOnce(Result<Reading, EffectError>) + Send + 'static,
) {
    let mut used = Used::new();
    let order = match order(job, run, &mut used) {
        Ok(order) => order,
        Err(error) => return then(Err(error)),
    };
    let (stem, ended, vault, keep) =
        (job.stem.clone(), Arc::clone(stopper), job.vault.clone(), run.keep_output);
    let id = keeper.begin(order, move |over| {
        ended.clear();
        then(reading(&stem, over, keep, &used, &vault));
    });
    let keeper = keeper.clone();
    stopper.on_stop(move |force| keeper.end(id, force));
}

/// The same, waiting for it.
pub fn perform(
    job: &Job,
    run: &Run<String>,
    keeper: &Keeper,
    stopper: &Arc<Stopper>,
) -> Result<Reading, EffectError> {
    let (send, receive) = std::sync::mpsc::channel();
    begin(job, run, keeper, stopper, move |result| drop(send.send(result)));
    receive.recv().unwrap_or_else(|_| Err(EffectError::lost("nobody said how it ended")))
}

/// What would be begun: whether the program is there, the script can be read, and the secrets are
/// at hand.
pub fn look(job: &Job, run: &Run<String>) -> Result<Reading, EffectError> {
    let mut used = Used::new();
    let env = environment(job, &mut used)?;
    files(job, &mut used)?;
    let folder = run.cwd.as_deref().map_or(Path::new("."), Path::new);
    if !folder.is_dir() {
        return Err(EffectError::during(format!("the folder {} is not there", folder.display())));
    }
    let words = match &run.command {
        Command::Script { script, .. } => script.trim_end().to_owned(),
        Command::Arguments(list) => list.join(" "),
    };
    let path = env.iter().rev().find(|(name, _)| name == "PATH").map(|(_, value)| value.clone());
    can_begin(&run.command, folder, path)?;
    job.vault
        .mask_result(Ok(Reading { summary: words, is_good: true, ..Reading::default() }), &used)
}

/// Whether the program is in the folders of `path` (by default this process's own), and the script
/// can be read.
///
/// # Errors
/// If it is not, or cannot.
pub fn can_begin(
    command: &Command<String>,
    folder: &Path,
    path: Option<String>,
) -> Result<(), EffectError> {
    let program = match command {
        Command::Script { shell, .. } => shell.first(),
        Command::Arguments(list) => list.first(),
    };
    let program = program.map(String::as_str).unwrap_or_default();
    let found =
        find(program, folder, &path.or_else(|| std::env::var("PATH").ok()).unwrap_or_default());
    let Some(found) = found else {
        return Err(EffectError::during(format!(
            "there is no program `{program}` on this machine"
        )));
    };
    if let Command::Script { script, .. } = command
        && matches!(found.file_name().and_then(|name| name.to_str()), Some("sh" | "dash"))
    {
        // It reads the script and does nothing of it. Others may set on their way how the rest is
        // read.
        let read = std::process::Command::new(&found)
            .args(["-n", "-c", script])
            .stdin(std::process::Stdio::null())
            .output();
        if let Ok(read) = read
            && !read.status.success()
        {
            return Err(EffectError::before(format!(
                "the script cannot be read: {}",
                String::from_utf8_lossy(&read.stderr).trim()
            )));
        }
    }
    Ok(())
}

/// Where a program is.
fn find(program: &str, folder: &Path, path: &str) -> Option<PathBuf> {
    let is_program = |path: &PathBuf| {
        path.metadata()
            .is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
    };
    if program.contains('/') {
        return Some(folder.join(program)).filter(is_program);
    }
    std::env::split_paths(path).map(|place| place.join(program)).find(is_program)
}

/// What a command left that ended so; `used` are the secrets that it was given.
pub fn reading(
    stem: &Path,
    over: Over,
    keep: Option<Size>,
    used: &Used,
    vault: &Vault,
) -> Result<Reading, EffectError> {
    let (summary, code) = match over.exit {
        Exit::Code(code) => (format!("exit {code}"), Some(code)),
        Exit::Signal(signal) => (format!("killed by signal {signal}"), None),
        Exit::NotBegun(why) => return Err(EffectError::before(why)),
        Exit::Unknown(why) => return Err(EffectError::lost(why)),
    };
    // Of a command that did its work, but not all of whose words are known, a person says what
    // follows: it is not done again.
    let unknown = |why: String| {
        if code == Some(0) { EffectError::lost(why) } else { EffectError::during(why) }
    };
    if let Some(error) = over.unwritten {
        return Err(unknown(format!(
            "{summary}, but not all of its output could be written: {error}"
        )));
    }
    let (mut names, mut cut) = (Map::new(), BTreeMap::new());
    names.insert("exit_code".into(), code.map_or(Json::Null, Json::from));
    for (name, ending) in [("stdout", "out"), ("stderr", "err")] {
        let said = tail(&with_ending(stem, ending), keep.unwrap_or(KEPT));
        let (text, why) = said.map_err(|error| {
            unknown(format!("{summary}, but its output cannot be read: {error}"))
        })?;
        names.insert(name.into(), text.into());
        cut.extend(why.map(|why| (name.to_owned(), why)));
    }
    let outputs = read_outputs(&with_ending(stem, "output"));
    let is_good = code == Some(0);
    vault.mask_result(
        outputs.map(|outputs| Reading {
            names,
            cut,
            outputs,
            summary,
            is_good,
            ..Reading::default()
        }),
        used,
    )
}

fn order(job: &Job, run: &Run<String>, used: &mut Used) -> Result<Begin, EffectError> {
    let command = match &run.command {
        Command::Script { shell, script } => shell.iter().chain([script]).cloned().collect(),
        Command::Arguments(list) => list.clone(),
    };
    let (env, files) = (environment(job, used)?, files(job, used)?);
    if let Some(folder) = secrets_folder(job) {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&folder);
        made.map_err(|error| {
            EffectError::before(format!("the folder {} for its secrets: {error}", folder.display()))
        })?;
        // What an earlier attempt left is not what this one leaves.
        for name in own_secrets(job) {
            let removed = file::remove(&job.vault.path_of(name));
            removed.map_err(|error| {
                EffectError::before(format!("its earlier secret could not be removed: {error}"))
            })?;
        }
    }
    Ok(Begin {
        id: 0,
        command,
        folder: run.cwd.clone(),
        input: run.stdin.as_ref().map(|text| input(job, text)).transpose()?,
        env,
        files,
        secrets: job.vault.expects().then(|| job.vault.secrets()),
        out: path(job, "out"),
        err: path(job, "err"),
        said: ["output", "checkpoint", "progress"].map(|ending| path(job, ending)).to_vec(),
        attempt: job.attempt.map(|number| Attempt { key: job.key.clone(), number }),
    })
}

/// What the command finds in its environment besides the executor's own.
fn environment(job: &Job, used: &mut Used) -> Result<Vec<(String, String)>, EffectError> {
    let mut all = Vec::with_capacity(job.env.len() + job.context.len() + 3);
    for (name, value) in job.env.iter().filter(|(_, value)| !is_file(value)) {
        all.push((name.clone(), resolve(job, value, used)?));
    }
    all.extend(job.context.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
    if let Some(folder) = secrets_folder(job) {
        all.push((
            "SWITCHOVER_SECRETS".to_owned(),
            std::path::absolute(&folder).unwrap_or(folder).display().to_string(),
        ));
    }
    for (name, ending) in [
        ("SWITCHOVER_OUTPUT", "output"),
        ("SWITCHOVER_CHECKPOINT", "checkpoint"),
        ("SWITCHOVER_PROGRESS", "progress"),
    ] {
        let path = path(job, ending);
        all.push((
            name.to_owned(),
            std::path::absolute(&path).unwrap_or(path).display().to_string(),
        ));
    }
    Ok(all)
}

/// Where it leaves secrets, if any come from it.
fn secrets_folder(job: &Job) -> Option<PathBuf> {
    own_secrets(job).next().and_then(|file| job.vault.path_of(file).parent().map(Path::to_owned))
}

/// The files of the secrets that come from it.
fn own_secrets(job: &Job) -> impl Iterator<Item = &str> {
    let own = job.context.get("SWITCHOVER_STEP");
    job.secrets.values().filter_map(move |source| match source {
        Secret::Step { step, file } if own.is_some_and(|own| **own == **step) => {
            Some(file.as_str())
        }
        _ => None,
    })
}

/// Secrets that it is to find in files.
fn files(job: &Job, used: &mut Used) -> Result<Vec<(String, String)>, EffectError> {
    job.env
        .iter()
        .filter(|(_, value)| is_file(value))
        .map(|(name, value)| Ok((name.clone(), resolve(job, value, used)?)))
        .collect()
}

fn is_file(value: &Value<String>) -> bool {
    matches!(value, Value::Secret { form: SecretForm::File, .. })
}

/// The text as a file.
fn input(job: &Job, text: &str) -> Result<PathBuf, EffectError> {
    let path = path(job, "in");
    let file = file::open_as(OpenOptions::new().write(true).create(true).truncate(true), &path);
    match file.and_then(|mut file| file.write_all(text.as_bytes())) {
        Ok(()) => Ok(path),
        Err(error) => {
            Err(EffectError::before(format!("{} could not be made: {error}", path.display())))
        }
    }
}

/// Whether the command of an attempt with these files still lives, whoever began it.
pub fn life(
    stem: &Path,
    attempt: &Attempt,
    known: &Known,
    all: &std::io::Result<Vec<Process>>,
) -> Life {
    living::life(&with_ending(stem, "out"), attempt, known.beginning(attempt).as_ref(), all)
}

fn path(job: &Job, ending: &str) -> PathBuf {
    with_ending(&job.stem, ending)
}

fn with_ending(stem: &Path, ending: &str) -> PathBuf {
    let mut path = stem.as_os_str().to_owned();
    path.push(".");
    path.push(ending);
    path.into()
}

/// The last bytes of a file, which may be a long one, at most so many.
pub fn last_bytes(path: &Path, most: u64) -> std::io::Result<Vec<u8>> {
    Ok(file::read_end(path, most)?.0)
}

/// The end of a file as text, without the line break at its end, and what is missing of it.
fn tail(path: &Path, keep: Size) -> std::io::Result<(String, Option<Cut>)> {
    let (bytes, had) = file::read_end(path, keep.as_bytes())?;
    let (mut text, is_whole) = text_of(bytes);
    let cut = match had > keep.as_bytes() {
        true => Some(Cut::Start { had, kept: keep }),
        false => (!is_whole).then_some(Cut::NotText),
    };
    if text.ends_with('\n') {
        text.pop();
    }
    Ok((text, cut))
}

/// `key=value` lines, or one JSON object.
fn read_outputs(path: &Path) -> Result<BTreeMap<String, Json>, EffectError> {
    let bad = |why: String| {
        EffectError::during(format!("what the command wrote to $SWITCHOVER_OUTPUT {why}"))
    };
    let bytes = match file::read(path, MAX_OUTPUT) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        read => read.map_err(|error| bad(format!("cannot be read: {error}")))?,
    };
    let text = String::from_utf8(bytes).map_err(|error| bad(format!("is no UTF-8: {error}")))?;
    if text.trim_start().starts_with('{') {
        return match limit::parse(&text) {
            Ok(Json::Object(outputs)) => Ok(outputs.into_iter().collect()),
            Ok(_) => Err(bad("is no JSON object".to_owned())),
            Err(error) => Err(bad(format!("is not taken: {error}"))),
        };
    }
    text.lines()
        .filter(|line| !line.trim().is_empty())
        .map(|line| {
            let (key, value) = line
                .split_once('=')
                .ok_or_else(|| bad(format!("has a line without `=`: {line}")))?;
            Ok((key.trim().to_owned(), Json::String(value.to_owned())))
        })
        .collect()
}
