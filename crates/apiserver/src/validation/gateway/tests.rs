//! Mistakes in Gateway API objects, and what is said of them.

use objects::kinds;

use super::*;

fn wrong(kind: &str, spec: Value) -> Vec<String> {
    let kind = kinds::stored().find(|k| k.kind == kind).unwrap();
    let mut object = json!({"metadata": {"name": "a"}, "spec": spec});
    crate::defaults::apply(kind, &mut object);
    let mut causes = Vec::new();
    check(kind, &At::root(&object), &mut causes);
    causes.into_iter().map(|cause| format!("{}: {}", cause.field, cause.message)).collect()
}

fn gateway(listeners: Value) -> Vec<String> {
    wrong("Gateway", json!({"gatewayClassName": "c", "listeners": listeners}))
}

fn rule(rule: Value) -> Vec<String> {
    wrong("HTTPRoute", json!({"rules": [rule]}))
}

#[test]
fn what_is_right_passes() {
    let tls = json!({"certificateRefs": [{"name": "s"}]});
    let listeners = json!([{"name": "a", "port": 80, "protocol": "HTTP", "hostname": "*.example.com"},
        {"name": "b", "port": 443, "protocol": "HTTPS", "tls": tls}]);
    assert_eq!(gateway(listeners), Vec::<String>::new());
    let rule = rule(
        json!({"matches": [{"path": {"value": "/a"}, "headers": [{"name": "x", "value": "y"}], "method": "GET"}],
        "filters": [{"type": "URLRewrite", "urlRewrite": {"path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/"}}}],
        "timeouts": {"request": "10s", "backendRequest": "2s"}, "backendRefs": [{"name": "s", "port": 80, "weight": 0}]}),
    );
    assert_eq!(rule, Vec::<String>::new());
    let grant = json!({"from": [{"group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "namespace": "a"}],
        "to": [{"group": "", "kind": "Service"}]});
    assert_eq!(wrong("ReferenceGrant", grant), Vec::<String>::new());
}

#[test]
fn listeners_are_told_apart_and_fit_their_protocol() {
    assert_eq!(
        gateway(json!([])),
        ["spec.listeners: Invalid value: 0: spec.listeners in body should have at least 1 items"]
    );
    let twice =
        gateway(json!([{"name": "a", "port": 80, "protocol": "HTTP"}, {"name": "b", "port": 80, "protocol": "HTTP"}]));
    let said = "spec.listeners: Invalid value: \"array\": Combination of port, protocol and hostname must be unique for each listener";
    assert_eq!(twice, [said]);
    let names =
        gateway(json!([{"name": "a", "port": 80, "protocol": "HTTP"}, {"name": "a", "port": 81, "protocol": "HTTP"}]));
    assert_eq!(names[0], "spec.listeners[1]: Duplicate value: {\"name\":\"a\"}");
    for (listener, said) in [
        (json!({"name": "a", "port": 0, "protocol": "HTTP"}), "should be greater than or equal to 1"),
        (json!({"name": "A", "port": 1, "protocol": "HTTP"}), "spec.listeners[0].name in body should match"),
        (json!({"name": "a", "port": 1, "protocol": "HTTP", "hostname": "a b"}), "hostname in body should match"),
        (
            json!({"name": "a", "port": 1, "protocol": "HTTP", "tls": {"options": {"a": "b"}}}),
            "tls must not be specified for protocols",
        ),
        (
            json!({"name": "a", "port": 1, "protocol": "HTTPS", "tls": {}}),
            "certificateRefs or options must be specified",
        ),
        (
            json!({"name": "a", "port": 1, "protocol": "HTTPS", "tls": {"mode": "Passthrough"}}),
            "tls mode must be Terminate",
        ),
        (json!({"name": "a", "port": 1, "protocol": "TCP", "hostname": "a"}), "hostname must not be specified"),
        (
            json!({"name": "a", "port": 1, "protocol": "HTTP", "allowedRoutes": {"namespaces": {"from": "Any"}}}),
            "Unsupported value: \"Any\"",
        ),
    ] {
        let found = gateway(json!([listener]));
        assert!(found.len() == 1 && found[0].contains(said), "{said}: {found:?}");
    }
}

#[test]
fn a_rules_mistakes_are_named_by_their_places() {
    for (mistake, said) in [
        (json!({"matches": [{"path": {"value": "a"}}]}), "start with '/'"),
        (json!({"matches": [{"path": {"value": "/a//b"}}]}), "must not contain '//'"),
        (json!({"matches": [{"path": {"value": "/a b"}}]}), "must only contain valid characters"),
        (json!({"matches": [{"path": {"type": "Regex", "value": "/"}}]}), "Unsupported value: \"Regex\""),
        (json!({"matches": [{"method": "get"}]}), "spec.rules[0].matches[0].method: Unsupported value: \"get\""),
        (json!({"matches": [{"headers": [{"name": "a b", "value": "x"}]}]}), "headers[0].name in body should match"),
        (
            json!({"matches": [{"headers": [{"name": "a", "value": "x"}, {"name": "a", "value": "y"}]}]}),
            "spec.rules[0].matches[0].headers[1]: Duplicate value: {\"name\":\"a\"}",
        ),
        (json!({"timeouts": {"request": "1s", "backendRequest": "2s"}}), "cannot be longer than request timeout"),
        (json!({"timeouts": {"request": "1 s"}}), "spec.rules[0].timeouts.request in body should match"),
        (
            json!({"backendRefs": [{"name": "s"}]}),
            "spec.rules[0].backendRefs[0]: Invalid value: \"object\": Must have port",
        ),
        (json!({"backendRefs": [{"name": "s", "port": 1, "weight": -1}]}), "should be greater than or equal to 0"),
        (json!({"filters": [{"type": "CORS"}]}), "filter.cors must be specified for CORS filter.type"),
        (
            json!({"filters": [{"type": "CORS", "cors": {}, "urlRewrite": {}}]}),
            "filter.urlRewrite must be nil if the filter.type is not URLRewrite",
        ),
        (
            json!({"filters": [{"type": "RequestRedirect", "requestRedirect": {}}], "backendRefs": [{"name": "s", "port": 1}]}),
            "RequestRedirect filter must not be used together with backendRefs",
        ),
        (
            json!({"filters": [{"type": "RequestRedirect", "requestRedirect": {"statusCode": 200}}]}),
            "statusCode: Unsupported value: 200",
        ),
        (
            json!({"matches": [{"path": {"type": "Exact", "value": "/"}}], "filters": [{"type": "URLRewrite",
                "urlRewrite": {"path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/"}}}]}),
            "exactly one PathPrefix match must be specified",
        ),
        (
            json!({"filters": [{"type": "URLRewrite", "urlRewrite": {"path": {"type": "ReplaceFullPath"}}}]}),
            "replaceFullPath must be specified for ReplaceFullPath type",
        ),
    ] {
        let found = rule(mistake);
        assert!(found.len() == 1 && found[0].contains(said), "{said}: {found:?}");
    }
}

#[test]
fn references_to_one_parent_name_different_parts_of_it() {
    let route = |parents: Value| wrong("HTTPRoute", json!({"parentRefs": parents}));
    assert!(route(json!([{"name": "g"}, {"name": "h"}])).is_empty());
    assert!(route(json!([{"name": "g", "sectionName": "a"}, {"name": "g", "sectionName": "b"}])).is_empty());
    assert!(route(json!([{"name": "g"}, {"name": "g", "sectionName": "a"}]))[0].contains("must be specified when"));
    assert!(
        route(json!([{"name": "g", "sectionName": "a"}, {"name": "g", "sectionName": "a"}]))[0]
            .contains("must be unique")
    );
}

#[test]
fn calls_are_matched_by_what_may_be_a_service_and_a_method() {
    let rule = |matches: Value| wrong("GRPCRoute", json!({"rules": [{"matches": [matches]}]}));
    for right in [
        json!({"method": {"service": "a.B", "method": "C"}}),
        json!({"method": {"service": ".a.B_1"}}),
        json!({"method": {"type": "RegularExpression", "service": "a|b"}, "headers": [{"name": "x", "value": "y"}]}),
        json!({}),
    ] {
        assert_eq!(rule(right), Vec::<String>::new());
    }
    for (mistake, said) in [
        (json!({"method": {}}), "One or both of 'service' or 'method' must be specified"),
        (json!({"method": {"service": "a/b"}}), "service must only contain valid characters"),
        (json!({"method": {"method": "1a"}}), "method must only contain valid characters"),
        (json!({"method": {"type": "Prefix", "method": "a"}}), "Unsupported value: \"Prefix\""),
    ] {
        let found = rule(mistake);
        assert!(found.len() == 1 && found[0].contains(said), "{said}: {found:?}");
    }
    let filter = json!({"rules": [{"filters": [{"type": "URLRewrite"}]}]});
    assert!(wrong("GRPCRoute", filter)[0].contains("rules[0].filters[0].type: Unsupported value"));
}

#[test]
fn routes_of_connections_have_one_rule_with_backends() {
    let backends = json!([{"name": "s", "port": 1}]);
    for kind in ["TCPRoute", "UDPRoute"] {
        assert_eq!(wrong(kind, json!({"rules": [{"backendRefs": backends}]})), Vec::<String>::new());
        assert!(wrong(kind, json!({"rules": []}))[0].contains("at least 1 items"));
        assert!(wrong(kind, json!({"rules": [{"backendRefs": []}]}))[0].contains("at least 1 items"));
        assert!(wrong(kind, json!({"rules": [{"backendRefs": [{"name": "s"}]}]}))[0].contains("Must have port"));
    }
    let named = |hosts: Value| wrong("TLSRoute", json!({"hostnames": hosts, "rules": [{"backendRefs": backends}]}));
    assert_eq!(named(json!(["a.example", "*.example"])), Vec::<String>::new());
    assert!(named(json!(["10.0.0.1"])).iter().any(|said| said.contains("Hostnames cannot contain an IP")));
    assert!(named(json!(["a.*.example"])).iter().any(|said| said.contains("Wildcards on hostnames must be the first")));
}

#[test]
fn a_policy_trusts_somebody_and_has_each_target_once() {
    let policy = |targets: Value, validation: Value| {
        wrong("BackendTLSPolicy", json!({"targetRefs": targets, "validation": validation}))
    };
    let target = |section: &str| json!({"group": "", "kind": "Service", "name": "s", "sectionName": section});
    let whole = json!({"group": "", "kind": "Service", "name": "s"});
    let system = json!({"wellKnownCACertificates": "System", "hostname": "a.example"});
    assert_eq!(policy(json!([target("a"), target("b")]), system.clone()), Vec::<String>::new());
    assert!(policy(json!([target("a"), target("a")]), system.clone())[0].contains("must be unique"));
    assert!(policy(json!([target("a"), whole.clone()]), system.clone())[0].contains("must be specified when"));
    for (validation, said) in [
        (json!({"hostname": "a"}), "must specify either CACertificateRefs or WellKnownCACertificates"),
        (
            json!({"hostname": "a", "wellKnownCACertificates": "System",
                "caCertificateRefs": [{"group": "", "kind": "ConfigMap", "name": "c"}]}),
            "must not contain both",
        ),
        (
            json!({"hostname": "a", "wellKnownCACertificates": "System", "subjectAltNames": [{"type": "URI"}]}),
            "must contain URI",
        ),
    ] {
        let found = policy(json!([whole]), validation);
        assert!(found.len() == 1 && found[0].contains(said), "{said}: {found:?}");
    }
}

#[test]
fn a_listener_set_has_the_rules_of_listeners() {
    let set = |listeners: Value| wrong("ListenerSet", json!({"parentRef": {"name": "g"}, "listeners": listeners}));
    assert_eq!(set(json!([{"name": "a", "port": 80, "protocol": "HTTP"}])), Vec::<String>::new());
    assert!(set(json!([{"name": "a", "port": 80, "protocol": "TLS"}]))[0].contains("tls mode must be set"));
    assert!(set(json!([]))[0].contains("at least 1 items"));
}
