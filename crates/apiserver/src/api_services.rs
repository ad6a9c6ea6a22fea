//! `APIService` objects: who serves a group and version. Those that are served here on somebody's behalf have one, so that people
//! and programs find them (`kubectl get apiservices`). One that names a Service is kept, and nothing is handed to the Service:
//! whoever asks for its group is told so.

use std::sync::Weak;

use jiff::Timestamp;
use objects::kinds::{self, Kind};
use serde_json::{Value, json};

use crate::{
    registry::{Registry, delete, meta, parse},
    status::Failure,
};

const GROUP: &str = "apiregistration.k8s.io";
/// Upstream's label of those that nobody but the server itself made.
const MANAGED: &str = "kube-aggregator.kubernetes.io/automanaged";
/// What upstream recommends for groups of `k8s.io`, and for a group's only version.
const PRIORITIES: (i64, i64) = (18_000, 100);

fn kind() -> Option<&'static Kind> {
    kinds::by_kind(GROUP, "v1", "APIService")
}

/// Makes the object of a group and version that is served here, unless there is one.
pub(crate) async fn announce(registry: Weak<Registry>, group: String, version: String) {
    let (Some(registry), Some(kind)) = (registry.upgrade(), kind()) else { return };
    let (group_priority, version_priority) = PRIORITIES;
    let object = json!({
        "metadata": {"name": format!("{version}.{group}"), "labels": {MANAGED: "onstart"}},
        "spec": {"group": group, "version": version, "groupPriorityMinimum": group_priority, "versionPriority": version_priority},
    });
    match registry.create(kind, "", object, false).await {
        Err(failure) if failure.reason != "AlreadyExists" => {
            tracing::warn!("make the APIService of {group}/{version}: {}", failure.message);
        }
        _ => {}
    }
}

/// What a new object's status says.
pub(crate) fn conditions(object: &Value) -> Value {
    let (status, reason, message) = match object.pointer("/spec/service") {
        None => ("True", "Local", "Local APIServices are always available"),
        Some(_) => ("False", "ServiceNotAsked", "requests are not handed to Services here"),
    };
    json!([{"type": "Available", "status": status, "reason": reason, "message": message,
        "lastTransitionTime": delete::time(Timestamp::now())}])
}

/// Why a path names no resource: 503 for a group and version that a Service is said to serve, 404 for all others.
pub(crate) fn absent(registry: &Registry, path: &str) -> Failure {
    let named = || {
        let mut segments = path.strip_prefix("/apis/")?.split('/');
        let (group, version) = (segments.next()?, segments.next()?);
        let name = format!("{version}.{group}");
        let service = parse(&registry.get(kind()?, "", &name).ok()?).ok()?.pointer_mut("/spec/service")?.take();
        let (namespace, service) = (text(&service, "namespace"), text(&service, "name"));
        Some(Failure::unavailable(format!(
            "APIService {name:?} names the Service {namespace}/{service}, and requests are not handed to Services here"
        )))
    };
    named().unwrap_or_else(Failure::no_such_path)
}

fn text(reference: &Value, field: &str) -> String {
    reference.get(field).and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// Fills in what an object does not say.
pub(crate) fn default(object: &mut Value) {
    if let Some(Value::Object(service)) = meta::section(object, "spec").get_mut("service") {
        service.entry("port").or_insert_with(|| json!(443));
    }
}
