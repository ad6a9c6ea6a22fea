//! Limits by key (an address, an account): so many in any window of time, in bounded memory. A [`Throttle`] is this process' alone; with
//! the feature `redis`, `Shared` is that of all replicas.

#[cfg(feature = "redis")]
mod shared;

use std::{
    collections::HashMap,
    hash::Hash,
    net::{IpAddr, Ipv6Addr},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

#[cfg(feature = "redis")]
pub use shared::Shared;

/// Keys looked at when room has to be made and none is out of date.
const SAMPLE: usize = 32;
/// Parts of a window in which events are counted together.
const PARTS: u32 = 16;

/// What to count an address as: an IPv6 address as its network of 64 bits, of which whoever has one address has them all.
///
/// ```
/// # use service::throttle::network;
/// let [one, other] = ["2001:db8::1", "2001:db8::ffff:2"].map(|address| network(address.parse().unwrap()));
/// assert_eq!(one, other);
/// ```
pub fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}

/// A sliding window over the events of each key: never more than so many in any span of that length.
///
/// Events are counted by sixteenths of the window, so each key costs the same few bytes however many its events are, and an event is
/// forgotten a sixteenth of the window late at most. At the bound on keys, those that are out of date go first, then the one with the
/// fewest events among a few: whoever invents many keys pushes out other inventions before he pushes out an account under attack.
///
/// ```
/// # use service::throttle::Throttle;
/// # use std::time::{Duration, Instant};
/// let logins = Throttle::new(3, Duration::from_secs(60), 10_000);
/// let now = Instant::now();
/// for _ in 0..3 {
///     assert_eq!(logins.count("ann", now), Ok(()));
/// }
/// assert!(logins.count("ann", now).is_err());
/// assert_eq!(logins.count("bob", now), Ok(()));
/// ```
pub struct Throttle<K> {
    limit: u32,
    part: Duration,
    most_keys: usize,
    began: Instant,
    keys: Mutex<HashMap<K, Window>>,
}

/// The events of the window that ends with the part `last`, in a ring: one more than a window has, as the oldest is half past.
#[derive(Clone, Copy, Default)]
struct Window {
    last: u64,
    events: [u32; PARTS as usize + 1],
}

impl Window {
    const RING: u64 = PARTS as u64 + 1;

    /// Changes the count of the part `part`, which is one of the last [`Window::RING`].
    fn change(&mut self, part: u64, to: impl FnOnce(u32) -> u32) {
        // The remainder is small.
        let place = usize::try_from(part % Self::RING).ok().and_then(|place| self.events.get_mut(place));
        if let Some(events) = place {
            *events = to(*events);
        }
    }

    /// Moves on to `part`, and forgets what is too old then.
    fn advance(&mut self, part: u64) {
        let first = self.last.max(part.saturating_sub(Self::RING)) + 1;
        for new in first..=part {
            self.change(new, |_| 0);
        }
        self.last = self.last.max(part);
    }

    fn total(&self) -> u32 {
        self.events.iter().fold(0, |sum, events| sum.saturating_add(*events))
    }

    /// Parts from the last one on until there are fewer than `limit` events.
    fn parts_until_below(mut self, limit: u32) -> u64 {
        let now = self.last;
        while self.total() >= limit && self.last < now + Self::RING {
            self.advance(self.last + 1);
        }
        self.last - now
    }
}

impl<K: Eq + Hash + Clone> Throttle<K> {
    /// At most `limit` events (at least one) in any `window` for each key, for at most `most_keys` keys.
    pub fn new(limit: u32, window: Duration, most_keys: usize) -> Self {
        let part = window.max(Duration::from_millis(PARTS.into())) / PARTS;
        let began = Instant::now();
        Self { limit: limit.max(1), part, most_keys: most_keys.max(1), began, keys: Mutex::default() }
    }

    /// Counts an event of `key`, if it is within the limit.
    ///
    /// # Errors
    /// It is not, and was not counted: how long to wait until the next may be.
    pub fn count(&self, key: K, now: Instant) -> Result<(), Duration> {
        let part = self.part_of(now);
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        if keys.len() >= self.most_keys && !keys.contains_key(&key) {
            self.make_room(&mut keys, part);
        }
        let window = keys.entry(key).or_insert(Window { last: part, ..Window::default() });
        window.advance(part);
        if window.total() < self.limit {
            let last = window.last;
            window.change(last, |events| events + 1);
            return Ok(());
        }
        let then = window.last + window.parts_until_below(self.limit);
        let since = now.saturating_duration_since(self.began);
        Err(Duration::from_secs_f64(self.part.as_secs_f64() * then as f64)
            .saturating_sub(since)
            .max(Duration::from_millis(1)))
    }

    /// The part of time that `at` is in.
    fn part_of(&self, at: Instant) -> u64 {
        let part = at.saturating_duration_since(self.began).as_nanos() / self.part.as_nanos().max(1);
        u64::try_from(part).unwrap_or(u64::MAX / 2)
    }

    /// Forgets the events of `key`, as after a login that succeeded.
    pub fn forget(&self, key: &K) {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }

    /// Keys remembered.
    pub fn len(&self) -> usize {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Whether no key is remembered.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn make_room(&self, keys: &mut HashMap<K, Window>, part: u64) {
        keys.retain(|_, window| window.last + Window::RING > part);
        if keys.len() < self.most_keys {
            return;
        }
        let least = keys.iter().take(SAMPLE).min_by_key(|(_, window)| window.total());
        if let Some(key) = least.map(|(key, _)| key.clone()) {
            keys.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn after_the_wait_that_it_names_one_more_fits() {
        for limit in [1, 5] {
            let throttle = Throttle::<&str>::new(limit, MINUTE, 10);
            let mut now = Instant::now();
            let mut waits = 0;
            for _ in 0..50 {
                if let Err(wait) = throttle.count("a", now) {
                    assert!(wait <= MINUTE + MINUTE / PARTS, "{wait:?}");
                    assert!(throttle.count("a", now + wait.mul_f64(0.9)).is_err(), "{wait:?}");
                    now += wait + Duration::from_millis(1);
                    assert_eq!(throttle.count("a", now), Ok(()), "{wait:?}");
                    waits += 1;
                }
            }
            assert!(waits > 5);
        }
    }

    #[test]
    fn keys_are_bounded_and_the_busiest_stays() {
        let throttle = Throttle::<u32>::new(3, MINUTE, 8);
        let now = Instant::now();
        while throttle.count(0_u32, now).is_ok() {}
        for key in 1..1000 {
            assert_eq!(throttle.count(key, now), Ok(()));
        }
        assert_eq!(throttle.len(), 8);
        assert!(throttle.count(0_u32, now).is_err());
        throttle.forget(&0);
        assert_eq!(throttle.count(0_u32, now), Ok(()));
    }

    proptest! {
        #[test]
        fn no_window_takes_more_than_the_limit(steps in prop::collection::vec(0_u64..20_000, 1..300)) {
            let throttle = Throttle::<u8>::new(7, MINUTE, 4);
            let mut now = Instant::now();
            let mut taken: Vec<Instant> = Vec::new();
            for step in steps {
                now += Duration::from_millis(step);
                if throttle.count(0_u8, now).is_ok() {
                    taken.push(now);
                }
            }
            for from in &taken {
                let within = taken.iter().filter(|t| **t >= *from && t.saturating_duration_since(*from) < MINUTE).count();
                prop_assert!(within <= 7, "{within}");
            }
        }
    }
}
