//! Simulates a week of a hundred autoscalers, one after the other on one core, and says how long it took.
//!
//! `cargo run --release -p autoscaling --example week`

use std::time::Instant;

use autoscaling::simulate::{Scenario, demand::Demand, pattern::Pattern, simulate};
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use serde_json::json;

/// Autoscalers.
const COUNT: u64 = 100;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let route = json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute", "name": "web"});
    let of_route = |name: &str, target: &str| {
        json!({"type": "Object", "object": {"describedObject": route, "metric": {"name": name},
            "target": {"type": "AverageValue", "averageValue": target}}})
    };
    let cpu = json!({"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 70}}});
    let kinds = [cpu, of_route("http_requests_in_flight", "5"), of_route("http_requests_per_second", "50")];
    let begin = Instant::now();
    let (mut requests, mut hours) = (0.0, 0.0);
    for number in 0..COUNT {
        let metric = kinds.get((number % 3) as usize).cloned();
        let predicts = if number % 2 == 0 { "enabled" } else { "disabled" };
        let object: HorizontalPodAutoscaler = serde_json::from_value(json!({
            "metadata": {"name": format!("web-{number}"), "annotations": {"autoscaling.coracle.dev/prediction": predicts}},
            "spec": {"scaleTargetRef": {"kind": "Deployment", "name": "web"}, "minReplicas": 1, "maxReplicas": 30, "metrics": [metric]},
        }))?;
        let demand = Demand::pattern(Pattern::parse("weekly:low=5,high=400")?).with_noise(0.1);
        let scenario = Scenario { duration: 7.0 * 86_400.0, seed: number, ..Scenario::new(demand) };
        let report = simulate(&object, &scenario)?;
        requests += report.summary.counts.arrived;
        hours += report.summary.pod_hours;
    }
    let took = begin.elapsed().as_secs_f64();
    println!("{COUNT} autoscalers, a week each: {took:.2} s ({requests:.2e} requests, {hours:.0} pod-hours)");
    Ok(())
}
