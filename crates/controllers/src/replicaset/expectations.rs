//! What the copy of the API must show before a ReplicaSet's pods are counted again: otherwise a pod that was just made, and is
//! not in the copy yet, would be made twice.

use std::{
    collections::{HashMap, HashSet},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use tokio::time::Instant;

/// How long is waited: a change that was missed never shows.
const LONGEST: Duration = Duration::from_secs(30);

#[derive(Debug)]
struct Awaited {
    created: HashSet<String>,
    deleted: HashSet<String>,
    since: Instant,
}

impl Awaited {
    fn new() -> Self {
        Self { created: HashSet::new(), deleted: HashSet::new(), since: Instant::now() }
    }
}

/// What is awaited, by the ReplicaSet's uid.
#[derive(Debug, Default)]
pub(super) struct Expectations {
    sets: Mutex<HashMap<String, Awaited>>,
}

impl Expectations {
    pub fn created(&self, set: &str, pod: &str) {
        self.lock().entry(set.to_owned()).or_insert_with(Awaited::new).created.insert(pod.to_owned());
    }

    pub fn deleted(&self, set: &str, pod: &str) {
        self.lock().entry(set.to_owned()).or_insert_with(Awaited::new).deleted.insert(pod.to_owned());
    }

    /// Notes that a pod has shown; it may be gone again when the copy is looked at.
    pub fn showed(&self, set: &str, pod: &str) {
        if let Some(awaited) = self.lock().get_mut(set) {
            awaited.created.remove(pod);
        }
    }

    /// How much longer to wait for the copy to show what was done; `None` once it does, or when it was waited for long enough.
    pub fn wait(&self, set: &str, pods: &[&Pod]) -> Option<Duration> {
        let mut sets = self.lock();
        let awaited = sets.get_mut(set)?;
        let shown: HashMap<String, bool> =
            pods.iter().map(|pod| (pod.uid().unwrap_or_default(), pod.metadata.deletion_timestamp.is_some())).collect();
        awaited.created.retain(|uid| !shown.contains_key(uid));
        awaited.deleted.retain(|uid| shown.get(uid) == Some(&false));
        let met = awaited.created.is_empty() && awaited.deleted.is_empty();
        let left = LONGEST.saturating_sub(awaited.since.elapsed());
        if met || left.is_zero() {
            sets.remove(set);
            return None;
        }
        Some(left)
    }

    /// Forgets a ReplicaSet that is gone.
    pub fn forget(&self, set: &str) {
        self.lock().remove(set);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Awaited>> {
        self.sets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(uid: &str, deleting: bool) -> Pod {
        let mut pod = Pod::default();
        pod.metadata.uid = Some(uid.to_owned());
        let time = k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(jiff::Timestamp::UNIX_EPOCH);
        pod.metadata.deletion_timestamp = deleting.then_some(time);
        pod
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_counted_before_what_was_done_shows_or_was_waited_for_long_enough() {
        let expectations = Expectations::default();
        let met = |pods: &[&Pod]| expectations.wait("s", pods).is_none();
        expectations.created("s", "a");
        assert!(!met(&[]));
        assert!(met(&[&pod("a", false)]));
        expectations.deleted("s", "a");
        assert!(!met(&[&pod("a", false)]));
        assert!(met(&[&pod("a", true)]));
        expectations.created("s", "short-lived");
        assert!(!met(&[]));
        expectations.showed("s", "short-lived");
        assert!(met(&[]), "it was there");
        expectations.created("s", "vanished");
        assert_eq!(expectations.wait("s", &[]), Some(LONGEST));
        tokio::time::advance(LONGEST).await;
        assert!(met(&[]));
    }
}
