//! What a new object is given before it is stored. No I/O: time and identity are parameters.

use jiff::Timestamp;
use objects::kinds::Kind;
use serde_json::{Value, json};

use super::{delete, meta};
use crate::{api_services, status::Failure, validation};

/// What makes one creation differ from another.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The new object's uid.
    pub uid: String,
    /// The end of a generated name: five letters and digits.
    pub suffix: String,
    /// Now.
    pub now: Timestamp,
}

impl Identity {
    /// A fresh one.
    pub fn generate() -> Self {
        // Letters that cannot be mistaken for each other or spell words, as upstream generates names.
        const LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
        // The first bytes are random, and whoever sees the one sees the other.
        let random = uuid::Uuid::new_v4();
        let letter = |byte: &u8| LETTERS.get(usize::from(*byte) % LETTERS.len()).copied().map_or('x', char::from);
        let suffix = random.as_bytes().iter().take(5).map(letter).collect();
        Self { uid: random.to_string(), suffix, now: Timestamp::now() }
    }
}

/// The object as it is stored first. Its writer said it in a version of the kind, `view`.
///
/// # Errors
/// 400 when it does not fit the path, 422 when it says what it may not.
pub fn prepare(
    kind: &Kind,
    view: &Kind,
    namespace: &str,
    mut object: Value,
    identity: &Identity,
) -> Result<Value, Failure> {
    if kind.definition().is_some_and(|definition| definition.terminating) {
        return Err(Failure::terminating_definition());
    }
    place(kind, namespace, &mut object)?;
    if !matches!(meta::text(&object, "resourceVersion"), "" | "0") {
        return Err(Failure::bad_request("resourceVersion should not be set on objects to be created"));
    }
    if meta::text(&object, "name").is_empty() {
        let prefix = meta::text(&object, "generateName").to_owned();
        if prefix.is_empty() {
            let cause = crate::status::Cause::required("metadata.name", "name or generateName is required");
            return Err(Failure::invalid(kind, "", &[cause]));
        }
        // A name has 63 characters at most wherever it becomes a label or a host name.
        let prefix: String = prefix.chars().take(58).collect();
        meta::set(&mut object, "name", Some(format!("{prefix}{}", identity.suffix).into()));
    }
    for field in ["deletionTimestamp", "deletionGracePeriodSeconds", "managedFields", "selfLink", "resourceVersion"] {
        meta::set(&mut object, field, None);
    }
    meta::set(&mut object, "uid", Some(identity.uid.clone().into()));
    meta::set(&mut object, "creationTimestamp", Some(delete::time(identity.now).into()));
    if kind.status
        && let Some(map) = object.as_object_mut()
    {
        map.remove("status");
    }
    if kind.is_custom() {
        meta::set(&mut object, "generation", Some(1.into()));
    } else {
        start(kind, &mut object);
    }
    crate::defaults::apply(kind, &mut object);
    let causes = validation::create(kind, view, &object);
    if causes.is_empty() { Ok(object) } else { Err(Failure::invalid(kind, meta::text(&object, "name"), &causes)) }
}

/// Checks that the object belongs where it was sent, and says so in it.
fn place(kind: &Kind, namespace: &str, object: &mut Value) -> Result<(), Failure> {
    meta::check_type(object, &kind.api_version(), kind.kind).map_err(Failure::bad_request)?;
    let own = meta::text(object, "namespace");
    if kind.namespaced && !own.is_empty() && own != namespace {
        let message = format!(
            "the namespace of the provided object does not match the namespace sent on the request ({own:?} and {namespace:?})"
        );
        return Err(Failure::bad_request(message));
    }
    meta::set_type(object, kind.api_version(), kind.kind);
    meta::set(object, "namespace", kind.namespaced.then(|| namespace.into()));
    Ok(())
}

/// Kinds whose changes upstream counts, without a status of their own.
const COUNTED: &[(&str, &str)] = &[
    ("networking.k8s.io", "NetworkPolicy"),
    ("networking.k8s.io", "IngressClass"),
    ("discovery.k8s.io", "EndpointSlice"),
    ("scheduling.k8s.io", "PriorityClass"),
    ("admissionregistration.k8s.io", "MutatingWebhookConfiguration"),
    ("admissionregistration.k8s.io", "ValidatingWebhookConfiguration"),
    ("admissionregistration.k8s.io", "ValidatingAdmissionPolicyBinding"),
];

/// Kinds with a status whose changes upstream does not count.
const UNCOUNTED: &[(&str, &str)] = &[
    ("", "Namespace"),
    ("", "Node"),
    ("", "PersistentVolume"),
    ("", "PersistentVolumeClaim"),
    ("", "ResourceQuota"),
    ("", "Service"),
    ("apiregistration.k8s.io", "APIService"),
    ("autoscaling", "HorizontalPodAutoscaler"),
    ("certificates.k8s.io", "CertificateSigningRequest"),
    ("networking.k8s.io", "ServiceCIDR"),
    ("storage.k8s.io", "VolumeAttachment"),
];

/// What new objects of some kinds start with.
fn start(kind: &Kind, object: &mut Value) {
    let id = (kind.group, kind.kind);
    if kind.status && !UNCOUNTED.contains(&id) || COUNTED.contains(&id) {
        meta::set(object, "generation", Some(1.into()));
    }
    match id {
        ("", "Namespace") => {
            meta::section(object, "spec").entry("finalizers").or_insert_with(|| json!(["kubernetes"]));
            meta::section(object, "status").insert("phase".to_owned(), json!("Active"));
        }
        ("apiregistration.k8s.io", "APIService") => {
            let conditions = api_services::conditions(object);
            meta::section(object, "status").insert("conditions".to_owned(), conditions);
        }
        ("", "Pod") => start_pod(object),
        ("", "Service") => drop(meta::section(object, "status").insert("loadBalancer".to_owned(), json!({}))),
        ("batch", "Job") => select_own_pods(object),
        _ => {}
    }
}

/// A pod is pending, and says so if it is not to be placed yet.
fn start_pod(pod: &mut Value) {
    let is_gated =
        pod.pointer("/spec/schedulingGates").and_then(Value::as_array).is_some_and(|gates| !gates.is_empty());
    let status = meta::section(pod, "status");
    status.insert("phase".to_owned(), json!("Pending"));
    if is_gated {
        let message = "Scheduling is blocked due to non-empty scheduling gates";
        let condition = json!({"type": "PodScheduled", "status": "False", "reason": "SchedulingGated", "message": message,
            "lastProbeTime": null, "lastTransitionTime": null});
        status.insert("conditions".to_owned(), json!([condition]));
    }
}

/// A Job that does not name its pods itself gets labels that no other Job's pods have: its uid and its name.
fn select_own_pods(job: &mut Value) {
    let (uid, name) = (meta::text(job, "uid").to_owned(), meta::text(job, "name").to_owned());
    let spec = meta::section(job, "spec");
    if spec.get("manualSelector") == Some(&json!(true)) {
        return;
    }
    // What else it selects by is refused later if its own pods do not have it.
    let selector = spec.entry("selector").or_insert_with(|| json!({}));
    if let Some(selector) = selector.as_object_mut() {
        let labels = selector.entry("matchLabels").or_insert_with(|| json!({}));
        if let Some(labels) = labels.as_object_mut() {
            labels.entry("batch.kubernetes.io/controller-uid").or_insert_with(|| uid.clone().into());
        }
    }
    let Some(template) = spec.get_mut("template").filter(|template| template.is_object()) else { return };
    let labels = meta::metadata(template).entry("labels").or_insert_with(|| json!({}));
    for (label, value) in [
        ("batch.kubernetes.io/controller-uid", &uid),
        ("batch.kubernetes.io/job-name", &name),
        // The names before 1.27, which tools still look for.
        ("controller-uid", &uid),
        ("job-name", &name),
    ] {
        if let Some(labels) = labels.as_object_mut() {
            labels.entry(label).or_insert_with(|| value.clone().into());
        }
    }
}

#[cfg(test)]
mod tests {
    use objects::kinds;

    use super::*;

    fn identity() -> Identity {
        Identity { uid: "u".into(), suffix: "abcde".into(), now: Timestamp::UNIX_EPOCH }
    }

    #[test]
    fn the_server_decides_what_is_the_servers() {
        let pods = kinds::by_kind("", "v1", "Pod").unwrap();
        let sent = json!({"metadata": {"generateName": "a-", "uid": "mine", "managedFields": []}, "status": {"phase": "Running"},
            "spec": {"containers": [{"name": "c", "image": "i"}]}});
        let made = prepare(pods, pods, "ns", sent, &identity()).unwrap();
        assert_eq!(made["metadata"]["name"], "a-abcde");
        assert_eq!(made["metadata"]["uid"], "u");
        assert_eq!(made["metadata"]["namespace"], "ns");
        assert_eq!(made["status"]["phase"], "Pending");
        assert_eq!((&made["kind"], &made["apiVersion"]), (&json!("Pod"), &json!("v1")));
    }

    #[test]
    fn an_object_sent_to_the_wrong_place_is_refused() {
        let pods = kinds::by_kind("", "v1", "Pod").unwrap();
        for wrong in [
            json!({"kind": "Secret"}),
            json!({"metadata": {"namespace": "other"}}),
            json!({"metadata": {}}),
            json!({"metadata": {"name": "a", "resourceVersion": "7"}}),
        ] {
            assert!(prepare(pods, pods, "ns", wrong, &identity()).is_err());
        }
    }

    #[test]
    fn generated_names_are_letters_and_digits() {
        let suffix = Identity::generate().suffix;
        assert_eq!(suffix.len(), 5);
        assert!(suffix.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()), "{suffix}");
    }
}
