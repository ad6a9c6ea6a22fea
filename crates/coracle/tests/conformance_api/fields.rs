//! `fieldValidation`: unknown and duplicated fields of built-in kinds.

use http::StatusCode;

use crate::world::World;

const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments?fieldValidation=Strict";

fn deployment(metadata: &str, spec: &str) -> Vec<u8> {
    format!(
        r#"{{"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {{"name": "web"{metadata}}}, "spec": {{{spec}
        "selector": {{"matchLabels": {{"app": "web"}}}}, "template": {{"metadata": {{"labels": {{"app": "web"}}}},
        "spec": {{"containers": [{{"name": "web", "image": "hello"}}]}}}}}}}}"#
    )
    .into_bytes()
}

async fn refused(metadata: &str, spec: &str) -> String {
    let world = World::new().await;
    let headers = [("content-type", "application/json")];
    let (status, _, said) = world.raw("POST", DEPLOYMENTS, &headers, deployment(metadata, spec)).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    String::from_utf8(said).unwrap()
}

#[tokio::test]
async fn unknown_and_duplicated_fields_of_a_typed_object_are_found() {
    let said = refused("", r#""unknown": 1, "replicas": 1, "replicas": 2, "#).await;
    for part in [r#"unknown field \"spec.unknown\""#, r#"duplicate field \"spec.replicas\""#] {
        assert!(said.contains(part), "{said}");
    }
}

#[tokio::test]
async fn unknown_metadata_of_a_typed_object_is_found() {
    let said = refused(r#", "unknownMeta": 1"#, "").await;
    assert!(said.contains(r#"unknown field \"metadata.unknownMeta\""#), "{said}");
}
