//! Which names a text or a condition may use: a tree of shapes that references are held against
//! before anything runs.

use std::collections::BTreeMap;

use super::problem::suggest;

/// What is known of a value before the run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shape {
    /// Nothing is known: any name below it passes (an output that only the running command
    /// decides).
    Any,
    /// A plain value: nothing stands below it.
    Leaf,
    List(Box<Shape>),
    /// Exactly these names.
    Object(BTreeMap<String, Shape>),
}

/// One reference found in a text or condition: `steps.backup.size` is `["steps", "backup",
/// "size"]`.
pub type Reference = Vec<String>;

impl Shape {
    pub fn object<const N: usize>(fields: [(&str, Shape); N]) -> Shape {
        Shape::Object(fields.into_iter().map(|(name, shape)| (name.to_owned(), shape)).collect())
    }

    /// Follows `reference` down from here.
    ///
    /// # Errors
    /// The first name on the way that is not there, as a message and a suggestion.
    pub fn resolve(&self, reference: &[String]) -> Result<&Shape, Unknown> {
        let mut shape = self;
        for (depth, name) in reference.iter().enumerate() {
            shape = match shape {
                Shape::Any => return Ok(&Shape::Any),
                Shape::Object(fields) => {
                    fields.get(name).ok_or_else(|| Unknown::in_object(reference, depth, fields))?
                }
                Shape::List(item) if name.parse::<usize>().is_ok() => item,
                Shape::List(_) | Shape::Leaf => return Err(Unknown::below_leaf(reference, depth)),
            };
        }
        Ok(shape)
    }
}

/// A name that is not there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unknown {
    pub message: String,
    pub help: Option<String>,
}

impl Unknown {
    fn in_object(reference: &[String], depth: usize, fields: &BTreeMap<String, Shape>) -> Unknown {
        let name = &reference[depth];
        let message = match depth {
            0 => format!("the name `{name}` is not defined here"),
            _ => format!("`{}` has no `{name}`", reference[..depth].join(".")),
        };
        Unknown { message, help: suggest(name, fields.keys().map(String::as_str)) }
    }

    fn below_leaf(reference: &[String], depth: usize) -> Unknown {
        let message = format!(
            "`{}` is a plain value and has no `{}`",
            reference[..depth].join("."),
            reference[depth]
        );
        Unknown { message, help: None }
    }
}
