//! Watches: what they tell, from where, and in which order.

use serde_json::{Value, json};

use crate::world::World;

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

fn map(name: &str, label: &str) -> Value {
    json!({"metadata": {"name": name, "labels": {"watch": label}}, "data": {"n": "0"}})
}

fn version(object: &Value) -> String {
    object["metadata"]["resourceVersion"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn each_watcher_sees_the_changes_of_what_it_selects_and_no_other() {
    let world = World::new().await;
    let mut one = world.watch(MAPS, "labelSelector=watch%3Da").await;
    let mut other = world.watch(MAPS, "labelSelector=watch%3Db").await;
    let mut both = world.watch(MAPS, "labelSelector=watch%20in%20(a,b)").await;
    world.make(MAPS, map("first", "a")).await;
    world.patch(&format!("{MAPS}/first"), json!({"data": {"n": "1"}})).await;
    world.make(MAPS, map("second", "b")).await;
    world.delete(&format!("{MAPS}/first"), Value::Null).await;
    world.delete(&format!("{MAPS}/second"), Value::Null).await;
    for expected in ["ADDED first", "MODIFIED first", "DELETED first"] {
        assert_eq!(one.brief().await, expected);
    }
    for expected in ["ADDED second", "DELETED second"] {
        assert_eq!(other.brief().await, expected);
    }
    for expected in ["ADDED first", "MODIFIED first", "ADDED second", "DELETED first", "DELETED second"] {
        assert_eq!(both.brief().await, expected);
    }
}

#[tokio::test]
async fn a_watch_begins_at_the_version_it_is_given() {
    let world = World::new().await;
    world.make(MAPS, map("a", "x")).await;
    let first = world.patch(&format!("{MAPS}/a"), json!({"data": {"n": "1"}})).await;
    world.patch(&format!("{MAPS}/a"), json!({"data": {"n": "2"}})).await;
    world.delete(&format!("{MAPS}/a"), Value::Null).await;
    let mut later = world.watch(MAPS, &format!("labelSelector=watch%3Dx&resourceVersion={}", version(&first))).await;
    let event = later.next().await;
    assert_eq!((&event["type"], &event["object"]["data"]["n"]), (&json!("MODIFIED"), &json!("2")));
    assert_eq!(later.brief().await, "DELETED a");
}

#[tokio::test]
async fn a_watch_that_ended_is_taken_up_where_it_stopped() {
    let world = World::new().await;
    let mut first = world.watch(MAPS, "labelSelector=watch%3Dx").await;
    world.make(MAPS, map("a", "x")).await;
    let seen = first.next().await;
    drop(first);
    world.patch(&format!("{MAPS}/a"), json!({"data": {"n": "1"}})).await;
    world.delete(&format!("{MAPS}/a"), Value::Null).await;
    let query = format!("labelSelector=watch%3Dx&resourceVersion={}", version(&seen["object"]));
    let mut second = world.watch(MAPS, &query).await;
    assert_eq!(second.brief().await, "MODIFIED a");
    assert_eq!(second.brief().await, "DELETED a");
}

#[tokio::test]
async fn an_object_that_leaves_the_selection_is_deleted_and_comes_back_as_new() {
    let world = World::new().await;
    let mut watch = world.watch(MAPS, "labelSelector=watch%3Dx").await;
    world.make(MAPS, map("a", "x")).await;
    world.patch(&format!("{MAPS}/a"), json!({"metadata": {"labels": {"watch": "y"}}})).await;
    world.patch(&format!("{MAPS}/a"), json!({"data": {"n": "unseen"}})).await;
    world.patch(&format!("{MAPS}/a"), json!({"metadata": {"labels": {"watch": "x"}}})).await;
    world.delete(&format!("{MAPS}/a"), Value::Null).await;
    for expected in ["ADDED a", "DELETED a", "ADDED a", "DELETED a"] {
        assert_eq!(watch.brief().await, expected);
    }
}

#[tokio::test]
async fn watches_of_the_same_objects_tell_the_same_in_the_same_order() {
    let world = World::new().await;
    let selected = "labelSelector=watch%3Dx";
    let mut first = world.watch(MAPS, selected).await;
    for number in 0..20 {
        world.make(MAPS, map(&format!("m{number}"), "x")).await;
        world.patch(&format!("{MAPS}/m{number}"), json!({"data": {"n": "1"}})).await;
        if number % 3 == 0 {
            world.delete(&format!("{MAPS}/m{number}"), Value::Null).await;
        }
    }
    let mut told = Vec::new();
    for _ in 0..47 {
        told.push(version(&first.next().await["object"]));
    }
    for (index, from) in told.iter().enumerate().step_by(5) {
        let mut other = world.watch(MAPS, &format!("{selected}&resourceVersion={from}")).await;
        for expected in told.iter().skip(index + 1) {
            assert_eq!(version(&other.next().await["object"]), *expected);
        }
    }
}
