//! A Deployment's status: counts, and the conditions Available and Progressing with upstream's reasons (`progress.go`).

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::{
    api::apps::v1::{Deployment, DeploymentCondition, DeploymentStatus},
    apimachinery::pkg::apis::meta::v1::Time,
};
use kube::ResourceExt;

use super::{plan::Bounds, sets::Set};

const COMPLETE: &str = "NewReplicaSetAvailable";
const TIMED_OUT: &str = "ProgressDeadlineExceeded";
const FAILURE: &str = "ReplicaFailure";

/// The status, and when it changes by itself.
pub(super) struct Status {
    pub status: DeploymentStatus,
    pub again: Option<Duration>,
}

/// The status of a Deployment with these sets.
pub(super) fn of(deployment: &Deployment, new: Option<&Set<'_>>, all: &[Set<'_>], now: Timestamp) -> Status {
    let last = deployment.status.clone().unwrap_or_default();
    let sum = |count: fn(&Set<'_>) -> i32| all.iter().map(count).sum::<i32>();
    let replicas = sum(|set| set.object.status.as_ref().map_or(0, |s| s.replicas));
    let ready = sum(|set| set.object.status.as_ref().and_then(|s| s.ready_replicas).unwrap_or(0));
    let available = sum(|set| set.available);
    let wanted = sum(|set| set.replicas);
    let updated = new.and_then(|set| set.object.status.as_ref()).map_or(0, |s| s.replicas);
    let count = |number: i32| (number > 0).then_some(number);
    let mut status = DeploymentStatus {
        observed_generation: deployment.metadata.generation,
        replicas: count(replicas),
        updated_replicas: count(updated),
        ready_replicas: count(ready),
        available_replicas: count(available),
        unavailable_replicas: count(wanted.max(replicas) - available),
        collision_count: last.collision_count,
        conditions: last.conditions.clone(),
        terminating_replicas: None,
    };
    let bounds = Bounds::of(deployment);
    set_available(&mut status, bounds, available, now);
    let again = set_progressing(deployment, &last, &mut status, new, now);
    set_failure(&mut status, new, all, now);
    Status { status, again }
}

/// What a set cannot do its Deployment cannot do: the new set's failure counts first.
fn set_failure(status: &mut DeploymentStatus, new: Option<&Set<'_>>, all: &[Set<'_>], now: Timestamp) {
    let failure = |set: &Set<'_>| {
        let conditions = set.object.status.as_ref()?.conditions.as_ref()?;
        conditions.iter().find(|c| c.type_ == FAILURE && c.status == "True").cloned()
    };
    match new.and_then(failure).or_else(|| all.iter().find_map(failure)) {
        Some(failed) => {
            let reason = failed.reason.unwrap_or_default();
            set(status, FAILURE, "True", &reason, failed.message.unwrap_or_default(), false, now);
        }
        None => status.conditions.iter_mut().for_each(|all| all.retain(|c| c.type_ != FAILURE)),
    }
}

/// The status of a Deployment whose new ReplicaSet the API refuses.
pub(super) fn create_failed(
    deployment: &Deployment,
    name: &str,
    error: &dyn std::fmt::Display,
    now: Timestamp,
) -> DeploymentStatus {
    let mut status = deployment.status.clone().unwrap_or_default();
    let message = format!("Failed to create new replica set \"{name}\": {error}");
    set(&mut status, "Progressing", "False", "FailedCreate", message, false, now);
    status
}

/// Whether every pod is new and available.
pub(super) fn is_complete(deployment: &Deployment, status: &DeploymentStatus) -> bool {
    let wanted = Some(Bounds::of(deployment).replicas).filter(|replicas| *replicas > 0);
    status.updated_replicas == wanted
        && status.replicas == wanted
        && status.available_replicas == wanted
        && status.observed_generation >= deployment.metadata.generation
}

fn set_available(status: &mut DeploymentStatus, bounds: Bounds, available: i32, now: Timestamp) {
    let (state, reason, message) = if available >= bounds.replicas - bounds.unavailable {
        ("True", "MinimumReplicasAvailable", "Deployment has minimum availability.")
    } else {
        ("False", "MinimumReplicasUnavailable", "Deployment does not have minimum availability.")
    };
    set(status, "Available", state, reason, message.to_owned(), false, now);
}

/// Sets Progressing and says when its deadline ends.
fn set_progressing(
    deployment: &Deployment,
    last: &DeploymentStatus,
    status: &mut DeploymentStatus,
    new: Option<&Set<'_>>,
    now: Timestamp,
) -> Option<Duration> {
    let spec = deployment.spec.as_ref()?;
    let deadline = spec.progress_deadline_seconds.unwrap_or(600);
    if deadline == i32::MAX {
        // No deadline, no judgement.
        status.conditions.iter_mut().for_each(|all| all.retain(|c| c.type_ != "Progressing"));
        return None;
    }
    let current = condition(status, "Progressing").cloned();
    let name = match new {
        Some(set) => format!("ReplicaSet \"{}\"", set.object.name_any()),
        None => format!("Deployment \"{}\"", deployment.name_any()),
    };
    let reason =
        |condition: &Option<DeploymentCondition>| condition.as_ref().and_then(|c| c.reason.clone()).unwrap_or_default();
    if spec.paused.unwrap_or(false) {
        // A lack of progress that was reported stays reported.
        if !["DeploymentPaused", TIMED_OUT].contains(&reason(&current).as_str()) {
            set(status, "Progressing", "Unknown", "DeploymentPaused", "Deployment is paused".to_owned(), true, now);
        }
        return None;
    }
    if is_complete(deployment, status) {
        set(status, "Progressing", "True", COMPLETE, format!("{name} has successfully progressed."), false, now);
        return None;
    }
    // A rollout that is through does not begin again because a pod comes and goes.
    if reason(&current) == COMPLETE && new.is_some() && status.replicas == status.updated_replicas {
        return None;
    }
    let resumed = reason(&current) == "DeploymentPaused";
    if resumed {
        set(status, "Progressing", "Unknown", "DeploymentResumed", "Deployment is resumed".to_owned(), true, now);
    }
    let new_template = new.is_none() && reason(&current) != "NewReplicaSetCreated";
    if has_progressed(last, status) || new_template || current.is_none() {
        let created = super::sets::template_hash(deployment);
        let (reason, message) = match new {
            Some(set) if current.is_none() => {
                ("FoundNewReplicaSet", format!("Found new replica set \"{}\"", set.object.name_any()))
            }
            Some(_) => ("ReplicaSetUpdated", format!("{name} is progressing.")),
            None => {
                ("NewReplicaSetCreated", format!("Created new replica set \"{}-{created}\"", deployment.name_any()))
            }
        };
        set(status, "Progressing", "True", reason, message, true, now);
    }
    let since = condition(status, "Progressing").filter(|c| c.reason.as_deref() != Some(COMPLETE))?;
    let end = since.last_update_time.as_ref()?.0.checked_add(SignedDuration::from_secs(deadline.into())).ok()?;
    if since.reason.as_deref() == Some(TIMED_OUT) {
        return None;
    }
    if now > end {
        set(status, "Progressing", "False", TIMED_OUT, format!("{name} has timed out progressing."), true, now);
        return None;
    }
    let left = end.duration_since(now);
    Some(Duration::try_from(left).unwrap_or_default() + Duration::from_secs(1))
}

fn has_progressed(last: &DeploymentStatus, status: &DeploymentStatus) -> bool {
    let old = |s: &DeploymentStatus| s.replicas.unwrap_or(0) - s.updated_replicas.unwrap_or(0);
    status.updated_replicas > last.updated_replicas
        || old(status) < old(last)
        || status.ready_replicas > last.ready_replicas
        || status.available_replicas > last.available_replicas
}

fn condition<'a>(status: &'a DeploymentStatus, name: &str) -> Option<&'a DeploymentCondition> {
    status.conditions.iter().flatten().find(|condition| condition.type_ == name)
}

/// Sets a condition. Its update time moves when `touch` is set or anything changes, its transition time with its status.
fn set(
    status: &mut DeploymentStatus,
    name: &str,
    state: &str,
    reason: &str,
    message: String,
    touch: bool,
    now: Timestamp,
) {
    let last = condition(status, name).cloned();
    let same = last.as_ref().is_some_and(|c| c.status == state && c.reason.as_deref() == Some(reason));
    if same && !touch {
        return;
    }
    // Times are written in whole seconds: within one second nothing has changed.
    let now = Time(Timestamp::from_second(now.as_second()).unwrap_or(now));
    let since = last.filter(|c| c.status == state).and_then(|c| c.last_transition_time);
    let next = DeploymentCondition {
        type_: name.to_owned(),
        status: state.to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(message),
        last_update_time: Some(now.clone()),
        last_transition_time: since.or(Some(now)),
    };
    let all = status.conditions.get_or_insert_default();
    match all.iter_mut().find(|c| c.type_ == name) {
        Some(found) => *found = next,
        None => all.push(next),
    }
}
