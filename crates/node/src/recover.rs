//! Taking pods back after a restart: from what runs on the machine and what the status says. Pure.

use k8s_openapi::api::core::v1::{ContainerState, Pod};

use crate::{
    runtime::ContainerStatus,
    state::{Container, Ended, State, View, init, is_sidecar},
    worker::Found,
};

/// Whether the status says that the pod has ended for good.
pub fn is_terminal(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|s| s.phase.as_deref());
    matches!(phase, Some("Succeeded" | "Failed"))
}

/// The picture of a pod that a previous Coracle may have worked on.
pub fn view(pod: &Pod, found: Option<&Found>) -> View {
    let mut view = View { sandbox: found.map(|(sandbox, _)| sandbox.ip), ..View::default() };
    let Some(spec) = &pod.spec else { return view };
    let none = Vec::new();
    let runs = found.map_or(&none, |(_, runs)| runs);
    for spec_container in init(spec).iter().chain(&spec.containers) {
        let name = &spec_container.name;
        let latest = runs.iter().filter(|run| run.id.name == *name).max_by_key(|run| run.id.attempt);
        if let Some(container) =
            from_status(pod, name, latest, view.sandbox.is_none(), spec_container.startup_probe.is_none())
        {
            view.containers.insert(name.clone(), container);
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

fn from_status(
    pod: &Pod,
    name: &str,
    run: Option<&ContainerStatus>,
    lost: bool,
    no_startup: bool,
) -> Option<Container> {
    let status = pod.status.as_ref();
    let lists = status.map(|s| s.init_container_statuses.iter().chain(&s.container_statuses).flatten());
    let status = lists.and_then(|mut all| all.find(|s| s.name == name));
    let restarts = status.map_or(0, |s| u32::try_from(s.restart_count).unwrap_or(0));
    let attempt = run.map(|r| r.id.attempt);
    let known = status.filter(|s| s.container_id.is_some()).map(|_| restarts);
    let mut container = Container { attempt: attempt.max(known), series: restarts, ..Container::default() };
    let ended = |state: &Option<ContainerState>, attempt| {
        let t = state.as_ref()?.terminated.as_ref()?;
        let time = |t: &Option<k8s_openapi::apimachinery::pkg::apis::meta::v1::Time>| t.as_ref().map(|t| t.0);
        let finished_at = time(&t.finished_at)?;
        Some(Ended {
            attempt,
            code: t.exit_code,
            signal: t.signal,
            reason: t.reason.clone().unwrap_or_default(),
            message: t.message.clone(),
            started_at: time(&t.started_at).unwrap_or(finished_at),
            finished_at,
        })
    };
    container.last = status.and_then(|s| ended(&s.last_state, restarts.saturating_sub(1)));
    match run {
        Some(run) => {
            container.state = match &run.exit {
                None => State::Running { since: run.started_at },
                Some(exit) => State::Ended(crate::start::from_exit(&run.id, run.started_at, exit, None)),
            };
            container.started = no_startup || status.and_then(|s| s.started).unwrap_or(false);
            container.ready = status.is_some_and(|s| s.ready);
        }
        None => {
            let current = status.and_then(|s| ended(&s.state, restarts));
            let running = status.and_then(|s| s.state.as_ref()).and_then(|s| s.running.as_ref());
            let since = running.and_then(|r| r.started_at.as_ref()).map(|t| t.0);
            let vanished = since.filter(|_| lost).map(|since| Ended {
                attempt: restarts,
                code: 137,
                signal: None,
                reason: "ContainerStatusUnknown".to_owned(),
                message: Some("The container could not be located when the pod was restarted".to_owned()),
                started_at: since,
                finished_at: since,
            });
            container.state = current.or(vanished).or(container.last.take()).map_or(State::Never, State::Ended);
        }
    }
    (status.is_some() || run.is_some()).then_some(container)
}
