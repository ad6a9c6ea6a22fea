//! Constant load on a gateway, and every request that failed.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

/// Clients that ask for `/` one request after the other until they are told to stop.
#[derive(Debug)]
pub struct Load {
    stop: Arc<AtomicBool>,
    requests: Arc<AtomicU64>,
    clients: Vec<JoinHandle<Vec<String>>>,
}

impl Load {
    /// Starts so many clients, each on a connection of its own that it uses for as long as it may.
    pub fn start(address: SocketAddr, clients: usize) -> Self {
        let (stop, requests) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
        let client = || {
            let (stop, requests) = (stop.clone(), requests.clone());
            thread::spawn(move || client(address, &stop, &requests))
        };
        let clients = (0..clients).map(|_| client()).collect();
        Self { stop, requests, clients }
    }

    /// How many requests have been answered well.
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// Stops; what failed, and how.
    pub fn finish(self) -> Vec<String> {
        self.stop.store(true, Ordering::Relaxed);
        let ended =
            self.clients.into_iter().map(|client| client.join().unwrap_or_else(|_| vec!["a client panicked".into()]));
        ended.flatten().collect()
    }
}

fn client(address: SocketAddr, stop: &AtomicBool, requests: &AtomicU64) -> Vec<String> {
    let (mut failures, mut connection) = (Vec::new(), None);
    while !stop.load(Ordering::Relaxed) {
        let asked = match connection.take() {
            Some(open) => ask(open),
            None => connect(address).and_then(ask),
        };
        match asked {
            Ok((open, 200)) => {
                connection = open;
                requests.fetch_add(1, Ordering::Relaxed);
            }
            Ok((open, status)) => {
                connection = open;
                failures.push(format!("status {status}"));
            }
            Err(error) => failures.push(error.to_string()),
        }
    }
    failures
}

fn connect(address: SocketAddr) -> io::Result<BufReader<TcpStream>> {
    let stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    Ok(BufReader::new(stream))
}

/// One request; the status, and the connection if it stays open.
fn ask(mut connection: BufReader<TcpStream>) -> io::Result<(Option<BufReader<TcpStream>>, u16)> {
    connection.get_mut().write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")?;
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if connection.read_line(&mut head)? == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, format!("closed after {head:?}")));
        }
    }
    let field = |name: &str| head.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    let length = field("content-length:").and_then(|length| length.parse().ok()).unwrap_or(0);
    connection.read_exact(&mut vec![0; length])?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    Ok((Some(connection).filter(|_| field("connection:") != Some("close")), status))
}
