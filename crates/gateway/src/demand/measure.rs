//! The metrics: what each makes of a change, and over which windows.

use std::{collections::BTreeMap, time::Duration};

use objects::selector::Labels;

use super::history::Change;

/// One metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Measure {
    /// As it is asked for.
    pub name: &'static str,
    /// Whether it is of requests, or of connections whose bytes mean nothing to the proxy.
    pub requests: bool,
    formula: Formula,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Formula {
    /// Beginnings per second.
    Rate,
    /// How many are open, on average.
    Open,
    /// The seconds that so many of a hundred take at most.
    Quantile(u32),
    /// The part that failed.
    Failed,
}

/// Every metric.
pub(super) const MEASURES: [Measure; 9] = {
    const fn of(name: &'static str, requests: bool, formula: Formula) -> Measure {
        Measure { name, requests, formula }
    }
    [
        of("http_requests_per_second", true, Formula::Rate),
        of("http_requests_in_flight", true, Formula::Open),
        of("http_request_duration_p50", true, Formula::Quantile(50)),
        of("http_request_duration_p90", true, Formula::Quantile(90)),
        of("http_request_duration_p95", true, Formula::Quantile(95)),
        of("http_request_duration_p99", true, Formula::Quantile(99)),
        of("http_request_error_ratio", true, Formula::Failed),
        of("tcp_connections_per_second", false, Formula::Rate),
        of("tcp_connections_open", false, Formula::Open),
    ]
};

impl Measure {
    /// By its name.
    pub fn find(name: &str) -> Option<&'static Self> {
        MEASURES.iter().find(|measure| measure.name == name)
    }

    /// The value in thousandths, rounded up so that little is never taken for nothing; `None` where there is nothing to say,
    /// which is not the same as zero: a quantile of no requests, a rate at one moment.
    pub fn millis(&self, change: &Change) -> Option<u64> {
        let ratio = |part: u64, whole: u64, factor: u128| {
            let whole = Some(u128::from(whole)).filter(|whole| *whole > 0)?;
            u64::try_from((u128::from(part) * factor).div_ceil(whole)).ok()
        };
        match self.formula {
            Formula::Rate => ratio(change.begun, change.elapsed, 1_000_000_000_000),
            Formula::Open if change.elapsed == 0 => change.open.checked_mul(1000),
            Formula::Open => ratio(change.busy, change.elapsed, 1000),
            Formula::Quantile(percent) => Some(change.took.quantile(percent)?.div_ceil(1_000_000)),
            Formula::Failed => ratio(change.failed, change.ended, 1000),
        }
    }
}

/// A span of time up to now: series have a label `window` that says which is theirs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Window {
    /// The label's value.
    pub name: &'static str,
    /// How long; nothing is this moment.
    pub length: Duration,
}

/// The label that says over which window a series is.
const LABEL: &str = "window";

/// Every window; a selector that does not say which gets the first.
const WINDOWS: [Window; 5] = {
    const fn of(name: &'static str, seconds: u64) -> Window {
        Window { name, length: Duration::from_secs(seconds) }
    }
    [of("30s", 30), of("0s", 0), of("10s", 10), of("1m", 60), of("5m", 300)]
};

impl Window {
    /// The first window that a selector takes, of a series that has these labels too.
    pub fn selected(selector: &Labels, labels: &BTreeMap<String, String>) -> Option<&'static Self> {
        if selector.is_empty() {
            return WINDOWS.first();
        }
        let mut labels = labels.clone();
        WINDOWS.iter().find(|window| {
            labels.insert(LABEL.to_owned(), window.name.to_owned());
            selector.matches(&labels)
        })
    }

    /// Its label.
    pub fn label(&self) -> (String, String) {
        (LABEL.to_owned(), self.name.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::Histogram;

    const SECOND: u64 = 1_000_000_000;

    fn millis(name: &str, change: &Change) -> Option<u64> {
        Measure::find(name).unwrap().millis(change)
    }

    #[test]
    fn values_are_rounded_up() {
        let change = Change { elapsed: 30 * SECOND, begun: 100, ended: 90, failed: 1, ..Change::default() };
        assert_eq!(millis("http_requests_per_second", &change), Some(3_334));
        assert_eq!(millis("http_request_error_ratio", &change), Some(12));
        let one = Change { busy: 1, ..change };
        assert_eq!(millis("http_requests_in_flight", &one), Some(1));
    }

    #[test]
    fn in_flight_is_the_mean_of_the_window_or_what_there_is_now() {
        let mean = Change { elapsed: 30 * SECOND, busy: 75 * SECOND, open: 4, ..Change::default() };
        assert_eq!(millis("http_requests_in_flight", &mean), Some(2_500));
        assert_eq!(millis("http_requests_in_flight", &Change { elapsed: 0, ..mean }), Some(4_000));
    }

    #[test]
    fn without_requests_rates_are_zero_and_latencies_and_errors_are_not_known() {
        let idle = Change { elapsed: 30 * SECOND, ..Change::default() };
        for measure in &MEASURES {
            let expected = matches!(measure.formula, Formula::Rate | Formula::Open).then_some(0);
            assert_eq!(measure.millis(&idle), expected, "{}", measure.name);
        }
    }

    #[test]
    fn latency_is_in_seconds() {
        let mut took = Histogram::default();
        took.count(1_048_576_000);
        let change = Change { elapsed: 30 * SECOND, took, ..Change::default() };
        // Between 0.94 and 1.07 seconds is one bucket.
        assert_eq!(millis("http_request_duration_p50", &change), Some(1_007));
    }

    #[test]
    fn a_selector_takes_a_window() {
        let selected = |text: &str| Window::selected(&Labels::parse(text).unwrap(), &BTreeMap::new()).map(|w| w.name);
        for (text, window) in [
            ("", Some("30s")),
            ("window=10s", Some("10s")),
            ("window in (1m,5m)", Some("1m")),
            ("window!=30s", Some("0s")),
            ("window", Some("30s")),
            ("window=2m", None),
            ("rule=a", None),
        ] {
            assert_eq!(selected(text), window, "{text}");
        }
    }
}
