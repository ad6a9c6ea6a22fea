//! What an update may not change.

use serde_json::{Map, Value, json};

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
    let shown = go_selector(new.pointer(pointer).unwrap_or(&Value::Null));
    Some(Cause::invalid_shown("spec.selector", &shown, "field is immutable"))
}

/// A selector's labels as Go's `%#v` writes them.
pub(super) fn go_selector(selector: &Value) -> String {
    let labels = go_map(selector.get("matchLabels").unwrap_or(&Value::Null));
    format!("v1.LabelSelector{{MatchLabels:{labels}, MatchExpressions:[]v1.LabelSelectorRequirement(nil)}}")
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
    let is_balanced = |service: &Value| service.pointer("/spec/type").is_some_and(|of| of == "LoadBalancer");
    let class = "/spec/loadBalancerClass";
    if is_balanced(new) && is_balanced(old) && new.pointer(class) != old.pointer(class) {
        let shown = new.pointer(class).unwrap_or(&Value::Null);
        causes.push(Cause::invalid("spec.loadBalancerClass", shown, "may not change once set"));
    }
    causes
}

/// A pod's spec without an affinity that says nothing: it is as good as none.
pub(super) fn without_empty_affinity(spec: Option<&mut Value>) {
    let Some(spec) = spec.and_then(Value::as_object_mut) else { return };
    if spec.get("affinity").and_then(Value::as_object).is_some_and(Map::is_empty) {
        spec.remove("affinity");
    }
}

/// Where a Node's pods have their addresses, and who it is to those who made it, is said once.
pub(super) fn node(new: &Value, old: &Value) -> Vec<Cause> {
    let fields = [("podCIDRs", "podCIDR"), ("providerID", "providerID")];
    let changed = fields.into_iter().filter(|(field, _)| fixed(new, old, &format!("/spec/{field}")));
    let said = |(field, name)| {
        let why = format!("node updates may not change {name} except from \"\" to valid");
        Cause::forbidden(format!("spec.{field}"), &why)
    };
    changed.map(said).collect()
}
