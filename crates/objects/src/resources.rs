//! What pods ask for: the amounts of their containers together (component-helpers' `resource.PodRequests` and `PodLimits`).

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::{Container, PodSpec},
    apimachinery::pkg::api::resource::Quantity as Amount,
};

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
fn amounts(of: Option<&BTreeMap<String, Amount>>) -> Amounts {
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
    fn overhead_is_added_to_requests_and_to_limits_that_there_are() {
        let with = spec(&json!({"overhead": {"cpu": "100m", "memory": "1Mi"}}));
        assert_eq!(requests(&with)["memory"].to_string(), "1Mi");
        assert_eq!((limits(&with)["cpu"].millis(), limits(&with).contains_key("memory")), (1100, false));
    }
}
