//! Deployments and ReplicaSets.

use objects::{names, selector::Labels};
use serde_json::{Value, json};

use super::{at::At, change::go_map, metadata, pod};
use crate::{registry::meta, status::Cause};

pub(super) fn deployment(spec: &At<'_>, causes: &mut Vec<Cause>) {
    common(spec, "deployment", causes);
    strategy(&spec.field("strategy"), causes);
    causes.extend(spec.field("revisionHistoryLimit").not_negative());
    let deadline = spec.field("progressDeadlineSeconds");
    causes.extend(deadline.not_negative());
    let least = spec.field("minReadySeconds").number().unwrap_or(0);
    if deadline.number().is_some_and(|deadline| deadline <= least) {
        causes.push(deadline.invalid("must be greater than minReadySeconds"));
    }
}

pub(super) fn replica_set(spec: &At<'_>, causes: &mut Vec<Cause>) {
    common(spec, "replicaset", causes);
}

fn common(spec: &At<'_>, word: &str, causes: &mut Vec<Cause>) {
    causes.extend(spec.field("replicas").not_negative());
    causes.extend(spec.field("minReadySeconds").not_negative());
    let template = spec.field("template");
    let selector = spec.field("selector");
    if selector.is_set() {
        label_selector(&selector, causes);
        let parsed = serde_json::from_value(selector.value.clone()).ok();
        match parsed.as_ref().and_then(|selector| Labels::from_selector(selector).ok()) {
            Some(parsed) if parsed.is_empty() => {
                causes.push(selector.invalid(&format!("empty selector is invalid for {word}")));
            }
            Some(parsed) if !parsed.matches(&meta::labels(template.value)) => {
                let labels = template.field("metadata").field("labels");
                let why = "`selector` does not match template `labels`";
                causes.push(Cause::invalid_shown(&labels.path, &go_map(labels.value), why));
            }
            _ => {}
        }
    } else {
        causes.push(selector.required(""));
    }
    causes.extend(metadata::labels(&template.field("metadata").field("labels")));
    let pod = template.field("spec");
    pod::spec(&pod, causes);
    if pod.field("restartPolicy").is_set() && pod.field("restartPolicy").text() != "Always" {
        causes.extend(pod.field("restartPolicy").one_of(&["Always"]));
    }
    if pod.field("activeDeadlineSeconds").is_set() {
        causes
            .push(pod.field("activeDeadlineSeconds").forbidden("activeDeadlineSeconds in ReplicaSet is not Supported"));
    }
}

/// `metav1.LabelSelector` (`ValidateLabelSelector`).
pub(super) fn label_selector(selector: &At<'_>, causes: &mut Vec<Cause>) {
    causes.extend(metadata::labels(&selector.field("matchLabels")));
    for expression in selector.each("matchExpressions") {
        let (operator, values) = (expression.field("operator"), expression.field("values"));
        match operator.text() {
            "In" | "NotIn" if values.len() == 0 => {
                causes.push(values.required("must be specified when `operator` is 'In' or 'NotIn'"));
            }
            "Exists" | "DoesNotExist" if values.len() > 0 => {
                causes.push(values.forbidden("may not be specified when `operator` is 'Exists' or 'DoesNotExist'"));
            }
            "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
            _ => causes.push(operator.invalid("not a valid selector operator")),
        }
        causes.extend(expression.field("key").named(names::qualified_name));
        for value in values.elements() {
            causes.extend(value.named(names::label_value));
        }
    }
}

fn strategy(strategy: &At<'_>, causes: &mut Vec<Cause>) {
    let rolling = strategy.field("rollingUpdate");
    match strategy.field("type").text() {
        "Recreate" if rolling.is_set() => {
            causes.push(rolling.forbidden("may not be specified when strategy `type` is 'Recreate'"));
        }
        "Recreate" => {}
        "RollingUpdate" => {
            let (down, up) = (rolling.field("maxUnavailable"), rolling.field("maxSurge"));
            for bound in [&down, &up] {
                causes.extend(int_or_percent(bound));
            }
            if amount(&down) == Some(0) && amount(&up) == Some(0) {
                causes.push(down.invalid("may not be 0 when `maxSurge` is 0"));
            }
            if down.text().ends_with('%') && amount(&down).is_some_and(|percent| percent > 100) {
                causes.push(down.invalid("must not be greater than 100%"));
            }
        }
        _ => causes.extend(strategy.field("type").must_be_one_of(&["Recreate", "RollingUpdate"])),
    }
}

/// The number, or the number before the `%`.
fn amount(bound: &At<'_>) -> Option<i64> {
    match bound.value {
        Value::String(text) => text.strip_suffix('%')?.parse().ok(),
        other => other.as_i64(),
    }
}

fn int_or_percent(bound: &At<'_>) -> Option<Cause> {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    match bound.value {
        Value::String(text) if !text.strip_suffix('%').is_some_and(digits) => {
            let why = "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex \
                       used for validation is '[0-9]+%')";
            Some(Cause::invalid(&bound.path, &json!(text), why))
        }
        _ => bound.not_negative(),
    }
}
