//! TLS with backends, and what Gateways show them.

use serde_json::Value;

use crate::{
    ask::get,
    h2c::call,
    pki::{Authority, endpoint, server},
    support::{Endpoint, Peer, field, status},
    tls::{secret, tls_route},
    world::World,
};

fn authority(name: &str, authority: &Authority) -> String {
    config_map(name, &authority.pem())
}

fn config_map(name: &str, pem: &str) -> String {
    let pem = Value::from(pem);
    format!(
        "\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}, namespace: infra}}\ndata: {{ca.crt: {pem}}}"
    )
}

/// A policy for a Service; `validation` is what is checked beside the authority `ca`.
fn policy(name: &str, day: u32, target: &str, validation: &str) -> String {
    format!(
        "
---
apiVersion: gateway.networking.k8s.io/v1
kind: BackendTLSPolicy
metadata: {{name: {name}, namespace: infra, generation: 1, creationTimestamp: '2026-01-0{day}T00:00:00Z'}}
spec:
  targetRefs: [{{group: '', kind: Service, {target}}}]
  validation: {{{validation}}}"
    )
}

const CA: &str = "caCertificateRefs: [{group: '', kind: ConfigMap, name: ca}]";

fn route(backend: &str) -> String {
    format!(
        "
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: r-{backend}, namespace: infra}}
spec:
  parentRefs: [{{name: edge}}]
  rules: [{{matches: [{{path: {{value: /{backend}}}}}], backendRefs: [{{name: {backend}, port: 8080}}]}}]"
    )
}

/// A backend inside TLS that says which name it was asked for and how many certificates it was shown.
fn secured(authority: &Authority, names: &[&str], clients: Option<&Authority>) -> Endpoint {
    endpoint(server(&authority.issue(names), clients, &["http/1.1"]), |peer, name, shown| {
        while !peer.message().0.is_empty() {
            peer.send(format!(
                "HTTP/1.1 200 OK\r\nX-Backend: secured\r\nX-Name: {name}\r\nX-Shown: {shown}\r\nContent-Length: 0\r\n\r\n"
            ));
        }
    })
}

/// The policy's condition at its first ancestor.
fn said(world: &World, policy: &str, condition: &str) -> String {
    let ancestors = world.status("BackendTLSPolicy", &format!("infra/{policy}"))["ancestors"].clone();
    let conditions = ancestors[0]["conditions"].as_array().cloned().unwrap_or_default();
    let found = conditions.iter().find(|c| c["type"] == condition).cloned().unwrap_or_default();
    format!("{} {}", found["status"].as_str().unwrap_or("?"), found["reason"].as_str().unwrap_or("?"))
}

fn asked(world: &World, path: &'static str) -> (String, String) {
    let (head, _) = get(path).send(&mut Peer::connect(world.address(80)));
    (status(&head).to_owned(), field(&head, "x-name").unwrap_or_default().to_owned())
}

#[test]
fn backend_tls_policy() {
    let (trusted, other) = (Authority::new(), Authority::new());
    let yaml = [
        route("good"),
        route("mismatch"),
        route("stranger"),
        authority("ca", &trusted),
        policy("good", 1, "name: good", &format!("{CA}, hostname: abc.test")),
        policy("mismatch", 1, "name: mismatch", &format!("{CA}, hostname: other.test")),
        policy("stranger", 1, "name: stranger", &format!("{CA}, hostname: abc.test")),
    ];
    let mut world = World::new(&yaml.concat());
    world.backend("infra/good", Some("https"), secured(&trusted, &["abc.test"], None));
    world.backend("infra/mismatch", None, secured(&trusted, &["abc.test"], None));
    world.backend("infra/stranger", None, secured(&other, &["abc.test"], None));
    world.apply();
    assert_eq!(said(&world, "good", "Accepted"), "True Accepted");
    assert_eq!(said(&world, "good", "ResolvedRefs"), "True ResolvedRefs");
    assert_eq!(world.route("HTTPRoute", "infra/r-good", "ResolvedRefs"), "True ResolvedRefs");
    assert_eq!(asked(&world, "/good"), ("200".to_owned(), "abc.test".to_owned()));
    assert!(asked(&world, "/mismatch").0.starts_with('5'));
    assert!(asked(&world, "/stranger").0.starts_with('5'));
}

#[test]
fn backend_tls_policy_san_validation() {
    let trusted = Authority::new();
    let names = [
        ("dns", "[{type: Hostname, hostname: san.test}]", "200"),
        ("uri", "[{type: URI, uri: 'spiffe://abc.test/me'}]", "200"),
        ("any", "[{type: Hostname, hostname: wrong.test}, {type: URI, uri: 'spiffe://abc.test/me'}]", "200"),
        // The host name alone is not enough where names are asked for.
        ("wrong", "[{type: Hostname, hostname: wrong.test}]", "5"),
        ("wronguri", "[{type: URI, uri: 'spiffe://abc.test/other'}]", "5"),
    ];
    let mut yaml = authority("ca", &trusted);
    for (name, sans, _) in names {
        yaml += &route(name);
        yaml +=
            &policy(name, 1, &format!("name: {name}"), &format!("{CA}, hostname: abc.test, subjectAltNames: {sans}"));
    }
    let mut world = World::new(yaml.trim_start().trim_start_matches("---"));
    for (name, ..) in names {
        let endpoint = secured(&trusted, &["san.test", "spiffe://abc.test/me"], None);
        world.backend(&format!("infra/{name}"), None, endpoint);
    }
    world.apply();
    for (path, expected) in [("/dns", "200"), ("/uri", "200"), ("/any", "200"), ("/wrong", "5"), ("/wronguri", "5")] {
        assert!(asked(&world, path).0.starts_with(expected), "{path}");
    }
}

#[test]
fn backend_tls_policy_conflict_resolution() {
    let trusted = Authority::new();
    let yaml = [
        route("whole"),
        route("part"),
        authority("ca", &trusted),
        policy("whole-1", 1, "name: whole", &format!("{CA}, hostname: abc.test")),
        policy("whole-2", 2, "name: whole", &format!("{CA}, hostname: other.test")),
        policy("part-1", 1, "name: part, sectionName: first", &format!("{CA}, hostname: abc.test")),
        policy("part-2", 2, "name: part, sectionName: first", &format!("{CA}, hostname: other.test")),
        policy("part-all", 1, "name: part", &format!("{CA}, hostname: other.test")),
    ];
    let mut world = World::new(&yaml.concat());
    for name in ["infra/whole", "infra/part"] {
        world.backend(name, None, secured(&trusted, &["abc.test"], None));
    }
    world.apply();
    for (policy, expected) in [
        ("whole-1", "True Accepted"),
        ("whole-2", "False Conflicted"),
        ("part-1", "True Accepted"),
        ("part-2", "False Conflicted"),
        ("part-all", "True Accepted"),
    ] {
        assert_eq!(said(&world, policy, "Accepted"), expected, "{policy}");
    }
    assert_eq!(asked(&world, "/whole").0, "200");
    assert_eq!(asked(&world, "/part").0, "200");
}

#[test]
fn backend_tls_policy_invalid_references() {
    // BackendTLSPolicyInvalidCACertificateRef and BackendTLSPolicyInvalidKind.
    let trusted = Authority::new();
    for (reference, reason) in [
        ("{group: '', kind: ConfigMap, name: gone}", "False InvalidCACertificateRef"),
        ("{group: '', kind: ConfigMap, name: malformed}", "False InvalidCACertificateRef"),
        ("{group: invalid.io, kind: InvalidKind, name: x}", "False InvalidKind"),
    ] {
        let yaml = [
            route("up"),
            config_map("malformed", "Hello world"),
            policy("p", 1, "name: up", &format!("caCertificateRefs: [{reference}], hostname: abc.test")),
        ];
        let mut world = World::new(&yaml.concat());
        world.backend("infra/up", None, secured(&trusted, &["abc.test"], None));
        world.apply();
        assert_eq!(said(&world, "p", "Accepted"), "False NoValidCACertificate", "{reference}");
        assert_eq!(said(&world, "p", "ResolvedRefs"), reason, "{reference}");
        assert!(asked(&world, "/up").0.starts_with('5'), "{reference}");
    }
}

#[test]
fn backend_tls_policy_observed_generation_bump() {
    let trusted = Authority::new();
    let of = |generation: u32| {
        policy("p", 1, "name: v1", &format!("{CA}, hostname: abc.test"))
            .replace("generation: 1", &format!("generation: {generation}"))
    };
    let mut world = World::new(&[route("v1"), authority("ca", &trusted), of(1)].concat());
    world.add(of(2).trim_start().trim_start_matches("---"));
    let conditions = world.status("BackendTLSPolicy", "infra/p")["ancestors"][0]["conditions"].clone();
    assert!(conditions.as_array().unwrap().iter().all(|c| c["observedGeneration"] == 2), "{conditions}");
}

/// Answers every stream of HTTP/2 with status 0 of gRPC; frames by hand, for there is TLS beneath.
fn answer_calls(peer: &mut Peer) {
    assert_eq!(peer.exactly(24), b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    peer.send(b"\0\0\0\x04\0\0\0\0\0");
    loop {
        let head = peer.exactly(9);
        let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
        peer.exactly(length);
        match (head[3], head[4] & 1) {
            // SETTINGS.
            (4, 0) => peer.send(b"\0\0\0\x04\x01\0\0\0\0"),
            // The end of a request: a head that is all of the response.
            (0 | 1, 1) => {
                let mut block = vec![0x88];
                for (name, value) in
                    [("content-type", "application/grpc"), ("x-backend", "secured"), ("grpc-status", "0")]
                {
                    block.push(0);
                    for text in [name, value] {
                        block.push(u8::try_from(text.len()).unwrap());
                        block.extend_from_slice(text.as_bytes());
                    }
                }
                let mut frame = vec![0, 0, u8::try_from(block.len()).unwrap(), 1, 5];
                frame.extend_from_slice(&head[5..9]);
                peer.send([frame, block].concat());
            }
            _ => {}
        }
    }
}

#[test]
fn backend_tls_policy_grpc_route() {
    let trusted = Authority::new();
    let yaml = [
        authority("ca", &trusted),
        policy("p", 1, "name: up", &format!("{CA}, hostname: abc.test")),
        "
---
apiVersion: gateway.networking.k8s.io/v1
kind: GRPCRoute
metadata: {name: r, namespace: infra}
spec: {parentRefs: [{name: edge}], rules: [{backendRefs: [{name: up, port: 8080}]}]}"
            .to_owned(),
    ];
    let mut world = World::new(yaml.concat().trim_start().trim_start_matches("---"));
    let config = server(&trusted.issue(&["abc.test"]), None, &["h2"]);
    let endpoint = endpoint(config, |peer, _, _| answer_calls(peer));
    world.backend("infra/up", None, endpoint);
    world.apply();
    let called = call(world.address(80), "example.com", "a.B/C", &[]);
    assert_eq!((called.backend.as_deref(), called.grpc.as_deref()), (Some("secured"), Some("0")), "{called:?}");
}

#[test]
fn backend_tls_policy_tlsroute_terminate() {
    let (trusted, own) = (Authority::new(), Authority::new());
    let yaml = [
        "
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: g, namespace: infra, creationTimestamp: '2026-01-02T00:00:00Z'}
spec:
  gatewayClassName: coracle
  listeners: [{name: end, port: 443, protocol: TLS, hostname: end.test, tls: {mode: Terminate, certificateRefs: [{name: cert}]}}]"
            .to_owned(),
        secret("infra", "cert", &own.issue(&["end.test"])),
        authority("ca", &trusted),
        policy("p", 1, "name: up", &format!("{CA}, hostname: abc.test")),
        tls_route("r", "{name: g}", "end.test", "{name: up, port: 8080}"),
    ];
    let mut world = World::new(&yaml.concat());
    world.backend("infra/up", None, secured(&trusted, &["abc.test"], None));
    world.apply();
    let (head, _) = get("/").host("end.test").send(&mut crate::tls::peer(&world, 443, &own, "end.test"));
    assert_eq!((status(&head), field(&head, "x-name")), ("200", Some("abc.test")), "{head}");
}

fn presenting(reference: &str) -> String {
    format!(
        "
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {{name: g, namespace: infra, creationTimestamp: '2026-01-02T00:00:00Z'}}
spec:
  gatewayClassName: coracle
  tls: {{backend: {{clientCertificateRef: {reference}}}}}
  listeners: [{{name: http, port: 81, protocol: HTTP}}]"
    )
}

#[test]
fn gateway_tls_backend_client_certificate() {
    let (trusted, clients) = (Authority::new(), Authority::new());
    let yaml = [
        presenting("{name: client}"),
        secret("infra", "client", &clients.issue(&["gateway.test"])),
        authority("ca", &trusted),
        policy("p", 1, "name: up", &format!("{CA}, hostname: abc.test")),
        route("up").replace("name: edge", "name: g"),
    ];
    let mut world = World::new(&yaml.concat());
    world.backend("infra/up", None, secured(&trusted, &["abc.test"], Some(&clients)));
    world.apply();
    assert_eq!(world.condition("Gateway", "infra/g", "ResolvedRefs"), "True ResolvedRefs");
    let (head, _) = get("/up").send(&mut Peer::connect(world.address(81)));
    assert_eq!((status(&head), field(&head, "x-shown")), ("200", Some("1")), "{head}");
}

#[test]
fn gateway_invalid_tls_backend_configuration() {
    let pair = Authority::new().issue(&["a.test"]);
    for (reference, reason) in [
        ("{name: gone}", "False InvalidClientCertificateRef"),
        ("{group: wrong.group.io, kind: Secret, name: good}", "False InvalidClientCertificateRef"),
        ("{kind: WrongKind, name: good}", "False InvalidClientCertificateRef"),
        ("{name: there, namespace: web}", "False RefNotPermitted"),
    ] {
        let yaml = [presenting(reference), secret("infra", "good", &pair), secret("web", "there", &pair)];
        let world = World::new(&yaml.concat());
        assert_eq!(world.condition("Gateway", "infra/g", "ResolvedRefs"), reason, "{reference}");
        assert_eq!(world.condition("Gateway", "infra/g", "Accepted"), "True Accepted", "{reference}");
    }
}
