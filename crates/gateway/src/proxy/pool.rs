//! A worker's connections to endpoints that wait for another request.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    net::SocketAddr,
    task::{Context, Waker},
    time::{Duration, Instant},
};

use foldhash::fast::FixedState;

use super::side::Side;

/// Per worker and endpoint; more are closed after their request.
const MAX_PER_ENDPOINT: usize = 128;
/// Per worker.
const MAX_IDLE: usize = 1024;
/// Endpoints commonly close idle connections after a minute or more: being first avoids losing a request to that.
const IDLE: Duration = Duration::from_secs(45);
/// How often connections are looked through for old ones and for those that the endpoint has closed.
const SWEEP: Duration = Duration::from_secs(2);

/// Whom a connection is to, and how it is encrypted ([`crate::table::Cluster::tls_id`]): a request that must be encrypted never
/// travels over a connection that is not, or that is trusted for another reason.
pub(super) type Place = (SocketAddr, u64);

/// With the time since when.
type Idle = HashMap<Place, Vec<(Side, Instant)>, FixedState>;

/// Idle connections by endpoint; the one used last is used next.
#[derive(Debug, Default)]
pub(super) struct Pool {
    idle: RefCell<Idle>,
    count: Cell<usize>,
    swept: Cell<Option<Instant>>,
}

impl Pool {
    /// A connection that is open as far as this machine knows.
    pub fn take(&self, place: Place) -> Option<Side> {
        let mut idle = self.idle.borrow_mut();
        let sides = idle.get_mut(&place)?;
        while let Some((side, _)) = sides.pop() {
            self.count.set(self.count.get() - 1);
            if is_quiet(&side) {
                return Some(side);
            }
        }
        None
    }

    /// Keeps a connection whose exchange is over.
    pub fn put(&self, place: Place, side: Side, now: Instant) {
        let mut idle = self.idle.borrow_mut();
        let sides = idle.entry(place).or_default();
        if sides.len() < MAX_PER_ENDPOINT && self.count.get() < MAX_IDLE {
            sides.push((side, now));
            self.count.set(self.count.get() + 1);
        }
    }

    /// Closes old connections and those that the endpoint closed; says whether any are left.
    pub fn sweep(&self, now: Instant) -> bool {
        if self.swept.get().is_some_and(|last| now.duration_since(last) < SWEEP) {
            return self.count.get() > 0;
        }
        self.swept.set(Some(now));
        let mut idle = self.idle.borrow_mut();
        for sides in idle.values_mut() {
            sides.retain(|(side, since)| now.duration_since(*since) < IDLE && is_quiet(side));
        }
        idle.retain(|_, sides| !sides.is_empty());
        self.count.set(idle.values().map(Vec::len).sum());
        self.count.get() > 0
    }
}

/// Nothing has arrived, neither bytes nor the end: between exchanges both mean that the connection is of no use.
fn is_quiet(side: &Side) -> bool {
    side.tcp().poll_read_ready(&mut Context::from_waker(Waker::noop())).is_pending()
}
