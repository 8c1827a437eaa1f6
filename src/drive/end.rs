//! How an attempt ended: what it gave is held against what is expected of it, and what follows from
//! a failure is decided.

use std::sync::Arc;

use serde_json::Value as Json;

use super::{Drive, Now, Refused};
use crate::message::printable;
use crate::run::{
    Fact, Failure, FailureKind, Log, Probed, RunState, StepFailed, StepSucceeded, StopReason,
    Track, names, retry,
};
use crate::runbook::action::look_up;
use crate::runbook::reading::{Cut, EffectError, Reading, View, When};
use crate::runbook::{Act, Condition, Direction, Outputs, Probe, StepIx, limit};

/// How many characters of a line of output a message shows.
const MAX_SHOWN: usize = 500;
/// How many characters of a value that a condition looked at are shown.
const MAX_VALUE: usize = 200;
/// How many of the last lines of what an action said a failure shows.
const LINES: usize = 3;

impl Drive {
    /// An action came to its end, or did not.
    pub(super) fn finish(
        &mut self,
        now: Now,
        ix: StepIx,
        direction: Direction,
        attempt: u32,
        result: Result<Reading, EffectError>,
        logs: Vec<Log>,
        chance: f64,
    ) -> Result<(), Refused> {
        if direction == Direction::Forward && self.state.is_only_looked_at(ix) {
            return self.looked_at(now, ix, attempt, result, logs);
        }
        let runbook = Arc::clone(&self.state.runbook);
        let Some(act) = runbook.step(ix).act(direction) else { return Ok(()) };
        let stopping = match self.state.track(ix, direction) {
            Track::Running { stopping, .. } => *stopping,
            _ => None,
        };
        let given =
            result.as_ref().ok().map(|reading| (reading.outputs.clone(), reading.secrets.clone()));
        // What did not come to its end gave nothing.
        let (given, secrets) = given.unwrap_or_default();
        let judged = match (stopping, result) {
            (Some(reason), result) => Err(stopped(reason, act, result)),
            (None, Err(error)) => {
                Err(Failure { kind: kind_of(error.when), message: error.message })
            }
            (None, Ok(reading)) => judge(&self.state, ix, direction, act, &reading)
                .map(|outputs| (outputs, reading.summary)),
        };
        let step = self.id(ix);
        let fact = match judged {
            Ok((outputs, result)) => Fact::StepSucceeded(StepSucceeded {
                step,
                direction,
                attempt,
                outputs,
                result,
                secrets,
                logs,
            }),
            Err(failure) => {
                let pause = match stopping {
                    Some(StopReason::Interrupt | StopReason::Breach) => None,
                    Some(StopReason::Timeout) | None => {
                        retry::pause(act, attempt, &failure, chance)
                    }
                };
                let retry_at = pause.map(|pause| now.clock.after(pause));
                let outputs = given;
                Fact::StepFailed(StepFailed {
                    step,
                    direction,
                    attempt,
                    failure,
                    outputs,
                    retry_at,
                    secrets,
                    logs,
                })
            }
        };
        self.record(now, fact)
    }
}

fn kind_of(when: When) -> FailureKind {
    match when {
        When::Before | When::Shut => FailureKind::BeforeEffect,
        When::During => FailureKind::Failed,
        When::Unknown => FailureKind::Lost,
    }
}

/// The failure of what was to end, however it ended.
fn stopped(reason: StopReason, act: &Act, result: Result<Reading, EffectError>) -> Failure {
    let ended = result.map_or_else(|error| error.message, |reading| reading.summary);
    match reason {
        StopReason::Timeout => {
            let limit = act.timeout.unwrap_or_default();
            Failure {
                kind: FailureKind::TimedOut,
                message: format!("it took longer than {limit} and was stopped ({ended})"),
            }
        }
        StopReason::Breach => Failure {
            kind: FailureKind::Failed,
            message: format!("it was stopped because of a breach ({ended})"),
        },
        StopReason::Interrupt => {
            Failure { kind: FailureKind::Failed, message: format!("it was interrupted ({ended})") }
        }
    }
}

/// What a probe that was read says, and in which words.
pub fn tell_of_probe(
    state: &RunState,
    ix: StepIx,
    direction: Direction,
    probe: &Probe,
    reading: Reading,
) -> (Probed, String) {
    let view = view(names::of_step(state, ix, direction), &reading);
    match (view.holds(&probe.done), view.holds(&probe.not_done)) {
        (Ok(true), Ok(false)) => (Probed::Done, reading.summary),
        (Ok(false), Ok(true)) => (Probed::NotDone, reading.summary),
        (Ok(_), Ok(_)) => {
            (Probed::Unknown, format!("{}: it says both, or neither", reading.summary))
        }
        (Err(error), _) | (_, Err(error)) => (Probed::Unknown, error.0),
    }
}

/// Holds a result against what is expected of it, and takes the outputs from it.
///
/// # Errors
/// The failure that it is, if it is not as expected.
pub fn judge(
    state: &RunState,
    ix: StepIx,
    direction: Direction,
    act: &Act,
    reading: &Reading,
) -> Result<Outputs, Failure> {
    let unexpected = |message| Failure { kind: FailureKind::Unexpected, message };
    // An author who looks at the exit code or status decides alone what is good.
    let decides = |condition: &Condition| {
        let references = condition.references();
        references.iter().any(|reference| reference == &["exit_code"] || reference == &["status"])
    };
    if !reading.is_good && !act.expect.iter().any(decides) {
        return Err(Failure { kind: FailureKind::Failed, message: said(reading) });
    }
    if act.expect.is_empty() && act.capture.is_empty() {
        return taken(reading.outputs.clone());
    }
    let mut outputs = reading.outputs.clone();
    let view = view(names::of_step(state, ix, direction), reading);
    for condition in &act.expect {
        match view.holds(condition) {
            Ok(true) => {}
            Ok(false) => {
                let shown = facts(condition, view.names(), reading);
                return Err(unexpected(format!(
                    "`{}` does not hold ({shown})",
                    condition.source()
                )));
            }
            Err(error) => return Err(unexpected(error.0)),
        }
    }
    for (name, condition) in &act.capture {
        match view.evaluate(condition) {
            Ok(value) => drop(outputs.insert(name.clone(), value)),
            Err(error) => {
                return Err(unexpected(format!("the output `{name}` cannot be taken: {error}")));
            }
        }
    }
    taken(outputs)
}

/// How an action that did not go well ended, with the last lines of what it said.
fn said(reading: &Reading) -> String {
    let words = ["stderr", "stdout", "body"]
        .iter()
        // The end of a beginning is not the end, and may be half a secret.
        .filter(|name| !matches!(reading.cut.get(**name), Some(Cut::End { .. })))
        .find_map(|name| {
            let text = reading.names.get(*name).and_then(Json::as_str);
            text.filter(|text| !text.trim().is_empty())
        });
    let lines = words.into_iter().flat_map(str::lines).filter(|line| !line.trim().is_empty());
    let lines: Vec<&str> = lines.collect();
    let last: Vec<String> =
        lines[lines.len().saturating_sub(LINES)..].iter().map(|line| shortened(line)).collect();
    match last.is_empty() {
        true => reading.summary.clone(),
        false => format!("{}: {}", reading.summary, printable(&last.join("\n"))),
    }
}

/// The outputs, if each of them can be kept.
fn taken(outputs: Outputs) -> Result<Outputs, Failure> {
    for (name, value) in &outputs {
        limit::check(value).map_err(|exceeded| Failure {
            kind: FailureKind::Unexpected,
            message: format!("the output `{name}` is not taken: {exceeded}"),
        })?;
    }
    Ok(outputs)
}

/// What the expressions on a reading see of it, among the step's own names; its outputs are among
/// those that are there.
fn view(mut names: Json, reading: &Reading) -> View {
    if let Some(names) = names.as_object_mut() {
        let mut all = names.get("outputs").and_then(Json::as_object).cloned().unwrap_or_default();
        all.extend(reading.outputs.clone());
        names.insert("outputs".into(), Json::Object(all));
    }
    reading.view(&names)
}

/// The end of a line that is too long to be read in a message; the log has the whole.
fn shortened(line: &str) -> String {
    match line.char_indices().rev().nth(MAX_SHOWN - 1) {
        Some((at, _)) if at > 0 => format!("…{}", &line[at..]),
        _ => line.to_owned(),
    }
}

/// The values that a condition looked at, for the person who reads that it does not hold.
fn facts(condition: &Condition, names: &Json, reading: &Reading) -> String {
    let mut shown: Vec<String> = condition
        .references()
        .iter()
        .filter_map(|reference| {
            let value = look_up(names, reference)?.to_string();
            let short: String = value.chars().take(MAX_VALUE).collect();
            Some(format!("{} is {}", reference.join("."), printable(&short)))
        })
        .collect();
    shown.dedup();
    if shown.is_empty() { reading.summary.clone() } else { shown.join(", ") }
}
