//! Just enough HTTP to see whether something answers.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    thread,
    time::{Duration, Instant},
};

use anyhow::bail;

/// The status of a GET on a connection of its own.
pub fn status(address: SocketAddr, host: &str, path: &str) -> std::io::Result<u16> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")?;
    let mut response = String::new();
    stream.read_to_string(&mut response)?;
    Ok(response.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0))
}

/// Asks until the answer is 200; the time since `start`.
pub fn wait_for_200(address: SocketAddr, host: &str, path: &str, start: Instant) -> anyhow::Result<Duration> {
    let mut last = String::new();
    while start.elapsed() < Duration::from_secs(30) {
        match status(address, host, path) {
            Ok(200) => return Ok(start.elapsed()),
            Ok(other) => last = other.to_string(),
            Err(error) => last = error.to_string(),
        }
        thread::sleep(Duration::from_millis(1));
    }
    bail!("{address} does not answer 200: {last}")
}
