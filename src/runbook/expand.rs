//! Raw files to the flat graph: phases, `needs`, `for_each` copies and nested runbooks become steps
//! that need steps. Two passes over each file: first every step gets its nodes, then every name is
//! resolved.

mod budgets;
mod conditions;
mod guards;
mod times;

use sha2::Digest as _;
use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::rc::Rc;

use indexmap::IndexMap;
use serde_json::Value as Json;

use super::action::{self, Action, Argument, RawAction, RawRun, Results, look_up, shapes};
use super::convert::{Converter, span, text};
use super::graph::{Graph, Node};
use super::load::{File, Loading};
use super::model::*;
use super::names::Shape;
use super::problem::{Place, Problem, suggest};
use super::raw::*;
use super::schema::{Code, Expression, id_error};
use super::sides::LiveTest;
use super::source::Mark;
use super::{Condition, Guard, StepMap};

/// Names in scope that are not parameters.
pub const RESERVED: &[&str] =
    &["steps", "run", "item", "key", "outputs", "attempt", "true", "false", "null", "in"];
/// The most steps of an expanded runbook.
const MAX_STEPS: usize = 250_000;

/// Expands the top file. `None` if a problem made it impossible; the problems are in `loading`.
pub fn expand(
    loading: &mut Loading,
    file: &Rc<File>,
    parameters: IndexMap<String, Parameter>,
) -> Option<Runbook> {
    let mut builder = Builder {
        loading,
        graph: Graph::default(),
        steps: Vec::new(),
        places: Vec::new(),
        scopes: Vec::new(),
        groups: Vec::new(),
        phases: Vec::new(),
        uses: Vec::new(),
        holds: Vec::new(),
        guards: Vec::new(),
        stack: Vec::new(),
    };
    let scope = builder.scope(file, None, parameters, Vec::new(), None);
    let entry = builder.graph.barrier("the start");
    builder.file(
        file,
        Place::default(),
        Around {
            prefix: String::new(),
            scope,
            phase: None,
            entry,
            when: Vec::new(),
            live_test: None,
        },
    );
    builder.finish(file)
}

/// What surrounds the steps of a file.
struct Around {
    prefix: String,
    scope: u32,
    /// The top-level phase they belong to; `None` in the top file itself.
    phase: Option<u32>,
    entry: Node,
    when: Vec<When>,
    /// What a live test does with steps that do not say it themselves.
    live_test: Option<LiveTest>,
}

/// What a step's name stands for in its file.
struct Local {
    /// What waits before it, and what others wait for.
    entry: Node,
    exit: Node,
    source: Source,
    place: Place,
    phase: usize,
    /// All its nodes that are steps; for a nested runbook only the one at its end.
    steps: Vec<usize>,
    /// The names of its result.
    results: Results,
    nested: Option<Locals>,
}

type Locals = IndexMap<String, Local>;

struct Builder<'a, 'b, 'c> {
    loading: &'a mut Loading<'b, 'c>,
    graph: Graph,
    steps: Vec<Step>,
    /// Where each step stands.
    places: Vec<Place>,
    scopes: Vec<Scope>,
    groups: Vec<Group>,
    phases: Vec<Phase>,
    /// Who reads whose outputs, and where it says so: checked once the order is known.
    uses: Vec<(usize, Vec<StepIx>, String, Place)>,
    holds: Vec<(usize, Place)>,
    /// Each with the place of its name.
    guards: Vec<(Guard, Place)>,
    stack: Vec<PathBuf>,
}

impl Builder<'_, '_, '_> {
    fn report(&mut self, place: Place, message: impl Into<String>, help: Option<String>) {
        self.loading.report(place, message, help);
    }

    fn scope(
        &mut self,
        file: &File,
        parent: Option<u32>,
        parameters: IndexMap<String, Parameter>,
        reads: Vec<Read>,
        item: Option<Item>,
    ) -> u32 {
        let secrets = self.secrets(file);
        let mut problems = Vec::new();
        let mut converter = Converter {
            mark: &file.mark,
            place: file.mark.place,
            secrets: &file.raw.secrets,
            databases: &file.raw.databases,
            traffic: &file.raw.traffic,
            zones: &file.raw.zones,
            problems: &mut problems,
        };
        let env = converter.values(&file.raw.env, &[], "env");
        self.loading.problems.extend(problems);
        self.scopes.push(Scope {
            parent,
            parameters,
            secrets,
            env,
            reads,
            item,
            arguments: IndexMap::new(),
        });
        self.scopes.len() as u32 - 1
    }

    fn secrets(&mut self, file: &File) -> IndexMap<String, Secret> {
        let mut secrets = IndexMap::new();
        for (name, raw) in &file.raw.secrets {
            let place =
                file.mark.get("secrets").and_then(|mark| mark.key(name)).unwrap_or(file.mark.place);
            if let Some(error) = id_error(name) {
                self.report(place, error, None);
            }
            let secret = match (&raw.env, &raw.file, &raw.command, &raw.step) {
                (Some(env), ..) => Secret::Env(env.clone()),
                (_, Some(path), ..) => Secret::File(path.clone()),
                (.., Some(command), _) => Secret::Command(command.clone()),
                // Its full name is known when all steps are.
                (.., Some(step)) => {
                    Secret::Step { step: step.as_str().into(), file: String::new() }
                }
                _ => continue,
            };
            secrets.insert(name.clone(), secret);
        }
        secrets
    }

    /// Adds a file's phases and steps; returns what waits for all of it, and its names.
    fn file(&mut self, file: &Rc<File>, place: Place, around: Around) -> (Node, Locals) {
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

    fn top_phase(&mut self, file: &File, id: &str, phase: &RawPhase, place: Place) -> u32 {
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

    fn step(&mut self, at: &At, raw: &RawStep, around: &Around) -> Option<Local> {
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
    fn stand_in(&mut self, at: &At, around: &Around) -> Option<Local> {
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
    fn copy(
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
                let ix = self.steps.len();
                let node = self.graph.step(ix);
                // The point up to which it holds is a name, resolved in the second pass.
                let hold = hold.map(|release| Hold {
                    until: StepIx(ix as u32),
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
                    source: Source::Step(StepIx(ix as u32)),
                    place: at.place,
                    phase: at.number,
                    steps: vec![ix],
                    results,
                    nested: None,
                })
            }
        }
    }

    fn plain(&self, at: &At, raw: &RawStep, scope: u32, path: &str, act: Act) -> Step {
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

    #[expect(clippy::too_many_arguments, reason = "one call site; a struct would only rename them")]
    fn nested(
        &mut self,
        at: &At,
        raw: &RawStep,
        nested: &RawNested,
        around: &Around,
        path: &str,
        item: Option<Item>,
        group: Option<u32>,
        when: Vec<When>,
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
        let ix = self.steps.len();
        // Its guards are over with it.
        for (guard, _) in &mut self.guards[guards..] {
            guard.until.get_or_insert(StepIx(ix as u32));
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
            source: Source::Step(StepIx(ix as u32)),
            place: at.place,
            phase: at.number,
            steps: vec![ix],
            results: &[],
            nested: Some(locals),
        })
    }

    /// The names of a scope whose values are known before the run.
    fn known(&self, scope: u32, item: Option<&Item>) -> Json {
        known_in(&self.scopes, scope, item)
    }

    fn items(
        &mut self,
        at: &At,
        each: &RawForEach,
        scope: u32,
    ) -> Option<(Vec<Item>, Option<u32>, u32)> {
        let known = self.known(scope, None);
        let place = at.mark.place_at(&["for_each"]);
        let expression = |source: &str| {
            let condition = Condition::compile(source).map_err(|error| error.0)?;
            // A name that stands alone keeps its order, which an expression's value does not have:
            // then names are put in theirs.
            if let [path] = condition.references().as_slice()
                && path.join(".") == source.trim()
                && let Some(value) = look_up(&known, path)
            {
                return Ok(value.clone());
            }
            let mut value = condition.evaluate(&known).map_err(|error| error.0)?;
            value.sort_all_objects();
            if let Json::Array(items) = &mut value {
                put_in_order(
                    items,
                    condition.references().iter().filter_map(|path| look_up(&known, path)),
                );
            }
            Ok(value)
        };
        let literal = |json: Json| {
            Argument::from_json(&json)
                .and_then(|argument| argument.value(&known))
                .map_err(|error| error.0)
        };
        let (value, max_parallel, max_failures) = match each {
            RawForEach::Items(items) => (literal(Json::Array(items.clone())), None, 0),
            RawForEach::Expression(source) => (expression(source), None, 0),
            RawForEach::Limited(limited) => {
                let value = match &limited.over {
                    RawItems::List(items) => literal(Json::Array(items.clone())),
                    RawItems::Map(map) => literal(Json::Object(map.clone().into_iter().collect())),
                    RawItems::Expression(source) => expression(source),
                };
                (value, limited.max_parallel, limited.max_failures)
            }
        };
        let items = match value {
            Ok(Json::Array(items)) => list_items(items),
            Ok(Json::Object(map)) => {
                map.into_iter().map(|(key, value)| Item { key, value }).collect()
            }
            Ok(other) => {
                self.report(place, format!("for_each needs a list or a map, not {other}"), None);
                return None;
            }
            Err(error) => {
                let help = "what it repeats over must be known before the run: parameters and \
                    literals, no outputs of steps"
                    .to_owned();
                self.report(place, format!("for_each: {error}"), Some(help));
                return None;
            }
        };
        if let Some(item) = items.iter().find(|item| item.key.contains(char::is_control)) {
            self.report(
                place,
                format!(
                    "for_each: the key {:?} has control characters, and is part of a name",
                    item.key
                ),
                None,
            );
            return None;
        }
        Some((items, max_parallel, max_failures))
    }

    /// Second pass: who waits for whom.
    fn link(
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

    /// Second pass: which outputs each step reads, and whether every name in its texts and
    /// conditions is known.
    fn references(&mut self, file: &File, locals: &Locals, scope: u32) {
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
    fn secrets_of_steps(&mut self, file: &File, locals: &Locals, scope: u32) {
        for (name, raw) in &file.raw.secrets {
            let Some(step) = &raw.step else { continue };
            let place =
                file.mark.get("secrets").and_then(|mark| mark.key(name)).unwrap_or(file.mark.place);
            let source = locals.get(step).map(|local| (&local.source, local.nested.is_some()));
            let is_command = |ix: &StepIx| {
                self.steps[ix.0 as usize]
                    .act(Direction::Forward)
                    .is_some_and(|act| act.action.is_a_command())
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
            let id = self.steps[ix.0 as usize].id.clone();
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
            for (user, found) in
                self.steps.iter().enumerate().filter(|(_, found)| found.scope == scope)
            {
                let own = StepIx(user as u32) == ix;
                let uses = |direction| {
                    found.act(direction).is_some_and(|act| act.secrets().any(|used| used == name))
                };
                if !own && Direction::ALL.into_iter().any(uses) {
                    self.uses.push((user, vec![ix], step.clone(), self.places[user]));
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
    fn read(&mut self, local: &Local, rest: &[String], target: &str, source: Source, place: Place) {
        let targets: Vec<StepIx> = match &source {
            Source::Step(ix) => vec![*ix],
            Source::Copies(copies) => copies.values().copied().collect(),
        };
        let add = |reads: &mut Vec<Read>| {
            if !reads.iter().any(|read| read.name == target) {
                reads.push(Read { name: target.to_owned(), of: source.clone() });
            }
        };
        let key = rest.first().map(String::as_str);
        for &ix in &local.steps {
            let (scope, own) = (self.steps[ix].scope, StepIx(ix as u32));
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
            if !targets.contains(&own) {
                self.uses.push((ix, targets.clone(), target.to_owned(), place));
            }
        }
    }

    fn outside(&mut self, expression: &Expression, parameters: &BTreeMap<String, Shape>) {
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

    fn hold_against(&mut self, expression: &Expression, scope: &Shape) {
        let unknown = match &expression.code {
            Code::Text(text) => text.check(scope),
            Code::Condition(condition) => condition.check(scope),
        };
        for unknown in unknown {
            self.report(expression.place, unknown.message, unknown.help);
        }
    }

    fn parameter_shapes(&self, scope: u32) -> BTreeMap<String, Shape> {
        let shape = |parameter: &Parameter| match parameter.kind.kind {
            ParameterKind::List => Shape::List(Box::new(Shape::Any)),
            ParameterKind::Map => Shape::Any,
            _ => Shape::Leaf,
        };
        self.scopes[scope as usize]
            .parameters
            .iter()
            .map(|(name, parameter)| (name.clone(), shape(parameter)))
            .collect()
    }

    fn check_names(&mut self, file: &File) {
        if let Some(error) = id_error(&file.raw.runbook) {
            self.report(file.mark.place_at(&["runbook"]), error, None);
        }
    }

    /// Orders the steps, resolves barriers, and makes the last checks that need the order.
    fn finish(mut self, file: &File) -> Option<Runbook> {
        let mut occasions = IndexMap::new();
        let raw = &file.raw.messages;
        for (occasion, name) in [
            ("start", &raw.start),
            ("downtime_starts", &raw.downtime_starts),
            ("downtime_over", &raw.downtime_over),
            ("point_of_no_return", &raw.point_of_no_return),
            ("waiting", &raw.waiting),
            ("failure", &raw.failure),
            ("breach", &raw.breach),
            ("rollback_began", &raw.rollback_began),
            ("rolled_back", &raw.rolled_back),
            ("success", &raw.success),
            ("report", &raw.report),
        ] {
            if let Some(name) = name {
                self.loading.template(name, file.mark.place_at(&["messages", occasion]));
                occasions.insert(occasion.to_owned(), name.clone());
            }
        }
        let label = |ix: usize| self.steps[ix].id.to_string();
        let order = match self.graph.order(label) {
            Ok(order) => order,
            Err(cycle) => {
                let first = self.steps.iter().position(|step| *step.id == *cycle[0]);
                let place = first.map_or(file.mark.place, |ix| self.places[ix]);
                self.loading.problems.push(Problem::new(
                    place,
                    format!("these steps wait for each other: {}", cycle.join(" → ")),
                    Some("remove one of the `needs`".into()),
                ));
                return None;
            }
        };
        if self.steps.is_empty() && self.loading.problems.is_empty() {
            self.report(file.mark.place, "the runbook has no steps", None);
        }
        if !self.loading.problems.is_empty() {
            return None;
        }
        let mut place_of = vec![StepIx(0); self.steps.len()];
        for (new, old) in order.steps.iter().enumerate() {
            place_of[*old] = StepIx(new as u32);
        }
        let mut steps: Vec<Option<Step>> = self.steps.into_iter().map(Some).collect();
        let renumber = |reads: &mut Vec<Read>| {
            for read in reads {
                match &mut read.of {
                    Source::Step(ix) => *ix = place_of[ix.0 as usize],
                    Source::Copies(copies) => {
                        copies.values_mut().for_each(|ix| *ix = place_of[ix.0 as usize])
                    }
                }
            }
        };
        let mut ordered = Vec::with_capacity(steps.len());
        for (old, needs) in order.steps.iter().zip(order.needs) {
            let Some(mut step) = steps[*old].take() else { continue };
            step.needs = needs.into_iter().map(|need| place_of[need]).collect();
            renumber(&mut step.reads);
            step.when.iter_mut().for_each(|when| renumber(&mut when.reads));
            if let Some(hold) = &mut step.hold {
                hold.until = place_of[hold.until.0 as usize];
            }
            ordered.push(step);
        }
        self.scopes.iter_mut().for_each(|scope| renumber(&mut scope.reads));
        let rules_out = |when: &When| {
            when.condition.holds(&known_in(&self.scopes, when.scope, when.item.as_ref()))
                == Ok(false)
        };
        for step in &mut ordered {
            step.ruled_out = step.when.iter().any(rules_out);
        }
        for (guard, _) in &mut self.guards {
            let placed = |ix: StepIx| place_of[ix.0 as usize];
            (guard.from, guard.until) = (guard.from.map(placed), guard.until.map(placed));
        }
        let raw = &file.raw;
        let folder = raw
            .stand_ins
            .as_deref()
            .and_then(|source| text(source).render(&known_in(&self.scopes, 0, None)).ok())
            .filter(|folder| !folder.is_empty());
        let stand_ins = folder.map(|folder| StandIns {
            folder: self.loading.relative(file, &folder),
            programs: Vec::new(),
        });
        let environment = self.loading.input.environment;
        let window = conditions::window(file, environment, &mut self.loading.problems);
        let requires = conditions::requires(file, environment, &mut self.loading.problems);
        let runbook = Runbook {
            name: raw.runbook.clone(),
            title: raw.title.as_deref().map(text),
            description: raw.description.clone(),
            owner: raw.owner.clone(),
            file: file.name.to_string(),
            environment: self.loading.input.environment.map(str::to_owned),
            locks: raw.locks.clone(),
            witness: raw.witness.clone(),
            stand_ins,
            scopes: self.scopes,
            occasions,
            templates: std::mem::take(&mut self.loading.templates),
            phases: self.phases,
            groups: self.groups,
            guards: self.guards.iter().map(|(guard, _)| guard.clone()).collect(),
            budgets: raw.budgets.checked(),
            window,
            requires,
            steps: ordered,
            index: Index::default(),
        }
        .with_index();
        check_order(
            &runbook,
            &place_of,
            &self.uses,
            &self.holds,
            &self.guards,
            &mut self.loading.problems,
        );
        budgets::check_budgets(&runbook, file, &mut self.loading.problems);
        conditions::check(&runbook, file, &place_of, &self.places, &mut self.loading.problems);
        Some(runbook)
    }
}

fn known_in(scopes: &[Scope], scope: u32, item: Option<&Item>) -> Json {
    let mut known = serde_json::Map::new();
    for (name, parameter) in &scopes[scope as usize].parameters {
        if let Argument::Plain(value) = &parameter.value {
            known.insert(name.clone(), value.clone());
        }
    }
    if let Some(item) = item {
        known.insert("item".into(), item.value.clone());
        known.insert("key".into(), item.key.clone().into());
    }
    Json::Object(known)
}

/// Outputs are read only from steps that are certainly done; a hold ends after it begins; downtime
/// ends.
fn check_order(
    runbook: &Runbook,
    place_of: &[StepIx],
    uses: &[(usize, Vec<StepIx>, String, Place)],
    holds: &[(usize, Place)],
    guards: &[(Guard, Place)],
    problems: &mut Vec<Problem>,
) {
    let mut below: HashMap<StepIx, StepMap<bool>> = HashMap::new();
    for (user, targets, name, place) in uses {
        let user = place_of[*user];
        for target in targets {
            let target = place_of[target.0 as usize];
            let reached = below.entry(target).or_insert_with(|| runbook.descendants(target));
            // A nested runbook's arguments are read by the steps inside, which all stand before its
            // end.
            if !reached[user] {
                let message = format!(
                    "`{}` reads the outputs of `{name}` but does not wait for it",
                    runbook.step(user).id
                );
                problems.push(Problem::new(
                    *place,
                    message,
                    Some(format!("add `{name}` to its `needs`")),
                ));
                break;
            }
        }
    }
    for (ix, place) in holds {
        let ix = place_of[*ix];
        let step = runbook.step(ix);
        if let Some(hold) = &step.hold
            && !runbook.descendants(ix)[hold.until]
        {
            let message = format!(
                "`{}` holds until `{}`, which does not come after it",
                step.id,
                runbook.step(hold.until).id
            );
            problems.push(Problem::new(*place, message, None));
        }
    }
    for (guard, place) in guards {
        if let (Some(from), Some(until)) = (guard.from, guard.until)
            && from != until
            && !runbook.descendants(from)[until]
        {
            let (from, until) = (&runbook.step(from).id, &runbook.step(until).id);
            let message = format!(
                "the guard `{}` is to watch until `{until}`, which does not come after `{from}`",
                guard.name
            );
            problems.push(Problem::new(*place, message, None));
        }
    }
    let marks = |mark: Downtime| runbook.steps.iter().find(|step| step.downtime == Some(mark));
    if let (Some(begins), None) = (marks(Downtime::Begins), marks(Downtime::Ends)) {
        let place = Place { file: 0, line: begins.line, column: 1, length: 0 };
        problems.push(Problem::new(
            place,
            "downtime begins here and never ends",
            Some("mark the step after which production is back with `downtime: ends`".into()),
        ));
    }
}

/// Where a step stands in its file.
struct At<'a> {
    file: &'a Rc<File>,
    mark: &'a Mark,
    place: Place,
    phase_id: &'a str,
    name: &'a str,
    /// The number of its phase in its file.
    number: usize,
    /// The top-level phase it belongs to.
    top: u32,
}

fn is_repeated(local: &Local) -> bool {
    matches!(local.source, Source::Copies(_))
}

/// What an expression makes of a map comes in no order: its names are put in the map's, anything
/// else in one that is the same each time. What it makes of a list keeps that one's.
fn put_in_order<'a>(items: &mut [Json], of: impl Iterator<Item = &'a Json>) {
    let (lists, maps): (Vec<&Json>, Vec<&Json>) = of
        .filter(|value| value.is_array() || value.is_object())
        .partition(|value| value.is_array());
    let has_all = |list: &&Json| {
        items.iter().all(|item| list.as_array().is_some_and(|list| list.contains(item)))
    };
    if maps.is_empty() || lists.iter().any(has_all) {
        return;
    }
    let place = |map: &Json, item: &Json| {
        map.as_object()?.keys().position(|key| item.as_str() == Some(key))
    };
    match maps.iter().find(|map| items.iter().all(|item| place(map, item).is_some())) {
        Some(map) => items.sort_by_key(|item| place(map, item)),
        None => items.sort_by_key(Json::to_string),
    }
}

fn list_items(items: Vec<Json>) -> Vec<Item> {
    let word = |value: &Json| match value {
        Json::String(text) => Some(text.clone()),
        Json::Number(number) => Some(number.to_string()),
        _ => None,
    };
    let words: Vec<Option<String>> = items.iter().map(word).collect();
    let distinct: std::collections::HashSet<_> = words.iter().flatten().collect();
    // A key is part of a name that people read.
    let named = distinct.len() == items.len()
        && distinct.iter().all(|word| !word.contains(char::is_control));
    let key =
        |at: usize| if named { words[at].clone() } else { None }.unwrap_or_else(|| at.to_string());
    items
        .iter()
        .enumerate()
        .map(|(at, value)| Item { key: key(at), value: value.clone() })
        .collect()
}

/// What is known of the run itself.
pub fn run_shape() -> Shape {
    Shape::object(
        ["id", "name", "operator", "environment", "started"].map(|name| (name, Shape::Leaf)),
    )
}

/// The names that one key of a step may use.
fn step_scope(
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
