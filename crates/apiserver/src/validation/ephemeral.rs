//! Ephemeral containers: what they may have, and that they are only ever added (upstream's
//! `ValidatePodEphemeralContainersUpdate`).

use serde_json::Value;

use super::{
    at::At,
    container::{self, Around},
    volume,
};
use crate::status::Cause;

/// What an ephemeral container may not have: nobody may rely on one.
const NEVER: &[&str] = &[
    "ports",
    "resources",
    "livenessProbe",
    "readinessProbe",
    "startupProbe",
    "lifecycle",
    "resizePolicy",
    "restartPolicy",
];
const WHY: &str = "cannot be set for an Ephemeral Container";

/// A new Pod has none.
pub(super) fn on_create(object: &At<'_>) -> Option<Cause> {
    let list = object.field("spec").field("ephemeralContainers");
    (list.len() > 0).then(|| list.forbidden("cannot be set on create"))
}

pub(super) fn check(new: &Value, old: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    let spec = At::root(new).field("spec");
    let around = Around::of(&spec, volume::all(&spec, &mut Vec::new()));
    let named = |list: &str| spec.each(list).map(|one| one.field("name").text().to_owned()).collect::<Vec<_>>();
    let others = [named("containers"), named("initContainers")].concat();
    let mut seen = others.clone();
    for one in spec.each("ephemeralContainers") {
        let (name, target) = (one.field("name"), one.field("targetContainerName"));
        container::check(&one, &around, false, &mut causes);
        if seen.iter().any(|other| other == name.text()) {
            causes.push(name.duplicate());
        }
        seen.push(name.text().to_owned());
        if !target.text().is_empty() && !others.iter().any(|other| other == target.text()) {
            causes.push(Cause::not_found(&target.path, target.value));
        }
        causes
            .extend(NEVER.iter().map(|field| one.field(field)).filter(has_something).map(|field| field.forbidden(WHY)));
        for mount in one.each("volumeMounts") {
            let paths = ["subPath", "subPathExpr"].map(|field| mount.field(field));
            causes.extend(paths.iter().filter(|path| !path.text().is_empty()).map(|path| path.forbidden(WHY)));
        }
    }
    causes.extend(changed(new, old));
    causes
}

/// Whether a field says anything: an empty object or list is Go's zero value.
fn has_something(field: &At<'_>) -> bool {
    field.is_set() && (field.len() > 0 || !(field.value.is_object() || field.value.is_array()))
}

/// What there was must be there still, as it was.
fn changed(new: &Value, old: &Value) -> Vec<Cause> {
    let path = "spec.ephemeralContainers";
    let list = |object: &'_ Value| {
        object.pointer("/spec/ephemeralContainers").and_then(Value::as_array).cloned().unwrap_or_default()
    };
    let (new, old) = (list(new), list(old));
    let mut causes = Vec::new();
    for before in &old {
        let name = before.get("name").and_then(Value::as_str).unwrap_or_default();
        match new.iter().find(|after| after.get("name") == before.get("name")) {
            None => causes
                .push(Cause::forbidden(path, &format!("existing ephemeral containers {name:?} may not be removed\n"))),
            Some(after) if after != before => {
                causes.push(Cause::forbidden(
                    path,
                    &format!("existing ephemeral containers {name:?} may not be changed\n"),
                ));
            }
            Some(_) => {}
        }
    }
    causes
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(ephemeral: &Value) -> Value {
        json!({"spec": {"containers": [{"name": "main", "image": "i"}], "ephemeralContainers": ephemeral}})
    }

    fn said(new: &Value, old: &Value) -> Vec<String> {
        check(&pod(new), &pod(old)).into_iter().map(|cause| format!("{}: {}", cause.field, cause.message)).collect()
    }

    #[test]
    fn one_can_be_added_beside_the_others() {
        let (a, b) =
            (json!({"name": "a", "image": "i", "targetContainerName": "main"}), json!({"name": "b", "image": "i"}));
        assert!(said(&json!([a, b]), &json!([a])).is_empty());
        assert!(said(&json!([b, a]), &json!([a])).is_empty(), "the order does not matter");
    }

    #[test]
    fn one_cannot_be_taken_away_or_changed() {
        let (a, other) = (json!({"name": "a", "image": "i"}), json!({"name": "a", "image": "j"}));
        assert!(said(&json!([]), &json!([a]))[0].contains("existing ephemeral containers \"a\" may not be removed"));
        assert!(
            said(&json!([other]), &json!([a]))[0].contains("existing ephemeral containers \"a\" may not be changed")
        );
    }

    #[test]
    fn one_has_a_name_and_a_target_of_its_own_and_nothing_that_lasts() {
        let wrong = json!([{"name": "main", "image": "i"}, {"name": "b", "image": "i", "targetContainerName": "no",
            "ports": [{"containerPort": 1}], "resources": {}, "livenessProbe": {"exec": {"command": ["x"]}}}]);
        let found = said(&wrong, &json!([]));
        for word in [
            "spec.ephemeralContainers[0].name: Duplicate value: \"main\"",
            "spec.ephemeralContainers[1].targetContainerName: Not found: \"no\"",
            "spec.ephemeralContainers[1].ports: Forbidden: cannot be set for an Ephemeral Container",
            "spec.ephemeralContainers[1].livenessProbe: Forbidden: cannot be set for an Ephemeral Container",
        ] {
            assert!(found.iter().any(|line| line == word), "{word}: {found:#?}");
        }
        assert!(!found.iter().any(|line| line.contains("resources")), "{found:#?}");
    }
}
