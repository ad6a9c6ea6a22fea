//! What a cluster has from its first start: the namespaces, the Service of the API itself, the gateway class.

use std::{net::SocketAddr, sync::Arc};

use objects::kinds;
use serde_json::{Value, json};

use crate::{
    registry::{Registry, update::Part},
    status::Failure,
    validation::SYSTEM_PRIORITIES,
};

const NAMESPACES: &[&str] = &["default", "kube-system", "kube-public", "kube-node-lease"];

/// Makes what is missing.
///
/// # Errors
/// When the store cannot write.
pub(crate) async fn run(registry: &Arc<Registry>) -> Result<(), Failure> {
    for name in NAMESPACES {
        ensure(registry, "", "v1", "", json!({"kind": "Namespace", "metadata": {"name": name}})).await?;
    }
    let service = json!({
        "kind": "Service",
        "metadata": {"name": "kubernetes", "labels": {"component": "apiserver", "provider": "kubernetes"}},
        "spec": {"clusterIP": registry.api_address().to_string(),
            "ports": [{"name": "https", "port": 443, "protocol": "TCP", "targetPort": 6443}]},
    });
    ensure(registry, "", "v1", "default", service).await?;
    for (name, value) in SYSTEM_PRIORITIES {
        let class = json!({"kind": "PriorityClass", "metadata": {"name": name}, "value": value, "description":
            "Used for system critical pods that must not be moved from their current node."});
        ensure(registry, "scheduling.k8s.io", "v1", "", class).await?;
    }
    let class = json!({"kind": "GatewayClass", "metadata": {"name": "coracle"},
        "spec": {"controllerName": "coracle.dev/gateway-controller", "description": "The gateway that is part of Coracle."}});
    ensure(registry, "gateway.networking.k8s.io", "v1", "", class).await
}

/// Says where the API is served: the endpoints of the Service `kubernetes`, which nobody but the API server knows.
///
/// # Errors
/// When the store cannot write.
pub(crate) async fn publish(registry: &Arc<Registry>, at: SocketAddr) -> Result<(), Failure> {
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
        let wanted = object.clone();
        match registry
            .update(kind, "default", "kubernetes", Part::Main, false, move |_: &Value| Ok(wanted.clone()))
            .await
        {
            Err(failure) if failure.reason == "NotFound" => {
                registry.create(kind, "default", object, false).await?;
            }
            Err(failure) => return Err(failure),
            Ok(_) => {}
        }
    }
    Ok(())
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
    match registry.create(kind, namespace, object, false).await {
        Err(failure) if failure.reason != "AlreadyExists" && !is_address_taken(&failure) => Err(failure),
        _ => Ok(()),
    }
}

/// The Service is there already, with the address that it is to have.
fn is_address_taken(failure: &Failure) -> bool {
    failure.reason == "Invalid" && failure.message.contains("already allocated")
}
