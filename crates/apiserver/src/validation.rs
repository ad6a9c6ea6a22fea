//! What an object may say: upstream's validation, kind by kind, in its words.

use objects::{kinds::Kind, names, selector::Labels};
use serde_json::{Value, json};

use crate::{registry::meta, status::Cause};

/// What is wrong with a new object.
pub fn create(kind: &Kind, object: &Value) -> Vec<Cause> {
    let mut causes = metadata(kind, object);
    causes.extend(spec(kind, object));
    causes
}

/// What is wrong with a change of an object.
pub fn update(kind: &Kind, new: &Value, old: &Value) -> Vec<Cause> {
    let mut causes = create(kind, new);
    let immutable: &[&str] = match kind.kind {
        "Deployment" | "ReplicaSet" => &["/spec/selector"],
        "Service" => &["/spec/clusterIP"],
        "Secret" => &["/type"],
        _ => &[],
    };
    for pointer in immutable {
        if old.pointer(pointer).is_some() && old.pointer(pointer) != new.pointer(pointer) {
            let field = pointer.trim_start_matches('/').replace('/', ".");
            causes.push(Cause::invalid(field, new.pointer(pointer).unwrap_or(&Value::Null), "field is immutable"));
        }
    }
    if matches!(kind.kind, "ConfigMap" | "Secret") && old.get("immutable") == Some(&json!(true)) {
        let frozen = ["data", "binaryData", "immutable"].into_iter().filter(|field| old.get(*field) != new.get(*field));
        causes.extend(frozen.map(|field| Cause {
            reason: "FieldValueForbidden",
            message: "Forbidden: field is immutable when `immutable` is set".to_owned(),
            field: field.to_owned(),
        }));
    }
    causes
}

fn metadata(kind: &Kind, object: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    let name = meta::text(object, "name");
    let check: fn(&str) -> Vec<String> = match kind.kind {
        "Namespace" => names::dns_label,
        "Service" => names::dns_1035_label,
        _ => names::dns_subdomain,
    };
    causes.extend(check(name).iter().map(|wrong| Cause::invalid("metadata.name", &json!(name), wrong)));
    for (field, values) in [("labels", true), ("annotations", false)] {
        let entries = object.pointer(&format!("/metadata/{field}")).and_then(Value::as_object);
        for (key, value) in entries.into_iter().flatten() {
            let path = format!("metadata.{field}");
            causes.extend(names::qualified_name(key).iter().map(|wrong| Cause::invalid(&path, &json!(key), wrong)));
            let text = value.as_str().unwrap_or_default();
            if values {
                causes.extend(names::label_value(text).iter().map(|wrong| Cause::invalid(&path, value, wrong)));
            }
        }
    }
    causes
}

fn spec(kind: &Kind, object: &Value) -> Vec<Cause> {
    let at = |pointer: &str| object.pointer(pointer).unwrap_or(&Value::Null);
    match kind.kind {
        "Pod" => pod_spec(at("/spec"), "spec"),
        "Deployment" | "ReplicaSet" => workload(object),
        "Service" => service(at("/spec")),
        "Gateway" => gateway(at("/spec")),
        _ => Vec::new(),
    }
}

fn workload(object: &Value) -> Vec<Cause> {
    let at = |pointer: &str| object.pointer(pointer).unwrap_or(&Value::Null);
    let mut causes = Vec::new();
    if at("/spec/replicas").as_i64().is_some_and(|replicas| replicas < 0) {
        causes.push(Cause::invalid("spec.replicas", at("/spec/replicas"), "must be greater than or equal to 0"));
    }
    let selector = serde_json::from_value(at("/spec/selector").clone()).ok();
    match selector.as_ref().and_then(|selector| Labels::from_selector(selector).ok()) {
        None => causes.push(Cause::required("spec.selector", "")),
        Some(selector) if selector.is_empty() => {
            let message = "empty selector is invalid for deployment";
            causes.push(Cause::invalid("spec.selector", at("/spec/selector"), message));
        }
        Some(selector) if !selector.matches(&meta::labels(at("/spec/template"))) => {
            let labels = at("/spec/template/metadata/labels");
            let message = "`selector` does not match template `labels`";
            causes.push(Cause::invalid("spec.template.metadata.labels", labels, message));
        }
        Some(_) => {}
    }
    if at("/spec/template/spec/restartPolicy").as_str().is_some_and(|policy| policy != "Always") {
        let policy = at("/spec/template/spec/restartPolicy");
        let message = format!("Unsupported value: {policy}: supported values: \"Always\"");
        let field = "spec.template.spec.restartPolicy".to_owned();
        causes.push(Cause { reason: "FieldValueNotSupported", message, field });
    }
    causes.extend(pod_spec(at("/spec/template/spec"), "spec.template.spec"));
    causes
}

fn elements<'a>(value: &'a Value, field: &str) -> impl Iterator<Item = &'a Value> {
    value.get(field).and_then(Value::as_array).into_iter().flatten()
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value.get(field).and_then(Value::as_str).unwrap_or_default()
}

fn duplicate(field: String, value: &str) -> Cause {
    Cause { reason: "FieldValueDuplicate", message: format!("Duplicate value: {value:?}"), field }
}

fn pod_spec(spec: &Value, path: &str) -> Vec<Cause> {
    let mut causes = Vec::new();
    if elements(spec, "containers").next().is_none() {
        causes.push(Cause::required(format!("{path}.containers"), ""));
    }
    let volumes: Vec<&str> = elements(spec, "volumes").map(|volume| text(volume, "name")).collect();
    let mut seen = Vec::new();
    for list in ["containers", "initContainers"] {
        for (index, container) in elements(spec, list).enumerate() {
            let path = format!("{path}.{list}[{index}]");
            let name = text(container, "name");
            if seen.contains(&name) {
                causes.push(duplicate(format!("{path}.name"), name));
            }
            seen.push(name);
            causes.extend(self::container(container, &path, &volumes));
        }
    }
    causes
}

fn container(container: &Value, path: &str, volumes: &[&str]) -> Vec<Cause> {
    let mut causes = Vec::new();
    let name = text(container, "name");
    if name.is_empty() {
        causes.push(Cause::required(format!("{path}.name"), ""));
    } else {
        let wrong = names::dns_label(name);
        causes.extend(wrong.iter().map(|wrong| Cause::invalid(format!("{path}.name"), &json!(name), wrong)));
    }
    if text(container, "image").is_empty() {
        causes.push(Cause::required(format!("{path}.image"), ""));
    }
    for (index, port) in elements(container, "ports").enumerate() {
        causes.extend(port_number(port.get("containerPort"), format!("{path}.ports[{index}].containerPort")));
    }
    for (index, mount) in elements(container, "volumeMounts").enumerate() {
        let name = text(mount, "name");
        if !volumes.contains(&name) {
            let field = format!("{path}.volumeMounts[{index}].name");
            causes.push(Cause { reason: "FieldValueNotFound", message: format!("Not found: {name:?}"), field });
        }
        if text(mount, "mountPath").is_empty() {
            causes.push(Cause::required(format!("{path}.volumeMounts[{index}].mountPath"), ""));
        }
    }
    for (group, limits) in [("requests", false), ("limits", true)] {
        let amounts = container.pointer(&format!("/resources/{group}")).and_then(Value::as_object);
        for (resource, amount) in amounts.into_iter().flatten() {
            let field = format!("{path}.resources.{group}[{resource}]");
            causes.extend(quantity(container, resource, amount, field, limits));
        }
    }
    causes
}

fn quantity(container: &Value, resource: &str, amount: &Value, field: String, is_limit: bool) -> Option<Cause> {
    let parse = |value: &Value| {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        text.parse::<objects::quantity::Quantity>()
    };
    let parsed = match parse(amount) {
        Ok(parsed) => parsed,
        Err(error) => return Some(Cause::invalid(field, amount, &error.to_string())),
    };
    if parsed.is_negative() {
        return Some(Cause::invalid(field, amount, "must be greater than or equal to 0"));
    }
    let limit = container.pointer("/resources/limits").and_then(|limits| limits.get(resource));
    let limit = limit.filter(|_| !is_limit).and_then(|limit| parse(limit).ok())?;
    let message = format!("must be less than or equal to {resource} limit of {limit}");
    (parsed > limit).then(|| Cause::invalid(field, amount, &message))
}

fn port_number(port: Option<&Value>, field: String) -> Option<Cause> {
    match port.and_then(Value::as_i64) {
        Some(1..=65535) => None,
        Some(number) => Some(Cause::invalid(field, &json!(number), "must be between 1 and 65535, inclusive")),
        None => Some(Cause::required(field, "")),
    }
}

fn service(spec: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    let count = elements(spec, "ports").count();
    let headless = text(spec, "clusterIP") == "None";
    if count == 0 && !headless && text(spec, "type") != "ExternalName" {
        causes.push(Cause::required("spec.ports", ""));
    }
    let mut seen = Vec::new();
    for (index, port) in elements(spec, "ports").enumerate() {
        let path = format!("spec.ports[{index}]");
        causes.extend(port_number(port.get("port"), format!("{path}.port")));
        let name = text(port, "name");
        if name.is_empty() && count > 1 {
            causes.push(Cause::required(format!("{path}.name"), ""));
        }
        if !name.is_empty() && seen.contains(&name) {
            causes.push(duplicate(format!("{path}.name"), name));
        }
        seen.push(name);
    }
    causes
}

fn gateway(spec: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    if text(spec, "gatewayClassName").is_empty() {
        causes.push(Cause::required("spec.gatewayClassName", ""));
    }
    if elements(spec, "listeners").next().is_none() {
        causes.push(Cause::required("spec.listeners", ""));
    }
    let mut seen = Vec::new();
    for (index, listener) in elements(spec, "listeners").enumerate() {
        let path = format!("spec.listeners[{index}]");
        causes.extend(port_number(listener.get("port"), format!("{path}.port")));
        let name = text(listener, "name");
        if seen.contains(&name) {
            causes.push(Cause::invalid(&path, &json!(name), "Listener name must be unique within the Gateway"));
        }
        seen.push(name);
    }
    causes
}

#[cfg(test)]
mod tests {
    use objects::kinds;

    use super::*;

    fn wrong(group: &str, kind: &str, object: Value) -> Vec<String> {
        create(kinds::by_kind(group, "v1", kind).unwrap(), &object).into_iter().map(|c| c.field).collect()
    }

    #[test]
    fn a_deployment_must_select_its_own_pods() {
        let deployment = |selector: Value| {
            json!({"metadata": {"name": "a"}, "spec": {"selector": selector, "template": {"metadata": {"labels": {"app": "a"}},
                "spec": {"containers": [{"name": "a", "image": "b"}]}}}})
        };
        assert!(wrong("apps", "Deployment", deployment(json!({"matchLabels": {"app": "a"}}))).is_empty());
        let other = wrong("apps", "Deployment", deployment(json!({"matchLabels": {"app": "b"}})));
        assert_eq!(other, ["spec.template.metadata.labels"]);
    }

    #[test]
    fn a_pods_mistakes_are_named_by_their_paths() {
        let container = json!({"name": "A", "volumeMounts": [{"name": "v", "mountPath": "/v"}],
            "resources": {"requests": {"cpu": "2"}, "limits": {"cpu": "1", "memory": "x"}}});
        let found = wrong("", "Pod", json!({"metadata": {"name": "p"}, "spec": {"containers": [container]}}));
        let expected = [
            "spec.containers[0].name",
            "spec.containers[0].image",
            "spec.containers[0].volumeMounts[0].name",
            "spec.containers[0].resources.requests[cpu]",
            "spec.containers[0].resources.limits[memory]",
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn what_may_not_change_is_said() {
        let services = kinds::by_kind("", "v1", "Service").unwrap();
        let service = |ip: &str| json!({"metadata": {"name": "s"}, "spec": {"clusterIP": ip, "ports": [{"port": 80}]}});
        let causes = update(services, &service("10.43.0.2"), &service("10.43.0.1"));
        assert_eq!(causes.len(), 1);
        assert!(causes[0].message.ends_with("field is immutable"));
    }
}
