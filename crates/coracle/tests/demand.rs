//! What the gateway measures, as autoscalers and people ask the API for it.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed step of a test is its failure")]

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use testkit::{
    Coracle, Kubectl, Load, Settings, get,
    systems::{GATEWAY, HELLO, route},
};

const CUSTOM: &str = "/apis/custom.metrics.k8s.io/v1beta2/namespaces/default";

fn raw(kubectl: &Kubectl, path: &str) -> Result<Value, String> {
    kubectl.run(&format!("get --raw {path}")).map(|text| serde_json::from_str(&text).unwrap())
}

/// What a path says when it has come to say something that fits: nothing is known before the gateway has counted for some
/// seconds.
fn eventually(kubectl: &Kubectl, path: &str, fits: impl Fn(&Value) -> bool) -> Value {
    let until = Instant::now() + Duration::from_secs(60);
    loop {
        let answer = raw(kubectl, path);
        if let Some(answer) = answer.as_ref().ok().filter(|answer| fits(answer)) {
            return answer.clone();
        }
        assert!(Instant::now() < until, "{path}: {answer:?}");
        std::thread::yield_now();
    }
}

fn values(list: &Value) -> Vec<&str> {
    list["items"].as_array().unwrap().iter().map(|item| item["value"].as_str().unwrap()).collect()
}

#[test]
fn autoscalers_find_what_the_gateway_measures_in_the_api() {
    let manifests = [GATEWAY, HELLO, &route("{backendRefs: [{name: hello, port: 80}]}")].concat();
    let coracle = Coracle::serving(env!("CARGO_BIN_EXE_coracle"), &manifests).unwrap();
    let Some(kubectl) = Kubectl::any(&coracle.kubeconfig()) else { return };
    let versions = kubectl.run("api-versions").unwrap();
    for served in ["custom.metrics.k8s.io/v1beta1", "custom.metrics.k8s.io/v1beta2", "external.metrics.k8s.io/v1beta1"]
    {
        assert!(versions.lines().any(|version| version == served), "{versions}");
    }
    let group = raw(&kubectl, "/apis/custom.metrics.k8s.io").unwrap();
    assert_eq!(group["preferredVersion"]["version"], "v1beta2", "{group}");

    let gateway = coracle.gateway(80).unwrap();
    for _ in 0..30 {
        assert!(get(gateway, "/").unwrap().starts_with("HTTP/1.1 200 "));
    }
    let counted = |answer: &Value| values(answer).iter().all(|value| *value != "0") && !values(answer).is_empty();
    for of in
        ["services/hello", "httproutes.gateway.networking.k8s.io/hello", "gateways.gateway.networking.k8s.io/edge"]
    {
        let answer = eventually(&kubectl, &format!("{CUSTOM}/{of}/http_requests_per_second"), counted);
        assert_eq!(answer["items"][0]["describedObject"]["namespace"], "default", "{answer}");
        eventually(&kubectl, &format!("{CUSTOM}/{of}/http_request_duration_p99"), counted);
    }
    // Each pod has its share.
    let pods = format!("{CUSTOM}/pods/*/http_requests_per_second?labelSelector=app%3Dhello");
    assert_eq!(values(&eventually(&kubectl, &pods, counted)).len(), 3);
    let external = "/apis/external.metrics.k8s.io/v1beta1/namespaces/default/http_requests_per_second";
    eventually(&kubectl, &format!("{external}?labelSelector=service%3Dhello,window%3D1m"), counted);

    let missing = raw(&kubectl, &format!("{CUSTOM}/services/missing/http_requests_per_second")).unwrap_err();
    assert!(missing.contains("NotFound"), "{missing}");
    let idle = eventually(&kubectl, &format!("{CUSTOM}/services/kubernetes/http_requests_per_second"), |_| true);
    assert_eq!(values(&idle), ["0"]);
    assert_eq!(idle["items"][0]["metric"], json!({"name": "http_requests_per_second"}));
}

/// More than one request a second for each of three pods wants more pods.
const AUTOSCALER: &str = "---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: hello}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: hello}
  minReplicas: 3
  maxReplicas: 5
  metrics:
    - type: Object
      object:
        describedObject: {apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, name: hello}
        metric: {name: http_requests_per_second, selector: {matchLabels: {window: 10s}}}
        target: {type: AverageValue, averageValue: \"1\"}
";

#[test]
fn a_route_that_is_asked_for_more_gets_more_pods() {
    let manifests = tempfile::Builder::new().suffix(".yaml").tempfile().unwrap();
    let rule = route("{backendRefs: [{name: hello, port: 80}]}");
    std::fs::write(manifests.path(), [GATEWAY, HELLO, &rule, AUTOSCALER].concat()).unwrap();
    let mut settings = Settings::new(env!("CARGO_BIN_EXE_coracle"));
    let arguments = ["-f", manifests.path().to_str().unwrap(), "--horizontal-pod-autoscaler-sync-period", "1s"];
    settings.arguments = arguments.map(str::to_owned).to_vec();
    let coracle = Coracle::start(settings).unwrap();
    let Some(kubectl) = Kubectl::any(&coracle.kubeconfig()) else { return };
    let load = Load::start(coracle.gateway(80).unwrap(), 1);
    kubectl.wait("--for=jsonpath={.status.readyReplicas}=5 deployment/hello").unwrap();
    // Nobody has noticed.
    assert!(load.requests() > 0);
    assert_eq!(load.finish(), Vec::<String>::new());
    let shown = kubectl.run("describe hpa hello").unwrap();
    assert!(shown.contains("\"http_requests_per_second\" on HTTPRoute/hello (target average value)"), "{shown}");
}
