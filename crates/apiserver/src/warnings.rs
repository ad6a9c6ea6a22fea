//! What an object says that is deprecated or surprising, in upstream's words (`pkg/api/*/warnings.go` and the strategies'
//! `WarningsOnCreate`). What has no effect here in particular is in `objects::support`.

use std::collections::HashMap;

use objects::{kinds::Kind, names, quantity::Quantity};
use serde_json::{Value, json};

/// Where the spec of a kind's pods is, and whether it is a template's.
fn pod_place(kind: &Kind) -> Option<&'static str> {
    Some(match (kind.group, kind.kind) {
        ("", "Pod") => "",
        ("", "PodTemplate") => "/template",
        ("", "ReplicationController") => "/spec/template",
        ("apps", "Deployment" | "ReplicaSet" | "StatefulSet" | "DaemonSet") | ("batch", "Job") => "/spec/template",
        ("batch", "CronJob") => "/spec/jobTemplate/spec/template",
        _ => return None,
    })
}

/// The warnings for a new or changed object, as it is stored.
pub(crate) fn of(kind: &Kind, object: &Value) -> Vec<String> {
    let mut found = Vec::new();
    finalizers(object, &mut found);
    if let Some(place) = pod_place(kind) {
        name(kind, object, &mut found);
        pod(object, place, &mut found);
    }
    match (kind.group, kind.kind) {
        ("", "Endpoints") => {
            found.push("v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice".to_owned());
        }
        ("", "Service") => service(object, &mut found),
        ("", "PersistentVolume" | "PersistentVolumeClaim") => volume(object, &mut found),
        ("apps", "StatefulSet") => {
            let limit = object.pointer("/spec/revisionHistoryLimit").and_then(Value::as_i64);
            if limit.is_some_and(|limit| limit < 0) {
                found.push("spec.revisionHistoryLimit: a negative value retains all historical revisions; a value >= 0 is recommended".to_owned());
            }
        }
        ("networking.k8s.io", "Ingress") if annotation(object, "kubernetes.io/ingress.class") => {
            let text =
                "annotation \"kubernetes.io/ingress.class\" is deprecated, please use 'spec.ingressClassName' instead";
            found.push(text.to_owned());
        }
        ("autoscaling", "HorizontalPodAutoscaler") => {
            let annotations = object.pointer("/metadata/annotations").and_then(Value::as_object).into_iter().flatten();
            let texts = annotations.filter_map(|(name, value)| Some((name.as_str(), value.as_str()?)));
            found.extend(autoscaling::predict::doubts(texts));
        }
        ("policy", "PodDisruptionBudget") if object.pointer("/spec/selector") == Some(&json!({})) => {
            let text = "spec.selector: an empty selector matches every pod of the namespace in policy/v1, and none in policy/v1beta1";
            found.push(text.to_owned());
        }
        _ => {}
    }
    found
}

fn annotation(object: &Value, name: &str) -> bool {
    object.pointer("/metadata/annotations").is_some_and(|annotations| annotations.get(name).is_some())
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value.get(field).and_then(Value::as_str).unwrap_or_default()
}

fn list<'a>(value: &'a Value, field: &str) -> impl Iterator<Item = &'a Value> {
    value.get(field).and_then(Value::as_array).into_iter().flatten()
}

fn finalizers(object: &Value, found: &mut Vec<String>) {
    let Some(metadata) = object.get("metadata") else { return };
    for finalizer in list(metadata, "finalizers").filter_map(Value::as_str) {
        if !finalizer.contains('/') && !matches!(finalizer, "orphan" | "foregroundDeletion" | "kubernetes") {
            found.push(format!(
                "metadata.finalizers: {finalizer:?}: prefer a domain-qualified finalizer name including a path (/) to avoid \
                 accidental conflicts with other finalizer writers"
            ));
        }
    }
}

/// Names that become host names of pods.
fn name(kind: &Kind, object: &Value, found: &mut Vec<String>) {
    let name = object.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
    let wrong = names::dns_label(name);
    if wrong.is_empty() || kind.kind == "PodTemplate" {
        return;
    }
    let used = if kind.kind == "Pod" { "the Pod's hostname" } else { "Pod names and hostnames" };
    found.push(format!(
        "metadata.name: this is used in {used}, which can result in surprising behavior; a DNS label is recommended: [{}]",
        wrong.join(" ")
    ));
}

/// Volumes that are deprecated or gone: field, what to say.
const VOLUMES: &[(&str, &str)] = &[
    ("photonPersistentDisk", "deprecated in v1.11, non-functional in v1.16+"),
    ("gitRepo", "deprecated in v1.11, and disabled by default in v1.33+"),
    ("scaleIO", "deprecated in v1.16, non-functional in v1.22+"),
    ("flocker", "deprecated in v1.22, non-functional in v1.25+"),
    ("storageos", "deprecated in v1.22, non-functional in v1.25+"),
    ("quobyte", "deprecated in v1.22, non-functional in v1.25+"),
    ("glusterfs", "deprecated in v1.25, non-functional in v1.26+"),
    ("cephfs", "deprecated in v1.28, non-functional in v1.31+"),
    ("rbd", "deprecated in v1.28, non-functional in v1.31+"),
];

/// Annotations that have become fields.
const ANNOTATIONS: &[(&str, &str)] = &[
    (
        "scheduler.alpha.kubernetes.io/critical-pod",
        "non-functional in v1.16+; use the \"priorityClassName\" field instead",
    ),
    ("security.alpha.kubernetes.io/sysctls", "non-functional in v1.11+; use the \"sysctls\" field instead"),
    ("security.alpha.kubernetes.io/unsafe-sysctls", "non-functional in v1.11+; use the \"sysctls\" field instead"),
    ("seccomp.security.alpha.kubernetes.io/pod", "non-functional in v1.27+; use the \"seccompProfile\" field instead"),
];

/// Labels of nodes that have another name now.
const NODE_LABELS: &[(&str, &str)] = &[
    ("beta.kubernetes.io/arch", "deprecated since v1.14; use \"kubernetes.io/arch\" instead"),
    ("beta.kubernetes.io/os", "deprecated since v1.14; use \"kubernetes.io/os\" instead"),
    ("beta.kubernetes.io/instance-type", "deprecated since v1.17; use \"node.kubernetes.io/instance-type\" instead"),
    (
        "failure-domain.beta.kubernetes.io/region",
        "deprecated since v1.17; use \"topology.kubernetes.io/region\" instead",
    ),
    ("failure-domain.beta.kubernetes.io/zone", "deprecated since v1.17; use \"topology.kubernetes.io/zone\" instead"),
];

fn node_label(label: &str) -> Option<&'static str> {
    NODE_LABELS.iter().find(|(old, _)| *old == label).map(|(_, why)| *why)
}

/// What is said of pods; `place` is where the pod or template is, as a pointer.
fn pod(object: &Value, place: &str, found: &mut Vec<String>) {
    let Some(pod) = object.pointer(place) else { return };
    let Some(spec) = pod.get("spec") else { return };
    let dotted = place.trim_start_matches('/').replace('/', ".");
    let at = if dotted.is_empty() { "spec".to_owned() } else { format!("{dotted}.spec") };
    let above = at.trim_end_matches("spec");
    for label in spec.get("nodeSelector").and_then(Value::as_object).into_iter().flat_map(|labels| labels.keys()) {
        found.extend(node_label(label).map(|why| format!("{at}.nodeSelector[{label}]: {why}")));
    }
    for (index, constraint) in list(spec, "topologySpreadConstraints").enumerate() {
        let (at, key) = (format!("{at}.topologySpreadConstraints[{index}]"), text(constraint, "topologyKey"));
        found.extend(node_label(key).map(|why| format!("{at}.topologyKey: {key} is {why}")));
        if constraint.get("labelSelector").is_none() {
            found.push(format!("{at}.labelSelector: a null labelSelector results in matching no pod"));
        }
    }
    for (name, why) in ANNOTATIONS {
        if annotation(pod, name) {
            found.push(format!("{above}metadata.annotations[{name}]: {why}"));
        }
    }
    for (index, volume) in list(spec, "volumes").enumerate() {
        let gone = VOLUMES.iter().filter(|(source, _)| volume.get(*source).is_some());
        found.extend(gone.map(|(source, why)| format!("{at}.volumes[{index}].{source}: {why}")));
    }
    twice(spec, &at, "hostAliases", "ip", "duplicate ip", found);
    twice(spec, &at, "imagePullSecrets", "name", "duplicate name", found);
    for (index, secret) in list(spec, "imagePullSecrets").enumerate() {
        if text(secret, "name").is_empty() {
            found.push(format!("{at}.imagePullSecrets[{index}].name: invalid empty name \"\""));
        }
    }
    let mut ports = HashMap::new();
    for kind in ["initContainers", "containers", "ephemeralContainers"] {
        for (index, container) in list(spec, kind).enumerate() {
            self::container(container, &format!("{at}.{kind}[{index}]"), &mut ports, found);
        }
    }
    if spec.get("terminationGracePeriodSeconds").and_then(Value::as_i64).is_some_and(|seconds| seconds < 0) {
        found.push(format!(
            "{at}.terminationGracePeriodSeconds: must be >= 0; negative values are invalid and will be treated as 1"
        ));
    }
}

/// Elements of a list that say the same.
fn twice(spec: &Value, at: &str, field: &str, key: &str, words: &str, found: &mut Vec<String>) {
    let mut seen = Vec::new();
    for (index, element) in list(spec, field).enumerate() {
        let value = text(element, key);
        if seen.contains(&value) {
            found.push(format!("{at}.{field}[{index}].{key}: {words} {value:?}"));
        }
        seen.push(value);
    }
}

/// A port, and where it was defined first with which address and port of the host.
type Ports = HashMap<(i64, String), Vec<(String, String, i64)>>;

fn container(container: &Value, at: &str, ports: &mut Ports, found: &mut Vec<String>) {
    for (list, amounts) in container.get("resources").and_then(Value::as_object).into_iter().flatten() {
        for name in ["memory", "ephemeral-storage"] {
            let amount = amounts.get(name).and_then(Value::as_str).and_then(|text| text.parse::<Quantity>().ok());
            if let Some(amount) = amount.filter(|amount| amount.millis() % 1000 != 0) {
                let shown = amount.to_string();
                found.push(format!(
                    "{at}.resources.{list}[{name}]: fractional byte value {shown:?} is invalid, must be an integer"
                ));
            }
        }
    }
    let mut seen = Vec::new();
    for (index, variable) in list(container, "env").enumerate() {
        let name = text(variable, "name");
        let own = format!("$({name})");
        let value = text(variable, "value");
        let hides = variable.get("valueFrom").is_some() || value == own || !value.contains(&own);
        if seen.contains(&name) && hides {
            found.push(format!(
                "{at}.env[{index}]: hides previous definition of {name:?}, which may be dropped when using apply"
            ));
        }
        seen.push(name);
    }
    for (index, port) in list(container, "ports").enumerate() {
        let at = format!("{at}.ports[{index}]");
        let number = |field: &str| port.get(field).and_then(Value::as_i64).unwrap_or(0);
        let (ip, host) = (text(port, "hostIP").to_owned(), number("hostPort"));
        let others = ports.entry((number("containerPort"), text(port, "protocol").to_owned())).or_default();
        for (other, other_ip, other_host) in others.iter() {
            if (&ip, host) == (other_ip, *other_host) {
                found.push(format!("{at}: duplicate port definition with {other}"));
            } else if host == 0 || *other_host == 0 {
                found.push(format!("{at}: overlapping port definition with {other}"));
            }
        }
        others.push((at, ip, host));
    }
}

fn service(object: &Value, found: &mut Vec<String>) {
    let Some(spec) = object.get("spec") else { return };
    for ip in list(spec, "externalIPs").filter_map(Value::as_str) {
        if let Ok(parsed) = ip.parse::<std::net::IpAddr>()
            && parsed.to_string() != ip
        {
            found.push(format!("spec.externalIPs: non-standard IP address {ip:?} will be considered invalid in a future Kubernetes release: use {:?}", parsed.to_string()));
        }
    }
    if text(spec, "type") == "ExternalName" && list(spec, "externalIPs").count() > 0 {
        found.push("spec.externalIPs is ignored when spec.type is \"ExternalName\"".to_owned());
    }
    if text(spec, "type") == "ExternalName" && text(spec, "sessionAffinity") == "ClientIP" {
        found.push("spec.SessionAffinity is ignored for ExternalName services".to_owned());
    }
    if text(spec, "clusterIP") == "None" {
        if !text(spec, "loadBalancerIP").is_empty() {
            found.push("spec.loadBalancerIP is ignored for headless services".to_owned());
        }
        if list(spec, "externalIPs").count() > 0 {
            found.push("spec.externalIPs is ignored for headless services".to_owned());
        }
        if text(spec, "sessionAffinity") == "ClientIP" {
            found.push("spec.SessionAffinity is ignored for headless services".to_owned());
        }
    }
}

fn volume(object: &Value, found: &mut Vec<String>) {
    for (name, instead) in [
        (
            "volume.beta.kubernetes.io/storage-class",
            "deprecated since v1.8; use \"storageClassName\" attribute instead",
        ),
        ("volume.beta.kubernetes.io/mount-options", "deprecated since v1.31; use \"mountOptions\" attribute instead"),
    ] {
        if annotation(object, name) {
            found.push(format!("metadata.annotations[{name}]: {instead}"));
        }
    }
    let Some(spec) = object.get("spec") else { return };
    if text(spec, "persistentVolumeReclaimPolicy") == "Recycle" {
        let why = "The Recycle reclaim policy is deprecated. Instead, the recommended approach is to use dynamic provisioning.";
        found.push(format!("spec.persistentVolumeReclaimPolicy: {why}"));
    }
    for (source, why) in VOLUMES.iter().filter(|(source, _)| spec.get(*source).is_some()) {
        found.push(format!("spec.{source}: {why}"));
    }
    let request = spec.pointer("/resources/requests/storage").and_then(Value::as_str);
    if let Some(amount) = request.and_then(|text| text.parse::<Quantity>().ok()).filter(|a| a.millis() % 1000 != 0) {
        let shown = amount.to_string();
        found.push(format!(
            "spec.resources.requests[storage]: fractional byte value {shown:?} is invalid, must be an integer"
        ));
    }
}

#[cfg(test)]
mod tests {
    use objects::kinds;

    use super::*;

    fn warned(group: &str, kind: &str, object: Value) -> Vec<String> {
        of(kinds::by_kind(group, "v1", kind).unwrap(), &object)
    }

    #[test]
    fn pods_are_warned_about_what_is_old_or_said_twice() {
        let template = json!({"spec": {"nodeSelector": {"beta.kubernetes.io/os": "linux"}, "volumes": [{"name": "v", "gitRepo": {}}],
            "containers": [{"name": "a", "env": [{"name": "X", "value": "1"}, {"name": "X", "value": "2"}, {"name": "X", "value": "$(X)3"}],
                "ports": [{"containerPort": 80, "protocol": "TCP"}], "resources": {"limits": {"memory": "1500m"}}},
                {"name": "b", "ports": [{"containerPort": 80, "protocol": "TCP"}]}]}});
        let found = warned("apps", "Deployment", json!({"metadata": {"name": "d"}, "spec": {"template": template}}));
        let expected = [
            "spec.template.spec.nodeSelector[beta.kubernetes.io/os]: deprecated since v1.14; use \"kubernetes.io/os\" instead",
            "spec.template.spec.volumes[0].gitRepo: deprecated in v1.11, and disabled by default in v1.33+",
            "spec.template.spec.containers[0].resources.limits[memory]: fractional byte value \"1500m\" is invalid, must be an integer",
            "spec.template.spec.containers[0].env[1]: hides previous definition of \"X\", which may be dropped when using apply",
            "spec.template.spec.containers[1].ports[0]: duplicate port definition with spec.template.spec.containers[0].ports[0]",
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn names_and_finalizers_that_make_trouble_later_are_named() {
        let found = warned("", "Pod", json!({"metadata": {"name": "a.b", "finalizers": ["mine", "a/b"]}, "spec": {}}));
        assert!(found[0].starts_with("metadata.finalizers: \"mine\": prefer a domain-qualified"), "{found:?}");
        assert!(found[1].starts_with("metadata.name: this is used in the Pod's hostname"), "{found:?}");
        assert_eq!(found.len(), 2);
    }

    #[test]
    fn an_old_annotation_of_an_ingress_is_named() {
        let object = json!({"metadata": {"name": "i", "annotations": {"kubernetes.io/ingress.class": "nginx"}}});
        assert!(
            warned("networking.k8s.io", "Ingress", object)[0].contains("please use 'spec.ingressClassName' instead")
        );
    }
}
