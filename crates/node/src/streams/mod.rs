//! Streams of running programs for the API server: `exec`, `attach` and forwarded ports, each a connection of its own that is
//! upgraded as `objects::session` says, and then copied between the API server and whoever owns the streams.

use std::{sync::Arc, time::Duration};

use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Empty};
use hyper::{body::Incoming, upgrade::OnUpgrade};
use hyper_util::rt::TokioIo;
use kube::ResourceExt;
use objects::session::{self, Ask};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpStream, UnixStream},
    pin,
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use crate::{
    Context,
    endpoint::{Body, text},
    logs,
    runtime::{ContainerId, RuntimeError},
};

/// The first part of the paths that are answered here.
pub const KINDS: [&str; 3] = ["exec", "attach", "portForward"];

/// Sessions at a time; one more is refused.
const SESSIONS: usize = 512;
/// How long the API server may take to close a connection after its end.
const LINGER: Duration = Duration::from_secs(5);
/// How much is copied at once.
const PIECE: usize = 32 * 1024;

/// The sessions that there may be, until the node stops.
#[derive(Clone)]
pub struct Sessions {
    places: Arc<Semaphore>,
    stop: CancellationToken,
}

impl Sessions {
    /// None yet.
    pub fn new(stop: &CancellationToken) -> Self {
        Self { places: Arc::new(Semaphore::new(SESSIONS)), stop: stop.clone() }
    }

    /// Runs a session until it ends by itself or the node stops.
    fn run(&self, place: OwnedSemaphorePermit, session: impl Future<Output = ()> + Send + 'static) {
        let stop = self.stop.clone();
        tokio::spawn(async move {
            stop.run_until_cancelled(session).await;
            drop(place);
        });
    }
}

/// What a path names.
pub struct Wanted<'a> {
    /// One of [`KINDS`].
    pub what: &'a str,
    /// The pod's namespace.
    pub namespace: &'a str,
    /// The pod's name.
    pub pod: &'a str,
    /// The container; nothing for a port.
    pub container: &'a str,
}

/// Where a session leads.
enum End {
    /// To streams, in frames.
    Streams(UnixStream),
    /// To a port.
    Port(TcpStream),
}

type Refusal = (StatusCode, String);

/// Answers with an upgrade, or with why there is none, in the kubelet's words.
pub async fn answer(
    ctx: &Context,
    sessions: &Sessions,
    wanted: &Wanted<'_>,
    mut request: Request<Incoming>,
) -> Response<Body> {
    let protocol = if wanted.what == "portForward" { session::RAW } else { session::PROTOCOL };
    let asks = request.headers().get(header::UPGRADE).is_some_and(|asked| asked.as_bytes() == protocol.as_bytes());
    let upgrade = request.extensions_mut().remove::<OnUpgrade>().filter(|_| asks);
    let Some(upgrade) = upgrade else {
        return text(StatusCode::BAD_REQUEST, format!("an upgrade to {protocol} is expected"));
    };
    let Ok(place) = sessions.places.clone().try_acquire_owned() else {
        return text(StatusCode::SERVICE_UNAVAILABLE, format!("there are {SESSIONS} sessions on this node already"));
    };
    let end = match open(ctx, wanted, request.uri().query().unwrap_or_default()).await {
        Ok(end) => end,
        Err((status, why)) => return text(status, why),
    };
    sessions.run(place, async move {
        let upgraded = match upgrade.await {
            Ok(upgraded) => TokioIo::new(upgraded),
            Err(error) => return tracing::debug!("session: {error}"),
        };
        match end {
            End::Streams(socket) => relay(upgraded, socket).await,
            End::Port(port) => forward(upgraded, port).await,
        }
    });
    let mut response = Response::new(Empty::new().boxed_unsync());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    response.headers_mut().insert(header::UPGRADE, HeaderValue::from_static(protocol));
    response
}

async fn open(ctx: &Context, wanted: &Wanted<'_>, query: &str) -> Result<End, Refusal> {
    let pod = ctx.find(wanted.namespace, wanted.pod).await;
    let pod = pod.ok_or_else(|| (StatusCode::NOT_FOUND, "pod does not exist".to_owned()))?;
    let bad = || (StatusCode::BAD_REQUEST, format!("the query {query:?} cannot be read"));
    let failed = |error: RuntimeError| (StatusCode::INTERNAL_SERVER_ERROR, error.to_string());
    let pod_uid = pod.uid().unwrap_or_default();
    if wanted.what == "portForward" {
        let port = query.strip_prefix("port=").and_then(|port| port.parse().ok()).ok_or_else(bad)?;
        return ctx.runtime.dial(&pod_uid, port).await.map(End::Port).map_err(failed);
    }
    let ask = Ask::of(query).ok_or_else(bad)?;
    let name = wanted.container;
    let attempt = logs::running(pod.status.as_ref(), name)
        .ok_or_else(|| (StatusCode::INTERNAL_SERVER_ERROR, format!("container not found ({name:?})")))?;
    let id = ContainerId { pod_uid, name: name.to_owned(), attempt };
    let socket = match wanted.what {
        "exec" if ask.argv.is_empty() => return Err(bad()),
        "exec" => ctx.runtime.session(&id, &ask.argv, ask.streams).await,
        _ => ctx.runtime.attach(&id, ask.streams).await,
    };
    socket.map(End::Streams).map_err(failed)
}

/// Copies frames both ways until either side is gone. What the owner of the streams has said is passed on to its last byte.
async fn relay(api: impl AsyncRead + AsyncWrite, socket: UnixStream) {
    let (mut from_api, mut to_api) = tokio::io::split(api);
    let (mut from_owner, mut to_owner) = socket.into_split();
    let inward = async {
        let (mut buffer, mut listens) = (vec![0; PIECE], true);
        while let Ok(count @ 1..) = from_api.read(&mut buffer).await {
            // An owner that listens no more may still speak; the API server's end must be seen all the same.
            listens = listens && to_owner.write_all(buffer.get(..count).unwrap_or_default()).await.is_ok();
        }
    };
    pin!(inward);
    let outward = async {
        // An owner that ends with something unread ends with an error, after all it has said.
        let _ = tokio::io::copy(&mut from_owner, &mut to_api).await;
        let _ = to_api.shutdown().await;
    };
    let ended = tokio::select! {
        () = &mut inward => false,
        () = outward => true,
    };
    if ended {
        // To close a connection on which something comes in would take back what is on its way out.
        let _ = timeout(LINGER, inward).await;
    }
}

/// Copies bytes both ways; each direction ends by itself, and both when one breaks.
async fn forward(mut api: impl AsyncRead + AsyncWrite + Unpin, mut port: TcpStream) {
    if let Err(error) = tokio::io::copy_bidirectional_with_sizes(&mut api, &mut port, PIECE, PIECE).await {
        tracing::debug!("forwarded port: {error}");
    }
}
