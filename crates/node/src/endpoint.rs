//! The node's own HTTP endpoint over TLS: container logs and streams for the API server, the pods, what they use, and health.

use std::{convert::Infallible, sync::Arc, time::Duration};

use bytes::Bytes;
use futures::{StreamExt, stream};
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    body::{Frame, Incoming},
    service::service_fn,
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto::Builder,
};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use tokio::{net::TcpListener, sync::Semaphore};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::{
    Context, Known,
    logs::{self, Query},
    runtime::ContainerId,
    streams::{self, Sessions, Wanted},
};

/// The most connections at a time; more wait in the socket's queue.
const CONNECTIONS: usize = 1024;
/// How long a client may take for the TLS handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// The pause after a connection could not be accepted, which passes when another one closes.
const PAUSE: Duration = Duration::from_millis(50);

pub(crate) type Body = UnsyncBoxBody<Bytes, Infallible>;

/// Serves until told to stop.
pub async fn serve(ctx: Arc<Context>, listener: TcpListener, tls: Arc<rustls::ServerConfig>, stop: CancellationToken) {
    let acceptor = TlsAcceptor::from(tls);
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let sessions = Sessions::new(&stop);
    let accept = async {
        loop {
            let Ok(place) = places.clone().acquire_owned().await else { return };
            let stream = match listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!("node endpoint: {error}");
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
            };
            let (ctx, acceptor, stop) = (ctx.clone(), acceptor.clone(), stop.clone());
            let sessions = sessions.clone();
            tokio::spawn(async move {
                let _place = place;
                let Ok(Ok(stream)) = tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)).await else { return };
                if stream.get_ref().1.peer_certificates().is_none() {
                    return;
                }
                let service = service_fn(move |request| answer(ctx.clone(), sessions.clone(), request));
                let builder = Builder::new(TokioExecutor::new());
                let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
                stop.run_until_cancelled(connection)
                    .await
                    .map(|ended| ended.map_err(|error| tracing::debug!("node endpoint: {error}")));
            });
        }
    };
    stop.run_until_cancelled(accept).await;
}

pub(crate) fn text(status: StatusCode, text: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(Full::new(text.into()).boxed_unsync());
    *response.status_mut() = status;
    response
}

fn typed(body: String, media: &'static str) -> Response<Body> {
    let mut response = text(StatusCode::OK, body);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(media));
    response
}

async fn answer(
    ctx: Arc<Context>,
    sessions: Sessions,
    request: Request<Incoming>,
) -> Result<Response<Body>, Infallible> {
    let path = request.uri().path().trim_matches('/').to_owned();
    let parts: Vec<&str> = path.split('/').collect();
    Ok(match parts.as_slice() {
        ["healthz"] => text(StatusCode::OK, "ok"),
        ["pods"] => {
            let pods: Vec<Pod> = ctx.pods.lock().await.values().filter_map(Known::pod).collect();
            let list = serde_json::json!({"apiVersion": "v1", "kind": "PodList", "metadata": {}, "items": pods});
            text(StatusCode::OK, list.to_string())
        }
        ["metrics", "resource"] => {
            let (figures, media) = ctx.figures.resource_metrics().await;
            typed(figures, media)
        }
        ["stats", "summary"] => typed(ctx.figures.summary().await.to_string(), "application/json"),
        ["containerLogs", namespace, pod, container] => {
            let query = Query::parse(request.uri().query().unwrap_or_default(), jiff::Timestamp::now());
            container_log(&ctx, namespace, pod, container, query).await
        }
        [what, namespace, pod, rest @ ..] if streams::KINDS.contains(what) => {
            let container = rest.first().copied().unwrap_or_default();
            let wanted = Wanted { what, namespace, pod, container };
            streams::answer(&ctx, &sessions, &wanted, request).await
        }
        _ => text(StatusCode::NOT_FOUND, "404 page not found\n"),
    })
}

/// A container's log, or why there is none.
async fn container_log(ctx: &Context, namespace: &str, name: &str, container: &str, query: Query) -> Response<Body> {
    let Some(pod) = ctx.find(namespace, name).await else {
        return text(StatusCode::NOT_FOUND, format!("pod {name:?} does not exist"));
    };
    let attempt = match logs::attempt(pod.status.as_ref(), name, container, query.previous) {
        Ok(attempt) => attempt,
        Err(message) => return text(StatusCode::BAD_REQUEST, message),
    };
    let path = ctx.logs_dir(&pod).join(container).join(format!("{attempt}.log"));
    let id = ContainerId { pod_uid: pod.uid().unwrap_or_default(), name: container.to_owned(), attempt };
    let runtime = ctx.runtime.clone();
    let ended = async move {
        // A run that is not known any more has ended too.
        if let Err(error) = runtime.wait(&id).await {
            tracing::debug!("follow the log of container {}: {error}", id.name);
        }
    };
    match logs::stream(&path, query, ended) {
        Ok(pieces) => {
            let frames =
                stream::unfold(pieces, |mut pieces| async move { pieces.recv().await.map(|piece| (piece, pieces)) });
            Response::new(StreamBody::new(frames.map(|bytes| Ok(Frame::data(bytes)))).boxed_unsync())
        }
        Err(error) => {
            let message = format!("read the log of container {container:?} in pod {name:?}: {error}");
            text(StatusCode::INTERNAL_SERVER_ERROR, message)
        }
    }
}
