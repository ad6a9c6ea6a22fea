//! The columns of workloads.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    AGE, Column, age, column, condition, duration, integer, joined, labels, list, number, selector, text, text_or, wide,
};

const CONTAINERS: Column =
    wide("Containers", |o, _| joined(containers(o).map(|container| text(container, "/name")), "").into());
const IMAGES: Column =
    wide("Images", |o, _| joined(containers(o).map(|container| text(container, "/image")), "").into());
const SELECTOR: Column = wide("Selector", |o, _| selector(o.pointer("/spec/selector")).into());

/// The containers of a workload's pods.
fn containers(object: &Value) -> impl Iterator<Item = &Value> {
    let places = ["/spec/template/spec", "/spec/jobTemplate/spec/template/spec", "/template/spec"];
    let spec = places.iter().find_map(|place| object.pointer(place)).unwrap_or(&Value::Null);
    list(spec, "/containers")
}

pub(super) const DEPLOYMENT: &[Column] = &[
    column("Ready", |d, _| format!("{}/{}", number(d, "/status/readyReplicas"), number(d, "/spec/replicas")).into()),
    column("Up-to-date", |d, _| number(d, "/status/updatedReplicas").into()),
    column("Available", |d, _| number(d, "/status/availableReplicas").into()),
    AGE,
    CONTAINERS,
    IMAGES,
    SELECTOR,
];

pub(super) const REPLICA_SET: &[Column] = &[
    integer("Desired", |r, _| number(r, "/spec/replicas").into()),
    integer("Current", |r, _| number(r, "/status/replicas").into()),
    integer("Ready", |r, _| number(r, "/status/readyReplicas").into()),
    AGE,
    CONTAINERS,
    IMAGES,
    SELECTOR,
];

pub(super) const REPLICATION_CONTROLLER: &[Column] = &[
    integer("Desired", |r, _| number(r, "/spec/replicas").into()),
    integer("Current", |r, _| number(r, "/status/replicas").into()),
    integer("Ready", |r, _| number(r, "/status/readyReplicas").into()),
    AGE,
    CONTAINERS,
    IMAGES,
    wide("Selector", |r, _| labels(r.pointer("/spec/selector")).into()),
];

pub(super) const STATEFUL_SET: &[Column] = &[
    column("Ready", |s, _| format!("{}/{}", number(s, "/status/readyReplicas"), number(s, "/spec/replicas")).into()),
    AGE,
    CONTAINERS,
    IMAGES,
];

pub(super) const DAEMON_SET: &[Column] = &[
    integer("Desired", |d, _| number(d, "/status/desiredNumberScheduled").into()),
    integer("Current", |d, _| number(d, "/status/currentNumberScheduled").into()),
    integer("Ready", |d, _| number(d, "/status/numberReady").into()),
    integer("Up-to-date", |d, _| number(d, "/status/updatedNumberScheduled").into()),
    integer("Available", |d, _| number(d, "/status/numberAvailable").into()),
    column("Node Selector", |d, _| labels(d.pointer("/spec/template/spec/nodeSelector")).into()),
    AGE,
    CONTAINERS,
    IMAGES,
    SELECTOR,
];

pub(super) const JOB: &[Column] = &[
    column("Status", |j, _| job_status(j).into()),
    column("Completions", |j, _| completions(j).into()),
    column("Duration", |j, now| took(j, now).into()),
    AGE,
    CONTAINERS,
    IMAGES,
    SELECTOR,
];

fn job_status(job: &Value) -> &'static str {
    let holds = |name: &str| condition(job, name).is_some_and(|condition| text(condition, "/status") == "True");
    let found = [
        ("Complete", "Complete"),
        ("Failed", "Failed"),
        ("Suspended", "Suspended"),
        ("FailureTarget", "FailureTarget"),
        ("SuccessCriteriaMet", "SuccessCriteriaMet"),
    ];
    match found.iter().find(|(name, _)| holds(name)) {
        _ if job.pointer("/metadata/deletionTimestamp").is_some() && !holds("Complete") && !holds("Failed") => {
            "Terminating"
        }
        Some((_, word)) => word,
        None => "Running",
    }
}

fn completions(job: &Value) -> String {
    let succeeded = number(job, "/status/succeeded");
    match job.pointer("/spec/completions").and_then(Value::as_i64) {
        Some(all) => format!("{succeeded}/{all}"),
        // A queue of work is done when one pod says so.
        None => match number(job, "/spec/parallelism") {
            many if many > 1 => format!("{succeeded}/1 of {many}"),
            _ => format!("{succeeded}/1"),
        },
    }
}

fn took(job: &Value, now: Timestamp) -> String {
    let Ok(start) = text(job, "/status/startTime").parse::<Timestamp>() else { return String::new() };
    let end = text(job, "/status/completionTime").parse().unwrap_or(now);
    duration(end.duration_since(start).as_secs())
}

pub(super) const CRON_JOB: &[Column] = &[
    column("Schedule", |c, _| text(c, "/spec/schedule").into()),
    column("Timezone", |c, _| text_or(c, "/spec/timeZone", "<none>").into()),
    column("Suspend", |c, _| if c.pointer("/spec/suspend") == Some(&json!(true)) { "True" } else { "False" }.into()),
    integer("Active", |c, _| list(c, "/status/active").count().into()),
    column("Last Schedule", |c, now| match text(c, "/status/lastScheduleTime") {
        "" => "<none>".into(),
        time => age(time, now).into(),
    }),
    AGE,
    CONTAINERS,
    IMAGES,
    wide("Selector", |c, _| selector(c.pointer("/spec/jobTemplate/spec/selector")).into()),
];

pub(super) const POD_TEMPLATE: &[Column] = &[
    column("Containers", |o, _| joined(containers(o).map(|container| text(container, "/name")), "").into()),
    column("Images", |o, _| joined(containers(o).map(|container| text(container, "/image")), "").into()),
    column("Pod Labels", |o, _| labels(o.pointer("/template/metadata/labels")).into()),
];

pub(super) const CONTROLLER_REVISION: &[Column] =
    &[column("Controller", |r, _| owner(r).into()), integer("Revision", |r, _| number(r, "/revision").into()), AGE];

/// The controller of an object, as `statefulset.apps/web`.
fn owner(object: &Value) -> String {
    let mut owners = list(object, "/metadata/ownerReferences");
    let Some(owner) = owners.find(|owner| owner.get("controller") == Some(&json!(true))) else {
        return "<none>".to_owned();
    };
    let kind = text(owner, "/kind").to_ascii_lowercase();
    match text(owner, "/apiVersion").split_once('/') {
        Some((group, _)) => format!("{kind}.{group}/{}", text(owner, "/name")),
        None => format!("{kind}/{}", text(owner, "/name")),
    }
}
