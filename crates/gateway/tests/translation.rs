//! Objects that say anything that their kinds can say: whatever it is, the same table and statuses come of them in any order,
//! and a route that is accepted is served or somebody says why not.

#![allow(clippy::unwrap_used, reason = "a failed step of a test is its failure")]

use gateway::control::{CONTROLLER, Compiled, fuzzing::translation};
use proptest::{collection::vec, option, prelude::*, sample::select};
use serde_json::{Value, json};

const NAMESPACES: [&str; 2] = ["one", "two"];
const GATEWAYS: [&str; 3] = ["edge", "other", "missing"];
const SERVICES: [&str; 3] = ["web", "api", "missing"];
const SECTIONS: [&str; 4] = ["a", "b", "c", "missing"];
const HOSTS: [&str; 6] = ["", "example.com", "*.example.com", "a.example.com", "*.a.example.com", "other.example"];

/// What an API server adds to every object.
fn meta(name: &str, namespace: &str, age: u8) -> Value {
    let created = format!("2026-01-01T00:00:{:02}Z", age % 60);
    json!({"name": name, "namespace": namespace, "generation": u64::from(age), "creationTimestamp": created,
        "uid": format!("0b3ab9a3-52a4-4b6f-9d0e-2a7ad2a9f0{:02}", age % 60)})
}

fn object(kind: &str, meta: Value, spec: Value) -> Value {
    json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": kind, "metadata": meta, "spec": spec})
}

/// Always there: the class, namespaces, Services and their endpoints.
fn surroundings() -> Vec<Value> {
    let mut all = vec![json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "GatewayClass",
        "metadata": {"name": "coracle"}, "spec": {"controllerName": CONTROLLER}})];
    for namespace in NAMESPACES {
        all.push(json!({"apiVersion": "v1", "kind": "Namespace",
            "metadata": {"name": namespace, "labels": {"team": namespace}}}));
        for (number, service) in SERVICES[..2].iter().enumerate() {
            let ports = json!([{"name": "http", "port": 80, "appProtocol": "http"}, {"name": "raw", "port": 81}]);
            let address = format!("10.43.{}.{}", u8::from(namespace == "two"), number + 1);
            all.push(json!({"apiVersion": "v1", "kind": "Service", "metadata": meta(service, namespace, 0),
                "spec": {"clusterIP": address, "ports": ports}}));
            all.push(json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
                "metadata": {"name": service, "namespace": namespace, "labels": {"kubernetes.io/service-name": service}},
                "addressType": "IPv4", "ports": [{"name": "http", "port": 8080}, {"name": "raw", "port": 8081}],
                "endpoints": [{"addresses": ["10.42.0.1"], "conditions": {"ready": true}}]}));
        }
    }
    all
}

fn listener(name: &'static str) -> impl Strategy<Value = Value> {
    let protocol = select(vec!["HTTP", "HTTP", "HTTP", "HTTPS", "TLS", "TCP", "UDP", "odd.example/protocol"]);
    let allowed = option::of(select(vec!["Same", "All", "None", "Selector"]));
    (protocol, select(vec![80, 81, 443, 8080, 70_000]), select(HOSTS.to_vec()), allowed).prop_map(
        move |(protocol, port, host, allowed)| {
            let mut listener = json!({"name": name, "port": port, "protocol": protocol});
            if !host.is_empty() && !matches!(protocol, "TCP" | "UDP") {
                listener["hostname"] = host.into();
            }
            if let Some(from) = allowed {
                listener["allowedRoutes"] =
                    json!({"namespaces": {"from": from, "selector": {"matchLabels": {"team": "two"}}}});
            }
            match protocol {
                "TLS" => listener["tls"] = json!({"mode": "Passthrough"}),
                "HTTPS" => listener["tls"] = json!({"certificateRefs": [{"name": "missing"}]}),
                _ => {}
            }
            listener
        },
    )
}

fn gateway(name: &'static str, namespace: &'static str) -> impl Strategy<Value = Option<Value>> {
    let listeners = (listener("a"), listener("b"), listener("c"), 0..4_usize);
    option::of((listeners, any::<u8>(), any::<bool>())).prop_map(move |made| {
        let ((a, b, c, count), age, lets_in) = made?;
        let listeners: Vec<_> = [a, b, c].into_iter().take(count.max(1)).collect();
        let from = if lets_in { "All" } else { "None" };
        let spec = json!({"gatewayClassName": "coracle", "listeners": listeners,
            "allowedListeners": {"namespaces": {"from": from}}});
        Some(object("Gateway", meta(name, namespace, age), spec))
    })
}

fn listener_set() -> impl Strategy<Value = Option<Value>> {
    option::of((listener("a"), select(GATEWAYS.to_vec()), select(NAMESPACES.to_vec()), any::<u8>())).prop_map(|made| {
        let (listener, parent, namespace, age) = made?;
        let spec = json!({"parentRef": {"name": parent, "namespace": "one"}, "listeners": [listener]});
        Some(object("ListenerSet", meta("set", namespace, age), spec))
    })
}

fn parent() -> impl Strategy<Value = Value> {
    let kind = select(vec!["Gateway", "Gateway", "Gateway", "ListenerSet", "Service"]);
    let (section, port) = (option::of(select(SECTIONS.to_vec())), option::of(select(vec![80, 443, 8080])));
    (kind, select(GATEWAYS.to_vec()), option::of(select(NAMESPACES.to_vec())), section, port).prop_map(
        |(kind, name, namespace, section, port)| {
            let name = match kind {
                "ListenerSet" => "set",
                "Service" => "web",
                _ => name,
            };
            let mut parent = json!({"name": name, "kind": kind});
            if kind == "Service" {
                parent["group"] = "".into();
            }
            let optional = [("namespace", namespace.map(Value::from)), ("sectionName", section.map(Value::from))];
            for (field, value) in optional.into_iter().chain([("port", port.map(Value::from))]) {
                if let Some(value) = value {
                    parent[field] = value;
                }
            }
            parent
        },
    )
}

fn backend() -> impl Strategy<Value = Value> {
    let port = select(vec![80, 81, 82]);
    (select(SERVICES.to_vec()), option::of(select(NAMESPACES.to_vec())), port, option::of(0..3_u32)).prop_map(
        |(name, namespace, port, weight)| {
            let mut backend = json!({"name": name, "port": port});
            if let Some(namespace) = namespace {
                backend["namespace"] = namespace.into();
            }
            if let Some(weight) = weight {
                backend["weight"] = weight.into();
            }
            backend
        },
    )
}

fn filter() -> impl Strategy<Value = Value> {
    select(vec![
        json!({"type": "RequestHeaderModifier", "requestHeaderModifier": {"set": [{"name": "x-a", "value": "1"}]}}),
        json!({"type": "ResponseHeaderModifier", "responseHeaderModifier": {"remove": ["content-length", "x-a"]}}),
        json!({"type": "RequestRedirect", "requestRedirect": {"scheme": "https", "statusCode": 301}}),
        json!({"type": "URLRewrite", "urlRewrite": {"path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/"}}}),
        json!({"type": "RequestMirror", "requestMirror": {"backendRef": {"name": "api", "port": 80}, "percent": 10}}),
        json!({"type": "CORS", "cors": {"allowOrigins": ["*"]}}),
        json!({"type": "ExtensionRef", "extensionRef": {"group": "a.example", "kind": "B", "name": "c"}}),
        json!({"type": "URLRewrite"}),
    ])
}

fn matches() -> impl Strategy<Value = Value> {
    let path = select(vec![
        json!({"type": "PathPrefix", "value": "/"}),
        json!({"type": "PathPrefix", "value": "/a/b"}),
        json!({"type": "Exact", "value": "/a"}),
        json!({"type": "RegularExpression", "value": "/[0-9]+"}),
        json!({"type": "RegularExpression", "value": "/("}),
    ]);
    (path, option::of(select(vec!["GET", "POST"])), any::<bool>()).prop_map(|(path, method, header)| {
        let mut matches = json!({"path": path});
        if let Some(method) = method {
            matches["method"] = method.into();
        }
        if header {
            matches["headers"] = json!([{"name": "x-team", "value": "blue"}]);
        }
        matches
    })
}

fn http_route(name: &'static str) -> impl Strategy<Value = Value> {
    let rule = (vec(matches(), 0..3), vec(backend(), 0..3), vec(filter(), 0..2)).prop_map(
        |(matches, backends, filters)| json!({"matches": matches, "backendRefs": backends, "filters": filters}),
    );
    let hosts = vec(select(HOSTS[1..].to_vec()), 0..3);
    (vec(parent(), 1..4), hosts, vec(rule, 0..3), select(NAMESPACES.to_vec()), any::<u8>()).prop_map(
        move |(parents, hosts, rules, namespace, age)| {
            let mut spec = json!({"parentRefs": parents, "hostnames": hosts});
            if !rules.is_empty() {
                spec["rules"] = rules.into();
            }
            object("HTTPRoute", meta(name, namespace, age), spec)
        },
    )
}

/// Routes of the other kinds, which have less to say.
fn other_route(kind: &'static str) -> impl Strategy<Value = Value> {
    let hosts = vec(select(HOSTS[1..].to_vec()), 0..2);
    (vec(parent(), 1..3), hosts, vec(backend(), 1..3), select(NAMESPACES.to_vec()), any::<u8>()).prop_map(
        move |(parents, hosts, backends, namespace, age)| {
            let mut spec = json!({"parentRefs": parents, "rules": [{"backendRefs": backends}]});
            if matches!(kind, "GRPCRoute" | "TLSRoute") {
                spec["hostnames"] = hosts.into();
            }
            object(kind, meta("route", namespace, age), spec)
        },
    )
}

fn grant() -> impl Strategy<Value = Value> {
    let kinds = select(vec!["HTTPRoute", "GRPCRoute", "TLSRoute", "TCPRoute", "UDPRoute", "Gateway"]);
    (kinds, select(NAMESPACES.to_vec()), option::of(select(SERVICES.to_vec()))).prop_map(|(kind, namespace, name)| {
        let mut to = json!({"group": "", "kind": "Service"});
        if let Some(name) = name {
            to["name"] = name.into();
        }
        let other = NAMESPACES.iter().find(|other| **other != namespace).unwrap();
        let from = json!([{"group": "gateway.networking.k8s.io", "kind": kind, "namespace": other}]);
        object("ReferenceGrant", meta("grant", namespace, 1), json!({"from": from, "to": [to]}))
    })
}

fn backend_tls() -> impl Strategy<Value = Option<Value>> {
    option::of((select(SERVICES.to_vec()), select(NAMESPACES.to_vec()), any::<bool>())).prop_map(|made| {
        let (service, namespace, system) = made?;
        let mut validation = json!({"hostname": "web.example"});
        if system {
            validation["wellKnownCACertificates"] = "System".into();
        } else {
            validation["caCertificateRefs"] = json!([{"group": "", "kind": "ConfigMap", "name": "missing"}]);
        }
        let spec = json!({"targetRefs": [{"group": "", "kind": "Service", "name": service}], "validation": validation});
        Some(object("BackendTLSPolicy", meta("policy", namespace, 3), spec))
    })
}

fn objects() -> impl Strategy<Value = Vec<Value>> {
    let gateways = (gateway("edge", "one"), gateway("other", "one"), gateway("edge", "two"), listener_set());
    let routes = (http_route("first"), http_route("second"), http_route("third"));
    let others = (other_route("GRPCRoute"), other_route("TLSRoute"), other_route("TCPRoute"), other_route("UDPRoute"));
    (gateways, routes, others, vec(grant(), 0..3), backend_tls()).prop_map(
        |(gateways, routes, others, grants, policy)| {
            let (a, b, c, set) = gateways;
            let mut all = surroundings();
            all.extend([a, b, c, set, policy].into_iter().flatten());
            all.extend([routes.0, routes.1, routes.2, others.0, others.1, others.2, others.3]);
            all.extend(grants);
            all
        },
    )
}

/// Whether a list of conditions has one of this type and status.
fn says(part: &Value, type_: &str, status: &str) -> bool {
    let conditions = part["conditions"].as_array().into_iter().flatten();
    conditions.into_iter().any(|condition| condition["type"] == type_ && condition["status"] == status)
}

/// Routes that some parent has accepted, and of which the table knows nothing.
fn lost(compiled: &Compiled) -> Vec<String> {
    let served: Vec<_> = compiled.table.rules().map(|rule| rule.name.to_string()).collect();
    let updates = compiled.statuses.iter().filter(|update| matches!(update.kind.name(), "HTTPRoute" | "GRPCRoute"));
    let mut lost = Vec::new();
    for update in updates {
        let name = format!("{}/{}/", update.namespace.as_deref().unwrap_or_default(), update.name);
        let parents = update.status["parents"].as_array().into_iter().flatten();
        let accepted: Vec<_> = parents.filter(|parent| says(parent, "Accepted", "True")).collect();
        let is_served = served.iter().any(|rule| rule.starts_with(&name));
        if !is_served && accepted.iter().any(|parent| !is_explained(compiled, update.namespace.as_deref(), parent)) {
            lost.push(name);
        }
    }
    lost
}

/// Whether the parent says that it is not served itself, wholly or in part.
fn is_explained(compiled: &Compiled, namespace: Option<&str>, parent: &Value) -> bool {
    let reference = &parent["parentRef"];
    let namespace = reference["namespace"].as_str().or(namespace);
    compiled
        .statuses
        .iter()
        .filter(|update| reference["kind"] == update.kind.name() && reference["name"] == *update.name)
        .filter(|update| update.namespace.as_deref() == namespace)
        .flat_map(|update| update.status["listeners"].as_array().into_iter().flatten())
        .any(|listener| says(listener, "Programmed", "False") || says(listener, "Accepted", "False"))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_same_comes_of_the_same_objects_and_no_accepted_route_is_lost(objects in objects()) {
        let compiled = translation(objects);
        let lost = lost(&compiled);
        prop_assert!(lost.is_empty(), "{:?} are accepted and not served", lost);
    }
}
