//! How an attempt begins: its condition, its texts, the fact that it began, the order to begin it;
//! and how one in doubt is looked at.

use std::collections::BTreeMap;
use std::sync::Arc;

use indexmap::IndexMap;
use serde_json::Value as Json;

use super::order::Due;
use super::{Delivery, Drive, Launch, Now, Work};
use crate::message::{self, About, Message};
use crate::run::{
    Fact, Failure, FailureKind, IllegalEvent, Moment, Probed, Purpose, RunState, SkipReason,
    StepFailed, StepStarted, names,
};
use crate::runbook::action::{Content, Notify, Value, Wait};
use crate::runbook::reading::Reading;
use crate::runbook::{
    Act, Action, ConditionError, Direction, LiveTest, Outputs, Span, StepIx, Template, Text,
    TextError, When,
};

/// How long a look at an attempt in doubt may take, if its step has no limit.
const PROBED: Span = Span::from_secs(60);

/// Variables of a command, secrets by name.
pub type Env = IndexMap<String, Value<String>>;

impl Drive {
    /// A step's turn has come.
    pub(super) fn begin_attempt(
        &mut self,
        now: Now,
        ix: StepIx,
        direction: Direction,
    ) -> Result<(), IllegalEvent> {
        let runbook = Arc::clone(&self.state.runbook);
        let attempt = self.state.attempts(ix, direction) + 1;
        // Asked until the step has really begun: a condition that could not be decided must not let
        // the next attempt through.
        if direction == Direction::Forward && !self.state.step(ix).touched {
            match self.passes_over(ix) {
                Ok(None) => {}
                Ok(Some(because)) => {
                    return self.record(now, Fact::StepSkipped { step: self.id(ix), because });
                }
                Err(error) => {
                    let why = format!("its condition cannot be decided: {error}");
                    return self.fail_before(now, ix, direction, attempt, why);
                }
            }
        }
        let Some(act) = runbook.step(ix).act(direction) else { return Ok(()) };
        if let Some((last, Some(cursor))) = self.cleared.remove(&(ix, direction)) {
            self.reached(now, ix, direction, last, cursor)?;
        }
        let names =
            if needs_names(act) { names::of_step(&self.state, ix, direction) } else { Json::Null };
        let (action, env) = match self.rendered(now, ix, act, &names) {
            Ok(rendered) => rendered,
            Err(error) => return self.fail_before(now, ix, direction, attempt, error.0),
        };
        let started = StepStarted {
            step: self.id(ix),
            direction,
            attempt,
            key: self.state.idempotency_key(ix, direction),
            action: Box::new(action.clone()),
            env: shown(&env),
        };
        self.record(now, Fact::StepStarted(started))?;
        match action {
            Action::Task(_) | Action::Approve(_) => Ok(()),
            Action::Join => {
                let done = Reading { is_good: true, summary: "done".into(), ..Reading::default() };
                self.finish(now, ix, direction, attempt, Ok(done), Vec::new(), 0.0)
            }
            Action::Notify(Notify { content: Content::Words { subject, body }, to }) => {
                let of = Due::Step { of: self.state.head, ix, direction, attempt };
                self.letters.push(Delivery { of, message: Message { subject, body, to } });
                Ok(())
            }
            action => {
                // An undo of the author's own has found and reached nothing by what the way forward
                // did.
                let of = if action.takes_back() { Direction::Forward } else { direction };
                let seen = self.state.seen(ix).filter(|_| of == Direction::Forward).cloned();
                let launch = Launch {
                    ix,
                    direction,
                    attempt,
                    work: Work::Act,
                    names: if reads_conditions(&action) { names } else { Json::Null },
                    action,
                    env,
                    timeout: act.timeout,
                    seen,
                    reached: self.state.cursor(ix, of).map(str::to_owned),
                };
                self.launch(now, launch);
                Ok(())
            }
        }
    }

    /// The action with its texts, and the message with its words.
    fn rendered(
        &self,
        now: Now,
        ix: StepIx,
        act: &Act,
        names: &Json,
    ) -> Result<(Action<String>, Env), TextError> {
        let action = act.action.render(names)?;
        let env = render_env(&self.state, ix, act, names)?;
        let action = match action {
            Action::Notify(notify) => Action::Notify(written(&self.state, now.wall, ix, notify)?),
            action => action,
        };
        Ok((action, env))
    }

    /// Why a step whose turn has come is not for this run, if one of its conditions says so.
    pub(super) fn passes_over(&self, ix: StepIx) -> Result<Option<SkipReason>, ConditionError> {
        let step = self.state.runbook.step(ix);
        if self.state.started.purpose == Purpose::LiveTest && step.live_test == Some(LiveTest::Skip)
        {
            return Ok(Some(SkipReason::LiveTest));
        }
        fails_of(&self.state, step.when.iter())
    }

    /// Looks at an attempt in doubt; false if that look is under way.
    pub(super) fn probe(
        &mut self,
        now: Now,
        ix: StepIx,
        direction: Direction,
    ) -> Result<bool, IllegalEvent> {
        let runbook = Arc::clone(&self.state.runbook);
        let attempt = self.state.attempts(ix, direction);
        let act = runbook.step(ix).act(direction);
        let Some((act, probe)) = act.and_then(|act| Some((act, act.probe.as_ref()?))) else {
            return Ok(true);
        };
        if self.running().any(|(running, _)| running == ix) {
            return Ok(false);
        }
        self.cleared.remove(&(ix, direction));
        let names = names::of_step(&self.state, ix, direction);
        let rendered = probe
            .action
            .render(&names)
            .and_then(|action| Ok((action, render_env(&self.state, ix, act, &names)?)));
        match rendered {
            Ok((action, env)) => {
                let launch = Launch {
                    ix,
                    direction,
                    attempt,
                    work: Work::Probe,
                    action,
                    env,
                    names: Json::Null,
                    timeout: act.timeout.or(Some(PROBED)),
                    seen: None,
                    reached: None,
                };
                self.launch(now, launch);
                Ok(false)
            }
            Err(error) => {
                let (step, verdict, reading) = (self.id(ix), Probed::Unknown, error.0);
                self.record(now, Fact::StepProbed { step, direction, attempt, verdict, reading })?;
                Ok(true)
            }
        }
    }

    fn fail_before(
        &mut self,
        now: Now,
        ix: StepIx,
        direction: Direction,
        attempt: u32,
        message: String,
    ) -> Result<(), IllegalEvent> {
        let failed = StepFailed {
            step: self.id(ix),
            direction,
            attempt,
            failure: Failure { kind: FailureKind::BeforeEffect, message },
            outputs: Outputs::new(),
            retry_at: None,
            secrets: BTreeMap::new(),
            logs: Vec::new(),
        };
        self.record(now, Fact::StepFailed(failed))
    }
}

/// The reason to skip a step that the first of these conditions is which does not hold.
///
/// # Errors
/// If one of them cannot be decided.
pub fn fails_of<'w>(
    state: &RunState,
    all: impl Iterator<Item = &'w When>,
) -> Result<Option<SkipReason>, ConditionError> {
    for when in all {
        if !when.condition.holds(&names::of_when(state, when))? {
            let condition = when.condition.source().to_owned();
            return Ok(Some(SkipReason::Condition { condition }));
        }
    }
    Ok(None)
}

/// A step's message with its words, at a moment.
///
/// # Errors
/// If its template cannot be rendered.
pub fn written(
    state: &RunState,
    at: Moment,
    ix: StepIx,
    notify: Notify<String>,
) -> Result<Notify<String>, TextError> {
    let Content::Template(name) = &notify.content else { return Ok(notify) };
    let about = About { phase: Some(state.runbook.step(ix).phase), step: Some(ix), reason: "" };
    let template = state.runbook.templates.get(name).cloned();
    let template = template.unwrap_or(Template { subject: Text::default(), body: Text::default() });
    let Message { subject, body, to } = message::render(&template, state, at, about, notify.to)?;
    Ok(Notify { content: Content::Words { subject, body }, to })
}

/// The variables of a command as they are journaled.
pub fn shown(env: &Env) -> BTreeMap<String, String> {
    let one = |(name, value): (&String, &Value<String>)| match value {
        Value::Text(text) => (name.clone(), text.clone()),
        Value::Secret { name: secret, .. } => (name.clone(), format!("(the secret {secret})")),
    };
    env.iter().map(one).collect()
}

/// The runbook's variables, then the act's own.
///
/// # Errors
/// If one of them cannot be rendered.
pub fn render_env(state: &RunState, ix: StepIx, act: &Act, names: &Json) -> Result<Env, TextError> {
    let scope = &state.runbook.scopes[state.runbook.step(ix).scope as usize];
    if scope.env.is_empty() && act.env.is_empty() {
        return Ok(Env::default());
    }
    let is_dynamic = scope.env.values().filter_map(Value::text).any(Text::is_dynamic);
    let own;
    let names = match names.is_null() && is_dynamic {
        true => {
            own = names::of_step(state, ix, Direction::Forward);
            &own
        }
        false => names,
    };
    let all = scope.env.iter().chain(&act.env);
    all.map(|(name, value)| Ok((name.clone(), value.render(names)?))).collect()
}

fn needs_names(act: &Act) -> bool {
    act.action.texts().iter().any(|text| text.is_dynamic())
        || act.env.values().filter_map(Value::text).any(Text::is_dynamic)
        || reads_conditions(&act.action)
}

/// Whether it has conditions on readings of its own.
pub fn reads_conditions<T>(action: &Action<T>) -> bool {
    match action {
        Action::Wait(Wait::Until { .. }) | Action::Shift(_) => true,
        Action::Copy(copy) => copy.throttle.is_some(),
        _ => false,
    }
}
