//! Workloads: what manages pods by a template.

use serde_json::{Map, Value, json};

use super::{child, each, pod, set, volume};
use crate::registry::meta::section;

pub(super) fn deployment(object: &mut Value) {
    let spec = section(object, "spec");
    set(spec, "replicas", json!(1));
    set(spec, "revisionHistoryLimit", json!(10));
    set(spec, "progressDeadlineSeconds", json!(600));
    rolling(spec, "strategy", &[("maxSurge", json!("25%")), ("maxUnavailable", json!("25%"))]);
    template(spec);
}

pub(super) fn replica_set(object: &mut Value) {
    let spec = section(object, "spec");
    set(spec, "replicas", json!(1));
    template(spec);
}

/// A ReplicationController without a selector or labels takes them from its template.
pub(super) fn replication_controller(object: &mut Value) {
    let labels = object.pointer("/spec/template/metadata/labels").cloned();
    let spec = section(object, "spec");
    set(spec, "replicas", json!(1));
    template(spec);
    if let Some(labels) = labels {
        set(spec, "selector", labels.clone());
        set(section(object, "metadata"), "labels", labels);
    }
}

pub(super) fn stateful_set(object: &mut Value) {
    let spec = section(object, "spec");
    set(spec, "replicas", json!(1));
    set(spec, "revisionHistoryLimit", json!(10));
    set(spec, "podManagementPolicy", json!("OrderedReady"));
    set(spec, "persistentVolumeClaimRetentionPolicy", json!({}));
    if let Some(policy) = child(spec, "persistentVolumeClaimRetentionPolicy") {
        set(policy, "whenDeleted", json!("Retain"));
        set(policy, "whenScaled", json!("Retain"));
    }
    rolling(spec, "updateStrategy", &[("partition", json!(0))]);
    template(spec);
    for claim in each(spec, "volumeClaimTemplates") {
        set(claim, "apiVersion", json!("v1"));
        set(claim, "kind", json!("PersistentVolumeClaim"));
        volume::claim_fields(claim);
    }
}

pub(super) fn daemon_set(object: &mut Value) {
    let spec = section(object, "spec");
    set(spec, "revisionHistoryLimit", json!(10));
    rolling(spec, "updateStrategy", &[("maxUnavailable", json!(1)), ("maxSurge", json!(0))]);
    template(spec);
}

/// An update strategy that rolls unless something else is said.
fn rolling(spec: &mut Map<String, Value>, field: &str, parameters: &[(&str, Value)]) {
    set(spec, field, json!({}));
    let Some(strategy) = child(spec, field) else { return };
    set(strategy, "type", json!("RollingUpdate"));
    if strategy.get("type").is_some_and(|t| t == "RollingUpdate") {
        set(strategy, "rollingUpdate", json!({}));
        if let Some(rolling) = child(strategy, "rollingUpdate") {
            parameters.iter().for_each(|(name, value)| set(rolling, name, value.clone()));
        }
    }
}

pub(super) fn job(object: &mut Value) {
    let labels = object.pointer("/spec/template/metadata/labels").filter(|l| l.is_object()).cloned();
    let spec = section(object, "spec");
    if spec.get("completions").is_none() && spec.get("parallelism").is_none() {
        set(spec, "completions", json!(1));
    }
    set(spec, "parallelism", json!(1));
    let per_index = spec.get("backoffLimitPerIndex").is_some();
    set(spec, "backoffLimit", if per_index { json!(i32::MAX) } else { json!(6) });
    set(spec, "completionMode", json!("NonIndexed"));
    set(spec, "suspend", json!(false));
    set(spec, "manualSelector", json!(false));
    let replaces = if spec.get("podFailurePolicy").is_some() { "Failed" } else { "TerminatingOrFailed" };
    set(spec, "podReplacementPolicy", json!(replaces));
    job_template(spec);
    if let Some(labels) = labels {
        set(section(object, "metadata"), "labels", labels);
    }
}

pub(super) fn cron_job(object: &mut Value) {
    let spec = section(object, "spec");
    set(spec, "concurrencyPolicy", json!("Allow"));
    set(spec, "suspend", json!(false));
    set(spec, "successfulJobsHistoryLimit", json!(3));
    set(spec, "failedJobsHistoryLimit", json!(1));
    set(spec, "jobTemplate", json!({}));
    if let Some(template) = child(spec, "jobTemplate") {
        set(template, "metadata", json!({}));
        set(template, "spec", json!({}));
        if let Some(job) = child(template, "spec") {
            job_template(job);
        }
    }
}

/// What a Job's spec gets wherever it stands.
fn job_template(spec: &mut Map<String, Value>) {
    template(spec);
    if let Some(policy) = child(spec, "podFailurePolicy") {
        for rule in each(policy, "rules") {
            each(rule, "onPodConditions").for_each(|pattern| set(pattern, "status", json!("True")));
        }
    }
}

pub(super) fn pod_template(object: &mut Value) {
    if let Some(object) = object.as_object_mut() {
        template(object);
    }
}

/// The template of an object's pods.
fn template(spec: &mut Map<String, Value>) {
    if let Some(template) = child(spec, "template") {
        set(template, "metadata", json!({}));
        if let Some(spec) = child(template, "spec") {
            pod::spec(spec);
        }
    }
}
