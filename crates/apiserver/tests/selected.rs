//! What selectors find of kinds that definitions bring, though a definition changes under its objects.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed step of a test is its failure")]

use apiserver::{ApiServer, Options};
use futures::{AsyncBufReadExt, TryStreamExt};
use http::Request;
use kube::Client;
use serde_json::{Value, json};

const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
const TABS: &str = "/apis/selected.example.com/v1/tabs";

/// The code of an answer and its JSON.
async fn ask(client: &Client, method: &str, path: &str, media: &str, body: Value) -> (u16, Value) {
    let request = Request::builder().method(method).uri(path).header("content-type", media);
    let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
    let answer = client.send(request.body(kube::client::Body::from(body)).unwrap()).await.unwrap();
    let code = answer.status().as_u16();
    (code, serde_json::from_slice(&answer.into_body().collect_bytes().await.unwrap()).unwrap())
}

async fn make(client: &Client, path: &str, body: Value) {
    let (code, said) = ask(client, "POST", path, "application/json", body).await;
    assert_eq!(code, 201, "{said}");
}

/// The names of what a query of the collection finds.
async fn found(client: &Client, query: &str) -> Vec<String> {
    let (code, list) = ask(client, "GET", &format!("{TABS}?{query}"), "application/json", Value::Null).await;
    assert_eq!(code, 200, "{list}");
    let name = |item: &Value| item["metadata"]["name"].as_str().unwrap().to_owned();
    list["items"].as_array().unwrap().iter().map(name).collect()
}

fn version(color: &Value) -> Value {
    let spec = json!({"type": "object", "properties": {"color": color}});
    let schema = json!({"type": "object", "properties": {"spec": spec}});
    json!({"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema},
        "selectableFields": [{"jsonPath": ".spec.color"}]})
}

fn tab(name: &str, spec: &Value) -> Value {
    json!({"apiVersion": "selected.example.com/v1", "kind": "Tab", "metadata": {"name": name}, "spec": spec})
}

#[tokio::test]
async fn what_was_stored_before_a_default_is_selected_by_it() {
    let dir = tempfile::tempdir().unwrap();
    let options =
        Options { data_dir: dir.path().to_owned(), service_cidr: "10.43.0.0/16".to_owned(), names: Vec::new() };
    let client = ApiServer::open(options).await.unwrap().client("tester");
    let names = json!({"plural": "tabs", "singular": "tab", "kind": "Tab"});
    let definition = json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "tabs.selected.example.com"},
        "spec": {"group": "selected.example.com", "scope": "Cluster", "names": names,
            "versions": [version(&json!({"type": "string"}))]}});
    make(&client, DEFINITIONS, definition).await;
    make(&client, TABS, tab("old", &json!({}))).await;
    make(&client, TABS, tab("red", &json!({"color": "red"}))).await;
    assert_eq!(found(&client, "fieldSelector=spec.color%3D").await, ["old"]);
    assert!(found(&client, "fieldSelector=spec.color%3Dblue").await.is_empty());

    let versions = json!({"spec": {"versions": [version(&json!({"type": "string", "default": "blue"}))]}});
    let path = format!("{DEFINITIONS}/tabs.selected.example.com");
    assert_eq!(ask(&client, "PATCH", &path, "application/merge-patch+json", versions).await.0, 200);
    assert!(found(&client, "fieldSelector=spec.color%3D").await.is_empty(), "each has a color now");
    assert_eq!(found(&client, "fieldSelector=spec.color%3Dblue").await, ["old"]);
    assert_eq!(found(&client, "fieldSelector=spec.color%3Dblue,metadata.name%3Dred").await, Vec::<String>::new());
    assert_eq!(found(&client, "fieldSelector=spec.color!%3Dblue").await, ["red"]);
    let watch = Request::get(format!("{TABS}?watch=true&fieldSelector=spec.color%3Dblue")).body(Vec::new()).unwrap();
    let mut events = client.request_stream(watch).await.unwrap().lines();
    let event: Value = serde_json::from_str(&events.try_next().await.unwrap().unwrap()).unwrap();
    assert_eq!((&event["type"], &event["object"]["metadata"]["name"]), (&json!("ADDED"), &json!("old")));
    assert_eq!(
        ask(&client, "DELETE", &format!("{TABS}?fieldSelector=spec.color%3Dblue"), "", Value::Null).await.0,
        200
    );
    assert_eq!(found(&client, "").await, ["red"]);
}
