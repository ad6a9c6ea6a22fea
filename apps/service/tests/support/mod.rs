//! A service for tests, on a real socket, and a client that speaks bytes.

#![allow(dead_code, reason = "each test binary uses a part of it")]
#![allow(unused_qualifications, reason = "the macro that documents handlers writes them")]

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::body::Body;
use garde::Validate;
use service::{
    Limits, Service,
    extract::{ClientAddress, Json, Path, Query, RequestId},
    problem::{Answer, Problem},
    trace::Propagate,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::{Notify, Semaphore},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

/// What the test service's handlers wait for, and tell.
#[derive(Clone)]
pub struct Gates {
    /// A request is in `/wait`.
    pub entered: Arc<Notify>,
    /// Lets requests out of `/wait`, one for each permit.
    pub leave: Arc<Semaphore>,
}

impl Gates {
    pub fn new() -> Self {
        Self { entered: Arc::default(), leave: Arc::new(Semaphore::new(0)) }
    }
}

#[derive(Debug, serde::Serialize, serde::Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Item {
    /// What it is called.
    #[garde(length(chars, min = 1, max = 20))]
    #[schema(min_length = 1, max_length = 20)]
    pub name: String,
    /// How many.
    #[garde(range(max = 100))]
    #[schema(maximum = 100)]
    pub count: u32,
}

#[derive(Debug, serde::Deserialize, Validate, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct Page {
    /// How many at most.
    #[garde(range(min = 1, max = 50))]
    #[param(minimum = 1, maximum = 50)]
    pub limit: Option<u32>,
}

/// Returns what it is sent.
#[utoipa::path(post, path = "/items", request_body = Item, responses((status = 200, body = Item)))]
async fn echo(Json(item): Json<Item>) -> Answer<Json<Item>> {
    Ok(Json(item))
}

/// Says how many were asked for.
#[utoipa::path(get, path = "/items", params(Page), responses((status = 200, body = u32)))]
async fn list(Query(page): Query<Page>) -> Answer<Json<u32>> {
    Ok(Json(page.limit.unwrap_or(50)))
}

/// Finds nothing.
#[utoipa::path(get, path = "/items/{id}", params(("id" = u32, Path)), responses((status = 404, body = Problem, content_type = "application/problem+json")))]
async fn find(Path(id): Path<u32>) -> Answer<Json<Item>> {
    Err(Problem::not_found(format!("there is no item {id}")))
}

async fn wait(axum::extract::State(gates): axum::extract::State<Gates>) -> &'static str {
    gates.entered.notify_one();
    gates.leave.acquire().await.unwrap().forget();
    "done"
}

async fn panics() -> &'static str {
    panic!("on purpose")
}

async fn fails() -> Answer<&'static str> {
    let cause = std::io::Error::other("password=hunter2");
    Err(Problem::internal(cause))
}

async fn who(id: RequestId, client: ClientAddress) -> String {
    let headers = http::HeaderMap::new().in_trace();
    let parent = headers.get("traceparent").and_then(|v| v.to_str().ok()).unwrap_or_default().to_owned();
    tracing::info!(answer = 42, "said who");
    format!("{} {} {parent}", id.0, client.0)
}

async fn stream() -> Body {
    let pieces = futures::stream::iter(["one ", "two ", "three"].map(Ok::<_, std::io::Error>));
    Body::from_stream(pieces)
}

/// The test service.
pub fn service(gates: Gates) -> Service {
    let plain = axum::Router::new()
        .route("/wait", axum::routing::get(wait))
        .route("/wait/longer", axum::routing::get(wait))
        .route("/panic", axum::routing::get(panics))
        .route("/fail", axum::routing::get(fails))
        .route("/who", axum::routing::get(who))
        .route("/stream", axum::routing::get(stream))
        .with_state(gates);
    let described = OpenApiRouter::new().routes(routes!(echo, list)).routes(routes!(find));
    Service::new("tested", "1.2.3").routes(described.merge(OpenApiRouter::from(plain)))
}

/// Short bounds, so that tests of bounds are short.
pub fn tight() -> Limits {
    Limits {
        body_bytes: 64 * 1024,
        body_time: Duration::from_millis(150),
        head_time: Duration::from_millis(150),
        request_time: Duration::from_secs(5),
        in_flight: 2,
        ..Limits::default()
    }
}

/// A service that runs until it is stopped or dropped.
pub struct Running {
    pub address: SocketAddr,
    pub stop: CancellationToken,
    pub ended: JoinHandle<std::io::Result<()>>,
    _guard: tokio_util::sync::DropGuard,
}

impl Running {
    pub async fn new(service: Service) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let ended = tokio::spawn(service.serve(listener, stop.clone()));
        Self { address, _guard: stop.clone().drop_guard(), stop, ended }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Sends bytes, and reads until the service closes the connection.
    pub async fn raw(&self, request: &[u8]) -> String {
        let mut stream = self.connect().await;
        stream.write_all(request).await.unwrap();
        read_to_end(&mut stream).await
    }
}

/// Everything until the other side closes; a reset is an end too.
pub async fn read_to_end(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut bytes = Vec::new();
    let mut piece = [0; 4096];
    while let Ok(n @ 1..) = stream.read(&mut piece).await {
        bytes.extend_from_slice(&piece[..n]);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The JSON body of a raw response.
pub fn body_of(response: &str) -> serde_json::Value {
    let (_, body) = response.split_once("\r\n\r\n").unwrap();
    serde_json::from_str(body).unwrap()
}
