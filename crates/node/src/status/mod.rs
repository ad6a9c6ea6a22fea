//! A pod's status as the kubelet writes it, built from what is known about its containers. Pure.

mod conditions;
mod containers;
#[cfg(test)]
mod tests;

use std::net::IpAddr;

use jiff::Timestamp;
use k8s_openapi::{
    api::core::v1::{Container as Spec, ContainerState, ContainerStatus, HostIP, Pod, PodIP, PodSpec, PodStatus},
    apimachinery::pkg::apis::meta::v1::Time,
};
use serde_json::{Value, json};

pub use conditions::is_ours;
pub use objects::resources::qos;

use crate::{
    plan::Plan,
    resize::{self, Resize},
    state::{View, ephemeral, init, is_sidecar},
};

/// Why a pod has failed as a whole: nothing of it is to run any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// `DeadlineExceeded`, `Evicted`.
    pub reason: String,
    /// What is said of it.
    pub message: String,
    /// The seconds that its containers get to end in, instead of the pod's own.
    pub grace: Option<i64>,
    /// Since when it is the target of a disruption by the kubelet, if it is.
    pub disrupts: Option<Timestamp>,
}

impl Failure {
    /// Of a pod whose `activeDeadlineSeconds` ran out.
    pub fn deadline() -> Self {
        Self {
            reason: "DeadlineExceeded".to_owned(),
            message: "Pod was active on the node longer than the specified deadline".to_owned(),
            grace: None,
            disrupts: None,
        }
    }

    /// That of a pod whose eviction began before this Coracle did.
    pub fn begun(pod: &Pod) -> Option<Self> {
        let status = pod.status.as_ref().filter(|status| status.reason.as_deref() == Some("Evicted"))?;
        let message = status.message.clone().unwrap_or_default();
        Some(Self { reason: "Evicted".to_owned(), message, grace: Some(1), disrupts: None })
    }
}

/// What a status is built from besides the pod itself.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// The containers.
    pub view: &'a View,
    /// What follows from them.
    pub plan: &'a Plan,
    /// What the containers are promised, and where their resize is.
    pub resize: &'a Resize,
    /// The node's address.
    pub host_ip: IpAddr,
    /// Why the pod failed as a whole.
    pub failure: Option<&'a Failure>,
    /// The current time.
    pub now: Timestamp,
}

impl Facts<'_> {
    /// Whether the pod was evicted before anything of it began.
    fn is_refused(&self) -> bool {
        let begun = self.view.sandbox.is_some() || self.view.containers.values().any(|seen| seen.attempt.is_some());
        !begun && self.failure.is_some_and(|failure| failure.reason == "Evicted")
    }

    /// Whether nothing of the pod will run any more.
    fn is_over(&self) -> bool {
        self.plan.ending.is_some() && !self.view.any_running()
    }
}

/// Builds the whole status; times of conditions that did not change are kept.
pub fn build(pod: &Pod, facts: Facts<'_>) -> PodStatus {
    let previous = pod.status.clone().unwrap_or_default();
    let spec = pod.spec.clone().unwrap_or_default();
    let all = |containers: &[Spec]| -> Vec<ContainerStatus> {
        // Of a pod that was never taken in there is nothing to say but that.
        let containers = if facts.is_refused() { &[] } else { containers };
        containers.iter().map(|c| containers::status(pod, &spec, c, facts)).collect()
    };
    let inits = all(init(&spec));
    let statuses = all(&spec.containers);
    let ephemerals = all(&ephemeral(&spec));
    let phase = match facts.failure {
        Some(_) if facts.is_over() => "Failed",
        _ => phase(&spec, &inits, &statuses, facts),
    };
    let mut conditions = conditions::all(&previous, &spec, phase, &inits, &statuses, facts);
    conditions.extend(resize::conditions(&previous, facts.resize, facts.view, pod, facts.now));
    let ip = facts.view.sandbox.map(|ip| ip.to_string()).or_else(|| previous.pod_ip.clone());
    PodStatus {
        phase: Some(phase.to_owned()),
        start_time: previous.start_time.clone().or(Some(Time(facts.now))),
        host_ip: Some(facts.host_ip.to_string()),
        host_ips: Some(vec![HostIP { ip: facts.host_ip.to_string() }]),
        pod_ips: ip.clone().map(|ip| vec![PodIP { ip }]),
        pod_ip: ip,
        qos_class: previous.qos_class.clone().or_else(|| Some(qos(&spec).to_owned())),
        observed_generation: pod.metadata.generation,
        reason: facts.failure.map(|failure| failure.reason.clone()),
        message: facts.failure.map(|failure| failure.message.clone()),
        conditions: Some(conditions),
        init_container_statuses: (!inits.is_empty()).then_some(inits),
        container_statuses: Some(statuses).filter(|_| !facts.is_refused()),
        ephemeral_container_statuses: (!ephemerals.is_empty()).then_some(ephemerals),
        ..PodStatus::default()
    }
}

/// The change of a pod's status from what is known of it to `next`, as a strategic merge patch: what others write there stays.
pub fn change(known: Option<&PodStatus>, next: &PodStatus, failure: Option<&Failure>) -> Value {
    let mut change = serde_json::to_value(next).unwrap_or_default();
    let list = |status: &PodStatus| status.conditions.clone().unwrap_or_default();
    let conditions = conditions::change(&known.map(list).unwrap_or_default(), &list(next), failure);
    if let (Some(change), Value::Object(conditions)) = (change.as_object_mut(), conditions) {
        change.extend(conditions);
    }
    // These would be merged by address: one that the pod has no more must not stay.
    for field in ["hostIPs", "podIPs"] {
        if let Some(addresses) = change.get_mut(field).and_then(Value::as_array_mut) {
            addresses.insert(0, json!({"$patch": "replace"}));
        }
    }
    change
}

/// Where a container is, as the phase counts it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Where {
    Waiting,
    Running,
    /// It has run; whether its latest run succeeded.
    Stopped(bool),
}

fn place(status: &ContainerStatus) -> Where {
    let code = |state: &Option<ContainerState>| {
        state.as_ref().and_then(|state| state.terminated.as_ref()).map(|terminated| terminated.exit_code)
    };
    if status.state.as_ref().is_some_and(|state| state.running.is_some()) {
        return Where::Running;
    }
    // A container that waits to be restarted has run: it is stopped, whatever its code (upstream counts no success).
    match (code(&status.state), code(&status.last_state)) {
        (Some(code), _) => Where::Stopped(code == 0),
        (None, Some(_)) => Where::Stopped(false),
        (None, None) => Where::Waiting,
    }
}

/// `getPhase` of the kubelet.
fn phase(spec: &PodSpec, inits: &[ContainerStatus], statuses: &[ContainerStatus], facts: Facts<'_>) -> &'static str {
    let policy = spec.restart_policy.as_deref().unwrap_or("Always");
    let (mut pending, mut pending_sidecars, mut init_failed, mut running) = (0, 0, 0, 0);
    let mut waiting = 0;
    for (container, status) in init(spec).iter().zip(inits) {
        match (is_sidecar(container), place(status)) {
            (false, Where::Stopped(true)) | (true, Where::Stopped(_)) => {}
            (false, Where::Stopped(false)) => init_failed += 1,
            (false, _) => pending += 1,
            (true, Where::Running) => {
                running += 1;
                pending_sidecars += usize::from(status.started != Some(true));
            }
            (true, Where::Waiting) => {
                pending_sidecars += 1;
                waiting += 1;
            }
        }
    }
    let places: Vec<Where> = statuses.iter().map(place).collect();
    let count = |wanted: Where| places.iter().filter(|place| **place == wanted).count();
    running += count(Where::Running);
    waiting += count(Where::Waiting);
    let (succeeded, failed) = (count(Where::Stopped(true)), count(Where::Stopped(false)));
    if init_failed > 0 && policy == "Never" {
        return "Failed";
    }
    if facts.is_over() {
        return if succeeded == places.len() && !places.is_empty() { "Succeeded" } else { "Failed" };
    }
    if pending > 0 || (pending_sidecars > 0 && !facts.plan.initialized) || waiting > 0 || init_failed > 0 {
        return "Pending";
    }
    match (running > 0, succeeded + failed > 0, policy) {
        (true, ..) | (_, true, "Always") => "Running",
        (_, true, _) if failed == 0 => "Succeeded",
        (_, true, "Never") => "Failed",
        (_, true, _) => "Running",
        _ => "Pending",
    }
}

/// A pod as back-off messages name it: `name_namespace(uid)`.
pub fn full_name(pod: &Pod) -> String {
    let text = |field: &Option<String>| field.clone().unwrap_or_default();
    format!("{}_{}({})", text(&pod.metadata.name), text(&pod.metadata.namespace), text(&pod.metadata.uid))
}
