//! The pods, samples and times that the rows are about.

use autoscaling::{Moment, Settings};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::{autoscaling::v2::HPAScalingRules, core::v1::Pod};
use serde_json::{Value, json};

/// Every row happens now.
pub const NOW: i64 = 1_800_000_000;
/// Go's zero time.
pub const NEVER: i64 = -62_135_596_800;

pub fn time(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

pub fn now() -> Moment {
    Moment { wall: time(NOW), steady: SignedDuration::from_secs(NOW) }
}

/// The settings of upstream's tests.
pub fn settings(calm: bool) -> Settings {
    Settings {
        cpu_initialization_period: SignedDuration::from_mins(2),
        initial_readiness_delay: SignedDuration::from_secs(10),
        stale_after: None,
        calm,
        ..Settings::default()
    }
}

/// What rows say of each pod by one letter: its readiness, its start (hot or cool), its phase, whether it is being deleted.
#[derive(Clone, Debug, Default, serde::Deserialize)]
#[serde(default)]
pub struct Letters {
    pub ready: String,
    pub start: String,
    pub phase: String,
    pub deleted: String,
}

impl Letters {
    /// The pod of a number, with what each of its two containers requests. `transition`: whether it became what it is at its
    /// start.
    pub fn pod(&self, index: usize, request: Option<String>, labels: &Value, transition: bool) -> Pod {
        let letter = |letters: &str| letters.chars().nth(index);
        let start = match letter(&self.start) {
            Some('H') => NOW,
            Some('C') => NOW - 180,
            _ => NEVER,
        };
        let ready = if letter(&self.ready) == Some('F') { "False" } else { "True" };
        let phase = match letter(&self.phase) {
            Some('F') => "Failed",
            Some('P') => "Pending",
            _ => "Running",
        };
        let deleted = (letter(&self.deleted) == Some('T')).then(|| time(NOW));
        let resources = request.map_or(json!({}), |request| json!({"requests": {"cpu": request}}));
        let since = if transition { start } else { NEVER };
        serde_json::from_value(json!({
            "metadata": {"name": format!("test-pod-{index}"), "labels": labels, "deletionTimestamp": deleted},
            "spec": {"containers": [
                {"name": "container1", "resources": resources}, {"name": "container2", "resources": resources}]},
            "status": {"phase": phase, "startTime": time(start),
                "conditions": [{"type": "Ready", "status": ready, "lastTransitionTime": time(since)}]},
        }))
        .unwrap()
    }
}

/// Rules as upstream's `generateScalingRules` makes them: pods and their period, percent and its period, the window.
pub fn rules([pods, pods_period, percent, percent_period, window]: [i32; 5], select: &str) -> HPAScalingRules {
    let policy = |of: &str, value: i32, period: i32| json!({"type": of, "value": value, "periodSeconds": period});
    let mut policies = Vec::new();
    if pods != 0 {
        policies.push(policy("Pods", pods, pods_period));
    }
    if percent != 0 {
        policies.push(policy("Percent", percent, percent_period));
    }
    let rules = json!({"policies": policies, "selectPolicy": select, "stabilizationWindowSeconds": window});
    serde_json::from_value(rules).unwrap()
}

/// Reads a table.
pub fn table<T: serde::de::DeserializeOwned>(text: &str, rows: usize) -> Vec<T> {
    let table: Vec<T> = serde_json::from_str(text).unwrap();
    assert_eq!(table.len(), rows, "every row of the table");
    table
}
