//! Which run of a container has the log that is asked for, by the pod's status, in the kubelet's words. Pure.

use k8s_openapi::api::core::v1::{ContainerStateTerminated, ContainerStatus, PodStatus};

/// The attempt whose log is meant.
///
/// # Errors
/// Says why there is no log: the container waits to start, or has no previous run.
pub fn attempt(status: Option<&PodStatus>, pod: &str, container: &str, previous: bool) -> Result<u32, String> {
    let found =
        find(status, container).ok_or_else(|| format!("container {container:?} in pod {pod:?} is not available"))?;
    let of = |ended: Option<&ContainerStateTerminated>| number(ended?.container_id.as_deref());
    let before = of(found.last_state.as_ref().and_then(|s| s.terminated.as_ref()));
    if previous {
        return before.ok_or_else(|| format!("previous terminated container {container:?} in pod {pod:?} not found"));
    }
    let state = found.state.as_ref();
    if state.is_some_and(|s| s.running.is_some()) {
        return number(found.container_id.as_deref())
            .ok_or_else(|| format!("container {container:?} in pod {pod:?} is not available"));
    }
    of(state.and_then(|s| s.terminated.as_ref())).or(before).ok_or_else(|| waits(found, pod, container))
}

fn find<'a>(status: Option<&'a PodStatus>, container: &str) -> Option<&'a ContainerStatus> {
    let status = status?;
    let lists = [&status.init_container_statuses, &status.container_statuses, &status.ephemeral_container_statuses];
    lists.into_iter().flatten().flatten().find(|s| s.name == container)
}

/// The attempt that runs now, if one does.
pub fn running(status: Option<&PodStatus>, container: &str) -> Option<u32> {
    let found = find(status, container)?;
    found.state.as_ref()?.running.as_ref()?;
    number(found.container_id.as_deref())
}

fn waits(status: &ContainerStatus, pod: &str, container: &str) -> String {
    let waiting = status.state.as_ref().and_then(|s| s.waiting.as_ref());
    let reason = match waiting.and_then(|w| w.reason.as_deref()) {
        None => return format!("container {container:?} in pod {pod:?} is waiting to start - no logs yet"),
        Some("ErrImagePull") => "image can't be pulled",
        Some("ImagePullBackOff") => "trying and failing to pull image",
        Some(reason) => reason,
    };
    format!("container {container:?} in pod {pod:?} is waiting to start: {reason}")
}

/// The attempt in a container's id, `coracle://<uid>/<name>/<attempt>`.
pub fn number(id: Option<&str>) -> Option<u32> {
    id?.rsplit_once('/')?.1.parse().ok()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn asked(state: &Value, last: &Value, previous: bool) -> Result<u32, String> {
        let status = json!({"containerStatuses": [{"name": "c", "image": "", "imageID": "", "ready": false, "restartCount": 3,
            "containerID": "coracle://u/c/3", "state": state, "lastState": last}]});
        attempt(Some(&serde_json::from_value(status).unwrap()), "p", "c", previous)
    }

    #[test]
    fn the_latest_run_that_wrote_something_is_meant() {
        let ended = |n: u32| json!({"terminated": {"exitCode": 1, "containerID": format!("coracle://u/c/{n}")}});
        let (none, running) = (json!({}), json!({"running": {}}));
        let waiting = |reason: &str| json!({"waiting": {"reason": reason}});
        assert_eq!(asked(&running, &ended(2), false), Ok(3));
        assert_eq!(asked(&running, &ended(2), true), Ok(2));
        assert_eq!(asked(&ended(3), &ended(2), false), Ok(3));
        assert_eq!(asked(&waiting("CrashLoopBackOff"), &ended(2), false), Ok(2));
        let missing = asked(&running, &none, true).unwrap_err();
        assert_eq!(missing, "previous terminated container \"c\" in pod \"p\" not found");
        let creating = asked(&waiting("ContainerCreating"), &none, false).unwrap_err();
        assert_eq!(creating, "container \"c\" in pod \"p\" is waiting to start: ContainerCreating");
        let image = asked(&waiting("ImagePullBackOff"), &none, false).unwrap_err();
        assert!(image.ends_with("is waiting to start: trying and failing to pull image"), "{image}");
        assert!(attempt(None, "p", "c", false).unwrap_err().ends_with("is not available"));
    }
}
