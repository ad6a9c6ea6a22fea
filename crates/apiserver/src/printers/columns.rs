//! Which columns each kind has.

use objects::{kinds::Kind, vertical};
use serde_json::Value;

use super::{
    AGE, Column, NAME, age, autoscaler, cluster, column, condition, entries, list, network, pod, storage, text,
    text_or, wide, workload,
};
use crate::registry::meta;

const RBAC: &str = "rbac.authorization.k8s.io";
const ADMISSION: &str = "admissionregistration.k8s.io";
const STORAGE: &str = "storage.k8s.io";
const NETWORKING: &str = "networking.k8s.io";
const GATEWAY: &str = "gateway.networking.k8s.io";
const FLOW: &str = "flowcontrol.apiserver.k8s.io";

/// The columns after the name, of each kind that has more than its age: group, kind, columns.
const ROWS: &[(&str, &str, &[Column])] = &[
    ("", "ConfigMap", &[column("Data", |c, _| (entries(c, "/data") + entries(c, "/binaryData")).into()), AGE]),
    ("", "Endpoints", network::ENDPOINTS),
    ("", "LimitRange", cluster::CREATED),
    ("", "Namespace", &[column("Status", |n, _| text(n, "/status/phase").into()), AGE]),
    ("", "Node", NODE),
    ("", "PersistentVolume", storage::PERSISTENT),
    ("", "PersistentVolumeClaim", storage::CLAIM),
    ("", "Pod", pod::COLUMNS),
    ("", "PodTemplate", workload::POD_TEMPLATE),
    ("", "ReplicationController", workload::REPLICATION_CONTROLLER),
    ("", "ResourceQuota", cluster::RESOURCE_QUOTA),
    ("", "Secret", SECRET),
    ("", "Service", network::SERVICE),
    ("", "ServiceAccount", &[column("Secrets", |a, _| list(a, "/secrets").count().into()), AGE]),
    ("apiextensions.k8s.io", "CustomResourceDefinition", cluster::CREATED),
    ("apiregistration.k8s.io", "APIService", cluster::API_SERVICE),
    ("apps", "ControllerRevision", workload::CONTROLLER_REVISION),
    ("apps", "DaemonSet", workload::DAEMON_SET),
    ("apps", "Deployment", workload::DEPLOYMENT),
    ("apps", "ReplicaSet", workload::REPLICA_SET),
    ("apps", "StatefulSet", workload::STATEFUL_SET),
    ("autoscaling", "HorizontalPodAutoscaler", autoscaler::COLUMNS),
    ("batch", "CronJob", workload::CRON_JOB),
    ("batch", "Job", workload::JOB),
    ("certificates.k8s.io", "CertificateSigningRequest", cluster::CERTIFICATE_REQUEST),
    ("coordination.k8s.io", "Lease", &[column("Holder", |l, _| text(l, "/spec/holderIdentity").into()), AGE]),
    ("discovery.k8s.io", "EndpointSlice", network::ENDPOINT_SLICE),
    (NETWORKING, "Ingress", cluster::INGRESS),
    (NETWORKING, "IngressClass", cluster::INGRESS_CLASS),
    (NETWORKING, "IPAddress", cluster::IP_ADDRESS),
    (NETWORKING, "NetworkPolicy", cluster::NETWORK_POLICY),
    (NETWORKING, "ServiceCIDR", cluster::SERVICE_CIDR),
    ("node.k8s.io", "RuntimeClass", cluster::RUNTIME_CLASS),
    ("policy", "PodDisruptionBudget", cluster::DISRUPTION_BUDGET),
    (RBAC, "ClusterRole", cluster::CREATED),
    (RBAC, "ClusterRoleBinding", cluster::ROLE_BINDING),
    (RBAC, "Role", cluster::CREATED),
    (RBAC, "RoleBinding", cluster::ROLE_BINDING),
    ("scheduling.k8s.io", "PriorityClass", cluster::PRIORITY_CLASS),
    (STORAGE, "CSIDriver", storage::DRIVER),
    (STORAGE, "CSINode", storage::DRIVER_NODE),
    (STORAGE, "CSIStorageCapacity", storage::CAPACITY),
    (STORAGE, "StorageClass", storage::CLASS),
    (STORAGE, "VolumeAttachment", storage::ATTACHMENT),
    (ADMISSION, "MutatingWebhookConfiguration", cluster::WEBHOOKS),
    (ADMISSION, "ValidatingWebhookConfiguration", cluster::WEBHOOKS),
    (ADMISSION, "ValidatingAdmissionPolicy", cluster::ADMISSION_POLICY),
    (ADMISSION, "ValidatingAdmissionPolicyBinding", cluster::ADMISSION_BINDING),
    (FLOW, "FlowSchema", cluster::FLOW_SCHEMA),
    (FLOW, "PriorityLevelConfiguration", cluster::PRIORITY_LEVEL),
    (vertical::GROUP, "VerticalPodAutoscaler", VERTICAL),
    (GATEWAY, "GatewayClass", GATEWAY_CLASS),
    (GATEWAY, "Gateway", GATEWAYS),
    (GATEWAY, "ListenerSet", LISTENER_SET),
    (GATEWAY, "HTTPRoute", ROUTE),
    (GATEWAY, "GRPCRoute", ROUTE),
    (GATEWAY, "TLSRoute", &[DATE]),
    (GATEWAY, "TCPRoute", &[DATE]),
    (GATEWAY, "UDPRoute", &[DATE]),
    (GATEWAY, "BackendTLSPolicy", &[DATE]),
    (GATEWAY, "ReferenceGrant", &[DATE]),
];

const SECRET: &[Column] =
    &[column("Type", |s, _| text(s, "/type").into()), column("Data", |s, _| entries(s, "/data").into()), AGE];

const GATEWAY_CLASS: &[Column] = &[
    column("Controller", |g, _| found(g, "/spec/controllerName")),
    column("Accepted", |g, _| condition(g, "Accepted").map_or(Value::Null, |c| found(c, "/status"))),
    DATE,
    wide("Description", |g, _| found(g, "/spec/description")),
];

const VERTICAL: &[Column] = &[
    column("Mode", |v, _| found(v, "/spec/updatePolicy/updateMode")),
    column("CPU", |v, _| found(v, "/status/recommendation/containerRecommendations/0/target/cpu")),
    column("Mem", |v, _| found(v, "/status/recommendation/containerRecommendations/0/target/memory")),
    column("Provided", |v, _| condition(v, "RecommendationProvided").map_or(Value::Null, |c| found(c, "/status"))),
    DATE,
];

const GATEWAYS: &[Column] = &[
    column("Class", |g, _| found(g, "/spec/gatewayClassName")),
    column("Address", |g, _| found(g, "/status/addresses/0/value")),
    column("Programmed", |g, _| condition(g, "Programmed").map_or(Value::Null, |c| found(c, "/status"))),
    DATE,
];

const LISTENER_SET: &[Column] = &[
    column("Accepted", |l, _| condition(l, "Accepted").map_or(Value::Null, |c| found(c, "/status"))),
    column("Programmed", |l, _| condition(l, "Programmed").map_or(Value::Null, |c| found(c, "/status"))),
    DATE,
];

const ROUTE: &[Column] =
    &[column("Hostnames", |r, _| r.pointer("/spec/hostnames").map_or(Value::Null, |h| h.to_string().into())), DATE];

/// The columns of a kind. A kind without any of its own has its name and age.
pub(super) fn of(kind: &Kind) -> Vec<Column> {
    let name = match (kind.group, kind.kind) {
        // Events begin with their age: their names say nothing.
        ("" | "events.k8s.io", "Event") => return EVENT.to_vec(),
        (STORAGE, "StorageClass") => column("Name", |class, _| storage::class_name(class).into()),
        _ => NAME,
    };
    let row = ROWS.iter().find(|(group, name, _)| (*group, *name) == (kind.group, kind.kind));
    let own = row.map_or(&[AGE] as &[Column], |(_, _, columns)| columns);
    std::iter::once(name).chain(own.iter().copied()).collect()
}

/// The age as the printer columns of custom resources have it.
const DATE: Column = Column { of: "date", ..AGE };

/// As the printer columns of custom resources show a field: nothing if it is not there.
fn found(object: &Value, pointer: &str) -> Value {
    object.pointer(pointer).cloned().unwrap_or_default()
}

const NODE: &[Column] = &[
    column("Status", |n, _| node_status(n).into()),
    column("Roles", |n, _| node_roles(n).into()),
    AGE,
    column("Version", |n, _| text(n, "/status/nodeInfo/kubeletVersion").into()),
    wide("Internal-IP", |n, _| node_address(n, "InternalIP").into()),
    wide("External-IP", |n, _| node_address(n, "ExternalIP").into()),
    wide("OS-Image", |n, _| text_or(n, "/status/nodeInfo/osImage", "<unknown>").into()),
    wide("Kernel-Version", |n, _| text_or(n, "/status/nodeInfo/kernelVersion", "<unknown>").into()),
    wide("Container-Runtime", |n, _| text_or(n, "/status/nodeInfo/containerRuntimeVersion", "<unknown>").into()),
];

fn node_status(node: &Value) -> String {
    let ready = match condition(node, "Ready").map(|condition| text(condition, "/status")) {
        Some("True") => "Ready",
        Some(_) => "NotReady",
        None => "Unknown",
    };
    let cordoned = node.pointer("/spec/unschedulable") == Some(&Value::Bool(true));
    if cordoned { format!("{ready},SchedulingDisabled") } else { ready.to_owned() }
}

fn node_roles(node: &Value) -> String {
    let labels = meta::labels(node);
    let role = |(label, value): (&String, &String)| match label.strip_prefix("node-role.kubernetes.io/") {
        Some(role) => Some(role.to_owned()),
        None => (label == "kubernetes.io/role").then(|| value.clone()),
    };
    let mut roles: Vec<String> = labels.iter().filter_map(role).filter(|role| !role.is_empty()).collect();
    roles.sort();
    if roles.is_empty() { "<none>".to_owned() } else { roles.join(",") }
}

fn node_address<'a>(node: &'a Value, kind: &str) -> &'a str {
    let address = list(node, "/status/addresses").find(|address| text(address, "/type") == kind);
    address.map_or("<none>", |address| text(address, "/address"))
}

const EVENT: &[Column] = &[
    column("Last Seen", |e, now| last_seen(e, now).into()),
    column("Type", |e, _| text(e, "/type").into()),
    column("Reason", |e, _| text(e, "/reason").into()),
    column("Object", |e, _| involved(e).into()),
    wide("Subobject", |e, _| text(e, "/involvedObject/fieldPath").into()),
    wide("Source", |e, _| event_source(e).into()),
    column("Message", |e, _| text(e, "/message").trim().into()),
    wide("First Seen", |e, now| first_seen(e, now).into()),
    wide("Count", |e, _| event_count(e).into()),
    wide("Name", |e, _| meta::text(e, "name").into()),
];

fn first_seen(event: &Value, now: jiff::Timestamp) -> String {
    age(text_or(event, "/firstTimestamp", text(event, "/eventTime")), now)
}

fn last_seen(event: &Value, now: jiff::Timestamp) -> String {
    match text_or(event, "/series/lastObservedTime", text(event, "/lastTimestamp")) {
        "" => first_seen(event, now),
        time => age(time, now),
    }
}

/// An event that happened once need not say so.
fn event_count(event: &Value) -> i64 {
    match event.pointer("/series/count").or_else(|| event.get("count")).and_then(Value::as_i64) {
        Some(count) if count > 0 || event.get("series").is_some() => count,
        _ => 1,
    }
}

fn event_source(event: &Value) -> String {
    let component = text_or(event, "/source/component", text(event, "/reportingComponent"));
    match text_or(event, "/source/host", text(event, "/reportingInstance")) {
        "" => component.to_owned(),
        host => format!("{component}, {host}"),
    }
}

fn involved(event: &Value) -> String {
    let kind = text(event, "/involvedObject/kind").to_ascii_lowercase();
    match text(event, "/involvedObject/name") {
        "" => kind,
        name => format!("{kind}/{name}"),
    }
}
