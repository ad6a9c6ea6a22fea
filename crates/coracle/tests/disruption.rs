//! Nothing that people do to a running system costs a request: constant load, and every change that must not be noticed.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed step of a test is its failure")]

use std::{fmt::Write as _, process::Command};

use testkit::{Coracle, Kubectl, Load, Settings, processes};

const SYSTEM: &str = "
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: edge}
spec:
  gatewayClassName: coracle
  listeners: [{name: http, protocol: HTTP, port: 80}]
---
apiVersion: v1
kind: Service
metadata: {name: hello}
spec:
  selector: {app: hello}
  ports: [{name: http, port: 80, targetPort: http}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: hello}
spec:
  replicas: 3
  selector: {matchLabels: {app: hello}}
  template:
    metadata: {labels: {app: hello}}
    spec:
      containers:
        - name: hello
          image: hello:0.1.0
          env: [{name: HOST, valueFrom: {fieldRef: {fieldPath: status.podIP}}}]
          ports: [{name: http, containerPort: 8000}]
          readinessProbe: {httpGet: {path: /, port: http}, periodSeconds: 1}
---
";

/// The route, with something in it that changes.
fn route(version: u32) -> String {
    format!(
        "
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: hello}}
spec:
  parentRefs: [{{name: edge}}]
  rules:
    - matches: [{{path: {{type: PathPrefix, value: /}}}}]
      filters: [{{type: ResponseHeaderModifier, responseHeaderModifier: {{set: [{{name: x-version, value: '{version}'}}]}}}}]
      backendRefs: [{{name: hello, port: 80}}]
"
    )
}

/// Does something under load; no request may fail, from before it began until long after it was done.
fn under_load(disturb: impl Fn(&Kubectl, &Coracle)) {
    let mut settings = Settings::new(env!("CARGO_BIN_EXE_coracle"));
    let manifests = tempfile::Builder::new().suffix(".yaml").tempfile().unwrap();
    std::fs::write(manifests.path(), format!("{SYSTEM}{}", route(0))).unwrap();
    settings.arguments = vec!["-f".into(), manifests.path().display().to_string()];
    let coracle = Coracle::start(settings).unwrap();
    let Some(kubectl) = Kubectl::any(&coracle.kubeconfig()) else {
        return eprintln!("skipped: there is no kubectl on this machine");
    };
    let load = Load::start(coracle.gateway(80).unwrap(), 4);
    wait_for(&load, 100);
    disturb(&kubectl, &coracle);
    wait_for(&load, 1000);
    let requests = load.requests();
    let failures = load.finish();
    let summary = failures.iter().take(10).fold(String::new(), |mut all, failure| {
        writeln!(all, "{failure}").unwrap();
        all
    });
    assert!(failures.is_empty(), "{} of {requests} requests failed:\n{summary}", failures.len());
}

/// Waits for so many more requests.
fn wait_for(load: &Load, more: u64) {
    let until = load.requests() + more;
    while load.requests() < until {
        std::thread::yield_now();
    }
}

#[test]
fn three_restarts_in_a_row() {
    under_load(|kubectl, _| {
        for _ in 0..3 {
            kubectl.run("rollout restart deployment/hello").unwrap();
            kubectl.run("rollout status deployment/hello --timeout=120s").unwrap();
        }
    });
}

#[test]
fn scaling_up_and_down() {
    under_load(|kubectl, _| {
        for replicas in [1, 5, 2] {
            kubectl.run(&format!("scale deployment/hello --replicas={replicas}")).unwrap();
            kubectl.run("rollout status deployment/hello --timeout=120s").unwrap();
            let wanted = format!("--for=jsonpath={{.status.replicas}}={replicas}");
            kubectl.run(&format!("wait deployment/hello --timeout=120s {wanted}")).unwrap();
        }
    });
}

#[test]
fn deleting_a_pod() {
    under_load(|kubectl, _| {
        let pods = kubectl.run("get pods -l app=hello -o name").unwrap();
        kubectl.run(&format!("delete {}", pods.lines().next().unwrap())).unwrap();
        kubectl.run("rollout status deployment/hello --timeout=120s").unwrap();
    });
}

#[test]
fn killing_the_process_of_a_pod() {
    under_load(|kubectl, coracle| {
        let shim = coracle.shims().first().copied().unwrap();
        let arguments = std::fs::read_to_string(format!("/proc/{shim}/cmdline")).unwrap();
        let pods =
            kubectl.run("get pods --no-headers -o custom-columns=NAME:.metadata.name,UID:.metadata.uid").unwrap();
        let mut pods = pods.lines().filter_map(|line| line.split_once(' '));
        let (pod, _) = pods.find(|(_, uid)| arguments.contains(uid.trim())).unwrap();
        let victim = processes::tree(shim).last().copied().unwrap();
        assert!(Command::new("kill").args(["-s", "KILL", &victim.to_string()]).status().unwrap().success());
        let restarted = "--for=jsonpath={.status.containerStatuses[0].restartCount}=1";
        kubectl.run(&format!("wait pod/{pod} {restarted} --timeout=120s")).unwrap();
        kubectl.run(&format!("wait pod/{pod} --for=condition=Ready --timeout=120s")).unwrap();
    });
}

#[test]
fn changing_the_route_all_the_time() {
    under_load(|kubectl, _| {
        for version in 1..30 {
            kubectl.send("apply", &route(version)).unwrap();
        }
    });
}
