//! The names that the steps of a file see.

use std::collections::BTreeMap;

use indexmap::IndexMap;
use serde_json::Value as Json;

use super::*;
use crate::runbook::action::Argument;
use crate::runbook::convert::Converter;
use crate::runbook::names::Shape;
use crate::runbook::raw::ParameterKind;
use crate::runbook::schema::id_error;

impl Builder<'_, '_, '_> {
    pub(super) fn scope(
        &mut self,
        file: &File,
        parent: Option<u32>,
        parameters: IndexMap<String, Parameter>,
        reads: Vec<Read<DraftIx>>,
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

    pub(super) fn secrets(&mut self, file: &File) -> IndexMap<String, Secret> {
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

    /// The names of a scope whose values are known before the run.
    pub(super) fn known(&self, scope: u32, item: Option<&Item>) -> Json {
        known_in(&self.scopes, scope, item)
    }

    pub(super) fn parameter_shapes(&self, scope: u32) -> BTreeMap<String, Shape> {
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
}

pub(super) fn known_in<Ix>(scopes: &[Scope<Ix>], scope: u32, item: Option<&Item>) -> Json {
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
