//! Traces to a collector (OTLP over HTTP, protobuf). Spans that end wait in a bounded queue for a task that sends them in batches; what
//! does not fit, and what the collector does not take, is lost and counted. No request ever waits for it.

use std::time::Duration;

use opentelemetry::{Context, KeyValue, trace::TracerProvider as _};
use opentelemetry_otlp::{Protocol, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::{
    Resource,
    error::OTelSdkResult,
    trace::{SdkTracer, SdkTracerProvider, Span, SpanData, SpanExporter as _, SpanProcessor},
};
use prometheus::IntCounter;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::problem::Chain;

/// Spans that wait to be sent.
const QUEUE: usize = 2048;
/// Spans in one request to the collector.
const BATCH: usize = 512;
/// How long spans are gathered for one request.
const GATHER: Duration = Duration::from_secs(1);
/// How long one request to the collector may take, with its retries.
const SEND: Duration = Duration::from_secs(5);

/// The end of the queue where spans come out, before anything sends them.
pub(crate) struct Exporter {
    spans: mpsc::Receiver<SpanData>,
    endpoint: String,
    lost: IntCounter,
    provider: SdkTracerProvider,
}

#[derive(Debug)]
struct Queue {
    spans: mpsc::Sender<SpanData>,
    lost: IntCounter,
}

impl SpanProcessor for Queue {
    fn on_start(&self, _: &mut Span, _: &Context) {}

    fn on_end(&self, span: SpanData) {
        if span.span_context.is_sampled() && self.spans.try_send(span).is_err() {
            self.lost.inc();
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}

impl Exporter {
    /// A tracer whose spans go to the collector at `endpoint` (its base: `/v1/traces` is appended), once [`Exporter::run`] runs.
    ///
    /// # Errors
    /// The metric of lost spans cannot be made.
    pub(crate) fn new(endpoint: &str) -> prometheus::Result<(Self, SdkTracer)> {
        let lost =
            IntCounter::new("trace_spans_lost_total", "Spans lost because the collector did not take them in time")?;
        let (sender, spans) = mpsc::channel(QUEUE);
        let queue = Queue { spans: sender, lost: lost.clone() };
        let provider = SdkTracerProvider::builder().with_span_processor(queue).build();
        let tracer = provider.tracer("service");
        let endpoint = format!("{}/v1/traces", endpoint.trim_end_matches('/'));
        Ok((Self { spans, endpoint, lost, provider }, tracer))
    }

    /// Spans lost so far.
    pub(crate) fn lost(&self) -> IntCounter {
        self.lost.clone()
    }

    /// Sends spans until `stop`, then what is left, in at most the time that one request to the collector may take.
    pub(crate) async fn run(mut self, name: String, version: &'static str, stop: CancellationToken) {
        let mut exporter = match self.connect() {
            Ok(exporter) => exporter,
            Err(e) => {
                tracing::error!(error = %Chain(&*e), "traces cannot be exported");
                return;
            }
        };
        let resource = Resource::builder().with_service_name(name);
        exporter.set_resource(&resource.with_attribute(KeyValue::new("service.version", version)).build());
        let mut reachable = true;
        let mut batch = Vec::new();
        while !stop.is_cancelled() {
            let open = tokio::select! {
                () = stop.cancelled() => break,
                got = self.spans.recv_many(&mut batch, BATCH) => got > 0,
            };
            if !open {
                break;
            }
            let gathering = tokio::time::sleep(GATHER);
            tokio::pin!(gathering);
            while batch.len() < BATCH {
                let room = BATCH - batch.len();
                tokio::select! {
                    () = &mut gathering => break,
                    () = stop.cancelled() => break,
                    got = self.spans.recv_many(&mut batch, room) => if got == 0 { break },
                }
            }
            reachable = self.send(&exporter, std::mem::take(&mut batch), reachable).await;
        }
        self.spans.close();
        let rest = async {
            while self.spans.recv_many(&mut batch, BATCH).await > 0 {
                reachable = self.send(&exporter, std::mem::take(&mut batch), reachable).await;
            }
        };
        let _ = tokio::time::timeout(SEND, rest).await;
        // Its queue is closed; there is nothing left that could fail.
        let _ = self.provider.shutdown();
    }

    fn connect(&self) -> Result<opentelemetry_otlp::SpanExporter, Box<dyn std::error::Error + Send + Sync>> {
        let client = reqwest::Client::builder().timeout(SEND).pool_max_idle_per_host(1).build()?;
        Ok(opentelemetry_otlp::SpanExporter::builder()
            .with_http()
            .with_http_client(client)
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(&self.endpoint)
            .with_timeout(SEND)
            .build()?)
    }

    /// Whether the collector took them. Says so when that changes, not for every batch.
    async fn send(&self, exporter: &opentelemetry_otlp::SpanExporter, batch: Vec<SpanData>, reachable: bool) -> bool {
        let count = batch.len();
        if count == 0 {
            return reachable;
        }
        let sent = tokio::time::timeout(SEND, exporter.export(batch)).await;
        let error = match sent {
            Ok(Ok(())) => {
                if !reachable {
                    tracing::info!(endpoint = self.endpoint, "the trace collector takes spans again");
                }
                return true;
            }
            Ok(Err(e)) => e.to_string(),
            Err(_) => format!("no answer in {SEND:?}"),
        };
        self.lost.inc_by(count as u64);
        if reachable {
            tracing::warn!(
                endpoint = self.endpoint,
                error,
                "the trace collector does not take spans; they are lost meanwhile"
            );
        }
        false
    }
}
