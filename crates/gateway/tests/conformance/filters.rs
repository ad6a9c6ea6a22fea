//! What is changed on the way, and answers in the backend's place.

use crate::{
    ask::{Ask, get},
    world::{World, shares},
};

/// A route with these rules at the Gateway `edge`.
fn rules(rules: &str) -> World {
    World::new(&format!(
        "
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: r, namespace: infra}}
spec:
  parentRefs: [{{name: edge}}]
  rules:
{rules}
"
    ))
}

const MODIFIERS: &str = "
  - matches: [{path: {value: /set}}]
    FILTERS: [{type: KIND, MEMBER: {set: [{name: X-Header-Set, value: set-overwrites-values}]}}]
    BACKEND
  - matches: [{path: {value: /add}}]
    FILTERS: [{type: KIND, MEMBER: {add: [{name: X-Header-Add, value: add-appends-values}]}}]
    BACKEND
  - matches: [{path: {value: /remove}}]
    FILTERS: [{type: KIND, MEMBER: {remove: [X-Header-Remove]}}]
    BACKEND
  - matches: [{path: {value: /multiple}}]
    FILTERS: [{type: KIND, MEMBER: {set: [{name: X-Set-1, value: header-set-1}, {name: X-Set-2, value: header-set-2}], add: [{name: X-Add-1, value: header-add-1}, {name: X-Add-2, value: header-add-2}], remove: [X-Remove-1, X-Remove-2]}}]
    BACKEND
  - matches: [{path: {value: /case}}]
    FILTERS: [{type: KIND, MEMBER: {set: [{name: x-header-set, value: lower}], add: [{name: X-Header-ADD, value: upper}], remove: [x-HEADER-remove]}}]
    BACKEND
";

/// The modifiers of the rules, or of the backends.
fn modifiers(kind: &str, member: &str, of_backend: bool) -> World {
    let yaml = MODIFIERS.replace("KIND", kind).replace("MEMBER", member);
    let yaml = if of_backend {
        let lines = yaml.lines().map(|line| match line.trim().strip_prefix("FILTERS: ") {
            Some(filters) => format!("    backendRefs: [{{name: v1, port: 8080, filters: {filters}}}]\n"),
            None if line.trim() == "BACKEND" => String::new(),
            None => format!("{line}\n"),
        });
        lines.collect()
    } else {
        yaml.replace("FILTERS", "filters").replace("BACKEND", "backendRefs: [{name: v1, port: 8080}]")
    };
    rules(&yaml)
}

fn request_modifiers() -> Vec<Ask> {
    vec![
        get("/set")
            .forwards("x-header-set", "set-overwrites-values")
            .header("Some-Other", "val")
            .forwards("some-other", "val"),
        get("/set").header("X-Header-Set", "some-other-value").forwards("x-header-set", "set-overwrites-values"),
        get("/add").forwards("x-header-add", "add-appends-values"),
        get("/add")
            .header("X-Header-Add", "some-other-value")
            .forwards("x-header-add", "some-other-value,add-appends-values"),
        get("/remove").header("X-Header-Remove", "val").drops("x-header-remove"),
        get("/multiple")
            .header("X-Set-2", "set-val-2")
            .header("X-Add-2", "add-val-2")
            .header("X-Remove-2", "remove-val-2")
            .header("Another-Header", "another-header-val")
            .forwards("x-set-1", "header-set-1")
            .forwards("x-set-2", "header-set-2")
            .forwards("x-add-1", "header-add-1")
            .forwards("x-add-2", "add-val-2,header-add-2")
            .forwards("another-header", "another-header-val")
            .drops("x-remove-1")
            .drops("x-remove-2"),
        get("/case")
            .header("X-Header-Set", "a")
            .header("x-header-add", "b")
            .header("X-Header-Remove", "c")
            .forwards("x-header-set", "lower")
            .forwards("x-header-add", "b,upper")
            .drops("x-header-remove"),
    ]
}

#[test]
fn httproute_request_header_modifier() {
    modifiers("RequestHeaderModifier", "requestHeaderModifier", false).check(&request_modifiers());
}

#[test]
fn httproute_backend_request_header_modifier() {
    modifiers("RequestHeaderModifier", "requestHeaderModifier", true).check(&request_modifiers());
}

#[test]
fn httproute_request_header_modifier_backend_weights() {
    let world = rules(
        "
  - backendRefs:
    - {name: v1, port: 8080, filters: [{type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: To, value: one}]}}]}
    - {name: v2, port: 8080, filters: [{type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: To, value: two}]}}]}",
    );
    let mut client = crate::support::Peer::connect(world.address(80));
    for _ in 0..40 {
        let (head, body) = get("/").send(&mut client);
        let to = if crate::support::field(&head, "x-backend") == Some("infra/v1") { "one" } else { "two" };
        assert_eq!(crate::support::field(&body, "to"), Some(to), "{head}\n{body}");
    }
}

fn response_modifiers() -> Vec<Ask> {
    // The backend answers with the lines of `x-answer`.
    vec![
        get("/set").with("x-header-set", "set-overwrites-values"),
        get("/set")
            .header("x-answer", "X-Header-Set: other|Some: thing")
            .with("x-header-set", "set-overwrites-values")
            .with("some", "thing"),
        get("/add").with("x-header-add", "add-appends-values"),
        get("/add").header("x-answer", "X-Header-Add: other").with("x-header-add", "other,add-appends-values"),
        get("/remove").header("x-answer", "X-Header-Remove: val").without("x-header-remove"),
        get("/multiple")
            .header("x-answer", "X-Set-2: a|X-Add-2: b|X-Remove-1: c|X-Remove-2: d|Another: e")
            .with("x-set-1", "header-set-1")
            .with("x-set-2", "header-set-2")
            .with("x-add-1", "header-add-1")
            .with("x-add-2", "b,header-add-2")
            .with("another", "e")
            .without("x-remove-1")
            .without("x-remove-2"),
        get("/case")
            .header("x-answer", "X-Header-Set: a|x-header-add: b|X-HEADER-REMOVE: c")
            .with("x-header-set", "lower")
            .with("x-header-add", "b,upper")
            .without("x-header-remove"),
    ]
}

#[test]
fn httproute_response_header_modifier() {
    modifiers("ResponseHeaderModifier", "responseHeaderModifier", false).check(&response_modifiers());
    modifiers("ResponseHeaderModifier", "responseHeaderModifier", true).check(&response_modifiers());
}

/// Rules that redirect, by path.
fn redirects(all: &[(&str, &str)]) -> World {
    let rule = |(path, redirect): &(&str, &str)| {
        format!(
            "  - {{matches: [{{path: {{value: {path}}}}}], filters: [{{type: RequestRedirect, requestRedirect: {{{redirect}}}}}]}}\n"
        )
    };
    rules(&all.iter().map(rule).collect::<String>())
}

#[test]
fn httproute_redirect_host_and_status() {
    redirects(&[("/host", "hostname: example.org"), ("/host-and-status", "hostname: example.org, statusCode: 301")])
        .check(&[
            get("/host").answers(302).with("location", "http://example.org/host"),
            get("/host-and-status").answers(301).with("location", "http://example.org/host-and-status"),
        ]);
}

#[test]
fn httproute_redirect_scheme() {
    redirects(&[
        ("/scheme", "scheme: https"),
        ("/host", "scheme: https, hostname: example.org"),
        ("/status", "scheme: https, statusCode: 301"),
        ("/all", "scheme: https, hostname: example.org, statusCode: 301"),
    ])
    .check(&[
        get("/scheme").answers(302).with("location", "https://example.com/scheme"),
        get("/host").answers(302).with("location", "https://example.org/host"),
        get("/status").answers(301).with("location", "https://example.com/status"),
        get("/all").answers(301).with("location", "https://example.org/all"),
    ]);
}

#[test]
fn httproute_redirect_port() {
    redirects(&[
        ("/port", "port: 8083"),
        ("/host", "port: 8083, hostname: example.org"),
        ("/status", "port: 8083, statusCode: 301"),
        ("/all", "port: 8083, hostname: example.org, statusCode: 301"),
    ])
    .check(&[
        get("/port").answers(302).with("location", "http://example.com:8083/port"),
        get("/host").answers(302).with("location", "http://example.org:8083/host"),
        get("/status").answers(301).with("location", "http://example.com:8083/status"),
        get("/all").answers(301).with("location", "http://example.org:8083/all"),
    ]);
}

#[test]
fn httproute_redirect_port_and_scheme() {
    redirects(&[
        ("/nothing", "hostname: example.org"),
        ("/scheme-https", "scheme: https"),
        ("/scheme-http", "scheme: http"),
        ("/port-80", "port: 80"),
        ("/port-443-https", "port: 443, scheme: https"),
        ("/port-8080-https", "port: 8080, scheme: https"),
    ])
    .check(&[
        get("/nothing").answers(302).with("location", "http://example.org/nothing"),
        get("/scheme-https").answers(302).with("location", "https://example.com/scheme-https"),
        get("/scheme-http").answers(302).with("location", "http://example.com/scheme-http"),
        // The port of a scheme need not be said.
        get("/port-80").answers(302).with("location", "http://example.com/port-80"),
        get("/port-443-https").answers(302).with("location", "https://example.com/port-443-https"),
        get("/port-8080-https").answers(302).with("location", "https://example.com:8080/port-8080-https"),
    ]);
}

#[test]
fn httproute_redirect_path() {
    let prefix = "path: {type: ReplacePrefixMatch, replacePrefixMatch: /new}";
    let full = "path: {type: ReplaceFullPath, replaceFullPath: /full/path}";
    redirects(&[
        ("/prefix", prefix),
        ("/full", full),
        ("/prefix-and-host", &format!("hostname: example.org, {prefix}")),
        ("/prefix-and-status", &format!("statusCode: 301, {prefix}")),
        ("/full-and-host", &format!("hostname: example.org, {full}")),
        ("/full-and-status", &format!("statusCode: 301, {full}")),
    ])
    .check(&[
        get("/prefix/lemon").answers(302).with("location", "http://example.com/new/lemon"),
        get("/prefix").answers(302).with("location", "http://example.com/new"),
        get("/full/lemon").answers(302).with("location", "http://example.com/full/path"),
        get("/prefix-and-host/lemon").answers(302).with("location", "http://example.org/new/lemon"),
        get("/prefix-and-status/lemon").answers(301).with("location", "http://example.com/new/lemon"),
        get("/full-and-host/lemon").answers(302).with("location", "http://example.org/full/path"),
        get("/full-and-status/lemon").answers(301).with("location", "http://example.com/full/path"),
    ]);
}

#[test]
fn httproute_303_307_and_308_redirect() {
    redirects(&[
        ("/303", "statusCode: 303"),
        ("/307", "statusCode: 307"),
        ("/308", "statusCode: 308, hostname: example.org"),
    ])
    .check(&[
        get("/303").answers(303).with("location", "http://example.com/303"),
        get("/307").answers(307).with("location", "http://example.com/307"),
        get("/308").method("DELETE").answers(308).with("location", "http://example.org/308"),
    ]);
}

#[test]
fn httproute_rewrite_host() {
    let world = rules(
        "
  - {matches: [{path: {value: /one}}], filters: [{type: URLRewrite, urlRewrite: {hostname: one.example.org}}], backendRefs: [{name: v1, port: 8080}]}
  - {matches: [{path: {value: /}}], filters: [{type: URLRewrite, urlRewrite: {hostname: example.org}}], backendRefs: [{name: v2, port: 8080}]}",
    );
    world.check(&[
        get("/one").reaches("infra/v1").forwards("host", "one.example.org"),
        get("/two").reaches("infra/v2").forwards("host", "example.org"),
    ]);
}

#[test]
fn httproute_rewrite_path() {
    let rule = |path: &str, rewrite: &str| {
        format!(
            "  - {{matches: [{{path: {{value: {path}}}}}], filters: [{{type: URLRewrite, urlRewrite: {{path: {{{rewrite}}}}}}}], backendRefs: [{{name: v1, port: 8080}}]}}\n"
        )
    };
    let yaml = [
        rule("/prefix/one", "type: ReplacePrefixMatch, replacePrefixMatch: /one"),
        rule("/full/one", "type: ReplaceFullPath, replaceFullPath: /one"),
        rule("/strip", "type: ReplacePrefixMatch, replacePrefixMatch: /"),
        rule("/slash", "type: ReplacePrefixMatch, replacePrefixMatch: /to/"),
    ];
    rules(&yaml.concat()).check(&[
        get("/prefix/one/two").sends_target("/one/two"),
        get("/prefix/one?x=1").sends_target("/one?x=1"),
        get("/full/one/two").sends_target("/one"),
        get("/strip/three").sends_target("/three"),
        get("/strip").sends_target("/"),
        get("/slash/three").sends_target("/to/three"),
    ]);
}

#[test]
fn httproute_weight() {
    let world = rules(
        "  - backendRefs: [{name: v1, port: 8080, weight: 70}, {name: v2, port: 8080, weight: 30}, {name: v3, port: 8080, weight: 0}]",
    );
    let got = shares(&world, &get("/"), 500);
    assert!((300..400).contains(&got["infra/v1"]) && (100..200).contains(&got["infra/v2"]), "{got:?}");
    assert_eq!(got.len(), 2, "{got:?}");
}

#[test]
fn httproute_named_rule() {
    let world = rules(
        "
  - {name: named-rule, matches: [{path: {value: /named}}], backendRefs: [{name: v1, port: 8080}]}
  - {matches: [{path: {value: /unnamed}}], backendRefs: [{name: v2, port: 8080}]}",
    );
    world.check(&[get("/named").reaches("infra/v1"), get("/unnamed").reaches("infra/v2")]);
}

#[test]
fn httproute_no_backend_refs() {
    let world = rules(
        "
  - {matches: [{path: {value: /omitted}}]}
  - {matches: [{path: {value: /empty}}], backendRefs: []}",
    );
    assert_eq!(world.route("HTTPRoute", "infra/r", "Accepted"), "True Accepted");
    world.check(&[get("/omitted").answers(500), get("/empty").answers(500)]);
}
