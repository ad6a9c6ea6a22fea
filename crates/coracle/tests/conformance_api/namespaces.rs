//! Namespaces: changes, status, finalizers, and what goes with them.

use http::StatusCode;
use serde_json::{Value, json};

use crate::world::World;

#[tokio::test]
async fn a_namespace_is_patched_and_updated() {
    let world = World::new().await;
    world.namespace("team").await;
    let patched = world.patch("/api/v1/namespaces/team", json!({"metadata": {"labels": {"a": "b"}}})).await;
    assert_eq!(patched["metadata"]["labels"]["a"], "b");
    let mut updated = world.found("/api/v1/namespaces/team").await;
    updated["metadata"]["labels"]["a"] = json!("c");
    assert_eq!(world.put("/api/v1/namespaces/team", &updated).await["metadata"]["labels"]["a"], "c");
}

#[tokio::test]
async fn the_status_of_a_namespace_changes_by_itself() {
    let world = World::new().await;
    world.namespace("team").await;
    let mut namespace = world.found("/api/v1/namespaces/team/status").await;
    assert_eq!(namespace["status"]["phase"], "Active");
    let condition = |by: &str| json!({"type": "StatusUpdate", "status": "True", "reason": by, "message": by, "lastTransitionTime": "2026-01-01T00:00:00Z"});
    let patched = world
        .patch(
            "/api/v1/namespaces/team/status",
            json!({"metadata": {"annotations": {"by": "patch"}}, "status": {"conditions": [condition("Patched")]}}),
        )
        .await;
    assert_eq!(patched["status"]["conditions"][0]["reason"], "Patched");
    namespace = patched;
    namespace["status"]["conditions"] = json!([condition("Updated")]);
    let updated = world.put("/api/v1/namespaces/team/status", &namespace).await;
    assert_eq!(updated["status"]["conditions"][0]["reason"], "Updated");
}

#[tokio::test]
async fn a_finalizer_of_a_namespace_comes_and_goes_by_finalize() {
    let world = World::new().await;
    world.namespace("team").await;
    let mut namespace = world.found("/api/v1/namespaces/team").await;
    namespace["spec"]["finalizers"] = json!(["kubernetes", "example.com/hold"]);
    let held = world.put("/api/v1/namespaces/team/finalize", &namespace).await;
    assert_eq!(held["spec"]["finalizers"], json!(["kubernetes", "example.com/hold"]));
    namespace = held;
    namespace["spec"]["finalizers"] = json!(["kubernetes"]);
    let free = world.put("/api/v1/namespaces/team/finalize", &namespace).await;
    assert_eq!(free["spec"]["finalizers"], json!(["kubernetes"]));
}

#[tokio::test]
async fn what_is_in_a_namespace_goes_with_it() {
    let world = World::new().await;
    world.namespace("team").await;
    let pod = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    world.make("/api/v1/namespaces/team/pods", pod).await;
    let service = json!({"metadata": {"name": "s"}, "spec": {"ports": [{"port": 80}]}});
    world.make("/api/v1/namespaces/team/services", service).await;
    assert_eq!(world.delete("/api/v1/namespaces/team", Value::Null).await.0, StatusCode::OK);
    world.until_gone("/api/v1/namespaces/team").await;
    world.namespace("team").await;
    for resource in ["pods", "services"] {
        let list = world.found(&format!("/api/v1/namespaces/team/{resource}")).await;
        assert_eq!(list["items"], json!([]), "{resource}");
    }
}

#[tokio::test]
async fn what_a_namespace_waits_for_is_said_in_its_conditions() {
    let world = World::new().await;
    world.namespace("team").await;
    let pod = json!({"metadata": {"name": "p", "finalizers": ["example.com/hold"]}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    world.make("/api/v1/namespaces/team/pods", pod).await;
    world.make("/api/v1/namespaces/team/configmaps", json!({"metadata": {"name": "c"}})).await;
    world.delete("/api/v1/namespaces/team", Value::Null).await;
    let condition = |namespace: &Value, name: &str| {
        let all = namespace["status"]["conditions"].as_array().cloned().unwrap_or_default();
        all.into_iter().find(|condition| condition["type"] == name).unwrap_or_default()
    };
    let waits = |_, namespace: &Value| condition(namespace, "NamespaceFinalizersRemaining")["status"] == "True";
    let namespace = world.until("/api/v1/namespaces/team", waits).await;
    assert_eq!(namespace["status"]["phase"], "Terminating");
    assert_eq!(
        condition(&namespace, "NamespaceContentRemaining")["message"],
        "Some resources are remaining: pods. has 1 resource instances"
    );
    assert_eq!(world.get("/api/v1/namespaces/team/configmaps/c").await.0, StatusCode::OK, "pods go first");
    world.patch("/api/v1/namespaces/team/pods/p", json!({"metadata": {"finalizers": null}})).await;
    world.until_gone("/api/v1/namespaces/team").await;
}
