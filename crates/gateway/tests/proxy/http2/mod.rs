//! HTTP/2 on either side: clients and endpoints of the `h2` crate, and frames written by hand where a client means ill.

mod exchanges;
mod failures;
mod floods;
pub mod frames;
mod grpc;
mod h2spec;
mod hold;
mod policies;
mod strictness;
mod websockets;

use std::{
    future::Future,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use gateway::table::{Cluster, Upstream};
use h2::{RecvStream, SendStream, client, server::SendResponse};
use http::{HeaderMap, Request, response};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    runtime,
    task::LocalSet,
    time::timeout,
};

use super::support::{Gateway, everything, forward};

/// Far more than anything takes.
const PATIENCE: Duration = Duration::from_secs(20);

/// Runs a test that awaits, for a bounded time.
pub fn run(test: impl Future<Output = ()>) {
    let runtime = runtime::Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, async { timeout(PATIENCE, test).await.unwrap() });
}

/// A connection to a gateway.
pub async fn connect(address: SocketAddr) -> client::SendRequest<Bytes> {
    connect_over(TcpStream::connect(address).await.unwrap()).await
}

/// A connection to a gateway over something that has been opened.
pub async fn connect_over(stream: impl AsyncRead + AsyncWrite + Unpin + 'static) -> client::SendRequest<Bytes> {
    let mut builder = client::Builder::new();
    // One stream that is not read must not hold up the others at this end.
    builder.initial_connection_window_size(1 << 20);
    let (send, connection) = builder.handshake(stream).await.unwrap();
    tokio::task::spawn_local(async move { _ = connection.await });
    send
}

/// A connection whose other end has said its settings.
async fn connected(address: SocketAddr) -> client::SendRequest<Bytes> {
    let (send, mut connection) = client::handshake(TcpStream::connect(address).await.unwrap()).await.unwrap();
    let mut pings = connection.ping_pong().unwrap();
    tokio::task::spawn_local(async move { _ = connection.await });
    pings.ping(h2::Ping::opaque()).await.unwrap();
    send
}

/// A request for this path of example.com.
fn get(path: &str) -> Request<()> {
    Request::get(format!("http://example.com{path}")).body(()).unwrap()
}

fn post(path: &str) -> Request<()> {
    Request::post(format!("http://example.com{path}")).body(()).unwrap()
}

/// A whole response.
#[derive(Debug)]
pub struct Whole {
    pub head: response::Parts,
    body: Vec<u8>,
    trailers: Option<HeaderMap>,
}

impl Whole {
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    fn field(&self, name: &str) -> Option<&str> {
        self.head.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

/// Sends a request without a body and waits for the whole response.
pub async fn ask(send: &client::SendRequest<Bytes>, request: Request<()>) -> Result<Whole, h2::Error> {
    let (response, _) = send.clone().ready().await?.send_request(request, true)?;
    whole(response).await
}

/// Sends a request with this body and these trailers, and waits for the whole response.
async fn send_whole(
    send: &client::SendRequest<Bytes>,
    request: Request<()>,
    body: Vec<u8>,
    trailers: Option<HeaderMap>,
) -> Result<Whole, h2::Error> {
    let (response, mut stream) = send.clone().ready().await?.send_request(request, false)?;
    let sending = async {
        send_all(&mut stream, body.into(), trailers.is_none()).await;
        if let Some(trailers) = trailers {
            stream.send_trailers(trailers).unwrap();
        }
    };
    let (response, ()) = tokio::join!(whole(response), sending);
    response
}

async fn whole(response: client::ResponseFuture) -> Result<Whole, h2::Error> {
    let (head, mut received) = response.await?.into_parts();
    let (body, trailers) = receive(&mut received).await?;
    Ok(Whole { head, body, trailers })
}

/// Everything that comes on a stream.
async fn receive(received: &mut RecvStream) -> Result<(Vec<u8>, Option<HeaderMap>), h2::Error> {
    let mut body = Vec::new();
    while let Some(data) = received.data().await {
        let data = data?;
        body.extend_from_slice(&data);
        received.flow_control().release_capacity(data.len())?;
    }
    Ok((body, received.trailers().await?))
}

/// Sends as the other end takes it.
async fn send_all(stream: &mut SendStream<Bytes>, mut body: Bytes, end: bool) {
    while !body.is_empty() {
        stream.reserve_capacity(body.len());
        let Some(Ok(_)) = std::future::poll_fn(|cx| stream.poll_capacity(cx)).await else { return };
        let piece = body.split_to(stream.capacity().min(body.len()));
        if stream.send_data(piece, false).is_err() {
            return;
        }
    }
    if end {
        _ = stream.send_data(Bytes::new(), true);
    }
}

/// An endpoint that speaks HTTP/2.
struct Endpoint {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
}

impl Endpoint {
    /// Handles each request as a test says.
    fn new<F: Future<Output = ()> + 'static>(
        handle: impl Fn(Request<RecvStream>, SendResponse<Bytes>) -> F + Send + Sync + Clone + 'static,
    ) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let (address, connections) = (listener.local_addr().unwrap(), Arc::<AtomicUsize>::default());
        let count = connections.clone();
        let serve = async move {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            while let Ok((tcp, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::SeqCst);
                let handle = handle.clone();
                tokio::task::spawn_local(async move {
                    let Ok(mut connection) = h2::server::handshake(tcp).await else { return };
                    while let Some(Ok((request, respond))) = connection.accept().await {
                        tokio::task::spawn_local(handle(request, respond));
                    }
                });
            }
        };
        thread::spawn(move || {
            let runtime = runtime::Builder::new_current_thread().enable_all().build().unwrap();
            LocalSet::new().block_on(&runtime, serve);
        });
        Self { address, connections }
    }

    /// Answers with the body that it got, its length in a field, its trailers, and what it got as a field of its head.
    fn echo(field: &'static str) -> Self {
        Self::new(move |request, mut respond| async move {
            let (head, mut received) = request.into_parts();
            let (body, trailers) = receive(&mut received).await.unwrap();
            let mut response = http::Response::builder().header("x-length", body.len());
            response = response.header("x-asked", format!("{} {} {:?}", head.method, head.uri, head.version));
            for value in head.headers.get_all(field) {
                response = response.header("x-field", value);
            }
            let mut stream = respond.send_response(response.body(()).unwrap(), false).unwrap();
            send_all(&mut stream, body.into(), trailers.is_none()).await;
            if let Some(trailers) = trailers {
                stream.send_trailers(trailers).unwrap();
            }
        })
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// A gateway with nothing behind it but this.
    fn gateway(&self) -> Gateway {
        to_http2(&[self.address])
    }
}

/// A gateway to endpoints that speak HTTP/2.
fn to_http2(endpoints: &[SocketAddr]) -> Gateway {
    let cluster = Cluster::new("default/test:80".into()).speaking(Upstream::Http2);
    cluster.set_addresses(endpoints, Instant::now());
    Gateway::new(everything(forward(Arc::new(cluster))))
}
