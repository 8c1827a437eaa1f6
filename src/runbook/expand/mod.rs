//! Raw files to the flat graph: phases, `needs`, `for_each` copies and nested runbooks become steps
//! that need steps. Two passes over each file: first every step gets its nodes, then every name is
//! resolved.

mod budgets;
mod conditions;
mod draft;
mod file;
mod guards;
mod items;
mod link;
mod names;
mod nested;
mod order;
mod scope;
mod step;
mod times;

use std::path::PathBuf;
use std::rc::Rc;

use indexmap::IndexMap;

use super::Guard;
use super::action::Results;
use super::graph::{Graph, Node};
use super::load::{File, Loading};
use super::model::*;
use super::problem::Place;
use super::sides::LiveTest;
use super::source::Mark;

pub use draft::DraftIx;
use draft::DraftMap;
pub use names::run_shape;

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
        steps: DraftMap::new(),
        places: DraftMap::new(),
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
    when: Vec<When<DraftIx>>,
    /// What a live test does with steps that do not say it themselves.
    live_test: Option<LiveTest>,
}

/// What a step's name stands for in its file.
struct Local {
    /// What waits before it, and what others wait for.
    entry: Node,
    exit: Node,
    source: Source<DraftIx>,
    place: Place,
    phase: usize,
    /// All its nodes that are steps; for a nested runbook only the one at its end.
    steps: Vec<DraftIx>,
    /// The names of its result.
    results: Results,
    nested: Option<Locals>,
}

type Locals = IndexMap<String, Local>;

struct Builder<'a, 'b, 'c> {
    loading: &'a mut Loading<'b, 'c>,
    graph: Graph,
    steps: DraftMap<Step<DraftIx>>,
    /// Where each step stands.
    places: DraftMap<Place>,
    scopes: Vec<Scope<DraftIx>>,
    groups: Vec<Group>,
    phases: Vec<Phase>,
    /// Checked once the order is known.
    uses: Vec<Use>,
    holds: Vec<(DraftIx, Place)>,
    /// Each with the place of its name.
    guards: Vec<(Guard<DraftIx>, Place)>,
    stack: Vec<PathBuf>,
}

/// A step that reads the outputs of others.
struct Use {
    user: DraftIx,
    of: Vec<DraftIx>,
    /// The name by which it reads them, and where.
    name: String,
    place: Place,
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

impl Builder<'_, '_, '_> {
    pub(super) fn report(
        &mut self,
        place: Place,
        message: impl Into<String>,
        help: Option<String>,
    ) {
        self.loading.report(place, message, help);
    }
}

fn is_repeated(local: &Local) -> bool {
    matches!(local.source, Source::Copies(_))
}
