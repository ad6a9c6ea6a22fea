//! `GET /metrics`: the gateway's figures for Prometheus, on a port of their own; and `/livez` and `/readyz`, as probes ask.

use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

use anyhow::Context;
use gateway::{
    observe::{OPENMETRICS, PROMETHEUS},
    proxy::Proxy,
};
use http::{Method, Request, Response, StatusCode, header};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::TcpListener,
    sync::{Semaphore, watch},
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use super::gateway::Stage;
use crate::config::Metrics;

/// Scrapers at one time; further ones wait.
const SCRAPERS: usize = 16;
/// For one scrape.
const PATIENCE: Duration = Duration::from_secs(10);
/// What ends a text of OpenMetrics.
const OPENMETRICS_END: &str = "# EOF\n";
/// After a connection could not be accepted.
const AGAIN: Duration = Duration::from_millis(100);

/// Figures that are not the gateway's, in the text format of Prometheus: gauges alone.
pub type More = Arc<dyn Fn() -> String + Send + Sync>;

/// Takes the port.
///
/// # Errors
/// A port that was asked for cannot be had. The default is done without, and a warning says so.
pub async fn listen(wanted: Metrics) -> anyhow::Result<Option<TcpListener>> {
    let address = wanted.address;
    match TcpListener::bind(address).await.with_context(|| format!("listen on {address}")) {
        Ok(listener) => Ok(Some(listener)),
        Err(error) if wanted.asked => {
            Err(error
                .context("metrics cannot be served: stop what uses the port, or choose another with --metrics-port"))
        }
        Err(error) => {
            tracing::warn!("metrics are not served: {error:#}; choose another port with --metrics-port");
            Ok(None)
        }
    }
}

/// Answers until `stop`.
///
/// `stage` is what `/readyz` says.
pub async fn serve(
    listener: TcpListener,
    proxy: Arc<Proxy>,
    stage: watch::Receiver<Stage>,
    more: More,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let scrapers = Arc::new(Semaphore::new(SCRAPERS));
    loop {
        let next = async {
            // The semaphore is never closed.
            let turn = scrapers.clone().acquire_owned().await.ok();
            (turn, listener.accept().await)
        };
        let (turn, accepted) = tokio::select! {
            () = stop.cancelled() => return Ok(()),
            next = next => next,
        };
        let Ok((stream, peer)) = accepted else {
            sleep(AGAIN).await;
            continue;
        };
        let (proxy, stage, more) = (proxy.clone(), *stage.borrow(), more.clone());
        tokio::spawn(async move {
            let _turn = turn;
            if let Err(error) = timeout(PATIENCE, answer(TokioIo::new(stream), &proxy, stage, &more)).await {
                tracing::debug!(%peer, "a scraper took too long: {error}");
            }
        });
    }
}

/// Answers one request of a connection.
async fn answer(stream: TokioIo<tokio::net::TcpStream>, proxy: &Proxy, stage: Stage, more: &More) {
    let service = service_fn(async |request| Ok::<_, Infallible>(respond(&request, proxy, stage, more).await));
    let connection = http1::Builder::new().keep_alive(false).timer(TokioTimer::new()).serve_connection(stream, service);
    if let Err(error) = connection.await {
        tracing::debug!("a scrape failed: {error}");
    }
}

async fn respond(request: &Request<Incoming>, proxy: &Proxy, stage: Stage, more: &More) -> Response<String> {
    let plain = |status, text: &str| {
        let mut response = Response::new(format!("{text}\n"));
        *response.status_mut() = status;
        response
    };
    match (request.uri().path(), stage) {
        ("/metrics", _) => {}
        ("/livez", _) | ("/readyz", Stage::Serving) => return plain(StatusCode::OK, "ok"),
        ("/readyz", Stage::Starting) => return plain(StatusCode::SERVICE_UNAVAILABLE, "the objects are not known yet"),
        ("/readyz", Stage::Draining) => return plain(StatusCode::SERVICE_UNAVAILABLE, "this process is ending"),
        _ => return plain(StatusCode::NOT_FOUND, "the metrics are at /metrics"),
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return plain(StatusCode::METHOD_NOT_ALLOWED, "ask with GET");
    }
    let accepted = request.headers().get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let wants_openmetrics = accepted.into_iter().any(|accepted| accepted.contains("application/openmetrics-text"));
    let metrics = proxy.metrics().await;
    let (mut text, kind, end) = match wants_openmetrics {
        true => (metrics.openmetrics(), OPENMETRICS, OPENMETRICS_END),
        false => (metrics.prometheus(), PROMETHEUS, ""),
    };
    text.truncate(text.len() - if text.ends_with(end) { end.len() } else { 0 });
    text.push_str(&more());
    text.push_str(end);
    let mut response = Response::new(text);
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(kind));
    response
}

/// Where the metrics are.
pub fn url(address: SocketAddr) -> String {
    format!("http://{address}/metrics")
}
