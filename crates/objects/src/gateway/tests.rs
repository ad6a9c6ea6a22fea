use std::time::Duration;

use schemars::schema_for;
use serde_json::{Value, json};

use super::*;

fn round_trips<T: serde::Serialize + serde::de::DeserializeOwned>(value: Value) -> T {
    let typed: T = serde_json::from_value(value.clone()).unwrap();
    assert_eq!(serde_json::to_value(&typed).unwrap(), value);
    typed
}

#[test]
fn a_gateway_survives_the_round_trip() {
    let gateway: Gateway = round_trips(json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway",
        "metadata": {"name": "edge", "namespace": "default"},
        "spec": {"gatewayClassName": "coracle", "listeners": [
            {"name": "http", "port": 80, "protocol": "HTTP", "hostname": "*.example.com",
             "allowedRoutes": {"namespaces": {"from": "Selector", "selector": {"matchLabels": {"a": "b"}}},
                               "kinds": [{"group": "gateway.networking.k8s.io", "kind": "HTTPRoute"}]}},
            {"name": "tls", "port": 443, "protocol": "HTTPS",
             "tls": {"mode": "Terminate", "certificateRefs": [{"group": "", "kind": "Secret", "name": "cert"}]}}],
            "addresses": [{"type": "IPAddress", "value": "127.0.0.1"}],
            "infrastructure": {"labels": {"x": "y"}}},
    }));
    assert_eq!(gateway.spec.listeners[1].port, 443);
}

#[test]
fn a_route_with_every_union_member_survives_the_round_trip() {
    let route: HTTPRoute = round_trips(json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
        "metadata": {"name": "r", "namespace": "default"},
        "spec": {
            "parentRefs": [{"name": "edge", "sectionName": "http", "port": 80}], "hostnames": ["a.example.com"],
            "rules": [{
                "name": "main",
                "matches": [{"path": {"type": "PathPrefix", "value": "/a"}, "method": "GET",
                             "headers": [{"type": "Exact", "name": "X", "value": "1"}],
                             "queryParams": [{"name": "q", "value": "2"}]}],
                "filters": [
                    {"type": "RequestHeaderModifier", "requestHeaderModifier":
                        {"set": [{"name": "A", "value": "1"}], "add": [{"name": "B", "value": "2"}], "remove": ["C"]}},
                    {"type": "URLRewrite", "urlRewrite": {"hostname": "b.example.com",
                        "path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/"}}},
                    {"type": "RequestMirror", "requestMirror": {"backendRef": {"name": "m", "port": 80}, "percent": 5}},
                    {"type": "ExtensionRef", "extensionRef": {"group": "g", "kind": "K", "name": "n"}}],
                "backendRefs": [{"name": "svc", "port": 80, "weight": 9,
                    "filters": [{"type": "ResponseHeaderModifier", "responseHeaderModifier": {"remove": ["X"]}}]}],
                "timeouts": {"request": "10s", "backendRequest": "500ms"},
                "retry": {"codes": [503], "attempts": 2, "backoff": "10ms"},
                "sessionPersistence": {"type": "Cookie", "cookieConfig": {"lifetimeType": "Session"}}},
                {"filters": [{"type": "RequestRedirect", "requestRedirect": {"scheme": "https", "statusCode": 301}}]}]},
        "status": {"parents": [{"parentRef": {"name": "edge"}, "controllerName": "x/y", "conditions": []}]},
    }));
    assert_eq!(route.spec.rules.unwrap().len(), 2);
}

#[test]
fn a_class_and_a_grant_survive_the_round_trip() {
    round_trips::<GatewayClass>(json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "GatewayClass", "metadata": {"name": "coracle"},
        "spec": {"controllerName": "coracle.dev/gateway-controller", "description": "d",
                 "parametersRef": {"group": "g", "kind": "K", "name": "n"}},
    }));
    round_trips::<ReferenceGrant>(json!({
        "apiVersion": "gateway.networking.k8s.io/v1beta1", "kind": "ReferenceGrant",
        "metadata": {"name": "g", "namespace": "b"},
        "spec": {"from": [{"group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "namespace": "a"}],
                 "to": [{"group": "", "kind": "Service", "name": "s"}]},
    }));
}

#[test]
fn every_kind_has_a_schema_with_its_fields() {
    let text = serde_json::to_string(&schema_for!(HTTPRoute)).unwrap();
    assert!(text.contains("sectionName") && text.contains("backendRequest"));
    assert!(serde_json::to_string(&schema_for!(Gateway)).unwrap().contains("attachedRoutes"));
}

#[test]
fn durations_are_the_subset_every_parser_agrees_on() {
    for (text, millis) in
        [("0s", 0), ("10s", 10_000), ("1m30s", 90_000), ("1h500ms", 3_600_500), ("99999h", 359_996_400_000)]
    {
        assert_eq!(parse_duration(text), Ok(Duration::from_millis(millis)), "{text}");
    }
    for text in ["", "10", "1.5s", "-1s", "1d", "123456s", "1s1s1s1s1s", "s", "1 s", "1µs"] {
        assert!(parse_duration(text).is_err(), "{text}");
    }
}
