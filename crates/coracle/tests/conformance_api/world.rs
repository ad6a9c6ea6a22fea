//! An API server with its controllers, and how tests ask it.

use std::time::Duration;

use apiserver::{ApiServer, Options};
use futures::{AsyncBufReadExt, TryStreamExt, io::Lines};
use http::{Request, StatusCode};
use kube::Client;
use serde_json::{Value, json};
use tokio_util::sync::{CancellationToken, DropGuard};

/// How long something may take to come about: far longer than it does.
const PATIENCE: Duration = Duration::from_secs(60);

/// An API server in this process; it ends with this.
pub struct World {
    client: Client,
    _stop: DropGuard,
    _dir: tempfile::TempDir,
}

/// The media type of JSON merge patches.
pub const MERGE: &str = "application/merge-patch+json";

impl World {
    pub async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let options =
            Options { data_dir: dir.path().to_owned(), service_cidr: "10.43.0.0/16".to_owned(), names: Vec::new() };
        let server = ApiServer::open(options).await.unwrap();
        let client = server.client("tester");
        let stop = CancellationToken::new();
        tokio::spawn(controllers::run(move |name| server.client(name), controllers::Options::default(), stop.clone()));
        Self { client, _stop: stop.drop_guard(), _dir: dir }
    }

    /// The status, the headers and the bytes of an answer.
    pub async fn raw(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> (StatusCode, http::HeaderMap, Vec<u8>) {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = self.client.send(request.body(kube::client::Body::from(body)).unwrap()).await.unwrap();
        let (status, headers) = (answer.status(), answer.headers().clone());
        (status, headers, answer.into_body().collect_bytes().await.unwrap().to_vec())
    }

    /// The status and the JSON of an answer.
    pub async fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &Value) -> (StatusCode, Value) {
        let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        let (status, _, bytes) = self.raw(method, path, headers, body).await;
        (status, serde_json::from_slice(&bytes).unwrap_or_default())
    }

    pub async fn get(&self, path: &str) -> (StatusCode, Value) {
        self.ask("GET", path, &[], &Value::Null).await
    }

    /// What must be there.
    pub async fn found(&self, path: &str) -> Value {
        let (status, value) = self.get(path).await;
        assert_eq!(status, StatusCode::OK, "{path}: {value}");
        value
    }

    pub async fn post(&self, path: &str, body: Value) -> (StatusCode, Value) {
        self.ask("POST", path, &[("content-type", "application/json")], &body).await
    }

    /// What must be made.
    pub async fn make(&self, path: &str, body: Value) -> Value {
        let (status, value) = self.post(path, body).await;
        assert_eq!(status, StatusCode::CREATED, "{path}: {value}");
        value
    }

    pub async fn put(&self, path: &str, body: &Value) -> Value {
        let (status, value) = self.ask("PUT", path, &[("content-type", "application/json")], body).await;
        assert_eq!(status, StatusCode::OK, "{path}: {value}");
        value
    }

    pub async fn patch(&self, path: &str, body: Value) -> Value {
        let (status, value) = self.ask("PATCH", path, &[("content-type", MERGE)], &body).await;
        assert_eq!(status, StatusCode::OK, "{path}: {value}");
        value
    }

    pub async fn delete(&self, path: &str, options: Value) -> (StatusCode, Value) {
        self.ask("DELETE", path, &[("content-type", "application/json")], &options).await
    }

    /// A namespace of its own for a test.
    pub async fn namespace(&self, name: &str) -> String {
        self.make("/api/v1/namespaces", json!({"metadata": {"name": name}})).await;
        name.to_owned()
    }

    /// Resolves when what is at a path satisfies; it looks again at every change of the collection that the path is in.
    pub async fn until(&self, path: &str, satisfied: impl Fn(StatusCode, &Value) -> bool) -> Value {
        let collection = path.rsplit_once('/').unwrap().0;
        let wait = async {
            let mut changes = self.watch(collection, "").await;
            loop {
                let (status, value) = self.get(path).await;
                if satisfied(status, &value) {
                    return value;
                }
                changes.next().await;
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("{path} did not become what it should"))
    }

    pub async fn until_gone(&self, path: &str) {
        self.until(path, |status, _| status == StatusCode::NOT_FOUND).await;
    }

    pub async fn watch(&self, path: &str, query: &str) -> Events<impl futures::AsyncBufRead + Unpin + use<>> {
        let request = Request::get(format!("{path}?watch=true&{query}")).body(Vec::new()).unwrap();
        Events(self.client.request_stream(request).await.unwrap().lines())
    }
}

/// The events of a watch.
pub struct Events<R>(Lines<R>);

impl<R: futures::AsyncBufRead + Unpin> Events<R> {
    pub async fn next(&mut self) -> Value {
        let line = tokio::time::timeout(PATIENCE, self.0.try_next()).await.unwrap();
        serde_json::from_str(&line.unwrap().unwrap()).unwrap()
    }

    /// Its type, and the name of its object.
    pub async fn brief(&mut self) -> String {
        let event = self.next().await;
        format!("{} {}", event["type"].as_str().unwrap(), event["object"]["metadata"]["name"].as_str().unwrap_or("-"))
    }
}

/// The names of the objects of a list.
pub fn names(list: &Value) -> Vec<&str> {
    list["items"].as_array().unwrap().iter().map(|item| item["metadata"]["name"].as_str().unwrap()).collect()
}
