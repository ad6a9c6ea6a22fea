//! `coracle gateway`: two of them in front of a cluster, which is another Coracle's API.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed step of a test is its failure")]

use std::{
    io::{BufRead, BufReader, Lines},
    net::SocketAddr,
    path::Path,
    process::{Child, ChildStdout, Command, Stdio},
};

use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject, Patch, PatchParams, PostParams},
    config::{KubeConfigOptions, Kubeconfig},
    runtime::wait::await_condition,
};
use objects::gateway::{Gateway, GatewayClass, HTTPRoute};
use serde_json::{Value, json};
use testkit::{
    Coracle, get,
    systems::{HELLO, SLEEPING, autoscaler, route},
};

const CONTROLLER: &str = "example.com/edge";

/// A gateway process; it ends when this is dropped.
struct Alone {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    up: Value,
}

impl Alone {
    /// Starts one and waits until it serves.
    fn start(kubeconfig: &Path) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_coracle"))
            .args(["gateway", "--output", "json", "--publish", "0:80", "--metrics-port", "0", "--drain-delay", "0"])
            .args(["--address", "gateway.example.com", "--lease", "default/edge", "--controller", CONTROLLER])
            .arg("--kubeconfig")
            .arg(kubeconfig)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut this = Self { child, lines, up: Value::Null };
        this.up = this.event("up");
        this
    }

    /// The next event of this kind.
    fn event(&mut self, kind: &str) -> Value {
        let events = self.lines.by_ref().map(|line| serde_json::from_str::<Value>(&line.unwrap()).unwrap());
        events.into_iter().find(|event| event["event"] == kind).unwrap()
    }

    fn gateway(&self) -> SocketAddr {
        self.up["gateways"][0]["address"].as_str().unwrap().parse().unwrap()
    }

    /// What is answered beside the metrics.
    fn probe(&self, path: &str) -> String {
        let url = self.up["metrics"].as_str().unwrap();
        let address: SocketAddr = url.trim_start_matches("http://").trim_end_matches("/metrics").parse().unwrap();
        get(address, path).unwrap()
    }

    fn terminate(&mut self) {
        assert!(Command::new("kill").arg(self.child.id().to_string()).status().unwrap().success());
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Alone {
    fn drop(&mut self) {
        // It may have ended by itself.
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

async fn client(kubeconfig: &Path) -> Client {
    let kubeconfig = Kubeconfig::read_from(kubeconfig).unwrap();
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
    Client::try_from(config).unwrap()
}

/// What people would apply: a class of ours, a Gateway and a route to this backend.
async fn apply(client: &Client, backend: &str) {
    let manifests = format!(
        "---
apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {{name: outside}}
spec: {{controllerName: {CONTROLLER}}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {{name: edge}}
spec: {{gatewayClassName: outside, listeners: [{{name: http, protocol: HTTP, port: 80}}]}}
{}",
        route(&format!("{{backendRefs: [{backend}]}}"))
    );
    for object in serde_saphyr::from_multiple::<DynamicObject>(&manifests).unwrap() {
        let api: Api<DynamicObject> = match object.types.as_ref().unwrap().kind.as_str() {
            "GatewayClass" => Api::all_with(client.clone(), &ApiResource::erase::<GatewayClass>(&())),
            "Gateway" => Api::default_namespaced_with(client.clone(), &ApiResource::erase::<Gateway>(&())),
            _ => Api::default_namespaced_with(client.clone(), &ApiResource::erase::<HTTPRoute>(&())),
        };
        api.create(&PostParams::default(), &object).await.unwrap();
    }
}

/// Waits until the route's status is about this generation.
async fn judged(routes: &Api<HTTPRoute>, generation: i64) -> HTTPRoute {
    let done = move |route: Option<&HTTPRoute>| {
        let parents = route.and_then(|route| route.status.as_ref()).map(|status| &status.parents);
        parents.into_iter().flatten().any(|parent| {
            parent.controller_name == CONTROLLER
                && parent.conditions.iter().all(|c| c.status == "True" && c.observed_generation == Some(generation))
        })
    };
    await_condition(routes.clone(), "hello", done).await.unwrap().unwrap()
}

#[tokio::test]
async fn two_gateways_serve_a_cluster_one_writes_statuses_and_the_other_takes_over() {
    let cluster = Coracle::serving(env!("CARGO_BIN_EXE_coracle"), HELLO).unwrap();
    let kubeconfig = cluster.kubeconfig();
    let client = client(&kubeconfig).await;
    apply(&client, "{name: hello, port: 80}").await;
    let (gateways, routes): (Api<Gateway>, Api<HTTPRoute>) =
        (Api::default_namespaced(client.clone()), Api::default_namespaced(client));
    let mut one = Alone::start(&kubeconfig);
    assert_eq!(one.event("leading")["leading"], true);
    let has_address = |gateway: Option<&Gateway>| {
        let addresses = gateway.and_then(|gateway| gateway.status.as_ref()?.addresses.clone()).unwrap_or_default();
        addresses.iter().any(|address| address.value.as_deref() == Some("gateway.example.com"))
    };
    await_condition(gateways, "edge", has_address).await.unwrap();
    let before = judged(&routes, 1).await;
    let mut two = Alone::start(&kubeconfig);
    for alone in [&one, &two] {
        assert!(get(alone.gateway(), "/").unwrap().starts_with("HTTP/1.1 200 "));
        assert!(alone.probe("/readyz").starts_with("HTTP/1.1 200 "));
        assert!(alone.probe("/metrics").contains("# TYPE"));
    }
    let after = routes.get("hello").await.unwrap();
    assert_eq!(after.metadata.resource_version, before.metadata.resource_version, "one of them wrote the status, once");
    // The first gives the Lease up; the second hears of changes and judges them.
    one.terminate();
    assert_eq!(two.event("leading")["leading"], true);
    let hostnames = Patch::Merge(json!({"spec": {"hostnames": ["localhost"]}}));
    routes.patch("hello", &PatchParams::default(), &hostnames).await.unwrap();
    judged(&routes, 2).await;
    assert!(get(two.gateway(), "/").unwrap().starts_with("HTTP/1.1 200 "));
    two.terminate();
}

#[tokio::test]
async fn what_sleeps_in_the_cluster_is_woken_by_a_request_at_its_gateway() {
    let sleeping = [SLEEPING, &autoscaler("apps/v1", "Deployment", "web", 0)].concat();
    let cluster = Coracle::serving(env!("CARGO_BIN_EXE_coracle"), &sleeping).unwrap();
    let client = client(&cluster.kubeconfig()).await;
    apply(&client, "{name: web, port: 8080}").await;
    let mut gateway = Alone::start(&cluster.kubeconfig());
    assert_eq!(gateway.event("leading")["leading"], true);
    judged(&Api::default_namespaced(client), 1).await;
    let response = get(gateway.gateway(), "/").unwrap();
    assert!(response.starts_with("HTTP/1.1 200 ") && response.contains("Hello World"), "{response}");
    let metrics = gateway.probe("/metrics");
    let held = "coracle_gateway_held_total{service=\"default/web:8080\",result=\"released\"} 1";
    assert!(metrics.contains(held), "{metrics}");
    gateway.terminate();
}

#[test]
fn what_is_wrong_with_the_flags_is_said_at_once() {
    for (arguments, word) in [
        (["--kubeconfig", "/nonexistent/kubeconfig"], "/nonexistent/kubeconfig"),
        (["--lease", "nothing"], "NAMESPACE/NAME"),
        (["--service", "nothing"], "NAMESPACE/NAME"),
        (["--publish", "eighty"], "--publish"),
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_coracle")).arg("gateway").args(arguments).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains(word), "{said}");
    }
}
