//! An API server, and what asks it in HTTP's own terms.

use apiserver::{ApiServer, Options};
use http::{Request, StatusCode};
use kube::Client;
use serde_json::Value;

/// An API server in this process; its directory goes with it.
pub struct Api {
    pub client: Client,
    _dir: tempfile::TempDir,
}

impl Api {
    pub async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let options =
            Options { data_dir: dir.path().to_owned(), service_cidr: "10.43.0.0/16".to_owned(), names: Vec::new() };
        let server = ApiServer::open(options).await.unwrap();
        Self { client: server.client("tester"), _dir: dir }
    }

    /// The status and the JSON of an answer.
    pub async fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: Value) -> (StatusCode, Value) {
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

    pub async fn get(&self, path: &str) -> (StatusCode, Value) {
        self.ask("GET", path, &[], Value::Null).await
    }
}
