//! When to ask again: after a failure that may pass, later each time, with jitter so that clients do not come back together, and not
//! before the endpoint said to.

use std::time::Duration;

use jiff::{Timestamp, fmt::rfc2822::DateTimeParser};

use crate::answer::Failure;

const FIRST: Duration = Duration::from_millis(250);
const LONGEST: Duration = Duration::from_secs(10);

/// Counts attempts.
#[derive(Debug)]
pub struct Retry {
    left: u32,
    next: Duration,
}

impl Retry {
    /// For `attempts` in all.
    pub fn new(attempts: u32) -> Self {
        Self { left: attempts.saturating_sub(1), next: FIRST }
    }

    /// How long to wait before asking again after `failure`; `None` if that would help nothing, or was done often enough.
    /// `random` is any number.
    pub fn after(&mut self, failure: &Failure, random: u64) -> Option<Duration> {
        let asked = match failure {
            Failure::Busy { after, .. } => *after,
            Failure::Unreachable(_) | Failure::Late(_) => None,
            // A broken answer before its first word may be a proxy's; a refusal will be the same again.
            Failure::Broken(_) | Failure::Refused(_) => return None,
        };
        self.left = self.left.checked_sub(1)?;
        let ceiling = self.next;
        self.next = (self.next * 2).min(LONGEST);
        // Half is waited for sure, the other half is drawn.
        let drawn = ceiling / 2 + (ceiling / 2).mul_f64((random % 1024) as f64 / 1024.0);
        Some(asked.map_or(drawn, |asked| asked.max(drawn)))
    }
}

/// How long a `Retry-After` (RFC 9110, 10.2.3) asks to wait: whole seconds, or a date.
pub fn after(value: &str, now: Timestamp) -> Option<Duration> {
    let value = value.trim();
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = DateTimeParser::new().parse_timestamp(value).ok()?;
    Some(Duration::try_from(date.duration_since(now)).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn busy(after: Option<Duration>) -> Failure {
        Failure::Busy { status: 429, after }
    }

    #[test]
    fn waits_grow_and_end_with_the_attempts() {
        let mut retry = Retry::new(3);
        let first = retry.after(&busy(None), 1023).unwrap();
        let second = retry.after(&busy(None), 0).unwrap();
        assert!(first <= FIRST && second >= FIRST, "{first:?} {second:?}");
        assert_eq!(retry.after(&busy(None), 0), None);
    }

    #[test]
    fn the_endpoint_is_not_asked_before_it_said_to() {
        let hour = Duration::from_secs(3600);
        assert_eq!(Retry::new(2).after(&busy(Some(hour)), 5), Some(hour));
    }

    #[test]
    fn a_refusal_is_not_asked_again() {
        assert_eq!(Retry::new(5).after(&Failure::Refused(String::new()), 0), None);
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now: Timestamp = "1994-11-06T08:49:00Z".parse().unwrap();
        assert_eq!(after("120", now), Some(Duration::from_secs(120)));
        assert_eq!(after("Sun, 06 Nov 1994 08:49:37 GMT", now), Some(Duration::from_secs(37)));
        assert_eq!(after("Sun, 06 Nov 1994 08:00:00 GMT", now), Some(Duration::ZERO));
        assert_eq!(after("soon", now), None);
    }
}
