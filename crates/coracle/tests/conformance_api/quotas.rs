//! ResourceQuotas as objects: nothing enforces them yet.

use http::StatusCode;
use serde_json::{Value, json};

use crate::world::{World, names};

const QUOTAS: &str = "/api/v1/namespaces/default/resourcequotas";

fn quota(name: &str) -> Value {
    json!({"metadata": {"name": name, "labels": {"set": "a"}}, "spec": {"hard": {"cpu": "1", "memory": "500Mi"}}})
}

#[tokio::test]
async fn a_quota_is_updated_patched_and_deleted() {
    let world = World::new().await;
    let mut made = world.make(QUOTAS, quota("q")).await;
    made["spec"]["hard"] = json!({"cpu": "2", "memory": "1Gi"});
    assert_eq!(world.put(&format!("{QUOTAS}/q"), &made).await["spec"]["hard"]["cpu"], "2");
    let patched = world.patch(&format!("{QUOTAS}/q"), json!({"spec": {"hard": {"cpu": "3"}}})).await;
    assert_eq!(patched["spec"]["hard"], json!({"cpu": "3", "memory": "1Gi"}));
    assert_eq!(names(&world.found("/api/v1/resourcequotas?labelSelector=set%3Da").await), ["q"]);
    world.delete(&format!("{QUOTAS}?labelSelector=set%3Da"), Value::Null).await;
    assert_eq!(world.get(&format!("{QUOTAS}/q")).await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn the_status_of_a_quota_changes_by_itself() {
    let world = World::new().await;
    world.make(QUOTAS, quota("q")).await;
    let at = format!("{QUOTAS}/q/status");
    let hard = json!({"cpu": "1", "memory": "500Mi"});
    let mut own = world.found(&at).await;
    own["status"]["hard"] = hard.clone();
    own["spec"]["hard"]["cpu"] = json!("9");
    let updated = world.put(&at, &own).await;
    assert_eq!((&updated["status"]["hard"], &updated["spec"]["hard"]), (&hard, &hard), "the spec is another resource");
    let patched = world.patch(&at, json!({"status": {"hard": {"cpu": "2"}}, "spec": {"hard": {"cpu": "2"}}})).await;
    assert_eq!((&patched["status"]["hard"]["cpu"], &patched["spec"]["hard"]["cpu"]), (&json!("2"), &json!("1")));
}
