//! What the page says of a moment and of a step.

use crate::run::{RunState, names};
use crate::runbook::action::Command;
use crate::runbook::{Action, Direction, Runbook, Step, Text};

/// A moment as the time since the beginning: `1:02:03`, or with tenths if that is all there is.
pub fn clock(millis: u64) -> String {
    let seconds = millis / 1000;
    let (days, hours, minutes, rest) =
        (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    match (days, millis) {
        (0, 1..60_000) if !millis.is_multiple_of(1000) => {
            format!("0:00:{rest:02}.{}", millis % 1000 / 100)
        }
        (0, _) => format!("{hours}:{minutes:02}:{rest:02}"),
        _ => format!("{days}d {hours}:{minutes:02}:{rest:02}"),
    }
}

/// A step's title, as far as its values are known before the run.
pub fn step_title(state: &RunState, step: &Step) -> String {
    let Some(title) = &step.title else { return String::new() };
    let Some(ix) = state.runbook.find(&step.id).filter(|_| title.is_dynamic()) else {
        return title.source().to_owned();
    };
    words(title, &names::of_step(state, ix, Direction::Forward))
}

pub fn phase_title(state: &RunState, phase: usize) -> String {
    let phase = &state.runbook.phases[phase];
    phase
        .title
        .as_ref()
        .map_or_else(|| phase.id.clone(), |title| words(title, &names::of_scope(state, 0)))
}

pub fn title(state: &RunState) -> String {
    let runbook = &state.runbook;
    runbook
        .title
        .as_ref()
        .map_or_else(|| runbook.name.clone(), |title| words(title, &names::of_scope(state, 0)))
}

fn words(text: &Text, names: &serde_json::Value) -> String {
    text.render(names).unwrap_or_else(|_| text.source().to_owned())
}

/// The program that is not the real one in this step's command, if there is one.
pub fn uses_stand_in<'a>(runbook: &'a Runbook, step: &Step) -> Option<&'a str> {
    let programs = &runbook.stand_ins.as_ref()?.programs;
    let Action::Run(run) = &step.act.action else { return None };
    let is_called = |program: &&String| match &run.command {
        Command::Arguments(list) => {
            list.first().is_some_and(|first| first.source() == program.as_str())
        }
        Command::Script { script, .. } => script
            .split(|c: char| !(c.is_alphanumeric() || "-_./".contains(c)))
            .any(|word| word == program.as_str()),
    };
    programs.iter().find(is_called).map(String::as_str)
}
