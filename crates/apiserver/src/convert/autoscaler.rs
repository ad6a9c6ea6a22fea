//! HorizontalPodAutoscalers: `autoscaling/v1` has one CPU target where `v2` has metrics and behaviour; those it keeps in
//! annotations (kubernetes/pkg/apis/autoscaling/v1/conversion.go).

use serde_json::{Map, Value, json};

use crate::{registry::meta, status::Failure};

const METRICS: &str = "autoscaling.alpha.kubernetes.io/metrics";
const CURRENT: &str = "autoscaling.alpha.kubernetes.io/current-metrics";
const CONDITIONS: &str = "autoscaling.alpha.kubernetes.io/conditions";
const BEHAVIOR: &str = "autoscaling.alpha.kubernetes.io/behavior";

/// A type of metric: its name, the field that holds it, and where the fields of its target are in `v2` and `v1`.
struct Source {
    name: &'static str,
    field: &'static str,
    /// (path in `v2`, path in `v1`) of what identifies the metric.
    identity: &'static [(&'static str, &'static str)],
    /// (path in `v2`, path in `v1`) of the wanted amounts.
    target: &'static [(&'static str, &'static str)],
    /// The same of the measured amounts, for `status.currentMetrics`.
    current: &'static [(&'static str, &'static str)],
}

const UTILIZATION: (&str, &str) = ("/target/averageUtilization", "/targetAverageUtilization");
const AVERAGE: (&str, &str) = ("/target/averageValue", "/targetAverageValue");
const CURRENT_UTILIZATION: (&str, &str) = ("/current/averageUtilization", "/currentAverageUtilization");
const CURRENT_AVERAGE: (&str, &str) = ("/current/averageValue", "/currentAverageValue");
const NAME: (&str, &str) = ("/metric/name", "/metricName");

const SOURCES: &[Source] = &[
    Source {
        name: "Resource",
        field: "resource",
        identity: &[("/name", "/name")],
        target: &[UTILIZATION, AVERAGE],
        current: &[CURRENT_UTILIZATION, CURRENT_AVERAGE],
    },
    Source {
        name: "ContainerResource",
        field: "containerResource",
        identity: &[("/name", "/name"), ("/container", "/container")],
        target: &[UTILIZATION, AVERAGE],
        current: &[CURRENT_UTILIZATION, CURRENT_AVERAGE],
    },
    Source {
        name: "Pods",
        field: "pods",
        identity: &[NAME, ("/metric/selector", "/selector")],
        target: &[AVERAGE],
        current: &[CURRENT_AVERAGE],
    },
    Source {
        name: "Object",
        field: "object",
        identity: &[NAME, ("/metric/selector", "/selector"), ("/describedObject", "/target")],
        target: &[("/target/value", "/targetValue"), ("/target/averageValue", "/averageValue")],
        current: &[("/current/value", "/currentValue"), ("/current/averageValue", "/averageValue")],
    },
    Source {
        name: "External",
        field: "external",
        identity: &[NAME, ("/metric/selector", "/metricSelector")],
        target: &[("/target/value", "/targetValue"), AVERAGE],
        current: &[("/current/value", "/currentValue"), CURRENT_AVERAGE],
    },
];

fn source(metric: &Value) -> Option<(&'static Source, &Value)> {
    let name = metric.get("type").and_then(Value::as_str)?;
    let source = SOURCES.iter().find(|source| source.name == name)?;
    Some((source, metric.get(source.field)?))
}

/// Sets the field at a pointer, making the objects on its way.
fn put(object: &mut Value, pointer: &str, value: Value) {
    let mut at = object;
    for step in pointer.split('/').skip(1) {
        if !at.is_object() {
            *at = json!({});
        }
        let Value::Object(map) = at else { return };
        at = map.entry(step.to_owned()).or_insert(Value::Null);
    }
    *at = value;
}

fn metric_to_v1(metric: &Value, is_current: bool) -> Value {
    let Some((source, old)) = source(metric) else { return metric.clone() };
    let amounts = if is_current { source.current } else { source.target };
    let mut new = json!({});
    for (v2, v1) in source.identity.iter().chain(amounts) {
        if let Some(value) = old.pointer(v2) {
            put(&mut new, v1, value.clone());
        }
    }
    json!({"type": source.name, source.field: new})
}

fn metric_to_v2(metric: &Value) -> Value {
    let Some((source, old)) = source(metric) else { return metric.clone() };
    let mut new = json!({});
    for (v2, v1) in source.identity.iter().chain(source.target) {
        if let Some(value) = old.pointer(v1) {
            put(&mut new, v2, value.clone());
            let kind = match *v2 {
                "/target/averageUtilization" => "Utilization",
                "/target/averageValue" => "AverageValue",
                "/target/value" => "Value",
                _ => continue,
            };
            put(&mut new, "/target/type", kind.into());
        }
    }
    json!({"type": source.name, source.field: new})
}

/// The CPU's part of a list of metrics: the percentage, where it is one.
fn cpu(metric: &Value, pointer: &str) -> Option<Value> {
    let is_cpu = metric.pointer("/resource/name").is_some_and(|name| name == "cpu");
    metric.pointer(pointer).filter(|_| is_cpu).cloned()
}

fn annotations(object: &mut Value) -> Map<String, Value> {
    meta::metadata(object).remove("annotations").and_then(|a| a.as_object().cloned()).unwrap_or_default()
}

fn set_annotations(object: &mut Value, annotations: Map<String, Value>) {
    meta::set(object, "annotations", (!annotations.is_empty()).then_some(Value::Object(annotations)));
}

fn decoded(annotations: &mut Map<String, Value>, name: &str) -> Result<Option<Value>, Failure> {
    let Some(text) = annotations.remove(name) else { return Ok(None) };
    let wrong = |e| Failure::bad_request(format!("metadata.annotations[{name}]: {e}"));
    serde_json::from_str(text.as_str().unwrap_or_default()).map(Some).map_err(wrong)
}

pub(super) fn to_v2(mut object: Value) -> Result<Value, Failure> {
    let mut annotations = annotations(&mut object);
    let metrics = decoded(&mut annotations, METRICS)?;
    let behavior = decoded(&mut annotations, BEHAVIOR)?;
    for status in [CURRENT, CONDITIONS] {
        annotations.remove(status);
    }
    set_annotations(&mut object, annotations);
    let listed = metrics.as_ref().and_then(Value::as_array);
    let mut metrics: Vec<Value> = listed.into_iter().flatten().map(metric_to_v2).collect();
    let spec = meta::section(&mut object, "spec");
    if let Some(percentage) = spec.remove("targetCPUUtilizationPercentage") {
        let target = json!({"type": "Utilization", "averageUtilization": percentage});
        metrics.push(json!({"type": "Resource", "resource": {"name": "cpu", "target": target}}));
    }
    if !metrics.is_empty() {
        spec.insert("metrics".to_owned(), metrics.into());
    }
    if let Some(behavior) = behavior {
        spec.insert("behavior".to_owned(), behavior);
    }
    if let Some(map) = object.as_object_mut() {
        map.insert("apiVersion".to_owned(), "autoscaling/v2".into());
        // Only the stored status counts, which is kept.
        map.remove("status");
    }
    Ok(object)
}

pub(super) fn to_v1(mut object: Value) -> Value {
    let mut annotations = annotations(&mut object);
    let mut note = |name: &str, list: Vec<Value>| {
        if !list.is_empty() {
            annotations.insert(name.to_owned(), Value::Array(list).to_string().into());
        }
    };
    let list = |map: &mut Map<String, Value>, field: &str| match map.remove(field) {
        Some(Value::Array(list)) => list,
        _ => Vec::new(),
    };
    let spec = meta::section(&mut object, "spec");
    const TARGET: &str = "/resource/target/averageUtilization";
    let (own, others): (Vec<_>, Vec<_>) =
        list(spec, "metrics").into_iter().partition(|metric| cpu(metric, TARGET).is_some());
    if let Some(percentage) = own.first().and_then(|metric| cpu(metric, TARGET)) {
        spec.insert("targetCPUUtilizationPercentage".to_owned(), percentage);
    }
    note(METRICS, others.iter().map(|metric| metric_to_v1(metric, false)).collect());
    let behavior = spec.remove("behavior");
    if object.get("status").is_some() {
        let status = meta::section(&mut object, "status");
        let current = list(status, "currentMetrics");
        if let Some(now) = current.iter().find_map(|metric| cpu(metric, "/resource/current/averageUtilization")) {
            status.insert("currentCPUUtilizationPercentage".to_owned(), now);
        }
        note(CURRENT, current.iter().map(|metric| metric_to_v1(metric, true)).collect());
        note(CONDITIONS, list(status, "conditions"));
        for required in ["currentReplicas", "desiredReplicas"] {
            status.entry(required).or_insert(0.into());
        }
    }
    if let Some(behavior) = behavior {
        annotations.insert(BEHAVIOR.to_owned(), behavior.to_string().into());
    }
    set_annotations(&mut object, annotations);
    if let Some(map) = object.as_object_mut() {
        map.insert("apiVersion".to_owned(), "autoscaling/v1".into());
    }
    object
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v2() -> Value {
        json!({"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "a"},
        "spec": {"maxReplicas": 3, "metrics": [
            {"type": "Pods", "pods": {"metric": {"name": "rps", "selector": {"matchLabels": {"a": "b"}}},
                "target": {"type": "AverageValue", "averageValue": "5"}}},
            {"type": "Object", "object": {"describedObject": {"kind": "Service", "name": "s"}, "metric": {"name": "m"},
                "target": {"type": "Value", "value": "10"}}},
            {"type": "External", "external": {"metric": {"name": "queue"}, "target": {"type": "AverageValue", "averageValue": "1"}}},
            {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 70}}}],
            "behavior": {"scaleDown": {"stabilizationWindowSeconds": 60}}}})
    }

    #[test]
    fn what_is_read_as_v1_and_written_back_is_the_same_in_v2() {
        let v1 = to_v1(v2());
        assert_eq!(v1["spec"], json!({"maxReplicas": 3, "targetCPUUtilizationPercentage": 70}));
        assert!(v1["metadata"]["annotations"][METRICS].as_str().unwrap().contains("\"metricName\":\"rps\""));
        assert_eq!(to_v2(v1).unwrap(), v2());
    }

    #[test]
    fn the_status_is_shown_and_never_taken() {
        let mut object = v2();
        object["status"] = json!({"currentMetrics": [{"type": "Resource", "resource": {"name": "cpu",
            "current": {"averageUtilization": 12, "averageValue": "1m"}}}], "conditions": [{"type": "AbleToScale"}]});
        let v1 = to_v1(object);
        let expected = json!({"currentCPUUtilizationPercentage": 12, "currentReplicas": 0, "desiredReplicas": 0});
        assert_eq!(v1["status"], expected);
        assert!(v1["metadata"]["annotations"][CURRENT].as_str().unwrap().contains("currentAverageUtilization\":12"));
        assert_eq!(to_v2(v1).unwrap(), v2());
    }

    #[test]
    fn an_annotation_that_is_no_list_of_metrics_is_refused() {
        let broken = json!({"metadata": {"annotations": {METRICS: "["}}, "spec": {}});
        assert_eq!(to_v2(broken).unwrap_err().reason, "BadRequest");
    }
}
