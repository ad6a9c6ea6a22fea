//! CustomResourceDefinitions, and the objects of the kinds that they define.

use http::StatusCode;
use serde_json::{Value, json};

use crate::world::{World, names};

const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
const THINGS: &str = "/apis/example.com/v1/namespaces/default/things";

/// A definition of a kind of `example.com` with these versions.
fn definition(plural: &str, versions: Value) -> Value {
    let singular = plural.strip_suffix('s').unwrap();
    let kind: String =
        singular.chars().take(1).map(|c| c.to_ascii_uppercase()).chain(singular.chars().skip(1)).collect();
    json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("{plural}.example.com"), "labels": {"set": "a"}},
        "spec": {"group": "example.com", "scope": "Namespaced", "versions": versions,
            "names": {"plural": plural, "singular": singular, "kind": kind, "listKind": format!("{kind}List")}}})
}

fn version(name: &str, storage: bool, schema: Value) -> Value {
    json!({"name": name, "served": true, "storage": storage, "schema": {"openAPIV3Schema": schema}})
}

/// A schema with `spec.size`, a number, and `spec.colour`, a text.
fn sized() -> Value {
    json!({"type": "object", "properties": {"spec": {"type": "object", "description": "What is wanted.",
        "required": ["size"], "properties": {"size": {"type": "integer"}, "colour": {"type": "string"}}}}})
}

/// Makes a definition and waits until its kind is served.
async fn define(world: &World, definition: Value) -> String {
    let name = definition["metadata"]["name"].as_str().unwrap().to_owned();
    world.make(DEFINITIONS, definition).await;
    established(world, &name).await;
    name
}

async fn established(world: &World, name: &str) {
    let is = |_, crd: &Value| {
        let conditions = crd["status"]["conditions"].as_array();
        conditions.into_iter().flatten().any(|c| c["type"] == "Established" && c["status"] == "True")
    };
    world.until(&format!("{DEFINITIONS}/{name}"), is).await;
}

#[tokio::test]
async fn definitions_are_in_discovery() {
    let world = World::new().await;
    let groups = world.found("/apis").await;
    assert!(groups["groups"].as_array().unwrap().iter().any(|group| group["name"] == "apiextensions.k8s.io"));
    assert_eq!(world.found("/apis/apiextensions.k8s.io").await["preferredVersion"]["version"], "v1");
    let list = world.found("/apis/apiextensions.k8s.io/v1").await;
    assert!(list["resources"].as_array().unwrap().iter().any(|one| one["name"] == "customresourcedefinitions"));
}

#[tokio::test]
async fn a_definition_is_discovered_in_both_forms() {
    let world = World::new().await;
    define(&world, definition("things", json!([version("v1", true, sized())]))).await;
    let list = world.found("/apis/example.com/v1").await;
    assert_eq!(list["resources"][0]["name"], "things");
    for of in ["v2", "v2beta1"] {
        let accept = format!("application/json;g=apidiscovery.k8s.io;v={of};as=APIGroupDiscoveryList");
        let (_, all) = world.ask("GET", "/apis", &[("accept", &accept)], &Value::Null).await;
        let group =
            all["items"].as_array().unwrap().iter().find(|group| group["metadata"]["name"] == "example.com").unwrap();
        assert_eq!(group["versions"][0]["resources"][0]["resource"], "things");
        assert_eq!(group["versions"][0]["resources"][0]["responseKind"]["kind"], "Thing");
    }
}

#[tokio::test]
async fn definitions_are_made_listed_and_deleted_together() {
    let world = World::new().await;
    for plural in ["things", "items", "parts"] {
        define(&world, definition(plural, json!([version("v1", true, sized())]))).await;
    }
    let selected = format!("{DEFINITIONS}?labelSelector=set%3Da");
    assert_eq!(names(&world.found(&selected).await).len(), 3);
    let (status, _) = world.delete(&format!("{DEFINITIONS}/parts.example.com"), Value::Null).await;
    assert_eq!(status, StatusCode::OK);
    world.until_gone(&format!("{DEFINITIONS}/parts.example.com")).await;
    world.delete(&selected, Value::Null).await;
    for plural in ["things", "items"] {
        world.until_gone(&format!("{DEFINITIONS}/{plural}.example.com")).await;
    }
    assert_eq!(world.get(THINGS).await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn the_status_of_a_definition_changes_by_itself() {
    let world = World::new().await;
    let name = define(&world, definition("things", json!([version("v1", true, sized())]))).await;
    let at = format!("{DEFINITIONS}/{name}/status");
    let mut own = world.found(&at).await;
    let condition = |by: &str| json!({"type": "StatusUpdate", "status": "True", "reason": by, "message": "set", "lastTransitionTime": "2026-01-01T00:00:00Z"});
    own["status"]["conditions"].as_array_mut().unwrap().push(condition("Updated"));
    let updated = world.put(&at, &own).await;
    assert!(updated["status"]["conditions"].to_string().contains("Updated"));
    let patched = world.patch(&at, json!({"metadata": {"annotations": {"by": "patch"}}})).await;
    assert!(patched["status"]["conditions"].to_string().contains("Updated"));
}

#[tokio::test]
async fn definitions_and_their_objects_are_watched() {
    let world = World::new().await;
    let mut definitions = world.watch(DEFINITIONS, "fieldSelector=metadata.name%3Dthings.example.com").await;
    define(&world, definition("things", json!([version("v1", true, sized())]))).await;
    assert_eq!(definitions.brief().await, "ADDED things.example.com");
    let mut things = world.watch(THINGS, "").await;
    world
        .make(
            THINGS,
            json!({"apiVersion": "example.com/v1", "kind": "Thing", "metadata": {"name": "a"}, "spec": {"size": 1}}),
        )
        .await;
    assert_eq!(things.brief().await, "ADDED a");
    world.patch(&format!("{THINGS}/a"), json!({"spec": {"size": 2}})).await;
    assert_eq!(things.brief().await, "MODIFIED a");
    world.delete(&format!("{THINGS}/a"), Value::Null).await;
    assert_eq!(things.brief().await, "DELETED a");
}

#[tokio::test]
async fn defaults_are_filled_in_when_written_and_when_read() {
    let world = World::new().await;
    let schema = |defaults: Value| {
        let mut properties = json!({"a": {"type": "string"}, "b": {"type": "string"}});
        for (name, value) in defaults.as_object().unwrap() {
            properties[name]["default"] = value.clone();
        }
        json!({"type": "object", "properties": properties})
    };
    let name = define(&world, definition("things", json!([version("v1", true, schema(json!({})))]))).await;
    let thing = |name: &str| json!({"apiVersion": "example.com/v1", "kind": "Thing", "metadata": {"name": name}});
    assert_eq!(world.make(THINGS, thing("first")).await.get("a"), None);
    let change = |defaults: Value| json!({"spec": {"versions": [version("v1", true, schema(defaults))]}});
    world.patch(&format!("{DEFINITIONS}/{name}"), change(json!({"a": "A"}))).await;
    world.until(&format!("{THINGS}/first"), |_, thing| thing["a"] == "A").await;
    assert_eq!(world.make(THINGS, thing("second")).await["a"], "A");
    world.patch(&format!("{DEFINITIONS}/{name}"), change(json!({"b": "B"}))).await;
    let second = world.until(&format!("{THINGS}/second"), |_, thing| thing["b"] == "B").await;
    assert_eq!(second["a"], "A", "what was written stays");
}

/// The document of version 3 of a group and version of `example.com`.
async fn published(world: &World, version: &str) -> Option<Value> {
    let index = world.found("/openapi/v3").await;
    let url = index["paths"].get(format!("apis/example.com/{version}"))?["serverRelativeURL"].as_str()?.to_owned();
    Some(world.found(&url).await)
}

#[tokio::test]
async fn schemas_are_published_for_each_served_version() {
    let world = World::new().await;
    let versions = |names: &[(&str, bool)]| {
        let all = names.iter().enumerate().map(|(index, (name, served))| {
            let mut one = version(name, index == 0, sized());
            one["served"] = json!(served);
            one
        });
        json!(all.collect::<Vec<_>>())
    };
    let name = define(&world, definition("things", versions(&[("v1", true), ("v2", true)]))).await;
    define(&world, definition("items", versions(&[("v1", true)]))).await;
    let first = published(&world, "v1").await.unwrap().to_string();
    assert!(first.contains("\"Thing\"") && first.contains("\"Item\"") && first.contains("What is wanted."));
    assert!(published(&world, "v2").await.unwrap().to_string().contains("\"Thing\""));
    let older = world.found("/openapi/v2").await.to_string();
    assert!(older.contains("What is wanted.") && older.contains("/apis/example.com/v2/namespaces/{namespace}/things"));
    world
        .patch(
            &format!("{DEFINITIONS}/{name}"),
            json!({"spec": {"versions": versions(&[("v1", true), ("v2", false)])}}),
        )
        .await;
    established(&world, &name).await;
    assert_eq!(published(&world, "v2").await, None, "what is not served is not published");
    world
        .patch(&format!("{DEFINITIONS}/{name}"), json!({"spec": {"versions": versions(&[("v1", true), ("v3", true)])}}))
        .await;
    established(&world, &name).await;
    assert!(published(&world, "v3").await.is_some());
    assert!(!world.found("/openapi/v2").await.to_string().contains("/apis/example.com/v2/"));
}

async fn applied(world: &World, body: &str, query: &str) -> (StatusCode, Value) {
    let (status, _, bytes) = world
        .raw("POST", &format!("{THINGS}?{query}"), &[("content-type", "application/json")], body.as_bytes().to_vec())
        .await;
    (status, serde_json::from_slice(&bytes).unwrap())
}

const STRICT: &str = "fieldValidation=Strict";

fn thing(metadata: &str, spec: &str) -> String {
    format!(
        r#"{{"apiVersion": "example.com/v1", "kind": "Thing", "metadata": {{"name": "a"{metadata}}}, "spec": {{{spec}}}}}"#
    )
}

#[tokio::test]
async fn unknown_fields_are_kept_where_the_schema_says_so() {
    let world = World::new().await;
    let schema = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true,
        "properties": {"spec": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}});
    define(&world, definition("things", json!([version("v1", true, schema)]))).await;
    let (status, made) = applied(&world, &thing("", r#""anything": {"goes": [1]}"#), STRICT).await;
    assert_eq!((status, &made["spec"]["anything"]["goes"]), (StatusCode::CREATED, &json!([1])), "{made}");
    assert!(published(&world, "v1").await.unwrap().to_string().contains("x-kubernetes-preserve-unknown-fields"));
}

#[tokio::test]
async fn fields_of_custom_resources_are_validated() {
    let world = World::new().await;
    define(&world, definition("things", json!([version("v1", true, sized())]))).await;
    for (spec, said) in [
        (r#""size": 1, "none": 2"#, "unknown field \"spec.none\""),
        (r#""size": 1, "size": 2"#, "duplicate field \"spec.size\""),
        (r#""size": "x""#, "must be of type integer"),
        (r#""colour": "red""#, "Required value"),
    ] {
        let (status, failure) = applied(&world, &thing("", spec), STRICT).await;
        assert!(status.is_client_error(), "{spec}: {failure}");
        assert!(failure["message"].as_str().unwrap().contains(said), "{spec}: {failure}");
    }
    let (status, made) = applied(&world, &thing("", r#""size": 1, "colour": "red", "none": 2"#), "").await;
    assert_eq!((status, made["spec"].get("none")), (StatusCode::CREATED, None), "what is unknown is pruned");
}

#[tokio::test]
async fn unknown_metadata_is_found_in_the_root_and_in_objects_within() {
    let world = World::new().await;
    let schema = json!({"type": "object", "properties": {"spec": {"type": "object", "properties": {"template": {
        "type": "object", "x-kubernetes-embedded-resource": true, "x-kubernetes-preserve-unknown-fields": true,
        "properties": {"metadata": {"type": "object"}}}}}}});
    define(&world, definition("things", json!([version("v1", true, schema)]))).await;
    let template = r#""template": {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "unknownSub": 1}}"#;
    let body = thing(r#", "unknownMeta": 1"#, template);
    let (status, failure) = applied(&world, &body, STRICT).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{failure}");
    for said in ["unknown field \"metadata.unknownMeta\"", "unknown field \"spec.template.metadata.unknownSub\""] {
        assert!(failure["message"].as_str().unwrap().contains(said), "{failure}");
    }
    let (status, made) = applied(&world, &body, "fieldValidation=Ignore").await;
    assert_eq!((status, &made["spec"]["template"]["metadata"]), (StatusCode::CREATED, &json!({"name": "p"})), "{made}");
}
