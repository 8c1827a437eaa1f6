//! One raw step to its domain form. Reports what a schema cannot say: two actions, a retry that
//! is not safe, an unknown secret. Knows no kind of action: each converts itself.

mod act;
mod read;

use indexmap::IndexMap;

use super::action;
use super::database::RawDatabase;
use super::problem::{Place, Problem};
use super::raw::RawSecret;
use super::source::Mark;
use super::traffic::RawTraffic;
use super::zone::raw::RawZone;
use super::{Condition, Span, Text};

/// What the conversion of one step needs to know, and the problems it finds.
pub struct Converter<'a> {
    /// The step's node in its file.
    pub mark: &'a Mark,
    /// Where the step's key stands.
    pub place: Place,
    /// What stands under `secrets`.
    pub secrets: &'a IndexMap<String, RawSecret>,
    /// What stands under `databases`.
    pub databases: &'a IndexMap<String, RawDatabase>,
    /// What stands under `traffic`.
    pub traffic: &'a IndexMap<String, RawTraffic>,
    /// What stands under `zones`.
    pub zones: &'a IndexMap<String, RawZone>,
    pub problems: &'a mut Vec<Problem>,
}

impl Converter<'_> {
    /// Reports none or several actions; both are as easily a slip of the indentation as of the
    /// mind.
    pub fn exactly_one(&mut self, named: &[&str], below: &[&str]) -> Option<()> {
        let message = match named {
            [_] => return Some(()),
            [] => "there is no action here".to_owned(),
            several => format!("there are {} actions here: {}", several.len(), several.join(", ")),
        };
        let help = if named.is_empty() { give_one() } else { "make a step of each".to_owned() };
        let place = below.last().map_or(self.place, |_| self.key_place(below));
        self.problems.push(Problem::new(place, message, Some(help)));
        None
    }

    pub fn report(&mut self, below: &[&str], key: &str, message: String, help: Option<String>) {
        let mut way = below.to_vec();
        way.push(key);
        let place = self.key_place(&way);
        self.problems.push(Problem::new(place, message, help));
    }

    /// The place of the last key of `way` that stands in the file.
    fn key_place(&self, way: &[&str]) -> Place {
        let (mut mark, mut place) = (self.mark, self.place);
        for key in way {
            let Some(found) = mark.key(key) else { break };
            place = found;
            mark = mark.get(key).unwrap_or(mark);
        }
        place
    }
}

fn give_one() -> String {
    let [most @ .., last] = action::WORDS;
    format!("give it one of {} or {last}", most.join(", "))
}

/// Syntax was checked by the schema walk; a template that got past it fails when it is rendered.
pub fn text(source: &str) -> Text {
    Text::from(source)
}

pub fn condition(source: &str) -> Condition {
    Condition::compile(source).unwrap_or_default()
}

pub fn span(source: Option<&str>) -> Option<Span> {
    source.and_then(|source| source.parse().ok())
}
