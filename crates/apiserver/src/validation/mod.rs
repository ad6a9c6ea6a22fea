//! What an object may say: upstream's validation, kind by kind, in its words. It sees objects as they are stored, with their
//! defaults.

mod access;
mod at;
mod autoscaler;
mod batch;
mod certificates;
mod change;
mod cluster;
mod container;
mod creation;
mod cron;
mod data;
mod ephemeral;
mod event;
mod gateway;
mod ingress;
mod job_policies;
pub(crate) mod metadata;
mod network;
mod placement;
mod pod;
mod pod_change;
mod policy;
mod quota;
mod resize;
mod rows;
mod security;
mod sets;
mod storage;
mod vertical;
mod volume;
mod workload;

use objects::kinds::Kind;
use serde_json::Value;

pub(crate) use self::at::At;
use self::rows::row;
use crate::{crd, status::Cause};

pub(crate) use cluster::SYSTEM_PRIORITIES;
pub(crate) use resize::only_sizes;

/// What is wrong with a new object, which its writer said in a version of the kind, `view`.
pub fn create(kind: &Kind, view: &Kind, object: &Value) -> Vec<Cause> {
    let mut causes = metadata::check(kind, object);
    if kind.is_custom() {
        causes.extend(crd::objects::validate(kind, object, None));
        return causes;
    }
    causes.extend(creation::check(kind, object));
    causes.extend(spec(kind, &At::root(object)));
    if is_strict(view) {
        causes.extend(event::strictly(&At::root(object)));
    }
    causes
}

/// What is wrong with a change of an object, which its writer said in a version of the kind, `view`.
pub fn update(kind: &Kind, view: &Kind, new: &Value, old: &Value) -> Vec<Cause> {
    let mut causes = metadata::check(kind, new);
    causes.extend(metadata::change(new, old));
    if kind.is_custom() {
        causes.extend(crd::objects::validate(kind, new, Some(old)));
        return causes;
    }
    if crd::is_definition(kind) {
        causes.extend(crd::validation::update(new, old));
        return causes;
    }
    // What may not change is said first: it is what the client has to know.
    causes.extend(row(kind).map_or_else(|| gateway::change(kind, new, old), |row| (row.change)(new, old)));
    causes.extend(spec(kind, &At::root(new)));
    if is_strict(view) {
        causes.extend(event::strict_change(new, old));
    }
    causes
}

/// What is wrong with a change of the status of a custom resource.
pub fn custom_status(kind: &Kind, new: &Value, old: &Value) -> Vec<Cause> {
    crd::objects::validate_status(kind, new, old)
}

/// Of events more is asked in their own group than in `v1`.
fn is_strict(view: &Kind) -> bool {
    view.is("events.k8s.io", "Event")
}

/// What is wrong with a change of a Pod's ephemeral containers.
pub fn ephemeral(new: &Value, old: &Value) -> Vec<Cause> {
    ephemeral::check(new, old)
}

/// What is wrong with a resize of a Pod.
pub fn resize(kind: &Kind, new: &Value, old: &Value) -> Vec<Cause> {
    let mut causes = resize::check(new, old);
    causes.extend(spec(kind, &At::root(new)));
    causes
}

/// What is wrong with a decision about a CertificateSigningRequest, or with what was made of it.
pub fn decision(new: &Value, old: &Value, is_approval: bool) -> Vec<Cause> {
    certificates::decision(new, old, is_approval)
}

fn spec(kind: &Kind, object: &At<'_>) -> Vec<Cause> {
    let mut causes = Vec::new();
    match row(kind) {
        Some(row) => (row.check)(object, &mut causes),
        None => gateway::check(kind, object, &mut causes),
    }
    causes
}

#[cfg(test)]
mod tests;
