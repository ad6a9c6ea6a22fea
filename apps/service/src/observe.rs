//! What surrounds the handling of every request: its identity, bounds on it, a net under it, and the record of it.

use std::{
    convert::Infallible,
    net::SocketAddr,
    panic::AssertUnwindSafe,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    body::Body,
    extract::MatchedPath,
    response::{IntoResponse, Response},
};
use futures::{FutureExt, future::BoxFuture};
use http::{HeaderValue, Method, Request, StatusCode, header};
use tower::{Layer, Service};
use tracing::{Instrument, Span, field::Empty};

use crate::{
    body::Bounded,
    extract::{ClientAddress, RequestId},
    health::Health,
    log::REQUEST,
    metrics::{HttpMetrics, UNMATCHED},
    openapi,
    problem::{MEDIA_TYPE, Problem},
    record::{Exchange, Recorded},
    settings::Limits,
    trace::{self, Ids, TraceContext, X_REQUEST_ID},
};

/// What all requests share.
pub(crate) struct Shared {
    pub metrics: HttpMetrics,
    pub health: Arc<Health>,
    pub limits: Limits,
    /// Routes that may take longer than the limits say.
    pub times: Vec<(&'static str, Duration)>,
    /// Whether spans go to a collector: only then are they given attributes.
    pub traced: bool,
}

impl Shared {
    /// How long the handler of this request may take until it begins to answer.
    fn time_for(&self, request: &Request<Body>) -> Duration {
        let common = self.limits.request_time;
        if self.times.is_empty() {
            return common;
        }
        let route = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str);
        let own = self.times.iter().find(|(path, _)| Some(*path) == route);
        own.map_or(common, |(_, time)| common.max(*time))
    }
}

/// Who connected.
#[derive(Clone, Copy)]
pub(crate) struct Peer(pub SocketAddr);

/// Surrounds every route, and the answer to requests that no route takes.
#[derive(Clone)]
pub(crate) struct ObserveLayer(pub Arc<Shared>);

impl<S> Layer<S> for ObserveLayer {
    type Service = Observe<S>;

    fn layer(&self, inner: S) -> Observe<S> {
        Observe { inner, shared: Arc::clone(&self.0) }
    }
}

#[derive(Clone)]
pub(crate) struct Observe<S> {
    inner: S,
    shared: Arc<Shared>,
}

impl<S> Service<Request<Body>> for Observe<S>
where
    S: Service<Request<Body>, Response = Response, Error = Infallible, Future: Send + 'static>,
{
    type Response = Response;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response, Infallible>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let shared = Arc::clone(&self.shared);
        let (ids, exchange) = begin(&shared, &mut request);
        let span = exchange.span().clone();
        let time = shared.time_for(&request);
        let answer = match refusal(&shared, &request, &exchange) {
            Some(refusal) => Err(refusal),
            None => Ok(self.inner.call(request)),
        };
        let known = Arc::clone(&ids);
        let handling = async move {
            let response = match answer {
                Ok(answer) => contain(answer, time, &shared).await,
                Err(refusal) => refusal.into_response(),
            };
            Ok(finish(response, &shared, &known, exchange))
        };
        Box::pin(trace::scope(ids, handling).instrument(span))
    }
}

/// Gives the request its identity and bounds, and begins the record of it.
fn begin(shared: &Arc<Shared>, request: &mut Request<Body>) -> (Arc<Ids>, Exchange) {
    let headers = request.headers();
    let peer = request.extensions().get::<Peer>().map_or(([0, 0, 0, 0], 0).into(), |peer| peer.0);
    let client = ClientAddress::of(peer.ip(), shared.limits.trusted_proxies, headers);
    let id = trace::request_id_of(headers).map_or_else(|| trace::new_request_id(jiff::Timestamp::now()), Arc::from);
    let parent = TraceContext::from_headers(headers);
    let route = request.extensions().get::<MatchedPath>().cloned();
    let (span, place) = if shared.traced {
        traced_span(request, route.as_ref().map_or(UNMATCHED, MatchedPath::as_str), &id, parent)
    } else {
        let place = parent.map_or_else(TraceContext::root, |parent| parent.child());
        let trace_id = format_args!("{:032x}", place.trace_id);
        (tracing::info_span!(target: REQUEST, "request", request_id = &*id, trace_id = %trace_id), place)
    };
    let ids = Arc::new(Ids { request: Arc::clone(&id), trace: place });
    let exchange = Exchange::begin(Arc::clone(shared), request, route, client.0, span);
    let extensions = request.extensions_mut();
    extensions.insert(RequestId(id));
    extensions.insert(client);
    let Limits { body_bytes, body_time, .. } = shared.limits;
    let body = std::mem::take(request.body_mut());
    // A request without a body, as most are, needs no guard.
    *request.body_mut() = match http_body::Body::is_end_stream(&body) {
        true => body,
        false => Body::new(Bounded::new(body, body_bytes, body_time)),
    };
    (ids, exchange)
}

/// The span of a request that a collector is told of, named and attributed as OpenTelemetry's conventions for HTTP have it.
fn traced_span(request: &Request<Body>, route: &str, id: &str, parent: Option<TraceContext>) -> (Span, TraceContext) {
    use tracing_opentelemetry::OpenTelemetrySpanExt as _;
    let agent = request.headers().get(header::USER_AGENT).and_then(|v| v.to_str().ok());
    let span = tracing::info_span!(
        target: REQUEST,
        "request",
        otel.name = format!("{} {route}", request.method()),
        otel.kind = "server",
        otel.status_code = Empty,
        http.request.method = request.method().as_str(),
        http.route = route,
        http.response.status_code = Empty,
        url.path = request.uri().path(),
        user_agent.original = agent,
        request_id = id,
        trace_id = Empty,
        span_id = Empty,
    );
    if let Some(parent) = &parent {
        // It can only fail for a span that has begun already, and this one has not.
        let _ = span.set_parent(parent.remote());
    }
    let place = TraceContext::of_span(&span).or_else(|| Some(parent?.child())).unwrap_or_else(TraceContext::root);
    span.record("trace_id", tracing::field::display(format_args!("{:032x}", place.trace_id)));
    span.record("span_id", tracing::field::display(format_args!("{:016x}", place.span_id)));
    (span, place)
}

/// Why the request is not even tried, if it is not.
fn refusal(shared: &Shared, request: &Request<Body>, exchange: &Exchange) -> Option<Problem> {
    let target = request.uri().path_and_query().map_or("", |p| p.as_str());
    if memchr::memmem::find(target.as_bytes(), b"%00").is_some() {
        return Some(Problem::bad_request("paths and queries must not contain the character U+0000"));
    }
    if !exchange.is_operational() && shared.metrics.in_flight.get() > shared.limits.in_flight {
        shared.metrics.refused.with_label_values(&["in_flight"]).inc();
        return Some(Problem::unavailable("too many requests at once; try again in a moment"));
    }
    let announced = request.headers().get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse::<u64>().ok());
    let limit = shared.limits.body_bytes;
    announced.filter(|bytes| *bytes > limit).map(|_| crate::body::BodyError::TooLarge(limit).into())
}

/// Runs the handler: it may take its time, and it may panic, and either is answered for.
async fn contain(
    answer: impl Future<Output = Result<Response, Infallible>>,
    time: Duration,
    shared: &Shared,
) -> Response {
    let answer = AssertUnwindSafe(answer).catch_unwind();
    match tokio::time::timeout(time, answer).await {
        Ok(Ok(Ok(response))) => response,
        Ok(Err(_)) => {
            // The panic hook has said what and where.
            shared.metrics.panics.inc();
            Problem::internal("the handler panicked").into_response()
        }
        Err(_) => {
            shared.metrics.refused.with_label_values(&["time"]).inc();
            tracing::warn!(after = ?time, "a request took too long and was given up");
            Problem::unavailable("the request took too long").into_response()
        }
    }
}

/// Completes the answer: every error is a problem, every answer has its id and the headers that keep browsers from misusing it.
fn finish(mut response: Response, shared: &Shared, ids: &Ids, mut exchange: Exchange) -> Response {
    let status = response.status();
    if status.is_client_error() || status.is_server_error() {
        response = as_problem(response);
    }
    let page = exchange.path().strip_prefix(openapi::DOCS).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    let headers = response.headers_mut();
    if let Ok(id) = HeaderValue::try_from(&*ids.request) {
        headers.insert(X_REQUEST_ID, id);
    }
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    let policy = if page {
        "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; frame-ancestors 'none'"
    } else {
        "default-src 'none'; frame-ancestors 'none'"
    };
    headers.entry(header::CONTENT_SECURITY_POLICY).or_insert(HeaderValue::from_static(policy));
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    if shared.health.is_draining() {
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    exchange.answered(status);
    response.map(|body| Body::new(Recorded::new(body, exchange)))
}

/// An error that is not a problem yet (it has no body, or one of plain text) becomes one, and keeps its headers.
fn as_problem(response: Response) -> Response {
    let kind = response.headers().get(header::CONTENT_TYPE).map(HeaderValue::as_bytes);
    if kind.is_some_and(|kind| kind.starts_with(MEDIA_TYPE.as_bytes()) || !kind.starts_with(b"text/plain")) {
        return response;
    }
    let (mut parts, _) = response.into_parts();
    let problem = Problem::of(parts.status).into_response();
    parts.headers.remove(header::CONTENT_LENGTH);
    parts.headers.extend(problem.headers().clone());
    Response::from_parts(parts, problem.into_body())
}

/// The answer to a path that no route takes.
pub(crate) async fn no_such_path() -> Problem {
    Problem::not_found("there is nothing at this path")
}

/// The answer to a method that the path's route does not take; the routing adds `Allow`.
pub(crate) async fn no_such_method(method: Method) -> Problem {
    Problem::of(StatusCode::METHOD_NOT_ALLOWED).detail(format!("{method} is not what this path takes"))
}
