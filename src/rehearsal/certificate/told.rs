//! What people must have been told: from the runbook and the journal's events, without what the
//! state says is owed.

use std::collections::BTreeMap;

use super::Account;
use super::ledger::Ledger;
use crate::run::{Event, Fact, MessageSent, Outcome, Stop};
use crate::runbook::{Direction, Downtime, StepIx};

/// A message that is due.
struct Due {
    occasion: &'static str,
    phase: Option<String>,
    /// The event that it tells of, if it is told each time.
    of: Option<u64>,
}

/// What people were not told, or were told twice.
pub fn wrong(account: &Account, ledger: &Ledger) -> Vec<String> {
    // A message that is itself a step is held against the graph, as other steps are.
    let sent: Vec<&MessageSent> = account
        .events
        .iter()
        .filter_map(
            |event| if let Fact::MessageSent(sent) = &event.fact { Some(sent) } else { None },
        )
        .filter(|sent| sent.step.is_none())
        .collect();
    let mut wrong = Vec::new();
    for due in due(account, ledger) {
        let answers = |sent: &&&MessageSent| {
            sent.occasion == due.occasion
                && sent.phase == due.phase
                && (due.of.is_none() || sent.of == due.of)
        };
        if !sent.iter().any(|sent| answers(&sent)) {
            let of = due.of.map(|of| format!(", event {of}")).unwrap_or_default();
            let place = due.phase.map(|phase| format!(" of {phase}")).unwrap_or_default();
            wrong.push(format!("nobody was told of {}{place}{of}", due.occasion));
        }
    }
    let mut times: BTreeMap<_, usize> = BTreeMap::new();
    sent.iter()
        .for_each(|sent| *times.entry((&sent.occasion, &sent.phase, sent.of)).or_default() += 1);
    let twice = times.into_iter().filter(|((.., of), times)| of.is_some() && *times > 1);
    wrong.extend(twice.map(|((occasion, ..), times)| {
        format!("people were told {times} times of one {occasion}")
    }));
    wrong
}

fn due(account: &Account, ledger: &Ledger) -> Vec<Due> {
    let runbook = &account.runbook;
    let mut all = Vec::new();
    let mut add = |occasion: &'static str, of: Option<u64>| {
        if runbook.occasions.contains_key(occasion) {
            all.push(Due { occasion, phase: None, of });
        }
    };
    add("start", None);
    let mut was_down = false;
    for Event { number, fact, .. } in &account.events {
        let of = Some(*number);
        match fact {
            Fact::StepStarted(started) if started.direction == Direction::Forward => {
                let step = runbook.find(&started.step).map(|ix| runbook.step(ix));
                if step.is_some_and(|step| step.point_of_no_return) {
                    add("point_of_no_return", of);
                }
                if !was_down && step.is_some_and(|step| step.downtime == Some(Downtime::Begins)) {
                    was_down = true;
                    add("downtime_starts", of);
                }
            }
            Fact::RunStopped { because: Stop::Failed { .. } | Stop::Stuck { .. } } => {
                add("failure", of)
            }
            Fact::RunStopped { because: Stop::InDoubt { .. } } => add("waiting", of),
            Fact::RollbackBegan { .. } => add("rollback_began", of),
            Fact::RunEnded { outcome: Outcome::Finished } => {
                add("success", None);
                add("report", of);
            }
            Fact::RunEnded { outcome: Outcome::RolledBack } => {
                add("rolled_back", of);
                add("report", of);
            }
            _ => {}
        }
    }
    all.extend(of_phases(account, ledger));
    all
}

fn of_phases(account: &Account, ledger: &Ledger) -> Vec<Due> {
    let runbook = &account.runbook;
    let goes_back =
        |event: &Event| matches!(event.fact, Fact::RollbackBegan { .. }).then_some(event.number);
    let back = account.events.iter().find_map(goes_back).unwrap_or(u64::MAX);
    let has_failed = |phase: u32, event: &Event| match &event.fact {
        Fact::RunStopped { because: Stop::Failed { steps } | Stop::Stuck { steps } } => steps
            .first()
            .and_then(|step| runbook.find(step))
            .is_some_and(|ix| runbook.step(ix).phase == phase),
        _ => false,
    };
    let mut all = Vec::new();
    for (number, phase) in (0u32..).zip(&runbook.phases) {
        let steps: Vec<StepIx> =
            runbook.ixs().filter(|ix| runbook.step(*ix).phase == number).collect();
        let is_started = |event: &Event| match &event.fact {
            Fact::StepStarted(started) => {
                let phase = runbook.find(&started.step).map(|ix| runbook.step(ix).phase);
                started.direction == Direction::Forward && phase == Some(number)
            }
            _ => false,
        };
        let mut add = |occasion: &'static str, of: Option<u64>| {
            if occasion.strip_prefix("phase_").is_some_and(|name| phase.messages.contains_key(name))
            {
                all.push(Due { occasion, phase: Some(phase.id.clone()), of });
            }
        };
        if account.events.iter().any(is_started) {
            add("phase_start", None);
        }
        let is_settled =
            |ix: &StepIx| ledger.settled(&runbook.step(*ix).id).is_some_and(|at| at < back);
        if !steps.is_empty() && steps.iter().all(is_settled) {
            add("phase_success", None);
        }
        account
            .events
            .iter()
            .filter(|event| has_failed(number, event))
            .for_each(|event| add("phase_failure", Some(event.number)));
    }
    all
}
