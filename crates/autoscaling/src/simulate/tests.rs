use proptest::prelude::*;
use serde_json::{Value, json};

use super::{pattern::Pattern, service::Counts, *};
use crate::predict;

fn hpa(min: i32, max: i32, metric: Value) -> HorizontalPodAutoscaler {
    serde_json::from_value(json!({
        "metadata": {"name": "web", "namespace": "shop"},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
            "minReplicas": min, "maxReplicas": max, "metrics": [metric],
        },
    }))
    .unwrap()
}

fn cpu(percent: i32) -> Value {
    json!({"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": percent}}})
}

fn of_route(metric: &str, target: Value) -> Value {
    let route = json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute", "name": "web"});
    json!({"type": "Object", "object": {"describedObject": route, "metric": {"name": metric}, "target": target}})
}

fn scenario(pattern: &str, minutes: f64) -> Scenario {
    let demand = Demand::pattern(Pattern::parse(pattern).unwrap());
    Scenario { duration: minutes * 60.0, ..Scenario::new(demand) }
}

/// How often the direction of the count changes after a moment.
fn reversals(report: &Report, after: f64) -> usize {
    let counts: Vec<f64> = report.rows.iter().filter(|row| row.seconds > after).map(|row| row.desired).collect();
    let steps: Vec<f64> = counts.windows(2).map(|pair| pair[1] - pair[0]).filter(|step| *step != 0.0).collect();
    steps.windows(2).filter(|pair| pair[0] * pair[1] < 0.0).count()
}

fn last(report: &Report) -> &report::Row {
    report.rows.last().unwrap()
}

#[test]
fn a_step_of_load_raises_the_count_to_what_the_target_needs_and_lets_it_fall_after_the_window() {
    let scenario = scenario("spike:from=10,to=200,at=5m,for=15m", 40.0);
    let report = simulate(&hpa(1, 20, cpu(80)), &scenario).unwrap();
    let at = |minutes: f64| report.rows.iter().find(|row| row.seconds >= minutes * 60.0).unwrap();
    assert_eq!(at(4.0).desired, 1.0);
    // 200 requests a second of 10 ms are 2 cores: 80 % of half a core for each of five pods.
    assert!((5.0..=6.0).contains(&at(15.0).desired), "{:?}", at(15.0));
    assert_eq!(at(23.0).desired, at(15.0).desired, "the window holds");
    assert_eq!(last(&report).desired, 1.0);
    assert!((at(15.0).utilisation.unwrap() - 0.4).abs() < 0.1);
}

#[test]
fn constant_demand_leaves_the_count_alone() {
    for (metric, rate) in [
        (cpu(80), 200.0),
        (of_route("http_requests_per_second", json!({"type": "AverageValue", "averageValue": "40"})), 200.0),
        (of_route("http_requests_in_flight", json!({"type": "AverageValue", "averageValue": "2"})), 200.0),
    ] {
        let scenario = Scenario { replicas: Some(5), ..scenario(&format!("constant:rate={rate}"), 60.0) };
        let report = simulate(&hpa(1, 20, metric), &scenario).unwrap();
        assert_eq!(report.summary.changes, [0, 0], "{:?}", last(&report));
    }
}

/// Seconds from a step in demand, at so many seconds after a round, to the first rise of the count.
fn reaction(metric: Value, phase: f64, (from, to): (f64, f64), early: bool) -> f64 {
    let at = 300.0 + phase;
    let mut scenario = scenario(&format!("step:from={from},to={to},at={at}s"), 6.0);
    (scenario.early, scenario.random) = (early, false);
    let report = simulate(&hpa(1, 20, metric), &scenario).unwrap();
    let before = report.rows.iter().find(|row| row.seconds >= 290.0).unwrap().desired;
    report.rows.iter().find(|row| row.seconds > at && row.desired > before).unwrap().seconds - at
}

#[test]
fn a_step_is_decided_within_seconds_at_any_phase_of_the_period() {
    let by_rate = json!({"type": "AverageValue", "averageValue": "40"});
    let mut rate = of_route("http_requests_per_second", by_rate);
    rate["object"]["metric"]["selector"] = json!({"matchLabels": {"window": "10s"}});
    // 40 requests a second are the target: from half of it to four times, which is more than a pod can do, and to half as much again.
    for (metric, to, soon) in
        [(cpu(80), 160.0, 10.5), (rate.clone(), 160.0, 8.5), (cpu(80), 60.0, 13.5), (rate, 60.0, 13.5)]
    {
        let worst = |early| {
            let phases = (0..15).map(|phase| reaction(metric.clone(), f64::from(phase), (20.0, to), early));
            phases.fold(0.0, f64::max)
        };
        assert!(worst(true) <= soon, "{metric} to {to}: {} s", worst(true));
        assert!(worst(false) >= 14.0, "{metric} to {to}: {} s without early looks", worst(false));
    }
}

#[test]
fn demand_that_wavers_about_the_target_is_not_raised_by_looking_early() {
    let metrics = [cpu(80), of_route("http_requests_in_flight", json!({"type": "AverageValue", "averageValue": "2"}))];
    for (metric, seed) in metrics.into_iter().flat_map(|metric| (1..9).map(move |seed| (metric.clone(), seed))) {
        let mut scenario = Scenario { replicas: Some(5), seed, ..scenario("constant:rate=200", 60.0) };
        scenario.demand = scenario.demand.with_noise(0.1);
        let counts = |early| {
            let report = simulate(&hpa(1, 20, metric.clone()), &Scenario { early, ..scenario.clone() }).unwrap();
            (report.summary.changes, report.summary.replicas[2])
        };
        let (rounds, early) = (counts(false), counts(true));
        assert!(early.0[0] <= rounds.0[0] + 1 && early.1 <= rounds.1.max(6.0), "{seed}: {rounds:?} and {early:?}");
    }
}

#[test]
fn from_zero_requests_are_held_until_the_first_pod_is_ready() {
    let scenario = scenario("onoff:high=20,off=10m,on=5m", 45.0);
    let metric = of_route("http_requests_per_second", json!({"type": "AverageValue", "averageValue": "40"}));
    let report = simulate(&hpa(0, 5, metric), &scenario).unwrap();
    assert_eq!(report.summary.replicas[0], 0.0);
    assert!(report.summary.counts.held > 100.0, "{:?}", report.summary);
    assert_eq!(report.summary.counts.dropped(), 0.0);
    assert!(report.summary.pod_hours < 0.6);
}

#[test]
fn requests_in_flight_converge_where_a_latency_oscillates() {
    let mut steps = scenario("step:from=20,to=300,at=10m", 90.0);
    // Eight places of 100 ms: a pod that is full serves 80 requests a second.
    steps.capacity = Capacity { concurrency: 8.0, time: 0.1, cpu: 0.002, ..Capacity::default() };
    let in_flight = of_route("http_requests_in_flight", json!({"type": "AverageValue", "averageValue": "5"}));
    let latency = of_route("http_request_duration_p99", json!({"type": "Value", "value": "400m"}));
    let stable = simulate(&hpa(1, 20, in_flight), &steps).unwrap();
    let raw = simulate(&hpa(1, 20, latency), &steps).unwrap();
    // Up, past the mark while what has queued up is served, down to it, and there it stays.
    assert!(reversals(&stable, 0.0) <= 1, "{}", reversals(&stable, 0.0));
    let settled: Vec<f64> = stable.rows.iter().filter(|row| row.seconds > 25.0 * 60.0).map(|row| row.desired).collect();
    assert!(settled.iter().all(|count| *count == settled[0]) && (6.0..=7.0).contains(&settled[0]), "{settled:?}");
    assert!(reversals(&raw, 15.0 * 60.0) >= 6, "{}", reversals(&raw, 15.0 * 60.0));
    let late =
        |report: &Report| report.rows.iter().filter(|row| row.seconds > 25.0 * 60.0).map(|row| row.late).sum::<f64>();
    assert!(late(&raw) > 100.0 * late(&stable).max(1.0), "{} and {}", late(&raw), late(&stable));
}

#[test]
fn prediction_has_pods_ready_when_the_morning_comes() {
    let rows: String = (0..6 * 24)
        .map(|hour| format!("{},{}\n", hour * 3600, if (8..18).contains(&(hour % 24)) { 300 } else { 20 }))
        .collect();
    let scenario = Scenario::new(Demand::recorded(&rows).unwrap());
    let scenario = Scenario { capacity: Capacity { start_up: 60.0, ..Capacity::default() }, ..scenario };
    let plain = hpa(1, 20, cpu(80));
    let mut predicting = plain.clone();
    predicting.annotations_mut().insert(predict::ANNOTATION.to_owned(), "enabled".to_owned());
    let (plain, predicting) = (simulate(&plain, &scenario).unwrap(), simulate(&predicting, &scenario).unwrap());
    let late = |report: &Report| {
        let days = report.rows.iter().filter(|row| row.seconds > 3.0 * 86_400.0);
        days.map(|row| row.late + row.dropped).sum::<f64>()
    };
    assert!(late(&plain) > 1000.0, "{}", late(&plain));
    assert!(late(&predicting) < 0.1 * late(&plain), "{} of {}", late(&predicting), late(&plain));
    assert!(predicting.summary.pod_hours < 1.1 * plain.summary.pod_hours);
}

#[test]
fn what_is_not_simulated_is_said() {
    let error = |metric| simulate(&hpa(1, 2, metric), &scenario("constant", 1.0)).unwrap_err().to_string();
    let queue = error(of_route("queue_depth", json!({"type": "Value", "value": "1"})));
    assert!(
        queue.starts_with("metric 0: the metric queue_depth is not simulated; simulated are the resources cpu"),
        "{queue}"
    );
    let gpu = json!({"type": "Resource", "resource": {"name": "gpu", "target": {"type": "AverageValue", "averageValue": "1"}}});
    assert!(error(gpu).starts_with("metric 0: the resource gpu is not simulated"));
    let untargeted = of_route("http_requests_per_second", json!({"type": "Value"}));
    assert!(error(untargeted).starts_with("metric 0: invalid object metric source"));
}

#[test]
fn a_week_has_rows_that_can_be_looked_at() {
    let report = simulate(&hpa(1, 20, cpu(80)), &scenario("weekly:high=150", 7.0 * 24.0 * 60.0)).unwrap();
    assert!((500..=600).contains(&report.rows.len()), "{}", report.rows.len());
    assert!(report.summary.counts.late < 0.01 * report.summary.counts.arrived);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn arrived_is_served_dropped_or_there_still_and_a_seed_brings_the_same_again(
        seed in any::<u64>(), from in 0.0f64..50.0, to in 0.0f64..2000.0, min in 0i32..3, hold in 0.0f64..100.0,
    ) {
        let mut scenario = scenario(&format!("step:from={from},to={to},at=3m"), 12.0);
        scenario.seed = seed;
        scenario.capacity.hold = hold;
        let metric = of_route("http_requests_per_second", json!({"type": "AverageValue", "averageValue": "40"}));
        let object = hpa(min, 6, metric);
        let report = simulate(&object, &scenario).unwrap();
        let Counts { arrived, served, .. } = report.summary.counts;
        let known = served + report.summary.counts.dropped() + report.summary.unfinished;
        prop_assert!((arrived - known).abs() < 1e-6 * arrived.max(1.0), "{arrived} and {known}");
        prop_assert!(report.rows.iter().all(|row| (f64::from(min)..=6.0).contains(&row.desired)));
        prop_assert_eq!(simulate(&object, &scenario).unwrap(), report);
    }
}
