//! What the counters were at moments of the past, and what has changed since.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use crate::observe::{Histogram, Load, Loads, WorkerFigures};

/// Samples older than this are of no use to anybody: twice the longest window.
const OLDEST: Duration = Duration::from_secs(600);
/// Neighbours closer together than this are thinned out, and so are those closer than a part of their age: a window's beginning
/// need not be exact to the second if the window is long. It leaves fewer than a hundred samples.
const CLOSE: Duration = Duration::from_millis(1500);
const PART: u32 = 8;

/// A way from a listener to a cluster, by a rule.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Way {
    /// `namespace/gateway` or `namespace/service`.
    pub listener: Arc<str>,
    /// Whether it is a Gateway's.
    pub edge: bool,
    /// `namespace/route/rule`; a Service that no route is attached to has a rule `namespace/service`.
    pub rule: Arc<str>,
    /// `namespace/service:port`; empty where the proxy answers itself.
    pub cluster: Arc<str>,
}

/// All counters at one moment.
#[derive(Debug)]
pub(super) struct Sample {
    at: Instant,
    /// What has not changed since the sample before is shared with it.
    ways: HashMap<Way, Arc<Loads>>,
    endpoints: HashMap<SocketAddr, Arc<Loads>>,
}

impl Sample {
    /// Before anything was counted.
    pub fn empty(at: Instant) -> Self {
        Self { at, ways: HashMap::new(), endpoints: HashMap::new() }
    }

    /// What the workers have counted.
    pub fn of(figures: &WorkerFigures, at: Instant) -> Self {
        let mut ways: HashMap<Way, Loads> = HashMap::new();
        for (listener, (rule, cluster), loads) in figures.ways() {
            let (listener, edge) = (listener.name.clone(), listener.edge);
            let way = Way { listener, edge, rule: rule.clone(), cluster: cluster.clone() };
            // A Gateway has several ports.
            ways.entry(way).or_default().add(loads);
        }
        let ways = ways.into_iter().map(|(way, loads)| (way, Arc::new(loads))).collect();
        let endpoints = figures.endpoints().map(|(endpoint, loads)| (endpoint, Arc::new(loads.clone()))).collect();
        Self { at, ways, endpoints }
    }

    /// The ways that requests or connections have taken.
    pub fn ways(&self) -> impl Iterator<Item = &Way> {
        self.ways.keys()
    }

    fn share(&mut self, before: &Self) {
        share(&mut self.ways, &before.ways);
        share(&mut self.endpoints, &before.endpoints);
    }
}

fn share<K: Eq + std::hash::Hash>(now: &mut HashMap<K, Arc<Loads>>, before: &HashMap<K, Arc<Loads>>) {
    for (key, loads) in now {
        if let Some(same) = before.get(key).filter(|known| *known == loads) {
            *loads = same.clone();
        }
    }
}

/// Whose figures are asked for.
#[derive(Debug, Clone)]
pub(super) enum Whose<'a> {
    /// Of a Service, whoever calls it: its namespace and name.
    Service(&'a str, &'a str),
    /// Of an HTTPRoute or GRPCRoute.
    Route(&'a str, &'a str),
    /// Of a Gateway.
    Gateway(&'a str, &'a str),
    /// Of all Services of a namespace.
    Namespace(&'a str),
    /// Of what has one of these addresses, for whatever Service.
    Pod(&'a [std::net::IpAddr]),
    /// Of some ways.
    Ways(HashSet<&'a Way>),
}

impl Whose<'_> {
    fn has(&self, way: &Way) -> bool {
        let of = |name: &str, namespace: &str, rest: &dyn Fn(&str) -> bool| {
            name.strip_prefix(namespace).and_then(|name| name.strip_prefix('/')).is_some_and(rest)
        };
        let named =
            |name: &str, own: &str, mark: char| name.strip_prefix(own).is_some_and(|rest| rest.starts_with(mark));
        match self {
            Self::Service(namespace, own) => of(&way.cluster, namespace, &|name| named(name, own, ':')),
            Self::Route(namespace, own) => of(&way.rule, namespace, &|name| named(name, own, '/')),
            Self::Gateway(namespace, own) => way.edge && of(&way.listener, namespace, &|name| name == *own),
            Self::Namespace(namespace) => of(&way.cluster, namespace, &|_| true),
            Self::Ways(ways) => ways.contains(way),
            Self::Pod(_) => false,
        }
    }

    fn has_endpoint(&self, endpoint: &SocketAddr) -> bool {
        matches!(self, Self::Pod(addresses) if addresses.contains(&endpoint.ip()))
    }
}

/// What has happened in a window of time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Change {
    /// How long the window really is, in nanoseconds.
    pub elapsed: u64,
    /// How many have begun.
    pub begun: u64,
    /// How many have ended.
    pub ended: u64,
    /// How many of these were not served, through no fault of the client's.
    pub failed: u64,
    /// How many are open at its end.
    pub open: u64,
    /// For how many nanoseconds all that were open were so within the window.
    pub busy: u64,
    /// How long those took that were answered.
    pub took: Histogram,
}

impl Change {
    fn add(&mut self, now: &Load, before: &Load) -> Result<(), Unknown> {
        let since = |now: u64, before: u64| now.checked_sub(before).ok_or(Unknown::Forgotten);
        self.begun += since(now.begun, before.begun)?;
        self.ended += since(now.ended(), before.ended())?;
        self.failed += since(now.failed, before.failed)?;
        self.open = self.open.wrapping_add(now.open);
        self.busy = self.busy.wrapping_add(now.busy().wrapping_sub(before.busy()));
        if let Some(took) = now.took() {
            let mut took = took.clone();
            before.took().into_iter().for_each(|before| took.remove(before));
            self.took.add(&took);
        }
        Ok(())
    }
}

/// Why it cannot be said what has happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unknown {
    /// There is no sample of about the window's beginning.
    #[error("the gateway has not been counting for this for long enough: ask again in a while")]
    TooEarly,
    /// A counter has gone back: what was not used for long and then gone for a while is back.
    #[error("the gateway has forgotten what it had counted of this, and counts anew: ask again in a while")]
    Forgotten,
}

/// The samples of the last minutes, the oldest first.
#[derive(Debug)]
pub(super) struct History {
    past: VecDeque<Sample>,
    newest: Sample,
}

impl History {
    /// From the moment when nothing had been counted yet.
    pub fn new(start: Instant) -> Self {
        Self { past: VecDeque::new(), newest: Sample::empty(start) }
    }

    /// The newest sample.
    pub fn newest(&self) -> &Sample {
        &self.newest
    }

    /// How long ago the newest sample was taken.
    pub fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.newest.at)
    }

    /// Takes in a newer sample.
    pub fn push(&mut self, mut sample: Sample) {
        sample.share(&self.newest);
        self.past.push_back(std::mem::replace(&mut self.newest, sample));
        self.thin();
    }

    fn thin(&mut self) {
        let now = self.newest.at;
        let age = |sample: &Sample| now.saturating_duration_since(sample.at);
        self.past.retain(|sample| age(sample) <= OLDEST);
        let mut index = 1;
        while let Some(sample) = self.past.get(index) {
            let before = self.past.get(index - 1).map_or(now, |before| before.at);
            let after = self.past.get(index + 1).map_or(now, |after| after.at);
            if after.saturating_duration_since(before) <= CLOSE.max(age(sample) / PART) {
                self.past.remove(index);
            } else {
                index += 1;
            }
        }
    }

    /// What has happened since about `window` ago, by the newest sample: what a `window` of nothing has is only what is open.
    ///
    /// # Errors
    /// There is nothing to compare with.
    pub fn change(&self, window: Duration, whose: &Whose<'_>, requests: bool) -> Result<Change, Unknown> {
        let now = &self.newest;
        let age = |sample: &Sample| now.at.saturating_duration_since(sample.at);
        let nearest = self.past.iter().min_by_key(|sample| age(sample).abs_diff(window));
        let then = match nearest {
            _ if window.is_zero() => now,
            Some(sample) if age(sample) >= window / 2 && age(sample) <= window * 2 => sample,
            _ => return Err(Unknown::TooEarly),
        };
        let mut change =
            Change { elapsed: u64::try_from(age(then).as_nanos()).unwrap_or(u64::MAX), ..Change::default() };
        let nothing = Loads::default();
        let load = |loads: &'_ Loads| if requests { loads.requests.clone() } else { loads.connections.clone() };
        let mut add = |now: &Loads, before: Option<&Arc<Loads>>| {
            change.add(&load(now), &load(before.map_or(&nothing, |before| before)))
        };
        for (way, loads) in now.ways.iter().filter(|(way, _)| whose.has(way)) {
            add(loads, then.ways.get(way))?;
        }
        for (endpoint, loads) in now.endpoints.iter().filter(|(endpoint, _)| whose.has_endpoint(endpoint)) {
            add(loads, then.endpoints.get(endpoint))?;
        }
        Ok(change)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const WEB: Whose<'_> = Whose::Service("shop", "web");

    fn way(rule: &str, cluster: &str) -> Way {
        Way { listener: "infra/edge".into(), edge: true, rule: rule.into(), cluster: cluster.into() }
    }

    /// So many requests a second since the beginning, each open for half a second.
    fn sample(start: Instant, seconds: u64, rate: u64) -> Sample {
        let mut load = Load::default();
        for number in 0..seconds * rate {
            let began = number * 1_000_000_000 / rate;
            load.begin(began);
            load.end(began + 500_000_000, number % 10 == 0, Some(500_000_000));
        }
        let loads = Arc::new(Loads { requests: load, ..Loads::default() });
        let ways = [(way("shop/api/0", "shop/web:80"), loads.clone())].into();
        let endpoints = [("10.42.0.1:8080".parse().unwrap(), loads)].into();
        Sample { at: start + SECOND * seconds as u32, ways, endpoints }
    }

    fn history(start: Instant, until: u64, rate: u64) -> History {
        let mut history = History::new(start);
        (2..=until).step_by(2).for_each(|second| history.push(sample(start, second, rate)));
        history
    }

    #[test]
    fn a_window_has_what_happened_in_it() {
        let history = history(Instant::now(), 60, 10);
        let change = history.change(SECOND * 30, &WEB, true).unwrap();
        let seconds = change.elapsed / 1_000_000_000;
        assert!((28..=32).contains(&seconds), "{seconds}");
        assert_eq!((change.begun, change.ended, change.failed), (10 * seconds, 10 * seconds, seconds));
        // By Little's law.
        assert_eq!(change.busy, change.elapsed / 2 * 10);
        assert_eq!(change.took.quantile(99).map(|took| took / 10_000_000), Some(53));
        assert_eq!(history.change(SECOND * 30, &WEB, false).unwrap().begun, 0);
    }

    #[test]
    fn every_window_up_to_the_longest_is_nearly_exact_and_few_samples_are_kept() {
        let history = history(Instant::now(), 3_600, 10);
        assert!(history.past.len() < 100, "{}", history.past.len());
        for window in [10, 30, 60, 300] {
            let elapsed = history.change(SECOND * window, &WEB, true).unwrap().elapsed / 1_000_000_000;
            assert!(elapsed.abs_diff(u64::from(window)) <= 1 + u64::from(window) / 10, "{window}: {elapsed}");
        }
    }

    #[test]
    fn who_asks_too_early_or_after_a_pause_is_told_nothing() {
        let start = Instant::now();
        let early = history(start, 10, 10);
        assert_eq!(early.change(SECOND * 30, &WEB, true), Err(Unknown::TooEarly));
        assert!(early.change(SECOND * 10, &WEB, true).is_ok(), "since the process began");
        let mut paused = history(start, 60, 10);
        paused.push(sample(start, 360, 10));
        assert_eq!(paused.change(SECOND * 30, &WEB, true), Err(Unknown::TooEarly));
        assert_eq!(paused.change(Duration::ZERO, &WEB, true).map(|change| change.open), Ok(0));
    }

    #[test]
    fn a_counter_that_goes_back_says_nothing() {
        let start = Instant::now();
        let mut history = history(start, 60, 10);
        history.push(sample(start, 62, 1));
        assert_eq!(history.change(SECOND * 30, &WEB, true), Err(Unknown::Forgotten));
        assert!(history.change(SECOND * 30, &Whose::Service("shop", "we"), true).is_ok());
    }

    #[test]
    fn what_is_counted_belongs_to_a_service_a_route_a_gateway_and_a_pod() {
        let history = history(Instant::now(), 60, 10);
        let way = way("shop/api/0", "shop/web:80");
        let address = ["10.42.0.1".parse().unwrap()];
        let begun = |whose: &Whose<'_>| history.change(SECOND * 30, whose, true).unwrap().begun;
        for whose in [
            WEB,
            Whose::Route("shop", "api"),
            Whose::Gateway("infra", "edge"),
            Whose::Namespace("shop"),
            Whose::Pod(&address),
            Whose::Ways([&way].into()),
        ] {
            assert_eq!(begun(&whose), begun(&WEB), "{whose:?}");
        }
        let other = ["10.42.0.2".parse().unwrap()];
        for whose in [
            Whose::Service("shop", "we"),
            Whose::Service("sho", "web"),
            Whose::Route("shop", "ap"),
            Whose::Gateway("shop", "edge"),
            Whose::Namespace("sho"),
            Whose::Pod(&other),
            Whose::Ways(HashSet::new()),
        ] {
            assert_eq!(begun(&whose), 0, "{whose:?}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn a_window_is_about_as_long_as_asked_for_however_samples_come(
            steps in prop::collection::vec(1_u64..2_500, 1..1_000),
            window in prop::sample::select(vec![10_u64, 30, 60, 300]),
        ) {
            let mut at = Instant::now();
            let mut history = History::new(at);
            for step in &steps {
                at += Duration::from_millis(*step);
                history.push(Sample::empty(at));
            }
            prop_assert!(history.past.len() < 100, "{}", history.past.len());
            let (passed, window) = (Duration::from_millis(steps.iter().sum()), SECOND * window as u32);
            let known = history.change(window, &WEB, true).map(|change| Duration::from_nanos(change.elapsed));
            if passed >= window {
                let off = known.unwrap().abs_diff(window);
                prop_assert!(off <= Duration::from_millis(2_500).max(window / 8), "{off:?} of {window:?}");
            }
        }
    }

    #[test]
    fn what_has_not_changed_is_kept_once() {
        let start = Instant::now();
        let mut history = History::new(start);
        history.push(sample(start, 10, 10));
        let at = start + SECOND * 20;
        history.push(Sample { at, ..sample(start, 10, 10) });
        let [then, now] =
            [history.past.back().unwrap(), &history.newest].map(|sample| sample.ways.values().next().unwrap());
        assert!(Arc::ptr_eq(then, now));
    }
}
