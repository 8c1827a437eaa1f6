//! The two sides of a migration, which a live test swaps: what is old is new then, as on the day on
//! which everything goes back. Knows nothing of what the sides are.

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::load::File;
use super::problem::{Problem, suggest};

/// Which parameters say where it comes from, and which where it goes.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct RawSides {
    /// The parameters of the old side, each under a name that both sides have.
    pub from: IndexMap<String, String>,
    /// The parameters of the new side, under the same names.
    pub to: IndexMap<String, String>,
}

/// What a live test does with a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LiveTest {
    /// It is carried out, with the sides swapped.
    Invert,
    /// It is passed over.
    Skip,
    /// It is not carried out but counts as done: what it would do is said, as in a dry run.
    Suppress,
}

impl RawSides {
    pub fn is_empty(&self) -> bool {
        self.from.is_empty() && self.to.is_empty()
    }

    /// The parameter whose value this one has when the sides are swapped, if it stands on one of
    /// them.
    pub fn other(&self, parameter: &str) -> Option<&str> {
        fn across<'a>(
            one: &IndexMap<String, String>,
            two: &'a IndexMap<String, String>,
            parameter: &str,
        ) -> Option<&'a str> {
            let (name, _) = one.iter().find(|(_, of)| *of == parameter)?;
            two.get(name).map(String::as_str)
        }
        across(&self.from, &self.to, parameter).or_else(|| across(&self.to, &self.from, parameter))
    }
}

/// Reports what is on one side only, and what is no parameter or of another kind.
pub fn check(file: &File, problems: &mut Vec<Problem>) {
    let Some(sides) = &file.raw.sides else { return };
    let parameters = &file.raw.parameters;
    if sides.is_empty() {
        let help = "name the parameters of each side, or leave it out".to_owned();
        problems.push(Problem::new(
            file.mark.place_at(&["sides"]),
            "a side without parameters cannot be swapped",
            Some(help),
        ));
    }
    let mut seen = std::collections::BTreeSet::new();
    for (key, side, other) in [("from", &sides.from, &sides.to), ("to", &sides.to, &sides.from)] {
        for (name, of) in side {
            let place = file.mark.place_at(&["sides", key, name]);
            if !seen.insert(of) {
                problems.push(Problem::new(
                    place,
                    format!("the parameter `{of}` stands there twice"),
                    None,
                ));
                continue;
            }
            let Some(parameter) = parameters.get(of) else {
                let help = suggest(of, parameters.keys().map(String::as_str));
                problems.push(Problem::new(place, format!("there is no parameter `{of}`"), help));
                continue;
            };
            let Some(across) = other.get(name) else {
                problems.push(Problem::new(
                    place,
                    format!("`{name}` stands on one side only"),
                    Some("give both sides the same names".into()),
                ));
                continue;
            };
            if parameters.get(across).is_some_and(|across| across.kind != parameter.kind) {
                let message =
                    format!("`{of}` and `{across}` are of different types, and cannot be swapped");
                problems.push(Problem::new(place, message, None));
            }
        }
    }
}
