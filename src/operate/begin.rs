//! How a run begins: its id, the first event, and who holds it. Does not decide whether it may.

use std::hash::{BuildHasher, Hasher};
use std::path::Path;
use std::sync::Arc;

use super::found::holder;
use super::{OperateError, SessionEnd, digest};
use crate::engine::{self, Config};
use crate::journal::{Journal, JournalError, random_hex};
use crate::rehearsal::{StandIn, stand_in};
use crate::run::{Digest, Event, Fact, Observer, Person, Purpose, Rehearsed, RunStarted, RunState};
use crate::runbook::{Runbook, StepId};

/// A run that may begin.
pub(super) struct NewRun {
    pub runbook: Runbook,
    pub name: Option<String>,
    pub until: Option<StepId>,
    pub purpose: Purpose,
    /// That it may begin although something is missing.
    pub overridden: Option<Fact>,
}

/// Begins a run of stand-ins for the actions of `real`, and carries it out. It changes nothing
/// outside, so that nothing must have been shown before.
///
/// # Errors
/// If there are no stand-ins for it, or if the journal cannot be written.
pub fn begin_stand_in(
    folder: &Path,
    real: &Runbook,
    config: Config,
    observer: &mut dyn Observer,
) -> Result<SessionEnd, OperateError> {
    // They are made here, so that whatever is given, nothing else is carried out.
    let StandIn { runbook, ruled_out: _, assumed: _ } =
        stand_in(real).map_err(|why| OperateError::NoStandIn { why: why.to_string() })?;
    let new = NewRun {
        runbook: Arc::unwrap_or_clone(runbook),
        name: None,
        until: None,
        purpose: Purpose::Real,
        overridden: None,
    };
    begin(Journal::open(folder)?, new, config, observer)
}

/// Journals what a rehearsal found, as a run that consists of that alone.
///
/// # Errors
/// If the journal cannot be written.
pub fn keep_rehearsal(
    folder: &Path,
    runbook: &Runbook,
    found: Rehearsed,
    operator: &Person,
) -> Result<(), OperateError> {
    let mut journal = Journal::open(folder)?;
    let run = fresh_id(&journal)?;
    let uuid = random_hex()?;
    let mut head = journal.create(&run, &uuid, &[], &holder(&run, operator))?;
    let started = RunStarted {
        purpose: Purpose::Rehearsal,
        uuid,
        ..begun(&journal, runbook, &run, operator)?
    };
    let facts = [Fact::RunStarted(started), Fact::Rehearsed(found)];
    let events: Vec<Event> = facts
        .into_iter()
        .zip(1..)
        .map(|(fact, number)| Event { number, at: engine::now(), fact })
        .collect();
    journal.append(&mut head, &events)?;
    journal.anchor(&mut head)?;
    head.release();
    Ok(())
}

/// Begins a run and carries it out.
pub(super) fn begin(
    mut journal: Journal,
    new: NewRun,
    config: Config,
    observer: &mut dyn Observer,
) -> Result<SessionEnd, OperateError> {
    let NewRun { runbook, name, until, purpose, overridden } = new;
    let run = fresh_id(&journal)?;
    let (uuid, folder) = (random_hex()?, working_folder()?);
    let mut head = journal.create(&run, &uuid, &runbook.locks, &holder(&run, &config.operator))?;
    let started = RunStarted {
        name,
        folder,
        until,
        purpose,
        uuid,
        ..begun(&journal, &runbook, &run, &config.operator)?
    };
    let first = Event { number: 1, at: engine::now(), fact: Fact::RunStarted(started) };
    let state = RunState::new(Arc::new(runbook), &first)
        .map_err(|source| JournalError::Illegal { run, source })?;
    journal.append(&mut head, std::slice::from_ref(&first))?;
    observer.event(&state, &first);
    let facts = overridden.into_iter().collect();
    let (state, exit) = engine::carry_out(journal, head, state, facts, config, observer)?;
    Ok(SessionEnd { state, exit })
}

/// How a run of this journal begins: bound to its definition and its parameters.
fn begun(
    journal: &Journal,
    runbook: &Runbook,
    run: &str,
    operator: &Person,
) -> Result<RunStarted, JournalError> {
    let (definition, parameters) = (journal.define(runbook)?, digest::of_parameters(runbook)?);
    Ok(RunStarted {
        definition,
        parameters,
        journal: journal.uuid()?,
        ..RunStarted::of(runbook, run, operator.clone())
    })
}

/// Where a run begins, and is to be taken up. Empty if that is not known.
fn working_folder() -> Result<String, JournalError> {
    let Ok(folder) = std::env::current_dir() else { return Ok(String::new()) };
    folder.into_os_string().into_string().map_err(|name| JournalError::FolderName(name.into()))
}

/// A short id that no run of this journal has: easy to read out, without letters that look alike.
fn fresh_id(journal: &Journal) -> Result<String, JournalError> {
    const LETTERS: &[u8] = b"23456789abcdefghjkmnpqrstvwxyz";
    for length in 4.. {
        for _ in 0..100 {
            let mut random = random();
            let id: String = (0..length)
                .map(|_| {
                    let letter = LETTERS[(random % LETTERS.len() as u64) as usize] as char;
                    random /= LETTERS.len() as u64;
                    letter
                })
                .collect();
            if !journal.has_run(&id)? && !journal.run_folder(&id).exists() {
                return Ok(id);
            }
        }
    }
    Ok(Digest::default().0)
}

/// Some chance, not for secrets.
fn random() -> u64 {
    std::hash::RandomState::new().build_hasher().finish()
}
