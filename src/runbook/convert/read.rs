//! What only reads: probes, and the actions in them.

use super::{Converter, condition};
use crate::runbook::Text;
use crate::runbook::action::{Action, RawRun, Run};
use crate::runbook::model::Probe;
use crate::runbook::raw::{RawProbe, RawRead};

impl Converter<'_> {
    pub fn probe(&mut self, raw: &RawProbe, below: &[&str]) -> Option<Probe> {
        let mut way = below.to_vec();
        way.push("probe");
        Some(Probe {
            action: self.read(&raw.read, &way)?,
            done: condition(&raw.done),
            not_done: condition(&raw.not_done),
        })
    }

    pub fn read(&mut self, raw: &RawRead, way: &[&str]) -> Option<Action<Text>> {
        let named: Vec<&str> =
            [("run", raw.run.is_some()), ("sql", raw.sql.is_some()), ("http", raw.http.is_some())]
                .into_iter()
                .filter_map(|(name, there)| there.then_some(name))
                .collect();
        self.exactly_one(&named, way)?;
        let mut action = match (&raw.run, &raw.sql, &raw.http) {
            (Some(run), ..) => Action::Run(self.reading_run(run, way)?),
            (_, Some(sql), _) => Action::Sql(self.sql(sql, way)?),
            (.., Some(http)) => Action::Http(self.http(http, way)?),
            _ => return None,
        };
        self.keep(&mut action, raw.keep_output.as_deref(), way);
        if !action.facts().can_be_a_reading {
            let help = "use a `query`, or a GET or HEAD request".to_owned();
            self.report(way, named[0], "a probe must only read".into(), Some(help));
        }
        Some(action)
    }

    /// A command that only reads has the variables of what it reads for.
    pub fn reading_run(&mut self, raw: &RawRun, below: &[&str]) -> Option<Run<Text>> {
        if matches!(raw, RawRun::Map(map) if !map.env.is_empty()) {
            let help =
                "give them to the `env` of the step, or of the runbook for a guard".to_owned();
            self.report(
                below,
                "run",
                "a command that only reads has no variables of its own".into(),
                Some(help),
            );
        }
        self.run(raw, below)
    }

    /// Tells an action how much of what it says is to be kept.
    pub fn keep(&mut self, action: &mut Action<Text>, raw: Option<&str>, way: &[&str]) {
        let Some(size) = raw.and_then(|raw| raw.parse().ok()) else { return };
        let kind = action.kind();
        match action.keep_output() {
            Some(kept) => *kept = Some(size),
            None => {
                let help = "put it beside the `run`, `sql` or `http` that is read, as in a `probe`"
                    .to_owned();
                self.report(
                    way,
                    "keep_output",
                    format!("a {kind} says nothing of which a part could be kept"),
                    Some(help),
                );
            }
        }
    }
}
