//! What an update may not change.

use serde_json::{Value, json};

use super::at::At;
use crate::status::Cause;

/// A field that may not change, whether it was set or not; in `dotted.notation`.
pub(super) fn immutable(new: &Value, old: &Value, path: &str) -> Option<Cause> {
    let pointer = format!("/{}", path.replace('.', "/"));
    let (is, was) = (new.pointer(&pointer), old.pointer(&pointer));
    (is != was).then(|| Cause::invalid(path, is.unwrap_or(&Value::Null), "field is immutable"))
}

/// As [`immutable`], for several fields of the object's top.
pub(super) fn unchangeable_fields(new: &Value, old: &Value, paths: &[&str]) -> Vec<Cause> {
    paths.iter().filter_map(|path| immutable(new, old, path)).collect()
}

pub(super) fn workload(new: &Value, old: &Value) -> Vec<Cause> {
    selector(new, old).into_iter().collect()
}

pub(super) fn secret(new: &Value, old: &Value) -> Vec<Cause> {
    let changed = At::root(new).field("type");
    let mut causes: Vec<Cause> =
        fixed(new, old, "/type").then(|| changed.invalid("field is immutable")).into_iter().collect();
    causes.extend(frozen(new, old, &["data"]));
    causes
}

pub(super) fn config_map(new: &Value, old: &Value) -> Vec<Cause> {
    frozen(new, old, &["data", "binaryData"])
}

pub(super) fn endpoint_slice(new: &Value, old: &Value) -> Vec<Cause> {
    let changed = At::root(new).field("addressType");
    fixed(new, old, "/addressType").then(|| changed.invalid("field is immutable")).into_iter().collect()
}

pub(super) fn gateway_class(new: &Value, old: &Value) -> Vec<Cause> {
    let changed = At::root(new).field("spec").field("controllerName");
    fixed(new, old, "/spec/controllerName").then(|| changed.invalid("Value is immutable")).into_iter().collect()
}

/// Whether a field that was set has another value now.
fn fixed(new: &Value, old: &Value, pointer: &str) -> bool {
    old.pointer(pointer).is_some_and(|value| new.pointer(pointer) != Some(value))
}

/// What an object that was declared immutable may not change.
fn frozen(new: &Value, old: &Value, fields: &[&str]) -> Vec<Cause> {
    if old.get("immutable") != Some(&json!(true)) {
        return Vec::new();
    }
    let changed = ["immutable"].iter().chain(fields).filter(|field| old.get(**field) != new.get(**field));
    changed.map(|field| Cause::forbidden(*field, "field is immutable when `immutable` is set")).collect()
}

/// A workload's selector, shown as Go shows it.
fn selector(new: &Value, old: &Value) -> Option<Cause> {
    let pointer = "/spec/selector";
    if !fixed(new, old, pointer) {
        return None;
    }
    let labels = new.pointer("/spec/selector/matchLabels").unwrap_or(&Value::Null);
    let shown = format!(
        "v1.LabelSelector{{MatchLabels:{}, MatchExpressions:[]v1.LabelSelectorRequirement(nil)}}",
        go_map(labels)
    );
    Some(Cause::invalid_shown("spec.selector", &shown, "field is immutable"))
}

/// A map of texts as Go's `%#v` writes it.
pub(super) fn go_map(map: &Value) -> String {
    match map.as_object() {
        None => "map[string]string(nil)".to_owned(),
        Some(map) => {
            let entries: Vec<String> = map.iter().map(|(key, value)| format!("{key:?}:{value}")).collect();
            format!("map[string]string{{{}}}", entries.join(", "))
        }
    }
}

pub(super) fn service(new: &Value, old: &Value) -> Vec<Cause> {
    let address =
        |service: &Value| service.pointer("/spec/clusterIP").and_then(Value::as_str).unwrap_or_default().to_owned();
    let is_alias = |service: &Value| service.pointer("/spec/type").is_some_and(|t| t == "ExternalName");
    let (had, has) = (address(old), address(new));
    let mut causes = Vec::new();
    if !had.is_empty() && had != has && !is_alias(new) && !is_alias(old) {
        let shown = format!("[]string{{{has:?}}}");
        causes.push(Cause::invalid_shown("spec.clusterIPs[0]", &shown, "may not change once set"));
    }
    // One that was stored before there were any is given one.
    let is_checked = |service: &Value| {
        let is = |pointer: &str, text: &str| service.pointer(pointer).is_some_and(|value| value == text);
        is("/spec/type", "LoadBalancer") && is("/spec/externalTrafficPolicy", "Local")
    };
    let health = "/spec/healthCheckNodePort";
    if is_checked(new) && is_checked(old) && fixed(new, old, health) {
        causes.push(Cause::forbidden("spec.healthCheckNodePort", "field is immutable"));
    }
    causes
}

/// Fields of a Pod's containers, and of its spec, that an update may change.
const CHANGEABLE: &str = "pod updates may not change fields other than `spec.containers[*].image`,\
`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),\
`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";

pub(super) fn pod(new: &Value, old: &Value) -> Vec<Cause> {
    let (Some(new_spec), Some(old_spec)) = (new.get("spec"), old.get("spec")) else { return Vec::new() };
    let mut causes = Vec::new();
    for list in ["containers", "initContainers"] {
        let count = |spec: &Value| spec.get(list).and_then(Value::as_array).map_or(0, Vec::len);
        if count(new_spec) != count(old_spec) {
            causes.push(Cause::forbidden(format!("spec.{list}"), "pod updates may not add or remove containers"));
        }
    }
    let (new_deadline, old_deadline) = (new_spec.get("activeDeadlineSeconds"), old_spec.get("activeDeadlineSeconds"));
    if new_deadline != old_deadline {
        let shrinks = match (new_deadline.and_then(Value::as_i64), old_deadline.and_then(Value::as_i64)) {
            (Some(new), Some(old)) => new < old,
            (Some(_), None) => true,
            (None, _) => false,
        };
        if !shrinks {
            let at = At::root(new).field("spec").field("activeDeadlineSeconds");
            causes.push(at.invalid("must be less than or equal to previous value"));
        }
    }
    let kept = |list: &Value| {
        let added = new_spec.get("tolerations").and_then(Value::as_array);
        list.as_array().into_iter().flatten().all(|one| added.is_some_and(|all| all.contains(one)))
    };
    if old_spec.get("tolerations").is_some_and(|list| !kept(list)) {
        causes.push(Cause::forbidden(
            "spec.tolerations",
            "existing toleration can not be modified except its tolerationSeconds",
        ));
    }
    let gates = |spec: &Value| -> Vec<String> {
        let all = spec.get("schedulingGates").and_then(Value::as_array).into_iter().flatten();
        all.filter_map(|gate| gate.get("name")?.as_str().map(str::to_owned)).collect()
    };
    let had = gates(old_spec);
    for new in gates(new_spec).iter().filter(|gate| !had.contains(gate)) {
        let why = format!("only deletion is allowed, but found new scheduling gate '{new}'");
        causes.push(Cause::forbidden("spec.schedulingGates", &why));
    }
    if causes.is_empty() && unchangeable(new_spec) != unchangeable(old_spec) {
        causes.push(Cause::forbidden("spec", CHANGEABLE));
    }
    causes
}

/// A Pod's spec without what an update may change.
fn unchangeable(spec: &Value) -> Value {
    let mut spec = spec.clone();
    let Some(map) = spec.as_object_mut() else { return spec };
    map.remove("activeDeadlineSeconds");
    map.remove("tolerations");
    map.remove("schedulingGates");
    let grace = map.get("terminationGracePeriodSeconds").and_then(Value::as_i64);
    if grace.is_some_and(|seconds| seconds < 0) {
        map.insert("terminationGracePeriodSeconds".to_owned(), 1.into());
    }
    for list in ["containers", "initContainers"] {
        let containers = map.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten();
        for container in containers.filter_map(Value::as_object_mut) {
            container.remove("image");
        }
    }
    spec
}
