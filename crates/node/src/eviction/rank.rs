//! Which pod goes first when the machine runs short, and what is said of it: upstream's order and words. Pure.

use std::{cmp::Reverse, sync::Arc};

use k8s_openapi::api::core::v1::{Container, Pod};
use kube::ResourceExt;
use objects::{
    quantity::Quantity,
    resources::{self, of_requests},
};

use super::{plan::Shortage, settings::Signal};
use crate::state::{init, is_sidecar};

/// Pods from this priority on are what the machine itself needs.
const CRITICAL: i32 = 2_000_000_000;

/// A pod that runs, and what it uses of what there is too little of.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// The pod.
    pub pod: Arc<Pod>,
    /// All that it uses.
    pub used: u64,
    /// What its containers use, by name.
    pub containers: Vec<(String, u64)>,
}

impl Candidate {
    fn request(&self, signal: Signal) -> i128 {
        let requests = self.pod.spec.as_ref().map(resources::requests).unwrap_or_default();
        requests.get(signal.resource()).map_or(0, Quantity::value)
    }
}

/// Whether a pod is never evicted.
pub fn is_critical(pod: &Pod) -> bool {
    priority(pod) >= CRITICAL
}

fn priority(pod: &Pod) -> i32 {
    pod.spec.as_ref().and_then(|spec| spec.priority).unwrap_or(0)
}

/// The pods that may be evicted, the first to go first: those that use more than they asked for; of these the least important; of
/// these the one that is furthest above. Critical pods stay, and pods that are ending already are not told again.
pub fn rank(mut pods: Vec<Candidate>, signal: Signal) -> Vec<Candidate> {
    pods.retain(|candidate| !is_critical(&candidate.pod) && candidate.pod.metadata.deletion_timestamp.is_none());
    pods.sort_by_cached_key(|candidate| {
        let above = i128::from(candidate.used) - candidate.request(signal);
        let name = (candidate.pod.namespace(), candidate.pod.name_any());
        // Nobody requests processes: the least important goes, and of equals the one that has most of them.
        (above <= 0 && signal != Signal::Processes, priority(&candidate.pod), Reverse(above), name)
    });
    pods
}

/// Why a pod was evicted, in the kubelet's words.
pub fn message(candidate: &Candidate, shortage: &Shortage) -> String {
    let signal = shortage.threshold.signal;
    let (resource, reading) = (signal.resource(), shortage.reading);
    let least = shortage.threshold.least.of(reading.capacity);
    let mut text = format!(
        "The node was low on resource: {resource}. Threshold quantity: {}, available: {}. ",
        shown(signal, least),
        shown(signal, reading.available)
    );
    let spec = candidate.pod.spec.as_ref();
    let all = spec
        .into_iter()
        .flat_map(|spec| init(spec).iter().filter(|container| is_sidecar(container)).chain(&spec.containers));
    for container in all.into_iter().filter(|_| signal.is_bytes()) {
        let used = candidate.containers.iter().find(|(name, _)| *name == container.name).map_or(0, |(_, used)| *used);
        let request = request(container, resource);
        if i128::from(used) > request.value() {
            text += &format!(
                "Container {} was using {}, request is {request}, has larger consumption of {resource}. ",
                container.name,
                shown(signal, used)
            );
        }
    }
    text
}

fn request(container: &Container, resource: &str) -> Quantity {
    of_requests(container).get(resource).copied().unwrap_or(Quantity::from_millis(0))
}

fn shown(signal: Signal, amount: u64) -> String {
    if signal.is_bytes() { Quantity::from_bytes(amount.into()).to_string() } else { amount.to_string() }
}
