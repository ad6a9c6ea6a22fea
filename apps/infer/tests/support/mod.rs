//! The service on a free port.

#![allow(dead_code, reason = "each test file uses its part of this")]

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{Json, Router, extract::State, response::IntoResponse, routing::post};
use infer::{Config, jobs::Retries, rules::Ruleset};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::Notify, task::JoinHandle};
use tokio_util::sync::CancellationToken;

/// Longer than anything takes that works.
pub const PATIENCE: Duration = Duration::from_secs(20);

pub struct Infer {
    pub url: String,
    http: reqwest::Client,
    stop: CancellationToken,
    served: JoinHandle<std::io::Result<()>>,
}

impl Infer {
    pub async fn start() -> Self {
        Self::with(&Config::default(), Ruleset::built_in().unwrap()).await
    }

    pub async fn with(config: &Config, rules: Ruleset) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let stop = CancellationToken::new();
        let service = infer::service(config, rules).unwrap();
        let served = tokio::spawn(service.serve(listener, stop.clone()));
        Self { url, http: reqwest::Client::new(), stop, served }
    }

    /// Stops the service and waits until it has ended, so that another may have its directory.
    pub async fn stop(self) {
        let Self { http, stop, served, .. } = self;
        drop(http);
        stop.cancel();
        served.await.unwrap().unwrap();
    }

    pub fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.http.request(method, format!("{}{path}", self.url))
    }

    pub async fn send(&self, method: Method, path: &str, body: Option<&Value>) -> (StatusCode, Value) {
        let request = self.request(method, path);
        let request = if let Some(body) = body { request.json(body) } else { request };
        let response = request.send().await.unwrap();
        (response.status(), response.json().await.unwrap())
    }

    pub async fn post(&self, path: &str, body: &Value) -> (StatusCode, Value) {
        self.send(Method::POST, path, Some(body)).await
    }

    pub async fn get(&self, path: &str) -> (StatusCode, Value) {
        self.send(Method::GET, path, None).await
    }

    /// The job, once it is in this state.
    pub async fn job(&self, id: &Value, state: &str) -> Value {
        let path = format!("/v1/jobs/{}", id.as_str().unwrap());
        let look = async {
            loop {
                let (status, job) = self.get(&path).await;
                assert_eq!(status, 200, "{job}");
                if job["state"] == state {
                    return job;
                }
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, look).await.unwrap()
    }
}

pub fn config_in(directory: &Path) -> Config {
    Config { directory: Some(directory.to_owned()), ..Config::default() }
}

pub fn facts() -> Value {
    json!({"amount_cents": 4200, "currency": "EUR", "country": "DE", "account_age_days": 400})
}

/// Rules that need to know what `url` says of the facts.
pub fn asking(url: &str) -> Ruleset {
    Ruleset::read(&asking_in_json(url).to_string()).unwrap()
}

/// The same, as a file has them.
pub fn asking_in_json(url: &str) -> Value {
    json!({
        "name": "asking", "version": "1", "input": {"type": "object"}, "outputs": {"level": "low"},
        "sources": [{"name": "risk", "url": url, "timeout_ms": 10_000, "required": true}],
        "rules": [{
            "id": "high", "when": {"fact": "/sources/risk/level", "op": "gt", "value": 5},
            "then": [{"set": {"output": "level", "value": "high"}}],
        }],
    })
}

/// A source that counts how often it is asked, fails as often as it is told, and then answers once it may.
pub struct Risk {
    pub asked: AtomicUsize,
    pub failures: AtomicUsize,
    pub may_answer: Notify,
    pub was_asked: Notify,
}

impl Risk {
    pub async fn start(failures: usize) -> (Arc<Self>, String) {
        let risk = Arc::new(Self {
            asked: AtomicUsize::new(0),
            failures: AtomicUsize::new(failures),
            may_answer: Notify::new(),
            was_asked: Notify::new(),
        });
        let router = Router::new().route("/", post(Self::ask)).with_state(Arc::clone(&risk));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        tokio::spawn(axum::serve(listener, router).into_future());
        (risk, url)
    }

    async fn ask(State(risk): State<Arc<Self>>) -> axum::response::Response {
        risk.asked.fetch_add(1, Ordering::SeqCst);
        risk.was_asked.notify_one();
        let fails = risk.failures.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok();
        if fails {
            return StatusCode::INTERNAL_SERVER_ERROR.into_response();
        }
        risk.may_answer.notified().await;
        Json(json!({"level": 9})).into_response()
    }
}

pub fn soon() -> Retries {
    Retries { attempts: 3, first: Duration::from_millis(2), longest: Duration::from_millis(4) }
}

pub fn later() -> Value {
    json!({"facts": {}, "mode": "async"})
}
