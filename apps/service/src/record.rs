//! The record of one request, from its head to the last byte of its answer: metrics, a line in the access log, the end of its span.

use std::{
    net::IpAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use axum::{body::Body, extract::MatchedPath};
use bytes::Bytes;
use http::{HeaderValue, Method, Request, StatusCode, Uri, Version, header};
use http_body::{Frame, SizeHint};
use tokio::time::Instant;
use tracing::Span;

use crate::{health::is_operational, log::ACCESS, metrics::UNMATCHED, observe::Shared};

/// What becomes the record when it is dropped: at the end of the answer, or when the client is gone before.
pub(crate) struct Exchange {
    shared: Arc<Shared>,
    started: Instant,
    method: Method,
    uri: Uri,
    version: Version,
    route: Option<MatchedPath>,
    client: IpAddr,
    agent: Option<HeaderValue>,
    span: Span,
    status: Option<StatusCode>,
    bytes: u64,
    complete: bool,
}

impl Exchange {
    pub(crate) fn begin(
        shared: Arc<Shared>,
        request: &Request<Body>,
        route: Option<MatchedPath>,
        client: IpAddr,
        span: Span,
    ) -> Self {
        let this = Self {
            shared,
            started: Instant::now(),
            method: request.method().clone(),
            uri: request.uri().clone(),
            version: request.version(),
            route,
            client,
            agent: request.headers().get(header::USER_AGENT).cloned(),
            span,
            status: None,
            bytes: 0,
            complete: false,
        };
        if !this.is_operational() {
            this.shared.metrics.in_flight.inc();
        }
        this
    }

    pub(crate) fn span(&self) -> &Span {
        &self.span
    }

    pub(crate) fn path(&self) -> &str {
        self.uri.path()
    }

    fn route(&self) -> &str {
        self.route.as_ref().map_or(UNMATCHED, MatchedPath::as_str)
    }

    pub(crate) fn is_operational(&self) -> bool {
        is_operational(self.route())
    }

    /// The handler has answered; the answer's body is still to be sent.
    pub(crate) fn answered(&mut self, status: StatusCode) {
        self.status = Some(status);
        if self.shared.traced {
            self.span.record("http.response.status_code", status.as_u16());
            if status.is_server_error() {
                self.span.record("otel.status_code", "ERROR");
            }
        }
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        let took = self.started.elapsed().as_secs_f64();
        let failed = self.status.is_none_or(|s| s.is_client_error() || s.is_server_error());
        // nginx' word for a client that went away before it had its answer; there is no standard one.
        let status = self.status.map_or(499, |s| s.as_u16());
        let label = self.status.as_ref().map_or("499", StatusCode::as_str);
        self.shared.metrics.observe(&self.method, self.route(), label, took);
        if self.is_operational() {
            if !failed {
                return;
            }
        } else {
            self.shared.metrics.in_flight.dec();
        }
        let _entered = self.span.enter();
        tracing::info!(
            target: ACCESS,
            method = self.method.as_str(),
            path = self.uri.path(),
            route = self.route(),
            status,
            duration_ms = (took * 1e6).round() / 1e3,
            bytes = self.bytes,
            aborted = (!self.complete).then_some(true),
            client = %self.client,
            user_agent = self.agent.as_ref().and_then(|v| v.to_str().ok()),
            protocol = ?self.version,
        );
    }
}

/// An answer's body, counted as it is sent.
pub(crate) struct Recorded {
    body: Body,
    exchange: Exchange,
}

impl Recorded {
    pub(crate) fn new(body: Body, mut exchange: Exchange) -> Self {
        // What has no body is complete with its head.
        exchange.complete = http_body::Body::is_end_stream(&body) || exchange.method == Method::HEAD;
        Self { body, exchange }
    }
}

impl http_body::Body for Recorded {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let Self { body, exchange } = &mut *self;
        // A stream's own log lines belong to the request too.
        let _entered = exchange.span.enter();
        let frame = Pin::new(&mut *body).poll_frame(cx);
        match &frame {
            Poll::Ready(None) => exchange.complete = true,
            Poll::Ready(Some(Ok(frame))) => {
                exchange.bytes += frame.data_ref().map_or(0, |data| data.len() as u64);
                exchange.complete = http_body::Body::is_end_stream(body);
            }
            _ => {}
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
