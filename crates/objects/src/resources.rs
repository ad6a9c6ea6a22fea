//! What pods ask for: the amounts of their containers together (component-helpers' `resource.PodRequests` and `PodLimits`).

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::{Container, ContainerStatus, Pod, PodSpec},
    apimachinery::pkg::api::resource::Quantity as Amount,
};
use serde_json::Value;

use crate::quantity::Quantity;

/// Amounts of resources by their names.
pub type Amounts = BTreeMap<String, Quantity>;

/// What a pod requests: the containers together, or the largest init container if that is more, with the sidecars that run by then;
/// and the overhead.
pub fn requests(spec: &PodSpec) -> Amounts {
    let mut all = together(spec, &of_requests);
    add(&mut all, &amounts(spec.overhead.as_ref()));
    all
}

/// What a pod is limited to, counted as its requests are. The overhead counts where there is a limit.
pub fn limits(spec: &PodSpec) -> Amounts {
    let mut all = together(spec, &of_limits);
    let mut overhead = amounts(spec.overhead.as_ref());
    overhead.retain(|resource, _| all.contains_key(resource));
    add(&mut all, &overhead);
    all
}

/// What one container requests.
pub fn of_requests(container: &Container) -> Amounts {
    amounts(container.resources.as_ref().and_then(|resources| resources.requests.as_ref()))
}

/// What one container is limited to.
pub fn of_limits(container: &Container) -> Amounts {
    amounts(container.resources.as_ref().and_then(|resources| resources.limits.as_ref()))
}

/// The quality-of-service class of a pod (`ComputePodQOS`): `Guaranteed` where every container requests what it is limited to, of
/// CPU and memory; `BestEffort` where none says anything of either; `Burstable` otherwise.
pub fn qos(spec: &PodSpec) -> &'static str {
    let (mut any, mut guaranteed) = (false, true);
    for container in spec.init_containers.iter().flatten().chain(&spec.containers) {
        let (limits, requests) = (of_limits(container), of_requests(container));
        for name in ["cpu", "memory"] {
            let said = |all: &Amounts| all.get(name).copied().filter(|amount| amount.millis() > 0);
            let (limit, request) = (said(&limits), said(&requests));
            any |= limit.is_some() || request.is_some();
            guaranteed &= limit.is_some() && request.is_none_or(|request| Some(request) == limit);
        }
    }
    match (any, guaranteed) {
        (false, _) => "BestEffort",
        (true, true) => "Guaranteed",
        (true, false) => "Burstable",
    }
}

/// The same of a Pod as JSON; `None` if it is none.
pub fn qos_of(pod: &Value) -> Option<&'static str> {
    let spec = serde_json::from_value::<PodSpec>(pod.get("spec")?.clone()).ok()?;
    Some(qos(&spec))
}

/// What a pod holds of its node: while it is being resized the more of what it asks for and what it has. What it asks for in vain,
/// because no node of this size has it, does not count (component-helpers' `UseStatusResources`).
pub fn held(pod: &Pod) -> Amounts {
    let Some(mut spec) = pod.spec.clone() else { return Amounts::new() };
    let status = pod.status.as_ref();
    let in_vain = status.and_then(|status| status.conditions.as_ref()).into_iter().flatten().any(|condition| {
        condition.type_ == RESIZE_PENDING
            && condition.status == "True"
            && condition.reason.as_deref() == Some(INFEASIBLE)
    });
    let lists = status.map(|status| [&status.container_statuses, &status.init_container_statuses]);
    let statuses: Vec<&ContainerStatus> = lists.into_iter().flatten().flatten().flatten().collect();
    for container in spec.containers.iter_mut().chain(spec.init_containers.iter_mut().flatten()) {
        let Some(said) = statuses.iter().find(|status| status.name == container.name) else { continue };
        let mut has = amounts(said.allocated_resources.as_ref());
        raise(&mut has, &amounts(said.resources.as_ref().and_then(|resources| resources.requests.as_ref())));
        if has.is_empty() {
            continue;
        }
        if !in_vain {
            raise(&mut has, &of_requests(container));
        }
        let requests = has.into_iter().map(|(name, amount)| (name, Amount(amount.to_string()))).collect();
        container.resources.get_or_insert_default().requests = Some(requests);
    }
    requests(&spec)
}

/// The condition of a pod that cannot be resized as it asks, now or at all.
pub const RESIZE_PENDING: &str = "PodResizePending";

/// The condition of a pod that is being resized.
pub const RESIZE_IN_PROGRESS: &str = "PodResizeInProgress";

/// Why a resize is pending: the node has room for it, when other pods have gone.
pub const DEFERRED: &str = "Deferred";

/// Why a resize is pending: the node never has room for it.
pub const INFEASIBLE: &str = "Infeasible";

/// Adds amounts to others.
pub fn add(to: &mut Amounts, what: &Amounts) {
    for (resource, amount) in what {
        let sum = to.get(resource).map_or(*amount, |has| *has + *amount);
        to.insert(resource.clone(), sum);
    }
}

fn together(spec: &PodSpec, of: &dyn Fn(&Container) -> Amounts) -> Amounts {
    let mut running = Amounts::new();
    let mut peak = Amounts::new();
    for container in spec.init_containers.iter().flatten() {
        let own = of(container);
        let is_sidecar = container.restart_policy.as_deref() == Some("Always");
        if is_sidecar {
            add(&mut running, &own);
        }
        let mut then = running.clone();
        if !is_sidecar {
            add(&mut then, &own);
        }
        raise(&mut peak, &then);
    }
    spec.containers.iter().for_each(|container| add(&mut running, &of(container)));
    raise(&mut running, &peak);
    running
}

fn raise(to: &mut Amounts, least: &Amounts) {
    for (resource, amount) in least {
        let most = to.get(resource).map_or(*amount, |has| *has.max(amount));
        to.insert(resource.clone(), most);
    }
}

/// Amounts as quantities; what is none is left out, which the API refuses to store.
pub fn amounts(of: Option<&BTreeMap<String, Amount>>) -> Amounts {
    of.into_iter().flatten().filter_map(|(name, amount)| Some((name.clone(), amount.0.parse().ok()?))).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn spec(extra: &Value) -> PodSpec {
        let resources = json!({"requests": {"cpu": "500m"}, "limits": {"cpu": "1"}});
        let mut value = json!({"containers": [{"name": "c", "resources": resources}]});
        crate::patch::merge_patch(&mut value, extra);
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn an_init_container_counts_when_it_needs_more_than_the_rest() {
        let init = json!({"initContainers": [{"name": "i", "resources": {"requests": {"cpu": "2"}}}]});
        assert_eq!(requests(&spec(&init))["cpu"].millis(), 2000);
        let init = json!({"initContainers": [{"name": "i", "restartPolicy": "Always", "resources": {"requests": {"cpu": "1"}}}]});
        assert_eq!(requests(&spec(&init))["cpu"].millis(), 1500);
    }

    #[test]
    fn a_pod_holds_what_it_has_and_what_it_asks_for_unless_that_is_in_vain() {
        let of = |asks: &str, has: &str, reason: &str| {
            let pod = json!({"spec": {"containers": [{"name": "c", "resources": {"requests": {"cpu": asks}}}]},
                "status": {"conditions": [{"type": "PodResizePending", "status": "True", "reason": reason}],
                    "containerStatuses": [{"name": "c", "image": "", "imageID": "", "ready": true, "restartCount": 0,
                        "allocatedResources": {"cpu": has}}]}});
            held(&serde_json::from_value(pod).unwrap())["cpu"].millis()
        };
        assert_eq!((of("2", "1", "Deferred"), of("1", "2", "")), (2000, 2000));
        assert_eq!(of("200", "1", "Infeasible"), 1000);
    }

    #[test]
    fn a_class_follows_from_what_is_asked_for() {
        let class = |resources: Value| qos(&spec(&json!({"containers": [{"name": "c", "resources": resources}]})));
        let both = json!({"cpu": "1", "memory": "1Gi"});
        assert_eq!(class(json!({"limits": both, "requests": {"cpu": "1000m", "memory": "1024Mi"}})), "Guaranteed");
        assert_eq!(class(json!({"limits": both, "requests": {"cpu": "999m"}})), "Burstable");
        assert_eq!(class(json!({"requests": {"memory": "1"}})), "Burstable");
        assert_eq!(class(json!({"requests": {"memory": "0"}})), "BestEffort");
    }

    #[test]
    fn overhead_is_added_to_requests_and_to_limits_that_there_are() {
        let with = spec(&json!({"overhead": {"cpu": "100m", "memory": "1Mi"}}));
        assert_eq!(requests(&with)["memory"].to_string(), "1Mi");
        assert_eq!((limits(&with)["cpu"].millis(), limits(&with).contains_key("memory")), (1100, false));
    }
}
