//! Clients that behave well, and must always get right answers.

mod http1;
mod http2;
mod tunnels;

pub use http2::connect_plain as connect_http2;
pub use tunnels::open_websocket;

use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

use anyhow::Context;
use rustls::{ClientConfig, pki_types::ServerName};
use tokio::{
    net::TcpStream,
    task::JoinSet,
    time::{MissedTickBehavior, interval},
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::{
    site::World,
    wire::{PATIENCE, dial},
};

/// A kind of client.
struct Kind {
    name: &'static str,
    /// How many of them there are.
    count: u32,
    /// What each does a second.
    per_second: f64,
    run: fn(Arc<World>, Pace) -> Running,
}

type Running = Pin<Box<dyn Future<Output = ()> + Send>>;

macro_rules! kind {
    ($name:literal, $count:literal, $per_second:literal, $run:path) => {
        Kind { name: $name, count: $count, per_second: $per_second, run: |world, pace| Box::pin($run(world, pace)) }
    };
}

const KINDS: &[Kind] = &[
    kind!("HTTP/1.1", 4, 8.0, http1::plain),
    kind!("HTTP/1.1 in TLS", 2, 5.0, http1::secure),
    kind!("HTTP/1.1, large bodies, slow reader", 1, 0.5, http1::large),
    kind!("HTTP/1.1, routes that change", 2, 10.0, http1::versions),
    kind!("HTTP/2", 2, 10.0, http2::plain),
    kind!("HTTP/2 in TLS", 2, 5.0, http2::secure),
    kind!("HTTP/2, large bodies, slow reader", 1, 0.5, http2::large),
    kind!("gRPC", 2, 5.0, http2::grpc),
    kind!("WebSocket", 2, 5.0, tunnels::websocket),
    kind!("TCP", 2, 3.0, tunnels::tcp),
    kind!("UDP", 2, 5.0, tunnels::udp),
];

/// When a client does something again.
struct Pace {
    name: &'static str,
    ticks: tokio::time::Interval,
}

impl Pace {
    /// Waits for the next moment; `false` when it is time to end.
    async fn next(&mut self, world: &World) -> bool {
        self.ticks.tick().await;
        !world.is_ending()
    }

    /// Notes how it went.
    async fn note(&self, world: &World, doing: impl Future<Output = anyhow::Result<()>>) -> bool {
        let outcome = tokio::time::timeout(2 * PATIENCE, doing).await;
        let outcome = outcome.context("it took too long").and_then(|done| done);
        world.tally.asked(self.name, &outcome);
        outcome.is_ok()
    }
}

/// Starts all of them, so many times as fast; each ends when it has finished what it has begun.
pub fn start(world: &Arc<World>, rate: f64) -> JoinSet<()> {
    let mut running = JoinSet::new();
    for Kind { name, count, per_second, run } in KINDS {
        for _ in 0..*count {
            let mut ticks = interval(Duration::from_secs_f64(1.0 / (per_second * rate)));
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            running.spawn(run(world.clone(), Pace { name, ticks }));
        }
    }
    running
}

/// A connection in TLS whose certificate has been verified.
async fn secured(world: &World, config: &Arc<ClientConfig>) -> anyhow::Result<TlsStream<TcpStream>> {
    let stream = dial(world.tls).await.context("connect")?;
    let connecting = TlsConnector::from(config.clone()).connect(ServerName::try_from("localhost")?, stream);
    tokio::time::timeout(PATIENCE, connecting).await?.context("the TLS handshake")
}
