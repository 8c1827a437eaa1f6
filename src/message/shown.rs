//! Text of others made safe to show. Knows no terminal: it says which characters a screen would
//! obey instead of showing them.

use std::fmt::Write;

/// Text from outside made safe to show: what a screen would obey becomes visible; line breaks and
/// tabs stay.
pub fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' | '\t' => out.push(c),
            c if is_obeyed(c) => out.extend(c.escape_default()),
            c => out.push(c),
        }
    }
    out
}

/// The same text with each such character replaced by one that stands for it, so that lines and
/// columns stay as they are.
pub fn in_place(text: &str) -> String {
    text.chars()
        .map(|c| if is_obeyed(c) && !matches!(c, '\n' | '\t') { '\u{fffd}' } else { c })
        .collect()
}

/// A subject has one line, whatever stands in the values.
pub fn one_line(text: &str) -> String {
    printable(
        &text
            .split(|c: char| c.is_control())
            .filter(|part| !part.is_empty())
            .collect::<Vec<_>>()
            .join(" "),
    )
}

/// JSON in which such characters are written as escapes: the same data, and nothing that a screen
/// obeys. They stand only in strings, as JSON has none of them elsewhere but the line breaks
/// between its parts.
pub fn json_shown(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        if c == '\n' || !is_obeyed(c) {
            out.push(c);
            continue;
        }
        for unit in c.encode_utf16(&mut [0; 2]) {
            let _ = write!(out, "\\u{unit:04x}");
        }
    }
    out
}

/// Control characters, what ends a line elsewhere, what reverses what follows, and what is not seen
/// at all. The two joiners and the last variation selector stay: scripts and emoji need them.
fn is_obeyed(c: char) -> bool {
    c.is_control()
        || is_bidi_control(c)
        || matches!(
            c,
            '\u{ad}' | '\u{180e}' | '\u{200b}' | '\u{2028}' | '\u{2029}' | '\u{2060}'..='\u{2064}'
        )
        || matches!(
            c,
            '\u{34f}' | '\u{115f}' | '\u{1160}' | '\u{3164}' | '\u{ffa0}' | '\u{fe00}'
                ..='\u{fe0e}' | '\u{2800}'
        )
        || matches!(
            c,
            '\u{206a}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}'
        )
}

/// The Unicode property `Bidi_Control`: text can be in any script without them, and with them it
/// reads as something else than it is.
fn is_bidi_control(c: char) -> bool {
    matches!(
        c,
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOSTILE: &str = "a\u{1b}[2J\r\u{7f}\u{9b}31m\u{202e}\u{2066}\u{2028}\u{e0041}\u{200b}z";

    #[test]
    fn nothing_that_a_screen_obeys_is_left() {
        for shown in [printable(HOSTILE), in_place(HOSTILE), one_line(HOSTILE), json_shown(HOSTILE)]
        {
            assert!(
                !shown.contains(is_obeyed) && shown.starts_with('a') && shown.ends_with('z'),
                "{shown:?}"
            );
        }
        assert_eq!(in_place(HOSTILE).chars().count(), HOSTILE.chars().count());
    }

    #[test]
    fn json_says_the_same() {
        let value = serde_json::json!({ HOSTILE: [HOSTILE, "é\u{200d}"] });
        let shown = json_shown(&format!("{value:#}"));
        assert!(!shown.replace('\n', "").contains(is_obeyed), "{shown:?}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&shown).unwrap(), value);
    }
}
