//! The demand of the last three weeks, in buckets of five minutes; what is not known is a gap.

use std::collections::{BTreeMap, VecDeque};

use jiff::{Timestamp, civil::Date, tz::TimeZone};

/// Seconds of a bucket.
pub const BUCKET: i64 = 300;
/// Buckets of a day.
pub const DAY: i64 = 86_400 / BUCKET;
/// Buckets of a week.
pub const WEEK: i64 = 7 * DAY;
/// Buckets that are kept, the newest included: three weeks before it are known. 24 KiB.
const KEPT: usize = 3 * WEEK as usize + 1;
/// No target has more replicas.
const MOST: f64 = i32::MAX as f64;

/// A demand, in replicas that it needs, by bucket. A bucket is numbered by its time since 1970 (UTC).
#[derive(Clone, Debug, Default)]
pub struct Record {
    /// The oldest first; the last is `newest`. Gaps are NaN.
    values: VecDeque<f32>,
    newest: i64,
}

/// The number of the bucket that a moment is in.
pub fn bucket(at: Timestamp) -> i64 {
    at.as_second().div_euclid(BUCKET)
}

impl Record {
    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// The last bucket that is known.
    pub fn newest(&self) -> Option<i64> {
        (!self.is_empty()).then_some(self.newest)
    }

    /// The first bucket that may be known.
    pub fn oldest(&self) -> Option<i64> {
        self.newest().map(|newest| newest - self.values.len() as i64 + 1)
    }

    /// The demand in a bucket.
    pub fn get(&self, bucket: i64) -> Option<f64> {
        let index = usize::try_from(bucket.checked_sub(self.oldest()?)?).ok()?;
        self.values.get(index).copied().filter(|value| !value.is_nan()).map(f64::from)
    }

    /// Keeps the demand of a bucket. What is more than three weeks before the newest is forgotten. A bucket before the newest means
    /// that the clock was put back, so that what is after it never was.
    pub fn put(&mut self, bucket: i64, needed: f64) {
        if !needed.is_finite() || needed < 0.0 {
            return;
        }
        if !self.is_empty() {
            self.truncate(bucket);
            let gap = bucket.saturating_sub(self.newest).saturating_sub(1);
            if gap >= KEPT as i64 {
                self.values.clear();
            } else {
                self.values.extend((0..gap).map(|_| f32::NAN));
            }
        }
        self.values.push_back(needed.min(MOST) as f32);
        self.newest = bucket;
        while self.values.len() > KEPT || self.values.front().is_some_and(|oldest| oldest.is_nan()) {
            self.values.pop_front();
        }
    }

    /// Forgets a bucket and what is after it.
    fn truncate(&mut self, bucket: i64) {
        while !self.is_empty() && self.newest >= bucket {
            self.values.pop_back();
            self.newest -= 1;
        }
    }

    /// The record as text, by day (UTC, such as `2026-03-02`): the day's 288 buckets, comma-separated, gaps empty.
    pub fn to_days(&self) -> BTreeMap<String, String> {
        let mut days = BTreeMap::new();
        let (Some(oldest), Some(newest)) = (self.oldest(), self.newest()) else { return days };
        for day in oldest.div_euclid(DAY)..=newest.div_euclid(DAY) {
            let Some(date) = date(day) else { continue };
            let last = newest.min(day * DAY + DAY - 1);
            let cells: Vec<String> =
                (day * DAY..=last).map(|bucket| self.get(bucket).map_or_else(String::new, cell)).collect();
            if cells.iter().any(|cell| !cell.is_empty()) {
                days.insert(date.to_string(), cells.join(","));
            }
        }
        days
    }

    /// Reads what `to_days` wrote. What is no date or no number is a gap, as it would be had it never been written; what is after
    /// `now` was written by a clock that went wrong.
    pub fn from_days<'a>(days: impl IntoIterator<Item = (&'a str, &'a str)>, now: Timestamp) -> Self {
        let days: BTreeMap<Date, &str> =
            days.into_iter().filter_map(|(day, cells)| Some((day.parse().ok()?, cells))).collect();
        let mut record = Self::default();
        for (date, cells) in days {
            let Ok(midnight) = date.to_zoned(TimeZone::UTC) else { continue };
            let first = bucket(midnight.timestamp());
            for (number, cell) in (first..first + DAY).zip(cells.split(',')) {
                if let Some(needed) = cell.trim().parse().ok().filter(|_| number <= bucket(now)) {
                    record.put(number, needed);
                }
            }
        }
        record
    }
}

fn date(day: i64) -> Option<Date> {
    let midnight = Timestamp::from_second(day.checked_mul(86_400)?).ok()?;
    Some(midnight.to_zoned(TimeZone::UTC).date())
}

/// Three digits are more than a replica needs.
fn cell(needed: f64) -> String {
    let text = if needed < 10.0 { format!("{needed:.2}") } else { format!("{needed:.1}") };
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn known(record: &Record) -> Vec<(i64, f64)> {
        let range = record.oldest().unwrap_or(0)..=record.newest().unwrap_or(-1);
        range.filter_map(|bucket| record.get(bucket).map(|value| (bucket, value))).collect()
    }

    #[test]
    fn three_weeks_are_kept_and_gaps_stay_gaps() {
        let mut record = Record::default();
        (0..4 * WEEK).for_each(|bucket| record.put(bucket, 1.0));
        assert_eq!((record.oldest(), record.newest()), (Some(WEEK - 1), Some(4 * WEEK - 1)));
        record.put(4 * WEEK + 10, 2.0);
        assert_eq!(record.get(4 * WEEK + 5), None);
        assert_eq!(record.get(4 * WEEK + 10), Some(2.0));
        record.put(40 * WEEK, 3.0);
        assert_eq!(known(&record), [(40 * WEEK, 3.0)]);
    }

    #[test]
    fn a_clock_that_was_put_back_forgets_what_never_was() {
        let mut record = Record::default();
        [(10, 1.0), (11, 2.0), (5000, 9.0), (12, 3.0)]
            .into_iter()
            .for_each(|(bucket, needed)| record.put(bucket, needed));
        assert_eq!(known(&record), [(10, 1.0), (11, 2.0), (12, 3.0)]);
    }

    #[test]
    fn text_that_is_wrong_is_a_gap() {
        let now: Timestamp = "2026-03-02T12:00:00Z".parse().unwrap();
        let days = [("2026-03-02", "1,,x,-1,NaN,2.5"), ("soon", "7"), ("2999-01-01", "8")];
        let record = Record::from_days(days, now);
        assert_eq!(known(&record).into_iter().map(|(_, value)| value).collect::<Vec<_>>(), [1.0, 2.5]);
        assert_eq!(record.to_days(), BTreeMap::from([("2026-03-02".to_owned(), "1,,,,,2.5".to_owned())]));
    }

    proptest! {
        #[test]
        fn writing_and_reading_keeps_the_record(values in prop::collection::vec(prop::option::of(0u32..5000), 1..900), start in 0i64..100_000) {
            let mut record = Record::default();
            for (offset, value) in (0..).zip(&values) {
                if let Some(value) = value {
                    record.put(start + offset, f64::from(*value) / 10.0);
                }
            }
            let days = record.to_days();
            let now = Timestamp::from_second((start + 1000) * BUCKET).unwrap();
            let read = Record::from_days(days.iter().map(|(day, cells)| (day.as_str(), cells.as_str())), now);
            prop_assert_eq!(known(&read), known(&record));
        }

        #[test]
        fn it_stays_bounded_whatever_the_clock_does(puts in prop::collection::vec((any::<i64>(), any::<f64>()), 0..50)) {
            let mut record = Record::default();
            for (bucket, needed) in puts {
                record.put(bucket, needed);
                prop_assert!(record.values.len() <= KEPT);
            }
        }
    }
}
