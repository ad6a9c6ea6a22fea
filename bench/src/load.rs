//! Load that no usual program makes: a full handshake for every request, and requests at fixed moments whatever happens to
//! the ones before.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::Context;
use rustls::ClientConfig;

use crate::http::{Client, code};

/// Connects, shakes hands, asks once and closes, on so many threads for so long; how many times it went well.
///
/// # Errors
/// The first failure.
pub fn handshakes(
    address: SocketAddr,
    path: &str,
    config: &Arc<ClientConfig>,
    threads: usize,
    duration: Duration,
) -> anyhow::Result<u64> {
    let (stop, done) = (AtomicBool::new(false), AtomicU64::new(0));
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    let one = || -> anyhow::Result<()> {
        while !stop.load(Ordering::Relaxed) {
            let head = Client::connect(address, Some(config))?.send(request.as_bytes())?;
            anyhow::ensure!(code(&head) == 200, "the answer is {head}");
            done.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    };
    thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(one)).collect();
        thread::sleep(duration);
        stop.store(true, Ordering::Relaxed);
        threads.into_iter().try_for_each(|thread| thread.join().map_err(|_| anyhow::anyhow!("a client panicked"))?)
    })?;
    Ok(done.into_inner())
}

/// A load at a fixed rate.
#[derive(Debug, Clone, Copy)]
pub struct Rate {
    /// Requests a second, over all connections.
    pub per_second: u32,
    /// Connections; each has its share of the moments.
    pub connections: u32,
    /// For how long.
    pub duration: Duration,
}

/// Sends GETs at a fixed rate; how long each took, in order of size.
///
/// A request that finds its connection still busy is sent late, and its time counts from the moment when it should have been
/// sent: a proxy that stalls is charged for every request that should have come meanwhile.
///
/// # Errors
/// The first failure.
pub fn open_loop(address: SocketAddr, path: &str, rate: Rate) -> anyhow::Result<Vec<Duration>> {
    let start = Instant::now() + Duration::from_millis(200);
    let connection = |index: u32| -> anyhow::Result<Vec<Duration>> {
        // The kernel may otherwise wake a thread 50 µs late to wake others with it.
        nix::sys::prctl::set_timerslack(1).context("ask for exact timers")?;
        let mut client = Client::connect(address, None)?;
        let mut took = Vec::new();
        for number in 0.. {
            let at = Duration::from_secs(1) * (index + number * rate.connections) / rate.per_second;
            if at >= rate.duration {
                break;
            }
            let intended = start + at;
            thread::sleep(intended.saturating_duration_since(Instant::now()));
            let head = client.get(path)?;
            took.push(intended.elapsed());
            anyhow::ensure!(code(&head) == 200, "the answer is {head}");
        }
        Ok(took)
    };
    let mut all = thread::scope(|scope| {
        let threads: Vec<_> = (0..rate.connections).map(|index| scope.spawn(move || connection(index))).collect();
        let joined =
            threads.into_iter().map(|thread| thread.join().map_err(|_| anyhow::anyhow!("a client panicked"))?);
        joined.collect::<anyhow::Result<Vec<_>>>()
    })?
    .concat();
    all.sort_unstable();
    Ok(all)
}

/// The time within which this share of the requests was answered.
pub fn quantile(sorted: &[Duration], share: f64) -> Duration {
    let at = (sorted.len() as f64 * share).ceil() as usize;
    sorted.get(at.saturating_sub(1).min(sorted.len().saturating_sub(1))).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_is_the_time_that_so_many_stayed_within() {
        let times: Vec<_> = (1..=100).map(Duration::from_millis).collect();
        assert_eq!(quantile(&times, 0.99), Duration::from_millis(99));
        assert_eq!(quantile(&times, 0.5), Duration::from_millis(50));
        assert_eq!(quantile(&times, 1.0), Duration::from_millis(100));
        assert_eq!(quantile(&[], 0.5), Duration::ZERO);
    }
}
