//! The outside world: one file per kind of action. Everything here blocks and runs on a thread of
//! its own; a [`Stopper`] ends it from outside. Knows actions whose texts are rendered, not runs,
//! journals or plans.

mod aside;
pub mod brief;
mod command;
mod copy;
mod dns;
mod http;
mod keeper;
mod living;
mod process;
mod reading;
mod redactor;
mod redirect;
mod replace;
mod secret;
mod shift;
mod sql;
mod stopper;
mod teller;
mod vault;
mod wait;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use indexmap::IndexMap;
use serde_json::Value as Json;

use crate::runbook::Secret;
use crate::runbook::action::{Action, Value};
use crate::runbook::size::Size;

pub use crate::runbook::reading::{Cut, EffectError, Reading, View, When};
pub use command::{can_begin, last_bytes, life};
pub use keeper::{Attempt, Exit, Keeper, Known, New, Over, VERB as KEEP, serve};
pub use living::Life;
pub use process::{
    Process, age, all as processes, children, close_to_others, die_with, ignores, own_program,
    signal_all, stop_here,
};
pub use reading::{PATIENCE as READING, Said, read};
pub use redactor::Redactor;
pub use rustix::process::Pid;
pub use rustix::process::Signal;
pub use stopper::Stopper;
pub use teller::{Teller, Told};
pub use vault::{MacKey, Vault};

/// One attempt to be carried out.
#[derive(Debug, Clone)]
pub struct Job {
    pub action: Action<String>,
    /// Environment variables, secrets by name.
    pub env: IndexMap<String, Value<String>>,
    pub secrets: IndexMap<String, Secret>,
    /// `SWITCHOVER_…` variables.
    pub context: BTreeMap<&'static str, String>,
    pub key: String,
    /// Under which number its beginning and end are recorded; nothing for what only looks.
    pub attempt: Option<u32>,
    /// The longest it may take, as the engine sees to; for those who must be told beforehand.
    pub timeout: Option<Duration>,
    /// The attempt's files are this path with `.out`, `.err`, `.output`, `.checkpoint` and
    /// `.progress` behind it.
    pub stem: PathBuf,
    /// The names that `until` of a wait sees.
    pub names: Json,
    /// The secrets that the run has used so far.
    pub vault: Vault,
    /// What the first attempt found before it changed anything: this action's own, or the one's
    /// that it takes back.
    pub seen: Option<Json>,
    /// The last cursor of the same.
    pub reached: Option<String>,
    /// Whether it only reads what it needs to say what it would do.
    pub only_looks: bool,
    /// What is read after such a look, whose names it then gives: whether it has been done.
    pub probe: Option<Action<String>>,
}

/// A host without the brackets in which an IPv6 address may stand.
fn bare(host: &str) -> &str {
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}

/// Carries out one attempt; returns when it is over or was stopped.
pub fn perform(
    job: &Job,
    keeper: &Keeper,
    stopper: &Arc<Stopper>,
    teller: &Teller,
) -> Result<Reading, EffectError> {
    if let Some(probe) = &job.probe {
        let seen = perform(&Job { probe: None, ..job.clone() }, keeper, stopper, teller)?;
        let probing = Job { action: probe.clone(), probe: None, only_looks: false, ..job.clone() };
        // What cannot be probed is looked at all the same.
        let read = perform(&probing, keeper, stopper, teller).unwrap_or_default();
        return Ok(Reading {
            summary: format!("{}\n(probed: {})", seen.summary, read.summary),
            ..read
        });
    }
    match &job.action {
        Action::Run(run) if job.only_looks => command::look(job, run),
        Action::Http(http) if job.only_looks => http::look(job, http),
        Action::Run(run) => command::perform(job, run, keeper, stopper),
        Action::Sql(sql) => sql::perform(job, sql, stopper),
        Action::Copy(copy) => copy::perform(job, copy, keeper, stopper, teller),
        Action::Http(http) => http::perform(job, http, stopper),
        Action::Dns(dns) => dns::perform(job, dns, keeper, stopper, teller),
        Action::Propagation(propagation) => dns::watch(job, propagation, keeper, stopper, teller),
        Action::Wait(wait) => wait::perform(job, wait, keeper, stopper, teller),
        Action::Shift(shift) => shift::perform(job, shift, keeper, stopper, teller),
        // Messages are delivered by the engine, people answer to it, and a join has nothing to do.
        Action::Notify(_) | Action::Task(_) | Action::Approve(_) | Action::Join => {
            Ok(Reading { is_good: true, summary: "done".to_owned(), ..Reading::default() })
        }
    }
}

/// Begins an attempt that needs no thread of its own, and calls `then` when it is over. `false`:
/// leave it to [`perform`], on a thread.
pub fn begin(
    job: &Job,
    keeper: &Keeper,
    stopper: &Arc<Stopper>,
    then: impl FnOnce(Result<Reading, EffectError>) + Send + 'static,
) -> bool {
    // A secret may come from a command, which takes its time.
    let is_quick = job.env.values().all(|value| matches!(value, Value::Text(_)));
    match &job.action {
        Action::Run(run) if is_quick && !job.only_looks => {
            command::begin(job, run, keeper, stopper, then);
            true
        }
        _ => false,
    }
}

/// What a command left whose end an earlier session did not see, as its keeper recorded and masked
/// it.
pub fn recovered(
    stem: &Path,
    over: Over,
    keep: Option<Size>,
    vault: &Vault,
) -> Result<Reading, EffectError> {
    command::reading(stem, over, keep, &Used::new(), vault)
}

/// Secrets that an attempt has used, by name.
type Used = Vec<(String, String)>;

/// The value of a text or a secret, at the moment of use.
fn resolve(job: &Job, value: &Value<String>, used: &mut Used) -> Result<String, EffectError> {
    match value {
        Value::Text(text) => Ok(text.clone()),
        Value::Secret { name, prefix, .. } => {
            let source = job.secrets.get(name).ok_or_else(|| {
                EffectError::before(format!("the secret `{name}` is not declared"))
            })?;
            let secret = job.vault.read(name, source)?;
            let whole = format!("{prefix}{secret}");
            used.push((name.clone(), secret));
            Ok(whole)
        }
    }
}
