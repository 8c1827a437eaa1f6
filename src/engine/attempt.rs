//! The life of one attempt: its condition, its texts, its beginning, its result, its cursor.

use std::collections::BTreeMap;

use serde_json::Value as Json;

use super::messages::Letter;
use super::session::{Session, random};
use super::{Question, QuestionKind};
use crate::effect::{Cut, EffectError, Job, Over, Reading, View, When};
use crate::journal::{AttemptFiles, JournalError};
use crate::message;
use crate::run::*;
use crate::runbook::action::{Action, Content, Lasts, Notify, Value, in_words};
use crate::runbook::limit;
use crate::runbook::{
    Act, Condition, ConditionError, Direction, LiveTest, Outputs, Probe, Secret, Span, StepIx,
    Text, TextError, Undo,
};

/// An action to be begun once its event is durable.
pub(super) struct Launch {
    pub ix: StepIx,
    pub direction: Direction,
    pub attempt: u32,
    pub work: Work,
    pub timeout: Option<Span>,
}

pub(super) enum Work {
    Act(Box<Job>),
    Probe(Box<Job>),
}

impl Launch {
    /// Whether it may change anything, so that the anchor must vouch for its beginning.
    pub fn acts_outside(&self) -> bool {
        match &self.work {
            Work::Act(job) => !matches!(job.action.facts().lasts, Lasts::Exactly(_)),
            Work::Probe(_) => false,
        }
    }

    /// Whether a command is begun for it.
    pub fn is_command(&self) -> bool {
        let (Work::Act(job) | Work::Probe(job)) = &self.work;
        [Some(&job.action), job.probe.as_ref()].into_iter().flatten().any(Action::begins_commands)
    }
}

/// The longest cursor that is kept, in bytes.
const MAX_CURSOR: usize = 4096;
/// How many characters of a line of output a message shows.
const MAX_SHOWN: usize = 500;

impl Session<'_> {
    /// A step's turn has come.
    pub fn begin(&mut self, ix: StepIx, direction: Direction) -> Result<(), JournalError> {
        if direction == Direction::Forward && self.state.is_only_looked_at(ix) {
            return self.look_at(ix);
        }
        let runbook = std::sync::Arc::clone(&self.state.runbook);
        let step = runbook.step(ix);
        let attempt = self.state.attempts(ix, direction) + 1;
        // Asked until the step has really begun: a condition that could not be decided must not let
        // the next attempt through.
        if direction == Direction::Forward && !self.state.step(ix).touched {
            match self.passes_over(ix) {
                Ok(None) => {}
                Ok(Some(because)) => {
                    return self.record(Fact::StepSkipped { step: self.id(ix), because });
                }
                Err(error) => {
                    return self.fail_before(
                        ix,
                        direction,
                        attempt,
                        format!("its condition cannot be decided: {error}"),
                    );
                }
            }
        }
        let Some(act) = step.act(direction) else { return Ok(()) };
        if attempt > 1 {
            self.save_left_cursor(ix, direction)?;
        }
        let names =
            if needs_names(act) { names::of_step(&self.state, ix, direction) } else { Json::Null };
        let rendered = act
            .action
            .render(&names)
            .and_then(|action| Ok((action, render_env(&self.state, ix, act, &names)?)));
        let (mut action, env) = match rendered {
            Ok(rendered) => rendered,
            Err(error) => return self.fail_before(ix, direction, attempt, error.0),
        };
        if let Action::Notify(notify) = action {
            match self.written(ix, notify) {
                Ok(notify) => action = Action::Notify(notify),
                Err(error) => return self.fail_before(ix, direction, attempt, error.0),
            }
        }
        let key = self.state.idempotency_key(ix, direction);
        self.is_new(ix, attempt, &key)?;
        let started = StepStarted {
            step: self.id(ix),
            direction,
            attempt,
            key,
            action: Box::new(action.clone()),
            env: shown(&env),
        };
        self.record(Fact::StepStarted(started))?;
        match action {
            Action::Task(_) | Action::Approve(_) => Ok(()),
            Action::Join => {
                let reading =
                    Reading { is_good: true, summary: "done".into(), ..Reading::default() };
                self.finish(ix, direction, attempt, Ok(reading))
            }
            Action::Notify(Notify { content: Content::Words { subject, body }, to }) => {
                let message = message::Message { subject, body, to };
                self.letters.push(Letter { of: self.state.head, ix, direction, attempt, message });
                Ok(())
            }
            action => {
                // An undo of the author's own has found and reached nothing by what the way forward
                // did.
                let of = if action.takes_back() { Direction::Forward } else { direction };
                let job = Job {
                    timeout: act.timeout.map(Span::as_duration),
                    seen: self.state.seen(ix).filter(|_| of == Direction::Forward).cloned(),
                    reached: self.state.cursor(ix, of).map(str::to_owned),
                    names: if reads_conditions(&action) { names } else { Json::Null },
                    ..self.job(ix, direction, attempt, action, env)
                };
                self.launches.push(Launch {
                    ix,
                    direction,
                    attempt,
                    work: Work::Act(Box::new(job)),
                    timeout: act.timeout,
                });
                Ok(())
            }
        }
    }

    /// Whether no keeper has begun this attempt already: if one has, the journal lost what it had
    /// of it.
    fn is_new(&self, ix: StepIx, attempt: u32, key: &str) -> Result<(), JournalError> {
        if !self.left.has_begun(&crate::effect::Attempt { key: key.to_owned(), number: attempt }) {
            return Ok(());
        }
        let why = format!(
            "the record of its commands has attempt {attempt} of {}, which the journal does not \
             know: commits were lost, or an older copy was restored",
            self.id(ix)
        );
        Err(JournalError::Altered { run: self.head.run.clone(), why })
    }

    /// A message with its words.
    pub fn written(&self, ix: StepIx, notify: Notify<String>) -> Result<Notify<String>, TextError> {
        let Content::Template(name) = &notify.content else { return Ok(notify) };
        let about = message::About {
            phase: Some(self.state.runbook.step(ix).phase),
            step: Some(ix),
            reason: "",
        };
        let template = self.state.runbook.templates.get(name).cloned();
        let template = template.unwrap_or(crate::runbook::Template {
            subject: Text::default(),
            body: Text::default(),
        });
        let message = message::render(&template, &self.state, super::now(), about, notify.to)?;
        Ok(Notify {
            content: Content::Words { subject: message.subject, body: message.body },
            to: message.to,
        })
    }

    /// Why a step whose turn has come is not for this run, if one of its conditions says so.
    pub fn passes_over(&self, ix: StepIx) -> Result<Option<SkipReason>, ConditionError> {
        if self.state.started.purpose == Purpose::LiveTest
            && self.state.runbook.step(ix).live_test == Some(LiveTest::Skip)
        {
            return Ok(Some(SkipReason::LiveTest));
        }
        self.fails_of(self.state.runbook.step(ix).when.iter())
    }

    /// The first of these conditions that does not hold.
    pub fn fails_of<'w>(
        &self,
        all: impl Iterator<Item = &'w crate::runbook::When>,
    ) -> Result<Option<SkipReason>, ConditionError> {
        for when in all {
            if !when.condition.holds(&names::of_when(&self.state, when))? {
                return Ok(Some(SkipReason::Condition {
                    condition: when.condition.source().to_owned(),
                }));
            }
        }
        Ok(None)
    }

    /// Looks at an attempt in doubt; false if that look is under way.
    pub fn probe(&mut self, ix: StepIx, direction: Direction) -> Result<bool, JournalError> {
        let runbook = std::sync::Arc::clone(&self.state.runbook);
        let step = runbook.step(ix);
        let attempt = self.state.attempts(ix, direction);
        let Some((act, probe)) =
            step.act(direction).and_then(|act| Some((act, act.probe.as_ref()?)))
        else {
            return Ok(true);
        };
        if self.launches.iter().any(|launch| launch.ix == ix) || self.is_running(ix, direction) {
            return Ok(false);
        }
        let names = names::of_step(&self.state, ix, direction);
        match probe
            .action
            .render(&names)
            .and_then(|action| Ok((action, render_env(&self.state, ix, act, &names)?)))
        {
            Ok((action, env)) => {
                let timeout = act.timeout.or(Some(Span::from_secs(60)));
                let job = self.job(ix, direction, attempt, action, env);
                let own = format!("{}{attempt}-probe{}", direction.word(), self.state.head);
                let job = Job {
                    timeout: timeout.map(Span::as_duration),
                    attempt: None,
                    stem: job.stem.with_extension(own),
                    ..job
                };
                self.launches.push(Launch {
                    ix,
                    direction,
                    attempt,
                    work: Work::Probe(Box::new(job)),
                    timeout,
                });
                self.commit_probe()?;
                Ok(false)
            }
            Err(error) => {
                self.record(Fact::StepProbed {
                    step: self.id(ix),
                    direction,
                    attempt,
                    verdict: Probed::Unknown,
                    reading: error.0,
                })?;
                Ok(true)
            }
        }
    }

    pub fn probed(
        &mut self,
        ix: StepIx,
        direction: Direction,
        attempt: u32,
        result: Result<Reading, EffectError>,
    ) -> Result<(), JournalError> {
        let runbook = std::sync::Arc::clone(&self.state.runbook);
        let Some(probe) = runbook.step(ix).act(direction).and_then(|act| act.probe.as_ref()) else {
            return Ok(());
        };
        let (verdict, reading) = match result {
            Err(error) => (Probed::Unknown, error.message),
            Ok(reading) => self.tell_of_probe(ix, direction, probe, reading),
        };
        self.record(Fact::StepProbed { step: self.id(ix), direction, attempt, verdict, reading })
    }

    /// What a probe that was read says, and in which words.
    pub fn tell_of_probe(
        &self,
        ix: StepIx,
        direction: Direction,
        probe: &Probe,
        reading: Reading,
    ) -> (Probed, String) {
        let view = view(names::of_step(&self.state, ix, direction), &reading);
        match (view.holds(&probe.done), view.holds(&probe.not_done)) {
            (Ok(true), Ok(false)) => (Probed::Done, reading.summary),
            (Ok(false), Ok(true)) => (Probed::NotDone, reading.summary),
            (Ok(_), Ok(_)) => {
                (Probed::Unknown, format!("{}: it says both, or neither", reading.summary))
            }
            (Err(error), _) | (_, Err(error)) => (Probed::Unknown, error.0),
        }
    }

    /// An attempt of a step to be carried out that is the first of its kind, has all the time there
    /// is, and changes what it is to.
    pub fn job(
        &self,
        ix: StepIx,
        direction: Direction,
        attempt: u32,
        action: Action<String>,
        env: Env,
    ) -> Job {
        let key = self.state.idempotency_key(ix, direction);
        Job {
            action,
            env,
            secrets: self.state.runbook.scopes[self.state.runbook.step(ix).scope as usize]
                .secrets
                .clone(),
            context: self.context(ix, direction, attempt, &key),
            key,
            attempt: Some(attempt),
            timeout: None,
            stem: self.files(ix, direction, attempt).path_stem(),
            names: Json::Null,
            vault: self.vault.clone(),
            seen: None,
            reached: None,
            only_looks: false,
            probe: None,
        }
    }

    /// An action came to its end, or did not.
    pub fn finish(
        &mut self,
        ix: StepIx,
        direction: Direction,
        attempt: u32,
        result: Result<Reading, EffectError>,
    ) -> Result<(), JournalError> {
        if direction == Direction::Forward && self.state.is_only_looked_at(ix) {
            return self.looked_at(ix, attempt, result);
        }
        let runbook = std::sync::Arc::clone(&self.state.runbook);
        let Some(act) = runbook.step(ix).act(direction) else { return Ok(()) };
        let result =
            if direction == Direction::Forward { self.learn_from(ix, result) } else { result };
        let has_logs = act.action.facts().has_logs;
        let files = self.files(ix, direction, attempt);
        let logs: Vec<Log> = if has_logs { self.logs(&files) } else { Vec::new() };
        let stopping = match self.state.track(ix, direction) {
            Track::Running { stopping, .. } => *stopping,
            _ => None,
        };
        let (given, secrets) = result
            .as_ref()
            .map(|reading| (reading.outputs.clone(), reading.secrets.clone()))
            .unwrap_or_default();
        let judged = match (stopping, result) {
            (Some(reason), result) => {
                let ended = result.map_or_else(|error| error.message, |reading| reading.summary);
                Err(match reason {
                    StopReason::Timeout => {
                        let limit = act.timeout.unwrap_or_default();
                        Failure {
                            kind: FailureKind::TimedOut,
                            message: format!(
                                "it took longer than {limit} and was stopped ({ended})"
                            ),
                        }
                    }
                    StopReason::Breach => Failure {
                        kind: FailureKind::Failed,
                        message: format!("it was stopped because of a breach ({ended})"),
                    },
                    StopReason::Interrupt => Failure {
                        kind: FailureKind::Failed,
                        message: format!("it was interrupted ({ended})"),
                    },
                })
            }
            (None, Err(error)) => Err(Failure {
                kind: match error.when {
                    When::Before | When::Shut => FailureKind::BeforeEffect,
                    When::During => FailureKind::Failed,
                    When::Unknown => FailureKind::Lost,
                },
                message: error.message,
            }),
            (None, Ok(reading)) => {
                self.judge(ix, direction, act, &reading).map(|outputs| (outputs, reading.summary))
            }
        };
        let step = self.id(ix);
        if judged.is_err() {
            // What it left running may still hold its empty log, by which the next attempt knows of
            // it.
            self.empty_logs.clear();
        }
        match judged {
            Ok((outputs, result)) => self.record(Fact::StepSucceeded(StepSucceeded {
                step,
                direction,
                attempt,
                outputs,
                result,
                secrets,
                logs,
            })),
            Err(failure) => {
                let chance = (random() >> 11) as f64 / (1u64 << 53) as f64;
                let pause = if matches!(stopping, Some(StopReason::Interrupt | StopReason::Breach))
                {
                    None
                } else {
                    retry::pause(act, attempt, &failure, chance)
                };
                let retry_at = pause.map(|pause| Moment(self.clock().0 + pause.as_millis() as i64));
                self.record(Fact::StepFailed(StepFailed {
                    step,
                    direction,
                    attempt,
                    failure,
                    outputs: given,
                    retry_at,
                    secrets,
                    logs,
                }))
            }
        }
    }

    /// What an attempt gave whose end was recorded while no executor was there.
    pub fn recovered(
        &self,
        ix: StepIx,
        direction: Direction,
        attempt: u32,
        over: Over,
    ) -> Result<Reading, EffectError> {
        let act = self.state.runbook.step(ix).act(direction);
        let keep =
            act.and_then(
                |act| if let Action::Run(run) = &act.action { run.keep_output } else { None },
            );
        let reading = crate::effect::recovered(
            &self.files(ix, direction, attempt).path_stem(),
            over,
            keep,
            &self.vault,
        )?;
        Ok(Reading { summary: format!("{}, as was recorded", reading.summary), ..reading })
    }

    /// The secrets that a step is given, by name.
    pub fn secrets_of(&self, ix: StepIx, direction: Direction) -> Vec<(&str, &Secret)> {
        let runbook = &self.state.runbook;
        let scope = &runbook.scopes[runbook.step(ix).scope as usize];
        let own = runbook.step(ix).act(direction).into_iter().flat_map(|act| act.secrets());
        let names = scope.env.values().filter_map(Value::secret).chain(own);
        names.filter_map(|name| Some((name, scope.secrets.get(name)?))).collect()
    }

    /// What the attempt wrote. Most commands write nothing to one of the two; what is empty is
    /// removed when there is time.
    pub fn logs(&mut self, files: &AttemptFiles) -> Vec<Log> {
        let mut logs = Vec::new();
        for ending in ["out", "err"] {
            match files.log(ending) {
                Some(log) => logs.push(log),
                None => self.empty_logs.push(files.path(ending)),
            }
        }
        logs
    }

    /// Holds a result against what is expected of it, and takes the outputs from it.
    pub fn judge(
        &self,
        ix: StepIx,
        direction: Direction,
        act: &Act,
        reading: &Reading,
    ) -> Result<Outputs, Failure> {
        // An author who looks at the exit code or status decides alone what is good.
        let decides = |condition: &Condition| {
            condition
                .references()
                .iter()
                .any(|reference| reference == &["exit_code"] || reference == &["status"])
        };
        if !reading.is_good && !act.expect.iter().any(decides) {
            let words = ["stderr", "stdout", "body"]
                .iter()
                // The end of a beginning is not the end, and may be half a secret.
                .filter(|name| !matches!(reading.cut.get(**name), Some(Cut::End { .. })))
                .find_map(|name| {
                    reading
                        .names
                        .get(*name)
                        .and_then(Json::as_str)
                        .filter(|text| !text.trim().is_empty())
                });
            let last: Vec<&str> =
                words.unwrap_or_default().lines().filter(|line| !line.trim().is_empty()).collect();
            let shown: Vec<String> =
                last[last.len().saturating_sub(3)..].iter().map(|line| shortened(line)).collect();
            let tail = shown.join("\n");
            let message = if tail.is_empty() {
                reading.summary.clone()
            } else {
                format!("{}: {}", reading.summary, message::printable(&tail))
            };
            return Err(Failure { kind: FailureKind::Failed, message });
        }
        if act.expect.is_empty() && act.capture.is_empty() {
            return taken(reading.outputs.clone());
        }
        let mut outputs = reading.outputs.clone();
        let view = view(names::of_step(&self.state, ix, direction), reading);
        for condition in &act.expect {
            match view.holds(condition) {
                Ok(true) => {}
                Ok(false) => {
                    let message = format!(
                        "`{}` does not hold ({})",
                        condition.source(),
                        facts(condition, view.names(), reading)
                    );
                    return Err(Failure { kind: FailureKind::Unexpected, message });
                }
                Err(error) => {
                    return Err(Failure { kind: FailureKind::Unexpected, message: error.0 });
                }
            }
        }
        for (name, condition) in &act.capture {
            match view.evaluate(condition) {
                Ok(value) => drop(outputs.insert(name.clone(), value)),
                Err(error) => {
                    return Err(Failure {
                        kind: FailureKind::Unexpected,
                        message: format!("the output `{name}` cannot be taken: {error}"),
                    });
                }
            }
        }
        taken(outputs)
    }

    fn fail_before(
        &mut self,
        ix: StepIx,
        direction: Direction,
        attempt: u32,
        message: String,
    ) -> Result<(), JournalError> {
        let failure = Failure { kind: FailureKind::BeforeEffect, message };
        self.record(Fact::StepFailed(StepFailed {
            step: self.id(ix),
            direction,
            attempt,
            failure,
            outputs: Outputs::new(),
            retry_at: None,
            secrets: BTreeMap::new(),
            logs: Vec::new(),
        }))
    }

    /// Journals the last cursor that the last attempt wrote, if it is a new one.
    pub fn save_cursor(&mut self, ix: StepIx, direction: Direction) -> Result<(), JournalError> {
        // A look goes on from nowhere.
        if direction == Direction::Forward && self.state.is_only_looked_at(ix) {
            return Ok(());
        }
        let attempt = self.state.attempts(ix, direction);
        if self.state.is_past(ix, direction, attempt) {
            return Ok(());
        }
        let Some(cursor) = self.read_last_line(ix, direction, "checkpoint") else { return Ok(()) };
        let cursor = self.vault.mask(&cursor);
        if self.state.cursor(ix, direction) == Some(&cursor) {
            return Ok(());
        }
        self.record(Fact::CursorSaved { step: self.id(ix), direction, attempt, cursor })
    }

    /// Journals how far an action says it is, at most once a second.
    pub fn save_told(&mut self, ix: StepIx, direction: Direction) -> Result<(), JournalError> {
        let told = self
            .running
            .get_mut(&(ix, direction))
            .and_then(|running| Some((running.attempt, running.cursor.take()?)));
        let Some((attempt, cursor)) = told else { return Ok(()) };
        self.record(Fact::CursorSaved { step: self.id(ix), direction, attempt, cursor })
    }

    /// The same of an attempt that an earlier session began: with secrets, only if a keeper masked
    /// it at its end.
    fn save_left_cursor(&mut self, ix: StepIx, direction: Direction) -> Result<(), JournalError> {
        let attempt = crate::effect::Attempt {
            key: self.state.idempotency_key(ix, direction),
            number: self.state.attempts(ix, direction),
        };
        if self.secrets_of(ix, direction).is_empty() || self.left.end(&attempt).is_some() {
            self.save_cursor(ix, direction)?;
        }
        Ok(())
    }

    /// The last whole line of a file that the running attempt writes.
    pub fn read_last_line(&self, ix: StepIx, direction: Direction, ending: &str) -> Option<String> {
        let attempt = self.state.attempts(ix, direction);
        let bytes = crate::effect::last_bytes(
            &self.files(ix, direction, attempt).path(ending),
            MAX_CURSOR as u64 + 2,
        )
        .ok()?;
        let whole = &bytes[..=bytes.iter().rposition(|byte| *byte == b'\n')?];
        let text = String::from_utf8_lossy(whole);
        let line = text.lines().rfind(|line| !line.trim().is_empty())?.trim();
        (line.len() <= MAX_CURSOR).then(|| line.to_owned())
    }

    pub fn files(&self, ix: StepIx, direction: Direction, attempt: u32) -> AttemptFiles {
        self.journal.attempt_files(&self.state, ix, direction, attempt)
    }

    pub fn context(
        &self,
        ix: StepIx,
        direction: Direction,
        attempt: u32,
        key: &str,
    ) -> BTreeMap<&'static str, String> {
        let mut context = BTreeMap::from([
            ("SWITCHOVER_RUN", self.head.run.clone()),
            ("SWITCHOVER_STEP", self.state.runbook.step(ix).id.to_string()),
            ("SWITCHOVER_ATTEMPT", attempt.to_string()),
            ("SWITCHOVER_DIRECTION", direction.word().to_owned()),
            ("SWITCHOVER_IDEMPOTENCY_KEY", key.to_owned()),
        ]);
        context.extend(self.path_with_stand_ins());
        context.insert(
            "SWITCHOVER_RESUME_FROM",
            self.state.cursor(ix, direction).unwrap_or_default().to_owned(),
        );
        context
    }

    /// Where commands find programs, if some stand in for real ones.
    pub fn path_with_stand_ins(&self) -> Option<(&'static str, String)> {
        let stand_ins = self.state.runbook.stand_ins.as_ref()?;
        Some((
            "PATH",
            format!("{}:{}", stand_ins.folder.display(), std::env::var("PATH").unwrap_or_default()),
        ))
    }

    pub fn question(&self, ix: StepIx) -> Question {
        let step = self.state.runbook.step(ix);
        let waits = |direction: &Direction| {
            matches!(self.state.track(ix, *direction), Track::Waiting { .. })
        };
        // On the way back, what was asked going forward may be open still; it is not what is asked
        // now.
        let asked =
            [Direction::Undo, Direction::Release, Direction::Forward].into_iter().find(waits);
        let (waiting, direction) = (asked.is_some(), asked.unwrap_or(Direction::Forward));
        let names = names::of_step(&self.state, ix, direction);
        let render = |text: &Text| text.render(&names).unwrap_or_else(|_| text.source().to_owned());
        let (kind, action, fields) = match &step.act(direction).unwrap_or(&step.act).action {
            Action::Task(task) => {
                (QuestionKind::Task, render(&task.instructions), task.fields.clone())
            }
            Action::Approve(approve) => {
                (QuestionKind::Approve, render(&approve.question), Default::default())
            }
            action => (QuestionKind::Step, in_words(action, &names), Default::default()),
        };
        Question {
            kind: match waiting {
                true => kind,
                false if self.state.needs_confirmation(ix) => QuestionKind::Point,
                false => QuestionKind::Step,
            },
            direction,
            step: std::sync::Arc::clone(&step.id),
            title: step.title.as_ref().map(render).unwrap_or_default(),
            description: step.description.as_ref().map(render).unwrap_or_default(),
            role: step.role.clone().unwrap_or_default(),
            estimate: step.estimate,
            action,
            undo: match &step.undo {
                _ if direction != Direction::Forward => "this is the way back".to_owned(),
                Undo::Nothing => "there is nothing to undo".to_owned(),
                Undo::Unknown => "none: a rollback will stop here and ask".to_owned(),
                Undo::Act(act) => in_words(&act.action, &names),
            },
            fields,
        }
    }
}

/// Variables of a command, secrets by name.
pub(super) type Env = indexmap::IndexMap<String, Value<String>>;

/// The variables of a command as they are journaled.
pub(super) fn shown(env: &Env) -> BTreeMap<String, String> {
    let one = |(name, value): (&String, &Value<String>)| match value {
        Value::Text(text) => (name.clone(), text.clone()),
        Value::Secret { name: secret, .. } => (name.clone(), format!("(the secret {secret})")),
    };
    env.iter().map(one).collect()
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

fn needs_names(act: &Act) -> bool {
    act.action.texts().iter().any(|text| text.is_dynamic())
        || act.env.values().filter_map(Value::text).any(Text::is_dynamic)
        || reads_conditions(&act.action)
}

/// Whether it has conditions on readings of its own.
pub(super) fn reads_conditions<T>(action: &Action<T>) -> bool {
    action.facts().decides
}

/// The runbook's variables, then the act's own.
pub(super) fn render_env(
    state: &RunState,
    ix: StepIx,
    act: &Act,
    names: &Json,
) -> Result<Env, TextError> {
    let scope = &state.runbook.scopes[state.runbook.step(ix).scope as usize];
    if scope.env.is_empty() && act.env.is_empty() {
        return Ok(Default::default());
    }
    let owned;
    let names =
        if names.is_null() && scope.env.values().filter_map(Value::text).any(Text::is_dynamic) {
            owned = names::of_step(state, ix, Direction::Forward);
            &owned
        } else {
            names
        };
    scope
        .env
        .iter()
        .chain(&act.env)
        .map(|(name, value)| Ok((name.clone(), value.render(names)?)))
        .collect()
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
            let value = crate::runbook::action::look_up(names, reference)?.to_string();
            let short: String = value.chars().take(200).collect();
            Some(format!("{} is {}", reference.join("."), message::printable(&short)))
        })
        .collect();
    shown.dedup();
    if shown.is_empty() { reading.summary.clone() } else { shown.join(", ") }
}
