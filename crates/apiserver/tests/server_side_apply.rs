//! Server-side apply and managedFields on the wire, as kubectl and client-go see them.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed step of a test is its failure")]

use apiserver::{ApiServer, Options};
use http::{Request, StatusCode};
use kube::Client;
use serde_json::{Value, json};

/// An API server in this process; its directory goes with it.
struct Api {
    client: Client,
    _dir: tempfile::TempDir,
}

const MAP: &str = "/api/v1/namespaces/default/configmaps/a";
const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const WEB: &str = "/apis/apps/v1/namespaces/default/deployments/web";
const APPLY: &str = "application/apply-patch+yaml";

impl Api {
    async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let options =
            Options { data_dir: dir.path().to_owned(), service_cidr: "10.43.0.0/16".to_owned(), names: Vec::new() };
        let server = ApiServer::open(options).await.unwrap();
        Self { client: server.client("tester"), _dir: dir }
    }

    async fn send(&self, method: &str, path: &str, media: &str, body: &str) -> (StatusCode, Value) {
        let request = Request::builder().method(method).uri(path).header("content-type", media);
        let request = request.header("user-agent", "curl/8.0").body(kube::client::Body::from(body.as_bytes().to_vec()));
        let answer = self.client.send(request.unwrap()).await.unwrap();
        let status = answer.status();
        let bytes = answer.into_body().collect_bytes().await.unwrap();
        (status, serde_json::from_slice(&bytes).unwrap())
    }

    /// Applies as a manager, with further parameters.
    async fn apply(&self, path: &str, by: &str, body: &Value) -> (StatusCode, Value) {
        self.send("PATCH", &format!("{path}?fieldManager={by}"), APPLY, &body.to_string()).await
    }

    async fn get(&self, path: &str) -> Value {
        self.send("GET", path, "application/json", "").await.1
    }

    async fn put(&self, path: &str, body: &Value) -> (StatusCode, Value) {
        self.send("PUT", path, "application/json", &body.to_string()).await
    }

    async fn merge(&self, path: &str, body: Value) -> (StatusCode, Value) {
        self.send("PATCH", path, "application/merge-patch+json", &body.to_string()).await
    }
}

fn map(data: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": data})
}

fn deployment(spec: Value) -> Value {
    let template =
        json!({"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    let mut object = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
        "spec": {"selector": {"matchLabels": {"app": "web"}}, "template": template}});
    object["spec"].as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    object
}

/// Manager, operation and fields of each entry.
fn managed(object: &Value) -> Vec<(String, String, Value)> {
    let text = |entry: &Value, field: &str| entry[field].as_str().unwrap_or_default().to_owned();
    let entries = object["metadata"]["managedFields"].as_array().cloned().unwrap_or_default();
    let row = |e: &Value| {
        let sub = text(e, "subresource");
        let operation = text(e, "operation") + if sub.is_empty() { "" } else { "/" } + &sub;
        (text(e, "manager"), operation, e["fieldsV1"].clone())
    };
    entries.iter().map(row).collect()
}

fn row(manager: &str, operation: &str, fields: Value) -> (String, String, Value) {
    (manager.to_owned(), operation.to_owned(), fields)
}

#[tokio::test]
async fn an_apply_makes_the_object_and_the_same_again_is_no_change() {
    let api = Api::start().await;
    let (status, made) = api.apply(MAP, "me", &map(json!({"k": "v"}))).await;
    assert_eq!(status, StatusCode::CREATED, "{made}");
    assert_eq!(managed(&made), [row("me", "Apply", json!({"f:data": {"f:k": {}}}))]);
    let entry = &made["metadata"]["managedFields"][0];
    assert_eq!((&entry["apiVersion"], &entry["fieldsType"]), (&json!("v1"), &json!("FieldsV1")));
    let (status, again) = api.apply(MAP, "me", &map(json!({"k": "v"}))).await;
    assert_eq!((status, &again), (StatusCode::OK, &made));
}

#[tokio::test]
async fn what_a_manager_no_longer_applies_goes_unless_another_has_it() {
    let api = Api::start().await;
    api.apply(MAP, "one", &map(json!({"mine": "1", "ours": "2"}))).await;
    api.apply(MAP, "two", &map(json!({"ours": "2", "theirs": "3"}))).await;
    let (_, left) = api.apply(MAP, "one", &map(json!({}))).await;
    assert_eq!(left["data"], json!({"ours": "2", "theirs": "3"}));
    let owners: Vec<String> = managed(&left).into_iter().map(|(manager, ..)| manager).collect();
    assert!(owners.contains(&"two".to_owned()), "{owners:?}");
}

#[tokio::test]
async fn conflicts_name_who_manages_what_and_force_takes_it() {
    let api = Api::start().await;
    let (status, made) =
        api.send("POST", MAPS, "application/json", &map(json!({"k": "1", "l": "1"})).to_string()).await;
    assert_eq!(status, StatusCode::CREATED, "{made}");
    let fields = json!({"f:data": {".": {}, "f:k": {}, "f:l": {}}});
    assert_eq!(managed(&made), [row("curl", "Update", fields)]);
    let (status, refused) = api.apply(MAP, "me", &map(json!({"k": "2"}))).await;
    assert_eq!((status, &refused["reason"]), (StatusCode::CONFLICT, &json!("Conflict")));
    assert_eq!(refused["message"], "Apply failed with 1 conflict: conflict with \"curl\" using v1: .data.k");
    let cause =
        json!({"reason": "FieldManagerConflict", "message": "conflict with \"curl\" using v1", "field": ".data.k"});
    assert_eq!(refused["details"], json!({"causes": [cause]}));
    let (_, refused) = api.apply(MAP, "me", &map(json!({"k": "2", "l": "2"}))).await;
    assert_eq!(
        refused["message"],
        "Apply failed with 2 conflicts: conflicts with \"curl\" using v1:\n- .data.k\n- .data.l"
    );
    let (status, taken) = api.apply(MAP, "me&force=true", &map(json!({"k": "2"}))).await;
    assert_eq!((status, &taken["data"]), (StatusCode::OK, &json!({"k": "2", "l": "1"})));
    let mine = row("me", "Apply", json!({"f:data": {"f:k": {}}}));
    let theirs = row("curl", "Update", json!({"f:data": {".": {}, "f:l": {}}}));
    assert_eq!(managed(&taken), [mine, theirs]);
}

#[tokio::test]
async fn an_apply_that_makes_no_sense_is_refused_in_upstreams_words() {
    let api = Api::start().await;
    let body = map(json!({"k": "v"}));
    let (status, said) = api.send("PATCH", MAP, APPLY, &body.to_string()).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    let message = "PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Required value: is required for apply patch";
    assert_eq!(said["message"], message);
    let (status, said) = api.merge(&format!("{MAP}?force=true"), json!({})).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{said}");
    let said = |patch: Value| {
        let api = &api;
        async move {
            let (status, said) = api.apply(MAP, "me", &patch).await;
            (status.as_u16(), said["message"].as_str().unwrap_or_default().to_owned())
        }
    };
    let mut wrong = body.clone();
    wrong["metadata"]["managedFields"] = json!([]);
    assert_eq!(said(wrong).await, (400, "metadata.managedFields must be nil".into()));
    let mut wrong = body.clone();
    wrong["kind"] = json!("Secret");
    assert_eq!(said(wrong).await, (400, "invalid object type: /v1, Kind=Secret".into()));
    let mut wrong = body.clone();
    wrong["metadata"]["name"] = json!("b");
    assert_eq!(said(wrong).await, (400, "the name of the object (b) does not match the name on the URL (a)".into()));
    let mut wrong = body.clone();
    wrong["metadata"]["uid"] = json!("x");
    let (status, message) = said(wrong).await;
    assert!(status == 409 && message.contains("uid mismatch"), "{message}");
    let mut wrong = body.clone();
    wrong["foo"] = json!(1);
    let message = "failed to create typed patch object (/a; /v1, Kind=ConfigMap): .foo: field not declared in schema";
    assert_eq!(said(wrong).await, (500, message.into()));
    let (status, _) = api.send("PATCH", &format!("{MAP}?fieldManager=me"), APPLY, "a: [").await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    let list = deployment(json!({"template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [
        {"name": "c", "image": "i"}, {"name": "c", "image": "j"}]}}}));
    let (_, said) = api.apply(WEB, "me", &list).await;
    let message = said["message"].as_str().unwrap();
    assert!(message.ends_with(".spec.template.spec.containers: duplicate entries for key [name=\"c\"]"), "{message}");
}

#[tokio::test]
async fn yaml_is_applied_and_a_dry_run_changes_nothing() {
    let api = Api::start().await;
    let yaml = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\ndata:\n  k: v\n";
    let (status, said) = api.send("PATCH", &format!("{MAP}?fieldManager=me&dryRun=All"), APPLY, yaml).await;
    assert_eq!((status, &said["data"]["k"]), (StatusCode::CREATED, &json!("v")));
    assert_eq!(api.get(MAP).await["code"], 404);
    let (status, _) = api.send("PATCH", &format!("{MAP}?fieldManager=me"), APPLY, yaml).await;
    assert_eq!(status, StatusCode::CREATED);
    let stale = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "resourceVersion": "1"}});
    assert_eq!(api.apply(MAP, "me", &stale).await.0, StatusCode::CONFLICT);
}

#[tokio::test]
async fn ports_are_told_apart_by_number_and_protocol() {
    let api = Api::start().await;
    let path = "/api/v1/namespaces/default/services/web";
    let service = |ports: Value| {
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"},
        "spec": {"selector": {"app": "web"}, "ports": ports}})
    };
    let both = json!([{"name": "t", "port": 53}, {"name": "u", "port": 53, "protocol": "UDP"}]);
    let (status, made) = api.apply(path, "me", &service(both)).await;
    assert_eq!(status, StatusCode::CREATED, "{made}");
    let ports = &managed(&made)[0].2["f:spec"]["f:ports"];
    let tcp = json!({".": {}, "f:name": {}, "f:port": {}});
    assert_eq!(ports[r#"k:{"port":53,"protocol":"TCP"}"#], tcp);
    assert!(ports[r#"k:{"port":53,"protocol":"UDP"}"#]["f:protocol"].is_object(), "{ports}");
    let (_, left) = api.apply(path, "me", &service(json!([{"name": "t", "port": 53}]))).await;
    assert_eq!(left["spec"]["ports"].as_array().unwrap().len(), 1, "{left}");
    assert_eq!(left["spec"]["ports"][0]["protocol"], "TCP");
}

#[tokio::test]
async fn a_status_has_managers_of_its_own() {
    let api = Api::start().await;
    let (_, made) = api.apply(WEB, "me", &deployment(json!({"replicas": 1}))).await;
    assert!(managed(&made)[0].2.get("f:status").is_none());
    let mut seen = made.clone();
    seen["status"] = json!({"replicas": 1, "observedGeneration": 1});
    seen["spec"]["replicas"] = json!(9);
    let (status, written) = api.put(&format!("{WEB}/status"), &seen).await;
    assert_eq!(status, StatusCode::OK, "{written}");
    let fields = json!({"f:status": {"f:observedGeneration": {}, "f:replicas": {}}});
    assert_eq!(managed(&written)[1], row("curl", "Update/status", fields));
    let applied = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
        "status": {"replicas": 2}});
    let (status, refused) = api.apply(&format!("{WEB}/status"), "other", &applied).await;
    assert_eq!(status, StatusCode::CONFLICT);
    let message = "Apply failed with 1 conflict: conflict with \"curl\" with subresource \"status\" using apps/v1: .status.replicas";
    assert_eq!(refused["message"], message);
    let (_, taken) = api.apply(&format!("{WEB}/status"), "other&force=true", &applied).await;
    assert_eq!(managed(&taken)[1], row("other", "Apply/status", json!({"f:status": {"f:replicas": {}}})));
    assert_eq!(taken["spec"]["replicas"], 1);
}

#[tokio::test]
async fn a_scale_takes_the_replicas_from_who_applied_them() {
    let api = Api::start().await;
    api.apply(WEB, "me", &deployment(json!({"replicas": 1}))).await;
    let scale = |replicas: u32| json!({"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": "web"}, "spec": {"replicas": replicas}});
    let (status, refused) = api.apply(&format!("{WEB}/scale"), "scaler", &scale(3)).await;
    assert_eq!(status, StatusCode::CONFLICT, "{refused}");
    assert_eq!(refused["message"], "Apply failed with 1 conflict: conflict with \"me\": .spec.replicas");
    let (status, scaled) = api.apply(&format!("{WEB}/scale"), "scaler&force=true", &scale(3)).await;
    assert_eq!((status, &scaled["spec"]["replicas"]), (StatusCode::OK, &json!(3)), "{scaled}");
    let web = api.get(WEB).await;
    let entry = |manager: &str| managed(&web).into_iter().find(|row| row.0 == manager).unwrap();
    assert_eq!(entry("scaler"), row("scaler", "Apply/scale", json!({"f:spec": {"f:replicas": {}}})));
    assert!(entry("me").2["f:spec"].get("f:replicas").is_none());
    let (_, scaled) = api.merge(&format!("{WEB}/scale"), json!({"spec": {"replicas": 4}})).await;
    assert_eq!(scaled["spec"]["replicas"], 4);
    let web = api.get(WEB).await;
    let rows = managed(&web);
    assert!(rows.iter().any(|row| row.1 == "Update/scale" && row.0 == "curl"), "{rows:?}");
    assert!(!rows.iter().any(|row| row.0 == "scaler"), "{rows:?}");
}

#[tokio::test]
async fn managed_fields_can_be_reset_and_rewritten_by_clients() {
    let api = Api::start().await;
    let (_, made) = api.apply(MAP, "me", &map(json!({"k": "v"}))).await;
    let renamed = json!([{"manager": "you", "operation": "Apply", "apiVersion": "v1", "time": "2026-01-01T00:00:00Z",
        "fieldsType": "FieldsV1", "fieldsV1": {"f:data": {"f:k": {}}}}]);
    let patch = json!([{"op": "replace", "path": "/metadata/managedFields", "value": renamed}]);
    let (status, said) = api.send("PATCH", MAP, "application/json-patch+json", &patch.to_string()).await;
    assert_eq!((status, &said["metadata"]["managedFields"]), (StatusCode::OK, &renamed), "{said}");
    assert_ne!(said["metadata"]["resourceVersion"], made["metadata"]["resourceVersion"]);
    for reset in [json!([{}]), json!([])] {
        api.merge(MAP, json!({"metadata": {"managedFields": renamed}})).await;
        let (status, said) = api.merge(MAP, json!({"metadata": {"managedFields": reset}})).await;
        assert_eq!((status, said["metadata"].get("managedFields")), (StatusCode::OK, None), "{said}");
    }
    // Untracked it stays, until it is applied to.
    let (_, said) = api.merge(MAP, json!({"data": {"k": "w"}})).await;
    assert_eq!(said["metadata"].get("managedFields"), None);
    let (_, said) = api.apply(MAP, "me", &map(json!({"l": "v"}))).await;
    let before = row("before-first-apply", "Update", json!({"f:data": {".": {}, "f:k": {}}}));
    assert_eq!(managed(&said), [row("me", "Apply", json!({"f:data": {"f:l": {}}})), before]);
}

#[tokio::test]
async fn each_version_of_an_autoscaler_has_managers_of_its_own() {
    let api = Api::start().await;
    let path = |version: &str| format!("/apis/autoscaling/{version}/namespaces/default/horizontalpodautoscalers/web");
    let target = json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"});
    let old = json!({"apiVersion": "autoscaling/v1", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "web"},
        "spec": {"maxReplicas": 3, "scaleTargetRef": target, "targetCPUUtilizationPercentage": 50}});
    let (status, made) = api.apply(&path("v1"), "old", &old).await;
    assert_eq!(status, StatusCode::CREATED, "{made}");
    let new = json!({"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "web"},
        "spec": {"maxReplicas": 4, "scaleTargetRef": target}});
    let (status, refused) = api.apply(&path("v2"), "new", &new).await;
    assert_eq!(status, StatusCode::CONFLICT, "{refused}");
    assert_eq!(refused["message"], "Apply failed with 1 conflict: conflict with \"old\": .spec.maxReplicas");
    let (status, taken) = api.apply(&path("v2"), "new&force=true", &new).await;
    assert_eq!(status, StatusCode::OK, "{taken}");
    let entries = taken["metadata"]["managedFields"].as_array().unwrap();
    let versions: Vec<&str> = entries.iter().map(|entry| entry["apiVersion"].as_str().unwrap()).collect();
    assert_eq!(versions.iter().filter(|version| **version == "autoscaling/v1").count(), 1, "{entries:?}");
    let old_entry = entries.iter().find(|entry| entry["manager"] == "old").unwrap();
    assert!(old_entry["fieldsV1"]["f:spec"].get("f:maxReplicas").is_none(), "{old_entry}");
    assert!(old_entry["fieldsV1"]["f:spec"].get("f:targetCPUUtilizationPercentage").is_some(), "{old_entry}");
}

#[tokio::test]
async fn kubectls_way_from_client_side_to_server_side_apply_settles() {
    let api = Api::start().await;
    let last = format!("{}\n", map(json!({"k": "v", "gone": "x"})));
    let mut made = map(json!({"k": "v", "gone": "x"}));
    made["metadata"]["annotations"] = json!({"kubectl.kubernetes.io/last-applied-configuration": last});
    let by = "fieldManager=kubectl-client-side-apply";
    api.send("POST", &format!("{MAPS}?{by}"), "application/json", &made.to_string()).await;
    // What client-side apply set is no conflict for `kubectl`.
    let (status, said) = api.apply(MAP, "kubectl", &map(json!({"k": "w"}))).await;
    assert_eq!(status, StatusCode::OK, "{said}");
    let annotation = said["metadata"]["annotations"]["kubectl.kubernetes.io/last-applied-configuration"].as_str();
    assert_eq!(annotation, Some(format!("{}\n", map(json!({"k": "w"}))).as_str()));
    // What somebody else set is.
    api.merge(MAP, json!({"data": {"k": "other"}})).await;
    assert_eq!(api.apply(MAP, "kubectl", &map(json!({"k": "w"}))).await.0, StatusCode::CONFLICT);
}
