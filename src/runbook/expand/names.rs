//! Second pass: which outputs each step reads, and whether every name in its texts and conditions
//! is known.

use std::collections::BTreeMap;

use sha2::Digest as _;

use super::*;
use crate::runbook::action::{self, shapes};
use crate::runbook::names::Shape;
use crate::runbook::problem::suggest;
use crate::runbook::schema::{Code, Expression};

impl Builder<'_, '_, '_> {
    /// Second pass: which outputs each step reads, and whether every name in its texts and
    /// conditions is known.
    pub(super) fn references(&mut self, file: &File, locals: &Locals, scope: u32) {
        let parameters = self.parameter_shapes(scope);
        self.secrets_of_steps(file, locals, scope);
        let steps = Shape::Object(locals.keys().map(|name| (name.clone(), Shape::Any)).collect());
        for (name, local) in locals {
            let Some(hold) = file
                .raw
                .phases
                .get_index(local.phase)
                .and_then(|(_, phase)| phase.steps.get(name))
                .and_then(|raw| raw.hold.as_ref())
            else {
                continue;
            };
            match locals.get(&hold.until).map(|until| &until.source) {
                Some(Source::Step(until)) => {
                    for &ix in &local.steps {
                        if let Some(hold) = &mut self.steps[ix].hold {
                            hold.until = *until;
                        }
                        self.holds.push((ix, local.place));
                    }
                }
                Some(Source::Copies(_)) => self.report(
                    local.place,
                    format!(
                        "`{}` is repeated by for_each: hold until a step that stands once",
                        hold.until
                    ),
                    None,
                ),
                None => self.report(
                    local.place,
                    format!("hold: there is no step `{}`", hold.until),
                    suggest(&hold.until, locals.keys().map(String::as_str)),
                ),
            }
        }
        for expression in &file.expressions {
            let [first, phase, third, name, rest @ ..] = expression.path.as_slice() else {
                self.outside(expression, &parameters);
                continue;
            };
            if first != "phases" || third != "steps" {
                self.outside(expression, &parameters);
                continue;
            }
            let Some(local) = locals.get(name) else { continue };
            if file.raw.phases.get_index_of(phase) != Some(local.phase)
                || rest.first().is_some_and(|key| key == "for_each")
            {
                continue; // for_each was evaluated, which says more than its names
            }
            let capture_of_nested =
                rest.first().is_some_and(|key| key == "capture") && local.nested.is_some();
            let scope_shape = match (&local.nested, capture_of_nested) {
                (Some(inner), true) => {
                    let inner_steps = Shape::Object(
                        inner.keys().map(|name| (name.clone(), Shape::Any)).collect(),
                    );
                    let inner_scope = self.steps[local.steps[0]].scope;
                    step_scope(
                        &self.parameter_shapes(inner_scope),
                        inner_steps,
                        rest,
                        local.results,
                        false,
                    )
                }
                _ => {
                    step_scope(&parameters, steps.clone(), rest, local.results, is_repeated(local))
                }
            };
            self.hold_against(expression, &scope_shape);
            let names =
                if capture_of_nested { local.nested.as_ref().unwrap_or(locals) } else { locals };
            let references = match &expression.code {
                Code::Text(text) => text.references(),
                Code::Condition(condition) => condition.references(),
            };
            for reference in references {
                let [root, target, ..] = reference.as_slice() else {
                    if reference.first().is_some_and(|root| root == "steps") {
                        self.report(
                            expression.place,
                            "`steps` needs the name of a step behind it",
                            None,
                        );
                    }
                    continue;
                };
                if root == "steps"
                    && let Some(source) = names.get(target).map(|target| target.source.clone())
                {
                    self.read(local, rest, target, source, expression.place);
                }
            }
        }
    }

    /// Finds the steps that secrets come from, and who is to wait for them.
    pub(super) fn secrets_of_steps(&mut self, file: &File, locals: &Locals, scope: u32) {
        for (name, raw) in &file.raw.secrets {
            let Some(step) = &raw.step else { continue };
            let place =
                file.mark.get("secrets").and_then(|mark| mark.key(name)).unwrap_or(file.mark.place);
            let source = locals.get(step).map(|local| (&local.source, local.nested.is_some()));
            let is_command = |ix: &DraftIx| {
                self.steps[*ix].act(Direction::Forward).is_some_and(|act| act.action.is_a_command())
            };
            let ix = match source {
                Some((Source::Step(ix), false)) if is_command(ix) => *ix,
                Some(_) => {
                    self.report(
                        place,
                        format!(
                            "`{step}` can leave no secret: it is to be one command, and stand once"
                        ),
                        None,
                    );
                    continue;
                }
                None => {
                    let help = suggest(step, locals.keys().map(String::as_str));
                    self.report(
                        place,
                        format!("there is no step `{step}` for the secret `{name}` to come from"),
                        help,
                    );
                    continue;
                }
            };
            let id = self.steps[ix].id.clone();
            if let Some(Secret::Step { step, file }) =
                self.scopes[scope as usize].secrets.get_mut(name)
            {
                let folder =
                    data_encoding::HEXLOWER.encode(&sha2::Sha256::digest(id.as_bytes())[..16]);
                (*step, *file) = (id, format!("{folder}/{name}"));
            }
            if self.scopes[scope as usize].env.values().any(|value| value.secret() == Some(name)) {
                self.report(
                    place,
                    format!(
                        "`env` gives the secret `{name}` to every command, and so to `{step}`, \
                        which it comes from"
                    ),
                    None,
                );
            }
            for (user, found) in self.steps.with_ixs().filter(|(_, found)| found.scope == scope) {
                let own = user == ix;
                let uses = |direction| {
                    found.act(direction).is_some_and(|act| act.secrets().any(|used| used == name))
                };
                if !own && Direction::ALL.into_iter().any(uses) {
                    self.uses.push(Use {
                        user,
                        of: vec![ix],
                        name: step.clone(),
                        place: self.places[user],
                    });
                } else if own && uses(Direction::Forward) {
                    let message =
                        format!("`{step}` is given the secret `{name}`, which comes from it");
                    self.loading.report(place, message, None);
                }
            }
        }
    }

    /// Notes that a step (or its condition, or its nested runbook's arguments) reads another step's
    /// outputs.
    pub(super) fn read(
        &mut self,
        local: &Local,
        rest: &[String],
        target: &str,
        source: Source<DraftIx>,
        place: Place,
    ) {
        let targets: Vec<DraftIx> = match &source {
            Source::Step(ix) => vec![*ix],
            Source::Copies(copies) => copies.values().copied().collect(),
        };
        let add = |reads: &mut Vec<Read<DraftIx>>| {
            if !reads.iter().any(|read| read.name == target) {
                reads.push(Read { name: target.to_owned(), of: source.clone() });
            }
        };
        let key = rest.first().map(String::as_str);
        for &ix in &local.steps {
            let scope = self.steps[ix].scope;
            match key {
                Some("runbook") => add(&mut self.scopes[scope as usize].reads),
                // A nested runbook's condition stands on all its steps.
                Some("when") if local.nested.is_some() => {
                    let outer = self.scopes[scope as usize].parent.unwrap_or(0);
                    let id = self.steps[ix].id.clone();
                    let inside = format!("{id}/");
                    for step in self
                        .steps
                        .iter_mut()
                        .filter(|step| step.id == id || step.id.starts_with(&inside))
                    {
                        step.when
                            .iter_mut()
                            .filter(|when| when.scope == outer)
                            .for_each(|when| add(&mut when.reads));
                    }
                }
                Some("when") => {
                    self.steps[ix].when.last_mut().into_iter().for_each(|when| add(&mut when.reads))
                }
                _ => add(&mut self.steps[ix].reads),
            }
            if !targets.contains(&ix) {
                self.uses.push(Use {
                    user: ix,
                    of: targets.clone(),
                    name: target.to_owned(),
                    place,
                });
            }
        }
    }

    pub(super) fn outside(
        &mut self,
        expression: &Expression,
        parameters: &BTreeMap<String, Shape>,
    ) {
        // Defaults and environments were rendered, which says more than their names.
        if matches!(
            expression.path.first().map(String::as_str),
            Some("parameters" | "environments")
        ) {
            return;
        }
        let mut scope = parameters.clone();
        scope.insert("run".into(), run_shape());
        if matches!(
            expression.path.as_slice(),
            [first, _, last] if first == "guards" && matches!(last.as_str(), "success" | "failure")
        ) {
            scope.extend(shapes(action::OF_AN_ANALYSIS));
        }
        self.hold_against(expression, &Shape::Object(scope));
    }

    pub(super) fn hold_against(&mut self, expression: &Expression, scope: &Shape) {
        let unknown = match &expression.code {
            Code::Text(text) => text.check(scope),
            Code::Condition(condition) => condition.check(scope),
        };
        for unknown in unknown {
            self.report(expression.place, unknown.message, unknown.help);
        }
    }
}

/// What is known of the run itself.
pub fn run_shape() -> Shape {
    Shape::object(
        ["id", "name", "operator", "environment", "started"].map(|name| (name, Shape::Leaf)),
    )
}

/// The names that one key of a step may use.
pub(super) fn step_scope(
    parameters: &BTreeMap<String, Shape>,
    steps: Shape,
    rest: &[String],
    results: Results,
    repeated: bool,
) -> Shape {
    let mut scope = parameters.clone();
    scope.insert("steps".into(), steps);
    scope.insert("run".into(), run_shape());
    if repeated {
        scope.insert("item".into(), Shape::Any);
        scope.insert("key".into(), Shape::Leaf);
    }
    let keys: Vec<&str> = rest.iter().map(String::as_str).collect();
    let result = match keys.as_slice() {
        ["expect" | "capture", ..] => Some(results),
        ["probe", "done" | "not_done"]
        | ["wait", "until"]
        | ["copy", "throttle", "until"]
        | ["undo" | "hold" | "dry_run", .., "done" | "not_done" | "until"] => {
            Some(action::OF_A_READING)
        }
        ["shift", "analysis", _, "success" | "failure"] => Some(action::OF_AN_ANALYSIS),
        ["undo" | "hold" | "dry_run", .., "success" | "failure"] => Some(action::OF_AN_ANALYSIS),
        ["undo" | "hold" | "dry_run", .., "expect" | "capture"]
        | ["undo" | "hold" | "dry_run", .., "expect" | "capture", _] => Some(action::OF_A_READING),
        _ => None,
    };
    if let Some(results) = result {
        scope.extend(shapes(results));
    }
    if matches!(keys.first(), Some(&("undo" | "hold" | "expect" | "capture" | "probe"))) {
        scope.insert("outputs".into(), Shape::Any);
    }
    scope.insert("attempt".into(), Shape::Leaf);
    Shape::Object(scope)
}
