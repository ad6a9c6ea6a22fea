//! Pods and their templates.

use serde_json::{Map, Value, json};

use super::{child, each, set};

/// The spec of a Pod: a template's defaults, and those that only a Pod has.
pub(super) fn pod(spec: &mut Map<String, Value>) {
    // What is limited and not requested is requested up to its limit.
    for list in ["containers", "initContainers"] {
        for container in each(spec, list) {
            let Some(resources) = child(container, "resources") else { continue };
            let Some(limits) = resources.get("limits").and_then(Value::as_object).cloned() else { continue };
            set(resources, "requests", json!({}));
            if let Some(requests) = child(resources, "requests") {
                limits.into_iter().for_each(|(name, limit)| set(requests, &name, limit));
            }
        }
    }
    // Upstream's admission gives a pod without an account its namespace's own.
    if spec.get("serviceAccount").is_none() {
        set(spec, "serviceAccountName", json!("default"));
    }
    self::spec(spec);
    set(spec, "enableServiceLinks", json!(true));
    set(spec, "preemptionPolicy", json!("PreemptLowerPriority"));
    set(spec, "priority", json!(0));
}

/// The spec of a pod's template.
pub(super) fn spec(spec: &mut Map<String, Value>) {
    set(spec, "restartPolicy", json!("Always"));
    set(spec, "dnsPolicy", json!("ClusterFirst"));
    set(spec, "schedulerName", json!("default-scheduler"));
    set(spec, "terminationGracePeriodSeconds", json!(30));
    set(spec, "securityContext", json!({}));
    // The two names of one field.
    let account = ["serviceAccountName", "serviceAccount"].iter().find_map(|field| spec.get(*field)).cloned();
    if let Some(account) = account {
        spec.insert("serviceAccountName".to_owned(), account.clone());
        spec.insert("serviceAccount".to_owned(), account);
    }
    let on_host = spec.get("hostNetwork") == Some(&json!(true));
    for list in ["containers", "initContainers", "ephemeralContainers"] {
        each(spec, list).for_each(|container| self::container(container, on_host));
    }
    each(spec, "volumes").for_each(volume);
}

fn volume(volume: &mut Map<String, Value>) {
    for source in ["configMap", "secret", "projected", "downwardAPI"] {
        if let Some(source) = child(volume, source) {
            set(source, "defaultMode", json!(0o644));
            each(source, "items").for_each(field_reference);
            for part in each(source, "sources") {
                if let Some(downward) = child(part, "downwardAPI") {
                    each(downward, "items").for_each(field_reference);
                }
                if let Some(token) = child(part, "serviceAccountToken") {
                    set(token, "expirationSeconds", json!(3600));
                }
            }
        }
    }
    super::volume::source(volume);
    let template = child(volume, "ephemeral").and_then(|source| child(source, "volumeClaimTemplate"));
    if let Some(spec) = template.and_then(|template| child(template, "spec")) {
        super::volume::claim_spec(spec);
    }
    if let Some(image) = child(volume, "image") {
        let reference = image.get("reference").and_then(Value::as_str).unwrap_or_default();
        let policy = pull_policy(reference);
        set(image, "pullPolicy", json!(policy));
    }
    if volume.len() == 1 {
        set(volume, "emptyDir", json!({}));
    }
}

fn field_reference(holder: &mut Map<String, Value>) {
    if let Some(field) = child(holder, "fieldRef") {
        set(field, "apiVersion", json!("v1"));
    }
}

/// An image without a tag, or tagged `latest`, may be another one tomorrow.
fn pull_policy(image: &str) -> &'static str {
    let name = image.rsplit('/').next().unwrap_or_default();
    let latest = !name.contains('@') && (!name.contains(':') || name.ends_with(":latest"));
    if latest { "Always" } else { "IfNotPresent" }
}

fn container(container: &mut Map<String, Value>, on_host: bool) {
    let policy = pull_policy(container.get("image").and_then(Value::as_str).unwrap_or_default());
    set(container, "imagePullPolicy", json!(policy));
    set(container, "terminationMessagePath", json!("/dev/termination-log"));
    set(container, "terminationMessagePolicy", json!("File"));
    set(container, "resources", json!({}));
    for port in each(container, "ports") {
        set(port, "protocol", json!("TCP"));
        if let (true, Some(number)) = (on_host, port.get("containerPort").cloned()) {
            set(port, "hostPort", number);
        }
    }
    for variable in each(container, "env") {
        if let Some(from) = child(variable, "valueFrom") {
            field_reference(from);
        }
    }
    for name in ["livenessProbe", "readinessProbe", "startupProbe"] {
        if let Some(probe) = child(container, name) {
            for (field, value) in
                [("timeoutSeconds", 1), ("periodSeconds", 10), ("successThreshold", 1), ("failureThreshold", 3)]
            {
                set(probe, field, json!(value));
            }
            handler(probe);
        }
    }
    if let Some(lifecycle) = child(container, "lifecycle") {
        for name in ["postStart", "preStop"] {
            if let Some(hook) = child(lifecycle, name) {
                handler(hook);
            }
        }
    }
}

fn handler(handler: &mut Map<String, Value>) {
    if let Some(get) = child(handler, "httpGet") {
        set(get, "path", json!("/"));
        set(get, "scheme", json!("HTTP"));
    }
    if let Some(grpc) = child(handler, "grpc") {
        set(grpc, "service", json!(""));
    }
}
