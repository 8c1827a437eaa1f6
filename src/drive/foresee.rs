//! A dry run: what only reads is done, what would change something is looked at as far as that can
//! be done without changing it, and each step says what it would do. Nothing is tried twice.

use std::sync::Arc;

use serde_json::Value as Json;

use super::attempt::{fails_of, render_env, shown, written};
use super::end::{judge, tell_of_probe};
use super::{Drive, Env, Launch, Now, Refused, Work, secrets_of};
use crate::message::printable;
use crate::run::{
    Fact, Foreseen, Log, Probed, StepForeseen, StepStarted, StepSucceeded, StopReason, Track,
};
use crate::runbook::action::{ByItself, Content, DoneBy, Lasts, Notify, Value, Wait, in_words};
use crate::runbook::reading::{EffectError, Reading, When};
use crate::runbook::{
    Act, Action, Condition, Direction, DryRun, Probe, Secret, Span, Step, StepIx, Text,
};

/// How many of the last lines of what a command said are shown.
const LINES: usize = 20;
/// The longest that a look may take which has no limit of its own.
const PATIENCE: Span = Span::from_secs(600);

/// What can be said of a step of a dry run without looking at what it is about.
#[derive(Debug, Clone, Default)]
pub struct Examined {
    /// Which commands that it needs besides its own could not be begun here, and why.
    pub unready: Option<String>,
    /// How fast it copied last time.
    pub rows_per_second: Option<f64>,
}

/// What is done in a step's place.
enum Look<'a> {
    /// The step itself: it only reads.
    Read(&'a Act),
    /// What its author wrote for this.
    Own(&'a Act),
    /// What the action can read of what it is about to change, and its probe, which says whether it
    /// has been done.
    Ahead(Option<&'a Probe>),
    Nothing,
}

impl Drive {
    /// A step's turn has come.
    pub(super) fn look_at(&mut self, now: Now, ix: StepIx) -> Result<(), Refused> {
        let runbook = Arc::clone(&self.state.runbook);
        let step = runbook.step(ix);
        match fails_of(
            &self.state,
            step.when.iter().filter(|when| self.state.undecided(when).is_none()),
        ) {
            Ok(None) => {}
            Ok(Some(because)) => {
                return self.record(now, Fact::StepSkipped { step: self.id(ix), because });
            }
            Err(error) => {
                return self.foresee(
                    now,
                    ix,
                    Foreseen::Refused,
                    format!("its condition cannot be decided: {error}"),
                );
            }
        }
        let look = look(step);
        let act = match look {
            Look::Own(own) => own,
            _ => &step.act,
        };
        let scope = &runbook.scopes[step.scope as usize];
        let env = scope.env.values().chain(act.env.values()).filter_map(Value::text);
        let probe =
            if let Look::Ahead(Some(probe)) = look { probe.action.texts() } else { Vec::new() };
        let texts =
            act.action.texts().into_iter().chain(env).chain(probe).flat_map(Text::references);
        let references: Vec<_> = texts
            .chain(conditions(act, &look).flat_map(|condition| condition.references()))
            .collect();
        let (names, unknown) = self.state.foreseen_names(ix, &references);
        let rendered = act
            .action
            .render(&names)
            .and_then(|action| Ok((action, render_env(&self.state, ix, act, &names)?)));
        let (action, env) = match rendered {
            Ok(rendered) => rendered,
            Err(_) if unknown.is_some() => {
                return self.foresee(now, ix, Foreseen::Would, in_words(&act.action, &names));
            }
            Err(error) => return self.foresee(now, ix, Foreseen::Refused, error.0),
        };
        let words = match action {
            Action::Join if unknown.is_some() => {
                "end the nested runbook, whose outputs are known then".to_owned()
            }
            Action::Join => return self.join(now, ix),
            Action::Task(task) => format!("ask {} to do: {}", whom(step), task.instructions),
            Action::Approve(approve) => {
                format!("ask {} for a go: {}", whom(step), approve.question)
            }
            Action::Notify(notify) => match written(&self.state, now.wall, ix, notify) {
                Ok(notify) => sent(&notify),
                Err(error) => {
                    return self.foresee(
                        now,
                        ix,
                        Foreseen::NotYet,
                        format!("the message cannot be written yet: {error}"),
                    );
                }
            },
            // A look brings forth no secret.
            action
                if unknown.is_some()
                    || matches!(look, Look::Nothing)
                    || self.needs_a_secret_of_a_step(ix) =>
            {
                action.in_words()
            }
            action => return self.begin_look(now, ix, &look, action, env, names),
        };
        self.foresee(now, ix, Foreseen::Would, words)
    }

    fn needs_a_secret_of_a_step(&self, ix: StepIx) -> bool {
        let mut secrets = secrets_of(&self.state, ix, Direction::Forward).into_iter();
        secrets.any(|(_, source)| matches!(source, Secret::Step { .. }))
    }

    /// Nothing is to be seen at the end of a nested runbook, but what it captures of its steps.
    fn join(&mut self, now: Now, ix: StepIx) -> Result<(), Refused> {
        let runbook = Arc::clone(&self.state.runbook);
        let (direction, attempt, action) = (
            Direction::Forward,
            self.state.attempts(ix, Direction::Forward) + 1,
            Box::new(Action::Join),
        );
        let good = Reading { is_good: true, summary: "done".to_owned(), ..Reading::default() };
        let outputs = match judge(&self.state, ix, direction, &runbook.step(ix).act, &good) {
            Ok(outputs) => outputs,
            Err(failure) => return self.foresee(now, ix, Foreseen::NotYet, failure.message),
        };
        let (key, env) = (self.state.idempotency_key(ix, direction), Default::default());
        self.record(
            now,
            Fact::StepStarted(StepStarted {
                step: self.id(ix),
                direction,
                attempt,
                key,
                action,
                env,
            }),
        )?;
        let (step, result, secrets, logs) =
            (self.id(ix), good.summary, Default::default(), Vec::new());
        self.record(
            now,
            Fact::StepSucceeded(StepSucceeded {
                step,
                direction,
                attempt,
                outputs,
                result,
                secrets,
                logs,
            }),
        )
    }

    fn begin_look(
        &mut self,
        now: Now,
        ix: StepIx,
        look: &Look,
        action: Action<String>,
        env: Env,
        names: Json,
    ) -> Result<(), Refused> {
        let (direction, attempt) =
            (Direction::Forward, self.state.attempts(ix, Direction::Forward) + 1);
        let key = self.state.idempotency_key(ix, direction);
        let probe = match look {
            Look::Ahead(Some(probe)) => match probe.action.render(&names) {
                Ok(action) => Some(Box::new(action)),
                Err(error) => return self.foresee(now, ix, Foreseen::Refused, error.0),
            },
            _ => None,
        };
        let timeout = match look {
            Look::Own(act) | Look::Read(act) => act.timeout,
            Look::Ahead(_) | Look::Nothing => None,
        };
        let timeout = Some(timeout.unwrap_or(PATIENCE));
        let started = StepStarted {
            step: self.id(ix),
            direction,
            attempt,
            key,
            action: Box::new(action.clone()),
            env: shown(&env),
        };
        self.record(now, Fact::StepStarted(started))?;
        let work = match look {
            Look::Ahead(_) => Work::LookAhead { probe },
            Look::Own(_) | Look::Read(_) | Look::Nothing => Work::Read,
        };
        let launch = Launch {
            ix,
            direction,
            attempt,
            work,
            names: if action.facts().decides { names } else { Json::Null },
            action,
            env,
            timeout,
            seen: None,
            reached: None,
        };
        self.launch(now, launch);
        Ok(())
    }

    /// A look came to its end.
    pub(super) fn looked_at(
        &mut self,
        now: Now,
        ix: StepIx,
        attempt: u32,
        result: Result<Reading, EffectError>,
        logs: Vec<Log>,
    ) -> Result<(), Refused> {
        let runbook = Arc::clone(&self.state.runbook);
        let step = runbook.step(ix);
        let stopping = match self.state.track(ix, Direction::Forward) {
            Track::Running { stopping, .. } => *stopping,
            _ => None,
        };
        let look = look(step);
        let found = match result {
            _ if stopping == Some(StopReason::Timeout) => {
                Err(EffectError::during("it took too long"))
            }
            _ if stopping.is_some() => {
                let words = "it was interrupted, and nothing is known of it".to_owned();
                return self.conclude(now, ix, attempt, Foreseen::NotYet, words, logs);
            }
            Err(error) => Err(error),
            Ok(reading) => match &look {
                Look::Read(act) => {
                    let secrets = reading.secrets.clone();
                    match judge(&self.state, ix, Direction::Forward, act, &reading) {
                        // Whether it is for this run at all is not known, nor then what it gives.
                        Ok(_)
                            if step
                                .when
                                .iter()
                                .any(|when| self.state.undecided(when).is_some()) =>
                        {
                            Ok(reading.summary)
                        }
                        Ok(_) if self.unready(ix).is_some() => Ok(reading.summary),
                        Ok(outputs) => {
                            let (step, result) = (self.id(ix), reading.summary);
                            let done = StepSucceeded {
                                step,
                                direction: Direction::Forward,
                                attempt,
                                outputs,
                                result,
                                secrets,
                                logs,
                            };
                            return self.record(now, Fact::StepSucceeded(done));
                        }
                        Err(failure) => Err(EffectError::during(failure.message)),
                    }
                }
                Look::Own(act) => match judge(&self.state, ix, Direction::Forward, act, &reading) {
                    Ok(_) => Ok(said(&reading)),
                    Err(failure) => Err(EffectError::during(failure.message)),
                },
                Look::Ahead(Some(probe)) => {
                    let words = reading.summary.clone();
                    let state = match tell_of_probe(
                        &self.state,
                        ix,
                        Direction::Forward,
                        probe,
                        reading,
                    )
                    .0
                    {
                        Probed::Done => "it is done already",
                        Probed::NotDone => "it is not done yet",
                        Probed::Unknown => "whether it is done cannot be told",
                    };
                    Ok(format!("{words}\n{state}"))
                }
                Look::Ahead(None) | Look::Nothing => Ok(match step.act.action.facts().lasts {
                    Lasts::ByRows => {
                        format!("{}\n  {}", reading.summary, self.how_long(ix, &reading))
                    }
                    Lasts::Exactly(_) | Lasts::AtLeast(_) | Lasts::Unsaid => reading.summary,
                }),
            },
        };
        let (verdict, words) = match found {
            Ok(words) => (Foreseen::Would, words),
            Err(error) => (self.refused(ix, &look, &error), error.message),
        };
        self.conclude(now, ix, attempt, verdict, words, logs)
    }

    /// What is not good now may be so by then, if something changes first: a server comes to be, a
    /// table is made. But no step brings a secret that is missing, and what names or divides
    /// traffic is there already, unless another step of its kind makes it otherwise.
    fn refused(&self, ix: StepIx, look: &Look, error: &EffectError) -> Foreseen {
        let runbook = &self.state.runbook;
        let kind = runbook.step(ix).act.action.kind();
        let is_first = || {
            let before = runbook.ancestors(ix);
            let is_alike =
                |other: &StepIx| before[*other] && runbook.step(*other).act.action.kind() == kind;
            matches!(kind, "dns" | "shift") && !runbook.ixs().any(|other| is_alike(&other))
        };
        let is_shut = error.when == When::Shut
            || matches!(look, Look::Ahead(_)) && error.when == When::Before && is_first();
        if is_shut || !self.state.is_after_a_change(ix) {
            Foreseen::Refused
        } else {
            Foreseen::NotYet
        }
    }

    /// How long a copy of so many rows takes at the rate of the last one.
    fn how_long(&self, ix: StepIx, reading: &Reading) -> String {
        let rows = reading.names.get("rows").and_then(Json::as_f64);
        let rate = self.examined.get(&ix).and_then(|examined| examined.rows_per_second);
        match rows.zip(rate) {
            Some((rows, rate)) => {
                let takes = Span::from_millis((rows / rate * 1000.0) as u64);
                format!("about {takes} at {rate:.0} rows a second, as last time")
            }
            None => "how long it takes is not known".to_owned(),
        }
    }

    fn unready(&self, ix: StepIx) -> Option<&str> {
        self.examined.get(&ix)?.unready.as_deref()
    }

    fn foresee(
        &mut self,
        now: Now,
        ix: StepIx,
        verdict: Foreseen,
        words: String,
    ) -> Result<(), Refused> {
        self.conclude(
            now,
            ix,
            self.state.attempts(ix, Direction::Forward) + 1,
            verdict,
            words,
            Vec::new(),
        )
    }

    fn conclude(
        &mut self,
        now: Now,
        ix: StepIx,
        attempt: u32,
        verdict: Foreseen,
        words: String,
        logs: Vec<Log>,
    ) -> Result<(), Refused> {
        let undecided = self
            .state
            .runbook
            .step(ix)
            .when
            .iter()
            .find_map(|when| Some((when, self.state.undecided(when)?)));
        let (verdict, words) = match self.unready(ix) {
            None => (verdict, words),
            Some(why) if verdict == Foreseen::Refused || !self.state.is_after_a_change(ix) => {
                (Foreseen::Refused, format!("{words}\n{why}"))
            }
            Some(why) => (Foreseen::NotYet, format!("{words}\n{why}")),
        };
        let (verdict, words) = match (undecided, verdict) {
            // Whether it is for this run at all is not known.
            (Some((when, after)), verdict) => {
                let verdict = if verdict == Foreseen::Refused { Foreseen::NotYet } else { verdict };
                (verdict, format!("if {} (known after {after}): {words}", when.condition.source()))
            }
            (None, verdict) => (verdict, words),
        };
        self.record(
            now,
            Fact::StepForeseen(StepForeseen {
                step: self.id(ix),
                attempt,
                verdict,
                words: printable(&words),
                logs,
            }),
        )
    }
}

fn look(step: &Step) -> Look<'_> {
    match &step.dry_run {
        DryRun::Act(own) => Look::Own(own),
        DryRun::Same => Look::Read(&step.act),
        DryRun::Nothing => Look::Nothing,
        DryRun::Look => match step.act.action.facts().dry_run.by_itself {
            ByItself::CarriesOut => Look::Read(&step.act),
            ByItself::Looks => Look::Ahead(None),
            ByItself::LooksAndProbes => Look::Ahead(step.act.probe.as_ref()),
        },
    }
}

/// The conditions that a look decides.
fn conditions<'a>(act: &'a Act, look: &Look<'a>) -> impl Iterator<Item = &'a Condition> {
    let judged =
        matches!(look, Look::Read(_) | Look::Own(_)) || act.action.done_by() == DoneBy::Nobody;
    let of_probe = if let Look::Ahead(Some(probe)) = look {
        vec![&probe.done, &probe.not_done]
    } else {
        Vec::new()
    };
    let until =
        if let Action::Wait(Wait::Until { until, .. }) = &act.action { Some(until) } else { None };
    act.expect
        .iter()
        .chain(act.capture.values())
        .filter(move |_| judged)
        .chain(of_probe)
        .chain(until)
}

fn whom(step: &Step) -> &str {
    step.role.as_deref().unwrap_or("a person")
}

/// A message as it would be sent.
fn sent(notify: &Notify<String>) -> String {
    let to = if notify.to.is_empty() { "the outbox".to_owned() } else { notify.to.join(", ") };
    match &notify.content {
        Content::Words { subject, body } => format!("send to {to}: {subject}\n{body}"),
        Content::Template(name) => format!("send to {to} the message {name}"),
    }
}

/// What a look said, from its end.
fn said(reading: &Reading) -> String {
    let text = reading.names.get("stdout").and_then(Json::as_str).unwrap_or_default();
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    let last = lines[lines.len().saturating_sub(LINES)..].join("\n");
    if last.is_empty() { reading.summary.clone() } else { last }
}
