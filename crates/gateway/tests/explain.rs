//! What is said of requests that nobody sends.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed step of a test is its failure")]

#[path = "common/snapshot.rs"]
mod snapshot;

use gateway::{
    control::{Memory, Options, Publish, compile, unserved},
    proxy::explain::{Explanation, Outcome, Question, explain},
};

const MANIFESTS: &str = "
{apiVersion: v1, kind: Namespace, metadata: {name: default}}
---
{apiVersion: gateway.networking.k8s.io/v1, kind: GatewayClass, metadata: {name: coracle},
 spec: {controllerName: coracle.dev/gateway-controller}}
---
{apiVersion: gateway.networking.k8s.io/v1, kind: Gateway, metadata: {name: web, namespace: default},
 spec: {gatewayClassName: coracle, listeners: [{name: http, port: 80, protocol: HTTP}, {name: other, port: 8000, protocol: HTTP}]}}
---
{apiVersion: v1, kind: Service, metadata: {name: api, namespace: default},
 spec: {clusterIP: 127.96.0.9, ports: [{name: http, port: 80}]}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: api-1, namespace: default, labels: {kubernetes.io/service-name: api}}
addressType: IPv4
ports: [{name: http, port: 9000}]
endpoints: [{addresses: [127.64.0.1], conditions: {ready: true}}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: api, namespace: default}
spec:
  parentRefs: [{name: web, sectionName: http}]
  hostnames: ['*.example.com']
  rules:
    - name: exact
      matches: [{path: {type: Exact, value: /v1/status}}]
      backendRefs: [{name: api, port: 80, weight: 3}, {name: missing, port: 80}]
    - name: posts
      matches: [{path: {type: PathPrefix, value: /v1}, method: POST, headers: [{name: x-team, value: blue}]}]
      backendRefs: [{name: api, port: 80}]
    - name: search
      matches: [{path: {type: PathPrefix, value: /v1}, queryParams: [{name: q, value: all}]}]
      filters: [{type: RequestRedirect, requestRedirect: {hostname: search.example.com, statusCode: 301}}]
    - name: rest
      backendRefs: [{name: api, port: 80}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: astray, namespace: default}
spec: {parentRefs: [{name: web, sectionName: nothing}], rules: [{backendRefs: [{name: api, port: 80}]}]}
";

fn asked(method: &str, url: &str, headers: &[&str]) -> Explanation {
    let publish = vec![Publish { address: "127.0.0.1:8080".parse().unwrap(), listener_port: 80 }];
    let options = Options::new(publish.clone(), "127.0.0.1".parse().unwrap());
    let compiled = compile(
        &snapshot::snapshot(MANIFESTS),
        &options,
        &mut Memory::default(),
        "2026-01-01T00:00:00Z".parse().unwrap(),
    );
    let headers: Vec<_> = headers.iter().map(|header| (*header).to_owned()).collect();
    explain(&compiled.table, &Question::new(method, url, &headers).unwrap(), &publish)
}

/// Each rule and why it is not the one.
fn rules(explanation: &Explanation) -> Vec<(&str, &str)> {
    let tried = explanation.rules.iter();
    tried.map(|tried| (tried.rule.rsplit('/').next().unwrap(), tried.because.as_deref().unwrap_or("taken"))).collect()
}

#[test]
fn every_rule_is_named_with_the_reason_why_it_is_not_the_one() {
    let explanation = asked("POST", "http://www.example.com/v1/a?q=some", &["X-Team: red"]);
    assert_eq!(
        rules(&explanation),
        [
            ("exact", "the path is /v1/a"),
            ("posts", "header x-team: it is \"red\""),
            ("search", "query parameter q: it is \"some\""),
            ("rest", "taken"),
        ]
    );
    let explanation = asked("GET", "http://www.example.com/v1/%73tatus", &[]);
    assert_eq!(
        rules(&explanation),
        [
            ("exact", "taken"),
            ("posts", "the method is GET"),
            ("search", "query parameter q: it is not there"),
            ("rest", "it matches as well, but comes later"),
        ]
    );
}

#[test]
fn an_explanation_can_be_read() {
    let explanation = asked("GET", "http://127.0.0.1:8080/v1/status", &["Host: www.example.com"]);
    assert_eq!(
        explanation.to_string(),
        "GET http://127.0.0.1:8080/v1/status
  listener default/web at 127.0.0.1:8000 - it is port 8000, not 8080
> listener default/web at 127.0.0.1:8080
> host www.example.com, by the name *.example.com
> rule default/api/exact (path is /v1/status)
  rule default/api/posts (path is or is below /v1, method is POST, header x-team is \"blue\") - the method is GET
  rule default/api/search (path is or is below /v1, query parameter q is \"all\") - query parameter q: it is not there
  rule default/api/rest (any path) - it matches as well, but comes later
= default/api/exact forwards to
    default/api:80 (75 %) at 127.64.0.1:9000
    a backend that is not valid (25 %): 500
"
    );
}

#[test]
fn redirects_and_requests_that_nobody_takes_are_said() {
    let explanation = asked("GET", "http://www.example.com/v1?q=all", &[]);
    let location = "http://search.example.com/v1?q=all".to_owned();
    assert!(
        matches!(&explanation.outcome, Outcome::Redirect { status: 301, location: found, .. } if *found == location),
        "{explanation}"
    );
    for (url, expected) in [
        ("http://example.org/", "= answered with 404: no route matches this request"),
        ("http://www.example.com:8000/", "= answered with 404"),
        ("http://www.example.com:81/", "= no connection: nobody listens there"),
        ("https://www.example.com:80/", "it speaks HTTP without TLS"),
        ("http://www.example.com/../..", "= answered with 400"),
    ] {
        let explanation = asked("GET", url, &[]).to_string();
        assert!(explanation.contains(expected), "{explanation}");
    }
}

#[test]
fn a_service_is_found_by_its_name_and_its_address() {
    for url in ["http://api.default/", "http://api.default.svc.cluster.local/", "http://127.96.0.9/"] {
        let explanation = asked("GET", url, &[]);
        let taken = explanation.listeners.iter().find(|listener| listener.taken).unwrap();
        // Gateways that were published at the same port come first only for their own addresses.
        assert_eq!(taken.name, "default/api", "{explanation}");
        assert!(matches!(&explanation.outcome, Outcome::Forward { .. }), "{explanation}");
    }
}

#[test]
fn what_is_no_request_is_refused() {
    for (url, header) in
        [("example.com", "A: b"), ("ftp://example.com/", "A: b"), ("http://a/", "nothing"), ("http://a/", "A: b\nC: d")]
    {
        assert!(Question::new("GET", url, &[header.to_owned()]).is_err(), "{url} {header}");
    }
}

#[test]
fn routes_that_nothing_serves_are_named() {
    let options = Options::new(Vec::new(), "127.0.0.1".parse().unwrap());
    let snapshot = snapshot::snapshot(MANIFESTS);
    let compiled = compile(&snapshot, &options, &mut Memory::default(), "2026-01-01T00:00:00Z".parse().unwrap());
    let found: Vec<_> = unserved(&compiled.statuses).into_iter().map(|it| (it.object, it.part, it.reason)).collect();
    let expect = |object: &str, reason: &str| (object.to_owned(), "web".to_owned(), reason.to_owned());
    assert!(found.contains(&expect("HTTPRoute default/astray", "NoMatchingParent")), "{found:?}");
    assert!(found.contains(&expect("HTTPRoute default/api", "BackendNotFound")), "{found:?}");
}
