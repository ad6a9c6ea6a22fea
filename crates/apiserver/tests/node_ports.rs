//! Node ports are given, kept, changed and freed as upstream's allocator does, and never given twice.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed step of a test is its failure")]

#[allow(dead_code, reason = "the other tests that share this file use the rest")]
#[path = "support/api.rs"]
mod api;

use api::Api;
use http::StatusCode;
use serde_json::{Value, json};

const PATH: &str = "/api/v1/namespaces/default/services";
const MERGE: &[(&str, &str)] = &[("content-type", "application/merge-patch+json")];

fn service(name: &str, of: &str, ports: Value) -> Value {
    json!({"metadata": {"name": name}, "spec": {"type": of, "ports": ports}})
}

async fn make(api: &Api, service: Value) -> Value {
    let (status, said) = api.ask("POST", PATH, &[], service).await;
    assert_eq!(status, StatusCode::CREATED, "{said}");
    said
}

/// The status and the message of what is refused.
async fn refused(api: &Api, service: Value) -> (u16, String) {
    let (status, said) = api.ask("POST", PATH, &[], service).await;
    assert!(!status.is_success(), "{said}");
    (status.as_u16(), said["message"].as_str().unwrap().to_owned())
}

async fn patch(api: &Api, name: &str, patch: Value) -> Value {
    let (status, said) = api.ask("PATCH", &format!("{PATH}/{name}"), MERGE, patch).await;
    assert_eq!(status, StatusCode::OK, "{said}");
    said
}

fn node_ports(service: &Value) -> Vec<u64> {
    let ports = service["spec"]["ports"].as_array().unwrap();
    ports.iter().map(|port| port["nodePort"].as_u64().unwrap_or(0)).collect()
}

#[tokio::test]
async fn a_service_gets_a_port_of_the_range_for_each_of_its_ports() {
    let api = Api::start().await;
    let two = json!([{"name": "a", "port": 80}, {"name": "b", "port": 81}]);
    let one = make(&api, service("one", "NodePort", two.clone())).await;
    assert_eq!(node_ports(&one), [30086, 30087], "the lower ones are for those who name theirs");
    assert_eq!(node_ports(&make(&api, service("two", "LoadBalancer", two)).await), [30088, 30089]);
    // As DNS has it: one number over both protocols.
    let dns = json!([{"name": "a", "port": 53, "protocol": "UDP"}, {"name": "b", "port": 53, "protocol": "TCP"}]);
    assert_eq!(node_ports(&make(&api, service("dns", "NodePort", dns)).await), [30090, 30090]);
    let mut without = service(
        "without",
        "LoadBalancer",
        json!([{"name": "a", "port": 80}, {"name": "b", "port": 81, "nodePort": 30001}]),
    );
    without["spec"]["allocateLoadBalancerNodePorts"] = json!(false);
    assert_eq!(node_ports(&make(&api, without).await), [0, 30001]);
    assert_eq!(node_ports(&make(&api, service("inside", "ClusterIP", json!([{"port": 80}]))).await), [0]);
}

#[tokio::test]
async fn nobody_owns_a_port_that_was_given() {
    let api = Api::start().await;
    let made = make(&api, service("one", "NodePort", json!([{"port": 80}]))).await;
    assert!(!made["metadata"]["managedFields"].to_string().contains("nodePort"), "{made}");
}

#[tokio::test]
async fn a_port_that_is_asked_for_is_had_once_and_within_the_range() {
    let api = Api::start().await;
    make(&api, service("one", "NodePort", json!([{"port": 80, "nodePort": 30080}]))).await;
    let again =
        service("two", "NodePort", json!([{"name": "a", "port": 80}, {"name": "b", "port": 81, "nodePort": 30080}]));
    assert_eq!(
        refused(&api, again).await,
        (422, "Service \"two\" is invalid: spec.ports[1].nodePort: Invalid value: 30080: provided port is already allocated".to_owned())
    );
    for port in [8080, 32768, 70000] {
        let (code, message) = refused(&api, service("two", "NodePort", json!([{"port": 80, "nodePort": port}]))).await;
        let why = format!(
            "Service \"two\" is invalid: spec.ports[0].nodePort: Invalid value: {port}: provided port is not in the valid range. The \
             range of valid ports is 30000-32767"
        );
        assert_eq!((code, message), (422, why));
    }
    let twice = json!([{"name": "a", "port": 80, "nodePort": 30081}, {"name": "b", "port": 81, "nodePort": 30081}]);
    let (_, message) = refused(&api, service("two", "NodePort", twice)).await;
    assert!(message.ends_with("spec.ports[1].nodePort: Duplicate value: 30081"), "{message}");
    // None of those who were refused kept what they had been given on the way.
    assert_eq!(node_ports(&make(&api, service("two", "NodePort", json!([{"port": 80}]))).await), [30086]);
}

#[tokio::test]
async fn a_service_keeps_its_ports_through_updates_and_gives_them_back() {
    let api = Api::start().await;
    let both = json!([{"name": "a", "port": 80}, {"name": "b", "port": 81}]);
    make(&api, service("one", "NodePort", both.clone())).await;
    let (_, put) = api.ask("PUT", &format!("{PATH}/one"), &[], service("one", "NodePort", both)).await;
    assert_eq!(node_ports(&put), [30086, 30087], "an update that does not say them keeps them");
    let other = json!([{"name": "b", "port": 8081}, {"name": "c", "port": 80}]);
    let (_, put) = api.ask("PUT", &format!("{PATH}/one"), &[], service("one", "NodePort", other)).await;
    assert_eq!(node_ports(&put), [30087, 30088], "by their names");
    let taken = json!({"spec": {"ports": [{"name": "x", "port": 1, "nodePort": 30086}]}});
    assert_eq!(node_ports(&patch(&api, "one", taken).await), [30086], "what it gave up is free");
    let dry = format!("{PATH}?dryRun=All");
    let (_, tried) = api.ask("POST", &dry, &[], service("two", "NodePort", json!([{"port": 80}]))).await;
    assert_eq!(node_ports(&tried), [30087]);
    assert_eq!(node_ports(&make(&api, service("two", "NodePort", json!([{"port": 80}]))).await), [30087]);
    api.ask("DELETE", &format!("{PATH}/one"), &[], Value::Null).await;
    make(&api, service("three", "NodePort", json!([{"port": 80, "nodePort": 30086}]))).await;
}

#[tokio::test]
async fn a_service_that_changes_its_type_drops_what_the_new_one_has_not() {
    let api = Api::start().await;
    let mut balanced = service("one", "LoadBalancer", json!([{"port": 80}]));
    balanced["spec"]["externalTrafficPolicy"] = json!("Local");
    balanced["spec"]["loadBalancerClass"] = json!("example.com/any");
    let made = make(&api, balanced).await;
    assert_eq!((node_ports(&made), &made["spec"]["healthCheckNodePort"]), (vec![30086], &json!(30087)));
    let inside = patch(&api, "one", json!({"spec": {"type": "ClusterIP"}})).await;
    for field in ["healthCheckNodePort", "allocateLoadBalancerNodePorts", "loadBalancerClass", "externalTrafficPolicy"]
    {
        assert_eq!(inside["spec"][field], Value::Null, "{field}");
    }
    assert_eq!(node_ports(&inside), [0]);
    let both = json!([{"name": "a", "port": 80}, {"name": "b", "port": 81}]);
    assert_eq!(node_ports(&make(&api, service("two", "NodePort", both)).await), [30086, 30087], "they are free");
    assert_eq!(node_ports(&patch(&api, "one", json!({"spec": {"type": "NodePort"}})).await), [30088]);
    let alias = json!({"spec": {"type": "ExternalName", "externalName": "a.example"}});
    assert_eq!(node_ports(&patch(&api, "one", alias).await), [0]);
    assert_eq!(node_ports(&patch(&api, "one", json!({"spec": {"type": "NodePort"}})).await), [30088]);
}

#[tokio::test]
async fn the_port_of_the_health_check_is_one_of_the_same_ports() {
    let api = Api::start().await;
    let balanced = |name: &str, port: Value| {
        let mut service = service(name, "LoadBalancer", json!([{"port": 80}]));
        service["spec"]["externalTrafficPolicy"] = json!("Local");
        service["spec"]["healthCheckNodePort"] = port;
        service
    };
    make(&api, balanced("one", json!(30050))).await;
    assert_eq!(
        refused(&api, balanced("two", json!(30050))).await,
        (
            500,
            "Internal error occurred: failed to allocate requested HealthCheck NodePort 30050: provided port is already allocated"
                .to_owned()
        )
    );
    let change = json!({"spec": {"healthCheckNodePort": 30051}});
    let (status, said) = api.ask("PATCH", &format!("{PATH}/one"), MERGE, change).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(said["message"].as_str().unwrap().ends_with("spec.healthCheckNodePort: Forbidden: field is immutable"));
    let mut local = balanced("three", json!(30060));
    local["spec"]["externalTrafficPolicy"] = json!("Cluster");
    let (_, message) = refused(&api, local).await;
    assert!(message.contains("may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'"));
    let freed = patch(&api, "one", json!({"spec": {"externalTrafficPolicy": "Cluster"}})).await;
    assert_eq!(freed["spec"]["healthCheckNodePort"], Value::Null);
    make(&api, balanced("two", json!(30050))).await;
}
