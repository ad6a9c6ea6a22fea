//! HorizontalPodAutoscalers (kubernetes/pkg/apis/autoscaling/v2/defaults.go).

use serde_json::{Map, Value, json};

use super::{child, set};

pub(super) fn spec(spec: &mut Map<String, Value>) {
    set(spec, "minReplicas", json!(1));
    let cpu = json!({"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}});
    set(spec, "metrics", json!([{"type": "Resource", "resource": cpu}]));
    let Some(behavior) = child(spec, "behavior") else { return };
    // Whoever says something of one direction gets the rest of both.
    set(behavior, "scaleUp", json!({"stabilizationWindowSeconds": 0}));
    set(behavior, "scaleDown", json!({}));
    let percent = json!({"type": "Percent", "value": 100, "periodSeconds": 15});
    let pods = json!({"type": "Pods", "value": 4, "periodSeconds": 15});
    for (direction, policies) in [("scaleUp", json!([pods, percent])), ("scaleDown", json!([percent]))] {
        if let Some(rules) = child(behavior, direction) {
            if direction == "scaleUp" {
                set(rules, "stabilizationWindowSeconds", json!(0));
            }
            set(rules, "selectPolicy", json!("Max"));
            set(rules, "policies", policies);
        }
    }
}
