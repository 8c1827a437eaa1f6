//! Lengths of time as people write them: `45s`, `1h30m`, `250ms`, `2d`. Knows no clock.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A length of time in whole milliseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Span(u64);

/// The longest span: ten years. Longer ones are a slip of the hand, and sums of these cannot
/// overflow.
const MAX_MILLIS: u64 = 10 * 366 * 24 * 3_600_000;

const UNITS: [(&str, u64); 5] =
    [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];

impl Span {
    pub const ZERO: Span = Span(0);

    pub const fn from_millis(millis: u64) -> Span {
        Span(millis)
    }

    pub const fn from_secs(secs: u64) -> Span {
        Span(secs * 1000)
    }

    pub const fn as_millis(self) -> u64 {
        self.0
    }

    pub const fn as_duration(self) -> Duration {
        Duration::from_millis(self.0)
    }
}

impl From<Duration> for Span {
    /// Its whole milliseconds.
    fn from(duration: Duration) -> Span {
        Span(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
    }
}

impl std::ops::Add for Span {
    type Output = Span;
    fn add(self, other: Span) -> Span {
        Span(self.0.saturating_add(other.0))
    }
}

impl std::iter::Sum for Span {
    fn sum<I: Iterator<Item = Span>>(spans: I) -> Span {
        spans.fold(Span::ZERO, |sum, span| sum + span)
    }
}

/// A text that is not a length of time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a duration; write for example 30s, 5m, 1h30m, 250ms or 2d")]
pub struct SpanError(String);

impl FromStr for Span {
    type Err = SpanError;

    fn from_str(text: &str) -> Result<Span, SpanError> {
        let error = || SpanError(text.to_owned());
        let mut rest = text.trim();
        let (mut total, mut smallest) = (0u64, u64::MAX);
        if rest.is_empty() {
            return Err(error());
        }
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(error)?;
            let (number, tail) = rest.split_at(digits);
            let letters = tail.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(tail.len());
            let (unit, tail) = tail.split_at(letters);
            let factor = UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(error)?.1;
            // Units come from large to small, each once: "5m2h" is more likely a mistake than
            // meant.
            if factor >= smallest {
                return Err(error());
            }
            smallest = factor;
            let millis =
                number.parse::<u64>().ok().and_then(|n| n.checked_mul(factor)).ok_or_else(error)?;
            total =
                total.checked_add(millis).filter(|total| *total <= MAX_MILLIS).ok_or_else(error)?;
            rest = tail.trim_start();
        }
        Ok(Span(total))
    }
}

impl fmt::Display for Span {
    /// The two largest units that matter: `1h 30m`, `4m 10s`, `1.2s`, `250ms`.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = self.0;
        match millis {
            0..1000 => write!(out, "{millis}ms"),
            1000..10_000 if !millis.is_multiple_of(1000) => {
                write!(out, "{}.{}s", millis / 1000, millis % 1000 / 100)
            }
            1000..60_000 => write!(out, "{}s", millis / 1000),
            60_000..3_600_000 => pair(out, millis / 60_000, "m", millis % 60_000 / 1000, "s"),
            3_600_000..86_400_000 => {
                pair(out, millis / 3_600_000, "h", millis % 3_600_000 / 60_000, "m")
            }
            _ => pair(out, millis / 86_400_000, "d", millis % 86_400_000 / 3_600_000, "h"),
        }
    }
}

fn pair(
    out: &mut fmt::Formatter<'_>,
    large: u64,
    large_unit: &str,
    small: u64,
    small_unit: &str,
) -> fmt::Result {
    match small {
        0 => write!(out, "{large}{large_unit}"),
        _ => write!(out, "{large}{large_unit} {small}{small_unit}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_people_write() {
        for (text, millis) in [
            ("30s", 30_000),
            ("1h30m", 5_400_000),
            ("1h 30m", 5_400_000),
            ("250ms", 250),
            ("2d", 172_800_000),
            ("0s", 0),
        ] {
            assert_eq!(text.parse::<Span>(), Ok(Span(millis)), "{text}");
        }
        for text in [
            "",
            "5",
            "s",
            "5 m",
            "-5m",
            "1.5h",
            "5m2h",
            "5m5m",
            "4000d",
            "99999999999999999999s",
            "5M",
        ] {
            assert!(text.parse::<Span>().is_err(), "{text}");
        }
    }

    #[test]
    fn shows_two_units_that_matter() {
        let shown = |millis| Span(millis).to_string();
        assert_eq!(
            [shown(999), shown(1200), shown(61_000), shown(3_600_000), shown(90_000_000)],
            ["999ms", "1.2s", "1m 1s", "1h", "1d 1h"]
        );
    }
}
