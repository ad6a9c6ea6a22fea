//! Taking pods back after a restart: from what runs on the machine and what the status says. Pure.

use jiff::Timestamp;
use k8s_openapi::{
    api::core::v1::{Container as Spec, ContainerState, Pod},
    apimachinery::pkg::apis::meta::v1::Time,
};

use crate::{
    runtime::{ContainerId, ContainerStatus, Exit},
    state::{Container, Ended, State, View, ephemeral, init, is_sidecar},
    worker::Found,
};

/// Whether the status says that the pod has ended for good.
pub fn is_terminal(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|s| s.phase.as_deref());
    matches!(phase, Some("Succeeded" | "Failed"))
}

/// The picture of a pod that a previous Coracle may have worked on; `ended` says how a run that is over ended.
pub fn view(pod: &Pod, found: Option<&Found>, ended: impl Fn(&ContainerId, Timestamp, &Exit) -> Ended) -> View {
    let mut view = View { sandbox: found.map(|(sandbox, _)| sandbox.ip), ..View::default() };
    let Some(spec) = &pod.spec else { return view };
    let none = Vec::new();
    let runs = found.map_or(&none, |(_, runs)| runs);
    for container in init(spec).iter().chain(&spec.containers).chain(&ephemeral(spec)) {
        let latest = runs.iter().filter(|run| run.id.name == container.name).max_by_key(|run| run.id.attempt);
        if let Some(seen) = of_container(pod, container, latest, found.is_none(), &ended) {
            view.containers.insert(container.name.clone(), seen);
        }
    }
    let begun = |name: &str| runs.iter().any(|run| run.id.name == name);
    view.initialized = view.sandbox.is_some() && spec.containers.iter().any(|c| begun(&c.name));
    if view.sandbox.is_none() && !is_terminal(pod) {
        // A new sandbox begins with the init containers again.
        for container in init(spec).iter().filter(|c| !is_sidecar(c)) {
            if let Some(seen) = view.containers.get_mut(&container.name) {
                seen.state = State::Never;
            }
        }
    }
    view
}

/// One container, from its latest run on the machine and from its status; `lost` says that the whole sandbox is gone.
fn of_container(
    pod: &Pod,
    spec: &Spec,
    run: Option<&ContainerStatus>,
    lost: bool,
    ended: impl Fn(&ContainerId, Timestamp, &Exit) -> Ended,
) -> Option<Container> {
    let status = pod.status.as_ref();
    let lists = status.map(|s| [&s.init_container_statuses, &s.container_statuses, &s.ephemeral_container_statuses]);
    let status = lists.and_then(|lists| lists.into_iter().flatten().flatten().find(|s| s.name == spec.name));
    let restarts = status.map_or(0, |s| u32::try_from(s.restart_count).unwrap_or(0));
    let state = status.and_then(|s| s.state.as_ref());
    let known = status.filter(|s| s.container_id.is_some()).map(|_| restarts);
    let looping =
        state.and_then(|s| s.waiting.as_ref()).is_some_and(|w| w.reason.as_deref() == Some("CrashLoopBackOff"));
    let mut container = Container {
        attempt: run.map(|r| r.id.attempt).max(known),
        // Back-off is not written down: like the kubelet's, it begins anew, unless the container waits for its end.
        series: if looping { restarts } else { 0 },
        image: status.filter(|s| !s.image.is_empty()).map(|s| s.image.clone()),
        // Of another run it says nothing.
        size: status.filter(|_| run.is_none_or(|run| run.id.attempt == restarts)).and_then(|s| s.resources.clone()),
        last: status.and_then(|s| terminated(s.last_state.as_ref(), restarts.saturating_sub(1))),
        ..Container::default()
    };
    match run {
        Some(run) => {
            container.state = match &run.exit {
                None => State::Running { since: run.started_at },
                Some(exit) => State::Ended(ended(&run.id, run.started_at, exit)),
            };
            container.started = spec.startup_probe.is_none() || status.and_then(|s| s.started).unwrap_or(false);
            container.ready = spec.readiness_probe.is_none() || status.is_some_and(|s| s.ready);
        }
        None => {
            let since = state.and_then(|s| s.running.as_ref()).and_then(|r| time(r.started_at.as_ref()));
            let vanished = since.filter(|_| lost).map(|since| Ended {
                attempt: restarts,
                code: 137,
                signal: None,
                reason: "ContainerStatusUnknown".to_owned(),
                message: Some("The container could not be located when the pod was restarted".to_owned()),
                started_at: since,
                finished_at: since,
            });
            let current = terminated(state, restarts).or(vanished).or(container.last.take());
            container.state = current.map_or(State::Never, State::Ended);
        }
    }
    (status.is_some() || run.is_some()).then_some(container)
}

fn time(time: Option<&Time>) -> Option<Timestamp> {
    time.map(|time| time.0)
}

/// The end of a run that a status tells of.
fn terminated(state: Option<&ContainerState>, attempt: u32) -> Option<Ended> {
    let t = state?.terminated.as_ref()?;
    let finished_at = time(t.finished_at.as_ref())?;
    Some(Ended {
        attempt,
        code: t.exit_code,
        signal: t.signal,
        reason: t.reason.clone().unwrap_or_default(),
        message: t.message.clone(),
        started_at: time(t.started_at.as_ref()).unwrap_or(finished_at),
        finished_at,
    })
}
