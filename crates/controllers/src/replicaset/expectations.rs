//! What the copy of the API must show before a ReplicaSet's pods are counted again: otherwise a pod that was just made, and is
//! not in the copy yet, would be made twice.

use std::{
    collections::{HashMap, HashSet},
    sync::{Mutex, MutexGuard, PoisonError},
};

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;

#[derive(Debug, Default)]
struct Awaited {
    created: HashSet<String>,
    deleted: HashSet<String>,
}

/// What is awaited, by the ReplicaSet's uid.
#[derive(Debug, Default)]
pub(super) struct Expectations {
    sets: Mutex<HashMap<String, Awaited>>,
}

impl Expectations {
    pub fn created(&self, set: &str, pod: &str) {
        self.lock().entry(set.to_owned()).or_default().created.insert(pod.to_owned());
    }

    pub fn deleted(&self, set: &str, pod: &str) {
        self.lock().entry(set.to_owned()).or_default().deleted.insert(pod.to_owned());
    }

    /// Whether the copy shows everything that was done. A pod that was made and is gone again never shows: it is no longer awaited
    /// once any pod made after it has shown, or when its deletion was seen; the copy is in order, so that is soon.
    pub fn are_met(&self, set: &str, pods: &[&Pod]) -> bool {
        let mut sets = self.lock();
        let Some(awaited) = sets.get_mut(set) else { return true };
        let shown: HashMap<String, bool> =
            pods.iter().map(|pod| (pod.uid().unwrap_or_default(), pod.metadata.deletion_timestamp.is_some())).collect();
        awaited.created.retain(|uid| !shown.contains_key(uid));
        awaited.deleted.retain(|uid| shown.get(uid) == Some(&false));
        let met = awaited.created.is_empty() && awaited.deleted.is_empty();
        if met {
            sets.remove(set);
        }
        met
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

    #[test]
    fn nothing_is_counted_before_what_was_done_shows() {
        let expectations = Expectations::default();
        expectations.created("s", "a");
        assert!(!expectations.are_met("s", &[]));
        assert!(expectations.are_met("s", &[&pod("a", false)]));
        expectations.deleted("s", "a");
        assert!(!expectations.are_met("s", &[&pod("a", false)]));
        assert!(expectations.are_met("s", &[&pod("a", true)]));
        assert!(expectations.are_met("other", &[]));
    }
}
