//! What a step is repeated over.

use serde_json::Value as Json;

use super::*;
use crate::runbook::Condition;
use crate::runbook::action::{Argument, look_up};
use crate::runbook::raw::{RawForEach, RawItems};

impl Builder<'_, '_, '_> {
    pub(super) fn items(
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
}

/// What an expression makes of a map comes in no order: its names are put in the map's, anything
/// else in one that is the same each time. What it makes of a list keeps that one's.
pub(super) fn put_in_order<'a>(items: &mut [Json], of: impl Iterator<Item = &'a Json>) {
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

pub(super) fn list_items(items: Vec<Json>) -> Vec<Item> {
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
