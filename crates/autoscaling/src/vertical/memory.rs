//! Containers that need more memory than they may use: when to say so, and what to do about it.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use objects::{quantity::Quantity, resources, vertical::ContainerRecommendation};

use super::container::more;

/// From this share of its limit on a container is at it.
const FULL: f64 = 0.95;
/// Longer ago is no news.
const NEWS: SignedDuration = SignedDuration::from_mins(10);

/// A run that ended for want of memory.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Killed {
    /// The container.
    pub container: String,
    /// When the run ended.
    pub at: Timestamp,
}

/// The latest runs of a pod's containers that ended for want of memory.
pub fn killed(pod: &Pod) -> Vec<Killed> {
    let of = |status: &ContainerStatus| {
        let states = [&status.state, &status.last_state];
        let ended = states.into_iter().flatten().filter_map(|state| state.terminated.as_ref());
        let mut killed = ended.filter(|ended| ended.reason.as_deref() == Some("OOMKilled"));
        let at = killed.find_map(|ended| ended.finished_at.as_ref())?.0;
        Some(Killed { container: status.name.clone(), at })
    };
    let status = pod.status.as_ref();
    let lists = status.map(|status| [&status.init_container_statuses, &status.container_statuses]);
    lists.into_iter().flatten().flatten().flatten().filter_map(of).collect()
}

/// Whether that is worth telling still.
pub fn is_news(killed: &Killed, now: Timestamp) -> bool {
    now.duration_since(killed.at) < NEWS
}

/// The memory limit of a container, in bytes.
pub fn limit(pod: &Pod, container: &str) -> Option<i64> {
    let spec = pod.spec.as_ref()?;
    let found =
        spec.containers.iter().chain(spec.init_containers.iter().flatten()).find(|one| one.name == container)?;
    bytes(resources::of_limits(found).get("memory").copied()?).filter(|limit| *limit > 0)
}

/// The memory that a container requests, in bytes; 0 if it requests none.
pub fn requested(pod: &Pod, container: &str) -> i64 {
    let all = pod.spec.iter().flat_map(|spec| &spec.containers);
    let found = all.into_iter().find(|one| one.name == container);
    found.and_then(|one| bytes(resources::of_requests(one).get("memory").copied()?)).unwrap_or(0)
}

fn bytes(quantity: Quantity) -> Option<i64> {
    i64::try_from(quantity.value()).ok()
}

/// Whether a container that uses so many bytes of so many is at its limit.
pub fn is_full(used: i64, limit: i64) -> bool {
    used as f64 >= limit as f64 * FULL
}

/// What to do: what an autoscaler recommends if that is more, or what experience has it otherwise (a fifth and at least 100 MiB more).
pub fn advice(limit: Option<i64>, recommended: Option<(&str, &ContainerRecommendation)>) -> String {
    let target = recommended.and_then(|(name, said)| Some((name, said.target.get("memory")?)));
    let enough = |text: &str| {
        let quantity: Option<Quantity> = text.parse().ok();
        quantity.is_some_and(|quantity| limit.is_none_or(|limit| quantity.value() > i128::from(limit)))
    };
    match target.filter(|(_, amount)| enough(&amount.0)) {
        Some((name, amount)) => format!("VerticalPodAutoscaler {name} recommends memory {}", amount.0),
        None => match limit {
            Some(limit) => format!("recommended: a memory limit of {} at least", mebibytes(more(limit))),
            None => "it has no limit of its own: the machine ran out of memory".to_owned(),
        },
    }
}

/// Bytes in whole mebibytes, rounded up.
pub fn mebibytes(bytes: i64) -> String {
    format!("{}Mi", bytes.saturating_add(super::MIB - 1) / super::MIB)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn advice_names_the_recommendation_or_what_experience_has() {
        let said: ContainerRecommendation =
            serde_json::from_value(json!({"containerName": "c", "target": {"memory": "262144k"}})).unwrap();
        let limit = Some(64 << 20);
        assert_eq!(advice(limit, Some(("web", &said))), "VerticalPodAutoscaler web recommends memory 262144k");
        assert_eq!(advice(limit, None), "recommended: a memory limit of 164Mi at least");
        let large = Some(1 << 30);
        assert_eq!(advice(large, Some(("web", &said))), "recommended: a memory limit of 1229Mi at least");
        assert!(advice(None, None).contains("no limit"));
    }

    #[test]
    fn a_run_that_was_killed_is_found_whether_it_was_followed_by_another_or_not() {
        let ended = |reason: &str| json!({"terminated": {"reason": reason, "exitCode": 137, "finishedAt": "2026-01-01T00:00:00Z"}});
        let status = |name: &str, state: serde_json::Value, last: serde_json::Value| json!({"name": name, "image": "", "imageID": "", "ready": true, "restartCount": 1, "state": state, "lastState": last});
        let pod: Pod = serde_json::from_value(json!({"spec": {"containers": [
            {"name": "a", "resources": {"limits": {"memory": "64Mi"}, "requests": {"memory": "32Mi"}}}]},
            "status": {"containerStatuses": [status("a", json!({}), ended("OOMKilled")),
                status("b", ended("OOMKilled"), json!({})), status("c", ended("Error"), json!({}))]}}))
        .unwrap();
        let found = killed(&pod);
        assert_eq!(found.iter().map(|killed| killed.container.as_str()).collect::<Vec<_>>(), ["a", "b"]);
        let later = "2026-01-01T00:11:00Z".parse().unwrap();
        assert!(is_news(&found[0], found[0].at) && !is_news(&found[0], later));
        assert_eq!((limit(&pod, "a"), limit(&pod, "b"), requested(&pod, "a")), (Some(64 << 20), None, 32 << 20));
        assert!(is_full(61 << 20, 64 << 20) && !is_full(60 << 20, 64 << 20));
    }
}
