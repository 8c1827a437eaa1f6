//! A step, or the copies of it.

use indexmap::IndexMap;

use super::*;
use crate::runbook::Condition;
use crate::runbook::action::{self, RawAction, RawRun};
use crate::runbook::convert::{Converter, span, text};
use crate::runbook::raw::{RawAct, RawStep, RawUndo};

impl Builder<'_, '_, '_> {
    pub(super) fn step(&mut self, at: &At, raw: &RawStep, around: &Around) -> Option<Local> {
        let path = format!("{}{}/{}", around.prefix, at.phase_id, at.name);
        let items = match &raw.for_each {
            None => None,
            Some(each) => Some(self.items(at, each, around.scope)?),
        };
        let Some((items, max_parallel, max_failures)) = items else {
            return self.copy(at, raw, around, &path, None, None);
        };
        let group = self.groups.len() as u32;
        self.groups.push(Group { id: path.as_str().into(), max_parallel, max_failures });
        let (entry, exit) = (self.graph.barrier(&path), self.graph.barrier(&path));
        self.graph.need(exit, entry);
        let mut all = Local {
            entry,
            exit,
            source: Source::Copies(IndexMap::new()),
            place: at.place,
            phase: at.number,
            steps: Vec::new(),
            results: action::OF_A_COMMAND,
            nested: None,
        };
        // The steps of nested runbooks are in no group: a copy waits for the one so many places
        // before it.
        let most =
            max_parallel.filter(|_| raw.runbook.is_some()).map_or(usize::MAX, |most| most as usize);
        let mut exits = Vec::new();
        for item in items {
            let key = item.key.clone();
            let one =
                self.copy(at, raw, around, &format!("{path}[{key}]"), Some(item), Some(group))?;
            self.graph.need(one.entry, entry);
            if let Some(before) = exits.len().checked_sub(most).and_then(|at| exits.get(at)) {
                self.graph.need(one.entry, *before);
            }
            exits.push(one.exit);
            self.graph.need(exit, one.exit);
            if let (Source::Copies(copies), Source::Step(ix)) = (&mut all.source, one.source) {
                copies.insert(key, ix);
            }
            all.steps.extend(one.steps);
            all.results = one.results;
            all.nested = one.nested;
        }
        Some(all)
    }

    /// What stands for a step that is wrong, so that those who name it are not blamed. The runbook
    /// is refused in any case.
    pub(super) fn stand_in(&mut self, at: &At, around: &Around) -> Option<Local> {
        let act = RawAct {
            action: RawAction { run: Some(RawRun::Script(String::new())), ..RawAction::default() },
            ..RawAct::default()
        };
        let raw = RawStep { act, ..RawStep::default() };
        self.copy(
            at,
            &raw,
            around,
            &format!("{}{}/{}", around.prefix, at.phase_id, at.name),
            None,
            None,
        )
    }

    /// One step, or one copy of it.
    pub(super) fn copy(
        &mut self,
        at: &At,
        raw: &RawStep,
        around: &Around,
        path: &str,
        item: Option<Item>,
        group: Option<u32>,
    ) -> Option<Local> {
        let mut when = around.when.clone();
        if let Some(source) = &raw.when {
            when.push(When {
                scope: around.scope,
                item: item.clone(),
                reads: Vec::new(),
                condition: Condition::compile(source).unwrap_or_default(),
            });
        }
        match &raw.runbook {
            Some(nested) => self.nested(at, raw, nested, around, path, item, group, when),
            None => {
                let mut problems = Vec::new();
                let mut converter = Converter {
                    mark: at.mark,
                    place: at.place,
                    secrets: &at.file.raw.secrets,
                    databases: &at.file.raw.databases,
                    traffic: &at.file.raw.traffic,
                    zones: &at.file.raw.zones,
                    problems: &mut problems,
                };
                let act = converter.act(&raw.act, &[], &IndexMap::new());
                let undo = act
                    .as_ref()
                    .map(|act| converter.undo(raw.undo.as_ref(), act))
                    .unwrap_or_default();
                let dry_run = act
                    .as_ref()
                    .map(|act| converter.dry_run(raw.dry_run.as_ref(), act))
                    .unwrap_or_default();
                let known = self.known(around.scope, item.as_ref());
                let hold = match (&raw.hold, &act) {
                    (Some(hold), Some(act)) => {
                        converter.act(&hold.release.act, &["hold", "release"], &act.env)
                    }
                    _ => None,
                };
                self.loading.problems.extend(problems);
                let act = act?;
                for act in [
                    Some(&act),
                    hold.as_ref(),
                    if let Undo::Act(act) = &undo { Some(&**act) } else { None },
                ]
                .into_iter()
                .flatten()
                {
                    for name in act.action.parts().templates {
                        self.loading.template(name, at.place);
                    }
                }
                let results = act.action.facts().results;
                let ix = self.steps.next();
                let node = self.graph.step(ix);
                // The point up to which it holds is a name, resolved in the second pass.
                let hold = hold.map(|release| Hold {
                    until: ix,
                    estimate: times::of(
                        &release,
                        raw.hold.as_ref().and_then(|hold| hold.release.estimate.as_deref()),
                        &known,
                    ),
                    release: Box::new(release),
                });
                self.places.push(at.place);
                let live_test = raw.live_test.or(around.live_test);
                let estimate = times::of(&act, raw.estimate.as_deref(), &known);
                let undo_estimate = match (&undo, &raw.undo) {
                    (Undo::Act(undo), Some(RawUndo::Act(raw))) => {
                        times::of(undo, raw.estimate.as_deref(), &known)
                    }
                    _ => None,
                };
                let step = Step {
                    item,
                    group,
                    when,
                    undo,
                    hold,
                    dry_run,
                    live_test,
                    ..self.plain(at, raw, around.scope, path, act)
                };
                let step = Step { estimate, undo_estimate, ..step };
                self.loading.problems.extend(times::contradictions(&step, at.mark));
                self.steps.push(step);
                Some(Local {
                    entry: node,
                    exit: node,
                    source: Source::Step(ix),
                    place: at.place,
                    phase: at.number,
                    steps: vec![ix],
                    results,
                    nested: None,
                })
            }
        }
    }

    pub(super) fn plain(
        &self,
        at: &At,
        raw: &RawStep,
        scope: u32,
        path: &str,
        act: Act,
    ) -> Step<DraftIx> {
        Step {
            id: path.into(),
            line: at.place.line,
            file: at.file.name.clone(),
            phase: at.top,
            scope,
            needs: Vec::new(),
            reads: Vec::new(),
            when: Vec::new(),
            group: None,
            item: None,
            title: raw.title.as_deref().map(text),
            description: raw.description.as_deref().map(text),
            role: raw.role.clone(),
            hints: raw.hints.iter().map(|hint| text(hint)).collect(),
            estimate: span(raw.estimate.as_deref()),
            ruled_out: false,
            on_failure: raw.on_failure,
            downtime: raw.downtime,
            point_of_no_return: raw.point_of_no_return,
            act,
            undo: Undo::Nothing,
            undo_estimate: None,
            hold: None,
            dry_run: DryRun::Look,
            live_test: None,
        }
    }
}
