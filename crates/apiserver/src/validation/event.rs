//! Events (kubernetes/pkg/apis/core/validation/events.go): loosely where they are written as `v1`, strictly as `events.k8s.io/v1`.

use objects::names;
use serde_json::{Value, json};

use super::at::At;
use crate::status::Cause;

/// The most bytes of a reason, an action or a reporter's instance.
const LONGEST: usize = 128;
/// The most bytes of a message.
const LONGEST_MESSAGE: usize = 1024;
const MISPLACED: &str = "does not match event.namespace";
const UNSET: &str = "needs to be unset";

/// What an event may not change once it is written as `events.k8s.io/v1`: as it is stored, and as messages name it.
const FIXED: &[(&str, &str)] = &[
    ("involvedObject", "involvedObject"),
    ("reason", "reason"),
    ("message", "message"),
    ("source", "source"),
    ("firstTimestamp", "firstTimestamp"),
    ("lastTimestamp", "lastTimestamp"),
    ("count", "count"),
    ("type", "type"),
    ("eventTime", "eventTime"),
    ("action", "action"),
    ("related", "related"),
    ("reportingComponent", "reportingController"),
    ("reportingInstance", "reportingInstance"),
];

/// What every event must say: one with `eventTime` is of the newer kind, of which more is asked.
pub(super) fn check(object: &At<'_>, causes: &mut Vec<Cause>) {
    let about = object.field("involvedObject").field("namespace");
    let own = object.field("metadata").field("namespace").text();
    let misplaced = || Cause::invalid(&about.path, &about.text().into(), MISPLACED);
    if !says(object.field("eventTime").value) {
        // An event lies in the namespace of what it is about; what is in none has its events in `default`.
        let fits = if about.text().is_empty() { own == "default" } else { about.text() == own };
        causes.extend((!fits).then(misplaced));
        return;
    }
    let lost = about.text().is_empty() && !matches!(own, "default" | "kube-system");
    causes.extend(lost.then(misplaced));
    let reporter = At { path: "reportingController".to_owned(), ..object.field("reportingComponent") };
    causes.extend(missing(&reporter));
    causes.extend(
        names::qualified_name(reporter.text())
            .iter()
            .map(|wrong| Cause::invalid(&reporter.path, &reporter.text().into(), wrong)),
    );
    for name in ["reportingInstance", "action", "reason"] {
        let field = object.field(name);
        causes.extend(missing(&field));
        causes.extend(bounded(&field, LONGEST));
    }
    causes.extend(bounded(&object.field("message"), LONGEST_MESSAGE));
}

/// What is asked of a new one beyond that where it is written as `events.k8s.io/v1`.
pub(super) fn strictly(object: &At<'_>) -> Vec<Cause> {
    let mut causes = object.field("metadata").field("name").named(names::dns_subdomain);
    series(object, &mut causes);
    if !says(object.field("eventTime").value) {
        causes.push(object.field("eventTime").required(""));
    }
    let of = object.field("type");
    if !matches!(of.text(), "Normal" | "Warning") {
        causes.push(of.invalid_shown(&format!("has invalid value: {}", of.text())));
    }
    for name in ["firstTimestamp", "lastTimestamp", "count", "source"] {
        let field = object.field(name);
        causes.extend(says(field.value).then(|| field.invalid_shown(UNSET)));
    }
    causes
}

/// What is asked of a change beyond [`check`] where it is written as `events.k8s.io/v1`: only the series goes on.
pub(super) fn strict_change(new: &Value, old: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    let of = |object: &Value, field: &str| object.get(field).filter(|value| says(value)).cloned();
    if of(new, "series") != of(old, "series") {
        series(&At::root(new), &mut causes);
    }
    for (field, shown) in FIXED {
        let value = of(new, field);
        if value != of(old, field) {
            causes.push(Cause::invalid(*shown, &value.unwrap_or_default(), "field is immutable"));
        }
    }
    causes
}

fn series(object: &At<'_>, causes: &mut Vec<Cause>) {
    let series = object.field("series");
    if !series.is_set() {
        return;
    }
    let (count, seen) = (series.field("count"), series.field("lastObservedTime"));
    if count.number().unwrap_or(0) < 2 {
        causes.push(count.invalid_shown("should be at least 2"));
    }
    if !says(seen.value) {
        causes.push(seen.required(""));
    }
}

fn missing(field: &At<'_>) -> Option<Cause> {
    field.text().is_empty().then(|| field.required(""))
}

fn bounded(field: &At<'_>, most: usize) -> Option<Cause> {
    (field.len() > most).then(|| field.invalid_shown(&format!("can have at most {most} characters")))
}

/// Whether a field says anything: Go's zero values are what it says when it is left out.
fn says(value: &Value) -> bool {
    match value {
        Value::Object(fields) => fields.values().any(says),
        other => !(other.is_null() || *other == json!("") || *other == json!(0)),
    }
}
