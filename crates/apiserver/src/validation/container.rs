//! Containers: images, ports, environment, mounts, probes, resources, privileges.

use objects::{names, quantity::Quantity};
use serde_json::{Value, json};

use super::{
    at::{At, duplicates},
    security,
};
use crate::status::Cause;

/// What of a pod its containers depend on.
#[derive(Debug)]
pub(super) struct Around<'a> {
    /// The volumes' names.
    volumes: Vec<&'a str>,
    /// Whether the containers' ports are the node's.
    on_host: bool,
    /// Seconds for which the pod may end; `None` where that cannot be said.
    grace: Option<i64>,
}

impl<'a> Around<'a> {
    /// Of a pod's spec, and the names of all its volumes.
    pub(super) fn of(spec: &At<'a>, volumes: Vec<&'a str>) -> Self {
        let grace = spec.field("terminationGracePeriodSeconds").number();
        Self { volumes, on_host: spec.field("hostNetwork").is_true(), grace }
    }
}

pub(super) fn check(container: &At<'_>, around: &Around<'_>, init: bool, causes: &mut Vec<Cause>) {
    causes.extend(container.field("name").must_be_named(names::dns_label));
    let image = container.field("image");
    causes.extend(image.must_be_set());
    if image.text() != image.text().trim() {
        causes.push(image.invalid("must not have leading or trailing whitespace"));
    }
    causes.extend(container.field("imagePullPolicy").one_of(&["Always", "IfNotPresent", "Never"]));
    causes.extend(container.field("terminationMessagePolicy").one_of(&["FallbackToLogsOnError", "File"]));
    ports(container, around.on_host, causes);
    environment(container, causes);
    mounts(container, &around.volumes, causes);
    devices(container, &around.volumes, causes);
    resources(&container.field("resources"), causes);
    security::of_container(&container.field("securityContext"), causes);
    let policy = container.field("restartPolicy");
    let sidecar = init && policy.text() == "Always";
    if init {
        causes.extend(policy.one_of(&["Always"]));
    } else if policy.is_set() {
        causes.push(policy.forbidden("may not be set for non-init containers"));
    }
    for name in ["lifecycle", "livenessProbe", "readinessProbe", "startupProbe"] {
        let part = container.field(name);
        match name {
            _ if !part.is_set() => {}
            _ if init && !sidecar => {
                causes.push(part.forbidden("may not be set for init containers without restartPolicy=Always"));
            }
            "lifecycle" => {
                for hook in ["postStart", "preStop"] {
                    let hook = part.field(hook);
                    if hook.is_set() {
                        handler(&hook, &["exec", "httpGet", "tcpSocket", "sleep"], causes);
                        causes.extend(sleep(&hook.field("sleep"), around.grace));
                    }
                }
            }
            _ => probe(&part, name, causes),
        }
    }
}

fn ports(container: &At<'_>, on_host: bool, causes: &mut Vec<Cause>) {
    for port in container.each("ports") {
        let (name, number, host) = (port.field("name"), port.field("containerPort"), port.field("hostPort"));
        if !name.text().is_empty() {
            causes.extend(name.named(names::port_name));
        }
        causes.extend(number.port_number());
        if host.number().is_some_and(|host| host != 0) {
            causes.extend(host.port_number());
            if on_host && host.value != number.value {
                causes.push(host.invalid("must match `containerPort` when `hostNetwork` is true"));
            }
        }
        causes.extend(port.field("protocol").one_of(&["SCTP", "TCP", "UDP"]));
    }
    let named = container.each("ports").map(|port| port.field("name")).filter(|name| !name.text().is_empty());
    causes.extend(duplicates(named));
}

const POD_FIELDS: &[&str] = &[
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];
const RESOURCE_FIELDS: &[&str] = &[
    "limits.cpu",
    "limits.ephemeral-storage",
    "limits.memory",
    "requests.cpu",
    "requests.ephemeral-storage",
    "requests.memory",
];
const REFERENCES: &[&str] = &["fieldRef", "resourceFieldRef", "configMapKeyRef", "secretKeyRef"];

fn environment(container: &At<'_>, causes: &mut Vec<Cause>) {
    for variable in container.each("env") {
        causes.extend(variable.field("name").must_be_named(names::environment_variable));
        let from = variable.field("valueFrom");
        if from.is_set() {
            value_from(&from, !variable.field("value").text().is_empty(), causes);
        }
    }
    for from in container.each("envFrom") {
        let prefix = from.field("prefix");
        if !prefix.text().is_empty() {
            causes.extend(prefix.named(names::environment_variable));
        }
        let set = ["configMapRef", "secretRef"].map(|name| from.field(name)).into_iter().filter(At::is_set);
        match set.collect::<Vec<_>>().as_slice() {
            [] => causes.push(empty(&from, "must specify one of: `configMapRef` or `secretRef`")),
            [one] => causes.extend(one.field("name").must_be_set()),
            _ => causes.push(empty(&from, "may not have more than one field specified at a time")),
        }
    }
}

/// A mistake of which upstream does not show the value.
fn empty(at: &At<'_>, why: &str) -> Cause {
    Cause::invalid(&at.path, &json!(""), why)
}

fn value_from(from: &At<'_>, has_value: bool, causes: &mut Vec<Cause>) {
    let set: Vec<At<'_>> = REFERENCES.iter().map(|name| from.field(name)).filter(At::is_set).collect();
    match set.as_slice() {
        [] => {
            let why = "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef` or `secretKeyRef`";
            causes.push(empty(from, why));
        }
        _ if has_value => causes.push(empty(from, "may not be specified when `value` is not empty")),
        [reference] => match reference.path.rsplit('.').next().unwrap_or_default() {
            "fieldRef" => field_path(&reference.field("fieldPath"), causes),
            "resourceFieldRef" => causes.extend(reference.field("resource").must_be_one_of(RESOURCE_FIELDS)),
            _ => {
                causes.extend(reference.field("name").must_be_set());
                causes.extend(reference.field("key").must_be_named(names::config_key));
            }
        },
        _ => causes.push(empty(from, "may not have more than one field specified at a time")),
    }
}

fn field_path(path: &At<'_>, causes: &mut Vec<Cause>) {
    let text = path.text();
    let subscripted = ["metadata.annotations['", "metadata.labels['"].iter().any(|start| text.starts_with(start));
    if text.is_empty() {
        causes.push(path.required(""));
    } else if !(POD_FIELDS.contains(&text) || subscripted && text.ends_with("']")) {
        causes.push(path.invalid(&format!("error converting fieldPath: field label not supported: {text}")));
    }
}

fn mounts(container: &At<'_>, volumes: &[&str], causes: &mut Vec<Cause>) {
    let mut seen = Vec::new();
    for mount in container.each("volumeMounts") {
        let (name, path, sub) = (mount.field("name"), mount.field("mountPath"), mount.field("subPath"));
        match name.text() {
            "" => causes.push(name.required("")),
            text if !volumes.contains(&text) => causes.push(Cause::not_found(&name.path, name.value)),
            _ => {}
        }
        causes.extend(path.must_be_set());
        if seen.contains(&path.text()) {
            causes.push(path.invalid("must be unique"));
        }
        seen.push(path.text());
        causes.extend(sub.local_path());
        causes.extend(mount.field("subPathExpr").local_path());
        let flow = mount.field("mountPropagation");
        causes.extend(flow.one_of(&["Bidirectional", "HostToContainer", "None"]));
        let privileged = container.field("securityContext").field("privileged").is_true();
        if flow.text() == "Bidirectional" && !privileged {
            causes.push(flow.forbidden("Bidirectional mount propagation is available only to privileged containers"));
        }
        if !sub.text().is_empty() && !mount.field("subPathExpr").text().is_empty() {
            causes.push(mount.field("subPathExpr").invalid("subPathExpr and subPath are mutually exclusive"));
        }
    }
}

/// Volumes that a container sees as devices.
fn devices(container: &At<'_>, volumes: &[&str], causes: &mut Vec<Cause>) {
    let (mut names, mut paths) = (Vec::new(), Vec::new());
    let mounted =
        |field: &str, text: &str| container.each("volumeMounts").any(|mount| mount.field(field).text() == text);
    for device in container.each("volumeDevices") {
        let (name, path) = (device.field("name"), device.field("devicePath"));
        match name.text() {
            "" => causes.push(name.required("")),
            text if !volumes.contains(&text) => causes.push(Cause::not_found(&name.path, name.value)),
            _ => {}
        }
        causes.extend(path.must_be_set());
        if path.no_steps_up().is_some() {
            causes.push(path.invalid("can not contain backsteps ('..')"));
        }
        for (field, seen) in [(&name, &mut names), (&path, &mut paths)] {
            if seen.contains(&field.text()) {
                causes.push(field.invalid("must be unique"));
            }
            seen.push(field.text());
        }
        if mounted("name", name.text()) {
            causes.push(name.invalid("must not already exist in volumeMounts"));
        }
        if mounted("mountPath", path.text()) {
            causes.push(path.invalid("must not already exist as a path in volumeMounts"));
        }
    }
}

/// A hook may not sleep for longer than the pod may take to end.
fn sleep(sleep: &At<'_>, grace: Option<i64>) -> Option<Cause> {
    let (seconds, grace) = (sleep.field("seconds"), grace.filter(|_| sleep.is_set())?);
    let wrong = !(0..=grace).contains(&seconds.number().unwrap_or(0));
    let why = format!("must be non-negative and less than terminationGracePeriodSeconds ({grace})");
    wrong.then(|| Cause::invalid(&sleep.path, seconds.value, &why))
}

/// Handlers, of which a probe or hook has one.
fn handler(part: &At<'_>, kinds: &[&str], causes: &mut Vec<Cause>) {
    let set: Vec<(&str, At<'_>)> =
        kinds.iter().map(|kind| (*kind, part.field(kind))).filter(|(_, handler)| handler.is_set()).collect();
    match set.as_slice() {
        [] => causes.push(part.required("must specify a handler type")),
        [(kind, handler)] => match *kind {
            "exec" if handler.field("command").len() == 0 => causes.push(handler.field("command").required("")),
            "httpGet" => {
                causes.extend(handler.field("path").must_be_set());
                causes.extend(handler.field("port").port());
                causes.extend(handler.field("scheme").one_of(&["HTTP", "HTTPS"]));
                for header in handler.each("httpHeaders") {
                    let (list, name) = (handler.field("httpHeaders").path, header.field("name"));
                    let wrong = names::http_header(name.text());
                    causes.extend(wrong.iter().map(|wrong| Cause::invalid(&list, &name.text().into(), wrong)));
                }
            }
            "tcpSocket" => causes.extend(handler.field("port").port()),
            "grpc" => causes.extend(handler.field("port").port_number()),
            _ => {}
        },
        [_, more @ ..] => {
            let why = "may not specify more than 1 handler type";
            causes.extend(more.iter().map(|(_, handler)| handler.forbidden(why)));
        }
    }
}

fn probe(probe: &At<'_>, name: &str, causes: &mut Vec<Cause>) {
    handler(probe, &["exec", "httpGet", "tcpSocket", "grpc"], causes);
    for field in ["initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold"] {
        causes.extend(probe.field(field).not_negative());
    }
    let (success, grace) = (probe.field("successThreshold"), probe.field("terminationGracePeriodSeconds"));
    if name == "readinessProbe" {
        if grace.is_set() {
            causes.push(grace.invalid("must not be set for readinessProbes"));
        }
        return;
    }
    if success.number().is_some_and(|number| number != 1) {
        causes.push(success.invalid("must be 1"));
    }
    causes.extend(grace.at_least(1, "must be greater than 0"));
}

const STANDARD: &[&str] = &["cpu", "memory", "ephemeral-storage"];

fn resources(resources: &At<'_>, causes: &mut Vec<Cause>) {
    let (limits, requests) = (resources.field("limits"), resources.field("requests"));
    for (list, amounts) in [("limits", &limits), ("requests", &requests)] {
        for (name, amount) in amounts.clone().entries() {
            resource_name(name, &amount.path, causes);
            let Some(parsed) = quantity(amount.value) else {
                causes.push(amount.invalid(&objects::quantity::NotAQuantity.to_string()));
                continue;
            };
            if parsed.is_negative() {
                causes.push(amount.invalid("must be greater than or equal to 0"));
                continue;
            }
            if name.contains('/') && !is_native(name) && parsed.millis() % 1000 != 0 {
                causes.push(amount.invalid("must be an integer"));
            }
            let limit = limits.value.get(name).and_then(quantity);
            match limit.filter(|_| list == "requests") {
                Some(limit) if parsed != limit && !may_be_shared(name) => {
                    let why = format!("must be equal to {name} limit of {limit}");
                    causes.push(Cause::invalid(&amounts.path, amount.value, &why));
                }
                Some(limit) if parsed > limit => {
                    let why = format!("must be less than or equal to {name} limit of {limit}");
                    causes.push(Cause::invalid(&amounts.path, amount.value, &why));
                }
                None if list == "requests" && !may_be_shared(name) => {
                    causes.push(limits.required("Limit must be set for non overcommitable resources"));
                }
                _ => {}
            }
        }
    }
    let says =
        |is: fn(&str) -> bool| [&limits, &requests].into_iter().any(|of| of.clone().entries().any(|(k, _)| is(k)));
    if says(|name| name.starts_with(HUGE)) && !says(|name| matches!(name, "cpu" | "memory")) {
        causes.push(resources.forbidden("HugePages require cpu or memory"));
    }
}

const HUGE: &str = "hugepages-";

/// Whether a resource is one of Kubernetes itself.
fn is_native(name: &str) -> bool {
    !name.contains('/') || name.contains("kubernetes.io/")
}

/// Whether more of a resource may be promised than there is. Of what nodes offer beyond the machine's own, such as devices, and of
/// huge pages, everybody has what is theirs alone.
fn may_be_shared(name: &str) -> bool {
    is_native(name) && !name.starts_with(HUGE)
}

fn quantity(value: &Value) -> Option<Quantity> {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned).parse().ok()
}

fn resource_name(name: &str, path: &str, causes: &mut Vec<Cause>) {
    let wrong = names::qualified_name(name);
    causes.extend(wrong.iter().map(|wrong| Cause::invalid(path, &json!(name), wrong)));
    if wrong.is_empty() && !name.contains('/') && !STANDARD.contains(&name) && !name.starts_with("hugepages-") {
        causes.push(Cause::invalid(path, &json!(name), "must be a standard resource for containers"));
    }
}
