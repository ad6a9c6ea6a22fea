//! Waiting until something answers.

use std::{
    net::SocketAddr,
    thread,
    time::{Duration, Instant},
};

use anyhow::bail;

/// The status of a GET on a connection of its own.
pub fn status(address: SocketAddr, path: &str) -> std::io::Result<u16> {
    let response = testkit::get(address, path)?;
    Ok(response.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0))
}

/// Asks until the answer is 200; the time since `start`.
pub fn wait_for_200(address: SocketAddr, path: &str, start: Instant) -> anyhow::Result<Duration> {
    let mut last = String::new();
    while start.elapsed() < Duration::from_secs(30) {
        match status(address, path) {
            Ok(200) => return Ok(start.elapsed()),
            Ok(other) => last = other.to_string(),
            Err(error) => last = error.to_string(),
        }
        thread::sleep(Duration::from_millis(1));
    }
    bail!("{address} does not answer 200: {last}")
}
