//! Which route a request takes.

use crate::{ask::get, world::World};

#[test]
fn httproute_simple_same_namespace() {
    let world = World::new(
        "
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: r, namespace: infra, generation: 1}
spec: {parentRefs: [{name: edge}], rules: [{backendRefs: [{name: v1, port: 8080}]}]}
",
    );
    assert_eq!(world.route("HTTPRoute", "infra/r", "Accepted"), "True Accepted");
    assert_eq!(world.route("HTTPRoute", "infra/r", "ResolvedRefs"), "True ResolvedRefs");
    world.check(&[get("/").reaches("infra/v1")]);
}

#[test]
fn httproute_matching() {
    let world = World::new(
        "
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: r, namespace: infra}
spec:
  parentRefs: [{name: edge}]
  rules:
  - {matches: [{path: {value: /}}, {headers: [{name: version, value: one}]}], backendRefs: [{name: v1, port: 8080}]}
  - {matches: [{path: {value: /v2}}, {headers: [{name: version, value: two}]}], backendRefs: [{name: v2, port: 8080}]}
",
    );
    world.check(&[
        get("/").reaches("infra/v1"),
        get("/other").reaches("infra/v1"),
        get("/").header("Version", "one").reaches("infra/v1"),
        get("/v2").reaches("infra/v2"),
        get("/v2/").reaches("infra/v2"),
        get("/v2/deeper").reaches("infra/v2"),
        get("/").header("version", "two").reaches("infra/v2"),
        // A path prefix is made of whole elements.
        get("/v2example").reaches("infra/v1"),
        get("/foo/v2/example").reaches("infra/v1"),
    ]);
}

#[test]
fn httproute_exact_path_matching() {
    let world = World::new(
        "
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: r, namespace: infra}
spec:
  parentRefs: [{name: edge}]
  rules:
  - {matches: [{path: {type: Exact, value: /one}}], backendRefs: [{name: v1, port: 8080}]}
  - {matches: [{path: {type: Exact, value: /two}}], backendRefs: [{name: v2, port: 8080}]}
",
    );
    world.check(&[
        get("/one").reaches("infra/v1"),
        get("/two").reaches("infra/v2"),
        get("/").answers(404),
        get("/one/more").answers(404),
        get("/two/").answers(404),
        get("/Two").answers(404),
    ]);
}

#[test]
fn httproute_path_match_order() {
    let world = World::new(
        "
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: r, namespace: infra}
spec:
  parentRefs: [{name: edge}]
  rules:
  - {matches: [{path: {value: /a/}}], backendRefs: [{name: v3, port: 8080}]}
  - {matches: [{path: {value: /a/p/}}], backendRefs: [{name: v1, port: 8080}]}
  - {matches: [{path: {value: /a/p/one}}], backendRefs: [{name: v2, port: 8080}]}
  - {matches: [{path: {type: Exact, value: /a}}], backendRefs: [{name: v1, port: 8080}]}
  - {matches: [{path: {type: Exact, value: /a/e}}], backendRefs: [{name: v2, port: 8080}]}
  - {matches: [{path: {type: Exact, value: /a/e/one}}], backendRefs: [{name: v3, port: 8080}]}
",
    );
    world.check(&[
        get("/a").reaches("infra/v1"),
        get("/a/e").reaches("infra/v2"),
        get("/a/e/one").reaches("infra/v3"),
        get("/a/e/two").reaches("infra/v3"),
        get("/a/p").reaches("infra/v1"),
        get("/a/p/two").reaches("infra/v1"),
        get("/a/p/one").reaches("infra/v2"),
        get("/a/p/one/more").reaches("infra/v2"),
        get("/a/other").reaches("infra/v3"),
    ]);
}

#[test]
fn httproute_header_matching() {
    let world = World::new(
        "
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: r, namespace: infra}
spec:
  parentRefs: [{name: edge}]
  rules:
  - {matches: [{headers: [{name: version, value: one}]}], backendRefs: [{name: v1, port: 8080}]}
  - {matches: [{headers: [{name: version, value: two}]}], backendRefs: [{name: v2, port: 8080}]}
  - {matches: [{headers: [{name: version, value: two}, {name: color, value: orange}]}], backendRefs: [{name: v1, port: 8080}]}
  - {matches: [{headers: [{name: color, value: blue}]}, {headers: [{name: color, value: green}]}], backendRefs: [{name: v1, port: 8080}]}
  - {matches: [{headers: [{name: color, value: red}]}, {headers: [{name: color, value: yellow}]}], backendRefs: [{name: v2, port: 8080}]}
",
    );
    world.check(&[
        get("/").header("Version", "one").reaches("infra/v1"),
        get("/").header("VERSION", "two").reaches("infra/v2"),
        get("/").header("Version", "two").header("Color", "orange").reaches("infra/v1"),
        get("/").header("Color", "blue").reaches("infra/v1"),
        get("/").header("Color", "green").reaches("infra/v1"),
        get("/").header("Color", "red").reaches("infra/v2"),
        get("/").header("Color", "yellow").reaches("infra/v2"),
        get("/").header("Version", "two").header("Color", "red").reaches("infra/v2"),
        get("/").header("Color", "orange").answers(404),
        get("/").header("Some-Other-Header", "one").answers(404),
        get("/").answers(404),
    ]);
}

#[test]
fn httproute_query_param_matching() {
    let world = World::new(
        "
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: r, namespace: infra}
spec:
  parentRefs: [{name: edge}]
  rules:
  - {matches: [{queryParams: [{name: animal, value: whale}]}], backendRefs: [{name: v1, port: 8080}]}
  - {matches: [{queryParams: [{name: animal, value: dolphin}]}], backendRefs: [{name: v2, port: 8080}]}
  - {matches: [{queryParams: [{name: animal, value: dolphin}, {name: color, value: blue}]}], backendRefs: [{name: v3, port: 8080}]}
  - {matches: [{queryParams: [{name: ANIMAL, value: Whale}]}], backendRefs: [{name: v3, port: 8080}]}
",
    );
    world.check(&[
        get("/?animal=whale").reaches("infra/v1"),
        get("/?animal=dolphin").reaches("infra/v2"),
        get("/?animal=whale&otherparam=irrelevant").reaches("infra/v1"),
        get("/?animal=dolphin&color=yellow").reaches("infra/v2"),
        get("/?animal=dolphin&color=blue").reaches("infra/v3"),
        get("/?ANIMAL=Whale").reaches("infra/v3"),
        get("/?animal=%77hale").reaches("infra/v1"),
        get("/?animal=whale&animal=dolphin").reaches("infra/v1"),
        get("/?color=blue").answers(404),
        get("/?animal=dog").answers(404),
        get("/?animal=whaledolphin").answers(404),
        get("/").answers(404),
    ]);
}

#[test]
fn httproute_method_matching() {
    let world = World::new(
        "
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: r, namespace: infra}
spec:
  parentRefs: [{name: edge}]
  rules:
  - {matches: [{method: POST}], backendRefs: [{name: v1, port: 8080}]}
  - {matches: [{method: GET}], backendRefs: [{name: v2, port: 8080}]}
  - {matches: [{path: {value: /path1}, method: GET}], backendRefs: [{name: v1, port: 8080}]}
  - {matches: [{headers: [{name: version, value: one}], method: PUT}], backendRefs: [{name: v2, port: 8080}]}
  - {matches: [{path: {value: /path2}, headers: [{name: version, value: two}], method: POST}], backendRefs: [{name: v3, port: 8080}]}
  - {matches: [{path: {value: /path3}, method: PATCH}, {path: {value: /path4}, method: DELETE}], backendRefs: [{name: v1, port: 8080}]}
",
    );
    world.check(&[
        get("/").method("POST").reaches("infra/v1"),
        get("/").reaches("infra/v2"),
        get("/").method("HEAD").answers(404),
        get("/path1").reaches("infra/v1"),
        get("/").method("PUT").header("version", "one").reaches("infra/v2"),
        get("/path2").method("POST").header("version", "two").reaches("infra/v3"),
        get("/path3").method("PATCH").reaches("infra/v1"),
        get("/path4").method("DELETE").reaches("infra/v1"),
        get("/path1").method("PUT").answers(404),
        get("/path2").method("PATCH").header("version", "two").answers(404),
        get("/").method("PATCH").answers(404),
    ]);
}

#[test]
fn httproute_matching_across_routes() {
    let world = World::new(
        "
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: part1, namespace: infra}
spec:
  parentRefs: [{name: edge}]
  hostnames: [example.com, example.net]
  rules:
  - {matches: [{path: {value: /}}, {headers: [{name: version, value: one}]}], backendRefs: [{name: v1, port: 8080}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: part2, namespace: infra}
spec:
  parentRefs: [{name: edge}]
  hostnames: [example.com]
  rules:
  - {matches: [{path: {value: /v2}}, {headers: [{name: version, value: two}]}], backendRefs: [{name: v2, port: 8080}]}
",
    );
    world.check(&[
        get("/").reaches("infra/v1"),
        get("/example").host("example.net").reaches("infra/v1"),
        get("/example").header("Version", "one").reaches("infra/v1"),
        get("/v2").reaches("infra/v2"),
        get("/v2").host("example.net").reaches("infra/v1"),
        get("/").header("Version", "two").reaches("infra/v2"),
        get("/").header("Version", "two").host("example.net").reaches("infra/v1"),
        get("/v2example").reaches("infra/v1"),
    ]);
}

#[test]
fn httproute_hostname_intersection() {
    let route = |name: &str, gateway: &str, hosts: &str, path: &str, to: &str| {
        format!(
            "
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: {name}, namespace: infra}}
spec:
  parentRefs: [{{name: {gateway}}}]
  hostnames: [{hosts}]
  rules: [{{matches: [{{path: {{value: {path}}}}}], backendRefs: [{{name: {to}, port: 8080}}]}}]"
        )
    };
    let mut yaml = "
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: hosts, namespace: infra, creationTimestamp: '2026-01-02T00:00:00Z'}
spec:
  gatewayClassName: coracle
  listeners:
  - {name: one, port: 80, protocol: HTTP, hostname: very.specific.test}
  - {name: two, port: 80, protocol: HTTP, hostname: '*.wild.test'}
  - {name: three, port: 80, protocol: HTTP, hostname: '*.other.test'}"
        .to_owned();
    yaml += &route("s1", "hosts", "no.match.test, '*.nowild.test', very.specific.test", "/s1", "v1");
    yaml += &route("s2", "hosts", "no.match.test, wild.test, foo.wild.test, foo.bar.wild.test", "/s2", "v2");
    yaml += &route("s3", "hosts", "no.match.test, '*.specific.test'", "/s3", "v3");
    yaml += &route("s4", "hosts", "'*.other.test'", "/s4", "v1");
    yaml += &route("s5", "hosts", "specific.but.wrong.test, wild.test", "/s5", "v2");
    let world = World::new(&yaml);
    for name in ["s1", "s2", "s3", "s4"] {
        assert_eq!(world.route("HTTPRoute", &format!("infra/{name}"), "Accepted"), "True Accepted");
    }
    assert_eq!(world.route("HTTPRoute", "infra/s5", "Accepted"), "False NoMatchingListenerHostname");
    for (listener, count) in [("one", 2), ("two", 1), ("three", 1)] {
        assert_eq!(world.listener("Gateway", "infra/hosts", listener)["attachedRoutes"], count, "{listener}");
    }
    world.check(&[
        get("/s1").host("very.specific.test").reaches("infra/v1"),
        get("/s1").host("very.specific.test:1234").reaches("infra/v1"),
        get("/s1").host("no.match.test").answers(404),
        get("/s1").host("foo.nowild.test").answers(404),
        get("/s1").host("foo.wild.test").answers(404),
        get("/none").host("very.specific.test").answers(404),
        get("/s2").host("foo.wild.test").reaches("infra/v2"),
        get("/s2").host("foo.bar.wild.test").reaches("infra/v2"),
        get("/s2").host("wild.test").answers(404),
        get("/s2").host("very.specific.test").answers(404),
        get("/s3").host("very.specific.test").reaches("infra/v3"),
        get("/s3").host("foo.specific.test").answers(404),
        get("/s3").host("foo.wild.test").answers(404),
        get("/s4").host("foo.other.test").reaches("infra/v1"),
        get("/s4").host("foo.bar.other.test").reaches("infra/v1"),
        get("/s4").host("other.test").answers(404),
        get("/s5").host("specific.but.wrong.test").answers(404),
    ]);
}

#[test]
fn httproute_listener_hostname_matching() {
    let world = World::new(
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
kind: HTTPRoute
metadata: {name: r1, namespace: infra}
spec: {parentRefs: [{name: hosts, sectionName: one}], rules: [{backendRefs: [{name: v1, port: 8080}]}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: r2, namespace: infra}
spec: {parentRefs: [{name: hosts, sectionName: two}], rules: [{backendRefs: [{name: v2, port: 8080}]}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: r3, namespace: infra}
spec:
  parentRefs: [{name: hosts, sectionName: three}, {name: hosts, sectionName: four}]
  rules: [{backendRefs: [{name: v3, port: 8080}]}]
",
    );
    world.check(&[
        get("/").host("bar.test").reaches("infra/v1"),
        get("/").host("foo.bar.test").reaches("infra/v2"),
        get("/").host("baz.bar.test").reaches("infra/v3"),
        get("/").host("boo.bar.test").reaches("infra/v3"),
        get("/").host("multiple.prefixes.bar.test").reaches("infra/v3"),
        get("/").host("multiple.prefixes.foo.test").reaches("infra/v3"),
        get("/").host("foo.test").answers(404),
        get("/").host("no.matching.host").answers(404),
    ]);
}

#[test]
fn httproute_listener_port_matching() {
    let world = World::new(
        "
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: ports, namespace: infra, creationTimestamp: '2026-01-02T00:00:00Z'}
spec:
  gatewayClassName: coracle
  listeners:
  - {name: one, port: 81, protocol: HTTP, hostname: foo.test}
  - {name: two, port: 8080, protocol: HTTP, hostname: foo.test}
  - {name: three, port: 8080, protocol: HTTP, hostname: bar.test}
  - {name: four, port: 8090, protocol: HTTP, hostname: foo.test}
  - {name: five, port: 8090, protocol: HTTP, hostname: bar.test}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: r1, namespace: infra}
spec: {parentRefs: [{name: ports, port: 81}], rules: [{backendRefs: [{name: v1, port: 8080}]}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: r2, namespace: infra}
spec: {parentRefs: [{name: ports, port: 8080}], rules: [{backendRefs: [{name: v2, port: 8080}]}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: r3, namespace: infra}
spec: {parentRefs: [{name: ports, port: 8090, sectionName: four}], rules: [{backendRefs: [{name: v3, port: 8080}]}]}
",
    );
    world.check_at(81, &[get("/").host("foo.test").reaches("infra/v1"), get("/").host("bar.test").answers(404)]);
    world.check_at(
        8080,
        &[get("/").host("foo.test").reaches("infra/v2"), get("/").host("bar.test").reaches("infra/v2")],
    );
    world.check_at(8090, &[get("/").host("foo.test").reaches("infra/v3"), get("/").host("bar.test").answers(404)]);
}
