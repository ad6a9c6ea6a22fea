//! Requests from outside to the pods: gateway, route, service and endpoint of a running Coracle.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed step of a test is its failure")]

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
};

use testkit::{
    Coracle, Settings, find, get,
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

/// Answers the head of a request with the head of a response, and its body with the rest.
const SLOW: &str = r#"---
apiVersion: v1
kind: Pod
metadata: {name: slow, labels: {app: slow}}
spec:
  containers:
  - name: slow
    image: tools
    env: [{name: HOST, valueFrom: {fieldRef: {fieldPath: status.podIP}}}]
    readinessProbe: {tcpSocket: {port: 8000}, periodSeconds: 1}
    command:
    - perl
    - -e
    - |
      use IO::Socket;
      $SIG{PIPE} = 'IGNORE';
      my $listener = IO::Socket::INET->new(LocalAddr => $ENV{HOST}, LocalPort => 8000, Listen => 5, ReuseAddr => 1) or die;
      while (my $client = $listener->accept) {
        while (<$client>) { last if /^\r?$/ }
        syswrite $client, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nfirst";
        sysread $client, my $body, 4;
        syswrite $client, $body;
      }
---
apiVersion: v1
kind: Service
metadata: {name: slow}
spec: {selector: {app: slow}, ports: [{name: http, port: 80, targetPort: 8000}]}
"#;

#[test]
fn a_request_that_has_begun_at_sigterm_is_finished() {
    if find("perl").is_none() {
        return eprintln!("skipped: there is no perl on this machine");
    }
    let mut file = tempfile::Builder::new().suffix(".yaml").tempfile().unwrap();
    let manifests = [GATEWAY, SLOW, &route("{backendRefs: [{name: slow, port: 80}]}")].concat();
    file.write_all(manifests.as_bytes()).unwrap();
    let mut settings = Settings::new(env!("CARGO_BIN_EXE_coracle"));
    settings.arguments = ["--image", "tools=/bin/sh", "-f", file.path().to_str().unwrap()].map(str::to_owned).into();
    let mut coracle = Coracle::start(settings).unwrap();
    let address = coracle.gateway(80).unwrap();

    let mut client = BufReader::new(TcpStream::connect(address).unwrap());
    client.get_mut().write_all(b"POST / HTTP/1.1\r\nHost: slow\r\nContent-Length: 4\r\n\r\n").unwrap();
    let mut line = String::new();
    while line != "\r\n" {
        line.clear();
        client.read_line(&mut line).unwrap();
    }
    coracle.signal("TERM").unwrap();
    while TcpStream::connect(address).is_ok() {
        std::thread::yield_now();
    }
    client.get_mut().write_all(b"last").unwrap();
    let mut body = String::new();
    client.read_to_string(&mut body).unwrap();
    assert_eq!(body, "firstlast");
    coracle.ended().unwrap();
}
