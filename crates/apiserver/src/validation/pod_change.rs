//! What an update of a Pod may change (upstream's `ValidatePodUpdate`).

use serde_json::{Map, Value, json};

use super::{
    at::At,
    change::{go_map, without_empty_affinity},
};
use crate::status::Cause;

/// Fields of a Pod's containers, and of its spec, that an update may change.
const CHANGEABLE: &str = "pod updates may not change fields other than `spec.containers[*].image`,\
`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),\
`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";

const NODES: &str = "requiredDuringSchedulingIgnoredDuringExecution";

pub(super) fn check(new: &Value, old: &Value) -> Vec<Cause> {
    let (after, before) = (At::root(new).field("spec"), At::root(old).field("spec"));
    if !after.is_set() || !before.is_set() {
        return Vec::new();
    }
    for name in ["containers", "initContainers"] {
        let list = after.field(name);
        if list.len() != before.field(name).len() {
            return vec![list.forbidden("pod updates may not add or remove containers")];
        }
    }
    let mut causes: Vec<Cause> = deadline(&after, &before).into_iter().collect();
    causes.extend(tolerations(&after, &before));
    let had: Vec<&str> = before.each("schedulingGates").map(|gate| gate.field("name").text()).collect();
    let names = after.each("schedulingGates").map(|gate| gate.field("name"));
    causes.extend(names.filter(|name| !had.contains(&name.text())).map(|name| {
        name.forbidden(&format!("only deletion is allowed, but found new scheduling gate '{}'", name.text()))
    }));
    let waits = !had.is_empty();
    if waits {
        causes.extend(node_selector(&after.field("nodeSelector"), &before.field("nodeSelector")));
        let of =
            |spec: &At<'_>| spec.value.pointer(&format!("/affinity/nodeAffinity/{NODES}/nodeSelectorTerms")).cloned();
        causes.extend(node_affinity(&of(&after).unwrap_or(json!([])), &of(&before).unwrap_or(json!([]))));
    }
    if causes.is_empty() && unchangeable(after.value, waits) != unchangeable(before.value, waits) {
        causes.push(Cause::forbidden("spec", CHANGEABLE));
    }
    causes
}

fn length(list: &Value) -> usize {
    list.as_array().map_or(0, Vec::len)
}

/// A deadline may be set, and come nearer.
fn deadline(after: &At<'_>, before: &At<'_>) -> Option<Cause> {
    let (new, old) = (after.field("activeDeadlineSeconds"), before.field("activeDeadlineSeconds"));
    match (new.number(), old.number()) {
        (Some(is), Some(was)) if is > was => Some(new.invalid("must be less than or equal to previous value")),
        (None, Some(_)) => Some(new.invalid("must not update from a positive integer to nil value")),
        _ => None,
    }
}

/// Tolerations are only added; for how long, may change.
fn tolerations(after: &At<'_>, before: &At<'_>) -> Option<Cause> {
    let kind = |toleration: At<'_>| {
        let mut fields = toleration.value.as_object().cloned().unwrap_or_default();
        fields.remove("tolerationSeconds");
        fields
    };
    let kept: Vec<Map<String, Value>> = after.each("tolerations").map(kind).collect();
    let lost = before.each("tolerations").map(kind).any(|one| !kept.contains(&one));
    let why = "existing toleration can not be modified except its tolerationSeconds";
    lost.then(|| after.field("tolerations").forbidden(why))
}

/// A pod that is not to be placed yet may be asked for more of its node.
fn node_selector(after: &At<'_>, before: &At<'_>) -> Option<Cause> {
    let changed = before.clone().entries().any(|(key, was)| after.value.get(key) != Some(was.value));
    let why = "only additions to spec.nodeSelector are allowed (no mutations or deletions)";
    changed.then(|| Cause::invalid_shown(&after.path, &go_map(after.value), why))
}

/// As [`node_selector`], by terms of an affinity: any where there were none, and more in each of those that there were.
fn node_affinity(after: &Value, before: &Value) -> Vec<Cause> {
    let path = format!("spec.affinity.nodeAffinity.{NODES}.nodeSelectorTerms");
    if length(before) == 0 {
        return Vec::new();
    }
    if length(after) != length(before) {
        let why = "no additions/deletions to non-empty NodeSelectorTerms list are allowed";
        return vec![Cause::invalid(path, after, why)];
    }
    let terms = At { value: after, path }.elements().zip(before.as_array().into_iter().flatten());
    let narrowed = |term: &At<'_>, was: &Value| {
        let lists = ["matchExpressions", "matchFields"].map(|list| {
            let of = |term: &Value| term.get(list).and_then(Value::as_array).cloned().unwrap_or_default();
            (of(term.value), of(was))
        });
        let said_nothing = lists.iter().all(|(_, was)| was.is_empty());
        lists.iter().all(|(is, was)| if said_nothing { is.is_empty() } else { is.starts_with(was) })
    };
    let why = "only additions are allowed (no mutations or deletions)";
    terms.filter(|(term, was)| !narrowed(term, was)).map(|(term, _)| term.invalid(why)).collect()
}

/// A Pod's spec without what an update may change; while it `waits` at a gate, its node may be chosen.
fn unchangeable(spec: &Value, waits: bool) -> Value {
    let mut spec = spec.clone();
    let Some(map) = spec.as_object_mut() else { return spec };
    for field in ["activeDeadlineSeconds", "tolerations", "schedulingGates"] {
        map.remove(field);
    }
    if waits {
        map.remove("nodeSelector");
        if let Some(affinity) = map.get_mut("affinity").and_then(Value::as_object_mut) {
            affinity.remove("nodeAffinity");
        }
    }
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
    without_empty_affinity(Some(&mut spec));
    spec
}
