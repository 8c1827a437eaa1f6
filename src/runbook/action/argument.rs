//! A value with its type, whose texts are templates.

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::value::RawScalar;
use super::walk::{Parts, Walk};
use crate::runbook::convert::text;
use crate::runbook::{Reference, Text, TextError};

/// A value with its type: a text that is one whole reference stands for the value itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Argument<T> {
    Plain(Json),
    Text(T),
    List(Vec<Argument<T>>),
    Map(IndexMap<String, Argument<T>>),
}

impl Argument<Text> {
    pub fn from_json(json: &Json) -> Result<Argument<Text>, TextError> {
        Ok(match json {
            Json::String(text) => {
                let text = Text::compile(text)?;
                if text.is_dynamic() { Argument::Text(text) } else { Argument::Plain(json.clone()) }
            }
            Json::Array(items) => {
                Argument::List(items.iter().map(Argument::from_json).collect::<Result<_, _>>()?)
            }
            Json::Object(fields) => {
                let fields = fields
                    .iter()
                    .map(|(name, value)| Ok((name.clone(), Argument::from_json(value)?)));
                Argument::Map(fields.collect::<Result<_, TextError>>()?)
            }
            plain => Argument::Plain(plain.clone()),
        })
    }

    /// The value itself with `values` in scope.
    pub fn value(&self, values: &Json) -> Result<Json, TextError> {
        Ok(match self {
            Argument::Plain(json) => json.clone(),
            Argument::Text(text) => match text.single_reference() {
                Some(path) => look_up(values, &path)
                    .ok_or_else(|| {
                        TextError(format!("`{}` has no value at this point", path.join(".")))
                    })?
                    .clone(),
                None => Json::String(text.render(values)?),
            },
            Argument::List(items) => {
                Json::Array(items.iter().map(|item| item.value(values)).collect::<Result<_, _>>()?)
            }
            Argument::Map(fields) => {
                let fields =
                    fields.iter().map(|(name, value)| Ok((name.clone(), value.value(values)?)));
                Json::Object(fields.collect::<Result<_, TextError>>()?)
            }
        })
    }
}

impl<T> Argument<T> {
    pub fn try_map<'a, W: Walk<'a, T>>(
        &'a self,
        walk: &mut W,
    ) -> Result<Argument<W::Text>, W::Error> {
        Ok(match self {
            Argument::Plain(json) => Argument::Plain(json.clone()),
            Argument::Text(text) => Argument::Text(walk.text(text)?),
            Argument::List(items) => Argument::List(
                items.iter().map(|item| walk.argument(item)).collect::<Result<_, _>>()?,
            ),
            Argument::Map(fields) => Argument::Map(walk.named(fields, W::argument)?),
        })
    }

    /// Every text in it.
    pub fn texts(&self) -> Vec<&T> {
        let mut parts = Parts::none();
        let Ok(_) = self.try_map(&mut parts);
        parts.texts
    }
}

impl Argument<String> {
    /// The rendered value.
    pub fn into_json(self) -> Json {
        match self {
            Argument::Plain(json) => json,
            Argument::Text(text) => Json::String(text),
            Argument::List(items) => {
                Json::Array(items.into_iter().map(Argument::into_json).collect())
            }
            Argument::Map(fields) => Json::Object(
                fields.into_iter().map(|(name, value)| (name, value.into_json())).collect(),
            ),
        }
    }
}

/// The value that `path` leads to in `values`.
pub fn look_up<'a>(values: &'a Json, path: &Reference) -> Option<&'a Json> {
    path.iter().try_fold(values, |value, name| match value {
        Json::Object(fields) => fields.get(name),
        Json::Array(items) => items.get(name.parse::<usize>().ok()?),
        _ => None,
    })
}

pub fn scalar_argument(raw: &RawScalar) -> Argument<Text> {
    match raw {
        RawScalar::Text(source) if source.contains("{{") => Argument::Text(text(source)),
        RawScalar::Text(source) => Argument::Plain(source.clone().into()),
        RawScalar::Bool(value) => Argument::Plain((*value).into()),
        RawScalar::Number(value) => Argument::Plain(value.clone().into()),
    }
}
