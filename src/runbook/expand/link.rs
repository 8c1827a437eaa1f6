//! Second pass: who waits for whom.

use super::*;
use crate::runbook::problem::suggest;

impl Builder<'_, '_, '_> {
    /// Second pass: who waits for whom.
    pub(super) fn link(
        &mut self,
        file: &File,
        around: &Around,
        locals: &Locals,
        bounds: &[(Node, Node)],
        exit: Node,
    ) {
        let marks = file.mark.get("phases");
        let mut has_follower = vec![false; locals.len()];
        for (number, (id, phase)) in file.raw.phases.iter().enumerate() {
            let (start, end) = bounds[number];
            let mark = marks.and_then(|marks| marks.get(id));
            self.graph.need(start, around.entry);
            self.graph.need(end, start);
            self.graph.need(exit, end);
            match &phase.needs {
                None if number > 0 => self.graph.need(start, bounds[number - 1].1),
                None => {}
                Some(needs) => {
                    for (index, need) in needs.iter().enumerate() {
                        match file.raw.phases.get_index_of(need) {
                            Some(other) => self.graph.need(start, bounds[other].1),
                            None => {
                                let place = mark
                                    .and_then(|mark| mark.get("needs"))
                                    .and_then(|list| list.items().get(index))
                                    .map_or(file.mark.place, |item| item.place);
                                self.report(
                                    place,
                                    format!("there is no phase `{need}`"),
                                    suggest(need, file.raw.phases.keys().map(String::as_str)),
                                );
                            }
                        }
                    }
                }
            }
            let mut above: Option<usize> = None;
            for (name, raw) in &phase.steps {
                let Some((index, _, local)) = locals.get_full(name) else { continue };
                let mut inside = false;
                match &raw.needs {
                    None => {
                        if let Some(above) = above {
                            self.graph.need(local.entry, locals[above].exit);
                            has_follower[above] = true;
                            inside = true;
                        }
                    }
                    Some(needs) => {
                        for (at, need) in needs.iter().enumerate() {
                            match locals
                                .get_full(need.strip_prefix(&format!("{id}/")).unwrap_or(need))
                            {
                                Some((other, _, needed)) => {
                                    self.graph.need(local.entry, needed.exit);
                                    if needed.phase == number {
                                        has_follower[other] = true;
                                        inside = true;
                                    }
                                }
                                None => {
                                    let place = mark
                                        .and_then(|mark| mark.get("steps"))
                                        .and_then(|mark| mark.get(name))
                                        .and_then(|mark| mark.get("needs"))
                                        .and_then(|list| list.items().get(at))
                                        .map_or(local.place, |item| item.place);
                                    self.report(
                                        place,
                                        format!("there is no step `{need}`"),
                                        suggest(need, locals.keys().map(String::as_str)),
                                    );
                                }
                            }
                        }
                    }
                }
                if !inside {
                    self.graph.need(local.entry, start);
                }
                above = Some(index);
            }
            for (index, (_, local)) in locals.iter().enumerate() {
                if local.phase == number && !has_follower[index] {
                    self.graph.need(end, local.exit);
                }
            }
        }
    }
}
