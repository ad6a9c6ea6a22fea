//! When a request is sent again (Gateway API, `HTTPRouteRetry`).

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

/// Times that a request is sent again, if the route does not say how many.
pub const ATTEMPTS: u32 = 2;
/// Between tries, if the route does not say how long.
pub const BACKOFF: Duration = Duration::from_millis(25);
/// The longest wait, in first ones.
const MAX_GROWTH: u32 = 10;

/// The part of a backend's active requests that may be retries.
const BUDGET_PERCENT: u64 = 20;
/// Retries that a backend may have at a time whatever else it has.
const BUDGET_MIN: u32 = 20;

/// `retry` of a rule: connections that fail and time-outs of a try are tried again, and responses of these statuses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retry {
    /// Statuses that are no answer.
    pub codes: Box<[u16]>,
    /// How many times a request may be sent again.
    pub attempts: u32,
    /// The least time before the first retry; it doubles with each.
    pub backoff: Duration,
}

impl Retry {
    /// Whether a response of this status is worth another try.
    pub fn is_for(&self, status: u16) -> bool {
        self.codes.contains(&status)
    }

    /// How long to wait before a retry, of which there have been `before`; `random` is from 0 to 1 and adds up to a half,
    /// so that requests which failed together do not come back together.
    pub fn delay(&self, before: u32, random: f32) -> Duration {
        let growth = 1_u32.checked_shl(before).unwrap_or(MAX_GROWTH).clamp(1, MAX_GROWTH);
        let least = self.backoff.saturating_mul(growth);
        least + least.mul_f32(random.clamp(0.0, 1.0) / 2.0)
    }
}

/// How many requests to a backend are retries now: when a backend fails, retries must not multiply what it gets.
#[derive(Debug, Clone, Default)]
pub struct Budget(Arc<AtomicU32>);

/// A retry, for as long as it lives.
#[derive(Debug)]
pub struct Retrying(Budget);

impl Budget {
    /// Permits one more retry, if there are not too many for so many active requests.
    pub fn permit(&self, active: u64) -> Option<Retrying> {
        let limit = u32::try_from(active * BUDGET_PERCENT / 100).unwrap_or(u32::MAX).max(BUDGET_MIN);
        let one_more = |now: u32| (now < limit).then_some(now + 1);
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).ok().map(|_| Retrying(self.clone()))
    }
}

impl Drop for Retrying {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_ten_times_the_first_and_are_never_shorter_than_asked_for() {
        let retry = Retry { codes: Box::default(), attempts: 9, backoff: Duration::from_millis(100) };
        let waits: Vec<_> = (0..6).map(|before| retry.delay(before, 0.0).as_millis()).collect();
        assert_eq!(waits, [100, 200, 400, 800, 1000, 1000]);
        assert_eq!(retry.delay(0, 1.0).as_millis(), 150);
        assert_eq!(retry.delay(100, 0.0).as_millis(), 1000);
    }

    #[test]
    fn a_fifth_of_the_active_requests_may_be_retries_and_always_a_few() {
        for (active, permitted) in [(0, 20), (50, 20), (1000, 200)] {
            let budget = Budget::default();
            let held: Vec<_> = std::iter::from_fn(|| budget.permit(active)).take(1000).collect();
            assert_eq!(held.len(), permitted);
            drop(held);
            assert!(budget.permit(0).is_some());
        }
    }
}
