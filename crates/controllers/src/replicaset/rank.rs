//! Which pods a ReplicaSet can best do without (`ActivePodsWithRanks`). Pure.

use std::{
    cmp::{Ordering, Reverse},
    collections::HashMap,
};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use kube::ResourceExt;

use super::plan::{phase, ready_since};
use crate::cache::is_sidecar;

/// What a pod is ranked by.
struct Rank<'a> {
    pod: &'a Pod,
    bound: bool,
    running: u8,
    ready: bool,
    since: Option<Timestamp>,
    cost: i32,
    /// Related pods on its node.
    together: usize,
    /// Restarts of its containers, and of its sidecars.
    restarts: (i32, i32),
    created: Option<Timestamp>,
}

/// The pods, the one that can best be done without first: not bound, not running, not ready, cheap to delete, on a node with many
/// of the `related` pods, ready for a shorter time, often restarted, younger. Times count by their order of magnitude, and among
/// equals the uid decides, so that it is not always the youngest.
pub(super) fn dispensable_first<'a>(pods: &[&'a Pod], related: &[&Pod], now: Timestamp) -> Vec<&'a Pod> {
    let mut on_node: HashMap<&str, usize> = HashMap::new();
    for pod in related {
        *on_node.entry(node(pod)).or_default() += 1;
    }
    // Upstream's order is no order in the strict sense (ages that are equal fall through to restarts, ages that are alike to the
    // uid), which a sort may refuse: pods are inserted one by one instead.
    let mut sorted: Vec<Rank<'a>> = Vec::with_capacity(pods.len());
    for pod in pods {
        let rank = Rank::of(pod, on_node.get(node(pod)).copied().unwrap_or(0));
        let at = sorted.partition_point(|other| other.compare(&rank, now) != Ordering::Greater);
        sorted.insert(at, rank);
    }
    sorted.into_iter().map(|rank| rank.pod).collect()
}

fn node(pod: &Pod) -> &str {
    pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()).unwrap_or_default()
}

impl<'a> Rank<'a> {
    fn of(pod: &'a Pod, together: usize) -> Self {
        let cost = pod.annotations().get("controller.kubernetes.io/pod-deletion-cost");
        let since = ready_since(pod);
        Self {
            pod,
            bound: !node(pod).is_empty(),
            running: match phase(pod) {
                "Pending" => 0,
                "Unknown" => 1,
                _ => 2,
            },
            ready: since.is_some(),
            since,
            cost: cost.and_then(|cost| deletion_cost(cost)).unwrap_or(0),
            together,
            restarts: restarts(pod),
            created: pod.creation_timestamp().map(|time| time.0),
        }
    }

    fn compare(&self, other: &Self, now: Timestamp) -> Ordering {
        let state = |rank: &Self| (rank.bound, rank.running, rank.ready, rank.cost, Reverse(rank.together));
        let ready = || match (self.since, other.since) {
            (Some(a), Some(b)) if a != b => self.younger(other, a, b, now),
            _ => Ordering::Equal,
        };
        let often = || other.restarts.cmp(&self.restarts);
        let created = || match (self.created, other.created) {
            (Some(a), Some(b)) if a != b => self.younger(other, a, b, now),
            // One that has no time was not even made: it goes first.
            (a, b) => a.is_some().cmp(&b.is_some()),
        };
        state(self).cmp(&state(other)).then_with(ready).then_with(often).then_with(created)
    }

    /// By the order of magnitude of the age, then by uid.
    fn younger(&self, other: &Self, a: Timestamp, b: Timestamp, now: Timestamp) -> Ordering {
        let magnitude = |at: Timestamp| {
            let age = now.as_nanosecond() - at.as_nanosecond();
            if age > 0 { i64::from(age.ilog2()) } else { -1_i64 }
        };
        magnitude(a).cmp(&magnitude(b)).then_with(|| self.pod.uid().cmp(&other.pod.uid()))
    }
}

/// A number of 32 bits without a plus or leading zeros; anything else counts as no cost.
fn deletion_cost(text: &str) -> Option<i32> {
    let number: i32 = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}

/// The most restarts of one of its containers, and of one of its sidecars.
fn restarts(pod: &Pod) -> (i32, i32) {
    let status = pod.status.as_ref();
    let most = |list: Option<&Vec<ContainerStatus>>, counts: &dyn Fn(&str) -> bool| {
        list.into_iter().flatten().filter(|s| counts(&s.name)).map(|s| s.restart_count).max().unwrap_or(0)
    };
    let sidecar = |name: &str| {
        let init = pod.spec.iter().flat_map(|spec| spec.init_containers.iter().flatten());
        init.into_iter().any(|container| container.name == name && is_sidecar(container))
    };
    let containers = most(status.and_then(|s| s.container_statuses.as_ref()), &|_| true);
    (containers, most(status.and_then(|s| s.init_container_statuses.as_ref()), &sidecar))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn pod(name: &str, extra: &Value) -> Pod {
        let mut value = json!({"metadata": {"name": name, "uid": name, "creationTimestamp": "2026-01-01T00:00:00Z"},
            "spec": {"containers": [], "nodeName": "x"},
            "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}]}});
        objects::patch::merge_patch(&mut value, extra);
        serde_json::from_value(value).unwrap()
    }

    fn ready(time: &str) -> Value {
        json!({"status": {"conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": time}]}})
    }

    fn restarted(count: i32) -> Value {
        let status = json!({"name": "c", "image": "", "imageID": "", "ready": true, "restartCount": count});
        json!({"status": {"containerStatuses": [status]}})
    }

    fn order(pods: &[Pod], related: &[Pod]) -> Vec<String> {
        let (pods, related): (Vec<&Pod>, Vec<&Pod>) = (pods.iter().collect(), related.iter().collect());
        let now = "2026-01-02T00:00:00Z".parse().unwrap();
        dispensable_first(&pods, &related, now).iter().map(|pod| pod.name_any()).collect()
    }

    #[test]
    fn the_most_dispensable_pods_go_first() {
        let cheap = json!({"metadata": {"annotations": {"controller.kubernetes.io/pod-deletion-cost": "-1"}}});
        let pods = [
            pod("ready", &json!({})),
            pod("restarted", &restarted(2)),
            pod("young", &json!({"metadata": {"creationTimestamp": "2026-01-01T23:00:00Z"}})),
            pod("unready", &json!({"status": {"conditions": null}})),
            pod("pending", &json!({"status": {"phase": "Pending", "conditions": null}})),
            pod("unbound", &json!({"spec": {"nodeName": null}})),
            pod("cheap", &cheap),
            pod("fresh", &ready("2026-01-01T20:00:00Z")),
        ];
        let expected = ["unbound", "pending", "unready", "cheap", "fresh", "restarted", "young", "ready"];
        assert_eq!(order(&pods, &[]), expected);
    }

    #[test]
    fn pods_ready_for_about_as_long_go_by_uid_and_crowded_nodes_are_relieved_first() {
        // A day and most of one have the same order of magnitude in powers of two of nanoseconds.
        let pods = [pod("b", &ready("2026-01-01T03:00:00Z")), pod("a", &json!({}))];
        assert_eq!(order(&pods, &[]), ["a", "b"]);
        let other = pod("c", &json!({"spec": {"nodeName": "y"}}));
        let related = [pods[0].clone(), other.clone(), pod("d", &json!({"spec": {"nodeName": "y"}}))];
        assert_eq!(order(&[pods[1].clone(), other], &related), ["c", "a"]);
    }

    /// Each pair as upstream compares it: the first goes before the second, all else being equal.
    #[test]
    fn each_criterion_decides_where_those_before_it_are_equal() {
        let cost =
            |cost: &str| json!({"metadata": {"annotations": {"controller.kubernetes.io/pod-deletion-cost": cost}}});
        let phase = |phase: &str| json!({"status": {"phase": phase}});
        let created = |time: &str| json!({"metadata": {"creationTimestamp": time}});
        let sidecar = |count: i32| {
            let status = json!({"name": "s", "image": "", "imageID": "", "ready": true, "restartCount": count});
            json!({"spec": {"initContainers": [{"name": "s", "restartPolicy": "Always"}]}, "status": {"initContainerStatuses": [status]}})
        };
        let plain = json!({});
        let table = [
            ("not bound", json!({"spec": {"nodeName": null}}), plain.clone()),
            ("pending", phase("Pending"), phase("Unknown")),
            ("unknown", phase("Unknown"), phase("Running")),
            ("not ready", json!({"status": {"conditions": null}}), plain.clone()),
            ("cheaper", cost("-2147483648"), cost("-1")),
            ("no cost is zero", plain.clone(), cost("1")),
            ("what is no number is zero", cost("+5"), cost("1")),
            ("nor is one with zeros before it", cost("05"), cost("1")),
            ("ready for a shorter time", ready("2026-01-01T20:00:00Z"), plain.clone()),
            ("restarted more often", restarted(3), restarted(2)),
            ("its sidecar restarted more often", sidecar(2), sidecar(1)),
            ("younger", created("2026-01-01T23:00:00Z"), plain.clone()),
            ("never made", json!({"metadata": {"creationTimestamp": null}}), plain),
        ];
        for (criterion, first, second) in table {
            // The names, which decide among equals, speak for the other order.
            let pods = [pod("a", &second), pod("b", &first)];
            assert_eq!(order(&pods, &[]), ["b", "a"], "{criterion}");
        }
    }

    proptest! {
        #[test]
        fn whatever_the_ages_every_pod_is_ranked_once(ages in prop::collection::vec((0..90_000_i64, 0..90_000_i64, 0..3_i32), 0..40)) {
            let time = |age: i64| format!("{}", Timestamp::from_second(1_767_312_000 - age).unwrap());
            let make = |(at, (ready_age, age, restarts)): (usize, &(i64, i64, i32))| {
                let mut extra = ready(&time(*ready_age));
                objects::patch::merge_patch(&mut extra, &restarted(*restarts));
                objects::patch::merge_patch(&mut extra, &json!({"metadata": {"creationTimestamp": time(*age)}}));
                pod(&format!("{at:02}"), &extra)
            };
            let pods: Vec<Pod> = ages.iter().enumerate().map(make).collect();
            let mut names = order(&pods, &pods);
            names.sort();
            prop_assert_eq!(names, pods.iter().map(ResourceExt::name_any).collect::<Vec<_>>());
        }
    }
}
