//! Kinds that definitions bring, over the wire: from the definition to its objects, through changes, a restart, and the end.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed step of a test is its failure")]

use std::path::Path;

use apiserver::{ApiServer, Options};
use futures::{AsyncBufReadExt, TryStreamExt};
use http::{Request, StatusCode};
use kube::Client;
use serde_json::{Value, json};

async fn open(dir: &Path) -> Client {
    let options = Options { data_dir: dir.to_owned(), service_cidr: "10.43.0.0/16".to_owned(), names: Vec::new() };
    ApiServer::open(options).await.unwrap().client("tester")
}

/// The status, the warnings and the JSON of an answer.
async fn ask(
    client: &Client,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: Value,
) -> (StatusCode, Vec<String>, Value) {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
    let answer = client.send(request.body(kube::client::Body::from(body)).unwrap()).await.unwrap();
    let warnings = answer.headers().get_all("warning").iter().map(|text| text.to_str().unwrap().to_owned()).collect();
    let status = answer.status();
    let bytes = answer.into_body().collect_bytes().await.unwrap();
    (status, warnings, serde_json::from_slice(&bytes).unwrap())
}

async fn get(client: &Client, path: &str) -> (StatusCode, Value) {
    let (status, _, json) = ask(client, "GET", path, &[], Value::Null).await;
    (status, json)
}

const JSON: (&str, &str) = ("content-type", "application/json");
const MERGE: (&str, &str) = ("content-type", "application/merge-patch+json");

async fn post(client: &Client, path: &str, body: Value) -> (StatusCode, Value) {
    let (status, _, json) = ask(client, "POST", path, &[JSON], body).await;
    (status, json)
}

async fn patch(client: &Client, path: &str, body: Value) -> (StatusCode, Value) {
    let (status, _, json) = ask(client, "PATCH", path, &[MERGE], body).await;
    (status, json)
}

const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
const TABS: &str = "/apis/stable.example.com/v1/namespaces/default/crontabs";

fn definition() -> Value {
    let spec = json!({"type": "object", "required": ["cronSpec"], "properties": {
        "cronSpec": {"type": "string", "pattern": "^(\\S+ ){4}\\S+$"}, "color": {"type": "string"},
        "replicas": {"type": "integer", "default": 1, "minimum": 0},
        "ports": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["port"],
            "items": {"type": "object", "required": ["port"], "properties": {"port": {"type": "integer"}, "name": {"type": "string"}}}}}});
    let status =
        json!({"type": "object", "properties": {"replicas": {"type": "integer"}, "selector": {"type": "string"}}});
    let schema = json!({"openAPIV3Schema": {"type": "object", "properties": {"spec": spec, "status": status}}});
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "crontabs.stable.example.com"},
        "spec": {
            "group": "stable.example.com", "scope": "Namespaced",
            "names": {"plural": "crontabs", "singular": "crontab", "kind": "CronTab", "shortNames": ["ct"]},
            "versions": [
                {"name": "v1", "served": true, "storage": true, "schema": schema.clone(),
                    "selectableFields": [{"jsonPath": ".spec.color"}],
                    "subresources": {"status": {}, "scale": {"specReplicasPath": ".spec.replicas",
                        "statusReplicasPath": ".status.replicas", "labelSelectorPath": ".status.selector"}},
                    "additionalPrinterColumns": [{"name": "Spec", "type": "string", "jsonPath": ".spec.cronSpec"},
                        {"name": "Replicas", "type": "integer", "jsonPath": ".spec.replicas", "priority": 1}]},
                {"name": "v1beta1", "served": true, "storage": false, "deprecated": true, "schema": schema},
            ]
        }
    })
}

fn tab(name: &str, color: &str) -> Value {
    json!({"apiVersion": "stable.example.com/v1", "kind": "CronTab", "metadata": {"name": name},
        "spec": {"cronSpec": "* * * * 5", "color": color}})
}

#[tokio::test]
async fn a_definition_is_served_as_soon_as_it_is_answered_and_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let client = open(dir.path()).await;
    assert_eq!(get(&client, TABS).await.0, StatusCode::NOT_FOUND);
    assert_eq!(post(&client, DEFINITIONS, definition()).await.0, StatusCode::CREATED);
    let (_, defined) = get(&client, &format!("{DEFINITIONS}/crontabs.stable.example.com")).await;
    let conditions: Vec<_> =
        defined["status"]["conditions"].as_array().unwrap().iter().map(|c| (&c["type"], &c["status"])).collect();
    assert_eq!(conditions, [(&json!("NamesAccepted"), &json!("True")), (&json!("Established"), &json!("True"))]);
    assert_eq!(defined["status"]["storedVersions"], json!(["v1"]));
    assert_eq!(defined["status"]["acceptedNames"]["listKind"], "CronTabList");
    assert_eq!(defined["spec"]["conversion"], json!({"strategy": "None"}));
    let (_, group) = get(&client, "/apis/stable.example.com").await;
    assert_eq!(group["preferredVersion"]["version"], "v1");
    let (_, resources) = get(&client, "/apis/stable.example.com/v1").await;
    let names: Vec<_> =
        resources["resources"].as_array().unwrap().iter().map(|r| r["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["crontabs", "crontabs/status", "crontabs/scale"]);
    let (_, made) = post(&client, TABS, tab("a", "blue")).await;
    assert_eq!((&made["spec"]["replicas"], &made["metadata"]["generation"]), (&json!(1), &json!(1)));
    drop(client);
    let options =
        Options { data_dir: dir.path().to_owned(), service_cidr: "10.43.0.0/16".to_owned(), names: Vec::new() };
    let again = loop {
        // The file is closed a moment after the last handle is gone.
        match ApiServer::open(options.clone()).await {
            Ok(server) => break server.client("tester"),
            Err(_) => tokio::task::yield_now().await,
        }
    };
    assert_eq!(get(&again, &format!("{TABS}/a")).await.1["spec"]["color"], "blue");
}

#[tokio::test]
async fn objects_are_pruned_defaulted_validated_and_selected() {
    let dir = tempfile::tempdir().unwrap();
    let client = open(dir.path()).await;
    post(&client, DEFINITIONS, definition()).await;
    let mut odd = tab("a", "blue");
    odd["spec"]["extra"] = json!(1);
    let strict = format!("{TABS}?fieldValidation=Strict");
    let (status, refused) = post(&client, &strict, odd.clone()).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(
        refused["message"].as_str().unwrap().ends_with("strict decoding error: unknown field \"spec.extra\""),
        "{refused}"
    );
    let (status, warnings, made) = ask(&client, "POST", TABS, &[JSON], odd).await;
    assert_eq!((status, made["spec"].get("extra")), (StatusCode::CREATED, None));
    assert_eq!(warnings, ["299 - \"unknown field \\\"spec.extra\\\"\""]);
    let mut wrong = tab("b", "red");
    wrong["spec"] = json!({"cronSpec": 5, "replicas": -1, "ports": [{"port": 1}, {"port": 1}]});
    let (status, refused) = post(&client, TABS, wrong).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    let causes = refused["details"]["causes"].as_array().unwrap();
    let fields: Vec<_> = causes.iter().map(|cause| cause["field"].as_str().unwrap()).collect();
    assert_eq!(fields, ["spec.cronSpec", "spec.replicas", "spec.ports[1]", ".spec.replicas"]);
    assert!(
        refused["message"].as_str().unwrap().starts_with("CronTab.stable.example.com \"b\" is invalid: "),
        "{refused}"
    );
    post(&client, TABS, tab("c", "red")).await;
    let (_, red) = get(&client, &format!("{TABS}?fieldSelector=spec.color%3Dred")).await;
    assert_eq!((red["items"].as_array().unwrap().len(), &red["kind"]), (1, &json!("CronTabList")));
    assert_eq!(get(&client, &format!("{TABS}?fieldSelector=spec.cronSpec%3Dred")).await.0, StatusCode::BAD_REQUEST);
    let table = [("accept", "application/json;as=Table;v=v1;g=meta.k8s.io")];
    let (_, _, table) = ask(&client, "GET", TABS, &table, Value::Null).await;
    assert_eq!(table["columnDefinitions"][1]["name"], "Spec");
    assert_eq!(table["rows"][0]["cells"], json!(["a", "* * * * 5", 1]));
}

#[tokio::test]
async fn versions_subresources_and_patches_work_as_upstream() {
    let dir = tempfile::tempdir().unwrap();
    let client = open(dir.path()).await;
    post(&client, DEFINITIONS, definition()).await;
    post(&client, TABS, tab("a", "blue")).await;
    let beta = TABS.replace("/v1/", "/v1beta1/");
    let (_, old) = get(&client, &format!("{beta}/a")).await;
    assert_eq!((&old["apiVersion"], &old["spec"]["color"]), (&json!("stable.example.com/v1beta1"), &json!("blue")));
    let (_, warnings, _) =
        ask(&client, "PATCH", &format!("{beta}/a"), &[MERGE], json!({"spec": {"color": "red"}})).await;
    assert_eq!(
        warnings,
        ["299 - \"stable.example.com/v1beta1 CronTab is deprecated; use stable.example.com/v1 CronTab\""]
    );
    let one = format!("{TABS}/a");
    let (_, changed) = patch(&client, &one, json!({"status": {"replicas": 7}, "spec": {"replicas": 2}})).await;
    assert_eq!((changed.get("status"), &changed["metadata"]["generation"]), (None, &json!(3)));
    let (_, changed) = patch(
        &client,
        &format!("{one}/status"),
        json!({"status": {"replicas": 2, "selector": "a=b"}, "spec": {"replicas": 9}}),
    )
    .await;
    assert_eq!(
        (&changed["status"]["replicas"], &changed["spec"]["replicas"], &changed["metadata"]["generation"]),
        (&json!(2), &json!(2), &json!(3))
    );
    let (_, scale) = get(&client, &format!("{one}/scale")).await;
    assert_eq!(
        (&scale["spec"], &scale["status"]),
        (&json!({"replicas": 2}), &json!({"replicas": 2, "selector": "a=b"}))
    );
    let (_, scale) = patch(&client, &format!("{one}/scale"), json!({"spec": {"replicas": 5}})).await;
    assert_eq!(scale["spec"]["replicas"], 5);
    let strategic = [("content-type", "application/strategic-merge-patch+json")];
    let (status, _, _) = ask(&client, "PATCH", &one, &strategic, json!({"spec": {"replicas": 3}})).await;
    assert_eq!(status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    let apply = [("content-type", "application/apply-patch+yaml")];
    for (manager, port) in [("one", 80), ("two", 81)] {
        let mut wanted = tab("a", "red");
        wanted["spec"] = json!({"cronSpec": "* * * * 5", "ports": [{"port": port, "name": manager}]});
        let path = format!("{one}?fieldManager={manager}&force=true");
        let (status, _, said) = ask(&client, "PATCH", &path, &apply, wanted).await;
        assert_eq!(status, StatusCode::OK, "{said}");
    }
    let (_, both) = get(&client, &one).await;
    assert_eq!(both["spec"]["ports"].as_array().unwrap().len(), 2, "the list is merged by its key: {both}");
}

#[tokio::test]
async fn a_definition_that_is_deleted_takes_its_objects_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let client = open(dir.path()).await;
    post(&client, DEFINITIONS, definition()).await;
    let mut held = tab("held", "blue");
    held["metadata"]["finalizers"] = json!(["example.com/hold"]);
    post(&client, TABS, held).await;
    post(&client, TABS, tab("free", "blue")).await;
    let one = format!("{DEFINITIONS}/crontabs.stable.example.com");
    ask(&client, "DELETE", &one, &[], Value::Null).await;
    let (_, going) = get(&client, &one).await;
    assert_eq!(going["metadata"]["finalizers"], json!(["customresourcecleanup.apiextensions.k8s.io"]));
    let last = going["status"]["conditions"].as_array().unwrap().last().unwrap();
    assert_eq!((&last["type"], &last["status"]), (&json!("Terminating"), &json!("True")));
    let (status, said) = post(&client, TABS, tab("new", "blue")).await;
    assert_eq!(status, StatusCode::METHOD_NOT_ALLOWED, "{said}");
    assert_eq!(get(&client, &format!("{TABS}/free")).await.0, StatusCode::NOT_FOUND);
    patch(&client, &format!("{TABS}/held"), json!({"metadata": {"finalizers": null}})).await;
    while get(&client, &one).await.0 != StatusCode::NOT_FOUND {
        tokio::task::yield_now().await;
    }
    assert_eq!(get(&client, TABS).await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_changed_definition_changes_what_is_served_and_bad_ones_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let client = open(dir.path()).await;
    post(&client, DEFINITIONS, definition()).await;
    post(&client, TABS, tab("a", "blue")).await;
    let one = format!("{DEFINITIONS}/crontabs.stable.example.com");
    let (_, mut next) = get(&client, &one).await;
    let versions = next["spec"]["versions"].as_array_mut().unwrap();
    versions[0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["zone"] =
        json!({"type": "string", "default": "UTC"});
    versions[1]["served"] = json!(false);
    let (status, _, said) = ask(&client, "PUT", &one, &[JSON], next.clone()).await;
    assert_eq!(status, StatusCode::OK, "{said}");
    assert_eq!(get(&client, &format!("{TABS}/a")).await.1["spec"]["zone"], "UTC", "what is stored has the new default");
    assert_eq!(get(&client, &TABS.replace("/v1/", "/v1beta1/")).await.0, StatusCode::NOT_FOUND);
    let (_, v3) = get(&client, "/openapi/v3/apis/stable.example.com/v1").await;
    assert_eq!(
        v3["components"]["schemas"]["com.example.stable.v1.CronTab"]["properties"]["spec"]["properties"]["zone"]["type"],
        "string"
    );
    let (status, said) = patch(&client, &one, json!({"spec": {"scope": "Cluster"}})).await;
    assert_eq!(
        (status, said["details"]["causes"][0]["field"].as_str()),
        (StatusCode::UNPROCESSABLE_ENTITY, Some("spec.scope"))
    );
    let mut other = definition();
    other["metadata"]["name"] = json!("tabs.stable.example.com");
    other["spec"]["names"] = json!({"plural": "tabs", "kind": "Tab", "shortNames": ["ct"]});
    post(&client, DEFINITIONS, other).await;
    let (_, other) = get(&client, &format!("{DEFINITIONS}/tabs.stable.example.com")).await;
    assert_eq!(other["status"]["conditions"][0]["reason"], "ShortNamesConflict");
    assert_eq!(get(&client, &TABS.replace("crontabs", "tabs")).await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn kinds_known_by_name_are_stored_with_a_warning_and_their_definition_takes_over() {
    let dir = tempfile::tempdir().unwrap();
    let client = open(dir.path()).await;
    let path = "/apis/cert-manager.io/v1/namespaces/default/certificates";
    let own = json!({"apiVersion": "cert-manager.io/v1", "kind": "Certificate", "metadata": {"name": "a"}, "spec": {"secretName": "s", "any": [1]}});
    let (status, warnings, made) = ask(&client, "POST", path, &[JSON], own).await;
    assert_eq!((status, &made["spec"]["any"]), (StatusCode::CREATED, &json!([1])));
    assert!(warnings[0].contains("Certificate (cert-manager.io) has no effect here"), "{warnings:?}");
    let mut definition = definition();
    definition["metadata"]["name"] = json!("certificates.cert-manager.io");
    definition["spec"]["group"] = json!("cert-manager.io");
    definition["spec"]["names"] = json!({"plural": "certificates", "kind": "Certificate"});
    definition["spec"]["versions"] = json!([{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {"type": "object",
        "properties": {"spec": {"type": "object", "properties": {"secretName": {"type": "string"}}}}}}}]);
    assert_eq!(post(&client, DEFINITIONS, definition).await.0, StatusCode::CREATED);
    let (_, now) = get(&client, &format!("{path}/a")).await;
    assert_eq!(now["spec"], json!({"secretName": "s"}));
    // Gateway API's own definitions may be applied too; what they define is built in.
    let mut gateway = self::definition();
    gateway["metadata"] = json!({"name": "httproutes.gateway.networking.k8s.io", "annotations": {"api-approved.kubernetes.io": "https://x"}});
    gateway["spec"]["group"] = json!("gateway.networking.k8s.io");
    gateway["spec"]["names"] = json!({"plural": "httproutes", "kind": "HTTPRoute"});
    let (status, warnings, said) = ask(&client, "POST", DEFINITIONS, &[JSON], gateway).await;
    assert_eq!(status, StatusCode::CREATED, "{said}");
    assert!(warnings[0].contains("httproutes.gateway.networking.k8s.io is built in"), "{warnings:?}");
}

#[tokio::test]
async fn metadata_within_an_object_is_held_to_what_every_object_has() {
    let dir = tempfile::tempdir().unwrap();
    let client = open(dir.path()).await;
    let mut definition = definition();
    for version in definition["spec"]["versions"].as_array_mut().unwrap() {
        version["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["template"] = json!({
            "type": "object", "x-kubernetes-embedded-resource": true, "x-kubernetes-preserve-unknown-fields": true});
    }
    let (status, answer) = post(&client, DEFINITIONS, definition).await;
    assert_eq!(status, StatusCode::CREATED, "{answer}");
    let with = |metadata: Value, template: Value| {
        let mut tab = tab("a", "blue");
        tab["metadata"] = metadata;
        tab["spec"]["template"] = template;
        tab
    };
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "unknownSub": 1, "creationTimestamp": null},
        "spec": {"kept": true}});
    let tab = with(json!({"name": "a", "unknownOwn": 1}), pod);
    let strict = format!("{TABS}?fieldValidation=Strict");
    let (status, refused) = post(&client, &strict, tab.clone()).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    for field in ["metadata.unknownOwn", "spec.template.metadata.unknownSub"] {
        let said = format!("unknown field \"{field}\"");
        assert!(refused["message"].as_str().unwrap().contains(&said), "{refused}");
    }
    let (status, warnings, made) =
        ask(&client, "POST", &format!("{TABS}?fieldValidation=Warn"), &[JSON], tab.clone()).await;
    assert_eq!(status, StatusCode::CREATED);
    assert!(warnings.iter().any(|text| text.contains("spec.template.metadata.unknownSub")), "{warnings:?}");
    assert_eq!(made["spec"]["template"]["metadata"], json!({"name": "p"}));
    assert_eq!(made["spec"]["template"]["spec"], json!({"kept": true}));
    let mut ignored = tab;
    ignored["metadata"] = json!({"name": "b", "unknownOwn": 1});
    let (status, warnings, made) =
        ask(&client, "POST", &format!("{TABS}?fieldValidation=Ignore"), &[JSON], ignored).await;
    assert_eq!((status, warnings.len()), (StatusCode::CREATED, 0));
    assert_eq!(made["spec"]["template"]["metadata"], json!({"name": "p"}));
    for (template, said) in [
        (json!({"kind": "Pod"}), "spec.template.apiVersion: Required value"),
        (json!({"apiVersion": "v1", "kind": ""}), "spec.template.kind: Invalid value: \"\": must not be empty"),
        (
            json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"labels": {"a": "x y"}}}),
            "spec.template.metadata.labels: Invalid value: \"x y\"",
        ),
        (json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"labels": 1}}), "spec.template.metadata"),
    ] {
        let (status, refused) = post(&client, TABS, with(json!({"name": "c"}), template)).await;
        assert!(status.is_client_error(), "{refused}");
        assert!(refused["message"].as_str().unwrap().contains(said), "{refused}");
    }
}

#[tokio::test]
async fn the_status_of_an_object_is_validated_and_what_did_not_change_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let client = open(dir.path()).await;
    assert_eq!(post(&client, DEFINITIONS, definition()).await.0, StatusCode::CREATED);
    assert_eq!(post(&client, TABS, tab("a", "blue")).await.0, StatusCode::CREATED);
    let status = |value: Value| json!({"status": {"replicas": value}});
    let (refused, answer) = patch(&client, &format!("{TABS}/a/status"), status(json!("x"))).await;
    assert_eq!(refused, StatusCode::UNPROCESSABLE_ENTITY, "{answer}");
    assert!(answer["message"].as_str().unwrap().contains("status.replicas"), "{answer}");
    assert_eq!(patch(&client, &format!("{TABS}/a/status"), status(json!(2))).await.0, StatusCode::OK);
}

#[tokio::test]
async fn a_rule_that_can_cost_too_much_is_refused_until_what_it_looks_at_is_limited() {
    let dir = tempfile::tempdir().unwrap();
    let client = open(dir.path()).await;
    let with = |list: Value| {
        let mut definition = definition();
        for version in definition["spec"]["versions"].as_array_mut().unwrap() {
            version["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["names"] = list.clone();
        }
        definition
    };
    let rules = json!([{"rule": "self.all(a, self.exists_one(b, a == b))"}]);
    let open = json!({"type": "array", "items": {"type": "string"}, "x-kubernetes-validations": rules});
    let (status, refused) = post(&client, DEFINITIONS, with(open)).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    let cause = &refused["details"]["causes"][0];
    let at = "spec.validation.openAPIV3Schema.properties[spec].properties[names].x-kubernetes-validations[0].rule";
    assert_eq!(cause["field"], at);
    let why = "Forbidden: estimated rule cost exceeds budget by factor of more than 100x (try simplifying the rule, or adding maxItems, maxProperties, and maxLength where arrays, maps, and strings are declared)";
    assert_eq!(cause["message"], why);
    let limited = json!({"type": "array", "maxItems": 64, "items": {"type": "string", "maxLength": 32}, "x-kubernetes-validations": rules});
    let (status, answer) = post(&client, DEFINITIONS, with(limited)).await;
    assert_eq!(status, StatusCode::CREATED, "{answer}");
}

#[tokio::test]
async fn a_version_shows_what_its_schema_has_and_does_not_hold_the_rest_against_its_clients() {
    let dir = tempfile::tempdir().unwrap();
    let client = open(dir.path()).await;
    let mut definition = definition();
    // The older version has no colours yet, and something of its own.
    let older = &mut definition["spec"]["versions"][1];
    older["subresources"] = json!({"status": {}});
    let spec = &mut older["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"];
    spec.as_object_mut().unwrap().remove("color");
    spec["shade"] = json!({"type": "string"});
    assert_eq!(post(&client, DEFINITIONS, definition).await.0, StatusCode::CREATED);
    assert_eq!(post(&client, TABS, tab("a", "red")).await.0, StatusCode::CREATED);
    let (newer, older) = (format!("{TABS}/a"), TABS.replace("/v1/", "/v1beta1/"));
    let shown = get(&client, &format!("{older}/a")).await.1;
    assert_eq!((&shown["apiVersion"], &shown["spec"]["color"]), (&json!("stable.example.com/v1beta1"), &Value::Null));
    assert_eq!(get(&client, &older).await.1["items"][0]["spec"], shown["spec"]);
    // A change of its status leaves what it does not show.
    let strict = "fieldValidation=Strict";
    let status = patch(&client, &format!("{older}/a/status?{strict}"), json!({"status": {"replicas": 3}})).await;
    assert_eq!((status.0, &status.1["status"]["replicas"]), (StatusCode::OK, &json!(3)));
    assert_eq!(get(&client, &newer).await.1["spec"]["color"], "red");
    let change = json!({"spec": {"replicas": 2, "shade": "dark"}});
    let (code, warnings, changed) = ask(&client, "PATCH", &format!("{older}/a?{strict}"), &[MERGE], change).await;
    assert_eq!(code, StatusCode::OK, "{changed}");
    assert_eq!(warnings.len(), 1, "only that the version is deprecated: {warnings:?}");
    // What the version that objects are kept in does not have is not kept.
    assert_eq!((&changed["spec"]["replicas"], &changed["spec"]["shade"]), (&json!(2), &Value::Null));
    assert_eq!(get(&client, &newer).await.1["spec"]["shade"], Value::Null);
}

#[tokio::test]
async fn an_object_without_the_replicas_of_its_scale_has_no_scale() {
    let dir = tempfile::tempdir().unwrap();
    let client = open(dir.path()).await;
    let mut definition = definition();
    let versions = definition["spec"]["versions"].as_array_mut().unwrap();
    for version in versions {
        let replicas = &mut version["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["replicas"];
        replicas.as_object_mut().unwrap().remove("default");
    }
    assert_eq!(post(&client, DEFINITIONS, definition).await.0, StatusCode::CREATED);
    assert_eq!(post(&client, TABS, tab("a", "red")).await.0, StatusCode::CREATED);
    let (code, refused) = get(&client, &format!("{TABS}/a/scale")).await;
    assert_eq!((code, &refused["reason"]), (StatusCode::INTERNAL_SERVER_ERROR, &json!("InternalError")));
    let said = "Internal error occurred: the spec replicas field \".spec.replicas\" does not exist";
    assert_eq!(refused["message"], said);
    let scaled = patch(&client, &format!("{TABS}/a/scale"), json!({"spec": {"replicas": 2}})).await;
    assert_eq!((scaled.0, &scaled.1["spec"]["replicas"]), (StatusCode::OK, &json!(2)));
}

#[tokio::test]
async fn what_an_update_leaves_as_it_was_is_warned_about_and_not_refused() {
    let dir = tempfile::tempdir().unwrap();
    let client = open(dir.path()).await;
    let mut definition = definition();
    assert_eq!(post(&client, DEFINITIONS, definition.clone()).await.0, StatusCode::CREATED);
    assert_eq!(post(&client, TABS, tab("a", "red")).await.0, StatusCode::CREATED);
    let spec = &mut definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"];
    spec["properties"]["color"]["x-kubernetes-validations"] =
        json!([{"rule": "self != 'red'", "message": "too bright"}]);
    let versions = json!({"spec": {"versions": definition["spec"]["versions"]}});
    let path = format!("{DEFINITIONS}/crontabs.stable.example.com");
    assert_eq!(patch(&client, &path, versions).await.0, StatusCode::OK);
    let one = format!("{TABS}/a");
    let (code, warnings, _) = ask(&client, "PATCH", &one, &[MERGE], json!({"spec": {"replicas": 2}})).await;
    let told = "299 - \"spec.color: Invalid value: \\\"string\\\": too bright\"";
    assert_eq!((code, warnings), (StatusCode::OK, vec![told.to_owned()]));
    let (code, warnings, _) = ask(&client, "PATCH", &one, &[MERGE], json!({"spec": {"color": "blue"}})).await;
    assert_eq!((code, warnings.len()), (StatusCode::OK, 0));
    assert_eq!(patch(&client, &one, json!({"spec": {"color": "red"}})).await.0, StatusCode::UNPROCESSABLE_ENTITY);
}

#[tokio::test]
async fn a_watch_ends_when_its_kind_has_changed_and_its_client_misses_no_field() {
    let dir = tempfile::tempdir().unwrap();
    let client = open(dir.path()).await;
    let mut definition = definition();
    assert_eq!(post(&client, DEFINITIONS, definition.clone()).await.0, StatusCode::CREATED);
    let begin = async |version: &Value| {
        let path = format!("{TABS}?watch=true&resourceVersion={}", version.as_str().unwrap());
        client.request_stream(Request::get(path).body(Vec::new()).unwrap()).await.unwrap().lines()
    };
    let object = |line: Option<String>| serde_json::from_str::<Value>(&line.unwrap()).unwrap()["object"].take();
    let mut watch = begin(&get(&client, TABS).await.1["metadata"]["resourceVersion"]).await;
    // What is not about its objects does not end it.
    let path = format!("{DEFINITIONS}/crontabs.stable.example.com");
    assert_eq!(patch(&client, &path, json!({"metadata": {"labels": {"a": "b"}}})).await.0, StatusCode::OK);
    assert_eq!(post(&client, TABS, tab("a", "red")).await.0, StatusCode::CREATED);
    let last = object(watch.try_next().await.unwrap());
    assert_eq!(last["metadata"]["name"], "a");
    for version in definition["spec"]["versions"].as_array_mut().unwrap() {
        let spec = &mut version["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"];
        spec["size"] = json!({"type": "string"});
    }
    let versions = json!({"spec": {"versions": definition["spec"]["versions"]}});
    assert_eq!(patch(&client, &path, versions).await.0, StatusCode::OK);
    let mut large = tab("b", "blue");
    large["spec"]["size"] = json!("large");
    assert_eq!(post(&client, TABS, large).await.0, StatusCode::CREATED);
    assert_eq!(watch.try_next().await.unwrap(), None, "it went on with what the definition was");
    let mut watch = begin(&last["metadata"]["resourceVersion"]).await;
    assert_eq!(object(watch.try_next().await.unwrap())["spec"]["size"], "large");
}
