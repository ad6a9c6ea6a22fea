//! WebSockets, TCP and UDP.

use std::{net::Ipv4Addr, sync::Arc, time::Duration};

use anyhow::{Context, ensure};
use tokio::{net::UdpSocket, time::timeout};

use super::{super::site::World, Pace};
use crate::soak::{
    endpoints::{BINARY, CLOSE, ws_frame, ws_read},
    wire::{self, Content, Link, Transport, dial},
};

/// Messages of one connection.
const PER_CONNECTION: u32 = 50;
/// How long a datagram may take before it is sent again: one may be lost.
const AGAIN: Duration = Duration::from_secs(3);

/// Opens a WebSocket.
pub async fn open_websocket(world: &World, path: &str) -> anyhow::Result<Link> {
    let mut link = Link::boxed(dial(world.http).await.context("connect")?);
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: soak\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    );
    link.send(request.as_bytes()).await?;
    let head = link.head().await?.context("closed without a response")?;
    ensure!(wire::status(&head) == 101, "{head}");
    Ok(link)
}

/// Messages that come back.
pub async fn websocket(world: Arc<World>, mut pace: Pace) {
    let (mut kept, mut count) = (None, 0);
    while pace.next(&world).await {
        let mut going_on = None;
        let well = pace.note(&world, async {
            let mut link = match kept.take() {
                Some(link) => link,
                None => open_websocket(&world, "/ws/right").await?,
            };
            say(&mut link, BINARY).await?;
            if count < PER_CONNECTION {
                going_on = Some(link);
                return Ok(());
            }
            say(&mut link, CLOSE).await?;
            ensure!(link.rest().await.is_empty(), "something follows the close");
            Ok(())
        });
        count = if well.await && count < PER_CONNECTION { count + 1 } else { 0 };
        kept = going_on;
    }
    if let Some(mut link) = kept {
        // What is left open at the end would count as the client's fault.
        _ = say(&mut link, CLOSE).await;
        link.rest().await;
    }
}

async fn say<S: Transport>(link: &mut Link<S>, opcode: u8) -> anyhow::Result<()> {
    let most = if opcode == CLOSE { 125 } else { 20_000 };
    let message = Content(fastrand::u64(..)).piece(0, fastrand::usize(2..most));
    link.send(&ws_frame(opcode, &message, Some(fastrand::u32(..).to_be_bytes()))).await?;
    let (said, back) = ws_read(link).await?;
    ensure!(said == opcode && back == message, "the message is another's");
    Ok(())
}

/// Bytes that come back, and the end after them.
pub async fn tcp(world: Arc<World>, mut pace: Pace) {
    while pace.next(&world).await {
        pace.note(&world, async {
            let mut link = Link::new(dial(world.tcp).await.context("connect")?);
            let (content, length) = (Content(fastrand::u64(..)), fastrand::usize(1..50_000));
            let mut at = 0;
            while at < length {
                let size = (length - at).min(8_000);
                link.send(&content.piece(at as u64, size)).await?;
                let back = link.exactly(size).await?;
                ensure!(content.agrees(at as u64, &back), "the bytes are another's");
                at += size;
            }
            link.end().await?;
            ensure!(link.rest().await.is_empty(), "something follows the end");
            Ok(())
        })
        .await;
    }
}

/// Datagrams that come back.
pub async fn udp(world: Arc<World>, mut pace: Pace) {
    let mut kept = None;
    while pace.next(&world).await {
        pace.note(&world, async {
            let socket = match kept.take() {
                Some(socket) if fastrand::u8(..) > 5 => socket,
                _ => {
                    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
                    socket.connect(world.udp).await?;
                    socket
                }
            };
            let datagram = Content(fastrand::u64(..)).piece(0, fastrand::usize(16..1_400));
            for attempt in 0..3 {
                socket.send(&datagram).await?;
                let mut back = vec![0; 2_000];
                if let Ok(received) = timeout(AGAIN, socket.recv(&mut back)).await {
                    back.truncate(received?);
                    ensure!(back == datagram, "the datagram is another's");
                    // An answer may still come to what was sent again.
                    kept = (attempt == 0).then_some(socket);
                    return Ok(());
                }
            }
            anyhow::bail!("three datagrams are lost")
        })
        .await;
    }
}
