//! Forwarded ports: the bytes of each connection between a client and a port of a pod. Over SPDY every connection is a pair of
//! streams, one of which is for what went wrong (`portforward.k8s.io`); that may itself be inside of a WebSocket.

use std::{collections::HashMap, io, time::Duration};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures::{SinkExt, StreamExt};
use http::HeaderMap;
use objects::session;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream},
    task::JoinSet,
    time::{Instant, timeout, timeout_at},
};
use tokio_tungstenite::tungstenite::Message;
use tokio_util::sync::CancellationToken;

use super::{
    Session, forward_websocket,
    handshake::{self, Protocol, Transport, refused},
    spdy::{self, Connection, Stream},
    websocket::{self, Socket, close},
};
use crate::{
    http::{Answer, nodes::Node},
    status::Failure,
};

/// How long the client may take to open the second stream of a pair.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long a client may go on sending to a pod that has closed its own direction.
const HALF: Duration = Duration::from_secs(1);
/// How much is read of a port at once.
const PIECE: usize = 32 * 1024;
/// What a tunnel holds in each direction.
const TUNNEL: usize = 64 * 1024;

/// The pod, as it is named to the client.
#[derive(Clone, Debug)]
pub(super) struct Pod {
    pub name: String,
    pub uid: String,
}

/// Connects to a pod's ports.
#[derive(Clone)]
pub(super) struct Ports {
    pub node: Node,
    pub path: String,
    pub pod: Pod,
}

/// What a client sends on one connection.
#[async_trait]
pub(super) trait Source: Send {
    /// The next bytes; `None` when there are no more.
    async fn next(&mut self) -> Option<Bytes>;
}

/// What a client is sent.
#[async_trait]
pub(super) trait Outlet: Send {
    /// Sends bytes; waits while the client is slow.
    async fn send(&mut self, bytes: Bytes) -> io::Result<()>;

    /// Says that there are no more.
    async fn finish(&mut self) -> io::Result<()>;
}

/// One connection of a client.
pub(super) struct Line<S, O> {
    pub port: u16,
    pub source: S,
    pub outlet: O,
    /// Where what went wrong is told.
    pub error: O,
    /// Cancelled when the client has given it up.
    pub gone: CancellationToken,
}

/// Answers with an upgrade. Whether there is something at a port is told on each connection.
pub(super) fn open(
    session: Session,
    pod: Pod,
    transport: Transport,
    headers: &HeaderMap,
    ports: &[u16],
) -> Result<Answer, Failure> {
    let protocols = match transport {
        Transport::WebSocket => handshake::FORWARD_WEBSOCKET,
        Transport::Spdy => handshake::FORWARD_SPDY,
    };
    let (protocol, answer) = match handshake::agree(transport, headers, protocols) {
        Ok(agreed) => agreed,
        Err(refusal) => return Ok(*refusal),
    };
    let channels = transport == Transport::WebSocket && protocol.name != handshake::TUNNEL;
    if channels && (ports.is_empty() || ports.contains(&0) || ports.len() > forward_websocket::PORTS) {
        let why = format!("the query must name 1 to {} ports", forward_websocket::PORTS);
        return Ok(refused(http::StatusCode::BAD_REQUEST, why));
    }
    let Session { node, path, upgrade, place } = session;
    let (lines, ports) = (Ports { node, path, pod }, ports.to_vec());
    tokio::spawn(async move {
        let _place = place;
        let done = async {
            match transport {
                Transport::Spdy => streams(spdy::open(upgrade).await?, &lines).await,
                Transport::WebSocket => {
                    let socket = websocket::open(upgrade).await?;
                    if channels {
                        forward_websocket::serve(socket, protocol, &ports, &lines).await;
                    } else {
                        tunnel(socket, protocol, &lines).await;
                    }
                }
            }
            Ok::<_, io::Error>(())
        };
        if let Err(error) = done.await {
            tracing::debug!("forwarded ports: {error}");
        }
    });
    Ok(answer)
}

impl Ports {
    /// Serves one connection to its end.
    pub async fn serve<S: Source, O: Outlet>(&self, line: Line<S, O>) {
        let Line { port, source, mut outlet, mut error, gone } = line;
        let path = format!("{}?port={port}", self.path);
        let opened = match self.node.upgrade(&path, session::RAW).await {
            Ok(opened) => opened.map_err(|(_, why)| why),
            Err(failure) => Err(failure.message),
        };
        match opened {
            Ok(node) => relay(node, source, &mut outlet, gone).await,
            Err(why) => {
                let Pod { name, uid } = &self.pod;
                let message = format!("error forwarding port {port} to pod {name}, uid {uid}: {why}");
                // A client that is gone does not need to know.
                let _ = error.send(message.into()).await;
            }
        }
        let _ = outlet.finish().await;
        let _ = error.finish().await;
    }
}

/// Copies bytes both ways. The client's direction may end by itself. When the pod has said all, old clients close theirs only after
/// they have heard that the connection is over, so it soon is.
async fn relay(
    node: impl AsyncRead + AsyncWrite,
    mut source: impl Source,
    outlet: &mut impl Outlet,
    gone: CancellationToken,
) {
    let (mut from, mut to) = tokio::io::split(node);
    let inward = async {
        while let Some(bytes) = source.next().await {
            if to.write_all(&bytes).await.is_err() || to.flush().await.is_err() {
                return;
            }
        }
        // Only whoever has said all: a client that is gone must not look like one that waits for an answer.
        if !gone.is_cancelled() {
            let _ = to.shutdown().await;
        }
    };
    let outward = async {
        let mut buffer = BytesMut::new();
        loop {
            buffer.reserve(PIECE);
            match from.read_buf(&mut buffer).await {
                Ok(1..) => {
                    if outlet.send(buffer.split().freeze()).await.is_err() {
                        return;
                    }
                }
                _ => break,
            }
        }
        let _ = outlet.finish().await;
    };
    tokio::pin!(inward);
    let both = async {
        tokio::pin!(outward);
        tokio::select! {
            () = &mut outward => {
                let _ = timeout(HALF, inward).await;
            }
            () = &mut inward => outward.await,
        }
    };
    tokio::select! {
        () = both => {}
        () = gone.cancelled() => {}
    }
}

/// SPDY inside of a WebSocket.
async fn tunnel(socket: Socket, protocol: Protocol, ports: &Ports) {
    debug_assert_eq!(protocol.name, handshake::TUNNEL);
    let (inner, outer) = tokio::io::duplex(TUNNEL);
    tokio::join!(streams(Connection::new(inner), ports), carry(socket, outer));
}

/// Carries bytes as the binary messages of a WebSocket.
async fn carry(socket: Socket, bytes: DuplexStream) {
    let (mut sender, mut receiver) = socket.split();
    let (mut from, mut to) = tokio::io::split(bytes);
    let inward = async {
        while let Some(Ok(message)) = receiver.next().await {
            match message {
                Message::Binary(data) if to.write_all(&data).await.is_err() => return,
                Message::Close(_) => break,
                _ => {}
            }
        }
        let _ = to.shutdown().await;
    };
    let outward = async {
        let mut buffer = BytesMut::new();
        loop {
            buffer.reserve(PIECE);
            match from.read_buf(&mut buffer).await {
                Ok(1..) if sender.send(Message::Binary(buffer.split().freeze())).await.is_ok() => {}
                _ => break,
            }
        }
        let _ = sender.send(close()).await;
    };
    tokio::join!(inward, outward);
}

/// The streams of a pair that have come.
struct Pair {
    data: Option<Stream>,
    error: Option<Stream>,
    port: u16,
    until: Instant,
}

/// Serves every pair of streams that the client opens, until it is gone.
async fn streams(mut connection: Connection, ports: &Ports) {
    let (mut pairs, mut lines) = (HashMap::<String, Pair>::new(), JoinSet::new());
    loop {
        while lines.try_join_next().is_some() {}
        let due = pairs.values().map(|pair| pair.until).min();
        let stream = match due {
            Some(due) => timeout_at(due, connection.accept()).await,
            None => Ok(connection.accept().await),
        };
        let Ok(stream) = stream else {
            let now = Instant::now();
            for (_, pair) in pairs.extract_if(|_, pair| pair.until <= now) {
                lines.spawn(late(pair));
            }
            continue;
        };
        let Some(stream) = stream else { return };
        match place(&mut pairs, stream) {
            Ok(Some((data, error, port))) => {
                let (source, outlet) = data.split();
                // Nobody sends anything there; but half of a stream is none.
                let (_, error) = error.split();
                let gone = source.gone();
                let (ports, line) = (ports.clone(), Line { port, source, outlet, error, gone });
                lines.spawn(async move { ports.serve(line).await });
            }
            Ok(None) => {}
            // The stream is dropped, and so reset.
            Err(why) => tracing::debug!("forwarded port: {why}"),
        }
    }
}

/// Says what a pair lacked.
async fn late(pair: Pair) {
    if let Some(error) = pair.error {
        let (_reader, mut writer) = error.split();
        let _ = writer.send(Bytes::from_static(b"timed out waiting for streams")).await;
        let _ = writer.finish().await;
    }
}

/// Puts a stream to its pair; the pair's streams and port once both are there.
///
/// # Errors
/// In upstream's words: what its headers lack.
fn place(pairs: &mut HashMap<String, Pair>, stream: Stream) -> Result<Option<(Stream, Stream, u16)>, String> {
    let required = |name: &str| {
        let value = stream.header(&name.to_ascii_lowercase()).filter(|value| !value.is_empty());
        value.ok_or_else(|| format!("{name:?} header is required"))
    };
    let text = required("port")?;
    let port: u16 = text.parse().map_err(|error| format!("unable to parse {text:?} as a port: {error}"))?;
    if port == 0 {
        return Err(format!("port {text:?} must be > 0"));
    }
    let is_data = match required("streamType")? {
        "data" => true,
        "error" => false,
        other => return Err(format!("invalid stream type {other:?}")),
    };
    // Old clients number nothing, and open the stream for errors right before the one for data.
    let request = match stream.header("requestid").filter(|id| !id.is_empty()) {
        Some(id) => id.to_owned(),
        None if is_data => format!("#{}", stream.id.saturating_sub(2)),
        None => format!("#{}", stream.id),
    };
    let until = Instant::now() + PATIENCE;
    let pair = pairs.entry(request.clone()).or_insert(Pair { data: None, error: None, port, until });
    let place = if is_data { &mut pair.data } else { &mut pair.error };
    if place.is_some() {
        return Err(format!("the streams of request {request:?} are there already"));
    }
    *place = Some(stream);
    if pair.data.is_none() || pair.error.is_none() {
        return Ok(None);
    }
    let whole = pairs.remove(&request);
    Ok(whole.and_then(|pair| Some((pair.data?, pair.error?, pair.port))))
}

#[async_trait]
impl Source for spdy::Reader {
    async fn next(&mut self) -> Option<Bytes> {
        spdy::Reader::next(self).await
    }
}

#[async_trait]
impl Outlet for spdy::Writer {
    async fn send(&mut self, bytes: Bytes) -> io::Result<()> {
        spdy::Writer::send(self, bytes).await
    }

    async fn finish(&mut self) -> io::Result<()> {
        spdy::Writer::finish(self).await
    }
}
