//! What an action gave, or why it did not come to its end, and what the expressions on a reading
//! see of it. A part is never taken for the whole: an expression that reads a name of which
//! something is missing has no value, and says why. Knows no run.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::{Map, Value as Json};

use super::size::Size;
use super::{Condition, ConditionError};

/// What an action that came to its end gave.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Reading {
    /// The names that `expect` and `capture` see.
    pub names: Map<String, Json>,
    /// Those of them that are not the whole of what there was: see [`View`].
    pub cut: BTreeMap<String, Cut>,
    /// Outputs that the action itself names.
    pub outputs: BTreeMap<String, Json>,
    /// For people: `exit 0`, `200 OK`, `3 rows`.
    pub summary: String,
    /// Whether it went well if nothing is expected of it.
    pub is_good: bool,
    /// The secrets that it was given, by name, each with a keyed digest of its value.
    pub secrets: BTreeMap<String, String>,
}

/// An action that did not come to its end.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct EffectError {
    pub when: When,
    pub message: String,
}

/// What an action had done by the time of its error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// Provably nothing.
    Before,
    /// The same, and it will be so until somebody does something about it: a secret is missing, a
    /// login is refused.
    Shut,
    During,
    /// Nobody knows: it may even have ended well.
    Unknown,
}

impl EffectError {
    pub fn before(message: impl Into<String>) -> EffectError {
        EffectError { when: When::Before, message: message.into() }
    }

    pub fn shut(message: impl Into<String>) -> EffectError {
        EffectError { when: When::Shut, message: message.into() }
    }

    pub fn during(message: impl Into<String>) -> EffectError {
        EffectError { when: When::During, message: message.into() }
    }

    pub fn lost(message: impl Into<String>) -> EffectError {
        EffectError { when: When::Unknown, message: message.into() }
    }
}

/// Why the value of a name is not the whole of what there was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cut {
    /// Only its end was kept; there were so many bytes.
    Start { had: u64, kept: Size },
    /// Only its beginning was kept; there were so many bytes, if anybody said so.
    End { had: Option<u64>, kept: Size },
    /// There are more rows than these.
    Rows { kept: usize, most: String },
    /// Its bytes are not UTF-8, and what is not was replaced.
    NotText,
}

impl fmt::Display for Cut {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cut::Start { had, kept } => {
                let had = Size::from_bytes(*had);
                write!(
                    out,
                    "has {had}, and only its last {kept} was kept: raise `keep_output`, or \
                    print less"
                )
            }
            Cut::End { had, kept } => {
                let had = had.map_or_else(
                    || format!("more than {kept}"),
                    |had| Size::from_bytes(had).to_string(),
                );
                write!(
                    out,
                    "has {had}, and only its first {kept} was kept: raise `keep_output`, \
                    or ask for less"
                )
            }
            Cut::Rows { kept, most } => {
                write!(
                    out,
                    "has more than is kept ({most}), and stands for the first {kept} only: \
                    count or filter in SQL"
                )
            }
            Cut::NotText => out.write_str(
                "holds bytes that are not UTF-8: let the program convert \
                them, as with `iconv` or `xxd`",
            ),
        }
    }
}

/// The names of a reading among those around it.
pub struct View {
    names: Json,
    cut: BTreeMap<String, Cut>,
}

impl View {
    /// The names themselves, to be shown.
    pub fn names(&self) -> &Json {
        &self.names
    }

    /// The value of an expression.
    ///
    /// # Errors
    /// If it has none, or reads something that is not whole.
    pub fn evaluate(&self, condition: &Condition) -> Result<Json, ConditionError> {
        self.is_whole_for(condition)?;
        condition.evaluate(&self.names)
    }

    /// Whether a condition holds.
    ///
    /// # Errors
    /// If that cannot be told, also because it reads something that is not whole.
    pub fn holds(&self, condition: &Condition) -> Result<bool, ConditionError> {
        self.is_whole_for(condition)?;
        condition.holds(&self.names)
    }

    fn is_whole_for(&self, condition: &Condition) -> Result<(), ConditionError> {
        if self.cut.is_empty() {
            return Ok(());
        }
        let references = condition.references();
        let read = references.iter().filter_map(|reference| reference.first());
        match read.filter_map(|name| self.cut.get_key_value(name)).next() {
            None => Ok(()),
            Some((name, cut)) => Err(ConditionError(format!(
                "`{}` cannot be decided: {name} {cut}",
                condition.source()
            ))),
        }
    }
}

impl Reading {
    /// Its names, which hide those around it. `around` is an object; anything else has no names.
    pub fn view(&self, around: &Json) -> View {
        let mut names = around.as_object().cloned().unwrap_or_default();
        names.extend(self.names.clone());
        View { names: Json::Object(names), cut: self.cut.clone() }
    }

    /// A text of it.
    ///
    /// # Errors
    /// Why it is not there, or not whole.
    pub fn text(&self, name: &str) -> Result<&str, ConditionError> {
        match (self.cut.get(name), self.names.get(name).and_then(Json::as_str)) {
            (None, Some(text)) => Ok(text),
            (Some(cut), _) => Err(ConditionError(format!("{name} {cut}"))),
            (None, None) => Err(ConditionError(format!("there is no {name}"))),
        }
    }
}

/// Bytes as text, and whether it is all of them: what is not UTF-8 is replaced.
pub fn text_of(bytes: Vec<u8>) -> (String, bool) {
    match String::from_utf8(bytes) {
        Ok(text) => (text, true),
        Err(error) => (String::from_utf8_lossy(error.as_bytes()).into_owned(), false),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_reads_a_part_has_no_value_and_the_rest_is_decided() {
        let names = json!({ "stdout": "the end", "stderr": "", "exit_code": 0 })
            .as_object()
            .cloned()
            .unwrap();
        let cut = BTreeMap::from([(
            "stdout".to_owned(),
            Cut::Start { had: 1_258_291, kept: Size::from_mib(1) },
        )]);
        let view = Reading { names, cut, ..Reading::default() }
            .view(&json!({ "want": "x", "stdout": "from around" }));
        let holds = |source: &str| view.holds(&Condition::compile(source).unwrap());
        assert_eq!(holds("exit_code == 0 && stderr == ''"), Ok(true));
        assert_eq!(
            holds("['stdout'].exists(stdout, stdout == 'stdout')"),
            Ok(true),
            "a name of its own"
        );
        for source in [
            "stdout.contains('x')",
            "size(stdout) > 3",
            "exit_code == 0 || stdout == ''",
            "!(want in [stdout])",
            "[1].all(n, [stdout] == [])",
            "{'a': stdout}['a'] == ''",
            "has(stdout.x)",
            "stdout == 'the end' ? true : true",
            "{stdout: 1} == {}",
        ] {
            let why = holds(source).unwrap_err().0;
            assert!(
                why.contains("stdout has 1.2 MiB, and only its last 1 MiB was kept"),
                "{source}: {why}"
            );
            assert!(view.evaluate(&Condition::compile(source).unwrap()).is_err(), "{source}");
        }
        // Whatever spells the name otherwise does not find it at all.
        if let Ok(condition) = Condition::compile(".stdout.contains('end')") {
            assert!(view.holds(&condition).is_err());
        }
    }
}
