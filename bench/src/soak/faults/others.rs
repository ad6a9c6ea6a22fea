//! WebSockets, TCP and UDP.

use std::{net::Ipv4Addr, sync::Arc};

use anyhow::{Context, ensure};
use tokio::net::UdpSocket;

use super::super::{
    clients::open_websocket,
    endpoints::{BINARY, ws_frame},
    site::World,
    wire::{self, Content, Link, dial},
};

/// Opens a WebSocket and leaves, perhaps within a frame.
pub async fn websocket_leaves(world: Arc<World>, turn: u64) -> anyhow::Result<()> {
    let mut link = open_websocket(&world, "/ws/wrong").await?;
    let message = ws_frame(BINARY, &Content(turn).piece(0, 5_000), Some([1, 2, 3, 4]));
    link.send(message.get(..fastrand::usize(..message.len())).unwrap_or_default()).await?;
    if turn.is_multiple_of(2) {
        link.end().await?;
        // The endpoint sees the end within a frame, and closes.
        link.rest().await;
    }
    Ok(())
}

/// Asks endpoints that refuse, die, or lie; the last kind is no WebSocket's.
pub async fn websocket_endpoints(world: Arc<World>, turn: u64) -> anyhow::Result<()> {
    let kinds = [
        ("/broken-ws/refuses", &[403][..]),
        ("/broken-ws/says-nothing", &[502, 503]),
        ("/broken-ws/resets", &[502, 503]),
        ("/broken-ws/changes-to-nothing", &[101, 502]),
        ("/broken-ws/dies", &[101]),
        ("/wrong", &[204]),
    ];
    let Some((path, statuses)) = kinds.get(usize::try_from(turn)? % kinds.len()) else { return Ok(()) };
    let mut link = Link::new(dial(world.http).await?);
    let request = format!("GET {path} HTTP/1.1\r\nHost: soak\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
    link.send(request.as_bytes()).await?;
    let head = link.head().await?.context("closed without a response")?;
    ensure!(statuses.contains(&wire::status(&head)), "{path}: {head}");
    if wire::status(&head) == 101 {
        let said = link.rest().await;
        ensure!(said.len() <= 3, "more than the endpoint has said: {}", said.escape_ascii());
    }
    Ok(())
}

/// Sends something and leaves.
pub async fn tcp_leaves(world: Arc<World>, turn: u64) -> anyhow::Result<()> {
    let mut link = Link::new(dial(world.tcp).await?);
    link.send(&Content(turn).piece(0, 20_000)).await?;
    for _ in 0..turn % 3 {
        link.some().await?;
    }
    if turn.is_multiple_of(2) {
        wire::reset(link.into_inner());
    }
    Ok(())
}

/// The endpoint resets after half of what it got: no more than that comes back.
pub async fn tcp_endpoints(world: Arc<World>, turn: u64) -> anyhow::Result<()> {
    let mut link = Link::new(dial(world.broken_tcp).await?);
    let content = Content(turn);
    link.send(&content.piece(0, 1_000)).await?;
    let back = link.rest().await;
    ensure!(back.len() <= 500 && content.agrees(0, &back), "{} bytes come back, or another's", back.len());
    Ok(())
}

/// A datagram from an address that is never used again.
pub async fn udp_once(world: Arc<World>, turn: u64) -> anyhow::Result<()> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    socket.send_to(&Content(turn).piece(0, fastrand::usize(0..2_000)), world.udp).await?;
    Ok(())
}

/// Datagrams to endpoints where nobody receives.
pub async fn udp_endpoints(world: Arc<World>, turn: u64) -> anyhow::Result<()> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    for _ in 0..3 {
        socket.send_to(&Content(turn).piece(0, 100), world.broken_udp).await?;
    }
    Ok(())
}
