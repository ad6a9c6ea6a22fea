//! Requests from outside to the pods: gateway, route, service and endpoint of a running Coracle.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed step of a test is its failure")]

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
};

use tempfile::NamedTempFile;
use testkit::{Coracle, Settings};

const HELLO: &str = "
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: edge}
spec:
  gatewayClassName: coracle
  listeners: [{name: http, protocol: HTTP, port: 80}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: hello}
spec:
  parentRefs: [{name: edge}]
  rules: [{backendRefs: [{name: hello, port: 80}]}]
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
  replicas: 2
  selector: {matchLabels: {app: hello}}
  template:
    metadata: {labels: {app: hello}}
    spec:
      containers:
        - name: hello
          image: hello:0.1.0
          env: [{name: HOST, valueFrom: {fieldRef: {fieldPath: status.podIP}}}]
          ports: [{name: http, containerPort: 8000}]
          readinessProbe: {httpGet: {path: /, port: http}}
";

/// Starts one that serves these manifests; the file is read again at each start.
fn serving(manifests: &str) -> (Coracle, NamedTempFile) {
    let mut file = tempfile::Builder::new().suffix(".yaml").tempfile().unwrap();
    file.write_all(manifests.as_bytes()).unwrap();
    let mut settings = Settings::new(env!("CARGO_BIN_EXE_coracle"));
    settings.arguments = vec!["-f".into(), file.path().display().to_string()];
    (Coracle::start(settings).unwrap(), file)
}

/// One request on a connection of its own; the whole response.
fn get(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: example.com\r\nConnection: close\r\n\r\n").unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).unwrap();
    response
}

#[test]
fn a_request_reaches_a_pod_as_soon_as_coracle_says_that_it_is_up() {
    let (coracle, _file) = serving(HELLO);
    let response = get(coracle.gateway(80).unwrap(), "/");
    assert!(response.starts_with("HTTP/1.1 200 OK\r\n"), "{response}");
    assert!(response.contains(r#"{"status":"ok","message":"Hello World","timestamp":""#), "{response}");
}

#[test]
fn after_a_crash_the_same_pods_serve_on() {
    let (mut coracle, _file) = serving(HELLO);
    coracle.kill().unwrap();
    coracle.start_again().unwrap();
    let response = get(coracle.gateway(80).unwrap(), "/");
    assert!(response.starts_with("HTTP/1.1 200 OK\r\n"), "{response}");
}
