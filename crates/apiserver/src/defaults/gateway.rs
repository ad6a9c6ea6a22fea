//! Gateway API's kinds: the defaults in their definitions' schemas.

use serde_json::{Map, Value, json};

use super::{child, each, set};

/// Before its controller has said anything, an object says that it waits for it.
fn waiting(conditions: &[&str]) -> Value {
    let condition = |name: &&str| {
        json!({"type": name, "status": "Unknown", "reason": "Pending", "message": "Waiting for controller",
            "lastTransitionTime": "1970-01-01T00:00:00Z"})
    };
    conditions.iter().map(condition).collect()
}

pub(super) fn class_status(status: &mut Map<String, Value>) {
    set(status, "conditions", waiting(&["Accepted"]));
}

pub(super) fn gateway_status(status: &mut Map<String, Value>) {
    set(status, "conditions", waiting(&["Accepted", "Programmed"]));
}

/// A reference without these is to this group and kind.
fn reference(reference: &mut Map<String, Value>, group: &str, kind: &str) {
    set(reference, "group", json!(group));
    set(reference, "kind", json!(kind));
}

pub(super) fn gateway(spec: &mut Map<String, Value>) {
    for listener in each(spec, "listeners") {
        set(listener, "allowedRoutes", json!({}));
        if let Some(allowed) = child(listener, "allowedRoutes") {
            set(allowed, "namespaces", json!({}));
            if let Some(namespaces) = child(allowed, "namespaces") {
                set(namespaces, "from", json!("Same"));
            }
            each(allowed, "kinds").for_each(|kind| set(kind, "group", json!("gateway.networking.k8s.io")));
        }
        if let Some(tls) = child(listener, "tls") {
            set(tls, "mode", json!("Terminate"));
            each(tls, "certificateRefs").for_each(|secret| reference(secret, "", "Secret"));
        }
    }
    each(spec, "addresses").for_each(|address| set(address, "type", json!("IPAddress")));
}

pub(super) fn http_route(spec: &mut Map<String, Value>) {
    each(spec, "parentRefs").for_each(|parent| reference(parent, "gateway.networking.k8s.io", "Gateway"));
    set(spec, "rules", json!([{}]));
    for rule in each(spec, "rules") {
        set(rule, "matches", json!([{}]));
        for condition in each(rule, "matches") {
            set(condition, "path", json!({}));
            if let Some(path) = child(condition, "path") {
                set(path, "type", json!("PathPrefix"));
                set(path, "value", json!("/"));
            }
            for list in ["headers", "queryParams"] {
                each(condition, list).for_each(|entry| set(entry, "type", json!("Exact")));
            }
        }
        for backend in each(rule, "backendRefs") {
            reference(backend, "", "Service");
            set(backend, "weight", json!(1));
            each(backend, "filters").for_each(filter);
        }
        each(rule, "filters").for_each(filter);
    }
}

fn filter(filter: &mut Map<String, Value>) {
    if let Some(redirect) = child(filter, "requestRedirect") {
        set(redirect, "statusCode", json!(302));
    }
    if let Some(backend) = child(filter, "requestMirror").and_then(|mirror| child(mirror, "backendRef")) {
        reference(backend, "", "Service");
    }
}
