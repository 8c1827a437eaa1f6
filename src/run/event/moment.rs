//! Moments, as they stand in a journal. Knows no clock.

use std::fmt;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A moment, in whole milliseconds of UTC. For people: it never decides what comes next in a log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(pub i64);

impl Moment {
    /// For people; a moment that no calendar has is shown as its beginning.
    pub fn to_utc(self) -> DateTime<Utc> {
        DateTime::from_timestamp_millis(self.0).unwrap_or_default()
    }

    /// The moment so much later.
    pub fn after(self, span: crate::runbook::Span) -> Moment {
        Moment(self.0.saturating_add_unsigned(span.as_millis()))
    }

    /// Milliseconds since `earlier`, never negative: a clock that was set back shows no time
    /// passed.
    pub fn since(self, earlier: Moment) -> crate::runbook::Span {
        crate::runbook::Span::from_millis(u64::try_from(self.0 - earlier.0).unwrap_or(0))
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.to_utc().to_rfc3339_opts(SecondsFormat::Millis, true))
    }
}

impl Serialize for Moment {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Moment, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(from)?;
        DateTime::parse_from_rfc3339(&text)
            .map(|time| Moment(time.timestamp_millis()))
            .map_err(serde::de::Error::custom)
    }
}
