//! Listeners that others add to a Gateway.

use crate::{ask::get, world::World};

fn gateway(allowed: &str) -> String {
    format!(
        "
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {{name: g, namespace: infra, generation: 1, creationTimestamp: '2026-01-02T00:00:00Z'}}
spec:
  gatewayClassName: coracle
  {allowed}
  listeners:
  - {{name: own, port: 80, protocol: HTTP, hostname: own.test, allowedRoutes: {{namespaces: {{from: All}}}}}}
"
    )
}

fn set(name: &str, namespace: &str, listeners: &str) -> String {
    format!(
        "
---
apiVersion: gateway.networking.k8s.io/v1
kind: ListenerSet
metadata: {{name: {name}, namespace: {namespace}, generation: 1, creationTimestamp: '2026-01-03T00:00:00Z'}}
spec:
  parentRef: {{name: g, namespace: infra}}
  listeners:
{listeners}"
    )
}

fn route(name: &str, namespace: &str, parents: &str, path: &str) -> String {
    format!(
        "
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: {name}, namespace: {namespace}}}
spec:
  parentRefs: [{parents}]
  rules: [{{matches: [{{path: {{value: {path}}}}}], backendRefs: [{{name: v1, port: 8080}}]}}]"
    )
}

const ONE: &str = "  - {name: l, port: 80, protocol: HTTP, hostname: set.test}";

#[test]
fn listener_set_allowed_namespaces() {
    // ListenerSetDefaultNotAllowed, ListenerSetAllowedNamespaceNone, …Same and …Selector.
    for (allowed, in_infra, in_web) in [
        ("", false, false),
        ("allowedListeners: {namespaces: {from: None}}", false, false),
        ("allowedListeners: {namespaces: {from: Same}}", true, false),
        ("allowedListeners: {namespaces: {from: Selector, selector: {matchLabels: {role: backend}}}}", false, true),
        ("allowedListeners: {namespaces: {from: All}}", true, true),
    ] {
        let other = ONE.replace("set.test", "web.test");
        let world = World::alone(&format!(
            "{}{}{}{}",
            CLASS,
            gateway(allowed),
            set("s", "infra", ONE),
            set("s", "web", &other)
        ));
        assert_eq!(world.condition("Gateway", "infra/g", "Accepted"), "True Accepted", "{allowed}");
        let count = i32::from(in_infra) + i32::from(in_web);
        assert_eq!(world.status("Gateway", "infra/g")["attachedListenerSets"], count, "{allowed}");
        for (name, let_in) in [("infra/s", in_infra), ("web/s", in_web)] {
            let expected =
                if let_in { ("True Accepted", "True Programmed") } else { ("False NotAllowed", "False NotAllowed") };
            assert_eq!(world.condition("ListenerSet", name, "Accepted"), expected.0, "{allowed} {name}");
            assert_eq!(world.condition("ListenerSet", name, "Programmed"), expected.1, "{allowed} {name}");
        }
    }
}

const CLASS: &str = "
apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {name: coracle, generation: 1}
spec: {controllerName: coracle.dev/gateway-controller}
---
apiVersion: v1
kind: Namespace
metadata: {name: infra, labels: {role: infra}}
---
apiVersion: v1
kind: Namespace
metadata: {name: web, labels: {role: backend}}
---
";

const ALL: &str = "allowedListeners: {namespaces: {from: All}}";

#[test]
fn listener_set_hostname_and_protocol_conflict() {
    for (protocol, hostname, reason) in [
        ("HTTP", ", hostname: own.test", "HostnameConflict"),
        ("HTTPS", ", tls: {certificateRefs: [{name: s}]}", "ProtocolConflict"),
    ] {
        let bad = format!("  - {{name: bad, port: 80, protocol: {protocol}{hostname}}}");
        let yaml = format!(
            "{CLASS}{}{}{}",
            gateway(ALL),
            set("some", "infra", &format!("{ONE}\n{bad}")),
            set("none", "web", &format!("{bad}\n  - {{name: l, port: 80, protocol: HTTP, hostname: set.test}}"))
        );
        let world = World::alone(&yaml);
        for condition in ["Accepted", "Programmed", "ResolvedRefs"] {
            assert!(world.listener_condition("Gateway", "infra/g", "own", condition).starts_with("True"));
            assert!(world.listener_condition("ListenerSet", "infra/some", "l", condition).starts_with("True"));
        }
        for (set, listener, reason) in
            [("infra/some", "bad", reason), ("web/none", "bad", reason), ("web/none", "l", "HostnameConflict")]
        {
            for (condition, status) in [("Accepted", "False"), ("Programmed", "False"), ("Conflicted", "True")] {
                let said = world.listener_condition("ListenerSet", set, listener, condition);
                assert_eq!(said, format!("{status} {reason}"), "{set} {listener} {condition}");
            }
        }
        assert_eq!(world.condition("ListenerSet", "infra/some", "Accepted"), "True ListenersNotValid");
        assert_eq!(world.condition("ListenerSet", "infra/some", "Programmed"), "True Programmed");
        assert_eq!(world.condition("ListenerSet", "web/none", "Accepted"), "False ListenersNotValid");
        assert_eq!(world.condition("ListenerSet", "web/none", "Programmed"), "False ListenersNotValid");
        assert_eq!(world.status("Gateway", "infra/g")["attachedListenerSets"], 1);
    }
}

#[test]
fn listener_set_http_routing() {
    let parents = "{kind: ListenerSet, name: s, sectionName: l}, {name: g, sectionName: own}";
    let listeners = format!("{ONE}\n  - {{name: more, port: 81, protocol: HTTP, hostname: more.test}}");
    let world = World::new(&format!(
        "{}{}{}{}",
        gateway(ALL),
        set("s", "infra", &listeners),
        route("one", "infra", parents, "/one"),
        route("all", "infra", "{kind: ListenerSet, name: s}", "/all")
    ));
    world.check(&[
        get("/one").host("set.test").reaches("infra/v1"),
        get("/all").host("set.test").reaches("infra/v1"),
        get("/one").host("own.test").reaches("infra/v1"),
        get("/all").host("own.test").answers(404),
    ]);
    world
        .check_at(81, &[get("/all").host("more.test").reaches("infra/v1"), get("/one").host("more.test").answers(404)]);
    assert_eq!(world.listener("ListenerSet", "infra/s", "l")["attachedRoutes"], 2);
    assert_eq!(world.listener("ListenerSet", "infra/s", "more")["attachedRoutes"], 1);
    assert_eq!(world.listener("Gateway", "infra/g", "own")["attachedRoutes"], 1);
}

#[test]
fn listener_set_allowed_routes() {
    // ListenerSetAllowedRoutesNamespaces and ListenerSetAllowedRoutesSupportedKinds.
    let listeners = "  - {name: all, port: 81, protocol: HTTP, allowedRoutes: {namespaces: {from: All}}}
  - {name: same, port: 82, protocol: HTTP}
  - {name: some, port: 83, protocol: HTTP, allowedRoutes: {namespaces: {from: Selector, selector: {matchLabels: {role: infra}}}}}
  - {name: grpc, port: 84, protocol: HTTP, allowedRoutes: {kinds: [{kind: GRPCRoute}], namespaces: {from: All}}}
  - {name: bad, port: 85, protocol: HTTP, allowedRoutes: {kinds: [{kind: Nothing}]}}";
    let parent = "{kind: ListenerSet, name: s, namespace: web}";
    let world = World::new(&format!(
        "{}{}{}{}",
        gateway(ALL),
        set("s", "web", listeners),
        route("r", "infra", parent, "/infra"),
        route("r", "web", parent, "/web")
    ));
    for (listener, count) in [("all", 2), ("same", 1), ("some", 1), ("grpc", 0), ("bad", 0)] {
        assert_eq!(world.listener("ListenerSet", "web/s", listener)["attachedRoutes"], count, "{listener}");
    }
    world.check_at(81, &[get("/infra").reaches("infra/v1"), get("/web").reaches("web/v1")]);
    // The same namespace is the ListenerSet's, not the Gateway's.
    world.check_at(82, &[get("/infra").answers(404), get("/web").reaches("web/v1")]);
    world.check_at(83, &[get("/infra").reaches("infra/v1"), get("/web").answers(404)]);
    world.check_at(84, &[get("/infra").answers(404), get("/web").answers(404)]);
    assert_eq!(world.listener("ListenerSet", "web/s", "grpc")["supportedKinds"][0]["kind"], "GRPCRoute");
    assert_eq!(world.listener_condition("ListenerSet", "web/s", "bad", "ResolvedRefs"), "False InvalidRouteKinds");
}

#[test]
fn listener_set_parents_are_independent() {
    // ListenerSetDualParentRefIndependence, ListenerSetRouteStatusScopedToParentRef, ListenerSetGatewayParentSectionNameNotFound.
    let parents = "{name: g}, {kind: ListenerSet, name: s, sectionName: gone}";
    let world = World::new(&format!(
        "{}{}{}{}",
        gateway(ALL),
        set("s", "infra", ONE),
        route("dual", "infra", parents, "/dual"),
        route("lost", "infra", "{name: g, sectionName: l}", "/lost")
    ));
    assert_eq!(world.parent("HTTPRoute", "infra/dual", 0, "Accepted"), "True Accepted");
    assert_eq!(world.parent("HTTPRoute", "infra/dual", 1, "Accepted"), "False NoMatchingParent");
    assert_eq!(world.status("HTTPRoute", "infra/dual")["parents"].as_array().unwrap().len(), 2);
    assert_eq!(world.route("HTTPRoute", "infra/lost", "Accepted"), "False NoMatchingParent");
    assert_eq!(world.status("HTTPRoute", "infra/lost")["parents"].as_array().unwrap().len(), 1);
    world.check(&[get("/dual").host("own.test").reaches("infra/v1"), get("/dual").host("set.test").answers(404)]);
}
