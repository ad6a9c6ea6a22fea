//! Events, in both versions.

use http::StatusCode;
use serde_json::{Value, json};

use crate::world::{World, names};

fn core(name: &str) -> Value {
    json!({"metadata": {"name": name, "labels": {"set": "a"}}, "type": "Normal", "reason": "Test", "message": "it happened",
        "source": {"component": "tester"}, "firstTimestamp": "2026-01-01T00:00:00Z", "lastTimestamp": "2026-01-01T00:00:00Z",
        "count": 1, "involvedObject": {"kind": "Pod", "name": "p", "namespace": "default"}})
}

fn newer(name: &str) -> Value {
    json!({"metadata": {"name": name, "labels": {"set": "a"}}, "type": "Normal", "reason": "Test", "note": "it happened",
        "action": "Do", "eventTime": "2026-01-01T00:00:00.000000Z", "reportingController": "tester",
        "reportingInstance": "tester-1", "regarding": {"kind": "Pod", "name": "p", "namespace": "default"}})
}

fn series(count: u32) -> Value {
    json!({"count": count, "lastObservedTime": "2026-01-01T00:00:01.000000Z"})
}

/// Create, list, patch, update, delete; of an event of the newer version only the series changes.
async fn lives(path: &str, event: Value, patch: Value) {
    let world = World::new().await;
    world.make(path, event).await;
    let everywhere = path.replace("/namespaces/default", "");
    let list = world.found(&format!("{everywhere}?labelSelector=set%3Da")).await;
    assert_eq!(names(&list), ["one"]);
    let one = format!("{path}/one");
    let patched = world.patch(&one, patch.clone()).await;
    for (field, value) in patch.as_object().unwrap() {
        assert_eq!(&patched[field], value);
    }
    let mut updated = world.found(&one).await;
    updated["series"] = series(100);
    assert_eq!(world.put(&one, &updated).await["series"]["count"], 100);
    world.delete(&one, Value::Null).await;
    assert_eq!(world.get(&one).await.0, StatusCode::NOT_FOUND);
}

async fn go_together(path: &str, event: impl Fn(&str) -> Value) {
    let world = World::new().await;
    for name in ["one", "two", "three"] {
        world.make(path, event(name)).await;
    }
    let selected = format!("{path}?labelSelector=set%3Da");
    assert_eq!(names(&world.found(&selected).await).len(), 3);
    assert_eq!(world.delete(&selected, Value::Null).await.0, StatusCode::OK);
    assert_eq!(names(&world.found(&selected).await).len(), 0);
}

const CORE: &str = "/api/v1/namespaces/default/events";
const NEWER: &str = "/apis/events.k8s.io/v1/namespaces/default/events";

#[tokio::test]
async fn an_event_is_made_read_changed_and_deleted() {
    lives(CORE, core("one"), json!({"message": "it happened again"})).await;
}

#[tokio::test]
async fn events_are_deleted_together() {
    go_together(CORE, core).await;
}

#[tokio::test]
async fn an_event_of_the_newer_version_is_made_read_changed_and_deleted() {
    lives(NEWER, newer("one"), json!({"series": series(2)})).await;
}

#[tokio::test]
async fn events_of_the_newer_version_are_deleted_together() {
    go_together(NEWER, newer).await;
}
