//! ReplicationControllers: they keep a number of pods, and what becomes of the pods when they go.

use http::StatusCode;
use serde_json::{Value, json};

use crate::world::{World, names};

const CONTROLLERS: &str = "/api/v1/namespaces/default/replicationcontrollers";
const PODS: &str = "/api/v1/namespaces/default/pods";

async fn with_controller() -> (World, Vec<String>) {
    let world = World::new().await;
    let template =
        json!({"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    world.make(CONTROLLERS, json!({"metadata": {"name": "web"}, "spec": {"replicas": 2, "template": template}})).await;
    let made = world.until(&format!("{CONTROLLERS}/web"), |_, of: &Value| of["status"]["replicas"] == 2).await;
    assert_eq!(made["status"]["fullyLabeledReplicas"], 2);
    let pods = names(&world.found(PODS).await).into_iter().map(str::to_owned).collect();
    (world, pods)
}

#[tokio::test]
async fn its_pods_go_after_it() {
    let (world, pods) = with_controller().await;
    world.delete(&format!("{CONTROLLERS}/web"), json!({"propagationPolicy": "Background"})).await;
    for pod in pods {
        world.until_gone(&format!("{PODS}/{pod}")).await;
    }
    assert_eq!(world.get(&format!("{CONTROLLERS}/web")).await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn in_the_foreground_it_stays_until_its_pods_are_gone() {
    let (world, pods) = with_controller().await;
    let held = format!("{PODS}/{}", pods[0]);
    world.patch(&held, json!({"metadata": {"finalizers": ["example.com/hold"]}})).await;
    world.delete(&format!("{CONTROLLERS}/web"), json!({"propagationPolicy": "Foreground"})).await;
    world.until_gone(&format!("{PODS}/{}", pods[1])).await;
    world.until(&held, |_, pod: &Value| pod["metadata"]["deletionTimestamp"].is_string()).await;
    let waits = world.found(&format!("{CONTROLLERS}/web")).await;
    assert_eq!(waits["metadata"]["finalizers"], json!(["foregroundDeletion"]));
    world.patch(&held, json!({"metadata": {"finalizers": null}})).await;
    world.until_gone(&format!("{CONTROLLERS}/web")).await;
}

#[tokio::test]
async fn its_orphans_stay_and_name_no_owner() {
    let (world, pods) = with_controller().await;
    world.delete(&format!("{CONTROLLERS}/web"), json!({"propagationPolicy": "Orphan"})).await;
    world.until_gone(&format!("{CONTROLLERS}/web")).await;
    for pod in pods {
        assert_eq!(world.found(&format!("{PODS}/{pod}")).await["metadata"].get("ownerReferences"), None);
    }
}

#[tokio::test]
async fn it_takes_pods_that_nobody_has_and_lets_go_of_those_that_change() {
    let world = World::new().await;
    let containers = json!([{"name": "c", "image": "i"}]);
    let labels = json!({"app": "web"});
    world
        .make(PODS, json!({"metadata": {"name": "stray", "labels": labels}, "spec": {"containers": containers}}))
        .await;
    let template = json!({"metadata": {"labels": labels}, "spec": {"containers": containers}});
    world.make(CONTROLLERS, json!({"metadata": {"name": "web"}, "spec": {"replicas": 1, "template": template}})).await;
    let owned = |_, pod: &Value| pod["metadata"]["ownerReferences"][0]["kind"] == "ReplicationController";
    world.until(&format!("{PODS}/stray"), owned).await;
    assert_eq!(names(&world.found(PODS).await), ["stray"], "it is the one that was wanted");
    world.patch(&format!("{PODS}/stray"), json!({"metadata": {"labels": {"app": "other"}}})).await;
    let free = |_, pod: &Value| pod["metadata"].get("ownerReferences").is_none();
    world.until(&format!("{PODS}/stray"), free).await;
    let mut changes = world.watch(PODS, "labelSelector=app%3Dweb").await;
    assert!(changes.brief().await.starts_with("ADDED web-"), "another takes its place");
}

#[tokio::test]
async fn it_is_made_patched_scaled_and_deleted() {
    let (world, _) = with_controller().await;
    let path = format!("{CONTROLLERS}/web");
    let patched = world.patch(&path, json!({"metadata": {"labels": {"a": "b"}}, "spec": {"replicas": 3}})).await;
    assert_eq!(
        (&patched["metadata"]["labels"]["app"], &patched["spec"]["selector"]["app"]),
        (&json!("web"), &json!("web"))
    );
    let status = json!({"status": {"readyReplicas": 0, "observedGeneration": 1}});
    world.patch(&format!("{path}/status"), status).await;
    world.until(&path, |_, of: &Value| of["status"]["replicas"] == 3 && of["status"]["observedGeneration"] == 2).await;
    let mut scale = world.found(&format!("{path}/scale")).await;
    assert_eq!((&scale["spec"]["replicas"], &scale["status"]["selector"]), (&json!(3), &json!("app=web")));
    scale["spec"]["replicas"] = json!(1);
    world.put(&format!("{path}/scale"), &scale).await;
    world.until(&path, |_, of: &Value| of["status"]["replicas"] == 1).await;
    assert_eq!(names(&world.found(&format!("{CONTROLLERS}?labelSelector=a%3Db")).await), ["web"]);
    world.delete(&format!("{CONTROLLERS}?labelSelector=a%3Db"), json!({"propagationPolicy": "Background"})).await;
    world.until_gone(&path).await;
}
