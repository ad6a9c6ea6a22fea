//! The service on a free port, and an endpoint for it to ask that behaves as it is told.

#![allow(dead_code, reason = "each test file uses its part of this")]

use std::{
    collections::VecDeque,
    convert::Infallible,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::State,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
    routing::post,
};
use futures::{StreamExt, stream};
use llm::{
    config::{Config, Prices},
    desk::Source,
    model::Model,
    upstream::{self, Upstream},
};
use serde_json::{Value, json};
use service::{Limits, config::Secret};
use tokio::{
    net::TcpListener,
    sync::{Notify, mpsc},
};
use tokio_util::sync::{CancellationToken, DropGuard};

/// Longer than anything takes that works.
pub const PATIENCE: Duration = Duration::from_secs(20);

const TEXT: &str = "the cat sat on the mat, and the dog lay by the door.\nthe dog saw the cat, and the cat saw the dog.\n\
                    on the mat the cat lay, and by the door the dog sat.\nwhere is the cat? the cat is on the mat, said the dog.\n";

/// A running service; dropping it stops it.
pub struct Llm {
    pub url: String,
    pub http: reqwest::Client,
    _stop: DropGuard,
}

impl Llm {
    pub async fn built_in() -> Self {
        Self::start(&Config::default(), Source::BuiltIn(Arc::new(Model::train(TEXT))), Limits::default()).await
    }

    pub async fn asking(endpoint: &Endpoint) -> Self {
        Self::asking_with(endpoint, |_| {}).await
    }

    pub async fn asking_with(endpoint: &Endpoint, change: impl FnOnce(&mut Config)) -> Self {
        Self::asking_within(endpoint, Limits::default(), change).await
    }

    pub async fn asking_within(endpoint: &Endpoint, limits: Limits, change: impl FnOnce(&mut Config)) -> Self {
        let upstream = upstream::Config {
            base: endpoint.url.parse().unwrap(),
            key: Some(Secret::new("sk-secret")),
            model: "big-model".to_owned(),
            connect: PATIENCE,
            silence: PATIENCE,
            total: PATIENCE,
            attempts: 3,
        };
        let prices = Prices { prompt: 1.0, completion: 2.0 };
        let mut config = Config { upstream: Some(upstream), prices, ..Config::default() };
        change(&mut config);
        let source = Source::Upstream(Box::new(Upstream::new(config.upstream.clone().unwrap()).unwrap()));
        Self::start(&config, source, limits).await
    }

    async fn start(config: &Config, source: Source, limits: Limits) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let stop = CancellationToken::new();
        let service = llm::service(config, source).unwrap().limits(limits);
        tokio::spawn(service.serve(listener, stop.clone()));
        Self { url, http: reqwest::Client::new(), _stop: stop.drop_guard() }
    }

    pub async fn post(&self, path: &str, body: &Value) -> reqwest::Response {
        self.http.post(format!("{}{path}", self.url)).json(body).send().await.unwrap()
    }

    pub async fn chat(&self, body: &Value) -> (StatusCode, Value) {
        let response = self.post("/chat", body).await;
        (response.status(), response.json().await.unwrap())
    }

    pub async fn get(&self, path: &str) -> String {
        let response = self.http.get(format!("{}{path}", self.url)).send().await.unwrap();
        assert_eq!(response.status(), 200, "{path}");
        response.text().await.unwrap()
    }

    /// The newest trace, once it satisfies `wanted`.
    pub async fn trace(&self, wanted: impl Fn(&Value) -> bool) -> Value {
        let look = async {
            loop {
                let list: Value = serde_json::from_str(&self.get("/traces?limit=1").await).unwrap();
                let trace = list["traces"][0].clone();
                if wanted(&trace) {
                    return trace;
                }
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, look).await.unwrap()
    }
}

pub fn say(text: &str) -> Value {
    json!({"messages": [{"role": "user", "content": text}]})
}

/// The data of server-sent events, with their names.
pub fn events(text: &str) -> Vec<(String, String)> {
    let events = text.split("\n\n").filter(|event| !event.is_empty());
    events
        .map(|event| {
            let field =
                |name: &str| event.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().to_owned();
            (field("event: "), field("data: "))
        })
        .collect()
}

/// What an endpoint does with one request.
pub enum Act {
    /// Answers with a status, a `Retry-After` and a body.
    Status(u16, Option<&'static str>, &'static str),
    /// Streams these pieces and ends.
    Stream(Vec<String>),
    /// Streams these pieces, then breaks the connection once it is told to.
    Break(Vec<String>, Arc<Notify>),
    /// Streams these pieces, then never anything again; the sender is told when the connection is gone.
    Hang(Vec<String>, mpsc::UnboundedSender<()>),
    /// Streams these pieces once it may.
    Later(Vec<String>, Arc<Notify>),
    /// Never answers.
    Silence,
    /// One JSON document, though asked to stream.
    Whole(Value),
}

/// A piece of a completion as an event.
pub fn piece(text: &str) -> String {
    format!("data: {}\n\n", json!({"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": null}]}))
}

/// How a completion ends.
pub fn end() -> Vec<String> {
    vec![
        format!("data: {}\n\n", json!({"choices": [{"delta": {}, "finish_reason": "stop"}]})),
        format!("data: {}\n\n", json!({"choices": [], "usage": {"prompt_tokens": 1000, "completion_tokens": 500}})),
        "data: [DONE]\n\n".to_owned(),
    ]
}

struct Script {
    acts: Mutex<VecDeque<Act>>,
    asked: Mutex<Vec<(HeaderMap, Value)>>,
}

/// An OpenAI-compatible endpoint on a free port.
pub struct Endpoint {
    pub url: String,
    script: Arc<Script>,
    _stop: DropGuard,
}

impl Endpoint {
    pub async fn start(acts: impl IntoIterator<Item = Act>) -> Self {
        let script = Arc::new(Script { acts: Mutex::new(acts.into_iter().collect()), asked: Mutex::default() });
        let router = Router::new().route("/v1/chat/completions", post(act)).with_state(Arc::clone(&script));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/v1", listener.local_addr().unwrap());
        let stop = CancellationToken::new();
        let token = stop.clone();
        tokio::spawn(async move {
            tokio::select! {
                _ = axum::serve(listener, router).into_future() => {}
                () = token.cancelled() => {}
            }
        });
        Self { url, script, _stop: stop.drop_guard() }
    }

    /// The requests so far.
    pub fn asked(&self) -> Vec<(HeaderMap, Value)> {
        self.script.asked.lock().unwrap().clone()
    }
}

async fn act(State(script): State<Arc<Script>>, headers: HeaderMap, body: Bytes) -> Response {
    script.asked.lock().unwrap().push((headers, serde_json::from_slice(&body).unwrap()));
    let act = script.acts.lock().unwrap().pop_front().unwrap_or(Act::Status(500, None, "nothing more was planned"));
    let pieces = |pieces: Vec<String>| stream::iter(pieces.into_iter().map(Ok::<_, std::io::Error>));
    let streamed = |body| ([("content-type", "text/event-stream")], body).into_response();
    match act {
        Act::Status(status, after, body) => {
            let mut response = (StatusCode::from_u16(status).unwrap(), body).into_response();
            response.headers_mut().extend(after.map(|after| (axum::http::header::RETRY_AFTER, after.parse().unwrap())));
            response
        }
        Act::Stream(list) => streamed(Body::from_stream(pieces(list))),
        Act::Break(list, now) => {
            let broken = stream::once(async move {
                now.notified().await;
                Err(std::io::Error::other("broken on purpose"))
            });
            streamed(Body::from_stream(pieces(list).chain(broken)))
        }
        Act::Hang(list, gone) => {
            let guard = Gone(gone);
            let never = stream::once(async move {
                let _guard = guard;
                futures::future::pending::<Result<String, std::io::Error>>().await
            });
            streamed(Body::from_stream(pieces(list).chain(never)))
        }
        Act::Later(list, now) => {
            now.notified().await;
            streamed(Body::from_stream(pieces(list)))
        }
        Act::Silence => match futures::future::pending::<Infallible>().await {},
        Act::Whole(value) => axum::Json(value).into_response(),
    }
}

struct Gone(mpsc::UnboundedSender<()>);

impl Drop for Gone {
    fn drop(&mut self) {
        let _ = self.0.send(());
    }
}
