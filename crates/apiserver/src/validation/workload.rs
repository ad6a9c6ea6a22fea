//! Deployments and ReplicaSets, and what they have in common with other sets of pods.

use objects::{names, selector::Labels};
use serde_json::{Value, json};

use super::{at::At, change::go_map, metadata, pod};
use crate::{registry::meta, status::Cause};

pub(super) fn deployment(object: &At<'_>, causes: &mut Vec<Cause>) {
    let spec = &object.field("spec");
    common(spec, "deployment", "ReplicaSet", &[], causes);
    strategy(&spec.field("strategy"), causes);
    causes.extend(spec.field("revisionHistoryLimit").not_negative());
    let deadline = spec.field("progressDeadlineSeconds");
    causes.extend(deadline.not_negative());
    let least = spec.field("minReadySeconds").number().unwrap_or(0);
    if deadline.number().is_some_and(|deadline| deadline <= least) {
        causes.push(deadline.invalid("must be greater than minReadySeconds"));
    }
}

pub(super) fn replica_set(object: &At<'_>, causes: &mut Vec<Cause>) {
    common(&object.field("spec"), "replicaset", "ReplicaSet", &[], causes);
}

/// The labels and annotations that a template gives its pods, and that it gives them no ephemeral containers.
pub(super) fn template_labels(template: &At<'_>, causes: &mut Vec<Cause>) {
    let ephemeral = template.field("spec").field("ephemeralContainers");
    if ephemeral.len() > 0 {
        causes.push(ephemeral.forbidden("ephemeral containers not allowed in pod template"));
    }
    let metadata = template.field("metadata");
    causes.extend(metadata::labels(&metadata.field("labels")));
    causes.extend(metadata::annotations(&metadata.field("annotations")));
}

/// What every set of pods must satisfy; `word` is how messages call it, `kind` how its template is spoken of, `claims` are the
/// volumes that it adds to its pods.
pub(super) fn common<'a>(spec: &At<'a>, word: &str, kind: &str, claims: &[&'a str], causes: &mut Vec<Cause>) {
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
    template_labels(&template, causes);
    let pod = template.field("spec");
    pod::with_volumes(&pod, claims, causes);
    if pod.field("restartPolicy").is_set() && pod.field("restartPolicy").text() != "Always" {
        causes.extend(pod.field("restartPolicy").one_of(&["Always"]));
    }
    if pod.field("activeDeadlineSeconds").is_set() {
        let why = format!("activeDeadlineSeconds in {kind} is not Supported");
        causes.push(pod.field("activeDeadlineSeconds").forbidden(&why));
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
pub(super) fn amount(bound: &At<'_>) -> Option<i64> {
    match bound.value {
        Value::String(text) => text.strip_suffix('%')?.parse().ok(),
        other => other.as_i64(),
    }
}

pub(super) fn int_or_percent(bound: &At<'_>) -> Option<Cause> {
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
