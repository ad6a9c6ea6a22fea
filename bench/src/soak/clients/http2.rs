//! HTTP/2 and gRPC.

use std::{sync::Arc, time::Duration};

use anyhow::{Context, ensure};
use bytes::Bytes;
use h2::{RecvStream, client::SendRequest};
use http::{Request, Response};

use super::{super::site::World, Pace, secured};
use crate::soak::{
    endpoints::send,
    site::GRPC_HOST,
    wire::{Content, Exchange, Framed, Transport, dial},
};

/// Requests of one connection, after which a client takes a new one.
const PER_CONNECTION: u32 = 100;
/// Requests at the same time.
const AT_ONCE: usize = 4;
const LARGE: u64 = 1 << 20;

/// With prior knowledge, several requests at a time.
pub async fn plain(world: Arc<World>, pace: Pace) {
    exchanges(world, pace, false).await;
}

/// In TLS.
pub async fn secure(world: Arc<World>, pace: Pace) {
    exchanges(world, pace, true).await;
}

async fn exchanges(world: Arc<World>, mut pace: Pace, secure: bool) {
    let (mut kept, mut count) = (None, 0);
    while pace.next(&world).await {
        let mut going_on = None;
        let well = pace.note(&world, async {
            let open = match kept.take() {
                Some(open) if count < PER_CONNECTION => open,
                _ => connect(&world, secure).await?,
            };
            let mut asked = tokio::task::JoinSet::new();
            for number in 0..AT_ONCE {
                let prefix = if number.is_multiple_of(2) { "/right" } else { "/h2/right" };
                let (open, mut exchange) = (open.clone(), Exchange::random(20_000));
                exchange.framed = if exchange.seed.is_multiple_of(2) { Framed::Length } else { Framed::Chunked };
                asked.spawn(async move { ask(&open, prefix, &exchange, Duration::ZERO).await });
            }
            while let Some(asked) = asked.join_next().await {
                asked.context("a task")??;
            }
            going_on = Some(open);
            Ok(())
        });
        count = if well.await && count < PER_CONNECTION { count + 1 } else { 0 };
        kept = going_on;
    }
}

/// Large bodies both ways, the response read slowly.
pub async fn large(world: Arc<World>, mut pace: Pace) {
    while pace.next(&world).await {
        let exchange = Exchange { up: LARGE, down: LARGE, framed: Framed::Length, ..Exchange::random(1) };
        pace.note(&world, async {
            let open = connect(&world, false).await?;
            ask(&open, "/h2/right", &exchange, Duration::from_millis(2)).await
        })
        .await;
    }
}

/// Calls of gRPC.
pub async fn grpc(world: Arc<World>, mut pace: Pace) {
    let (mut kept, mut count) = (None, 0);
    while pace.next(&world).await {
        let mut going_on = None;
        let well = pace.note(&world, async {
            let open = match kept.take() {
                Some(open) if count < PER_CONNECTION => open,
                _ => connect(&world, false).await?,
            };
            call(&open).await?;
            going_on = Some(open);
            Ok(())
        });
        count = if well.await && count < PER_CONNECTION { count + 1 } else { 0 };
        kept = going_on;
    }
}

/// A new connection with prior knowledge.
pub async fn connect_plain(world: &World) -> anyhow::Result<SendRequest<Bytes>> {
    connect(world, false).await
}

/// A new connection.
async fn connect(world: &World, secure: bool) -> anyhow::Result<SendRequest<Bytes>> {
    if secure {
        over(secured(world, &world.authority.client(&["h2"])?).await?).await
    } else {
        over(dial(world.http).await.context("connect")?).await
    }
}

async fn over(stream: impl Transport + 'static) -> anyhow::Result<SendRequest<Bytes>> {
    let mut builder = h2::client::Builder::new();
    builder.initial_window_size(1 << 17).initial_connection_window_size(1 << 20);
    let (send, connection) = builder.handshake(stream).await.context("begin HTTP/2")?;
    // It ends with the last that has it; those who wait for it see why.
    tokio::spawn(async move { _ = connection.await });
    Ok(send)
}

async fn ask(open: &SendRequest<Bytes>, prefix: &str, exchange: &Exchange, pause: Duration) -> anyhow::Result<()> {
    let uri = format!("http://soak{prefix}?{}", exchange.query());
    let method = if exchange.up == 0 { http::Method::GET } else { http::Method::POST };
    let request = Request::builder().method(method).uri(uri).body(())?;
    let mut ready = open.clone().ready().await.context("wait for a stream")?;
    let (response, mut stream) = ready.send_request(request, exchange.up == 0).context("send the head")?;
    let sending = async {
        match exchange.up {
            0 => Ok(()),
            up => send(&mut stream, exchange.asked(), up, true).await,
        }
    };
    let receiving = async { receive(response.await.context("the response's head")?, exchange, pause).await };
    let (sent, received) = tokio::join!(sending, receiving);
    received?;
    sent.context("send the body")
}

async fn receive(response: Response<RecvStream>, exchange: &Exchange, pause: Duration) -> anyhow::Result<()> {
    ensure!(response.status() == 200, "{}", response.status());
    let seed = response.headers().get("x-soak").and_then(|seed| seed.to_str().ok()?.parse().ok());
    ensure!(seed == Some(exchange.seed), "somebody else's response: {seed:?} instead of {}", exchange.seed);
    let (mut body, mut at) = (response.into_body(), 0);
    while let Some(piece) = body.data().await {
        let piece = piece.context("the response's body")?;
        ensure!(exchange.answered().agrees(at, &piece), "the body is another's");
        at += piece.len() as u64;
        body.flow_control().release_capacity(piece.len())?;
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
    }
    ensure!(at == exchange.down, "the body has {at} bytes instead of {}", exchange.down);
    Ok(())
}

async fn call(open: &SendRequest<Bytes>) -> anyhow::Result<()> {
    let (content, length) = (Content(fastrand::u64(..)), fastrand::u32(0..8_000));
    let request = Request::post(format!("http://{GRPC_HOST}/soak.Right/Echo"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(())?;
    let mut message = vec![0];
    message.extend(length.to_be_bytes());
    message.extend(content.piece(0, usize::try_from(length)?));
    let mut ready = open.clone().ready().await.context("wait for a stream")?;
    let (response, mut stream) = ready.send_request(request, false).context("send the head")?;
    stream.send_data(Bytes::from(message.clone()), true).context("send the message")?;
    let response = response.await.context("the response's head")?;
    ensure!(response.status() == 200, "{}", response.status());
    let (mut body, mut back) = (response.into_body(), Vec::new());
    while let Some(piece) = body.data().await {
        let piece = piece.context("the message")?;
        back.extend_from_slice(&piece);
        body.flow_control().release_capacity(piece.len())?;
    }
    ensure!(back == message, "the message is another's");
    let trailers = body.trailers().await.context("the trailers")?.context("no trailers")?;
    ensure!(trailers.get("grpc-status").is_some_and(|status| status == "0"), "{trailers:?}");
    Ok(())
}
