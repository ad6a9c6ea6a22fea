//! Clients that ask without a pause while something changes.

use std::{
    io,
    net::{SocketAddr, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
};

use super::support::{Peer, field, status};

/// Clients that ask all the time, half of them on a new connection for every request; counts answers, returns failures.
pub struct Crowd {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicU64>,
    clients: Vec<JoinHandle<Vec<String>>>,
}

impl Crowd {
    pub fn new(address: SocketAddr, path: &'static str) -> Self {
        let (stop, answered) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
        let client = |keeps: bool| {
            let (stop, answered) = (stop.clone(), answered.clone());
            thread::spawn(move || {
                let (mut failures, mut open) = (Vec::new(), None);
                while !stop.load(Ordering::Relaxed) {
                    let asked = open
                        .take()
                        .map_or_else(|| TcpStream::connect(address).map(Peer::new), Ok)
                        .and_then(|peer| ask(peer, path));
                    match asked {
                        Ok((peer, closes)) => {
                            answered.fetch_add(1, Ordering::Relaxed);
                            open = Some(peer).filter(|_| keeps && !closes);
                        }
                        Err(error) => failures.push(error.to_string()),
                    }
                }
                failures
            })
        };
        let clients = (0..4).map(|index| client(index % 2 == 0)).collect();
        Self { stop, answered, clients }
    }

    /// Waits for so many more answers.
    pub fn more(&self, count: u64) {
        let until = self.answered.load(Ordering::Relaxed) + count;
        while self.answered.load(Ordering::Relaxed) < until {
            assert!(self.clients.iter().any(|client| !client.is_finished()));
            thread::yield_now();
        }
    }

    /// What failed.
    pub fn finish(self) -> Vec<String> {
        self.stop.store(true, Ordering::Relaxed);
        self.clients.into_iter().flat_map(|client| client.join().unwrap()).collect()
    }
}

/// One request; whether the connection ends with it.
fn ask(mut peer: Peer, path: &str) -> io::Result<(Peer, bool)> {
    peer.send_some(format!("GET {path} HTTP/1.1\r\nHost: example.com\r\n\r\n"));
    let (head, _) = peer.message();
    if status(&head) != "200" {
        return Err(io::Error::other(format!("not answered well: {head:?}")));
    }
    let closes = field(&head, "connection") == Some("close");
    Ok((peer, closes))
}
