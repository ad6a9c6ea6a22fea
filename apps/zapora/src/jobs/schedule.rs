//! What is done by the clock: the report of each day, once, and forgetting what is old.

use std::time::Duration;

use jiff::{Timestamp, ToSpan as _, civil::Date, tz::TimeZone};
use tokio_util::sync::CancellationToken;

use super::Task;
use crate::store::{Result, Store};

/// The longest wait between two looks at the clock, which may have been set.
const LOOK: Duration = Duration::from_secs(3600);
/// How long done jobs are kept, for whoever asks what happened.
const DONE: i64 = 7 * 24;
/// How long an idempotency key is remembered, in hours.
const KEYS: i64 = 24;
/// For how many days back reports are made up for: the service, or its database, may have been away over a midnight.
const DAYS: i64 = 31;

/// Runs until `stop`. Every replica of the service does this; the job's name makes sure that one report comes of it.
pub async fn run(store: Store, stop: CancellationToken) {
    loop {
        let now = Timestamp::now();
        let wait = match once(&store, now).await {
            Ok(zone) => until_tomorrow(now, &zone).min(LOOK),
            Err(error) => {
                tracing::warn!(error = super::chain(&error), "cannot schedule what is due by the clock");
                Duration::from_secs(10)
            }
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(wait) => {}
        }
    }
}

/// Writes the jobs for the days that are over and came after the last one that has a report, and forgets what is old.
///
/// # Errors
/// The database's.
pub async fn once(store: &Store, now: Timestamp) -> Result<TimeZone> {
    let zone = store.rules().await?.rules.zone().unwrap_or(TimeZone::UTC);
    if let Some(last) = yesterday(now, &zone) {
        let first = match store.last_report().await?.and_then(|day| day.parse::<Date>().ok()) {
            Some(reported) => reported.tomorrow().unwrap_or(Date::MAX),
            None => store.first_order_at().await?.map_or(last, |at| at.to_zoned(zone.clone()).date()),
        };
        let tasks: Vec<Task> = days(first, last).map(|day| Task::DailyReport { day: day.to_string() }).collect();
        if !tasks.is_empty() {
            store.enqueue(&tasks, now).await?;
        }
    }
    if let (Ok(jobs), Ok(keys)) = (now.checked_sub(DONE.hours()), now.checked_sub(KEYS.hours())) {
        store.forget_before(jobs, keys).await?;
    }
    Ok(zone)
}

fn yesterday(now: Timestamp, zone: &TimeZone) -> Option<Date> {
    now.to_zoned(zone.clone()).date().yesterday().ok()
}

/// The days from `first` to `last`, or the last [`DAYS`] of them.
fn days(first: Date, last: Date) -> impl Iterator<Item = Date> {
    let earliest = last.checked_sub((DAYS - 1).days()).unwrap_or(last);
    first.max(earliest).series(1.day()).take_while(move |day| *day <= last)
}

/// To the first moment of the next day, which need not be midnight, and a little more: the last orders of the day are committed then.
fn until_tomorrow(now: Timestamp, zone: &TimeZone) -> Duration {
    let local = now.to_zoned(zone.clone());
    let next = local.tomorrow().and_then(|next| next.start_of_day()).map(|next| next.timestamp().duration_since(now));
    next.ok().and_then(|wait| Duration::try_from(wait).ok()).unwrap_or(LOOK) + Duration::from_secs(30)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_without_a_report_are_made_up_for_so_far_back() {
        let day = |text: &str| text.parse::<Date>().unwrap();
        let all = |first: &str, last: &str| days(day(first), day(last)).map(|day| day.to_string()).collect::<Vec<_>>();
        assert_eq!(all("2026-02-27", "2026-03-01"), ["2026-02-27", "2026-02-28", "2026-03-01"]);
        assert_eq!(all("2026-03-01", "2026-03-01"), ["2026-03-01"]);
        assert!(all("2026-03-02", "2026-03-01").is_empty(), "it has its report");
        let long = all("2025-01-01", "2026-03-31");
        assert_eq!((long.len(), long.first().unwrap().as_str()), (31, "2026-03-01"));
    }

    #[test]
    fn days_begin_where_the_restaurant_is() {
        let berlin = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
        let now: Timestamp = "2026-03-28T22:30:00Z".parse().unwrap();
        assert_eq!(yesterday(now, &berlin).unwrap().to_string(), "2026-03-27");
        assert_eq!(until_tomorrow(now, &berlin), Duration::from_secs(30 * 60 + 30));
        let now: Timestamp = "2026-03-28T23:00:00Z".parse().unwrap();
        assert_eq!(yesterday(now, &berlin).unwrap().to_string(), "2026-03-28");
        // The day on which clocks go forward has 23 hours.
        assert_eq!(until_tomorrow(now, &berlin), Duration::from_secs(23 * 3600 + 30));
    }
}
