//! Routes whose parent is a Service, as callers of its address see them.

use std::net::{Ipv4Addr, SocketAddr};

use socket2::{Domain, Socket, Type};

use crate::{
    ask::{Ask, get},
    support::{Peer, field},
    world::{World, echo},
};

/// A world with a Service `infra/echo` at an address of its own, and these rules for it.
struct Mesh {
    world: World,
    address: SocketAddr,
}

impl Mesh {
    fn new(rules: &str) -> Self {
        Self::routed("", rules)
    }

    /// With this in the parentRef.
    fn routed(part: &str, rules: &str) -> Self {
        let mut world = World::new("");
        let address = world.hold();
        let endpoint = echo("infra/echo", world.seen.clone());
        world.endpoints.push(endpoint);
        let port = world.endpoints.last().unwrap().address.port();
        let parent =
            format!("{{group: '', kind: Service, name: echo{part}}}").replace("PORT", &address.port().to_string());
        let route = if rules.is_empty() {
            String::new()
        } else {
            format!(
                "
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: r, namespace: infra}}
spec:
  parentRefs: [{parent}]
  rules:
{rules}"
            )
        };
        world.add(&format!(
            "
apiVersion: v1
kind: Service
metadata: {{name: echo, namespace: infra}}
spec: {{clusterIP: 127.0.0.1, ports: [{{name: http, port: {}}}]}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: echo-1, namespace: infra, labels: {{kubernetes.io/service-name: echo}}}}
addressType: IPv4
ports: [{{name: http, port: {port}}}]
endpoints: [{{addresses: [127.0.0.1]}}]{route}",
            address.port()
        ));
        Self { world, address }
    }

    fn check(&self, all: &[Ask]) {
        all.iter().for_each(|ask| ask.check(&mut Peer::connect(self.address)));
    }
}

#[test]
fn mesh_basic() {
    Mesh::new("").check(&[get("/").host("echo").reaches("infra/echo")]);
}

#[test]
fn mesh_httproute_simple_same_namespace() {
    let mesh = Mesh::new("  - backendRefs: [{name: v1, port: 8080}]");
    assert_eq!(mesh.world.route("HTTPRoute", "infra/r", "Accepted"), "True Accepted");
    mesh.check(&[get("/").host("echo").reaches("infra/v1")]);
}

#[test]
fn mesh_httproute_matching() {
    let mesh = Mesh::new(
        "  - {matches: [{path: {value: /}}, {headers: [{name: version, value: one}]}], backendRefs: [{name: v1, port: 8080}]}
  - {matches: [{path: {value: /v2}}, {headers: [{name: version, value: two}]}], backendRefs: [{name: v2, port: 8080}]}
  - {name: named, matches: [{queryParams: [{name: animal, value: whale}]}], backendRefs: [{name: v3, port: 8080}]}",
    );
    mesh.check(&[
        get("/").reaches("infra/v1"),
        get("/v2").reaches("infra/v2"),
        get("/v2example").reaches("infra/v1"),
        get("/").header("Version", "two").reaches("infra/v2"),
        get("/?animal=whale").reaches("infra/v3"),
    ]);
}

#[test]
fn mesh_httproute_filters() {
    // MeshHTTPRouteRequestHeaderModifier, …RewritePath, …SchemeRedirect, …RedirectPort, …RedirectPath,
    // …RedirectHostAndStatus, …303Redirect, …307Redirect, …308Redirect, …BackendRequestHeaderModifier.
    let redirect = |path: &str, to: &str| {
        format!(
            "  - {{matches: [{{path: {{value: {path}}}}}], filters: [{{type: RequestRedirect, requestRedirect: {{{to}}}}}]}}\n"
        )
    };
    let mesh = Mesh::new(&format!(
        "{}{}{}{}{}
  - {{matches: [{{path: {{value: /set}}}}], filters: [{{type: RequestHeaderModifier, requestHeaderModifier: {{set: [{{name: x-a, value: b}}]}}}}], backendRefs: [{{name: v1, port: 8080}}]}}
  - {{matches: [{{path: {{value: /own}}}}], backendRefs: [{{name: v1, port: 8080, filters: [{{type: RequestHeaderModifier, requestHeaderModifier: {{add: [{{name: x-a, value: c}}]}}}}]}}]}}
  - {{matches: [{{path: {{value: /old}}}}], filters: [{{type: URLRewrite, urlRewrite: {{path: {{type: ReplacePrefixMatch, replacePrefixMatch: /new}}}}}}], backendRefs: [{{name: v2, port: 8080}}]}}",
        redirect("/scheme", "scheme: https"),
        redirect("/port", "port: 8083, statusCode: 307"),
        redirect("/path", "statusCode: 308, path: {type: ReplaceFullPath, replaceFullPath: /full}"),
        redirect("/host", "hostname: example.org, statusCode: 301"),
        redirect("/303", "statusCode: 303, hostname: example.org"),
    ));
    mesh.check(&[
        get("/scheme").answers(302).with("location", "https://example.com/scheme"),
        get("/port").answers(307).with("location", "http://example.com:8083/port"),
        get("/path/x").answers(308).with("location", "http://example.com/full"),
        get("/host").answers(301).with("location", "http://example.org/host"),
        get("/303").answers(303).with("location", "http://example.org/303"),
        get("/set").header("x-a", "a").forwards("x-a", "b"),
        get("/own").header("x-a", "a").forwards("x-a", "a,c"),
        get("/old/x").reaches("infra/v2").sends_target("/new/x"),
    ]);
}

#[test]
fn mesh_httproute_weight() {
    // MeshHTTPRouteWeight and MeshTrafficSplit.
    let mesh = Mesh::new("  - backendRefs: [{name: v1, port: 8080, weight: 9}, {name: v2, port: 8080, weight: 1}]");
    let mut client = Peer::connect(mesh.address);
    let first = (0..300).filter(|_| field(&get("/").send(&mut client).0, "x-backend") == Some("infra/v1")).count();
    assert!((230..300).contains(&first), "{first}");
}

#[test]
fn mesh_frontend_and_ports() {
    // MeshFrontend: only the Service that is the parent has the rules. MeshFrontendHostname: whatever the Host header says.
    let rules = "  - {filters: [{type: ResponseHeaderModifier, responseHeaderModifier: {set: [{name: x-by, value: r}]}}], backendRefs: [{name: v1, port: 8080}]}";
    let mesh = Mesh::new(rules);
    mesh.check(&[get("/").host("echo").with("x-by", "r"), get("/").host("v2").with("x-by", "r")]);
    // MeshPorts: `port` in the parentRef.
    Mesh::routed(", port: PORT", rules).check(&[get("/").with("x-by", "r")]);
    let other = Mesh::routed(", port: 1", rules);
    assert_eq!(other.world.route("HTTPRoute", "infra/r", "Accepted"), "False NoMatchingParent");
    other.check(&[get("/").reaches("infra/echo").without("x-by")]);
}

/// A pod of a namespace at an address.
fn pod(namespace: &str, address: &str) -> String {
    format!(
        "
---
apiVersion: v1
kind: Pod
metadata: {{name: caller, namespace: {namespace}}}
spec: {{containers: [{{name: a, image: a}}]}}
status: {{phase: Running, podIP: {address}, podIPs: [{{ip: {address}}}]}}"
    )
}

/// A connection from 127.0.0.`last`.
fn from(last: u8, address: SocketAddr) -> Peer {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from((Ipv4Addr::new(127, 0, 0, last), 0)).into()).unwrap();
    socket.connect(&address.into()).unwrap();
    Peer::new(socket.into())
}

/// A route of a namespace for callers of `infra/echo`, which marks what it answers.
fn marking(namespace: &str, backend: &str) -> String {
    format!(
        "
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: r, namespace: {namespace}}}
spec:
  parentRefs: [{{group: '', kind: Service, namespace: infra, name: echo}}]
  rules:
    - filters: [{{type: ResponseHeaderModifier, responseHeaderModifier: {{set: [{{name: x-marked, value: {namespace}}}]}}}}]
      backendRefs: [{{namespace: infra, name: {backend}, port: PORT}}]"
    )
}

#[test]
fn mesh_consumer_route() {
    let mut mesh = Mesh::new("");
    let port = mesh.address.port().to_string();
    let objects = [pod("shop", "127.0.0.2"), pod("infra", "127.0.0.3"), marking("shop", "echo")].concat();
    mesh.world.add(objects.replace("PORT", &port).trim_start_matches("\n---\n"));
    assert_eq!(mesh.world.route("HTTPRoute", "shop/r", "Accepted"), "True Accepted");
    // To the Service that its callers call anyway, it may lead without a grant.
    assert_eq!(mesh.world.route("HTTPRoute", "shop/r", "ResolvedRefs"), "True ResolvedRefs");
    let marked = get("/").reaches("infra/echo").with("x-marked", "shop");
    let plain = get("/").reaches("infra/echo").without("x-marked");
    marked.check(&mut from(2, mesh.address));
    plain.check(&mut from(3, mesh.address));
    // Nobody knows who this is.
    plain.check(&mut from(4, mesh.address));

    // The Service's own routes are for all others; and an address belongs to the namespace whose pod has it now.
    mesh.world.add(marking("infra", "echo").replace("PORT", &port).trim_start_matches("\n---\n"));
    let own = get("/").reaches("infra/echo").with("x-marked", "infra");
    marked.check(&mut from(2, mesh.address));
    own.check(&mut from(3, mesh.address));
    own.check(&mut from(4, mesh.address));

    // To other Services of that namespace it needs one.
    mesh.world.add(marking("shop", "v1").replace("PORT", "8080").trim_start_matches("\n---\n"));
    assert_eq!(mesh.world.route("HTTPRoute", "shop/r", "ResolvedRefs"), "False RefNotPermitted");
    get("/").answers(500).check(&mut from(2, mesh.address));
}
