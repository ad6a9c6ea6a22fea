//! Bindings: a pod is given a node once, if it is the one that was meant and stays.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed step of a test is its failure")]

#[allow(dead_code, reason = "the other tests that share this file use the rest")]
#[path = "support/api.rs"]
mod api;

use api::Api;
use http::StatusCode;
use serde_json::{Value, json};

const PODS: &str = "/api/v1/namespaces/default/pods";

async fn make(api: &Api) -> Value {
    let spec = json!({"containers": [{"name": "c", "image": "i"}]});
    let pod = json!({"metadata": {"name": "p", "finalizers": ["example.com/held"]}, "spec": spec});
    api.ask("POST", PODS, &[], pod).await.1
}

async fn bind(api: &Api, uid: &Value) -> (StatusCode, Value) {
    let binding = json!({"metadata": {"name": "p", "uid": uid}, "target": {"kind": "Node", "name": "n"}});
    api.ask("POST", &format!("{PODS}/p/binding"), &[], binding).await
}

#[tokio::test]
async fn another_pod_of_the_name_is_not_bound() {
    let api = Api::start().await;
    let pod = make(&api).await;
    assert_eq!(bind(&api, &json!("another")).await.0, StatusCode::CONFLICT);
    assert_eq!(api.get(&format!("{PODS}/p")).await.1, pod);
    assert_eq!(bind(&api, &pod["metadata"]["uid"]).await.0, StatusCode::CREATED);
}

#[tokio::test]
async fn a_pod_that_goes_is_not_bound() {
    let api = Api::start().await;
    make(&api).await;
    api.ask("DELETE", &format!("{PODS}/p"), &[], Value::Null).await;
    let (status, said) = bind(&api, &Value::Null).await;
    assert_eq!(status, StatusCode::CONFLICT);
    let why = "pod p is being deleted, cannot be assigned to a host";
    assert!(said["message"].as_str().unwrap().ends_with(why), "{said}");
}

#[tokio::test]
async fn deleting_answers_with_the_object_where_upstream_does() {
    let api = Api::start().await;
    let class = json!({"metadata": {"name": "c"}, "provisioner": "example.com/none"});
    let classes = "/apis/storage.k8s.io/v1/storageclasses";
    api.ask("POST", classes, &[], class).await;
    assert_eq!(api.ask("DELETE", &format!("{classes}/c"), &[], Value::Null).await.1["kind"], "StorageClass");
    let pod = json!({"metadata": {"name": "q"}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    api.ask("POST", PODS, &[], pod).await;
    assert_eq!(api.ask("DELETE", &format!("{PODS}/q"), &[], Value::Null).await.1["kind"], "Pod");
}
