//! The act of a step, of its undo and of its dry run.

use indexmap::IndexMap;

use super::{Converter, condition, span};
use crate::runbook::action::{Inverse, Value};
use crate::runbook::model::{Act, DryRun, Retry, Undo};
use crate::runbook::raw::{DryRunWord, OneOrMany, RawAct, RawDryRun, RawUndo};
use crate::runbook::{Span, Text};

impl Converter<'_> {
    /// The act of a step, an undo or a release. `below` is the way from the step to it; `env` is
    /// what it inherits.
    pub fn act(
        &mut self,
        raw: &RawAct,
        below: &[&str],
        env: &IndexMap<String, Value<Text>>,
    ) -> Option<Act> {
        let mut action = self.action(&raw.action, below)?;
        self.keep(&mut action, raw.keep_output.as_deref(), below);
        let mut env = env.clone();
        env.extend(self.values(&raw.env, below, "env"));
        if let Some(own) = raw.action.env() {
            env.extend(self.values(own, below, "env"));
        }
        let idempotent = raw.idempotent.unwrap_or(action.facts().is_idempotent);
        if raw.retry.is_some() && !idempotent {
            let help = "say `idempotent: true` if doing it twice does no harm; without it, a \
                failed attempt may have had its effect";
            self.report(
                below,
                "retry",
                "a step that is not idempotent is never repeated by itself".into(),
                Some(help.into()),
            );
        }
        if raw.timeout.is_some() && action.is_for_a_person() {
            let help = "people are not stopped; the run waits, and `resolve` or `cancel` ends it";
            self.report(
                below,
                "timeout",
                "a task or an approval has no timeout".into(),
                Some(help.into()),
            );
        }
        let wait_timeout = raw.action.timeout();
        if wait_timeout.is_some() && raw.timeout.is_some() {
            let message = format!("the timeout stands here and under `{}`", action.kind());
            self.report(below, "timeout", message, Some("keep one of the two".into()));
        }
        let probe = raw.probe.as_ref().and_then(|probe| self.probe(probe, below));
        Some(Act {
            action,
            env,
            timeout: span(raw.timeout.as_deref().or(wait_timeout)),
            retry: raw.retry.as_ref().map(|retry| Retry {
                attempts: retry.attempts,
                backoff: span(retry.backoff.as_deref()).unwrap_or(Span::from_secs(1)),
                max_backoff: span(retry.max_backoff.as_deref()).unwrap_or(Span::from_secs(60)),
                jitter: retry.jitter.unwrap_or(0.1),
            }),
            idempotent,
            probe,
            expect: match &raw.expect {
                None => Vec::new(),
                Some(OneOrMany::One(one)) => vec![condition(one)],
                Some(OneOrMany::Many(many)) => many.iter().map(|one| condition(one)).collect(),
            },
            capture: raw
                .capture
                .iter()
                .map(|(name, source)| (name.clone(), condition(source)))
                .collect(),
        })
    }

    /// The undo of a step whose own act is `act`.
    pub fn undo(&mut self, raw: Option<&RawUndo>, act: &Act) -> Undo {
        match raw {
            Some(RawUndo::None(_)) => Undo::Nothing,
            Some(RawUndo::Act(raw)) => {
                // What a step leaves is gone once the run is over, and a run that is over can be
                // undone: only an undo that asks for it itself needs it.
                let is_passing =
                    |name: &str| self.secrets.get(name).is_some_and(|secret| secret.step.is_some());
                let lasting =
                    act.env.iter().filter(|(_, value)| !value.secret().is_some_and(is_passing));
                let env = lasting.map(|(name, value)| (name.clone(), value.clone())).collect();
                self.act(&raw.act, &["undo"], &env)
                    .map_or(Undo::Nothing, |act| Undo::Act(Box::new(act)))
            }
            None => match (act.action.facts().inverse, act.action.inverse()) {
                (Inverse::Nothing, _) => Undo::Nothing,
                // It knows what it found or wrote, and takes that back.
                (Inverse::BuiltIn, Some(action)) => Undo::Act(Box::new(Act {
                    action,
                    timeout: None,
                    expect: Vec::new(),
                    capture: IndexMap::new(),
                    probe: None,
                    ..act.clone()
                })),
                (Inverse::BuiltIn | Inverse::UpToTheAuthor, _) => Undo::Unknown,
            },
        }
    }

    /// What a dry run does in the place of a step whose own act is `act`.
    pub fn dry_run(&mut self, raw: Option<&RawDryRun>, act: &Act) -> DryRun {
        match raw {
            None => DryRun::Look,
            Some(RawDryRun::Word(DryRunWord::Same)) => {
                if !act.action.facts().dry_run.may_do_the_same {
                    let message = format!(
                        "a {} changes something or asks somebody, so a dry run cannot do the same",
                        act.action.kind()
                    );
                    self.report(
                        &[],
                        "dry_run",
                        message,
                        Some("leave it out: a dry run looks by itself".into()),
                    );
                }
                DryRun::Same
            }
            Some(RawDryRun::Word(DryRunWord::None)) => DryRun::Nothing,
            Some(RawDryRun::Act(raw)) => {
                let Some(own) = self.act(&raw.act, &["dry_run"], &act.env) else {
                    return DryRun::Look;
                };
                if !own.action.facts().can_be_a_reading {
                    let message = format!(
                        "what is done in a dry run may only read, and this is a {}",
                        own.action.kind()
                    );
                    self.report(
                        &["dry_run"],
                        own.action.kind(),
                        message,
                        Some("give it a query, a GET, or a command that changes nothing".into()),
                    );
                }
                DryRun::Act(Box::new(own))
            }
        }
    }
}
