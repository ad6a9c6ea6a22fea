//! What OpenAPI says of kinds that definitions bring, in both versions, and the list of all paths: as long as they are served, and
//! no longer.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed step of a test is its failure")]

use apiserver::{ApiServer, Options};
use http::Request;
use kube::Client;
use serde_json::{Value, json};

const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
const NAME: &str = "tabs.published.example.com";

/// The code of an answer, its ETag and its JSON; null if it is none.
async fn ask(client: &Client, method: &str, path: &str, media: &str, body: Value) -> (u16, String, Value) {
    let request = Request::builder().method(method).uri(path).header("accept", "application/json");
    let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
    let request = request.header("content-type", media).body(kube::client::Body::from(body)).unwrap();
    let answer = client.send(request).await.unwrap();
    let (code, tag) = (answer.status().as_u16(), answer.headers().get("etag").cloned());
    let bytes = answer.into_body().collect_bytes().await.unwrap();
    let tag = tag.map(|tag| tag.to_str().unwrap().to_owned()).unwrap_or_default();
    (code, tag, serde_json::from_slice(&bytes).unwrap_or_default())
}

async fn get(client: &Client, path: &str) -> Value {
    ask(client, "GET", path, "application/json", Value::Null).await.2
}

/// Version 2's schemas of a kind, by the versions that it is served in.
async fn in_version_2(client: &Client, kind: &str) -> Vec<String> {
    let document = get(client, "/openapi/v2").await;
    let of = |schema: &Value| -> Option<String> {
        let of = &schema["x-kubernetes-group-version-kind"][0];
        (of["kind"] == kind).then(|| of["version"].as_str().unwrap().to_owned())
    };
    let mut found: Vec<String> = document["definitions"].as_object().unwrap().values().filter_map(of).collect();
    found.sort();
    let paths = document["paths"].as_object().unwrap();
    for version in &found {
        let path = format!("/apis/published.example.com/{version}/namespaces/{{namespace}}/tabs");
        assert!(paths.contains_key(&path), "{path}");
    }
    found
}

/// Version 3's schema of the kind in one of its versions.
async fn in_version_3(client: &Client, version: &str) -> Option<Value> {
    let name = format!("apis/published.example.com/{version}");
    let index = get(client, "/openapi/v3").await;
    let place = index["paths"].get(&name)?["serverRelativeURL"].as_str().unwrap().to_owned();
    let document = get(client, &place).await;
    let schemas = document["components"]["schemas"].as_object().unwrap();
    let is_it = |schema: &&Value| schema["x-kubernetes-group-version-kind"][0]["kind"] == "Tab";
    schemas.values().find(is_it).cloned()
}

/// The paths that the server lists of the definition's group, and whether it lists what is always there.
async fn listed(client: &Client) -> (Vec<String>, bool) {
    let all = get(client, "/").await;
    let all: Vec<&str> = all["paths"].as_array().unwrap().iter().map(|path| path.as_str().unwrap()).collect();
    let always = ["/api/v1", "/apis", "/apis/apps/v1", "/livez/ping", "/openapi/v2", "/readyz", "/version"];
    let own = all.iter().filter(|path| path.contains("published.example.com")).map(|path| (*path).to_owned());
    (own.collect(), all.is_sorted() && always.iter().all(|path| all.contains(path)))
}

fn definition() -> Value {
    let color = json!({"type": "string", "description": "What it looks like", "enum": ["red", "blue"]});
    let spec = json!({"type": "object", "properties": {"color": color, "size": {"x-kubernetes-int-or-string": true}}});
    let schema = json!({"openAPIV3Schema": {"type": "object", "properties": {"spec": spec}}});
    let version =
        |name: &str, storage: bool| json!({"name": name, "served": true, "storage": storage, "schema": schema});
    json!({
        "metadata": {"name": NAME},
        "spec": {"group": "published.example.com", "scope": "Namespaced",
            "names": {"plural": "tabs", "singular": "tab", "kind": "Tab", "listKind": "TabList"},
            "versions": [version("v1", true), version("v2", false)]},
    })
}

#[tokio::test]
async fn a_kind_is_published_in_each_version_that_is_served_and_gone_with_its_definition() {
    let dir = tempfile::tempdir().unwrap();
    let options =
        Options { data_dir: dir.path().to_owned(), service_cidr: "10.43.0.0/16".to_owned(), names: Vec::new() };
    let client = ApiServer::open(options).await.unwrap().client("tester");
    let tag = async || ask(&client, "GET", "/openapi/v2", "application/json", Value::Null).await.1;
    let before = tag().await;
    assert!(!before.is_empty());
    assert_eq!((in_version_2(&client, "Tab").await, in_version_3(&client, "v1").await), (vec![], None));
    assert_eq!(ask(&client, "POST", DEFINITIONS, "application/json", definition()).await.0, 201);
    let made = tag().await;
    assert_ne!(made, before, "who has the document asks for it again");
    assert_eq!(in_version_2(&client, "Tab").await, ["v1", "v2"]);
    let own = ["/apis/published.example.com", "/apis/published.example.com/v1", "/apis/published.example.com/v2"];
    assert_eq!(listed(&client).await, (own.map(str::to_owned).to_vec(), true));
    assert_eq!(in_version_2(&client, "TabList").await, ["v1", "v2"]);
    for version in ["v1", "v2"] {
        let schema = in_version_3(&client, version).await.unwrap();
        assert_eq!(schema.pointer("/properties/spec/properties/color/enum"), Some(&json!(["red", "blue"])));
        assert_eq!(schema.pointer("/properties/spec/properties/size/x-kubernetes-int-or-string"), Some(&json!(true)));
    }

    // One version is served no longer; then the schema changes; then all of it goes.
    let merge = "application/merge-patch+json";
    let mut versions = definition()["spec"]["versions"].clone();
    versions[1]["served"] = json!(false);
    let place = format!("{DEFINITIONS}/{NAME}");
    let (code, _, said) = ask(&client, "PATCH", &place, merge, json!({"spec": {"versions": versions}})).await;
    assert_eq!(code, 200, "{said}");
    assert_eq!(in_version_2(&client, "Tab").await, ["v1"]);
    assert_eq!(in_version_3(&client, "v2").await, None);
    versions[0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["weight"] = json!({"type": "integer"});
    assert_eq!(ask(&client, "PATCH", &place, merge, json!({"spec": {"versions": versions}})).await.0, 200);
    let schema = in_version_3(&client, "v1").await.unwrap();
    assert_eq!(schema.pointer("/properties/spec/properties/weight/type"), Some(&json!("integer")));
    let changed = tag().await;
    assert_ne!(changed, made);
    let finalizers = json!({"metadata": {"finalizers": null}});
    ask(&client, "DELETE", &place, "application/json", Value::Null).await;
    ask(&client, "PATCH", &place, merge, finalizers).await;
    assert_eq!(ask(&client, "GET", &place, "application/json", Value::Null).await.0, 404);
    assert_eq!((in_version_2(&client, "Tab").await, in_version_3(&client, "v1").await), (vec![], None));
    assert_eq!(listed(&client).await, (vec![], true));
    assert_eq!(tag().await, before, "what is left is what there was");
}

#[tokio::test]
async fn an_answer_is_indented_where_that_is_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let options =
        Options { data_dir: dir.path().to_owned(), service_cidr: "10.43.0.0/16".to_owned(), names: Vec::new() };
    let client = ApiServer::open(options).await.unwrap().client("tester");
    for path in ["/api/v1/namespaces", "/api/v1/namespaces/default", "/api/v1/namespaces/none", "/apis/apps/v1"] {
        let text = async |path: &str| {
            let request = Request::builder().uri(path).body(kube::client::Body::from(Vec::new())).unwrap();
            let answer = client.send(request).await.unwrap();
            String::from_utf8(answer.into_body().collect_bytes().await.unwrap().to_vec()).unwrap()
        };
        let (compact, indented) = (text(path).await, text(&format!("{path}?pretty=true")).await);
        assert!(!compact.contains("\n  ") && indented.starts_with("{\n  \""), "{indented}");
        let read = |text: &str| serde_json::from_str::<Value>(text).unwrap();
        assert_eq!(read(&indented), read(&compact));
    }
}
