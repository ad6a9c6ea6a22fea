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

/// Writes the job for the day that is over, unless its report is there, and forgets what is old.
///
/// # Errors
/// The database's.
pub async fn once(store: &Store, now: Timestamp) -> Result<TimeZone> {
    let zone = store.rules().await?.rules.zone().unwrap_or(TimeZone::UTC);
    if let Some(day) = yesterday(now, &zone) {
        let day = day.to_string();
        if !store.has_report(&day).await? {
            store.enqueue(&[Task::DailyReport { day }], now).await?;
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
