//! How many pods to make or delete, and which ones go first. Pure.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::{
    api::{
        apps::v1::{ReplicaSet, ReplicaSetCondition, ReplicaSetStatus},
        core::v1::{Pod, PodTemplateSpec},
    },
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference, Time},
};
use kube::ResourceExt;

use super::rank::dispensable_first;

/// The most pods made or deleted in one turn, as upstream's burst.
const BURST: usize = 500;

/// What could not be done: the reason and message of the condition `ReplicaFailure`.
pub(super) type Failure = (&'static str, String);

/// What to do, and the status to write.
#[derive(Clone, Debug)]
pub struct Plan<'a> {
    /// Pods to make.
    pub create: usize,
    /// Pods to delete, the most dispensable first.
    pub delete: Vec<&'a Pod>,
    /// The status.
    pub status: ReplicaSetStatus,
    /// When a pod becomes available by having been ready long enough.
    pub again: Option<Duration>,
}

/// Plans for a ReplicaSet with these pods; `related` are those of all sets with the same owner.
pub fn plan<'a>(set: &ReplicaSet, own: &[&'a Pod], related: &[&Pod], now: Timestamp) -> Plan<'a> {
    let spec = set.spec.clone().unwrap_or_default();
    let wanted = usize::try_from(spec.replicas.unwrap_or(1)).unwrap_or(0);
    let minimum = SignedDuration::from_secs(spec.min_ready_seconds.unwrap_or(0).into());
    let active: Vec<&Pod> = own.iter().copied().filter(|pod| is_active(pod)).collect();
    let excess = active.len().saturating_sub(wanted).min(BURST);
    let create = wanted.saturating_sub(active.len()).min(BURST);
    let status = status(set, &active, minimum, now);
    let waits = active.iter().filter_map(|pod| ready_since(pod)?.checked_add(minimum).ok()).filter(|at| *at > now);
    let again = waits.min().and_then(|at| Duration::try_from(at.duration_since(now)).ok());
    let delete = if excess == 0 { Vec::new() } else { dispensable_first(&active, related, now) };
    Plan { create, delete: delete.into_iter().take(excess).collect(), status, again }
}

/// The pod that a ReplicaSet makes, for this owner.
pub(super) fn pod(set: &ReplicaSet, owner: OwnerReference) -> Pod {
    let template = set.spec.as_ref().and_then(|spec| spec.template.clone());
    let PodTemplateSpec { metadata, spec } = template.unwrap_or_default();
    let meta = metadata.unwrap_or_default();
    Pod {
        metadata: ObjectMeta {
            generate_name: Some(format!("{}-", set.name_any())),
            namespace: set.namespace(),
            labels: meta.labels,
            annotations: meta.annotations,
            finalizers: meta.finalizers,
            owner_references: Some(vec![owner]),
            ..ObjectMeta::default()
        },
        spec,
        status: None,
    }
}

pub(super) fn phase(pod: &Pod) -> &str {
    pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or("Pending")
}

pub(super) fn is_active(pod: &Pod) -> bool {
    !matches!(phase(pod), "Succeeded" | "Failed") && pod.metadata.deletion_timestamp.is_none()
}

pub(super) fn ready_since(pod: &Pod) -> Option<Timestamp> {
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    let ready = conditions.iter().find(|condition| condition.type_ == "Ready" && condition.status == "True")?;
    ready.last_transition_time.as_ref().map(|time| time.0)
}

/// Says in the status what could not be done, or no longer says it.
pub(super) fn note_failure(status: &mut ReplicaSetStatus, failure: Option<Failure>, now: Timestamp) {
    const TYPE: &str = "ReplicaFailure";
    let conditions = status.conditions.get_or_insert_default();
    let known = conditions.iter().any(|c| c.type_ == TYPE && c.status == "True");
    match failure {
        // It keeps the time at which it began.
        Some((reason, message)) if !known => conditions.push(ReplicaSetCondition {
            type_: TYPE.to_owned(),
            status: "True".to_owned(),
            reason: Some(reason.to_owned()),
            message: Some(message),
            last_transition_time: Some(Time(Timestamp::from_second(now.as_second()).unwrap_or(now))),
        }),
        Some(_) => {}
        None => conditions.retain(|c| c.type_ != TYPE),
    }
    if conditions.is_empty() {
        status.conditions = None;
    }
}

fn status(set: &ReplicaSet, active: &[&Pod], minimum: SignedDuration, now: Timestamp) -> ReplicaSetStatus {
    let count = |number: usize| i32::try_from(number).unwrap_or(i32::MAX);
    let some = |number: usize| (number > 0).then(|| count(number));
    let labels = set.spec.as_ref().and_then(|spec| spec.template.as_ref()?.metadata.as_ref()?.labels.clone());
    let labels = labels.unwrap_or_default();
    let has_all = |pod: &&&Pod| labels.iter().all(|(key, value)| pod.labels().get(key) == Some(value));
    let available = |pod: &&&Pod| ready_since(pod).is_some_and(|at| at.checked_add(minimum).is_ok_and(|at| at <= now));
    ReplicaSetStatus {
        replicas: count(active.len()),
        fully_labeled_replicas: some(active.iter().filter(has_all).count()),
        ready_replicas: some(active.iter().filter(|pod| ready_since(pod).is_some()).count()),
        available_replicas: some(active.iter().filter(available).count()),
        observed_generation: set.metadata.generation,
        conditions: set.status.as_ref().and_then(|status| status.conditions.clone()),
        terminating_replicas: None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn set(replicas: i32) -> ReplicaSet {
        serde_json::from_value(json!({"metadata": {"name": "s", "namespace": "n", "uid": "u"},
            "spec": {"replicas": replicas, "selector": {}, "template": {"metadata": {"labels": {"a": "b"}}}}}))
        .unwrap()
    }

    fn pod(name: &str, extra: &Value) -> Pod {
        let mut value = json!({"metadata": {"name": name, "labels": {"a": "b"}}, "spec": {"containers": [], "nodeName": "x"},
            "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}]}});
        objects::patch::merge_patch(&mut value, extra);
        serde_json::from_value(value).unwrap()
    }

    fn now() -> Timestamp {
        "2026-01-02T00:00:00Z".parse().unwrap()
    }

    #[test]
    fn what_is_missing_is_made_and_pods_that_ended_do_not_count() {
        let ended = pod("e", &json!({"status": {"phase": "Failed"}}));
        let going = pod("g", &json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}}));
        let running = pod("a", &json!({}));
        let plan = plan(&set(3), &[&running, &ended, &going], &[], now());
        assert_eq!((plan.create, plan.delete.len(), plan.status.replicas), (2, 0, 1));
    }

    #[test]
    fn what_is_too_much_goes_and_what_failed_is_said_until_it_works() {
        let (ready, unready) = (pod("a", &json!({})), pod("b", &json!({"status": {"conditions": null}})));
        let plan = plan(&set(1), &[&ready, &unready], &[], now());
        assert_eq!(plan.delete.iter().map(|pod| pod.name_any()).collect::<Vec<_>>(), ["b"]);
        let mut status = plan.status;
        note_failure(&mut status, Some(("FailedCreate", "quota".to_owned())), now());
        let since = status.conditions.clone();
        assert_eq!(since.as_ref().unwrap()[0].message.as_deref(), Some("quota"));
        note_failure(&mut status, Some(("FailedCreate", "quota".to_owned())), "2026-01-03T00:00:00Z".parse().unwrap());
        assert_eq!(status.conditions, since);
        note_failure(&mut status, None, now());
        assert_eq!(status.conditions, None);
    }

    #[test]
    fn a_pod_is_available_when_it_has_been_ready_long_enough() {
        let mut patient = set(1);
        patient.spec.as_mut().unwrap().min_ready_seconds = Some(86_401);
        let ready = pod("a", &json!({}));
        let plan = plan(&patient, &[&ready], &[], now());
        assert_eq!((plan.status.ready_replicas, plan.status.available_replicas), (Some(1), None));
        assert_eq!(plan.again, Some(Duration::from_secs(1)));
    }
}
