//! The API over TLS: who connects is known by the certificate, and everything else is the handler's.

use std::{convert::Infallible, sync::Arc, time::Duration};

use http::Request;
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::conn::auto,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::timeout,
};
use tokio_rustls::TlsAcceptor;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::{
    again::Again,
    http::{Handler, Identity, Origin, fairness::Connection},
    stall::{self, Streams, Unstalled},
};

/// Connections at once; past it the next waits to be accepted.
const CONNECTIONS: usize = 4096;
/// How long a client may take for its handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How long a client may take nothing of what it is sent: on a connection, and on one stream of HTTP/2.
const STALL: Duration = Duration::from_secs(60);
/// How often a connection of HTTP/2 on which nothing happens is asked whether it is still there, and how long it may take to say so.
const PING: Duration = Duration::from_secs(60);
const PONG: Duration = Duration::from_secs(30);
/// How long requests that have begun may take at the end.
const DRAIN: Duration = Duration::from_secs(5);

/// Serves until `stop`.
pub(crate) async fn serve(
    handler: Arc<Handler>,
    tls: rustls::ServerConfig,
    listener: TcpListener,
    stop: CancellationToken,
) {
    let acceptor = TlsAcceptor::from(Arc::new(tls));
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let connections = TaskTracker::new();
    loop {
        let Some(Ok(place)) = stop.run_until_cancelled(places.clone().acquire_owned()).await else { break };
        let Some(accepted) = stop.run_until_cancelled(listener.accept()).await else { break };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!("API server: accept: {error}");
                // Out of descriptors is the usual cause; it passes when a connection closes.
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let (handler, acceptor, stop) = (handler.clone(), acceptor.clone(), stop.clone());
        connections.spawn(Again::new(async move {
            if let Err(error) = connection(handler, acceptor, stream, stop).await {
                tracing::debug!("API server: connection: {error}");
            }
            drop(place);
        }));
    }
    handler.ending.cancel();
    connections.close();
    // Watches have been told to end; what does not end in this time is cut.
    let _ = timeout(DRAIN, connections.wait()).await;
}

async fn connection(
    handler: Arc<Handler>,
    acceptor: TlsAcceptor,
    stream: TcpStream,
    stop: CancellationToken,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    stream.set_nodelay(true)?;
    let stalled = handler.metrics.stalled.clone();
    let stream = Unstalled::new(stream, STALL, stalled.clone());
    let stream = timeout(HANDSHAKE, acceptor.accept(stream)).await??;
    let certificate = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
    let identity = certificate.and_then(|der| identity(der));
    let origin = Origin { connection: Connection::next(), stop: stop.clone() };
    let service = service_fn(move |mut request: Request<Incoming>| {
        let (handler, identity) = (handler.clone(), identity.clone());
        request.extensions_mut().insert(origin.clone());
        async move { Ok::<_, Infallible>(stall::tracked(handler.handle(request, identity).await)) }
    });
    let mut builder = auto::Builder::new(Streams::new(STALL, stalled));
    builder.http1().timer(TokioTimer::new()).header_read_timeout(Duration::from_secs(30));
    let mut http2 = builder.http2();
    http2.timer(TokioTimer::new()).max_concurrent_streams(1000);
    http2.keep_alive_interval(PING).keep_alive_timeout(PONG);
    let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
    tokio::pin!(connection);
    tokio::select! {
        served = connection.as_mut() => served,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    }
}

/// The user and groups that a verified certificate names (Kubernetes' x509 authentication: common name, organisations).
fn identity(der: &[u8]) -> Option<Identity> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let subject = certificate.subject();
    let user = subject.iter_common_name().next()?.as_str().ok()?.to_owned();
    let mut groups: Vec<String> =
        subject.iter_organization().filter_map(|o| o.as_str().ok()).map(str::to_owned).collect();
    groups.push("system:authenticated".to_owned());
    Some(Identity { user, groups, ..Identity::default() })
}
