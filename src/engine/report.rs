//! What threads, keepers, people and signals report while a session waits, and what files say of
//! how far something is: masked and read, it is what `drive` hears.

use std::time::{Duration, Instant};

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use super::running::{UNANSWERED, Watch};
use super::session::{EmptyLog, Session, random};
use crate::drive::{Answer, Input, Pair, Question};
use crate::effect::{EffectError, Reading, Said, Signal, Told, When};
use crate::journal::{AttemptFiles, JournalError};
use crate::run::{Log, Moment, Outlook};
use crate::runbook::{Direction, StepIx};

/// How often cursors and progress are looked at.
const LOOK: Duration = Duration::from_secs(1);
/// How often it is looked whether what this session does not watch has ended.
const AFAR: Duration = Duration::from_millis(50);
/// The same of what is in the way of an attempt.
const IN_THE_WAY: Duration = Duration::from_millis(200);
/// The longest cursor that is kept, in bytes.
const MAX_CURSOR: usize = 4096;

/// Everything that can come in.
pub(super) enum Report {
    Finished {
        ix: StepIx,
        direction: Direction,
        attempt: u32,
        result: Result<Reading, EffectError>,
    },
    Probed {
        ix: StepIx,
        direction: Direction,
        attempt: u32,
        result: Result<Reading, EffectError>,
    },
    Told {
        ix: StepIx,
        direction: Direction,
        attempt: u32,
        told: Told,
    },
    Answered {
        question: Box<Question>,
        answer: Answer,
    },
    /// A guard, by its number.
    Read {
        number: usize,
        said: Said,
    },
    Signal(i32),
    /// Ctrl-Z.
    Suspend,
}

pub(super) fn ended(
    ix: StepIx,
    direction: Direction,
    attempt: u32,
    is_probe: bool,
    result: Result<Reading, EffectError>,
) -> Report {
    match is_probe {
        true => Report::Probed { ix, direction, attempt, result },
        false => Report::Finished { ix, direction, attempt, result },
    }
}

impl Session<'_> {
    /// Waits for a report, or for this moment of the clock, and takes in all that has come.
    pub async fn wait(
        &mut self,
        until: Option<Moment>,
        receive: &mut mpsc::UnboundedReceiver<Report>,
    ) -> Result<(), JournalError> {
        let report = match self.longest_wait(until) {
            None => receive.recv().await,
            // That nothing came by then is what was to be known.
            Some(time) => tokio::time::timeout(time, receive.recv()).await.unwrap_or_default(),
        };
        let mut next = report;
        while let Some(report) = next {
            self.hear(report)?;
            next = receive.try_recv().ok();
        }
        self.look()
    }

    fn longest_wait(&self, until: Option<Moment>) -> Option<Duration> {
        let is_shown = !self.running.is_empty() || self.drive.is_asking();
        let look = is_shown.then(|| LOOK.saturating_sub(self.looked.elapsed()));
        let afar = (!self.afar().is_empty()).then_some(AFAR);
        let way = (!self.to_clear.is_empty()).then_some(IN_THE_WAY);
        let due = until.map(|until| self.until(until));
        [look, afar, way, due].into_iter().flatten().min()
    }

    fn hear(&mut self, report: Report) -> Result<(), JournalError> {
        match report {
            Report::Finished { ix, direction, attempt, result } => {
                if let Err(error) = &result
                    && error.when == When::Unknown
                    && let Some(running) = self.running.get_mut(&(ix, direction))
                {
                    running.watch = Watch::Nobody(error.clone());
                    // Its keeper may not have heard of it.
                    if running.killed.is_none() && running.is_ending {
                        let life = self.life((ix, direction), &crate::effect::processes());
                        crate::effect::signal_all(life.processes(), Signal::TERM);
                    }
                    self.see_from_afar();
                    return Ok(());
                }
                self.pass_on_told((ix, direction));
                if self.running.remove(&(ix, direction)).is_some() {
                    self.read_cursor((ix, direction));
                }
                self.pass_on_end(ix, direction, attempt, result);
            }
            Report::Told { ix, direction, attempt, told } => {
                self.told(ix, direction, attempt, told)
            }
            Report::Probed { ix, direction, attempt, result } => {
                self.running.remove(&(ix, direction));
                self.inputs.push(Input::Probed { ix, direction, attempt, result });
            }
            Report::Answered { question, answer } => {
                self.observer.unpause();
                self.inputs.push(Input::Answered { question, answer });
            }
            Report::Read { number, said } => {
                let Said { says, words, is_shut, secrets: _ } = said;
                let words = self.vault.mask(&words);
                self.inputs.push(Input::GuardRead { number, says, words, is_shut });
            }
            Report::Signal(number) => self.inputs.push(Input::Signal(number)),
            Report::Suspend => self.suspend(),
        }
        Ok(())
    }

    /// Tells how an attempt ended, with what it wrote.
    pub fn pass_on_end(
        &mut self,
        ix: StepIx,
        direction: Direction,
        attempt: u32,
        result: Result<Reading, EffectError>,
    ) {
        let is_look = direction == Direction::Forward && self.state().is_only_looked_at(ix);
        let result = match direction {
            Direction::Forward if !is_look => self.learn_from(ix, result),
            Direction::Forward | Direction::Undo | Direction::Release => result,
        };
        let act = self.state().runbook.step(ix).act(direction);
        let has_logs = act.is_some_and(|act| act.action.facts().has_logs);
        let files = self.files(ix, direction, attempt);
        let logs = match is_look || has_logs {
            true => self.logs((ix, direction), attempt, &files),
            false => Vec::new(),
        };
        let chance = (random() >> 11) as f64 / (1u64 << 53) as f64;
        self.inputs.push(Input::Ended { ix, direction, attempt, result, logs, chance });
    }

    /// What the attempt wrote. What is empty is removed when there is time.
    fn logs(&mut self, pair: Pair, attempt: u32, files: &AttemptFiles) -> Vec<Log> {
        let mut logs = Vec::new();
        for ending in ["out", "err"] {
            match files.log(ending) {
                Some(log) => logs.push(log),
                None => {
                    let path = files.path(ending);
                    self.empty_logs.push(EmptyLog { pair, attempt, path });
                }
            }
        }
        logs
    }

    /// What an action says while it runs.
    fn told(&mut self, ix: StepIx, direction: Direction, attempt: u32, told: Told) {
        match told {
            Told::Saw { what: seen, durable } => {
                let mut masked = seen.clone();
                self.vault.mask_json(&mut masked);
                if masked != seen {
                    // Masked it could not be restored, and as it is it may not be journaled:
                    // nothing is changed.
                    let note =
                        "has a secret in it, and so cannot be journaled; nothing was changed";
                    self.observer.note(&format!("what {} found {note}", self.id(ix)));
                    return;
                }
                self.found.push(durable);
                self.inputs.push(Input::Saw { ix, direction, attempt, seen });
            }
            Told::Cursor(cursor) => {
                if let Some(running) = self.running.get_mut(&(ix, direction)) {
                    running.cursor = Some(self.vault.mask(&cursor));
                }
            }
            Told::Reading { analysis, percent, says, words } => {
                let words = self.vault.mask(&words);
                self.inputs.push(Input::Analysed { ix, attempt, analysis, percent, says, words });
            }
            Told::Progress(words) => {
                let words = self.vault.mask(&words);
                self.observer.progress(self.drive.state(), ix, &words)
            }
        }
    }

    /// Looks at what nobody reports: what is not watched here, what is in the way, and once in a
    /// while cursors and progress.
    fn look(&mut self) -> Result<(), JournalError> {
        // Whoever stopped or froze the keeper must not put its commands out of reach.
        if self.running.values().any(|running| {
            matches!(running.watch, Watch::Here)
                && running.killed.is_some_and(|at| at.elapsed() > UNANSWERED)
        }) {
            self.observer
                .note("the process that watches the commands does not answer, and is killed");
            self.keeper.kill();
        }
        self.see_from_afar();
        self.clear();
        if self.looked.elapsed() < LOOK {
            return Ok(());
        }
        self.looked = Instant::now();
        let running: Vec<Pair> = self.running.keys().copied().collect();
        for pair in running {
            self.pass_on_told(pair);
            let act = self.state().runbook.step(pair.0).act(pair.1);
            let is_command = act.is_some_and(|act| act.action.is_a_command());
            if is_command && self.is_told(pair) {
                self.read_cursor(pair);
                if let Some(text) = self.last_line(pair, "progress") {
                    let text = self.vault.mask(&text);
                    self.observer.progress(self.drive.state(), pair.0, &text);
                }
            }
        }
        let now = super::now();
        let outlook = Outlook::of(self.state(), self.drive.expected(), now);
        self.observer.tick(self.drive.state(), now, &outlook);
        Ok(())
    }

    /// Passes on the last cursor that the last attempt wrote.
    pub fn read_cursor(&mut self, pair: Pair) {
        if let Some(cursor) = self.last_line(pair, "checkpoint") {
            let ((ix, direction), cursor) = (pair, self.vault.mask(&cursor));
            let attempt = self.state().attempts(ix, direction);
            self.inputs.push(Input::Cursor { ix, direction, attempt, cursor });
        }
    }

    /// Passes on how far an action says it is.
    fn pass_on_told(&mut self, pair: Pair) {
        let Some(running) = self.running.get_mut(&pair) else { return };
        let attempt = running.attempt;
        if let Some(cursor) = running.cursor.take() {
            let (ix, direction) = pair;
            self.inputs.push(Input::Cursor { ix, direction, attempt, cursor });
        }
    }

    /// The last whole line of a file that the running attempt writes.
    pub fn last_line(&self, (ix, direction): Pair, ending: &str) -> Option<String> {
        let attempt = self.state().attempts(ix, direction);
        let path = self.files(ix, direction, attempt).path(ending);
        let bytes = crate::effect::last_bytes(&path, MAX_CURSOR as u64 + 2).ok()?;
        let whole = &bytes[..=bytes.iter().rposition(|byte| *byte == b'\n')?];
        let text = String::from_utf8_lossy(whole);
        let line = text.lines().rfind(|line| !line.trim().is_empty())?.trim();
        (line.len() <= MAX_CURSOR).then(|| line.to_owned())
    }

    /// Listens to signals.
    pub fn listen(&self) {
        let suspend = SignalKind::from_raw(rustix::process::Signal::TSTP.as_raw());
        for kind in
            [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup(), suspend]
        {
            // `nohup` asks for this one to be ignored.
            if kind == SignalKind::hangup() && crate::effect::ignores(kind.as_raw_value()) {
                continue;
            }
            let Ok(mut signals) = signal(kind) else { continue };
            let send = self.send.clone();
            tokio::spawn(async move {
                while signals.recv().await.is_some() {
                    let report = if kind == suspend {
                        Report::Suspend
                    } else {
                        Report::Signal(kind.as_raw_value())
                    };
                    if send.send(report).is_err() {
                        break;
                    }
                }
            });
        }
    }
}
