//! The conditions of a pod that the kubelet owns, with its reasons and messages.

use jiff::Timestamp;
use k8s_openapi::{
    api::core::v1::{ContainerStatus, PodCondition, PodSpec, PodStatus},
    apimachinery::pkg::apis::meta::v1::Time,
};
use serde_json::{Value, json};

use super::{Facts, Failure};
use crate::{
    resize,
    state::{init, is_sidecar},
};

/// The conditions that the kubelet owns, in its order.
const OURS: [&str; 5] = ["PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled"];

/// Whether the kubelet owns this condition.
pub fn is_ours(type_: &str) -> bool {
    OURS.contains(&type_) || resize::is_ours(type_)
}

/// The change of the conditions from what was known to `next`, as a strategic merge patch has it: those that the kubelet owns, and
/// nothing about those of others, who may say something else in this moment. The order is that of `next`.
pub(super) fn change(known: &[PodCondition], next: &[PodCondition], failure: Option<&Failure>) -> Value {
    let target = failure.and_then(disrupted);
    let owns = |type_: &str| is_ours(type_) || target.as_ref().is_some_and(|target| target.type_ == type_);
    let said = next.iter().filter(|condition| owns(&condition.type_)).map(|condition| {
        let mut said = serde_json::to_value(condition).unwrap_or_default();
        // What it does not say any more must not stay.
        for field in ["reason", "message", "observedGeneration"] {
            if let Some(said) = said.as_object_mut() {
                said.entry(field).or_insert(Value::Null);
            }
        }
        said
    });
    let is_said = |known: &PodCondition| next.iter().any(|condition| condition.type_ == known.type_);
    let over = known.iter().filter(|known| is_ours(&known.type_) && !is_said(known));
    let over = over.map(|known| json!({"$patch": "delete", "type": known.type_}));
    let order: Vec<Value> = next.iter().map(|condition| json!({"type": condition.type_})).collect();
    json!({"conditions": said.chain(over).collect::<Vec<Value>>(), "$setElementOrder/conditions": order})
}

/// What a condition says: its status, and why.
#[derive(Clone, Debug)]
struct Says {
    holds: bool,
    reason: &'static str,
    message: String,
}

impl Says {
    fn yes() -> Self {
        Self { holds: true, reason: "", message: String::new() }
    }

    fn no(reason: &'static str, message: String) -> Self {
        Self { holds: false, reason, message }
    }
}

/// All conditions: the kubelet's, then those that others wrote.
pub(super) fn all(
    previous: &PodStatus,
    spec: &PodSpec,
    phase: &str,
    inits: &[ContainerStatus],
    statuses: &[ContainerStatus],
    facts: Facts<'_>,
) -> Vec<PodCondition> {
    let old = previous.conditions.as_deref().unwrap_or_default();
    let sandbox = if facts.view.sandbox.is_some() { Says::yes() } else { Says::no("", String::new()) };
    let containers = match facts.failure {
        // It goes out of service before it is stopped.
        Some(_) => Says::no("PodFailed", String::new()),
        None => containers_ready(spec, phase, inits, statuses),
    };
    let ready = ready(&containers, spec, old);
    let says = [sandbox, initialized(spec, phase, inits, facts), ready, containers, Says::yes()];
    let ours = OURS.iter().zip(says).map(|(type_, says)| condition(old, type_, says, facts.now));
    let target = facts.failure.and_then(disrupted);
    let theirs = old.iter().filter(|c| !is_ours(&c.type_) && target.as_ref().is_none_or(|t| t.type_ != c.type_));
    ours.chain(theirs.cloned()).chain(target.clone()).collect()
}

/// Says that the kubelet ended the pod, where that was not the pod's own doing.
fn disrupted(failure: &Failure) -> Option<PodCondition> {
    Some(PodCondition {
        type_: "DisruptionTarget".to_owned(),
        status: "True".to_owned(),
        reason: Some("TerminationByKubelet".to_owned()),
        message: Some(failure.message.clone()),
        last_transition_time: Some(Time(failure.disrupts?)),
        ..PodCondition::default()
    })
}

fn names(wanted: &[&str]) -> String {
    format!("[{}]", wanted.join(" "))
}

fn containers_ready(spec: &PodSpec, phase: &str, inits: &[ContainerStatus], statuses: &[ContainerStatus]) -> Says {
    let sidecars =
        init(spec).iter().zip(inits).filter(|(container, _)| is_sidecar(container)).map(|(_, status)| status);
    let unready: Vec<&str> = sidecars.chain(statuses).filter(|s| !s.ready).map(|s| s.name.as_str()).collect();
    match phase {
        "Succeeded" => Says::no("PodCompleted", String::new()),
        "Failed" => Says::no("PodFailed", String::new()),
        _ if unready.is_empty() => Says::yes(),
        _ => Says::no("ContainersNotReady", format!("containers with unready status: {}", names(&unready))),
    }
}

/// Ready when the containers are and every readiness gate's condition is true.
fn ready(containers: &Says, spec: &PodSpec, old: &[PodCondition]) -> Says {
    if !containers.holds {
        return containers.clone();
    }
    let missing = |gate: &str| match old.iter().find(|c| c.type_ == gate) {
        None => Some(format!("corresponding condition of pod readiness gate {gate:?} does not exist.")),
        Some(c) if c.status != "True" => {
            Some(format!("the status of pod readiness gate {gate:?} is not \"True\", but {}", c.status))
        }
        Some(_) => None,
    };
    let gates = spec.readiness_gates.iter().flatten();
    let missing: Vec<String> = gates.filter_map(|gate| missing(&gate.condition_type)).collect();
    if missing.is_empty() { Says::yes() } else { Says::no("ReadinessGatesNotReady", missing.join(", ")) }
}

fn initialized(spec: &PodSpec, phase: &str, inits: &[ContainerStatus], facts: Facts<'_>) -> Says {
    if phase == "Succeeded" {
        return Says { holds: true, reason: "PodCompleted", message: String::new() };
    }
    let incomplete = |container, status: &ContainerStatus| {
        if is_sidecar(container) { status.started != Some(true) } else { !status.ready }
    };
    let waiting: Vec<&str> = init(spec)
        .iter()
        .zip(inits)
        .filter(|(container, status)| incomplete(container, status))
        .map(|(container, _)| container.name.as_str())
        .collect();
    if facts.plan.initialized || waiting.is_empty() {
        return Says::yes();
    }
    Says::no("ContainersNotInitialized", format!("containers with incomplete status: {}", names(&waiting)))
}

fn condition(old: &[PodCondition], type_: &str, says: Says, now: Timestamp) -> PodCondition {
    let status = if says.holds { "True" } else { "False" };
    let before = old.iter().find(|c| c.type_ == type_ && c.status == status);
    let text = |s: &str| (!s.is_empty()).then(|| s.to_owned());
    PodCondition {
        type_: type_.to_owned(),
        status: status.to_owned(),
        reason: text(says.reason),
        message: text(&says.message),
        last_transition_time: before.and_then(|c| c.last_transition_time.clone()).or(Some(Time(now))),
        ..PodCondition::default()
    }
}
