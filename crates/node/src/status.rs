//! A pod's status as the kubelet writes it, built from what is known about its containers.

use std::{net::IpAddr, time::Duration};

use jiff::Timestamp;
use k8s_openapi::{
    api::core::v1::{
        Container as Spec, ContainerState, ContainerStateRunning, ContainerStateTerminated, ContainerStateWaiting,
        ContainerStatus, HostIP, Pod, PodCondition, PodIP, PodSpec, PodStatus,
    },
    apimachinery::pkg::apis::meta::v1::Time,
};

use crate::{
    plan::{Ending, Plan, restarts},
    state::{Container, Ended, State, View, init, is_sidecar},
};

/// The conditions that the kubelet owns, in its order.
const OURS: [&str; 5] = ["PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled"];

/// Whether the kubelet owns this condition.
pub fn is_ours(type_: &str) -> bool {
    OURS.contains(&type_)
}

/// What a status is built from besides the pod itself.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// The containers.
    pub view: &'a View,
    /// What follows from them.
    pub plan: &'a Plan,
    /// The node's address.
    pub host_ip: IpAddr,
    /// Why the pod failed as a whole (`DeadlineExceeded`) and the message.
    pub failure: Option<(&'a str, &'a str)>,
    /// The current time.
    pub now: Timestamp,
}

/// Builds the whole status; times of conditions that did not change are kept.
pub fn build(pod: &Pod, facts: Facts<'_>) -> PodStatus {
    let previous = pod.status.clone().unwrap_or_default();
    let spec = pod.spec.clone().unwrap_or_default();
    let all = |containers: &[Spec]| -> Vec<ContainerStatus> {
        containers.iter().map(|c| container_status(pod, &spec, c, facts)).collect()
    };
    let init_statuses = all(init(&spec));
    let statuses = all(&spec.containers);
    let phase = phase(&spec, facts);
    let ip = facts.view.sandbox.map(|ip| ip.to_string()).or_else(|| previous.pod_ip.clone());
    let mut status = PodStatus {
        phase: Some(phase.to_owned()),
        start_time: previous.start_time.clone().or(Some(Time(facts.now))),
        host_ip: Some(facts.host_ip.to_string()),
        host_ips: Some(vec![HostIP { ip: facts.host_ip.to_string() }]),
        pod_ips: ip.clone().map(|ip| vec![PodIP { ip }]),
        pod_ip: ip,
        qos_class: previous.qos_class.clone().or_else(|| Some(qos(&spec).to_owned())),
        observed_generation: pod.metadata.generation,
        reason: facts.failure.map(|(reason, _)| reason.to_owned()),
        message: facts.failure.map(|(_, message)| message.to_owned()),
        ..PodStatus::default()
    };
    status.conditions = Some(conditions(&previous, &spec, phase, &statuses, facts));
    status.init_container_statuses = (!init_statuses.is_empty()).then_some(init_statuses);
    status.container_statuses = Some(statuses);
    status
}

fn phase(spec: &PodSpec, facts: Facts<'_>) -> &'static str {
    let settled = !facts.view.any_running();
    match facts.plan.ending {
        Some(Ending::Succeeded) if settled && facts.failure.is_none() => "Succeeded",
        Some(_) if settled => "Failed",
        _ if !facts.plan.initialized => "Pending",
        _ if spec.containers.iter().all(|c| facts.view.container(&c.name).attempt.is_some()) => "Running",
        _ => "Pending",
    }
}

fn conditions(
    previous: &PodStatus,
    spec: &PodSpec,
    phase: &str,
    statuses: &[ContainerStatus],
    facts: Facts<'_>,
) -> Vec<PodCondition> {
    let old = previous.conditions.as_deref().unwrap_or_default();
    let names = |wanted: Vec<&str>| format!("[{}]", wanted.join(" "));
    let unready: Vec<&str> = statuses.iter().filter(|s| !s.ready).map(|s| s.name.as_str()).collect();
    let containers = match phase {
        "Succeeded" => Err(("PodCompleted", String::new())),
        "Failed" => Err(("PodFailed", String::new())),
        _ if unready.is_empty() => Ok(()),
        _ => Err(("ContainersNotReady", format!("containers with unready status: {}", names(unready)))),
    };
    let gates = spec
        .readiness_gates
        .as_deref()
        .unwrap_or_default()
        .iter()
        .find(|gate| !old.iter().any(|c| c.type_ == gate.condition_type && c.status == "True"));
    let ready = match (&containers, gates) {
        (Ok(()), Some(gate)) => Err((
            "ReadinessGatesNotReady",
            format!("corresponding condition of pod readiness gate {:?} does not exist.", gate.condition_type),
        )),
        _ => containers.clone(),
    };
    let initialized = if facts.plan.initialized || phase == "Succeeded" {
        Ok(())
    } else {
        let waiting = init(spec).iter().filter(|c| {
            let seen = facts.view.container(&c.name);
            if is_sidecar(c) { !seen.started } else { seen.ended().is_none_or(|e| e.code != 0) }
        });
        let waiting: Vec<&str> = waiting.map(|c| c.name.as_str()).collect();
        if waiting.is_empty() {
            Ok(())
        } else {
            Err(("ContainersNotInitialized", format!("containers with incomplete status: {}", names(waiting))))
        }
    };
    let sandbox = if facts.view.sandbox.is_some() { Ok(()) } else { Err(("", String::new())) };
    let results = [sandbox, initialized, ready, containers, Ok(())];
    let ours = OURS.iter().zip(results).map(|(type_, result)| condition(old, type_, result, facts.now));
    ours.chain(old.iter().filter(|c| !is_ours(&c.type_)).cloned()).collect()
}

fn condition(old: &[PodCondition], type_: &str, result: Result<(), (&str, String)>, now: Timestamp) -> PodCondition {
    let status = if result.is_ok() { "True" } else { "False" };
    let before = old.iter().find(|c| c.type_ == type_ && c.status == status);
    let text = |s: &str| (!s.is_empty()).then(|| s.to_owned());
    PodCondition {
        type_: type_.to_owned(),
        status: status.to_owned(),
        reason: result.as_ref().err().and_then(|(reason, _)| text(reason)),
        message: result.as_ref().err().and_then(|(_, message)| text(message)),
        last_transition_time: before.and_then(|c| c.last_transition_time.clone()).or(Some(Time(now))),
        ..PodCondition::default()
    }
}

fn container_status(pod: &Pod, spec: &PodSpec, container: &Spec, facts: Facts<'_>) -> ContainerStatus {
    let seen = facts.view.container(&container.name);
    let uid = pod.metadata.uid.as_deref().unwrap_or_default();
    let id = |attempt: u32| format!("coracle://{uid}/{}/{attempt}", container.name);
    let (state, last) = states(pod, spec, container, &seen, facts, &id);
    let is_init = init(spec).iter().any(|c| c.name == container.name) && !is_sidecar(container);
    let ready = if is_init {
        seen.ended().is_some_and(|e| e.code == 0)
    } else {
        seen.running() && seen.started && seen.ready && !seen.stopping
    };
    ContainerStatus {
        name: container.name.clone(),
        image: container.image.clone().unwrap_or_default(),
        image_id: seen
            .attempt
            .map(|_| format!("coracle://{}", container.image.as_deref().unwrap_or_default()))
            .unwrap_or_default(),
        container_id: seen.attempt.map(id),
        restart_count: seen.attempt.unwrap_or(0).try_into().unwrap_or(i32::MAX),
        ready,
        started: Some(seen.running() && seen.started),
        state: Some(state),
        last_state: Some(last),
        ..ContainerStatus::default()
    }
}

fn states(
    pod: &Pod,
    spec: &PodSpec,
    container: &Spec,
    seen: &Container,
    facts: Facts<'_>,
    id: &dyn Fn(u32) -> String,
) -> (ContainerState, ContainerState) {
    let waiting = |reason: &str, message: Option<String>| ContainerState {
        waiting: Some(ContainerStateWaiting { reason: Some(reason.to_owned()), message }),
        ..ContainerState::default()
    };
    let before = |ended: Option<&Ended>| ended.map(|e| terminated(e, id)).unwrap_or_default();
    let over = facts.plan.ending.is_some();
    match (&seen.state, &seen.blocked) {
        (State::Running { since }, _) => {
            let running = Some(ContainerStateRunning { started_at: Some(Time(*since)) });
            (ContainerState { running, ..ContainerState::default() }, before(seen.last.as_ref()))
        }
        (_, Some(blocked)) if !over => {
            let last = seen.ended().or(seen.last.as_ref());
            (waiting(&blocked.reason, Some(blocked.message.clone())), before(last))
        }
        (State::Ended(ended), _) => {
            let is_init = init(spec).iter().any(|c| c.name == container.name);
            let policy = match spec.restart_policy.as_deref().unwrap_or("Always") {
                _ if is_sidecar(container) => "Always",
                "Never" => "Never",
                _ if is_init => "OnFailure",
                policy => policy,
            };
            if !over && restarts(policy, seen) && seen.due().is_some_and(|due| due > facts.now) {
                return (
                    waiting("CrashLoopBackOff", Some(back_off_message(pod, container, seen))),
                    before(Some(ended)),
                );
            }
            (terminated(ended, id), before(seen.last.as_ref()))
        }
        (State::Never, _) => {
            let held = !init(spec).is_empty() && !facts.plan.initialized;
            let reason = if held { "PodInitializing" } else { "ContainerCreating" };
            (waiting(reason, None), before(seen.last.as_ref()))
        }
    }
}

/// The text of `CrashLoopBackOff`, of the state as of the event.
pub fn back_off_message(pod: &Pod, container: &Spec, seen: &Container) -> String {
    let text = |field: &Option<String>| field.clone().unwrap_or_default();
    format!(
        "back-off {} restarting failed container={} pod={}_{}({})",
        go_duration(seen.back_off()),
        container.name,
        text(&pod.metadata.name),
        text(&pod.metadata.namespace),
        text(&pod.metadata.uid)
    )
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

/// The pod's quality-of-service class.
fn qos(spec: &PodSpec) -> &'static str {
    let (mut any, mut guaranteed) = (false, true);
    for container in init(spec).iter().chain(&spec.containers) {
        let resources = container.resources.clone().unwrap_or_default();
        let (limits, requests) = (resources.limits.unwrap_or_default(), resources.requests.unwrap_or_default());
        for name in ["cpu", "memory"] {
            let (limit, request) = (limits.get(name), requests.get(name));
            any |= limit.is_some() || request.is_some();
            guaranteed &= limit.is_some() && request.is_none_or(|r| Some(r) == limit);
        }
    }
    match (any, guaranteed) {
        (false, _) => "BestEffort",
        (true, true) => "Guaranteed",
        (true, false) => "Burstable",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::plan::plan;

    #[test]
    fn a_crashing_container_waits_with_upstreams_message_and_a_running_one_is_ready() {
        let pod: Pod = serde_json::from_value(json!({"metadata": {"name": "p", "namespace": "n", "uid": "u"},
            "spec": {"containers": [{"name": "a", "image": "hello"}]}}))
        .unwrap();
        let (ip, at) = (IpAddr::from([127, 0, 0, 1]), |s| Timestamp::from_second(s).unwrap());
        let mut view = View { sandbox: Some(ip), ..View::default() };
        let status = |view: &View, now| {
            let plan = plan(pod.spec.as_ref().unwrap(), false, view, now);
            let facts = Facts { view, plan: &plan, host_ip: ip, failure: None, now };
            serde_json::to_value(build(&pod, facts)).unwrap()
        };
        let pending = status(&view, at(0));
        assert_eq!(pending["phase"], "Pending");
        assert_eq!(pending["containerStatuses"][0]["state"]["waiting"]["reason"], "ContainerCreating");
        let mut container = Container::default();
        container.begin(0, at(0), true, true);
        container.end(crate::start::from_exit(&id(0), at(0), &exit(at(1)), None));
        container.begin(1, at(1), true, true);
        view.containers.insert("a".to_owned(), container.clone());
        let running = status(&view, at(1));
        assert_eq!(
            (running["phase"].as_str(), running["conditions"][2]["status"].as_str()),
            (Some("Running"), Some("True"))
        );
        container.end(crate::start::from_exit(&id(1), at(1), &exit(at(2)), None));
        view.containers.insert("a".to_owned(), container);
        let crashing = status(&view, at(3));
        let waiting = &crashing["containerStatuses"][0]["state"]["waiting"];
        assert_eq!(waiting["reason"], "CrashLoopBackOff");
        assert_eq!(waiting["message"], "back-off 10s restarting failed container=a pod=p_n(u)");
        assert_eq!(crashing["containerStatuses"][0]["lastState"]["terminated"]["exitCode"], 3);
        assert_eq!(crashing["conditions"][2]["reason"], "ContainersNotReady");
    }

    fn id(attempt: u32) -> crate::runtime::ContainerId {
        crate::runtime::ContainerId { pod_uid: "u".to_owned(), name: "a".to_owned(), attempt }
    }

    fn exit(finished_at: Timestamp) -> crate::runtime::Exit {
        crate::runtime::Exit { code: 3, signal: None, oom_killed: false, finished_at }
    }
}
