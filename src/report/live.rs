//! The display on a terminal: what happened scrolls by, the board stays at the bottom.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use console::{Style, Term};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::board::{Seen, board};
use super::line::{is_end, line};
use super::say::{say, say_in_colours};
use crate::run::*;
use crate::runbook::StepIx;

/// The shortest time between two drawings.
const PAUSE: Duration = Duration::from_millis(100);
/// The board takes at most so much of the terminal's height.
const SHARE: usize = 2;

/// Draws on standard error.
pub struct Live {
    board: ProgressBar,
    progress: HashMap<StepIx, String>,
    drawn: Option<Instant>,
    outlook: Option<Outlook>,
}

impl Live {
    pub fn new() -> Live {
        let board = ProgressBar::new_spinner();
        board.set_style(
            ProgressStyle::with_template("{msg}")
                .unwrap_or_else(|_| ProgressStyle::default_spinner()),
        );
        Live { board, progress: HashMap::new(), drawn: None, outlook: None }
    }

    fn draw(&mut self, state: &RunState, now: Moment) {
        if self.drawn.is_some_and(|drawn| drawn.elapsed() < PAUSE) {
            return;
        }
        let (rows, columns) = Term::stderr().size();
        let seen = Seen { progress: &self.progress, outlook: self.outlook };
        self.board.set_message(board(
            state,
            now,
            &seen,
            (rows as usize / SHARE).max(4),
            (columns as usize).max(20) - 1,
        ));
        self.drawn = Some(Instant::now());
    }
}

impl Default for Live {
    fn default() -> Live {
        Live::new()
    }
}

impl Observer for Live {
    fn event(&mut self, state: &RunState, event: &Event) {
        if let Some(ix) = event.fact.step().and_then(|step| state.runbook.find(step))
            && !matches!(event.fact, Fact::CursorSaved { .. } | Fact::AnalysisRead { .. })
        {
            self.progress.remove(&ix);
        }
        // That a step begins shows on the board.
        let text = if matches!(event.fact, Fact::StepStarted(_)) || is_end(&event.fact) {
            None
        } else {
            line(state, event)
        };
        if let Some(text) = text {
            let style = match &event.fact {
                Fact::StepFailed(_) => Style::new().red(),
                Fact::StepSucceeded(_) => Style::new().green(),
                Fact::RollbackBegan { .. } => Style::new().yellow(),
                Fact::MessageSent(_) => Style::new().dim(),
                _ => Style::new(),
            };
            let time = format!("{} ", event.at.to_utc().format("%H:%M:%S"));
            self.board.suspend(|| say_in_colours(&[(Style::new(), &time), (style, &text)]));
        }
        self.draw(state, event.at);
    }

    fn progress(&mut self, _: &RunState, step: StepIx, text: &str) {
        self.progress.insert(step, text.to_owned());
    }

    fn note(&mut self, text: &str) {
        self.board.suspend(|| say(format_args!("{text}")));
    }

    fn tick(&mut self, state: &RunState, now: Moment, outlook: &Outlook) {
        self.outlook = Some(*outlook);
        self.draw(state, now);
    }

    fn pause(&mut self) {
        self.board.set_draw_target(ProgressDrawTarget::hidden());
    }

    fn unpause(&mut self) {
        self.board.set_draw_target(ProgressDrawTarget::stderr());
        self.drawn = None;
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.board.finish_and_clear();
    }
}
