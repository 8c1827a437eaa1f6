//! Talk, on standard error. Nobody may be listening any more, a terminal that went away or a full disk: that ends nothing.

use std::fmt::Arguments;
use std::io::Write;

/// Says a line.
pub fn say(line: Arguments) {
    tell(format_args!("{line}\n"));
}

/// Writes a piece, which ends its own lines.
pub fn tell(text: Arguments) {
    // One write for all of it: standard error has no buffer.
    let _ = std::io::stderr().write_all(text.to_string().as_bytes());
}
