//! A step that runs another runbook in its place.

use indexmap::IndexMap;

use super::*;
use crate::runbook::Condition;
use crate::runbook::action::Action;
use crate::runbook::convert::text;
use crate::runbook::raw::{RawNested, RawStep};

impl Builder<'_, '_, '_> {
    #[expect(clippy::too_many_arguments, reason = "one call site; a struct would only rename them")]
    pub(super) fn nested(
        &mut self,
        at: &At,
        raw: &RawStep,
        nested: &RawNested,
        around: &Around,
        path: &str,
        item: Option<Item>,
        group: Option<u32>,
        when: Vec<When<DraftIx>>,
    ) -> Option<Local> {
        const ALLOWED: &[&str] = &[
            "title",
            "description",
            "role",
            "needs",
            "when",
            "for_each",
            "estimate",
            "hints",
            "capture",
            "live_test",
            "runbook",
        ];
        for (key, place, _) in at.mark.entries() {
            if !ALLOWED.contains(&key.as_str()) {
                let help = Some(format!(
                    "put it on the steps of that runbook; here go {}",
                    ALLOWED.join(", ")
                ));
                self.report(
                    *place,
                    format!("a step that runs a runbook has no `{key}` of its own"),
                    help,
                );
            }
        }
        let empty = IndexMap::new();
        let (name, arguments) = match nested {
            RawNested::File(name) => (name, &empty),
            RawNested::Map(map) => (&map.file, &map.parameters),
        };
        let place = at.mark.key("runbook").unwrap_or(at.place);
        let inner_path = self.loading.relative(at.file, name);
        let inner = self.loading.file(&inner_path, Some(place))?;
        let known = self.known(around.scope, item.as_ref());
        let parameters = self.loading.arguments(&inner, place, arguments, &known);
        let scope = self.scope(&inner, Some(around.scope), parameters, Vec::new(), item);
        self.scopes[scope as usize].arguments.clone_from(arguments);
        let entry = self.graph.barrier(path);
        let guards = self.guards.len();
        let (inner_exit, locals) = self.file(
            &inner,
            place,
            Around {
                prefix: format!("{path}/"),
                scope,
                phase: Some(at.top),
                entry,
                when: when.clone(),
                live_test: raw.live_test.or(around.live_test),
            },
        );
        let ix = self.steps.next();
        // Its guards are over with it.
        for (guard, _) in &mut self.guards[guards..] {
            guard.until.get_or_insert(ix);
        }
        let node = self.graph.step(ix);
        self.graph.need(node, entry);
        self.graph.need(node, inner_exit);
        let capture = raw
            .act
            .capture
            .iter()
            .map(|(name, source)| (name.clone(), Condition::compile(source).unwrap_or_default()))
            .collect();
        let act = Act {
            action: Action::Join,
            env: IndexMap::new(),
            timeout: None,
            retry: None,
            idempotent: true,
            probe: None,
            expect: Vec::new(),
            capture,
        };
        let mut step = self.plain(at, raw, scope, path, act);
        // Its title belongs to the scope outside, its outputs to the one inside: the title is
        // rendered now.
        step.title =
            step.title.and_then(|title| title.render(&known).ok()).map(|title| text(&title));
        (step.description, step.hints) = (None, Vec::new());
        step.when = when;
        step.group = group;
        self.places.push(at.place);
        self.steps.push(step);
        Some(Local {
            entry,
            exit: node,
            source: Source::Step(ix),
            place: at.place,
            phase: at.number,
            steps: vec![ix],
            results: &[],
            nested: Some(locals),
        })
    }
}
