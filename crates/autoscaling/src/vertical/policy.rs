//! What a resourcePolicy makes of a recommendation, and what a pod's containers are to be given by it (`pkg/utils/vpa`).

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::{Container, PodSpec, ResourceRequirements},
    apimachinery::pkg::api::resource::Quantity as Amount,
};
use objects::{
    quantity::Quantity,
    vertical::{ContainerRecommendation, ContainerResourcePolicy, ResourcePolicy},
};

use super::{Amounts, Estimate};

/// The policy that holds for all containers that have none of their own.
const ANY: &str = "*";

/// The two resources.
const RESOURCES: [&str; 2] = ["cpu", "memory"];

/// The policy of a container.
pub fn of<'a>(policy: Option<&'a ResourcePolicy>, container: &str) -> Option<&'a ContainerResourcePolicy> {
    let all = policy.and_then(|policy| policy.container_policies.as_deref()).unwrap_or_default();
    let find = |name: &str| all.iter().find(|one| one.container_name.as_deref() == Some(name));
    find(container).or_else(|| find(ANY))
}

/// Whether anything is recommended for a container.
pub fn is_on(policy: Option<&ContainerResourcePolicy>) -> bool {
    policy.and_then(|policy| policy.mode.as_deref()) != Some("Off")
}

/// Whether a resource is the autoscaler's.
fn controls(policy: Option<&ContainerResourcePolicy>, resource: &str) -> bool {
    let list = policy.and_then(|policy| policy.controlled_resources.as_ref());
    list.is_none_or(|list| list.iter().any(|one| one == resource))
}

type Quantities = BTreeMap<String, Amount>;

fn quantity(of: Option<&Quantities>, resource: &str) -> Option<Quantity> {
    of?.get(resource)?.0.parse().ok()
}

fn amount(resource: &str, amounts: Amounts) -> Quantity {
    match resource {
        "cpu" => Quantity::from_millis(amounts.cpu.into()),
        _ => Quantity::from_millis(i128::from(amounts.memory).saturating_mul(1000)),
    }
}

/// As upstream's objects have it: bytes in thousands where they are whole.
fn text(resource: &str, quantity: Quantity) -> Amount {
    let bytes = quantity.value();
    Amount(match resource {
        "cpu" => quantity.to_string(),
        _ if bytes > 0 && bytes % 1000 == 0 => format!("{}k", bytes / 1000),
        _ => bytes.to_string(),
    })
}

/// What the status says of a container: the estimate of what the policy controls, within what it allows, and the target without
/// those bounds. `None` if the policy is to leave the container alone.
pub fn recommendation(
    container: &str,
    estimate: &Estimate,
    policy: Option<&ContainerResourcePolicy>,
) -> Option<ContainerRecommendation> {
    if !is_on(policy) {
        return None;
    }
    let list = |amounts: Amounts, capped: bool| -> Quantities {
        let of = |resource: &&str| {
            let plain = amount(resource, amounts);
            let quantity = if capped { within(policy, resource, plain) } else { plain };
            ((*resource).to_owned(), text(resource, quantity))
        };
        RESOURCES.iter().filter(|resource| controls(policy, resource)).map(of).collect()
    };
    Some(ContainerRecommendation {
        container_name: Some(container.to_owned()),
        target: list(estimate.target, true),
        lower_bound: Some(list(estimate.lower, true)),
        upper_bound: Some(list(estimate.upper, true)),
        uncapped_target: Some(list(estimate.target, false)),
    })
}

fn within(policy: Option<&ContainerResourcePolicy>, resource: &str, plain: Quantity) -> Quantity {
    let bound = |of: fn(&ContainerResourcePolicy) -> Option<&Quantities>| quantity(policy.and_then(of), resource);
    let least = bound(|policy| policy.min_allowed.as_ref());
    let most = bound(|policy| policy.max_allowed.as_ref());
    let raised = least.map_or(plain, |least| plain.max(least));
    most.map_or(raised, |most| raised.min(most))
}

/// The containers of a pod that are to be given something else, with what: the targets as requests, and limits that keep their
/// proportion to the requests unless the policy leaves them alone. A container without a recommendation keeps what it has.
pub fn sizes(
    spec: &PodSpec,
    recommended: &[ContainerRecommendation],
    policy: Option<&ResourcePolicy>,
) -> BTreeMap<String, ResourceRequirements> {
    let of = |container: &Container| {
        let recommended = recommended.iter().find(|one| one.container_name.as_deref() == Some(&container.name))?;
        let old = container.resources.clone().unwrap_or_default();
        let new = sized(&old, recommended, of(policy, &container.name));
        (new != old).then(|| (container.name.clone(), new))
    };
    spec.containers.iter().filter_map(of).collect()
}

fn sized(
    old: &ResourceRequirements,
    recommended: &ContainerRecommendation,
    policy: Option<&ContainerResourcePolicy>,
) -> ResourceRequirements {
    let mut new = old.clone();
    let requests_only = policy.and_then(|policy| policy.controlled_values.as_deref()) == Some("RequestsOnly");
    for resource in RESOURCES.iter().filter(|resource| is_on(policy) && controls(policy, resource)) {
        let Some(target) = quantity(Some(&recommended.target), resource) else { continue };
        let (request, limit) = (quantity(old.requests.as_ref(), resource), quantity(old.limits.as_ref(), resource));
        let target = within(policy, resource, target);
        // A request beyond a limit that is not to be changed would be refused.
        let target = limit.filter(|_| requests_only).map_or(target, |limit| target.min(limit));
        if request != Some(target) {
            new.requests.get_or_insert_default().insert((*resource).to_owned(), text(resource, target));
        }
        if let Some(limit) = limit.filter(|limit| !requests_only && limit.millis() > 0) {
            let scaled = proportional(limit, request, target);
            if scaled != limit {
                new.limits.get_or_insert_default().insert((*resource).to_owned(), text(resource, scaled));
            }
        }
    }
    new
}

/// A limit in the proportion that it had to the request; what requests nothing requests its limit.
fn proportional(limit: Quantity, request: Option<Quantity>, target: Quantity) -> Quantity {
    let request = request.map_or(0, |request| request.millis());
    if request <= 0 || request == limit.millis() {
        return target;
    }
    let scaled = target.millis().saturating_mul(limit.millis()) / request;
    Quantity::from_millis(scaled.max(target.millis()))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn estimate(cpu: i64, memory: i64) -> Estimate {
        let target = Amounts { cpu, memory };
        Estimate { target, lower: Amounts { cpu: cpu / 2, memory: memory / 2 }, upper: target }
    }

    fn policy(of: Value) -> ResourcePolicy {
        serde_json::from_value(json!({"containerPolicies": [of]})).unwrap()
    }

    fn given(resources: Value, policy: Option<&ResourcePolicy>) -> Value {
        let spec = serde_json::from_value(json!({"containers": [{"name": "c", "resources": resources}]})).unwrap();
        let all = [recommendation("c", &estimate(200, 262_144_000), of(policy, "c")).unwrap()];
        json!(sizes(&spec, &all, policy).remove("c"))
    }

    #[test]
    fn a_recommendation_is_kept_within_what_the_policy_allows() {
        let policy =
            policy(json!({"containerName": "*", "minAllowed": {"cpu": "300m"}, "maxAllowed": {"memory": "100Mi"}}));
        let said = recommendation("c", &estimate(200, 262_144_000), of(Some(&policy), "c")).unwrap();
        assert_eq!(json!(said.target), json!({"cpu": "300m", "memory": "104857600"}));
        assert_eq!(json!(said.uncapped_target), json!({"cpu": "200m", "memory": "262144k"}));
        assert_eq!(json!(said.lower_bound), json!({"cpu": "300m", "memory": "104857600"}));
    }

    #[test]
    fn a_container_of_its_own_policy_goes_before_all_others() {
        let policy: ResourcePolicy = serde_json::from_value(json!({"containerPolicies": [
            {"containerName": "*", "mode": "Off"}, {"containerName": "c", "controlledResources": ["cpu"]}]}))
        .unwrap();
        let of = |name: &str| recommendation(name, &estimate(1, 1), of(Some(&policy), name));
        assert!(of("other").is_none());
        assert_eq!(of("c").unwrap().target.keys().collect::<Vec<_>>(), ["cpu"]);
    }

    /// Upstream's `TestGetProportionalLimit…`: equal stays equal, a limit without a request becomes the request, and the rest keeps
    /// its proportion.
    #[test]
    fn limits_keep_their_proportion() {
        let twice =
            json!({"requests": {"cpu": "100m", "memory": "64Mi"}, "limits": {"cpu": "300m", "memory": "128Mi"}});
        let wanted =
            json!({"requests": {"cpu": "200m", "memory": "262144k"}, "limits": {"cpu": "600m", "memory": "524288k"}});
        assert_eq!(given(twice.clone(), None), wanted);
        let equal = json!({"requests": {"cpu": "100m"}, "limits": {"cpu": "100m"}});
        let wanted = json!({"requests": {"cpu": "200m", "memory": "262144k"}, "limits": {"cpu": "200m"}});
        assert_eq!(given(equal, None), wanted);
        assert_eq!(given(json!({"limits": {"cpu": "9"}}), None)["limits"]["cpu"], "200m");
        let only = policy(json!({"containerName": "c", "controlledValues": "RequestsOnly"}));
        let wanted =
            json!({"requests": {"cpu": "200m", "memory": "128Mi"}, "limits": {"cpu": "300m", "memory": "128Mi"}});
        let said = given(twice, Some(&only));
        assert_eq!((&said["limits"], &said["requests"]["cpu"]), (&wanted["limits"], &json!("200m")));
        assert_eq!(said["requests"]["memory"], "134217728", "a request is never more than a limit that stays");
    }

    #[test]
    fn what_has_its_size_already_is_left_alone() {
        let resources = json!({"requests": {"cpu": "0.2", "memory": "250Mi"}});
        assert_eq!(given(resources, None), Value::Null);
    }
}
