//! Amounts of bytes as people write them: `64KiB`, `1MiB`, `500kB`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A number of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Size(u64);

const UNITS: [(&str, u64); 5] =
    [("B", 1), ("kB", 1000), ("KiB", 1 << 10), ("MB", 1_000_000), ("MiB", 1 << 20)];

impl Size {
    /// What is kept is held in memory, several times over.
    pub const MOST: Size = Size::from_mib(64);

    pub const fn from_mib(mib: u64) -> Size {
        Size(mib << 20)
    }

    pub const fn from_bytes(bytes: u64) -> Size {
        Size(bytes)
    }

    pub const fn as_bytes(self) -> u64 {
        self.0
    }
}

/// A text that is not an amount of bytes, or not one that can be kept.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SizeError {
    #[error("`{0}` is not a size; write for example 64KiB, 1MiB or 500kB")]
    NotASize(String),
    #[error("`{0}` is more than can be kept: {most} at most", most = Size::MOST)]
    TooLarge(String),
}

impl FromStr for Size {
    type Err = SizeError;

    fn from_str(text: &str) -> Result<Size, SizeError> {
        let error = || SizeError::NotASize(text.to_owned());
        let digits = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(error)?;
        let (number, unit) = text.split_at(digits);
        let factor = UNITS.iter().find(|(name, _)| *name == unit.trim()).ok_or_else(error)?.1;
        let number = number.parse::<u64>().map_err(|_| error())?;
        let size = number.checked_mul(factor).map(Size).filter(|size| *size <= Size::MOST);
        size.ok_or_else(|| SizeError::TooLarge(text.to_owned()))
    }
}

impl fmt::Display for Size {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, word) = match self.0 {
            0..1024 => return write!(out, "{} bytes", self.0),
            1024..1_048_576 => (1 << 10, "KiB"),
            _ => (1 << 20, "MiB"),
        };
        match self.0 % unit {
            0 => write!(out, "{} {word}", self.0 / unit),
            _ => write!(out, "{:.1} {word}", self.0 as f64 / unit as f64),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_and_shown() {
        for (text, bytes, shown) in [
            ("0B", 0, "0 bytes"),
            ("64KiB", 65_536, "64 KiB"),
            ("1 MiB", 1 << 20, "1 MiB"),
            ("500kB", 500_000, "488.3 KiB"),
            ("64MiB", 64 << 20, "64 MiB"),
        ] {
            let size: Size = text.parse().unwrap();
            assert_eq!((size.as_bytes(), size.to_string().as_str()), (bytes, shown), "{text}");
        }
        for text in
            ["", "1", "MiB", "-1MiB", "1.5MiB", "1mib", "1 M", "65MiB", "99999999999999999999MiB"]
        {
            assert!(text.parse::<Size>().is_err(), "{text}");
        }
    }
}
