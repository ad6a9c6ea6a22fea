//! Bindings and scales change the object that is meant; deletions answer with it where upstream does.

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
async fn a_pod_that_is_bound_says_so_and_gets_what_the_binding_says_of_it() {
    let api = Api::start().await;
    make(&api).await;
    let why = "0/1 nodes are available";
    let waits = json!({"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": why,
        "lastProbeTime": null, "lastTransitionTime": "2020-01-01T00:00:00Z"});
    let other = json!({"type": "example.com/ready", "status": "True"});
    let status = json!({"status": {"nominatedNodeName": "n", "conditions": [waits, other]}});
    let merge = [("content-type", "application/merge-patch+json")];
    let (answer, pod) = api.ask("PATCH", &format!("{PODS}/p/status"), &merge, status).await;
    assert_eq!((answer, &pod["status"]["nominatedNodeName"]), (StatusCode::OK, &json!("n")));
    let metadata = json!({"name": "p", "annotations": {"example.com/a": "b"}, "labels": {"zone": "z"}});
    let elsewhere = json!({"metadata": {"name": "q"}, "target": {"name": "n"}});
    let (answer, said) = api.ask("POST", &format!("{PODS}/p/binding"), &[], elsewhere).await;
    let why = "name in URL does not match name in Binding object";
    assert_eq!((answer, &said["message"]), (StatusCode::BAD_REQUEST, &json!(why)));
    let binding = json!({"metadata": metadata, "target": {"kind": "Node", "name": "n"}});
    assert_eq!(api.ask("POST", &format!("{PODS}/p/binding"), &[], binding).await.0, StatusCode::CREATED);
    let bound = api.get(&format!("{PODS}/p")).await.1;
    assert_eq!((&bound["spec"]["nodeName"], &bound["status"]["nominatedNodeName"]), (&json!("n"), &json!("n")));
    assert_eq!(bound["metadata"]["annotations"], json!({"example.com/a": "b"}));
    assert_eq!(bound["metadata"]["labels"], json!({"zone": "z"}));
    let conditions = bound["status"]["conditions"].as_array().unwrap();
    assert_eq!((conditions.len(), &conditions[1]), (2, &other));
    let mut scheduled = conditions[0].clone();
    let since = scheduled.as_object_mut().unwrap().remove("lastTransitionTime").unwrap();
    assert_eq!(scheduled, json!({"type": "PodScheduled", "status": "True", "lastProbeTime": null}));
    assert!(since.as_str().unwrap() > "2020-01-01T00:00:00Z" && since.as_str().unwrap().len() == 20, "{since}");
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
async fn the_scale_of_another_object_is_refused() {
    let api = Api::start().await;
    let template = json!({"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    let spec = json!({"selector": {"matchLabels": {"a": "b"}}, "template": template});
    let deployments = "/apis/apps/v1/namespaces/default/deployments";
    api.ask("POST", deployments, &[], json!({"metadata": {"name": "d"}, "spec": spec})).await;
    let scale = |name: &str| json!({"metadata": {"name": name}, "spec": {"replicas": 3}});
    let path = format!("{deployments}/d/scale");
    let (status, said) = api.ask("PUT", &path, &[], scale("e")).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{said}");
    assert_eq!(said["message"], "the name of the object (e) does not match the name on the URL (d)");
    assert_eq!(api.ask("PUT", &path, &[], scale("d")).await.1["spec"]["replicas"], 3);
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
