//! A message to people.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::facts::{ByItself, Commands, DoneBy, Facts, InDryRun, Inverse, Lasts};
use super::walk::Walk;
use crate::runbook::Text;
use crate::runbook::convert::{Converter, text};

/// A message: a template by name, or a subject and a body.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct RawNotify {
    /// The name of a template.
    pub template: Option<String>,
    /// The subject line, instead of a template.
    #[schemars(extend("format" = "template"))]
    pub subject: Option<String>,
    /// The text, instead of a template.
    #[schemars(extend("format" = "template"))]
    pub body: Option<String>,
    /// Who is told.
    #[serde(default)]
    #[schemars(extend("items" = {"type": "string", "format": "template"}))]
    pub to: Vec<String>,
}

/// A message to people.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Notify<T> {
    pub content: Content<T>,
    #[serde(default = "Vec::new", skip_serializing_if = "Vec::is_empty")]
    pub to: Vec<T>,
}

/// A template by name, or the words themselves.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Content<T> {
    Template(String),
    Words { subject: T, body: T },
}

impl Converter<'_> {
    pub fn notify(&mut self, raw: &RawNotify, below: &[&str]) -> Option<Notify<Text>> {
        let content = match (&raw.template, &raw.subject, &raw.body) {
            (Some(name), None, None) => Content::Template(name.clone()),
            (None, Some(subject), Some(body)) => {
                Content::Words { subject: text(subject), body: text(body) }
            }
            _ => {
                self.report(
                    below,
                    "notify",
                    "a message is a template, or a subject with a body".into(),
                    None,
                );
                return None;
            }
        };
        Some(Notify { content, to: raw.to.iter().map(|to| text(to)).collect() })
    }
}

impl<T> Notify<T> {
    pub fn facts(&self) -> Facts<'_, T> {
        Facts {
            only_reads: false,
            can_be_a_reading: false,
            is_idempotent: true,
            done_by: DoneBy::Messenger,
            inverse: Inverse::Nothing,
            takes_back: false,
            results: &[],
            lasts: Lasts::Unsaid,
            may_hang: false,
            commands: Commands::None,
            has_logs: false,
            decides: false,
            dry_run: InDryRun { by_itself: ByItself::Looks, may_do_the_same: false },
        }
    }
}

impl<T> Notify<T> {
    pub fn try_map<'a, W: Walk<'a, T>>(
        &'a self,
        walk: &mut W,
    ) -> Result<Notify<W::Text>, W::Error> {
        let Notify { content, to } = self;
        Ok(Notify {
            content: match content {
                Content::Template(name) => {
                    walk.template(name);
                    Content::Template(name.clone())
                }
                Content::Words { subject, body } => {
                    Content::Words { subject: walk.text(subject)?, body: walk.text(body)? }
                }
            },
            to: walk.texts(to)?,
        })
    }
}

impl Notify<String> {
    pub fn in_words(&self) -> String {
        match &self.content {
            Content::Template(name) => format!("send the message {name}"),
            Content::Words { subject, .. } => format!("send a message: {subject}"),
        }
    }
}
