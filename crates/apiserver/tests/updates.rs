//! Updates and patches: of what is there, and of what is not.

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

impl Api {
    async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let options =
            Options { data_dir: dir.path().to_owned(), service_cidr: "10.43.0.0/16".to_owned(), names: Vec::new() };
        let server = ApiServer::open(options).await.unwrap();
        Self { client: server.client("tester"), _dir: dir }
    }

    /// The status and the JSON of an answer.
    async fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: Value) -> (StatusCode, Value) {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        let answer = self.client.send(request.body(kube::client::Body::from(body)).unwrap()).await.unwrap();
        let status = answer.status();
        let bytes = answer.into_body().collect_bytes().await.unwrap();
        (status, serde_json::from_slice(&bytes).unwrap())
    }
}

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
