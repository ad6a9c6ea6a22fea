//! GRPCRoutes, and HTTP/2 to backends.

use std::{collections::BTreeMap, net::SocketAddr};

use crate::{
    h2c::{backend, call},
    support::{Endpoint, Peer, field},
    world::World,
};

const UNIMPLEMENTED: &str = "12";

/// A world with three gRPC backends, and a GRPCRoute `r` at the Gateway `edge` with these rules.
fn rules(rules: &str) -> World {
    route(&format!(
        "
apiVersion: gateway.networking.k8s.io/v1
kind: GRPCRoute
metadata: {{name: r, namespace: infra}}
spec:
  parentRefs: [{{name: edge}}]
  rules:
{rules}"
    ))
}

fn route(yaml: &str) -> World {
    let mut world = World::new(yaml);
    for (name, at) in [("infra/g1", "g1"), ("infra/g2", "g2"), ("infra/g3", "g3")] {
        world.service(name, None, backend(at));
    }
    world.apply();
    world
}

/// A call: its path, its headers, and which backend it reaches; none stands for a call that no route takes.
type Case<'a> = (&'a str, &'a [(&'static str, &'a str)], Option<&'a str>);

fn check(address: SocketAddr, host: &str, all: &[Case<'_>]) {
    for (path, headers, backend) in all {
        let called = call(address, host, path, headers);
        assert_eq!(called.backend.as_deref(), *backend, "{host} {path} {headers:?} {called:?}");
        let status = if backend.is_some() { "0" } else { UNIMPLEMENTED };
        assert_eq!(called.grpc.as_deref(), Some(status), "{host} {path} {headers:?} {called:?}");
    }
}

#[test]
fn grpc_exact_method_matching() {
    let world = rules(
        "  - {matches: [{method: {service: echo.Echo, method: One}}], backendRefs: [{name: g1, port: 8080}]}
  - {matches: [{method: {service: echo.Echo, method: Two}}], backendRefs: [{name: g2, port: 8080}]}
  - {matches: [{method: {service: echo.Whole}}, {method: {method: Everywhere}}], backendRefs: [{name: g3, port: 8080}]}",
    );
    assert_eq!(world.route("GRPCRoute", "infra/r", "Accepted"), "True Accepted");
    assert_eq!(world.route("GRPCRoute", "infra/r", "ResolvedRefs"), "True ResolvedRefs");
    check(
        world.address(80),
        "example.com",
        &[
            ("echo.Echo/One", &[], Some("g1")),
            ("echo.Echo/Two", &[], Some("g2")),
            ("echo.Whole/Two", &[], Some("g3")),
            ("any.Other/Everywhere", &[], Some("g3")),
            ("echo.Echo/Three", &[], None),
            ("echo.echo/One", &[], None),
        ],
    );
}

#[test]
fn grpc_route_header_matching() {
    let world = rules(
        "  - {matches: [{headers: [{name: version, value: one}]}], backendRefs: [{name: g1, port: 8080}]}
  - {matches: [{headers: [{name: version, value: two}]}], backendRefs: [{name: g2, port: 8080}]}
  - {matches: [{headers: [{name: version, value: two}, {name: color, value: orange}]}], backendRefs: [{name: g1, port: 8080}]}
  - {matches: [{headers: [{name: color, value: blue}]}, {headers: [{name: color, value: green}]}], backendRefs: [{name: g1, port: 8080}]}
  - {matches: [{headers: [{name: color, value: red}]}, {headers: [{name: color, value: yellow}]}], backendRefs: [{name: g2, port: 8080}]}",
    );
    check(
        world.address(80),
        "example.com",
        &[
            ("a.B/C", &[("version", "one")], Some("g1")),
            ("a.B/C", &[("version", "two")], Some("g2")),
            ("a.B/C", &[("version", "two"), ("color", "orange")], Some("g1")),
            ("a.B/C", &[("color", "blue")], Some("g1")),
            ("a.B/C", &[("color", "green")], Some("g1")),
            ("a.B/C", &[("color", "red")], Some("g2")),
            ("a.B/C", &[("color", "yellow")], Some("g2")),
            ("a.B/C", &[("color", "purple")], None),
            ("a.B/C", &[], None),
        ],
    );
}

#[test]
fn grpc_route_listener_hostname_matching() {
    let world = route(
        "
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: hosts, namespace: infra, creationTimestamp: '2026-01-02T00:00:00Z'}
spec:
  gatewayClassName: coracle
  listeners:
  - {name: one, port: 80, protocol: HTTP, hostname: bar.test}
  - {name: two, port: 80, protocol: HTTP, hostname: foo.bar.test}
  - {name: three, port: 80, protocol: HTTP, hostname: '*.bar.test'}
  - {name: four, port: 80, protocol: HTTP, hostname: '*.foo.test'}
---
apiVersion: gateway.networking.k8s.io/v1
kind: GRPCRoute
metadata: {name: r1, namespace: infra}
spec: {parentRefs: [{name: hosts, sectionName: one}], rules: [{backendRefs: [{name: g1, port: 8080}]}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: GRPCRoute
metadata: {name: r2, namespace: infra}
spec: {parentRefs: [{name: hosts, sectionName: two}], rules: [{backendRefs: [{name: g2, port: 8080}]}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: GRPCRoute
metadata: {name: r3, namespace: infra}
spec:
  parentRefs: [{name: hosts, sectionName: three}, {name: hosts, sectionName: four}]
  rules: [{backendRefs: [{name: g3, port: 8080}]}]
",
    );
    for (host, backend) in [
        ("bar.test", Some("g1")),
        ("foo.bar.test", Some("g2")),
        ("baz.bar.test", Some("g3")),
        ("multiple.prefixes.bar.test", Some("g3")),
        ("multiple.prefixes.foo.test", Some("g3")),
        ("foo.test", None),
        ("no.matching.host", None),
    ] {
        check(world.address(80), host, &[("a.B/C", &[], backend)]);
    }
}

#[test]
fn grpc_route_named_rule() {
    let world = rules(
        "  - {name: named, matches: [{method: {service: a.A, method: One}}], backendRefs: [{name: g1, port: 8080}]}
  - {matches: [{method: {service: a.A, method: Two}}], backendRefs: [{name: g2, port: 8080}]}",
    );
    check(world.address(80), "example.com", &[("a.A/One", &[], Some("g1")), ("a.A/Two", &[], Some("g2"))]);
}

const MODIFIER: &str = "  - {matches: [{method: {service: a.A}}], filters: [{type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: x-set, value: set}], add: [{name: x-add, value: added}], remove: [x-remove]}}], backendRefs: [{name: g1, port: 8080}]}";

fn modified(address: SocketAddr) {
    let headers = [("x-set", "old"), ("x-add", "old"), ("x-remove", "old"), ("x-kept", "old")];
    let called = call(address, "example.com", "a.A/One", &headers);
    for line in ["x-set: set\n", "x-add: added\n", "x-add: old\n", "x-kept: old\n"] {
        assert!(called.body.contains(line), "{line} {called:?}");
    }
    assert!(!called.body.contains("x-remove") && !called.body.contains("x-set: old"), "{called:?}");
}

#[test]
fn grpc_route_request_header_modifier() {
    modified(rules(MODIFIER).address(80));
}

const WEIGHTS: &str = "  - backendRefs: [{name: g1, port: 8080, weight: 70}, {name: g2, port: 8080, weight: 30}, {name: g3, port: 8080, weight: 0}]";

fn weighted(address: SocketAddr) {
    let mut got = BTreeMap::new();
    for _ in 0..200 {
        *got.entry(call(address, "example.com", "a.B/C", &[]).backend.unwrap()).or_insert(0) += 1;
    }
    assert!((110..170).contains(&got["g1"]) && (30..90).contains(&got["g2"]) && got.len() == 2, "{got:?}");
}

#[test]
fn grpc_route_weight() {
    weighted(rules(WEIGHTS).address(80));
}

#[test]
fn mesh_grpc_route_request_header_modifier_and_weight() {
    for (rules, check) in [(MODIFIER, modified as fn(SocketAddr)), (WEIGHTS, weighted)] {
        let mut world = route("");
        let address = world.hold();
        world.add(&format!(
            "
apiVersion: v1
kind: Service
metadata: {{name: echo, namespace: infra}}
spec: {{clusterIP: 127.0.0.1, ports: [{{name: grpc, port: {}}}]}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: GRPCRoute
metadata: {{name: mesh, namespace: infra}}
spec:
  parentRefs: [{{group: '', kind: Service, name: echo}}]
  rules:
{rules}",
            address.port()
        ));
        assert_eq!(world.route("GRPCRoute", "infra/mesh", "Accepted"), "True Accepted");
        check(address);
    }
}

#[test]
fn httproute_backend_protocol_h2c() {
    let mut world = World::new(
        "
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: r, namespace: infra}
spec: {parentRefs: [{name: edge}], rules: [{backendRefs: [{name: h2c, port: 8080}]}]}
",
    );
    world.service("infra/h2c", Some("kubernetes.io/h2c"), backend("h2c"));
    world.apply();
    assert_eq!(world.route("HTTPRoute", "infra/r", "ResolvedRefs"), "True ResolvedRefs");
    let mut client = Peer::connect(world.address(80));
    client.send("GET / HTTP/1.1\r\nHost: example.com\r\n\r\n");
    assert_eq!(field(&client.head(), "x-backend"), Some("h2c"));
}

#[test]
fn httproute_backend_protocol_websocket() {
    let mut world = World::new(
        "
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: r, namespace: infra}
spec: {parentRefs: [{name: edge}], rules: [{backendRefs: [{name: ws, port: 8080}]}]}
",
    );
    let endpoint = Endpoint::new(|peer| {
        let head = peer.head();
        assert_eq!(field(&head, "upgrade"), Some("websocket"), "{head}");
        peer.send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
        let said = peer.exactly(4);
        peer.send(said);
    });
    world.backend("infra/ws", Some("kubernetes.io/ws"), endpoint);
    world.apply();
    let mut client = Peer::connect(world.address(80));
    client.send("GET / HTTP/1.1\r\nHost: example.com\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
    assert!(client.head().starts_with("HTTP/1.1 101"));
    client.send("ping");
    assert_eq!(client.text(4), "ping");
}
