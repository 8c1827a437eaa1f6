//! When a migration may be begun: on which days, from when to when, in which time zone. Knows no
//! clock: the time is an argument.

use chrono::{
    DateTime, Datelike, Days, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, TimeZone, Utc,
    Weekday,
};
use chrono_tz::Tz;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Span;

/// When the migration may be begun, and within which time it must fit.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct RawWindow {
    /// The environments that have it. Default: all, and a run without one.
    pub environments: Option<Vec<String>>,
    /// The days on which it opens, as `mon` or `sunday`. Default: each.
    pub days: Option<Vec<String>>,
    /// When it opens, as `02:00`.
    #[schemars(regex(pattern = r"^([01]\d|2[0-3]):[0-5]\d$"))]
    pub from: String,
    /// When it closes, as `04:00`; not later than `from`: on the next day.
    #[schemars(regex(pattern = r"^([01]\d|2[0-3]):[0-5]\d$"))]
    pub to: String,
    /// The time zone of both, as `Europe/Zurich`. Default UTC.
    pub zone: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// None: each day.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    days: Vec<Weekday>,
    from: NaiveTime,
    to: NaiveTime,
    zone: Tz,
}

const WEEK: u64 = 7;

/// How a window stands at some time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opening {
    Open {
        closes: DateTime<Tz>,
    },
    /// `opens` is the next time.
    Closed {
        opens: DateTime<Tz>,
    },
}

impl RawWindow {
    /// What it says.
    ///
    /// # Errors
    /// The key that is not understood, and why.
    pub fn checked(&self) -> Result<Window, (&'static str, String)> {
        let time = |key: &'static str, text: &str| {
            NaiveTime::parse_from_str(text, "%H:%M")
                .map_err(|_| (key, format!("`{text}` is no time of a day, as `02:00` is")))
        };
        let day = |text: &String| {
            text.parse::<Weekday>().map_err(|_| ("days", format!("`{text}` is no day of the week")))
        };
        let zone = self.zone.as_deref().unwrap_or("UTC");
        let zone = zone.parse().map_err(|_| {
            ("zone", format!("there is no time zone `{zone}`; write it as `Europe/Zurich`"))
        })?;
        if self.days.as_ref().is_some_and(Vec::is_empty) {
            return Err((
                "days",
                "a window that opens on no day never opens; without `days` it opens on each"
                    .to_owned(),
            ));
        }
        let days = self.days.iter().flatten().map(day).collect::<Result<_, _>>()?;
        Ok(Window { days, from: time("from", &self.from)?, to: time("to", &self.to)?, zone })
    }

    /// Whether a run in this environment has it.
    pub fn is_of(&self, environment: Option<&str>) -> bool {
        self.environments
            .as_ref()
            .is_none_or(|all| all.iter().any(|one| Some(one.as_str()) == environment))
    }
}

impl Window {
    /// Whether it opens again whenever it closes.
    pub fn is_always(&self) -> bool {
        self.adjoins() && self.days_in_a_row() == WEEK
    }

    /// How long it is open at most, by the clock on the wall.
    pub fn length(&self) -> Span {
        let length = self.to - self.from;
        let length = if length > TimeDelta::zero() { length } else { length + TimeDelta::days(1) };
        let times = if self.adjoins() { self.days_in_a_row() } else { 1 };
        Span::from_secs(length.num_seconds().unsigned_abs() * times)
    }

    pub fn at(&self, now: DateTime<Utc>) -> Opening {
        let mut open: Option<DateTime<Tz>> = None;
        for (opens, closes) in self.openings(now) {
            match open {
                Some(until) if opens <= until => open = Some(until.max(closes)),
                Some(until) => return Opening::Open { closes: until },
                None if opens > now => return Opening::Closed { opens },
                None => open = Some(closes),
            }
        }
        match open {
            Some(closes) => Opening::Open { closes },
            None => Opening::Closed { opens: now.with_timezone(&self.zone) + TimeDelta::days(7) },
        }
    }

    /// The openings of the next two weeks that are not over, each by itself.
    fn openings(&self, now: DateTime<Utc>) -> impl Iterator<Item = (DateTime<Tz>, DateTime<Tz>)> {
        let today = now.with_timezone(&self.zone).date_naive();
        // It may have opened yesterday, and there is none for more than a week only if days are
        // left out by the clock.
        let days = today.pred_opt().into_iter().flat_map(|first| {
            (0..16).filter_map(move |day| first.checked_add_days(Days::new(day)))
        });
        let its_own = days.filter(|day| self.days.is_empty() || self.days.contains(&day.weekday()));
        let opening = |day: NaiveDate| {
            let closing = if self.to > self.from { day } else { day + Days::new(1) };
            (self.moment(day, self.from), self.moment(closing, self.to))
        };
        // A clock that leaves out all of it leaves out the window.
        its_own.map(opening).filter(move |(opens, closes)| *closes > now && closes > opens)
    }

    /// Whether one day's opening ends when the next day's begins.
    fn adjoins(&self) -> bool {
        self.from == self.to
    }

    /// On how many days in a row it opens at most.
    fn days_in_a_row(&self) -> u64 {
        let row = |first: &Weekday| {
            let days = std::iter::successors(Some(*first), |day| Some(day.succ()));
            days.take(WEEK as usize).take_while(|day| self.days.contains(day)).count() as u64
        };
        self.days.iter().map(row).max().unwrap_or(WEEK)
    }

    /// A time of a day; one that the clock leaves out is an hour later.
    fn moment(&self, day: NaiveDate, time: NaiveTime) -> DateTime<Tz> {
        let wanted = day.and_time(time);
        let found = |wanted: NaiveDateTime| self.zone.from_local_datetime(&wanted).earliest();
        found(wanted)
            .or_else(|| found(wanted + TimeDelta::hours(1)))
            .unwrap_or_else(|| self.zone.from_utc_datetime(&wanted))
    }
}

impl std::fmt::Display for Window {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let days: Vec<String> = self.days.iter().map(ToString::to_string).collect();
        let days = if days.is_empty() { "every day".to_owned() } else { days.join(", ") };
        write!(
            out,
            "{days} {} to {} {}",
            self.from.format("%H:%M"),
            self.to.format("%H:%M"),
            self.zone
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(days: &[&str], from: &str, to: &str, zone: &str) -> Window {
        let days = Some(days.iter().map(|day| (*day).to_owned()).collect())
            .filter(|days: &Vec<String>| !days.is_empty());
        RawWindow {
            environments: None,
            days,
            from: from.into(),
            to: to.into(),
            zone: Some(zone.into()),
        }
        .checked()
        .unwrap()
    }

    fn at(window: &Window, now: &str) -> String {
        match window.at(now.parse().unwrap()) {
            Opening::Open { closes } => format!("until {}", closes.to_rfc3339()),
            Opening::Closed { opens } => format!("from {}", opens.to_rfc3339()),
        }
    }

    #[test]
    fn it_is_open_on_its_days_from_its_beginning_to_before_its_end() {
        let sunday = window(&["sun"], "02:00", "04:00", "UTC");
        assert_eq!(sunday.length(), Span::from_secs(7200));
        assert_eq!(at(&sunday, "2026-11-22T02:00:00Z"), "until 2026-11-22T04:00:00+00:00");
        assert_eq!(at(&sunday, "2026-11-22T03:59:59Z"), "until 2026-11-22T04:00:00+00:00");
        assert_eq!(at(&sunday, "2026-11-22T04:00:00Z"), "from 2026-11-29T02:00:00+00:00");
        assert_eq!(at(&sunday, "2026-11-21T23:00:00Z"), "from 2026-11-22T02:00:00+00:00");
    }

    #[test]
    fn one_that_goes_past_midnight_belongs_to_the_day_on_which_it_opens() {
        let night = window(&["saturday"], "23:00", "01:30", "Europe/Zurich");
        assert_eq!(night.length(), Span::from_secs(9000));
        assert_eq!(at(&night, "2026-11-22T00:15:00Z"), "until 2026-11-22T01:30:00+01:00");
        assert_eq!(at(&night, "2026-11-22T00:30:00Z"), "from 2026-11-28T23:00:00+01:00");
    }

    #[test]
    fn openings_that_adjoin_are_one() {
        let weekend = window(&["fri", "sat", "sun"], "00:00", "00:00", "Europe/Zurich");
        assert_eq!(weekend.length(), Span::from_secs(3 * 86_400));
        assert_eq!(at(&weekend, "2026-11-20T22:59:30Z"), "until 2026-11-23T00:00:00+01:00");
        assert_eq!(at(&weekend, "2026-11-22T22:59:30Z"), "until 2026-11-23T00:00:00+01:00");
        assert_eq!(at(&weekend, "2026-11-22T23:00:00Z"), "from 2026-11-27T00:00:00+01:00");
        // Monday follows Sunday; and in spring both of these are the same moment.
        assert_eq!(
            window(&["mon", "sun", "wed"], "12:00", "12:00", "UTC").length(),
            Span::from_secs(2 * 86_400)
        );
        let spring = window(&["sat", "sun"], "02:30", "02:30", "Europe/Zurich");
        assert_eq!(at(&spring, "2027-03-27T12:00:00Z"), "until 2027-03-29T02:30:00+02:00");
        assert!(window(&[], "21:07", "21:07", "UTC").is_always());
        assert!(!weekend.is_always() && !window(&[], "21:07", "21:06", "UTC").is_always());
    }

    #[test]
    fn an_hour_that_the_clock_leaves_out_or_has_twice_is_no_riddle() {
        let early = window(&[], "02:30", "05:00", "Europe/Zurich");
        assert_eq!(at(&early, "2027-03-28T00:00:00Z"), "from 2027-03-28T03:30:00+02:00");
        assert_eq!(at(&early, "2026-10-25T00:00:00Z"), "from 2026-10-25T02:30:00+02:00");
    }

    #[test]
    fn what_is_no_time_day_or_zone_is_said() {
        let raw = |from: &str, day: &str, zone: &str| RawWindow {
            environments: None,
            days: Some(day.split_whitespace().map(str::to_owned).collect()),
            from: from.into(),
            to: "04:00".into(),
            zone: Some(zone.into()),
        };
        assert_eq!(raw("02:00", "sunny", "UTC").checked().unwrap_err().0, "days");
        assert_eq!(raw("02:00", "sun", "Mars/Base").checked().unwrap_err().0, "zone");
        assert_eq!(raw("02:00", "", "UTC").checked().unwrap_err().0, "days");
        assert_eq!(raw("2 am", "sun", "UTC").checked().unwrap_err().0, "from");
    }
}
