//! The steps in their order, and the checks that need it.

use std::collections::HashMap;

use indexmap::IndexMap;

use super::draft::Places;
use super::scope::known_in;
use super::*;
use crate::runbook::StepMap;
use crate::runbook::convert::text;
use crate::runbook::problem::Problem;
use crate::runbook::raw::Downtime;

impl Builder<'_, '_, '_> {
    /// Orders the steps, resolves barriers, and makes the last checks that need the order.
    pub(super) fn finish(mut self, file: &File) -> Option<Runbook> {
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
        let label = |ix: DraftIx| self.steps[ix].id.to_string();
        let order = match self.graph.order(label) {
            Ok(order) => order,
            Err(cycle) => {
                let first = self.steps.with_ixs().find(|(_, step)| *step.id == *cycle[0]);
                let place = first.map_or(file.mark.place, |(ix, _)| self.places[ix]);
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
        let place_of = Places::in_order(&order.steps);
        let mut steps = self.steps.map(Some);
        let mut ordered = Vec::with_capacity(steps.len());
        for (ix, needed) in order.steps.iter().zip(&order.needs) {
            let Some(step) = steps[*ix].take() else { continue };
            ordered.push(place_of.step(step, needed));
        }
        let scopes: Vec<Scope> =
            self.scopes.into_iter().map(|scope| place_of.scope(scope)).collect();
        let rules_out = |when: &When| {
            when.condition.holds(&known_in(&scopes, when.scope, when.item.as_ref())) == Ok(false)
        };
        for step in &mut ordered {
            step.ruled_out = step.when.iter().any(rules_out);
        }
        let (guards, places_of_guards): (Vec<Guard>, Vec<Place>) =
            self.guards.into_iter().map(|(guard, place)| (place_of.guard(guard), place)).unzip();
        let raw = &file.raw;
        let folder = raw
            .stand_ins
            .as_deref()
            .and_then(|source| text(source).render(&known_in(&scopes, 0, None)).ok())
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
            scopes,
            occasions,
            templates: std::mem::take(&mut self.loading.templates),
            phases: self.phases,
            groups: self.groups,
            guards,
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
            &places_of_guards,
            &mut self.loading.problems,
        );
        budgets::check_budgets(&runbook, file, &mut self.loading.problems);
        conditions::check(&runbook, file, &place_of, &self.places, &mut self.loading.problems);
        Some(runbook)
    }
}

/// Outputs are read only from steps that are certainly done; a hold ends after it begins; downtime
/// ends.
pub(super) fn check_order(
    runbook: &Runbook,
    place_of: &Places,
    uses: &[Use],
    holds: &[(DraftIx, Place)],
    places_of_guards: &[Place],
    problems: &mut Vec<Problem>,
) {
    let mut below: HashMap<StepIx, StepMap<bool>> = HashMap::new();
    for Use { user, of, name, place } in uses {
        let user = place_of[*user];
        for target in of {
            let target = place_of[*target];
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
    for (guard, place) in runbook.guards.iter().zip(places_of_guards) {
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
