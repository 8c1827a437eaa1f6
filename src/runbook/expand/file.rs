//! A file's phases and steps, in the order in which they are written.

use std::rc::Rc;

use indexmap::IndexMap;

use super::*;
use crate::runbook::convert::text;
use crate::runbook::raw::RawPhase;
use crate::runbook::schema::id_error;

impl Builder<'_, '_, '_> {
    /// Adds a file's phases and steps; returns what waits for all of it, and its names.
    pub(super) fn file(&mut self, file: &Rc<File>, place: Place, around: Around) -> (Node, Locals) {
        let exit = self.graph.barrier("the end");
        if self.stack.contains(&file.path) {
            let mut chain: Vec<String> =
                self.stack.iter().map(|path| path.display().to_string()).collect();
            chain.push(file.path.display().to_string());
            self.report(place, format!("runbooks nest in a circle: {}", chain.join(" → ")), None);
            return (exit, Locals::new());
        }
        self.stack.push(file.path.clone());
        self.check_names(file);
        let marks = file.mark.get("phases");
        let (mut locals, mut bounds) = (Locals::new(), Vec::new());
        for (number, (id, phase)) in file.raw.phases.iter().enumerate() {
            let mark = marks.and_then(|marks| marks.entries().get(number));
            let phase_place = mark.map_or(file.mark.place, |mark| mark.1);
            if let Some(error) = id_error(id) {
                self.report(phase_place, error, None);
            }
            bounds.push((self.graph.barrier(id), self.graph.barrier(id)));
            let top = around.phase.unwrap_or_else(|| self.top_phase(file, id, phase, phase_place));
            let steps = mark.and_then(|mark| mark.2.get("steps"));
            for (at, (name, raw)) in phase.steps.iter().enumerate() {
                let entry = steps.and_then(|steps| steps.entries().get(at));
                let empty = Mark::default();
                let (step_place, step_mark) =
                    entry.map_or((phase_place, &empty), |entry| (entry.1, &entry.2));
                if let Some(error) = id_error(name) {
                    self.report(step_place, error, None);
                }
                let at = At {
                    file,
                    mark: step_mark,
                    place: step_place,
                    phase_id: id,
                    name,
                    number,
                    top,
                };
                if let Some(local) =
                    self.step(&at, raw, &around).or_else(|| self.stand_in(&at, &around))
                {
                    if let Some(first) = locals.get(name) {
                        let message = format!(
                            "the step `{name}` stands here a second time; the first is on line {}",
                            first.place.line
                        );
                        self.report(
                            step_place,
                            message,
                            Some(
                                "ids are unique in a runbook, so that a name always means one step"
                                    .into(),
                            ),
                        );
                    }
                    locals.insert(name.clone(), local);
                }
                if self.steps.len() > MAX_STEPS {
                    self.report(
                        step_place,
                        format!("the runbook has more than {MAX_STEPS} steps"),
                        None,
                    );
                    self.stack.pop();
                    return (exit, locals);
                }
            }
        }
        self.link(file, &around, &locals, &bounds, exit);
        self.references(file, &locals, around.scope);
        self.guards(file, &locals, &around);
        self.stack.pop();
        (exit, locals)
    }

    pub(super) fn top_phase(
        &mut self,
        file: &File,
        id: &str,
        phase: &RawPhase,
        place: Place,
    ) -> u32 {
        let mut messages = IndexMap::new();
        for (occasion, name) in [
            ("start", &phase.messages.start),
            ("success", &phase.messages.success),
            ("failure", &phase.messages.failure),
        ] {
            if let Some(name) = name {
                self.loading.template(name, place);
                messages.insert(occasion.to_owned(), name.clone());
            }
        }
        let needs = match &phase.needs {
            Some(needs) => needs
                .iter()
                .filter_map(|need| file.raw.phases.get_index_of(need))
                .map(|ix| ix as u32)
                .collect(),
            None => self.phases.len().checked_sub(1).into_iter().map(|ix| ix as u32).collect(),
        };
        self.phases.push(Phase {
            id: id.to_owned(),
            title: phase.title.as_deref().map(text),
            needs,
            messages,
        });
        self.phases.len() as u32 - 1
    }

    pub(super) fn check_names(&mut self, file: &File) {
        if let Some(error) = id_error(&file.raw.runbook) {
            self.report(file.mark.place_at(&["runbook"]), error, None);
        }
    }
}
