//! Which columns each kind has.

use objects::kinds::Kind;
use serde_json::Value;

use super::{
    AGE, Column, NAME, age, autoscaler, column, condition, entries, integer, joined, list, network, number, pod, text,
    text_or, wide,
};
use crate::registry::meta;

/// The columns of a kind. A kind without any of its own has its name and age.
pub(super) fn of(kind: &Kind) -> Vec<Column> {
    // Events begin with their age: their names say nothing.
    if kind.kind == "Event" {
        return EVENT.to_vec();
    }
    let own: &[Column] = match kind.kind {
        "Pod" => pod::COLUMNS,
        "Deployment" => DEPLOYMENT,
        "ReplicaSet" => REPLICA_SET,
        "Service" => network::SERVICE,
        "EndpointSlice" => network::ENDPOINT_SLICE,
        "HorizontalPodAutoscaler" => autoscaler::COLUMNS,
        "Namespace" => &[column("Status", |n, _| text(n, "/status/phase").into()), AGE],
        "Node" => NODE,
        "ConfigMap" => &[column("Data", |c, _| entries(c, "/data").into()), AGE],
        "Secret" => {
            &[column("Type", |s, _| text(s, "/type").into()), column("Data", |s, _| entries(s, "/data").into()), AGE]
        }
        "ServiceAccount" => &[column("Secrets", |a, _| list(a, "/secrets").count().into()), AGE],
        "Lease" => &[column("Holder", |l, _| text(l, "/spec/holderIdentity").into()), AGE],
        "GatewayClass" => &[
            column("Controller", |g, _| found(g, "/spec/controllerName")),
            column("Accepted", |g, _| condition(g, "Accepted").map_or(Value::Null, |c| found(c, "/status"))),
            DATE,
            wide("Description", |g, _| found(g, "/spec/description")),
        ],
        "Gateway" => &[
            column("Class", |g, _| found(g, "/spec/gatewayClassName")),
            column("Address", |g, _| found(g, "/status/addresses/0/value")),
            column("Programmed", |g, _| condition(g, "Programmed").map_or(Value::Null, |c| found(c, "/status"))),
            DATE,
        ],
        "ListenerSet" => &[
            column("Accepted", |l, _| condition(l, "Accepted").map_or(Value::Null, |c| found(c, "/status"))),
            column("Programmed", |l, _| condition(l, "Programmed").map_or(Value::Null, |c| found(c, "/status"))),
            DATE,
        ],
        "HTTPRoute" | "GRPCRoute" => &[
            column("Hostnames", |r, _| r.pointer("/spec/hostnames").map_or(Value::Null, |h| h.to_string().into())),
            DATE,
        ],
        "TLSRoute" | "TCPRoute" | "UDPRoute" | "BackendTLSPolicy" | "ReferenceGrant" => &[DATE],
        _ => &[AGE],
    };
    std::iter::once(NAME).chain(own.iter().copied()).collect()
}

/// The age as the printer columns of custom resources have it.
const DATE: Column = Column { of: "date", ..AGE };

/// As the printer columns of custom resources show a field: nothing if it is not there.
fn found(object: &Value, pointer: &str) -> Value {
    object.pointer(pointer).cloned().unwrap_or_default()
}

const CONTAINERS: [Column; 3] = [
    wide("Containers", |o, _| joined(containers(o).map(|c| text(c, "/name")), "").into()),
    wide("Images", |o, _| joined(containers(o).map(|c| text(c, "/image")), "").into()),
    wide("Selector", |o, _| crate::scale::selector(o).into()),
];

fn containers(object: &Value) -> impl Iterator<Item = &Value> {
    list(object, "/spec/template/spec/containers")
}

const DEPLOYMENT: &[Column] = &[
    column("Ready", |d, _| format!("{}/{}", number(d, "/status/readyReplicas"), number(d, "/spec/replicas")).into()),
    column("Up-to-date", |d, _| number(d, "/status/updatedReplicas").into()),
    column("Available", |d, _| number(d, "/status/availableReplicas").into()),
    AGE,
    CONTAINERS[0],
    CONTAINERS[1],
    CONTAINERS[2],
];

const REPLICA_SET: &[Column] = &[
    integer("Desired", |r, _| number(r, "/spec/replicas").into()),
    integer("Current", |r, _| number(r, "/status/replicas").into()),
    integer("Ready", |r, _| number(r, "/status/readyReplicas").into()),
    AGE,
    CONTAINERS[0],
    CONTAINERS[1],
    CONTAINERS[2],
];

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
