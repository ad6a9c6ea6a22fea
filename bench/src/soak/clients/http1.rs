//! HTTP/1.1.

use std::{sync::Arc, sync::atomic::Ordering, time::Duration};

use anyhow::{Context, ensure};

use super::{super::site::World, Pace, secured};
use crate::soak::{
    site::VERSIONED,
    wire::{self, Exchange, Framed, Framing, Link, ask, dial},
};

/// Requests of one connection, after which a client takes a new one.
const PER_CONNECTION: u32 = 200;
/// The same in TLS: handshakes are part of what is to be tried.
const PER_SECURE_CONNECTION: u32 = 10;
const LARGE: u64 = 1 << 20;

/// To endpoints of HTTP/1.1 and HTTP/2, over connections that are kept.
pub async fn plain(world: Arc<World>, mut pace: Pace) {
    let (mut link, mut count) = (None, 0);
    while pace.next(&world).await {
        let mut going_on = None;
        let well = pace.note(&world, async {
            let mut open = match link.take() {
                Some(open) if count < PER_CONNECTION => open,
                _ => Link::boxed(dial(world.http).await.context("connect")?),
            };
            let prefix = if count.is_multiple_of(4) { "/h2/right" } else { "/right" };
            if ask(&mut open, prefix, &Exchange::random(20_000), Duration::ZERO).await? {
                going_on = Some(open);
            }
            Ok(())
        });
        count = if well.await && count < PER_CONNECTION { count + 1 } else { 0 };
        link = going_on;
    }
}

/// In TLS.
pub async fn secure(world: Arc<World>, mut pace: Pace) {
    let (mut link, mut count) = (None, 0);
    while pace.next(&world).await {
        let mut going_on = None;
        let well = pace.note(&world, async {
            let mut open = match link.take() {
                Some(open) if count < PER_SECURE_CONNECTION => open,
                _ => Link::boxed(secured(&world, &world.authority.client(&["http/1.1"])?).await?),
            };
            if ask(&mut open, "/right", &Exchange::random(20_000), Duration::ZERO).await? {
                going_on = Some(open);
            }
            Ok(())
        });
        count = if well.await && count < PER_SECURE_CONNECTION { count + 1 } else { 0 };
        link = going_on;
    }
}

/// Large bodies both ways, the response read slowly.
pub async fn large(world: Arc<World>, mut pace: Pace) {
    while pace.next(&world).await {
        let exchange = Exchange { up: LARGE, down: LARGE, framed: Framed::Length, ..Exchange::random(1) };
        pace.note(&world, async {
            let mut link = Link::new(dial(world.http).await.context("connect")?);
            ask(&mut link, "/right", &exchange, Duration::from_millis(2)).await.map(drop)
        })
        .await;
    }
}

/// Of routes that change, the newest or the one before.
pub async fn versions(world: Arc<World>, mut pace: Pace) {
    let (mut link, mut seen, mut turn) = (None::<Link>, [0_u64; VERSIONED], 0_usize);
    while pace.next(&world).await {
        turn = (turn + 1) % VERSIONED;
        let mut going_on = None;
        pace.note(&world, async {
            let mut open = match link.take() {
                Some(open) => open,
                None => Link::boxed(dial(world.http).await.context("connect")?),
            };
            let exchange = Exchange { up: 0, framed: Framed::Length, ..Exchange::random(1_000) };
            let sure = world.versions.get(turn).map_or(0, |version| version.load(Ordering::SeqCst));
            let request = format!("GET /right-{turn}?{} HTTP/1.1\r\nHost: soak\r\n\r\n", exchange.query());
            open.send(request.as_bytes()).await?;
            let head = open.head().await?.context("closed without a response")?;
            let version = wire::field(&head, "x-version").and_then(|version| version.parse().ok()).unwrap_or(0);
            let last = seen.get(turn).copied().unwrap_or(0).max(sure);
            ensure!(version >= last, "route {turn} is of version {version} after {last}");
            if let Some(seen) = seen.get_mut(turn) {
                *seen = version;
            }
            ensure!(Framing::of_response(&head) == Framing::Length(exchange.down), "{head}");
            if wire::check(&mut open, &exchange, &head, Duration::ZERO).await? {
                going_on = Some(open);
            }
            Ok(())
        })
        .await;
        link = going_on;
    }
}
