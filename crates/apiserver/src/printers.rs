//! Tables: what `kubectl get` prints, with upstream's columns.

use jiff::Timestamp;
use objects::kinds::Kind;
use serde_json::{Value, json};

use crate::registry::meta;

/// A column: its title, whether only `-o wide` shows it, and a row's cell.
type Column = (&'static str, bool, fn(&Value, Timestamp) -> Value);

/// The table of some objects of one kind (`metav1.Table`). `include` is the query's `includeObject`.
pub fn table(kind: &Kind, objects: &[&Value], include: Option<&str>, now: Timestamp) -> Value {
    let columns = columns(kind);
    let definitions: Vec<Value> = columns
        .iter()
        .map(|(name, wide, _)| {
            let format = if *name == "Name" { "name" } else { "" };
            json!({"name": name, "type": "string", "format": format, "description": "", "priority": i32::from(*wide)})
        })
        .collect();
    let rows: Vec<Value> = objects
        .iter()
        .map(|object| {
            let cells: Vec<Value> = columns.iter().map(|(_, _, cell)| cell(object, now)).collect();
            let shown = match include {
                Some("Object") => (*object).clone(),
                Some("None") => Value::Null,
                _ => json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": object.get("metadata")}),
            };
            json!({"cells": cells, "object": shown})
        })
        .collect();
    json!({"kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": {}, "columnDefinitions": definitions, "rows": rows})
}

const NAME: Column = ("Name", false, |object, _| meta::text(object, "name").into());
const AGE: Column = ("Age", false, |object, now| age(meta::text(object, "creationTimestamp"), now).into());

fn columns(kind: &Kind) -> Vec<Column> {
    let own: &[Column] = match kind.kind {
        "Pod" => &[
            ("Ready", false, |pod, _| pod_ready(pod)),
            ("Status", false, |pod, _| pod_status(pod).into()),
            ("Restarts", false, |pod, _| restarts(pod).to_string().into()),
            AGE,
            ("IP", true, |pod, _| at(pod, "/status/podIP")),
            ("Node", true, |pod, _| at(pod, "/spec/nodeName")),
        ],
        "Deployment" => &[
            ("Ready", false, |d, _| {
                format!("{}/{}", count(d, "/status/readyReplicas"), count(d, "/spec/replicas")).into()
            }),
            ("Up-to-date", false, |d, _| count(d, "/status/updatedReplicas").into()),
            ("Available", false, |d, _| count(d, "/status/availableReplicas").into()),
            AGE,
        ],
        "ReplicaSet" => &[
            ("Desired", false, |r, _| count(r, "/spec/replicas").into()),
            ("Current", false, |r, _| count(r, "/status/replicas").into()),
            ("Ready", false, |r, _| count(r, "/status/readyReplicas").into()),
            AGE,
        ],
        "Service" => &[
            ("Type", false, |s, _| at(s, "/spec/type")),
            ("Cluster-IP", false, |s, _| at(s, "/spec/clusterIP")),
            ("External-IP", false, |_, _| "<none>".into()),
            ("Port(s)", false, |s, _| ports(s).into()),
            AGE,
        ],
        "Namespace" => &[("Status", false, |n, _| at(n, "/status/phase")), AGE],
        "Node" => &[
            ("Status", false, |n, _| condition(n, "Ready", "Ready", "NotReady").into()),
            ("Roles", false, |_, _| "<none>".into()),
            AGE,
            ("Version", false, |n, _| at(n, "/status/nodeInfo/kubeletVersion")),
        ],
        "ConfigMap" | "Secret" => &[("Data", false, |c, _| entries(c, "/data").into()), AGE],
        "GatewayClass" => &[
            ("Controller", false, |g, _| at(g, "/spec/controllerName")),
            ("Accepted", false, |g, _| condition_status(g, "Accepted")),
            AGE,
        ],
        "Gateway" => &[
            ("Class", false, |g, _| at(g, "/spec/gatewayClassName")),
            ("Address", false, |g, _| at(g, "/status/addresses/0/value")),
            ("Programmed", false, |g, _| condition_status(g, "Programmed")),
            AGE,
        ],
        "HTTPRoute" => &[("Hostnames", false, |r, _| at_list(r, "/spec/hostnames")), AGE],
        "Event" => &[
            ("Type", false, |e, _| at(e, "/type")),
            ("Reason", false, |e, _| at(e, "/reason")),
            ("Object", false, |e, _| involved(e).into()),
            ("Message", false, |e, _| at(e, "/message")),
        ],
        _ => &[AGE],
    };
    std::iter::once(NAME).chain(own.iter().copied()).collect()
}

/// How long ago a time was, as kubectl's `HumanDuration` writes it; `<unknown>` if it is not a time.
pub fn age(time: &str, now: Timestamp) -> String {
    let Ok(then) = time.parse::<Timestamp>() else { return "<unknown>".to_owned() };
    let seconds = now.duration_since(then).as_secs();
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86400);
    let two = |big: i64, unit: char, small: i64, rest: char| {
        if small == 0 { format!("{big}{unit}") } else { format!("{big}{unit}{small}{rest}") }
    };
    match seconds {
        ..0 => "0s".to_owned(),
        0..120 => format!("{seconds}s"),
        120..600 => two(minutes, 'm', seconds % 60, 's'),
        600..10_800 => format!("{minutes}m"),
        10_800..28_800 => two(hours, 'h', minutes % 60, 'm'),
        28_800..172_800 => format!("{hours}h"),
        172_800..691_200 => two(days, 'd', hours % 24, 'h'),
        691_200..63_072_000 => format!("{days}d"),
        63_072_000..252_288_000 => two(days / 365, 'y', days % 365, 'd'),
        _ => format!("{}y", days / 365),
    }
}

fn at(object: &Value, pointer: &str) -> Value {
    object.pointer(pointer).filter(|v| !v.is_null()).cloned().unwrap_or_else(|| "<none>".into())
}

fn at_list(object: &Value, pointer: &str) -> Value {
    object.pointer(pointer).map_or_else(|| "".into(), |list| list.to_string().into())
}

fn count(object: &Value, pointer: &str) -> i64 {
    object.pointer(pointer).and_then(Value::as_i64).unwrap_or(0)
}

fn entries(object: &Value, pointer: &str) -> usize {
    object.pointer(pointer).and_then(Value::as_object).map_or(0, serde_json::Map::len)
}

fn list<'a>(object: &'a Value, pointer: &str) -> impl Iterator<Item = &'a Value> {
    object.pointer(pointer).and_then(Value::as_array).into_iter().flatten()
}

fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

fn condition_status(object: &Value, name: &str) -> Value {
    let found = list(object, "/status/conditions").find(|c| text(c, "/type") == name);
    found.map_or_else(|| "Unknown".into(), |c| text(c, "/status").into())
}

fn condition(object: &Value, name: &str, yes: &str, no: &str) -> String {
    let state = if condition_status(object, name) == "True" { yes } else { no };
    let cordoned = object.pointer("/spec/unschedulable") == Some(&json!(true));
    if cordoned { format!("{state},SchedulingDisabled") } else { state.to_owned() }
}

fn ports(service: &Value) -> String {
    let port = |port: &Value| format!("{}/{}", count(port, "/port"), text(port, "/protocol"));
    let all: Vec<String> = list(service, "/spec/ports").map(port).collect();
    if all.is_empty() { "<none>".to_owned() } else { all.join(",") }
}

fn involved(event: &Value) -> String {
    format!("{}/{}", text(event, "/involvedObject/kind").to_ascii_lowercase(), text(event, "/involvedObject/name"))
}

fn restarts(pod: &Value) -> i64 {
    list(pod, "/status/containerStatuses").map(|status| count(status, "/restartCount")).sum()
}

fn pod_ready(pod: &Value) -> Value {
    let ready = list(pod, "/status/containerStatuses").filter(|s| s.pointer("/ready") == Some(&json!(true))).count();
    format!("{ready}/{}", list(pod, "/spec/containers").count()).into()
}

/// The one word that says best how a pod is (upstream's `printPod`).
fn pod_status(pod: &Value) -> String {
    if meta::is_deleting(pod) {
        return "Terminating".to_owned();
    }
    let statuses: Vec<&Value> = list(pod, "/status/initContainerStatuses").collect();
    for (done, status) in statuses.iter().enumerate() {
        if status.pointer("/state/terminated/exitCode") == Some(&json!(0))
            || status.pointer("/started") == Some(&json!(true))
        {
            continue;
        }
        let reason = [text(status, "/state/waiting/reason"), text(status, "/state/terminated/reason")].concat();
        return match reason.as_str() {
            "" | "PodInitializing" => format!("Init:{done}/{}", list(pod, "/spec/initContainers").count()),
            reason => format!("Init:{reason}"),
        };
    }
    let waiting =
        |status: &Value| [text(status, "/state/waiting/reason"), text(status, "/state/terminated/reason")].concat();
    let reasons = list(pod, "/status/containerStatuses").map(waiting);
    let reason = reasons.filter(|reason| !reason.is_empty()).last();
    let phase = [text(pod, "/status/reason"), text(pod, "/status/phase")].into_iter().find(|t| !t.is_empty());
    reason.unwrap_or_else(|| phase.unwrap_or("Unknown").to_owned())
}

#[cfg(test)]
mod tests {
    use objects::kinds;

    use super::*;

    #[test]
    fn ages_read_as_kubectls() {
        let now: Timestamp = "2026-01-10T00:00:00Z".parse().unwrap();
        let ago =
            |seconds: i64| age(&now.checked_sub(jiff::SignedDuration::from_secs(seconds)).unwrap().to_string(), now);
        let expected = [
            (5, "5s"),
            (119, "119s"),
            (125, "2m5s"),
            (900, "15m"),
            (11_000, "3h3m"),
            (90_000, "25h"),
            (180_000, "2d2h"),
        ];
        for (seconds, text) in expected {
            assert_eq!(ago(seconds), text);
        }
        assert_eq!(age("", now), "<unknown>");
    }

    #[test]
    fn a_pods_status_says_what_is_the_matter() {
        let pod = |status: Value| json!({"metadata": {"name": "p"}, "spec": {"containers": [{}], "initContainers": [{}, {}]}, "status": status});
        let waiting =
            json!({"phase": "Running", "containerStatuses": [{"state": {"waiting": {"reason": "CrashLoopBackOff"}}}]});
        assert_eq!(pod_status(&pod(waiting)), "CrashLoopBackOff");
        let starting = json!({"phase": "Pending", "initContainerStatuses": [{"state": {"running": {}}}]});
        assert_eq!(pod_status(&pod(starting)), "Init:0/2");
        assert_eq!(pod_status(&pod(json!({"phase": "Running"}))), "Running");
    }

    #[test]
    fn every_kind_has_a_table() {
        for kind in kinds::KINDS {
            let object = json!({"metadata": {"name": "x", "creationTimestamp": "2026-01-01T00:00:00Z"}});
            let table = table(kind, &[&object], None, Timestamp::UNIX_EPOCH);
            let columns = table["columnDefinitions"].as_array().unwrap().len();
            assert_eq!(table["rows"][0]["cells"].as_array().unwrap().len(), columns);
        }
    }
}
