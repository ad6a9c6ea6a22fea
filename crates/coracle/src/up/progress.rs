//! Waits until the applied objects do what they are for, and says what each still waits for.

use std::collections::BTreeMap;

use anyhow::bail;
use futures::{StreamExt, stream::SelectAll};
use kube::{
    Api, Client, ResourceExt,
    api::{ApiResource, DynamicObject, GroupVersionKind},
    runtime::{
        WatchStreamExt,
        watcher::{self, Event},
    },
};
use serde_json::Value;

use super::report::Report;
use crate::apply::Target;

/// How far one object is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// It does what it is for.
    Ready(String),
    /// It waits for this.
    Waiting(String),
    /// It will not become ready by itself.
    Failed(String),
}

/// The kinds that take time, and the function that tells how far one is.
type Judge = fn(&Value) -> Readiness;
const JUDGES: &[(&str, &str, Judge)] = &[
    ("", "pods", pod),
    ("apps", "deployments", deployment),
    ("gateway.networking.k8s.io", "gateways", gateway),
    ("gateway.networking.k8s.io", "httproutes", route),
    ("gateway.networking.k8s.io", "grpcroutes", route),
    ("gateway.networking.k8s.io", "tlsroutes", route),
    ("gateway.networking.k8s.io", "tcproutes", route),
    ("gateway.networking.k8s.io", "udproutes", route),
];

fn judge(target: &Target) -> Option<Judge> {
    let row = JUDGES.iter().find(|(group, plural, _)| (*group, *plural) == (target.group, target.plural));
    row.map(|(_, _, judge)| *judge)
}

/// Returns when every target is ready.
///
/// # Errors
/// When a rollout exceeded its progress deadline: names the Deployment and says why.
pub async fn until_ready(client: Client, targets: &[Target], report: &Report) -> anyhow::Result<()> {
    let mut waiting: BTreeMap<&Target, Option<Readiness>> =
        targets.iter().filter(|t| judge(t).is_some()).map(|t| (t, None)).collect();
    let mut changes: SelectAll<_> = waiting.keys().map(|target| watch(&client, (*target).clone())).collect();
    while !waiting.is_empty() {
        let Some((target, object)) = changes.next().await else { break };
        let Some(judge) = judge(&target) else { continue };
        let Some((key, last)) = waiting.iter_mut().find(|(key, _)| ***key == target) else { continue };
        let now = judge(&object);
        if last.as_ref() == Some(&now) {
            continue;
        }
        match &now {
            Readiness::Failed(why) => bail!("{target}: {why}"),
            Readiness::Waiting(why) => {
                report.progress(&target, false, why);
                *last = Some(now);
            }
            Readiness::Ready(how) => {
                report.progress(&target, true, how);
                let key = *key;
                waiting.remove(key);
            }
        }
    }
    Ok(())
}

type Changes = std::pin::Pin<Box<dyn futures::Stream<Item = (Target, Value)> + Send>>;

fn watch(client: &Client, target: Target) -> Changes {
    let kind = objects::kinds::by_resource(target.group, target.version, target.plural).map_or("", |k| k.kind);
    let gvk = GroupVersionKind::gvk(target.group, target.version, kind);
    let resource = ApiResource::from_gvk_with_plural(&gvk, target.plural);
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), &target.namespace, &resource);
    let config = watcher::Config::default().fields(&format!("metadata.name={}", target.name));
    let stream = kube::runtime::watcher(api, config).default_backoff().filter_map(move |event| {
        let found = match event {
            Ok(Event::Apply(object) | Event::InitApply(object)) if object.name_any() == target.name => Some(object),
            _ => None,
        };
        let found = found.and_then(|o| serde_json::to_value(o).ok()).map(|value| (target.clone(), value));
        std::future::ready(found)
    });
    stream.boxed()
}

fn number(object: &Value, pointer: &str) -> i64 {
    object.pointer(pointer).and_then(Value::as_i64).unwrap_or(0)
}

fn conditions(list: Option<&Value>) -> impl Iterator<Item = &Value> {
    list.and_then(Value::as_array).into_iter().flatten()
}

fn text<'a>(object: &'a Value, key: &str) -> &'a str {
    object.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// As `kubectl rollout status` judges it.
fn deployment(object: &Value) -> Readiness {
    if number(object, "/metadata/generation") > number(object, "/status/observedGeneration") {
        return Readiness::Waiting("not seen by the deployment controller yet".to_owned());
    }
    let mut all = conditions(object.pointer("/status/conditions"));
    if let Some(stuck) = all.find(|c| text(c, "reason") == "ProgressDeadlineExceeded") {
        return Readiness::Failed(text(stuck, "message").to_owned());
    }
    let wanted = object.pointer("/spec/replicas").and_then(Value::as_i64).unwrap_or(1);
    let (updated, total) = (number(object, "/status/updatedReplicas"), number(object, "/status/replicas"));
    let available = number(object, "/status/availableReplicas");
    if updated < wanted {
        Readiness::Waiting(format!("{updated} of {wanted} pods have the new template"))
    } else if total > updated {
        Readiness::Waiting(format!("{} old pods are still there", total - updated))
    } else if available < updated {
        Readiness::Waiting(format!("{available} of {updated} pods are available"))
    } else {
        Readiness::Ready(format!("{available} of {wanted} pods are available"))
    }
}

/// One that runs to its end is there when it has succeeded, any other when it is ready.
fn pod(object: &Value) -> Readiness {
    let status = |key| object.pointer("/status").map(|status| text(status, key)).unwrap_or_default();
    let ready = conditions(object.pointer("/status/conditions")).find(|c| text(c, "type") == "Ready");
    match (status("phase"), ready) {
        ("Succeeded", _) => Readiness::Ready("Succeeded".to_owned()),
        ("Failed", _) => Readiness::Failed(format!("it failed: {} {}", status("reason"), status("message"))),
        (_, Some(ready)) if text(ready, "status") == "True" => Readiness::Ready("Ready".to_owned()),
        (_, Some(ready)) if !text(ready, "message").is_empty() => Readiness::Waiting(text(ready, "message").to_owned()),
        ("", _) => Readiness::Waiting("not seen by the node yet".to_owned()),
        (phase, _) => Readiness::Waiting(phase.to_owned()),
    }
}

/// Whether the wanted conditions are all true for the object as it is now.
fn all_true(object: &Value, list: Option<&Value>, wanted: &[&str]) -> Readiness {
    let generation = number(object, "/metadata/generation");
    for name in wanted {
        match conditions(list).find(|c| text(c, "type") == *name) {
            Some(c) if number(c, "/observedGeneration") < generation => {
                return Readiness::Waiting(format!("{name} is not up to date yet"));
            }
            Some(c) if text(c, "status") == "True" => {}
            Some(c) => return Readiness::Waiting(format!("{name} is {}: {}", text(c, "status"), text(c, "message"))),
            None => return Readiness::Waiting("not seen by a gateway controller yet".to_owned()),
        }
    }
    Readiness::Ready(wanted.join(", "))
}

fn gateway(object: &Value) -> Readiness {
    all_true(object, object.pointer("/status/conditions"), &["Accepted", "Programmed"])
}

fn route(object: &Value) -> Readiness {
    let Some(parents) = object.pointer("/status/parents").and_then(Value::as_array).filter(|p| !p.is_empty()) else {
        return Readiness::Waiting("not seen by a gateway controller yet".to_owned());
    };
    let judged = parents.iter().map(|p| all_true(object, p.get("conditions"), &["Accepted", "ResolvedRefs"]));
    let mut last = Readiness::Waiting(String::new());
    for readiness in judged {
        if !matches!(readiness, Readiness::Ready(_)) {
            return readiness;
        }
        last = readiness;
    }
    last
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn rollout(status: &Value) -> Readiness {
        deployment(&json!({"metadata": {"generation": 2}, "spec": {"replicas": 3}, "status": status}))
    }

    #[test]
    fn a_deployment_is_ready_when_every_pod_is_new_and_available() {
        let counts = |updated, total, available| {
            rollout(
                &json!({"observedGeneration": 2, "updatedReplicas": updated, "replicas": total, "availableReplicas": available}),
            )
        };
        assert!(matches!(counts(2, 4, 3), Readiness::Waiting(m) if m.starts_with("2 of 3")));
        assert!(matches!(counts(3, 4, 3), Readiness::Waiting(m) if m.starts_with("1 old")));
        assert!(matches!(counts(3, 3, 1), Readiness::Waiting(m) if m.starts_with("1 of 3")));
        assert!(matches!(counts(3, 3, 3), Readiness::Ready(_)));
        assert!(matches!(rollout(&json!({"observedGeneration": 1})), Readiness::Waiting(_)));
    }

    #[test]
    fn a_rollout_past_its_deadline_is_a_failure_with_its_reason() {
        let stuck = json!([{"type": "Progressing", "reason": "ProgressDeadlineExceeded", "message": "timed out"}]);
        let status = json!({"observedGeneration": 2, "conditions": stuck});
        assert_eq!(rollout(&status), Readiness::Failed("timed out".to_owned()));
    }

    #[test]
    fn a_pod_is_there_when_it_is_ready_or_has_done_its_work() {
        let with = |phase: &str, ready: &str| {
            let ready = json!([{"type": "Ready", "status": ready, "message": "containers with unready status: [a]"}]);
            pod(&json!({"status": {"phase": phase, "conditions": ready}}))
        };
        assert_eq!(pod(&json!({})), Readiness::Waiting("not seen by the node yet".to_owned()));
        assert_eq!(with("Running", "False"), Readiness::Waiting("containers with unready status: [a]".to_owned()));
        assert_eq!(with("Running", "True"), Readiness::Ready("Ready".to_owned()));
        assert_eq!(with("Succeeded", "False"), Readiness::Ready("Succeeded".to_owned()));
        assert!(matches!(with("Failed", "False"), Readiness::Failed(_)));
    }

    #[test]
    fn a_route_is_ready_when_every_parent_took_this_version_of_it() {
        let parent = |generation| {
            json!({"conditions": [
                {"type": "Accepted", "status": "True", "observedGeneration": generation},
                {"type": "ResolvedRefs", "status": "True", "observedGeneration": generation},
            ]})
        };
        let with = |parents: &[Value]| route(&json!({"metadata": {"generation": 2}, "status": {"parents": parents}}));
        assert!(matches!(with(&[]), Readiness::Waiting(_)));
        assert!(matches!(with(&[parent(2), parent(1)]), Readiness::Waiting(_)));
        assert!(matches!(with(&[parent(2), parent(2)]), Readiness::Ready(_)));
    }
}
