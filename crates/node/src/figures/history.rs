//! From what was used at several moments to how fast it is used. Pure: moments are parameters.

use std::{collections::VecDeque, time::Duration};

use crate::runtime::usage::Usage;

/// Over how long rates are taken, by how often they are wanted (metrics-server's `--metric-resolution`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resolution(Duration);

/// The finest there is: the kernel counts in steps of some milliseconds.
const FINEST: Duration = Duration::from_millis(500);

impl Resolution {
    /// Rates over about this long, and half a second at least.
    pub fn new(wanted: Duration) -> Self {
        Self(wanted.max(FINEST))
    }

    /// A question that comes sooner after another one than this is answered from the same figures.
    pub fn least(self) -> Duration {
        (self.0 / 2).min(Duration::from_secs(1))
    }

    /// The shortest time that a rate is taken over where there is a choice. It is less than the resolution, so that who asks in that
    /// rhythm gets a rate since the question before, however late the one and early the other comes.
    fn window(self) -> Duration {
        self.0 * 2 / 3
    }

    /// What is older says nothing about now.
    fn oldest(self) -> Duration {
        self.0 * 4
    }
}

/// How fast CPU time is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Nanoseconds of CPU time each second: billionths of a core.
    pub nanocores: u64,
    /// The time that it is taken over, until the latest figures.
    pub window: Duration,
}

/// What one run of a container, or the node, has used at several moments, the latest last. It has a handful of them.
#[derive(Clone, Debug, Default)]
pub struct History {
    samples: VecDeque<Usage>,
}

impl History {
    /// Adds the latest. CPU time that seems to go back, which sums over processes that end meanwhile can, stands still.
    pub fn push(&mut self, mut usage: Usage, resolution: Resolution) {
        let age = |other: &Usage| usage.at.saturating_duration_since(other.at);
        if self.samples.back().is_some_and(|last| age(last) > resolution.oldest()) {
            self.samples.clear();
        }
        let last_but_one = self.samples.iter().rev().nth(1);
        let crowded = |before: &Usage| {
            let last = self.samples.back().map_or(usage.at, |last| last.at);
            last.saturating_duration_since(before.at) < resolution.0 / 8
        };
        let crowded = last_but_one.is_some_and(crowded);
        let window = resolution.window();
        // One that is old enough is; those before it are never needed again.
        while self.samples.get(1).is_some_and(|second| usage.at.saturating_duration_since(second.at) >= window) {
            self.samples.pop_front();
        }
        if let Some(last) = self.samples.back() {
            usage.cpu_nanos = usage.cpu_nanos.max(last.cpu_nanos);
        }
        if crowded && self.samples.len() > 1 {
            self.samples.pop_back();
        }
        self.samples.push_back(usage);
    }

    /// The latest.
    pub fn latest(&self) -> Option<&Usage> {
        self.samples.back()
    }

    /// How fast CPU time is used now, by the latest figures and some that are old enough; for what is not as old as that itself, since
    /// it began. `age` is how old it was at the latest figures, `None` where that is not known. No rate is more than `cores`.
    pub fn rate(&self, resolution: Resolution, age: Option<Duration>, cores: u64) -> Option<Rate> {
        let latest = self.samples.back()?;
        let since = |usage: &Usage| latest.at.saturating_duration_since(usage.at);
        let old_enough = self.samples.iter().rev().find(|usage| since(usage) >= resolution.window());
        let begun = || {
            let age = age.filter(|age| (resolution.least()..=resolution.0).contains(age))?;
            Some((0, age))
        };
        let eldest = || self.samples.front().map(|usage| (usage.cpu_nanos, since(usage)));
        let (before, window) = old_enough
            .map(|usage| (usage.cpu_nanos, since(usage)))
            .or_else(begun)
            .or_else(|| eldest().filter(|(_, window)| *window >= resolution.least()))?;
        let used = u128::from(latest.cpu_nanos.saturating_sub(before));
        let nanocores = (used * 1_000_000_000).checked_div(window.as_nanos())?;
        let most = cores.saturating_mul(1_000_000_000);
        Some(Rate { nanocores: u64::try_from(nanocores).unwrap_or(most).min(most), window })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use proptest::prelude::*;

    use super::*;
    use crate::runtime::usage::Memory;

    const USUAL: Resolution = Resolution(Duration::from_secs(15));

    fn usage(base: Instant, millis: u64, cpu_millis: u64) -> Usage {
        let at = base + Duration::from_millis(millis);
        Usage { at, cpu_nanos: cpu_millis * 1_000_000, memory: Memory::default() }
    }

    fn after(samples: &[(u64, u64)]) -> History {
        let base = Instant::now();
        let mut history = History::default();
        for (millis, cpu) in samples {
            history.push(usage(base, *millis, *cpu), USUAL);
        }
        history
    }

    fn rate(history: &History, age: Option<u64>) -> Option<(u64, u64)> {
        let rate = history.rate(USUAL, age.map(Duration::from_millis), 4)?;
        Some((rate.nanocores / 1_000_000, u64::try_from(rate.window.as_millis()).unwrap()))
    }

    #[test]
    fn who_asks_in_the_rhythm_gets_the_rate_since_the_question_before() {
        assert_eq!(rate(&after(&[(0, 0), (15_000, 1500)]), None), Some((100, 15_000)));
        assert_eq!(rate(&after(&[(0, 0), (15_020, 1500), (29_990, 1500 + 2994)]), None), Some((200, 14_970)));
    }

    #[test]
    fn who_asks_often_gets_a_rate_over_most_of_the_resolution() {
        let samples: Vec<_> = (0..60).map(|second| (second * 1000, second * 500)).collect();
        let history = after(&samples);
        let (millicores, window) = rate(&history, None).unwrap();
        assert_eq!(millicores, 500);
        assert!((10_000..=15_000).contains(&window), "{window}");
        assert!(history.samples.len() <= 10, "{}", history.samples.len());
    }

    #[test]
    fn one_look_gives_no_rate_but_for_what_has_just_begun() {
        let once = after(&[(0, 600)]);
        assert_eq!(rate(&once, None), None);
        assert_eq!(rate(&once, Some(60_000)), None);
        assert_eq!(rate(&once, Some(6000)), Some((100, 6000)), "since it began");
        assert_eq!(rate(&once, Some(10)), None, "too little time for a rate");
        assert_eq!(rate(&after(&[(0, 0), (1000, 250)]), None), Some((250, 1000)), "better than none");
    }

    #[test]
    fn what_is_too_old_says_nothing_about_now() {
        assert_eq!(rate(&after(&[(0, 0), (61_000, 6100)]), None), None);
    }

    #[test]
    fn a_rate_is_neither_negative_nor_more_than_the_machine() {
        assert_eq!(rate(&after(&[(0, 500), (15_000, 100)]), None), Some((0, 15_000)));
        assert_eq!(rate(&after(&[(0, 0), (15_000, 1_000_000)]), None), Some((4000, 15_000)));
    }

    proptest! {
        #[test]
        fn few_are_kept_and_a_steady_rate_is_found_whoever_asks_when(steps in prop::collection::vec(1000_u64..40_000, 2..100)) {
            let mut at = 0;
            let samples: Vec<_> = steps.iter().map(|step| { at += step; (at, at / 4) }).collect();
            let history = after(&samples);
            prop_assert!(history.samples.len() <= 12);
            let (millicores, window) = rate(&history, None).unwrap();
            prop_assert!((248..=252).contains(&millicores) && window >= 1000, "{} {}", millicores, window);
        }
    }
}
