//! What a session must know before anything runs: the secrets that the run has used by now, as a
//! step may say what an earlier one wrote. It does not mask anything.

use std::collections::{BTreeMap, BTreeSet};

use super::session::Session;
use crate::drive::secrets_of;
use crate::effect::{EffectError, Reading};
use crate::runbook::{Direction, Secret, StepIx};

impl Session<'_> {
    /// Reads again what earlier sessions used, and what this process was given in its environment,
    /// which costs nothing.
    pub fn recall(&mut self) {
        if !self.vault.expects() {
            return;
        }
        let runbook = std::sync::Arc::clone(&self.state().runbook);
        let used = self.used();
        for name in used
            .iter()
            .filter(|name| !runbook.scopes.iter().any(|scope| scope.secrets.contains_key(*name)))
        {
            self.observer.note(&format!(
                "this run has used the secret `{name}`, which is not \
                declared any more: it is not masked"
            ));
        }
        // Two runbooks of a run may call different secrets the same.
        let mut others: BTreeMap<&str, bool> = BTreeMap::new();
        for (name, source) in runbook.scopes.iter().flat_map(|scope| &scope.secrets) {
            let is_used = used.contains(name.as_str());
            if !is_used && !matches!(source, Secret::Env(_) | Secret::Step { .. }) {
                continue;
            }
            match self.vault.read(name, source) {
                Ok(value) if is_used => {
                    let is_other = self
                        .state()
                        .secrets
                        .get(name)
                        .is_some_and(|digest| *digest != self.vault.digest(&value));
                    others.entry(name).and_modify(|others| *others &= is_other).or_insert(is_other);
                }
                // With the run, what its steps left was over.
                Err(_)
                    if matches!(source, Secret::Step { .. })
                        && !self.vault.path_of("").exists() => {}
                Err(error) if is_used => {
                    let what_follows =
                        "this run has used it, and where its value comes again it is not masked";
                    self.observer.note(&format!("{}; {what_follows}", error.message));
                }
                // Whoever uses it hears what is wrong with it.
                Ok(_) | Err(_) => {}
            }
        }
        for name in others.into_iter().filter_map(|(name, is_other)| is_other.then_some(name)) {
            self.observer.note(&format!(
                "the secret `{name}` has another value than when this run used it last; \
                 where the old one comes again it is not masked"
            ));
        }
    }

    /// Takes the secrets that a step left: from now on they are masked, also in what it says
    /// itself.
    pub fn learn_from(
        &self,
        ix: StepIx,
        result: Result<Reading, EffectError>,
    ) -> Result<Reading, EffectError> {
        let step = self.state().runbook.step(ix);
        let secrets = &self.state().runbook.scopes[step.scope as usize].secrets;
        // All of them are read, whether or not one is missing: each may stand in what the step
        // says.
        let mut missing = None;
        let mut has_some = false;
        for (name, source) in secrets {
            let Secret::Step { step: from, file } = source else { continue };
            if *from != step.id {
                continue;
            }
            has_some = true;
            let settled = |_| {
                self.vault
                    .settle(file)
                    .map_err(|error| format!("the secret `{name}` cannot be made durable: {error}"))
            };
            let read = self.vault.read(name, source).map_err(|error| {
                match self.vault.path_of(file).exists() {
                    true => error.message,
                    false => format!(
                        "it did not write the secret `{name}` into $SWITCHOVER_SECRETS/{name}"
                    ),
                }
            });
            let left = read.and_then(settled);
            missing = missing.or(left.err());
        }
        if !has_some {
            return result;
        }
        // Of what failed they may be there or not.
        let reading = result.and_then(|reading| match missing {
            Some(why) if reading.is_good => Err(EffectError::during(why)),
            _ => Ok(reading),
        });
        self.vault.mask_result(reading, &Vec::new())
    }

    /// Takes the secrets that steps left away from the disk, once the run is over.
    pub fn forget_secrets(&mut self) {
        if self.state().ended.is_some() {
            let folder = self.journal.secrets_folder(&self.head.run);
            match std::fs::remove_dir_all(&folder) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    self.observer.note(&format!(
                        "the secrets in {} could not be removed: {error}",
                        folder.display()
                    ));
                }
                _ => {}
            }
        }
    }

    /// The names of secrets that may have been used by now.
    fn used(&self) -> BTreeSet<String> {
        let mut used: BTreeSet<String> = self.state().secrets.keys().cloned().collect();
        // An attempt whose end nobody journaled names its secrets nowhere else.
        for ix in self.state().runbook.ixs() {
            for direction in Direction::ALL {
                if self.state().attempts(ix, direction) > 0 {
                    used.extend(
                        secrets_of(self.state(), ix, direction)
                            .into_iter()
                            .map(|(name, _)| name.to_owned()),
                    );
                }
            }
        }
        let has_begun =
            self.state().runbook.ixs().any(|ix| self.state().attempts(ix, Direction::Forward) > 0);
        if has_begun {
            // Nor does a guard say what it has read.
            used.extend(
                self.state()
                    .runbook
                    .guards
                    .iter()
                    .flat_map(|guard| guard.analysis.source.secrets())
                    .map(str::to_owned),
            );
        }
        used
    }
}
