//! Endpoints, as everybody who sends to them sees them.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

/// How long a measured latency counts: after this time, its weight against newer ones is 1/e.
const DECAY: Duration = Duration::from_secs(10);
/// A failure counts as a response that took at least this long, lest an endpoint that fails quickly attract requests.
const FAILED: Duration = Duration::from_secs(1);

/// One endpoint and how it does. All workers write to it, without order between them: a lost update is made good by the next.
/// On a cache line of its own, so that busy endpoints do not slow each other down.
#[derive(Debug)]
#[repr(align(64))]
pub struct Endpoint {
    address: SocketAddr,
    since: Instant,
    active: AtomicU32,
    weight: AtomicU32,
    /// When latency was measured last, in milliseconds since `since`, and below it the cost then, an `f32` of microseconds.
    /// Together, because neither means anything without the other.
    cost: AtomicU64,
}

impl Endpoint {
    /// An endpoint nobody has sent to; a weight of 0 counts as 1.
    pub fn new(address: SocketAddr, weight: u32, since: Instant) -> Self {
        let (active, weight, cost) = (AtomicU32::new(0), AtomicU32::new(weight.max(1)), AtomicU64::new(0));
        Self { address, since, active, weight, cost }
    }

    /// Where it is.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its share in relation to others; never 0.
    pub fn weight(&self) -> u32 {
        self.weight.load(Ordering::Relaxed)
    }

    /// Requests and tunnels it has now, from all workers and all uses.
    pub fn active(&self) -> u32 {
        self.active.load(Ordering::Relaxed)
    }

    /// How long it has been there.
    pub(super) fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.since)
    }

    fn milliseconds(&self, now: Instant) -> u32 {
        let age = self.age(now);
        // Wraps after 49 days, as the difference does. `as_millis` is a division of 128 bits, which costs as much as the rest.
        (age.as_secs() as u32).wrapping_mul(1000).wrapping_add(age.subsec_millis())
    }

    /// The peak of its latency in microseconds, decayed since; 0 if nothing is known.
    pub(super) fn cost(&self, now: Instant) -> f32 {
        let (then, cost) = unpack(self.cost.load(Ordering::Relaxed));
        cost * decay(self.milliseconds(now).wrapping_sub(then))
    }

    /// Takes in a latency: a higher one at once, a lower one by and by.
    fn observe(&self, latency: Duration, now: Instant) {
        let (then, cost) = unpack(self.cost.load(Ordering::Relaxed));
        let milliseconds = self.milliseconds(now);
        let (kept, latency) = (decay(milliseconds.wrapping_sub(then)), latency.as_secs_f32() * 1e6);
        let decayed = cost * kept;
        let cost = if latency > decayed { latency } else { decayed + latency * (1.0 - kept) };
        self.cost.store(pack(milliseconds, cost), Ordering::Relaxed);
    }
}

fn pack(milliseconds: u32, cost: f32) -> u64 {
    u64::from(milliseconds) << 32 | u64::from(cost.to_bits())
}

fn unpack(packed: u64) -> (u32, f32) {
    ((packed >> 32) as u32, f32::from_bits(packed as u32))
}

/// What is left of a value after this many milliseconds. Another worker's clock may have been read a little later.
fn decay(milliseconds: u32) -> f32 {
    match milliseconds.cast_signed() {
        ..=0 => 1.0,
        passed => (-(passed as f32) / DECAY.as_millis() as f32).exp(),
    }
}

/// The records for these addresses and weights: those known already, with what is known of them, and new ones.
pub fn renew(known: &[Arc<Endpoint>], wanted: &[(SocketAddr, u32)], now: Instant) -> Vec<Arc<Endpoint>> {
    let renewed = wanted.iter().map(|(address, weight)| match known.iter().find(|old| old.address == *address) {
        Some(old) => {
            old.weight.store((*weight).max(1), Ordering::Relaxed);
            old.clone()
        }
        None => Arc::new(Endpoint::new(*address, *weight, now)),
    });
    renewed.collect()
}

/// An endpoint that was chosen: it counts as active for as long as this lives.
#[derive(Debug)]
pub struct Picked {
    endpoint: Arc<Endpoint>,
    /// Since when its response is waited for, if anybody wants to know.
    started: Option<Instant>,
}

impl Picked {
    pub(super) fn new(endpoint: Arc<Endpoint>, started: Option<Instant>) -> Self {
        endpoint.active.fetch_add(1, Ordering::Relaxed);
        Self { endpoint, started }
    }

    /// Where to send.
    pub fn address(&self) -> SocketAddr {
        self.endpoint.address
    }

    /// The response has begun. Only the first report of a choice counts; the clock is read if it does.
    pub fn responded(&mut self, now: impl FnOnce() -> Instant) {
        if let Some(started) = self.started.take() {
            let now = now();
            self.endpoint.observe(now.saturating_duration_since(started), now);
        }
    }

    /// There was no connection, no response, or one that says that the endpoint cannot serve.
    pub fn failed(&mut self, now: impl FnOnce() -> Instant) {
        if let Some(started) = self.started.take() {
            let now = now();
            self.endpoint.observe(now.saturating_duration_since(started).max(FAILED), now);
        }
    }
}

impl Drop for Picked {
    fn drop(&mut self) {
        self.endpoint.active.fetch_sub(1, Ordering::Relaxed);
    }
}
