//! HTTPS listeners, their certificates, and TLSRoutes.

use std::net::TcpStream;

use crate::{
    ask::{Ask, get},
    pki::{Authority, Pair, client, connected, endpoint, server},
    support::{Endpoint, Peer, field, status},
    world::World,
};

/// A Secret with a certificate.
pub fn secret(namespace: &str, name: &str, pair: &Pair) -> String {
    use base64::{Engine, prelude::BASE64_STANDARD as base64};
    let (certificate, key) = (base64.encode(&pair.certificate), base64.encode(&pair.key));
    format!(
        "
---
apiVersion: v1
kind: Secret
metadata: {{name: {name}, namespace: {namespace}, resourceVersion: '1'}}
type: kubernetes.io/tls
data: {{tls.crt: {certificate}, tls.key: {key}}}"
    )
}

fn gateway(listeners: &str) -> String {
    format!(
        "
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {{name: g, namespace: infra, generation: 1, creationTimestamp: '2026-01-02T00:00:00Z'}}
spec:
  gatewayClassName: coracle
  listeners:
{listeners}"
    )
}

fn route(name: &str, section: &str, to: &str) -> String {
    format!(
        "
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: {name}, namespace: infra}}
spec: {{parentRefs: [{{name: g, sectionName: {section}}}], rules: [{{backendRefs: [{{name: {to}, port: 8080}}]}}]}}"
    )
}

/// A client that asks for a name and trusts an authority.
pub fn peer(world: &World, port: u16, authority: &Authority, name: &str) -> Peer {
    connected(TcpStream::connect(world.address(port)).unwrap(), &client(authority, None), name)
}

fn check(world: &World, authority: &Authority, name: &str, ask: Ask) {
    ask.check(&mut peer(world, 443, authority, name));
}

#[test]
fn httproute_https_listener() {
    let authority = Authority::new();
    let listener = |name: &str, host: &str| {
        format!(
            "  - {{name: {name}, port: 443, protocol: HTTPS, hostname: {host}, tls: {{certificateRefs: [{{name: {name}}}]}}}}\n"
        )
    };
    let yaml = [
        gateway(&(listener("one", "one.test") + &listener("two", "two.test"))),
        secret("infra", "one", &authority.issue(&["one.test"])),
        secret("infra", "two", &authority.issue(&["two.test"])),
        route("r1", "one", "v1"),
        route("r2", "two", "v2"),
    ];
    let world = World::new(&yaml.concat());
    check(&world, &authority, "one.test", get("/").host("one.test").reaches("infra/v1"));
    check(&world, &authority, "two.test", get("/").host("two.test").reaches("infra/v2"));
}

#[test]
fn httproute_https_listener_detect_misdirected_requests() {
    let authority = Authority::new();
    let hosts = [("any", ""), ("second", "second.test"), ("wild", "'*.wild.test'"), ("fourth", "fourth.wild.test")];
    let listener = |(name, host): &(&str, &str)| {
        let host = if host.is_empty() { String::new() } else { format!("hostname: {host}, ") };
        format!("  - {{name: {name}, port: 443, protocol: HTTPS, {host}tls: {{certificateRefs: [{{name: all}}]}}}}\n")
    };
    let names = ["first.test", "unknown.test", "second.test", "*.wild.test"];
    let first = route("r1", "any", "v1").replace("parentRefs", "hostnames: [first.test], parentRefs");
    let yaml = [
        gateway(&hosts.iter().map(listener).collect::<String>()),
        secret("infra", "all", &authority.issue(&names)),
        first,
        route("r2", "second", "v2"),
        route("r3", "wild", "v3"),
        route("r4", "fourth", "v1"),
    ];
    let world = World::new(&yaml.concat());
    for listener in ["any", "second", "wild", "fourth"] {
        let said = world.listener_condition("Gateway", "infra/g", listener, "OverlappingTLSConfig");
        assert_eq!(said, "True OverlappingHostnames", "{listener}");
    }
    for (name, host, status, backend) in [
        ("first.test", "first.test", 200, Some("infra/v1")),
        ("first.test", "second.test", 421, None),
        ("first.test", "unknown.test", 404, None),
        ("second.test", "second.test", 200, Some("infra/v2")),
        ("second.test", "first.test", 421, None),
        ("second.test", "unknown.test", 421, None),
        ("third.wild.test", "third.wild.test", 200, Some("infra/v3")),
        ("third.wild.test", "fifth.wild.test", 200, Some("infra/v3")),
        ("third.wild.test", "fourth.wild.test", 421, None),
        ("third.wild.test", "unknown.test", 421, None),
        ("fourth.wild.test", "fourth.wild.test", 200, Some("infra/v1")),
        ("fourth.wild.test", "fifth.wild.test", 421, None),
        ("unknown.test", "first.test", 200, Some("infra/v1")),
        ("unknown.test", "unknown.test", 404, None),
    ] {
        let ask = get("/").host(host).answers(status);
        check(
            &world,
            &authority,
            name,
            match backend {
                Some(backend) => ask.reaches(backend),
                None => ask,
            },
        );
    }
}

fn https(reference: &str) -> String {
    gateway(&format!("  - {{name: https, port: 443, protocol: HTTPS, tls: {{certificateRefs: [{reference}]}}}}\n"))
}

#[test]
fn gateway_invalid_tls_configuration() {
    let good = Authority::new().issue(&["a.test"]);
    for (reference, extra) in [
        ("{name: gone}", String::new()),
        ("{group: wrong.group.io, kind: Secret, name: good}", secret("infra", "good", &good)),
        ("{kind: WrongKind, name: good}", secret("infra", "good", &good)),
        ("{name: bad}", secret("infra", "bad", &Pair { certificate: "Hello world".into(), key: "Hello world".into() })),
    ] {
        let world = World::new(&(https(reference) + &extra));
        let said = |condition| world.listener_condition("Gateway", "infra/g", "https", condition);
        assert_eq!(said("ResolvedRefs"), "False InvalidCertificateRef", "{reference}");
        assert_eq!(said("Programmed"), "False Invalid", "{reference}");
    }
}

#[test]
fn gateway_secret_reference_grants() {
    // GatewaySecretMissingReferenceGrant, …InvalidReferenceGrant, …ReferenceGrantSpecific, …ReferenceGrantAllInNamespace.
    let authority = Authority::new();
    let certificate = secret("web", "cert", &authority.issue(&["a.test"]));
    let grant = |from: &str, to: &str| {
        format!(
            "
---
apiVersion: gateway.networking.k8s.io/v1beta1
kind: ReferenceGrant
metadata: {{name: g, namespace: web}}
spec: {{from: [{from}], to: [{to}]}}"
        )
    };
    let us = "{group: gateway.networking.k8s.io, kind: Gateway, namespace: infra}";
    for (grant, resolved) in [
        (String::new(), false),
        (
            grant("{group: gateway.networking.k8s.io, kind: Gateway, namespace: other}", "{group: '', kind: Secret}"),
            false,
        ),
        (
            grant("{group: gateway.networking.k8s.io, kind: HTTPRoute, namespace: infra}", "{group: '', kind: Secret}"),
            false,
        ),
        (grant(us, "{group: '', kind: Secret, name: other}"), false),
        (grant(us, "{group: '', kind: Secret, name: cert}"), true),
        (grant(us, "{group: '', kind: Secret}"), true),
    ] {
        let world = World::new(
            &[https("{name: cert, namespace: web}"), certificate.clone(), grant.clone(), route("r", "https", "v1")]
                .concat(),
        );
        let said = |condition| world.listener_condition("Gateway", "infra/g", "https", condition);
        if resolved {
            assert_eq!(
                (said("ResolvedRefs"), said("Programmed")),
                ("True ResolvedRefs".into(), "True Programmed".into())
            );
            check(&world, &authority, "a.test", get("/").host("a.test").reaches("infra/v1"));
        } else {
            assert_eq!(
                (said("ResolvedRefs"), said("Programmed")),
                ("False RefNotPermitted".into(), "False Invalid".into()),
                "{grant}"
            );
        }
    }
}

#[test]
fn listener_set_reference_grant() {
    let authority = Authority::new();
    let yaml = |kind: &str| {
        [
            gateway("  - {name: own, port: 80, protocol: HTTP, hostname: own.test}\n  allowedListeners: {namespaces: {from: Same}}"),
            secret("web", "cert", &authority.issue(&["a.test"])),
            format!(
                "
---
apiVersion: gateway.networking.k8s.io/v1
kind: ListenerSet
metadata: {{name: s, namespace: infra}}
spec:
  parentRef: {{name: g}}
  listeners: [{{name: https, port: 443, protocol: HTTPS, tls: {{certificateRefs: [{{name: cert, namespace: web}}]}}}}]
---
apiVersion: gateway.networking.k8s.io/v1beta1
kind: ReferenceGrant
metadata: {{name: g, namespace: web}}
spec: {{from: [{{group: gateway.networking.k8s.io, kind: {kind}, namespace: infra}}], to: [{{group: '', kind: Secret}}]}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: r, namespace: infra}}
spec: {{parentRefs: [{{kind: ListenerSet, name: s}}], rules: [{{backendRefs: [{{name: v1, port: 8080}}]}}]}}"
            ),
        ]
        .concat()
    };
    // What the Gateway may refer to, its ListenerSets may not.
    let world = World::new(&yaml("Gateway"));
    let said = world.listener_condition("ListenerSet", "infra/s", "https", "ResolvedRefs");
    assert_eq!(said, "False RefNotPermitted");
    let world = World::new(&yaml("ListenerSet"));
    let said = world.listener_condition("ListenerSet", "infra/s", "https", "ResolvedRefs");
    assert_eq!(said, "True ResolvedRefs");
    check(&world, &authority, "a.test", get("/").host("a.test").reaches("infra/v1"));
}

pub fn tls_route(name: &str, parent: &str, hosts: &str, backend: &str) -> String {
    format!(
        "
---
apiVersion: gateway.networking.k8s.io/v1
kind: TLSRoute
metadata: {{name: {name}, namespace: infra}}
spec: {{parentRefs: [{parent}], hostnames: [{hosts}], rules: [{{backendRefs: [{backend}]}}]}}"
    )
}

const PASS: &str = "  - {name: pass, port: 443, protocol: TLS, hostname: '*.test', tls: {mode: Passthrough}}\n";
const END: &str = "  - {name: end, port: 443, protocol: TLS, hostname: end.test, tls: {mode: Terminate, certificateRefs: [{name: cert}]}}\n";

/// A backend that ends TLS itself.
fn secured(authority: &Authority, names: &[&str]) -> Endpoint {
    endpoint(server(&authority.issue(names), None, &[]), |peer, name, _| {
        while !peer.message().0.is_empty() {
            peer.send(format!("HTTP/1.1 200 OK\r\nX-Backend: secured\r\nX-Name: {name}\r\nContent-Length: 0\r\n\r\n"));
        }
    })
}

#[test]
fn tlsroute_simple_same_namespace_and_hostname_intersection() {
    let authority = Authority::new();
    let yaml = [
        gateway(PASS),
        tls_route("good", "{name: g}", "a.test, other.example", "{name: secured, port: 8080}"),
        tls_route("wild", "{name: g}", "'*.deep.test'", "{name: secured, port: 8080}"),
        tls_route("none", "{name: g}", "other.example", "{name: secured, port: 8080}"),
        tls_route("plain", "{name: edge}", "a.test", "{name: secured, port: 8080}"),
    ];
    let mut world = World::new(&yaml.concat());
    world.backend("infra/secured", None, secured(&authority, &["a.test", "*.deep.test"]));
    world.apply();
    assert_eq!(world.route("TLSRoute", "infra/good", "Accepted"), "True Accepted");
    assert_eq!(world.route("TLSRoute", "infra/good", "ResolvedRefs"), "True ResolvedRefs");
    // TLSRouteInvalidNoMatchingListenerHostname and TLSRouteInvalidNoMatchingListener.
    assert_eq!(world.route("TLSRoute", "infra/none", "Accepted"), "False NoMatchingListenerHostname");
    assert_eq!(world.route("TLSRoute", "infra/plain", "Accepted"), "False NotAllowedByListeners");
    assert_eq!(world.listener("Gateway", "infra/g", "pass")["attachedRoutes"], 2);
    for name in ["a.test", "x.deep.test"] {
        let (head, _) = get("/").host(name).send(&mut peer(&world, 443, &authority, name));
        assert_eq!((status(&head), field(&head, "x-name")), ("200", Some(name)), "{head}");
    }
    for name in ["b.test", "other.example"] {
        let mut refused = peer(&world, 443, &authority, name);
        refused.send_some("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
        assert_eq!(refused.head(), "", "{name}");
    }
}

#[test]
fn tlsroute_listener_supported_kinds() {
    let authority = Authority::new();
    let world = World::new(
        &[gateway(&format!("{PASS}{END}")), secret("infra", "cert", &authority.issue(&["end.test"]))].concat(),
    );
    assert_eq!(world.kinds("infra/g", "pass"), ["TLSRoute"]);
    assert!(world.kinds("infra/g", "end").contains(&"TLSRoute".to_owned()));
}

#[test]
fn tlsroute_terminate_and_mixed_termination() {
    // TLSRouteTerminateSimpleSameNamespace and TLSRouteMixedTerminationSameNamespace.
    let authority = Authority::new();
    let yaml = [
        gateway(&format!("{PASS}{END}")),
        secret("infra", "cert", &authority.issue(&["end.test"])),
        tls_route("pass", "{name: g, sectionName: pass}", "a.test", "{name: secured, port: 8080}"),
        tls_route("end", "{name: g, sectionName: end}", "end.test", "{name: v1, port: 8080}"),
    ];
    let mut world = World::new(&yaml.concat());
    world.backend("infra/secured", None, secured(&authority, &["a.test"]));
    world.apply();
    for (route, listener) in [("infra/pass", "pass"), ("infra/end", "end")] {
        assert_eq!(world.route("TLSRoute", route, "Accepted"), "True Accepted");
        assert_eq!(world.listener_condition("Gateway", "infra/g", listener, "Accepted"), "True Accepted");
    }
    check(&world, &authority, "a.test", get("/").host("a.test").reaches("secured"));
    check(&world, &authority, "end.test", get("/").host("end.test").reaches("infra/v1"));
}

#[test]
fn tlsroute_invalid_backend_refs() {
    // TLSRouteInvalidBackendRefNonexistent, …UnknownKind and TLSRouteInvalidReferenceGrant.
    for (backend, reason) in [
        ("{name: gone, port: 8080}", "False BackendNotFound"),
        ("{group: other.io, kind: Odd, name: v1, port: 8080}", "False InvalidKind"),
        ("{name: v1, namespace: web, port: 8080}", "False RefNotPermitted"),
    ] {
        let world = World::new(&(gateway(PASS) + &tls_route("r", "{name: g}", "a.test", backend)));
        assert_eq!(world.route("TLSRoute", "infra/r", "Accepted"), "True Accepted", "{backend}");
        assert_eq!(world.route("TLSRoute", "infra/r", "ResolvedRefs"), reason, "{backend}");
    }
}
