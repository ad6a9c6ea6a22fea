//! Clients of HTTP/1.1 that stop, leave, do not read, or never ask.

use std::{sync::Arc, time::Duration};

use anyhow::ensure;
use tokio::time::sleep;

use super::super::{
    site::World,
    wire::{self, Content, Exchange, Framed, Framing, Link, dial},
};

/// How long a client holds out that does not want to wait for its end.
const HOLD: Duration = Duration::from_secs(15);

/// What a client does when it has stopped.
enum After {
    /// It waits until the proxy has had enough.
    Wait,
    /// It closes.
    Close,
    /// It resets.
    Reset,
}

impl After {
    fn of(turn: u64) -> Self {
        match turn % 4 {
            0 => Self::Wait,
            1 => Self::Reset,
            _ => Self::Close,
        }
    }
}

/// Stops at a byte of the head or of the body, each time another.
pub async fn stops(world: Arc<World>, turn: u64) -> anyhow::Result<()> {
    let exchange = Exchange { up: 100, down: 100, ..Exchange::random(1) };
    let body = if turn.is_multiple_of(2) {
        ["Content-Length: 100\r\n\r\n".as_bytes(), &exchange.asked().piece(0, 100)].concat()
    } else {
        let piece = exchange.asked().piece(0, 100);
        ["Transfer-Encoding: chunked\r\n\r\n64;a=b\r\n".as_bytes(), &piece, b"\r\n0\r\nX-Trailer: 1\r\n\r\n"].concat()
    };
    let head = format!("POST /wrong?{} HTTP/1.1\r\nHost: soak\r\n", exchange.query());
    let all = [head.as_bytes(), &body].concat();
    let mut link = Link::new(dial(world.http).await?);
    // All but the last byte at most.
    let at = usize::try_from(exchange.seed)? % all.len();
    link.send(all.get(..at).unwrap_or_default()).await?;
    match After::of(turn / 2) {
        After::Wait => {
            let said = link.rest().await;
            let said = String::from_utf8_lossy(&said);
            ensure!(said.is_empty() || said.starts_with("HTTP/1.1 408 "), "{said}");
        }
        After::Close => link.end().await?,
        After::Reset => wire::reset(link.into_inner()),
    }
    Ok(())
}

/// Sends its head so slowly that it is too late.
pub async fn byte_by_byte(world: Arc<World>, _: u64) -> anyhow::Result<()> {
    let mut link = Link::new(dial(world.http).await?);
    for byte in format!("GET /wrong/{} HTTP/1.1\r\n", "x".repeat(100)).bytes() {
        if link.send(&[byte]).await.is_err() {
            break;
        }
        sleep(Duration::from_millis(150)).await;
    }
    let said = link.rest().await;
    let said = String::from_utf8_lossy(&said);
    ensure!(said.is_empty() || said.starts_with("HTTP/1.1 408 "), "{said}");
    Ok(())
}

/// Asks for more than fits anywhere, and reads nothing, or a little from time to time.
pub async fn does_not_read(world: Arc<World>, turn: u64) -> anyhow::Result<()> {
    let exchange = Exchange { up: 0, down: 16 << 20, framed: Framed::Length, ..Exchange::random(1) };
    let mut link = Link::new(dial(world.http).await?);
    link.send(format!("GET /wrong?{} HTTP/1.1\r\nHost: soak\r\n\r\n", exchange.query()).as_bytes()).await?;
    if turn.is_multiple_of(2) {
        sleep(HOLD).await;
    } else if let Some(head) = link.head().await? {
        let mut body = link.body(Framing::of_response(&head));
        for _ in 0..HOLD.as_secs() {
            body.next().await?;
            sleep(Duration::from_secs(1)).await;
        }
    }
    if turn.is_multiple_of(3) {
        wire::reset(link.into_inner());
    }
    Ok(())
}

/// Reads a part of the response and leaves.
pub async fn leaves(world: Arc<World>, turn: u64) -> anyhow::Result<()> {
    let framed = if turn.is_multiple_of(2) { Framed::Chunked } else { Framed::Length };
    let exchange = Exchange { up: 0, down: 300_000, framed, ..Exchange::random(1) };
    let mut link = Link::new(dial(world.http).await?);
    let prefix = if turn.is_multiple_of(3) { "/h2/wrong" } else { "/wrong" };
    link.send(format!("GET {prefix}?{} HTTP/1.1\r\nHost: soak\r\n\r\n", exchange.query()).as_bytes()).await?;
    for _ in 0..fastrand::u8(0..8) {
        link.some().await?;
    }
    if turn.is_multiple_of(2) {
        wire::reset(link.into_inner());
    }
    Ok(())
}

/// Leaves while its endpoint says nothing.
pub async fn leaves_early(world: Arc<World>, turn: u64) -> anyhow::Result<()> {
    let exchange = Exchange { up: 0, down: 100, framed: Framed::Length, ..Exchange::random(1) };
    let mut link = Link::new(dial(world.http).await?);
    let request = format!("GET /broken/hangs?{}&wrong HTTP/1.1\r\nHost: soak\r\n\r\n", exchange.query());
    link.send(request.as_bytes()).await?;
    sleep(Duration::from_millis(fastrand::u64(1..1_000))).await;
    if turn.is_multiple_of(2) {
        wire::reset(link.into_inner());
    }
    Ok(())
}

/// Sends many requests at once and reads some of the responses, or all: they come in order.
pub async fn pipelined(world: Arc<World>, turn: u64) -> anyhow::Result<()> {
    let mut link = Link::new(dial(world.http).await?);
    let exchanges: Vec<_> =
        (0..20).map(|_| Exchange { up: 0, framed: Framed::Length, ..Exchange::random(2_000) }).collect();
    let request = |exchange: &Exchange| format!("GET /wrong?{} HTTP/1.1\r\nHost: soak\r\n\r\n", exchange.query());
    link.send(exchanges.iter().map(request).collect::<String>().as_bytes()).await?;
    let read = if turn.is_multiple_of(2) { exchanges.len() } else { fastrand::usize(..exchanges.len()) };
    for exchange in exchanges.iter().take(read) {
        let Some(head) = link.head().await? else { anyhow::bail!("closed between responses") };
        wire::check(&mut link, exchange, &head, Duration::ZERO).await?;
    }
    Ok(())
}

/// A head that never ends, or nearly.
pub async fn large_head(world: Arc<World>, turn: u64) -> anyhow::Result<()> {
    let mut link = Link::new(dial(world.http).await?);
    let field = if turn.is_multiple_of(2) { "X: 1\r\n".repeat(200) } else { format!("X: {}\r\n", "x".repeat(70_000)) };
    // The answer may come before everything is sent.
    _ = link.send(format!("GET /wrong HTTP/1.1\r\nHost: soak\r\n{field}\r\n").as_bytes()).await;
    let said = link.rest().await;
    let said = String::from_utf8_lossy(&said);
    ensure!(said.is_empty() || said.starts_with("HTTP/1.1 431 "), "{said}");
    Ok(())
}

/// Connects and leaves, to any of the listeners.
pub async fn churn(world: Arc<World>, turn: u64) -> anyhow::Result<()> {
    let addresses = [world.http, world.tls, world.http, world.tcp];
    let address = addresses.get(usize::try_from(turn)? % addresses.len()).copied().unwrap_or(world.http);
    let stream = dial(address).await?;
    if turn.is_multiple_of(3) {
        wire::reset(stream);
    } else if turn.is_multiple_of(5) {
        let mut link = Link::new(stream);
        // Nothing that means anything to anybody.
        link.send(&Content(turn).piece(0, 10)).await?;
    }
    Ok(())
}
