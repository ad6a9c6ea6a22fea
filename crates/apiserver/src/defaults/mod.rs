//! What a field is when the manifest does not say: upstream's defaulting functions, kind by kind.

mod autoscaler;
mod gateway;
mod pod;
#[cfg(test)]
mod tests;

use objects::kinds::Kind;
use serde_json::{Map, Value, json};

use crate::registry::meta::{self, section};

/// Fills in the defaults of an object.
pub fn apply(kind: &Kind, object: &mut Value) {
    match kind.kind {
        "Pod" => pod::pod(section(object, "spec")),
        "Service" => service(section(object, "spec")),
        "Deployment" => {
            let spec = section(object, "spec");
            deployment(spec);
            template(spec);
        }
        "ReplicaSet" => {
            let spec = section(object, "spec");
            set(spec, "replicas", json!(1));
            template(spec);
        }
        "Namespace" => namespace(object),
        "Secret" => {
            if let Some(map) = object.as_object_mut() {
                secret(map);
            }
        }
        "EndpointSlice" => {
            if let Some(map) = object.as_object_mut() {
                for port in each(map, "ports") {
                    set(port, "name", json!(""));
                    set(port, "protocol", json!("TCP"));
                }
            }
        }
        "HorizontalPodAutoscaler" => autoscaler::spec(section(object, "spec")),
        "GatewayClass" => gateway::class_status(section(object, "status")),
        "Gateway" => {
            gateway::gateway(section(object, "spec"));
            gateway::gateway_status(section(object, "status"));
        }
        "ListenerSet" => {
            gateway::listener_set(section(object, "spec"));
            gateway::gateway_status(section(object, "status"));
        }
        "HTTPRoute" => gateway::http_route(section(object, "spec")),
        "GRPCRoute" => gateway::grpc_route(section(object, "spec")),
        "TLSRoute" | "TCPRoute" | "UDPRoute" => gateway::layer4_route(section(object, "spec")),
        _ => {}
    }
}

fn set(map: &mut Map<String, Value>, field: &str, value: Value) {
    map.entry(field.to_owned()).or_insert(value);
}

/// The objects of a list field.
fn each<'a>(
    map: &'a mut Map<String, Value>,
    field: &str,
) -> impl Iterator<Item = &'a mut Map<String, Value>> + use<'a> {
    map.get_mut(field).and_then(Value::as_array_mut).into_iter().flatten().filter_map(Value::as_object_mut)
}

fn child<'a>(map: &'a mut Map<String, Value>, field: &str) -> Option<&'a mut Map<String, Value>> {
    map.get_mut(field).and_then(Value::as_object_mut)
}

/// A namespace has its name as a label, by which selectors of namespaces find it.
fn namespace(object: &mut Value) {
    let name = meta::text(object, "name").to_owned();
    let labels = meta::metadata(object).entry("labels").or_insert_with(|| json!({}));
    if let Some(labels) = labels.as_object_mut() {
        labels.insert("kubernetes.io/metadata.name".to_owned(), name.into());
    }
}

fn deployment(spec: &mut Map<String, Value>) {
    set(spec, "replicas", json!(1));
    set(spec, "revisionHistoryLimit", json!(10));
    set(spec, "progressDeadlineSeconds", json!(600));
    set(spec, "strategy", json!({}));
    if let Some(strategy) = child(spec, "strategy") {
        set(strategy, "type", json!("RollingUpdate"));
        if strategy.get("type").is_some_and(|t| t == "RollingUpdate") {
            set(strategy, "rollingUpdate", json!({}));
            if let Some(rolling) = child(strategy, "rollingUpdate") {
                set(rolling, "maxSurge", json!("25%"));
                set(rolling, "maxUnavailable", json!("25%"));
            }
        }
    }
}

fn template(spec: &mut Map<String, Value>) {
    if let Some(template) = child(spec, "template") {
        set(template, "metadata", json!({}));
        if let Some(spec) = child(template, "spec") {
            pod::spec(spec);
        }
    }
}

fn service(spec: &mut Map<String, Value>) {
    set(spec, "type", json!("ClusterIP"));
    set(spec, "sessionAffinity", json!("None"));
    let alias = spec.get("type").is_some_and(|t| t == "ExternalName");
    if !alias {
        set(spec, "internalTrafficPolicy", json!("Cluster"));
        set(spec, "ipFamilies", json!(["IPv4"]));
        set(spec, "ipFamilyPolicy", json!("SingleStack"));
        if let Some(ip) = spec.get("clusterIP").filter(|ip| **ip != json!("")).cloned() {
            set(spec, "clusterIPs", json!([ip]));
        }
    }
    let of = spec.get("type").and_then(Value::as_str).unwrap_or_default().to_owned();
    if matches!(of.as_str(), "NodePort" | "LoadBalancer") {
        set(spec, "externalTrafficPolicy", json!("Cluster"));
    }
    if of == "LoadBalancer" {
        set(spec, "allocateLoadBalancerNodePorts", json!(true));
    }
    if spec.get("sessionAffinity").is_some_and(|affinity| affinity == "ClientIP") {
        set(spec, "sessionAffinityConfig", json!({"clientIP": {"timeoutSeconds": 10800}}));
    }
    for port in each(spec, "ports") {
        set(port, "protocol", json!("TCP"));
        // A target of 0 or no name says nothing either.
        port.retain(|field, value| field != "targetPort" || *value != json!(0) && *value != json!(""));
        if let Some(number) = port.get("port").cloned() {
            set(port, "targetPort", number);
        }
    }
}

/// `stringData` is written as `data`.
fn secret(object: &mut Map<String, Value>) {
    use base64::Engine;
    set(object, "type", json!("Opaque"));
    if let Some(Value::Object(plain)) = object.remove("stringData") {
        set(object, "data", json!({}));
        if let Some(data) = child(object, "data") {
            for (key, value) in plain {
                let text = value.as_str().unwrap_or_default();
                data.insert(key, base64::engine::general_purpose::STANDARD.encode(text).into());
            }
        }
    }
}
