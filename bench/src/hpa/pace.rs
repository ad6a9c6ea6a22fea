//! Requests at a rate that can be changed while they are sent.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::ensure;

use crate::http::{Client, code};

/// Connections, each with its share of the requests.
const CONNECTIONS: u32 = 8;
/// A connection that is later than this leaves out what it has missed.
const LATE: Duration = Duration::from_secs(1);
/// How long a connection without anything to send waits until it looks again.
const IDLE: Duration = Duration::from_millis(5);

/// Clients that ask at a rate.
pub struct Pace {
    shared: Arc<Shared>,
    clients: Vec<JoinHandle<anyhow::Result<()>>>,
}

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    per_second: AtomicU32,
    answered: AtomicU64,
}

impl Pace {
    /// Clients that ask nothing yet.
    pub fn start(address: SocketAddr, host: &str) -> Self {
        let shared = Arc::<Shared>::default();
        let client = || {
            let (shared, request) = (shared.clone(), format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"));
            thread::spawn(move || client(&shared, address, &request))
        };
        let clients = (0..CONNECTIONS).map(|_| client()).collect();
        Self { shared, clients }
    }

    /// Asks so often from now on.
    pub fn set(&self, per_second: u32) {
        self.shared.per_second.store(per_second, Ordering::Relaxed);
    }

    /// How many requests have been answered with 200.
    pub fn answered(&self) -> u64 {
        self.shared.answered.load(Ordering::Relaxed)
    }

    /// Stops.
    ///
    /// # Errors
    /// The first request that failed.
    pub fn finish(self) -> anyhow::Result<()> {
        self.shared.stop.store(true, Ordering::Relaxed);
        let ended = self.clients.into_iter().map(|client| client.join());
        ended.into_iter().try_for_each(|ended| ended.map_err(|_| anyhow::anyhow!("a client panicked"))?)
    }
}

fn client(shared: &Shared, address: SocketAddr, request: &str) -> anyhow::Result<()> {
    let mut connection = None;
    let mut next = Instant::now();
    while !shared.stop.load(Ordering::Relaxed) {
        let per_second = shared.per_second.load(Ordering::Relaxed);
        if per_second == 0 {
            // Who has nothing to ask for a minute is hung up on.
            connection = None;
            thread::sleep(IDLE);
            next = Instant::now();
            continue;
        }
        let now = Instant::now();
        if now.saturating_duration_since(next) > LATE {
            next = now;
        }
        thread::sleep(next.saturating_duration_since(now));
        next += Duration::from_secs(1) * CONNECTIONS / per_second;
        let open = match &mut connection {
            Some(open) => open,
            none => none.insert(Client::connect(address, None)?),
        };
        let head = open.send(request.as_bytes())?;
        ensure!(code(&head) == 200, "the answer is {head}");
        shared.answered.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}
