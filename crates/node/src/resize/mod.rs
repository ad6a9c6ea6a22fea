//! Resizing pods in place: from what a pod asks for, what it was admitted with and what its containers run with, to what is to be
//! done (kubelet's `allocation` and `computePodResizeAction`). Pure, but for the [`Ledger`] of what the node has promised.
//!
//! A pod's spec says what is wanted. What is *allocated* follows it once the node has room; what is *actual* is what the run of a
//! container was started with or was given since. All three can be told from the pod's spec and status, so a resize that a restart
//! of Coracle interrupts goes on from there.

mod ledger;

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{
    Container as Spec, ContainerStatus, Pod, PodCondition, PodSpec, PodStatus, ResourceRequirements,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use objects::{
    quantity::Quantity,
    resources::{self, Amounts, DEFERRED, INFEASIBLE, RESIZE_IN_PROGRESS, RESIZE_PENDING},
};

use crate::state::{Container, View, find, init, is_sidecar};
pub use ledger::{Ledger, Room};

/// What containers and sidecars may use, by their names. Other init containers are never resized.
pub type Sizes = BTreeMap<String, ResourceRequirements>;

/// A resize that the node has not taken on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pending {
    /// There is no room for it now; the kubelet's words.
    Deferred(String),
    /// There never is.
    Infeasible(String),
}

impl Pending {
    /// The reason of its condition, and the message.
    pub fn said(&self) -> (&'static str, &str) {
        match self {
            Self::Deferred(message) => (DEFERRED, message),
            Self::Infeasible(message) => (INFEASIBLE, message),
        }
    }
}

/// Where the resize of a pod is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Resize {
    /// What the node has promised.
    pub allocated: Sizes,
    /// What is wanted is something else, and why it is not promised.
    pub pending: Option<Pending>,
    /// Why the promise could not be kept when that was tried last.
    pub error: Option<String>,
    /// When it is tried again.
    pub again: Option<Timestamp>,
}

fn resizable(spec: &PodSpec) -> impl Iterator<Item = &Spec> {
    init(spec).iter().filter(|container| is_sidecar(container)).chain(&spec.containers)
}

/// What a spec says.
pub fn sizes(spec: &PodSpec) -> Sizes {
    resizable(spec).map(|c| (c.name.clone(), c.resources.clone().unwrap_or_default())).collect()
}

/// The spec with other sizes.
pub fn sized(spec: &PodSpec, sizes: &Sizes) -> PodSpec {
    let mut spec = spec.clone();
    for container in spec.init_containers.iter_mut().flatten().chain(&mut spec.containers) {
        if let Some(size) = sizes.get(&container.name) {
            container.resources = Some(size.clone());
        }
    }
    spec
}

/// What was promised to a pod, by its status; what that does not tell is as the spec has it, which is so for a pod that is seen first.
pub fn recovered(pod: &Pod) -> Sizes {
    let Some(spec) = &pod.spec else { return Sizes::new() };
    let of = |container: &Spec| {
        let mut size = container.resources.clone().unwrap_or_default();
        if let Some(status) = status_of(pod, &container.name)
            && let Some(actual) = &status.resources
        {
            size.requests = status.allocated_resources.clone().or_else(|| actual.requests.clone());
            size.limits.clone_from(&actual.limits);
        }
        (container.name.clone(), size)
    };
    resizable(spec).map(of).collect()
}

fn status_of<'a>(pod: &'a Pod, name: &str) -> Option<&'a ContainerStatus> {
    let status = pod.status.as_ref()?;
    let all = status.init_container_statuses.iter().chain(&status.container_statuses).flatten();
    all.into_iter().find(|status| status.name == name)
}

/// Whether two say the same of CPU and memory, however they write it.
pub fn same(one: &ResourceRequirements, other: &ResourceRequirements) -> bool {
    ["cpu", "memory"]
        .iter()
        .all(|name| request(one, name) == request(other, name) && limit(one, name) == limit(other, name))
}

/// Whether two [`Sizes`] are the [`same`].
pub fn all_same(one: &Sizes, other: &Sizes) -> bool {
    one.len() == other.len() && one.iter().all(|(name, size)| other.get(name).is_some_and(|other| same(size, other)))
}

fn request(of: &ResourceRequirements, name: &str) -> Option<Quantity> {
    of.requests.as_ref()?.get(name)?.0.parse().ok()
}

fn limit(of: &ResourceRequirements, name: &str) -> Option<Quantity> {
    of.limits.as_ref()?.get(name)?.0.parse().ok()
}

/// What a run must be given, if it runs with something else than its container is promised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing but what the status says: memory is requested of the scheduler, not of the kernel.
    Note,
    /// Other limits while it runs.
    Adjust {
        /// Whether it gets less of something; those go first, so that a pod never has more than the larger of its two sizes.
        less: bool,
    },
    /// A new run: its policy says so.
    Restart,
}

/// What to do about a container that runs. What it runs with is not known after a start whose status was never written: then it
/// was started with what is promised.
pub fn step(container: &Spec, seen: &Container) -> Option<Step> {
    let (Some(is), true) = (&seen.size, seen.running()) else { return None };
    let promised = container.resources.clone().unwrap_or_default();
    if same(is, &promised) {
        return None;
    }
    let cpu = request(is, "cpu") != request(&promised, "cpu") || limit(is, "cpu") != limit(&promised, "cpu");
    let memory = limit(is, "memory") != limit(&promised, "memory");
    let restarts = |name: &str| {
        let mut policies = container.resize_policy.iter().flatten();
        policies.any(|policy| policy.resource_name == name && policy.restart_policy == "RestartContainer")
    };
    Some(match (cpu, memory) {
        (false, false) => Step::Note,
        _ if cpu && restarts("cpu") || memory && restarts("memory") => Step::Restart,
        _ => {
            let shrinks = |name| limit(&promised, name).zip(limit(is, name)).is_some_and(|(new, old)| new < old);
            Step::Adjust { less: shrinks("memory") || shrinks("cpu") }
        }
    })
}

/// What a pod of these sizes holds of the node.
pub fn amounts(spec: &PodSpec, sizes: &Sizes) -> Amounts {
    resources::requests(&sized(spec, sizes))
}

/// The conditions that tell of a resize; none where there is nothing to tell. `spec` has what is promised.
pub fn conditions(previous: &PodStatus, resize: &Resize, view: &View, pod: &Pod, now: Timestamp) -> Vec<PodCondition> {
    let promised = |name: &str| {
        let container = pod.spec.as_ref().and_then(|spec| find(spec, name)).cloned()?;
        let resources = resize.allocated.get(name).cloned().or(container.resources.clone());
        Some(Spec { resources, ..container })
    };
    let unfinished = |(name, seen): (&String, &Container)| promised(name).and_then(|spec| step(&spec, seen)).is_some();
    let in_progress = view.containers.iter().any(unfinished);
    let pending = resize.pending.as_ref().map(Pending::said);
    let error = resize.error.as_deref().map_or(("", ""), |error| ("Error", error));
    let told = [(RESIZE_PENDING, pending), (RESIZE_IN_PROGRESS, in_progress.then_some(error))];
    let old = previous.conditions.as_deref().unwrap_or_default();
    let condition = |(type_, said): (&str, Option<(&str, &str)>)| {
        let (reason, message) = said?;
        let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let before = old.iter().find(|c| c.type_ == type_ && c.reason == text(reason));
        Some(PodCondition {
            type_: type_.to_owned(),
            status: "True".to_owned(),
            reason: text(reason),
            message: text(message),
            observed_generation: pod.metadata.generation,
            last_transition_time: before.and_then(|c| c.last_transition_time.clone()).or(Some(Time(now))),
            ..PodCondition::default()
        })
    };
    told.into_iter().filter_map(condition).collect()
}

/// Whether this is one of the conditions of [`conditions`].
pub fn is_ours(type_: &str) -> bool {
    [RESIZE_PENDING, RESIZE_IN_PROGRESS].contains(&type_)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::state::{Begin, State};

    fn resources(cpu: &str, memory: &str) -> Value {
        json!({"requests": {"cpu": "100m", "memory": "1Mi"}, "limits": {"cpu": cpu, "memory": memory}})
    }

    fn container(resources: &Value, policy: &Value) -> Spec {
        serde_json::from_value(json!({"name": "c", "resources": resources, "resizePolicy": policy})).unwrap()
    }

    fn run(resources: &Value) -> Container {
        let size = serde_json::from_value(resources.clone()).unwrap();
        let state = State::Running { since: Timestamp::UNIX_EPOCH };
        Container { state, size: Some(size), ..Container::default() }
    }

    #[test]
    fn a_run_is_adjusted_unless_its_policy_wants_a_new_one() {
        let none = json!([]);
        let old = run(&resources("1", "1Gi"));
        let to = |cpu, memory, policy: &Value| step(&container(&resources(cpu, memory), policy), &old);
        assert_eq!(to("1000m", "1024Mi", &none), None, "it says the same in other words");
        assert_eq!(to("2", "1Gi", &none), Some(Step::Adjust { less: false }));
        assert_eq!(to("500m", "2Gi", &none), Some(Step::Adjust { less: true }));
        let policy = json!([{"resourceName": "memory", "restartPolicy": "RestartContainer"}]);
        assert_eq!(to("2", "1Gi", &policy), Some(Step::Adjust { less: false }), "memory is as it was");
        assert_eq!(to("1", "512Mi", &policy), Some(Step::Restart));
        let mut more = resources("1", "1Gi");
        more["requests"]["memory"] = json!("2Mi");
        assert_eq!(step(&container(&more, &policy), &old), Some(Step::Note));
        let ended = Container { state: State::Never, ..old.clone() };
        assert_eq!(step(&container(&resources("9", "9Gi"), &none), &ended), None);
        let fresh = Container { size: None, ..old };
        assert_eq!(step(&container(&resources("9", "9Gi"), &none), &fresh), None);
    }

    #[test]
    fn a_promise_is_found_again_in_the_status() {
        let pod: Pod = serde_json::from_value(json!({
            "spec": {"containers": [{"name": "c", "resources": resources("4", "4Gi")}, {"name": "new"}],
                "initContainers": [{"name": "i", "resources": resources("1", "1Gi")}]},
            "status": {"containerStatuses": [{"name": "c", "image": "", "imageID": "", "ready": true, "restartCount": 0,
                "allocatedResources": {"cpu": "200m", "memory": "1Mi"}, "resources": resources("1", "1Gi")}]}}))
        .unwrap();
        let found = recovered(&pod);
        assert_eq!(found.keys().collect::<Vec<_>>(), ["c", "new"], "init containers are not resized");
        assert_eq!(request(&found["c"], "cpu").unwrap().millis(), 200);
        assert_eq!(limit(&found["c"], "memory").unwrap().value(), 1 << 30);
        assert!(!all_same(&found, &sizes(pod.spec.as_ref().unwrap())));
        assert!(all_same(&found, &sizes(&sized(pod.spec.as_ref().unwrap(), &found))));
    }

    #[test]
    fn a_begun_run_has_the_size_that_it_was_started_with() {
        let mut seen = Container::default();
        let size: ResourceRequirements = serde_json::from_value(resources("1", "1Gi")).unwrap();
        seen.begin(Begin { size: size.clone(), ..Begin::default() }, Timestamp::UNIX_EPOCH);
        assert_eq!(seen.size, Some(size));
    }
}
