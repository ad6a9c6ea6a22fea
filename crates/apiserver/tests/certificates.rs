//! Requests for certificates: who made them, and who may say what of them through which path.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed step of a test is its failure")]

#[allow(dead_code, reason = "the other tests that share this file use the rest")]
#[path = "support/api.rs"]
mod api;

use api::Api;
use http::StatusCode;
use serde_json::{Value, json};

const PATH: &str = "/apis/certificates.k8s.io/v1/certificatesigningrequests";
const MERGE: &[(&str, &str)] = &[("content-type", "application/merge-patch+json")];
const TABLE: &[(&str, &str)] = &[("accept", "application/json;as=Table;v=v1;g=meta.k8s.io")];

async fn make(api: &Api) -> Value {
    let spec = json!({"request": "LS0tLS0=", "signerName": "example.com/signer", "usages": ["client auth"], "username": "somebody"});
    let (status, made) = api.ask("POST", PATH, &[], json!({"metadata": {"name": "one"}, "spec": spec})).await;
    assert_eq!(status, StatusCode::CREATED, "{made}");
    made
}

async fn put(api: &Api, part: &str, object: Value) -> (StatusCode, Value) {
    api.ask("PUT", &format!("{PATH}/one{part}"), &[], object).await
}

async fn refused(api: &Api, part: &str, object: Value) -> String {
    let (status, said) = put(api, part, object).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{said}");
    said["message"].as_str().unwrap().to_owned()
}

fn with(mut request: Value, conditions: Value) -> Value {
    request["status"]["conditions"] = conditions;
    request
}

fn approved() -> Value {
    json!({"type": "Approved", "status": "True", "reason": "KubectlApprove", "message": "by kubectl"})
}

#[tokio::test]
async fn a_request_says_who_made_it_and_stays_what_it_is() {
    let api = Api::start().await;
    let made = make(&api).await;
    assert_eq!(made["spec"]["username"], "tester", "whoever it says itself");
    let mut other = made.clone();
    other["spec"] = json!({"request": "b3RoZXI=", "signerName": "example.com/signer", "usages": ["client auth"]});
    other["metadata"]["labels"] = json!({"a": "b"});
    let (status, changed) = put(&api, "", other).await;
    assert_eq!((status, &changed["spec"]), (StatusCode::OK, &made["spec"]));
    assert_eq!(changed["metadata"]["labels"], json!({"a": "b"}));
}

#[tokio::test]
async fn a_request_is_approved_once_and_then_has_its_certificate() {
    let api = Api::start().await;
    let made = make(&api).await;
    // As `kubectl certificate approve` does.
    let (status, after) = put(&api, "/approval", with(made.clone(), json!([approved()]))).await;
    assert_eq!(status, StatusCode::OK, "{after}");
    let condition = &after["status"]["conditions"][0];
    assert_eq!((&condition["type"], &condition["reason"]), (&json!("Approved"), &json!("KubectlApprove")));
    for time in ["lastUpdateTime", "lastTransitionTime"] {
        assert!(condition[time].is_string(), "{time}: {condition}");
    }
    let (_, table) = api.ask("GET", PATH, TABLE, Value::Null).await;
    assert_eq!(table["rows"][0]["cells"][5], "Approved");
    let denied = json!({"type": "Denied", "status": "True"});
    let both = with(after.clone(), json!([condition, denied]));
    let why = refused(&api, "/approval", both).await;
    assert!(why.contains("status.conditions[1].type: Invalid value: \"Denied\": Approved and Denied"), "{why}");
    let why = refused(&api, "/approval", with(after.clone(), json!([]))).await;
    assert!(why.ends_with("status.conditions: Forbidden: updates may not remove a condition of type \"Approved\""));
    let mut issued = after.clone();
    issued["status"]["certificate"] = json!("LS0t");
    let (status, refuses) = put(&api, "/approval", issued.clone()).await;
    assert_eq!((status, &refuses["status"]["certificate"]), (StatusCode::OK, &Value::Null));
    issued["metadata"]["resourceVersion"] = Value::Null;
    let (_, issued) = put(&api, "/status", issued).await;
    assert_eq!(issued["status"]["certificate"], "LS0t");
    let mut again = issued.clone();
    again["status"]["certificate"] = json!("b3RoZXI=");
    let why = refused(&api, "/status", again).await;
    assert!(why.ends_with("status.certificate: Forbidden: updates may not modify existing certificate content"));
}

#[tokio::test]
async fn the_status_does_not_approve_what_it_is_the_status_of() {
    let api = Api::start().await;
    let made = make(&api).await;
    let why = refused(&api, "/status", with(made.clone(), json!([approved()]))).await;
    assert!(
        why.ends_with("status.conditions: Forbidden: updates may not add a condition of type \"Approved\""),
        "{why}"
    );
    let why = refused(&api, "/approval", with(made.clone(), json!([{"type": "Denied", "status": "False"}]))).await;
    assert!(why.ends_with("status.conditions[0].status: Unsupported value: \"False\": supported values: \"True\""));
    let change = json!({"status": {"conditions": [{"type": "Denied", "status": "True"}]}});
    let (status, _) = api.ask("PATCH", &format!("{PATH}/one/approval"), MERGE, change).await;
    assert_eq!(status, StatusCode::OK);
    // What the status says of the approval is what the approval said.
    let failed = json!([{"type": "Denied", "status": "True", "reason": "Mine"}, {"type": "Failed", "status": "True"}]);
    let (status, after) = put(&api, "/status", with(made, failed.clone())).await;
    assert_eq!(status, StatusCode::CONFLICT, "it was made from an older version: {after}");
    let (_, now) = api.get(&format!("{PATH}/one")).await;
    let (status, after) = put(&api, "/status", with(now, failed)).await;
    assert_eq!(status, StatusCode::OK, "{after}");
    assert_eq!(after["status"]["conditions"][0]["reason"], Value::Null);
    assert_eq!(after["status"]["conditions"][1]["type"], "Failed");
}

#[tokio::test]
async fn discovery_and_the_documents_have_the_approval() {
    let api = Api::start().await;
    let (_, list) = api.get("/apis/certificates.k8s.io/v1").await;
    let found =
        list["resources"].as_array().unwrap().iter().find(|one| one["name"] == "certificatesigningrequests/approval");
    assert_eq!(found.unwrap()["verbs"], json!(["get", "patch", "update"]));
    let (_, document) = api.get("/openapi/v2").await;
    assert!(document["paths"][format!("{PATH}/{{name}}/approval")]["put"].is_object());
}
