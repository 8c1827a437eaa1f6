//! The guards of a file: what they read, and from which step to which.

use std::rc::Rc;

use super::*;
use crate::runbook::Guard;
use crate::runbook::convert::{Converter, span, text};
use crate::runbook::problem::suggest;
use crate::runbook::schema::id_error;
use crate::runbook::watch::RawGuard;

impl Builder<'_, '_, '_> {
    /// Second pass: every name in a file's guards is resolved.
    pub(super) fn guards(&mut self, file: &Rc<File>, locals: &Locals, around: &Around) {
        let empty = Mark::default();
        let marks = file.mark.get("guards").unwrap_or(&empty);
        for (name, raw) in &file.raw.guards {
            let place = marks.key(name).unwrap_or(file.mark.place);
            if let Some(error) = id_error(name) {
                self.report(place, error, None);
            }
            let mut problems = Vec::new();
            let mut converter = Converter {
                mark: marks,
                place,
                secrets: &file.raw.secrets,
                databases: &file.raw.databases,
                traffic: &file.raw.traffic,
                zones: &file.raw.zones,
                problems: &mut problems,
            };
            let analysis = converter.measure(&raw.measure, &format!("the guard `{name}`"), &[name]);
            self.loading.problems.extend(problems);
            let (from, until) = (
                self.guarded(raw, name, locals, marks, true),
                self.guarded(raw, name, locals, marks, false),
            );
            let is_nested = !around.prefix.is_empty();
            if is_nested && raw.from.is_none() {
                let help = "name the first step that it watches".to_owned();
                self.report(
                    place,
                    format!("the guard `{name}` of a nested runbook needs `from`"),
                    Some(help),
                );
            }
            let Some(analysis) = analysis else { continue };
            let name = format!("{}{name}", around.prefix);
            let guard = Guard {
                scope: around.scope,
                title: raw.title.as_deref().map(text),
                from,
                until,
                analysis: super::super::traffic::Analysis { name: name.clone(), ..analysis },
                name,
                lasting: span(raw.lasting.as_deref()).unwrap_or_default(),
                on_breach: raw.on_breach,
            };
            self.guards.push((guard, place));
        }
    }

    /// The step that `from` or `until` names, not yet in its final place.
    fn guarded(
        &mut self,
        raw: &RawGuard,
        guard: &str,
        locals: &Locals,
        marks: &Mark,
        is_from: bool,
    ) -> Option<DraftIx> {
        let (key, step) =
            if is_from { ("from", raw.from.as_ref()?) } else { ("until", raw.until.as_ref()?) };
        let place = marks.place_at(&[guard, key]);
        match locals.get(step) {
            None => {
                let help = suggest(step, locals.keys().map(String::as_str));
                self.report(place, format!("{key}: there is no step `{step}`"), help);
            }
            Some(local) if is_repeated(local) => {
                self.report(
                    place,
                    format!("`{step}` is repeated by for_each: name a step that stands once"),
                    None,
                );
            }
            Some(local) if is_from && local.nested.is_some() => {
                let help = "name the step before it, or let that runbook have a guard of its own"
                    .to_owned();
                self.report(
                    place,
                    format!("`{step}` runs a runbook, of which only the end can be named"),
                    Some(help),
                );
            }
            Some(local) => return local.steps.first().copied(),
        }
        None
    }
}
