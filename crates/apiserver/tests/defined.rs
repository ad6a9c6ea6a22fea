//! What operators do with definitions and their objects: apply the one with others, report on the other, scale it, and read it in a
//! version that is going.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed step of a test is its failure")]

#[path = "support/api.rs"]
mod api;

use api::Api;
use futures::{AsyncBufReadExt, TryStreamExt};
use http::{Request, StatusCode};
use serde_json::{Value, json};

const JSON: (&str, &str) = ("content-type", "application/json");
const MERGE: (&str, &str) = ("content-type", "application/merge-patch+json");
const APPLY: (&str, &str) = ("content-type", "application/apply-patch+yaml");
const TABLE: (&str, &str) = ("accept", "application/json;as=Table;v=v1;g=meta.k8s.io");

const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
const OWN: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/boats.sea.example.com";
const BOATS: &str = "/apis/sea.example.com/v1/namespaces/default/boats";
const OLDER: &str = "/apis/sea.example.com/v1beta1/namespaces/default/boats";

/// As code generators write definitions of kinds with conditions.
fn definition() -> Value {
    let condition = json!({"type": "object", "required": ["reason", "status", "type"], "properties": {
        "type": {"type": "string"}, "status": {"type": "string", "enum": ["True", "False", "Unknown"]},
        "reason": {"type": "string", "minLength": 1, "pattern": "^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$"}}});
    let status = json!({"type": "object", "properties": {
        "replicas": {"type": "integer"}, "selector": {"type": "string"}, "depth": {"type": "integer", "maximum": 10},
        "conditions": {"type": "array", "items": condition, "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]}}});
    let spec = json!({"type": "object", "properties": {
        "replicas": {"type": "integer"}, "flag": {"type": "string"},
        "crew": {"type": "array", "items": {"type": "string"}},
        "labels": {"type": "object", "additionalProperties": {"type": "string"}},
        "extra": {"type": "object", "additionalProperties": true},
        "template": {"type": "object", "x-kubernetes-embedded-resource": true,
            "properties": {"spec": {"type": "object", "properties": {"size": {"type": "integer"}}}}}}});
    let schema = json!({"openAPIV3Schema": {"type": "object", "properties": {"spec": spec, "status": status}}});
    let version = |name: &str, is_new: bool| {
        json!({"name": name, "served": true, "storage": is_new, "deprecated": !is_new, "schema": schema,
            "selectableFields": [{"jsonPath": ".spec.flag"}],
            "additionalPrinterColumns": [{"name": "Flag", "type": "string", "jsonPath": ".spec.flag"}],
            "subresources": {"status": {}, "scale": {"specReplicasPath": ".spec.replicas",
                "statusReplicasPath": ".status.replicas", "labelSelectorPath": ".status.selector"}}})
    };
    json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": "boats.sea.example.com"},
        "spec": {"group": "sea.example.com", "scope": "Namespaced",
            "names": {"plural": "boats", "singular": "boat", "kind": "Boat", "listKind": "Fleet"},
            "versions": [version("v1", true), version("v1beta1", false)]}})
}

fn boat(name: &str, spec: Value) -> Value {
    json!({"apiVersion": "sea.example.com/v1", "kind": "Boat", "metadata": {"name": name}, "spec": spec})
}

/// With the definition, and a boat called `a`.
async fn start() -> Api {
    let api = Api::start().await;
    let (status, said) = api.ask("POST", DEFINITIONS, &[JSON], definition()).await;
    assert_eq!(status, StatusCode::CREATED, "{said}");
    let (status, said) = api.ask("POST", BOATS, &[JSON], boat("a", json!({"replicas": 1}))).await;
    assert_eq!(status, StatusCode::CREATED, "{said}");
    api
}

async fn report(api: &Api, status: Value) -> (StatusCode, Value) {
    api.ask("PATCH", &format!("{BOATS}/a/status"), &[MERGE], json!({"status": status})).await
}

fn message(answer: &(StatusCode, Value)) -> &str {
    answer.1["message"].as_str().unwrap_or_default()
}

#[tokio::test]
async fn a_definition_is_applied_by_several_whatever_its_schemas_say() {
    let api = Api::start().await;
    let mut open = definition();
    for version in open["spec"]["versions"].as_array_mut().unwrap() {
        version["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["only"] =
            json!({"type": "object", "additionalProperties": false});
    }
    for manager in ["one", "two"] {
        let path = format!("{OWN}?fieldManager={manager}&fieldValidation=Strict");
        let (status, said) = api.ask("PATCH", &path, &[APPLY], open.clone()).await;
        assert!(status.is_success(), "{manager}: {said}");
        let properties = said.pointer("/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties").unwrap();
        assert_eq!(properties["crew"]["items"], json!({"type": "string"}));
        assert_eq!(properties["labels"]["additionalProperties"], json!({"type": "string"}));
        assert_eq!(properties["extra"]["additionalProperties"], true);
        assert_eq!(properties["only"]["additionalProperties"], false);
    }
    let kept = boat("a", json!({"extra": {"any": [1]}, "labels": {"a": "b"}, "crew": ["x"]}));
    let (status, made) = api.ask("POST", BOATS, &[JSON], kept.clone()).await;
    assert_eq!((status, &made["spec"]), (StatusCode::CREATED, &kept["spec"]));
    let wrong = boat("b", json!({"labels": {"a": 1}}));
    assert_eq!(api.ask("POST", BOATS, &[JSON], wrong).await.0, StatusCode::UNPROCESSABLE_ENTITY);
}

#[tokio::test]
async fn conditions_give_reasons_and_a_wrong_one_is_told_the_pattern_as_it_was_written() {
    let api = start().await;
    let with = |reason: &str| json!({"conditions": [{"type": "Ready", "status": "True", "reason": reason}]});
    for reason in ["Ready", "R", "Not_Ready,yet:9"] {
        let answer = report(&api, with(reason)).await;
        assert_eq!(answer.0, StatusCode::OK, "{}", message(&answer));
    }
    let refused = report(&api, with("Not ready")).await;
    let why = "status.conditions[0].reason: Invalid value: \"Not ready\": conditions[0].reason in body should match '^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$'";
    assert!(message(&refused).ends_with(why), "{}", message(&refused));
}

#[tokio::test]
async fn who_reports_is_asked_for_the_status_alone() {
    let api = start().await;
    let (_, mut next) = api.get(OWN).await;
    for version in next["spec"]["versions"].as_array_mut().unwrap() {
        let schema = &mut version["schema"]["openAPIV3Schema"];
        schema["required"] = json!(["home"]);
        schema["properties"]["home"] = json!({"type": "string"});
        schema["properties"]["spec"]["required"] = json!(["flag"]);
    }
    assert_eq!(api.ask("PUT", OWN, &[JSON], next).await.0, StatusCode::OK);
    // What is missing of the rest by now is not the reporter's to mend.
    let answer = report(&api, json!({"depth": 3})).await;
    assert_eq!((answer.0, &answer.1["status"]["depth"]), (StatusCode::OK, &json!(3)), "{}", message(&answer));
    let refused = report(&api, json!({"depth": 15})).await;
    let why = "status.depth: Invalid value: 15: depth in body should be less than or equal to 10";
    assert!(message(&refused).ends_with(why), "{}", message(&refused));
    let refused = report(&api, json!("calm")).await;
    assert!(message(&refused).contains("status: Invalid value"), "{}", message(&refused));
    let label = json!({"metadata": {"labels": {"a": "b"}}});
    let refused = api.ask("PATCH", &format!("{BOATS}/a"), &[MERGE], label).await;
    assert!(message(&refused).contains("home: Required value"), "{}", message(&refused));
}

#[tokio::test]
async fn replicas_are_numbers_that_a_scale_can_show() {
    let api = start().await;
    for (replicas, why) in [
        (json!(-1), "-1: should be a non-negative integer"),
        (json!(3_000_000_000_i64), "3000000000: should be less than or equal to 2147483647"),
    ] {
        let made = api.ask("POST", BOATS, &[JSON], boat("b", json!({"replicas": replicas}))).await;
        assert_eq!(made.0, StatusCode::UNPROCESSABLE_ENTITY, "{}", made.1);
        assert!(message(&made).ends_with(&format!(".spec.replicas: Invalid value: {why}")), "{}", message(&made));
        let path = format!("{BOATS}/a");
        let changed = api.ask("PATCH", &path, &[MERGE], json!({"spec": {"replicas": replicas}})).await;
        assert!(message(&changed).ends_with(why), "{}", message(&changed));
        let reported = report(&api, json!({"replicas": replicas})).await;
        assert!(message(&reported).ends_with(why), "{}", message(&reported));
    }
    // Where the schema lets anything pass, the scale does not.
    let anything = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    let mut next = api.get(OWN).await.1;
    for version in next["spec"]["versions"].as_array_mut().unwrap() {
        version["schema"]["openAPIV3Schema"]["properties"]["status"] = anything.clone();
    }
    assert_eq!(api.ask("PUT", OWN, &[JSON], next).await.0, StatusCode::OK);
    let refused = report(&api, json!({"replicas": "two"})).await;
    let why = ".status.replicas: Invalid value: 0: .status.replicas accessor error: two is of the type string, expected int64";
    assert!(message(&refused).ends_with(why), "{}", message(&refused));
    let refused = report(&api, json!({"selector": {"a": 1}})).await;
    let why = ".status.selector: Invalid value: \"\": .status.selector accessor error: map[a:1] is of the type map[string]interface {}, expected string";
    assert!(message(&refused).ends_with(why), "{}", message(&refused));
    assert_eq!(report(&api, json!({"replicas": 2, "selector": "a=b"})).await.0, StatusCode::OK);
    let scale = api.get(&format!("{BOATS}/a/scale")).await.1;
    assert_eq!(scale["status"], json!({"replicas": 2, "selector": "a=b"}));
}

#[tokio::test]
async fn whoever_uses_a_deprecated_version_is_told_which_to_use() {
    let api = start().await;
    let one = format!("{OLDER}/a");
    let applied = json!({"apiVersion": "sea.example.com/v1beta1", "kind": "Boat", "metadata": {"name": "a"}, "spec": {"flag": "x"}});
    for (method, path, headers, body) in [
        ("GET", OLDER.to_owned(), None, Value::Null),
        ("GET", one.clone(), None, Value::Null),
        ("GET", format!("{one}/scale"), None, Value::Null),
        ("PATCH", format!("{one}?fieldManager=x"), Some(APPLY), applied),
        ("PATCH", one.clone(), Some(MERGE), json!({"spec": {"flag": "y"}})),
        ("DELETE", one.clone(), None, Value::Null),
    ] {
        let mut request = Request::builder().method(method).uri(&path);
        if let Some((name, value)) = headers {
            request = request.header(name, value);
        }
        let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        let answer = api.client.send(request.body(kube::client::Body::from(body)).unwrap()).await.unwrap();
        let told: Vec<_> = answer.headers().get_all("warning").iter().map(|text| text.to_str().unwrap()).collect();
        let wanted = "299 - \"sea.example.com/v1beta1 Boat is deprecated; use sea.example.com/v1 Boat\"";
        assert_eq!(told, [wanted], "{method} {path}");
    }
}

#[tokio::test]
async fn a_watch_of_a_version_that_is_served_no_more_ends() {
    let api = start().await;
    let version = api.get(OLDER).await.1["metadata"]["resourceVersion"].as_str().unwrap().to_owned();
    let path = format!("{OLDER}?watch=true&resourceVersion={version}");
    let request = Request::get(path).body(Vec::new()).unwrap();
    let mut watch = api.client.request_stream(request).await.unwrap().lines();
    let mut next = api.get(OWN).await.1;
    next["spec"]["versions"][1]["served"] = json!(false);
    assert_eq!(api.ask("PUT", OWN, &[JSON], next).await.0, StatusCode::OK);
    assert_eq!(api.get(OLDER).await.0, StatusCode::NOT_FOUND);
    assert_eq!(api.ask("POST", BOATS, &[JSON], boat("b", json!({}))).await.0, StatusCode::CREATED);
    assert_eq!(watch.try_next().await.unwrap(), None, "it went on in a version that nobody can ask for");
}

#[tokio::test]
async fn lists_and_tables_are_called_as_the_definition_says() {
    let api = start().await;
    assert_eq!(api.get(BOATS).await.1["kind"], "Fleet");
    let (_, table) = api.ask("GET", BOATS, &[TABLE], Value::Null).await;
    let about = "Custom resource definition column (in JSONPath format): .spec.flag";
    assert_eq!(table["columnDefinitions"][1]["description"], about);
    let (_, table) = api.ask("GET", OWN, &[TABLE], Value::Null).await;
    let columns: Vec<_> = table["columnDefinitions"].as_array().unwrap().iter().map(|column| &column["name"]).collect();
    assert_eq!(columns, ["Name", "Created At"]);
    let made = api.get(OWN).await.1["metadata"]["creationTimestamp"].take();
    assert_eq!(table["rows"][0]["cells"], json!(["boats.sea.example.com", made]));
}

#[tokio::test]
async fn what_is_published_says_what_can_be_selected_and_what_objects_within_have() {
    let api = Api::start().await;
    let mut definition = definition();
    for version in definition["spec"]["versions"].as_array_mut().unwrap() {
        version["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["odds"] =
            json!({"type": "array", "x-kubernetes-preserve-unknown-fields": true, "items": {"type": "object"}});
    }
    assert_eq!(api.ask("POST", DEFINITIONS, &[JSON], definition).await.0, StatusCode::CREATED);
    let (_, v3) = api.get("/openapi/v3/apis/sea.example.com/v1").await;
    let (_, v2) = api.get("/openapi/v2").await;
    for schemas in [&v3["components"]["schemas"], &v2["definitions"]] {
        let selectable = json!([{"fieldPath": "spec.flag"}]);
        for name in ["com.example.sea.v1.Boat", "com.example.sea.v1.BoatList"] {
            assert_eq!(schemas[name]["x-kubernetes-selectable-fields"], selectable, "{name}");
        }
        let template = &schemas["com.example.sea.v1.Boat"]["properties"]["spec"]["properties"]["template"];
        let fields: Vec<_> = template["properties"].as_object().unwrap().keys().collect();
        assert_eq!(fields, ["apiVersion", "kind", "metadata", "spec"]);
        assert_eq!(template["required"], json!(["kind", "apiVersion"]));
    }
    // Older clients cannot read a list of which they are not told what is in it, nor the document that has one.
    let odds = &v2["definitions"]["com.example.sea.v1.Boat"]["properties"]["spec"]["properties"]["odds"];
    assert_eq!(odds, &json!({"x-kubernetes-preserve-unknown-fields": true}));
}
