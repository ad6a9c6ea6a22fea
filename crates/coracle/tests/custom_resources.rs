//! Custom resources: what becomes of them when what they belong to goes, and how `coracle up`, `check` and `route` take them.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed step of a test is its failure")]

#[allow(dead_code, reason = "the conformance tests use all of it")]
#[path = "conformance_api/world.rs"]
mod world;

use std::{fs, path::Path, process::Command};

use http::StatusCode;
use serde_json::{Value, json};

use testkit::{Coracle, Kubectl, Settings};
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

const PROGRAM: &str = env!("CARGO_BIN_EXE_coracle");

/// An object of a kind, and after it the definition of the kind.
const MANIFESTS: &str = "
apiVersion: example.com/v1
kind: Thing
metadata: {name: one}
spec: {size: 1}
---
apiVersion: example.com/v1
kind: Place
metadata: {name: here}
---
apiVersion: cert-manager.io/v1
kind: Certificate
metadata: {name: web}
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: things.example.com}
spec:
  group: example.com
  scope: Namespaced
  names: {plural: things, singular: thing, kind: Thing}
  versions:
  - name: v1
    served: true
    storage: true
    schema: {openAPIV3Schema: {type: object, properties: {spec: {type: object, properties: {size: {type: integer}}}}}}
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: places.example.com}
spec:
  group: example.com
  scope: Cluster
  names: {plural: places, singular: place, kind: Place}
  versions:
  - {name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object}}}
";

/// Whether a command of Coracle succeeds with a file of manifests, and what it says.
fn coracle(command: &[&str], manifests: &str) -> (bool, String) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("all.yaml");
    fs::write(&file, manifests).unwrap();
    let output = Command::new(PROGRAM).args(command).arg("-f").arg(&file).output().unwrap();
    let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    (output.status.success(), said)
}

/// Starts, or starts again, with these manifests.
fn up(coracle: Option<Coracle>, file: &Path, manifests: &str) -> Coracle {
    fs::write(file, manifests).unwrap();
    let Some(mut coracle) = coracle else {
        let mut settings = Settings::new(PROGRAM);
        settings.arguments = vec!["-f".to_owned(), file.to_str().unwrap().to_owned()];
        return Coracle::start(settings).unwrap();
    };
    coracle.stop("TERM").unwrap();
    coracle.start_again().unwrap();
    coracle
}

#[test]
fn up_applies_definitions_before_their_objects_and_takes_objects_of_kinds_that_are_there() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("all.yaml");
    let coracle = up(None, &file, MANIFESTS);
    let said = coracle.transcript();
    for object in
        ["thing.example.com/one in default", "place.example.com/here", "certificate.cert-manager.io/web in default"]
    {
        assert!(said.contains(object), "{object}: {said}");
    }
    // The definition is there already: the object comes alone.
    let coracle = up(Some(coracle), &file, &MANIFESTS.split("---").next().unwrap().replace("size: 1", "size: 2"));
    assert!(coracle.transcript().contains("configured"), "{}", coracle.transcript());
    let Some(kubectl) = Kubectl::any(&coracle.kubeconfig()) else {
        return eprintln!("skipped: there is no kubectl on this machine");
    };
    assert_eq!(kubectl.run("get thing one -o jsonpath={.spec.size}").unwrap(), "2");
}

#[test]
fn check_knows_the_kinds_that_the_manifests_define() {
    let (fine, said) = coracle(&["check"], MANIFESTS);
    assert!(fine && said.contains("the controller of example.com"), "{said}");
    assert!(said.contains("Certificate (cert-manager.io) has no effect here"), "{said}");
    let (fine, said) = coracle(&["check"], &MANIFESTS.replace("size: 1", "size: big"));
    assert!(!fine && said.contains("Thing default/one: spec.size: "), "{said}");
    let (fine, said) = coracle(&["check"], MANIFESTS.split("---").next().unwrap());
    assert!(!fine && said.contains("it needs the CustomResourceDefinition that defines it"), "{said}");
}

#[test]
fn route_looks_past_custom_resources() {
    let dir = tempfile::tempdir().unwrap();
    let data_dir = dir.path().to_str().unwrap();
    let (fine, said) = coracle(&["route", "GET", "http://a.example/", "--data-dir", data_dir], MANIFESTS);
    assert!(fine, "{said}");
}
