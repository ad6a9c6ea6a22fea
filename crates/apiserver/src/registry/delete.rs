//! What deleting an object does to it: graceful periods, finalizers, propagation. No I/O.

use jiff::{SignedDuration, Timestamp};
use objects::kinds::Kind;
use serde_json::{Value, json};

use super::meta;
use crate::status::Failure;

/// `metav1.DeleteOptions`, as far as they matter here.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DeleteOptions {
    /// Seconds that a pod may take to end.
    pub grace_period_seconds: Option<i64>,
    /// What the object must still be.
    pub preconditions: Option<Preconditions>,
    /// `Background`, `Foreground` or `Orphan`.
    pub propagation_policy: Option<String>,
    /// The older form of `Orphan`.
    pub orphan_dependents: Option<bool>,
    /// `All` changes nothing.
    pub dry_run: Option<Vec<String>>,
}

/// What an object must still be for its deletion to happen.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Preconditions {
    /// Its uid.
    pub uid: Option<String>,
    /// Its version.
    pub resource_version: Option<String>,
}

/// Namespaces that every cluster has.
const IMMORTAL: &[&str] = &["default", "kube-public", "kube-system"];

/// What becomes of an object that is deleted.
#[derive(Clone, Debug, PartialEq)]
pub enum Fate {
    /// It goes now.
    Gone,
    /// It stays, in this state, until somebody finishes the deletion.
    Waits(Value),
    /// It waits already.
    Unchanged,
}

/// Decides what deleting `current` does.
///
/// # Errors
/// 409 when a precondition does not hold, 400 for an unknown policy.
pub fn fate(kind: &Kind, current: &Value, options: &DeleteOptions, now: Timestamp) -> Result<Fate, Failure> {
    check(kind, current, options)?;
    let name = meta::text(current, "name");
    if kind.kind == "Namespace" && IMMORTAL.contains(&name) {
        return Err(Failure::forbidden(kind, name, "this namespace may not be deleted"));
    }
    let mut next = current.clone();
    add_policy_finalizer(&mut next, options)?;
    let grace = grace(kind, current, options);
    let waits = grace > 0 || !meta::finalizers(&next).is_empty() || holds_namespace(kind, current);
    if !waits {
        return Ok(Fate::Gone);
    }
    let set = current.pointer("/metadata/deletionGracePeriodSeconds").and_then(Value::as_i64);
    let shortens = set.is_none_or(|set| grace < set);
    if !meta::is_deleting(current) || shortens {
        let end = now.checked_add(SignedDuration::from_secs(grace)).unwrap_or(now);
        meta::set(&mut next, "deletionTimestamp", Some(time(end).into()));
        meta::set(&mut next, "deletionGracePeriodSeconds", Some(grace.into()));
        if !meta::is_deleting(current)
            && let Some(generation) = current.pointer("/metadata/generation").and_then(Value::as_i64)
        {
            meta::set(&mut next, "generation", Some((generation + 1).into()));
        }
        if kind.kind == "Namespace" {
            meta::section(&mut next, "status").insert("phase".to_owned(), json!("Terminating"));
        }
    }
    Ok(if next == *current { Fate::Unchanged } else { Fate::Waits(next) })
}

/// Whether an object whose deletion has begun has nothing left to wait for.
pub fn is_finished(kind: &Kind, object: &Value) -> bool {
    let grace = object.pointer("/metadata/deletionGracePeriodSeconds").and_then(Value::as_i64).unwrap_or(0);
    meta::is_deleting(object) && grace == 0 && meta::finalizers(object).is_empty() && !holds_namespace(kind, object)
}

/// A time as the API writes it.
pub fn time(timestamp: Timestamp) -> String {
    timestamp.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

fn check(kind: &Kind, current: &Value, options: &DeleteOptions) -> Result<(), Failure> {
    let Some(wanted) = &options.preconditions else { return Ok(()) };
    let name = meta::text(current, "name");
    for (what, wanted, field) in
        [("UID", &wanted.uid, "uid"), ("ResourceVersion", &wanted.resource_version, "resourceVersion")]
    {
        let has = meta::text(current, field);
        if let Some(wanted) = wanted
            && wanted != has
        {
            let why = format!("Precondition failed: {what} in precondition: {wanted}, {what} in object meta: {has}");
            return Err(Failure::conflict(kind, name, &why));
        }
    }
    Ok(())
}

fn add_policy_finalizer(next: &mut Value, options: &DeleteOptions) -> Result<(), Failure> {
    let orphan = options.orphan_dependents.unwrap_or(false);
    let finalizer = match options.propagation_policy.as_deref() {
        Some("Orphan") => "orphan",
        Some("Foreground") => "foregroundDeletion",
        Some("Background") => return Ok(()),
        None if orphan => "orphan",
        None => return Ok(()),
        Some(other) => {
            let message = format!("invalid propagationPolicy {other:?}: must be Foreground, Background or Orphan");
            return Err(Failure::bad_request(message));
        }
    };
    let finalizers = meta::metadata(next).entry("finalizers").or_insert_with(|| json!([]));
    if let Some(list) = finalizers.as_array_mut()
        && !list.iter().any(|f| f == finalizer)
    {
        list.push(finalizer.into());
    }
    Ok(())
}

/// Seconds that the object's node gets to end it: only a pod that runs somewhere has any.
fn grace(kind: &Kind, current: &Value, options: &DeleteOptions) -> i64 {
    let text = |pointer: &str| current.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let ended = matches!(text("/status/phase"), "Succeeded" | "Failed");
    if kind.kind != "Pod" || text("/spec/nodeName").is_empty() || ended {
        return 0;
    }
    let own = current.pointer("/spec/terminationGracePeriodSeconds").and_then(Value::as_i64);
    // A negative period means one second, as upstream has it.
    match options.grace_period_seconds.or(own).unwrap_or(30) {
        negative if negative < 0 => 1,
        seconds => seconds,
    }
}

/// A namespace waits for the namespace controller to empty it.
fn holds_namespace(kind: &Kind, object: &Value) -> bool {
    let list = object.pointer("/spec/finalizers").and_then(Value::as_array);
    kind.kind == "Namespace" && list.is_some_and(|list| !list.is_empty())
}

#[cfg(test)]
mod tests {
    use objects::kinds;

    use super::*;

    fn kind(name: &str) -> &'static Kind {
        kinds::by_kind("", "v1", name).unwrap()
    }

    fn pod(node: &str) -> Value {
        json!({"metadata": {"name": "p"}, "spec": {"nodeName": node, "terminationGracePeriodSeconds": 5}})
    }

    fn at(kind: &Kind, object: &Value, options: &DeleteOptions) -> Fate {
        fate(kind, object, options, Timestamp::UNIX_EPOCH).unwrap()
    }

    #[test]
    fn a_running_pod_gets_its_grace_period_and_an_unscheduled_one_goes_at_once() {
        let Fate::Waits(waiting) = at(kind("Pod"), &pod("n"), &DeleteOptions::default()) else { panic!() };
        assert_eq!(waiting["metadata"]["deletionTimestamp"], "1970-01-01T00:00:05Z");
        assert_eq!(at(kind("Pod"), &waiting, &DeleteOptions::default()), Fate::Unchanged);
        assert_eq!(at(kind("Pod"), &pod(""), &DeleteOptions::default()), Fate::Gone);
        let now = DeleteOptions { grace_period_seconds: Some(0), ..DeleteOptions::default() };
        assert_eq!(at(kind("Pod"), &waiting, &now), Fate::Gone);
    }

    #[test]
    fn finalizers_and_policies_hold_an_object_back() {
        let orphan = DeleteOptions { propagation_policy: Some("Orphan".into()), ..DeleteOptions::default() };
        let Fate::Waits(waiting) = at(kind("ConfigMap"), &json!({"metadata": {"name": "c"}}), &orphan) else {
            panic!()
        };
        assert_eq!(meta::finalizers(&waiting), ["orphan"]);
        assert!(!is_finished(kind("ConfigMap"), &waiting));
        let bad = DeleteOptions { propagation_policy: Some("x".into()), ..DeleteOptions::default() };
        assert!(fate(kind("ConfigMap"), &json!({"metadata": {}}), &bad, Timestamp::UNIX_EPOCH).is_err());
    }

    #[test]
    fn a_namespace_waits_until_it_is_finalized() {
        let object = json!({"metadata": {"name": "n"}, "spec": {"finalizers": ["kubernetes"]}});
        let Fate::Waits(mut waiting) = at(kind("Namespace"), &object, &DeleteOptions::default()) else { panic!() };
        assert_eq!(waiting["status"]["phase"], "Terminating");
        assert!(!is_finished(kind("Namespace"), &waiting));
        waiting["spec"]["finalizers"] = json!([]);
        assert!(is_finished(kind("Namespace"), &waiting));
        let default = json!({"metadata": {"name": "default"}});
        let refused = fate(kind("Namespace"), &default, &DeleteOptions::default(), Timestamp::UNIX_EPOCH).unwrap_err();
        assert_eq!(refused.message, "namespaces \"default\" is forbidden: this namespace may not be deleted");
    }

    #[test]
    fn a_precondition_that_does_not_hold_is_a_conflict() {
        let wanted = Preconditions { uid: Some("x".into()), resource_version: None };
        let options = DeleteOptions { preconditions: Some(wanted), ..DeleteOptions::default() };
        assert_eq!(fate(kind("Pod"), &pod("n"), &options, Timestamp::UNIX_EPOCH).unwrap_err().reason, "Conflict");
    }
}
