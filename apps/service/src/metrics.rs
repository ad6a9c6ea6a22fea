//! Metrics in Prometheus' text format: HTTP and the process are the kit's, the rest is the service's own, in the same registry.
//!
//! No label takes a value from a client: methods are the nine that HTTP defines or `OTHER`, routes are templates or `unmatched`.

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, Method, header};
use prometheus::{
    Encoder, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, Opts, Registry, TextEncoder,
    core::Collector, process_collector::ProcessCollector,
};

use crate::problem::Problem;

/// The route of requests that no route takes.
pub(crate) const UNMATCHED: &str = "unmatched";
/// Bounds of the buckets of latencies, in seconds.
const SECONDS: &[f64] = &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

/// The metrics that every service has.
pub(crate) struct HttpMetrics {
    requests: IntCounterVec,
    seconds: HistogramVec,
    pub in_flight: IntGauge,
    pub refused: IntCounterVec,
    pub panics: IntCounter,
    pub connections: IntGauge,
}

impl HttpMetrics {
    /// Registers them, and those of the process.
    pub(crate) fn new(registry: &Registry) -> prometheus::Result<Self> {
        const LABELS: &[&str] = &["method", "route", "status"];
        let seconds =
            HistogramOpts::new("http_request_duration_seconds", "Time from a request's head to its answer's last byte")
                .buckets(SECONDS.to_vec());
        let requests = Opts::new(
            "http_requests_total",
            "Requests answered; status 499 is a client that went away before its answer",
        );
        let refused = Opts::new("http_requests_refused_total", "Requests refused to protect the service");
        // Registering a metric twice is the only error, and these have one registry each.
        let this = Self {
            requests: register(registry, IntCounterVec::new(requests, LABELS)?)?,
            seconds: register(registry, HistogramVec::new(seconds, LABELS)?)?,
            in_flight: register(registry, IntGauge::new("http_requests_in_flight", "Requests being handled")?)?,
            refused: register(registry, IntCounterVec::new(refused, &["reason"])?)?,
            panics: register(registry, IntCounter::new("http_panics_total", "Requests whose handler panicked")?)?,
            connections: register(registry, IntGauge::new("http_connections", "Open connections")?)?,
        };
        registry.register(Box::new(ProcessCollector::for_self()))?;
        Ok(this)
    }

    /// Counts a request.
    pub(crate) fn observe(&self, method: &Method, route: &str, status: &str, seconds: f64) {
        let labels = [method_label(method), route, status];
        self.requests.with_label_values(&labels).inc();
        self.seconds.with_label_values(&labels).observe(seconds);
    }
}

/// Registers `metric` and returns it.
///
/// # Errors
/// There is another metric of this name.
pub fn register<M: Collector + Clone + 'static>(registry: &Registry, metric: M) -> prometheus::Result<M> {
    registry.register(Box::new(metric.clone()))?;
    Ok(metric)
}

fn method_label(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        Method::CONNECT => "CONNECT",
        Method::TRACE => "TRACE",
        _ => "OTHER",
    }
}

/// Everything in the registry, in the text format.
pub(crate) fn exposition(registry: &Registry) -> Response {
    let mut text = Vec::new();
    if let Err(e) = TextEncoder::new().encode(&registry.gather(), &mut text) {
        return Problem::internal(e).into_response();
    }
    let mut response = Response::new(text.into());
    let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}
