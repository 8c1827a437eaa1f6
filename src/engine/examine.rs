//! What can be said of a step of a dry run without looking at what it is about: whether the
//! commands that it needs could be begun here, and how fast it copied last time.

use std::path::Path;

use super::session::Session;
use crate::drive::Examined;
use crate::effect::can_begin;
use crate::journal::JournalError;
use crate::run::names;
use crate::runbook::action::{Command, Value};
use crate::runbook::{Act, Action, Direction, StepIx, Text, Undo};

impl Session<'_> {
    pub fn examine(&self, ix: StepIx) -> Result<Examined, JournalError> {
        let runbook = &self.state().runbook;
        let rows_per_second = match &runbook.step(ix).act.action {
            Action::Copy(_) => self.journal.rows_per_second(runbook, &self.id(ix))?,
            _ => None,
        };
        Ok(Examined { unready: self.unready(ix), rows_per_second })
    }

    /// Which commands that the step needs besides its own could not be begun here, and why. Of what
    /// is known only later nothing is said.
    fn unready(&self, ix: StepIx) -> Option<String> {
        if !self.state().started.is_dry() {
            return None;
        }
        let step = self.state().runbook.step(ix);
        let undo = if let Undo::Act(undo) = &step.undo { Some(&**undo) } else { None };
        let release = step.hold.as_ref().map(|hold| &*hold.release);
        let acts = [
            (None, "its probe", Some(&step.act)),
            (Some("its undo"), "the probe of its undo", undo),
            (Some("its release"), "the probe of its release", release),
        ];
        let mut all = Vec::new();
        for (itself, its_probe, act) in acts {
            let Some(act) = act else { continue };
            let action = itself.map(|what| (what, &act.action));
            let probe = act.probe.as_ref().map(|probe| (its_probe, &probe.action));
            let why =
                |(what, action)| Some(format!("{what}: {}", self.cannot_begin(ix, act, action)?));
            all.extend(action.into_iter().chain(probe).filter_map(why));
        }
        (!all.is_empty()).then(|| all.join("\n"))
    }

    fn cannot_begin(&self, ix: StepIx, act: &Act, action: &Action<Text>) -> Option<String> {
        let Action::Run(run) = action else { return None };
        let names = names::of_step(self.state(), ix, Direction::Forward);
        let command = match &run.command {
            Command::Script { shell, script } => {
                Command::Script { shell: shell.clone(), script: script.clone() }
            }
            Command::Arguments(list) => {
                Command::Arguments(vec![list.first()?.render(&names).ok()?])
            }
        };
        let folder = run.cwd.as_ref().map(|folder| folder.render(&names)).transpose().ok()?;
        let scope = &self.state().runbook.scopes[self.state().runbook.step(ix).scope as usize];
        let own = act.env.get("PATH").or_else(|| scope.env.get("PATH")).and_then(Value::text);
        let own = own.map(|path| path.render(&names)).transpose().ok()?;
        let path = self.path_with_stand_ins().map(|(_, path)| path).or(own);
        can_begin(&command, Path::new(folder.as_deref().unwrap_or(".")), path)
            .err()
            .map(|error| error.message)
    }
}
