//! The one walk over an action, which comes by every text, value, condition and secret in it. What
//! is made of them is up to who walks: see [`Walk`]. Knows no kind of action.

use std::convert::Infallible;

use indexmap::IndexMap;
use serde_json::Value as Json;

use super::Argument;
use crate::runbook::{Condition, Text, TextError};

/// What is made of each part that the walk comes by.
pub trait Walk<'a, T: 'a>: Sized {
    /// What a text becomes.
    type Text;
    type Error;

    fn text(&mut self, text: &'a T) -> Result<Self::Text, Self::Error>;

    /// A text that is an address.
    fn address(&mut self, text: &'a T) -> Result<Self::Text, Self::Error> {
        self.text(text)
    }

    /// A value with its type, in which texts may stand.
    fn argument(&mut self, argument: &'a Argument<T>) -> Result<Argument<Self::Text>, Self::Error> {
        argument.try_map(self)
    }

    /// The name of a secret.
    fn secret(&mut self, _name: &'a str) {}

    /// A condition that the action itself decides.
    fn condition(&mut self, _condition: &'a Condition) {}

    /// The name of a message's template.
    fn template(&mut self, _name: &'a str) {}

    fn texts(&mut self, texts: &'a [T]) -> Result<Vec<Self::Text>, Self::Error> {
        texts.iter().map(|text| self.text(text)).collect()
    }

    fn optional(&mut self, text: &'a Option<T>) -> Result<Option<Self::Text>, Self::Error> {
        text.as_ref().map(|text| self.text(text)).transpose()
    }

    fn optional_texts(
        &mut self,
        texts: &'a Option<Vec<T>>,
    ) -> Result<Option<Vec<Self::Text>>, Self::Error> {
        texts.as_ref().map(|texts| self.texts(texts)).transpose()
    }

    /// What stands under names.
    fn named<A, B>(
        &mut self,
        entries: &'a IndexMap<String, A>,
        one: impl Fn(&mut Self, &'a A) -> Result<B, Self::Error>,
    ) -> Result<IndexMap<String, B>, Self::Error> {
        entries.iter().map(|(name, value)| Ok((name.clone(), one(self, value)?))).collect()
    }
}

/// Renders every text with the values of the names in scope.
pub struct Rendering<'v> {
    pub values: &'v Json,
}

impl<'a> Walk<'a, Text> for Rendering<'_> {
    type Text = String;
    type Error = TextError;

    fn text(&mut self, text: &'a Text) -> Result<String, TextError> {
        text.render(self.values)
    }

    fn address(&mut self, text: &'a Text) -> Result<String, TextError> {
        text.render_url(self.values)
    }

    /// A text that is one whole reference stands for the value itself.
    fn argument(&mut self, argument: &'a Argument<Text>) -> Result<Argument<String>, TextError> {
        argument.value(self.values).map(Argument::Plain)
    }
}

/// What stands in an action, in the order of the walk.
#[derive(Debug)]
pub struct Parts<'a, T> {
    pub texts: Vec<&'a T>,
    pub conditions: Vec<&'a Condition>,
    /// By their names.
    pub secrets: Vec<&'a str>,
    /// By their names.
    pub templates: Vec<&'a str>,
}

impl<T> Parts<'_, T> {
    pub fn none() -> Self {
        Parts {
            texts: Vec::new(),
            conditions: Vec::new(),
            secrets: Vec::new(),
            templates: Vec::new(),
        }
    }
}

impl<'a, T> Walk<'a, T> for Parts<'a, T> {
    type Text = ();
    type Error = Infallible;

    fn text(&mut self, text: &'a T) -> Result<(), Infallible> {
        self.texts.push(text);
        Ok(())
    }

    fn secret(&mut self, name: &'a str) {
        self.secrets.push(name);
    }

    fn condition(&mut self, condition: &'a Condition) {
        self.conditions.push(condition);
    }

    fn template(&mut self, name: &'a str) {
        self.templates.push(name);
    }
}
