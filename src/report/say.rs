//! Talk, on standard error. Nobody may be listening any more, a terminal that went away or a full
//! disk: that ends nothing.

use std::fmt::Arguments;
use std::io::Write;

use console::Style;

use super::lines::{Lines, shown};

/// Says a line.
pub fn say(line: Arguments) {
    let mut lines = Lines::default();
    lines.line(line);
    tell(&lines);
}

/// Says lines.
pub fn tell(lines: &Lines) {
    write(lines.as_str());
}

/// Says a line whose parts have colours, if standard error shows any.
pub fn say_in_colours(parts: &[(Style, &str)]) {
    let parts: Vec<String> = parts
        .iter()
        .map(|(style, text)| style.clone().for_stderr().apply_to(shown(text)).to_string())
        .collect();
    write(&(parts.concat() + "\n"));
}

/// Asks: the answer is given on the same line.
pub fn ask(question: &str) {
    write(&shown(question));
}

/// What the library that draws problems made of texts that were made safe before.
pub fn draw(drawn: &str) {
    write(drawn);
}

fn write(text: &str) {
    // One write for all of it: standard error has no buffer.
    let _ = std::io::stderr().write_all(text.as_bytes());
}
