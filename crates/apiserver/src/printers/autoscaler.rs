//! The columns of HorizontalPodAutoscalers: what is measured against what is wanted.

use serde_json::Value;

use super::{AGE, Column, column, list, number, text};

pub(super) const COLUMNS: &[Column] = &[
    column("Reference", |a, _| {
        format!("{}/{}", text(a, "/spec/scaleTargetRef/kind"), text(a, "/spec/scaleTargetRef/name")).into()
    }),
    column("Targets", |a, _| targets(a).into()),
    column("MinPods", |a, _| {
        let least = a.pointer("/spec/minReplicas").map(Value::to_string);
        least.unwrap_or_else(|| "<unset>".to_owned()).into()
    }),
    column("MaxPods", |a, _| number(a, "/spec/maxReplicas").into()),
    column("Replicas", |a, _| number(a, "/status/currentReplicas").into()),
    AGE,
];

/// Metrics shown; the rest is counted.
const MOST: usize = 2;

fn targets(autoscaler: &Value) -> String {
    let current: Vec<&Value> = list(autoscaler, "/status/currentMetrics").collect();
    let all: Vec<String> = list(autoscaler, "/spec/metrics")
        .enumerate()
        .map(|(index, metric)| target(metric, current.get(index).copied().unwrap_or(&Value::Null)))
        .collect();
    match all.get(..MOST) {
        Some(first) if all.len() > MOST => format!("{} + {} more...", first.join(", "), all.len() - MOST),
        _ if all.is_empty() => "<none>".to_owned(),
        _ => all.join(", "),
    }
}

fn target(metric: &Value, current: &Value) -> String {
    let (field, prefix) = match text(metric, "/type") {
        "Resource" => ("resource", format!("{}: ", text(metric, "/resource/name"))),
        "ContainerResource" => ("containerResource", format!("{}: ", text(metric, "/containerResource/name"))),
        "Pods" => ("pods", String::new()),
        "Object" => ("object", String::new()),
        "External" => ("external", String::new()),
        _ => return "<unknown type>".to_owned(),
    };
    let wanted = |of: &str| metric.pointer(&format!("/{field}/target/{of}")).map(plain);
    let measured = |of: &str| {
        let found =
            current.pointer(&format!("/{field}/current/{of}")).filter(|_| current.get("type") == metric.get("type"));
        found.map_or_else(|| "<unknown>".to_owned(), plain)
    };
    let is_resource = field.ends_with("esource");
    match (wanted("averageValue"), wanted("value")) {
        (Some(average), _) if field == "object" || field == "external" => {
            format!("{}/{average} (avg)", measured("averageValue"))
        }
        (Some(average), _) => format!("{prefix}{}/{average}", measured("averageValue")),
        (None, Some(value)) if !is_resource => format!("{}/{value}", measured("value")),
        _ => {
            let percent = |value: String| if value.starts_with('<') { value } else { format!("{value}%") };
            let wanted = wanted("averageUtilization").map_or_else(|| "<auto>".to_owned(), percent);
            format!("{prefix}{}/{wanted}", percent(measured("averageUtilization")))
        }
    }
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
