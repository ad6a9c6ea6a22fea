//! References between objects: backends, parents, grants.

use crate::{ask::get, world::World};

fn route(namespace: &str, parents: &str, backends: &str) -> String {
    format!(
        "
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: r, namespace: {namespace}, generation: 1}}
spec: {{parentRefs: [{parents}], rules: [{{backendRefs: [{backends}]}}]}}
---"
    )
}

fn grant(namespace: &str, from: &str, to: &str) -> String {
    format!(
        "
apiVersion: gateway.networking.k8s.io/v1beta1
kind: ReferenceGrant
metadata: {{name: g, namespace: {namespace}}}
spec: {{from: [{from}], to: [{to}]}}
---"
    )
}

const FROM: &str = "{group: gateway.networking.k8s.io, kind: HTTPRoute, namespace: infra}";

#[test]
fn httproute_reference_grant() {
    let to_web = route("infra", "{name: edge}", "{name: v1, namespace: web, port: 8080}");
    let mut world = World::new(&format!("{to_web}{}", grant("web", FROM, "{group: '', kind: Service, name: v1}")));
    assert_eq!(world.route("HTTPRoute", "infra/r", "ResolvedRefs"), "True ResolvedRefs");
    world.check(&[get("/").reaches("web/v1")]);
    world.snapshot.grants.clear();
    world.apply();
    assert_eq!(world.route("HTTPRoute", "infra/r", "ResolvedRefs"), "False RefNotPermitted");
    world.check(&[get("/").answers(500)]);
}

#[test]
fn httproute_invalid_reference_grant() {
    let to_web = route("infra", "{name: edge}", "{name: v1, namespace: web, port: 8080}");
    for wrong in [
        // In another namespace, from another kind, group or namespace, to another kind, group or name.
        grant("app", FROM, "{group: '', kind: Service}"),
        grant(
            "web",
            "{group: gateway.networking.k8s.io, kind: GRPCRoute, namespace: infra}",
            "{group: '', kind: Service}",
        ),
        grant("web", "{group: other.io, kind: HTTPRoute, namespace: infra}", "{group: '', kind: Service}"),
        grant(
            "web",
            "{group: gateway.networking.k8s.io, kind: HTTPRoute, namespace: web}",
            "{group: '', kind: Service}",
        ),
        grant("web", FROM, "{group: '', kind: Secret}"),
        grant("web", FROM, "{group: other.io, kind: Service}"),
        grant("web", FROM, "{group: '', kind: Service, name: v2}"),
    ] {
        let world = World::new(&format!("{to_web}{wrong}"));
        assert_eq!(world.route("HTTPRoute", "infra/r", "Accepted"), "True Accepted", "{wrong}");
        assert_eq!(world.route("HTTPRoute", "infra/r", "ResolvedRefs"), "False RefNotPermitted", "{wrong}");
        world.check(&[get("/").answers(500)]);
    }
}

#[test]
fn httproute_invalid_cross_namespace_backend_ref() {
    let world = World::new(&route("infra", "{name: edge}", "{name: v1, namespace: web, port: 8080}"));
    assert_eq!(world.route("HTTPRoute", "infra/r", "ResolvedRefs"), "False RefNotPermitted");
    world.check(&[get("/").answers(500)]);
}

#[test]
fn httproute_partially_invalid_via_invalid_reference_grant() {
    let world = World::new(&format!(
        "
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: r, namespace: infra}}
spec:
  parentRefs: [{{name: edge}}]
  rules:
  - {{matches: [{{path: {{value: /bad}}}}], backendRefs: [{{name: v1, namespace: app, port: 8080}}]}}
  - {{matches: [{{path: {{value: /good}}}}], backendRefs: [{{name: v2, namespace: app, port: 8080}}]}}
---{}",
        grant("app", FROM, "{group: '', kind: Service, name: v2}")
    ));
    assert_eq!(world.route("HTTPRoute", "infra/r", "Accepted"), "True Accepted");
    assert_eq!(world.route("HTTPRoute", "infra/r", "ResolvedRefs"), "False RefNotPermitted");
    world.check(&[get("/bad").answers(500), get("/good").reaches("app/v2")]);
}

#[test]
fn httproute_invalid_backend_refs() {
    for (backend, reason) in [
        ("{kind: NonExistent, name: odd, port: 8080}", "False InvalidKind"),
        ("{group: other.io, kind: Service, name: v1, port: 8080}", "False InvalidKind"),
        ("{name: gone, port: 8080}", "False BackendNotFound"),
        ("{name: v1, port: 1234}", "False BackendNotFound"),
    ] {
        let world = World::new(&route("infra", "{name: edge}", backend));
        assert_eq!(world.route("HTTPRoute", "infra/r", "Accepted"), "True Accepted", "{backend}");
        assert_eq!(world.route("HTTPRoute", "infra/r", "ResolvedRefs"), reason, "{backend}");
        world.check(&[get("/").answers(500)]);
    }
}

#[test]
fn httproute_invalid_parent_refs() {
    for (parent, reason) in [
        // HTTPRouteInvalidParentRefNotMatchingListenerPort, …NotMatchingSectionName, …SectionNameNotMatchingPort.
        ("{name: edge, port: 81}", "False NoMatchingParent"),
        ("{name: edge, sectionName: other}", "False NoMatchingParent"),
        ("{name: edge, sectionName: http, port: 81}", "False NoMatchingParent"),
    ] {
        let world = World::new(&route("infra", parent, "{name: v1, port: 8080}"));
        assert_eq!(world.route("HTTPRoute", "infra/r", "Accepted"), reason, "{parent}");
        assert_eq!(world.listener("Gateway", "infra/edge", "http")["attachedRoutes"], 0);
        world.check(&[get("/").answers(404)]);
    }
}

#[test]
fn httproute_invalid_cross_namespace_parent_ref() {
    let world = World::new(&route("web", "{name: edge, namespace: infra}", "{name: v1, port: 8080}"));
    assert_eq!(world.route("HTTPRoute", "web/r", "Accepted"), "False NotAllowedByListeners");
    assert_eq!(world.listener("Gateway", "infra/edge", "http")["attachedRoutes"], 0);
    world.check(&[get("/").answers(404)]);
}

const OPEN: &str = "
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: open, namespace: infra, generation: 1, creationTimestamp: '2026-01-02T00:00:00Z'}
spec:
  gatewayClassName: coracle
  listeners:
  - {name: all, port: 81, protocol: HTTP, allowedRoutes: {namespaces: {from: All}}}
  - {name: some, port: 82, protocol: HTTP, allowedRoutes: {namespaces: {from: Selector, selector: {matchLabels: {role: backend}}}}}
  - {name: grpc, port: 83, protocol: HTTP, allowedRoutes: {kinds: [{kind: GRPCRoute}], namespaces: {from: All}}}
---";

#[test]
fn httproute_cross_namespace() {
    for (section, port) in [("all", 81), ("some", 82)] {
        let parent = format!("{{name: open, namespace: infra, sectionName: {section}}}");
        let world = World::new(&format!("{OPEN}{}", route("web", &parent, "{name: v1, port: 8080}")));
        assert_eq!(world.route("HTTPRoute", "web/r", "Accepted"), "True Accepted");
        world.check_at(port, &[get("/").reaches("web/v1")]);
    }
    let parent = "{name: open, namespace: infra, sectionName: some}";
    let world = World::new(&format!("{OPEN}{}", route("infra", parent, "{name: v1, port: 8080}")));
    assert_eq!(world.route("HTTPRoute", "infra/r", "Accepted"), "False NotAllowedByListeners");
}

#[test]
fn httproute_disallowed_kind() {
    let parent = "{name: open, sectionName: grpc}";
    let world = World::new(&format!("{OPEN}{}", route("infra", parent, "{name: v1, port: 8080}")));
    assert_eq!(world.route("HTTPRoute", "infra/r", "Accepted"), "False NotAllowedByListeners");
    assert_eq!(world.kinds("infra/open", "grpc"), ["GRPCRoute"]);
    world.check_at(83, &[get("/").answers(404)]);
}

#[test]
fn httproute_observed_generation_bump() {
    let mut world = World::new(&route("infra", "{name: edge}", "{name: v1, port: 8080}"));
    world.check(&[get("/").reaches("infra/v1")]);
    let changed = route("infra", "{name: edge}", "{name: v2, port: 8080}").replace("generation: 1", "generation: 2");
    world.add(changed.trim_end_matches('-'));
    let conditions = world.status("HTTPRoute", "infra/r")["parents"][0]["conditions"].clone();
    assert!(conditions.as_array().unwrap().iter().all(|c| c["observedGeneration"] == 2), "{conditions}");
    world.check(&[get("/").reaches("infra/v2")]);
}

#[test]
fn httproute_service_types() {
    let mut world = World::new(&route("infra", "{name: edge}", "{name: headless, port: 8080}"));
    let endpoint = crate::world::echo("infra/headless", world.seen.clone());
    world.backend("infra/headless", None, endpoint);
    for service in &mut world.snapshot.services {
        if service.metadata.name.as_deref() == Some("headless") {
            let service = std::sync::Arc::make_mut(service);
            service.spec.as_mut().unwrap().cluster_ip = Some("None".to_owned());
        }
    }
    world.apply();
    world.check(&[get("/").reaches("infra/headless")]);
}
