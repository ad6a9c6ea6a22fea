//! Connections: accepted within bounds, served with HTTP/1.1, and ended politely. (TLS and HTTP/2 are the gateway's part.)

use std::{convert::Infallible, io, sync::Arc, time::Duration};

use axum::{Router, body::Body, response::Response};
use http::Request;
use hyper::{body::Incoming, server::conn::http1};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::JoinSet,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::Service as _;

use crate::{
    memory::{self, Quiet},
    observe::{Peer, Shared},
    paced::Paced,
    service::{Background, Built, Service},
};

/// Bytes that a request's head may have; more is 431.
const HEAD_BYTES: usize = 32 * 1024;
/// How long background tasks may take to stop.
const BACKGROUND: Duration = Duration::from_secs(4);

impl Service {
    /// Serves until `stop`, then drains:
    ///
    /// 1. `/ready` answers 503, and every answer closes its connection. New connections are still taken for a moment
    ///    (`DRAIN_DELAY_SECONDS`), as whoever balances the load learns only now that it should send none.
    /// 2. Nothing new is accepted; idle connections are closed; what has begun may take another 25 s (`DRAIN_SECONDS`).
    /// 3. Background tasks are told to stop, and awaited for 4 s.
    ///
    /// # Errors
    /// A metric's name is used twice, or a background task panicked (the service has drained then too).
    pub async fn serve(self, listener: TcpListener, stop: CancellationToken) -> io::Result<()> {
        let Built { router, shared, background } = self.build().map_err(io::Error::other)?;
        memory::give_back();
        let stop = stop.child_token();
        let mut workers = Workers::start(background, &stop);
        let server = Server::new(router, shared);
        tokio::select! {
            () = server.accept(&listener, stop.cancelled()) => {}
            () = server.quiet.keep() => {}
        }
        server.shared.health.drain();
        tracing::info!("draining");
        server.accept(&listener, tokio::time::sleep(server.shared.limits.drain_delay)).await;
        server.drain(listener).await;
        workers.stop().await
    }
}

struct Server {
    router: Router,
    shared: Arc<Shared>,
    http: http1::Builder,
    places: Arc<Semaphore>,
    quiet: Arc<Quiet>,
    connections: TaskTracker,
    /// Idle connections are to be closed, the others after their answer.
    closing: CancellationToken,
    /// What is left is given up.
    ending: CancellationToken,
}

impl Server {
    fn new(router: Router, shared: Arc<Shared>) -> Self {
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new()).header_read_timeout(shared.limits.head_time).max_buf_size(HEAD_BYTES);
        let places = Arc::new(Semaphore::new(shared.limits.connections));
        let (closing, ending) = (CancellationToken::new(), CancellationToken::new());
        Self { router, shared, http, places, quiet: Arc::default(), connections: TaskTracker::new(), closing, ending }
    }

    /// Takes connections until `end`.
    async fn accept(&self, listener: &TcpListener, end: impl Future<Output = ()>) {
        let accept = async {
            loop {
                // It is never closed.
                let Ok(place) = Arc::clone(&self.places).acquire_owned().await else { return };
                match listener.accept().await {
                    Ok((stream, peer)) => {
                        let connection = self.connection(stream, Peer(peer));
                        self.connections.spawn(async move {
                            connection.await;
                            drop(place);
                        });
                    }
                    Err(error) => {
                        // Out of descriptors is the usual cause; it passes when a connection closes.
                        tracing::warn!(%error, "cannot accept a connection");
                        tokio::time::sleep(Duration::from_millis(50)).await;
                    }
                }
            }
        };
        tokio::select! {
            () = end => {}
            () = accept => {}
        }
    }

    /// Serves one connection until its end, or until it is to be closed.
    fn connection(&self, stream: TcpStream, peer: Peer) -> impl Future<Output = ()> + Send + 'static {
        let app = App { router: self.router.clone(), peer, quiet: Arc::clone(&self.quiet) };
        // Small answers are not to wait for the client's acknowledgement of the one before.
        let _ = stream.set_nodelay(true);
        let given_up = self.shared.metrics.refused.with_label_values(&["unread"]);
        let stream = Paced::new(stream, self.shared.limits.write_time, given_up);
        let http = self.http.serve_connection(TokioIo::new(stream), app);
        let (closing, ending) = (self.closing.clone(), self.ending.clone());
        let open = self.shared.metrics.connections.clone();
        async move {
            open.inc();
            tokio::pin!(http);
            // An error of a connection is its client's: it went away, was too slow, or did not speak HTTP.
            tokio::select! {
                biased;
                _ = http.as_mut() => {}
                () = closing.cancelled() => {
                    http.as_mut().graceful_shutdown();
                    tokio::select! {
                        _ = http => {}
                        () = ending.cancelled() => {}
                    }
                }
            }
            open.dec();
        }
    }

    /// Ends: takes what waits in the kernel's queue, closes what is idle, waits for what has begun.
    async fn drain(&self, listener: TcpListener) {
        while let Some(Ok((stream, peer))) = futures::FutureExt::now_or_never(listener.accept()) {
            self.connections.spawn(self.connection(stream, Peer(peer)));
        }
        drop(listener);
        self.closing.cancel();
        self.connections.close();
        let patience = self.shared.limits.drain;
        if tokio::time::timeout(patience, self.connections.wait()).await.is_err() {
            tracing::warn!(connections = self.connections.len(), after = ?patience, "requests still ran and are given up");
            self.ending.cancel();
            self.connections.wait().await;
        }
    }
}

/// Hands the requests of one connection to the router.
struct App {
    router: Router,
    peer: Peer,
    quiet: Arc<Quiet>,
}

impl hyper::service::Service<Request<Incoming>> for App {
    type Response = Response;
    type Error = Infallible;
    type Future = axum::routing::future::RouteFuture<Infallible>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        self.quiet.disturb();
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(self.peer);
        // A router is always ready, and a clone of it one reference.
        self.router.clone().call(request)
    }
}

/// The background tasks.
struct Workers {
    tasks: JoinSet<()>,
    stop: CancellationToken,
}

impl Workers {
    /// Starts them; one that panics ends the service through `end`.
    fn start(background: Vec<(&'static str, Background)>, end: &CancellationToken) -> Self {
        let mut tasks = JoinSet::new();
        let stop = CancellationToken::new();
        for (name, task) in background {
            let (stop, guard) = (stop.clone(), PanicGuard { name, end: end.clone() });
            tasks.spawn(async move {
                task(stop).await;
                std::mem::forget(guard);
            });
        }
        Self { tasks, stop }
    }

    /// Tells them to stop and waits for them.
    async fn stop(&mut self) -> io::Result<()> {
        self.stop.cancel();
        let mut panicked = false;
        let all = async {
            while let Some(ended) = self.tasks.join_next().await {
                panicked |= ended.is_err_and(|e| e.is_panic());
            }
        };
        if tokio::time::timeout(BACKGROUND, all).await.is_err() {
            tracing::warn!(tasks = self.tasks.len(), after = ?BACKGROUND, "background tasks did not stop and are given up");
            self.tasks.shutdown().await;
        }
        if panicked { Err(io::Error::other("a background task panicked")) } else { Ok(()) }
    }
}

/// Ends the service when it is dropped, which happens only if its task does not come to its own end.
struct PanicGuard {
    name: &'static str,
    end: CancellationToken,
}

impl Drop for PanicGuard {
    fn drop(&mut self) {
        if std::thread::panicking() {
            tracing::error!(task = self.name, "a background task panicked; the service ends");
            self.end.cancel();
        }
    }
}
