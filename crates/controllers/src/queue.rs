//! Keys that are due, each at most once, some later than now. No I/O: time is a parameter.

use std::{
    collections::{BTreeSet, HashMap},
    hash::Hash,
    time::Duration,
};

/// The first wait after a failure, doubled each time.
const BACKOFF: Duration = Duration::from_millis(50);
/// The longest.
const LONGEST: Duration = Duration::from_secs(60);

/// Keys by when they are due. `T` is a point in time.
#[derive(Debug)]
pub struct Queue<K, T> {
    due: BTreeSet<(T, K)>,
    when: HashMap<K, T>,
    failures: HashMap<K, u32>,
}

impl<K: Clone + Eq + Hash + Ord, T: Copy + Ord> Queue<K, T> {
    /// An empty queue.
    pub fn new() -> Self {
        Self { due: BTreeSet::new(), when: HashMap::new(), failures: HashMap::new() }
    }

    /// Makes a key due at a time; an earlier time that is already set stays.
    pub fn add(&mut self, key: K, at: T) {
        match self.when.get(&key) {
            Some(set) if *set <= at => return,
            Some(set) => drop(self.due.remove(&(*set, key.clone()))),
            None => {}
        }
        self.when.insert(key.clone(), at);
        self.due.insert((at, key));
    }

    /// The key that has been due longest, if one is.
    pub fn next(&mut self, now: T) -> Option<K> {
        let (at, key) = self.due.first().filter(|(at, _)| *at <= now).cloned()?;
        self.due.remove(&(at, key.clone()));
        self.when.remove(&key);
        Some(key)
    }

    /// When the next key is due.
    pub fn next_time(&self) -> Option<T> {
        self.due.first().map(|(at, _)| *at)
    }

    /// Notes a failure and says how long to wait before the next try.
    pub fn failed(&mut self, key: &K) -> Duration {
        let failures = self.failures.entry(key.clone()).or_default();
        let wait = BACKOFF.saturating_mul(1u32.checked_shl(*failures).unwrap_or(u32::MAX)).min(LONGEST);
        *failures = failures.saturating_add(1);
        wait
    }

    /// Notes a success: the next failure waits the shortest time again.
    pub fn succeeded(&mut self, key: &K) {
        self.failures.remove(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_due_once_and_at_its_earliest_time() {
        let mut queue = Queue::new();
        queue.add("a", 5);
        queue.add("a", 3);
        queue.add("a", 9);
        queue.add("b", 4);
        assert_eq!((queue.next(2), queue.next_time()), (None, Some(3)));
        assert_eq!((queue.next(9), queue.next(9), queue.next(9)), (Some("a"), Some("b"), None));
    }

    #[test]
    fn failures_wait_longer_each_time_up_to_a_minute() {
        let mut queue: Queue<&str, u32> = Queue::new();
        let waits: Vec<_> = (0..40).map(|_| queue.failed(&"a")).collect();
        assert_eq!((waits[0], waits[1]), (BACKOFF, BACKOFF * 2));
        assert_eq!(waits[39], LONGEST);
        queue.succeeded(&"a");
        assert_eq!(queue.failed(&"a"), BACKOFF);
    }
}
