//! What becomes of custom resources when what they belong to goes.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed step of a test is its failure")]

#[allow(dead_code, reason = "the conformance tests use all of it")]
#[path = "conformance_api/world.rs"]
mod world;

use http::StatusCode;
use serde_json::{Value, json};

use world::World;

const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
const THINGS: &str = "/apis/example.com/v1/namespaces/default/things";
const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const CERTIFICATES: &str = "/apis/cert-manager.io/v1/namespaces/default/certificates";

/// Defines the kind Thing.
async fn define(world: &World) {
    let schema = json!({"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}});
    let definition = json!({"metadata": {"name": "things.example.com"}, "spec": {"group": "example.com",
        "scope": "Namespaced", "names": {"plural": "things", "kind": "Thing"},
        "versions": [{"name": "v1", "served": true, "storage": true, "schema": schema}]}});
    world.make(DEFINITIONS, definition).await;
    let is = |_, definition: &Value| definition["status"]["conditions"].to_string().contains("Established");
    world.until(&format!("{DEFINITIONS}/things.example.com"), is).await;
}

fn thing(name: &str) -> Value {
    json!({"apiVersion": "example.com/v1", "kind": "Thing", "metadata": {"name": name}})
}

fn certificate(name: &str) -> Value {
    json!({"apiVersion": "cert-manager.io/v1", "kind": "Certificate", "metadata": {"name": name}})
}

fn map(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}})
}

/// The object, as one that another owns.
fn owned(mut object: Value, owner: &Value) -> Value {
    object["metadata"]["ownerReferences"] = json!([{"apiVersion": owner["apiVersion"], "kind": owner["kind"],
        "name": owner["metadata"]["name"], "uid": owner["metadata"]["uid"], "blockOwnerDeletion": true}]);
    object
}

#[tokio::test]
async fn what_a_custom_resource_owns_goes_with_it_and_it_goes_with_its_owner() {
    let world = World::new().await;
    define(&world).await;
    let first = world.make(MAPS, map("first")).await;
    let second = world.make(THINGS, owned(thing("second"), &first)).await;
    let third = world.make(CERTIFICATES, owned(certificate("third"), &second)).await;
    world.make(MAPS, owned(map("fourth"), &third)).await;
    world.delete(&format!("{MAPS}/first"), json!({"propagationPolicy": "Background"})).await;
    for gone in [format!("{THINGS}/second"), format!("{CERTIFICATES}/third"), format!("{MAPS}/fourth")] {
        world.until_gone(&gone).await;
    }
}

#[tokio::test]
async fn in_the_foreground_an_owner_waits_for_custom_resources_and_as_an_orphan_one_stays() {
    let world = World::new().await;
    define(&world).await;
    let first = world.make(MAPS, map("first")).await;
    let mut held = owned(thing("held"), &first);
    held["metadata"]["finalizers"] = json!(["example.com/hold"]);
    let held = world.make(THINGS, held).await;
    world.make(THINGS, owned(thing("orphan"), &held)).await;
    world.delete(&format!("{MAPS}/first"), json!({"propagationPolicy": "Foreground"})).await;
    let deleted = |_, thing: &Value| thing["metadata"]["deletionTimestamp"].is_string();
    world.until(&format!("{THINGS}/held"), deleted).await;
    assert_eq!(world.get(&format!("{MAPS}/first")).await.0, StatusCode::OK, "it waits for what it owns");
    world.until_gone(&format!("{THINGS}/orphan")).await;
    world.patch(&format!("{THINGS}/held"), json!({"metadata": {"finalizers": null}})).await;
    world.until_gone(&format!("{MAPS}/first")).await;

    let owner = world.make(THINGS, thing("owner")).await;
    world.make(THINGS, owned(thing("orphan"), &owner)).await;
    world.delete(&format!("{THINGS}/owner"), json!({"propagationPolicy": "Orphan"})).await;
    world.until_gone(&format!("{THINGS}/owner")).await;
    assert_eq!(world.found(&format!("{THINGS}/orphan")).await["metadata"].get("ownerReferences"), None);
}

#[tokio::test]
async fn what_the_objects_of_a_definition_own_goes_with_the_definition() {
    let world = World::new().await;
    define(&world).await;
    let thing = world.make(THINGS, thing("owner")).await;
    world.make(MAPS, owned(map("it"), &thing)).await;
    world.delete(&format!("{DEFINITIONS}/things.example.com"), Value::Null).await;
    world.until_gone(&format!("{MAPS}/it")).await;
    assert_eq!(world.get(THINGS).await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn custom_resources_go_with_their_namespace() {
    let world = World::new().await;
    world.namespace("team").await;
    define(&world).await;
    let things = THINGS.replace("default", "team");
    let certificates = CERTIFICATES.replace("default", "team");
    world.make(&things, thing("a")).await;
    world.make(&certificates, certificate("a")).await;
    world.delete("/api/v1/namespaces/team", Value::Null).await;
    world.until_gone("/api/v1/namespaces/team").await;
    world.namespace("team").await;
    for collection in [&things, &certificates] {
        assert_eq!(world.found(collection).await["items"], json!([]), "{collection}");
    }
}
