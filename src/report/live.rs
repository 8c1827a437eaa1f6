//! The display on a terminal: what happened scrolls by, what runs now stays at the bottom with its time and estimate.

use std::collections::HashMap;
use std::time::Duration;

use console::style;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::line::{is_end, line, shorten};
use crate::message::printable;
use crate::run::*;
use crate::runbook::{Direction, StepIx};

/// Draws on standard error.
pub struct Live {
    bars: MultiProgress,
    overall: ProgressBar,
    running: HashMap<StepIx, ProgressBar>,
}

impl Live {
    pub fn new() -> Live {
        let bars = MultiProgress::new();
        let overall = bars.add(ProgressBar::new(0));
        overall.set_style(bar_style());
        Live { bars, overall, running: HashMap::new() }
    }

    fn begin(&mut self, state: &RunState, ix: StepIx, direction: Direction) {
        let step = state.runbook.step(ix);
        let names = names::of_step(state, ix, Direction::Forward);
        let title = step.title.as_ref().and_then(|title| title.render(&names).ok()).unwrap_or_default();
        let estimate =
            step.estimate.filter(|_| direction == Direction::Forward).map(|span| format!(" of about {span}")).unwrap_or_default();
        let undo = if direction == Direction::Forward { "" } else { "undo " };
        let bar = self.bars.insert_before(&self.overall, ProgressBar::new_spinner());
        bar.set_style(spinner_style());
        bar.set_prefix(format!("{undo}{}", step.id));
        bar.set_message(format!("{estimate}  {}", shorten(&title, 60)));
        bar.enable_steady_tick(Duration::from_millis(200));
        self.running.insert(ix, bar);
    }

    fn say(&self, text: &str) {
        self.bars.suspend(|| eprintln!("{text}"));
    }
}

impl Default for Live {
    fn default() -> Live {
        Live::new()
    }
}

fn bar_style() -> ProgressStyle {
    ProgressStyle::with_template("{bar:20} {pos} of {len} steps  {elapsed_precise}  {msg}").unwrap_or_else(|_| ProgressStyle::default_bar())
}

fn spinner_style() -> ProgressStyle {
    ProgressStyle::with_template("  {spinner} {prefix}  {elapsed}{wide_msg}").unwrap_or_else(|_| ProgressStyle::default_spinner())
}

impl Observer for Live {
    fn event(&mut self, state: &RunState, event: &Event) {
        self.overall.set_length(state.runbook.steps.len() as u64);
        self.overall.set_position((state.runbook.steps.len() - state.unsettled()) as u64);
        let ix = event.fact.step().and_then(|step| state.runbook.find(step));
        if let (Some(ix), Fact::StepSucceeded(_) | Fact::StepFailed(_) | Fact::StepSkipped { .. } | Fact::StepResolved(_)) =
            (ix, &event.fact)
            && let Some(bar) = self.running.remove(&ix)
        {
            bar.finish_and_clear();
        }
        if let (Some(ix), Fact::StepStarted(started)) = (ix, &event.fact) {
            // A commit may hold both the beginning and the end; then there is nothing to show as running.
            if matches!(state.track(ix, started.direction), Track::Running { .. }) {
                self.begin(state, ix, started.direction);
            }
            return;
        }
        if let Some(text) = line(state, event).filter(|_| !is_end(&event.fact)) {
            let shown = match &event.fact {
                Fact::StepFailed(_) => style(text).for_stderr().red(),
                Fact::StepSucceeded(_) => style(text).for_stderr().green(),
                Fact::RollbackBegan { .. } | Fact::RunStopped { .. } => style(text).for_stderr().yellow(),
                Fact::MessageSent(_) => style(text).for_stderr().dim(),
                _ => style(text).for_stderr(),
            };
            self.say(&format!("{} {shown}", event.at.to_utc().format("%H:%M:%S")));
        }
    }

    fn progress(&mut self, _: &RunState, step: StepIx, text: &str) {
        if let Some(bar) = self.running.get(&step) {
            bar.set_message(format!("  {}", shorten(&printable(text), 60)));
        }
    }

    fn note(&mut self, text: &str) {
        self.say(text);
    }

    fn tick(&mut self, state: &RunState, now: Moment) {
        let down = state.down_since.map(|_| format!("downtime {}", state.downtime_until(now))).unwrap_or_default();
        self.overall.set_message(down);
    }

    fn pause(&mut self) {
        let _ = self.bars.clear();
        self.bars.set_draw_target(ProgressDrawTarget::hidden());
    }

    fn unpause(&mut self) {
        self.bars.set_draw_target(ProgressDrawTarget::stderr());
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.running.values().for_each(ProgressBar::finish_and_clear);
        self.overall.finish_and_clear();
    }
}
