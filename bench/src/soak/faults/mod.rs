//! What clients and endpoints do that they should not, each kind at a rate of its own.

mod asking;
mod http1;
mod http2;
mod malformed;
mod others;
mod tls;

use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

use anyhow::Context;
use tokio::{
    sync::Semaphore,
    task::JoinSet,
    time::{MissedTickBehavior, interval, timeout},
};

use super::site::World;

/// Longer than the proxy may wait for anybody: a minute for the rest of a request, and over HTTP/2 another one for the next. Its
/// limit of five minutes for a silent exchange is left aside.
const LIMIT: Duration = Duration::from_secs(150);

/// For what is under way at the end.
const END: Duration = Duration::from_secs(20);

/// A kind of fault. What it does must end, and is an error only if the proxy did something wrong.
struct Fault {
    name: &'static str,
    per_second: f64,
    /// How many may be under way; what would be more is left out.
    at_most: usize,
    run: fn(Arc<World>, u64) -> Running,
}

type Running = Pin<Box<dyn Future<Output = anyhow::Result<()>> + Send>>;

macro_rules! fault {
    ($name:literal, $per_second:literal, $at_most:literal, $run:path) => {
        Fault {
            name: $name,
            per_second: $per_second,
            at_most: $at_most,
            run: |world, turn| Box::pin($run(world, turn)),
        }
    };
}

const FAULTS: &[Fault] = &[
    fault!("endpoints of HTTP/1.1", 12.0, 100, asking::broken_http1),
    fault!("endpoints of HTTP/1.1, asked over HTTP/2", 4.0, 50, asking::broken_http1_over_http2),
    fault!("endpoints of HTTP/2", 8.0, 50, asking::broken_http2),
    fault!("endpoints that come and go", 5.0, 50, asking::coming),
    fault!("routes and listeners that come and go", 3.0, 20, asking::passing),
    fault!("HTTP/1.1: stops somewhere", 4.0, 200, http1::stops),
    fault!("HTTP/1.1: byte by byte", 0.5, 20, http1::byte_by_byte),
    fault!("HTTP/1.1: does not read", 1.0, 40, http1::does_not_read),
    fault!("HTTP/1.1: leaves within the response", 4.0, 50, http1::leaves),
    fault!("HTTP/1.1: leaves while the endpoint hangs", 2.0, 50, http1::leaves_early),
    fault!("HTTP/1.1: malformed", 8.0, 50, malformed::http1),
    fault!("HTTP/1.1: pipelined", 2.0, 20, http1::pipelined),
    fault!("HTTP/1.1: too large a head", 1.0, 20, http1::large_head),
    fault!("connections without a request", 15.0, 50, http1::churn),
    fault!("HTTP/2: rapid reset", 1.0, 10, http2::rapid_reset),
    fault!("HTTP/2: CONTINUATION", 1.0, 10, http2::continuations),
    fault!("HTTP/2: SETTINGS", 1.0, 10, http2::settings),
    fault!("HTTP/2: PING", 1.0, 10, http2::pings),
    fault!("HTTP/2: empty frames", 1.0, 10, http2::empty_data),
    fault!("HTTP/2: malformed", 3.0, 20, malformed::http2),
    fault!("HTTP/2: no window", 0.5, 20, http2::no_window),
    fault!("HTTP/2: unfinished requests", 1.0, 20, http2::unfinished),
    fault!("HTTP/2: stops somewhere", 2.0, 100, http2::stops),
    fault!("TLS: stops somewhere", 4.0, 80, tls::stops),
    fault!("TLS: not TLS", 2.0, 20, tls::not_tls),
    fault!("TLS: leaves in the handshake", 2.0, 20, tls::leaves),
    fault!("TLS: does not trust", 2.0, 20, tls::distrusts),
    fault!("TLS: leaves within the response", 2.0, 20, tls::leaves_within_response),
    fault!("WebSocket: leaves", 2.0, 20, others::websocket_leaves),
    fault!("WebSocket: endpoints", 2.0, 20, others::websocket_endpoints),
    fault!("TCP: leaves", 3.0, 20, others::tcp_leaves),
    fault!("TCP: endpoints", 2.0, 20, others::tcp_endpoints),
    fault!("UDP: clients that come once", 10.0, 20, others::udp_once),
    fault!("UDP: endpoints", 2.0, 20, others::udp_endpoints),
];

/// Starts all of them, so many times as fast; they end with the well-behaved clients.
pub fn start(world: &Arc<World>, rate: f64) -> JoinSet<()> {
    let mut running = JoinSet::new();
    for fault in FAULTS {
        running.spawn(repeat(world.clone(), fault, rate));
    }
    running
}

async fn repeat(world: Arc<World>, fault: &'static Fault, rate: f64) {
    let mut ticks = interval(Duration::from_secs_f64(1.0 / (fault.per_second * rate)));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let (permits, mut running) = (Arc::new(Semaphore::new(fault.at_most)), JoinSet::new());
    for turn in 0.. {
        ticks.tick().await;
        if world.is_ending() {
            break;
        }
        while running.try_join_next().is_some() {}
        let Ok(permit) = permits.clone().try_acquire_owned() else {
            world.tally.left_out(fault.name);
            continue;
        };
        let world = world.clone();
        running.spawn(async move {
            let _permit = permit;
            let done = timeout(LIMIT, (fault.run)(world.clone(), turn)).await;
            let outcome = done.context("the proxy did not put an end to it").and_then(|done| done);
            world.tally.did(fault.name, &outcome);
        });
    }
    // Whoever waits for an answer gets it; those who only hold out may as well go now.
    _ = timeout(END, async { while running.join_next().await.is_some() {} }).await;
}
