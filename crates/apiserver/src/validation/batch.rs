//! Jobs and CronJobs (kubernetes/pkg/apis/batch/validation).

use objects::selector::Labels;
use serde_json::{Value, json};

use super::{
    at::At,
    change::{go_map, immutable, without_empty_affinity},
    cron, job_policies, pod,
    workload::{label_selector, template_labels},
};
use crate::{registry::meta, status::Cause};

/// The most pods of an indexed Job at once.
const MOST_PARALLEL: i64 = 100_000;
/// The most failed indexes of a Job.
const MOST_FAILED: i64 = 100_000;
/// With more completions than this, and a limit per index, less is allowed at once and less may fail:
const MANY: i64 = 100_000;
/// this many.
const MOST_OF_MANY: i64 = 10_000;
/// The longest name of who manages a Job.
const LONGEST_MANAGER: usize = 63;
/// The longest name of a CronJob: its Jobs add eleven characters.
const LONGEST_NAME: usize = 52;

pub(super) fn job(object: &At<'_>, causes: &mut Vec<Cause>) {
    let spec = object.field("spec");
    job_spec(&spec, causes);
    let (selector, template) = (spec.field("selector"), spec.field("template"));
    if !selector.is_set() {
        causes.push(selector.required(""));
        return;
    }
    label_selector(&selector, causes);
    let parsed = serde_json::from_value(selector.value.clone()).ok();
    if let Some(parsed) = parsed.as_ref().and_then(|selector| Labels::from_selector(selector).ok())
        && !parsed.matches(&meta::labels(template.value))
    {
        let labels = template.field("metadata").field("labels");
        causes.push(Cause::invalid_shown(
            &labels.path,
            &go_map(labels.value),
            "`selector` does not match template `labels`",
        ));
    }
}

const NOT_NEGATIVE: &[&str] = &[
    "parallelism",
    "completions",
    "activeDeadlineSeconds",
    "backoffLimit",
    "ttlSecondsAfterFinished",
    "backoffLimitPerIndex",
    "maxFailedIndexes",
];

fn job_spec(spec: &At<'_>, causes: &mut Vec<Cause>) {
    causes.extend(NOT_NEGATIVE.iter().filter_map(|field| spec.field(field).not_negative()));
    causes.extend(spec.field("completionMode").one_of(&["NonIndexed", "Indexed"]));
    indexed(spec, causes);
    causes.extend(spec.field("podReplacementPolicy").one_of(&["Failed", "TerminatingOrFailed"]));
    let (template, policy) = (spec.field("template"), spec.field("podFailurePolicy"));
    let replaces = spec.field("podReplacementPolicy");
    if policy.is_set() && replaces.is_set() && replaces.text() != "Failed" {
        causes.extend(replaces.one_of(&["Failed"]));
    }
    job_policies::failure(spec, causes);
    job_policies::success(spec, causes);
    template_labels(&template, causes);
    pod::spec(&template.field("spec"), causes);
    let restarts = template.field("spec").field("restartPolicy");
    if !matches!(restarts.text(), "OnFailure" | "Never") {
        causes.push(restarts.required("valid values: \"OnFailure\", \"Never\""));
    } else if policy.is_set() && restarts.text() != "Never" {
        causes.push(restarts.invalid("only \"Never\" is supported when podFailurePolicy is specified"));
    }
    let manager = spec.field("managedBy");
    if manager.is_set() {
        causes.extend(manager.named(objects::names::domain_prefixed_path));
        if manager.len() > LONGEST_MANAGER {
            causes.push(Cause::too_long(&manager.path, LONGEST_MANAGER));
        }
    }
}

/// What only an indexed Job may say, and what it must.
fn indexed(spec: &At<'_>, causes: &mut Vec<Cause>) {
    let is_indexed = spec.field("completionMode").text() == "Indexed";
    let (per_index, most_failed) = (spec.field("backoffLimitPerIndex"), spec.field("maxFailedIndexes"));
    if !is_indexed {
        for field in [&per_index, &most_failed] {
            causes.extend(field.is_set().then(|| field.invalid("requires indexed completion mode")));
        }
        return;
    }
    let (completions, parallelism) = (spec.field("completions"), spec.field("parallelism"));
    if !completions.is_set() {
        causes.push(completions.required("when completion mode is Indexed"));
    }
    if parallelism.number().is_some_and(|number| number > MOST_PARALLEL) {
        let why = format!("must be less than or equal to {MOST_PARALLEL} when completion mode is Indexed");
        causes.push(parallelism.invalid(&why));
    }
    if most_failed.is_set() && !per_index.is_set() {
        causes.push(per_index.required("when maxFailedIndexes is specified"));
    }
    if let (Some(most), Some(all)) = (most_failed.number(), completions.number())
        && most > all
    {
        causes.push(most_failed.invalid("must be less than or equal to completions"));
    }
    if most_failed.number().is_some_and(|number| number > MOST_FAILED) {
        causes.push(most_failed.invalid(&format!("must be less than or equal to {MOST_FAILED}")));
    }
    if completions.number().is_some_and(|number| number > MANY) && per_index.is_set() {
        if !most_failed.is_set() {
            causes.push(most_failed.required(&format!("must be specified when completions is above {MANY}")));
        }
        let why = format!(
            "must be less than or equal to {MOST_OF_MANY} when completions are above {MANY} and used with backoff limit per index"
        );
        let too_many = [&parallelism, &most_failed].into_iter().filter(|field| field.number() > Some(MOST_OF_MANY));
        causes.extend(too_many.map(|field| field.invalid(&why)));
    }
}

pub(super) fn cron_job(object: &At<'_>, causes: &mut Vec<Cause>) {
    let name = object.field("metadata").field("name");
    if name.len() > LONGEST_NAME {
        causes.push(name.invalid("must be no more than 52 characters"));
    }
    let spec = object.field("spec");
    let schedule = spec.field("schedule");
    if schedule.text().is_empty() {
        causes.push(schedule.required(""));
    } else if schedule.text().contains("TZ") {
        causes.push(schedule.invalid("cannot use TZ or CRON_TZ in schedule, use timeZone field instead"));
    } else {
        causes.extend(cron::check(schedule.text()).map(|why| schedule.invalid(&why)));
    }
    causes.extend(time_zone(&spec.field("timeZone")));
    causes.extend(spec.field("concurrencyPolicy").must_be_one_of(&["Allow", "Forbid", "Replace"]));
    for field in ["startingDeadlineSeconds", "successfulJobsHistoryLimit", "failedJobsHistoryLimit"] {
        causes.extend(spec.field(field).not_negative());
    }
    let template = spec.field("jobTemplate").field("spec");
    job_spec(&template, causes);
    let (selector, manual) = (template.field("selector"), template.field("manualSelector"));
    if selector.is_set() {
        causes.push(selector.invalid("`selector` will be auto-generated"));
    }
    if manual.is_true() {
        causes.push(Cause::not_supported(&manual.path, manual.value, &["nil", "false"]));
    }
}

fn time_zone(zone: &At<'_>) -> Option<Cause> {
    if !zone.is_set() {
        return None;
    }
    match zone.text() {
        "" => Some(zone.invalid("timeZone must be nil or non-empty string")),
        text if text.eq_ignore_ascii_case("Local") => {
            Some(zone.invalid("timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones"))
        }
        text => jiff::tz::TimeZone::get(text).err().map(|_| zone.invalid(&format!("unknown time zone {text}"))),
    }
}

/// What a Job keeps for its whole life. What a suspended one has not started with, it may still change.
pub(super) fn change(new: &Value, old: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    let number = |object: &Value, field: &str| object.pointer(&format!("/spec/{field}")).and_then(Value::as_i64);
    if new.pointer("/spec/completionMode").is_none_or(|mode| mode != "Indexed") {
        causes.extend(immutable(new, old, "spec.completions"));
    } else if let Some(completions) = number(new, "completions")
        && Some(completions) != number(old, "completions")
        && Some(completions) != number(new, "parallelism")
    {
        let why = "can only be modified in tandem with spec.parallelism";
        causes.push(Cause::invalid("spec.completions", &completions.into(), why));
    }
    causes.extend(immutable(new, old, "spec.selector"));
    let waits = old.pointer("/spec/suspend") == Some(&json!(true)) && old.pointer("/status/startTime").is_none();
    let template = |object: &Value| object.pointer("/spec/template").map(unscheduled);
    if !waits || template(new) != template(old) {
        causes.extend(immutable(new, old, "spec.template"));
    }
    for field in ["completionMode", "podFailurePolicy", "backoffLimitPerIndex", "managedBy", "successPolicy"] {
        causes.extend(immutable(new, old, &format!("spec.{field}")));
    }
    causes
}

/// A template without what says where its pods may run.
fn unscheduled(template: &Value) -> Value {
    let mut template = template.clone();
    for (at, fields) in [
        ("/spec", ["nodeSelector", "tolerations", "schedulingGates"].as_slice()),
        ("/spec/affinity", ["nodeAffinity"].as_slice()),
        ("/metadata", ["annotations", "labels"].as_slice()),
    ] {
        if let Some(map) = template.pointer_mut(at).and_then(Value::as_object_mut) {
            fields.iter().for_each(|field| drop(map.remove(*field)));
        }
    }
    without_empty_affinity(template.get_mut("spec"));
    template
}
