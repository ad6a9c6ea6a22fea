//! The status of one container.

use std::time::Duration;

use k8s_openapi::{
    api::core::v1::{
        Container as Spec, ContainerState, ContainerStateRunning, ContainerStateTerminated, ContainerStateWaiting,
        ContainerStatus, Pod, PodSpec,
    },
    apimachinery::pkg::apis::meta::v1::Time,
};

use super::{Facts, full_name};
use crate::{
    plan::restarts,
    state::{Container, Ended, State, init, is_ephemeral, is_sidecar, policy},
};

/// The status of a container.
pub(super) fn status(pod: &Pod, spec: &PodSpec, container: &Spec, facts: Facts<'_>) -> ContainerStatus {
    let seen = facts.view.container(&container.name);
    let uid = pod.metadata.uid.as_deref().unwrap_or_default();
    let id = |attempt: u32| format!("coracle://{uid}/{}/{attempt}", container.name);
    let (state, last) = states(pod, spec, container, &seen, facts, &id);
    let is_init = init(spec).iter().any(|c| c.name == container.name) && !is_sidecar(container);
    let is_ephemeral = is_ephemeral(spec, &container.name);
    let ready = if is_ephemeral {
        false
    } else if is_init {
        seen.ended().is_some_and(|e| e.code == 0)
    } else {
        seen.up() && seen.ready && !seen.stopping
    };
    let image = seen.image.clone().filter(|_| seen.running()).or_else(|| container.image.clone()).unwrap_or_default();
    // Until it runs, what it is promised is what it has.
    let promised = facts.resize.allocated.get(&container.name).or(container.resources.as_ref());
    let promised = promised.filter(|_| !is_ephemeral);
    let size = seen.size.as_ref().filter(|_| seen.running()).or(promised);
    ContainerStatus {
        allocated_resources: promised.and_then(|size| size.requests.clone()).filter(|requests| !requests.is_empty()),
        resources: size.cloned(),
        name: container.name.clone(),
        image_id: seen.attempt.map(|_| format!("coracle://{image}")).unwrap_or_default(),
        image,
        container_id: seen.attempt.map(id),
        restart_count: seen.attempt.unwrap_or(0).try_into().unwrap_or(i32::MAX),
        ready,
        started: (!is_ephemeral).then_some(seen.up()),
        state: Some(state),
        last_state: Some(last),
        ..ContainerStatus::default()
    }
}

fn waiting(reason: &str, message: Option<String>) -> ContainerState {
    let waiting = Some(ContainerStateWaiting { reason: Some(reason.to_owned()), message });
    ContainerState { waiting, ..ContainerState::default() }
}

fn states(
    pod: &Pod,
    spec: &PodSpec,
    container: &Spec,
    seen: &Container,
    facts: Facts<'_>,
    id: &dyn Fn(u32) -> String,
) -> (ContainerState, ContainerState) {
    let before = |ended: Option<&Ended>| ended.map(|e| terminated(e, id)).unwrap_or_default();
    let over = facts.plan.ending.is_some();
    let held = !init(spec).is_empty() && !facts.plan.initialized;
    let creating = || waiting(if held { "PodInitializing" } else { "ContainerCreating" }, None);
    match (&seen.state, &seen.blocked) {
        // It counts as running once its postStart hook is done.
        (State::Running { .. }, _) if seen.hook => (creating(), before(seen.last.as_ref())),
        (State::Running { since }, _) => {
            let running = Some(ContainerStateRunning { started_at: Some(Time(*since)) });
            (ContainerState { running, ..ContainerState::default() }, before(seen.last.as_ref()))
        }
        (_, Some(blocked)) if !over => {
            let last = seen.ended().or(seen.last.as_ref());
            (waiting(&blocked.reason, Some(blocked.message.clone())), before(last))
        }
        (State::Ended(ended), _) => {
            let again = !over && restarts(policy(spec, container), seen);
            if again && seen.due().is_some_and(|due| due > facts.now) {
                let message = format!(
                    "back-off {} restarting failed container={} pod={}",
                    go_duration(seen.back_off()),
                    container.name,
                    full_name(pod)
                );
                return (waiting("CrashLoopBackOff", Some(message)), before(Some(ended)));
            }
            (terminated(ended, id), before(seen.last.as_ref()))
        }
        // The pod is over and the container never ran: whether it would have succeeded nobody knows.
        (State::Never, _) if facts.is_over() && !is_done_without(spec, container, facts) => {
            let unknown = ContainerStateTerminated {
                exit_code: 137,
                reason: Some("ContainerStatusUnknown".to_owned()),
                message: Some("The container could not be located when the pod was terminated".to_owned()),
                ..ContainerStateTerminated::default()
            };
            (ContainerState { terminated: Some(unknown), ..ContainerState::default() }, before(seen.last.as_ref()))
        }
        (State::Never, _) => (creating(), before(seen.last.as_ref())),
    }
}

/// Whether a container that never ran is left waiting in a pod that is over: it is behind an init container that failed.
fn is_done_without(spec: &PodSpec, container: &Spec, facts: Facts<'_>) -> bool {
    let failed = |c: &&Spec| facts.view.container(&c.name).ended().is_some_and(|ended| ended.code != 0);
    let broke = init(spec).iter().filter(|c| !is_sidecar(c)).any(|c| failed(&c));
    broke && !facts.plan.initialized && facts.view.container(&container.name).attempt.is_none()
}

fn terminated(ended: &Ended, id: &dyn Fn(u32) -> String) -> ContainerState {
    let terminated = ContainerStateTerminated {
        exit_code: ended.code,
        signal: ended.signal,
        reason: Some(ended.reason.clone()),
        message: ended.message.clone(),
        started_at: Some(Time(ended.started_at)),
        finished_at: Some(Time(ended.finished_at)),
        container_id: Some(id(ended.attempt)),
    };
    ContainerState { terminated: Some(terminated), ..ContainerState::default() }
}

/// Go's text of a duration of whole seconds: `10s`, `1m20s`, `5m0s`.
fn go_duration(duration: Duration) -> String {
    match (duration.as_secs() / 60, duration.as_secs() % 60) {
        (0, seconds) => format!("{seconds}s"),
        (minutes, seconds) => format!("{minutes}m{seconds}s"),
    }
}
