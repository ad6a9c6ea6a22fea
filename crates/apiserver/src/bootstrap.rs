//! What a cluster has from its first start: the namespaces, the Service of the API itself, the gateway class.

use std::{
    net::SocketAddr,
    sync::{Arc, Weak},
};

use objects::{kinds, patch::merge_patch};
use serde_json::{Value, json};

use crate::{
    follow,
    registry::{Registry, parse, update::Part},
    status::Failure,
    store::Watcher,
    validation::SYSTEM_PRIORITIES,
};

const NAMESPACES: &[&str] = &["default", "kube-system", "kube-public", "kube-node-lease"];

/// Makes what is missing.
///
/// # Errors
/// When the store cannot write.
pub(crate) async fn run(registry: &Arc<Registry>) -> Result<(), Failure> {
    match first(registry).await {
        // Another Service has its address: that is no reason not to start. `keep` makes it when the address is free.
        Err(failure) if is_address_taken(&failure) => tracing::warn!("the Service kubernetes: {}", failure.message),
        outcome => outcome?,
    }
    for (name, value) in SYSTEM_PRIORITIES {
        let class = json!({"kind": "PriorityClass", "metadata": {"name": name}, "value": value, "description":
            "Used for system critical pods that must not be moved from their current node."});
        ensure(registry, "scheduling.k8s.io", "v1", "", class).await?;
    }
    let class = json!({"kind": "GatewayClass", "metadata": {"name": "coracle"},
        "spec": {"controllerName": "coracle.dev/gateway-controller", "description": "The gateway that is part of Coracle."}});
    ensure(registry, "gateway.networking.k8s.io", "v1", "", class).await
}

/// The namespaces, and the Service of the API.
async fn first(registry: &Registry) -> Result<(), Failure> {
    for name in NAMESPACES {
        ensure(registry, "", "v1", "", json!({"kind": "Namespace", "metadata": {"name": name}})).await?;
    }
    let service = json!({
        "kind": "Service",
        "metadata": {"name": "kubernetes", "labels": {"component": "apiserver", "provider": "kubernetes"}},
        "spec": {"clusterIP": registry.api_address().to_string(),
            "ports": [{"name": "https", "port": 443, "protocol": "TCP", "targetPort": 6443}]},
    });
    ensure(registry, "", "v1", "default", service).await
}

/// Says where the API is served: the endpoints of the Service `kubernetes`, which nobody but the API server knows.
///
/// # Errors
/// When the store cannot write.
pub(crate) async fn publish(registry: &Registry, at: SocketAddr) -> Result<(), Failure> {
    let ports = json!([{"name": "https", "port": at.port(), "protocol": "TCP"}]);
    let endpoints = json!({
        "kind": "Endpoints", "apiVersion": "v1",
        "metadata": {"name": "kubernetes", "labels": {"endpointslice.kubernetes.io/skip-mirror": "true"}},
        "subsets": [{"addresses": [{"ip": at.ip()}], "ports": ports}],
    });
    let slice = json!({
        "kind": "EndpointSlice", "apiVersion": "discovery.k8s.io/v1",
        "metadata": {"name": "kubernetes", "labels": {"kubernetes.io/service-name": "kubernetes"}},
        "addressType": if at.is_ipv4() { "IPv4" } else { "IPv6" },
        "endpoints": [{"addresses": [at.ip()], "conditions": {"ready": true}}],
        "ports": ports,
    });
    for (group, name, object) in [("", "Endpoints", endpoints), ("discovery.k8s.io", "EndpointSlice", slice)] {
        let Some(kind) = kinds::by_kind(group, "v1", name) else { return Err(Failure::no_such_path()) };
        if registry.get(kind, "default", "kubernetes").and_then(|it| parse(&it)).is_ok_and(|it| says(&it, &object)) {
            continue;
        }
        let wanted = object.clone();
        let correct = move |current: &Value| {
            let mut next = current.clone();
            merge_patch(&mut next, &wanted);
            Ok(next)
        };
        match registry.update(kind, "default", "kubernetes", Part::Main, false, correct).await {
            Err(failure) if failure.reason == "NotFound" => {
                registry.create(kind, "default", object, false).await?;
            }
            Err(failure) => return Err(failure),
            Ok(_) => {}
        }
    }
    Ok(())
}

/// Whether an object says all that is wanted of it.
fn says(object: &Value, wanted: &Value) -> bool {
    match (object, wanted) {
        (Value::Object(object), Value::Object(wanted)) => {
            wanted.iter().all(|(name, wanted)| object.get(name).is_some_and(|value| says(value, wanted)))
        }
        (Value::Array(object), Value::Array(wanted)) => {
            object.len() == wanted.len() && object.iter().zip(wanted).all(|(value, wanted)| says(value, wanted))
        }
        _ => object == wanted,
    }
}

/// Makes anew what somebody deletes of the namespaces and of the API's Service and its endpoints, and says again where the API is
/// served where somebody says otherwise, until the registry is gone. Upstream's controllers of the Service `kubernetes` and of the
/// system's namespaces do the same, every ten seconds and every minute: `kubectl delete services --all` is no reason to lose the API.
pub(crate) async fn keep(registry: Weak<Registry>, at: SocketAddr) {
    let work = |registry: Arc<Registry>| async move { restore(&registry, at).await };
    follow::run(registry, "the Service kubernetes", watchers, work).await;
}

async fn restore(registry: &Registry, at: SocketAddr) -> Result<(), Failure> {
    first(registry).await?;
    publish(registry, at).await
}

/// What tells of changes of all that is kept.
fn watchers(registry: &Registry) -> Vec<Watcher> {
    const KEPT: &[(&str, &str)] =
        &[("", "Namespace"), ("", "Service"), ("", "Endpoints"), ("discovery.k8s.io", "EndpointSlice")];
    let kinds = KEPT.iter().filter_map(|(group, kind)| kinds::by_kind(group, "v1", kind));
    kinds.map(|kind| registry.store().watch(&registry.resource(kind))).collect()
}

async fn ensure(
    registry: &Registry,
    group: &str,
    version: &str,
    namespace: &str,
    object: Value,
) -> Result<(), Failure> {
    let name = object.get("kind").and_then(Value::as_str).unwrap_or_default();
    let Some(kind) = kinds::by_kind(group, version, name) else { return Err(Failure::no_such_path()) };
    let named = object.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
    if registry.get(kind, namespace, named).is_ok() {
        return Ok(());
    }
    match registry.create(kind, namespace, object, false).await {
        Err(failure) if failure.reason != "AlreadyExists" => Err(failure),
        _ => Ok(()),
    }
}

fn is_address_taken(failure: &Failure) -> bool {
    failure.reason == "Invalid" && failure.message.contains("already allocated")
}
