//! What every cluster has is made anew when somebody deletes it.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed step of a test is its failure")]

use apiserver::{ApiServer, Options};
use futures::TryStreamExt;
use http::Request;
use kube::{
    Api, Client,
    api::{DynamicObject, GroupVersionKind, WatchEvent, WatchParams},
    core::ApiResource,
};
use serde_json::{Value, json};

const API: &str = "/api/v1/namespaces/default";

async fn ask(client: &Client, method: &str, path: &str, body: &Value) -> (u16, Value) {
    let media = if method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
    let request = Request::builder().method(method).uri(path).header("content-type", media);
    let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
    let answer = client.send(request.body(kube::client::Body::from(body)).unwrap()).await.unwrap();
    let code = answer.status().as_u16();
    let bytes = answer.into_body().collect_bytes().await.unwrap();
    (code, serde_json::from_slice(&bytes).unwrap_or_default())
}

/// The first object of this name that is seen after `version` and is `right`.
async fn next(client: &Client, kind: [&str; 3], name: &str, version: &str, right: impl Fn(&Value) -> bool) -> Value {
    let [group, kind, plural] = kind;
    let resource = ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, "v1", kind), plural);
    let api: Api<DynamicObject> = match kind {
        "Namespace" => Api::all_with(client.clone(), &resource),
        _ => Api::namespaced_with(client.clone(), "default", &resource),
    };
    let only = WatchParams::default().fields(&format!("metadata.name={name}"));
    let mut events = std::pin::pin!(api.watch(&only, version).await.unwrap());
    while let Some(event) = events.try_next().await.unwrap() {
        if let WatchEvent::Added(object) | WatchEvent::Modified(object) = event {
            let object = serde_json::to_value(&object).unwrap();
            if right(&object) {
                return object;
            }
        }
    }
    panic!("the watch ended")
}

fn version(object: &Value) -> &str {
    object["metadata"]["resourceVersion"].as_str().unwrap()
}

#[tokio::test]
async fn the_apis_service_its_endpoints_and_the_systems_namespaces_are_made_anew() {
    let dir = tempfile::tempdir().unwrap();
    let options =
        Options { data_dir: dir.path().to_owned(), service_cidr: "10.43.0.0/16".to_owned(), names: Vec::new() };
    let server = ApiServer::open(options).await.unwrap();
    server.publish(([127, 0, 0, 1], 6443).into()).await.unwrap();
    let client = server.client("tester");
    let service = ask(&client, "GET", &format!("{API}/services/kubernetes"), &Value::Null).await.1;
    assert_eq!(service["spec"]["clusterIP"], "10.43.0.1");
    let slices = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/kubernetes";
    for (kind, path) in [
        (["", "Service", "services"], &*format!("{API}/services/kubernetes")),
        (["", "Endpoints", "endpoints"], &*format!("{API}/endpoints/kubernetes")),
        (["discovery.k8s.io", "EndpointSlice", "endpointslices"], slices),
    ] {
        let before = ask(&client, "GET", path, &Value::Null).await.1;
        assert_eq!(ask(&client, "DELETE", path, &Value::Null).await.0, 200, "{path}");
        let made = next(&client, kind, "kubernetes", version(&before), |_| true).await;
        assert_ne!(made["metadata"]["uid"], before["metadata"]["uid"]);
        for field in ["spec", "subsets", "endpoints", "ports"] {
            assert_eq!(made[field], before[field], "{path}");
        }
    }

    // Who says that it is elsewhere is corrected, and what others say of it stays.
    let endpoints = format!("{API}/endpoints/kubernetes");
    let elsewhere = json!({"metadata": {"labels": {"a": "b"}}, "subsets": []});
    let (code, wrong) = ask(&client, "PATCH", &endpoints, &elsewhere).await;
    assert_eq!(code, 200, "{wrong}");
    let kind = ["", "Endpoints", "endpoints"];
    let right = next(&client, kind, "kubernetes", version(&wrong), |_| true).await;
    assert_eq!(right["subsets"][0]["addresses"][0]["ip"], "127.0.0.1");
    assert_eq!(right["metadata"]["labels"], json!({"a": "b", "endpointslice.kubernetes.io/skip-mirror": "true"}));

    // A namespace is there again when it is gone altogether. Here is nobody who empties it.
    let namespace = ask(&client, "DELETE", "/api/v1/namespaces/kube-node-lease", &Value::Null).await.1;
    assert_eq!(namespace["status"]["phase"], "Terminating");
    let mut emptied = namespace.clone();
    emptied["spec"]["finalizers"] = json!([]);
    assert_eq!(ask(&client, "PUT", "/api/v1/namespaces/kube-node-lease/finalize", &emptied).await.0, 200);
    let made = next(&client, ["", "Namespace", "namespaces"], "kube-node-lease", version(&namespace), |object| {
        object["metadata"]["deletionTimestamp"].is_null()
    });
    assert_eq!(made.await["status"]["phase"], "Active");
}

#[tokio::test]
async fn the_systems_priority_classes_are_not_deleted() {
    let dir = tempfile::tempdir().unwrap();
    let options =
        Options { data_dir: dir.path().to_owned(), service_cidr: "10.43.0.0/16".to_owned(), names: Vec::new() };
    let client = ApiServer::open(options).await.unwrap().client("tester");
    let classes = "/apis/scheduling.k8s.io/v1/priorityclasses";
    for name in ["system-cluster-critical", "system-node-critical"] {
        let (code, said) = ask(&client, "DELETE", &format!("{classes}/{name}"), &Value::Null).await;
        assert_eq!((code, &said["reason"]), (403, &json!("Forbidden")), "{said}");
        assert_eq!(ask(&client, "GET", &format!("{classes}/{name}"), &Value::Null).await.0, 200);
    }
    assert_eq!(ask(&client, "POST", classes, &json!({"metadata": {"name": "mine"}, "value": 1})).await.0, 201);
    assert_eq!(ask(&client, "DELETE", &format!("{classes}/mine"), &Value::Null).await.0, 200);
}
