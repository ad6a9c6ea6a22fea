//! The count alone is what the decision with all its words comes to: a simulation decides as production does.

#![allow(clippy::unwrap_used, reason = "a failed step of a test is its failure")]

use autoscaling::{
    Moment, Settings,
    decide::{Autoscaler, Demand, Reading, Scale, Seen},
    history::History,
    pods::Sample,
    predict::{Forecast, Outlook, Season},
};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::{autoscaling::v2::HorizontalPodAutoscaler, core::v1::Pod};
use proptest::prelude::*;
use serde_json::json;

fn at(seconds: i64) -> Moment {
    let wall = Timestamp::from_second(1_800_000_000 + seconds).unwrap();
    Moment { wall, steady: SignedDuration::from_secs(seconds) }
}

fn autoscaler(min: i32, with_behavior: bool) -> Autoscaler {
    let route = json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute", "name": "web"});
    let rules = json!({"scaleUp": {"stabilizationWindowSeconds": 30, "policies": [{"type": "Pods", "value": 3, "periodSeconds": 60}]},
        "scaleDown": {"stabilizationWindowSeconds": 60, "policies": [{"type": "Percent", "value": 50, "periodSeconds": 30}]}});
    let object: HorizontalPodAutoscaler = serde_json::from_value(json!({
        "metadata": {"name": "web", "namespace": "shop"},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
            "minReplicas": min, "maxReplicas": 12, "behavior": with_behavior.then_some(rules),
            "metrics": [
                {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}}},
                {"type": "Object", "object": {"describedObject": route, "metric": {"name": "http_requests_in_flight"},
                    "target": {"type": "AverageValue", "averageValue": "5"}}},
            ],
        },
    }))
    .unwrap();
    Autoscaler::of(&object, &Settings::default())
}

fn pod(index: usize, started: Moment, ready: bool) -> Pod {
    serde_json::from_value(json!({
        "metadata": {"name": format!("web-{index}")},
        "spec": {"containers": [{"name": "web", "resources": {"requests": {"cpu": "1"}}}]},
        "status": {"phase": "Running", "startTime": started.wall.to_string(), "conditions": [
            {"type": "Ready", "status": if ready { "True" } else { "False" }, "lastTransitionTime": started.wall.to_string()}]},
    }))
    .unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn the_count_is_the_decisions(
        start in 0i32..14, min in 0i32..3, with_behavior in any::<bool>(), busy in any::<bool>(),
        looks in prop::collection::vec(
            (prop::collection::vec((0i64..600, any::<bool>(), prop::option::of(0i64..2000)), 0..8),
             prop::option::of(0i64..100_000), prop::option::of(0.0f64..20.0)),
            1..12,
        ),
    ) {
        let autoscaler = autoscaler(min, with_behavior);
        let (mut spoken, mut silent) = (History::default(), History::default());
        let (mut replicas, mut status) = (start, Default::default());
        let demand = if busy { Demand::Busy } else { Demand::Idle };
        for (number, (pods, in_flight, needed)) in (1i64..).zip(looks) {
            let now = at(1000 + number * 15);
            let samples = pods.iter().map(|(_, _, millis)| {
                millis.map(|millis| Sample { millis, at: now.wall, window: SignedDuration::from_secs(15) })
            });
            let samples: Vec<_> = samples.collect();
            let pods: Vec<Pod> = (pods.iter().enumerate())
                .map(|(index, (age, ready, _))| pod(index, at(1000 + number * 15 - age), *ready))
                .collect();
            let pods: Vec<&Pod> = pods.iter().collect();
            let scale = Scale { replicas, observed: i32::try_from(pods.len()).unwrap(), selector: "app=web".to_owned() };
            let value = in_flight.map(|millis| Sample { millis, at: now.wall, window: SignedDuration::ZERO });
            let readings = [
                Ok(Reading::Pods { samples, strangers: 0 }),
                value.map(Reading::Value).ok_or_else(|| "nobody knows".to_owned()),
            ];
            let forecast = needed.map_or(Forecast::Learning, |needed| Forecast::Known { needed, error: 0.1, season: Season::Daily });
            let outlook = Outlook { forecast, ahead: SignedDuration::from_secs(30) };
            let seen = Seen { scale: &scale, pods: Ok(&pods), readings: &readings, demand };
            let decision = autoscaler.decide_ahead(&status, seen, Some(outlook), &mut spoken, now);
            let metrics = autoscaler.metrics.iter().zip(&readings);
            let proposals: Vec<_> =
                metrics.map(|(metric, reading)| autoscaler.propose(metric, reading, &scale, &pods, now)).collect();
            let count = autoscaler.count(&proposals, replicas, (demand, &forecast), &mut silent, now);
            let decided = decision.scale.as_ref().map_or(replicas, |(to, _)| *to);
            prop_assert_eq!(count, decided);
            if decided == replicas {
                status = decision.held();
            } else {
                status = decision.done(now).0;
                autoscaler.scaled(&mut spoken, replicas, decided, now);
                autoscaler.scaled(&mut silent, replicas, decided, now);
                replicas = decided;
            }
            prop_assert_eq!(&spoken, &silent);
        }
    }

    #[test]
    fn a_forecast_never_lowers_what_is_decided(
        replicas in 1i32..12, cpu in 0i64..2000, needed in prop::num::f64::ANY, with_behavior in any::<bool>(),
    ) {
        let autoscaler = autoscaler(1, with_behavior);
        let now = at(10_000);
        let pods: Vec<Pod> = (0..usize::try_from(replicas).unwrap()).map(|index| pod(index, at(0), true)).collect();
        let pods: Vec<&Pod> = pods.iter().collect();
        let sample = Sample { millis: cpu, at: now.wall, window: SignedDuration::from_secs(15) };
        let scale = Scale { replicas, observed: replicas, selector: "app=web".to_owned() };
        let samples = Reading::Pods { samples: vec![Some(sample); pods.len()], strangers: 0 };
        let readings = [Ok(samples), Ok(Reading::Value(Sample { millis: 1000, ..sample }))];
        let seen = Seen { scale: &scale, pods: Ok(&pods), readings: &readings, demand: Demand::Unknown };
        let decide = |forecast| {
            let outlook = Some(Outlook { forecast, ahead: SignedDuration::from_secs(30) });
            let decision = autoscaler.decide_ahead(&Default::default(), seen, outlook, &mut History::default(), now);
            decision.scale.map_or(replicas, |(to, _)| to)
        };
        let ahead = decide(Forecast::Known { needed, error: 0.1, season: Season::Weekly });
        prop_assert!(ahead >= decide(Forecast::Learning) && ahead <= 12);
    }
}
