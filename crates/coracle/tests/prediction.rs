//! Prediction end to end: what was learned before a start is looked ahead by after it.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed step of a test is its failure")]

use std::time::{Duration, Instant};

use jiff::{Span, Timestamp, tz::TimeZone};
use serde_json::json;
use testkit::{Coracle, Kubectl, Settings, get, systems::HELLO};

const AUTOSCALER: &str = r#"
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: hello}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: hello}
  minReplicas: 1
  maxReplicas: 4
  metrics:
    - type: Object
      object:
        describedObject: {apiVersion: v1, kind: Service, name: hello}
        metric: {name: http_requests_in_flight}
        target: {type: AverageValue, averageValue: "5"}
"#;

/// Three weeks in which as many replicas were needed as `needed` says, day and night.
fn record(owner: &str, needed: &str) -> String {
    let today = Timestamp::now().to_zoned(TimeZone::UTC).date();
    let day = vec![needed; 288].join(",");
    let days = (0..22).map(|back| (today.checked_sub(Span::new().days(back)).unwrap().to_string(), day.clone()));
    let days: std::collections::BTreeMap<String, String> = days.collect();
    let owner =
        json!({"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "name": "hello", "uid": owner});
    let metadata = json!({"name": "hello-demand", "ownerReferences": [owner]});
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": days}).to_string()
}

fn eventually(what: &str, holds: impl Fn() -> bool) {
    let until = Instant::now() + Duration::from_secs(60);
    while !holds() {
        assert!(Instant::now() < until, "{what}");
        std::thread::yield_now();
    }
}

#[test]
fn what_was_learned_before_a_start_adds_pods_after_it() {
    let mut settings = Settings::new(env!("CARGO_BIN_EXE_coracle"));
    settings.arguments = vec!["--horizontal-pod-autoscaler-sync-period=1s".to_owned()];
    let coracle = Coracle::start(settings).unwrap();
    let Some(kubectl) = Kubectl::any(&coracle.kubeconfig()) else { return };
    kubectl.send("apply", &[HELLO, AUTOSCALER].join("---\n")).unwrap();
    let uid = kubectl.run("get hpa hello -o jsonpath={.metadata.uid}").unwrap();
    kubectl.send("create", &record(&uid, "3.5")).unwrap();
    kubectl.run("annotate hpa hello autoscaling.coracle.dev/prediction=enabled").unwrap();

    let condition = |field: &str| {
        let path = format!("{{.status.conditions[?(@.type=='PredictionActive')].{field}}}");
        kubectl.run(&format!("get hpa hello -o jsonpath={path}")).unwrap()
    };
    eventually("a forecast is in the status", || condition("reason") == "Forecast");
    assert_eq!(condition("status"), "True");
    assert!(
        condition("message").starts_with("the weekly pattern needs 3.5 replicas within "),
        "{}",
        condition("message")
    );
    let replicas = || kubectl.run("get deployment hello -o jsonpath={.spec.replicas}").unwrap();
    // Nobody asks anything, so that the metrics alone ask for one pod.
    eventually("there are as many pods as the pattern needs", || replicas() == "4");
    let described = kubectl.run("describe hpa hello").unwrap();
    assert!(described.contains("PredictionActive"), "{described}");
    let metrics = get(coracle.metrics().unwrap(), "/metrics").unwrap();
    let line = "coracle_hpa_forecast_replicas{namespace=\"default\",name=\"hello\"} 3.5";
    assert!(metrics.lines().any(|said| said.starts_with(line)), "{metrics}");

    kubectl.run("annotate hpa hello autoscaling.coracle.dev/prediction-").unwrap();
    eventually("who does not ask is told nothing", || condition("reason").is_empty());
    kubectl.run("delete hpa hello").unwrap();
    kubectl.wait("--for=delete configmap/hello-demand").unwrap();
}
