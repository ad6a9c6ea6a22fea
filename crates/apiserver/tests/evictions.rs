//! Evictions that say which pod they mean, and which version of it.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed step of a test is its failure")]

#[allow(dead_code, reason = "the other tests that share this file use the rest")]
#[path = "support/api.rs"]
mod api;

use api::Api;
use http::StatusCode;
use serde_json::{Value, json};

const PODS: &str = "/api/v1/namespaces/default/pods";
const MERGE: &[(&str, &str)] = &[("content-type", "application/merge-patch+json")];

/// A pod that runs.
async fn running(api: &Api, name: &str) -> Value {
    let spec = json!({"nodeName": "n", "containers": [{"name": "c", "image": "i"}]});
    api.ask("POST", PODS, &[], json!({"metadata": {"name": name, "labels": {"app": "a"}}, "spec": spec})).await;
    let (status, pod) =
        api.ask("PATCH", &format!("{PODS}/{name}/status"), MERGE, json!({"status": {"phase": "Running"}})).await;
    assert_eq!(status, StatusCode::OK, "{pod}");
    pod
}

async fn evict(api: &Api, name: &str, preconditions: Value) -> StatusCode {
    let eviction = json!({"metadata": {"name": name}, "deleteOptions": {"preconditions": preconditions}});
    api.ask("POST", &format!("{PODS}/{name}/eviction"), &[], eviction).await.0
}

#[tokio::test]
async fn an_eviction_of_another_pod_spends_no_budget_and_leaves_no_mark() {
    let api = Api::start().await;
    let pod = running(&api, "p").await;
    let budgets = "/apis/policy/v1/namespaces/default/poddisruptionbudgets";
    let budget =
        json!({"metadata": {"name": "b"}, "spec": {"maxUnavailable": 1, "selector": {"matchLabels": {"app": "a"}}}});
    api.ask("POST", budgets, &[], budget).await;
    let counted = json!({"status": {"observedGeneration": 1, "disruptionsAllowed": 1, "desiredHealthy": 0, "currentHealthy": 1, "expectedPods": 1}});
    let (_, budget) = api.ask("PATCH", &format!("{budgets}/b/status"), MERGE, counted).await;
    for meant in [json!({"uid": "another"}), json!({"resourceVersion": "1"})] {
        assert_eq!(evict(&api, "p", meant).await, StatusCode::CONFLICT);
    }
    assert_eq!(api.get(&format!("{budgets}/b")).await.1, budget);
    assert_eq!(api.get(&format!("{PODS}/p")).await.1, pod);
}

#[tokio::test]
async fn an_eviction_of_the_version_that_there_is_goes_through() {
    let api = Api::start().await;
    let pod = running(&api, "p").await;
    let meant = json!({"uid": pod["metadata"]["uid"], "resourceVersion": pod["metadata"]["resourceVersion"]});
    assert_eq!(evict(&api, "p", meant).await, StatusCode::CREATED);
    let (_, going) = api.get(&format!("{PODS}/p")).await;
    assert!(going["metadata"]["deletionTimestamp"].is_string(), "{going}");
    assert_eq!(going["status"]["conditions"][0]["type"], "DisruptionTarget");
}
