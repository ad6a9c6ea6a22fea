//! Clients that leave before they are answered.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed step of a test is its failure")]

#[path = "support/api.rs"]
mod api;

use api::Api;
use futures::{AsyncBufReadExt, TryStreamExt};
use http::{Request, StatusCode};
use serde_json::{Value, json};

const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";

#[tokio::test]
async fn a_definition_is_served_though_whoever_made_it_has_left() {
    let api = Api::start().await;
    let schema = json!({"openAPIV3Schema": {"type": "object"}});
    let definition = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "things.example.com"},
        "spec": {
            "group": "example.com", "scope": "Namespaced", "names": {"plural": "things", "kind": "Thing"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": schema}],
        }
    });
    let watch = format!("{DEFINITIONS}?watch=true&fieldSelector=metadata.name=things.example.com");
    let watch = Request::get(watch).body(Vec::new()).unwrap();
    let mut events = api.client.request_stream(watch).await.unwrap().lines();
    let made = api.ask("POST", DEFINITIONS, &[("content-type", "application/json")], definition);
    // It is seen by others first; whoever made it leaves then.
    let mut event = tokio::select! {
        biased;
        event = events.try_next() => event.unwrap(),
        answer = made => panic!("answered before it was seen: {answer:?}"),
    };
    let is_established = |event: &Option<String>| {
        let event: Value = serde_json::from_str(event.as_ref().unwrap()).unwrap();
        let conditions = event["object"]["status"]["conditions"].as_array();
        conditions.into_iter().flatten().any(|c| c["type"] == "Established" && c["status"] == "True")
    };
    assert!(!is_established(&event), "there was nothing left to be done");
    while !is_established(&event) {
        event = events.try_next().await.unwrap();
    }
    // Its kind is served a moment after that is written.
    while api.get("/apis/example.com/v1/namespaces/default/things").await.0 != StatusCode::OK {
        tokio::task::yield_now().await;
    }
}
