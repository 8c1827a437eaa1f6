//! What columns of different databases have in common, and one text for each value, the same
//! wherever it comes from. Knows no database.

use std::borrow::Cow;

use serde_json::Value as Json;

/// What a column is made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    Integer,
    Decimal,
    Single,
    Double,
    Text,
    Bytes,
    Boolean,
    Date,
    Time,
    Timestamp,
    /// A point in time, which is shown in a zone.
    Instant,
    Uuid,
    Json,
    /// Something of its own, which has a text.
    Other,
}

/// How the values of two columns are made the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Integer,
    Decimal,
    Real,
    Text,
    Bytes,
    Boolean,
    Date,
    Time,
    Timestamp,
    /// Dates and times between two of MySQL, which knows more of them than others: 0000-00-00, and
    /// 500 hours.
    Moment,
    Uuid,
    Json,
}

/// How a column's values become another's, if they can.
pub fn kind(source: Class, target: Class) -> Option<Kind> {
    use Class::*;
    Some(match (source, target) {
        (Integer, Integer) => Kind::Integer,
        (Decimal | Integer | Text, Decimal) | (Decimal, Text) => Kind::Decimal,
        (Single | Double, Single | Double) => Kind::Real,
        (Boolean, Boolean | Integer) | (Integer, Boolean) => Kind::Boolean,
        (Bytes, Bytes) => Kind::Bytes,
        (Text | Other, Text) => Kind::Text,
        (Date, Date | Text) | (Text, Date) => Kind::Date,
        (Time, Time | Text) | (Text, Time) => Kind::Time,
        (Timestamp | Instant, Timestamp | Instant | Text) | (Text, Timestamp | Instant) => {
            Kind::Timestamp
        }
        (Uuid, Uuid | Text) | (Text, Uuid) => Kind::Uuid,
        (Json, Json | Text) | (Text, Json) => Kind::Json,
        _ => return None,
    })
}

/// Whether keys of these are in the same order at both ends, once texts are ordered by their bytes.
pub fn is_ordered(source: Class, target: Class) -> bool {
    use Class::*;
    match (source, target) {
        (Single | Double | Json | Other, _) => false,
        (Integer, Decimal) | (Timestamp, Instant) | (Instant, Timestamp) => true,
        // What is written is the one text of each value, in which they are in order.
        (Uuid | Date | Timestamp | Instant, Text) => true,
        _ => source == target,
    }
}

impl Kind {
    /// The one text of a value.
    ///
    /// # Errors
    /// Why there is none.
    pub fn canonical(self, raw: &[u8]) -> Result<Cow<'_, [u8]>, &'static str> {
        if self == Kind::Bytes {
            return Ok(raw.into());
        }
        let text = std::str::from_utf8(raw).map_err(|_| "it is no UTF-8")?;
        let borrowed = |text: &'_ str| -> Cow<'_, [u8]> { Cow::Owned(text.as_bytes().to_vec()) };
        Ok(match self {
            Kind::Text | Kind::Bytes => raw.into(),
            Kind::Integer => integer(text).ok_or("it is no whole number")?,
            Kind::Decimal => decimal(text).ok_or("it is no finite number")?,
            Kind::Real => {
                let value: f64 = text.parse().map_err(|_| "it is no number")?;
                // Minus zero is zero to some.
                borrowed(&format!("{:?}", if value == 0.0 { 0.0 } else { value }))
            }
            Kind::Boolean => match text {
                "1" | "t" | "true" => b"1".as_slice().into(),
                "0" | "f" | "false" => b"0".as_slice().into(),
                _ => return Err("it is neither true nor false"),
            },
            Kind::Date => matches(text, "dddd-dd-dd")
                .filter(|text| is_day(text))
                .ok_or("it is no date that both know")?
                .as_bytes()
                .into(),
            Kind::Time => matches(fraction(text), "dd:dd:dd")
                .ok_or("it is no time of a day")?
                .as_bytes()
                .into(),
            Kind::Timestamp => timestamp(text).ok_or("it is no point in time that both know")?,
            Kind::Moment => fraction(text).as_bytes().into(),
            Kind::Uuid => uuid(text).ok_or("it is no UUID")?,
            Kind::Json => {
                let value: Json = serde_json::from_str(text).map_err(|_| "it is no JSON")?;
                let mut out = String::with_capacity(text.len());
                json(&value, &mut out);
                Cow::Owned(out.into_bytes())
            }
        })
    }
}

/// How many digits a value has behind its point.
pub fn places(value: &[u8]) -> usize {
    value.iter().rposition(|byte| *byte == b'.').map_or(0, |point| value.len() - point - 1)
}

/// Whether a number of single precision is all of it.
pub fn is_single(value: &[u8]) -> bool {
    let value = std::str::from_utf8(value).ok().and_then(|text| text.parse::<f64>().ok());
    value.is_some_and(|value| value.is_nan() || f64::from(value as f32) == value)
}

fn integer(text: &str) -> Option<Cow<'_, [u8]>> {
    let (sign, digits) = text.strip_prefix('-').map_or(("", text), |digits| ("-", digits));
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    // MySQL may fill with zeros.
    let short = digits.trim_start_matches('0');
    Some(match (short, short.len() == digits.len()) {
        ("", _) => b"0".as_slice().into(),
        (_, true) => text.as_bytes().into(),
        _ => Cow::Owned(format!("{sign}{short}").into_bytes()),
    })
}

fn decimal(text: &str) -> Option<Cow<'_, [u8]>> {
    let Some((whole, fraction)) = text.split_once('.') else { return integer(text) };
    if !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let whole = if matches!(whole, "" | "-") { format!("{whole}0") } else { whole.to_owned() };
    let short = String::from_utf8(integer(&whole)?.into_owned()).ok()?;
    Some(match fraction.trim_end_matches('0') {
        "" => Cow::Owned(short.into_bytes()),
        fraction => {
            let sign = if whole.starts_with('-') && short == "0" { "-" } else { "" };
            Cow::Owned(format!("{sign}{short}.{fraction}").into_bytes())
        }
    })
}

/// Without zeros at the end of its fraction.
fn fraction(text: &str) -> &str {
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { text }
}

fn timestamp(text: &str) -> Option<Cow<'_, [u8]>> {
    let text = text
        .strip_suffix('Z')
        .or_else(|| text.strip_suffix("+00:00"))
        .or_else(|| text.strip_suffix("+00"))
        .unwrap_or(text);
    let text = fraction(text);
    let day = is_day(text).then_some(text)?;
    match text.as_bytes().get(10)? {
        b' ' => matches(day, "dddd-dd-dd dd:dd:dd").map(|text| text.as_bytes().into()),
        b'T' => matches(day, "dddd-dd-ddTdd:dd:dd")
            .map(|text| Cow::Owned(text.replacen('T', " ", 1).into_bytes())),
        _ => None,
    }
}

/// Not 0000-00-00, nor a day 0 of a month.
fn is_day(text: &str) -> bool {
    text.get(0..4) != Some("0000") && text.get(5..7) != Some("00") && text.get(8..10) != Some("00")
}

/// The text, if it has this form, and digits behind a point at most.
fn matches<'a>(text: &'a str, form: &str) -> Option<&'a str> {
    let (head, tail) = text.split_at_checked(form.len())?;
    let fits = head
        .bytes()
        .zip(form.bytes())
        .all(|(byte, form)| if form == b'd' { byte.is_ascii_digit() } else { byte == form });
    let rest = tail.is_empty()
        || tail
            .strip_prefix('.')
            .is_some_and(|tail| tail.bytes().all(|byte| byte.is_ascii_digit()));
    // A date has no fraction.
    (fits && rest && (form.contains(':') || tail.is_empty())).then_some(text)
}

fn uuid(text: &str) -> Option<Cow<'_, [u8]>> {
    let digits: String =
        text.chars().filter(|c| *c != '-').collect::<String>().to_ascii_lowercase();
    if digits.len() != 32 || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let parts = [&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..]];
    Some(Cow::Owned(parts.join("-").into_bytes()))
}

fn json(value: &Json, out: &mut String) {
    match value {
        Json::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(whole), _) => out.push_str(&whole.to_string()),
            // PostgreSQL keeps 1.0 as it is, and SQLite may not.
            (None, Some(broken)) if broken.fract() == 0.0 && broken.abs() < 1e15 => {
                out.push_str(&format!("{broken:.0}"))
            }
            (None, Some(broken)) => out.push_str(&format!("{broken:?}")),
            (None, None) => out.push_str(&number.to_string()),
        },
        Json::Array(items) => {
            out.push('[');
            for item in items {
                json(item, out);
                out.push(',');
            }
            out.push(']');
        }
        Json::Object(map) => {
            let mut entries: Vec<_> = map.iter().collect();
            entries.sort_by_key(|(key, _)| key.as_str());
            out.push('{');
            for (key, item) in entries {
                out.push_str(&Json::from(key.as_str()).to_string());
                out.push(':');
                json(item, out);
                out.push(',');
            }
            out.push('}');
        }
        plain => out.push_str(&plain.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canonical(kind: Kind, raw: &str) -> Option<String> {
        kind.canonical(raw.as_bytes()).ok().map(|text| String::from_utf8_lossy(&text).into_owned())
    }

    #[test]
    fn a_value_has_one_text() {
        for (kind, raws, expected) in [
            (Kind::Integer, ["-7", "-007"].as_slice(), "-7"),
            (Kind::Integer, &["0", "000", "-0"], "0"),
            (Kind::Decimal, &["12.5", "12.50", "0012.500"], "12.5"),
            (Kind::Decimal, &["-0.25", "-.25", "-0.250"], "-0.25"),
            (Kind::Decimal, &["0", "0.00", "-0.0"], "0"),
            (Kind::Real, &["0.1", "1e-1", "0.10"], "0.1"),
            (Kind::Real, &["-0", "0", "0.0"], "0.0"),
            (Kind::Boolean, &["1", "t", "true"], "1"),
            (
                Kind::Timestamp,
                &[
                    "2026-01-02 03:04:05.500000",
                    "2026-01-02T03:04:05.5Z",
                    "2026-01-02 03:04:05.5+00",
                ],
                "2026-01-02 03:04:05.5",
            ),
            (
                Kind::Timestamp,
                &["2026-01-02 03:04:05", "2026-01-02 03:04:05.000"],
                "2026-01-02 03:04:05",
            ),
            (Kind::Time, &["03:04:00", "03:04:00.000"], "03:04:00"),
            (
                Kind::Uuid,
                &["A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11", "a0eebc999c0b4ef8bb6d6bb9bd380a11"],
                "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
            ),
            (
                Kind::Json,
                &["{\"b\":1.0,\"a\":[true, null]}", "{ \"a\" : [true,null], \"b\": 1 }"],
                "{\"a\":[true,null,],\"b\":1,}",
            ),
        ] {
            for raw in raws {
                assert_eq!(canonical(kind, raw).as_deref(), Some(expected), "{raw}");
            }
        }
    }

    #[test]
    fn what_not_both_know_has_none() {
        for (kind, raw) in [
            (Kind::Integer, "1.5"),
            (Kind::Integer, ""),
            (Kind::Decimal, "NaN"),
            (Kind::Boolean, "2"),
            (Kind::Date, "0000-00-00"),
            (Kind::Date, "2026-01-00"),
            (Kind::Date, "infinity"),
            (Kind::Date, "0044-03-15 BC"),
            (Kind::Time, "500:00:00"),
            (Kind::Timestamp, "0000-00-00 00:00:00"),
            (Kind::Timestamp, "infinity"),
            (Kind::Uuid, "x"),
            (Kind::Json, "{"),
        ] {
            assert_eq!(canonical(kind, raw), None, "{raw}");
        }
        assert!(Kind::Text.canonical(b"\xff").is_err());
    }
}
