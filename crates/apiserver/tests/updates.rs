//! Updates and patches: of what is there, and of what is not.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed step of a test is its failure")]

#[path = "support/api.rs"]
mod api;

use api::Api;
use http::StatusCode;
use serde_json::{Value, json};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

fn config_map(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"a": "b"}})
}

#[tokio::test]
async fn a_change_does_not_make_an_object_one_of_another_kind() {
    let api = Api::start().await;
    assert_eq!(api.ask("POST", MAPS, &[], config_map("a")).await.0, StatusCode::CREATED);
    let one = format!("{MAPS}/a");
    let metadata = json!({"name": "a"});
    for (api_version, kind) in [("v1", "Secret"), ("v2", "ConfigMap"), ("", "Secret"), ("v2", "")] {
        let said = json!({"apiVersion": api_version, "kind": kind, "metadata": metadata});
        assert_eq!(api.ask("PUT", &one, &[], said.clone()).await.0, StatusCode::BAD_REQUEST, "{said}");
    }
    let merge = [("content-type", "application/merge-patch+json")];
    for change in [json!({"kind": "Secret"}), json!({"apiVersion": "v2"})] {
        let (status, said) = api.ask("PATCH", &one, &merge, change).await;
        assert_eq!(
            (status, &said["details"]["causes"][0]["field"]),
            (StatusCode::UNPROCESSABLE_ENTITY, &json!("patch"))
        );
    }
    let strategic = [("content-type", "application/strategic-merge-patch+json")];
    let change = json!({"kind": "Secret", "data": {"a": "c"}});
    let (status, changed) = api.ask("PATCH", &one, &strategic, change).await;
    assert_eq!((status, &changed["kind"], &changed["data"]["a"]), (StatusCode::OK, &json!("ConfigMap"), &json!("c")));
    let none = json!({"metadata": {"name": "a", "resourceVersion": "0"}});
    assert_eq!(api.ask("PUT", &one, &[], none).await.0, StatusCode::OK, "0 is no version");
    // Nothing said is right, and nothing is lost.
    let (_, changed) = api.ask("PATCH", &one, &merge, json!({"kind": null})).await;
    assert_eq!(changed["kind"], "ConfigMap", "{changed}");
    let (status, changed) = api.ask("PUT", &one, &[], json!({"metadata": metadata})).await;
    let is = (&changed["apiVersion"], &changed["kind"]);
    assert_eq!((status, is), (StatusCode::OK, (&json!("v1"), &json!("ConfigMap"))), "{changed}");
}

#[tokio::test]
async fn an_object_of_another_version_is_not_made_where_this_one_is_served() {
    let api = Api::start().await;
    let scaler = json!({"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "a"},
        "spec": {"maxReplicas": 2, "scaleTargetRef": {"kind": "Deployment", "name": "d"}}});
    for (version, wanted) in [("v1", StatusCode::BAD_REQUEST), ("v2", StatusCode::CREATED)] {
        let all = format!("/apis/autoscaling/{version}/namespaces/default/horizontalpodautoscalers");
        let (status, said) = api.ask("POST", &all, &[], scaler.clone()).await;
        assert_eq!(status, wanted, "{said}");
    }
}

/// Objects of the kinds that an update makes, by their collections.
fn made_by_updates() -> Vec<(&'static str, Value)> {
    const RBAC: &str = "rbac.authorization.k8s.io";
    let of = |api_version: &str, kind: &str, mut rest: Value| {
        let root = json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": "a", "labels": {"l": "0"}}});
        rest.as_object_mut().unwrap().extend(root.as_object().unwrap().clone());
        rest
    };
    let role = |kind: &str| json!({"apiGroup": RBAC, "kind": kind, "name": "r"});
    let rbac = format!("{RBAC}/v1");
    vec![
        ("/api/v1/namespaces/default/services", of("v1", "Service", json!({"spec": {"ports": [{"port": 80}]}}))),
        ("/api/v1/namespaces/default/endpoints", of("v1", "Endpoints", json!({}))),
        ("/api/v1/namespaces/default/limitranges", of("v1", "LimitRange", json!({"spec": {"limits": []}}))),
        (
            "/api/v1/namespaces/default/events",
            of("v1", "Event", json!({"involvedObject": {"namespace": "default", "kind": "Pod", "name": "p"}})),
        ),
        ("/apis/coordination.k8s.io/v1/namespaces/default/leases", of("coordination.k8s.io/v1", "Lease", json!({}))),
        ("/apis/node.k8s.io/v1/runtimeclasses", of("node.k8s.io/v1", "RuntimeClass", json!({"handler": "h"}))),
        ("/apis/rbac.authorization.k8s.io/v1/clusterroles", of(&rbac, "ClusterRole", json!({"rules": []}))),
        ("/apis/rbac.authorization.k8s.io/v1/namespaces/default/roles", of(&rbac, "Role", json!({"rules": []}))),
        (
            "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
            of(&rbac, "ClusterRoleBinding", json!({"roleRef": role("ClusterRole")})),
        ),
        (
            "/apis/rbac.authorization.k8s.io/v1/namespaces/default/rolebindings",
            of(&rbac, "RoleBinding", json!({"roleRef": role("Role")})),
        ),
    ]
}

#[tokio::test]
async fn an_update_makes_what_is_not_there_of_the_kinds_that_allow_it() {
    let api = Api::start().await;
    for (all, mut object) in made_by_updates() {
        let one = format!("{all}/a");
        let agent = [("user-agent", "tool/1.0")];
        let (status, tried) = api.ask("PUT", &format!("{one}?dryRun=All"), &agent, object.clone()).await;
        assert_eq!((status, api.get(&one).await.0), (StatusCode::CREATED, StatusCode::NOT_FOUND), "{tried}");
        // The version of an object that was there once is no obstacle; what only the server says is not taken.
        object["metadata"]["resourceVersion"] = json!("5");
        object["metadata"]["creationTimestamp"] = json!("2001-01-01T00:00:00Z");
        let (status, made) = api.ask("PUT", &one, &agent, object.clone()).await;
        assert_eq!(status, StatusCode::CREATED, "{made}");
        assert_eq!(api.get(&one).await.1, made);
        let metadata = &made["metadata"];
        assert_eq!(metadata["uid"].as_str().map(str::len), Some(36), "{made}");
        assert!(!metadata["creationTimestamp"].as_str().unwrap().starts_with("2001"), "{made}");
        let entry = &metadata["managedFields"][0];
        assert_eq!((&entry["manager"], &entry["operation"]), (&json!("tool"), &json!("Update")), "{made}");
        // The next is an update.
        object["metadata"]["resourceVersion"] = metadata["resourceVersion"].clone();
        object["metadata"]["labels"] = json!({"l": "1"});
        let (status, changed) = api.ask("PUT", &one, &agent, object).await;
        assert_eq!((status, &changed["metadata"]["uid"]), (StatusCode::OK, &metadata["uid"]), "{changed}");
    }
    let (_, made) = api.get("/api/v1/namespaces/default/services/a").await;
    assert!(made["spec"]["clusterIP"].as_str().unwrap().starts_with("10.43."), "{made}");
}

#[tokio::test]
async fn an_update_makes_nothing_where_something_is_wrong() {
    let api = Api::start().await;
    let put = async |path: &str, metadata: Value| {
        let service =
            json!({"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": {"ports": [{"port": 80}]}});
        let (status, said) = api.ask("PUT", path, &[], service).await;
        (status.as_u16(), said["message"].as_str().unwrap_or_default().to_owned())
    };
    let one = "/api/v1/namespaces/default/services/a";
    let (status, said) = put(one, json!({"name": "a", "uid": "u"})).await;
    assert_eq!(status, 409, "the one that was meant is gone: {said}");
    assert!(said.ends_with("Precondition failed: UID in precondition: u, UID in object meta: "), "{said}");
    assert_eq!(put(one, json!({"name": "b"})).await.0, 400);
    let (status, said) = put(one, json!({"name": "a", "namespace": "b"})).await;
    assert_eq!(
        (status, said.as_str()),
        (400, "the namespace of the object (b) does not match the namespace on the request (default)")
    );
    assert_eq!(put("/api/v1/namespaces/default/services/a/status", json!({"name": "a"})).await.0, 404);
    assert_eq!(put("/api/v1/namespaces/default/services/A", json!({"name": "A"})).await.0, 422);
    let (status, said) = put("/api/v1/namespaces/none/services/a", json!({"name": "a"})).await;
    assert_eq!((status, said.as_str()), (404, "namespaces \"none\" not found"));
    let ending =
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "ending", "finalizers": ["a.b/c"]}});
    api.ask("POST", "/api/v1/namespaces", &[], ending).await;
    api.ask("DELETE", "/api/v1/namespaces/ending", &[], Value::Null).await;
    let (status, said) = put("/api/v1/namespaces/ending/services/a", json!({"name": "a"})).await;
    assert_eq!(status, 403, "{said}");
    assert_eq!(api.get(one).await.0, StatusCode::NOT_FOUND, "nothing was made");
    let (status, said) = api.ask("PUT", &format!("{MAPS}/a"), &[], config_map("a")).await;
    assert_eq!((status, &said["message"]), (StatusCode::NOT_FOUND, &json!("configmaps \"a\" not found")));
}
