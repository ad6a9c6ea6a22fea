//! Requests from outside to the pods: gateway, route, service and endpoint of a running Coracle.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed step of a test is its failure")]

use testkit::{
    Coracle, get,
    systems::{GATEWAY, HELLO, route},
};

fn serving() -> Coracle {
    let manifests = [GATEWAY, HELLO, &route("{backendRefs: [{name: hello, port: 80}]}")].concat();
    Coracle::serving(env!("CARGO_BIN_EXE_coracle"), &manifests).unwrap()
}

#[test]
fn a_request_reaches_a_pod_as_soon_as_coracle_says_that_it_is_up() {
    let coracle = serving();
    let response = get(coracle.gateway(80).unwrap(), "/").unwrap();
    assert!(response.starts_with("HTTP/1.1 200 OK\r\n"), "{response}");
    assert!(response.contains(r#"{"status":"ok","message":"Hello World","timestamp":""#), "{response}");
}

#[test]
fn after_a_crash_the_same_pods_serve_on() {
    let mut coracle = serving();
    coracle.kill().unwrap();
    coracle.start_again().unwrap();
    let response = get(coracle.gateway(80).unwrap(), "/").unwrap();
    assert!(response.starts_with("HTTP/1.1 200 OK\r\n"), "{response}");
}
