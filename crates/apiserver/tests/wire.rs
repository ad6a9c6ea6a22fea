//! What is on the wire: the verbs, their parameters and their failures, as clients of Kubernetes rely on them.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed step of a test is its failure")]

#[path = "support/api.rs"]
mod api;

use api::Api;
use futures::{AsyncBufReadExt, TryStreamExt, io::Lines};
use http::{Request, StatusCode};
use serde_json::{Value, json};

impl Api {
    async fn post(&self, path: &str, body: Value) -> (StatusCode, Value) {
        self.ask("POST", path, &[("content-type", "application/json")], body).await
    }

    async fn patch(&self, path: &str, body: Value) -> (StatusCode, Value) {
        self.ask("PATCH", path, &[("content-type", "application/merge-patch+json")], body).await
    }

    async fn make(&self, name: &str, labels: Value) {
        let (status, said) = self.post(MAPS, config_map(name, labels)).await;
        assert_eq!(status, StatusCode::CREATED, "{said}");
    }

    async fn watch(&self, query: &str) -> Events<impl futures::AsyncBufRead + Unpin + use<>> {
        let request = Request::get(format!("{MAPS}?watch=true&{query}")).body(Vec::new()).unwrap();
        Events(self.client.request_stream(request).await.unwrap().lines())
    }
}

/// The events of a watch.
struct Events<R>(Lines<R>);

impl<R: futures::AsyncBufRead + Unpin> Events<R> {
    async fn next(&mut self) -> Value {
        serde_json::from_str(&self.0.try_next().await.unwrap().unwrap()).unwrap()
    }

    /// Its type, and the name of its object.
    async fn brief(&mut self) -> String {
        let event = self.next().await;
        format!("{} {}", event["type"].as_str().unwrap(), event["object"]["metadata"]["name"].as_str().unwrap_or("-"))
    }
}

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

fn config_map(name: &str, labels: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "labels": labels}, "data": {"a": "b"}})
}

fn names(list: &Value) -> Vec<&str> {
    list["items"].as_array().unwrap().iter().map(|item| item["metadata"]["name"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn a_list_goes_on_where_its_page_ended_and_shows_one_state() {
    let api = Api::start().await;
    for name in ["a", "b", "c", "d"] {
        api.make(name, json!({})).await;
    }
    let (_, first) = api.get(&format!("{MAPS}?limit=2")).await;
    assert_eq!((names(&first), &first["metadata"]["remainingItemCount"]), (vec!["a", "b"], &json!(2)));
    api.make("bb", json!({})).await;
    let go_on = first["metadata"]["continue"].as_str().unwrap();
    let (_, second) = api.get(&format!("{MAPS}?limit=2&continue={go_on}")).await;
    assert_eq!(names(&second), ["c", "d"], "what was made since the first page is not on the second");
    assert_eq!(second["metadata"]["resourceVersion"], first["metadata"]["resourceVersion"]);
    assert_eq!(second["metadata"].get("continue"), None);
}

#[tokio::test]
async fn a_page_of_a_forgotten_state_says_how_to_go_on() {
    let api = Api::start().await;
    for name in ["a", "b", "c"] {
        api.make(name, json!({})).await;
    }
    let (_, first) = api.get(&format!("{MAPS}?limit=1")).await;
    for number in 0..1100 {
        api.patch(&format!("{MAPS}/a"), json!({"data": {"a": number.to_string()}})).await;
    }
    let go_on = first["metadata"]["continue"].as_str().unwrap();
    let (status, gone) = api.get(&format!("{MAPS}?limit=1&continue={go_on}")).await;
    assert_eq!((status, &gone["reason"]), (StatusCode::GONE, &json!("Expired")));
    let inconsistent = gone["metadata"]["continue"].as_str().unwrap();
    let (_, rest) = api.get(&format!("{MAPS}?continue={inconsistent}")).await;
    assert_eq!(names(&rest), ["b", "c"]);
    let expired = api.watch("resourceVersion=1").await.next().await;
    let status = (&expired["type"], &expired["object"]["code"], &expired["object"]["reason"]);
    assert_eq!(status, (&json!("ERROR"), &json!(410), &json!("Expired")), "as upstream: the watch begins, and says so");
    assert_eq!(api.get(&format!("{MAPS}?continue=nonsense")).await.0, StatusCode::BAD_REQUEST);
    let (status, future) = api.get(&format!("{MAPS}?resourceVersion=999999&resourceVersionMatch=NotOlderThan")).await;
    assert_eq!(
        (status, &future["details"]["causes"][0]["reason"]),
        (StatusCode::GATEWAY_TIMEOUT, &json!("ResourceVersionTooLarge"))
    );
}

#[tokio::test]
async fn a_watch_with_a_selector_sees_what_enters_and_what_leaves() {
    let api = Api::start().await;
    api.make("a", json!({"in": "yes"})).await;
    api.make("b", json!({"in": "no"})).await;
    let mut all = api.watch("labelSelector=in%3Dyes").await;
    assert_eq!(all.brief().await, "ADDED a");
    api.patch(&format!("{MAPS}/b"), json!({"metadata": {"labels": {"in": "yes"}}})).await;
    assert_eq!(all.brief().await, "ADDED b");
    api.patch(&format!("{MAPS}/a"), json!({"data": {"a": "c"}})).await;
    assert_eq!(all.brief().await, "MODIFIED a");
    api.patch(&format!("{MAPS}/a"), json!({"metadata": {"labels": {"in": "no"}}})).await;
    assert_eq!(all.brief().await, "DELETED a");
    api.ask("DELETE", &format!("{MAPS}/b"), &[], Value::Null).await;
    assert_eq!(all.brief().await, "DELETED b");

    let mut one = api.watch("fieldSelector=metadata.name%3Da").await;
    assert_eq!(one.brief().await, "ADDED a");
    api.make("c", json!({})).await;
    api.ask("DELETE", &format!("{MAPS}/a"), &[], Value::Null).await;
    assert_eq!(one.brief().await, "DELETED a");
}

#[tokio::test]
async fn an_object_that_was_deleted_and_made_again_is_two() {
    let api = Api::start().await;
    api.make("a", json!({"in": "yes"})).await;
    let (_, first) = api.get(&format!("{MAPS}/a")).await;
    let revision = first["metadata"]["resourceVersion"].as_str().unwrap();
    for inside in ["no", "yes"] {
        api.ask("DELETE", &format!("{MAPS}/a"), &[], Value::Null).await;
        api.make("a", json!({"in": inside})).await;
    }
    let (_, last) = api.get(&format!("{MAPS}/a")).await;
    let mut events = api.watch(&format!("resourceVersion={revision}&labelSelector=in%3Dyes")).await;
    for (sort, object) in [("DELETED", &first), ("ADDED", &last)] {
        let event = events.next().await;
        assert_eq!((&event["type"], &event["object"]["metadata"]["uid"]), (&json!(sort), &object["metadata"]["uid"]));
    }
    let mut other = api.watch(&format!("resourceVersion={revision}&labelSelector=in%3Dno")).await;
    assert_eq!((other.brief().await, other.brief().await), ("ADDED a".to_owned(), "DELETED a".to_owned()));
}

#[tokio::test]
async fn what_there_is_at_the_start_of_a_watch_is_one_state_though_it_is_read_in_pages() {
    let api = Api::start().await;
    let name = |number: u32| format!("n{number:04}");
    for number in 0..600 {
        api.make(&name(number), json!({})).await;
    }
    let mut events = api.watch("").await;
    assert_eq!(events.brief().await, "ADDED n0000");
    api.ask("DELETE", &format!("{MAPS}/n0598"), &[], Value::Null).await;
    api.patch(&format!("{MAPS}/n0599"), json!({"data": {"a": "later"}})).await;
    api.make("n0000a", json!({})).await;
    for number in 1..600 {
        let event = events.next().await;
        assert_eq!((&event["type"], &event["object"]["metadata"]["name"]), (&json!("ADDED"), &json!(name(number))));
        assert_eq!(event["object"]["data"]["a"], "b", "as it was at the start");
    }
    for then in ["DELETED n0598", "MODIFIED n0599", "ADDED n0000a"] {
        assert_eq!(events.brief().await, then);
    }
    // Where nothing is selected of page after page, the one that is is found.
    let mut one = api.watch("fieldSelector=metadata.name%3Dn0599").await;
    assert_eq!(one.brief().await, "ADDED n0599");
    // Who takes the first page and comes back when the state is forgotten is told to begin anew.
    let mut late = api.watch("").await;
    assert_eq!(late.brief().await, "ADDED n0000");
    for number in 0..1100 {
        api.patch(&format!("{MAPS}/n0001"), json!({"data": {"a": number.to_string()}})).await;
    }
    let end = loop {
        let event = late.next().await;
        if event["type"] != "ADDED" {
            break event;
        }
    };
    assert_eq!((&end["type"], &end["object"]["reason"]), (&json!("ERROR"), &json!("Expired")));
}

#[tokio::test]
async fn a_bookmark_says_how_far_a_client_is_that_nothing_happens_to() {
    let api = Api::start().await;
    api.make("a", json!({})).await;
    let (_, list) = api.get(MAPS).await;
    let revision = list["metadata"]["resourceVersion"].as_str().unwrap();
    let mut events = api.watch(&format!("resourceVersion={revision}&allowWatchBookmarks=true")).await;
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}});
    let (_, secret) = api.post("/api/v1/namespaces/default/secrets", secret).await;
    tokio::time::pause();
    tokio::time::advance(std::time::Duration::from_secs(60)).await;
    tokio::time::resume();
    let mark = events.next().await;
    assert_eq!(mark["type"], "BOOKMARK");
    let version = |object: &Value| object["metadata"]["resourceVersion"].as_str().unwrap().parse::<u64>().unwrap();
    assert!(version(&mark["object"]) >= version(&secret), "{mark}");
    let mut later = api.watch(&format!("resourceVersion={}", version(&mark["object"]))).await;
    api.make("b", json!({})).await;
    assert_eq!((events.brief().await, later.brief().await), ("ADDED b".to_owned(), "ADDED b".to_owned()));
    // A client may ask for any time; the longest that there is ends with the server.
    let mut long = api.watch(&format!("resourceVersion={revision}&timeoutSeconds={}", u64::MAX)).await;
    assert_eq!(long.brief().await, "ADDED b");
}

#[tokio::test]
async fn a_watch_goes_on_from_a_revision_and_says_where_the_beginning_ends() {
    let api = Api::start().await;
    api.make("a", json!({})).await;
    let (_, list) = api.get(MAPS).await;
    let revision = list["metadata"]["resourceVersion"].as_str().unwrap().to_owned();
    api.make("b", json!({})).await;
    let mut later = api.watch(&format!("resourceVersion={revision}")).await;
    assert_eq!(later.brief().await, "ADDED b");

    let streaming = "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";
    let mut whole = api.watch(streaming).await;
    assert_eq!((whole.brief().await, whole.brief().await), ("ADDED a".to_owned(), "ADDED b".to_owned()));
    let end = whole.next().await;
    assert_eq!((&end["type"], &end["object"]["kind"]), (&json!("BOOKMARK"), &json!("ConfigMap")));
    assert_eq!(end["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"], "true");
    let (status, _) = api.get(&format!("{MAPS}?watch=1&sendInitialEvents=true")).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
}

#[tokio::test]
async fn answers_have_the_form_that_was_asked_for() {
    let api = Api::start().await;
    api.make("a", json!({})).await;
    let ask = async |accept: &str| api.ask("GET", &format!("{MAPS}/a"), &[("accept", accept)], Value::Null).await;
    let (_, table) = ask("application/json;as=Table;v=v1;g=meta.k8s.io, application/json").await;
    assert_eq!((&table["kind"], &table["rows"][0]["cells"][0]), (&json!("Table"), &json!("a")));
    assert_eq!(table["rows"][0]["object"]["kind"], "PartialObjectMetadata");
    let (_, metadata) = ask("application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io").await;
    assert_eq!((&metadata["kind"], metadata.get("data")), (&json!("PartialObjectMetadata"), None));
    let (status, said) = ask("application/vnd.kubernetes.protobuf").await;
    assert_eq!((status, &said["reason"]), (StatusCode::NOT_ACCEPTABLE, &json!("NotAcceptable")));
    let typed = [("content-type", "text/plain")];
    assert_eq!(api.ask("POST", MAPS, &typed, json!({})).await.0, StatusCode::UNSUPPORTED_MEDIA_TYPE);
}

#[tokio::test]
async fn conflicts_say_what_to_do() {
    let api = Api::start().await;
    api.make("a", json!({})).await;
    let (_, mut object) = api.get(&format!("{MAPS}/a")).await;
    api.patch(&format!("{MAPS}/a"), json!({"data": {"a": "c"}})).await;
    object["data"]["a"] = json!("d");
    let (status, said) = api.ask("PUT", &format!("{MAPS}/a"), &[], object.clone()).await;
    let message = "Operation cannot be fulfilled on configmaps \"a\": the object has been modified; please apply your changes to the latest version and try again";
    assert_eq!((status, &said["message"]), (StatusCode::CONFLICT, &json!(message)));
    assert_eq!(said["details"], json!({"name": "a", "kind": "configmaps"}));
    object["metadata"].as_object_mut().unwrap().remove("resourceVersion");
    assert_eq!(api.ask("PUT", &format!("{MAPS}/a"), &[], object).await.0, StatusCode::OK, "unconditional");
    let budgets = "/apis/policy/v1/namespaces/default/poddisruptionbudgets";
    let budget =
        json!({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "a"}, "spec": {}});
    api.post(budgets, budget.clone()).await;
    let (status, said) = api.ask("PUT", &format!("{budgets}/a"), &[], budget).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "never unconditional: {said}");
    let (status, said) = api.post(MAPS, config_map("a", json!({}))).await;
    assert_eq!((status, &said["message"]), (StatusCode::CONFLICT, &json!("configmaps \"a\" already exists")));
    let wrong = json!({"preconditions": {"uid": "x"}});
    let (status, said) = api.ask("DELETE", &format!("{MAPS}/a"), &[], wrong).await;
    assert_eq!(status, StatusCode::CONFLICT);
    assert!(
        said["message"].as_str().unwrap().contains("the UID in the precondition (x) does not match the UID in record"),
        "{said}"
    );
}

#[tokio::test]
async fn a_scale_is_a_table_for_who_asks_for_tables() {
    let api = Api::start().await;
    let container = json!({"name": "c", "image": "i"});
    let template = json!({"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [container]}});
    let spec = json!({"replicas": 3, "selector": {"matchLabels": {"a": "b"}}, "template": template});
    let web = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": spec});
    let all = "/apis/apps/v1/namespaces/default/deployments";
    assert_eq!(api.post(all, web).await.0, StatusCode::CREATED);
    let one = format!("{all}/web/scale");
    let accept = [("accept", "application/json;as=Table;v=v1;g=meta.k8s.io,application/json")];
    let (_, table) = api.ask("GET", &one, &accept, Value::Null).await;
    assert_eq!(table["kind"], "Table", "{table}");
    let columns: Vec<_> = table["columnDefinitions"].as_array().unwrap().iter().map(|column| &column["name"]).collect();
    assert_eq!(columns, ["Name", "Desired", "Available", "Age"]);
    assert_eq!(table["rows"][0]["cells"].as_array().unwrap()[..3], [json!("web"), json!(3), json!(0)]);
    let (status, said) = api.patch(&one, json!({"spec": {"replicas": -1}})).await;
    let message =
        "Scale.autoscaling \"web\" is invalid: spec.replicas: Invalid value: -1: must be greater than or equal to 0";
    assert_eq!((status, &said["message"]), (StatusCode::UNPROCESSABLE_ENTITY, &json!(message)));
}

#[tokio::test]
async fn a_collection_is_deleted_by_what_it_selects() {
    let api = Api::start().await;
    for (name, group) in [("a", "1"), ("b", "2"), ("c", "1")] {
        api.make(name, json!({"group": group})).await;
    }
    let dry = format!("{MAPS}?labelSelector=group%3D1&dryRun=All");
    assert_eq!(names(&api.ask("DELETE", &dry, &[], Value::Null).await.1), ["a", "c"]);
    let (status, gone) = api.ask("DELETE", &format!("{MAPS}?labelSelector=group%3D1"), &[], Value::Null).await;
    assert_eq!((status, names(&gone)), (StatusCode::OK, vec!["a", "c"]));
    assert_eq!(names(&api.get(MAPS).await.1), ["b"]);
    let (status, _) = api.ask("DELETE", "/api/v1/namespaces/default", &[], Value::Null).await;
    assert_eq!(status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn names_are_generated_and_places_are_checked() {
    let api = Api::start().await;
    let (_, made) = api.post(MAPS, json!({"metadata": {"generateName": "gen-"}})).await;
    let name = made["metadata"]["name"].as_str().unwrap();
    assert!(name.starts_with("gen-") && name.len() == 9, "{name}");
    for (path, status) in [
        ("/api/v1/namespaces/default/nodes", StatusCode::NOT_FOUND),
        ("/api/v1/configmaps/a", StatusCode::NOT_FOUND),
        ("/api/v1/namespaces/default/pods/a/nothing", StatusCode::NOT_FOUND),
        ("/apis/none/v1/things", StatusCode::NOT_FOUND),
    ] {
        assert_eq!(api.get(path).await.0, status, "{path}");
    }
    assert_eq!(api.post("/api/v1/configmaps", config_map("a", json!({}))).await.0, StatusCode::METHOD_NOT_ALLOWED);
    let (status, said) = api.post("/api/v1/namespaces/none/configmaps", config_map("a", json!({}))).await;
    assert_eq!((status, &said["message"]), (StatusCode::NOT_FOUND, &json!("namespaces \"none\" not found")));
    let (status, said) = api.post(MAPS, json!({"metadata": {"name": "a", "resourceVersion": "1"}})).await;
    assert_eq!((status, &said["reason"]), (StatusCode::BAD_REQUEST, &json!("BadRequest")));
    let (status, said) = api.post(MAPS, json!({"kind": "Secret", "metadata": {"name": "a"}})).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{said}");
}

#[tokio::test]
async fn an_older_version_of_gateway_api_is_another_view_of_the_same_route() {
    let api = Api::start().await;
    let at = |version: &str| format!("/apis/gateway.networking.k8s.io/{version}/namespaces/default/tcproutes");
    let route = json!({"apiVersion": "gateway.networking.k8s.io/v1alpha2", "kind": "TCPRoute", "metadata": {"name": "r"},
        "spec": {"parentRefs": [{"name": "g"}], "rules": [{"backendRefs": [{"name": "s", "port": 1}]}]}});
    let (status, made) = api.post(&at("v1alpha2"), route).await;
    assert_eq!((status, &made["apiVersion"]), (StatusCode::CREATED, &json!("gateway.networking.k8s.io/v1alpha2")));
    let (_, newer) = api.get(&format!("{}/r", at("v1"))).await;
    assert_eq!(newer["apiVersion"], "gateway.networking.k8s.io/v1");
    assert_eq!(newer["spec"]["rules"][0]["backendRefs"][0]["weight"], 1);
    let (status, patched) =
        api.patch(&format!("{}/r", at("v1alpha2")), json!({"metadata": {"labels": {"a": "b"}}})).await;
    assert_eq!((status, &patched["metadata"]["labels"]["a"]), (StatusCode::OK, &json!("b")), "{patched}");
    let (_, list) = api.get(&at("v1alpha2")).await;
    assert_eq!(list["items"].as_array().unwrap().len(), 1);
    let (_, group) = api.get("/apis/gateway.networking.k8s.io").await;
    assert_eq!(group["preferredVersion"]["version"], "v1");
}
