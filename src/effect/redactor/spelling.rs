//! What common tools make of a value when they print it: the spellings in which a secret is looked
//! for. It knows one value at a time, and no stream.

use super::BLOCK;

/// A value is masked without the white space around it, unless that leaves fewer bytes than this.
const LEAST: usize = 6;
/// A line of a multi-line value is masked by itself only if it has this many characters, ...
const LINE_CHARS: usize = 8;
/// ... and this many different ones, which a ruler or a row of brackets has not.
const LINE_VARIETY: usize = 4;

const LOWER_HEX: &[u8] = b"0123456789abcdef";
const UPPER_HEX: &[u8] = b"0123456789ABCDEF";
pub const BASE64: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
pub const BASE64_URL: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
/// The columns at which `openssl` and `base64` break their lines.
const BASE64_COLUMNS: [usize; 2] = [64, 76];

/// What URL encoders leave as it is, besides letters and digits.
const URL_KEPT: [&str; 14] = [
    "-._~",                         // RFC 3986, `jq @uri`, Go's queries
    "-._~/",                        // Python's `quote`
    "-._",                          // PHP's and older Python's forms
    "-._*",                         // the WHATWG's and Java's forms
    "-._*+/@",                      // `escape`
    "-._~!*()",                     // `encodeURIComponent`, then `URL`
    "-._~!*'()",                    // `encodeURIComponent`
    "-._~!*'();,/?:@&=+$#",         // `encodeURI`
    "-._~$&+,;=",                   // Go's user information
    "-._~$&+=:@",                   // Go's path segments
    "-._~!$&'()*+,;=:@/?",          // RFC 3986, path and query
    "-._~!$%&'()*+,",               // the WHATWG's user information
    "-._~!$%&'()*+,/:;=@[\\]|",     // the WHATWG's path
    "-._~!$%&()*+,/:;=@[\\]|?^`{}", // the WHATWG's query
];
/// What JSON encoders that fear HTML write as a code point.
const JSON_FEARED: [&str; 5] = ["", "<>&\u{2028}\u{2029}", "<>&'\"+`", "<>&'", "<>&='"];
/// What JSON writes as a backslash and a letter, and the letters.
const JSON_LETTERS: (&str, &str) = ("\n\r\t\u{8}\u{c}\"\\", "nrtbf\"\\");
/// The same for shells, between `$'` and `'`.
const SHELL_LETTERS: (&str, &str) = ("\n\r\t\u{8}\u{c}\u{7}\u{b}\u{1b}'\\", "nrtbfavE'\\");
/// What is quoted by a backslash before it: inside backquotes, inside `"`, in MySQL, and by `printf
/// %q`.
const BACKSLASHED: [&str; 4] = ["\\", "\\\"$`", "\\\"'", " !\"$&'()*,;<>?[\\]^`{|}"];
/// What the more timid put no backslash before, besides letters and digits.
const NOT_BACKSLASHED: [&str; 2] = ["_", "_-.,:+/@"];
/// What tools put between the bytes that they print in hexadecimal digits.
const HEX_SEPARATORS: [&str; 6] = ["", ":", " ", "-", "\\x", ", 0x"];
/// What becomes of `'` and `"` in HTML and XML.
const HTML_QUOTES: [(&str, &str); 9] = [
    ("'", "\""),
    ("'", "&quot;"),
    ("&#x27;", "&quot;"),
    ("&#39;", "&quot;"),
    ("&#39;", "&#34;"),
    ("&#039;", "&quot;"),
    ("&#039;", "&#034;"),
    ("&apos;", "&quot;"),
    ("&apos;", "&#34;"),
];
/// What HTML encoders that fear attributes without quotes write as a number.
const HTML_FEARED: [&str; 3] = ["", "/", "/`="];
/// What a `'` becomes between two others.
const SHELL_QUOTES: [&str; 2] = [r"'\''", r#"'"'"'"#];

/// What a value may look like in a tool's output; some may come twice.
pub fn spellings(value: &str) -> Vec<String> {
    let trimmed = value.trim();
    let value = if trimmed.len() < LEAST { value } else { trimmed };
    let mut found = Vec::new();
    if value.len() < BLOCK {
        return found;
    }
    spell_as_text(value, &mut found);
    for digits in [BASE64, BASE64_URL] {
        spell_in_base64(value.as_bytes(), digits, &mut found);
    }
    spell_in_base32(value.as_bytes(), &mut found);
    for hex in [LOWER_HEX, UPPER_HEX] {
        found.extend(HEX_SEPARATORS.map(|separator| in_hex(value, separator, hex)));
    }
    if value.is_ascii() {
        // UTF-16, from the first byte that is not 0 to the last.
        found.push(value.chars().map(String::from).collect::<Vec<_>>().join("\0"));
    }
    // A key is often kept on one line, with `\n` in writing, and printed on several.
    let lines = value.lines().flat_map(|line| line.split("\\n")).map(str::trim);
    lines
        .filter(|line| *line != value && is_telling(line))
        .for_each(|line| spell_as_text(line, &mut found));
    found
}

/// Whether a line of a secret is secret itself.
fn is_telling(line: &str) -> bool {
    let is_boundary = line.starts_with("-----") && line.ends_with("-----");
    let mut chars: Vec<char> = line.chars().filter(|c| !c.is_whitespace()).collect();
    let is_long = chars.len() >= LINE_CHARS;
    chars.sort_unstable();
    chars.dedup();
    is_long && chars.len() >= LINE_VARIETY && !is_boundary
}

/// Spells a value as tools do, and each of these spellings again as the most common of them do: a
/// log tells in JSON of a request that was JSON itself.
fn spell_as_text(value: &str, found: &mut Vec<String>) {
    found.push(value.to_owned());
    if value.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return;
    }
    let mut once = vec![value.to_owned()];
    spell_once(value, &mut once);
    once.sort_unstable();
    once.dedup();
    for text in &once {
        spell_again(text, found);
    }
    found.append(&mut once);
}

/// The spellings in which others are found most often.
fn spell_again(text: &str, found: &mut Vec<String>) {
    for feared in distinct(&JSON_FEARED[..2], text) {
        for ascii in either(text.chars().any(is_beyond_ascii)) {
            found.push(in_json(text, &feared, ascii, false, LOWER_HEX));
        }
    }
    if text.contains(['\'', '"', '&', '<', '>']) {
        found.extend(HTML_QUOTES.map(|(single, double)| in_html(text, single, double, "", false)));
    }
    found.push(in_url(text, "-._~", false, UPPER_HEX));
    found.extend(['\'', '"'].map(|quote| doubled(text, quote)));
}

fn spell_once(value: &str, found: &mut Vec<String>) {
    for hex in [LOWER_HEX, UPPER_HEX] {
        for kept in distinct(&URL_KEPT, value) {
            found.extend(either(value.contains(' ')).map(|plus| in_url(value, &kept, plus, hex)));
        }
        for feared in distinct(&JSON_FEARED, value) {
            for ascii in either(value.chars().any(is_beyond_ascii)) {
                found.extend(
                    either(value.contains('/'))
                        .map(|slash| in_json(value, &feared, ascii, slash, hex)),
                );
            }
        }
    }
    for feared in distinct(&HTML_FEARED, value) {
        for ascii in either(!value.is_ascii()) {
            found.extend(
                HTML_QUOTES.map(|(single, double)| in_html(value, single, double, &feared, ascii)),
            );
        }
    }
    found.extend([false, true].map(|hex| in_numbers(value, hex)));
    found.extend(['\'', '"'].map(|quote| doubled(value, quote)));
    found.extend(["", "\""].map(|kept| in_python_bytes(value, kept)));
    found.extend([LOWER_HEX, UPPER_HEX].map(|hex| in_latin(value, hex)));
    found.extend(
        either(value.contains([' ', '\t'])).map(|spaces| in_quoted_printable(value, spaces)),
    );
    found.extend(SHELL_QUOTES.map(|quote| value.replace('\'', quote)));
    found.extend(BACKSLASHED.map(|special| backslashed(value, |c| special.contains(c))));
    found.extend(
        NOT_BACKSLASHED.map(|plain| backslashed(value, |c| c.is_ascii() && !plain.contains(c))),
    );
    found.extend([false, true].map(|ascii| in_shell_quotes(value, ascii)));
}

/// Both ways to go about something, or only the one if the value has no use for the other.
fn either(is_used: bool) -> impl Iterator<Item = bool> {
    [false, true].into_iter().take(1 + usize::from(is_used))
}

/// The sets, cut down to what matters for this value, each once.
fn distinct(sets: &[&str], value: &str) -> Vec<String> {
    let mut cut: Vec<String> =
        sets.iter().map(|set| set.chars().filter(|&c| value.contains(c)).collect()).collect();
    cut.sort_unstable();
    cut.dedup();
    cut
}

/// Spells all but letters and digits, which no tool escapes, by a rule.
fn escaped(value: &str, mut escape: impl FnMut(char, &mut String)) -> String {
    let mut out = String::with_capacity(2 * value.len());
    for c in value.chars() {
        if c.is_ascii_alphanumeric() { out.push(c) } else { escape(c, &mut out) }
    }
    out
}

/// Appends a number's lowest `count` digits of so many bits each.
fn put(out: &mut String, number: u32, bits: u32, count: u32, digits: &[u8]) {
    let mask = (1 << bits) - 1;
    out.extend(
        (0..count)
            .rev()
            .map(|place| char::from(digits[(number >> (place * bits) & mask) as usize])),
    );
}

/// Appends each of a character's bytes as a prefix and digits.
fn put_bytes(out: &mut String, c: char, prefix: &str, bits: u32, count: u32, digits: &[u8]) {
    for byte in c.encode_utf8(&mut [0; 4]).bytes() {
        out.push_str(prefix);
        put(out, byte.into(), bits, count, digits);
    }
}

/// Each byte as two digits, with something between them.
fn in_hex(value: &str, separator: &str, hex: &[u8]) -> String {
    let mut out = String::with_capacity((2 + separator.len()) * value.len());
    value.chars().for_each(|c| put_bytes(&mut out, c, separator, 4, 2, hex));
    out.split_off(separator.len())
}

/// What HTML and XML have names for, and what is feared, or is no ASCII, as a number; quotes
/// differ.
fn in_html(value: &str, single: &str, double: &str, feared: &str, ascii: bool) -> String {
    escaped(value, |c, out| match c {
        _ if feared.contains(c) => out.push_str(&format!("&#x{:X};", u32::from(c))),
        _ if ascii && !c.is_ascii() => out.push_str(&format!("&#{};", u32::from(c))),
        '&' => out.push_str("&amp;"),
        '<' => out.push_str("&lt;"),
        '>' => out.push_str("&gt;"),
        '\'' => out.push_str(single),
        '"' => out.push_str(double),
        _ => out.push(c),
    })
}

/// All but letters and digits as numbers, as HTML encoders do that trust nothing.
fn in_numbers(value: &str, hex: bool) -> String {
    escaped(value, |c, out| {
        let number = u32::from(c);
        out.push_str(&if hex { format!("&#x{number:X};") } else { format!("&#{number};") });
    })
}

/// As SQL, YAML and CSV write a quote between quotes.
fn doubled(value: &str, quote: char) -> String {
    value.replace(quote, &format!("{quote}{quote}"))
}

/// As Python shows bytes, within `'` unless only `'` is in them.
fn in_python_bytes(value: &str, kept: &str) -> String {
    escaped(value, |c, out| match c {
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        '\\' => out.push_str("\\\\"),
        '\'' if kept.is_empty() => out.push_str("\\'"),
        ' '..='~' => out.push(c),
        _ => put_bytes(out, c, "\\x", 4, 2, LOWER_HEX),
    })
}

/// As YAML between `"`, and Python's `ascii`, write what is no ASCII: by its number, in two digits
/// if that is enough.
fn in_latin(value: &str, hex: &[u8]) -> String {
    escaped(value, |c, out| match u32::from(c) {
        number @ 0x80..0x100 => {
            out.push_str("\\x");
            put(out, number, 4, 2, hex);
        }
        0x100..0x10000 => put_code_point(out, c, hex),
        number @ 0x10000.. => {
            out.push_str("\\U");
            put(out, number, 4, 8, hex);
        }
        _ => match letter(c, JSON_LETTERS) {
            Some(letter) if c != '"' => out.extend(['\\', letter]),
            _ => out.push(c),
        },
    })
}

/// As mails write what is not ASCII, on one line; and spaces, if they are to outlive any relay.
fn in_quoted_printable(value: &str, spaces: bool) -> String {
    escaped(value, |c, out| match c {
        ' ' if spaces => out.push_str("=20"),
        ' '..='~' if c != '=' => out.push(c),
        _ => put_bytes(out, c, "=", 4, 2, UPPER_HEX),
    })
}

fn in_url(value: &str, kept: &str, plus: bool, hex: &[u8]) -> String {
    escaped(value, |c, out| match c {
        ' ' if plus => out.push('+'),
        _ if kept.contains(c) => out.push(c),
        _ => put_bytes(out, c, "%", 4, 2, hex),
    })
}

fn in_json(value: &str, feared: &str, ascii: bool, slash: bool, hex: &[u8]) -> String {
    escaped(value, |c, out| match letter(c, JSON_LETTERS) {
        _ if feared.contains(c) || ascii && is_beyond_ascii(c) => put_code_point(out, c, hex),
        Some(letter) => out.extend(['\\', letter]),
        None if c < ' ' => put_code_point(out, c, hex),
        None if c == '/' && slash => out.push_str("\\/"),
        None => out.push(c),
    })
}

/// What the cautious escape though it needs none, the delete character among it.
fn is_beyond_ascii(c: char) -> bool {
    c > '~'
}

fn put_code_point(out: &mut String, c: char, hex: &[u8]) {
    for unit in c.encode_utf16(&mut [0; 2]) {
        out.push_str("\\u");
        put(out, (*unit).into(), 4, 4, hex);
    }
}

fn in_shell_quotes(value: &str, ascii: bool) -> String {
    escaped(value, |c, out| match letter(c, SHELL_LETTERS) {
        Some(letter) => out.extend(['\\', letter]),
        None if c.is_ascii_control() || ascii && !c.is_ascii() => {
            put_bytes(out, c, "\\", 3, 3, LOWER_HEX)
        }
        None => out.push(c),
    })
}

fn letter(c: char, (from, to): (&str, &str)) -> Option<char> {
    from.chars().zip(to.chars()).find(|pair| pair.0 == c).map(|pair| pair.1)
}

fn backslashed(value: &str, is_special: impl Fn(char) -> bool) -> String {
    escaped(value, |c, out| {
        if is_special(c) {
            out.push('\\');
        }
        out.push(c);
    })
}

/// Spells a value at each of the three places it may have in a longer base64 text, without the
/// digits it shares with what is before it: in the midst of that text, at its end, and at its end
/// with padding.
fn spell_in_base64(value: &[u8], digits: &[u8], found: &mut Vec<String>) {
    for (before, shared) in [(0, 0), (1, 2), (2, 3)] {
        let bytes = [&[0; 2][..before], value].concat();
        let (text, padding) = base64(&bytes, digits);
        let own = &text[shared..bytes.len() * 8 / 6];
        let last = &text[shared..];
        found.extend([own.to_owned(), last.to_owned(), last.to_owned() + padding]);
        if before == 0 {
            for columns in BASE64_COLUMNS {
                let lines = (0..own.len())
                    .step_by(columns)
                    .map(|start| &own[start..own.len().min(start + columns)]);
                found.extend(lines.filter(|line| line.len() >= LINE_CHARS).map(str::to_owned));
            }
        }
    }
}

/// The same in base32, of which five bytes make eight digits.
fn spell_in_base32(value: &[u8], found: &mut Vec<String>) {
    for before in 0..5 {
        let bytes = [&[0; 4][..before], value].concat();
        let text = data_encoding::BASE32.encode(&bytes);
        let own = (before * 8).div_ceil(5)..bytes.len() * 8 / 5;
        let last = (bytes.len() * 8).div_ceil(5);
        for text in [text.to_ascii_lowercase(), text] {
            found.extend(
                [&text[own.clone()], &text[own.start..last], &text[own.start..]].map(str::to_owned),
            );
        }
    }
}

/// The text, and the padding that goes with it.
pub fn base64(bytes: &[u8], digits: &[u8]) -> (String, &'static str) {
    let mut text = String::with_capacity(bytes.len() / 3 * 4 + 4);
    for group in bytes.chunks(3) {
        let bits =
            group.iter().chain(&[0; 2]).take(3).fold(0, |bits, &byte| bits * 256 + u32::from(byte));
        put(&mut text, bits, 6, 4, digits);
    }
    let padding = &"=="[..(3 - bytes.len() % 3) % 3];
    text.truncate(text.len() - padding.len());
    (text, padding)
}
