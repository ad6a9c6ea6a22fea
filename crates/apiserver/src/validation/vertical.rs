//! VerticalPodAutoscalers: what the enumerations of upstream's definition and its admission webhook (`ValidateVPA`) refuse.

use objects::quantity::Quantity;
use serde_json::Value;

use super::at::At;
use crate::status::Cause;

const MODES: &[&str] = &["Off", "Initial", "Recreate", "InPlaceOrRecreate", "Auto"];

pub(super) fn spec(spec: &At<'_>, causes: &mut Vec<Cause>) {
    let target = spec.field("targetRef");
    if target.is_set() {
        causes.extend(["kind", "name"].iter().filter_map(|field| target.field(field).must_be_set()));
    } else {
        causes.push(target.required("the workload to size"));
    }
    let policy = spec.field("updatePolicy");
    causes.extend(policy.field("updateMode").one_of(MODES));
    let replicas = policy.field("minReplicas");
    causes.extend(replicas.at_least(1, "must be greater than zero"));
    for requirement in policy.each("evictionRequirements") {
        let change = requirement.field("changeRequirement");
        causes.extend(change.must_be_one_of(&["TargetHigherThanRequests", "TargetLowerThanRequests"]));
        causes.extend(requirement.field("resources").elements().filter_map(|one| one.must_be_one_of(RESOURCES)));
    }
    for policy in spec.field("resourcePolicy").each("containerPolicies") {
        container(&policy, causes);
    }
    let recommenders = spec.field("recommenders");
    if recommenders.len() > 1 {
        causes.push(recommenders.invalid("at most one recommender may be named"));
    }
    for recommender in spec.each("recommenders") {
        causes.extend(recommender.field("name").one_of(&["default"]));
    }
}

const RESOURCES: &[&str] = &["cpu", "memory"];

fn container(policy: &At<'_>, causes: &mut Vec<Cause>) {
    causes.extend(policy.field("containerName").must_be_set());
    let (mode, values) = (policy.field("mode"), policy.field("controlledValues"));
    causes.extend(mode.one_of(&["Auto", "Off"]));
    causes.extend(values.one_of(&["RequestsAndLimits", "RequestsOnly"]));
    if mode.text() == "Off" && values.is_set() {
        causes.push(values.forbidden("a container that is left alone has no controlled values"));
    }
    causes.extend(policy.field("controlledResources").elements().filter_map(|one| one.must_be_one_of(RESOURCES)));
    let (least, most) = (policy.field("minAllowed"), policy.field("maxAllowed"));
    let quantity = |of: &At<'_>| -> Option<Quantity> {
        let value: &Value = of.value;
        value.as_str().map_or_else(|| value.to_string(), str::to_owned).parse().ok()
    };
    for (name, bound) in least.entries().chain(policy.field("maxAllowed").entries()) {
        match quantity(&bound) {
            None => causes.push(bound.invalid("must be a quantity")),
            Some(quantity) if name == "cpu" && quantity != Quantity::from_millis(quantity.millis()) => {
                causes.push(bound.invalid("must be whole thousandths of a core"));
            }
            Some(quantity) if quantity.is_negative() => {
                causes.push(bound.invalid("must be greater than or equal to 0"));
            }
            Some(_) => {}
        }
    }
    for (name, most) in most.entries() {
        let least = policy.field("minAllowed").field(name);
        if quantity(&least).zip(quantity(&most)).is_some_and(|(least, most)| most < least) {
            causes.push(most.invalid("must not be less than minAllowed"));
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn said(of: &Value) -> Vec<String> {
        let mut causes = Vec::new();
        spec(&At::root(of), &mut causes);
        causes.into_iter().map(|cause| format!("{}: {}", cause.field, cause.message)).collect()
    }

    #[test]
    fn what_can_be_honoured_is_accepted() {
        let spec = json!({"targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
            "updatePolicy": {"updateMode": "InPlaceOrRecreate", "minReplicas": 1},
            "resourcePolicy": {"containerPolicies": [{"containerName": "*", "minAllowed": {"cpu": "50m"},
                "maxAllowed": {"cpu": 2, "memory": "1Gi"}, "controlledResources": ["cpu"], "controlledValues": "RequestsOnly"}]}});
        assert!(said(&spec).is_empty(), "{:?}", said(&spec));
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let spec = json!({"updatePolicy": {"updateMode": "Sometimes", "minReplicas": 0},
            "resourcePolicy": {"containerPolicies": [{"mode": "Off", "controlledValues": "RequestsOnly",
                "minAllowed": {"cpu": "2"}, "maxAllowed": {"cpu": "1", "memory": "much"}, "controlledResources": ["disk"]}]},
            "recommenders": [{"name": "mine"}]});
        let found = said(&spec);
        for word in [
            "targetRef: Required",
            "updatePolicy.updateMode: Unsupported value: \"Sometimes\"",
            "updatePolicy.minReplicas: Invalid",
            "containerPolicies[0].containerName: Required",
            "containerPolicies[0].controlledValues: Forbidden",
            "maxAllowed[cpu]: Invalid value: \"1\": must not be less",
            "maxAllowed[memory]: Invalid value: \"much\"",
            "controlledResources[0]: Unsupported",
            "recommenders[0].name: Unsupported",
        ] {
            assert!(found.iter().any(|line| line.contains(word)), "{word}: {found:#?}");
        }
    }
}
