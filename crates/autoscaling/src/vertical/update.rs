//! Which pods are worth a change (`pkg/updater/priority`), and how many may be disturbed at once (`pkg/updater/restriction`).

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use objects::{
    resources::{self, Amounts, RESIZE_IN_PROGRESS, RESIZE_PENDING},
    vertical::ContainerRecommendation,
};

/// A pod that is within its bounds is left alone for so long,
const SETTLED: SignedDuration = SignedDuration::from_hours(12);
/// and after that, if it would gain less than a tenth.
const GAIN: f64 = 0.1;
/// A container that runs out of memory so soon is changed at once.
const QUICK: SignedDuration = SignedDuration::from_mins(10);
/// How long a resize may take before the pod is evicted instead.
const TAKES: SignedDuration = SignedDuration::from_hours(1);
/// Evictions at a time, as a share of the pods.
const TOLERANCE: f64 = 0.5;
/// Pods that there must be before one is evicted, unless the object says otherwise.
pub const REPLICAS: i32 = 2;

/// How much a pod is off, relative to what it requests; `None` where it is to be left alone. Pods that are off most go first.
pub fn priority(pod: &Pod, recommended: &[ContainerRecommendation], now: Timestamp) -> Option<f64> {
    let (mut wanted, mut has) = (Amounts::new(), Amounts::new());
    let (mut outside, mut more) = (false, false);
    for container in &pod.spec.as_ref()?.containers {
        let Some(said) = recommended.iter().find(|one| one.container_name.as_deref() == Some(&container.name)) else {
            continue;
        };
        let requests = resources::of_requests(container);
        for (resource, target) in &said.target {
            let Ok(target) = target.0.parse::<objects::quantity::Quantity>() else { continue };
            let bound = |of: &Option<BTreeMap<_, _>>| resources::amounts(of.as_ref()).get(resource).copied();
            resources::add(&mut wanted, &Amounts::from([(resource.clone(), target)]));
            match requests.get(resource).copied() {
                Some(request) => {
                    resources::add(&mut has, &Amounts::from([(resource.clone(), request)]));
                    more |= request < target;
                    outside |= bound(&said.lower_bound).is_some_and(|lower| request < lower);
                    outside |= bound(&said.upper_bound).is_some_and(|upper| request > upper);
                }
                None => (outside, more) = (true, true),
            }
        }
    }
    let off: f64 = wanted
        .iter()
        .map(|(resource, wanted)| {
            let (wanted, has) = (wanted.millis() as f64, has.get(resource).map_or(0, |has| has.millis()).max(1) as f64);
            (wanted - has).abs() / has
        })
        .sum();
    if outside || (more && ran_out_soon(pod, now)) {
        return Some(off);
    }
    let started = pod.status.as_ref()?.start_time.as_ref()?.0;
    (now.duration_since(started) >= SETTLED && off >= GAIN).then_some(off)
}

/// Whether the last run of a container ended for want of memory soon after it began.
fn ran_out_soon(pod: &Pod, now: Timestamp) -> bool {
    let soon = |status: &ContainerStatus| {
        let Some(ended) = status.last_state.as_ref().and_then(|state| state.terminated.as_ref()) else { return false };
        let times = ended.started_at.as_ref().zip(ended.finished_at.as_ref());
        ended.reason.as_deref() == Some("OOMKilled")
            && times.is_some_and(|(began, ended)| {
                ended.0.duration_since(began.0) < QUICK && now.duration_since(ended.0) < SETTLED
            })
    };
    pod.status.iter().flat_map(|status| status.container_statuses.iter().flatten()).any(soon)
}

/// What has become of a resize that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resize {
    /// There is none under way.
    None,
    /// It goes on.
    UnderWay,
    /// The node has no room for it. A pod in its place would not be scheduled either, so it is left where it is; upstream, which has
    /// other nodes to try, evicts it.
    NoRoom,
    /// It does not come about: the pod can only be replaced.
    Failed,
}

/// What has become of the resize of a pod.
pub fn resize(pod: &Pod, now: Timestamp) -> Resize {
    let conditions = || pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    for condition in conditions().filter(|condition| condition.status == "True") {
        let long = condition.last_transition_time.as_ref().is_some_and(|since| now.duration_since(since.0) > TAKES);
        match condition.type_.as_str() {
            RESIZE_PENDING => return Resize::NoRoom,
            RESIZE_IN_PROGRESS if long => return Resize::Failed,
            RESIZE_IN_PROGRESS => return Resize::UnderWay,
            _ => {}
        }
    }
    Resize::None
}

/// How many of a workload's pods may be evicted now: none of too few, never all, and only so many that a half of them is left.
pub fn evictable(configured: i32, running: usize, least: Option<i32>) -> usize {
    let needed = usize::try_from(least.unwrap_or(REPLICAS)).unwrap_or(0);
    if running < needed {
        return 0;
    }
    let configured = usize::try_from(configured).unwrap_or(0);
    // Whole pods; one is always allowed while all are there.
    let tolerated = (configured as f64 * TOLERANCE) as usize;
    let missing = configured.saturating_sub(running);
    if tolerated == 0 { usize::from(missing == 0 && running > 0) } else { tolerated.saturating_sub(missing) }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn now() -> Timestamp {
        "2026-01-02T00:00:00Z".parse().unwrap()
    }

    fn pod(request: &Value, status: &Value) -> Pod {
        let resources = json!({"requests": request});
        serde_json::from_value(
            json!({"spec": {"containers": [{"name": "c", "resources": resources}]}, "status": status}),
        )
        .unwrap()
    }

    fn said() -> Vec<ContainerRecommendation> {
        let said = json!([{"containerName": "c", "target": {"cpu": "5"}, "lowerBound": {"cpu": "1"}, "upperBound": {"cpu": "6"}}]);
        serde_json::from_value(said).unwrap()
    }

    fn started(at: &str) -> Value {
        json!({"startTime": at})
    }

    /// Upstream's `TestUpdateNotRequired…` and its neighbours.
    #[test]
    fn a_pod_outside_its_bounds_is_changed_at_once_and_another_after_half_a_day_if_it_gains() {
        let (fresh, old) = (started("2026-01-01T23:00:00Z"), started("2026-01-01T12:00:00Z"));
        let of = |cpu: &str, status: &Value| priority(&pod(&json!({"cpu": cpu}), status), &said(), now());
        assert_eq!(of("500m", &fresh), Some(9.0));
        assert_eq!(of("8", &fresh), Some(0.375));
        assert_eq!(of("2", &fresh), None, "it is within its bounds");
        assert_eq!(of("2", &old), Some(1.5));
        assert_eq!(of("4800m", &old), None, "it would gain little");
        assert!(priority(&pod(&json!({}), &fresh), &said(), now()).is_some(), "it requests nothing");
    }

    #[test]
    fn a_container_that_ran_out_of_memory_at_once_is_changed_at_once() {
        let terminated = json!({"reason": "OOMKilled", "exitCode": 137,
            "startedAt": "2026-01-01T23:00:00Z", "finishedAt": "2026-01-01T23:05:00Z"});
        let status = json!({"startTime": "2026-01-01T23:00:00Z", "containerStatuses": [{"name": "c", "image": "",
            "imageID": "", "ready": true, "restartCount": 1, "lastState": {"terminated": terminated}}]});
        assert!(priority(&pod(&json!({"cpu": "2"}), &status), &said(), now()).is_some());
    }

    #[test]
    fn a_resize_that_does_not_come_about_has_failed() {
        let of = |type_: &str, reason: &str, since: &str| {
            let condition = json!({"type": type_, "status": "True", "reason": reason, "lastTransitionTime": since});
            resize(&pod(&json!({}), &json!({"conditions": [condition]})), now())
        };
        assert_eq!(of("PodResizePending", "Infeasible", "2026-01-02T00:00:00Z"), Resize::NoRoom);
        assert_eq!(of("PodResizePending", "Deferred", "2026-01-01T23:50:00Z"), Resize::NoRoom);
        assert_eq!(of("PodResizeInProgress", "Error", "2026-01-01T22:50:00Z"), Resize::Failed);
        assert_eq!(of("PodResizeInProgress", "", "2026-01-01T23:50:00Z"), Resize::UnderWay);
        assert_eq!(of("Ready", "", "2026-01-01T23:50:00Z"), Resize::None);
    }

    /// Upstream's `TestEvict…ReplicaSet`: half of the pods, one of one, and none where too few run.
    #[test]
    fn half_of_the_pods_may_go_and_none_of_too_few() {
        assert_eq!(evictable(4, 4, None), 2);
        assert_eq!(evictable(4, 3, None), 1);
        assert_eq!(evictable(4, 2, None), 0);
        assert_eq!((evictable(1, 1, None), evictable(1, 1, Some(1))), (0, 1));
        assert_eq!((evictable(3, 3, Some(4)), evictable(3, 0, Some(0))), (0, 0));
    }
}
