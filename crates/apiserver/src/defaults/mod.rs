//! What a field is when the manifest does not say: upstream's defaulting functions, kind by kind.

mod autoscaler;
mod cluster;
mod gateway;
mod pod;
#[cfg(test)]
mod tests;
mod volume;
mod workload;

use objects::kinds::Kind;
use serde_json::{Map, Value, json};

use crate::registry::meta::{self, section};

/// A kind, and what fills in the defaults of its objects.
type Row = (&'static str, &'static str, fn(&mut Value));

const GATEWAY: &str = "gateway.networking.k8s.io";
const ADMISSION: &str = "admissionregistration.k8s.io";
const RBAC: &str = "rbac.authorization.k8s.io";

/// The kinds that have defaults: group, kind, what fills them in.
const ROWS: &[Row] = &[
    ("", "Pod", |object| pod::pod(section(object, "spec"))),
    ("", "Service", |object| service(section(object, "spec"))),
    ("", "Namespace", namespace),
    ("", "Secret", secret),
    ("", "Endpoints", cluster::endpoints),
    ("", "LimitRange", cluster::limit_range),
    ("", "PersistentVolume", volume::persistent),
    ("", "PersistentVolumeClaim", volume::claim),
    ("", "PodTemplate", workload::pod_template),
    ("", "ReplicationController", workload::replication_controller),
    ("apiextensions.k8s.io", "CustomResourceDefinition", crate::crd::default),
    ("apiregistration.k8s.io", "APIService", crate::api_services::default),
    ("apps", "Deployment", workload::deployment),
    ("apps", "ReplicaSet", workload::replica_set),
    ("apps", "StatefulSet", workload::stateful_set),
    ("apps", "DaemonSet", workload::daemon_set),
    ("batch", "Job", workload::job),
    ("batch", "CronJob", workload::cron_job),
    ("autoscaling", "HorizontalPodAutoscaler", |object| autoscaler::spec(section(object, "spec"))),
    ("discovery.k8s.io", "EndpointSlice", endpoint_slice),
    ("networking.k8s.io", "NetworkPolicy", cluster::network_policy),
    ("networking.k8s.io", "IngressClass", cluster::ingress_class),
    (RBAC, "RoleBinding", cluster::role_binding),
    (RBAC, "ClusterRoleBinding", cluster::role_binding),
    ("scheduling.k8s.io", "PriorityClass", cluster::priority_class),
    ("storage.k8s.io", "StorageClass", volume::class),
    ("storage.k8s.io", "CSIDriver", volume::csi_driver),
    (ADMISSION, "MutatingWebhookConfiguration", cluster::webhooks),
    (ADMISSION, "ValidatingWebhookConfiguration", cluster::webhooks),
    (ADMISSION, "ValidatingAdmissionPolicy", cluster::admission_policy),
    (ADMISSION, "ValidatingAdmissionPolicyBinding", cluster::admission_binding),
    ("flowcontrol.apiserver.k8s.io", "FlowSchema", cluster::flow_schema),
    (GATEWAY, "GatewayClass", |object| gateway::class_status(section(object, "status"))),
    (GATEWAY, "Gateway", |object| {
        gateway::gateway(section(object, "spec"));
        gateway::gateway_status(section(object, "status"));
    }),
    (GATEWAY, "ListenerSet", |object| {
        gateway::listener_set(section(object, "spec"));
        gateway::gateway_status(section(object, "status"));
    }),
    (GATEWAY, "HTTPRoute", |object| gateway::http_route(section(object, "spec"))),
    (GATEWAY, "GRPCRoute", |object| gateway::grpc_route(section(object, "spec"))),
    (GATEWAY, "TLSRoute", |object| gateway::layer4_route(section(object, "spec"))),
    (GATEWAY, "TCPRoute", |object| gateway::layer4_route(section(object, "spec"))),
    (GATEWAY, "UDPRoute", |object| gateway::layer4_route(section(object, "spec"))),
];

/// Fills in the defaults of an object.
pub fn apply(kind: &Kind, object: &mut Value) {
    if let Some(fill) = row(kind) {
        return fill(object);
    }
    if let Some(definition) = kind.definition() {
        definition.schema.compiled().fill(object);
    }
}

/// Whether objects of a kind can have any.
pub fn has_any(kind: &Kind) -> bool {
    row(kind).is_some() || kind.definition().is_some()
}

fn row(kind: &Kind) -> Option<fn(&mut Value)> {
    let mut rows = ROWS.iter().filter(|_| !kind.is_custom());
    rows.find(|(group, name, _)| (*group, *name) == (kind.group, kind.kind)).map(|(.., fill)| *fill)
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

fn endpoint_slice(object: &mut Value) {
    if let Some(map) = object.as_object_mut() {
        for port in each(map, "ports") {
            set(port, "name", json!(""));
            set(port, "protocol", json!("TCP"));
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
    let published = spec.get("externalIPs").and_then(Value::as_array).is_some_and(|all| !all.is_empty());
    if matches!(of.as_str(), "NodePort" | "LoadBalancer") || of == "ClusterIP" && published {
        set(spec, "externalTrafficPolicy", json!("Cluster"));
    }
    if of == "LoadBalancer" {
        set(spec, "allocateLoadBalancerNodePorts", json!(true));
    }
    // A configuration of what is not asked for goes, so that whoever turns it off need not take that back as well.
    match spec.get("sessionAffinity").and_then(Value::as_str) {
        Some("None") => drop(spec.remove("sessionAffinityConfig")),
        Some("ClientIP") => {
            let said = spec.get("sessionAffinityConfig").and_then(|config| config.pointer("/clientIP/timeoutSeconds"));
            if said.is_none_or(Value::is_null) {
                spec.insert("sessionAffinityConfig".to_owned(), json!({"clientIP": {"timeoutSeconds": 10800}}));
            }
        }
        _ => {}
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
fn secret(object: &mut Value) {
    use base64::Engine;
    let Some(object) = object.as_object_mut() else { return };
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
