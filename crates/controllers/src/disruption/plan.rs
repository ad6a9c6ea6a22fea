//! The status of a budget, from the pods it is about. Pure.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::{
    api::{
        core::v1::Pod,
        policy::v1::{PodDisruptionBudget, PodDisruptionBudgetStatus},
    },
    apimachinery::pkg::{
        apis::meta::v1::{Condition, Time},
        util::intstr::IntOrString,
    },
};
use kube::ResourceExt;
use objects::intstr::{Round, scaled};

/// How long an eviction that was allowed counts as one, though its pod is still there.
const CONFIRMED_WITHIN: SignedDuration = SignedDuration::from_secs(120);

/// The wanted size of what controls a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scale {
    /// The controller's uid.
    pub uid: String,
    /// How many pods it is to have.
    pub replicas: i32,
}

/// What to write, and when to look again.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// The status.
    pub status: PodDisruptionBudgetStatus,
    /// When an eviction that did not happen stops counting.
    pub again: Option<Duration>,
}

/// Plans for a budget that is about these pods, each with the size of what controls it.
pub fn plan(budget: &PodDisruptionBudget, pods: &[(&Pod, Option<Scale>)], now: Timestamp) -> Plan {
    let old = budget.status.clone().unwrap_or_default();
    let (disrupted, until) = still_disrupted(&old, pods, now);
    let healthy = pods.iter().filter(|(pod, _)| is_healthy(pod) && !disrupted.contains_key(&pod.name_any())).count();
    let current = i32::try_from(healthy).unwrap_or(i32::MAX);
    let (expected, desired) = wanted(budget, pods);
    let allowed = if expected > 0 { current.saturating_sub(desired).max(0) } else { 0 };
    let generation = budget.metadata.generation;
    let status = PodDisruptionBudgetStatus {
        conditions: Some(vec![condition(&old, allowed > 0, generation, now)]),
        current_healthy: current,
        desired_healthy: desired,
        disrupted_pods: (!disrupted.is_empty()).then_some(disrupted),
        disruptions_allowed: allowed,
        expected_pods: expected,
        observed_generation: generation,
    };
    Plan { status, again: until.and_then(|until| Duration::try_from(until.duration_since(now)).ok()) }
}

/// The evictions that were allowed and are not seen yet, and until when the first of them counts.
fn still_disrupted(
    old: &PodDisruptionBudgetStatus,
    pods: &[(&Pod, Option<Scale>)],
    now: Timestamp,
) -> (BTreeMap<String, Time>, Option<Timestamp>) {
    let (mut kept, mut first) = (BTreeMap::new(), None::<Timestamp>);
    for (name, at) in old.disrupted_pods.iter().flatten() {
        let waits = pods.iter().any(|(pod, _)| pod.name_any() == *name && pod.metadata.deletion_timestamp.is_none());
        let end = at.0.checked_add(CONFIRMED_WITHIN).unwrap_or(at.0);
        if waits && end > now {
            kept.insert(name.clone(), at.clone());
            first = Some(first.map_or(end, |first| first.min(end)));
        }
    }
    (kept, first)
}

fn is_healthy(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    pod.metadata.deletion_timestamp.is_none() && conditions.iter().any(|c| c.type_ == "Ready" && c.status == "True")
}

/// How many pods there should be, and how many of them must stay healthy.
fn wanted(budget: &PodDisruptionBudget, pods: &[(&Pod, Option<Scale>)]) -> (i32, i32) {
    let spec = budget.spec.clone().unwrap_or_default();
    let sizes: HashMap<&str, i32> =
        pods.iter().filter_map(|(_, scale)| scale.as_ref()).map(|scale| (scale.uid.as_str(), scale.replicas)).collect();
    let controlled = sizes.values().fold(0_i32, |sum, size| sum.saturating_add(*size));
    match (&spec.max_unavailable, &spec.min_available) {
        (Some(most), _) => {
            let most = scaled(most, controlled, Round::Up).unwrap_or(0);
            (controlled, controlled.saturating_sub(most).max(0))
        }
        // A number needs no controllers: the pods themselves are counted.
        (None, Some(IntOrString::Int(least))) => (i32::try_from(pods.len()).unwrap_or(i32::MAX), *least),
        (None, Some(least)) => (controlled, scaled(least, controlled, Round::Up).unwrap_or(controlled)),
        (None, None) => (controlled, controlled),
    }
}

fn condition(old: &PodDisruptionBudgetStatus, allowed: bool, generation: Option<i64>, now: Timestamp) -> Condition {
    let (status, reason) = if allowed { ("True", "SufficientPods") } else { ("False", "InsufficientPods") };
    let before = old.conditions.iter().flatten().find(|condition| condition.type_ == "DisruptionAllowed");
    let since = before.filter(|before| before.status == status).map(|before| before.last_transition_time.clone());
    // Times of the API have whole seconds.
    let now = Timestamp::from_second(now.as_second()).unwrap_or(now);
    Condition {
        last_transition_time: since.unwrap_or(Time(now)),
        message: String::new(),
        observed_generation: generation,
        reason: reason.to_owned(),
        status: status.to_owned(),
        type_: "DisruptionAllowed".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn budget(spec: Value, status: Value) -> PodDisruptionBudget {
        serde_json::from_value(json!({"metadata": {"name": "b", "generation": 3}, "spec": spec, "status": status}))
            .unwrap()
    }

    fn pod(name: &str, ready: bool) -> Pod {
        let status = if ready { "True" } else { "False" };
        serde_json::from_value(
            json!({"metadata": {"name": name}, "status": {"conditions": [{"type": "Ready", "status": status}]}}),
        )
        .unwrap()
    }

    /// Healthy, desired, expected, allowed.
    fn counts(spec: Value, ready: &[bool], replicas: Option<i32>) -> (i32, i32, i32, i32) {
        let pods: Vec<Pod> = ready.iter().enumerate().map(|(i, ready)| pod(&format!("p{i}"), *ready)).collect();
        let scale = replicas.map(|replicas| Scale { uid: "d".into(), replicas });
        let covered: Vec<(&Pod, Option<Scale>)> = pods.iter().map(|pod| (pod, scale.clone())).collect();
        let status = plan(&budget(spec, json!(null)), &covered, Timestamp::UNIX_EPOCH).status;
        (status.current_healthy, status.desired_healthy, status.expected_pods, status.disruptions_allowed)
    }

    #[test]
    fn a_budget_allows_what_is_healthy_beyond_what_is_wanted() {
        assert_eq!(counts(json!({"minAvailable": 2}), &[true, true, true], None), (3, 2, 3, 1));
        assert_eq!(counts(json!({"minAvailable": 2}), &[true, false], None), (1, 2, 2, 0));
        assert_eq!(counts(json!({"minAvailable": "50%"}), &[true, true, true], Some(3)), (3, 2, 3, 1));
        assert_eq!(counts(json!({"maxUnavailable": 1}), &[true, true], Some(2)), (2, 1, 2, 1));
        // A rollout has more pods than the Deployment is to have.
        assert_eq!(counts(json!({"maxUnavailable": "50%"}), &[true, true, true, false], Some(3)), (3, 1, 3, 2));
        assert_eq!(counts(json!({"maxUnavailable": 0}), &[true], Some(1)), (1, 1, 1, 0));
        assert_eq!(counts(json!({"minAvailable": 0}), &[], None), (0, 0, 0, 0));
    }

    #[test]
    fn pods_that_nothing_controls_are_no_part_of_a_share() {
        assert_eq!(counts(json!({"maxUnavailable": 1}), &[true, true], None), (2, 0, 0, 0));
    }

    #[test]
    fn an_allowed_eviction_counts_until_it_is_seen_or_two_minutes_old() {
        let (gone, stays) = (pod("gone", true), pod("p", true));
        let at = |second: i64| Timestamp::from_second(second).unwrap();
        let status = json!({"disruptedPods": {"p": at(100), "other": at(100)}, "currentHealthy": 2, "desiredHealthy": 1,
            "disruptionsAllowed": 0, "expectedPods": 2});
        let budget = budget(json!({"minAvailable": 1}), status);
        let covered = [(&gone, None), (&stays, None)];
        let soon = plan(&budget, &covered, at(160));
        assert_eq!((soon.status.current_healthy, soon.status.disruptions_allowed), (1, 0));
        assert_eq!(soon.again, Some(Duration::from_secs(60)));
        let later = plan(&budget, &covered, at(221));
        assert_eq!((later.status.current_healthy, later.status.disruptions_allowed, later.again), (2, 1, None));
        assert_eq!(later.status.disrupted_pods, None);
    }

    #[test]
    fn the_condition_keeps_the_time_of_its_last_change() {
        let one = pod("p", true);
        let first =
            plan(&budget(json!({"minAvailable": 0}), json!(null)), &[(&one, None)], Timestamp::UNIX_EPOCH).status;
        let mut again = budget(json!({"minAvailable": 0}), json!(null));
        again.status = Some(first.clone());
        let later = plan(&again, &[(&one, None)], Timestamp::from_second(99).unwrap()).status;
        assert_eq!(later, first);
        assert_eq!(later.observed_generation, Some(3));
    }
}
