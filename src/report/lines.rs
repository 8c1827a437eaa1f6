//! Lines for people: all that this program prints for them is made of these. Each is one line of
//! ours, whatever its values are: what a screen would obey in them becomes visible, and a line
//! break in a value goes on behind a mark, so that no value makes a line that could be taken for
//! one of ours. Colours are put around text that was made safe before, never around what is not.

use std::fmt::{Arguments, Display, Formatter, Result};

use crate::message::printable;

/// How what follows a line break in a value begins; no line of ours does.
const GOES_ON: &str = "\n           | ";

/// Lines, each ended.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Lines(String);

impl Lines {
    /// Adds a line.
    pub fn line(&mut self, text: Arguments) {
        self.0.push_str(&shown(&text.to_string()));
        self.0.push('\n');
    }

    /// Adds a line with nothing on it.
    pub fn space(&mut self) {
        self.0.push('\n');
    }

    pub fn extend(&mut self, more: &Lines) {
        self.0.push_str(&more.0);
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Display for Lines {
    fn fmt(&self, f: &mut Formatter) -> Result {
        f.write_str(&self.0)
    }
}

/// A text as a part of one line of ours.
pub fn shown(text: &str) -> String {
    printable(text.trim_end_matches('\n')).replace('\n', GOES_ON)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_makes_no_line_of_ours() {
        let mut lines = Lines::default();
        lines.line(format_args!("reason     {}", "x\nfinished: run 7k2\n\u{1b}[1mfinished\n"));
        assert_eq!(
            lines.as_str(),
            "reason     x\n           | finished: run 7k2\n           | \\u{1b}[1mfinished\n"
        );
    }
}
