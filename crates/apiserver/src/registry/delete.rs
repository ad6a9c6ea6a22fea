//! What deleting an object does to it: graceful periods, finalizers, propagation. No I/O.

use jiff::{SignedDuration, Timestamp};
use objects::kinds::Kind;
use serde_json::{Value, json};

use super::meta;
use crate::{
    status::{Cause, Failure},
    validation::SYSTEM_PRIORITIES,
};

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

impl DeleteOptions {
    /// Whether the options are ones that there are, and go together.
    ///
    /// # Errors
    /// 422 naming those that do not.
    pub fn check(&self) -> Result<(), Failure> {
        let mut causes = Vec::new();
        if let Some(policy) = &self.propagation_policy {
            if self.orphan_dependents.is_some() {
                let why = "orphanDependents and deletionPropagation cannot be both set";
                causes.push(Cause::invalid("propagationPolicy", &policy.as_str().into(), why));
            }
            if !POLICIES.contains(&policy.as_str()) {
                let supported = [POLICIES, &["nil"]].concat();
                causes.push(Cause::not_supported("propagationPolicy", &policy.as_str().into(), &supported));
            }
        }
        if let Some(dry_run) = self.dry_run.as_ref().filter(|all| all.iter().any(|one| one != "All")) {
            causes.push(not_dry(dry_run));
        }
        if causes.is_empty() { Ok(()) } else { Err(Failure::invalid_kind("meta.k8s.io", "DeleteOptions", "", &causes)) }
    }
}

const POLICIES: &[&str] = &["Foreground", "Background", "Orphan"];

/// What is wrong with a `dryRun` that is not `All`.
pub fn not_dry(found: &[String]) -> Cause {
    let list: Vec<String> = found.iter().map(|value| format!("{value:?}")).collect();
    let shown = format!("[]string{{{}}}", list.join(", "));
    let message = format!("Unsupported value: {shown}: supported values: \"All\"");
    Cause { reason: "FieldValueNotSupported", message, field: "dryRun".to_owned() }
}

/// Whether deleting an object of a kind answers with the object instead of a Status: upstream's stores of these say
/// `ReturnDeletedObject`, and clients with types expect it.
pub fn returns_object(kind: &Kind) -> bool {
    const CORE: &[&str] = &[
        "PersistentVolume",
        "PersistentVolumeClaim",
        "Pod",
        "PodTemplate",
        "ResourceQuota",
        "Service",
        "ServiceAccount",
    ];
    const STORAGE: &[&str] = &["CSIDriver", "CSINode", "StorageClass", "VolumeAttachment"];
    match kind.group {
        "" => CORE.contains(&kind.kind),
        "storage.k8s.io" => STORAGE.contains(&kind.kind),
        _ => false,
    }
}

/// Namespaces that every cluster has.
const IMMORTAL: &[&str] = &["default", "kube-public", "kube-system"];
/// What holds an object until its dependents are cut loose, or gone.
const ORPHAN: &str = "orphan";
const FOREGROUND: &str = "foregroundDeletion";

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

/// Decides what deleting `current` does, as upstream's `BeforeDelete` and generic store do together.
///
/// # Errors
/// 409 when a precondition does not hold, 403 for what may not be deleted.
pub fn fate(kind: &Kind, current: &Value, options: &DeleteOptions, now: Timestamp) -> Result<Fate, Failure> {
    check_preconditions(kind, current, options)?;
    let name = meta::text(current, "name");
    if kind.is("", "Namespace") && IMMORTAL.contains(&name) {
        return Err(Failure::forbidden(kind, name, "this namespace may not be deleted"));
    }
    if kind.is("scheduling.k8s.io", "PriorityClass") && SYSTEM_PRIORITIES.iter().any(|(system, _)| *system == name) {
        return Err(Failure::forbidden(kind, name, "this is a system priority class and cannot be deleted"));
    }
    let mut next = current.clone();
    let set = current.pointer("/metadata/deletionGracePeriodSeconds").and_then(Value::as_i64);
    match set.filter(|_| meta::is_deleting(current)) {
        // A period that runs can only be shortened, counted from when it began; nothing else of the deletion can be changed.
        Some(set) if set > 0 => match options.grace_period_seconds.map(|asked| if asked < 0 { 1 } else { asked }) {
            Some(asked) if asked < set => shorten(&mut next, set, asked),
            _ => return Ok(Fate::Unchanged),
        },
        _ => {
            set_policy_finalizers(&mut next, options);
            begin(kind, current, &mut next, grace(kind, current, options), now);
        }
    }
    let ends_now = next.pointer("/metadata/deletionGracePeriodSeconds") == Some(&json!(0));
    if ends_now && meta::finalizers(&next).is_empty() && !holds_namespace(kind, current) {
        return Ok(Fate::Gone);
    }
    Ok(if next == *current { Fate::Unchanged } else { Fate::Waits(next) })
}

/// The first deletion: from here on it can only end.
fn begin(kind: &Kind, current: &Value, next: &mut Value, grace: i64, now: Timestamp) {
    if meta::is_deleting(current) {
        return;
    }
    let end = now.checked_add(SignedDuration::from_secs(grace)).unwrap_or(now);
    meta::set(next, "deletionTimestamp", Some(time(end).into()));
    meta::set(next, "deletionGracePeriodSeconds", Some(grace.into()));
    if let Some(generation) = current.pointer("/metadata/generation").and_then(Value::as_i64) {
        meta::set(next, "generation", Some(generation.saturating_add(1).into()));
    }
    if kind.kind == "Namespace" {
        meta::section(next, "status").insert("phase".to_owned(), json!("Terminating"));
    }
}

/// A shorter period than the one that runs (`set` seconds), from the moment at which that began.
fn shorten(next: &mut Value, set: i64, grace: i64) {
    if let Ok(end) = meta::text(next, "deletionTimestamp").parse::<Timestamp>() {
        let end = end.checked_sub(SignedDuration::from_secs(set - grace)).unwrap_or(end);
        meta::set(next, "deletionTimestamp", Some(time(end).into()));
    }
    meta::set(next, "deletionGracePeriodSeconds", Some(grace.into()));
}

/// Whether an object whose deletion has begun has nothing left to wait for.
pub fn is_finished(kind: &Kind, object: &Value) -> bool {
    let grace = || meta::get(object, "deletionGracePeriodSeconds").and_then(Value::as_i64).unwrap_or(0);
    meta::is_deleting(object) && grace() == 0 && meta::finalizers(object).is_empty() && !holds_namespace(kind, object)
}

/// A time as the API writes it.
pub fn time(timestamp: Timestamp) -> String {
    timestamp.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Whether an object is still what whoever deletes it thinks it is.
///
/// # Errors
/// 409 if it is not.
pub fn check_preconditions(kind: &Kind, current: &Value, options: &DeleteOptions) -> Result<(), Failure> {
    let Some(wanted) = &options.preconditions else { return Ok(()) };
    for (what, wanted, field, why) in [
        ("UID", &wanted.uid, "uid", "deleted and then recreated"),
        ("ResourceVersion", &wanted.resource_version, "resourceVersion", "modified"),
    ] {
        let has = meta::text(current, field);
        if let Some(wanted) = wanted.as_ref().filter(|wanted| *wanted != has) {
            let why = format!(
                "the {what} in the precondition ({wanted}) does not match the {what} in record ({has}). The object might have \
                 been {why}"
            );
            return Err(Failure::conflict(kind, meta::text(current, "name"), &why));
        }
    }
    Ok(())
}

/// The finalizers by which the garbage collector knows what is wanted. What an earlier deletion wanted holds unless this one
/// says otherwise.
fn set_policy_finalizers(next: &mut Value, options: &DeleteOptions) {
    let before: Vec<String> = meta::finalizers(next).into_iter().map(str::to_owned).collect();
    let had = |finalizer: &str| before.iter().any(|f| f == finalizer);
    let (orphan, foreground) = match (options.orphan_dependents, options.propagation_policy.as_deref()) {
        (Some(orphan), _) => (orphan, false),
        (None, Some("Orphan")) => (true, false),
        (None, Some("Foreground")) => (false, true),
        (None, Some(_)) => (false, false),
        (None, None) => (had(ORPHAN), had(FOREGROUND)),
    };
    let mut after: Vec<&str> =
        before.iter().map(String::as_str).filter(|f| ![ORPHAN, FOREGROUND].contains(f)).collect();
    after
        .extend([(orphan, ORPHAN), (foreground, FOREGROUND)].into_iter().filter(|(wanted, _)| *wanted).map(|(_, f)| f));
    if after.len() != before.len() || after.iter().any(|f| !had(f)) {
        let after = (!after.is_empty()).then(|| json!(after));
        meta::set(next, "finalizers", after);
    }
}

/// Seconds that the object's node gets to end it: only a pod that runs somewhere has any.
fn grace(kind: &Kind, current: &Value, options: &DeleteOptions) -> i64 {
    let text = |pointer: &str| current.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let ended = matches!(text("/status/phase"), "Succeeded" | "Failed");
    if !kind.is("", "Pod") || text("/spec/nodeName").is_empty() || ended {
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
    kind.is("", "Namespace") && list.is_some_and(|list| !list.is_empty())
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
        assert_eq!(waiting["metadata"]["deletionGracePeriodSeconds"], 0);
    }

    #[test]
    fn a_later_deletion_may_say_otherwise_about_dependents_but_cannot_forget_other_finalizers() {
        let policy = |name: &str| DeleteOptions { propagation_policy: Some(name.into()), ..DeleteOptions::default() };
        let object = json!({"metadata": {"name": "c", "finalizers": ["example.com/mine"]}});
        let after = |object: &Value, options: &DeleteOptions| match at(kind("ConfigMap"), object, options) {
            Fate::Waits(next) => next,
            Fate::Unchanged => object.clone(),
            Fate::Gone => panic!("it is held"),
        };
        let foreground = after(&object, &policy("Foreground"));
        assert_eq!(meta::finalizers(&foreground), ["example.com/mine", "foregroundDeletion"]);
        assert_eq!(after(&foreground, &DeleteOptions::default()), foreground, "nothing else was said");
        assert_eq!(meta::finalizers(&after(&foreground, &policy("Orphan"))), ["example.com/mine", "orphan"]);
        assert_eq!(meta::finalizers(&after(&foreground, &policy("Background"))), ["example.com/mine"]);
        let alone = json!({"metadata": {"name": "c", "finalizers": ["orphan"]}});
        assert_eq!(at(kind("ConfigMap"), &alone, &policy("Background")), Fate::Gone);
        let older = DeleteOptions { orphan_dependents: Some(true), ..DeleteOptions::default() };
        assert_eq!(meta::finalizers(&after(&object, &older)), ["example.com/mine", "orphan"]);
    }

    #[test]
    fn options_that_there_are_not_are_named() {
        let refused = |options: DeleteOptions| options.check().unwrap_err().message;
        let policy = DeleteOptions { propagation_policy: Some("x".into()), ..DeleteOptions::default() };
        assert_eq!(
            refused(policy),
            "DeleteOptions.meta.k8s.io \"\" is invalid: propagationPolicy: Unsupported value: \"x\": supported values: \
             \"Foreground\", \"Background\", \"Orphan\", \"nil\""
        );
        let dry_run = DeleteOptions { dry_run: Some(vec!["x".into()]), ..DeleteOptions::default() };
        assert!(refused(dry_run).ends_with("dryRun: Unsupported value: []string{\"x\"}: supported values: \"All\""));
        let both = DeleteOptions {
            propagation_policy: Some("Orphan".into()),
            orphan_dependents: Some(true),
            ..DeleteOptions::default()
        };
        assert!(refused(both).contains("orphanDependents and deletionPropagation cannot be both set"));
    }

    #[test]
    fn a_running_period_is_shortened_from_when_it_began_and_never_lengthened() {
        let Fate::Waits(waiting) = at(kind("Pod"), &pod("n"), &DeleteOptions::default()) else { panic!() };
        let seconds = |seconds| DeleteOptions { grace_period_seconds: Some(seconds), ..DeleteOptions::default() };
        let later = Timestamp::from_second(3).unwrap();
        let Ok(Fate::Waits(shorter)) = fate(kind("Pod"), &waiting, &seconds(2), later) else { panic!() };
        assert_eq!(shorter["metadata"]["deletionTimestamp"], "1970-01-01T00:00:02Z");
        assert_eq!(at(kind("Pod"), &waiting, &seconds(60)), Fate::Unchanged);
        assert_eq!(at(kind("Pod"), &shorter, &seconds(0)), Fate::Gone);
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
    fn the_systems_priority_classes_stay() {
        let class = kinds::by_kind("scheduling.k8s.io", "v1", "PriorityClass").unwrap();
        let options = DeleteOptions::default();
        let named = |name: &str| fate(class, &json!({"metadata": {"name": name}}), &options, Timestamp::UNIX_EPOCH);
        let refused = named("system-node-critical").unwrap_err();
        let why = "priorityclasses.scheduling.k8s.io \"system-node-critical\" is forbidden: this is a system priority class and \
                   cannot be deleted";
        assert_eq!((refused.code.as_u16(), refused.message.as_str()), (403, why));
        assert_eq!(named("mine").unwrap(), Fate::Gone);
    }

    #[test]
    fn a_precondition_that_does_not_hold_is_a_conflict() {
        let wanted = Preconditions { uid: Some("x".into()), resource_version: None };
        let options = DeleteOptions { preconditions: Some(wanted), ..DeleteOptions::default() };
        let refused = fate(kind("Pod"), &pod("n"), &options, Timestamp::UNIX_EPOCH).unwrap_err();
        assert_eq!(refused.reason, "Conflict");
        let why = "the UID in the precondition (x) does not match the UID in record (). The object might have been deleted and \
                   then recreated";
        assert!(refused.message.ends_with(why), "{}", refused.message);
    }
}
