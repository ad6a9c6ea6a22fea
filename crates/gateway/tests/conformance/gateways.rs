//! Gateways and their classes: statuses, listeners, attached routes.

use crate::{ask::get, support::Peer, world::World};

fn gateway(listeners: &str) -> String {
    format!(
        "
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {{name: g, namespace: infra, generation: 1, creationTimestamp: '2026-01-02T00:00:00Z'}}
spec:
  gatewayClassName: coracle
  listeners:
{listeners}
"
    )
}

#[test]
fn gateway_and_class_observed_generation_bump() {
    let mut world = World::new(&gateway("  - {name: http, port: 81, protocol: HTTP}"));
    let changed = gateway("  - {name: http, port: 81, protocol: HTTP}\n  - {name: more, port: 82, protocol: HTTP}");
    world.add(&changed.replace("generation: 1", "generation: 2"));
    world.add(
        "
apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {name: coracle, generation: 7}
spec: {controllerName: coracle.dev/gateway-controller, description: new}
",
    );
    let all = |kind, name, generation: i64| {
        let conditions = world.status(kind, name)["conditions"].clone();
        assert!(conditions.as_array().unwrap().iter().all(|c| c["observedGeneration"] == generation), "{conditions}");
    };
    all("Gateway", "infra/g", 2);
    all("GatewayClass", "/coracle", 7);
}

#[test]
fn gateway_modify_listeners() {
    let mut world = World::new(&gateway("  - {name: http, port: 81, protocol: HTTP}"));
    world.add(
        "
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: r, namespace: infra}
spec: {parentRefs: [{name: g}], rules: [{backendRefs: [{name: v1, port: 8080}]}]}
",
    );
    world.check_at(81, &[get("/").reaches("infra/v1")]);
    world.add(&gateway("  - {name: http, port: 81, protocol: HTTP}\n  - {name: more, port: 82, protocol: HTTP}"));
    for listener in ["http", "more"] {
        assert_eq!(world.listener("Gateway", "infra/g", listener)["attachedRoutes"], 1, "{listener}");
        assert_eq!(world.listener_condition("Gateway", "infra/g", listener, "Accepted"), "True Accepted");
        assert_eq!(world.listener_condition("Gateway", "infra/g", listener, "Programmed"), "True Programmed");
    }
    world.check_at(82, &[get("/").reaches("infra/v1")]);
    world.add(&gateway("  - {name: more, port: 82, protocol: HTTP}"));
    assert!(world.listener("Gateway", "infra/g", "http").is_null());
    world.check_at(82, &[get("/").reaches("infra/v1")]);
}

#[test]
fn gateway_listener_unsupported_protocol() {
    let odd = "  - {name: odd, port: 81, protocol: example.com/odd}";
    let world = World::new(&gateway(odd));
    assert_eq!(world.listener_condition("Gateway", "infra/g", "odd", "Accepted"), "False UnsupportedProtocol");
    assert_eq!(world.condition("Gateway", "infra/g", "Accepted"), "False ListenersNotValid");
    let world = World::new(&gateway(&format!("{odd}\n  - {{name: http, port: 82, protocol: HTTP}}")));
    assert_eq!(world.listener_condition("Gateway", "infra/g", "odd", "Accepted"), "False UnsupportedProtocol");
    assert_eq!(world.listener_condition("Gateway", "infra/g", "http", "Accepted"), "True Accepted");
    assert_eq!(world.condition("Gateway", "infra/g", "Accepted"), "True ListenersNotValid");
}

#[test]
fn gateway_invalid_parameters_ref() {
    let yaml = gateway("  - {name: http, port: 81, protocol: HTTP}")
        + "  infrastructure: {parametersRef: {group: example.com, kind: Nothing, name: gone}}\n";
    assert_eq!(World::new(&yaml).condition("Gateway", "infra/g", "Accepted"), "False InvalidParameters");
}

#[test]
fn gateway_invalid_route_kind() {
    let world = World::new(&gateway(
        "  - {name: only, port: 81, protocol: HTTP, allowedRoutes: {kinds: [{kind: InvalidRoute}]}}
  - {name: both, port: 82, protocol: HTTP, allowedRoutes: {kinds: [{kind: InvalidRoute}, {kind: HTTPRoute}]}}
  - {name: group, port: 83, protocol: HTTP, allowedRoutes: {kinds: [{group: other.io, kind: HTTPRoute}]}}",
    ));
    for (listener, kinds) in [("only", &[][..]), ("both", &["HTTPRoute"][..]), ("group", &[][..])] {
        assert_eq!(world.kinds("infra/g", listener), kinds, "{listener}");
        let said = world.listener_condition("Gateway", "infra/g", listener, "ResolvedRefs");
        assert_eq!(said, "False InvalidRouteKinds", "{listener}");
    }
    assert_eq!(world.condition("Gateway", "infra/g", "ResolvedRefs"), "False ListenersNotResolved");
}

#[test]
fn gateway_name_maximum_length() {
    let name = format!("{}.{}", ["a".repeat(62), "b".repeat(62), "c".repeat(62)].join("."), "d".repeat(64));
    let name = name.chars().take(253).collect::<String>();
    let yaml = gateway("  - {name: http, port: 81, protocol: HTTP}").replace("name: g,", &format!("name: {name},"));
    let world = World::new(&yaml);
    assert_eq!(name.len(), 253);
    assert_eq!(world.condition("Gateway", &format!("infra/{name}"), "Programmed"), "True Programmed");
}

#[test]
fn gateway_with_attached_routes() {
    let route = |name: &str, section: &str, namespace: &str| {
        format!(
            "
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: {name}, namespace: {namespace}}}
spec: {{parentRefs: [{{name: g, namespace: infra, sectionName: {section}}}], rules: [{{backendRefs: [{{name: gone, port: 8080}}]}}]}}"
        )
    };
    let mut yaml = gateway(
        "  - {name: one, port: 81, protocol: HTTP}
  - {name: two, port: 8080, protocol: HTTP, allowedRoutes: {kinds: [{kind: HTTPRoute}], namespaces: {from: Same}}}
  - {name: none, port: 83, protocol: HTTP}
  - {name: secret, port: 84, protocol: HTTPS, tls: {certificateRefs: [{name: gone}]}}",
    );
    yaml += &route("a", "one", "infra");
    yaml += &route("b", "two", "infra");
    yaml += &route("c", "two", "infra");
    yaml += &route("d", "secret", "infra");
    yaml += &route("stranger", "one", "web");
    let world = World::new(&yaml);
    for (listener, count) in [("one", 1), ("two", 2), ("none", 0), ("secret", 1)] {
        assert_eq!(world.listener("Gateway", "infra/g", listener)["attachedRoutes"], count, "{listener}");
    }
    assert_eq!(world.listener_condition("Gateway", "infra/g", "secret", "Accepted"), "True Accepted");
    assert_eq!(world.listener_condition("Gateway", "infra/g", "secret", "ResolvedRefs"), "False InvalidCertificateRef");
    assert_eq!(world.listener_condition("Gateway", "infra/g", "secret", "Programmed"), "False Invalid");
    assert_eq!(world.route("HTTPRoute", "infra/a", "ResolvedRefs"), "False BackendNotFound");
}

#[test]
fn gateway_optional_address_value() {
    let yaml = gateway("  - {name: http, port: 81, protocol: HTTP}") + "  addresses: [{type: IPAddress}]\n";
    let world = World::new(&yaml);
    assert_eq!(world.condition("Gateway", "infra/g", "Accepted"), "True Accepted");
    assert_eq!(world.condition("Gateway", "infra/g", "Programmed"), "True Programmed");
    assert_eq!(world.status("Gateway", "infra/g")["addresses"][0]["type"], "IPAddress");
}

#[test]
fn gateway_http_listener_isolation() {
    let listeners =
        [("empty", ""), ("com", "'*.example.test'"), ("foo", "'*.foo.example.test'"), ("abc", "abc.foo.example.test")];
    let listener = |(name, host): &(&str, &str)| {
        let host = if host.is_empty() { String::new() } else { format!(", hostname: {host}") };
        format!("  - {{name: {name}, port: 81, protocol: HTTP{host}}}\n")
    };
    let mut yaml = gateway(&listeners.iter().map(listener).collect::<String>());
    for (name, _) in listeners {
        yaml += &format!(
            "
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: {name}, namespace: infra}}
spec:
  parentRefs: [{{name: g, sectionName: {name}}}]
  rules: [{{matches: [{{path: {{value: /{name}}}}}], backendRefs: [{{name: v1, port: 8080}}]}}]"
        );
    }
    let world = World::new(&yaml);
    let hosts = [
        ("bar.test", "empty"),
        ("bar.example.test", "com"),
        ("bar.foo.example.test", "foo"),
        ("abc.foo.example.test", "abc"),
    ];
    for (host, own) in hosts {
        for (path, of) in [("/empty", "empty"), ("/com", "com"), ("/foo", "foo"), ("/abc", "abc")] {
            let ask = get(path).host(host);
            world.check_at(81, &[if of == own { ask.reaches("infra/v1") } else { ask.answers(404) }]);
        }
    }
}

/// A Gateway with addresses of its own.
fn at(name: &str, addresses: &str, port: u16) -> String {
    gateway(&format!("  - {{name: http, port: {port}, protocol: HTTP}}"))
        .replace("name: g,", &format!("name: {name},"))
        .replace("  gatewayClassName", &format!("  addresses: [{addresses}]\n  gatewayClassName"))
}

#[test]
fn httproute_multiple_gateways() {
    let mut world = World::new("");
    let port = world.hold_at(&["127.0.0.2", "127.0.0.3"]);
    let route = |name: &str, parents: &str, path: &str, to: &str| {
        format!(
            "
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: {name}, namespace: infra}}
spec:
  parentRefs: [{parents}]
  rules: [{{matches: [{{path: {{value: {path}}}}}], backendRefs: [{{name: {to}, port: 8080}}]}}]"
        )
    };
    world.add(
        &[
            at("two", "{value: 127.0.0.2}", port),
            "---".to_owned(),
            at("three", "{value: 127.0.0.3}", port),
            route("shared", "{name: two}, {name: three}", "/shared", "v1"),
            route("of-two", "{name: two}", "/", "v2"),
            route("of-three", "{name: three}", "/", "v3"),
        ]
        .concat(),
    );
    for (host, own) in [("127.0.0.2", "infra/v2"), ("127.0.0.3", "infra/v3")] {
        let peer = || Peer::connect(format!("{host}:{port}").parse().unwrap());
        get("/shared").reaches("infra/v1").check(&mut peer());
        get("/").reaches(own).check(&mut peer());
    }
    assert_eq!(world.status("Gateway", "infra/two")["addresses"][0]["value"], "127.0.0.2");
}

#[test]
fn gateway_static_addresses() {
    let mut world = World::new("");
    let port = world.hold_at(&["127.0.0.4"]);
    let usable = "{type: IPAddress, value: 127.0.0.4}";
    let unusable = "{type: IPAddress, value: 192.0.2.1}";
    world.add(&at("g", &format!("{{type: test/fake-invalid-type, value: x}}, {unusable}, {usable}"), port));
    assert_eq!(world.condition("Gateway", "infra/g", "Accepted"), "False UnsupportedAddress");
    world.add(&at("g", &format!("{unusable}, {usable}"), port));
    assert_eq!(world.condition("Gateway", "infra/g", "Accepted"), "True Accepted");
    assert_eq!(world.condition("Gateway", "infra/g", "Programmed"), "False AddressNotUsable");
    world.add(&at("g", usable, port));
    assert_eq!(world.condition("Gateway", "infra/g", "Accepted"), "True Accepted");
    assert_eq!(world.condition("Gateway", "infra/g", "Programmed"), "True Programmed");
    let addresses = world.status("Gateway", "infra/g")["addresses"].clone();
    assert_eq!(addresses, serde_json::json!([{"type": "IPAddress", "value": "127.0.0.4"}]));
    get("/").answers(404).check(&mut Peer::connect(format!("127.0.0.4:{port}").parse().unwrap()));
}
