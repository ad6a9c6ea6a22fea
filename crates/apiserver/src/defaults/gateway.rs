//! Gateway API's kinds: the defaults in their definitions' schemas.

use serde_json::{Map, Value, json};

use super::{child, each, set};

const GROUP: &str = "gateway.networking.k8s.io";

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
    listeners(spec);
    each(spec, "addresses").for_each(|address| set(address, "type", json!("IPAddress")));
    if let Some(allowed) = child(spec, "allowedListeners") {
        set(allowed, "namespaces", json!({}));
        if let Some(namespaces) = child(allowed, "namespaces") {
            set(namespaces, "from", json!("None"));
        }
    }
    let Some(tls) = child(spec, "tls") else { return };
    if let Some(secret) = child(tls, "backend").and_then(|backend| child(backend, "clientCertificateRef")) {
        reference(secret, "", "Secret");
    }
    let Some(frontend) = child(tls, "frontend") else { return };
    if let Some(of_all) = child(frontend, "default") {
        validation(of_all);
    }
    each(frontend, "perPort").filter_map(|port| child(port, "tls")).for_each(validation);
}

fn validation(tls: &mut Map<String, Value>) {
    if let Some(validation) = child(tls, "validation") {
        set(validation, "mode", json!("AllowValidOnly"));
    }
}

pub(super) fn listener_set(spec: &mut Map<String, Value>) {
    if let Some(parent) = child(spec, "parentRef") {
        reference(parent, GROUP, "Gateway");
    }
    listeners(spec);
}

fn listeners(spec: &mut Map<String, Value>) {
    for listener in each(spec, "listeners") {
        set(listener, "allowedRoutes", json!({}));
        if let Some(allowed) = child(listener, "allowedRoutes") {
            set(allowed, "namespaces", json!({}));
            if let Some(namespaces) = child(allowed, "namespaces") {
                set(namespaces, "from", json!("Same"));
            }
            each(allowed, "kinds").for_each(|kind| set(kind, "group", json!(GROUP)));
        }
        if let Some(tls) = child(listener, "tls") {
            set(tls, "mode", json!("Terminate"));
            each(tls, "certificateRefs").for_each(|secret| reference(secret, "", "Secret"));
        }
    }
}

fn parents(spec: &mut Map<String, Value>) {
    each(spec, "parentRefs").for_each(|parent| reference(parent, GROUP, "Gateway"));
}

fn backends(rule: &mut Map<String, Value>) {
    for backend in each(rule, "backendRefs") {
        reference(backend, "", "Service");
        set(backend, "weight", json!(1));
        each(backend, "filters").for_each(filter);
    }
}

pub(super) fn http_route(spec: &mut Map<String, Value>) {
    parents(spec);
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
        backends(rule);
        each(rule, "filters").for_each(filter);
    }
}

pub(super) fn grpc_route(spec: &mut Map<String, Value>) {
    parents(spec);
    for rule in each(spec, "rules") {
        for condition in each(rule, "matches") {
            if let Some(method) = child(condition, "method") {
                set(method, "type", json!("Exact"));
            }
            each(condition, "headers").for_each(|header| set(header, "type", json!("Exact")));
        }
        backends(rule);
        each(rule, "filters").for_each(filter);
    }
}

pub(super) fn layer4_route(spec: &mut Map<String, Value>) {
    parents(spec);
    each(spec, "rules").for_each(backends);
}

fn filter(filter: &mut Map<String, Value>) {
    if let Some(redirect) = child(filter, "requestRedirect") {
        set(redirect, "statusCode", json!(302));
    }
    if let Some(mirror) = child(filter, "requestMirror") {
        if let Some(backend) = child(mirror, "backendRef") {
            reference(backend, "", "Service");
        }
        if let Some(fraction) = child(mirror, "fraction") {
            set(fraction, "denominator", json!(100));
        }
    }
    if let Some(cors) = child(filter, "cors") {
        set(cors, "maxAge", json!(5));
    }
}
