//! The node's own HTTP endpoint over TLS: container logs for the API server, the pods, and health.

use std::{
    convert::Infallible,
    io::{Read, Seek, SeekFrom},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use futures::{StreamExt, stream};
use http::{Request, Response, StatusCode};
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
use tokio::{
    net::TcpListener,
    sync::{Semaphore, mpsc},
};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::{Context, logs};

/// The most connections at a time; more wait in the socket's queue.
const CONNECTIONS: usize = 256;
/// How long a client may take for the TLS handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How often a followed log is looked at.
const FOLLOW: Duration = Duration::from_millis(200);

type Body = UnsyncBoxBody<Bytes, Infallible>;

/// Serves until told to stop.
pub async fn serve(ctx: Arc<Context>, listener: TcpListener, tls: Arc<rustls::ServerConfig>, stop: CancellationToken) {
    let acceptor = TlsAcceptor::from(tls);
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let accept = async {
        loop {
            let Ok(place) = places.clone().acquire_owned().await else { return };
            let stream = match listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!("node endpoint: {error}");
                    tokio::time::sleep(FOLLOW).await;
                    continue;
                }
            };
            let (ctx, acceptor, stop) = (ctx.clone(), acceptor.clone(), stop.clone());
            tokio::spawn(async move {
                let _place = place;
                let Ok(Ok(stream)) = tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)).await else { return };
                if stream.get_ref().1.peer_certificates().is_none() {
                    return;
                }
                let service = service_fn(move |request| answer(ctx.clone(), request));
                let builder = Builder::new(TokioExecutor::new());
                let connection = builder.serve_connection(TokioIo::new(stream), service);
                stop.run_until_cancelled(connection)
                    .await
                    .map(|ended| ended.map_err(|error| tracing::debug!("node endpoint: {error}")));
            });
        }
    };
    stop.run_until_cancelled(accept).await;
}

fn text(status: StatusCode, text: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(Full::new(text.into()).boxed_unsync());
    *response.status_mut() = status;
    response
}

async fn answer(ctx: Arc<Context>, request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
    let parts: Vec<&str> = request.uri().path().trim_matches('/').split('/').collect();
    Ok(match parts.as_slice() {
        ["healthz"] => text(StatusCode::OK, "ok"),
        ["pods"] => {
            let pods: Vec<Arc<Pod>> = ctx.pods.lock().await.values().filter_map(|s| s.borrow().clone()).collect();
            let items: Vec<&Pod> = pods.iter().map(Arc::as_ref).collect();
            let list = serde_json::json!({"apiVersion": "v1", "kind": "PodList", "metadata": {}, "items": items});
            text(StatusCode::OK, list.to_string())
        }
        ["containerLogs", namespace, pod, container] => {
            let query = logs::Query::parse(request.uri().query().unwrap_or_default(), jiff::Timestamp::now());
            match log_file(&ctx, namespace, pod, container, query.previous).await {
                Ok((path, token)) => stream_log(path, query, token),
                Err(message) => text(StatusCode::BAD_REQUEST, message),
            }
        }
        _ => text(StatusCode::NOT_FOUND, "404 page not found\n"),
    })
}

/// Tells whether the run whose log is read still runs.
type Running = Box<dyn Fn() -> bool + Send>;

async fn log_file(
    ctx: &Context,
    namespace: &str,
    name: &str,
    container: &str,
    previous: bool,
) -> Result<(PathBuf, Running), String> {
    let pods = ctx.pods.lock().await;
    let sender = pods.values().find(|s| {
        s.borrow().as_ref().is_some_and(|p| p.name_any() == name && p.namespace().as_deref() == Some(namespace))
    });
    let watch = sender.map(tokio::sync::watch::Sender::subscribe).ok_or_else(|| format!("pod {name:?} not found"))?;
    drop(pods);
    let pod = watch.borrow().clone().ok_or_else(|| format!("pod {name:?} not found"))?;
    let dir = ctx.logs_dir(&pod).join(container);
    let attempts = std::fs::read_dir(&dir).into_iter().flatten().flatten();
    let attempts = attempts.filter_map(|e| e.file_name().to_str()?.strip_suffix(".log")?.parse::<u32>().ok());
    let latest =
        attempts.max().ok_or_else(|| format!("container {container:?} in pod {name:?} is waiting to start"))?;
    let attempt = if previous { latest.checked_sub(1) } else { Some(latest) };
    let path = attempt.map(|n| dir.join(format!("{n}.log"))).filter(|p| p.exists());
    let path = path.ok_or_else(|| format!("previous terminated container {container:?} in pod {name:?} not found"))?;
    let container = container.to_owned();
    let running = move || {
        let pod = watch.borrow().clone();
        let status = pod.as_ref().and_then(|p| p.status.as_ref());
        let lists = status.map(|s| s.init_container_statuses.iter().chain(&s.container_statuses).flatten());
        lists.and_then(|mut all| all.find(|s| s.name == container)).is_some_and(|s| {
            i64::from(s.restart_count) == i64::from(latest)
                && s.state.as_ref().is_none_or(|s| s.terminated.is_none())
                && s.last_state
                    .as_ref()
                    .and_then(|l| l.terminated.as_ref())
                    .is_none_or(|_| s.state.as_ref().is_some_and(|s| s.running.is_some()))
        })
    };
    Ok((path, Box::new(running)))
}

fn stream_log(path: PathBuf, query: logs::Query, running: Running) -> Response<Body> {
    let (sender, receiver) = mpsc::channel::<Bytes>(64);
    tokio::spawn(async move {
        let start = path.clone();
        let first = query.clone();
        let Ok((lines, mut position)) = tokio::task::spawn_blocking(move || logs::read(&start, &first)).await else {
            return;
        };
        let mut left = query.limit.unwrap_or(usize::MAX);
        for line in lines {
            if !push(&sender, line, &mut left).await {
                return;
            }
        }
        if !query.follow {
            return;
        }
        loop {
            let more = running();
            let (lines, next) = fresh(&path, position, &query);
            position = next;
            for line in lines {
                if !push(&sender, line, &mut left).await {
                    return;
                }
            }
            if !more {
                return;
            }
            tokio::select! { () = sender.closed() => return, () = tokio::time::sleep(FOLLOW) => {} }
        }
    });
    let frames =
        stream::unfold(receiver, |mut receiver| async move { receiver.recv().await.map(|bytes| (bytes, receiver)) });
    Response::new(StreamBody::new(frames.map(|bytes| Ok(Frame::data(bytes)))).boxed_unsync())
}

async fn push(sender: &mpsc::Sender<Bytes>, line: String, left: &mut usize) -> bool {
    let mut bytes = Bytes::from(line);
    bytes.truncate(*left);
    *left -= bytes.len();
    sender.send(bytes).await.is_ok() && *left > 0
}

/// Whole lines written since `position`; a file that became shorter was rotated and is read from its beginning.
fn fresh(path: &std::path::Path, position: u64, query: &logs::Query) -> (Vec<String>, u64) {
    let read = || -> std::io::Result<(Vec<u8>, u64)> {
        let mut file = std::fs::File::open(path)?;
        let position = if file.metadata()?.len() < position { 0 } else { position };
        file.seek(SeekFrom::Start(position))?;
        let mut raw = Vec::new();
        file.take(1 << 20).read_to_end(&mut raw)?;
        Ok((raw, position))
    };
    let Ok((raw, position)) = read() else { return (Vec::new(), position) };
    let whole = raw.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
    let text = String::from_utf8_lossy(raw.get(..whole).unwrap_or_default()).into_owned();
    (text.lines().filter_map(|line| query.render(line)).collect(), position + u64::try_from(whole).unwrap_or(0))
}
