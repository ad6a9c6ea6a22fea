//! Resizing a Pod in place (upstream's `ValidatePodResize`): what may change through `pods/resize`, and what `resizePolicy` may say.

use objects::{quantity::Quantity, resources};
use serde_json::{Map, Value};

use super::at::At;
use crate::status::Cause;

/// What a resize may change.
const RESIZABLE: [&str; 2] = ["cpu", "memory"];

/// What a container is resized with: `NotRequired` goes on running, `RestartContainer` is started again.
const POLICIES: [&str; 2] = ["NotRequired", "RestartContainer"];

/// What is wrong with the resize policies of a pod's containers.
pub(super) fn policies(spec: &At<'_>, causes: &mut Vec<Cause>) {
    let never = spec.field("restartPolicy").text() == "Never";
    for container in spec.each("containers").chain(spec.each("initContainers").filter(is_sidecar)) {
        let list = container.field("resizePolicy");
        let mut seen = Vec::new();
        for policy in container.each("resizePolicy") {
            let (name, then) = (policy.field("resourceName"), policy.field("restartPolicy"));
            if seen.contains(&name.text()) {
                causes.push(At { path: policy.path.clone(), value: name.value }.duplicate());
            }
            seen.push(name.text());
            for (field, supported) in [(&name, RESIZABLE), (&then, POLICIES)] {
                causes.extend(At { path: list.path.clone(), value: field.value }.must_be_one_of(&supported));
            }
            if never && then.text() != "NotRequired" {
                let why = "must be 'NotRequired' when `restartPolicy` is 'Never'";
                causes.push(Cause::invalid(&list.path, then.value, why));
            }
        }
    }
    for container in spec.each("initContainers").filter(|container| !is_sidecar(container)) {
        let list = container.field("resizePolicy");
        if list.len() > 0 {
            causes.push(list.invalid("must not be set for init containers"));
        }
    }
}

/// What is wrong with a resize. Both are whole pods, and differ in nothing but what a resize is allowed to say.
pub(super) fn check(new: &Value, old: &Value) -> Vec<Cause> {
    let (new_at, old_at) = (At::root(new).field("spec"), At::root(old).field("spec"));
    let mut causes = Vec::new();
    let (was, is) = (resources::qos_of(old), resources::qos_of(new));
    if was != is {
        let shown = Value::from(was.unwrap_or_default());
        causes.push(Cause::invalid("spec", &shown, "Pod QOS Class may not change as a result of resizing"));
    }
    let mut others = false;
    for list in ["containers", "initContainers"] {
        for (after, before) in new_at.each(list).zip(old_at.each(list)) {
            container(&after, &before, &mut causes);
            others |= unresizable(after.value) != unresizable(before.value);
        }
    }
    if others {
        causes.push(Cause::forbidden("spec", "only cpu and memory resources are mutable"));
    }
    causes
}

fn is_sidecar(container: &At<'_>) -> bool {
    container.field("restartPolicy").text() == "Always"
}

fn container(new: &At<'_>, old: &At<'_>, causes: &mut Vec<Cause>) {
    let (new_resources, old_resources) = (new.field("resources"), old.field("resources"));
    for (field, what) in [("requests", "resource requests"), ("limits", "resource limits")] {
        let (is, was) = (new_resources.field(field), old_resources.field(field));
        let removed = was.value.as_object().into_iter().flatten().any(|(name, _)| is.value.get(name).is_none());
        if removed {
            causes.push(is.forbidden(&format!("{what} cannot be removed")));
        }
    }
    let limit = |resources: &At<'_>| quantity(resources.field("limits").value.get("memory")?);
    let shrinks = limit(&new_resources).zip(limit(&old_resources)).is_some_and(|(new, old)| new < old);
    let restarts = new.each("resizePolicy").any(|policy| {
        policy.field("resourceName").text() == "memory" && policy.field("restartPolicy").text() == "RestartContainer"
    });
    if shrinks && !restarts {
        let path = format!("{}[memory]", new_resources.field("limits").path);
        causes
            .push(Cause::forbidden(path, "memory limits cannot be decreased unless resizePolicy is RestartContainer"));
    }
}

fn quantity(value: &Value) -> Option<Quantity> {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned).parse().ok()
}

/// A container without what a resize may change.
fn unresizable(container: &Value) -> Value {
    let mut container = container.clone();
    let Some(resources) = container.get_mut("resources").and_then(Value::as_object_mut) else { return container };
    for field in ["requests", "limits"] {
        let Some(amounts) = resources.get_mut(field).and_then(Value::as_object_mut) else { continue };
        amounts.retain(|name, _| !RESIZABLE.contains(&name.as_str()));
        if amounts.is_empty() {
            resources.remove(field);
        }
    }
    if resources.is_empty()
        && let Some(map) = container.as_object_mut()
    {
        map.remove("resources");
    }
    container
}

/// The current pod with the resources and resize policies that are wanted for its containers and sidecars; nothing else of what is
/// wanted counts (upstream's `dropNonResizeUpdates`).
pub(crate) fn only_sizes(current: &Value, wanted: &Value) -> Value {
    let mut next = current.clone();
    for list in ["containers", "initContainers"] {
        let all = next.get_mut("spec").and_then(|spec| spec.get_mut(list)).and_then(Value::as_array_mut);
        for container in all.into_iter().flatten().filter_map(Value::as_object_mut) {
            let is_init = list == "initContainers";
            if is_init && container.get("restartPolicy").and_then(Value::as_str) != Some("Always") {
                continue;
            }
            take(container, wanted.pointer(&format!("/spec/{list}")));
        }
    }
    next
}

/// Takes over what a resize may say of the container of the same name.
fn take(container: &mut Map<String, Value>, wanted: Option<&Value>) {
    let all = wanted.and_then(Value::as_array).into_iter().flatten();
    let Some(same) = all.into_iter().find(|one| one.get("name") == container.get("name")).cloned() else { return };
    for field in ["resources", "resizePolicy"] {
        match same.get(field) {
            Some(value) => drop(container.insert(field.to_owned(), value.clone())),
            None => drop(container.remove(field)),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(resources: &Value, policy: &Value) -> Value {
        json!({"spec": {"containers": [{"name": "c", "image": "i", "resources": resources, "resizePolicy": policy}]}})
    }

    fn said(new: &Value, old: &Value) -> Vec<String> {
        check(new, old).into_iter().map(|cause| format!("{}: {}", cause.field, cause.message)).collect()
    }

    fn sizes(cpu: &str, memory: &str) -> Value {
        json!({"requests": {"cpu": cpu, "memory": memory}, "limits": {"cpu": "2", "memory": "1Gi"}})
    }

    #[test]
    fn cpu_and_memory_may_change_within_a_class() {
        let none = json!([]);
        let old = pod(&sizes("1", "256Mi"), &none);
        assert!(said(&pod(&sizes("500m", "512Mi"), &none), &old).is_empty());
        let guaranteed = said(&pod(&sizes("2", "1Gi"), &none), &old);
        assert_eq!(
            guaranteed,
            ["spec: Invalid value: \"Burstable\": Pod QOS Class may not change as a result of resizing"]
        );
    }

    #[test]
    fn nothing_is_taken_away_and_nothing_else_changes() {
        let none = json!([]);
        let old = pod(&sizes("1", "256Mi"), &none);
        let removed = said(&pod(&json!({"requests": {"cpu": "1"}, "limits": {"cpu": "2"}}), &none), &old);
        assert_eq!(
            removed,
            [
                "spec.containers[0].resources.requests: Forbidden: resource requests cannot be removed",
                "spec.containers[0].resources.limits: Forbidden: resource limits cannot be removed",
            ]
        );
        let mut disk = sizes("1", "256Mi");
        disk["requests"]["ephemeral-storage"] = json!("1Gi");
        let forbidden = ["spec: Forbidden: only cpu and memory resources are mutable"];
        assert_eq!(said(&pod(&disk, &none), &old), forbidden);
        let restarts = json!([{"resourceName": "cpu", "restartPolicy": "RestartContainer"}]);
        assert_eq!(said(&pod(&sizes("1", "256Mi"), &restarts), &old), forbidden);
    }

    #[test]
    fn a_memory_limit_shrinks_only_where_the_container_is_started_again() {
        let shrunk = json!({"requests": {"cpu": "1", "memory": "256Mi"}, "limits": {"cpu": "2", "memory": "512Mi"}});
        let plain = json!([]);
        let refused = said(&pod(&shrunk, &plain), &pod(&sizes("1", "256Mi"), &plain));
        assert_eq!(
            refused,
            ["spec.containers[0].resources.limits[memory]: Forbidden: memory limits cannot be decreased unless \
              resizePolicy is RestartContainer"]
        );
        let restarts = json!([{"resourceName": "memory", "restartPolicy": "RestartContainer"}]);
        assert!(said(&pod(&shrunk, &restarts), &pod(&sizes("1", "256Mi"), &restarts)).is_empty());
    }

    #[test]
    fn only_the_sizes_of_what_is_wanted_count() {
        let current = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}],
            "initContainers": [{"name": "i"}, {"name": "s", "restartPolicy": "Always"}]}});
        let wanted = json!({"metadata": {"labels": {"a": "b"}}, "spec": {"nodeName": "n",
            "containers": [{"name": "c", "image": "other", "resources": {"requests": {"cpu": "1"}}}, {"name": "new"}],
            "initContainers": [{"name": "i", "resources": {"requests": {"cpu": "1"}}},
                {"name": "s", "resources": {"requests": {"cpu": "2"}}}]}});
        let expected = json!({"metadata": {"name": "p"}, "spec": {
            "containers": [{"name": "c", "image": "i", "resources": {"requests": {"cpu": "1"}}}],
            "initContainers": [{"name": "i"},
                {"name": "s", "restartPolicy": "Always", "resources": {"requests": {"cpu": "2"}}}]}});
        assert_eq!(only_sizes(&current, &wanted), expected);
    }

    #[test]
    fn policies_name_what_can_be_resized_and_how_once() {
        let spec = json!({"restartPolicy": "Never", "containers": [{"name": "c", "resizePolicy": [
            {"resourceName": "cpu", "restartPolicy": "NotRequired"}, {"resourceName": "cpu", "restartPolicy": "NotRequired"},
            {"resourceName": "disk", "restartPolicy": "RestartContainer"}]}],
            "initContainers": [{"name": "i", "resizePolicy": [{"resourceName": "cpu", "restartPolicy": "NotRequired"}]}]});
        let mut causes = Vec::new();
        policies(&At::root(&spec), &mut causes);
        let said: Vec<String> = causes.into_iter().map(|cause| format!("{}: {}", cause.field, cause.message)).collect();
        for word in [
            "Duplicate value: \"cpu\"",
            "supported values: \"cpu\", \"memory\"",
            "must be 'NotRequired' when `restartPolicy` is 'Never'",
            "must not be set for init containers",
        ] {
            assert!(said.iter().any(|line| line.contains(word)), "{word}: {said:#?}");
        }
    }
}
