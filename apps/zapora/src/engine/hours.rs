//! When the kitchen is open: hours of the week in the restaurant's own time zone, and days that differ.
//!
//! Hours are what the clock on the wall shows. Where clocks go back an hour, that hour is open both times; where they go forward, the
//! skipped hour does not happen.

use std::{collections::BTreeMap, fmt, str::FromStr};

use jiff::{
    Timestamp, ToSpan as _,
    civil::{Date, Weekday},
    tz::TimeZone,
};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        RefOr, Schema,
        schema::{ObjectBuilder, Type},
    },
};

use super::Text;

/// Minutes of a day.
const DAY: u16 = 24 * 60;
/// How many days ahead the next opening is looked for.
const AHEAD: i64 = 31;

/// From one minute of the day to another, the end excluded: `11:00-22:00`; `18:00-02:00` ends on the next day, and `00:00-24:00` is all
/// day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    from: u16,
    to: u16,
}

impl Span {
    /// All day.
    pub const ALL_DAY: Self = Self { from: 0, to: DAY };

    /// From a minute of the day to another.
    pub(super) fn from_minutes(from: u16, to: u16) -> Self {
        Self { from, to }
    }

    fn past_midnight(self) -> bool {
        self.to <= self.from
    }

    /// Whether the span that begins on the same day has this minute of that day.
    fn has(self, minute: u16) -> bool {
        minute >= self.from && (self.past_midnight() || minute < self.to)
    }

    /// Whether the span that began the day before still has this minute.
    fn has_on_next_day(self, minute: u16) -> bool {
        self.past_midnight() && minute < self.to
    }
}

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is not a span of hours such as \"11:00-22:00\"");
        let minute = |text: &str| -> Option<u16> {
            let (hours, minutes) = text.split_once(':').filter(|(h, m)| h.len() == 2 && m.len() == 2)?;
            let all_digits = hours.bytes().chain(minutes.bytes()).all(|b| b.is_ascii_digit());
            let (hours, minutes): (u16, u16) = (hours.parse().ok()?, minutes.parse().ok()?);
            (all_digits && minutes < 60 && hours * 60 + minutes <= DAY).then_some(hours * 60 + minutes)
        };
        let (from, to) = text.split_once('-').ok_or_else(wrong)?;
        let span = Self { from: minute(from).ok_or_else(wrong)?, to: minute(to).ok_or_else(wrong)? };
        if span.from == DAY || span.from == span.to { Err(wrong()) } else { Ok(span) }
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02}:{:02}-{:02}:{:02}", self.from / 60, self.from % 60, self.to / 60, self.to % 60)
    }
}

impl PartialSchema for Span {
    fn schema() -> RefOr<Schema> {
        let pattern = "^([01][0-9]|2[0-4]):[0-5][0-9]-([01][0-9]|2[0-4]):[0-5][0-9]$";
        ObjectBuilder::new().schema_type(Type::String).pattern(Some(pattern)).examples(["11:00-22:00"]).build().into()
    }
}

impl ToSchema for Span {}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// The spans of each day of the week; a day that is not mentioned is closed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
#[allow(missing_docs, reason = "the days of the week")]
pub struct Weekly {
    pub monday: Vec<Span>,
    pub tuesday: Vec<Span>,
    pub wednesday: Vec<Span>,
    pub thursday: Vec<Span>,
    pub friday: Vec<Span>,
    pub saturday: Vec<Span>,
    pub sunday: Vec<Span>,
}

impl Weekly {
    /// Open all day, every day.
    pub fn always() -> Self {
        let day = || vec![Span::ALL_DAY];
        let (monday, tuesday, wednesday, thursday) = (day(), day(), day(), day());
        Self { monday, tuesday, wednesday, thursday, friday: day(), saturday: day(), sunday: day() }
    }

    fn on(&self, weekday: Weekday) -> &[Span] {
        match weekday {
            Weekday::Monday => &self.monday,
            Weekday::Tuesday => &self.tuesday,
            Weekday::Wednesday => &self.wednesday,
            Weekday::Thursday => &self.thursday,
            Weekday::Friday => &self.friday,
            Weekday::Saturday => &self.saturday,
            Weekday::Sunday => &self.sunday,
        }
    }
}

/// Opening hours.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Opening {
    /// The hours of a usual week.
    pub weekly: Weekly,
    /// Days with hours of their own, by date (`2026-12-25`); no spans means closed.
    #[serde(default)]
    #[schema(value_type = BTreeMap<String, Vec<Span>>)]
    pub special_days: BTreeMap<Text<Date>, Vec<Span>>,
}

impl Opening {
    fn spans(&self, day: Date) -> &[Span] {
        self.special_days.get(&Text(day)).map_or_else(|| self.weekly.on(day.weekday()), Vec::as_slice)
    }

    /// Whether it is open at `now` in `zone`.
    pub fn is_open(&self, now: Timestamp, zone: &TimeZone) -> bool {
        within(now, zone, |day| self.spans(day))
    }

    /// When it opens next after `now`, within a month.
    pub fn opens_next(&self, now: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        let today = now.to_zoned(zone.clone()).date();
        (0..AHEAD)
            .filter_map(|ahead| today.checked_add(ahead.days()).ok())
            .flat_map(|day| self.spans(day).iter().map(move |span| (day, span)))
            .filter_map(|(day, span)| {
                let hour = i8::try_from(span.from / 60).ok()?;
                let minute = i8::try_from(span.from % 60).ok()?;
                Some(day.at(hour, minute, 0, 0).to_zoned(zone.clone()).ok()?.timestamp())
            })
            // An opening inside an hour that clocks skip is moved past it, and may be after its own end.
            .filter(|at| *at > now && self.is_open(*at, zone))
            .min()
    }
}

/// Whether the wall clock at `now` is within one of the spans that `spans` gives for a day.
pub fn within<'a>(now: Timestamp, zone: &TimeZone, spans: impl Fn(Date) -> &'a [Span]) -> bool {
    let local = now.to_zoned(zone.clone());
    let minute = u16::try_from(i32::from(local.hour()) * 60 + i32::from(local.minute())).unwrap_or(0);
    let today = local.date();
    spans(today).iter().any(|span| span.has(minute))
        || today.yesterday().is_ok_and(|day| spans(day).iter().any(|span| span.has_on_next_day(minute)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn opening(json: &str) -> Opening {
        serde_json::from_str(json).unwrap()
    }

    /// Berlin's rules as a POSIX string, so that the test needs no time zone database.
    fn berlin() -> TimeZone {
        TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap()
    }

    #[test]
    fn hours_are_local_and_may_pass_midnight() {
        let hours = opening(
            r#"{"weekly": {"friday": ["11:00-14:30", "18:00-02:00"]},
                "special_days": {"2026-01-09": [], "2026-01-11": ["12:00-13:00"]}}"#,
        );
        // 2026-01-02 is a Friday; Berlin is an hour ahead of UTC in winter.
        for (time, open) in [
            ("2026-01-02T09:59:00Z", false),
            ("2026-01-02T10:00:00Z", true),
            ("2026-01-02T13:29:59Z", true),
            ("2026-01-02T13:30:00Z", false),
            ("2026-01-02T17:00:00Z", true),
            ("2026-01-03T00:59:59Z", true),
            ("2026-01-03T01:00:00Z", false),
            ("2026-01-09T10:30:00Z", false),
            ("2026-01-10T00:30:00Z", false),
            ("2026-01-11T11:30:00Z", true),
        ] {
            assert_eq!(hours.is_open(at(time), &berlin()), open, "{time}");
        }
    }

    #[test]
    fn an_hour_that_comes_twice_is_open_twice_and_one_that_is_skipped_never() {
        let night = opening(r#"{"weekly": {"sunday": ["02:15-02:45"]}}"#);
        // 2026-10-25: 03:00 summer time becomes 02:00 winter time.
        for (time, open) in
            [("2026-10-25T00:30:00Z", true), ("2026-10-25T01:30:00Z", true), ("2026-10-25T02:30:00Z", false)]
        {
            assert_eq!(night.is_open(at(time), &berlin()), open, "{time}");
        }
        // 2026-03-29: 02:00 becomes 03:00. The next opening is a week later.
        assert_eq!(night.opens_next(at("2026-03-28T12:00:00Z"), &berlin()), Some(at("2026-04-05T00:15:00Z")));
    }

    #[test]
    fn the_next_opening_is_named() {
        let hours = opening(r#"{"weekly": {"monday": ["09:00-17:00"]}, "special_days": {"2026-01-05": []}}"#);
        assert_eq!(hours.opens_next(at("2026-01-02T00:00:00Z"), &TimeZone::UTC), Some(at("2026-01-12T09:00:00Z")));
        assert_eq!(opening(r#"{"weekly": {}}"#).opens_next(at("2026-01-02T00:00:00Z"), &TimeZone::UTC), None);
    }

    #[test]
    fn spans_are_read_strictly() {
        for text in
            ["11:00", "11-12", "25:00-26:00", "11:60-12:00", "+1:00-02:00", "10:00-10:00", "24:00-01:00", "1:00-2:00"]
        {
            assert!(text.parse::<Span>().is_err(), "{text}");
        }
        for text in ["00:00-24:00", "18:00-02:00", "22:00-00:00"] {
            assert_eq!(text.parse::<Span>().unwrap().to_string(), text);
        }
    }
}
