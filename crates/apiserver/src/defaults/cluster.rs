//! What namespaces and the cluster are governed by: limits, policies, roles, classes, admission.

use serde_json::{Map, Value, json};

use super::{child, each, set};
use crate::registry::meta::section;

pub(super) fn endpoints(object: &mut Value) {
    if let Some(object) = object.as_object_mut() {
        for subset in each(object, "subsets") {
            each(subset, "ports").for_each(|port| set(port, "protocol", json!("TCP")));
        }
    }
}

/// What a container limits by default it may at most have, and what it requests by default it limits.
pub(super) fn limit_range(object: &mut Value) {
    for limit in each(section(object, "spec"), "limits") {
        if limit.get("type").is_none_or(|of| of != "Container") {
            continue;
        }
        fill(limit, "default", "max");
        fill(limit, "defaultRequest", "default");
        fill(limit, "defaultRequest", "min");
    }
}

/// Gives `to` what `from` has and it has not.
fn fill(limit: &mut Map<String, Value>, to: &str, from: &str) {
    let Some(amounts) = limit.get(from).and_then(Value::as_object).cloned() else { return };
    set(limit, to, json!({}));
    if let Some(target) = child(limit, to) {
        amounts.into_iter().for_each(|(name, amount)| set(target, &name, amount));
    }
}

pub(super) fn network_policy(object: &mut Value) {
    let spec = section(object, "spec");
    set(spec, "podSelector", json!({}));
    let has_egress = spec.get("egress").and_then(Value::as_array).is_some_and(|rules| !rules.is_empty());
    set(spec, "policyTypes", if has_egress { json!(["Ingress", "Egress"]) } else { json!(["Ingress"]) });
    for direction in ["ingress", "egress"] {
        for rule in each(spec, direction) {
            each(rule, "ports").for_each(|port| set(port, "protocol", json!("TCP")));
        }
    }
}

pub(super) fn ingress_class(object: &mut Value) {
    if let Some(parameters) = child(section(object, "spec"), "parameters") {
        set(parameters, "scope", json!("Cluster"));
    }
}

pub(super) fn priority_class(object: &mut Value) {
    if let Some(class) = object.as_object_mut() {
        set(class, "value", json!(0));
        set(class, "preemptionPolicy", json!("PreemptLowerPriority"));
    }
}

const RBAC: &str = "rbac.authorization.k8s.io";

pub(super) fn role_binding(object: &mut Value) {
    let Some(binding) = object.as_object_mut() else { return };
    set(binding, "roleRef", json!({}));
    if let Some(role) = child(binding, "roleRef") {
        set(role, "apiGroup", json!(RBAC));
    }
    for subject in each(binding, "subjects") {
        if subject.get("kind").is_some_and(|kind| kind == "User" || kind == "Group") {
            set(subject, "apiGroup", json!(RBAC));
        }
    }
}

pub(super) fn webhooks(object: &mut Value) {
    let mutates = object.get("kind").is_some_and(|kind| kind == "MutatingWebhookConfiguration");
    let Some(object) = object.as_object_mut() else { return };
    for webhook in each(object, "webhooks") {
        for (field, value) in [
            ("failurePolicy", json!("Fail")),
            ("matchPolicy", json!("Equivalent")),
            ("namespaceSelector", json!({})),
            ("objectSelector", json!({})),
            ("timeoutSeconds", json!(10)),
        ] {
            set(webhook, field, value);
        }
        if mutates {
            set(webhook, "reinvocationPolicy", json!("Never"));
        }
        each(webhook, "rules").for_each(|rule| set(rule, "scope", json!("*")));
        if let Some(service) = child(webhook, "clientConfig").and_then(|client| child(client, "service")) {
            set(service, "port", json!(443));
        }
    }
}

pub(super) fn admission_policy(object: &mut Value) {
    let spec = section(object, "spec");
    set(spec, "failurePolicy", json!("Fail"));
    constraints(spec, "matchConstraints");
}

pub(super) fn admission_binding(object: &mut Value) {
    let spec = section(object, "spec");
    if spec.contains_key("matchResources") {
        constraints(spec, "matchResources");
    }
}

fn constraints(spec: &mut Map<String, Value>, field: &str) {
    let Some(constraints) = child(spec, field) else { return };
    set(constraints, "matchPolicy", json!("Equivalent"));
    set(constraints, "namespaceSelector", json!({}));
    set(constraints, "objectSelector", json!({}));
    each(constraints, "resourceRules").for_each(|rule| set(rule, "scope", json!("*")));
}

pub(super) fn flow_schema(object: &mut Value) {
    set(section(object, "spec"), "matchingPrecedence", json!(1000));
}
