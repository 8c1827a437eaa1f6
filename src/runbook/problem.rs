//! What is wrong with a runbook, and where. Knows nothing of terminals: the command line draws it.

use serde::{Deserialize, Serialize};

/// A place in a source file. Lines and columns count from 1, columns and lengths in characters.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Place {
    pub file: u32,
    pub line: u32,
    pub column: u32,
    pub length: u32,
}

/// One thing that is wrong, with a suggestion where there is one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    pub place: Place,
    pub message: String,
    pub help: Option<String>,
    /// Whether it is a key that stands twice: the cause of whatever else is wrong at its place.
    pub is_duplicate: bool,
}

/// Everything that is wrong with a runbook and the files it includes, in the order of the files and
/// lines.
#[derive(Debug, Clone, Default, thiserror::Error)]
#[error("{} in the runbook", self.count())]
pub struct Problems {
    /// Name and text of each file, in the order of [`Place::file`].
    pub names: Vec<(String, String)>,
    pub list: Vec<Problem>,
}

impl Problems {
    fn count(&self) -> String {
        match self.list.len() {
            1 => "one problem".to_owned(),
            count => format!("{count} problems"),
        }
    }
}

impl Problem {
    pub fn new(place: Place, message: impl Into<String>, help: Option<String>) -> Problem {
        Problem { place, message: message.into(), help, is_duplicate: false }
    }
}

/// The name in `known` that is nearest to `word`, as a suggestion, if one is near enough to be a
/// slip of the hand.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    known
        .into_iter()
        .map(|name| (strsim::damerau_levenshtein(&word.to_lowercase(), &name.to_lowercase()), name))
        .filter(|(distance, name)| *distance <= 1 + name.chars().count() / 4)
        .min()
        .map(|(_, name)| name)
}

/// `did you mean …?`, or else the list of what is known if it is short enough to read.
pub fn suggest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let known: Vec<&str> = known.into_iter().collect();
    match nearest(word, known.iter().copied()) {
        Some(name) => Some(format!("did you mean `{name}`?")),
        None if known.is_empty() => None,
        None if known.len() <= 30 => Some(format!("known here: {}", known.join(", "))),
        None => None,
    }
}
