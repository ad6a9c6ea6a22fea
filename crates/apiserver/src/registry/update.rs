//! What an update may change, and what it keeps. No I/O.

use std::borrow::Cow;

use objects::kinds::Kind;
use serde_json::Value;

use super::{addresses, meta, node_ports, priority, requests};
use crate::{
    status::{Cause, Failure},
    validation,
};

/// Fields of `metadata` that only the server sets.
const SERVERS: &[&str] = &[
    "uid",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "generation",
    "selfLink",
    "name",
    "namespace",
];

/// Which part of an object an update is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Everything but `status` (where it is a subresource).
    Main,
    /// `status` alone.
    Status,
    /// A Namespace's `spec.finalizers`.
    Finalize,
    /// A Pod's node, which only its scheduler sets, and what that says of it.
    Binding,
    /// A Pod's ephemeral containers, which can only be added.
    EphemeralContainers,
    /// What a Pod's containers request and are limited to.
    Resize,
    /// Whether a CertificateSigningRequest is approved: its conditions.
    Approval,
}

/// The state that results from wanting `wanted` where there is `current`. Its writer said it in a version of the kind, `view`.
///
/// # Errors
/// 409 when `wanted` was made from another version, 422 when it says what it may not.
pub fn merge(kind: &Kind, view: &Kind, current: &Value, mut wanted: Value, part: Part) -> Result<Value, Failure> {
    let name = meta::text(current, "name").to_owned();
    check_place(current, &wanted)?;
    check_version(kind, &name, current, &wanted)?;
    wanted = chosen(kind, current, wanted, part);
    meta::set(&mut wanted, "managedFields", None);
    meta::set(&mut wanted, "resourceVersion", meta::get(current, "resourceVersion").cloned());
    if part == Part::Main && kind.is("", "Service") {
        addresses::inherit(current, &mut wanted);
        node_ports::inherit(current, &mut wanted);
    }
    if part == Part::Main && kind.is("", "Pod") {
        priority::inherit(current, &mut wanted);
    }
    crate::defaults::apply(kind, &mut wanted);
    let of_spec = matches!(part, Part::Main | Part::EphemeralContainers | Part::Resize);
    let causes = if of_spec || kind.is_custom() {
        // What was stored before a default was known has it too: it is no change.
        let mut old = Cow::Borrowed(current);
        if crate::defaults::has_any(kind) {
            crate::defaults::apply(kind, old.to_mut());
        }
        match part {
            Part::EphemeralContainers => validation::ephemeral(&wanted, &old),
            Part::Resize => validation::resize(kind, &wanted, &old),
            Part::Status => validation::custom_status(kind, &wanted, &old),
            _ => validation::update(kind, view, &wanted, &old),
        }
    } else if requests::is_certificate_request(kind) {
        validation::decision(&wanted, current, part == Part::Approval)
    } else {
        Vec::new()
    };
    if !causes.is_empty() {
        return Err(Failure::invalid(kind, &name, &causes));
    }
    if of_spec && is_new_generation(kind, current, &wanted) {
        let generation = meta::get(current, "generation").and_then(Value::as_i64).unwrap_or(0);
        meta::set(&mut wanted, "generation", Some(generation.saturating_add(1).into()));
    }
    Ok(wanted)
}

/// What is wanted of a part of an object, with the rest as it is.
fn chosen(kind: &Kind, current: &Value, mut wanted: Value, part: Part) -> Value {
    match part {
        Part::Main => {
            for field in SERVERS {
                let kept = meta::get(current, field).cloned();
                meta::set(&mut wanted, field, kept);
            }
            if kind.status {
                set_section(&mut wanted, "status", current.get("status").cloned());
            }
            if requests::is_certificate_request(kind) {
                // Upstream does not refuse another one: it counts for nothing.
                set_section(&mut wanted, "spec", current.get("spec").cloned());
            }
            wanted
        }
        Part::Status => {
            let mut next = with_section(current, &wanted, "status");
            if objects::patch::is_strategic(kind) {
                annotate(kind, &mut next, &wanted);
            }
            if requests::is_certificate_request(kind) {
                requests::keep_approvals(current, &mut next);
            }
            next
        }
        Part::Finalize => with_section(current, &wanted, "spec"),
        // It was made of what there is, by whoever binds.
        Part::Binding => wanted,
        Part::EphemeralContainers => with_ephemeral(current, &wanted),
        Part::Resize => validation::only_sizes(current, &wanted),
        Part::Approval => {
            let mut next = requests::approved(current, &wanted);
            annotate(kind, &mut next, &wanted);
            next
        }
    }
}

/// An object cannot be renamed or moved.
fn check_place(current: &Value, wanted: &Value) -> Result<(), Failure> {
    for field in ["name", "namespace"] {
        let (is, said) = (meta::text(current, field), meta::text(wanted, field));
        if !said.is_empty() && said != is {
            let message = format!("the {field} of the object ({said}) does not match the {field} on the URL ({is})");
            return Err(Failure::bad_request(message));
        }
    }
    Ok(())
}

/// Built-in kinds whose updates must say which version they were made from: upstream's strategies of these do not
/// `AllowUnconditionalUpdate`.
const CONDITIONAL: &[(&str, &str)] = &[
    ("admissionregistration.k8s.io", "MutatingWebhookConfiguration"),
    ("admissionregistration.k8s.io", "ValidatingWebhookConfiguration"),
    ("coordination.k8s.io", "Lease"),
    ("coordination.k8s.io", "LeaseCandidate"),
    ("node.k8s.io", "RuntimeClass"),
    ("policy", "PodDisruptionBudget"),
    ("storage.k8s.io", "CSIDriver"),
    ("storage.k8s.io", "CSINode"),
    ("storage.k8s.io", "CSIStorageCapacity"),
    ("storage.k8s.io", "VolumeAttachment"),
];

/// Whether an update must say which version it was made from. Custom resources ask for it, too.
fn needs_version(kind: &Kind) -> bool {
    CONDITIONAL.contains(&(kind.group, kind.kind)) || !objects::patch::is_strategic(kind)
}

fn check_version(kind: &Kind, name: &str, current: &Value, wanted: &Value) -> Result<(), Failure> {
    let differs = |field| {
        let wanted = meta::text(wanted, field);
        !wanted.is_empty() && wanted != meta::text(current, field)
    };
    if differs("uid") {
        let (wanted, there) = (meta::text(wanted, "uid"), meta::text(current, "uid"));
        let why = format!("Precondition failed: UID in precondition: {wanted}, UID in object meta: {there}");
        return Err(Failure::conflict(kind, name, &why));
    }
    // 0 is no version of anything: it says as little as nothing does.
    let says_version = !matches!(meta::text(wanted, "resourceVersion"), "" | "0");
    if needs_version(kind) && !says_version {
        let why = "must be specified for an update";
        return Err(Failure::invalid(kind, name, &[Cause::invalid_shown("metadata.resourceVersion", "0x0", why)]));
    }
    if says_version && differs("resourceVersion") {
        let why = "the object has been modified; please apply your changes to the latest version and try again";
        return Err(Failure::conflict(kind, name, why));
    }
    Ok(())
}

fn set_section(object: &mut Value, name: &str, section: Option<Value>) {
    if let Some(map) = object.as_object_mut() {
        match section {
            Some(section) => drop(map.insert(name.to_owned(), section)),
            None => drop(map.remove(name)),
        }
    }
}

fn with_section(current: &Value, wanted: &Value, name: &str) -> Value {
    let mut next = current.clone();
    set_section(&mut next, name, wanted.get(name).cloned());
    next
}

/// The current object with the ephemeral containers that are wanted.
fn with_ephemeral(current: &Value, wanted: &Value) -> Value {
    let mut next = current.clone();
    let containers = wanted.pointer("/spec/ephemeralContainers").cloned();
    if let Some(spec) = next.get_mut("spec") {
        set_section(spec, "ephemeralContainers", containers);
    }
    next
}

/// Upstream lets a write to the status of a built-in kind change labels and annotations as well; of workloads, annotations only.
fn annotate(kind: &Kind, next: &mut Value, wanted: &Value) {
    let fields: &[&str] = if kind.group == "apps" { &["annotations"] } else { &["annotations", "labels"] };
    for field in fields {
        meta::set(next, field, meta::get(wanted, field).cloned());
    }
}

/// Whether anything that a controller acts on changed: everything but `metadata` and `status`.
fn is_new_generation(kind: &Kind, current: &Value, wanted: &Value) -> bool {
    if meta::get(current, "generation").is_none() {
        return false;
    }
    let differs = |a: &Value, b: &Value| {
        let fields = a.as_object().into_iter().flatten();
        let counts = |k: &str| k != "metadata" && (k != "status" || kind.is_custom() && !kind.status);
        fields.filter(|(k, _)| counts(k)).any(|(k, v)| b.get(k) != Some(v))
    };
    differs(current, wanted) || differs(wanted, current)
}

#[cfg(test)]
mod tests {
    use objects::kinds;
    use serde_json::json;

    use super::*;

    fn autoscaler() -> &'static Kind {
        kinds::by_kind("autoscaling", "v2", "HorizontalPodAutoscaler").unwrap()
    }

    fn object(version: &str, replicas: u32, ready: u32) -> Value {
        json!({"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler",
            "metadata": {"name": "a", "uid": "u", "generation": 1, "resourceVersion": version},
            "spec": {"minReplicas": replicas, "maxReplicas": 9, "scaleTargetRef": {"kind": "Deployment", "name": "d"}}, "status": {"readyReplicas": ready}})
    }

    #[test]
    fn the_main_part_keeps_the_status_and_the_status_part_keeps_the_rest() {
        let (current, wanted) = (object("5", 1, 1), object("5", 2, 2));
        let main = merge(autoscaler(), autoscaler(), &current, wanted.clone(), Part::Main).unwrap();
        assert_eq!((&main["spec"]["minReplicas"], &main["status"]["readyReplicas"]), (&json!(2), &json!(1)));
        assert_eq!(main["metadata"]["generation"], 2);
        let status = merge(autoscaler(), autoscaler(), &current, wanted, Part::Status).unwrap();
        assert_eq!((&status["spec"]["minReplicas"], &status["status"]["readyReplicas"]), (&json!(1), &json!(2)));
        assert_eq!(status["metadata"]["generation"], 1);
    }

    #[test]
    fn objects_keep_their_place_and_custom_resources_name_their_version() {
        let renamed = json!({"metadata": {"name": "b"}});
        assert_eq!(
            merge(autoscaler(), autoscaler(), &object("5", 1, 1), renamed, Part::Main).unwrap_err().reason,
            "BadRequest"
        );
        let gateway = kinds::by_kind("gateway.networking.k8s.io", "v1", "Gateway").unwrap();
        let current = json!({"metadata": {"name": "a", "resourceVersion": "5"}});
        let refused = merge(gateway, gateway, &current, json!({"metadata": {"name": "a"}}), Part::Main).unwrap_err();
        assert!(refused.message.contains("Invalid value: 0x0: must be specified for an update"), "{}", refused.message);
    }

    #[test]
    fn an_update_made_from_an_old_version_is_a_conflict() {
        let failure = merge(autoscaler(), autoscaler(), &object("5", 1, 1), object("4", 2, 1), Part::Main).unwrap_err();
        assert_eq!(failure.reason, "Conflict");
    }
}
